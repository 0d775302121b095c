//! The login of employees in the WeCom mini program: which `userid` a code of `wx.qy.login` stands for.
//!
//! Asked as the app that the mini program is linked to, with an access token of its own. The `session_key` that comes
//! with it is never kept. A code is good for one try, so nothing here retries but a call whose access token was refused.
//! Whether that employee may bind is not judged here.

use std::{fmt, sync::Arc};

use actors::{
    ids::UserId,
    ports::{CallError, Clock},
    tally::Tally,
};
use reqwest::Client;

use super::{
    api::errcode,
    client::{WecomClient, WecomConfig},
};

/// The key of the secret, for what the operator is told.
const SECRET_KEY: &str = "wecom.staff_secret";
/// The longest userid that is taken, in bytes. WeCom speaks of 64.
const USERID_BYTES_MAX: usize = 128;

/// What WeCom says of the app behind the WeCom mini program, without an employee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StaffProbe {
    /// It looked at the login code: the app is one that a mini program is linked to.
    Linked,
    /// The secret is that of an app, but no mini program is linked to that one.
    NotLinked,
    /// Neither could be told.
    Failed(CallError),
}

/// Why nobody logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaffLoginError {
    /// The mini program must get another code.
    #[error("WeCom doesn't take this login code")]
    CodeInvalid,
    /// An employee of another corp.
    #[error("the employee is of another corp")]
    NotOurs,
    /// No usable answer, or one that only the operator can mend; the log says which.
    #[error("WeCom gave no usable answer")]
    Unavailable,
}

/// See the module. `Debug` shows no secret.
pub struct StaffClient {
    corp_id: String,
    wecom: WecomClient,
}

impl fmt::Debug for StaffClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaffClient").field("wecom", &self.wecom).finish_non_exhaustive()
    }
}

impl StaffClient {
    /// A client that has not called anybody yet. `config.secret` is the one of the app that the mini program is linked
    /// to; `http` bounds each call in time.
    #[must_use]
    pub fn new(config: WecomConfig, http: Client, clock: Arc<dyn Clock>, tally: Tally) -> Self {
        let corp_id = config.corp_id.clone();
        Self { corp_id, wecom: WecomClient::with_secret_of(SECRET_KEY, config, http, clock, tally) }
    }

    /// Asks with a login code that nobody was given; spends nothing.
    pub async fn probe(&self) -> StaffProbe {
        match self.wecom.staff_probe().await {
            Ok(()) => StaffProbe::Linked,
            Err(CallError::Refused { errcode, .. }) if is_about_the_code(errcode) => StaffProbe::Linked,
            Err(CallError::Refused { errcode: errcode::BAD_ACCESS_TOKEN, .. }) => StaffProbe::NotLinked,
            Err(error) => StaffProbe::Failed(error),
        }
    }

    /// Redeems the code of `wx.qy.login`. Whatever comes of it, the code may be spent.
    pub async fn login(&self, js_code: &str) -> Result<UserId, StaffLoginError> {
        let answer = self.wecom.staff_code2session(js_code).await.map_err(|error| {
            if matches!(&error, CallError::Refused { errcode, .. } if is_about_the_code(*errcode)) {
                return StaffLoginError::CodeInvalid;
            }
            tracing::warn!(
                %error,
                "asking WeCom which employee logs in failed; {SECRET_KEY} must be that of the app which the WeCom \
                 mini program is linked to"
            );
            StaffLoginError::Unavailable
        })?;
        if answer.corpid != self.corp_id {
            tracing::warn!(corpid = answer.corpid, "an employee of another corp tries to log in");
            return Err(StaffLoginError::NotOurs);
        }
        if !(1..=USERID_BYTES_MAX).contains(&answer.userid.len()) {
            tracing::warn!("WeCom names no employee for a login code");
            return Err(StaffLoginError::Unavailable);
        }
        Ok(UserId::new(answer.userid))
    }
}

fn is_about_the_code(errcode: i64) -> bool {
    matches!(errcode, errcode::BAD_LOGIN_CODE | errcode::LOGIN_CODE_USED)
}

#[cfg(test)]
mod tests;

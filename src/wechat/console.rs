//! What WeChat itself says about the mini program's settings in its console, for `kfbind check --online`: whether `AppID`
//! and `AppSecret` are right, and which company's customer service it may open. Only asks; judges nothing else.

use std::{fmt, net::IpAddr};

use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::{
    ANSWER_BYTES_MAX, WechatConfig, hint,
    stable_token::{self, parsed},
};
use crate::outgoing;

/// The company that the mini program is bound to.
const BOUND_PATH: &str = "/customservice/work/get";
/// The caller's address is not on the mini program's list.
pub const ADDRESS_NOT_LISTED: i64 = 40164;
/// How much of WeChat's words is shown, in bytes.
const ERRMSG_BYTES_MAX: usize = 200;

/// Why WeChat did not say. The texts hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsaid {
    /// No usable answer, for this reason.
    Unreachable(String),
    /// It refused.
    Refused {
        /// WeChat's code.
        errcode: i64,
        /// WeChat's words.
        errmsg: String,
        /// What to do about it.
        hint: String,
    },
}

/// See the module. `Debug` shows no secret.
pub struct ConsoleClient {
    config: WechatConfig,
    http: Client,
}

impl fmt::Debug for ConsoleClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleClient").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct BoundAnswer {
    #[serde(default)]
    errcode: i64,
    #[serde(default)]
    errmsg: String,
    /// Missing where no company is bound.
    corpid: Option<String>,
}

impl ConsoleClient {
    /// A client that has not called anybody yet. `http` bounds each call in time.
    #[must_use]
    pub fn new(config: WechatConfig, http: Client) -> Self {
        Self { config, http }
    }

    /// An access token, which proves `AppID` and `AppSecret`.
    pub async fn access_token(&self) -> Result<SecretString, Unsaid> {
        let answer = stable_token::ask(&self.config, &self.http).await.map_err(Unsaid::Unreachable)?;
        match answer.errcode {
            0 if answer.access_token.is_empty() => {
                Err(Unsaid::Unreachable("the answer names no access token".to_owned()))
            }
            0 => Ok(answer.access_token.into()),
            errcode => Err(refused(errcode, &answer.errmsg)),
        }
    }

    /// The id of the company whose customer service the mini program may open; `None` = none is bound.
    pub async fn bound_corp(&self, access_token: &SecretString) -> Result<Option<String>, Unsaid> {
        let address = format!("{}{BOUND_PATH}", self.config.api_base.trim_end_matches('/'));
        let url = Url::parse_with_params(&address, [("access_token", access_token.expose_secret())])
            .map_err(|error| Unsaid::Unreachable(format!("miniprogram.api_base is no URL: {error}")))?;
        let answer = outgoing::exchange(self.http.get(url), ANSWER_BYTES_MAX).await;
        let answer: BoundAnswer = parsed(answer).map_err(Unsaid::Unreachable)?;
        match answer.errcode {
            0 => Ok(answer.corpid.filter(|corp_id| !corp_id.is_empty())),
            errcode => Err(refused(errcode, &answer.errmsg)),
        }
    }
}

fn refused(errcode: i64, errmsg: &str) -> Unsaid {
    let address = (errcode == ADDRESS_NOT_LISTED).then(|| address_in(errmsg)).flatten();
    let hint = match address {
        Some(address) => hint(errcode).replace("this server's outgoing address", &address.to_string()),
        None => hint(errcode).to_owned(),
    };
    let errmsg = errmsg.get(..errmsg.floor_char_boundary(ERRMSG_BYTES_MAX)).unwrap_or_default().to_owned();
    Unsaid::Refused { errcode, errmsg, hint }
}

/// The address in `invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist`. Part of a hint only: WeChat's words may
/// change any day.
fn address_in(errmsg: &str) -> Option<IpAddr> {
    let (_, rest) = errmsg.split_once("invalid ip ")?;
    rest.split([',', ' ', ';']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_shows_the_address_that_wechat_saw() {
        let hint = |errmsg| match refused(ADDRESS_NOT_LISTED, errmsg) {
            Unsaid::Refused { hint, .. } => hint,
            Unsaid::Unreachable(why) => why,
        };
        let shown = hint("invalid ip 192.0.2.9 ipv6 ::ffff:192.0.2.9, not in whitelist rid: 1");
        assert!(shown.contains("192.0.2.9") && !shown.contains("outgoing address"), "{shown}");
        for errmsg in ["", "invalid ip", "invalid ip nowhere", "not in whitelist"] {
            assert!(hint(errmsg).contains("this server's outgoing address"), "{errmsg}");
        }
    }
}

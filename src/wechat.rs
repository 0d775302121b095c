//! WeChat's `code2Session`: which `openid` a mini program's login code stands for. Its messages are [`notice`]'s.
//!
//! The `session_key` that comes with it is never kept. A code is good for one try, so nothing here retries.

use std::fmt;

use actors::ids::{OpenId, UnionId};
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use crate::outgoing;

mod access_token;
pub mod console;
pub mod notice;
mod stable_token;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The longest `openid` or `unionid` that is taken, in bytes. Real ones have 28 and 29.
const ID_BYTES_MAX: usize = 128;

/// The code is invalid, expired, or of another mini program.
const CODE_INVALID: i64 = 40029;
/// The code has been used.
const CODE_USED: i64 = 40163;
/// WeChat holds the user for a risk.
const USER_BLOCKED: i64 = 40226;
/// Too many logins in a minute.
const TOO_MANY_LOGINS: i64 = 45011;

/// Whom to call, and as which mini program.
#[derive(Clone, Debug)]
pub struct WechatConfig {
    /// `https://api.weixin.qq.com`, without a slash at the end.
    pub api_base: String,
    /// The mini program.
    pub app_id: String,
    /// Its `AppSecret`.
    pub secret: SecretString,
}

/// Who logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user in this mini program.
    pub openid: OpenId,
    /// Only where the mini program belongs to an open platform account.
    pub unionid: Option<UnionId>,
}

/// Why nobody logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The mini program must get another code.
    #[error("WeChat doesn't take this login code")]
    CodeInvalid,
    /// WeChat refuses this user.
    #[error("WeChat refuses this user")]
    Refused,
    /// WeChat limits the logins.
    #[error("WeChat limits the logins")]
    TooMany,
    /// No usable answer, or one that only the operator can mend; the log says which.
    #[error("WeChat gave no usable answer")]
    Unavailable,
}

/// See the module. `Debug` shows no secret.
#[derive(Clone)]
pub struct WechatClient {
    config: WechatConfig,
    http: Client,
}

impl fmt::Debug for WechatClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WechatClient").field("config", &self.config).finish_non_exhaustive()
    }
}

/// `session_key` is left out on purpose.
#[derive(Deserialize)]
struct Code2SessionAnswer {
    /// Missing on success.
    #[serde(default)]
    errcode: i64,
    openid: Option<String>,
    unionid: Option<String>,
}

impl WechatClient {
    /// A client that has not called anybody yet. `http` bounds each call in time.
    #[must_use]
    pub fn new(config: WechatConfig, http: Client) -> Self {
        Self { config, http }
    }

    /// Redeems the code of `wx.login`. Whatever comes of it, the code may be spent.
    pub async fn code2session(&self, js_code: &str) -> Result<Login, LoginError> {
        let address = format!("{}/sns/jscode2session", self.config.api_base.trim_end_matches('/'));
        let query = [
            ("appid", self.config.app_id.as_str()),
            ("secret", self.config.secret.expose_secret()),
            ("js_code", js_code),
            ("grant_type", "authorization_code"),
        ];
        let url = Url::parse_with_params(&address, query)
            .map_err(|error| unavailable(&format!("miniprogram.api_base is no URL: {error}")))?;
        let answer = outgoing::exchange(self.http.get(url), ANSWER_BYTES_MAX)
            .await
            .map_err(|error| unavailable(&error.to_string()))?;
        if !answer.status.is_success() {
            return Err(unavailable(&format!("HTTP status {}", answer.status.as_u16())));
        }
        let parsed: Code2SessionAnswer = serde_json::from_slice(&answer.body)
            .map_err(|_| unavailable("the answer is no JSON of the known form"))?;
        login(parsed)
    }
}

fn login(answer: Code2SessionAnswer) -> Result<Login, LoginError> {
    match answer.errcode {
        0 => {}
        CODE_INVALID | CODE_USED => return Err(LoginError::CodeInvalid),
        USER_BLOCKED => return Err(LoginError::Refused),
        TOO_MANY_LOGINS => return Err(LoginError::TooMany),
        errcode => {
            tracing::error!(errcode, hint = hint(errcode), "WeChat refused a login (code2Session)");
            return Err(LoginError::Unavailable);
        }
    }
    let id = |id: Option<String>| id.filter(|id| !id.is_empty() && id.len() <= ID_BYTES_MAX);
    let openid = id(answer.openid).ok_or_else(|| unavailable("the answer names no openid"))?;
    Ok(Login { openid: OpenId::new(openid), unionid: id(answer.unionid).map(UnionId::new) })
}

fn unavailable(reason: &str) -> LoginError {
    tracing::warn!(reason, "asking WeChat who logs in (code2Session) failed");
    LoginError::Unavailable
}

/// What the operator can do about it.
fn hint(errcode: i64) -> &'static str {
    match errcode {
        -1 => "WeChat is busy; the user has to try again",
        40013 | 41002 => "check miniprogram.app_id",
        40125 | 40001 | 41004 => {
            "check miniprogram.secret: the AppSecret of the mini program, perhaps reset since"
        }
        40243 => "the AppSecret is frozen: unfreeze it in the mini program's console",
        40164 => "add this server's outgoing address to the IP whitelist in the mini program's console",
        _ => "see WeChat's table of codes",
    }
}

#[cfg(test)]
mod tests;

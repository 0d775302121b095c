//! The subscribe message that tells of a binding: `message/subscribe/send`, with an access token of the mini program.
//!
//! Sent once and never repeated, but for a refused access token, since the refused call did nothing. What a failure
//! means for the sender is decided here; when to try again is not.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use actors::{
    ids::Timestamp,
    ports::{BoxFuture, CallError, Clock, MiniProgram, Notice, NoticeFate},
};
use jiff::tz::{Offset, TimeZone};
use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    ANSWER_BYTES_MAX, WechatConfig,
    access_token::{AccessToken, AccessTokens, Issued, NoToken},
    hint,
    stable_token::{self, parsed},
};
use crate::outgoing::{self, ExchangeError};

/// Filled in with the moment of the binding.
const TIME_PLACEHOLDER: &str = "{time}";
/// WeChat shows times by China's clock.
const CHINA: Offset = Offset::constant(8);
/// The form of WeChat's own example for fields `time` and `date` (订阅消息参数值内容限制说明): `2019年10月1日 15:01`.
const TIME_FORM: &str = "%Y年%-m月%-d日 %H:%M";
/// How many characters WeChat takes in a field, by the beginning of its name (same table). Other kinds have a form of
/// their own, which cutting would break.
const CHARS_MAX: [(&str, usize); 5] =
    [("thing", 20), ("character_string", 32), ("letter", 32), ("name", 10), ("phrase", 5)];
/// How much of WeChat's words is kept, in bytes.
const ERRMSG_BYTES_MAX: usize = 300;

/// WeChat is busy.
const BUSY: i64 = -1;
/// The access token is not taken (`stable_token`: the secret is wrong).
const BAD_ACCESS_TOKEN: [i64; 3] = [40001, 40014, 42001];
/// The template doesn't exist.
const BAD_TEMPLATE: i64 = 40037;
/// The page is not in the released version.
const NO_SUCH_PAGE: i64 = 41030;
/// The user did not ask for it, or no longer.
const UNWANTED: i64 = 43101;
/// The quota of the day, or of the minute, is used up.
const TOO_MANY_CALLS: [i64; 2] = [45009, 45011];
/// A field is missing, empty, or of the wrong form; WeChat's words name it.
const BAD_DATA: i64 = 47003;
/// How long to wait after [`TOO_MANY_CALLS`], at least.
const TOO_MANY_CALLS_WAIT: Duration = Duration::from_mins(1);
/// How long to wait before a message that was never sent is tried again.
const NOT_SENT_WAIT: Duration = Duration::from_secs(5);

/// See the module. `Debug` shows no secret.
pub struct NoticeClient {
    config: WechatConfig,
    page: String,
    http: Client,
    tokens: AccessTokens,
}

impl fmt::Debug for NoticeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoticeClient").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct SendRequest<'n> {
    touser: &'n str,
    template_id: &'n str,
    page: &'n str,
    data: BTreeMap<&'n str, Field>,
    /// Required by the newest document.
    miniprogram_state: &'static str,
    /// Likewise.
    lang: &'static str,
}

#[derive(Serialize)]
struct Field {
    value: String,
}

#[derive(Deserialize)]
struct SendAnswer {
    /// Must be there, since nothing else shows that WeChat answered.
    errcode: i64,
    #[serde(default)]
    errmsg: String,
}

/// How one call went wrong.
enum Failed {
    /// The access token was not taken, so nothing was done.
    Token(i64),
    /// Anything else.
    Other(CallError),
}

impl NoticeClient {
    /// A client that has not called anybody yet. `page` is what a tap on the message opens, without `.html`; `http`
    /// bounds each call in time.
    #[must_use]
    pub fn new(config: WechatConfig, page: String, http: Client, clock: Arc<dyn Clock>) -> Self {
        Self { config, page, http, tokens: AccessTokens::new(clock) }
    }

    async fn send(&self, notice: Notice) -> Result<NoticeFate, CallError> {
        let request = SendRequest {
            touser: notice.openid.as_str(),
            template_id: &notice.template_id,
            page: &self.page,
            data: fields(&notice),
            miniprogram_state: "formal",
            lang: "zh_CN",
        };
        let json = serde_json::to_vec(&request).map_err(|error| CallError::Refused {
            errcode: 0,
            errmsg: format!("our request can't be written: {error}"),
        })?;
        let token = self.access_token().await?;
        let errcode = match self.send_with(&token, &json).await {
            Ok(fate) => return Ok(fate),
            Err(Failed::Other(error)) => return Err(error),
            Err(Failed::Token(errcode)) => errcode,
        };
        tracing::info!(errcode, "WeChat no longer takes the mini program's access token: asking for another");
        self.tokens.give_up(&token).await;
        let token = self.access_token().await?;
        self.send_with(&token, &json).await.map_err(|failed| match failed {
            Failed::Other(error) => error,
            Failed::Token(errcode) => CallError::Misconfigured {
                errcode,
                hint: "WeChat refuses the access token that it has just given for miniprogram.app_id and \
                       miniprogram.secret"
                    .to_owned(),
            },
        })
    }

    async fn access_token(&self) -> Result<AccessToken, CallError> {
        self.tokens.get(|| self.stable_token()).await.map_err(|error| match error {
            NoToken::Refused(error) => error,
            NoToken::Unreachable(why) => not_sent(&why),
        })
    }

    async fn stable_token(&self) -> Result<Issued, NoToken> {
        let answer = stable_token::ask(&self.config, &self.http).await.map_err(NoToken::Unreachable)?;
        match answer.errcode {
            0 if answer.access_token.is_empty() => {
                Err(NoToken::Unreachable("the answer names no access token".to_owned()))
            }
            0 => Ok(Issued { access_token: answer.access_token.into(), expires_in_s: answer.expires_in }),
            BUSY => Err(NoToken::Unreachable("WeChat is busy".to_owned())),
            errcode if TOO_MANY_CALLS.contains(&errcode) => Err(NoToken::Refused(throttled(errcode))),
            errcode => {
                let hint = hint(errcode);
                tracing::error!(errcode, hint, "WeChat issues no access token (stable_token)");
                Err(NoToken::Refused(CallError::Misconfigured { errcode, hint: hint.to_owned() }))
            }
        }
    }

    async fn send_with(&self, token: &AccessToken, json: &[u8]) -> Result<NoticeFate, Failed> {
        let query = [("access_token", token.text.expose_secret())];
        let url = self.url("/cgi-bin/message/subscribe/send", &query).map_err(Failed::Other)?;
        let unreachable = |why: String| Failed::Other(CallError::Unreachable(why));
        let answer: SendAnswer =
            match outgoing::exchange(self.post(url, json.to_vec()), ANSWER_BYTES_MAX).await {
                Err(error @ ExchangeError::NoConnection(_)) => {
                    return Err(Failed::Other(not_sent(&error.to_string())));
                }
                exchanged => parsed(exchanged).map_err(unreachable)?,
            };
        match answer.errcode {
            0 => Ok(NoticeFate::Sent),
            UNWANTED => Ok(NoticeFate::Unwanted),
            errcode if BAD_ACCESS_TOKEN.contains(&errcode) => Err(Failed::Token(errcode)),
            errcode => Err(Failed::Other(refusal(errcode, &answer.errmsg))),
        }
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, CallError> {
        let address = format!("{}{path}", self.config.api_base.trim_end_matches('/'));
        let url =
            if query.is_empty() { Url::parse(&address) } else { Url::parse_with_params(&address, query) };
        url.map_err(|error| CallError::Misconfigured {
            errcode: 0,
            hint: format!("miniprogram.api_base is no URL: {error}"),
        })
    }

    fn post(&self, url: Url, json: Vec<u8>) -> RequestBuilder {
        self.http.post(url).header(http::header::CONTENT_TYPE, "application/json").body(json)
    }
}

/// A message that did not get as far as WeChat may be sent later; [`CallError::Unreachable`] would mean that nobody
/// knows.
fn not_sent(why: &str) -> CallError {
    tracing::warn!(why, "WeChat can't be reached for a subscribe message");
    CallError::Throttled { errcode: BUSY, wait: NOT_SENT_WAIT }
}

fn throttled(errcode: i64) -> CallError {
    CallError::Throttled { errcode, wait: TOO_MANY_CALLS_WAIT }
}

fn refusal(errcode: i64, errmsg: &str) -> CallError {
    let errmsg = errmsg.get(..errmsg.floor_char_boundary(ERRMSG_BYTES_MAX)).unwrap_or_default();
    let misconfigured = |hint: String| CallError::Misconfigured { errcode, hint };
    match errcode {
        BUSY => CallError::Unreachable(format!("errcode {errcode}: {errmsg}")),
        errcode if TOO_MANY_CALLS.contains(&errcode) => throttled(errcode),
        BAD_TEMPLATE => misconfigured(
            "check miniprogram.subscribe_template_id: the mini program's console lists its templates (订阅消息)"
                .to_owned(),
        ),
        BAD_DATA => misconfigured(format!(
            "check miniprogram.subscribe_data: every field of the template, with a value of its kind ({errmsg})"
        )),
        NO_SUCH_PAGE => misconfigured(
            "release a version of the mini program that has the page of miniprogram.card_path".to_owned(),
        ),
        _ => CallError::Refused { errcode, errmsg: errmsg.to_owned() },
    }
}

/// The template's fields as WeChat takes them.
fn fields(notice: &Notice) -> BTreeMap<&str, Field> {
    let time = china_time(notice.bound_at);
    let field = |(name, text): &'_ (String, String)| {
        let text = text.replace(TIME_PLACEHOLDER, &time).replace(char::is_control, " ");
        let chars_max = CHARS_MAX.iter().find(|(kind, _)| name.starts_with(kind)).map(|(_, most)| *most);
        Field { value: text.chars().take(chars_max.unwrap_or(usize::MAX)).collect() }
    };
    notice.data.iter().map(|row| (row.0.as_str(), field(row))).collect()
}

fn china_time(at: Timestamp) -> String {
    let at = i64::try_from(at.0).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let at = at.unwrap_or(jiff::Timestamp::MAX).to_zoned(TimeZone::fixed(CHINA));
    at.strftime(TIME_FORM).to_string()
}

impl MiniProgram for NoticeClient {
    fn notify(&self, notice: Notice) -> BoxFuture<'_, Result<NoticeFate, CallError>> {
        Box::pin(self.send(notice))
    }
}

#[cfg(test)]
mod tests;

//! The calls that we make to WeCom: [`actors::ports::WeCom`] over HTTPS.
//!
//! What an error code means for the caller is decided in `verdict` and nowhere else. Nothing is retried but one thing:
//! a call refused for its access token is repeated once with a new one. Whoever calls knows its own budget. No more
//! calls of one interface are open at once than WeCom allows; the others wait for their turn, a while.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use actors::{
    ids::OpenKfId,
    ports::{CallError, Clock},
    tally::Tally,
};
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use super::{
    access_token::{AccessToken, AccessTokens, Issued},
    api,
    clock_skew::ClockSkew,
};
use crate::outgoing::{self, Answer, ExchangeError};

mod port;
mod seats;
mod verdict;

use seats::Seats;
use verdict::{Api, TokenFault, failure, token_fault};

/// The key of the app's secret, for what the operator is told.
const SECRET_KEY: &str = "wecom.secret";
/// A login code that nobody was ever given.
const NO_LOGIN_CODE: &str = "kfbind-check";

/// Whom to call, and as whom.
#[derive(Clone, Debug)]
pub struct WecomConfig {
    /// `https://qyapi.weixin.qq.com`, without a slash at the end.
    pub api_base: String,
    /// The corp.
    pub corp_id: String,
    /// The app's secret.
    pub secret: SecretString,
    /// The mini program whose pages cards open.
    pub app_id: String,
}

/// What `/readyz` shows of the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientStatus {
    /// Whether there ever was an access token.
    pub token_had: bool,
    /// Why calls are stopped, if they are.
    pub stopped: Option<String>,
    /// Our clock minus WeCom's in seconds, by the last answer's `Date`; `None` before the first.
    pub clock_skew_s: Option<i64>,
    /// The last failure, until a call of the same kind works. Holds no secret.
    pub last_error: Option<String>,
}

/// See the module. Cheap to share behind an `Arc`; `Debug` shows no secret.
pub struct WecomClient {
    config: WecomConfig,
    http: Client,
    tally: Tally,
    tokens: AccessTokens,
    seats: Seats,
    skew: ClockSkew,
    last_error: Mutex<Option<(Api, String)>>,
}

impl fmt::Debug for WecomClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WecomClient").field("config", &self.config).finish_non_exhaustive()
    }
}

impl WecomClient {
    /// A client that has not called anybody yet. `http` bounds each call in time.
    #[must_use]
    pub fn new(config: WecomConfig, http: Client, clock: Arc<dyn Clock>, tally: Tally) -> Self {
        Self::with_secret_of(SECRET_KEY, config, http, clock, tally)
    }

    /// The same for another app of the corp, whose secret is that of this key.
    pub(super) fn with_secret_of(
        secret_key: &'static str,
        config: WecomConfig,
        http: Client,
        clock: Arc<dyn Clock>,
        tally: Tally,
    ) -> Self {
        Self {
            config,
            http,
            tally,
            tokens: AccessTokens::new(secret_key, Arc::clone(&clock)),
            seats: Seats::default(),
            skew: ClockSkew::new(clock),
            last_error: Mutex::default(),
        }
    }

    /// How the client stands.
    #[must_use]
    pub fn status(&self) -> ClientStatus {
        let last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        ClientStatus {
            token_had: self.tokens.had(),
            stopped: self.tokens.stopped(),
            clock_skew_s: self.skew.seconds(),
            last_error: last_error.as_ref().map(|(api, text)| format!("{}: {text}", api.label())),
        }
    }

    /// Asks for an access token unless there is one, and nothing else: what a start checks first.
    pub async fn check_access_token(&self) -> Result<(), CallError> {
        self.access_token().await.map(drop)
    }

    /// Who receives in an account (`kf/servicer/list`), which no rule depends on: for the operator.
    pub async fn servicers(&self, account: &OpenKfId) -> Result<Vec<api::ServicerRow>, CallError> {
        let body = self.ask(Api::ServicerList, &Ask::Get(&[("open_kfid", account.as_str())])).await?;
        let answer: api::ServicerListAnswer = self.parsed(Api::ServicerList, &body)?;
        Ok(api::readable_rows(&answer.servicer_list.unwrap_or_default()))
    }

    /// Which employee a login code of the WeCom mini program stands for. A code is good for one try.
    pub(super) async fn staff_code2session(
        &self,
        js_code: &str,
    ) -> Result<api::StaffSessionAnswer, CallError> {
        let query = [("js_code", js_code), ("grant_type", "authorization_code")];
        let body = self.ask(Api::StaffLogin, &Ask::Get(&query)).await?;
        self.parsed(Api::StaffLogin, &body)
    }

    /// The same with a code that nobody was given, for what WeCom says about the app. No other access token is tried.
    pub(super) async fn staff_probe(&self) -> Result<(), CallError> {
        let token = self.access_token().await?;
        let query = [("js_code", NO_LOGIN_CODE), ("grant_type", "authorization_code")];
        let asked = self.ask_with(Api::StaffLogin, &token, &Ask::Get(&query)).await;
        asked.map(drop).map_err(|failed| failed.error)
    }

    async fn access_token(&self) -> Result<AccessToken, CallError> {
        self.tokens.get(|| self.gettoken()).await
    }

    async fn gettoken(&self) -> Result<Issued, CallError> {
        let secret = self.config.secret.expose_secret();
        let url = self.url(Api::Gettoken, &[("corpid", &self.config.corp_id), ("corpsecret", secret)])?;
        let body = self.observed(Api::Gettoken, self.http.get(url)).await.map_err(|failed| failed.error)?;
        let answer: api::GettokenAnswer = self.parsed(Api::Gettoken, &body)?;
        if answer.access_token.is_empty() {
            return Err(self.unusable(Api::Gettoken, "an empty access_token"));
        }
        Ok(Issued { access_token: answer.access_token.into(), expires_in_s: answer.expires_in })
    }

    /// A business call whose answer is parsed as `T`.
    async fn call<T: DeserializeOwned>(&self, api: Api, request: &impl Serialize) -> Result<T, CallError> {
        let body = self.call_raw(api, request).await?;
        self.parsed(api, &body)
    }

    /// A business call: with an access token, and once more with a new one where that was the fault.
    async fn call_raw(&self, api: Api, request: &impl Serialize) -> Result<Vec<u8>, CallError> {
        let json = self.written(api, request)?;
        self.ask(api, &Ask::Post(json)).await
    }

    fn written(&self, api: Api, request: &impl Serialize) -> Result<Vec<u8>, CallError> {
        serde_json::to_vec(request)
            .map_err(|error| self.unusable(api, &format!("our request can't be written: {error}")))
    }

    async fn ask(&self, api: Api, ask: &Ask<'_>) -> Result<Vec<u8>, CallError> {
        self.attempt(api, ask).await.map_err(|failed| failed.error)
    }

    /// The same, and of a failure also whether WeCom may have done something.
    async fn attempt(&self, api: Api, ask: &Ask<'_>) -> Result<Vec<u8>, Failed> {
        let _seat = self.seats.take(api).await.map_err(Failed::without_effect)?;
        let token = self.access_token().await.map_err(Failed::without_effect)?;
        let failed = match self.ask_with(api, &token, ask).await {
            Ok(body) => return Ok(body),
            Err(failed) => failed,
        };
        let renew = match token_fault(&failed.error) {
            TokenFault::None => false,
            TokenFault::Refused => {
                self.tokens.give_up(&token);
                true
            }
            TokenFault::IssuedTooEarly => self.tokens.give_up_for_console(&token),
        };
        if !renew {
            return Err(failed);
        }
        let token = self.access_token().await.map_err(Failed::without_effect)?;
        self.ask_with(api, &token, ask).await.map_err(|failed| match token_fault(&failed.error) {
            // Not for good: the call itself was never looked at.
            TokenFault::Refused => Failed::without_effect(CallError::Unreachable(format!(
                "a new access token is refused too ({})",
                failed.error
            ))),
            _ => failed,
        })
    }

    async fn ask_with(&self, api: Api, token: &AccessToken, ask: &Ask<'_>) -> Result<Vec<u8>, Failed> {
        let mut query = vec![("access_token", token.text.expose_secret())];
        if let Ask::Get(parameters) = ask {
            query.extend_from_slice(parameters);
        }
        let url = self.url(api, &query).map_err(Failed::without_effect)?;
        let request = match ask {
            Ask::Post(json) => {
                let request = self.http.post(url).header(http::header::CONTENT_TYPE, "application/json");
                request.body(json.clone())
            }
            Ask::Get(_) => self.http.get(url),
        };
        self.observed(api, request).await
    }

    fn url(&self, api: Api, query: &[(&str, &str)]) -> Result<Url, CallError> {
        let address = format!("{}{}", self.config.api_base.trim_end_matches('/'), api.path());
        Url::parse_with_params(&address, query)
            .map_err(|error| self.unusable(api, &format!("wecom.api_base is no URL: {error}")))
    }

    /// Makes a call, counts it, and judges its errcode. Gives the body of a call that was done.
    async fn observed(&self, api: Api, request: RequestBuilder) -> Result<Vec<u8>, Failed> {
        let begun = tokio::time::Instant::now();
        let exchanged = outgoing::exchange(request, api.body_bytes_max()).await;
        let (result, label) = match exchanged {
            Ok(answer) => match self.judged(api, answer) {
                Ok(body) => (Ok(body), None),
                Err((label, error)) => (Err(Failed::perhaps_done(error)), Some(label)),
            },
            Err(error) => {
                let unreachable = CallError::Unreachable(error.to_string());
                let failed = match error {
                    ExchangeError::NoConnection(_) => Failed::without_effect(unreachable),
                    _ => Failed::perhaps_done(unreachable),
                };
                (Err(failed), Some(error.label().to_owned()))
            }
        };
        self.tally.wecom_call(api.label(), begun.elapsed(), label);
        self.remember(api, result.as_ref().err().map(|failed| &failed.error));
        result
    }

    /// The body, or the name of the failure for the metric and what it means.
    fn judged(&self, api: Api, answer: Answer) -> Result<Vec<u8>, (String, CallError)> {
        if !answer.status.is_success() {
            let status = answer.status.as_u16();
            return Err((format!("http_{status}"), CallError::Unreachable(format!("HTTP status {status}"))));
        }
        let Ok(head) = api::parse::<api::Head>(&api::body_text(&answer.body)) else {
            return Err(("not_json".to_owned(), CallError::Unreachable("the answer is no JSON".to_owned())));
        };
        if let Some(date) = &answer.date {
            self.skew.observe(date, answer.round_trip);
        }
        match failure(api, &head) {
            None => Ok(answer.body),
            Some(error) => Err((head.errcode.to_string(), error)),
        }
    }

    fn parsed<T: DeserializeOwned>(&self, api: Api, body: &[u8]) -> Result<T, CallError> {
        // The parser's own words may quote the answer.
        api::parse(&api::body_text(body))
            .map_err(|_| self.unusable(api, "the answer lacks what it should hold"))
    }

    fn unusable(&self, api: Api, what: &str) -> CallError {
        let error = CallError::Unreachable(what.to_owned());
        self.remember(api, Some(&error));
        error
    }

    fn remember(&self, api: Api, error: Option<&CallError>) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => *last = Some((api, error.to_string())),
            None => drop(last.take_if(|(failed, _)| *failed == api)),
        }
    }
}

/// What a business call carries beside its access token.
enum Ask<'a> {
    /// A body.
    Post(Vec<u8>),
    /// More parameters.
    Get(&'a [(&'a str, &'a str)]),
}

/// A failure, and whether it is sure that WeCom did nothing: asked by calls that know no repeat.
struct Failed {
    error: CallError,
    had_no_effect: bool,
}

impl Failed {
    fn without_effect(error: CallError) -> Self {
        Self { error, had_no_effect: true }
    }

    fn perhaps_done(error: CallError) -> Self {
        Self { error, had_no_effect: false }
    }
}

#[cfg(test)]
mod tests;

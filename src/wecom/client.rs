//! The calls that we make to WeCom: [`actors::ports::WeCom`] over HTTPS.
//!
//! What an error code means for the caller is decided in `verdict` and nowhere else. Nothing is retried but one thing:
//! a call refused for its access token is repeated once with a new one. Whoever calls knows its own budget.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use actors::{
    ids::{ExternalUserId, OpenKfId, UnionId},
    ports::{BoxFuture, CallError, Clock, KfAccount, Page, Profile, PullRequest, Reply, ServiceState, WeCom},
    tally::{Tally, count},
};
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use super::{
    access_token::{AccessToken, AccessTokens, Issued},
    api::{self, page},
    clock_skew::ClockSkew,
};
use crate::outgoing::{self, Answer};

mod verdict;

use verdict::{Api, TokenFault, failure, token_fault};

/// How many pages of accounts are read: twice the 5000 that a corp may have.
const ACCOUNT_PAGES_MAX: u32 = 100;
/// The state that `service_state/trans` moves a session to: the assistant, that is us.
const STATE_ASSISTANT: u32 = 1;

/// Whom to call, and as whom.
#[derive(Clone, Debug)]
pub struct WecomConfig {
    /// `https://qyapi.weixin.qq.com`, without a slash at the end.
    pub api_base: String,
    /// The corp.
    pub corp_id: String,
    /// The app's secret.
    pub secret: SecretString,
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
        Self {
            config,
            http,
            tally,
            tokens: AccessTokens::new(Arc::clone(&clock)),
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
        let body = self.ask(Api::ServicerList, &Ask::Get(("open_kfid", account.as_str()))).await?;
        let answer: api::ServicerListAnswer = self.parsed(Api::ServicerList, &body)?;
        Ok(api::readable_rows(&answer.servicer_list.unwrap_or_default()))
    }

    async fn access_token(&self) -> Result<AccessToken, CallError> {
        self.tokens.get(|| self.gettoken()).await
    }

    async fn gettoken(&self) -> Result<Issued, CallError> {
        let secret = self.config.secret.expose_secret();
        let url = self.url(Api::Gettoken, &[("corpid", &self.config.corp_id), ("corpsecret", secret)])?;
        let body = self.observed(Api::Gettoken, self.http.get(url)).await?;
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
        let json = serde_json::to_vec(request)
            .map_err(|error| self.unusable(api, &format!("our request can't be written: {error}")))?;
        self.ask(api, &Ask::Post(json)).await
    }

    async fn ask(&self, api: Api, ask: &Ask<'_>) -> Result<Vec<u8>, CallError> {
        let token = self.access_token().await?;
        let error = match self.ask_with(api, &token, ask).await {
            Ok(body) => return Ok(body),
            Err(error) => error,
        };
        let renew = match token_fault(&error) {
            TokenFault::None => false,
            TokenFault::Refused => {
                self.tokens.give_up(&token);
                true
            }
            TokenFault::IssuedTooEarly => self.tokens.give_up_for_console(&token),
        };
        if !renew {
            return Err(error);
        }
        let token = self.access_token().await?;
        self.ask_with(api, &token, ask).await.map_err(|error| match token_fault(&error) {
            // Not for good: the call itself was never looked at.
            TokenFault::Refused => {
                CallError::Unreachable(format!("a new access token is refused too ({error})"))
            }
            _ => error,
        })
    }

    async fn ask_with(&self, api: Api, token: &AccessToken, ask: &Ask<'_>) -> Result<Vec<u8>, CallError> {
        let token = ("access_token", token.text.expose_secret());
        let request = match ask {
            Ask::Post(json) => {
                let request = self.http.post(self.url(api, &[token])?);
                request.header(http::header::CONTENT_TYPE, "application/json").body(json.clone())
            }
            Ask::Get(parameter) => self.http.get(self.url(api, &[token, *parameter])?),
        };
        self.observed(api, request).await
    }

    fn url(&self, api: Api, query: &[(&str, &str)]) -> Result<Url, CallError> {
        let address = format!("{}{}", self.config.api_base.trim_end_matches('/'), api.path());
        Url::parse_with_params(&address, query)
            .map_err(|error| self.unusable(api, &format!("wecom.api_base is no URL: {error}")))
    }

    /// Makes a call, counts it, and judges its errcode. Gives the body of a call that was done.
    async fn observed(&self, api: Api, request: RequestBuilder) -> Result<Vec<u8>, CallError> {
        let begun = tokio::time::Instant::now();
        let exchanged = outgoing::exchange(request, api.body_bytes_max()).await;
        let judged = match exchanged {
            Err(error) => Err((error.label().to_owned(), CallError::Unreachable(error.to_string()))),
            Ok(answer) => self.judged(api, answer),
        };
        let (result, errcode) = match judged {
            Ok(body) => (Ok(body), None),
            Err((label, error)) => (Err(error), Some(label)),
        };
        self.tally.wecom_call(api.label(), begun.elapsed(), errcode);
        self.remember(api, result.as_ref().err());
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

    async fn pull_page(&self, request: PullRequest) -> Result<Page, CallError> {
        let body = api::SyncMsgRequest {
            cursor: request.cursor.map(|cursor| cursor.as_str().to_owned()),
            token: request.sync_token.map(|token| token.value),
            limit: api::SYNC_MSG_LIMIT,
            open_kfid: request.account.as_str().to_owned(),
        };
        let answer = self.call_raw(Api::SyncMsg, &body).await?;
        let parsed = page::parse_page(&answer, &request.account)
            .map_err(|error| self.unusable(Api::SyncMsg, &error.to_string()))?;
        for _ in 0..parsed.unreadable_not_kept {
            count(&self.tally.sync_messages, "kind", "unreadable");
        }
        Ok(parsed.page)
    }

    async fn list_accounts(&self) -> Result<Vec<KfAccount>, CallError> {
        let mut accounts: Vec<KfAccount> = Vec::new();
        for page in 0..ACCOUNT_PAGES_MAX {
            let request = api::AccountListRequest {
                offset: page * api::ACCOUNT_LIST_LIMIT,
                limit: api::ACCOUNT_LIST_LIMIT,
            };
            let answer: api::AccountListAnswer = self.call(Api::AccountList, &request).await?;
            let listed = answer.account_list.unwrap_or_default();
            let rows: Vec<api::AccountRow> = api::readable_rows(&listed);
            accounts.extend(rows.into_iter().filter(|row| !row.open_kfid.is_empty()).map(|row| KfAccount {
                account: OpenKfId::new(row.open_kfid),
                name: row.name,
                api_managed: row.manage_privilege.unwrap_or(true),
            }));
            let asked = usize::try_from(api::ACCOUNT_LIST_LIMIT).unwrap_or(usize::MAX);
            if listed.len() < asked {
                break;
            }
        }
        Ok(accounts)
    }

    async fn get_profiles(&self, customers: Vec<ExternalUserId>) -> Result<Vec<Profile>, CallError> {
        if customers.is_empty() {
            return Ok(Vec::new());
        }
        let request = api::BatchgetRequest {
            external_userid_list: customers
                .iter()
                .take(api::BATCHGET_MAX)
                .map(|customer| customer.as_str().to_owned())
                .collect(),
        };
        let answer: api::BatchgetAnswer = self.call(Api::CustomerBatchget, &request).await?;
        let rows: Vec<api::CustomerRow> = api::readable_rows(&answer.customer_list.unwrap_or_default());
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(rows
            .into_iter()
            .map(|row| Profile {
                customer: ExternalUserId::new(row.external_userid),
                nickname: filled(row.nickname),
                unionid: filled(row.unionid).map(UnionId::new),
            })
            .collect())
    }

    async fn say(&self, reply: Reply) -> Result<(), CallError> {
        let mut content = reply.text;
        content.truncate(content.floor_char_boundary(api::TEXT_BYTES_MAX));
        let request = api::SendTextRequest {
            touser: reply.customer.as_str().to_owned(),
            open_kfid: reply.account.as_str().to_owned(),
            msgid: reply.reply_id.as_str().to_owned(),
            msgtype: "text".to_owned(),
            text: api::TextBody { content },
        };
        self.call::<api::DoneAnswer>(Api::SendMsg, &request).await.map(drop)
    }
}

/// What a business call carries beside its access token.
enum Ask<'a> {
    /// A body.
    Post(Vec<u8>),
    /// One more parameter.
    Get((&'a str, &'a str)),
}

impl WeCom for WecomClient {
    fn pull(&self, request: PullRequest) -> BoxFuture<'_, Result<Page, CallError>> {
        Box::pin(self.pull_page(request))
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<KfAccount>, CallError>> {
        Box::pin(self.list_accounts())
    }

    fn contact_way(&self, account: OpenKfId, scene: String) -> BoxFuture<'_, Result<String, CallError>> {
        Box::pin(async move {
            let request = api::AddContactWayRequest { open_kfid: account.as_str().to_owned(), scene };
            let answer: api::AddContactWayAnswer = self.call(Api::AddContactWay, &request).await?;
            if answer.url.is_empty() {
                return Err(self.unusable(Api::AddContactWay, "an empty url"));
            }
            Ok(answer.url)
        })
    }

    fn send(&self, reply: Reply) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(self.say(reply))
    }

    fn service_state(
        &self,
        account: OpenKfId,
        customer: ExternalUserId,
    ) -> BoxFuture<'_, Result<ServiceState, CallError>> {
        Box::pin(async move {
            let request = api::ServiceStateRequest {
                open_kfid: account.as_str().to_owned(),
                external_userid: customer.as_str().to_owned(),
            };
            let answer: api::ServiceStateAnswer = self.call(Api::ServiceStateGet, &request).await?;
            Ok(match answer.service_state {
                0 => ServiceState::New,
                1 => ServiceState::Assistant,
                2 => ServiceState::Queue,
                3 => ServiceState::Person,
                4 => ServiceState::Ended,
                other => ServiceState::Unknown(other),
            })
        })
    }

    fn to_assistant(
        &self,
        account: OpenKfId,
        customer: ExternalUserId,
    ) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move {
            let request = api::ServiceStateTransRequest {
                open_kfid: account.as_str().to_owned(),
                external_userid: customer.as_str().to_owned(),
                service_state: STATE_ASSISTANT,
            };
            self.call::<api::DoneAnswer>(Api::ServiceStateTrans, &request).await.map(drop)
        })
    }

    fn profiles(&self, customers: Vec<ExternalUserId>) -> BoxFuture<'_, Result<Vec<Profile>, CallError>> {
        Box::pin(self.get_profiles(customers))
    }
}

#[cfg(test)]
mod tests;

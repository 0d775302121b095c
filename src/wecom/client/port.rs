//! What the actors ask of WeCom ([`actors::ports::WeCom`]), as calls of the client.

use actors::{
    ids::{ExternalUserId, OpenKfId, Ticket, UnionId, UserId, WelcomeCode},
    ports::{
        BoxFuture, CallError, KfAccount, Page, Profile, PullRequest, Receiver, Reply, ServiceState, WeCom,
    },
    tally::count,
};

use super::{Api, Ask, WecomClient};
use crate::wecom::api::{
    self,
    message::{Content, SendMsgOnEventRequest, SendMsgRequest},
    page,
};

/// How many pages of accounts are read: twice the 5000 that a corp may have.
const ACCOUNT_PAGES_MAX: u32 = 100;
/// The states that `service_state/trans` moves a session to.
const STATE_ASSISTANT: u32 = 1;
const STATE_POOL: u32 = 2;
const STATE_SERVICER: u32 = 3;
/// The errcode of a call that WeCom never saw, so that it has none.
const NOT_MADE: i64 = 0;
/// The `status` of a servicer who is receiving.
const RECEIVING: u32 = 0;

impl WecomClient {
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

    async fn make_link(&self, account: OpenKfId, scene: String) -> Result<String, CallError> {
        let request = api::AddContactWayRequest { open_kfid: account.as_str().to_owned(), scene };
        let answer: api::AddContactWayAnswer = self.call(Api::AddContactWay, &request).await?;
        if answer.url.is_empty() {
            return Err(self.unusable(Api::AddContactWay, "an empty url"));
        }
        Ok(answer.url)
    }

    async fn say(&self, reply: Reply) -> Result<(), CallError> {
        let request = SendMsgRequest::of(reply, &self.config.app_id);
        self.call::<api::DoneAnswer>(Api::SendMsg, &request).await.map(drop)
    }

    async fn say_on_event(&self, code: WelcomeCode, reply: Reply) -> Result<(), CallError> {
        let request = SendMsgOnEventRequest {
            code: code.as_str().to_owned(),
            msgid: reply.reply_id.as_str().to_owned(),
            content: Content::of(reply.words, &self.config.app_id),
        };
        let json = self.written(Api::SendMsgOnEvent, &request).map_err(never_said)?;
        let body = self
            .attempt(Api::SendMsgOnEvent, &Ask::Post(json))
            .await
            .map_err(|failed| if failed.had_no_effect { never_said(failed.error) } else { failed.error })?;
        self.parsed::<api::DoneAnswer>(Api::SendMsgOnEvent, &body).map(drop)
    }

    async fn get_state(
        &self,
        account: OpenKfId,
        customer: ExternalUserId,
    ) -> Result<ServiceState, CallError> {
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
    }

    async fn move_session(
        &self,
        account: OpenKfId,
        customer: ExternalUserId,
        to: Receiver,
    ) -> Result<(), CallError> {
        let (service_state, servicer) = match to {
            Receiver::Assistant => (STATE_ASSISTANT, None),
            Receiver::Pool => (STATE_POOL, None),
            Receiver::Servicer(userid) => (STATE_SERVICER, Some(userid)),
        };
        let request = api::ServiceStateTransRequest {
            open_kfid: account.as_str().to_owned(),
            external_userid: customer.as_str().to_owned(),
            service_state,
            servicer_userid: servicer.map(|userid| userid.as_str().to_owned()),
        };
        self.call::<api::DoneAnswer>(Api::ServiceStateTrans, &request).await.map(drop)
    }

    async fn list_receiving(&self, account: &OpenKfId) -> Result<Vec<UserId>, CallError> {
        let receives = |row: &api::ServicerRow| row.status == Some(RECEIVING);
        let servicers = self.servicers(account).await?;
        let names = servicers.into_iter().filter(receives).filter_map(|row| row.userid);
        Ok(names.filter(|userid| !userid.is_empty()).map(UserId::new).collect())
    }

    async fn get_profiles(
        &self,
        customers: Vec<ExternalUserId>,
        with_entry: bool,
    ) -> Result<Vec<Profile>, CallError> {
        if customers.is_empty() {
            return Ok(Vec::new());
        }
        let names = customers.iter().take(api::BATCHGET_MAX).map(|customer| customer.as_str().to_owned());
        let request = api::BatchgetRequest {
            external_userid_list: names.collect(),
            need_enter_session_context: u8::from(with_entry),
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
                entered_with: row
                    .enter_session_context
                    .and_then(|entry| filled(entry.scene_param))
                    .map(Ticket::new),
            })
            .collect())
    }
}

/// A welcome that did not get as far as WeCom may be said otherwise; [`CallError::Unreachable`] would mean that nobody
/// knows.
fn never_said(error: CallError) -> CallError {
    match error {
        CallError::Unreachable(why) => {
            CallError::Refused { errcode: NOT_MADE, errmsg: format!("the call was not made: {why}") }
        }
        error => error,
    }
}

impl WeCom for WecomClient {
    fn pull(&self, request: PullRequest) -> BoxFuture<'_, Result<Page, CallError>> {
        Box::pin(self.pull_page(request))
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<KfAccount>, CallError>> {
        Box::pin(self.list_accounts())
    }

    fn contact_way(&self, account: OpenKfId, scene: String) -> BoxFuture<'_, Result<String, CallError>> {
        Box::pin(self.make_link(account, scene))
    }

    fn send(&self, reply: Reply) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(self.say(reply))
    }

    fn welcome(&self, code: WelcomeCode, reply: Reply) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(self.say_on_event(code, reply))
    }

    fn service_state(
        &self,
        account: OpenKfId,
        customer: ExternalUserId,
    ) -> BoxFuture<'_, Result<ServiceState, CallError>> {
        Box::pin(self.get_state(account, customer))
    }

    fn transfer(
        &self,
        account: OpenKfId,
        customer: ExternalUserId,
        to: Receiver,
    ) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(self.move_session(account, customer, to))
    }

    fn receiving(&self, account: OpenKfId) -> BoxFuture<'_, Result<Vec<UserId>, CallError>> {
        Box::pin(async move { self.list_receiving(&account).await })
    }

    fn profiles(
        &self,
        customers: Vec<ExternalUserId>,
        with_entry: bool,
    ) -> BoxFuture<'_, Result<Vec<Profile>, CallError>> {
        Box::pin(self.get_profiles(customers, with_entry))
    }
}

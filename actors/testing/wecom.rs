//! A little WeCom in memory: streams of messages with cursors and pages, a chat that remembers what was said, and
//! scripts for what should go wrong.
//!
//! It keeps to the documented behaviour where no script says otherwise: an empty cursor is the oldest message, and
//! a reply id is taken once.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    ids::{
        Cursor, ExternalUserId, MessageId, OpenKfId, ReplyId, Ticket, Timestamp, UnionId, UserId, WelcomeCode,
    },
    ports::{
        CallError, KfAccount, KfContent, KfMessage, Notice, NoticeFate, Page, Profile, PullRequest, Receiver,
        Reply, ServiceState,
    },
};

mod calls;
mod seen;

/// See the module. Accounts are those of [`ScriptedWeCom::new`] until they are changed.
#[derive(Debug)]
pub struct ScriptedWeCom {
    state: Mutex<State>,
    pulls_held: watch::Sender<bool>,
    sends_held: watch::Sender<bool>,
    transfers_held: watch::Sender<bool>,
    profiles_held: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    accounts: Vec<KfAccount>,
    streams: BTreeMap<OpenKfId, Vec<Item>>,
    page_messages_max: usize,
    messages_made: u64,
    pulls: Vec<PullRequest>,
    pull_script: VecDeque<Result<Page, CallError>>,
    pulls_in_flight: Vec<OpenKfId>,
    pulls_at_once: usize,
    pulls_of_one_account_at_once: usize,
    sends: Vec<Reply>,
    send_script: VecDeque<Result<(), CallError>>,
    said: Vec<Reply>,
    taken: BTreeSet<(OpenKfId, ReplyId)>,
    service_states: BTreeMap<ExternalUserId, ServiceState>,
    welcomes: Vec<WelcomeCode>,
    welcome_script: VecDeque<Result<(), CallError>>,
    transfers: Vec<(OpenKfId, ExternalUserId, Receiver)>,
    receiving: Vec<UserId>,
    notices: Vec<Notice>,
    notice_script: VecDeque<Result<NoticeFate, CallError>>,
    transfer_script: VecDeque<Result<(), CallError>>,
    sessions_asked: usize,
    profiles: BTreeMap<ExternalUserId, Profile>,
    profile_lookups: Vec<Vec<ExternalUserId>>,
    profile_script: VecDeque<CallError>,
    listings: usize,
    listing_script: VecDeque<CallError>,
    links: Vec<OpenKfId>,
    link_script: VecDeque<CallError>,
}

#[derive(Clone, Debug)]
enum Item {
    Message(Box<KfMessage>),
    Unreadable(String),
}

impl ScriptedWeCom {
    /// A company with these API-managed accounts and nothing said yet.
    #[must_use]
    pub fn new(accounts: &[&str]) -> Self {
        let wecom = Self {
            state: Mutex::new(State { page_messages_max: 100, ..State::default() }),
            pulls_held: watch::Sender::new(false),
            sends_held: watch::Sender::new(false),
            transfers_held: watch::Sender::new(false),
            profiles_held: watch::Sender::new(false),
        };
        wecom.set_accounts(accounts);
        wecom
    }

    /// From now on exactly these accounts are API-managed.
    pub fn set_accounts(&self, accounts: &[&str]) {
        let made =
            |id: &&str| KfAccount { account: OpenKfId::new(*id), name: (*id).to_owned(), api_managed: true };
        self.state().accounts = accounts.iter().map(made).collect();
    }

    /// Adds an account as it is given.
    pub fn add_account(&self, account: KfAccount) {
        self.state().accounts.push(account);
    }

    /// From now on at most so many messages stand on a page.
    pub fn set_page_messages_max(&self, messages: usize) {
        self.state().page_messages_max = messages;
    }

    /// A customer writes; the id of the message.
    pub fn says(&self, account: &str, customer: &str, text: &str, sent: Timestamp) -> MessageId {
        let content = KfContent::Text { content: text.to_owned(), menu_id: None };
        self.happens(account, Some(customer), content, sent)
    }

    /// Anything is put into an account's stream; the id of the message.
    pub fn happens(
        &self,
        account: &str,
        customer: Option<&str>,
        content: KfContent,
        sent: Timestamp,
    ) -> MessageId {
        let msgid = MessageId::new(format!("m{}", self.state().messages_made));
        let message = KfMessage {
            msgid: msgid.clone(),
            account: OpenKfId::new(account),
            customer: customer.map(ExternalUserId::new),
            send_time: sent,
            content,
        };
        self.puts(account, message);
        msgid
    }

    /// This very message is put into an account's stream.
    pub fn puts(&self, account: &str, message: KfMessage) {
        let mut state = self.state();
        state.messages_made += 1;
        state.streams.entry(OpenKfId::new(account)).or_default().push(Item::Message(Box::new(message)));
    }

    /// Something that can't be read is put into an account's stream.
    pub fn mumbles(&self, account: &str, raw: &str) {
        self.state()
            .streams
            .entry(OpenKfId::new(account))
            .or_default()
            .push(Item::Unreadable(raw.to_owned()));
    }

    /// The cursor in front of the message at this place of a stream.
    #[must_use]
    pub fn cursor(place: usize) -> Cursor {
        Cursor::new(format!("cursor-{place}"))
    }

    /// The cursor behind everything in an account, `None` where nothing was ever said.
    #[must_use]
    pub fn end(&self, account: &str) -> Option<Cursor> {
        let length = self.state().streams.get(&OpenKfId::new(account)).map_or(0, Vec::len);
        (length > 0).then(|| Self::cursor(length))
    }

    /// The next pulls, of whatever account, get these results.
    pub fn script_pulls(&self, results: impl IntoIterator<Item = Result<Page, CallError>>) {
        self.state().pull_script.extend(results);
    }

    /// The next sends, to whomever, get these results.
    pub fn script_sends(&self, results: impl IntoIterator<Item = Result<(), CallError>>) {
        self.state().send_script.extend(results);
    }

    /// The next welcomes get these results.
    pub fn script_welcomes(&self, results: impl IntoIterator<Item = Result<(), CallError>>) {
        self.state().welcome_script.extend(results);
    }

    /// The next subscribe messages get these results.
    pub fn script_notices(&self, results: impl IntoIterator<Item = Result<NoticeFate, CallError>>) {
        self.state().notice_script.extend(results);
    }

    /// These people are receiving, in every account.
    pub fn set_receiving(&self, userids: &[&str]) {
        self.state().receiving = userids.iter().map(|userid| UserId::new(*userid)).collect();
    }

    /// The ticket of a customer's last entry, as WeCom tells it.
    pub fn set_entry(&self, customer: &str, ticket: &Ticket) {
        let customer = ExternalUserId::new(customer);
        let unknown =
            || Profile { customer: customer.clone(), nickname: None, unionid: None, entered_with: None };
        let mut state = self.state();
        state.profiles.entry(customer.clone()).or_insert_with(unknown).entered_with = Some(ticket.clone());
    }

    /// The next transfers get these results.
    pub fn script_transfers(&self, results: impl IntoIterator<Item = Result<(), CallError>>) {
        self.state().transfer_script.extend(results);
    }

    /// The next questions about customers fail so.
    pub fn script_profiles(&self, errors: impl IntoIterator<Item = CallError>) {
        self.state().profile_script.extend(errors);
    }

    /// The next listings of accounts fail so.
    pub fn script_listings(&self, errors: impl IntoIterator<Item = CallError>) {
        self.state().listing_script.extend(errors);
    }

    /// The next attempts at making a link fail so.
    pub fn script_links(&self, errors: impl IntoIterator<Item = CallError>) {
        self.state().link_script.extend(errors);
    }

    /// Holds pulls open, or lets them go on.
    pub fn hold_pulls(&self, held: bool) {
        self.pulls_held.send_replace(held);
    }

    /// Holds sends open, or lets them go on.
    pub fn hold_sends(&self, held: bool) {
        self.sends_held.send_replace(held);
    }

    /// Holds transfers open, or lets them go on.
    pub fn hold_transfers(&self, held: bool) {
        self.transfers_held.send_replace(held);
    }

    /// WeCom tells nothing of a customer any more.
    pub fn forget_profile(&self, customer: &str) {
        self.state().profiles.remove(&ExternalUserId::new(customer));
    }

    /// Holds questions about customers open, or lets them go on.
    pub fn hold_profiles(&self, held: bool) {
        self.profiles_held.send_replace(held);
    }

    /// The state of a customer's session; [`ServiceState::New`] unless set.
    pub fn set_service_state(&self, customer: &str, state: ServiceState) {
        self.state().service_states.insert(ExternalUserId::new(customer), state);
    }

    /// What WeCom tells of a customer; nothing unless set.
    pub fn set_profile(&self, customer: &str, nickname: &str, unionid: Option<&str>) {
        let customer = ExternalUserId::new(customer);
        let profile = Profile {
            customer: customer.clone(),
            nickname: Some(nickname.to_owned()),
            unionid: unionid.map(UnionId::new),
            entered_with: None,
        };
        self.state().profiles.insert(customer, profile);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn page(&self, request: &PullRequest) -> Page {
        let stream = self.streams.get(&request.account).map_or(&[][..], Vec::as_slice);
        let place = request
            .cursor
            .as_ref()
            .and_then(|cursor| cursor.as_str().strip_prefix("cursor-"))
            .and_then(|place| place.parse().ok())
            .unwrap_or(0)
            .min(stream.len());
        let end = (place + self.page_messages_max).min(stream.len());
        let mut page = Page { has_more: end < stream.len(), ..Page::default() };
        for item in stream.get(place..end).unwrap_or_default() {
            match item {
                Item::Message(message) => page.messages.push((**message).clone()),
                Item::Unreadable(raw) => page.unreadable.push(raw.clone()),
            }
        }
        page.next_cursor = (!stream.is_empty()).then(|| ScriptedWeCom::cursor(end));
        page
    }
}

async fn while_held(gate: &watch::Sender<bool>) {
    let mut gate = gate.subscribe();
    // The sender lives as long as the call, so this can't fail.
    let _ = gate.wait_for(|held| !held).await;
}

/// Ends a pull however it ends, being cut off included.
struct Open<'a>(&'a ScriptedWeCom, OpenKfId);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(place) = state.pulls_in_flight.iter().position(|account| *account == self.1) {
            state.pulls_in_flight.remove(place);
        }
    }
}

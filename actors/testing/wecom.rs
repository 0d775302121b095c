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
    ids::{Cursor, ExternalUserId, MessageId, OpenKfId, ReplyId, Timestamp, UnionId},
    ports::{CallError, KfAccount, KfContent, KfMessage, Page, Profile, PullRequest, Reply, ServiceState},
};

mod calls;

/// See the module. Accounts are those of [`ScriptedWeCom::new`] until they are changed.
#[derive(Debug)]
pub struct ScriptedWeCom {
    state: Mutex<State>,
    pulls_held: watch::Sender<bool>,
    sends_held: watch::Sender<bool>,
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
    transfers: Vec<(OpenKfId, ExternalUserId)>,
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

    /// The next transfers to the assistant get these results.
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
        };
        self.state().profiles.insert(customer, profile);
    }

    /// All pulls so far, failed ones too.
    #[must_use]
    pub fn pulls(&self) -> Vec<PullRequest> {
        self.state().pulls.clone()
    }

    /// The pulls of one account so far.
    #[must_use]
    pub fn pulls_of(&self, account: &str) -> Vec<PullRequest> {
        self.pulls().into_iter().filter(|pull| pull.account.as_str() == account).collect()
    }

    /// The greatest number of pulls that were open at once: over all accounts, and of one account.
    #[must_use]
    pub fn pulls_at_once(&self) -> (usize, usize) {
        let state = self.state();
        (state.pulls_at_once, state.pulls_of_one_account_at_once)
    }

    /// The number of pulls that are open.
    #[must_use]
    pub fn pulls_open(&self) -> usize {
        self.state().pulls_in_flight.len()
    }

    /// All attempts at saying something, in order.
    #[must_use]
    pub fn sends(&self) -> Vec<Reply> {
        self.state().sends.clone()
    }

    /// What was really said, in order: no reply id twice.
    #[must_use]
    pub fn said(&self) -> Vec<Reply> {
        self.state().said.clone()
    }

    /// What a customer has heard, in order.
    #[must_use]
    pub fn heard(&self, customer: &str) -> Vec<String> {
        self.said().into_iter().filter(|r| r.customer.as_str() == customer).map(|r| r.text).collect()
    }

    /// Who was moved to the assistant.
    #[must_use]
    pub fn transfers(&self) -> Vec<(OpenKfId, ExternalUserId)> {
        self.state().transfers.clone()
    }

    /// How often the state of a session was asked for.
    #[must_use]
    pub fn sessions_asked(&self) -> usize {
        self.state().sessions_asked
    }

    /// Who was asked about, call by call.
    #[must_use]
    pub fn profile_lookups(&self) -> Vec<Vec<ExternalUserId>> {
        self.state().profile_lookups.clone()
    }

    /// How often the accounts were listed.
    #[must_use]
    pub fn listings(&self) -> usize {
        self.state().listings
    }

    /// The accounts to which links were made.
    #[must_use]
    pub fn links(&self) -> Vec<OpenKfId> {
        self.state().links.clone()
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

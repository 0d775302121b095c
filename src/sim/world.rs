//! The world behind the simulator: accounts with their message streams, customers, tokens, and what was called. One
//! mutex holds it all, never across an await; what the rules say is in the modules beside this one.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::wecom::envelope::EnvelopeKey;

use super::{
    doorbell::Desk,
    faults::Faults,
    gate::Gate,
    login::LoginCode,
    options::{CallbackMode, Servicer, SimAccount, SimOptions},
    people::{EventCode, Person, Session},
    record::{Api, CallRecord, CallbackRecord, SimEvent},
    seed::{self, Ids},
    subscribe::SubscribeMessage,
    switches::Switches,
};

/// How long WeCom keeps messages, in seconds.
pub(super) const RETENTION_S: u64 = 3 * 24 * 3600;
/// How long a doorbell's token is good, in seconds.
pub(super) const SYNC_TOKEN_LIFE_S: u64 = 600;
/// So many calls and callbacks are remembered; older ones are only counted.
const RECORDS_KEPT_MAX: usize = 100_000;

/// Why a call is refused: WeCom's `errcode` and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) errcode: i64,
    pub(super) errmsg: String,
}

impl Refused {
    pub(super) fn new(errcode: i64, errmsg: impl Into<String>) -> Self {
        Self { errcode, errmsg: errmsg.into() }
    }

    /// 40058: a parameter is missing, too long, or of the wrong type.
    pub(super) fn parameter(name: &str) -> Self {
        Self::new(40058, format!("invalid Request Parameter: {name}"))
    }
}

/// The fields of an answer beside `errcode` and `errmsg`.
pub(super) type Answer = Result<Value, Refused>;

/// One kf account.
pub(super) struct Account {
    pub(super) open_kfid: String,
    pub(super) name: String,
    pub(super) api_managed: bool,
    pub(super) servicers: Vec<Servicer>,
    /// The messages still kept; the first has the number `first`.
    pub(super) stream: VecDeque<Entry>,
    pub(super) first: u64,
    /// Every `msgid` under which something was sent.
    pub(super) sent_ids: HashSet<String>,
}

/// One message in an account's stream.
pub(super) struct Entry {
    pub(super) arrived_s: u64,
    pub(super) send_time: u64,
    pub(super) message: Value,
}

/// Where a cursor points.
#[derive(Clone)]
pub(super) struct CursorAt {
    pub(super) account: String,
    pub(super) position: u64,
}

/// A doorbell's permission to pull.
pub(super) struct SyncToken {
    pub(super) account: String,
    pub(super) made_s: u64,
}

/// A link made by `add_contact_way`.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) account: String,
    pub(super) scene: String,
}

/// See the module.
pub(super) struct World {
    pub(super) options: SimOptions,
    pub(super) ids: Ids,
    pub(super) envelope_bytes: StdRng,
    pub(super) key: EnvelopeKey,
    pub(super) accounts: Vec<Account>,
    pub(super) people: BTreeMap<String, Person>,
    /// By customer and account.
    pub(super) sessions: BTreeMap<(String, String), Session>,
    pub(super) event_codes: HashMap<String, EventCode>,
    pub(super) cursors: HashMap<String, CursorAt>,
    pub(super) sync_tokens: HashMap<String, SyncToken>,
    /// The same tokens, oldest first.
    pub(super) sync_tokens_by_age: VecDeque<String>,
    pub(super) links: HashMap<String, Link>,
    pub(super) login_codes: HashMap<String, LoginCode>,
    /// How many subscribe messages a user still accepts, by openid and template.
    pub(super) accepted: HashMap<(String, String), u32>,
    pub(super) subscribe_messages: Vec<SubscribeMessage>,
    pub(super) gate: Gate,
    pub(super) calls: VecDeque<CallRecord>,
    pub(super) calls_answered: u64,
    pub(super) counts: BTreeMap<Api, u64>,
    pub(super) callbacks: VecDeque<CallbackRecord>,
    pub(super) desk: Desk,
    pub(super) faults: Faults,
    pub(super) switches: Switches,
    watchers: broadcast::Sender<SimEvent>,
}

impl World {
    pub(super) fn new(options: SimOptions, key: EnvelopeKey, watchers: broadcast::Sender<SimEvent>) -> Self {
        let mut world = Self {
            ids: Ids::new(options.seed),
            envelope_bytes: seed::child(options.seed, "envelope"),
            key,
            accounts: Vec::new(),
            people: BTreeMap::new(),
            sessions: BTreeMap::new(),
            event_codes: HashMap::new(),
            cursors: HashMap::new(),
            sync_tokens: HashMap::new(),
            sync_tokens_by_age: VecDeque::new(),
            links: HashMap::new(),
            login_codes: HashMap::new(),
            accepted: HashMap::new(),
            subscribe_messages: Vec::new(),
            gate: Gate::default(),
            calls: VecDeque::new(),
            calls_answered: 0,
            counts: BTreeMap::new(),
            callbacks: VecDeque::new(),
            desk: Desk::default(),
            faults: Faults::default(),
            switches: Switches::default(),
            watchers,
            options,
        };
        for account in world.options.accounts.clone() {
            world.add_account(account);
        }
        world
    }

    pub(super) fn now_ms(&self) -> u64 {
        (self.options.clock)()
    }

    pub(super) fn now_s(&self) -> u64 {
        self.now_ms() / 1000
    }

    pub(super) fn tell(&self, event: SimEvent) {
        // Nobody watching is no error.
        let _ = self.watchers.send(event);
    }

    pub(super) fn record_call(&mut self, call: CallRecord) {
        *self.counts.entry(call.api).or_default() += 1;
        self.tell(SimEvent::Called(Box::new(call.clone())));
        self.calls.push_back(call);
        if self.calls.len() > RECORDS_KEPT_MAX {
            self.calls.pop_front();
        }
    }

    pub(super) fn record_callback(&mut self, callback: CallbackRecord) {
        self.tell(SimEvent::CalledBack(callback.clone()));
        self.callbacks.push_back(callback);
        if self.callbacks.len() > RECORDS_KEPT_MAX {
            self.callbacks.pop_front();
        }
    }

    pub(super) fn add_account(&mut self, account: SimAccount) {
        if let Some(known) = self.accounts.iter_mut().find(|known| known.open_kfid == account.open_kfid) {
            known.name = account.name;
            known.api_managed = account.api_managed;
            return;
        }
        self.accounts.push(Account {
            open_kfid: account.open_kfid,
            name: account.name,
            api_managed: account.api_managed,
            servicers: vec![Servicer::receiving("fakeServicerOne")],
            stream: VecDeque::new(),
            first: 0,
            sent_ids: HashSet::new(),
        });
    }

    pub(super) fn account(&self, open_kfid: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.open_kfid == open_kfid)
    }

    pub(super) fn account_mut(&mut self, open_kfid: &str) -> Option<&mut Account> {
        self.accounts.iter_mut().find(|account| account.open_kfid == open_kfid)
    }

    /// The account that a call names: 95000, 95004.
    pub(super) fn named_account(&self, open_kfid: &str) -> Result<&Account, Refused> {
        if open_kfid.is_empty() {
            return Err(Refused::parameter("open_kfid"));
        }
        if !open_kfid.starts_with("wk") {
            return Err(Refused::new(95000, "invalid open_kfid"));
        }
        self.account(open_kfid).ok_or_else(|| Refused::new(95004, "open_kfid not exist"))
    }

    /// The same, where the call needs the account to be managed by the app: 48007.
    pub(super) fn managed_account(&self, open_kfid: &str) -> Result<&Account, Refused> {
        let account = self.named_account(open_kfid)?;
        if account.api_managed {
            Ok(account)
        } else {
            Err(Refused::new(48007, "api forbidden for this kf account, no privilege"))
        }
    }

    /// A new id for a message.
    pub(super) fn message_id(&mut self) -> String {
        self.ids.next("message", "", 44)
    }

    /// Puts a message into an account's stream and rings, where the account is the API's.
    pub(super) fn append(&mut self, open_kfid: &str, send_time: u64, message: Value) {
        let arrived_s = self.now_s();
        let Some(account) = self.account_mut(open_kfid) else {
            tracing::warn!(open_kfid, "a message to a kf account that the simulator doesn't have");
            return;
        };
        if !account.api_managed {
            // Such an account's messages go to WeCom's own reception; the API never sees them.
            return;
        }
        while account.stream.front().is_some_and(|entry| entry.arrived_s + RETENTION_S < arrived_s) {
            account.stream.pop_front();
            account.first += 1;
        }
        account.stream.push_back(Entry { arrived_s, send_time, message: message.clone() });
        self.tell(SimEvent::Arrived { account: open_kfid.to_owned(), message });
        if self.options.callback_mode == CallbackMode::Auto {
            self.ring(open_kfid);
        }
    }

    /// Puts a message of a customer (`origin` 3) or a servicer (5) into the stream.
    pub(super) fn append_message(
        &mut self,
        customer: &str,
        open_kfid: &str,
        send_time: u64,
        origin: u8,
        body: (&str, Value),
    ) -> String {
        let (msgtype, body) = body;
        let msgid = self.message_id();
        let mut message = json!({
            "msgid": msgid,
            "open_kfid": open_kfid,
            "external_userid": customer,
            "send_time": send_time,
            "origin": origin,
            "msgtype": msgtype,
        });
        if let Some(fields) = message.as_object_mut() {
            fields.insert(msgtype.to_owned(), body);
        }
        self.append(open_kfid, send_time, message);
        msgid
    }

    /// Puts an event into the stream; `event` carries the ids, the message around it none.
    pub(super) fn append_event(&mut self, open_kfid: &str, send_time: u64, event: &Value) -> String {
        let msgid = self.message_id();
        let message = json!({
            "msgid": msgid,
            "send_time": send_time,
            "origin": 4,
            "msgtype": "event",
            "event": event,
        });
        self.append(open_kfid, send_time, message);
        msgid
    }
}

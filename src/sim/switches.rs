//! What WeCom may or may not do: field reports and open questions of the protocol, each a switch of its own, so that
//! the service can be shown to survive both. The defaults are what the documents say, the stricter reading first.

use std::collections::{BTreeMap, BTreeSet};

use super::record::Api;

/// See each switch. Change them with `Sim::switch`.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one report from the field, independent of the others"
)]
pub struct Switches {
    /// Every connection is closed without an answer: WeCom and WeChat can't be reached.
    pub down: bool,
    /// All calls but `gettoken` are refused with 60020, naming this address as the caller's.
    pub untrusted_ip: Option<String>,
    /// `stable_token` is refused with 40164, naming this address as the caller's.
    pub unlisted_ip: Option<String>,
    /// Interfaces that are refused with this `errcode` until told otherwise, by interface: what only a console mends.
    pub refuse: BTreeMap<Api, i64>,
    /// The company that the mini program is bound to in WeChat's console.
    pub bound_corp: BoundCorp,
    /// What `gettoken` does while a token is still good.
    pub token_habit: TokenHabit,
    /// At most so many calls of one interface a minute, then 45009; `None` = no limit.
    pub calls_per_minute_max: Option<u32>,
    /// At most so many calls of one interface at once, then 45033.
    pub parallel_calls_max: usize,
    /// How long an answer takes, in real time, in milliseconds, by interface.
    pub latency_ms: BTreeMap<Api, u64>,

    /// States in which `send_msg` says 95018 although the document would allow it: 0 (until moved to 1) or 1.
    pub refuse_send_in: BTreeSet<u8>,
    /// Whether `trans` from the queue (2) back to the assistant (1) is taken; else 95016.
    pub queue_to_assistant: bool,
    /// Whether `trans` to the state that the session is in already is taken; else 95016.
    pub trans_to_same_state: bool,
    /// The state in which a session begins: 0, or 3 where the console's 接待方式 is 人工接待 and someone is online.
    pub new_session_state: u8,
    /// `send_msg` answers 0, nobody hears it, and `msg_send_fail` with this `fail_type` follows.
    pub delivery_fails: Option<u32>,
    /// The same with `fail_type` 13, for texts that speak of 密码, 验证码 or 账号密码 only.
    pub withhold_credentials: bool,
    /// A session under way swallows the `enter_session` of a new link.
    pub open_session_swallows_entry: bool,
    /// No `welcome_code` for anybody, as where a native welcome text is set in the console.
    pub no_welcome_codes: bool,

    /// A page holds at most so many messages, whatever `limit` asks for.
    pub page_size_max: usize,
    /// The next so many pages are empty and say `has_more`, with a moving cursor.
    pub empty_pages: u32,
    /// The next so many pages say `has_more`, with the cursor that was sent.
    pub stuck_pages: u32,
    /// The next so many calls with a cursor are refused with 40058.
    pub refuse_cursors: u32,
    /// The next call with a cursor begins so many messages before it.
    pub cursor_jumps_back: usize,
    /// Whether a sync token of one account opens the others too.
    pub sync_token_opens_all: bool,
    /// Whether `sync_msg` shows the newest message first within a page.
    pub newest_first: bool,

    /// Whether `unionid` is told at all: the binding in the console is made.
    pub unionid_bound: bool,
    /// `account/list` leaves `manage_privilege` out.
    pub no_manage_privilege: bool,
    /// The `errcode` of every mini-program login, such as 45011, 40226 or -1.
    pub login_errcode: Option<i64>,

    /// The callback's envelope carries this `AgentID`.
    pub agent_id: Option<u32>,
    /// Callbacks don't say which account rang.
    pub nameless_doorbells: bool,
    /// A retried callback is encrypted and signed anew instead of repeated to the letter.
    pub retries_resigned: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            down: false,
            untrusted_ip: None,
            unlisted_ip: None,
            refuse: BTreeMap::new(),
            bound_corp: BoundCorp::Ours,
            token_habit: TokenHabit::Same,
            calls_per_minute_max: Some(10_000),
            parallel_calls_max: 5,
            latency_ms: BTreeMap::new(),
            refuse_send_in: BTreeSet::new(),
            queue_to_assistant: false,
            trans_to_same_state: false,
            new_session_state: 0,
            delivery_fails: None,
            withhold_credentials: false,
            open_session_swallows_entry: false,
            no_welcome_codes: false,
            page_size_max: 1000,
            empty_pages: 0,
            stuck_pages: 0,
            refuse_cursors: 0,
            cursor_jumps_back: 0,
            sync_token_opens_all: false,
            newest_first: false,
            unionid_bound: true,
            no_manage_privilege: false,
            login_errcode: None,
            agent_id: None,
            nameless_doorbells: false,
            retries_resigned: false,
        }
    }
}

/// What `gettoken` gives while the last token is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenHabit {
    /// The same token with the rest of its life.
    Same,
    /// A new one; the old one stays good.
    New,
    /// A new one; the old one is no longer taken (40014).
    NewKillsOld,
}

/// Which company a mini program is bound to (功能, 客服, 微信客服): the kf accounts of no other one open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundCorp {
    /// The simulator's own.
    Ours,
    /// Another one.
    Other(String),
    /// None at all.
    Nobody,
}

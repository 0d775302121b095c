//! What the actors need from the outside, as traits and plain data: the clock, randomness, WeCom.
//!
//! The wire layer implements these; tests script them. Nothing here knows HTTP, JSON or XML, and no implementation
//! retries: whoever calls sees the first failure and decides, because only the caller knows its budget.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use crate::ids::{
    Cursor, ExternalUserId, MenuId, MessageId, OpenId, OpenKfId, ReplyId, SyncToken, Ticket, Timestamp,
    UnionId, UserId, WelcomeCode,
};

mod back_end;

pub use back_end::{BackEnd, Undelivered};

/// A boxed future, so that ports can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The wall clock.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// Whole seconds since the Unix epoch.
    fn now(&self) -> Timestamp {
        Timestamp(self.now_ms() / 1000)
    }
}

/// The operating system's randomness.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the whole buffer with unpredictable bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// Where a page of messages begins.
#[derive(Clone, Debug)]
pub struct PullRequest {
    /// The account.
    pub account: OpenKfId,
    /// The last stored cursor; `None` = the oldest message that WeCom still keeps (3 days).
    pub cursor: Option<Cursor>,
    /// A live sync token; without one WeCom limits the calls strictly.
    pub sync_token: Option<SyncToken>,
}

/// One page of `kf/sync_msg`. `Debug` shows how much it holds.
#[derive(Clone, Default)]
pub struct Page {
    /// The messages that could be read, in WeCom's order.
    pub messages: Vec<KfMessage>,
    /// The messages that could not be read, as they came: kept for the operator, capped, and passed.
    pub unreadable: Vec<String>,
    /// Where the next page begins; `None` if WeCom named none.
    pub next_cursor: Option<Cursor>,
    /// Whether WeCom has more; an empty page may say so too.
    pub has_more: bool,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("messages", &self.messages)
            .field("unreadable", &self.unreadable.len())
            .field("has_more", &self.has_more)
            .finish_non_exhaustive()
    }
}

/// One message or event of a kf account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KfMessage {
    /// WeCom's id of the message.
    pub msgid: MessageId,
    /// The account that the message itself names, else the one that was pulled.
    pub account: OpenKfId,
    /// The customer, if the message or event names one.
    pub customer: Option<ExternalUserId>,
    /// When it was sent, by WeCom's clock.
    pub send_time: Timestamp,
    /// What it says.
    pub content: KfContent,
}

/// The part of a message that matters here. `Debug` shows neither what people write nor what opens something.
#[derive(Clone, PartialEq, Eq)]
pub enum KfContent {
    /// A text typed by the customer (`origin` 3).
    Text {
        /// What was typed.
        content: String,
        /// The menu item that was tapped instead of typed.
        menu_id: Option<MenuId>,
    },
    /// The customer entered the chat through a kf link.
    EnterSession {
        /// The `scene` of the link.
        scene: Option<String>,
        /// What was appended to the link.
        scene_param: Option<Ticket>,
        /// Lets us speak first, once, within 20 s.
        welcome_code: Option<WelcomeCode>,
    },
    /// A person on our side ended the session (`session_status_change` 3).
    SessionEnded,
    /// WeCom could not deliver one of the messages sent through the API.
    SendFailed {
        /// The `msgid` under which it was sent.
        fail_msgid: ReplyId,
        /// Why; the table is in WeCom's document 94670.
        fail_type: u32,
    },
    /// Anything else: pictures, other events, words of a person on our side. Named for the metric.
    Other(MessageKind),
}

impl fmt::Debug for KfContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { content, menu_id } => {
                let tapped = if menu_id.is_some() { ", tapped" } else { "" };
                write!(f, "Text({} characters{tapped})", content.chars().count())
            }
            Self::EnterSession { scene, .. } => {
                f.debug_struct("EnterSession").field("scene", scene).finish_non_exhaustive()
            }
            Self::SessionEnded => f.write_str("SessionEnded"),
            Self::SendFailed { fail_msgid, fail_type } => f
                .debug_struct("SendFailed")
                .field("fail_msgid", fail_msgid)
                .field("fail_type", fail_type)
                .finish(),
            Self::Other(kind) => f.debug_tuple("Other").field(kind).finish(),
        }
    }
}

/// The kinds of [`KfContent::Other`], few by design: they label a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// A customer's picture, voice, card and so on.
    Media,
    /// A system event that nothing here acts on.
    Event,
    /// Written by a person on our side (`origin` 5), or of an origin that is not known.
    Servicer,
}

/// A kf account as `kf/account/list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KfAccount {
    /// Its id.
    pub account: OpenKfId,
    /// Its name in the console.
    pub name: String,
    /// Whether the API may manage it. A missing field is no error and counts as yes.
    pub api_managed: bool,
}

/// What WeCom tells of a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Whom it is about.
    pub customer: ExternalUserId,
    /// The name in WeChat.
    pub nickname: Option<String>,
    /// Only where the mini program or official account is bound in the WeCom console.
    pub unionid: Option<UnionId>,
    /// What was appended to the link of the last entry within 48 hours; only where it was asked for.
    pub entered_with: Option<Ticket>,
}

/// The state of a customer's session with an account (`kf/service_state/get`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceState {
    /// 0: new, nobody took it yet.
    New,
    /// 1: with the assistant, that is with us.
    Assistant,
    /// 2: waiting for a person.
    Queue,
    /// 3: with a person.
    Person,
    /// 4: ended, or not begun.
    Ended,
    /// A number that WeCom's document doesn't list.
    Unknown(u32),
}

/// Why a call to WeCom failed, by what the caller can do about it. WeCom's own words are for the log only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No usable answer: connection, time-out, 5xx, not JSON, errcode -1. Worth another try with back-off.
    #[error("WeCom can't be reached ({0})")]
    Unreachable(String),
    /// Too many calls (45009, 45033): nothing before the wait is over.
    #[error("WeCom limits our calls (errcode {errcode})")]
    Throttled {
        /// 45009 or 45033.
        errcode: i64,
        /// The least time to wait.
        wait: Duration,
    },
    /// The sync token is no longer taken (95007): go on without it.
    #[error("WeCom refused the sync token (errcode {0})")]
    SyncTokenRefused(i64),
    /// Something is missing in a console (IP, scope, permission): only slow retries make sense.
    #[error("WeCom refuses the app (errcode {errcode}): {hint}")]
    Misconfigured {
        /// WeCom's code.
        errcode: i64,
        /// What to do about it, in the operator's terms.
        hint: String,
    },
    /// The `corp_id` or secret is wrong. The client makes no further calls: repeated ones ban the address.
    #[error("calls to WeCom are stopped: {0}")]
    Stopped(String),
    /// Any other code: this very call is refused for good.
    #[error("WeCom refused the call (errcode {errcode}: {errmsg})")]
    Refused {
        /// WeCom's code.
        errcode: i64,
        /// WeCom's words, never to be decided on.
        errmsg: String,
    },
}

/// Something as it goes out into a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The account that speaks.
    pub account: OpenKfId,
    /// Who hears it.
    pub customer: ExternalUserId,
    /// WeCom takes each of these once in `kf/send_msg`, so that a repeat there is harmless.
    pub reply_id: ReplyId,
    /// What is said.
    pub words: Words,
}

/// What is said. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub enum Words {
    /// At most 2,048 bytes; the rest would be cut by WeCom.
    Text(String),
    /// A sentence with something to tap under it.
    Menu {
        /// At most 1,024 bytes.
        head: String,
        /// What to tap.
        items: Vec<MenuItem>,
    },
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text"),
            Self::Menu { items, .. } => write!(f, "Menu({} items)", items.len()),
        }
    }
}

/// One line of a menu. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub enum MenuItem {
    /// A tap comes back as a text of the customer with this id.
    Click {
        /// Comes back as [`KfContent::Text::menu_id`].
        id: MenuId,
        /// At most 128 bytes.
        label: String,
    },
    /// Opens a page of our mini program.
    Page {
        /// Path and query; the path ends in `.html`. At most 1,024 bytes.
        path: String,
        /// At most 1,024 bytes.
        label: String,
    },
}

impl fmt::Debug for MenuItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Click { .. } => "Click",
            Self::Page { .. } => "Page",
        })
    }
}

/// To whom a session is moved (`kf/service_state/trans`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// 1: the assistant, that is us.
    Assistant,
    /// 2: the pool.
    Pool,
    /// 3: this person.
    Servicer(UserId),
}

/// WeCom, as far as the actors need it. Every call is bounded in time by the implementation.
pub trait WeCom: Send + Sync + 'static {
    /// One page of messages (`kf/sync_msg`).
    fn pull(&self, request: PullRequest) -> BoxFuture<'_, Result<Page, CallError>>;
    /// All accounts (`kf/account/list`, every page of it).
    fn accounts(&self) -> BoxFuture<'_, Result<Vec<KfAccount>, CallError>>;
    /// Makes the link to an account (`kf/add_contact_way`); `scene` at most 32 bytes of `[0-9a-zA-Z_-]`.
    fn contact_way(&self, account: OpenKfId, scene: String) -> BoxFuture<'_, Result<String, CallError>>;
    /// Says something (`kf/send_msg`). `Ok` also where WeCom knows the reply id already (95033).
    fn send(&self, reply: Reply) -> BoxFuture<'_, Result<(), CallError>>;
    /// Says something to whoever has just entered (`kf/send_msg_on_event`). Knows no repeat: after
    /// [`CallError::Unreachable`] it may have been said or not.
    fn welcome(&self, code: WelcomeCode, reply: Reply) -> BoxFuture<'_, Result<(), CallError>>;
    /// Who has the session (`kf/service_state/get`).
    fn service_state(
        &self,
        account: OpenKfId,
        customer: ExternalUserId,
    ) -> BoxFuture<'_, Result<ServiceState, CallError>>;
    /// Moves the session (`kf/service_state/trans`).
    fn transfer(
        &self,
        account: OpenKfId,
        customer: ExternalUserId,
        to: Receiver,
    ) -> BoxFuture<'_, Result<(), CallError>>;
    /// The people who receive customers in this account now (`kf/servicer/list`, those with status 0). Departments
    /// named as receivers are left out.
    fn receiving(&self, account: OpenKfId) -> BoxFuture<'_, Result<Vec<UserId>, CallError>>;
    /// Who these customers are (`kf/customer/batchget`); at most 100 at once. Those whom WeCom doesn't tell of are left
    /// out. With `with_entry` each comes with the ticket of the last entry.
    fn profiles(
        &self,
        customers: Vec<ExternalUserId>,
        with_entry: bool,
    ) -> BoxFuture<'_, Result<Vec<Profile>, CallError>>;
}

/// A subscribe message of the mini program. `Debug` hides what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Notice {
    /// Who gets it.
    pub openid: OpenId,
    /// The template.
    pub template_id: String,
    /// The template's fields and what stands in them; `{time}` is still to be filled in.
    pub data: Vec<(String, String)>,
    /// When the two were bound: the `{time}`.
    pub bound_at: Timestamp,
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice").field("openid", &self.openid).finish_non_exhaustive()
    }
}

/// What became of a [`Notice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeFate {
    /// WeChat took it.
    Sent,
    /// The user did not ask for it, or no longer (43101): no error.
    Unwanted,
}

/// WeChat's mini program, as far as the actors need it.
pub trait MiniProgram: Send + Sync + 'static {
    /// Sends a subscribe message (`message/subscribe/send`). Knows no repeat.
    fn notify(&self, notice: Notice) -> BoxFuture<'_, Result<NoticeFate, CallError>>;
}

/// What an authentic callback says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallbackEvent {
    /// `kf_msg_or_event`: something is new.
    KfMessageOrEvent {
        /// Where; `None` in the oldest form of the event, which means anywhere.
        account: Option<OpenKfId>,
        /// The permission to pull, if the event carries one.
        sync_token: Option<SyncToken>,
    },
    /// `kf_account_auth_change`: the accounts that the app may manage have changed.
    KfAccountAuthChange {
        /// Now managed through the API.
        added: Vec<OpenKfId>,
        /// No longer.
        removed: Vec<OpenKfId>,
    },
    /// The app's other messages and events: not ours.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_text_of_a_message_and_nothing_that_opens_something() {
        let text = |content: &str| KfContent::Text {
            content: content.to_owned(),
            menu_id: Some(MenuId::new("Hush")),
        };
        let enter = KfContent::EnterSession {
            scene: Some("kfbind".to_owned()),
            scene_param: Some(Ticket::new("Hush-ticket")),
            welcome_code: Some(WelcomeCode::new("Hush-welcome")),
        };
        let message = |content| KfMessage {
            msgid: MessageId::new("m1"),
            account: OpenKfId::new("wkA"),
            customer: Some(ExternalUserId::new("wmA")),
            send_time: Timestamp(1),
            content,
        };
        let page = Page {
            messages: vec![message(text("Hush")), message(enter)],
            unreadable: vec!["Hush".to_owned()],
            next_cursor: None,
            has_more: false,
        };
        let reply = Reply {
            account: OpenKfId::new("wkA"),
            customer: ExternalUserId::new("wmA"),
            reply_id: ReplyId::new("r1"),
            words: Words::Menu {
                head: "Hush 482 913".to_owned(),
                items: vec![
                    MenuItem::Click { id: MenuId::new("Hush-tap"), label: "Hush".to_owned() },
                    MenuItem::Page { path: "pages/a.html?ticket=Hush".to_owned(), label: "Hush".to_owned() },
                ],
            },
        };
        let shown = format!("{page:?} {reply:?}");
        assert!(!shown.contains("Hush") && !shown.contains("913"), "{shown}");
        assert!(
            shown.contains("wmA") && shown.contains("kfbind") && shown.contains("4 characters"),
            "{shown}"
        );
    }
}

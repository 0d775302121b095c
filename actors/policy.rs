//! What the operator decided, in the form in which the actors use it: lengths in seconds, counts, texts.
//!
//! Reading files and the environment, and judging whether a value makes sense, is the configuration's work.

use crate::ids::{OpenKfId, UserId};

/// How a bind code looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CodeFormat {
    /// `482913`: six digits or more.
    Digits,
    /// `A7B2`: four letters and digits or more, at least one of each, none that look alike.
    Alphanumeric,
    /// `apple-blue-cat`: three words or more.
    Words,
}

/// What happens when a code is right but one side is bound elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Nothing changes, and the chat says so.
    Reject,
    /// The older binding gives way.
    Replace,
}

/// `count` times within `window_s` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How often.
    pub count: u32,
    /// Within how many seconds.
    pub window_s: u64,
}

/// The texts that customers read. `{nickname}`, `{account}`, `{code}`, `{minutes}` and `{unbind_word}` are filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// Bound just now.
    pub bound: String,
    /// Unbound by the customer's own word.
    pub unbound: String,
    /// A code that was never made.
    pub wrong_code: String,
    /// A code that has expired, was replaced, or was used.
    pub expired_code: String,
    /// Too many wrong codes.
    pub locked: String,
    /// One side is bound elsewhere.
    pub conflict: String,
    /// These two are bound already.
    pub already_bound: String,
    /// Above a card.
    pub invite: String,
    /// The line that opens the card.
    pub invite_item: String,
    /// The question before a binding.
    pub confirm: String,
    /// Its yes.
    pub confirm_yes: String,
    /// Its no.
    pub confirm_no: String,
    /// After a no.
    pub cancelled: String,
    /// The person in the chat is known not to be the mini program's.
    pub other_person: String,
}

/// Which further ways to bind are on; the code always is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a way of its own, on or off independently of the others"
)]
pub struct Ways {
    /// A one-time ticket in the kf link.
    pub link: bool,
    /// A mini-program card sent into the chat.
    pub card: bool,
    /// The same unionid on both sides.
    pub unionid: bool,
    /// One intent and one arrival within a time.
    pub window: bool,
    /// An employee, from the WeCom side.
    pub staff: bool,
}

/// Who takes over a conversation that is no binding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Handover {
    /// Nobody.
    #[default]
    None,
    /// The pool.
    Pool,
    /// These people in turn, as far as they are receiving; an empty list means all of the account.
    Servicer(Vec<UserId>),
}

/// The subscribe message that tells of a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeTemplate {
    /// WeChat's id of it.
    pub template_id: String,
    /// Its fields; `{account}`, `{nickname}` and `{time}` are filled in.
    pub data: Vec<(String, String)>,
}

/// The rules' settings.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The format of new codes.
    pub code_format: CodeFormat,
    /// Life of a code, in seconds.
    pub code_ttl_s: u64,
    /// See [`OnConflict`].
    pub on_conflict: OnConflict,
    /// What a customer writes to undo the binding; `None` = not from the chat.
    pub unbind_word: Option<String>,
    /// New codes per user.
    pub codes_per_openid: Rate,
    /// Wrong codes per customer.
    pub wrong_codes_per_customer: Rate,
    /// The answers.
    pub texts: Texts,
    /// See [`Ways`].
    pub ways: Ways,
    /// Whether to ask in the chat before a link binds.
    pub confirm_link: bool,
    /// Whether to ask in the chat before a typed code binds.
    pub confirm_code: bool,
    /// How long an intent is open, in seconds.
    pub window_s: u64,
    /// Life of a card's ticket, in seconds.
    pub card_ttl_s: u64,
    /// The page that a card opens, without a query.
    pub card_path: String,
    /// See [`Handover`].
    pub handover: Handover,
    /// What brings a person at once; `None` = nothing.
    pub person_word: Option<String>,
    /// See [`NoticeTemplate`]; `None` = no such message.
    pub notice: Option<NoticeTemplate>,
    /// Whether the business back end is to hear of bindings.
    pub announces: bool,
}

/// What kf-sync is told about the accounts.
#[derive(Clone, Debug)]
pub struct SyncPolicy {
    /// The accounts to serve; empty = every API-managed account that WeCom lists.
    pub accounts: Vec<OpenKfId>,
    /// How often each account is pulled without a callback, in milliseconds.
    pub reconcile_every_ms: u64,
    /// The operator's own kf link; `None` = made by us.
    pub own_link: Option<String>,
    /// Whether the rules may want to know who the customers on a page are.
    pub learns: bool,
}

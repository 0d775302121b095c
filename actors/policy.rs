//! What the operator decided, in the form in which the actors use it: lengths in seconds, counts, texts.
//!
//! Reading files and the environment, and judging whether a value makes sense, is the configuration's work.

use crate::ids::OpenKfId;

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
}

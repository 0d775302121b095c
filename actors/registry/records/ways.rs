//! What the further ways to bind store: people, tickets, questions, and what happens in an account's window of time.
//!
//! Only shapes. Who may bind by them is decided in `registry/ways/`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Method;
use crate::ids::{BindCode, ExternalUserId, MessageId, OpenId, OpenKfId, Timestamp, UnionId, UserId};

/// Tree `people`, a zero byte and the `external_userid`: a customer, beside bindings and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CustomerPerson {
    /// Grows with every binding and unbinding; tickets and questions of an earlier epoch are dead.
    pub(crate) epoch: u32,
    pub(crate) unionid: Option<UnionId>,
    pub(crate) nickname: Option<String>,
    /// When WeCom last told who that is.
    pub(crate) asked_at: Timestamp,
    /// Where the customer was last seen.
    pub(crate) account: Option<OpenKfId>,
    /// When the last invitation was said.
    pub(crate) invited_at: Option<Timestamp>,
    /// The tickets of links that were tried, as their marks, and when.
    pub(crate) tried: Vec<(u64, Timestamp)>,
    /// What was answered with no, and until when that matters.
    pub(crate) declined: Vec<(Subject, Timestamp)>,
    /// The users from whom this customer was unbound: the same unionid alone binds them no more.
    pub(crate) parted: Vec<OpenId>,
    /// The accounts in which a person was brought, and when.
    pub(crate) moved: Vec<(OpenKfId, Timestamp)>,
    /// Questions that may still be answered.
    pub(crate) questions: Vec<QuestionId>,
    /// When any of this changed last.
    pub(crate) changed_at: Timestamp,
}

/// Tree `people`, a byte 1 and the `openid`: a user, beside bindings and codes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserPerson {
    pub(crate) unionid: Option<UnionId>,
    /// When the user was last unbound, in milliseconds: no ticket of before binds.
    pub(crate) unbound_ms: u64,
}

/// Tree `people`, a byte 2 and the `unionid`: who it is on either side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SamePerson {
    pub(crate) openid: Option<OpenId>,
    pub(crate) customers: Vec<ExternalUserId>,
}

/// Tree `tickets`, by the ticket: what a card or an employee's card binds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TicketRecord {
    pub(crate) customer: ExternalUserId,
    /// The customer's epoch when it was made.
    pub(crate) epoch: u32,
    pub(crate) account: Option<OpenKfId>,
    /// `card` or `staff`.
    pub(crate) method: Method,
    /// The employee who sent it.
    pub(crate) by: Option<UserId>,
    /// When it was made, in milliseconds.
    pub(crate) made_ms: u64,
    pub(crate) expires_at: Timestamp,
    /// Whom it bound.
    pub(crate) used_by: Option<OpenId>,
    /// The users whose conflict over it stands in the audit trail already.
    pub(crate) conflicts: Vec<OpenId>,
}

/// Names a question: the part of its two `menu_id`s that they share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct QuestionId(pub(crate) [u8; 16]);

impl fmt::Debug for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QuestionId")
    }
}

/// What a question asks for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Subject {
    /// A typed code.
    Code(BindCode),
    /// A link with the ticket of this code.
    Link(BindCode),
    /// The intent of this user that was opened then.
    Window(OpenId, Timestamp),
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Code(_) => "Code",
            Self::Link(_) => "Link",
            Self::Window(..) => "Window",
        })
    }
}

impl Subject {
    /// The way that it would bind by.
    pub(crate) fn method(&self) -> Method {
        match self {
            Self::Code(_) => Method::Code,
            Self::Link(_) => Method::Link,
            Self::Window(..) => Method::Window,
        }
    }

    /// The code behind it.
    pub(crate) fn code(&self) -> Option<&BindCode> {
        match self {
            Self::Code(code) | Self::Link(code) => Some(code),
            Self::Window(..) => None,
        }
    }

    /// Whether a no to the other is a no to this one: a code and the link with it are one thing.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self.code(), other.code()) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => self == other,
        }
    }
}

/// Tree `questions`, by [`QuestionId`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuestionRecord {
    pub(crate) customer: ExternalUserId,
    /// The customer's epoch when it was asked.
    pub(crate) epoch: u32,
    /// Whom a yes binds.
    pub(crate) openid: OpenId,
    pub(crate) subject: Subject,
    /// Where it was asked.
    pub(crate) account: OpenKfId,
    /// After this there is nothing left to ask for.
    pub(crate) until: Timestamp,
    /// A tap has come, or it is dead.
    pub(crate) answered: bool,
    pub(crate) delivery: Delivery,
}

/// How far a question has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Delivery {
    /// In the outbox; with it the last message that has come meanwhile.
    UnderWay(Option<(OpenKfId, MessageId, Timestamp)>),
    /// WeCom has taken it.
    Said,
    /// WeCom has refused it, or we can't know: it is asked again at the customer's next message.
    Unsaid,
}

/// Tree `windows`, by account: who announced themselves, and which unbound customers came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WindowRecord {
    pub(crate) intents: Vec<Intent>,
    pub(crate) arrivals: Vec<(ExternalUserId, Timestamp)>,
    /// What happened before this was forgotten for want of room.
    pub(crate) complete_since: Timestamp,
}

/// A user who is about to open the chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) openid: OpenId,
    /// The user's epoch when it was opened.
    pub(crate) epoch: u32,
    pub(crate) opened_at: Timestamp,
    /// The same in milliseconds.
    pub(crate) opened_ms: u64,
    pub(crate) expires_at: Timestamp,
    /// When it died before its time.
    pub(crate) ended_at: Option<Timestamp>,
}

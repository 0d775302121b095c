//! What passes between the registry and whoever tells the business back end of bindings. Plain values.

use ractor::RpcReplyPort;

use crate::{
    ids::{ExternalUserId, OpenId, OpenKfId, Timestamp, UnionId},
    ports::Undelivered,
};

/// An event that the business back end is to hear of, kept until it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookEntry {
    /// Its place among those that wait; later ones have greater numbers.
    pub seq: u64,
    /// Names the event for its receiver; the same at every attempt, and when it is sent again.
    pub id: String,
    /// When it began to wait; it is given up by this.
    pub queued_at: Timestamp,
    /// When it happened.
    pub happened_at: Timestamp,
    /// What happened.
    pub kind: WebhookKind,
    /// To which binding; of a conflict, to the one that was refused.
    pub binding: WebhookBinding,
}

/// What may happen to a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookKind {
    /// It was made.
    Created,
    /// It ended.
    Removed,
    /// It was refused: either side is bound elsewhere.
    Conflict,
}

impl WebhookKind {
    /// The type's name, as its receiver knows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "binding.created",
            Self::Removed => "binding.removed",
            Self::Conflict => "binding.conflict",
        }
    }
}

/// The binding that a webhook is about, as it was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookBinding {
    /// The user.
    pub openid: OpenId,
    /// The customer.
    pub customer: ExternalUserId,
    /// The unionid of either side, if known.
    pub unionid: Option<UnionId>,
    /// The account in which it was made.
    pub account: Option<OpenKfId>,
    /// By which way; of a conflict it may be unknown.
    pub method: Option<&'static str>,
    /// When it was made; `None` of a conflict.
    pub bound_at: Option<Timestamp>,
    /// The customer's name in WeChat, if known.
    pub nickname: Option<String>,
    /// How the back end names the account.
    pub label: Option<String>,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookFate {
    /// Its receiver has it.
    Delivered,
    /// It is kept as a dead letter.
    GivenUp {
        /// Why the last attempt failed. Without secrets; operators read it.
        why: String,
        /// How often it was tried.
        attempts: u32,
    },
}

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event; its `seq` is its place among the dead letters.
    pub entry: WebhookEntry,
    /// When it was given up.
    pub given_up_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub error: String,
}

/// A part of the dead letters, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// Where the next part begins: the id of the last letter; `None` at the end.
    pub next: Option<String>,
}

/// To the webhooks actor.
#[derive(Debug)]
pub enum WebhooksMessage {
    /// From the registry: more events wait.
    Grew,
    /// To itself: the events that it asked for; `None` if the registry did not answer.
    Loaded(Option<Vec<WebhookEntry>>),
    /// To itself: an attempt at an event has ended.
    Ended {
        /// The event.
        seq: u64,
        /// Its id, if it could be read.
        id: Option<String>,
        /// How.
        end: WebhookEnd,
    },
    /// To itself: look at what is due.
    Tick,
    /// Begin nothing new; answer when nothing is under way.
    Drain(RpcReplyPort<()>),
    /// Answer that you are alive.
    Observe(RpcReplyPort<()>),
}

/// How an attempt at an event ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookEnd {
    /// The receiver has it.
    Delivered,
    /// It has not.
    Failed(Undelivered),
    /// The registry has it no longer.
    Missing,
    /// The registry did not answer.
    Unread,
}

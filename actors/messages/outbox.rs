//! What passes between the registry and the notifier about things to be done at WeCom. Plain values.

use crate::{
    ids::{ExternalUserId, OpenKfId, Timestamp, WelcomeCode},
    ports::{Notice, Reply},
};

/// Something to be done at WeCom, kept until it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its place in the outbox; later entries have greater numbers.
    pub seq: u64,
    /// When it was put there.
    pub created_at: Timestamp,
    /// What.
    pub task: OutboxTask,
}

/// See [`OutboxEntry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxTask {
    /// Say this. `{nickname}` may still stand in the text.
    Say(Box<Say>),
    /// Find out who this customer is.
    Profile(ExternalUserId),
    /// Bring a person to this customer.
    HandOver(HandOver),
    /// Send this subscribe message; `{nickname}` may still stand in it.
    Notify(Box<Notify>),
}

/// See [`OutboxTask::Say`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// What, to whom.
    pub reply: Reply,
    /// The event's own right to speak.
    pub welcome: Option<Welcome>,
    /// Whether an attempt by that right was begun: then it may have been said.
    pub begun: bool,
}

/// The right to speak that comes with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The right.
    pub code: WelcomeCode,
    /// When the customer entered; it lasts 20 s from then.
    pub entered_at: Timestamp,
}

/// See [`OutboxTask::HandOver`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// In which account.
    pub account: OpenKfId,
    /// Who.
    pub customer: ExternalUserId,
    /// When the message was sent that it is about.
    pub sent: Timestamp,
}

/// See [`OutboxTask::Notify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// What, to whom.
    pub notice: Notice,
    /// Whose name is meant.
    pub customer: ExternalUserId,
    /// Whether an attempt was begun: then it may have been sent.
    pub begun: bool,
}

//! What the business back end and operators ask and are told: users made known, bindings set, people erased, the audit
//! trail, counts. Plain values.

use crate::ids::{ExternalUserId, OpenId, OpenKfId, Timestamp, UnionId};

use super::BindingInfo;

/// What the back end tells of a user whom it has logged in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Who.
    pub openid: OpenId,
    /// The user's unionid, if known.
    pub unionid: Option<UnionId>,
    /// How the chat is to name the account: `None` leaves it as it is, an empty one takes it away.
    pub label: Option<String>,
}

/// The back end binds two whom it knows to be one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminBindRequest {
    /// The user.
    pub openid: OpenId,
    /// The customer.
    pub customer: ExternalUserId,
    /// In which account, if the back end knows.
    pub account: Option<OpenKfId>,
}

/// The outcome of [`AdminBindRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminBindOutcome {
    /// These two are bound, now or since before.
    Bound(Box<BindingInfo>),
    /// One side is bound elsewhere.
    Conflict,
}

/// Somebody of whom nothing is to be kept. With either side of a binding goes the other: it is one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Person {
    /// A user of the mini program.
    User(OpenId),
    /// A customer in the chat.
    Customer(ExternalUserId),
}

/// Which part of the audit trail is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsFrom {
    /// What came after this id, oldest first.
    After(u64),
    /// What came before this id, newest first.
    Before(u64),
}

/// A record of the audit trail, as told to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Its id; later ones are greater.
    pub id: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What: `bound`, `unbound`, `conflict`, `locked`, `other_person`, `undelivered`.
    pub what: &'static str,
    /// The user, if there is one, and not erased.
    pub openid: Option<OpenId>,
    /// The customer, if there is one, and not erased.
    pub customer: Option<ExternalUserId>,
    /// The way in which a binding was made.
    pub method: Option<&'static str>,
    /// Who caused it: `customer`, `user`, `admin`, `replaced`, `wecom`, or `staff:` and the employee.
    pub by: String,
}

/// A part of the audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    /// The events.
    pub events: Vec<AuditEvent>,
    /// Where the next part begins, in the same direction; `None` at the end.
    pub next: Option<u64>,
}

/// Counts for operators.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Bindings that stand.
    pub bindings: u64,
    /// Codes that would bind now.
    pub codes_live: u64,
    /// Things to be done at WeCom that wait.
    pub outbox: u64,
    /// Webhooks that wait.
    pub webhooks_waiting: u64,
    /// Webhooks given up.
    pub dead_letters: u64,
    /// The last days, oldest first; the last is today.
    pub days: Vec<DayStats>,
}

/// Counts of one day in China's time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DayStats {
    /// Days since 1970-01-01.
    pub day: u64,
    /// Sessions given to users.
    pub logins: u64,
    /// New codes.
    pub codes: u64,
    /// Customers' messages that held a code or brought a ticket.
    pub messages: u64,
    /// Bindings, by way, as in [`crate::tally::METHODS`].
    pub bound: Vec<(&'static str, u64)>,
    /// Unbindings, those for a newer binding among them.
    pub unbound: u64,
    /// Conflicts, once per code and customer.
    pub conflicts: u64,
    /// What did not bind, by reason, as in [`crate::tally::CODE_REJECTIONS`].
    pub rejected: Vec<(&'static str, u64)>,
    /// Bindings of which it is known how long they took: those by a code, or a link's ticket.
    pub timed: u64,
    /// From the making of the code to its binding, in seconds: half of them took no longer.
    pub p50_s: Option<f64>,
    /// The same of 19 in 20.
    pub p95_s: Option<f64>,
}

//! What is stored for operators and the business back end: counts by day, events to be told, who was erased.
//!
//! Only shapes.

use serde::{Deserialize, Serialize};

use super::Method;
use crate::{
    ids::{ExternalUserId, OpenId, OpenKfId, Timestamp, UnionId},
    messages::WebhookKind,
};

/// Tree `stats`, by day since 1970-01-01 in China's time. Lists are in the order of the names in `tally.rs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DayRecord {
    pub(crate) logins: u64,
    pub(crate) codes: u64,
    pub(crate) messages: u64,
    pub(crate) bound: Vec<u64>,
    pub(crate) unbound: u64,
    pub(crate) conflicts: u64,
    pub(crate) rejected: Vec<u64>,
    /// How many bindings took so long, in classes that grow with the time.
    pub(crate) seconds: Vec<u32>,
}

/// Tree `webhooks`, by sequence number: an event that the business back end has not heard of yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WebhookRecord {
    pub(crate) kind: WebhookKindTag,
    /// When it began to wait.
    pub(crate) queued_at: Timestamp,
    pub(crate) happened_at: Timestamp,
    /// The number by which its receiver knows it; that of its first place.
    pub(crate) origin: u64,
    pub(crate) openid: OpenId,
    pub(crate) customer: ExternalUserId,
    pub(crate) unionid: Option<UnionId>,
    pub(crate) account: Option<OpenKfId>,
    pub(crate) method: Option<Method>,
    pub(crate) bound_at: Option<Timestamp>,
    pub(crate) nickname: Option<String>,
    pub(crate) label: Option<String>,
}

/// [`WebhookKind`] as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WebhookKindTag {
    Created,
    Removed,
    Conflict,
}

impl From<WebhookKindTag> for WebhookKind {
    fn from(kind: WebhookKindTag) -> Self {
        match kind {
            WebhookKindTag::Created => Self::Created,
            WebhookKindTag::Removed => Self::Removed,
            WebhookKindTag::Conflict => Self::Conflict,
        }
    }
}

/// Tree `dead_letters`, by the number of the event's id: an event that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadLetterRecord {
    pub(crate) event: WebhookRecord,
    pub(crate) given_up_at: Timestamp,
    pub(crate) attempts: u32,
    pub(crate) error: String,
}

/// Tree `erasures`, by a keyed digest of the name that is not to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErasureRecord {
    /// When, in milliseconds: sessions made before are refused.
    pub(crate) at_ms: u64,
    /// The last ids given out then: what is younger is another life's.
    pub(crate) audit_upto: u64,
    pub(crate) outbox_upto: u64,
    /// Whether no record names them any more.
    pub(crate) is_done: bool,
}

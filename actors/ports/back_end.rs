//! The business back end, as far as the actors need it: it is told of events, one at a time.

use std::time::Duration;

use super::BoxFuture;
use crate::messages::WebhookEntry;

/// Why an event did not arrive, by whose fault it seems to be. The texts are for the log and for operators: no secrets,
/// no addresses, nothing of what the receiver said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// The receiver takes nothing now, whatever the event.
    #[error("{why}")]
    Down {
        /// What happened.
        why: String,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// It answered wrongly or too late. The event may be the cause, or the receiver.
    #[error("{0}")]
    Failing(String),
    /// It works, and does not take this event.
    #[error("{0}")]
    Refused(String),
}

/// See the module.
pub trait BackEnd: Send + Sync + 'static {
    /// Sends one event, once. `Ok` means that the receiver has it. Bounded in time by the implementation.
    fn deliver(&self, event: WebhookEntry) -> BoxFuture<'_, Result<(), Undelivered>>;
}

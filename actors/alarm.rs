//! An actor's wake-up call: a message to itself at a certain moment, of which at most one is pending.
//!
//! Only rings; what is due then is for the actor to find out, so a call too many does no harm.

use ractor::{ActorRef, Message};
use tokio::{task::AbortHandle, time::Instant};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<(Instant, AbortHandle)>);

impl Alarm {
    /// Rings at this moment, or earlier if an earlier call is pending.
    pub(crate) fn set<M: Message>(
        &mut self,
        actor: &ActorRef<M>,
        at: Instant,
        now: Instant,
        message: impl Fn() -> M + Send + 'static,
    ) {
        if self.0.as_ref().is_some_and(|(pending, _)| *pending <= at) {
            return;
        }
        let call = actor.send_after(at.saturating_duration_since(now), message).abort_handle();
        if let Some((_, later)) = self.0.replace((at, call)) {
            later.abort();
        }
    }

    /// A call has come. One that was on its way when an earlier one took its place changes nothing.
    pub(crate) fn rang(&mut self, now: Instant) {
        if self.0.as_ref().is_some_and(|(at, _)| *at <= now) {
            self.0 = None;
        }
    }
}

//! How the outside asks an actor: with a bound on what lies in the mailboxes, and with a time-out for whoever asked.
//!
//! The two ends differ. Whoever asked may hang up or lose patience at any moment; the message stays in the mailbox,
//! which has no bound of its own. So a place is held until the actor has answered, not for as long as somebody listens.
//! What is asked is the handles' business.

use std::{sync::Arc, time::Duration};

use ractor::{ActorRef, Message, RpcReplyPort};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// The most calls of the outside that an actor has not answered yet; more are refused.
pub const CALLS_MAX: usize = 4_096;

/// The places for calls that are not answered yet.
pub(crate) struct Calls(Arc<Semaphore>);

impl Default for Calls {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CALLS_MAX)))
    }
}

impl Calls {
    /// The answer; `None` where there is no room or it doesn't come in time.
    pub(super) async fn call<M: Message, T: Send + 'static>(
        &self,
        actor: &ActorRef<M>,
        build: impl FnOnce(RpcReplyPort<T>) -> M,
        timeout: Duration,
    ) -> Option<T> {
        let place = Arc::clone(&self.0).try_acquire_owned().ok()?;
        answered(actor, build, place, timeout).await
    }

    /// As [`Calls::call`], but waits for room: within the same time, and in turn with all others who do.
    pub(super) async fn call_in_turn<M: Message, T: Send + 'static>(
        &self,
        actor: &ActorRef<M>,
        build: impl FnOnce(RpcReplyPort<T>) -> M,
        timeout: Duration,
    ) -> Option<T> {
        let in_turn = async {
            let place = Arc::clone(&self.0).acquire_owned().await.ok()?;
            answered(actor, build, place, timeout).await
        };
        tokio::time::timeout(timeout, in_turn).await.ok()?
    }
}

async fn answered<M: Message, T: Send + 'static>(
    actor: &ActorRef<M>,
    build: impl FnOnce(RpcReplyPort<T>) -> M,
    place: OwnedSemaphorePermit,
    timeout: Duration,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    actor.cast(build(reply.into())).ok()?;
    // It ends with the answer, or with the actor, which drops what it has not answered.
    let waiting = tokio::spawn(async move {
        let answer = answer.await;
        drop(place);
        answer.ok()
    });
    tokio::time::timeout(timeout, waiting).await.ok()?.ok()?
}

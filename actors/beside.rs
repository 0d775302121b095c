//! Runs a call beside an actor, which is told the outcome as a message: so no handler waits for the network.

use ractor::{ActorRef, Message};

/// Runs `work` as a task of its own and sends `actor` what it comes to. The task is left alone: every call is bounded
/// in time, and an actor that is gone needs no news.
pub(crate) fn tell<M: Message>(actor: &ActorRef<M>, work: impl Future<Output = M> + Send + 'static) {
    let actor = actor.clone();
    drop(tokio::spawn(async move {
        let _ = actor.cast(work.await);
    }));
}

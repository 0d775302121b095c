//! How the outside asks an actor: with a bound on what lies in the mailboxes, and with a time-out for whoever asked.
//!
//! The two ends differ. Whoever asked may hang up or lose patience at any moment; the message stays in the mailbox,
//! which has no bound of its own. So a place is held until the actor has answered, not for as long as somebody listens.
//! What is asked is the handles' business.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ractor::{ActorRef, Message, RpcReplyPort};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

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

/// A question that everybody may ask as often as they like: at most one of it lies in the actor's mailbox, and all who
/// ask before it is answered get that answer.
pub(crate) struct Question<T>(Mutex<Option<watch::Receiver<Asked<T>>>>);

/// `None`: not answered yet.
type Asked<T> = Option<Option<T>>;

impl<T> Default for Question<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Question<T> {
    /// The answer; `None` where it doesn't come in time.
    pub(super) async fn ask<M: Message>(
        &self,
        actor: &ActorRef<M>,
        build: impl FnOnce(RpcReplyPort<T>) -> M,
        timeout: Duration,
    ) -> Option<T> {
        let mut asked = self.asked(actor, build);
        let answer = tokio::time::timeout(timeout, asked.wait_for(Option::is_some)).await.ok()?.ok()?;
        answer.clone().flatten()
    }

    fn asked<M: Message>(
        &self,
        actor: &ActorRef<M>,
        build: impl FnOnce(RpcReplyPort<T>) -> M,
    ) -> watch::Receiver<Asked<T>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = last.as_ref().filter(|asked| asked.borrow().is_none()) {
            return asked.clone();
        }
        let (reply, answer) = oneshot::channel();
        let (tell, asked) = watch::channel(None);
        *last = Some(asked.clone());
        // Where the actor is gone, the reply is dropped with the message.
        drop(actor.cast(build(reply.into())));
        drop(tokio::spawn(async move { tell.send(Some(answer.await.ok())) }));
        asked
    }
}

#[cfg(test)]
mod tests {
    use ractor::{Actor, ActorProcessingErr};

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(500);

    type Unanswered = Arc<Mutex<Vec<RpcReplyPort<u32>>>>;

    /// Takes questions and answers none by itself.
    struct Deaf;

    impl Actor for Deaf {
        type Msg = RpcReplyPort<u32>;
        type State = Unanswered;
        type Arguments = Unanswered;

        async fn pre_start(
            &self,
            _myself: ActorRef<Self::Msg>,
            unanswered: Unanswered,
        ) -> Result<Unanswered, ActorProcessingErr> {
            Ok(unanswered)
        }

        async fn handle(
            &self,
            _myself: ActorRef<Self::Msg>,
            reply: Self::Msg,
            unanswered: &mut Unanswered,
        ) -> Result<(), ActorProcessingErr> {
            unanswered.lock().unwrap().push(reply);
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_lies_in_the_mailbox_once_however_often_and_long_it_is_asked() {
        let unanswered = Unanswered::default();
        let (actor, _) = Actor::spawn(None, Deaf, Arc::clone(&unanswered)).await.unwrap();
        let question = Question::default();
        for _ in 0..100 {
            assert_eq!(question.ask(&actor, |reply| reply, TIMEOUT).await, None);
        }
        assert_eq!(unanswered.lock().unwrap().len(), 1);
        let answering = async {
            tokio::task::yield_now().await;
            unanswered.lock().unwrap().pop().unwrap().send(7).unwrap();
        };
        let asking = || question.ask(&actor, |reply| reply, TIMEOUT);
        assert_eq!(tokio::join!(asking(), asking(), answering), (Some(7), Some(7), ()));
        assert_eq!(asking().await, None, "an answer is no answer to what is asked after it");
        assert_eq!(unanswered.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_actor_that_is_gone_is_not_waited_for() {
        let (actor, ended) = Actor::spawn(None, Deaf, Unanswered::default()).await.unwrap();
        actor.stop(None);
        ended.await.unwrap();
        let begun = tokio::time::Instant::now();
        let question = Question::default();
        for _ in 0..3 {
            assert_eq!(question.ask(&actor, |reply| reply, TIMEOUT).await, None);
        }
        assert_eq!(Calls::default().call(&actor, |reply| reply, TIMEOUT).await, None);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_keeps_its_place_until_it_is_answered() {
        let unanswered = Unanswered::default();
        let (actor, _) = Actor::spawn(None, Deaf, Arc::clone(&unanswered)).await.unwrap();
        let calls = Calls(Arc::new(Semaphore::new(1)));
        assert_eq!(calls.call(&actor, |reply| reply, TIMEOUT).await, None);
        assert_eq!(calls.call(&actor, |reply| reply, TIMEOUT).await, None);
        assert_eq!(calls.call_in_turn(&actor, |reply| reply, TIMEOUT).await, None);
        assert_eq!(unanswered.lock().unwrap().len(), 1, "the others found no place");
        let in_turn = calls.call_in_turn(&actor, |reply| reply, TIMEOUT);
        let answering = async {
            for answer in [1, 2] {
                while unanswered.lock().unwrap().is_empty() {
                    tokio::task::yield_now().await;
                }
                unanswered.lock().unwrap().pop().unwrap().send(answer).unwrap_or_default();
            }
        };
        assert_eq!(tokio::join!(in_turn, answering), (Some(2), ()));
    }
}

//! The callback actor turns authentic callbacks into nudges. A callback says only "something is new", so nothing it
//! carries is acted on; the cursor decides what is fetched.
//!
//! Opening and judging envelopes is the wire layer's work: what arrives here is authentic.

use std::collections::{HashSet, VecDeque};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::{Duration, Instant};

use crate::{
    messages::{CallbackMessage, Delivery, KfSyncMessage},
    ports::CallbackEvent,
    tally::{Tally, count},
};

/// How long a callback is known as a repeat: as long as a sync token lives.
const REPEAT_WINDOW: Duration = Duration::from_mins(10);
/// Callbacks remembered at most.
const REMEMBERED_MAX: usize = 8192;

/// The callback actor.
pub(crate) struct Callback;

/// What it holds.
pub(crate) struct CallbackState {
    kf_sync: ActorRef<KfSyncMessage>,
    tally: Tally,
    /// The signatures of the latest callbacks: WeCom repeats a request whose answer it didn't get, and the same
    /// bytes ask for nothing new.
    known: HashSet<[u8; 20]>,
    order: VecDeque<(Instant, [u8; 20])>,
}

impl Actor for Callback {
    type Msg = CallbackMessage;
    type State = CallbackState;
    type Arguments = (ActorRef<KfSyncMessage>, Tally);

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        (kf_sync, tally): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(CallbackState { kf_sync, tally, known: HashSet::new(), order: VecDeque::new() })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CallbackMessage::Deliver(delivery, reply) => {
                state.deliver(delivery)?;
                let _ = reply.send(());
            }
            CallbackMessage::Observe(reply) => drop(reply.send(())),
        }
        Ok(())
    }
}

impl CallbackState {
    fn deliver(&mut self, delivery: Delivery) -> Result<(), ActorProcessingErr> {
        let nudge = match delivery.event {
            CallbackEvent::Other => {
                count(&self.tally.callbacks, "result", "ignored");
                return Ok(());
            }
            CallbackEvent::KfMessageOrEvent { account, sync_token } => {
                KfSyncMessage::Nudge { account, sync_token }
            }
            CallbackEvent::KfAccountAuthChange { added, removed } => {
                KfSyncMessage::AuthChange { added, removed }
            }
        };
        if self.is_repeat(delivery.signature) {
            count(&self.tally.callbacks, "result", "duplicate");
            return Ok(());
        }
        Ok(self.kf_sync.cast(nudge)?)
    }

    fn is_repeat(&mut self, signature: [u8; 20]) -> bool {
        let now = Instant::now();
        while let Some((at, oldest)) = self.order.front()
            && (now.duration_since(*at) > REPEAT_WINDOW || self.order.len() >= REMEMBERED_MAX)
        {
            self.known.remove(oldest);
            self.order.pop_front();
        }
        if !self.known.insert(signature) {
            return true;
        }
        self.order.push_back((now, signature));
        false
    }
}

//! The webhooks actor tells the business back end what the registry has for it: bindings made, ended and refused.
//!
//! At least once, in order for each user and customer, a few at once; again with back-off, given up after three days.
//! After a crash it begins with whatever the registry still holds: an event keeps its id, by which its receiver knows a
//! repeat. What is told was decided before; what a call looks like is the port's business.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call_t};
use tokio::time::Instant;

use crate::{
    alarm::Alarm,
    beside::tell,
    messages::{RegistryMessage, WebhookEnd, WebhookEntry, WebhookFate, WebhooksMessage},
    ports::{BackEnd, Clock, Entropy, Undelivered},
    tally::{Tally, count},
};

mod gate;
mod schedule;

use gate::Turn;
use schedule::{Moment, Schedule};

/// Events asked for at once.
const LOAD_MAX: usize = 256;
/// How long the registry may take, in milliseconds.
const REGISTRY_TIMEOUT_MS: u64 = 30_000;

/// The webhooks actor.
pub(crate) struct Webhooks;

/// What it is started with.
pub(crate) struct WebhooksOptions {
    pub(crate) registry: ActorRef<RegistryMessage>,
    /// `None`: there is nobody to tell. What still waits grows old.
    pub(crate) back_end: Option<Arc<dyn BackEnd>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) tally: Tally,
}

/// What it holds.
pub(crate) struct WebhooksState {
    options: WebhooksOptions,
    schedule: Schedule,
    /// The first sequence number that was not asked for yet.
    from: u64,
    is_loading: bool,
    /// Whether more may wait than was loaded.
    may_have_more: bool,
    alarm: Alarm,
    draining: Option<RpcReplyPort<()>>,
}

impl Actor for Webhooks {
    type Msg = WebhooksMessage;
    type State = WebhooksState;
    type Arguments = WebhooksOptions;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        options: WebhooksOptions,
    ) -> Result<Self::State, ActorProcessingErr> {
        // What a former process left is there without anybody saying so.
        myself.cast(WebhooksMessage::Grew)?;
        let schedule =
            if options.back_end.is_some() { Schedule::default() } else { Schedule::without_receiver() };
        Ok(WebhooksState {
            options,
            schedule,
            from: 0,
            is_loading: false,
            may_have_more: false,
            alarm: Alarm::default(),
            draining: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let at = Moment { now: Instant::now(), wall: state.options.clock.now() };
        match message {
            WebhooksMessage::Grew => state.may_have_more = true,
            WebhooksMessage::Loaded(events) => state.loaded(events),
            WebhooksMessage::Ended { seq, id, end } => state.ended(seq, id.as_deref(), &end, at)?,
            WebhooksMessage::Tick => state.alarm.rang(at.now),
            WebhooksMessage::Drain(reply) => state.draining = Some(reply),
            WebhooksMessage::Observe(reply) => drop(reply.send(())),
        }
        if state.draining.is_none() {
            state.expire(at)?;
            state.start_what_is_due(&myself, at);
        } else if state.schedule.sending() == 0
            && let Some(reply) = state.draining.take()
        {
            let _ = reply.send(());
            myself.stop(None);
        }
        Ok(())
    }
}

impl WebhooksState {
    fn loaded(&mut self, events: Option<Vec<WebhookEntry>>) {
        self.is_loading = false;
        let Some(events) = events else {
            self.may_have_more = true;
            return;
        };
        self.may_have_more |= events.len() == LOAD_MAX;
        for event in events {
            self.from = self.from.max(event.seq + 1);
            self.schedule.take(&event);
        }
    }

    fn start_what_is_due(&mut self, myself: &ActorRef<WebhooksMessage>, at: Moment) {
        if self.may_have_more && !self.is_loading && self.schedule.has_room_for(LOAD_MAX) {
            self.is_loading = true;
            self.may_have_more = false;
            let (registry, from) = (self.options.registry.clone(), self.from);
            tell(myself, async move { WebhooksMessage::Loaded(load(&registry, from, LOAD_MAX).await) });
        }
        if let Some(back_end) = &self.options.back_end {
            while let Some(seq) = self.schedule.next(at) {
                let (registry, back_end) = (self.options.registry.clone(), Arc::clone(back_end));
                tell(myself, async move {
                    let (id, end) = send(&registry, back_end.as_ref(), seq).await;
                    WebhooksMessage::Ended { seq, id, end }
                });
            }
        }
        if let Some(next) = self.schedule.wakes_at(at) {
            self.alarm.set(myself, next, at.now, || WebhooksMessage::Tick);
        }
    }

    fn ended(
        &mut self,
        seq: u64,
        id: Option<&str>,
        end: &WebhookEnd,
        at: Moment,
    ) -> Result<(), ActorProcessingErr> {
        let (fate, turn) = self.schedule.ended(seq, end, at, self.options.entropy.as_ref());
        self.count(id, end);
        match (turn, end) {
            (Some(Turn::Closed), WebhookEnd::Failed(error)) => {
                tracing::warn!(%error, "the receiver of webhooks (webhooks.url) is not there: it is looked for until it is");
            }
            (Some(Turn::Opened), _) => tracing::info!("the receiver of webhooks is back"),
            _ => {}
        }
        let Some(fate) = fate else { return Ok(()) };
        if let WebhookFate::GivenUp { why, attempts } = &fate {
            count(&self.options.tally.webhooks, "result", "gave_up");
            tracing::error!(id, why, attempts, "a webhook was given up; it is kept among the dead letters");
        }
        self.settle(vec![(seq, fate)])
    }

    fn count(&self, id: Option<&str>, end: &WebhookEnd) {
        let result = match end {
            WebhookEnd::Delivered => "delivered",
            WebhookEnd::Failed(error @ Undelivered::Refused(_)) => {
                tracing::warn!(id, %error, "a webhook was refused; it is tried again");
                "refused"
            }
            WebhookEnd::Failed(error) => {
                tracing::debug!(id, %error, "a webhook did not arrive; it is tried again");
                "failed"
            }
            WebhookEnd::Missing | WebhookEnd::Unread => return,
        };
        count(&self.options.tally.webhooks, "result", result);
    }

    fn expire(&mut self, at: Moment) -> Result<(), ActorProcessingErr> {
        let old = self.schedule.expire(at);
        if old.is_empty() {
            return Ok(());
        }
        for _ in &old {
            count(&self.options.tally.webhooks, "result", "gave_up");
        }
        tracing::error!(
            count = old.len(),
            "webhooks were given up, since nobody took any for days; they are kept among the dead letters"
        );
        // More may be loaded now, and that may be just as old.
        self.settle(old)
    }

    fn settle(&self, fates: Vec<(u64, WebhookFate)>) -> Result<(), ActorProcessingErr> {
        Ok(self.options.registry.cast(RegistryMessage::SettleWebhooks(fates))?)
    }
}

async fn load(registry: &ActorRef<RegistryMessage>, from: u64, limit: usize) -> Option<Vec<WebhookEntry>> {
    let build = |reply| RegistryMessage::Webhooks { from, limit, reply };
    call_t!(registry, build, REGISTRY_TIMEOUT_MS).ok()
}

/// One attempt. The event is read now: of what waits, only the place is kept in memory.
async fn send(
    registry: &ActorRef<RegistryMessage>,
    back_end: &dyn BackEnd,
    seq: u64,
) -> (Option<String>, WebhookEnd) {
    let Some(events) = load(registry, seq, 1).await else { return (None, WebhookEnd::Unread) };
    let Some(event) = events.into_iter().next().filter(|event| event.seq == seq) else {
        return (None, WebhookEnd::Missing);
    };
    let id = event.id.clone();
    let end = match back_end.deliver(event).await {
        Ok(()) => WebhookEnd::Delivered,
        Err(error) => WebhookEnd::Failed(error),
    };
    (Some(id), end)
}

#[cfg(test)]
mod tests;

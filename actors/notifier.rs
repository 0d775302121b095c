//! The notifier actor does at WeCom and WeChat what the registry's outbox holds: answers and questions in the chat,
//! customers moved to a person, names asked for, subscribe messages.
//!
//! In order per customer, a few at a time; tried again with back-off, given up by rule, struck from the outbox when
//! done. After a crash it begins with whatever the outbox still holds: an answer's id makes a repeat harmless, and
//! what knows no repeat is marked before it is tried. What to do was decided before; this only does it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call_t};
use tokio::time::Instant;

use crate::{
    alarm::Alarm,
    backoff::Backoff,
    beside::tell,
    ids::ExternalUserId,
    messages::{Attempt, NotifierMessage, OutboxEntry, OutboxTask, RegistryMessage, Settlement},
    policy::Handover,
    ports::{CallError, Clock, Entropy, MiniProgram, WeCom},
    tally::{Tally, count},
};

mod attempt;
mod moving;
mod queue;

use attempt::{Outside, look_up, notify, say};
use moving::{Turns, hand_over};
use queue::Queue;

/// Answers on their way at once: WeCom allows about five calls of one API.
const SENDS_MAX: usize = 4;
/// Entries asked for at once.
const LOAD_MAX: usize = 256;
/// Customers asked for in one call, by WeCom's limit.
const PROFILES_MAX: usize = 100;
/// Entries held in memory; the rest waits on the disk.
const HELD_MAX: usize = 4096;
/// How long the registry may take, in milliseconds.
const REGISTRY_TIMEOUT_MS: u64 = 30_000;
/// After so long WeCom takes no answer to a message any more, nor tells who its sender is. Seconds.
const GIVE_UP_AFTER_S: u64 = 48 * 3600;
/// Between tries.
const RETRY: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(5) };

/// The notifier actor.
pub(crate) struct Notifier;

/// What it is started with.
pub(crate) struct NotifierOptions {
    pub(crate) registry: ActorRef<RegistryMessage>,
    pub(crate) wecom: Arc<dyn WeCom>,
    pub(crate) mini_program: Arc<dyn MiniProgram>,
    pub(crate) handover: Handover,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) tally: Tally,
}

/// What it holds.
pub(crate) struct NotifierState {
    outside: Arc<Outside>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    tally: Tally,
    /// The first sequence number that was not asked for yet.
    from: u64,
    is_loading: bool,
    /// Whether the outbox may hold more than was loaded.
    may_have_more: bool,
    queues: HashMap<ExternalUserId, Queue>,
    sending: usize,
    lookups: Aside,
    notices: Aside,
    /// No call before this: WeCom limits them.
    paused_until: Option<Instant>,
    alarm: Alarm,
    draining: Option<RpcReplyPort<()>>,
}

/// Entries that are done beside the chats: names that are wanted, subscribe messages.
#[derive(Default)]
struct Aside {
    wanted: BTreeMap<u64, OutboxEntry>,
    is_busy: bool,
    failures: u32,
    due_at: Option<Instant>,
}

impl Actor for Notifier {
    type Msg = NotifierMessage;
    type State = NotifierState;
    type Arguments = NotifierOptions;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        options: NotifierOptions,
    ) -> Result<Self::State, ActorProcessingErr> {
        // What a former process left is there without anybody saying so.
        myself.cast(NotifierMessage::OutboxGrew)?;
        Ok(NotifierState {
            outside: Arc::new(Outside {
                registry: options.registry,
                wecom: options.wecom,
                mini_program: options.mini_program,
                clock: Arc::clone(&options.clock),
                handover: options.handover,
                turns: Turns::default(),
            }),
            clock: options.clock,
            entropy: options.entropy,
            tally: options.tally,
            from: 0,
            is_loading: false,
            may_have_more: false,
            queues: HashMap::new(),
            sending: 0,
            lookups: Aside::default(),
            notices: Aside::default(),
            paused_until: None,
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
        let now = Instant::now();
        match message {
            NotifierMessage::OutboxGrew => state.may_have_more = true,
            NotifierMessage::Loaded(entries) => state.loaded(entries)?,
            NotifierMessage::Sent { customer, attempt } => state.sent(&customer, attempt, now)?,
            NotifierMessage::Notified { seq, attempt } => state.notified(seq, attempt, now)?,
            NotifierMessage::LookedUp { seqs, attempt } => state.looked_up(seqs, attempt, now)?,
            NotifierMessage::Tick => state.alarm.rang(now),
            NotifierMessage::Drain(reply) => state.draining = Some(reply),
            NotifierMessage::Observe(reply) => drop(reply.send(())),
        }
        if state.draining.is_none() {
            state.start_what_is_due(&myself, now);
        } else if state.sending == 0
            && !state.lookups.is_busy
            && !state.notices.is_busy
            && let Some(reply) = state.draining.take()
        {
            let _ = reply.send(());
            myself.stop(None);
        }
        Ok(())
    }
}

impl NotifierState {
    fn held(&self) -> usize {
        self.lookups.wanted.len()
            + self.notices.wanted.len()
            + self.queues.values().map(|queue| queue.entries.len()).sum::<usize>()
    }

    fn loaded(&mut self, entries: Option<Vec<OutboxEntry>>) -> Result<(), ActorProcessingErr> {
        self.is_loading = false;
        let Some(entries) = entries else {
            self.may_have_more = true;
            return Ok(());
        };
        let mut done = Vec::new();
        self.may_have_more |= entries.len() == LOAD_MAX;
        for entry in entries {
            self.from = self.from.max(entry.seq + 1);
            let customer = match &entry.task {
                OutboxTask::Say(say) => say.reply.customer.clone(),
                OutboxTask::HandOver(move_) => move_.customer.clone(),
                OutboxTask::Profile(_) => {
                    self.lookups.wanted.insert(entry.seq, entry);
                    continue;
                }
                OutboxTask::Notify(_) => {
                    self.notices.wanted.insert(entry.seq, entry);
                    continue;
                }
            };
            let replaced = self.queues.entry(customer).or_default().push(entry);
            done.extend(replaced.map(|seq| (seq, Settlement::Done)));
        }
        if done.is_empty() {
            Ok(())
        } else {
            Ok(self.outside.registry.cast(RegistryMessage::Settle(done))?)
        }
    }

    fn start_what_is_due(&mut self, myself: &ActorRef<NotifierMessage>, now: Instant) {
        if self.may_have_more && !self.is_loading && self.held() < HELD_MAX {
            self.is_loading = true;
            self.may_have_more = false;
            self.load(myself);
        }
        let is_paused = self.paused_until.is_some_and(|until| now < until);
        if !is_paused {
            self.send_what_is_due(myself, now);
            self.look_up_what_is_due(myself, now);
        }
        // WeChat is another host with limits of its own.
        self.notify_what_is_due(myself, now);
        self.set_alarm(myself, now);
    }

    fn load(&self, myself: &ActorRef<NotifierMessage>) {
        let (registry, from) = (self.outside.registry.clone(), self.from);
        tell(myself, async move {
            let build = |reply| RegistryMessage::Outbox { from, limit: LOAD_MAX, reply };
            NotifierMessage::Loaded(call_t!(registry, build, REGISTRY_TIMEOUT_MS).ok())
        });
    }

    fn send_what_is_due(&mut self, myself: &ActorRef<NotifierMessage>, now: Instant) {
        for (customer, queue) in &mut self.queues {
            if self.sending >= SENDS_MAX {
                break;
            }
            let is_due = !queue.is_sending && queue.due_at.is_none_or(|at| at <= now);
            let Some(entry) = queue.entries.front().filter(|_| is_due) else { continue };
            queue.is_sending = true;
            self.sending += 1;
            let (outside, customer) = (Arc::clone(&self.outside), customer.clone());
            match entry.task.clone() {
                OutboxTask::Say(what) => {
                    let (seq, is_first_try) = (entry.seq, queue.failures == 0);
                    tell(myself, async move {
                        let attempt = say(&outside, seq, *what, is_first_try).await;
                        NotifierMessage::Sent { customer, attempt }
                    });
                }
                OutboxTask::HandOver(what) => tell(myself, async move {
                    NotifierMessage::Sent { customer, attempt: hand_over(&outside, &what).await }
                }),
                // These have queues of their own.
                OutboxTask::Profile(_) | OutboxTask::Notify(_) => {}
            }
        }
    }

    fn look_up_what_is_due(&mut self, myself: &ActorRef<NotifierMessage>, now: Instant) {
        let lookups = &mut self.lookups;
        if lookups.is_busy || lookups.wanted.is_empty() || lookups.due_at.is_some_and(|at| now < at) {
            return;
        }
        lookups.is_busy = true;
        let (mut seqs, mut customers) = (Vec::new(), Vec::new());
        for entry in lookups.wanted.values().take(PROFILES_MAX) {
            if let OutboxTask::Profile(customer) = &entry.task {
                seqs.push(entry.seq);
                customers.push(customer.clone());
            }
        }
        let outside = Arc::clone(&self.outside);
        tell(myself, async move {
            NotifierMessage::LookedUp { seqs, attempt: look_up(&outside, customers).await }
        });
    }

    fn notify_what_is_due(&mut self, myself: &ActorRef<NotifierMessage>, now: Instant) {
        let notices = &mut self.notices;
        if notices.is_busy || notices.due_at.is_some_and(|at| now < at) {
            return;
        }
        let Some((seq, OutboxTask::Notify(what))) =
            notices.wanted.first_key_value().map(|(seq, entry)| (*seq, entry.task.clone()))
        else {
            return;
        };
        notices.is_busy = true;
        let outside = Arc::clone(&self.outside);
        tell(myself, async move {
            NotifierMessage::Notified { seq, attempt: notify(&outside, seq, *what).await }
        });
    }

    fn sent(
        &mut self,
        customer: &ExternalUserId,
        attempt: Attempt,
        now: Instant,
    ) -> Result<(), ActorProcessingErr> {
        self.sending -= 1;
        let wall = self.clock.now();
        let Some(queue) = self.queues.get_mut(customer) else { return Ok(()) };
        queue.is_sending = false;
        let age_s = queue.entries.front().map_or(0, |entry| wall.since(entry.created_at));
        let (result, settlement) = match attempt {
            Attempt::Done => ("sent", Settlement::Done),
            Attempt::GivenUp(result) => (result, Settlement::NotDone),
            Attempt::Unknown => ("unknown", Settlement::NotDone),
            Attempt::Later(error) if age_s < GIVE_UP_AFTER_S => {
                queue.put_off(now, self.entropy.as_ref());
                if let CallError::Throttled { wait, .. } = &error {
                    self.paused_until = self.paused_until.max(Some(now + *wait));
                }
                tracing::warn!(%customer, %error, "something for a customer could not be done; it is tried again");
                return Ok(());
            }
            Attempt::Later(_) => ("gave_up", Settlement::NotDone),
        };
        queue.failures = 0;
        queue.due_at = None;
        let done = queue.entries.pop_front();
        if queue.entries.is_empty() {
            self.queues.remove(customer);
        }
        let Some(done) = done else { return Ok(()) };
        if matches!(done.task, OutboxTask::Say(_)) {
            count(&self.tally.replies, "result", result);
        }
        Ok(self.outside.registry.cast(RegistryMessage::Settle(vec![(done.seq, settlement)]))?)
    }

    fn notified(&mut self, seq: u64, attempt: Attempt, now: Instant) -> Result<(), ActorProcessingErr> {
        let wall = self.clock.now();
        let notices = &mut self.notices;
        notices.is_busy = false;
        if let Attempt::Later(error) = attempt {
            let age_s = notices.wanted.get(&seq).map_or(0, |entry| wall.since(entry.created_at));
            if age_s < GIVE_UP_AFTER_S {
                notices.failures += 1;
                notices.due_at = Some(now + RETRY.wait(notices.failures, self.entropy.as_ref()));
                tracing::warn!(%error, "a subscribe message could not be sent; it is tried again");
                return Ok(());
            }
        }
        notices.failures = 0;
        notices.due_at = None;
        notices.wanted.remove(&seq);
        Ok(self.outside.registry.cast(RegistryMessage::Settle(vec![(seq, Settlement::Done)]))?)
    }

    fn looked_up(
        &mut self,
        seqs: Vec<u64>,
        attempt: Attempt,
        now: Instant,
    ) -> Result<(), ActorProcessingErr> {
        let wall = self.clock.now();
        let lookups = &mut self.lookups;
        lookups.is_busy = false;
        let done: Vec<u64> = if let Attempt::Later(error) = attempt {
            lookups.failures += 1;
            lookups.due_at = Some(now + RETRY.wait(lookups.failures, self.entropy.as_ref()));
            if let CallError::Throttled { wait, .. } = &error {
                self.paused_until = self.paused_until.max(Some(now + *wait));
            }
            tracing::warn!(%error, "customers' names could not be asked for; it is tried again");
            let is_old = |entry: &&OutboxEntry| wall.since(entry.created_at) >= GIVE_UP_AFTER_S;
            lookups.wanted.values().filter(is_old).map(|entry| entry.seq).collect()
        } else {
            lookups.failures = 0;
            lookups.due_at = None;
            seqs
        };
        if done.is_empty() {
            return Ok(());
        }
        for seq in &done {
            lookups.wanted.remove(seq);
        }
        let done = done.into_iter().map(|seq| (seq, Settlement::Done)).collect();
        Ok(self.outside.registry.cast(RegistryMessage::Settle(done))?)
    }

    fn set_alarm(&mut self, myself: &ActorRef<NotifierMessage>, now: Instant) {
        let queues = self.queues.values().filter(|queue| !queue.is_sending).filter_map(|queue| queue.due_at);
        let lookups =
            self.lookups.due_at.filter(|_| !self.lookups.is_busy && !self.lookups.wanted.is_empty());
        let notices =
            self.notices.due_at.filter(|_| !self.notices.is_busy && !self.notices.wanted.is_empty());
        let has_work = !self.queues.is_empty() || !self.lookups.wanted.is_empty();
        let pause = self.paused_until.filter(|_| has_work);
        let next = queues.chain(lookups).chain(notices).chain(pause).filter(|at| *at > now).min();
        if let Some(next) = next {
            self.alarm.set(myself, next, now, || NotifierMessage::Tick);
        }
    }
}

#[cfg(test)]
mod tests;

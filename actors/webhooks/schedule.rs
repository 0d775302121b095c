//! Which event is sent when: in order for each user and each customer, a few at once, again with back-off, given up
//! after three days. No clock, no network and no store; whoever holds it says what time it is and what happened.
//!
//! An event stands in two lanes, its user's and its customer's, and is sent when it is the first in both. So it waits
//! for every earlier event that shares either, and for no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use tokio::time::Instant;

use super::gate::{Gate, Pass, Turn};
use crate::{
    backoff::Backoff,
    ids::Timestamp,
    messages::{WebhookEnd, WebhookEntry, WebhookFate},
    ports::{Entropy, Undelivered},
};

/// Events on their way at once.
pub(super) const SENDS_MAX: usize = 8;
/// Events that are known of; the rest waits on the disk. Each takes 320 bytes.
pub(super) const HELD_MAX: usize = 50_000;
/// After so long an event is given up.
pub(super) const GIVE_UP_AFTER_S: u64 = 3 * 24 * 3600;
/// Between tries of an event that the receiver refuses.
const REFUSED: Backoff = Backoff { first: Duration::from_secs(5), longest: Duration::from_hours(1) };
/// Between tries of an event where the receiver may be the cause.
const FAILED: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(2) };
/// Events given up at once: the registry's next batch has others to serve, too.
const EXPIRE_MAX: usize = 256;
/// Before the registry is asked again for an event.
const UNREAD_WAIT: Duration = Duration::from_secs(1);

/// One moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) wall: Timestamp,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    waiting: BTreeMap<u64, Waiting>,
    /// Who stands in which lane.
    lanes: BTreeSet<(u64, u64)>,
    /// Who is the first in both lanes and not on the way, by when the next try is due.
    ready: BTreeSet<(Option<Instant>, u64)>,
    sending: usize,
    gate: Gate,
}

#[derive(Debug)]
struct Waiting {
    lanes: [u64; 2],
    queued_at: Timestamp,
    is_sending: bool,
    due_at: Option<Instant>,
    /// In a row, since the receiver last came back.
    failures: u32,
    /// Since this process knows of it.
    attempts: u32,
}

impl Waiting {
    fn is_old(&self, wall: Timestamp) -> bool {
        wall.since(self.queued_at) >= GIVE_UP_AFTER_S
    }
}

impl Schedule {
    /// One that sends nothing: there is nobody to send it to.
    pub(super) fn without_receiver() -> Self {
        Self { gate: Gate::shut(), ..Self::default() }
    }

    /// Whether so many more events may be taken in.
    pub(super) fn has_room_for(&self, events: usize) -> bool {
        self.waiting.len() + events <= HELD_MAX
    }

    /// How many are on their way.
    pub(super) fn sending(&self) -> usize {
        self.sending
    }

    /// Takes in an event. Those of one user and one customer come in their order.
    pub(super) fn take(&mut self, event: &WebhookEntry) {
        let lanes = [
            lane_of("openid", event.binding.openid.as_str()),
            lane_of("customer", event.binding.customer.as_str()),
        ];
        let waiting = Waiting {
            lanes,
            queued_at: event.queued_at,
            is_sending: false,
            due_at: None,
            failures: 0,
            attempts: 0,
        };
        if self.waiting.contains_key(&event.seq) {
            return;
        }
        self.waiting.insert(event.seq, waiting);
        self.lanes.extend(lanes.map(|lane| (lane, event.seq)));
        self.admit(event.seq);
    }

    /// The next event to be sent now; it is on its way from here on.
    pub(super) fn next(&mut self, at: Moment) -> Option<u64> {
        if self.sending >= SENDS_MAX {
            return None;
        }
        let is_due = |(due_at, _): &&(Option<Instant>, u64)| due_at.is_none_or(|due_at| due_at <= at.now);
        let pass = self.gate.pass(at.now);
        let chosen = match pass {
            Pass::All => self.ready.first().filter(is_due).copied(),
            // Another one each time: what fails for one event works for the next.
            Pass::Probe => {
                self.ready.iter().min_by_key(|(due_at, seq)| (self.failures(*seq), *due_at)).copied()
            }
            Pass::Nobody(_) => None,
        }?;
        let (_, seq) = chosen;
        self.ready.remove(&chosen);
        if pass == Pass::Probe {
            self.gate.probes_with(seq);
        }
        let waiting = self.waiting.get_mut(&seq)?;
        waiting.is_sending = true;
        self.sending += 1;
        Some(seq)
    }

    /// An attempt has ended: what becomes of the event, and whether the gate has turned.
    pub(super) fn ended(
        &mut self,
        seq: u64,
        end: &WebhookEnd,
        at: Moment,
        entropy: &dyn Entropy,
    ) -> (Option<WebhookFate>, Option<Turn>) {
        let Some(waiting) = self.waiting.get_mut(&seq).filter(|waiting| waiting.is_sending) else {
            return (None, None);
        };
        waiting.is_sending = false;
        self.sending -= 1;
        match end {
            WebhookEnd::Delivered => {
                let turn = self.gate.succeeded();
                self.remove(seq);
                self.turned(turn);
                (Some(WebhookFate::Delivered), turn)
            }
            WebhookEnd::Missing => {
                self.gate.learnt_nothing(seq, at.now);
                self.remove(seq);
                (None, None)
            }
            WebhookEnd::Unread => {
                self.gate.learnt_nothing(seq, at.now + UNREAD_WAIT);
                waiting.due_at = Some(at.now + UNREAD_WAIT);
                self.admit(seq);
                (None, None)
            }
            WebhookEnd::Failed(failure) => {
                let is_first = waiting.failures == 0;
                waiting.attempts += 1;
                let (is_old, attempts) = (waiting.is_old(at.wall), waiting.attempts);
                let turn = self.gate.failed(seq, failure, is_first, at.now, entropy);
                self.turned(turn);
                if is_old {
                    self.remove(seq);
                    return (Some(WebhookFate::GivenUp { why: failure.to_string(), attempts }), turn);
                }
                if let Some(waiting) = self.waiting.get_mut(&seq) {
                    waiting.failures += 1;
                    let backoff = if matches!(failure, Undelivered::Refused(_)) { REFUSED } else { FAILED };
                    waiting.due_at = Some(at.now + backoff.wait(waiting.failures, entropy));
                }
                self.admit(seq);
                (None, turn)
            }
        }
    }

    /// Gives up what is too old while there is nobody to send it to. (While the receiver answers, everything gets its
    /// try first.)
    pub(super) fn expire(&mut self, at: Moment) -> Vec<(u64, WebhookFate)> {
        let Some((_, why)) = self.gate.gives_up(at.now).filter(|(from, _)| *from <= at.now) else {
            return Vec::new();
        };
        let why = why.to_owned();
        // Numbers grow with time.
        let old = self.waiting.iter().take_while(|(_, waiting)| waiting.is_old(at.wall));
        let old: Vec<(u64, u32)> =
            old.filter(|(_, w)| !w.is_sending).map(|(seq, w)| (*seq, w.attempts)).take(EXPIRE_MAX).collect();
        let give_up = |(seq, attempts)| {
            self.remove(seq);
            (seq, WebhookFate::GivenUp { why: why.clone(), attempts })
        };
        old.into_iter().map(give_up).collect()
    }

    /// When there is something to do next, if nothing else happens before.
    pub(super) fn wakes_at(&self, at: Moment) -> Option<Instant> {
        let has_place = self.sending < SENDS_MAX;
        let next_try = match self.gate.pass(at.now) {
            Pass::All => self.ready.first().and_then(|(due_at, _)| *due_at),
            Pass::Probe => Some(at.now),
            Pass::Nobody(until) => until,
        };
        let next_try = next_try.filter(|_| has_place && !self.ready.is_empty());
        let next_end = self.gate.gives_up(at.now).and_then(|(from, _)| {
            let oldest = self.waiting.values().find(|waiting| !waiting.is_sending)?;
            let left_s = oldest.queued_at.plus(GIVE_UP_AFTER_S).since(at.wall);
            Some(from.max(at.now + Duration::from_secs(left_s)))
        });
        next_try.into_iter().chain(next_end).min()
    }

    /// What has waited for a receiver that is back waits no longer.
    fn turned(&mut self, turn: Option<Turn>) {
        if turn != Some(Turn::Opened) {
            return;
        }
        for waiting in self.waiting.values_mut() {
            (waiting.failures, waiting.due_at) = (0, None);
        }
        self.ready = std::mem::take(&mut self.ready).into_iter().map(|(_, seq)| (None, seq)).collect();
    }

    fn failures(&self, seq: u64) -> u32 {
        self.waiting.get(&seq).map_or(0, |waiting| waiting.failures)
    }

    /// Makes an event ready if it is the first in both lanes.
    fn admit(&mut self, seq: u64) {
        let Some(waiting) = self.waiting.get(&seq).filter(|waiting| !waiting.is_sending) else { return };
        if waiting.lanes.iter().all(|lane| self.first_in(*lane) == Some(seq)) {
            self.ready.insert((waiting.due_at, seq));
        }
    }

    fn remove(&mut self, seq: u64) {
        let Some(waiting) = self.waiting.remove(&seq) else { return };
        self.ready.remove(&(waiting.due_at, seq));
        for lane in waiting.lanes {
            self.lanes.remove(&(lane, seq));
        }
        for next in waiting.lanes.into_iter().filter_map(|lane| self.first_in(lane)).collect::<Vec<_>>() {
            self.admit(next);
        }
    }

    fn first_in(&self, lane: u64) -> Option<u64> {
        let first = self.lanes.range((lane, 0)..=(lane, u64::MAX)).next();
        first.map(|(_, seq)| *seq)
    }
}

/// Two names with the same number would only wait for each other.
fn lane_of(kind: &str, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind, name).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
pub(super) mod tests;

//! What is to be done for one customer: in order, but nothing that is to be said waits for a person who can't be brought
//! for now.
//!
//! No calls and no clock: when something is tried, and what came of it, is the notifier's business.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::RETRY;
use crate::{
    messages::{OutboxEntry, OutboxTask},
    ports::Entropy,
};

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) entries: VecDeque<OutboxEntry>,
    /// Whether the first is being tried.
    pub(super) is_sending: bool,
    /// Of the first, in a row.
    pub(super) failures: u32,
    /// When the first is tried again.
    pub(super) due_at: Option<Instant>,
}

impl Queue {
    /// Takes an entry in. A move takes the place of one in the same account that was not begun: that one is done with,
    /// and this is its number.
    pub(super) fn push(&mut self, entry: OutboxEntry) -> Option<u64> {
        let begun = usize::from(self.is_sending);
        let same = self.entries.iter_mut().skip(begun).find(|waiting| is_same_move(waiting, &entry));
        if let Some(waiting) = same {
            return Some(std::mem::replace(waiting, entry).seq);
        }
        self.entries.push_back(entry);
        if !self.is_sending && self.due_at.is_some() {
            self.let_words_pass();
        }
        None
    }

    /// The first did not work now, and may later.
    pub(super) fn put_off(&mut self, now: Instant, entropy: &dyn Entropy) {
        self.failures += 1;
        self.due_at = Some(now + RETRY.wait(self.failures, entropy));
        self.let_words_pass();
    }

    /// A move that waits for its next try lets what is to be said go first.
    fn let_words_pass(&mut self) {
        let is_move = |entry: &OutboxEntry| matches!(entry.task, OutboxTask::HandOver(_));
        let words = self.entries.iter().position(|entry| !is_move(entry));
        if let Some(words) = words.filter(|place| *place > 0).and_then(|place| self.entries.remove(place)) {
            self.entries.push_front(words);
            self.failures = 0;
            self.due_at = None;
        }
    }
}

fn is_same_move(one: &OutboxEntry, other: &OutboxEntry) -> bool {
    match (&one.task, &other.task) {
        (OutboxTask::HandOver(one), OutboxTask::HandOver(other)) => one.account == other.account,
        _ => false,
    }
}

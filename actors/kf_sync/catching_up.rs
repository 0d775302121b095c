//! How far an account's first pages have come: three days of messages can take minutes, and an operator who sees nothing
//! takes that for a fault. One line now and then, and one at the end if there was any. Changes nothing.

use std::time::Duration;

use tokio::time::Instant;

use crate::ids::Timestamp;

/// The first word, and how often one follows.
const FIRST_AFTER: Duration = Duration::from_secs(2);
const EVERY: Duration = Duration::from_secs(10);

/// Pages that follow each other without an end yet.
#[derive(Debug)]
pub(super) struct CatchingUp {
    messages: u64,
    newest: Option<Timestamp>,
    tell_at: Instant,
    told: bool,
}

/// A word for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Messages read since the first of these pages.
    pub(super) messages: u64,
    /// When the newest of them was sent.
    pub(super) newest: Option<Timestamp>,
}

impl CatchingUp {
    pub(super) fn begin(now: Instant) -> Self {
        Self { messages: 0, newest: None, tell_at: now + FIRST_AFTER, told: false }
    }

    /// A page with more to come.
    pub(super) fn page(&mut self, messages: u64, newest: Option<Timestamp>, now: Instant) -> Option<Word> {
        self.messages += messages;
        self.newest = self.newest.max(newest);
        if now < self.tell_at {
            return None;
        }
        self.tell_at = now + EVERY;
        self.told = true;
        Some(Word { messages: self.messages, newest: self.newest })
    }

    /// The last page; a word only where there was one before.
    pub(super) fn end(self, messages: u64) -> Option<Word> {
        self.told.then_some(Word { messages: self.messages + messages, newest: self.newest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_comes_after_two_seconds_and_then_every_ten() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut catching_up = CatchingUp::begin(begun);
        let told: Vec<u64> = (0..30)
            .filter(|second| catching_up.page(5, Some(Timestamp(100 + second)), at(*second)).is_some())
            .collect();
        assert_eq!(told, [2, 12, 22]);
        let last = catching_up.end(7);
        assert_eq!(last, Some(Word { messages: 30 * 5 + 7, newest: Some(Timestamp(129)) }));
    }

    #[test]
    fn what_is_soon_done_is_not_spoken_of() {
        let begun = Instant::now();
        let mut catching_up = CatchingUp::begin(begun);
        assert_eq!(catching_up.page(1000, None, begun + Duration::from_secs(1)), None);
        assert_eq!(catching_up.end(10), None);
    }
}

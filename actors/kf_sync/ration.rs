//! The pulls that WeCom counts as made without a token: few a minute over all accounts, across restarts.
//!
//! WeCom closes the door at ten a minute, wrong tokens included. Only counts; who may pull is the schedule's choice.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::ids::Timestamp;

/// Such pulls within [`WINDOW_S`].
const PULLS_MAX: usize = 6;
/// See [`PULLS_MAX`]. Seconds.
const WINDOW_S: u64 = 60;
/// Pulls that only the timer asks for are this far from the last one, so that one pull a minute is left for whatever
/// can't wait.
const TIMER_SPACING: Duration = Duration::from_secs(12);

/// See the module.
#[derive(Debug)]
pub(super) struct Ration {
    spent: VecDeque<Instant>,
    is_unsaved: bool,
}

impl Ration {
    /// Goes on where a former process was; `spent` by the wall clock.
    pub(super) fn restore(spent: &[Timestamp], wall: Timestamp, now: Instant) -> Self {
        let instant = |at: &Timestamp| {
            let age_s = wall.since(*at);
            (age_s < WINDOW_S).then(|| now.checked_sub(Duration::from_secs(age_s)).unwrap_or(now))
        };
        Self { spent: spent.iter().filter_map(instant).collect(), is_unsaved: false }
    }

    /// The earliest moment at which one more may go out.
    pub(super) fn next_at(&self, by_timer: bool, now: Instant) -> Instant {
        let full_at = self.spent.len().checked_sub(PULLS_MAX).and_then(|oldest| self.spent.get(oldest));
        let room_at = full_at.map_or(now, |oldest| *oldest + Duration::from_secs(WINDOW_S));
        match self.spent.back() {
            Some(last) if by_timer => room_at.max(*last + TIMER_SPACING),
            _ => room_at,
        }
    }

    /// One goes out.
    pub(super) fn spend(&mut self, now: Instant) {
        self.spent.push_back(now);
        if self.spent.len() > PULLS_MAX {
            self.spent.pop_front();
        }
        self.is_unsaved = true;
    }

    /// What a next process must know, if that has changed.
    pub(super) fn unsaved(&mut self, wall: Timestamp, now: Instant) -> Option<Vec<Timestamp>> {
        let moment = |at: &Instant| wall.minus(now.saturating_duration_since(*at).as_secs());
        std::mem::take(&mut self.is_unsaved).then(|| self.spent.iter().map(moment).collect())
    }
}

//! Which pull may go out when: at most four at once, at most one of an account, few without a sync token.
//!
//! Only chooses; the pull itself is kf-sync's.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{
    account::{Phase, Position},
    served::Served,
};
use crate::ids::{OpenKfId, Timestamp};

/// Pulls at once, over all accounts: WeCom allows about five calls of one API.
const PULLS_MAX: usize = 4;
/// Pulls without a live sync token within [`RATION_WINDOW`], over all accounts; at ten a minute WeCom closes the door.
const RATION: usize = 6;
/// See [`RATION`].
const RATION_WINDOW: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Schedule {
    every: Duration,
    /// When the latest pulls without a token went out.
    spent: VecDeque<Instant>,
    paused_until: Option<Instant>,
}

impl Schedule {
    /// Every account is looked at this often without a callback.
    pub(super) fn new(every: Duration) -> Self {
        Self { every, spent: VecDeque::new(), paused_until: None }
    }

    /// No pull before this moment.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// A pull went out that WeCom counts as one without a token.
    pub(super) fn spend(&mut self, now: Instant) {
        self.spent.push_back(now);
    }

    /// The accounts to pull now, marked as under way.
    pub(super) fn choose(&mut self, served: &mut Served, wall: Timestamp, now: Instant) -> Vec<OpenKfId> {
        for account in served.accounts_mut() {
            if account.reconcile_at <= now {
                account.reconcile_at = now + self.every;
                account.dirty = true;
            }
        }
        if self.paused_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        while self.spent.front().is_some_and(|at| now.duration_since(*at) >= RATION_WINDOW) {
            self.spent.pop_front();
        }
        let mut free =
            PULLS_MAX.saturating_sub(served.accounts().filter(|account| account.is_busy()).count());
        let mut waiting: Vec<_> = served
            .entries_mut()
            .filter(|(_, account)| !account.is_busy() && account.dirty && account.due_at <= now)
            .collect();
        waiting.sort_by_key(|(_, account)| account.started_at);
        let mut chosen = Vec::new();
        for (id, account) in waiting {
            if free == 0 {
                break;
            }
            let is_loaded = account.position != Position::Unasked;
            let has_token = account.sync_token.as_ref().is_some_and(|token| token.is_live(wall));
            if is_loaded && !has_token {
                if self.spent.len() >= RATION {
                    continue;
                }
                self.spent.push_back(now);
            }
            account.phase = Phase::Pulling;
            account.dirty = false;
            account.started_at = Some(now);
            free -= 1;
            chosen.push(id.clone());
        }
        chosen
    }

    /// When something that has to wait now may be due.
    pub(super) fn next_at(&self, served: &Served, wall: Timestamp, now: Instant) -> Option<Instant> {
        let ration_at = match self.spent.front() {
            Some(oldest) if self.spent.len() >= RATION => *oldest + RATION_WINDOW,
            _ => now,
        };
        served
            .accounts()
            .flat_map(|account| {
                let has_token = account.sync_token.as_ref().is_some_and(|token| token.is_live(wall));
                let mut due_at = account.due_at;
                if !has_token {
                    due_at = due_at.max(ration_at);
                }
                let due = (account.dirty && !account.is_busy()).then_some(due_at);
                [Some(account.reconcile_at), due]
            })
            .flatten()
            .map(|at| self.paused_until.map_or(at, |until| at.max(until)))
            .filter(|at| *at > now)
            .min()
    }
}

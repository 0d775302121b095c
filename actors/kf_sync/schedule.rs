//! Which pull may go out when: at most four at once, at most one of an account, few without a sync token.
//!
//! Only chooses; the pull itself is kf-sync's.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    account::{Account, Phase, Position},
    ration::Ration,
    served::Served,
};
use crate::ids::{OpenKfId, Timestamp};

/// Pulls at once, over all accounts: WeCom allows about five calls of one API.
const PULLS_MAX: usize = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Schedule {
    every: Duration,
    ration: Ration,
    /// Whether the last sync token was refused: then the next ones may be, too, and count as none.
    distrusts_tokens: bool,
    paused_until: Option<Instant>,
}

impl Schedule {
    /// Every account is looked at this often without a callback.
    pub(super) fn new(every: Duration, ration: Ration) -> Self {
        Self { every, ration, distrusts_tokens: false, paused_until: None }
    }

    /// No pull before this moment.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// WeCom refused the sync token of a pull, which counts as one without.
    pub(super) fn token_refused(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.distrusts_tokens, true) {
            self.ration.spend(now);
        }
    }

    /// WeCom took the sync token of a pull.
    pub(super) fn token_taken(&mut self) {
        self.distrusts_tokens = false;
    }

    /// What a next process must know of the pulls without a token, if that has changed.
    pub(super) fn unsaved_ration(&mut self, wall: Timestamp, now: Instant) -> Option<Vec<Timestamp>> {
        self.ration.unsaved(wall, now)
    }

    /// Whether a pull of this account would need the ration.
    fn is_rationed(&self, account: &Account, wall: Timestamp) -> bool {
        let has_token = account.sync_token.as_ref().is_some_and(|token| token.is_live(wall));
        account.position != Position::Unasked && (self.distrusts_tokens || !has_token)
    }

    /// The accounts to pull now, marked as under way.
    pub(super) fn choose(&mut self, served: &mut Served, wall: Timestamp, now: Instant) -> Vec<OpenKfId> {
        for account in served.accounts_mut() {
            if account.reconcile_at <= now {
                account.reconcile_at = now + self.every;
                account.is_only_timer = !account.dirty;
                account.dirty = true;
            }
        }
        if self.paused_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        let mut free = PULLS_MAX.saturating_sub(served.busy());
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
            if self.is_rationed(account, wall) {
                if self.ration.next_at(account.is_only_timer, now) > now {
                    continue;
                }
                self.ration.spend(now);
            }
            account.phase = Phase::Pulling;
            account.dirty = false;
            account.is_only_timer = false;
            account.started_at = Some(now);
            free -= 1;
            chosen.push(id.clone());
        }
        chosen
    }

    /// When something that has to wait now may be due.
    pub(super) fn next_at(&self, served: &Served, wall: Timestamp, now: Instant) -> Option<Instant> {
        served
            .accounts()
            .flat_map(|account| {
                let mut due_at = account.due_at;
                if self.is_rationed(account, wall) {
                    due_at = due_at.max(self.ration.next_at(account.is_only_timer, now));
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

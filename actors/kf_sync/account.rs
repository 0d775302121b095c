//! One account as kf-sync sees it: where it stands, what was tried, when to try again.

use std::time::Duration;

use tokio::time::Instant;

use super::catching_up::CatchingUp;
use crate::{
    backoff::Backoff,
    ids::{Cursor, OpenKfId, SyncToken, Timestamp},
    messages::AccountReport,
    ports::{CallError, Entropy, KfAccount},
};

/// Between tries while WeCom can't be reached.
const UNREACHABLE: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(1) };
/// Between tries while something is missing in a console: it works minutes after the box is ticked.
const REFUSED: Backoff = Backoff { first: Duration::from_secs(10), longest: Duration::from_mins(5) };
/// A nudge shows that WeCom is there again, but a storm of nudges must not become a storm of failing pulls.
const RETRY_ON_NUDGE_AFTER: Duration = Duration::from_secs(1);
/// Codes for a parameter that WeCom doesn't take; of ours only the cursor can be one.
const BAD_PARAMETER: [i64; 4] = [40_033, 40_035, 40_058, 40_097];
/// Codes about the account, which no other cursor would mend.
const BAD_ACCOUNT: [i64; 3] = [95_000, 95_004, 60_252];
/// After so many refusals in a row of whatever code, the cursor is to blame.
const REFUSALS_MAX: u32 = 3;

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    /// The registry is asked where to go on.
    Loading,
    /// WeCom is asked for a page.
    Pulling,
    /// The registry has a page to decide.
    Committing,
}

/// Where to go on in the account's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The registry was not asked yet.
    Unasked,
    /// Behind this cursor; `None` = at the oldest message that WeCom keeps.
    At(Option<Cursor>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Account {
    /// Where the next page begins.
    pub(super) position: Position,
    /// The newest one.
    pub(super) sync_token: Option<SyncToken>,
    pub(super) phase: Phase,
    /// Whether to look again.
    pub(super) dirty: bool,
    /// Whether nothing but the timer asks for it.
    pub(super) is_only_timer: bool,
    /// Not before.
    pub(super) due_at: Instant,
    /// When the timer looks again.
    pub(super) reconcile_at: Instant,
    /// When the last pull began; who waited longest goes first.
    pub(super) started_at: Option<Instant>,
    /// What the pull under way was asked with.
    pub(super) pulled_with: (Option<Cursor>, Option<SyncToken>),
    /// While pages follow each other.
    pub(super) catching_up: Option<CatchingUp>,
    /// Empty pages in a row.
    pub(super) empty_pages: u32,
    failures: u32,
    refusals: u32,
    last_pull_at: Option<Timestamp>,
    last_error: Option<String>,
}

impl Account {
    /// To be pulled at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            position: Position::Unasked,
            sync_token: None,
            phase: Phase::Idle,
            dirty: true,
            is_only_timer: false,
            due_at: now,
            reconcile_at: now,
            started_at: None,
            pulled_with: (None, None),
            catching_up: None,
            empty_pages: 0,
            failures: 0,
            refusals: 0,
            last_pull_at: None,
            last_error: None,
        }
    }

    /// Whether something is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// Something is new, perhaps.
    pub(super) fn nudge(&mut self, sync_token: Option<SyncToken>, now: Instant) {
        self.dirty = true;
        self.is_only_timer = false;
        let is_new = self.offer_token(sync_token);
        if is_new && self.failures > 0 {
            let earliest = self.started_at.map_or(now, |at| at + RETRY_ON_NUDGE_AFTER);
            self.due_at = self.due_at.min(earliest.max(now));
        }
    }

    /// Takes a sync token if it is newer than the one at hand.
    pub(super) fn offer_token(&mut self, offered: Option<SyncToken>) -> bool {
        let Some(offered) = offered else { return false };
        let is_newer = self.sync_token.as_ref().is_none_or(|known| offered.created_at >= known.created_at);
        if is_newer {
            self.sync_token = Some(offered);
        }
        is_newer
    }

    /// WeCom answered.
    pub(super) fn succeeded(&mut self, at: Timestamp) {
        self.failures = 0;
        self.refusals = 0;
        self.last_pull_at = Some(at);
        self.last_error = None;
    }

    /// WeCom did not, or refused; when to try again follows from that. Answers the label for the metric.
    pub(super) fn failed(&mut self, error: &CallError, now: Instant, entropy: &dyn Entropy) -> &'static str {
        self.dirty = true;
        self.failures += 1;
        self.last_error = Some(error.to_string());
        match error {
            CallError::SyncTokenRefused(_) if self.pulled_with.1.is_some() => {
                if self.sync_token == self.pulled_with.1 {
                    self.sync_token = None;
                }
                self.due_at = now;
                "token_refused"
            }
            CallError::Throttled { wait, .. } => {
                self.due_at = now + *wait + UNREACHABLE.wait(1, entropy);
                "throttled"
            }
            CallError::Unreachable(_) => {
                self.due_at = now + UNREACHABLE.wait(self.failures, entropy);
                "unreachable"
            }
            CallError::Misconfigured { .. } | CallError::Stopped(_) => {
                self.due_at = now + REFUSED.wait(self.failures, entropy);
                "refused"
            }
            CallError::SyncTokenRefused(errcode) | CallError::Refused { errcode, .. } => {
                self.refused(*errcode, now, entropy)
            }
        }
    }

    fn refused(&mut self, errcode: i64, now: Instant, entropy: &dyn Entropy) -> &'static str {
        self.refusals += 1;
        let is_about_the_cursor = self.pulled_with.0.is_some()
            && !BAD_ACCOUNT.contains(&errcode)
            && (BAD_PARAMETER.contains(&errcode) || self.refusals >= REFUSALS_MAX);
        if !is_about_the_cursor {
            self.due_at = now + REFUSED.wait(self.failures, entropy);
            return "refused";
        }
        tracing::error!(
            errcode,
            "WeCom refuses the stored cursor: starting over from the oldest message it keeps; nothing acts twice"
        );
        self.position = Position::At(None);
        self.refusals = 0;
        self.due_at = now;
        "cursor_refused"
    }

    /// Waits before the next try, without a failure of WeCom's.
    pub(super) fn back_off(&mut self, now: Instant, entropy: &dyn Entropy) {
        self.failures += 1;
        self.due_at = now + UNREACHABLE.wait(self.failures, entropy);
    }

    /// For the operator. `listed` is what WeCom last told of it.
    pub(super) fn report(&self, id: &OpenKfId, listed: Option<&KfAccount>) -> AccountReport {
        AccountReport {
            account: id.clone(),
            name: listed.map(|listed| listed.name.clone()),
            api_managed: listed.map(|listed| listed.api_managed),
            last_pull_at: self.last_pull_at,
            last_error: self.last_error.clone(),
        }
    }
}

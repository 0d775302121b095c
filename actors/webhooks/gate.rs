//! Whether the receiver may be called at all: open while it answers, closed while it does not. Behind a closed gate one
//! probe at a time goes out, less and less often, and the first that gets through opens it for all.
//!
//! One event that the receiver can't digest does not close it: that takes failures of several events with no success in
//! between, or a sign that can't be the event's fault. Which event is tried is the schedule's business.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    backoff::Backoff,
    ports::{Entropy, Undelivered},
};

/// Between probes.
const PROBES: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(2) };
/// No longer is the receiver left alone, whatever it asks for.
pub(super) const WAIT_MAX: Duration = Duration::from_hours(1);
/// So many events in a row that failed at their first try: it is the receiver.
const FAILING_MAX: u32 = 3;
/// So many events in a row that were refused at their first try: it is the receiver.
pub(super) const REFUSING_MAX: u32 = 20;
/// Events that are too old are given up unseen behind a gate that has been closed for so long: after an outage of our
/// own the receiver may want a moment, too.
pub(super) const PATIENCE: Duration = Duration::from_hours(1);

/// Why what waits for nobody is given up.
const NO_RECEIVER: &str = "webhooks.url is empty";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gate {
    closed: Option<Closed>,
    /// There is nobody behind it.
    is_shut: bool,
    /// First tries in a row that failed.
    failing: u32,
    /// First tries in a row that were refused.
    refusing: u32,
}

#[derive(Debug)]
struct Closed {
    since: Instant,
    /// Of probes, in a row.
    failures: u32,
    probe_at: Instant,
    /// The event that is being tried.
    probe: Option<u64>,
    /// Whether it was closed because everything was refused: then a refusal doesn't open it.
    by_refusals: bool,
    why: String,
}

/// Who may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// All.
    All,
    /// One, to see whether the receiver answers again.
    Probe,
    /// Nobody, until then; `None`: until the probe is back.
    Nobody(Option<Instant>),
}

/// What an attempt has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It was open, and is closed.
    Closed,
    /// It was closed, and is open.
    Opened,
}

impl Gate {
    /// One that never opens.
    pub(super) fn shut() -> Self {
        Self { is_shut: true, ..Self::default() }
    }

    pub(super) fn pass(&self, now: Instant) -> Pass {
        match &self.closed {
            _ if self.is_shut => Pass::Nobody(None),
            None => Pass::All,
            Some(closed) if closed.probe.is_some() => Pass::Nobody(None),
            Some(closed) if now < closed.probe_at => Pass::Nobody(Some(closed.probe_at)),
            Some(_) => Pass::Probe,
        }
    }

    /// This event is the probe.
    pub(super) fn probes_with(&mut self, event: u64) {
        if let Some(closed) = &mut self.closed {
            closed.probe = Some(event);
        }
    }

    /// The attempt at this event said nothing about the receiver.
    pub(super) fn learnt_nothing(&mut self, event: u64, now: Instant) {
        if let Some(closed) = self.closed.as_mut().filter(|closed| closed.probe == Some(event)) {
            closed.probe = None;
            closed.probe_at = now;
        }
    }

    pub(super) fn succeeded(&mut self) -> Option<Turn> {
        (self.failing, self.refusing) = (0, 0);
        self.closed.take().map(|_| Turn::Opened)
    }

    /// An attempt at this event failed; whether it was the event's first.
    pub(super) fn failed(
        &mut self,
        event: u64,
        failure: &Undelivered,
        is_first: bool,
        now: Instant,
        entropy: &dyn Entropy,
    ) -> Option<Turn> {
        let is_refusal = matches!(failure, Undelivered::Refused(_));
        if is_refusal {
            self.failing = 0;
            self.refusing += u32::from(is_first);
        }
        let wait = match failure {
            Undelivered::Down { wait, .. } => wait.unwrap_or_default().min(WAIT_MAX),
            Undelivered::Failing(_) | Undelivered::Refused(_) => Duration::ZERO,
        };
        match &mut self.closed {
            Some(closed) if closed.probe == Some(event) => {
                if is_refusal && !closed.by_refusals {
                    // It works again, and looks at what it gets.
                    self.closed = None;
                    return Some(Turn::Opened);
                }
                closed.probe = None;
                closed.failures += 1;
                closed.probe_at = now + PROBES.wait(closed.failures, entropy).max(wait);
                closed.why = failure.to_string();
                None
            }
            // Begun before it was closed.
            Some(closed) => {
                closed.probe_at = closed.probe_at.max(now + wait);
                None
            }
            None => {
                let closes = match failure {
                    Undelivered::Down { .. } => true,
                    Undelivered::Failing(_) => {
                        self.failing += u32::from(is_first);
                        self.failing >= FAILING_MAX
                    }
                    Undelivered::Refused(_) => self.refusing >= REFUSING_MAX,
                };
                closes.then(|| {
                    (self.failing, self.refusing) = (0, 0);
                    self.closed = Some(Closed {
                        since: now,
                        failures: 1,
                        probe_at: now + PROBES.wait(1, entropy).max(wait),
                        probe: None,
                        by_refusals: is_refusal,
                        why: failure.to_string(),
                    });
                    Turn::Closed
                })
            }
        }
    }

    /// Why events that are too old are given up unseen, and from when on; `None` while each still gets its turn.
    pub(super) fn gives_up(&self, now: Instant) -> Option<(Instant, &str)> {
        if self.is_shut {
            return Some((now, NO_RECEIVER));
        }
        self.closed.as_ref().map(|closed| (closed.since + PATIENCE, closed.why.as_str()))
    }
}

//! What a campaign found: how many promises were checked, of which kind, and which were broken.
//!
//! Judges nothing; who counts an effect has looked at it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// How a promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Breach {
    /// Something that was acknowledged, or sent in time, is not there.
    Lost,
    /// Something was done more than once, or something else than what was asked.
    Doubled,
    /// Somebody was bound to somebody else.
    Wrong,
    /// Somebody waited in vain.
    Stuck,
    /// The service did not come up again, or not down in order.
    FailedOpen,
    /// It takes more from the machine than what it keeps explains.
    Grew,
}

/// A broken promise, in words.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) breach: Breach,
    pub(crate) what: String,
}

impl Failure {
    pub(crate) fn new(breach: Breach, what: impl Into<String>) -> Self {
        Self { breach, what: what.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.breach, self.what)
    }
}

/// What many share while they check. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Report {
    inner: Arc<Mutex<Counts>>,
}

#[derive(Default)]
struct Counts {
    effects: BTreeMap<&'static str, u64>,
    events: BTreeMap<&'static str, u64>,
    failures: Vec<(u64, Failure)>,
}

impl Report {
    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more effect was looked at and is as it should be.
    pub(crate) fn checked(&self, kind: &'static str) {
        self.checked_times(kind, 1);
    }

    /// So many more.
    pub(crate) fn checked_times(&self, kind: &'static str, times: u64) {
        *self.counts().effects.entry(kind).or_default() += times;
    }

    /// Something was done or befell: counted, but no effect that was looked at.
    pub(crate) fn happened(&self, kind: &'static str) {
        self.happened_times(kind, 1);
    }

    /// So many more.
    pub(crate) fn happened_times(&self, kind: &'static str, times: u64) {
        *self.counts().events.entry(kind).or_default() += times;
    }

    /// A run with this seed broke a promise.
    pub(crate) fn broken(&self, seed: u64, failure: Failure) {
        self.counts().failures.push((seed, failure));
    }

    /// The seeds that failed, each once, in order.
    pub(crate) fn failed_seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.counts().failures.iter().map(|(seed, _)| *seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// How often a promise was broken in this way.
    pub(crate) fn breaches(&self, breach: Breach) -> usize {
        self.counts().failures.iter().filter(|(_, failure)| failure.breach == breach).count()
    }

    /// All effects together.
    pub(crate) fn effects(&self) -> u64 {
        self.counts().effects.values().sum()
    }

    /// The counts of each kind, a line each: what happened, then what was checked.
    pub(crate) fn kinds(&self) -> String {
        let counts = self.counts();
        let list = |title: &str, kinds: &BTreeMap<&'static str, u64>| {
            let lines = kinds.iter().map(|(kind, count)| format!("  {count:>9}  {kind}"));
            std::iter::once(title.to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
        };
        format!("{}\n{}", list("happened:", &counts.events), list("checked:", &counts.effects))
    }

    /// The line that closes a campaign.
    pub(crate) fn last_line(&self, name: &str, runs: u64) -> String {
        format!(
            "{name}: {runs} runs, {} lost, {} doubled, {} bound wrongly, {} failed opens, {} effects checked, {} stuck",
            self.breaches(Breach::Lost),
            self.breaches(Breach::Doubled),
            self.breaches(Breach::Wrong),
            self.breaches(Breach::FailedOpen),
            self.effects(),
            self.breaches(Breach::Stuck),
        )
    }
}

//! How long to wait before the next try: doubling, bounded, and never quite the same twice.

use std::time::Duration;

use crate::ports::Entropy;

/// A series of waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// The first wait.
    pub(crate) first: Duration,
    /// No wait is longer.
    pub(crate) longest: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row (1 or more): between half of its step and all of it.
    pub(crate) fn wait(self, failures: u32, entropy: &dyn Entropy) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let step = self.first.saturating_mul(1 << doublings).min(self.longest);
        let mut byte = [0];
        entropy.fill(&mut byte);
        let [byte] = byte;
        step / 2 + step * u32::from(byte) / 512
    }
}

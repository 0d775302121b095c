//! The wall clock of this machine: the one place that reads it.

use std::time::{SystemTime, UNIX_EPOCH};

use actors::ports::Clock;

/// The system's clock. Before 1970 it reads 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        #[expect(clippy::disallowed_methods, reason = "the one place where the time is read")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }
}

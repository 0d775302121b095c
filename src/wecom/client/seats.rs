//! How many calls of one interface may be open at once: WeCom counts them by corp and interface, and refuses more.
//!
//! No retries and no order of importance: whoever waits is served in turn, and is told where that takes too long.

use std::time::Duration;

use actors::ports::CallError;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::verdict::{Api, TOO_MANY_AT_ONCE_WAIT};
use crate::wecom::api::errcode;

/// WeCom's staff speak of five; one is left to the operator's other programs, and to calls that we gave up and WeCom
/// still counts.
const CALLS_AT_ONCE_MAX: usize = 4;
/// How long a call waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The seats of all interfaces.
pub(super) struct Seats(Vec<(Api, Semaphore)>);

impl Default for Seats {
    fn default() -> Self {
        Self(Api::ALL.into_iter().map(|api| (api, Semaphore::new(CALLS_AT_ONCE_MAX))).collect())
    }
}

impl Seats {
    /// A seat, held as long as the call is open. The error is the one that WeCom would give.
    pub(super) async fn take(&self, api: Api) -> Result<Option<SemaphorePermit<'_>>, CallError> {
        let Some((_, seats)) = self.0.iter().find(|(of, _)| *of == api) else { return Ok(None) };
        match tokio::time::timeout(WAIT_MAX, seats.acquire()).await {
            Ok(seat) => Ok(seat.ok()),
            Err(_) => {
                Err(CallError::Throttled { errcode: errcode::TOO_MANY_AT_ONCE, wait: TOO_MANY_AT_ONCE_WAIT })
            }
        }
    }
}

//! The way from the clients to the service: asks until there is an answer, and tells answers that count from those that
//! came while the power was going.
//!
//! Knows nothing about bindings.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kfbind::outgoing;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::report::{Breach, Failure};

/// Nobody waits longer for anything, outages and their back-off included.
pub(crate) const PATIENCE: Duration = Duration::from_mins(4);
/// How long one request may take; long polls ask for less.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries at something.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// So long somebody waits for a question before writing again, in tries.
pub(crate) const TRIES_BEFORE_WRITING: u32 = 75;

/// What the service answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// Whether an earlier try of the same request may have had its effect, too.
    pub(crate) tried_before: bool,
}

/// A request of the mini program or the back end.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) bearer: Option<&'a str>,
    pub(crate) body: Option<&'a Value>,
}

/// See the module.
pub(crate) struct Line {
    http: reqwest::Client,
    base: Mutex<Option<String>>,
    /// Grows when the power goes: an answer to a question of an earlier generation says nothing about what is stored.
    generation: AtomicU64,
}

impl Line {
    pub(crate) fn new() -> Result<Self, Failure> {
        let http = outgoing::client(REQUEST_TIMEOUT, None)
            .map_err(|error| Failure::new(Breach::Stuck, format!("no HTTP client: {error}")))?;
        Ok(Self { http, base: Mutex::default(), generation: AtomicU64::default() })
    }

    /// The service is at this address from now on.
    pub(crate) fn is_at(&self, base: &str) {
        *self.base.lock().unwrap_or_else(PoisonError::into_inner) = Some(base.to_owned());
    }

    /// The service is gone. What it answered before holds.
    pub(crate) fn is_gone(&self) {
        *self.base.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// From this moment on no answer counts, until the service is back: the disk is being looked at.
    pub(crate) fn power_goes(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.is_gone();
    }

    /// The service's address, while it is up.
    pub(crate) fn base(&self) -> Option<String> {
        self.base.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks once. `None` where nothing came back that counts.
    pub(crate) async fn once(&self, ask: Ask<'_>) -> Option<(u16, Value)> {
        let generation = self.generation.load(Ordering::SeqCst);
        let base = self.base()?;
        let method = ask.method.parse().ok()?;
        let mut request = self.http.request(method, format!("{base}{}", ask.path));
        if let Some(bearer) = ask.bearer {
            request = request.bearer_auth(bearer);
        }
        if let Some(body) = ask.body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let body = response.bytes().await.ok()?;
        let counts = self.generation.load(Ordering::SeqCst) == generation;
        counts.then(|| (status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// The text at this path, if it can be had now.
    pub(crate) async fn text(&self, path: &str) -> Option<String> {
        self.http.get(format!("{}{path}", self.base()?)).send().await.ok()?.text().await.ok()
    }

    /// Asks until there is an answer other than "not now" (429, 5xx).
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut tried_before = false;
        loop {
            match self.once(ask).await {
                Some((status, body)) if status != 429 && status < 500 => {
                    return Ok(Answer { status, body, tried_before });
                }
                Some((429, _)) => {}
                _ => tried_before = true,
            }
            if Instant::now() > deadline {
                return Err(Failure::new(Breach::Stuck, format!("no answer to {} {}", ask.method, ask.path)));
            }
            sleep(PAUSE).await;
        }
    }
}

/// Looks again and again until there is something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: impl Fn() -> String,
    breach: Breach,
    mut probe: impl FnMut() -> F,
) -> Result<T, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(Failure::new(breach, what()));
        }
        sleep(PAUSE).await;
    }
}

/// A time of the interface, in Unix seconds.
pub(crate) fn unix_seconds(text: &str) -> Option<u64> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_second()).ok()
}

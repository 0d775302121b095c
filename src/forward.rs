//! Passes authentic callbacks on to the other programs of the same app (`wecom.forward_to`), as they came.
//!
//! Best effort, and never in the way of our own answer: a callback is put into the queue of each target or dropped, at
//! once. Each target gets its own in the order in which they came, each one once: WeCom repeats a callback only to who
//! didn't acknowledge it, and whoever was down looks for itself what it missed, as we do. Nothing here judges callbacks.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actors::tally::{self, Tally};
use bytes::Bytes;
use http::{HeaderValue, header};
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use url::Url;

use crate::outgoing::{self, ExchangeError, OutgoingError};

/// The most callbacks that wait for one target, and the most that their bodies hold, in KiB.
const WAITING_MAX: usize = 1_024;
const WAITING_KIB_MAX: usize = 8 * 1_024;
/// How long a target may take for one: as long as WeCom gives it.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(5);
/// A callback that has waited longer than this is not sent any more: a target that hung gets the new ones soon after it
/// is back, and not an hour of old ones first.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// What of a target's answer is read, so that its connection serves again.
const ANSWER_BYTES_MAX: usize = 16 * 1_024;
/// At most one line about a target's failures in this time.
const LOG_INTERVAL: Duration = Duration::from_mins(1);
/// How long what waits is still sent when the service stops.
const STOP_TIME: Duration = Duration::from_secs(1);

/// Marks what was forwarded. It is not forwarded again, so that no circle of programs goes on for ever.
pub const FORWARDED: &str = "kfbind-forwarded";
const ONCE: HeaderValue = HeaderValue::from_static("1");
const XML: HeaderValue = HeaderValue::from_static("text/xml");

/// Why nothing can be forwarded at all.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// Not an address; it isn't repeated, since it may hold a password.
    #[error("wecom.forward_to has something that is no URL: {0}")]
    Address(#[from] url::ParseError),
    /// There is no client.
    #[error(transparent)]
    Client(#[from] OutgoingError),
}

/// Takes callbacks for all targets. The one made by default has none.
#[derive(Clone, Default)]
pub struct Forwarder(Arc<[Queue]>);

/// What one target is still to get.
struct Queue {
    waiting: mpsc::Sender<Callback>,
    room_kib: Arc<Semaphore>,
    report: Arc<Report>,
}

/// One that waits.
struct Callback {
    query: Arc<str>,
    body: Bytes,
    since: Instant,
    _room: OwnedSemaphorePermit,
}

/// What sends; to be stopped after the last callback was taken.
pub struct Senders {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Forwarder {
    /// Starts a sender for each target. They are reached directly, never through `wecom.proxy`: that one gives WeCom a
    /// fixed address to see, and these are programs of one's own.
    pub fn start(targets: &[SecretString], tally: &Tally) -> Result<(Self, Senders), ForwardError> {
        let (stop, stopping) = watch::channel(false);
        let mut senders = Senders { tasks: JoinSet::new(), stop };
        if targets.is_empty() {
            return Ok((Self::default(), senders));
        }
        let client = outgoing::client(FORWARD_TIMEOUT, None)?;
        let mut queues = Vec::with_capacity(targets.len());
        for target in targets {
            let address = Url::parse(target.expose_secret())?;
            let report = Arc::new(Report::new(&address, tally));
            let (waiting, callbacks) = mpsc::channel(WAITING_MAX);
            let room_kib = Arc::new(Semaphore::new(WAITING_KIB_MAX));
            queues.push(Queue { waiting, room_kib, report: Arc::clone(&report) });
            let target = Target { client: client.clone(), address, report };
            senders.tasks.spawn(target.serve(callbacks, stopping.clone()));
        }
        Ok((Self(queues.into()), senders))
    }

    /// Puts a callback into all queues that have room for it.
    pub(crate) fn pass_on(&self, query: &str, body: &[u8]) {
        if self.0.is_empty() {
            return;
        }
        // A copy of its own: the bytes at hand may be a small part of a connection's buffer, which they would keep.
        let (query, body) = (Arc::<str>::from(query), Bytes::copy_from_slice(body));
        for queue in self.0.iter() {
            queue.add(Arc::clone(&query), body.clone());
        }
    }
}

impl Queue {
    fn add(&self, query: Arc<str>, body: Bytes) {
        let kib = u32::try_from((query.len() + body.len()).div_ceil(1_024)).unwrap_or(u32::MAX);
        let added = Arc::clone(&self.room_kib).try_acquire_many_owned(kib).ok().is_some_and(|room| {
            let callback = Callback { query, body, since: Instant::now(), _room: room };
            self.waiting.try_send(callback).is_ok()
        });
        if !added {
            self.report.became("dropped");
        }
    }
}

impl Senders {
    /// Sends what waits, for at most `STOP_TIME`.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIME, ended).await.is_err() {
            tracing::warn!("what was still to be forwarded (wecom.forward_to) is dropped by the stop");
            self.tasks.shutdown().await;
        }
    }
}

/// One of `wecom.forward_to`.
struct Target {
    client: Client,
    address: Url,
    report: Arc<Report>,
}

impl Target {
    async fn serve(self, mut callbacks: mpsc::Receiver<Callback>, mut stop: watch::Receiver<bool>) {
        let mut closed = false;
        loop {
            tokio::select! {
                biased;
                next = callbacks.recv() => match next {
                    Some(callback) => self.report.became(self.send(callback).await),
                    None => return,
                },
                // Also where nobody is left to say so. The guard inside must not live on.
                () = async { drop(stop.wait_for(|stop| *stop).await) }, if !closed => {
                    callbacks.close();
                    closed = true;
                }
            }
        }
    }

    /// What became of it.
    async fn send(&self, callback: Callback) -> &'static str {
        if callback.since.elapsed() > WAIT_MAX {
            return "dropped";
        }
        let request = self
            .client
            .post(addressed(&self.address, &callback.query))
            .header(header::CONTENT_TYPE, XML)
            .header(FORWARDED, ONCE)
            .body(callback.body);
        match request.send().await {
            Ok(response) => {
                let is_taken = response.status().is_success();
                drop(outgoing::read_limited(response, ANSWER_BYTES_MAX).await);
                if is_taken { "ok" } else { "refused" }
            }
            Err(error) => ExchangeError::from(error).label(),
        }
    }
}

/// The target with a callback's query, byte for byte but for what no URL can hold bare, behind the target's own.
fn addressed(target: &Url, query: &str) -> Url {
    let mut url = target.clone();
    match target.query().filter(|own| !own.is_empty()) {
        Some(own) => url.set_query(Some(&format!("{own}&{query}"))),
        None => url.set_query(Some(query)),
    }
    url
}

/// Counts what became of one target's callbacks, and tells of failures now and then.
struct Report {
    /// Scheme, host and port: the rest may hold secrets.
    target: String,
    tally: Tally,
    /// When the last line about a failure was logged; `None` = the last callback was taken.
    logged: Mutex<Option<Instant>>,
    unlogged: AtomicU64,
}

impl Report {
    fn new(target: &Url, tally: &Tally) -> Self {
        let target = target.origin().ascii_serialization();
        Self { target, tally: tally.clone(), logged: Mutex::default(), unlogged: AtomicU64::default() }
    }

    fn became(&self, result: &'static str) {
        tally::count(&self.tally.forwarded, "result", result);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if result == "ok" {
            if logged.take().is_some() {
                let not_logged_before = self.unlogged.swap(0, Ordering::Relaxed);
                tracing::info!(target_origin = %self.target, not_logged_before, "callbacks are forwarded again");
            }
        } else if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            *logged = Some(Instant::now());
            let not_logged_before = self.unlogged.swap(0, Ordering::Relaxed);
            tracing::warn!(target_origin = %self.target, result, not_logged_before, "a callback was not forwarded");
        } else {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;

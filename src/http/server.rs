//! The accept loop: connections with limits of number and time, request ids, and a stop with a hard end.
//!
//! warp's own server has no header time-out, and its graceful stop waits for idle and half-sent connections for ever.
//! What a request means is the routes' business.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Request};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tracing::Instrument as _;
use warp::reply::Response;

use super::{
    Context, Shared,
    body::RequestBody,
    reply::{ApiError, finish},
    request::Arrival,
    routes, stopped,
};

/// The most connections at once; more wait in the kernel's queue. Ten thousand long polls must fit.
const CONNECTIONS_MAX: usize = 16_384;
/// How long a request's head may take, and how long a connection may be idle between requests.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest request head, and what else a connection may buffer: together with [`CONNECTIONS_MAX`] a bound on memory.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// A connection that for this long has neither a request under way nor brought one to its end doesn't read its
/// answers. (One that only waits ends with [`HEADER_READ_TIMEOUT`].)
const STALL_TIMEOUT: Duration = Duration::from_mins(1);
/// After a failed accept (no file descriptors left, as a rule).
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// At the stop, how long a connection on which no request is under way may still bring one to its end.
const IDLE_STOP_DELAY: Duration = Duration::from_millis(250);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Serves until `stop` turns true, or its sender is gone; then takes no more connections, lets running requests end
/// for at most `grace`, and closes what is left.
///
/// The caller binds the listener, because only it can say what to do about a taken port.
pub async fn serve(listener: TcpListener, context: Context, stop: watch::Receiver<bool>, grace: Duration) {
    let server = Arc::new(Server::new(Arc::new(Shared::new(context, stop.clone()))));
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut failing = false;
    let mut stopping = pin!(stopped(stop.clone()));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.as_mut() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                failing = false;
                let server = Arc::clone(&server);
                let stop = stop.clone();
                connections.spawn(async move {
                    connection(server, stream, peer.ip(), stop).await;
                    drop(slot);
                });
            }
            // It was the client who went away.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "can't accept connections; if files are short, raise the limit (ulimit -n)");
                }
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, ended).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "closing connections whose requests did not end within server.shutdown_grace"
        );
        connections.shutdown().await;
    }
}

/// What all connections share.
struct Server {
    shared: Arc<Shared>,
    /// Request ids: a random number for this process, and a count.
    ids_of: u64,
    requests: AtomicU64,
}

impl Server {
    fn new(shared: Arc<Shared>) -> Self {
        // An id need not be secret; without randomness it is still unique within this process.
        Self { shared, ids_of: getrandom::u64().unwrap_or(0), requests: AtomicU64::new(0) }
    }

    fn next_id(&self) -> RequestId {
        RequestId::new(self.ids_of, self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Answers one request; a panic while doing so becomes a 500.
    async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Response {
        let id = self.next_id();
        let (mut parts, body) = request.into_parts();
        let body = RequestBody::new(body, &parts.headers);
        parts.extensions.insert(Arrival { shared: Arc::clone(&self.shared), peer });
        let request = Request::from_parts(parts, body);

        let answering = async { TowerToHyperService::new(warp::service(routes())).call(request).await };
        let span = tracing::info_span!("request", id = id.as_str());
        let mut response = guarded(answering).instrument(span).await;
        if let Ok(value) = HeaderValue::from_bytes(&id.0) {
            response.headers_mut().insert(X_REQUEST_ID, value);
        }
        response
    }
}

/// Turns a panic into a 500, so that its connection gets an answer and the log a line.
pub(super) async fn guarded(answering: impl Future<Output = Result<Response, Infallible>>) -> Response {
    match AssertUnwindSafe(answering).catch_unwind().await {
        Ok(Ok(response)) => response,
        Err(_) => {
            tracing::error!("a request ended in a panic; this is a bug");
            finish(Err(ApiError::Internal))
        }
    }
}

/// 32 hex digits.
struct RequestId([u8; 32]);

impl RequestId {
    fn new(ids_of: u64, count: u64) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [b'0'; 32];
        let bytes = (u128::from(ids_of) << 64 | u128::from(count)).to_be_bytes();
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
                *digit = HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            }
        }
        Self(digits)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<Accepted> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Answers are small; waiting to fill a packet only delays them. Where it can't be set, they are only later.
    drop(stream.set_nodelay(true));
    Ok((stream, peer, slot))
}

/// One connection, until either side ends it or the service stops.
async fn connection(server: Arc<Server>, stream: TcpStream, peer: IpAddr, stop: watch::Receiver<bool>) {
    let progress = Arc::new(Progress::default());
    let service = service_fn(|request| {
        let server = Arc::clone(&server);
        let under_way = UnderWay::new(&progress);
        async move {
            let response = server.answer(peer, request).await;
            drop(under_way);
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(BUFFER_BYTES_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut stopping = pin!(stopped(stop));
    let mut answered = 0;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break Some(ended),
            () = stopping.as_mut() => break None,
            () = tokio::time::sleep(STALL_TIMEOUT) => {
                if progress.is_idle() && progress.answered() == answered {
                    return;
                }
                answered = progress.answered();
            }
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => last_request(connection, &progress).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "connection ended");
    }
}

/// Lets the request that is under way end, and closes.
async fn last_request(
    mut connection: Pin<&mut impl GracefulConnection<Error = hyper::Error>>,
    progress: &Progress,
) -> hyper::Result<()> {
    connection.as_mut().graceful_shutdown();
    loop {
        match tokio::time::timeout(IDLE_STOP_DELAY, connection.as_mut()).await {
            Ok(ended) => return ended,
            // hyper itself would wait for the rest of a half-sent request.
            Err(_) if progress.is_idle() => return Ok(()),
            Err(_) => {}
        }
    }
}

/// What a connection is doing.
#[derive(Debug, Default)]
struct Progress {
    under_way: AtomicU64,
    answered: AtomicU64,
}

impl Progress {
    fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// Counts a request as under way for as long as it lives.
struct UnderWay(Arc<Progress>);

impl UnderWay {
    fn new(progress: &Arc<Progress>) -> Self {
        progress.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(progress))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        self.0.answered.fetch_add(1, Ordering::Relaxed);
    }
}

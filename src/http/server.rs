//! The accept loops: HTTP/1.1, inside TLS where that is wanted, with limits of number and time, request ids, and a
//! stop with a hard end.
//!
//! warp's own server has no header time-out, and its graceful stop waits for idle and half-sent connections for ever.
//! What a request means is the routes' business.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
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
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::Instrument as _;
use warp::reply::Response;

use super::{
    Context, Shared,
    body::RequestBody,
    progress::{Progress, SentBody, UnderWay, WatchedStream},
    reply::{ApiError, finish},
    request::Arrival,
    routes,
    seats::{Seat, Seats},
    side::Side,
    stopped,
};
use crate::tls::Certificates;

/// The most connections at once; then whoever has waited longest for its client makes room for the next. Ten thousand
/// long polls must fit.
const CONNECTIONS_MAX: usize = 16_384;
/// The same on the operators' own listener: few come there, and no crowd on the other one keeps them out.
const OPS_CONNECTIONS_MAX: usize = 1_024;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's head may take, and how long a connection may be idle between requests.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest request head, and what else a connection may buffer: together with [`CONNECTIONS_MAX`] a bound on memory.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// A connection that for this long has neither an answer in the making nor taken any part of one doesn't read its
/// answers. (One that only waits ends with [`HEADER_READ_TIMEOUT`].)
const STALL_TIMEOUT: Duration = Duration::from_mins(1);
/// After a failed accept (no file descriptors left, as a rule).
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long a connection that was asked to make room may take before another one is asked.
const ROOM_DELAY: Duration = Duration::from_millis(10);
/// A connection that has waited this long has nothing more to send: its last answer is on its way.
const FLUSH_TIME: Duration = Duration::from_secs(1);
/// At the stop, how long a connection on which no request is under way may still bring one to its end.
const IDLE_STOP_DELAY: Duration = Duration::from_millis(250);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where requests come in.
pub struct Doors {
    /// The mini program's and WeCom's side; that of everybody where there is no other.
    pub main: TcpListener,
    /// The operators' own.
    pub ops: Option<TcpListener>,
}

/// Serves until `stop` turns true, or its sender is gone; then takes no more connections, lets running requests end
/// for at most `grace`, and closes what is left.
///
/// The caller binds the listeners, because only it can say what to do about a taken port.
pub async fn serve(doors: Doors, context: Context, stop: watch::Receiver<bool>, grace: Duration) {
    serve_at_most(CONNECTIONS_MAX, doors, context, stop, grace).await;
}

/// [`serve`] with another number of connections on the main listener.
pub(super) async fn serve_at_most(
    connections_max: usize,
    doors: Doors,
    context: Context,
    stop: watch::Receiver<bool>,
    grace: Duration,
) {
    let (clock, certificates) = (Arc::clone(&context.clock), context.certificates.clone());
    let shared = Arc::new(Shared::new(context, stop.clone()));
    let side = if doors.ops.is_some() { Side::Public } else { Side::All };
    let main = Server::new(Arc::clone(&shared), side, certificates.clone(), connections_max);
    let main = accept(Arc::new(main), doors.main, stop.clone(), grace);
    let ops = async {
        if let Some(listener) = doors.ops {
            let ops = Server::new(shared, Side::Ops, None, OPS_CONNECTIONS_MAX);
            accept(Arc::new(ops), listener, stop, grace).await;
        }
    };
    let kept_fresh = async {
        match certificates {
            Some(certificates) => certificates.keep_fresh(clock).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = async { tokio::join!(main, ops) } => {}
        () = kept_fresh => {}
    }
}

/// One listener, to its end.
async fn accept(server: Arc<Server>, listener: TcpListener, stop: watch::Receiver<bool>, grace: Duration) {
    let mut connections = JoinSet::new();
    let mut failing = false;
    let mut stopping = pin!(stopped(stop.clone()));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.as_mut() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                failing = false;
                let slot = tokio::select! {
                    biased;
                    () = stopping.as_mut() => break,
                    slot = server.room() => slot,
                };
                // Answers are small; waiting to fill a packet only delays them. Where it can't be set, they are only later.
                drop(stream.set_nodelay(true));
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

/// What all connections of a listener share.
struct Server {
    shared: Arc<Shared>,
    side: Side,
    certificates: Option<Arc<Certificates>>,
    slots: Arc<Semaphore>,
    seats: Arc<Seats>,
    /// Request ids: a random number for this process, and a count.
    ids_of: u64,
    requests: AtomicU64,
}

impl Server {
    fn new(
        shared: Arc<Shared>,
        side: Side,
        certificates: Option<Arc<Certificates>>,
        connections_max: usize,
    ) -> Self {
        Self {
            shared,
            side,
            certificates,
            slots: Arc::new(Semaphore::new(connections_max)),
            seats: Arc::default(),
            // An id need not be secret; without randomness it is still unique within this process.
            ids_of: getrandom::u64().unwrap_or(0),
            requests: AtomicU64::new(0),
        }
    }

    /// Room for one connection; another one may have to go for it.
    async fn room(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                return slot;
            }
            self.seats.dismiss_oldest();
            let freed = Arc::clone(&self.slots).acquire_owned();
            if let Ok(Ok(slot)) = tokio::time::timeout(ROOM_DELAY, freed).await {
                return slot;
            }
        }
    }

    fn next_id(&self) -> RequestId {
        RequestId::new(self.ids_of, self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Answers one request; a panic while doing so becomes a 500.
    async fn answer(&self, peer: IpAddr, seat: Arc<Seat>, request: Request<Incoming>) -> Response {
        let id = self.next_id();
        let (mut parts, body) = request.into_parts();
        let body = RequestBody::new(body, &parts.headers, Arc::clone(&seat));
        let exists = self.side.has(parts.uri.path());
        parts.extensions.insert(Arrival { shared: Arc::clone(&self.shared), side: self.side, peer, seat });
        let request = Request::from_parts(parts, body);

        let answering = async {
            if exists {
                TowerToHyperService::new(warp::service(routes())).call(request).await
            } else {
                Ok(finish(Err(ApiError::NotFound)))
            }
        };
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

/// One connection, until either side ends it or the service stops.
async fn connection(server: Arc<Server>, stream: TcpStream, peer: IpAddr, stop: watch::Receiver<bool>) {
    let progress = Arc::new(Progress::new(&server.seats));
    // Below TLS, where it shows what the client has really taken.
    let stream = WatchedStream { stream, progress: Arc::clone(&progress) };
    let Some(certificates) = &server.certificates else {
        return exchange(server, stream, progress, peer, stop).await;
    };
    let acceptor = TlsAcceptor::from(certificates.config());
    // Boxed, so that ten thousand plain connections hold no room for what they don't have.
    Box::pin(async move {
        if let Some(stream) = handshake(&acceptor, stream, &progress, peer, stop.clone()).await {
            exchange(server, stream, progress, peer, stop).await;
        }
    })
    .await;
}

/// `None` where it comes to nothing: for the client, the time, the stop, or somebody who needs the room.
async fn handshake(
    acceptor: &TlsAcceptor,
    stream: WatchedStream,
    progress: &Progress,
    peer: IpAddr,
    stop: watch::Receiver<bool>,
) -> Option<TlsStream<WatchedStream>> {
    let shaking = acceptor.accept_with(stream, |tls| tls.set_buffer_limit(Some(BUFFER_BYTES_MAX)));
    tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking) => match shaken {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, %peer, "no TLS handshake");
                None
            }
            Err(_) => None,
        },
        () = stopped(stop) => None,
        () = progress.seat.dismissed() => None,
    }
}

/// Requests and answers on a connection that stands.
async fn exchange(
    server: Arc<Server>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    progress: Arc<Progress>,
    peer: IpAddr,
    stop: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let server = Arc::clone(&server);
        let (under_way, seat) = (UnderWay::new(&progress), Arc::clone(&progress.seat));
        async move {
            let response = server.answer(peer, seat, request).await;
            Ok::<_, Infallible>(response.map(|body| SentBody { body, _sending: under_way.answered() }))
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(BUFFER_BYTES_MAX);
    let connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    if let Some(Err(error)) = watched(connection, &progress, stop).await {
        tracing::debug!(%error, %peer, "connection ended");
    }
}

/// Drives a connection to its end; `None` where it was given up.
async fn watched(
    mut connection: Pin<&mut impl GracefulConnection<Error = hyper::Error>>,
    progress: &Progress,
    stop: watch::Receiver<bool>,
) -> Option<hyper::Result<()>> {
    let mut stopping = pin!(stopped(stop));
    let mut moves = 0;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return Some(ended),
            () = stopping.as_mut() => return Some(last_request(connection, progress).await),
            () = progress.seat.dismissed() => match progress.seat.waits_since() {
                // Its last answer may not have been sent yet; but nobody may sit on one for ever.
                Some(since) if !progress.is_answering() && since.elapsed() < FLUSH_TIME => {
                    return tokio::time::timeout(FLUSH_TIME, last_request(connection, progress)).await.ok();
                }
                Some(_) => return None,
                None => {}
            },
            () = tokio::time::sleep(STALL_TIMEOUT) => {
                if !progress.is_answering() && progress.moves() == moves {
                    return None;
                }
                moves = progress.moves();
            }
        }
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{StreamExt as _, stream};
    use http_body_util::StreamBody;
    use hyper::body::{Body, Frame};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    const CHUNKS: usize = 40;
    const CHUNK_INTERVAL: Duration = Duration::from_secs(10);

    /// An answer that takes several [`STALL_TIMEOUT`]s, as a large export to a slow reader does.
    fn long_answer() -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        StreamBody::new(Box::pin(stream::iter(0..CHUNKS).then(|_| async {
            tokio::time::sleep(CHUNK_INTERVAL).await;
            Ok(Frame::data(Bytes::from_static(b"line\n")))
        })))
    }

    /// What a client that asked for the long answer has got when the connection ends; `stop_after` of paused time.
    async fn got(stop_after: Duration, seats: &Arc<Seats>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let (stop, stopping) = watch::channel(false);
        let progress = Arc::new(Progress::new(seats));
        let seen = Arc::clone(&progress);
        let serving = tokio::spawn(async move {
            let stream = WatchedStream { stream, progress: Arc::clone(&progress) };
            let service = service_fn(|_: Request<Incoming>| {
                let sending = UnderWay::new(&progress).answered();
                async move {
                    Ok::<_, Infallible>(http::Response::new(SentBody {
                        body: long_answer(),
                        _sending: sending,
                    }))
                }
            });
            let connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            watched(connection, &progress, stopping).await
        });
        // Paused before it has arrived, the time would pass without the request.
        while seen.is_idle() {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        tokio::time::sleep(stop_after).await;
        // The connection may have ended.
        let _ = stop.send(true);
        let mut answer = Vec::new();
        drop(client.read_to_end(&mut answer).await);
        drop(serving.await);
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_long_answer_that_gets_on_is_not_cut_short() {
        assert_eq!(got(CHUNK_INTERVAL * 100, &Arc::default()).await.matches("line").count(), CHUNKS);
    }

    #[tokio::test]
    async fn an_answer_that_is_being_sent_at_the_stop_is_sent_to_its_end() {
        assert_eq!(got(CHUNK_INTERVAL, &Arc::default()).await.matches("line").count(), CHUNKS);
    }

    #[tokio::test]
    async fn an_answer_that_is_being_sent_makes_room_for_nobody() {
        let seats = Arc::new(Seats::default());
        let house = Arc::clone(&seats);
        let full = tokio::spawn(async move {
            loop {
                tokio::time::sleep(CHUNK_INTERVAL / 4).await;
                house.dismiss_oldest();
            }
        });
        let sent = got(CHUNK_INTERVAL * 100, &seats).await;
        full.abort();
        assert_eq!(sent.matches("line").count(), CHUNKS);
    }
}

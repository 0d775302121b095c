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
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{self, Poll},
    time::Duration,
};

use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Request};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
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
/// A connection that for this long has neither an answer in the making nor taken any part of one doesn't read its
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
            Ok::<_, Infallible>(response.map(|body| SentBody { body, _sending: under_way.answered() }))
        }
    });
    let stream = WatchedStream { stream, progress: Arc::clone(&progress) };
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

/// What a connection is doing.
#[derive(Debug, Default)]
struct Progress {
    /// Requests whose answer is not there yet.
    answering: AtomicU64,
    /// Answers whose body has not been taken in whole.
    sending: AtomicU64,
    /// Whether bytes wait for the client to read what it has.
    blocked: AtomicBool,
    /// Grows with every answer, and with every part of one that the client's side takes.
    moves: AtomicU64,
}

impl Progress {
    fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed) > 0
    }

    fn is_idle(&self) -> bool {
        let sending = self.sending.load(Ordering::Relaxed) > 0 || self.blocked.load(Ordering::Relaxed);
        !self.is_answering() && !sending
    }

    fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    fn wrote<T>(&self, written: Poll<T>) -> Poll<T> {
        self.blocked.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.moves.fetch_add(1, Ordering::Relaxed);
        }
        written
    }
}

/// Counts a request as under way for as long as it lives.
struct UnderWay(Arc<Progress>);

impl UnderWay {
    fn new(progress: &Arc<Progress>) -> Self {
        progress.answering.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(progress))
    }

    /// The answer is there; now it is sent.
    fn answered(self) -> Sending {
        self.0.sending.fetch_add(1, Ordering::Relaxed);
        Sending(Arc::clone(&self.0))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
        self.0.moves.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts an answer as being sent for as long as it lives.
struct Sending(Arc<Progress>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.sending.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, until hyper has taken all of it.
struct SentBody<B> {
    body: B,
    _sending: Sending,
}

impl<B: Body + Unpin> Body for SentBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Notes whether what is written gets on: a long answer takes its time, and only a client that reads nothing stalls.
struct WatchedStream {
    stream: TcpStream,
    progress: Arc<Progress>,
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.progress.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.progress.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{StreamExt as _, stream};
    use http_body_util::StreamBody;
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
    async fn got(stop_after: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let (stop, stopping) = watch::channel(false);
        let progress = Arc::new(Progress::default());
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
        assert_eq!(got(CHUNK_INTERVAL * 100).await.matches("line").count(), CHUNKS);
    }

    #[tokio::test]
    async fn an_answer_that_is_being_sent_at_the_stop_is_sent_to_its_end() {
        assert_eq!(got(CHUNK_INTERVAL).await.matches("line").count(), CHUNKS);
    }
}

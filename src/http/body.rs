//! Request bodies: read with limits of size and time, and decoded as JSON.
//!
//! A body that nobody reads, because its request was refused, is drained a little: closing a connection with unread
//! bytes makes the kernel throw away the very answer that says why.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use warp::{Filter, Rejection};

use super::{reply::ApiError, seats::Seat};

/// A body that is not there after this long ends in a 400.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The most that bodies in several pieces, which are gathered as they come, may hold in all, in KiB. Real ones are so
/// short that they come in one.
const GATHERED_KIB_MAX: usize = 64 * 1024;
/// What of an unwanted body is still read, and for how long.
const DRAIN_BYTES_MAX: u64 = 1 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a body could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Longer than allowed.
    TooLarge,
    /// It broke off, or took too long.
    Incomplete,
    /// Too many others are being gathered.
    NoRoom,
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::Incomplete => Self::BadRequest("The body did not arrive in whole."),
            BodyError::NoRoom => Self::Unavailable,
        }
    }
}

/// A body that has not been read yet, with what the header says of it.
pub(crate) struct Payload<S> {
    content_length: Option<u64>,
    content_type: Option<HeaderValue>,
    stream: S,
}

/// The body as warp hands it out.
pub(crate) trait Chunks: Stream<Item = Result<Self::Chunk, warp::Error>> + Send {
    type Chunk: Buf + Send;
}

impl<S, B> Chunks for S
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: Buf + Send,
{
    type Chunk = B;
}

/// Extracts the unread body.
pub(crate) fn payload() -> impl Filter<Extract = (Payload<impl Chunks>,), Error = Rejection> + Copy {
    warp::header::optional::<u64>("content-length")
        .and(super::request::optional_header("content-type"))
        .and(warp::body::stream())
        .map(|content_length, content_type, stream| Payload { content_length, content_type, stream })
}

impl<S: Chunks> Payload<S> {
    /// The whole body, counted as it comes: chunked bodies work, and none is longer than `bytes_max`.
    pub(crate) async fn read(self, bytes_max: usize) -> Result<Bytes, BodyError> {
        let too_large = |length: u64| usize::try_from(length).map_or(true, |length| length > bytes_max);
        if self.content_length.is_some_and(too_large) {
            return Err(BodyError::TooLarge);
        }
        tokio::time::timeout(BODY_READ_TIMEOUT, collect(self.stream, bytes_max, &GATHERED_KIB))
            .await
            .unwrap_or(Err(BodyError::Incomplete))
    }

    /// The body as a JSON object; `None` for an empty one.
    pub(crate) async fn json<T: DeserializeOwned>(self, bytes_max: usize) -> Result<Option<T>, ApiError> {
        let json_or_none = self.content_type.as_ref().is_none_or(is_json);
        let body = self.read(bytes_max).await?;
        if body.is_empty() {
            return Ok(None);
        }
        if !json_or_none {
            return Err(ApiError::UnsupportedMediaType);
        }
        object(&body).map(Some)
    }
}

/// What is left of [`GATHERED_KIB_MAX`].
static GATHERED_KIB: Semaphore = Semaphore::const_new(GATHERED_KIB_MAX);

/// One chunk, the usual case, is passed on without a copy and takes no room.
async fn collect(
    stream: impl Chunks,
    bytes_max: usize,
    gathered_kib: &Semaphore,
) -> Result<Bytes, BodyError> {
    let mut stream = pin!(stream);
    let mut room = None;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let mut chunk = chunk.map_err(|_| BodyError::Incomplete)?;
        let length = chunk.remaining();
        if length > bytes_max.saturating_sub(first.len() + all.len()) {
            return Err(BodyError::TooLarge);
        }
        if first.is_empty() && all.is_empty() {
            first = chunk.copy_to_bytes(length);
            continue;
        }
        if room.is_none() {
            let kib = u32::try_from(bytes_max.div_ceil(1024).min(GATHERED_KIB_MAX)).unwrap_or(u32::MAX);
            room = Some(gathered_kib.try_acquire_many(kib).map_err(|_| BodyError::NoRoom)?);
        }
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&chunk.copy_to_bytes(length));
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn is_json(content_type: &HeaderValue) -> bool {
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // serde would take an array of the fields' values for the object.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::BadRequest("The body is no JSON object."));
    }
    serde_json::from_slice(body).map_err(|error| {
        ApiError::BadRequest(if error.is_data() {
            "A field of the body is missing, is there twice, or has the wrong type."
        } else {
            "The body is no JSON."
        })
    })
}

/// The body of a request on the wire.
pub(crate) struct RequestBody {
    /// `None` once it has ended.
    incoming: Option<Incoming>,
    may_drain: bool,
    /// The connection's: while bytes are missing, it is the client who has to do something.
    seat: Arc<Seat>,
}

impl RequestBody {
    /// `headers` are those of its request.
    pub(crate) fn new(incoming: Incoming, headers: &HeaderMap, seat: Arc<Seat>) -> Self {
        // Who asks first whether to send a body is told by the answer not to.
        let may_drain = !headers.contains_key(header::EXPECT);
        Self { incoming: (!incoming.is_end_stream()).then_some(incoming), may_drain, seat }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = Pin::new(incoming).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.incoming = None;
        }
        if frame.is_pending() {
            self.seat.wait();
        } else {
            self.seat.work();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take() else { return };
        // Whatever it waited for, it is no longer waited for.
        self.seat.work();
        let unread = !incoming.is_end_stream() && incoming.size_hint().lower() <= DRAIN_BYTES_MAX;
        if !(unread && self.may_drain) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(DRAIN_TIMEOUT, drain(incoming)));
        }
    }
}

async fn drain(mut body: Incoming) {
    let mut drained_bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        drained_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if drained_bytes > DRAIN_BYTES_MAX {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Fields {
        code: String,
        #[serde(default)]
        new: bool,
    }

    fn payload(content_type: Option<&'static str>, chunks: &[&'static str]) -> Payload<impl Chunks> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        Payload {
            content_length: None,
            content_type: content_type.map(HeaderValue::from_static),
            stream: futures_util::stream::iter(chunks),
        }
    }

    async fn status(content_type: Option<&'static str>, chunks: &[&'static str]) -> u16 {
        match payload(content_type, chunks).json::<Fields>(64).await {
            Ok(_) => 200,
            Err(error) => error.into_response().status().as_u16(),
        }
    }

    #[tokio::test]
    async fn chunks_are_joined_and_counted() {
        assert_eq!(payload(None, &["ab", "", "c", "d"]).read(4).await.as_deref(), Ok(&b"abcd"[..]));
        assert_eq!(payload(None, &["ab", "", "c", "d"]).read(3).await, Err(BodyError::TooLarge));
        assert_eq!(payload(None, &["abcde"]).read(4).await, Err(BodyError::TooLarge));
        assert_eq!(payload(None, &[]).read(0).await, Ok(Bytes::new()));
    }

    #[tokio::test]
    async fn a_length_announced_too_great_is_refused_unread() {
        let announced = Payload {
            content_length: Some(5),
            content_type: None,
            stream: futures_util::stream::pending::<Result<Bytes, warp::Error>>(),
        };
        assert_eq!(announced.read(4).await, Err(BodyError::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let stalled = Payload {
            content_length: None,
            content_type: None,
            stream: futures_util::stream::pending::<Result<Bytes, warp::Error>>(),
        };
        assert_eq!(stalled.read(4).await, Err(BodyError::Incomplete));
    }

    #[tokio::test]
    async fn bodies_in_pieces_share_a_bounded_room_and_whole_ones_need_none() {
        let gathered = Semaphore::new(1);
        let pieces = || payload(None, &["ab", "c"]).stream;
        assert_eq!(collect(pieces(), 1024, &gathered).await.as_deref(), Ok(&b"abc"[..]));
        let other = gathered.try_acquire().unwrap();
        assert_eq!(collect(pieces(), 1024, &gathered).await, Err(BodyError::NoRoom));
        let whole = payload(None, &["ab"]).stream;
        assert_eq!(collect(whole, 1024, &gathered).await.as_deref(), Ok(&b"ab"[..]));
        drop(other);
        assert_eq!(collect(pieces(), 1024, &gathered).await.as_deref(), Ok(&b"abc"[..]));
    }

    #[tokio::test]
    async fn an_empty_body_is_none_whatever_its_type() {
        assert_eq!(payload(None, &[]).json::<Fields>(64).await, Ok(None));
        assert_eq!(payload(Some("text/plain"), &[""]).json::<Fields>(64).await, Ok(None));
    }

    #[tokio::test]
    async fn json_is_read_with_parameters_and_unknown_fields() {
        for content_type in [None, Some("application/json"), Some("Application/JSON ; charset=utf-8")] {
            let body = payload(content_type, &[" {\"code\":\"c\",", "\"other\":[{}],\"new\":true}"]);
            let fields = body.json(64).await.unwrap();
            assert_eq!(fields, Some(Fields { code: "c".into(), new: true }));
        }
    }

    #[tokio::test]
    async fn other_types_are_415_and_too_much_of_them_is_413() {
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            assert_eq!(status(Some(content_type), &["{}"]).await, 415, "{content_type}");
        }
        assert_eq!(status(Some("text/plain"), &["x"; 65]).await, 413);
    }

    #[tokio::test]
    async fn what_is_no_object_of_the_right_fields_is_400() {
        for body in [
            "null",
            "[]",
            "[\"c\",true]",
            "\"c\"",
            "{",
            "{}",
            " ",
            "{\"code\":1}",
            "{\"code\":null}",
            "{\"code\":\"c\",\"new\":null}",
            "{\"code\":\"c\",\"new\":1}",
            "{\"code\":\"c\",\"code\":\"d\"}",
            "{\"code\":\"c\"}x",
            "{\"code\":\"\\ud800\"}",
        ] {
            assert_eq!(status(None, &[body]).await, 400, "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_or_passed_over_without_harm() {
        let deep = format!("{{\"code\":{}", "[".repeat(60_000));
        assert!(object::<Fields>(deep.as_bytes()).is_err());
        let ignored = format!("{{\"x\":{}1{},\"code\":\"c\"}}", "[".repeat(30_000), "]".repeat(30_000));
        drop(object::<Fields>(ignored.as_bytes()));
    }
}

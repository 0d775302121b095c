//! WeCom's side: the echo that proves the URL to be ours, and the callbacks.
//!
//! Nothing reaches an actor before its signature, receiver and form are right. The sender is told a status and no more;
//! why a callback was refused, and which key to look at, is for the log, the metrics and `/readyz`.

use std::{
    borrow::Cow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use actors::{messages::Delivery, tally};
use http::{HeaderValue, Method, StatusCode};
use tokio::time::Instant;
use warp::reply::Response;

use super::{
    body::{BodyError, Chunks, Payload},
    query::{self, Plus},
    reply::{self, ApiError},
    request::Head,
};
use crate::wecom::{
    envelope::{self, CallbackRefusal, EnvelopeError},
    event,
};

/// Strangers can make us refuse as fast as they can send; the log gets at most one line in this time.
const LOG_INTERVAL_MS: u64 = 1_000;
/// How long a refusal that no good callback has followed shows in `/readyz`.
const REFUSAL_SHOWN_MS: u64 = 60 * 60 * 1_000;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

/// Why a callback is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("a query parameter is missing, empty or there twice")]
    Parameters,
    #[error("the body did not arrive in whole")]
    Incomplete,
    #[error("the body is longer than limits.body_bytes_max")]
    TooLarge,
    #[error(transparent)]
    Unopened(#[from] CallbackRefusal),
    #[error(
        "sent as a check of the URL, but it is a message to the app: somebody kept a callback and sends it again"
    )]
    NoEcho,
    #[error("overloaded or stopping")]
    Unavailable,
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::Incomplete => Self::Incomplete,
            BodyError::NoRoom => Self::Unavailable,
        }
    }
}

impl From<EnvelopeError> for Refused {
    fn from(error: EnvelopeError) -> Self {
        Self::Unopened(CallbackRefusal::Envelope(error))
    }
}

impl Refused {
    /// What the sender sees, and what is counted.
    fn status_and_label(self) -> (StatusCode, &'static str) {
        match self {
            Self::Parameters | Self::Incomplete | Self::NoEcho => (StatusCode::BAD_REQUEST, "malformed"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Unopened(CallbackRefusal::BadSignature) => (StatusCode::FORBIDDEN, "bad_signature"),
            Self::Unopened(CallbackRefusal::Envelope(error)) => match error {
                EnvelopeError::WrongReceiver => (StatusCode::FORBIDDEN, "bad_receiveid"),
                EnvelopeError::BadPadding | EnvelopeError::TooShort | EnvelopeError::BadMessageLength => {
                    (StatusCode::BAD_REQUEST, "bad_padding")
                }
                EnvelopeError::BadXml(_) | EnvelopeError::BadBase64 | EnvelopeError::BadLength => {
                    (StatusCode::BAD_REQUEST, "malformed")
                }
            },
        }
    }

    /// The configuration key that may be wrong.
    fn key_to_check(self) -> Option<&'static str> {
        match self {
            Self::Unopened(refusal) => refusal.key_to_check(),
            Self::TooLarge => Some("limits.body_bytes_max"),
            Self::Parameters | Self::Incomplete | Self::NoEcho | Self::Unavailable => None,
        }
    }
}

/// `/api/wechat-work/message`
pub(crate) async fn callback(head: Head, payload: Payload<impl Chunks>) -> Result<Response, ApiError> {
    let started = Instant::now();
    let outcome = match head.method {
        Method::GET | Method::HEAD => echo(&head),
        Method::POST => deliver(&head, payload).await,
        _ => return Err(ApiError::MethodNotAllowed("GET, HEAD, POST")),
    };
    let shared = &head.shared;
    let answer = outcome.unwrap_or_else(|refused| {
        let (status, label) = refused.status_and_label();
        tally::count(&shared.context.handles.tally().callbacks, "result", label);
        shared.callback_watch.refused(refused, shared.context.clock.now_ms());
        reply::empty(status)
    });
    shared.context.handles.tally().callback_seconds.observe(started.elapsed().as_secs_f64());
    Ok(answer)
}

/// Answers with exactly what `echostr` holds. WeCom signs echoes and callbacks alike, so a callback that somebody kept
/// fits in here too; what people write to the app is not for them to read.
fn echo(head: &Head) -> Result<Response, Refused> {
    let shared = &head.shared;
    let names = ["msg_signature", "timestamp", "nonce", "echostr"];
    let [signature, timestamp, nonce, echostr] = parameters(&head.query, names)?;
    let opened = shared.context.callback_keys.open(&timestamp, &nonce, &signature, &echostr)?;
    if shared.is_stopping() {
        return Err(Refused::Unavailable);
    }
    if event::is_more_than_a_doorbell(&opened.message) {
        return Err(Refused::NoEcho);
    }
    shared.callback_watch.accepted();
    tally::count(&shared.context.handles.tally().callbacks, "result", "echo");
    Ok(reply::bytes_of(StatusCode::OK, TEXT, opened.message))
}

/// Passes an authentic callback on. The callback actor counts those: only it knows a repeat from a new one.
async fn deliver(head: &Head, payload: Payload<impl Chunks>) -> Result<Response, Refused> {
    let shared = &head.shared;
    let context = &shared.context;
    let body = payload.read(context.settings.body_bytes_max).await?;
    let [signature, timestamp, nonce] = parameters(&head.query, ["msg_signature", "timestamp", "nonce"])?;
    let encrypt = envelope::encrypted_of(&body)?;
    let opened = context.callback_keys.open(&timestamp, &nonce, &signature, &encrypt)?;
    if shared.is_stopping() {
        return Err(Refused::Unavailable);
    }
    shared.callback_watch.accepted();
    if !head.is_forwarded {
        context.forwarder.pass_on(&head.query, &body);
    }
    match event::parse(&opened.message) {
        Ok(event) => {
            let delivery = Delivery { signature: opened.signature, event };
            context.handles.deliver(delivery).await.map_err(|_| Refused::Unavailable)?;
        }
        Err(error) => {
            // WeCom would only send the same again.
            tally::count(&context.handles.tally().callbacks, "result", "unreadable");
            if shared.callback_watch.may_log(None, context.clock.now_ms()).is_some() {
                tracing::warn!(%error, "an authentic callback can't be read; it is dropped, the next pull makes up for it");
            }
        }
    }
    Ok(reply::bytes_of(StatusCode::OK, TEXT, b"success".to_vec()))
}

/// All of these, each once and not empty. A `+` is itself: some senders don't escape the base64 of `echostr`.
fn parameters<'q, const N: usize>(query: &'q str, names: [&str; N]) -> Result<[Cow<'q, str>; N], Refused> {
    let values = query::values(query, names, Plus::Itself).map_err(|_| Refused::Parameters)?;
    if values.iter().any(|value| value.as_deref().is_none_or(str::is_empty)) {
        return Err(Refused::Parameters);
    }
    Ok(values.map(Option::unwrap_or_default))
}

/// Remembers for the operator that callbacks are refused.
#[derive(Debug, Default)]
pub(crate) struct CallbackWatch {
    last: Mutex<Option<LastRefusal>>,
    /// The last one of any reason, whatever came since; for operators.
    seen: Mutex<Option<RefusalSeen>>,
    /// Whether `last` holds one: spares the good callbacks the lock.
    has_last: AtomicBool,
    /// One for each key to look at, and one for what points to none, so that no reason hides another.
    logs: [LogLimit; KEYS.len() + 1],
}

/// The keys that a refusal can point to.
const KEYS: [&str; 3] = ["wecom.token", "wecom.encoding_aes_key", "wecom.corp_id"];

/// Lets through at most one line per [`LOG_INTERVAL_MS`].
#[derive(Debug, Default)]
struct LogLimit {
    logged_at_ms: AtomicU64,
    unlogged: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct LastRefusal {
    key_to_check: &'static str,
    at_ms: u64,
}

/// A refused callback: when, and how it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusalSeen {
    pub(crate) at_ms: u64,
    /// As in the metric's `result`.
    pub(crate) result: &'static str,
}

impl CallbackWatch {
    /// The last refusal since the start, whatever came after it.
    pub(crate) fn last_refusal(&self) -> Option<RefusalSeen> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that the last refusal points to, unless a good callback came since.
    pub(crate) fn key_to_check(&self, now_ms: u64) -> Option<&'static str> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|last| now_ms.saturating_sub(last.at_ms) < REFUSAL_SHOWN_MS).map(|last| last.key_to_check)
    }

    fn accepted(&self) {
        if self.has_last.load(Ordering::Relaxed) {
            self.has_last.store(false, Ordering::Relaxed);
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn refused(&self, refused: Refused, now_ms: u64) {
        let seen = RefusalSeen { at_ms: now_ms, result: refused.status_and_label().1 };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        let key_to_check = refused.key_to_check();
        if let Some(key_to_check) = key_to_check {
            let last = LastRefusal { key_to_check, at_ms: now_ms };
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
            self.has_last.store(true, Ordering::Relaxed);
        }
        if let Some(unlogged) = self.may_log(key_to_check, now_ms) {
            tracing::warn!(
                reason = %refused,
                check = key_to_check.unwrap_or("nothing"),
                not_logged_before = unlogged,
                "callback refused"
            );
        }
    }

    /// Whether a line about this key may be logged now, with how many were not since the last.
    fn may_log(&self, key_to_check: Option<&str>, now_ms: u64) -> Option<u64> {
        let index = KEYS.iter().position(|key| Some(*key) == key_to_check).unwrap_or(KEYS.len());
        self.logs.get(index)?.may_log(now_ms)
    }
}

impl LogLimit {
    fn may_log(&self, now_ms: u64) -> Option<u64> {
        let logged_at_ms = self.logged_at_ms.load(Ordering::Relaxed);
        let due = now_ms.abs_diff(logged_at_ms) >= LOG_INTERVAL_MS;
        let claim = |at_ms| {
            self.logged_at_ms.compare_exchange(at_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if due && claim(logged_at_ms) {
            return Some(self.unlogged.swap(0, Ordering::Relaxed));
        }
        self.unlogged.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;
    const FORGED: Refused = Refused::Unopened(CallbackRefusal::BadSignature);

    #[test]
    fn each_parameter_is_wanted_once_and_not_empty() {
        let names = ["msg_signature", "nonce"];
        let [signature, nonce] = parameters("nonce=n%2B+1&msg_signature=s&other=1&other=2", names).unwrap();
        assert_eq!((&*signature, &*nonce), ("s", "n++1"));
        for query in [
            "",
            "nonce=1",
            "nonce=&msg_signature=s",
            "nonce&msg_signature=s",
            "nonce=1&msg_signature=s&nonce=1",
        ] {
            assert_eq!(parameters(query, names), Err(Refused::Parameters), "{query}");
        }
    }

    #[test]
    fn the_statuses_are_those_of_the_contract() {
        let envelope = |error| Refused::from(error).status_and_label();
        assert_eq!(FORGED.status_and_label(), (StatusCode::FORBIDDEN, "bad_signature"));
        assert_eq!(envelope(EnvelopeError::WrongReceiver), (StatusCode::FORBIDDEN, "bad_receiveid"));
        assert_eq!(envelope(EnvelopeError::BadPadding), (StatusCode::BAD_REQUEST, "bad_padding"));
        assert_eq!(envelope(EnvelopeError::BadBase64), (StatusCode::BAD_REQUEST, "malformed"));
        assert_eq!(Refused::TooLarge.status_and_label(), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
        for label in [FORGED, Refused::TooLarge, Refused::Parameters, Refused::Unavailable]
            .map(|refused| refused.status_and_label().1)
        {
            assert!(tally::CALLBACK_RESULTS.contains(&label), "{label}");
        }
    }

    #[test]
    fn a_refusal_shows_until_a_good_callback_comes_or_an_hour_has_passed() {
        let watch = CallbackWatch::default();
        assert_eq!(watch.key_to_check(NOW_MS), None);
        watch.refused(FORGED, NOW_MS);
        watch.refused(Refused::Parameters, NOW_MS + 1);
        assert_eq!(watch.key_to_check(NOW_MS + 1), Some("wecom.token"));
        assert_eq!(watch.key_to_check(NOW_MS + REFUSAL_SHOWN_MS), None);
        watch.accepted();
        assert_eq!(watch.key_to_check(NOW_MS + 2), None);
        let seen = watch.last_refusal();
        assert_eq!(
            seen,
            Some(RefusalSeen { at_ms: NOW_MS + 1, result: "malformed" }),
            "operators see it still"
        );
        watch.refused(EnvelopeError::WrongReceiver.into(), NOW_MS + 3);
        assert_eq!(watch.key_to_check(NOW_MS + 3), Some("wecom.corp_id"));
    }

    #[test]
    fn a_flood_of_refusals_is_logged_once_a_second() {
        let watch = CallbackWatch::default();
        let token = Some("wecom.token");
        assert_eq!(watch.may_log(token, NOW_MS), Some(0));
        assert_eq!(watch.may_log(token, NOW_MS + 1), None);
        assert_eq!(watch.may_log(Some("wecom.corp_id"), NOW_MS + 1), Some(0), "no reason hides another");
        assert_eq!(watch.may_log(None, NOW_MS + 1), Some(0));
        assert_eq!(watch.may_log(token, NOW_MS + 999), None);
        assert_eq!(watch.may_log(token, NOW_MS + 1_000), Some(2));
        assert_eq!(watch.may_log(token, NOW_MS - 60_000), Some(0), "a clock set back silences nothing");
    }
}

//! Webhooks as they go over the wire, by the Standard Webhooks conventions: the body, the signature, one POST, and what
//! its outcome says about receiver and event. `docs/webhooks.md` is for those who receive them.
//!
//! Nothing is retried, and no redirect is followed: when to try again is the actor's business. Nothing of what the
//! receiver answers is kept or logged but the status.

use std::{fmt, sync::Arc, time::Duration};

use actors::{
    ids::{OpenKfId, Timestamp, UnionId},
    messages::WebhookEntry,
    ports::{BackEnd, BoxFuture, Clock, Undelivered},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, StatusCode, header};
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::{Client, Response};
use serde::Serialize;
use sha2::Sha256;
use url::Url;
use zeroize::Zeroizing;

use crate::outgoing::{self, ExchangeError};

/// What a signing secret begins with.
const SECRET_PREFIX: &str = "whsec_";
/// The lengths of a key that the conventions allow.
const KEY_BYTES_MIN: usize = 24;
const KEY_BYTES_MAX: usize = 64;
/// How long one call may take; the conventions say 15 to 30 s.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// So much of an answer is read, so that its connection can be used again; nobody looks at it.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// And for so long.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// How long a receiver that says it is gone for good is left alone.
const GONE_WAIT: Duration = Duration::from_hours(1);

const HEADER_ID: &str = "webhook-id";
const HEADER_TIMESTAMP: &str = "webhook-timestamp";
const HEADER_SIGNATURE: &str = "webhook-signature";

/// Signs webhooks. `Debug` doesn't show it.
pub struct SigningKey(Zeroizing<Vec<u8>>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// Why a text is no signing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not whsec_ and the base64 of 24 to 64 bytes")]
pub struct NoSigningKey;

impl SigningKey {
    /// Reads `whsec_…`.
    pub fn parse(secret: &str) -> Result<Self, NoSigningKey> {
        let encoded = secret.strip_prefix(SECRET_PREFIX).ok_or(NoSigningKey)?;
        let key = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| NoSigningKey)?);
        if (KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) { Ok(Self(key)) } else { Err(NoSigningKey) }
    }

    /// `v1,…` over the id, the moment of the attempt and the exact body.
    fn sign(&self, id: &str, timestamp: Timestamp, body: &[u8]) -> String {
        // The key fits into one block, where it is taken as it is, filled up with zeros.
        let mut block = [0; KEY_BYTES_MAX];
        for (place, byte) in block.iter_mut().zip(self.0.iter()) {
            *place = *byte;
        }
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(format!("{id}.{}.", timestamp.0).as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[derive(Serialize)]
struct Body<'e> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: Rfc3339,
    data: Data<'e>,
}

/// The binding, with the fields of `GET /api/admin/bindings`.
#[derive(Serialize)]
struct Data<'e> {
    openid: &'e str,
    external_userid: &'e str,
    unionid: Option<&'e str>,
    open_kfid: Option<&'e str>,
    method: Option<&'static str>,
    bound_at: Option<Rfc3339>,
    nickname: Option<&'e str>,
    label: Option<&'e str>,
}

struct Rfc3339(Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = i64::try_from(self.0.0).unwrap_or(i64::MAX);
        serializer.collect_str(&jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX))
    }
}

/// The event as its receiver reads it.
fn body(event: &WebhookEntry) -> Result<Vec<u8>, serde_json::Error> {
    let binding = &event.binding;
    serde_json::to_vec(&Body {
        kind: event.kind.name(),
        timestamp: Rfc3339(event.happened_at),
        data: Data {
            openid: binding.openid.as_str(),
            external_userid: binding.customer.as_str(),
            unionid: binding.unionid.as_ref().map(UnionId::as_str),
            open_kfid: binding.account.as_ref().map(OpenKfId::as_str),
            method: binding.method,
            bound_at: binding.bound_at.map(Rfc3339),
            nickname: binding.nickname.as_deref(),
            label: binding.label.as_deref(),
        },
    })
}

/// Sends webhooks to `webhooks.url`. `Debug` shows neither the address, which may hold a token, nor the key.
pub struct WebhookClient {
    url: Url,
    key: SigningKey,
    http: Client,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for WebhookClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookClient")
    }
}

impl WebhookClient {
    /// A client that has not called anybody yet. `http` bounds each call in time ([`CALL_TIMEOUT`]) and goes through no
    /// proxy: `wecom.proxy` is the way to WeCom, and a back end is mostly nearer than that.
    #[must_use]
    pub fn new(url: Url, key: SigningKey, http: Client, clock: Arc<dyn Clock>) -> Self {
        Self { url, key, http, clock }
    }

    async fn send(&self, event: WebhookEntry) -> Result<(), Undelivered> {
        let body = body(&event)
            .map_err(|error| Undelivered::Refused(format!("the event can't be written as JSON: {error}")))?;
        let at = self.clock.now();
        let request = self
            .http
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(HEADER_ID, &event.id)
            .header(HEADER_TIMESTAMP, at.0)
            .header(HEADER_SIGNATURE, self.key.sign(&event.id, at, &body))
            .body(body);
        let response = request.send().await.map_err(|error| unanswered(&error.into()))?;
        let verdict = verdict(response.status(), response.headers(), at);
        read_off(response).await;
        verdict
    }
}

impl BackEnd for WebhookClient {
    fn deliver(&self, event: WebhookEntry) -> BoxFuture<'_, Result<(), Undelivered>> {
        Box::pin(self.send(event))
    }
}

/// A connection whose answer was read can be used again. What the answer says was decided by its status.
async fn read_off(response: Response) {
    let _ = tokio::time::timeout(ANSWER_WAIT, outgoing::read_limited(response, ANSWER_BYTES_MAX)).await;
}

fn unanswered(error: &ExchangeError) -> Undelivered {
    match error {
        ExchangeError::NoConnection(_) => Undelivered::Down { why: error.to_string(), wait: None },
        ExchangeError::TimedOut | ExchangeError::Broken(_) | ExchangeError::TooLong(_) => {
            Undelivered::Failing(error.to_string())
        }
    }
}

/// What a status says, and about whom.
fn verdict(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Result<(), Undelivered> {
    let why = format!("HTTP status {}", status.as_u16());
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Err(Undelivered::Down { why, wait: retry_after(headers, now) })
        }
        // "No longer wanted", by the conventions. Only the operator can take an address out of the configuration.
        StatusCode::GONE => Err(Undelivered::Down { why, wait: Some(GONE_WAIT) }),
        // Of these the address, the signature's key or what stands before the receiver is mostly the cause.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::MISDIRECTED_REQUEST => Err(Undelivered::Failing(why)),
        _ if status.is_client_error() => Err(Undelivered::Refused(why)),
        _ => Err(Undelivered::Failing(why)),
    }
}

/// `Retry-After`: seconds or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTimeParser::new().parse_timestamp(text).ok()?;
    let until = Timestamp(u64::try_from(until.as_second()).ok()?);
    Some(Duration::from_secs(until.since(now)))
}

#[cfg(test)]
mod tests;

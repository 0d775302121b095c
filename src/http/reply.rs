//! Answers: JSON, and [`ApiError`] as the only way from an error to a response (RFC 9457).
//!
//! Nothing here logs, and no detail says anything about the inside or repeats a secret.

use actors::{handles::Unavailable, ids::Timestamp, messages::Refusal};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use warp::reply::{Reply as _, Response};

/// What RFC 9457 calls its own content type.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why a request is not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// 400, with what is wrong.
    BadRequest(&'static str),
    /// 401: no session, or not one of ours, or no longer valid.
    SessionInvalid,
    /// 401: not the admin key.
    AdminKeyInvalid,
    /// 401: WeChat knows no such login code, or it was used before.
    LoginCodeInvalid,
    /// 403: WeChat holds the user to be a risk.
    LoginRefused,
    /// 404: nothing there.
    NotFound,
    /// 404: a way to bind that is switched off.
    MethodOff,
    /// What only one of the further ways refuses.
    Way(WayRefusal),
    /// 405, with the methods that would work.
    MethodNotAllowed(&'static str),
    /// 409: the user is bound.
    AlreadyBound,
    /// 409: one side is bound elsewhere.
    Conflict,
    /// 413.
    TooLarge,
    /// 415.
    UnsupportedMediaType,
    /// 429.
    TooManyRequests {
        /// When to try again, in seconds, at least 1.
        retry_after_s: u64,
    },
    /// 500: a bug of ours.
    Internal,
    /// 502.
    WechatUnavailable,
    /// 503: what WeCom has to give first is not there.
    WecomUnavailable,
    /// 503: overloaded or stopping.
    Unavailable,
    /// 503: the store takes no writes.
    StoreFull,
}

/// What only one of the further ways to bind refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WayRefusal {
    /// 403: the two are known to be different people.
    OtherPerson,
    /// 403: an employee who may not bind.
    NotStaff,
    /// 404: a ticket that binds nobody: unknown, used or expired, all alike.
    TicketInvalid,
    /// 404: neither WeCom nor we know the customer whom an employee names.
    CustomerUnknown,
    /// 404: no live code.
    CodeInvalid,
}

/// The body of an error (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The stable name, to decide by.
    code: &'static str,
    /// For a developer to read; its words may change.
    detail: &'static str,
}

impl WayRefusal {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::OtherPerson => (
                StatusCode::FORBIDDEN,
                "other-person",
                "The customer in the chat and this user are known to be different people.",
            ),
            Self::NotStaff => (
                StatusCode::FORBIDDEN,
                "not-staff",
                "This employee may not bind customers (wecom.staff_userids).",
            ),
            Self::TicketInvalid => (
                StatusCode::NOT_FOUND,
                "ticket-invalid",
                "This ticket binds nobody: it is unknown, used or expired.",
            ),
            Self::CustomerUnknown => (
                StatusCode::NOT_FOUND,
                "customer-unknown",
                "WeCom knows no such customer, or only one who hasn't written for two days.",
            ),
            Self::CodeInvalid => {
                (StatusCode::NOT_FOUND, "code-invalid", "There is no such code, or it has ended.")
            }
        }
    }
}

impl ApiError {
    /// Status, stable name, and what a developer reads.
    pub(super) fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest(detail) => (StatusCode::BAD_REQUEST, "bad-request", detail),
            Self::SessionInvalid => (
                StatusCode::UNAUTHORIZED,
                "session-invalid",
                "Send a valid session as Authorization: Bearer; log in again for a new one.",
            ),
            Self::AdminKeyInvalid => (
                StatusCode::UNAUTHORIZED,
                "admin-key-invalid",
                "Send admin.api_key as Authorization: Bearer.",
            ),
            Self::LoginCodeInvalid => (
                StatusCode::UNAUTHORIZED,
                "login-code-invalid",
                "WeChat doesn't take this login code; call wx.login for a new one.",
            ),
            Self::LoginRefused => {
                (StatusCode::FORBIDDEN, "login-refused", "WeChat refuses this user's login as a risk.")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing at this address."),
            Self::MethodOff => {
                (StatusCode::NOT_FOUND, "method-off", "This way to bind is switched off (binding.methods).")
            }
            Self::Way(refusal) => refusal.parts(),
            Self::MethodNotAllowed(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The Allow header lists the methods of this address.",
            ),
            Self::AlreadyBound => {
                (StatusCode::CONFLICT, "already-bound", "This user is bound; unbind first to bind anew.")
            }
            Self::Conflict => {
                (StatusCode::CONFLICT, "conflict", "The user or the customer is bound elsewhere.")
            }
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is longer than limits.body_bytes_max.")
            }
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Send the body as application/json.",
            ),
            Self::TooManyRequests { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Wait as long as the Retry-After header says.",
            ),
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "A fault of the server; its log tells more.")
            }
            Self::WechatUnavailable => {
                (StatusCode::BAD_GATEWAY, "wechat-unavailable", "WeChat gave no usable answer; try again.")
            }
            Self::WecomUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "wecom-unavailable",
                "WeCom has not yet told what this answer needs; try again.",
            ),
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Overloaded or stopping; try again.")
            }
            Self::StoreFull => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The store takes no writes for now; its disk is almost full.",
            ),
        }
    }

    /// The body that tells it.
    pub(super) fn problem(&self) -> Problem {
        let (status, code, detail) = self.parts();
        Problem {
            kind: format!("urn:kfbind:problem:{code}"),
            title: status.canonical_reason().unwrap_or(code),
            status: status.as_u16(),
            code,
            detail,
        }
    }

    /// The one conversion of an error into an answer.
    pub(crate) fn into_response(self) -> Response {
        let (status, ..) = self.parts();
        let mut response = json(status, &self.problem());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        match self {
            Self::MethodNotAllowed(allow) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Self::SessionInvalid | Self::AdminKeyInvalid | Self::LoginCodeInvalid => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::TooManyRequests { retry_after_s } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s.max(1)));
            }
            _ => {}
        }
        response
    }
}

impl From<Unavailable> for ApiError {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::Busy => Self::Unavailable,
            Unavailable::Refused(Refusal::DiskFull) => Self::StoreFull,
        }
    }
}

/// A moment as the API writes it: RFC 3339, UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rfc3339(pub(crate) Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = i64::try_from(self.0.0).unwrap_or(i64::MAX);
        // Beyond the year 9999 there is no RFC 3339; its end is as near as one gets.
        serializer.collect_str(&jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX))
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let mut response = bytes_of(status, JSON, bytes);
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        // Only a map with keys that are no text can fail, and no answer has one.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// An answer of these bytes.
pub(crate) fn bytes_of(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    status.into_response()
}

/// Ends every branch of the table: errors become answers, and all answers get what all have.
pub(crate) fn finish(result: Result<Response, ApiError>) -> Response {
    let mut response = result.unwrap_or_else(ApiError::into_response);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

//! The mini program's side of a binding: a code to type, what became of it, and the way out.
//!
//! All state and every rule is the registry's; here are the shapes of the contract's section 3.

use std::time::Duration;

use actors::{
    ids::Timestamp,
    messages::{BindingStatus, BindingView, IssueOutcome, PendingCode},
};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::reply::Response;

use super::{
    Shared,
    body::{Chunks, Payload},
    openapi::shapes::{Method as BindingMethod, ViewStatus},
    query::{self, Plus},
    reply::{self, ApiError, Rfc3339},
    request::Head,
    stopped,
};

/// The longest `wait`, in seconds.
pub(super) const WAIT_S_MAX: f64 = 30.0;

/// A live code.
#[derive(Serialize, ToSchema)]
#[schema(as = Pending)]
pub(super) struct PendingBody<'v> {
    /// What the user sends in the chat.
    bind_token: &'v str,
    /// The same, grouped for the eye.
    display: String,
    expires_at: Rfc3339,
    /// Seconds.
    expires_in: u64,
    kf: KfBody<'v>,
}

/// Where to type it: for `wx.openCustomerServiceChat`.
#[derive(Serialize, ToSchema)]
#[schema(as = Kf)]
pub(super) struct KfBody<'v> {
    /// To be passed on to the letter.
    url: &'v str,
    corp_id: &'v str,
    /// Null where the operator's own link doesn't tell the account.
    #[schema(required = true)]
    open_kfid: Option<&'v str>,
}

/// What the user sees.
#[derive(Serialize, ToSchema)]
#[schema(as = BindingView)]
pub(super) struct ViewBody<'v> {
    #[schema(value_type = ViewStatus)]
    status: &'static str,
    /// Grows with every change of this answer; 0 for a user never seen.
    version: u64,
    /// The live code, while the status is `pending`.
    #[schema(required = true)]
    pending: Option<PendingBody<'v>>,
    /// While the status is `bound`.
    #[schema(required = true)]
    binding: Option<BoundBody<'v>>,
}

/// To whom the user is bound.
#[derive(Serialize, ToSchema)]
#[schema(as = UserBinding)]
pub(super) struct BoundBody<'v> {
    #[schema(value_type = BindingMethod)]
    method: &'static str,
    bound_at: Rfc3339,
    /// The customer's name, once WeCom has told it.
    #[schema(required = true)]
    nickname: Option<&'v str>,
}

/// Which code.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = TokenRequest)]
pub(super) struct TokenRequest {
    /// Not the live code again: revoke it and make another.
    #[serde(default)]
    new: bool,
}

/// `/api/binding/token`
pub(crate) async fn token(head: Head, payload: Payload<impl Chunks>) -> Result<Response, ApiError> {
    if head.method != Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    let user = head.user()?;
    let shared = &*head.shared;
    let request: TokenRequest =
        payload.json(shared.context.settings.body_bytes_max).await?.unwrap_or_default();
    let outcome = shared.context.handles.issue(user.openid, user.unionid, request.new).await?;
    let (status, pending) = match &outcome {
        IssueOutcome::Issued(pending) => (StatusCode::CREATED, pending),
        IssueOutcome::Again(pending) => (StatusCode::OK, pending),
        IssueOutcome::AlreadyBound => return Err(ApiError::AlreadyBound),
        IssueOutcome::TooMany { retry_after_s } => {
            return Err(ApiError::TooManyRequests { retry_after_s: *retry_after_s });
        }
        IssueOutcome::NoLink => return Err(ApiError::WecomUnavailable),
    };
    Ok(reply::json(status, &pending_body(shared, pending, shared.context.clock.now())))
}

/// `/api/binding`
pub(crate) async fn binding(head: Head) -> Result<Response, ApiError> {
    match head.method {
        Method::GET | Method::HEAD => view(head).await,
        Method::DELETE => unbind(head).await,
        _ => Err(ApiError::MethodNotAllowed("GET, HEAD, DELETE")),
    }
}

async fn view(head: Head) -> Result<Response, ApiError> {
    let user = head.user()?;
    let [wait, since] = query::values(&head.query, ["wait", "since"], Plus::Space)?;
    let wait = wait.as_deref().map(wait_of).transpose()?.unwrap_or_default();
    let since = since.as_deref().map(version_of).transpose()?;
    let shared = &*head.shared;
    let handles = &shared.context.handles;
    let view = match since {
        Some(since) if !wait.is_zero() => {
            tokio::select! {
                view = handles.wait_for_change(&user.openid, since, wait) => view?,
                () = stopped(shared.stop.clone()) => handles.view(&user.openid).await?,
            }
        }
        _ => handles.view(&user.openid).await?,
    };
    Ok(shown(shared, &view))
}

/// What the user sees, as an answer.
pub(crate) fn shown(shared: &Shared, view: &BindingView) -> Response {
    reply::json(StatusCode::OK, &view_body(shared, view))
}

async fn unbind(head: Head) -> Result<Response, ApiError> {
    let user = head.user()?;
    head.shared.context.handles.unbind(user.openid).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// Whole or decimal seconds, 0 to [`WAIT_S_MAX`].
fn wait_of(text: &str) -> Result<Duration, ApiError> {
    const BAD: ApiError = ApiError::BadRequest("wait is a number of seconds from 0 to 30.");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(BAD);
    }
    let seconds: f64 = text.parse().map_err(|_| BAD)?;
    if seconds > WAIT_S_MAX {
        return Err(BAD);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| BAD)
}

fn version_of(text: &str) -> Result<u64, ApiError> {
    const BAD: ApiError = ApiError::BadRequest("since is a version: a whole number, 0 or greater.");
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BAD);
    }
    text.parse().map_err(|_| BAD)
}

fn view_body<'v>(shared: &'v Shared, view: &'v BindingView) -> ViewBody<'v> {
    let mut body = ViewBody { status: "unbound", version: view.version, pending: None, binding: None };
    match &view.status {
        BindingStatus::Unbound => {}
        BindingStatus::Pending(pending) => {
            body.status = "pending";
            body.pending = Some(pending_body(shared, pending, shared.context.clock.now()));
        }
        BindingStatus::Bound(info) => {
            body.status = "bound";
            body.binding = Some(BoundBody {
                method: info.method,
                bound_at: Rfc3339(info.bound_at),
                nickname: info.nickname.as_deref(),
            });
        }
    }
    body
}

fn pending_body<'v>(shared: &'v Shared, pending: &'v PendingCode, now: Timestamp) -> PendingBody<'v> {
    PendingBody {
        bind_token: pending.code.as_str(),
        display: pending.display.clone(),
        expires_at: Rfc3339(pending.expires_at),
        expires_in: pending.expires_at.since(now),
        kf: KfBody {
            url: &pending.link.url,
            corp_id: &shared.context.settings.corp_id,
            open_kfid: pending.link.account.as_ref().map(actors::ids::OpenKfId::as_str),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_whole_or_decimal_seconds_up_to_thirty() {
        for (text, wait_ms) in [("0", 0), ("0.25", 250), ("7", 7_000), ("30", 30_000), ("30.000", 30_000)] {
            assert_eq!(wait_of(text), Ok(Duration::from_millis(wait_ms)), "{text}");
        }
        for text in
            ["", "-1", "+1", "30.001", "31", "1e1", "inf", "NaN", "1.", ".5", "1.2.3", "1,5", " 1", "٣"]
        {
            assert!(wait_of(text).is_err(), "{text}");
        }
        assert!(wait_of(&"9".repeat(5_000)).is_err());
    }

    #[test]
    fn a_version_is_a_whole_number() {
        assert_eq!(version_of("0"), Ok(0));
        assert_eq!(version_of("18446744073709551615"), Ok(u64::MAX));
        for text in ["", "-1", "+1", "1.0", "18446744073709551616", "x", " 1"] {
            assert!(version_of(text).is_err(), "{text}");
        }
    }
}

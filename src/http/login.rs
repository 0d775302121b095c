//! Login of the mini program: a `wx.login` code becomes a session.
//!
//! WeChat says who it is; the registry is told the unionid, for whoever is the same in the chat. `session_key` ends in
//! the WeChat client.

use std::time::Duration;

use actors::ids::{OpenId, Timestamp, UnionId};
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::reply::Response;

use super::{
    Shared,
    body::{Chunks, Payload},
    reply::{self, ApiError},
    request::Head,
    session::UserSession,
};
use crate::wechat::{Login, LoginError};

/// WeChat limits logins by the minute and doesn't say when the next one is taken.
const WECHAT_RETRY_AFTER_S: u64 = 60;

/// How long a login waits for the registry to take the unionid in. It does so later where it is busy.
const MEET_WAIT: Duration = Duration::from_secs(2);

/// The longest code that WeChat is asked about, in bytes; real ones have 32.
const CODE_BYTES_MAX: usize = 512;

/// What `wx.login` gave the mini program.
#[derive(Deserialize, ToSchema)]
#[schema(as = Login)]
pub(super) struct LoginRequest {
    /// Good for one login.
    #[schema(min_length = 1, max_length = 512)]
    code: String,
}

/// A session, to be sent as `Authorization: Bearer`.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionBody<'s> {
    pub(super) session: &'s str,
    /// Seconds.
    pub(super) expires_in: u64,
}

/// `/api/login`
pub(crate) async fn login(
    head: Head,
    headers: HeaderMap,
    payload: Payload<impl Chunks>,
) -> Result<Response, ApiError> {
    const NO_BODY: ApiError = ApiError::BadRequest("Send {\"code\": \"<wx.login code>\"}.");
    if head.method != Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    let shared = &head.shared;
    let context = &shared.context;
    let request: LoginRequest = payload.json(context.settings.body_bytes_max).await?.ok_or(NO_BODY)?;
    shared.count_login(head.peer, &headers)?;
    if !(1..=CODE_BYTES_MAX).contains(&request.code.len()) {
        return Err(ApiError::LoginCodeInvalid);
    }
    let Login { openid, unionid } = {
        let _permit = shared.login_permit()?;
        context.wechat.code2session(&request.code).await?
    };
    if let Some(unionid) = &unionid {
        meet(shared, &openid, unionid).await;
    }

    context.handles.count_login();
    let issued_at: Timestamp = context.handles.session_from(&openid, context.clock.now());
    let expires_in = context.settings.session_ttl_s;
    let session = context.session_keys.issue(&UserSession { openid, unionid, issued_at }, expires_in);
    Ok(reply::json(StatusCode::OK, &SessionBody { session: &session, expires_in }))
}

/// Tells the registry whose unionid this is. Best effort: a login doesn't fail for it.
async fn meet(shared: &Shared, openid: &OpenId, unionid: &UnionId) {
    if !shared.context.settings.ways.unionid {
        return;
    }
    let meeting = shared.context.handles.meet(openid.clone(), unionid.clone());
    match tokio::time::timeout(MEET_WAIT, meeting).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "a login's unionid was not taken in; the next login's may be");
        }
        Err(_) => tracing::warn!("a login's unionid is taken in late: the store is slow"),
    }
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::CodeInvalid => Self::LoginCodeInvalid,
            LoginError::Refused => Self::LoginRefused,
            LoginError::TooMany => Self::TooManyRequests { retry_after_s: WECHAT_RETRY_AFTER_S },
            LoginError::Unavailable => Self::WechatUnavailable,
        }
    }
}

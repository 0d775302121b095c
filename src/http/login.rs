//! Login of the mini program: a `wx.login` code becomes a session.
//!
//! WeChat says who it is; nothing about the user is stored here. `session_key` ends in the WeChat client.

use actors::ids::Timestamp;
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use warp::reply::Response;

use super::{
    body::{Chunks, Payload},
    reply::{self, ApiError},
    request::Head,
    session::UserSession,
};
use crate::wechat::{Login, LoginError};

/// WeChat limits logins by the minute and doesn't say when the next one is taken.
const WECHAT_RETRY_AFTER_S: u64 = 60;

/// The longest code that WeChat is asked about, in bytes; real ones have 32.
const CODE_BYTES_MAX: usize = 512;

#[derive(Deserialize)]
struct LoginRequest {
    code: String,
}

#[derive(Serialize)]
struct SessionBody<'s> {
    session: &'s str,
    expires_in: u64,
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
    let client = shared.client_address.of(head.peer, &headers);
    shared
        .logins_per_ip
        .take(client, context.clock.now_ms())
        .map_err(|retry_after_s| ApiError::TooManyRequests { retry_after_s })?;
    if !(1..=CODE_BYTES_MAX).contains(&request.code.len()) {
        return Err(ApiError::LoginCodeInvalid);
    }
    let _permit = shared.login_permit()?;
    let Login { openid, unionid } = context.wechat.code2session(&request.code).await?;

    let issued_at: Timestamp = context.clock.now();
    let expires_in = context.settings.session_ttl_s;
    let session = context.session_keys.issue(&UserSession { openid, unionid, issued_at }, expires_in);
    Ok(reply::json(StatusCode::OK, &SessionBody { session: &session, expires_in }))
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

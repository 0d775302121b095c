//! What the mini program's users ask, described.

use http::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::{HttpMethod, ObjectBuilder, Required, Type};

use super::{
    operation::{Access, BAD_REQUEST, Described, TOO_MANY, route},
    shapes::{text, whole_number},
};
use crate::http::{
    binding::{PendingBody, TokenRequest, ViewBody, WAIT_S_MAX},
    login::{LoginRequest, SessionBody},
    reply::{ApiError, WayRefusal},
    ticket::{IntentBody, IntentRequest, RedeemRequest, TICKET_CHARS_MAX, TicketBody},
};

pub(super) const TAG: &str = "mini program";
const TICKET: &str = "k3J9_xY2mQ7sT0vB5nL8wA";

pub(super) fn operations() -> Vec<Described> {
    vec![login(), token(), view(), unbind(), look(), redeem(), intent()]
}

pub(super) fn session_example() -> Value {
    json!({"session": "b2Zha2Utc2Vzc2lvbg.c2lnbmF0dXJl", "expires_in": 604_800})
}

fn pending_example() -> Value {
    json!({
        "bind_token": "482913",
        "display": "482 913",
        "expires_at": "2026-11-25T08:40:00Z",
        "expires_in": 600,
        "kf": {
            "url": "https://work.weixin.qq.com/kfid/kfc0123456789abcdef?enc_scene=ENC&scene_param=k3J9_xY2mQ7sT0vB5nL8wA",
            "corp_id": "ww0123456789abcdef",
            "open_kfid": "wkAbCdEf0123456789",
        },
    })
}

fn view_example() -> Value {
    json!({
        "status": "bound",
        "version": 3_590_992_436_u64,
        "pending": null,
        "binding": {"method": "code", "bound_at": "2026-11-25T08:31:07Z", "nickname": "小李"},
    })
}

fn login() -> Described {
    route(HttpMethod::Post, "/api/login", "login", "Log in with the code of wx.login")
        .tag(TAG)
        .about("Counted by `limits.logins_per_ip` before WeChat is asked. WeChat's `session_key` never leaves the server.")
        .access(Access::Everyone)
        .body::<LoginRequest>(Required::True, json!({"code": "0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P"}))
        .json::<SessionBody<'_>>(StatusCode::OK, "The user's session.", session_example())
        .problems(&[ApiError::LoginCodeInvalid, ApiError::LoginRefused, TOO_MANY, ApiError::WechatUnavailable])
        .asks()
}

fn token() -> Described {
    route(HttpMethod::Post, "/api/binding/token", "issueCode", "Get a code to send in the chat")
        .tag(TAG)
        .about(
            "A live code with more than half its life left is given again, unless `new`. A new one revokes the old. \
             Counted by `limits.codes_per_openid`.",
        )
        .access(Access::User)
        .body::<TokenRequest>(Required::False, json!({"new": true}))
        .json::<PendingBody<'_>>(StatusCode::CREATED, "A new code.", pending_example())
        .json::<PendingBody<'_>>(StatusCode::OK, "The live code again.", pending_example())
        .problems(&[ApiError::AlreadyBound, TOO_MANY, ApiError::WecomUnavailable])
        .writes()
}

fn view() -> Described {
    let wait = ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(0.0))
        .maximum(Some(WAIT_S_MAX))
        .default(Some(json!(0)));
    route(HttpMethod::Get, "/api/binding", "viewBinding", "See the binding, and wait for it to change")
        .tag(TAG)
        .about(
            "With `wait` and `since` the answer is held until the version differs or the time is up; without `since` it \
             comes at once.",
        )
        .access(Access::User)
        .query("wait", "How long to wait, in seconds; decimals are fine, exponents aren't.", wait)
        .query("since", "The version that the client knows.", whole_number().maximum(Some(u64::MAX)))
        .json::<ViewBody<'_>>(StatusCode::OK, "What the user sees.", view_example())
        .problems(&[BAD_REQUEST])
        .asks()
}

fn unbind() -> Described {
    route(HttpMethod::Delete, "/api/binding", "unbind", "Undo the binding")
        .tag(TAG)
        .about("Bound or not: a pending code dies with it. Again is fine.")
        .access(Access::User)
        .empty(StatusCode::NO_CONTENT, "Unbound.")
        .writes()
}

const BY_TICKET: [ApiError; 5] = [
    ApiError::Way(WayRefusal::TicketInvalid),
    ApiError::MethodOff,
    ApiError::AlreadyBound,
    ApiError::Conflict,
    ApiError::Way(WayRefusal::OtherPerson),
];

fn look() -> Described {
    let ticket =
        text().pattern(Some("^[A-Za-z0-9_-]+$")).min_length(Some(1)).max_length(Some(TICKET_CHARS_MAX));
    route(HttpMethod::Get, "/api/binding/ticket", "lookAtTicket", "See whom a card would bind")
        .tag(TAG)
        .about("For the page to ask before it binds. Ways `card` and `staff`.")
        .access(Access::User)
        .wanted_query("ticket", "The card's.", ticket)
        .json::<TicketBody<'_>>(
            StatusCode::OK,
            "Who would be bound.",
            json!({"nickname": "小李", "expires_at": "2026-11-27T08:30:00Z"}),
        )
        .problems(&BY_TICKET)
        .problems(&[BAD_REQUEST])
        .asks()
}

fn redeem() -> Described {
    route(HttpMethod::Post, "/api/binding/ticket", "redeemTicket", "Be bound by a card")
        .tag(TAG)
        .about("Again by the one whom it bound is fine: a retry. Ways `card` and `staff`.")
        .access(Access::User)
        .body::<RedeemRequest>(Required::True, json!({"ticket": TICKET}))
        .json::<ViewBody<'_>>(StatusCode::OK, "What the user sees now.", view_example())
        .problems(&BY_TICKET)
        .writes()
}

fn intent() -> Described {
    route(
        HttpMethod::Post,
        "/api/binding/intent",
        "openIntent",
        "Announce that the chat is about to be opened",
    )
    .tag(TAG)
    .about("Way `window`.")
    .access(Access::User)
    .body::<IntentRequest>(Required::False, json!({}))
    .json::<IntentBody>(StatusCode::ACCEPTED, "Announced.", json!({"expires_at": "2026-11-25T08:35:00Z"}))
    .problems(&[ApiError::MethodOff, ApiError::AlreadyBound, ApiError::WecomUnavailable])
    .writes()
}

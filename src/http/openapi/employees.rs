//! What employees ask from inside WeCom, described.

use http::StatusCode;
use serde_json::json;
use utoipa::openapi::{HttpMethod, Required};

use super::{
    admin::binding_example,
    operation::{Access, Described, TOO_MANY, route},
    shapes::text,
};
use crate::http::{
    admin::BindingBody,
    query::ID_BYTES_MAX,
    reply::{ApiError, WayRefusal},
    staff::{BindRequest, CardBody, CardRequest, CustomerBody, LoginRequest, SessionBody},
};

pub(super) const TAG: &str = "employees";
const CUSTOMER: &str = "wmAbCdEf0123456789";

pub(super) fn operations() -> Vec<Described> {
    vec![login(), customer(), ticket(), bind()]
}

fn staff_route(method: HttpMethod, path: &'static str, id: &str, summary: &str) -> Described {
    route(method, path, id, summary)
        .tag(TAG)
        .about("Way `staff`. The employee is held against `wecom.staff_userids` at every request.")
        .problems(&[ApiError::MethodOff, ApiError::Way(WayRefusal::NotStaff), ApiError::WecomUnavailable])
        .asks()
}

fn login() -> Described {
    staff_route(
        HttpMethod::Post,
        "/api/staff/login",
        "staffLogin",
        "Log an employee in with the code of wx.qy.login",
    )
    .access(Access::Everyone)
    .body::<LoginRequest>(Required::True, json!({"code": "0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P"}))
    .json::<SessionBody<'_>>(
        StatusCode::OK,
        "The employee's session.",
        json!({"session": "c3RhZmYtc2Vzc2lvbg.c2lnbmF0dXJl", "expires_in": 604_800, "userid": "zhangsan"}),
    )
    .problems(&[ApiError::LoginCodeInvalid, TOO_MANY])
}

fn customer() -> Described {
    let id = text().min_length(Some(1)).max_length(Some(ID_BYTES_MAX));
    staff_route(
        HttpMethod::Get,
        "/api/staff/customers/{external_userid}",
        "staffCustomer",
        "See who is writing",
    )
    .access(Access::Staff)
    .segment("external_userid", "The customer's.", id)
    .json::<CustomerBody<'_>>(
        StatusCode::OK,
        "The customer, and the binding if there is one.",
        json!({
            "external_userid": CUSTOMER,
            "nickname": "小李",
            "binding": {"method": "code", "bound_at": "2026-11-25T08:31:07Z", "label": "138****8000"},
        }),
    )
    .problems(&[ApiError::Way(WayRefusal::CustomerUnknown)])
}

fn ticket() -> Described {
    staff_route(HttpMethod::Post, "/api/staff/tickets", "staffTicket", "Get a card to send to a customer")
        .access(Access::Staff)
        .body::<CardRequest>(
            Required::True,
            json!({"external_userid": CUSTOMER, "open_kfid": "wkAbCdEf0123456789"}),
        )
        .json::<CardBody<'_>>(
            StatusCode::CREATED,
            "The card.",
            json!({
                "ticket": "k3J9_xY2mQ7sT0vB5nL8wA",
                "path": "pages/bind-account/bind-account.html?ticket=k3J9_xY2mQ7sT0vB5nL8wA",
                "expires_at": "2026-11-27T08:30:00Z",
            }),
        )
        .problems(&[ApiError::Way(WayRefusal::CustomerUnknown)])
        .writes()
}

fn bind() -> Described {
    staff_route(HttpMethod::Post, "/api/staff/bindings", "staffBind", "Bind a customer who read out a code")
        .access(Access::Staff)
        .body::<BindRequest>(Required::True, json!({"external_userid": CUSTOMER, "code": "482 913"}))
        .json::<BindingBody<'_>>(StatusCode::OK, "The binding.", binding_example("staff"))
        .problems(&[
            ApiError::Way(WayRefusal::CustomerUnknown),
            ApiError::Way(WayRefusal::CodeInvalid),
            ApiError::Conflict,
            ApiError::AlreadyBound,
            ApiError::Way(WayRefusal::OtherPerson),
            TOO_MANY,
        ])
        .writes()
}

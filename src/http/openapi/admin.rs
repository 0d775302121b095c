//! What the business back end and operators ask with the admin key, described.

use http::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::{ContentBuilder, HttpMethod, ObjectBuilder, Required, ResponseBuilder, Type};

use super::{
    operation::{Access, BAD_REQUEST, Described, described, route},
    shapes::{text, whole_number},
    users::session_example,
};
use crate::http::{
    admin::{
        BindingBody, LIMIT_DEFAULT, LIMIT_MAX, PageBody,
        people::{BindRequest, SessionRequest},
        trail::{DAYS_DEFAULT, DAYS_MAX, DeadLettersBody, EventsBody, StatsBody},
    },
    login::SessionBody,
    query::ID_BYTES_MAX,
    reply::ApiError,
};

pub(super) const TAG: &str = "back end";
const OPENID: &str = "oAbCdEf0123456789";
const CUSTOMER: &str = "wmAbCdEf0123456789";

pub(super) fn operations() -> Vec<Described> {
    vec![
        bindings(),
        put_binding(),
        delete_binding(),
        session(),
        delete_customer(),
        delete_lock(),
        events(),
        stats(),
        dead_letters(),
        resend(),
        export(),
    ]
}

pub(super) fn binding_example(method: &str) -> Value {
    json!({
        "openid": OPENID,
        "external_userid": CUSTOMER,
        "unionid": null,
        "open_kfid": "wkAbCdEf0123456789",
        "method": method,
        "bound_at": "2026-11-25T08:31:07Z",
        "nickname": "小李",
        "label": "138****8000",
    })
}

fn admin(method: HttpMethod, path: &'static str, id: &str, summary: &str) -> Described {
    route(method, path, id, summary).tag(TAG).access(Access::Admin)
}

/// How many, and where to go on.
fn paged(route: Described, after: ObjectBuilder) -> Described {
    let limit =
        whole_number().minimum(Some(1_usize)).maximum(Some(LIMIT_MAX)).default(Some(json!(LIMIT_DEFAULT)));
    route
        .query("limit", "How many at most.", limit)
        .query("after", "The `next` of the page before.", after)
        .problems(&[BAD_REQUEST])
}

/// Any id.
fn id() -> ObjectBuilder {
    text().min_length(Some(1))
}

/// An id that may be new to the service.
fn new_id() -> ObjectBuilder {
    id().max_length(Some(ID_BYTES_MAX)).pattern(Some("^[!-~]+$"))
}

fn bindings() -> Described {
    let route = admin(HttpMethod::Get, "/api/admin/bindings", "listBindings", "Who is bound to whom")
        .about("All that fit every parameter given, in pages ordered by openid.")
        .query("openid", "Exactly this user.", id())
        .query("external_userid", "Exactly this customer.", id())
        .query("unionid", "Exactly this person.", id())
        .query("nickname", "Customers of exactly this name.", id());
    paged(route, text())
        .json::<PageBody<'_>>(
            StatusCode::OK,
            "A page.",
            json!({"bindings": [binding_example("code")], "next": null}),
        )
        .asks()
}

fn put_binding() -> Described {
    admin(HttpMethod::Put, "/api/admin/bindings/{openid}", "putBinding", "Bind a user to a customer")
        .about(
            "By the rules that hold for everybody, `binding.on_conflict` among them. The method is `admin`.",
        )
        .segment("openid", "The user's.", new_id())
        .body::<BindRequest>(
            Required::True,
            json!({"external_userid": CUSTOMER, "open_kfid": "wkAbCdEf0123456789"}),
        )
        .json::<BindingBody<'_>>(StatusCode::OK, "The binding.", binding_example("admin"))
        .problems(&[ApiError::Conflict])
        .writes()
}

fn delete_binding() -> Described {
    let erase = ObjectBuilder::new().schema_type(Type::Boolean).default(Some(json!(false)));
    admin(HttpMethod::Delete, "/api/admin/bindings/{openid}", "deleteBinding", "Unbind a user, or forget the person")
        .segment("openid", "The user's.", id())
        .query(
            "erase",
            "Forget the person too: codes, attempts, unionid, the names in the audit trail; sessions made before are refused.",
            erase,
        )
        .empty(StatusCode::NO_CONTENT, "Done. With `erase`: something was kept, bound or not.")
        .problems(&[BAD_REQUEST])
        .writes()
}

fn session() -> Described {
    admin(
        HttpMethod::Post,
        "/api/admin/sessions",
        "createSession",
        "Make a session for a user whom the back end has logged in",
    )
    .about("For companies that log their users in themselves; such a mini program never calls `/api/login`.")
    .body::<SessionRequest>(Required::True, json!({"openid": OPENID, "label": "138****8000"}))
    .json::<SessionBody<'_>>(StatusCode::CREATED, "The user's session.", session_example())
    .writes()
}

fn delete_customer() -> Described {
    admin(
        HttpMethod::Delete,
        "/api/admin/customers/{external_userid}",
        "eraseCustomer",
        "Forget somebody known from the chat",
    )
    .segment("external_userid", "The customer's.", id())
    .empty(StatusCode::NO_CONTENT, "Forgotten.")
    .writes()
}

fn delete_lock() -> Described {
    admin(HttpMethod::Delete, "/api/admin/locks/{external_userid}", "liftLock", "Lift a customer's lock")
        .segment("external_userid", "The customer's.", id())
        .empty(StatusCode::NO_CONTENT, "No lock, whether there was one or not.")
        .writes()
}

fn events() -> Described {
    let route = admin(HttpMethod::Get, "/api/admin/events", "listEvents", "The audit trail")
        .about("With `after` ascending, the oldest first; with `before` the newest before it, descending.")
        .query(
            "before",
            "Instead of `after`: the `next` of the page before; empty for the newest.",
            text().pattern(Some("^[0-9]*$")),
        );
    paged(route, whole_number().maximum(Some(u64::MAX)))
        .json::<EventsBody<'_>>(
            StatusCode::OK,
            "A page.",
            json!({
                "events": [{
                    "id": 7, "at": "2026-11-25T08:31:07Z", "type": "bound",
                    "openid": OPENID, "external_userid": CUSTOMER, "method": "code", "by": "customer",
                }],
                "next": null,
            }),
        )
        .asks()
}

fn stats() -> Described {
    let days =
        whole_number().minimum(Some(1_usize)).maximum(Some(DAYS_MAX)).default(Some(json!(DAYS_DEFAULT)));
    admin(HttpMethod::Get, "/api/admin/stats", "stats", "How many came how far, by day")
        .about("Days of China's time, the oldest first, every day of them; the last is today.")
        .query("days", "How many days back.", days)
        .json::<StatsBody<'_>>(StatusCode::OK, "The funnel.", stats_example())
        .problems(&[BAD_REQUEST])
        .asks()
}

fn stats_example() -> Value {
    json!({
        "at": "2026-11-25T08:31:07Z",
        "time_zone": "+08:00",
        "totals": {"bindings": 42, "codes_live": 3, "outbox": 0, "webhooks_waiting": 0, "dead_letters": 0},
        "days": [{
            "day": "2026-11-25",
            "logins": 9,
            "codes": 8,
            "messages": 7,
            "bound": {"code": 4, "link": 1, "card": 0, "unionid": 0, "window": 0, "staff": 1, "admin": 0},
            "unbound": 1,
            "conflicts": 0,
            "rejected": {"wrong": 1, "expired": 0, "locked": 0, "conflict": 0, "other_person": 0},
            "seconds_to_bind": {"count": 5, "p50": 12.5, "p95": 40.0},
        }],
    })
}

fn dead_letters() -> Described {
    let route =
        admin(HttpMethod::Get, "/api/admin/dead-letters", "listDeadLetters", "Webhooks that were given up")
            .about("Kept for 30 days.");
    paged(route, text())
        .json::<DeadLettersBody<'_>>(
            StatusCode::OK,
            "A page.",
            json!({
                "dead_letters": [{
                    "id": "evt_0000000000000007",
                    "type": "binding.created",
                    "timestamp": "2026-11-25T08:31:07Z",
                    "data": binding_example("code"),
                    "given_up_at": "2026-11-28T08:31:07Z",
                    "attempts": 21,
                    "error": "the receiver answered 500",
                }],
                "next": null,
            }),
        )
        .asks()
}

fn resend() -> Described {
    admin(HttpMethod::Post, "/api/admin/dead-letters/{id}/resend", "resendDeadLetter", "Try a webhook again")
        .segment("id", "The webhook's.", id())
        .empty(StatusCode::ACCEPTED, "It will be sent again.")
        .writes()
}

fn export() -> Described {
    let content = ContentBuilder::new()
        .schema(Some(text()))
        .example(Some(json!("{\"kfbind\":\"archive\"}\n{\"end\":0}\n")))
        .build();
    let answer = ResponseBuilder::new()
        .description(
            "A JSON object a line. Without its last line it is cut short. Keep it as you keep secrets.",
        )
        .header(
            "Cache-Control",
            described("Nothing of this is for caches.", text().enum_values(Some(["no-store"]))),
        )
        .content("application/x-ndjson", content);
    admin(HttpMethod::Get, "/api/admin/export", "export", "The whole store, one moment of it")
        .answer(StatusCode::OK, answer)
        .asks()
}

//! The employees' side, inside WeCom: their login, who is writing to them, a card to send, a code that is read out.
//!
//! An employee's client names the customer, and anybody could have written that client. So WeCom says who the employee
//! is, at every request the employee is held against `wecom.staff_userids`, and the actors ask WeCom about the customer.
//! No rule of binding is here.

use actors::{
    handles::StaffRefusal,
    ids::{BindCode, ExternalUserId, Timestamp, UserId},
    messages::{StaffBindOutcome, StaffBindRequest, StaffTicketRequest},
};
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use warp::reply::Response;

use super::{
    Shared,
    admin::BindingBody,
    body::{Chunks, Payload},
    query,
    reply::{self, ApiError, Rfc3339, WayRefusal},
    request::Head,
    session::StaffSession,
};
use crate::wecom::staff::StaffLoginError;

/// The longest login code that WeCom is asked about, in bytes.
const LOGIN_CODE_BYTES_MAX: usize = 512;
/// The longest code that is looked at, in bytes: as much as 64 characters can have, twice what any code needs.
const CODE_BYTES_MAX: usize = 256;

/// `POST /api/staff/login` `{"code"}`
#[derive(Deserialize)]
struct LoginRequest {
    code: String,
}

/// `POST /api/staff/tickets` `{"external_userid","open_kfid"?}`
#[derive(Deserialize)]
struct CardRequest {
    external_userid: String,
    open_kfid: Option<String>,
}

/// `POST /api/staff/bindings` `{"external_userid","code","open_kfid"?}`
#[derive(Deserialize)]
struct BindRequest {
    external_userid: String,
    code: String,
    open_kfid: Option<String>,
}

#[derive(Serialize)]
struct SessionBody<'s> {
    session: &'s str,
    expires_in: u64,
    userid: &'s str,
}

#[derive(Serialize)]
struct CustomerBody<'c> {
    external_userid: &'c str,
    nickname: Option<&'c str>,
    binding: Option<BoundBody<'c>>,
}

/// What an employee is shown of a binding: not the user's ids.
#[derive(Serialize)]
struct BoundBody<'c> {
    method: &'static str,
    bound_at: Rfc3339,
    label: Option<&'c str>,
}

#[derive(Serialize)]
struct CardBody<'c> {
    ticket: &'c str,
    path: &'c str,
    expires_at: Rfc3339,
}

/// `/api/staff/login`
pub(crate) async fn login(
    head: Head,
    headers: HeaderMap,
    payload: Payload<impl Chunks>,
) -> Result<Response, ApiError> {
    const NO_BODY: ApiError = ApiError::BadRequest("Send {\"code\": \"<wx.qy.login code>\"}.");
    let shared = &*head.shared;
    let context = &shared.context;
    is_on(shared)?;
    let wecom = context.staff.as_ref().ok_or(ApiError::MethodOff)?;
    if head.method != Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    let request: LoginRequest = payload.json(context.settings.body_bytes_max).await?.ok_or(NO_BODY)?;
    shared.count_login(head.peer, &headers)?;
    if !(1..=LOGIN_CODE_BYTES_MAX).contains(&request.code.len()) {
        return Err(ApiError::LoginCodeInvalid);
    }
    let _permit = shared.asking_permit()?;
    let userid = wecom.login(&request.code).await?;
    may_bind(shared, &userid)?;

    let issued_at: Timestamp = context.clock.now();
    let expires_in = context.settings.session_ttl_s;
    let staff = StaffSession { userid, issued_at };
    let session = context.session_keys.issue_staff(&staff, expires_in);
    let body = SessionBody { session: &session, expires_in, userid: staff.userid.as_str() };
    Ok(reply::json(StatusCode::OK, &body))
}

/// `/api/staff/customers/{external_userid}`
pub(crate) async fn customer(customer: String, head: Head) -> Result<Response, ApiError> {
    is_on(&head.shared)?;
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(ApiError::MethodNotAllowed("GET, HEAD"));
    }
    let staff = head.staff()?;
    let customer = query::path_segment(&customer)?;
    let shared = &*head.shared;
    may_bind(shared, &staff.userid)?;
    let customer = customer_of(&customer)?;
    let _permit = shared.asking_permit()?;
    let known = shared.context.handles.staff_customer(customer.clone()).await?;
    let body = CustomerBody {
        external_userid: customer.as_str(),
        nickname: known.nickname.as_deref(),
        binding: known.binding.as_ref().map(|binding| BoundBody {
            method: binding.method,
            bound_at: Rfc3339(binding.bound_at),
            label: binding.label.as_deref(),
        }),
    };
    Ok(reply::json(StatusCode::OK, &body))
}

/// `/api/staff/tickets`
pub(crate) async fn tickets(head: Head, payload: Payload<impl Chunks>) -> Result<Response, ApiError> {
    const NO_BODY: ApiError = ApiError::BadRequest("Send {\"external_userid\": \"<the customer's>\"}.");
    let (staff, request) = asked::<CardRequest>(&head, payload, NO_BODY).await?;
    let shared = &*head.shared;
    let account = query::account_of(request.open_kfid)?;
    may_bind(shared, &staff.userid)?;
    let customer = customer_of(&request.external_userid)?;
    let _permit = shared.asking_permit()?;
    let request = StaffTicketRequest { userid: staff.userid, customer, account };
    let issued = shared.context.handles.staff_ticket(request).await?;
    let body = CardBody {
        ticket: issued.ticket.as_str(),
        path: &issued.path,
        expires_at: Rfc3339(issued.expires_at),
    };
    Ok(reply::json(StatusCode::CREATED, &body))
}

/// `/api/staff/bindings`
pub(crate) async fn bindings(head: Head, payload: Payload<impl Chunks>) -> Result<Response, ApiError> {
    const NO_BODY: ApiError = ApiError::BadRequest(
        "Send {\"external_userid\": \"<the customer's>\", \"code\": \"<as read out>\"}.",
    );
    let (staff, request) = asked::<BindRequest>(&head, payload, NO_BODY).await?;
    let shared = &*head.shared;
    let account = query::account_of(request.open_kfid)?;
    may_bind(shared, &staff.userid)?;
    let customer = customer_of(&request.external_userid)?;
    if !(1..=CODE_BYTES_MAX).contains(&request.code.len()) {
        return Err(ApiError::Way(WayRefusal::CodeInvalid));
    }
    let _permit = shared.asking_permit()?;
    let code = BindCode::new(request.code);
    let request = StaffBindRequest { userid: staff.userid, customer, code, account };
    match shared.context.handles.staff_bind(request).await? {
        StaffBindOutcome::Bound(binding) => {
            Ok(reply::json(StatusCode::OK, &BindingBody::from(binding.as_ref())))
        }
        StaffBindOutcome::CodeInvalid => Err(ApiError::Way(WayRefusal::CodeInvalid)),
        StaffBindOutcome::Conflict => Err(ApiError::Conflict),
        StaffBindOutcome::AlreadyBound => Err(ApiError::AlreadyBound),
        StaffBindOutcome::OtherPerson => Err(ApiError::Way(WayRefusal::OtherPerson)),
        StaffBindOutcome::TooMany { retry_after_s } => Err(ApiError::TooManyRequests { retry_after_s }),
    }
}

/// Who asks for what, of a route that takes a `POST`.
async fn asked<T: serde::de::DeserializeOwned>(
    head: &Head,
    payload: Payload<impl Chunks>,
    no_body: ApiError,
) -> Result<(StaffSession, T), ApiError> {
    is_on(&head.shared)?;
    if head.method != Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    let staff = head.staff()?;
    let request = payload.json(head.shared.context.settings.body_bytes_max).await?.ok_or(no_body)?;
    Ok((staff, request))
}

fn is_on(shared: &Shared) -> Result<(), ApiError> {
    if shared.context.settings.ways.staff { Ok(()) } else { Err(ApiError::MethodOff) }
}

/// Asked at every request: whoever was taken off the list is out at once, whatever their session says.
fn may_bind(shared: &Shared, userid: &UserId) -> Result<(), ApiError> {
    let listed = &shared.context.settings.staff_userids;
    if listed.is_empty() || listed.contains(userid) {
        Ok(())
    } else {
        Err(ApiError::Way(WayRefusal::NotStaff))
    }
}

/// What can't be anybody's id is nobody's: WeCom is not asked.
fn customer_of(id: &str) -> Result<ExternalUserId, ApiError> {
    if query::is_id(id) {
        Ok(ExternalUserId::new(id))
    } else {
        Err(ApiError::Way(WayRefusal::CustomerUnknown))
    }
}

impl From<StaffLoginError> for ApiError {
    fn from(error: StaffLoginError) -> Self {
        match error {
            StaffLoginError::CodeInvalid => Self::LoginCodeInvalid,
            StaffLoginError::NotOurs => Self::Way(WayRefusal::NotStaff),
            StaffLoginError::Unavailable => Self::WecomUnavailable,
        }
    }
}

impl From<StaffRefusal> for ApiError {
    fn from(refusal: StaffRefusal) -> Self {
        match refusal {
            StaffRefusal::Unknown => Self::Way(WayRefusal::CustomerUnknown),
            StaffRefusal::Unaskable => Self::WecomUnavailable,
            StaffRefusal::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

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
use utoipa::ToSchema;
use warp::reply::Response;

use super::{
    Shared,
    admin::BindingBody,
    body::{Chunks, Payload},
    openapi::shapes::Method as BindingMethod,
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

/// What `wx.qy.login` gave the employee's client.
#[derive(Deserialize, ToSchema)]
#[schema(as = StaffLogin)]
pub(super) struct LoginRequest {
    /// Good for one login.
    #[schema(min_length = 1, max_length = 512)]
    code: String,
}

/// For whom the card is.
#[derive(Deserialize, ToSchema)]
#[schema(as = CardRequest)]
pub(super) struct CardRequest {
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    external_userid: String,
    /// The account of the chat, if it is known.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    open_kfid: Option<String>,
}

/// A code that a customer read out.
#[derive(Deserialize, ToSchema)]
#[schema(as = StaffBind)]
pub(super) struct BindRequest {
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    external_userid: String,
    /// As it was read out.
    #[schema(min_length = 1, max_length = 256)]
    code: String,
    /// The account of the chat, if it is known.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    open_kfid: Option<String>,
}

/// A session of an employee, to be sent as `Authorization: Bearer`.
#[derive(Serialize, ToSchema)]
#[schema(as = StaffSession)]
pub(super) struct SessionBody<'s> {
    session: &'s str,
    /// Seconds.
    expires_in: u64,
    userid: &'s str,
}

/// Who is writing to the employee.
#[derive(Serialize, ToSchema)]
#[schema(as = Customer)]
pub(super) struct CustomerBody<'c> {
    external_userid: &'c str,
    #[schema(required = true)]
    nickname: Option<&'c str>,
    #[schema(required = true)]
    binding: Option<BoundBody<'c>>,
}

/// What an employee is shown of a binding: not the user's ids.
#[derive(Serialize, ToSchema)]
#[schema(as = CustomerBinding)]
pub(super) struct BoundBody<'c> {
    #[schema(value_type = BindingMethod)]
    method: &'static str,
    bound_at: Rfc3339,
    /// How the back end named the user's account.
    #[schema(required = true)]
    label: Option<&'c str>,
}

/// A card to send.
#[derive(Serialize, ToSchema)]
#[schema(as = Card)]
pub(super) struct CardBody<'c> {
    ticket: &'c str,
    /// The mini program's page, with the ticket.
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

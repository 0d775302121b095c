//! Two further ways to bind, as the mini program's page meets them: the ticket of a card, and the announcement that its
//! user is about to open the chat.
//!
//! Whom a ticket binds and when an intent counts is the registry's; here are the shapes of the contract's section 7.

use actors::{
    ids::Ticket,
    messages::{IntentOutcome, TicketRefusal, TicketRequest},
};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::reply::Response;

use super::{
    binding,
    body::{Chunks, Payload},
    query::{self, Plus},
    reply::{self, ApiError, Rfc3339, WayRefusal},
    request::Head,
};

/// The longest ticket, in characters, as the contract has it.
pub(super) const TICKET_CHARS_MAX: usize = 32;

/// The card's ticket.
#[derive(Deserialize, ToSchema)]
#[schema(as = TicketRequest)]
pub(super) struct RedeemRequest {
    #[schema(min_length = 1, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    ticket: String,
}

/// Says nothing.
#[derive(Deserialize, ToSchema)]
#[schema(as = IntentRequest)]
pub(super) struct IntentRequest {}

/// Who would be bound.
#[derive(Serialize, ToSchema)]
#[schema(as = Ticket)]
pub(super) struct TicketBody<'v> {
    /// The customer's, as far as WeCom has told it.
    #[schema(required = true)]
    nickname: Option<&'v str>,
    expires_at: Rfc3339,
}

/// How long the announcement stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Intent)]
pub(super) struct IntentBody {
    expires_at: Rfc3339,
}

/// `/api/binding/ticket`
pub(crate) async fn ticket(head: Head, payload: Payload<impl Chunks>) -> Result<Response, ApiError> {
    let ways = head.shared.context.settings.ways;
    if !(ways.card || ways.staff) {
        return Err(ApiError::MethodOff);
    }
    match head.method {
        Method::GET | Method::HEAD => look(head).await,
        Method::POST => redeem(head, payload).await,
        _ => Err(ApiError::MethodNotAllowed("GET, HEAD, POST")),
    }
}

async fn look(head: Head) -> Result<Response, ApiError> {
    const NO_TICKET: ApiError = ApiError::BadRequest("Send the card's ticket as ?ticket=.");
    let user = head.user()?;
    let [ticket] = query::values(&head.query, ["ticket"], Plus::Space)?;
    let ticket = ticket_of(&ticket.ok_or(NO_TICKET)?)?;
    let _permit = head.shared.asking_permit()?;
    let request = TicketRequest { openid: user.openid, unionid: user.unionid, ticket };
    let view = head.shared.context.handles.look_at_ticket(request).await??;
    let body = TicketBody { nickname: view.nickname.as_deref(), expires_at: Rfc3339(view.expires_at) };
    Ok(reply::json(StatusCode::OK, &body))
}

async fn redeem(head: Head, payload: Payload<impl Chunks>) -> Result<Response, ApiError> {
    const NO_BODY: ApiError = ApiError::BadRequest("Send {\"ticket\": \"<the card's>\"}.");
    let user = head.user()?;
    let shared = &*head.shared;
    let request: RedeemRequest =
        payload.json(shared.context.settings.body_bytes_max).await?.ok_or(NO_BODY)?;
    let ticket = ticket_of(&request.ticket)?;
    let _permit = shared.asking_permit()?;
    let request = TicketRequest { openid: user.openid, unionid: user.unionid, ticket };
    let view = shared.context.handles.redeem_ticket(request).await??;
    Ok(binding::shown(shared, &view))
}

/// `/api/binding/intent`
pub(crate) async fn intent(head: Head, payload: Payload<impl Chunks>) -> Result<Response, ApiError> {
    let shared = &*head.shared;
    let settings = &shared.context.settings;
    if !settings.ways.window {
        return Err(ApiError::MethodOff);
    }
    if head.method != Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    let user = head.user()?;
    let _: Option<IntentRequest> = payload.json(settings.body_bytes_max).await?;
    match shared.context.handles.open_intent(user.openid, user.unionid).await? {
        IntentOutcome::Open { expires_at } => {
            Ok(reply::json(StatusCode::ACCEPTED, &IntentBody { expires_at: Rfc3339(expires_at) }))
        }
        IntentOutcome::AlreadyBound => Err(ApiError::AlreadyBound),
        IntentOutcome::NoLink => Err(ApiError::WecomUnavailable),
    }
}

/// What can't be a ticket is refused as one that isn't: there is nothing to learn by trying.
fn ticket_of(text: &str) -> Result<Ticket, ApiError> {
    let in_charset = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=TICKET_CHARS_MAX).contains(&text.len()) && text.bytes().all(in_charset) {
        Ok(Ticket::new(text))
    } else {
        Err(ApiError::Way(WayRefusal::TicketInvalid))
    }
}

impl From<TicketRefusal> for ApiError {
    fn from(refusal: TicketRefusal) -> Self {
        match refusal {
            TicketRefusal::Invalid => Self::Way(WayRefusal::TicketInvalid),
            TicketRefusal::AlreadyBound => Self::AlreadyBound,
            TicketRefusal::Conflict => Self::Conflict,
            TicketRefusal::OtherPerson => Self::Way(WayRefusal::OtherPerson),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_up_to_32_letters_digits_hyphens_and_underscores() {
        for text in ["a", "Az09_-", &"x".repeat(32)] {
            assert_eq!(ticket_of(text).map(|ticket| ticket.as_str().to_owned()).as_deref(), Ok(text));
        }
        for text in ["", &"x".repeat(33), "a b", "a+b", "a/b", "a=", "票", "a\0", "a\n", "%41", "ａ"] {
            assert_eq!(ticket_of(text), Err(ApiError::Way(WayRefusal::TicketInvalid)), "{text:?}");
        }
    }
}

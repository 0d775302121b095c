//! What the business back end says of people: who is logged in, who is bound, who is to be forgotten.
//!
//! The back end logs its users in itself, so its word stands for WeChat's. Nothing here is decided.

use actors::{
    ids::{ExternalUserId, OpenId, UnionId},
    messages::{AdminBindOutcome, AdminBindRequest, Introduction, Person},
};
use http::{Method, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;
use warp::reply::Response;

use super::{BindingBody, authorize};
use crate::http::{
    body::{Chunks, Payload},
    login::SessionBody,
    query::{self, Plus},
    reply::{self, ApiError},
    request::Head,
    session::UserSession,
};

/// The longest label, in characters: it stands in a sentence of the chat.
const LABEL_CHARS_MAX: usize = 32;

/// Whom the back end has logged in.
#[derive(Deserialize, ToSchema)]
#[schema(as = SessionRequest)]
pub(in crate::http) struct SessionRequest {
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    openid: String,
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    unionid: Option<String>,
    /// How the chat names the account: one line, without what could reorder it.
    #[schema(
        max_length = 32,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]*$"
    )]
    label: Option<String>,
}

/// Whom to bind to.
#[derive(Deserialize, ToSchema)]
#[schema(as = AdminBind)]
pub(in crate::http) struct BindRequest {
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    external_userid: String,
    /// The account of the chat, if it is known.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    open_kfid: Option<String>,
}

/// `/api/admin/sessions`
pub(crate) async fn sessions(head: Head, payload: Payload<impl Chunks>) -> Result<Response, ApiError> {
    const NO_BODY: ApiError = ApiError::BadRequest("Send {\"openid\": \"<the user's>\"}.");
    authorize(&head, &[Method::POST], "POST").await?;
    let context = &head.shared.context;
    let request: SessionRequest = payload.json(context.settings.body_bytes_max).await?.ok_or(NO_BODY)?;
    let openid = openid_of(&request.openid)?;
    let unionid = match request.unionid {
        Some(id) if !query::is_id(&id) => {
            return Err(ApiError::BadRequest(
                "unionid is an id of WeChat's; leave it out if it isn't known.",
            ));
        }
        id => id.map(UnionId::new),
    };
    let label = request.label.map(label_of).transpose()?;
    let introduction = Introduction { openid: openid.clone(), unionid: unionid.clone(), label };
    context.handles.introduce(introduction).await?;
    context.handles.count_login();
    let issued_at = context.handles.session_from(&openid, context.clock.now());
    let expires_in = context.settings.session_ttl_s;
    let session = context.session_keys.issue(&UserSession { openid, unionid, issued_at }, expires_in);
    Ok(reply::json(StatusCode::CREATED, &SessionBody { session: &session, expires_in }))
}

/// `/api/admin/bindings/{openid}`
pub(crate) async fn binding(
    openid: String,
    head: Head,
    payload: Payload<impl Chunks>,
) -> Result<Response, ApiError> {
    authorize(&head, &[Method::PUT, Method::DELETE], "PUT, DELETE").await?;
    if head.method == Method::PUT {
        bind(&openid, &head, payload).await
    } else {
        unbind(&openid, &head).await
    }
}

async fn bind(openid: &str, head: &Head, payload: Payload<impl Chunks>) -> Result<Response, ApiError> {
    const NO_BODY: ApiError = ApiError::BadRequest("Send {\"external_userid\": \"<the customer's>\"}.");
    let context = &head.shared.context;
    let request: BindRequest = payload.json(context.settings.body_bytes_max).await?.ok_or(NO_BODY)?;
    let openid = openid_of(&query::path_segment(openid)?)?;
    if !query::is_id(&request.external_userid) {
        return Err(ApiError::BadRequest("external_userid is a customer's id."));
    }
    let account = query::account_of(request.open_kfid)?;
    let customer = ExternalUserId::new(request.external_userid);
    match context.handles.bind_by_admin(AdminBindRequest { openid, customer, account }).await? {
        AdminBindOutcome::Bound(binding) => {
            Ok(reply::json(StatusCode::OK, &BindingBody::from(binding.as_ref())))
        }
        AdminBindOutcome::Conflict => Err(ApiError::Conflict),
    }
}

async fn unbind(openid: &str, head: &Head) -> Result<Response, ApiError> {
    let openid = OpenId::new(query::path_segment(openid)?);
    let handles = &head.shared.context.handles;
    let [erase] = query::values(&head.query, ["erase"], Plus::Space)?;
    let was_there = match erase.as_deref() {
        None | Some("false") => handles.unbind_by_admin(openid).await?,
        Some("true") => handles.erase(Person::User(openid)).await?,
        Some(_) => return Err(ApiError::BadRequest("erase is true or false.")),
    };
    gone(was_there)
}

/// `/api/admin/customers/{external_userid}`
pub(crate) async fn customer(customer: String, head: Head) -> Result<Response, ApiError> {
    authorize(&head, &[Method::DELETE], "DELETE").await?;
    let customer = ExternalUserId::new(query::path_segment(&customer)?);
    gone(head.shared.context.handles.erase(Person::Customer(customer)).await?)
}

fn gone(was_there: bool) -> Result<Response, ApiError> {
    if was_there { Ok(reply::empty(StatusCode::NO_CONTENT)) } else { Err(ApiError::NotFound) }
}

fn openid_of(text: &str) -> Result<OpenId, ApiError> {
    const BAD: ApiError = ApiError::BadRequest("openid is a user's id: 1 to 128 visible ASCII characters.");
    if query::is_id(text) { Ok(OpenId::new(text)) } else { Err(BAD) }
}

/// It stands in sentences that customers read, so it is one line without anything that could reorder them.
fn label_of(label: String) -> Result<String, ApiError> {
    const BAD: ApiError =
        ApiError::BadRequest("label has at most 32 characters, without line breaks and control characters.");
    // Marks of direction and what can't be seen; but for the joiner that emoji are made with.
    let is_hidden = |c: char| {
        matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    let is_plain = |c: char| !c.is_control() && !is_hidden(c);
    if label.chars().count() <= LABEL_CHARS_MAX && label.chars().all(is_plain) { Ok(label) } else { Err(BAD) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_short_line() {
        for label in ["", "138****8000", "老张的账号", &"张".repeat(32)] {
            assert_eq!(label_of(label.to_owned()).as_deref(), Ok(label));
        }
        for label in [&"张".repeat(33), "a\nb", "a\u{202e}b", "a\u{200f}b", "\u{feff}", "\0"] {
            assert!(label_of((*label).to_owned()).is_err(), "{label:?}");
        }
    }
}

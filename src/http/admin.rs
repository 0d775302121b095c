//! The business back end's side: who is bound to whom, and putting an end to it.
//!
//! Without `admin.api_key` none of these addresses exists. Nothing here is for users or customers.

use std::convert::Infallible;

use actors::{
    archive::ArchiveHead,
    ids::{ExternalUserId, OpenId, UnionId},
    messages::{BindingInfo, BindingQuery},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;
use warp::reply::{Reply as _, Response};

use crate::archive::ArchiveLines;

use super::{
    openapi::shapes::Method as BindingMethod,
    query::{self, Plus},
    reply::{self, ApiError, Rfc3339},
    request::{Head, Right},
};

pub(crate) mod people;
pub(crate) mod trail;

/// How many entries a page has at most, and if nothing is said.
pub(super) const LIMIT_MAX: usize = 1000;
pub(super) const LIMIT_DEFAULT: usize = 100;

/// How many chunks of an export are read ahead of a slow reader; each is about a megabyte.
const EXPORT_CHUNKS_AHEAD_MAX: usize = 1;
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// A page of bindings, ordered by openid.
#[derive(Serialize, ToSchema)]
#[schema(as = Bindings)]
pub(super) struct PageBody<'p> {
    bindings: Vec<BindingBody<'p>>,
    /// What to give as `after` for the next page; null where there is none.
    #[schema(required = true)]
    next: Option<&'p str>,
}

/// A binding as the business back end and employees are shown it.
#[derive(Serialize, ToSchema)]
#[schema(as = Binding)]
pub(crate) struct BindingBody<'p> {
    openid: &'p str,
    external_userid: &'p str,
    #[schema(required = true)]
    unionid: Option<&'p str>,
    /// The account of the chat, where it is known.
    #[schema(required = true)]
    open_kfid: Option<&'p str>,
    #[schema(value_type = BindingMethod)]
    method: &'static str,
    bound_at: Rfc3339,
    /// The customer's name, once WeCom has told it.
    #[schema(required = true)]
    nickname: Option<&'p str>,
    /// How the back end named the user's account.
    #[schema(required = true)]
    label: Option<&'p str>,
}

impl<'p> From<&'p BindingInfo> for BindingBody<'p> {
    fn from(info: &'p BindingInfo) -> Self {
        Self {
            openid: info.openid.as_str(),
            external_userid: info.customer.as_str(),
            unionid: info.unionid.as_ref().map(UnionId::as_str),
            open_kfid: info.account.as_ref().map(actors::ids::OpenKfId::as_str),
            method: info.method,
            bound_at: Rfc3339(info.bound_at),
            nickname: info.nickname.as_deref(),
            label: info.label.as_deref(),
        }
    }
}

/// `/api/admin/bindings`
pub(crate) async fn bindings(head: Head) -> Result<Response, ApiError> {
    authorize(&head, &[Method::GET, Method::HEAD], "GET, HEAD").await?;
    let names = ["openid", "external_userid", "unionid", "nickname", "limit", "after"];
    let [openid, customer, unionid, nickname, limit, after] = query::values(&head.query, names, Plus::Space)?;
    if [&openid, &customer, &unionid, &nickname].into_iter().flatten().any(|value| value.is_empty()) {
        // Taken for "all", an empty field of a form would show everybody.
        return Err(ApiError::BadRequest("A query parameter is empty; leave it out instead."));
    }
    let query = BindingQuery {
        openid: openid.map(OpenId::new),
        customer: customer.map(ExternalUserId::new),
        unionid: unionid.map(UnionId::new),
        nickname: nickname.map(Into::into),
        after: after.filter(|after| !after.is_empty()).map(OpenId::new),
        limit: limit.as_deref().map_or(Ok(LIMIT_DEFAULT), limit_of)?,
    };
    let page = head.shared.context.handles.bindings(query).await?;
    let body = PageBody {
        bindings: page.bindings.iter().map(BindingBody::from).collect(),
        next: page.next.as_ref().map(OpenId::as_str),
    };
    Ok(reply::json(StatusCode::OK, &body))
}

/// `/api/admin/locks/{external_userid}`
pub(crate) async fn lock(customer: String, head: Head) -> Result<Response, ApiError> {
    authorize(&head, &[Method::DELETE], "DELETE").await?;
    let customer = ExternalUserId::new(query::path_segment(&customer)?);
    head.shared.context.handles.lift_lock(customer).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `/api/admin/export`
pub(crate) async fn export(head: Head) -> Result<Response, ApiError> {
    authorize(&head, &[Method::GET, Method::HEAD], "GET, HEAD").await?;
    if head.method == Method::HEAD {
        // Nobody would read on.
        return Ok(ndjson(Response::default()));
    }
    let context = &head.shared.context;
    let export = context.handles.begin_export().await?;
    let about = ArchiveHead { schema: export.schema(), corp_id: context.settings.corp_id.clone() };
    let first = ArchiveLines::head(&about, context.clock.now());
    let (lines, mut sent) = mpsc::channel::<Bytes>(EXPORT_CHUNKS_AHEAD_MAX);
    let reading = async move {
        let mut written = ArchiveLines::default();
        let mut next = first;
        while lines.send(next.into()).await.is_ok() {
            match export.next().await {
                Ok(records) if records.is_empty() => {
                    let _ = lines.send(written.end().into()).await;
                    return;
                }
                Ok(records) => next = written.records(&records),
                // The file has no last line, by which its reader knows.
                Err(error) => return tracing::warn!(%error, "an export was given up"),
            }
        }
    };
    tokio::spawn(reading);
    let body = stream::poll_fn(move |cx| sent.poll_recv(cx)).map(Ok::<_, Infallible>);
    Ok(ndjson(warp::reply::stream(body).into_response()))
}

fn ndjson(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_TYPE, NDJSON);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 404 without a key to hold, then 405, then 401.
async fn authorize(head: &Head, methods: &[Method], allow: &'static str) -> Result<(), ApiError> {
    if head.shared.admin_key.is_none() {
        return Err(ApiError::NotFound);
    }
    if !methods.contains(&head.method) {
        return Err(ApiError::MethodNotAllowed(allow));
    }
    match head.right().await {
        Right::Admin => Ok(()),
        Right::WrongKey | Right::None => Err(ApiError::AdminKeyInvalid),
    }
}

fn limit_of(text: &str) -> Result<usize, ApiError> {
    const BAD: ApiError = ApiError::BadRequest("limit is a whole number from 1 to 1000.");
    query::whole_number(text, 1..=LIMIT_MAX).ok_or(BAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_whole_number_from_1_to_1000() {
        assert_eq!(limit_of("1"), Ok(1));
        assert_eq!(limit_of("1000"), Ok(1000));
        for text in ["0", "1001", "", "-1", "+1", "1.0", "99999999999999999999999"] {
            assert!(limit_of(text).is_err(), "{text}");
        }
    }
}

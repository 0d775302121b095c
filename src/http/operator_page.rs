//! The operators' page `/admin`: its files, and what a browser may do with them.
//!
//! The files hold no secret and decide nothing: the page asks the admin routes with the key that its reader types, so
//! what it shows and does is judged there. Without `admin.api_key` there is no page either.

use http::{HeaderValue, Method, StatusCode, header};
use warp::{Filter, Rejection, path::FullPath, reply::Response};

use super::{
    reply::{self, ApiError, finish},
    request::{Head, head},
};

const PAGE: &str = include_str!("operator_page/index.html");
/// What the page loads, by its name below `/admin/`.
static FILES: [(&str, HeaderValue, &str); 13] = [
    ("page.css", CSS, include_str!("operator_page/page.css")),
    ("sections.css", CSS, include_str!("operator_page/sections.css")),
    ("page.js", JS, include_str!("operator_page/page.js")),
    ("api.js", JS, include_str!("operator_page/api.js")),
    ("dom.js", JS, include_str!("operator_page/dom.js")),
    ("funnel.js", JS, include_str!("operator_page/funnel.js")),
    ("letters.js", JS, include_str!("operator_page/letters.js")),
    ("metrics.js", JS, include_str!("operator_page/metrics.js")),
    ("plots.js", JS, include_str!("operator_page/plots.js")),
    ("search.js", JS, include_str!("operator_page/search.js")),
    ("state.js", JS, include_str!("operator_page/state.js")),
    ("texts.js", JS, include_str!("operator_page/texts.js")),
    ("trail.js", JS, include_str!("operator_page/trail.js")),
];

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const JS: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");

/// Everything from here alone, nothing inline, and no text ever becomes HTML or script: whatever customers call
/// themselves is shown on a page that holds the admin key.
const SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);

/// `/admin` and all below it, in one branch: what waits in a connection is as large as all branches together.
pub(crate) fn routes() -> impl Filter<Extract = (Response,), Error = Rejection> + Copy + Send + Sync + 'static
{
    let page = warp::path("admin").and(warp::path::full()).and(head());
    page.map(|path: FullPath, head| finish(at(path.as_str(), &head)))
}

/// The names of the files below `/admin/`.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, ..)| *name)
}

fn at(path: &str, head: &Head) -> Result<Response, ApiError> {
    match path.trim_start_matches('/').strip_prefix("admin").unwrap_or_default() {
        "" => answer(head, &HTML, PAGE),
        "/" => {
            answer(head, &HTML, PAGE)?;
            // From there the page would look for its files one folder too deep.
            let mut response = reply::empty(StatusCode::PERMANENT_REDIRECT);
            response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("../admin"));
            Ok(response)
        }
        below => {
            let found = FILES.iter().find(|(name, ..)| below.strip_prefix('/') == Some(*name));
            let (_, kind, text) = found.ok_or(ApiError::NotFound)?;
            answer(head, kind, text)
        }
    }
}

fn answer(head: &Head, kind: &HeaderValue, text: &'static str) -> Result<Response, ApiError> {
    if head.shared.admin_key.is_none() {
        return Err(ApiError::NotFound);
    }
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(ApiError::MethodNotAllowed("GET, HEAD"));
    }
    let mut response = reply::bytes_of(StatusCode::OK, kind.clone(), text);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, SECURITY_POLICY);
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // After an update the files must fit each other.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

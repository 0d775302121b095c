//! `/openapi.json`: the routes, described for developers and their tools (OpenAPI 3.1).
//!
//! The schemas are derived from the bodies and the errors taken from [`ApiError`], so that they can't say anything else
//! than the code. Which route takes and answers what stands in the files of the folder; that none is forgotten is held
//! by `tests/it/openapi.rs`, which compares the document with the routes and with every answer of its neighbours.

use std::{collections::BTreeMap, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use utoipa::openapi::{
    Components, Info, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem, Paths, Server, Tag,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    tag::TagBuilder,
};
use utoipa::{PartialSchema as _, openapi::InfoBuilder};
use warp::reply::Response;

use super::{
    reply::{self, ApiError, Problem},
    request::Head,
};

mod admin;
mod employees;
mod operation;
mod operators;
pub(crate) mod shapes;
mod users;
mod wecom;

/// Kept by clients, but asked for each time: it changes with the program alone.
const CACHE_CONTROL: &str = "no-cache";
const ABOUT: &str = include_str!("openapi/about.md");

/// The document as it is sent.
static DOCUMENT: LazyLock<Document> = LazyLock::new(Document::new);

struct Document {
    text: String,
    etag: String,
}

impl Document {
    fn new() -> Self {
        // Keys of its maps are texts, so it can't fail.
        let text = described().to_json().unwrap_or_default();
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(&text));
        Self { text, etag: format!("\"{digest}\"") }
    }
}

/// The document's text.
#[must_use]
pub fn document() -> &'static str {
    &DOCUMENT.text
}

/// `/openapi.json`
pub(crate) async fn openapi(head: Head, known: Option<HeaderValue>) -> Result<Response, ApiError> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(ApiError::MethodNotAllowed("GET, HEAD"));
    }
    let known = known.as_ref().and_then(|known| known.to_str().ok()).unwrap_or_default();
    let is_known = known
        .split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == DOCUMENT.etag);
    let mut response = if is_known {
        reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        reply::bytes_of(StatusCode::OK, reply::JSON, bytes::Bytes::from_static(DOCUMENT.text.as_bytes()))
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL));
    if let Ok(etag) = HeaderValue::from_str(&DOCUMENT.etag) {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}

/// All operations, in the order of the document's tags.
fn operations() -> Vec<operation::Described> {
    [
        users::operations(),
        employees::operations(),
        wecom::operations(),
        admin::operations(),
        operators::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn described() -> OpenApi {
    let mut components = Components::new();
    let mut paths = Paths::new();
    let mut items: BTreeMap<&str, PathItem> = BTreeMap::new();
    for described in operations() {
        let (path, method) = (described.path, described.method.clone());
        components.schemas.extend(described.schemas.clone());
        let (operation, responses) = described.finished();
        components.responses.extend(responses.into_iter().map(|(name, response)| (name, response.into())));
        items.entry(path).or_default().merge_operations(PathItem::new(method, operation));
    }
    for (path, item) in items {
        paths.paths.insert(path.to_owned(), item);
    }
    components.schemas.insert("Problem".to_owned(), Problem::schema());
    for (name, about) in SECURITY_SCHEMES {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(*about)).build();
        components.add_security_scheme(*name, SecurityScheme::Http(bearer));
    }
    OpenApiBuilder::new()
        .info(info())
        .servers(Some([Server::new("/")]))
        .tags(Some(tags()))
        .paths(paths)
        .components(Some(components))
        .build()
}

const SECURITY_SCHEMES: &[(&str, &str)] = &[
    (operation::USER_SESSION, "A session of `POST /api/login` or `POST /api/admin/sessions`."),
    (operation::STAFF_SESSION, "A session of `POST /api/staff/login`."),
    (operation::ADMIN_KEY, "The operator's `admin.api_key`. A wrong one is answered a second later."),
];

fn info() -> Info {
    InfoBuilder::new()
        .title("kfbind")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(
            LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build(),
        ))
        .build()
}

fn tags() -> Vec<Tag> {
    [
        (users::TAG, "The mini program's users."),
        (employees::TAG, "Employees, inside WeCom."),
        (wecom::TAG, "WeCom's callbacks."),
        (admin::TAG, "The business back end and operators, with the admin key. Without `admin.api_key` none of it exists: 404."),
        (operators::TAG, "Operators, their machines, developers."),
    ]
    .into_iter()
    .map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build())
    .collect()
}

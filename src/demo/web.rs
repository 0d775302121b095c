//! The two-phone page: its files, the events that it shows, what its buttons do, and the way through to the service.
//!
//! One address for everything, so that the page needs no permission from anybody and the service may come back on
//! another port. On loopback, for one person; not a way to put kfbind behind a proxy.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use reqwest::Client;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::broadcast, task::JoinSet};
use warp::{Filter, Rejection, Reply, filters::BoxedFilter, reply::Response, sse};

use super::{
    stage::{CUSTOMERS_MAX, EMPLOYEE, Stage, unionid_of},
    wire::Event,
};
use crate::outgoing::{self, read_limited};

/// The page, as it is kept in the source.
const PAGE_HTML: &str = include_str!("page/index.html");
const PAGE_CSS: &str = include_str!("page/demo.css");
/// Its scripts, by their names in the address.
const PAGE_SCRIPTS: [(&str, &str); 6] = [
    ("demo.js", include_str!("page/demo.js")),
    ("dom.js", include_str!("page/dom.js")),
    ("drills.js", include_str!("page/drills.js")),
    ("people.js", include_str!("page/people.js")),
    ("sums.js", include_str!("page/sums.js")),
    ("wire.js", include_str!("page/wire.js")),
];
/// What the left phone shows where the build could not compile the mini program.
const NO_NODE_HTML: &str = include_str!("page/no-node.html");
/// The mini program's page, compiled by the build script; both empty where that could not be done.
const PHONE_HTML: &str = include_str!(concat!(env!("OUT_DIR"), "/phone/page.html"));
const PHONE_JS: &str = include_str!(concat!(env!("OUT_DIR"), "/phone/page.js"));
/// Scripts and everything else from here alone; the component framework sets styles on elements.
const SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

/// After a failed accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// The longest body that a page sends, and that the service answers with, in bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longer than the longest long poll.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(40);
/// The longest outage that a button may ask for, in seconds.
const OUTAGE_MAX_S: u64 = 600;
/// The longest name and text, in bytes; what WeCom takes is less.
const NAME_BYTES_MAX: usize = 60;
const TEXT_BYTES_MAX: usize = 4096;
/// What the service's answers pass on to the page.
const PASSED_ON: [header::HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::RETRY_AFTER,
    header::CACHE_CONTROL,
    header::CONTENT_SECURITY_POLICY,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
    header::REFERRER_POLICY,
    header::LOCATION,
];

/// Listens on loopback; the address, and what serves the page there until it is dropped.
pub(super) async fn serve(
    stage: Arc<Stage>,
    port: u16,
) -> anyhow::Result<(SocketAddr, impl Future<Output = ()>)> {
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("can't listen on 127.0.0.1:{port}: choose another port with --port"))?;
    let addr = listener.local_addr().context("can't tell the address of the demo")?;
    let http = outgoing::client(SERVICE_TIMEOUT, None)?;
    let routes = files()
        .or(config_beside(&stage))
        .unify()
        .or(events(&stage))
        .unify()
        .or(controls(&stage))
        .unify()
        .or(service(&stage, http))
        .unify();
    let serving = async move {
        let mut connections = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            };
            while connections.try_join_next().is_some() {}
            let routes = TowerToHyperService::new(warp::service(routes.clone()));
            // A page that goes away in the middle of something is no news.
            connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), routes));
        }
    };
    Ok((addr, serving))
}

fn files() -> BoxedFilter<(Response,)> {
    let (phone_html, phone_js) =
        if PHONE_JS.is_empty() { (NO_NODE_HTML, "") } else { (PHONE_HTML, PHONE_JS) };
    let html = "text/html; charset=utf-8";
    let js = "text/javascript; charset=utf-8";
    let page = warp::path::end().map(move || file(html, PAGE_HTML));
    let style = warp::path!("demo.css").map(|| file("text/css; charset=utf-8", PAGE_CSS));
    let script = warp::path!(String).and_then(async move |name: String| {
        let script = PAGE_SCRIPTS.iter().find(|(known, _)| *known == name);
        script.map(|(_, text)| file(js, text)).ok_or_else(warp::reject)
    });
    let phone = warp::path!("phone" / "page.html").map(move || file(html, phone_html));
    let phone_script = warp::path!("phone" / "page.js").map(move || file(js, phone_js));
    let files = page.or(style).unify().or(phone).unify().or(phone_script).unify().or(script).unify();
    warp::get().and(files).boxed()
}

/// `kfbind serve` for whoever wants to try it, against the demo's WeCom; all of it made up.
fn config_beside(stage: &Arc<Stage>) -> BoxedFilter<(Response,)> {
    let stage = Arc::clone(stage);
    warp::path!("demo" / "config.toml")
        .and(warp::get())
        .map(move || stage.config_beside().to_owned().into_response())
        .boxed()
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SECURITY_POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

// ---- What the page sees ----

fn events(stage: &Arc<Stage>) -> BoxedFilter<(Response,)> {
    let stage = Arc::clone(stage);
    warp::path!("demo" / "events")
        .and(warp::get())
        .and(sse::last_event_id::<u64>())
        .map(move |after: Option<u64>| {
            sse::reply(sse::keep_alive().stream(told(&stage, after.unwrap_or(0)))).into_response()
        })
        .boxed()
}

/// The events after this one, past and to come. Ends where the page was too slow: it comes back by itself and reads
/// on from where it was.
fn told(stage: &Stage, after: u64) -> impl Stream<Item = Result<sse::Event, warp::Error>> + Send + use<> {
    let (past, live) = stage.wire.watch(after);
    let live = stream::unfold(live, |mut live: broadcast::Receiver<Event>| async move {
        let event = live.recv().await.ok()?;
        Some((event, live))
    });
    stream::iter(past)
        .chain(live)
        .map(|event| Ok(sse::Event::default().id(event.number.to_string()).data(&*event.json)))
}

// ---- What the page does ----

#[derive(Deserialize)]
struct Person {
    customer: String,
}

#[derive(Deserialize)]
struct Said {
    customer: String,
    text: String,
}

#[derive(Deserialize)]
struct Tapped {
    customer: String,
    menu_id: String,
}

#[derive(Deserialize)]
struct Opened {
    customer: String,
    url: String,
}

#[derive(Deserialize)]
struct CardSent {
    customer: String,
    page: String,
    title: String,
}

#[derive(Deserialize)]
struct Outage {
    seconds: u64,
}

#[derive(Deserialize)]
struct Nothing {}

/// What a control answers: a value, or nothing; or what is wrong with the request.
type Done = Result<Option<Value>, String>;

fn controls(stage: &Arc<Stage>) -> BoxedFilter<(Response,)> {
    control(stage, "login", |stage, Person { customer }: Person| {
        player(&stage, &customer)?;
        let sim = &stage.sim;
        Ok(Some(json!({"code": sim.wx_login_code(&sim.openid_of(&customer), unionid_of(&customer))})))
    })
    .or(control(stage, "open", |stage, Opened { customer, url }: Opened| {
        // Whether WeCom tells of the entry is its own business; the chat opens all the same.
        player(&stage, &customer)?.opens(&url);
        Ok(None)
    }))
    .unify()
    .or(control(stage, "staff-login", |stage, Nothing {}: Nothing| {
        Ok(Some(json!({"code": stage.sim.staff_login_code(EMPLOYEE)})))
    }))
    .unify()
    .or(control(stage, "staff-customer", |stage, Person { customer }: Person| {
        let customer = player(&stage, &customer)?;
        Ok(Some(json!({"external_userid": customer.external_userid()})))
    }))
    .unify()
    .or(control(stage, "staff-card", |stage, CardSent { customer, page, title }: CardSent| {
        if page.len() + title.len() > TEXT_BYTES_MAX {
            return Err(format!("`page` and `title` must be at most {TEXT_BYTES_MAX} bytes together"));
        }
        let customer = player(&stage, &customer)?;
        stage.sim.servicer_sends_card(&customer, &stage.sim.account(0), EMPLOYEE, &page, &title);
        Ok(None)
    }))
    .unify()
    .or(control(stage, "say", |stage, Said { customer, text }: Said| {
        if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(format!("`text` must be 1 to {TEXT_BYTES_MAX} bytes"));
        }
        player(&stage, &customer)?.says(&stage.sim.account(0), &text);
        Ok(None)
    }))
    .unify()
    .or(control(stage, "tap", |stage, Tapped { customer, menu_id }: Tapped| {
        let tapped = player(&stage, &customer)?.taps(&menu_id);
        tapped.map(|_| None).ok_or_else(|| "`menu_id` is on no menu of this customer".to_owned())
    }))
    .unify()
    .or(control(stage, "wecom-down", |stage, Outage { seconds }: Outage| {
        if !(1..=OUTAGE_MAX_S).contains(&seconds) {
            return Err(format!("`seconds` must be 1 to {OUTAGE_MAX_S}"));
        }
        stage.outage(Duration::from_secs(seconds));
        Ok(None)
    }))
    .unify()
    .or(control(stage, "lose-callback", |stage, Nothing {}: Nothing| {
        stage.sim.drop_next_callbacks(1);
        stage.wire.tell("loss-armed", json!({}));
        Ok(None)
    }))
    .unify()
    .or(control(stage, "restart", |stage, Nothing {}: Nothing| {
        tokio::spawn(async move {
            if let Err(error) = stage.restart().await {
                tracing::error!(error = format!("{error:#}"), "the service did not come back");
                stage.wire.tell("service", json!({"state": "failed", "why": format!("{error:#}")}));
            }
        });
        Ok(None)
    }))
    .unify()
    .boxed()
}

fn player(stage: &Stage, name: &str) -> Result<crate::sim::Customer, String> {
    if name.trim().is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!("`customer` must be a name of 1 to {NAME_BYTES_MAX} bytes"));
    }
    stage.customer(name).ok_or_else(|| format!("there are {CUSTOMERS_MAX} customers already"))
}

/// `POST /demo/NAME` with a JSON body.
fn control<B: DeserializeOwned + Send + 'static>(
    stage: &Arc<Stage>,
    name: &'static str,
    act: impl Fn(Arc<Stage>, B) -> Done + Clone + Send + Sync + 'static,
) -> BoxedFilter<(Response,)> {
    let stage = Arc::clone(stage);
    warp::path("demo")
        .and(warp::path(name))
        .and(warp::path::end())
        .and(warp::post())
        .and(body())
        .map(move |body: Bytes| {
            let done = serde_json::from_slice(&body)
                .map_err(|error| format!("the body is not what this control wants: {error}"))
                .and_then(|body| act(Arc::clone(&stage), body));
            match done {
                Ok(None) => StatusCode::NO_CONTENT.into_response(),
                Ok(Some(value)) => warp::reply::json(&value).into_response(),
                Err(error) => {
                    let answer = warp::reply::json(&json!({"error": error}));
                    warp::reply::with_status(answer, StatusCode::BAD_REQUEST).into_response()
                }
            }
        })
        .boxed()
}

/// A body of at most [`BODY_BYTES_MAX`].
fn body() -> impl Filter<Extract = (Bytes,), Error = Rejection> + Clone {
    warp::body::stream().and_then(read)
}

async fn read<B: Buf>(body: impl Stream<Item = Result<B, warp::Error>>) -> Result<Bytes, Rejection> {
    let mut body = pin!(body);
    let mut read = BytesMut::new();
    while let Some(part) = body.next().await {
        let mut part = part.map_err(|_| warp::reject())?;
        let length = part.remaining();
        if read.len() + length > BODY_BYTES_MAX {
            return Err(warp::reject());
        }
        read.extend_from_slice(&part.copy_to_bytes(length));
    }
    Ok(read.freeze())
}

// ---- The way through to the service ----

fn service(stage: &Arc<Stage>, http: Client) -> BoxedFilter<(Response,)> {
    let stage = Arc::clone(stage);
    warp::method()
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(body())
        .then(move |method, path: warp::path::FullPath, query: String, headers, body| {
            let (at, http) = (stage.service(), http.clone());
            async move {
                let path = if query.is_empty() {
                    path.as_str().to_owned()
                } else {
                    format!("{}?{query}", path.as_str())
                };
                let Some(at) = at else { return StatusCode::BAD_GATEWAY.into_response() };
                match pass_on(&http, &format!("http://{at}{path}"), method, &headers, body).await {
                    Ok(response) => response,
                    // It went away in the middle: what a phone sees of a restart.
                    Err(_) => StatusCode::BAD_GATEWAY.into_response(),
                }
            }
        })
        .boxed()
}

async fn pass_on(
    http: &Client,
    url: &str,
    method: Method,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, outgoing::ExchangeError> {
    let mut request = http.request(method, url);
    for name in [header::AUTHORIZATION, header::CONTENT_TYPE] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    if !body.is_empty() {
        request = request.body(body);
    }
    let answer = request.send().await?;
    let (status, passed) = (answer.status(), answer.headers().clone());
    let mut response = read_limited(answer, BODY_BYTES_MAX).await?.into_response();
    *response.status_mut() = status;
    response.headers_mut().remove(header::CONTENT_TYPE);
    for name in PASSED_ON {
        if let Some(value) = passed.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}

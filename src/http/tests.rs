//! The routes as a plain service, without sockets; and the server on loopback, where sockets are the point.
//!
//! The actors are real, on a store of their own; WeCom can't be reached, unless a test brings one that can.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use actors::{
    RegistryOptions,
    ids::{ExternalUserId, OpenKfId, WelcomeCode},
    messages::IssueOutcome,
    policy::{OnConflict, Policy, SyncPolicy},
    ports::{
        BoxFuture, CallError, KfAccount, Page, Profile, PullRequest, Receiver, Reply, ServiceState, WeCom,
    },
    system::{System, SystemOptions},
    tally::Tally,
    testing::{ManualClock, ScriptedWeCom, SeededEntropy},
};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::{
    outgoing,
    wechat::WechatConfig,
    wecom::{client::WecomConfig, envelope::EnvelopeKey},
};

mod binding_routes;
mod callbacks;
mod edge;
mod hostile;
mod operator_page;
mod staff;
mod ways;

const NOW_S: u64 = 1_700_000_000;
const ADMIN_KEY: &str = "admin-key";
const SESSION_TTL_S: u64 = 30 * 24 * 3_600;
const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const DEADLINE: Duration = Duration::from_secs(20);

/// A WeCom that can't be reached.
struct NoWecom;

fn unreachable<T: Send + 'static>() -> BoxFuture<'static, Result<T, CallError>> {
    Box::pin(std::future::ready(Err(CallError::Unreachable("a test".to_owned()))))
}

impl WeCom for NoWecom {
    fn pull(&self, _: PullRequest) -> BoxFuture<'_, Result<Page, CallError>> {
        unreachable()
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<KfAccount>, CallError>> {
        unreachable()
    }

    fn contact_way(&self, _: OpenKfId, _: String) -> BoxFuture<'_, Result<String, CallError>> {
        unreachable()
    }

    fn send(&self, _: Reply) -> BoxFuture<'_, Result<(), CallError>> {
        unreachable()
    }

    fn service_state(
        &self,
        _: OpenKfId,
        _: ExternalUserId,
    ) -> BoxFuture<'_, Result<ServiceState, CallError>> {
        unreachable()
    }

    fn welcome(&self, _: WelcomeCode, _: Reply) -> BoxFuture<'_, Result<(), CallError>> {
        unreachable()
    }

    fn transfer(&self, _: OpenKfId, _: ExternalUserId, _: Receiver) -> BoxFuture<'_, Result<(), CallError>> {
        unreachable()
    }

    fn receiving(&self, _: OpenKfId) -> BoxFuture<'_, Result<Vec<UserId>, CallError>> {
        unreachable()
    }

    fn profiles(&self, _: Vec<ExternalUserId>, _: bool) -> BoxFuture<'_, Result<Vec<Profile>, CallError>> {
        unreachable()
    }
}

async fn actors(options: &Options, clock: Arc<ManualClock>) -> (System, TempDir) {
    let store = tempfile::tempdir().unwrap();
    let policy = Policy { ways: options.ways, on_conflict: options.on_conflict, ..actors::testing::policy() };
    let registry = RegistryOptions {
        path: store.path().to_owned(),
        corp_id: "ww1".to_owned(),
        policy,
        clock,
        entropy: Arc::new(SeededEntropy::new(1)),
        tally: Tally::default(),
    };
    let sync_policy = SyncPolicy {
        accounts: vec![OpenKfId::new("wk1")],
        reconcile_every_ms: 300_000,
        own_link: options.own_link.map(str::to_owned),
        learns: options.ways.link || options.ways.unionid,
    };
    let wecom: Arc<dyn WeCom> = match &options.wecom {
        Some(wecom) => Arc::clone(wecom) as _,
        None => Arc::new(NoWecom),
    };
    let mini_program = Arc::new(ScriptedWeCom::new(&[]));
    let system = System::start(SystemOptions { registry, sync_policy, wecom, mini_program, back_end: None });
    (system.await.unwrap(), store)
}

/// What a test wants otherwise than usual.
struct Options {
    admin_api_key: Option<&'static str>,
    logins_per_ip: u32,
    wechat: Option<SocketAddr>,
    callback_keys: Option<CallbackKeys>,
    body_bytes_max: usize,
    own_link: Option<&'static str>,
    wecom: Option<Arc<ScriptedWeCom>>,
    ways: Ways,
    on_conflict: OnConflict,
    staff_userids: &'static [&'static str],
    staff: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            admin_api_key: Some(ADMIN_KEY),
            logins_per_ip: 600,
            wechat: None,
            callback_keys: None,
            body_bytes_max: 1_024,
            own_link: Some("https://work.weixin.qq.com/kfid/kfc1"),
            wecom: None,
            ways: Ways::default(),
            on_conflict: OnConflict::Reject,
            staff_userids: &[],
            staff: None,
        }
    }
}

fn context(options: &Options, handles: Handles, clock: Arc<ManualClock>) -> Context {
    let wechat = WechatConfig {
        api_base: options
            .wechat
            .map_or("http://127.0.0.1:1".to_owned(), |address| format!("http://{address}")),
        app_id: "wx1".to_owned(),
        secret: "secret".to_owned().into(),
    };
    let key = || EnvelopeKey::parse("c3j27xdcg2lMLzgeonyLGcTJFiz4soCmZ9cpvnpKnA1").unwrap();
    let callback_keys = options.callback_keys.clone();
    Context {
        handles,
        session_keys: SessionKeys::new([7; 32]),
        callback_keys: callback_keys.unwrap_or_else(|| CallbackKeys::new("ww1", "token", key())),
        wechat: WechatClient::new(wechat, outgoing::client(Duration::from_secs(5), None).unwrap()),
        staff: options.staff.map(|address| staff_client(address, Arc::clone(&clock))),
        clock,
        forwarder: Forwarder::default(),
        certificates: None,
        settings: HttpSettings {
            corp_id: "ww1".to_owned(),
            admin_api_key: options.admin_api_key.map(|key| key.to_owned().into()),
            session_ttl_s: 3_600,
            body_bytes_max: options.body_bytes_max,
            logins_per_ip: Rate { count: options.logins_per_ip, window_s: 60 },
            ways: options.ways,
            staff_userids: options.staff_userids.iter().copied().map(UserId::new).collect(),
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        },
        wecom_health: Arc::new(WecomHealth::default),
    }
}

fn staff_client(address: SocketAddr, clock: Arc<ManualClock>) -> StaffClient {
    let config = WecomConfig {
        api_base: format!("http://{address}"),
        corp_id: "ww1".to_owned(),
        secret: "staff-secret".to_owned().into(),
        app_id: "wx1".to_owned(),
    };
    StaffClient::new(config, outgoing::client(Duration::from_secs(5), None).unwrap(), clock, Tally::default())
}

/// The routes and what they share.
struct Site {
    shared: Arc<Shared>,
    clock: Arc<ManualClock>,
    stop: watch::Sender<bool>,
    system: System,
    wecom: Option<Arc<ScriptedWeCom>>,
    _store: TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// `status code`, as in the table of the contract.
    fn summary(&self) -> String {
        let code = serde_json::from_slice::<Value>(&self.body).ok();
        let code = code.as_ref().and_then(|body| body.get("code")).and_then(Value::as_str);
        format!("{} {}", self.status, code.unwrap_or("-"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Site {
    async fn new(options: &Options) -> Self {
        let clock = Arc::new(ManualClock::at(NOW_S));
        let (system, store) = actors(options, Arc::clone(&clock)).await;
        let (stop, stopping) = watch::channel(false);
        let context = context(options, system.handles(), Arc::clone(&clock));
        let shared = Arc::new(Shared::new(context, stopping));
        let wecom = options.wecom.clone();
        let site = Self { shared, clock, stop, system, wecom, _store: store };
        if options.own_link.is_some() {
            within(site.link_known()).await;
        }
        site
    }

    /// Waits until codes can be made: the link is kept a moment after the start.
    async fn link_known(&self) {
        let handles = self.system.handles();
        let somebody = || handles.issue(actors::ids::OpenId::new("somebody"), None, false);
        while somebody().await.unwrap() == IssueOutcome::NoLink {
            tokio::task::yield_now().await;
        }
    }

    /// As [`Site::ask`], with a session.
    async fn ask_as_user(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask(method, path, &[&format!("authorization: {}", self.session())], body).await
    }

    fn session(&self) -> String {
        self.session_of("o1", None)
    }

    /// What a user's client sends as `Authorization`; good for days.
    fn session_of(&self, openid: &str, unionid: Option<&str>) -> String {
        let user = UserSession {
            openid: actors::ids::OpenId::new(openid),
            unionid: unionid.map(actors::ids::UnionId::new),
            issued_at: actors::ids::Timestamp(NOW_S),
        };
        format!("Bearer {}", self.shared.context.session_keys.issue(&user, SESSION_TTL_S))
    }

    /// Headers are `name: value` lines.
    async fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for line in headers {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let seat = Arc::new(seats::Seat::new(&Arc::default()));
        let (shared, side) = (Arc::clone(&self.shared), side::Side::All);
        let arrival = request::Arrival { shared, side, peer: PEER, seat };
        let request = request.extension(arrival).body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let service = TowerToHyperService::new(warp::service(routes()));
        let (parts, body) = service.call(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

#[tokio::test]
async fn requests_are_judged_in_the_order_of_the_contract() {
    let site = Site::new(&Options::default()).await;
    // Wrong keys wait; the actors take no part in this.
    tokio::time::pause();
    let session = format!("authorization: {}", site.session());
    let right_key = "authorization: Bearer admin-key";
    let text = "content-type: text/plain";
    let large = "x".repeat(1_025);
    let cases: &[(&str, &str, &[&str], &str, &str)] = &[
        // 404 before all else.
        ("POST", "/", &[text], &large, "404 not-found"),
        ("PUT", "/api/nothing", &[], "", "404 not-found"),
        ("GET", "/api/binding/token/x", &[], "", "404 not-found"),
        ("GET", "/api/admin/nothing", &[right_key], "", "404 not-found"),
        ("GET", "/api/binding/ticket?ticket=1", &[], "", "404 method-off"),
        ("POST", "/api/binding/ticket", &[], "{}", "404 method-off"),
        ("POST", "/api/binding/intent", &[&session], "", "404 method-off"),
        ("POST", "/api/staff/login", &[], "", "404 method-off"),
        ("GET", "/api/staff/customers/wm1", &[], "", "404 method-off"),
        ("POST", "/api/staff/tickets", &[], "", "404 method-off"),
        ("POST", "/api/staff/bindings", &[], "", "404 method-off"),
        // 405 before 401 and the body.
        ("POST", "/api/binding", &[text], &large, "405 method-not-allowed"),
        ("GET", "/api/binding/token", &[], "", "405 method-not-allowed"),
        ("GET", "/api/login", &[], "", "405 method-not-allowed"),
        ("OPTIONS", "/api/login", &[], "", "405 method-not-allowed"),
        ("PUT", "/api/wechat-work/message", &[], "", "405 method-not-allowed"),
        ("POST", "/healthz", &[], "", "405 method-not-allowed"),
        ("POST", "/readyz", &[], "", "405 method-not-allowed"),
        ("DELETE", "/metrics", &[], "", "405 method-not-allowed"),
        ("POST", "/api/admin/bindings", &[], &large, "405 method-not-allowed"),
        ("GET", "/api/admin/bindings/o1", &[], "", "405 method-not-allowed"),
        ("GET", "/api/admin/locks/wm1", &[], "", "405 method-not-allowed"),
        // 401 before the body and the query.
        ("POST", "/api/binding/token", &[text], &large, "401 session-invalid"),
        ("GET", "/api/binding?wait=x", &[], "", "401 session-invalid"),
        ("DELETE", "/api/binding", &["authorization: Bearer x"], "", "401 session-invalid"),
        ("GET", "/api/binding", &["authorization: Basic eDp5"], "", "401 session-invalid"),
        ("GET", "/api/binding", &[right_key], "", "401 session-invalid"),
        ("GET", "/api/admin/bindings?limit=0", &[], "", "401 admin-key-invalid"),
        ("GET", "/api/admin/bindings", &[&session], "", "401 admin-key-invalid"),
        ("DELETE", "/api/admin/bindings/%zz", &["authorization: Bearer no"], "", "401 admin-key-invalid"),
        // 413 before 415 before 400.
        ("POST", "/api/binding/token", &[&session, text], &large, "413 too-large"),
        ("POST", "/api/login", &[text], &large, "413 too-large"),
        ("POST", "/api/binding/token", &[&session, text], "[", "415 unsupported-media-type"),
        ("POST", "/api/login", &[text], "[", "415 unsupported-media-type"),
        ("POST", "/api/binding/token", &[&session], "[]", "400 bad-request"),
        ("POST", "/api/binding/token", &[&session], "{\"new\":\"true\"}", "400 bad-request"),
        ("POST", "/api/login", &[], "", "400 bad-request"),
        ("POST", "/api/login", &[], "{\"code\":7}", "400 bad-request"),
        ("GET", "/api/binding?wait=31&since=0", &[&session], "", "400 bad-request"),
        ("GET", "/api/binding?wait=1&wait=1&since=0", &[&session], "", "400 bad-request"),
        ("GET", "/api/binding?since=-1", &[&session], "", "400 bad-request"),
        ("GET", "/api/admin/bindings?limit=0", &[right_key], "", "400 bad-request"),
        ("GET", "/api/admin/bindings?openid=", &[right_key], "", "400 bad-request"),
        ("GET", "/api/admin/bindings?openid=a&openid=a", &[right_key], "", "400 bad-request"),
        ("DELETE", "/api/admin/bindings/%zz", &[right_key], "", "400 bad-request"),
        ("DELETE", "/api/admin/bindings/o1?erase=yes", &[right_key], "", "400 bad-request"),
        ("PUT", "/api/admin/bindings/%zz", &[right_key], "{}", "400 bad-request"),
        ("PUT", "/api/admin/bindings/o1", &[right_key, text], "[", "415 unsupported-media-type"),
        ("POST", "/api/admin/sessions", &[right_key], "{\"openid\":\"\"}", "400 bad-request"),
        ("GET", "/api/admin/events?after=1&before=2", &[right_key], "", "400 bad-request"),
        ("GET", "/api/admin/stats?days=401", &[right_key], "", "400 bad-request"),
        ("DELETE", "/api/admin/locks/%ff", &["authorization: bEARER  admin-key"], "", "400 bad-request"),
        ("POST", "/api/login", &[], "{\"code\":\"\"}", "401 login-code-invalid"),
    ];
    for (method, path, headers, body, expected) in cases {
        let answer = site.ask(method, path, headers, body).await;
        assert_eq!(answer.summary(), *expected, "{method} {path} {headers:?}");
    }
}

#[tokio::test]
async fn an_error_is_a_problem_with_all_its_members_and_headers() {
    let site = Site::new(&Options::default()).await;
    let answer = site.ask("PATCH", "/api/binding", &[], "").await;
    let problem = answer.json();
    for member in ["type", "title", "code", "detail"] {
        assert!(problem.get(member).is_some_and(Value::is_string), "{member}");
    }
    assert_eq!(problem.get("status"), Some(&Value::from(405)));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("allow"), Some("GET, HEAD, DELETE"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let unauthorized = site.ask("GET", "/api/binding", &[], "").await;
    assert_eq!(unauthorized.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn without_an_admin_key_there_are_no_admin_routes() {
    for admin_api_key in [None, Some("")] {
        let site = Site::new(&Options { admin_api_key, ..Options::default() }).await;
        for (method, path) in [
            ("GET", "/api/admin/bindings"),
            ("PUT", "/api/admin/bindings/o1"),
            ("DELETE", "/api/admin/locks/w"),
        ] {
            let answer = site.ask(method, path, &["authorization: Bearer "], "").await;
            assert_eq!(answer.summary(), "404 not-found", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_wrong_admin_key_waits_and_the_right_one_never() {
    let site = Site::new(&Options::default()).await;
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let right =
        site.ask("GET", "/api/admin/bindings?limit=0", &["authorization: Bearer admin-key"], "").await;
    assert_eq!((right.status, begun.elapsed()), (400, Duration::ZERO));
    for wrong in
        ["authorization: Bearer admin-kez", "authorization: Bearer admin-key2", "authorization: Bearer a"]
    {
        let begun = tokio::time::Instant::now();
        let answer = site.ask("GET", "/api/admin/bindings", &[wrong], "").await;
        assert_eq!(answer.status, 401);
        assert!(begun.elapsed() >= Duration::from_millis(500), "{wrong}");
    }
}

#[tokio::test]
async fn alive_answers_get_and_head() {
    let site = Site::new(&Options::default()).await;
    for method in ["GET", "HEAD"] {
        let answer = site.ask(method, "/healthz", &[], "").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    }
}

/// A WeChat that knows the code `good`; the others are errcodes.
async fn wechat() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = warp::path!("sns" / "jscode2session").and(warp::query::<Vec<(String, String)>>()).map(
        |query: Vec<(String, String)>| {
            let code = query.iter().find(|(name, _)| name == "js_code").map_or("", |(_, code)| code);
            if code == "good" {
                r#"{"openid":"o-1","session_key":"k","unionid":"u-1"}"#.to_owned()
            } else {
                format!(r#"{{"errcode":{code},"errmsg":"no"}}"#)
            }
        },
    );
    tokio::spawn(warp::serve(answer).incoming(listener).run());
    address
}

#[tokio::test]
async fn a_login_gives_a_session_of_the_user_that_wechat_names() {
    let site = Site::new(&Options { wechat: Some(wechat().await), ..Options::default() }).await;
    let answer = site.ask("POST", "/api/login", &[], "{\"code\":\"good\"}").await;
    assert_eq!((answer.status, answer.json().get("expires_in")), (200, Some(&Value::from(3_600))));
    let body = answer.json();
    let session = body.get("session").and_then(Value::as_str).unwrap();
    let keys = &site.shared.context.session_keys;
    let user = keys.verify(session, actors::ids::Timestamp(NOW_S + 3_599)).unwrap();
    assert_eq!(user.openid.as_str(), "o-1");
    assert_eq!(user.unionid.unwrap().as_str(), "u-1");
    assert_eq!(keys.verify(session, actors::ids::Timestamp(NOW_S + 3_600)), None);
    assert!(!String::from_utf8_lossy(&answer.body).contains("session_key"));
}

#[tokio::test]
async fn a_login_that_wechat_refuses_says_why_in_our_words() {
    let site = Site::new(&Options { wechat: Some(wechat().await), ..Options::default() }).await;
    for (errcode, expected) in [
        (40029, "401 login-code-invalid"),
        (40163, "401 login-code-invalid"),
        (40226, "403 login-refused"),
        (45011, "429 too-many-requests"),
        (-1, "502 wechat-unavailable"),
        (40013, "502 wechat-unavailable"),
    ] {
        let answer = site.ask("POST", "/api/login", &[], &format!("{{\"code\":\"{errcode}\"}}")).await;
        assert_eq!(answer.summary(), expected);
        assert_eq!(answer.header("retry-after").is_some(), answer.status == 429);
    }
    let nobody = Site::new(&Options::default()).await;
    let answer = nobody.ask("POST", "/api/login", &[], "{\"code\":\"good\"}").await;
    assert_eq!(answer.summary(), "502 wechat-unavailable");
}

#[tokio::test]
async fn logins_are_limited_by_the_address_behind_the_proxy() {
    let site =
        Site::new(&Options { logins_per_ip: 1, wechat: Some(wechat().await), ..Options::default() }).await;
    let login = async |forwarded: &str| {
        let header = format!("x-forwarded-for: {forwarded}");
        site.ask("POST", "/api/login", &[&header], "{\"code\":\"good\"}").await
    };
    assert_eq!(login("198.51.100.1").await.status, 200);
    let refused = login("203.0.113.9, 198.51.100.1").await;
    assert_eq!(
        (refused.summary().as_str(), refused.header("retry-after")),
        ("429 too-many-requests", Some("60"))
    );
    assert_eq!(login("198.51.100.2").await.status, 200);
    // What can't be read as a login is not counted as one.
    assert_eq!(site.ask("POST", "/api/login", &[], "{}").await.status, 400);
    assert_eq!(site.ask("POST", "/api/login", &[], "{\"code\":\"good\"}").await.status, 200);
}

/// The server on a port of its own.
struct Running {
    address: SocketAddr,
    site: Site,
    serving: JoinHandle<()>,
}

async fn running(grace: Duration) -> Running {
    running_with(16_384, grace).await
}

async fn running_with(connections_max: usize, grace: Duration) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let site = Site::new(&Options::default()).await;
    let context = context(&Options::default(), site.system.handles(), Arc::clone(&site.clock));
    let stopping = site.stop.subscribe();
    let doors = Doors { main: listener, ops: None };
    let serving = tokio::spawn(server::serve_at_most(connections_max, doors, context, stopping, grace));
    Running { address, site, serving }
}

impl Running {
    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn stopped(self) {
        self.site.stop.send(true).unwrap();
        within(self.serving).await.unwrap();
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(DEADLINE, future).await else { panic!("not done in {DEADLINE:?}") };
    value
}

async fn to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads one answer without a body of more than one packet.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.ends_with(end) {
        let count = within(stream.read(&mut buffer)).await.unwrap();
        assert_ne!(count, 0, "closed after {text}");
        text.push_str(std::str::from_utf8(buffer.get(..count).unwrap()).unwrap());
    }
    text
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own() {
    let server = running(DEADLINE / 2).await;
    let mut ids = std::collections::HashSet::new();
    for path in ["/healthz", "/nothing", "/api/binding"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = to_end(&mut server.send(request.as_bytes()).await).await;
        let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap().to_owned();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert!(ids.insert(id));
    }
    server.stopped().await;
}

#[tokio::test]
async fn a_head_request_gets_no_body() {
    let server = running(DEADLINE / 2).await;
    let mut stream = server.send(b"HEAD /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let answer = to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    server.stopped().await;
}

#[tokio::test]
async fn a_large_body_is_refused_with_an_answer_that_arrives() {
    let server = running(DEADLINE / 2).await;
    for (path, status) in [("/api/login", 413), ("/api/binding/token", 401), ("/nothing", 404)] {
        let mut request =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n").into_bytes();
        request.resize(request.len() + 500_000, b'x');
        let mut stream = server.send(&request).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let answers = to_end(&mut stream).await;
        assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")), "{answers}");
        assert!(answers.contains("HTTP/1.1 200 OK"), "the connection goes on: {answers}");
    }
    server.stopped().await;
}

#[tokio::test]
async fn chunked_bodies_are_read_and_counted() {
    let server = running(DEADLINE / 2).await;
    let ask = async |chunk: &str| {
        let request = format!(
            "POST /api/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
             {:x}\r\n{chunk}\r\n0\r\n\r\n",
            chunk.len()
        );
        let answer = to_end(&mut server.send(request.as_bytes()).await).await;
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(ask("{\"code\":\"\"}").await, "401");
    assert_eq!(ask("{\"code\"}").await, "400");
    assert_eq!(ask(&"x".repeat(1_025)).await, "413");
    server.stopped().await;
}

#[tokio::test]
async fn idle_and_half_sent_connections_do_not_hold_up_the_stop() {
    let server = running(DEADLINE / 2).await;
    let mut fresh = server.send(b"").await;
    let mut half_sent = server.send(b"GET /healthz HTTP/1.1\r\nhost").await;
    let mut idle = server.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    until(&mut idle, "}").await;
    let address = server.address;
    // Less than the grace and the header time-out together would take.
    let stopped = tokio::time::timeout(DEADLINE / 4, server.stopped()).await;
    assert!(stopped.is_ok(), "the stop waited for connections without a request");
    assert!(TcpStream::connect(address).await.is_err());
    for stream in [&mut fresh, &mut half_sent, &mut idle] {
        assert_eq!(to_end(stream).await, "");
    }
}

#[tokio::test]
async fn a_body_that_never_comes_ends_with_the_grace() {
    let server = running(Duration::from_millis(10)).await;
    let mut stream = server.send(b"").await;
    let head = b"POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head).await.unwrap();
    until(&mut stream, "100 Continue\r\n\r\n").await;
    server.stopped().await;
    assert_eq!(to_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_head_that_is_never_finished_is_not_waited_for() {
    let server = running(DEADLINE / 2).await;
    let mut half_sent = server.send(b"GET /healthz HTTP/1.1\r\nhost").await;
    // From here the time-outs pass as soon as all there is to do is to wait.
    tokio::time::pause();
    to_end(&mut half_sent).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_not_kept() {
    const REQUESTS: usize = 4_000;
    let server = running(DEADLINE / 2).await;
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(REQUESTS);
    let mut deaf = server.send(&request).await;
    tokio::time::pause();
    tokio::time::sleep(Duration::from_mins(10)).await;
    let mut answers = Vec::new();
    // It may end with a reset: there were requests that nobody read.
    drop(within(deaf.read_to_end(&mut answers)).await);
    let answered = String::from_utf8_lossy(&answers).matches("HTTP/1.1 200").count();
    assert!((1..REQUESTS).contains(&answered), "{answered} answers");
}

#[tokio::test]
async fn a_panic_becomes_a_500() {
    let panicking = std::future::poll_fn(|_| panic!("on purpose"));
    assert_eq!(server::guarded(panicking).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

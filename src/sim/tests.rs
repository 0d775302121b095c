//! The simulator asked by raw HTTP, without any of the service's own client: if it were lenient, or wrong in the way
//! our client is wrong, every test of the service would prove less than it seems to.

mod callbacks;
mod programs;
mod pulling;
mod sending;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::AbortHandle};

use super::*;

/// More than anything here takes.
const SOON: Duration = Duration::from_secs(20);

/// A simulator with a clock to turn, two accounts of ours and one that isn't.
struct Rig {
    sim: Sim,
    options: SimOptions,
    now_ms: Arc<AtomicU64>,
}

impl Rig {
    async fn start(mode: CallbackMode) -> Self {
        let now_ms = Arc::new(AtomicU64::new(DEFAULT_NOW_MS));
        let reading = Arc::clone(&now_ms);
        let account = |open_kfid: &str, api_managed| SimAccount {
            open_kfid: open_kfid.into(),
            name: open_kfid.into(),
            api_managed,
        };
        let options = SimOptions {
            clock: Arc::new(move || reading.load(Ordering::SeqCst)),
            accounts: vec![account("wkONE", true), account("wkTWO", true), account("wkNATIVE", false)],
            callback_mode: mode,
            callback_retry_wait: Duration::ZERO,
            ..SimOptions::default()
        };
        let sim = Sim::start(options.clone()).await.unwrap();
        Self { sim, options, now_ms }
    }

    async fn quiet() -> Self {
        Self::start(CallbackMode::Manual).await
    }

    fn pass(&self, seconds: u64) {
        self.now_ms.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    async fn token(&self) -> String {
        let SimOptions { corp_id, secret, .. } = &self.options;
        let answer = self.get(&format!("/cgi-bin/gettoken?corpid={corp_id}&corpsecret={secret}")).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.raw("GET", path, None).await.unwrap().body).unwrap()
    }

    /// A call with a good access token.
    async fn post(&self, api: Api, body: Value) -> Value {
        let path = format!("{}?access_token={}", api.path(), self.token().await);
        serde_json::from_str(&self.raw("POST", &path, Some(body.to_string())).await.unwrap().body).unwrap()
    }

    async fn errcode(&self, api: Api, body: Value) -> i64 {
        self.post(api, body).await["errcode"].as_i64().unwrap()
    }

    async fn raw(&self, method: &str, path: &str, body: Option<String>) -> Result<Raw, hyper::Error> {
        let (mut sender, connection) = self.connect().await;
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "sim")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .unwrap();
        let response = sender.send_request(request).await;
        let response = match response {
            Ok(response) => response,
            Err(error) => {
                connection.abort();
                return Err(error);
            }
        };
        let status = response.status().as_u16();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let (date, content_type) = (header("date"), header("content-type"));
        let body = response.into_body().collect().await?.to_bytes();
        connection.abort();
        Ok(Raw { status, date, content_type, body: String::from_utf8(body.to_vec()).unwrap() })
    }

    async fn connect(&self) -> (hyper::client::conn::http1::SendRequest<Full<Bytes>>, AbortHandle) {
        let stream = TcpStream::connect(self.sim.addr).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        (sender, tokio::spawn(connection).abort_handle())
    }
}

struct Raw {
    status: u16,
    date: String,
    content_type: String,
    body: String,
}

#[tokio::test]
async fn a_token_is_needed_for_every_call_and_ends_after_two_hours() {
    let rig = Rig::quiet().await;
    let token = rig.token().await;
    assert_eq!(rig.token().await, token, "asked again, gettoken gives the same");
    let list = async |token: &str| {
        let path = format!("{}?access_token={token}", Api::AccountList.path());
        let answer = rig.raw("POST", &path, Some("{}".into())).await.unwrap().body;
        serde_json::from_str::<Value>(&answer).unwrap()["errcode"].clone()
    };
    assert_eq!(list(&token).await, 0);
    assert_eq!(list("").await, 41001);
    assert_eq!(list("nonsense").await, 40014);
    rig.pass(7199);
    assert_eq!(list(&token).await, 0);
    rig.pass(1);
    assert_eq!(list(&token).await, 42001);
    let fresh = rig.token().await;
    assert_ne!(fresh, token);
    assert_eq!(list(&fresh).await, 0);
    rig.sim.stale_access_tokens(95012);
    assert_eq!(list(&fresh).await, 95012);
    assert_eq!(list(&rig.token().await).await, 0);
    rig.sim.revoke_access_tokens();
    assert_eq!(list(&fresh).await, 40014);
}

#[tokio::test]
async fn wrong_secrets_are_refused_and_then_banned_for_an_hour() {
    let rig = Rig::quiet().await;
    let ask = async |corp_id: &str, secret: &str| {
        rig.get(&format!("/cgi-bin/gettoken?corpid={corp_id}&corpsecret={secret}")).await["errcode"].clone()
    };
    let SimOptions { corp_id, secret, wrong_secrets_max, .. } = rig.options.clone();
    assert_eq!(ask("wwNOBODY", &secret).await, 40013);
    for _ in 0..wrong_secrets_max {
        assert_eq!(ask(&corp_id, "wrong").await, 40001);
    }
    assert_eq!(ask(&corp_id, &secret).await, 45009);
    rig.pass(3600);
    assert_eq!(ask(&corp_id, &secret).await, 0);
}

#[tokio::test]
async fn more_than_five_calls_of_one_interface_at_once_are_refused() {
    let rig = Rig::quiet().await;
    let token = rig.token().await;
    rig.sim.switch(|switches| {
        switches.latency_ms.insert(Api::AccountList, 300);
    });
    let path = format!("{}?access_token={token}", Api::AccountList.path());
    let calls = (0..8).map(|_| rig.raw("POST", &path, Some("{}".into())));
    let answers = futures_util::future::join_all(calls).await;
    let refused = answers.iter().filter(|answer| answer.as_ref().unwrap().body.contains("45033")).count();
    assert_eq!(rig.sim.max_parallel(Api::AccountList), 8);
    assert_eq!(refused, 3);
}

#[tokio::test]
async fn the_address_that_is_not_listed_is_named() {
    let rig = Rig::quiet().await;
    rig.sim.switch(|switches| switches.untrusted_ip = Some("203.0.113.7".into()));
    let answer = rig.post(Api::AccountList, json!({})).await;
    assert_eq!(answer["errcode"], 60020);
    assert!(answer["errmsg"].as_str().unwrap().contains("from ip: 203.0.113.7,"));
}

#[tokio::test]
async fn the_method_and_the_body_are_looked_at() {
    let rig = Rig::quiet().await;
    let path = format!("{}?access_token={}", Api::AccountList.path(), rig.token().await);
    let get = rig.raw("GET", &path, None).await.unwrap();
    assert!(get.body.contains("43002"), "{}", get.body);
    let broken = rig.raw("POST", &path, Some("{".into())).await.unwrap();
    assert!(broken.body.contains("47001"), "{}", broken.body);
    assert_eq!(rig.errcode(Api::SyncMsg, json!({"open_kfid": 1})).await, 40058);
}

#[tokio::test]
async fn the_date_is_the_simulators() {
    let rig = Rig::quiet().await;
    let answer = rig.raw("GET", "/cgi-bin/gettoken", None).await.unwrap();
    assert_eq!(answer.date, "Sun, 15 Jun 2025 12:00:00 GMT");
}

#[tokio::test]
async fn accounts_are_listed_in_pages_and_told_apart() {
    let rig = Rig::quiet().await;
    let page = rig.post(Api::AccountList, json!({"offset": 1, "limit": 1})).await;
    assert_eq!(page["account_list"][0]["open_kfid"], "wkTWO");
    assert_eq!(page["account_list"][0]["manage_privilege"], true);
    assert_eq!(page["account_list"].as_array().unwrap().len(), 1);
    let rest = rig.post(Api::AccountList, json!({"offset": 2})).await;
    assert_eq!(rest["account_list"][0]["manage_privilege"], false);
    assert_eq!(rig.errcode(Api::AccountList, json!({"limit": 101})).await, 40058);
    for (account, errcode) in [("kfcPASTED", 95000), ("wkone", 95004), ("wkNATIVE", 48007), ("wkONE", 0)] {
        assert_eq!(rig.errcode(Api::SyncMsg, json!({"open_kfid": account})).await, errcode, "{account}");
    }
}

#[tokio::test]
async fn a_login_code_is_good_once_and_for_five_minutes() {
    let rig = Rig::quiet().await;
    let SimOptions { app_id, app_secret, .. } = &rig.options;
    let path = |code: &str| {
        format!(
            "/sns/jscode2session?appid={app_id}&secret={app_secret}&js_code={code}&grant_type=authorization_code"
        )
    };
    let code = rig.sim.wx_login_code("oLi", Some("uLi"));
    let raw = rig.raw("GET", &path(&code), None).await.unwrap();
    assert_eq!(raw.content_type, "text/plain");
    let answer: Value = serde_json::from_str(&raw.body).unwrap();
    assert_eq!((&answer["openid"], &answer["unionid"]), (&json!("oLi"), &json!("uLi")));
    assert!(answer.get("errcode").is_none());
    assert!(answer["session_key"].is_string());
    assert_eq!(rig.get(&path(&code)).await["errcode"], 40163);
    assert_eq!(rig.get(&path("nonsense")).await["errcode"], 40029);
    let late = rig.sim.wx_login_code("oLi", None);
    rig.pass(300);
    assert_eq!(rig.get(&path(&late)).await["errcode"], 40029);
    let staff = rig.sim.staff_login_code("zhang");
    assert_eq!(rig.get(&path(&staff)).await["errcode"], 40029);
    rig.sim.switch(|switches| switches.login_errcode = Some(40226));
    let refused = rig.sim.wx_login_code("oLi", None);
    assert_eq!(rig.get(&path(&refused)).await["errcode"], 40226);
}

#[tokio::test]
async fn a_silent_call_ends_when_the_caller_leaves() {
    let rig = Rig::quiet().await;
    rig.sim.fail_next(Api::GetToken, Fault::Timeout, 1);
    let open = |world: &World| (world.gate.open_now(Api::GetToken) == 1).then_some(());
    let closed = |world: &World| (world.gate.open_now(Api::GetToken) == 0).then_some(());
    let call = async { rig.raw("GET", "/cgi-bin/gettoken", None).await.map(|answer| answer.body) };
    tokio::select! {
        answer = call => unreachable!("{answer:?}"),
        seen = rig.sim.shared.wait(SOON, |world| world.counts.contains_key(&Api::GetToken).then_some(())) => {
            assert!(seen.is_some());
        }
    }
    assert!(rig.sim.shared.read(open).is_some());
    // The select dropped the request, and with the sender its connection.
    assert!(rig.sim.shared.wait(SOON, closed).await.is_some(), "the call is still open");
}

#[tokio::test]
async fn faults_are_met_before_or_after_the_effect() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    li.says("wkONE", "hello");
    let path = format!("{}?access_token={}", Api::SendMsg.path(), rig.token().await);
    let say = async |text: &str| {
        let body = json!({"touser": li.external_userid(), "open_kfid": "wkONE", "msgtype": "text",
            "text": {"content": text}});
        rig.raw("POST", &path, Some(body.to_string())).await
    };
    rig.sim.fail_next(Api::SendMsg, Fault::Http(502), 1);
    rig.sim.fail_next(Api::SendMsg, Fault::Dropped.after_effect(), 1);
    rig.sim.fail_next(Api::SendMsg, Fault::BrokenJson.after_effect(), 1);
    rig.sim.fail_next(Api::SendMsg, Fault::Errcode(-1), 1);
    assert_eq!(say("a").await.unwrap().status, 502);
    assert!(say("b").await.is_err());
    assert!(serde_json::from_str::<Value>(&say("c").await.unwrap().body).is_err());
    assert!(say("d").await.unwrap().body.contains("-1"));
    assert!(say("e").await.unwrap().body.contains("\"ok\""));
    let heard: Vec<String> = li.heard().into_iter().map(|heard| heard.text).collect();
    assert_eq!(heard, ["b", "c", "e"]);
}

#[test]
fn a_plan_draws_the_same_faults_from_the_same_seed() {
    let draw = |plan: FaultPlan| {
        let mut faults = faults::Faults::default();
        faults.set_plan(Some(plan));
        (0..400)
            .map(|_| (faults.next(Api::SyncMsg), faults.callback(), faults.empties_page()))
            .collect::<Vec<_>>()
    };
    let weather = draw(FaultPlan::weather(7));
    assert_eq!(weather, draw(FaultPlan::weather(7)));
    assert_ne!(weather, draw(FaultPlan::weather(8)));
    assert!(weather.iter().any(|(fault, _, _)| fault.is_some()));
    let drawn_for = |api| {
        let mut faults = faults::Faults::default();
        faults.set_plan(Some(FaultPlan::weather(7)));
        (0..400).map(|_| faults.next(api).is_some()).collect::<Vec<_>>()
    };
    assert_ne!(drawn_for(Api::SyncMsg), drawn_for(Api::SendMsg), "each interface has draws of its own");
    // Another probability of one purpose leaves what is drawn for the others alone.
    let wetter = draw(FaultPlan { http_5xx: 0.5, duplicate_callbacks: 1.0, ..FaultPlan::weather(7) });
    for ((calm, before, empty), (storm, after, still_empty)) in weather.iter().zip(&wetter) {
        assert_eq!(
            (before.dropped, before.delay_ms, before.overtaken),
            (after.dropped, after.delay_ms, after.overtaken)
        );
        assert_eq!(empty, still_empty);
        let bad_gateway = matches!(storm, Some(Fault::Http(_)))
            || matches!(storm, Some(Fault::AfterEffect(fault)) if matches!(**fault, Fault::Http(_)));
        assert!(bad_gateway || calm == storm, "{calm:?} became {storm:?}");
    }
}

#[test]
fn a_plan_prints_what_is_needed_to_repeat_it() {
    let plan = FaultPlan { seed: 42, drop_callbacks: 0.25, ..FaultPlan::default() };
    assert_eq!(
        plan.to_string(),
        "fault plan, seed 42: drop_callbacks=0.25 delay_callbacks_ms=50 time_outs_ms=50"
    );
}

#[tokio::test]
async fn a_watcher_sees_what_happens_on_the_wire() {
    let rig = Rig::quiet().await;
    let mut events = rig.sim.subscribe();
    rig.sim.customer("li").says("wkONE", "hello");
    rig.post(Api::SyncMsg, json!({"open_kfid": "wkONE"})).await;
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["arrived", "called", "called"]);
}

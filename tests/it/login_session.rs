//! Logging in, and what a session is good for.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kfbind::sim::{Api, Fault};
use serde_json::json;

use crate::support::{Phone, TestApp};

const DAY_S: u64 = 24 * 3600;

async fn refuses_login(app: &TestApp, code: &str, status: u16, problem: &str) {
    app.client().post("/api/login", json!({"code": code})).await.expect_problem(status, problem);
}

#[tokio::test]
async fn a_login_gives_a_session_and_keeps_the_session_key() {
    let app = TestApp::start().await;
    let code = app.sim.wx_login_code(&app.sim.openid_of("u"), Some("oUnionId"));
    let answer = app.client().post("/api/login", json!({"code": code})).await.expect(200);
    assert_eq!(answer.json()["expires_in"], 7 * DAY_S);
    let secret = app.sim.calls(Api::Code2Session)[0].answer["session_key"].as_str().unwrap().to_owned();
    assert!(!secret.is_empty() && !answer.text().contains(&secret));
    let session = URL_SAFE_NO_PAD.decode(answer.json()["session"].as_str().unwrap()).unwrap();
    assert!(!session.windows(secret.len()).any(|part| part == secret.as_bytes()));
}

#[tokio::test]
async fn a_code_that_wechat_does_not_know_or_that_was_used_is_refused() {
    let app = TestApp::start().await;
    refuses_login(&app, "no-such-code", 401, "login-code-invalid").await;
    let code = app.sim.wx_login_code("oUser", None);
    app.client().post("/api/login", json!({"code": code})).await.expect(200);
    refuses_login(&app, &code, 401, "login-code-invalid").await;
}

#[tokio::test]
async fn a_code_that_cannot_be_one_is_refused_without_asking_wechat() {
    let app = TestApp::start().await;
    for code in ["", &"x".repeat(10_000)] {
        refuses_login(&app, code, 401, "login-code-invalid").await;
    }
    assert_eq!(app.sim.count(Api::Code2Session), 0);
}

#[tokio::test]
async fn what_wechat_refuses_has_the_answer_of_the_contract() {
    let app = TestApp::start().await;
    for (errcode, status, problem) in [
        (40226, 403, "login-refused"),
        (45011, 429, "too-many-requests"),
        (-1, 502, "wechat-unavailable"),
        (40013, 502, "wechat-unavailable"),
        (40125, 502, "wechat-unavailable"),
        (99999, 502, "wechat-unavailable"),
    ] {
        app.sim.switch(|wecom| wecom.login_errcode = Some(errcode));
        refuses_login(&app, &app.sim.wx_login_code("oUser", None), status, problem).await;
    }
    app.sim.switch(|wecom| wecom.login_errcode = None);
    for fault in [Fault::Http(500), Fault::Dropped, Fault::BrokenJson, Fault::Html] {
        app.sim.fail_next(Api::Code2Session, fault, 1);
        refuses_login(&app, &app.sim.wx_login_code("oUser", None), 502, "wechat-unavailable").await;
    }
    app.login("u").await;
}

#[tokio::test]
async fn without_a_session_nothing_is_told() {
    let app = TestApp::start().await;
    let strangers = [app.client(), app.client().bearing(""), app.client().bearing("x"), app.admin()];
    for client in strangers {
        client.get("/api/binding").await.expect_problem(401, "session-invalid");
        client.delete("/api/binding").await.expect_problem(401, "session-invalid");
        client.post("/api/binding/token", json!({})).await.expect_problem(401, "session-invalid");
    }
    let phone = app.login("u").await;
    let basic = app.client().request("GET", "/api/binding").basic_auth("u", Some(&phone.session));
    let answer = crate::support::Client::try_send("with basic".into(), basic).await.unwrap();
    answer.expect_problem(401, "session-invalid");
}

#[tokio::test]
async fn an_altered_session_is_refused() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let session = phone.session.clone();
    let mut altered = vec![
        format!("{session}A"),
        session[..session.len() - 1].to_owned(),
        session[1..].to_owned(),
        session.to_lowercase(),
        format!("{session}="),
        String::from_utf8(vec![b'A'; session.len()]).unwrap(),
        "A".repeat(8_000),
    ];
    for at in 0..session.len() {
        let mut bytes = session.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        altered.push(String::from_utf8(bytes).unwrap());
    }
    for session in altered {
        app.client().bearing(&session).get("/api/binding").await.expect_problem(401, "session-invalid");
    }
    phone.view().await;
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over() {
    let app = TestApp::with(&[("binding.session_ttl", "\"1h\"")]).await;
    let phone = app.login("u").await;
    app.clock.advance(3599);
    phone.view().await;
    app.clock.advance(1);
    phone.client.get("/api/binding").await.expect_problem(401, "session-invalid");
}

#[tokio::test]
async fn a_session_survives_a_restart_and_is_worth_nothing_elsewhere() {
    let mut app = TestApp::start().await;
    let phone = app.login("u").await;
    app.restart().await;
    phone.view().await;
    let elsewhere = TestApp::open(crate::support::Options {
        entropy: std::sync::Arc::new(actors::testing::SeededEntropy::new(2)),
        ..crate::support::Options::default()
    })
    .await;
    let client = elsewhere.client().bearing(&phone.session);
    client.get("/api/binding").await.expect_problem(401, "session-invalid");
}

#[tokio::test]
async fn openids_that_differ_in_case_only_are_two_users() {
    let app = TestApp::start().await;
    let (lower, upper) = (app.login_as("oAbCdEf").await, app.login_as("oaBcDeF").await);
    lower.issue().await;
    assert_eq!((lower.status().await.as_str(), upper.status().await.as_str()), ("pending", "unbound"));
}

#[tokio::test]
async fn logins_from_one_address_are_limited() {
    let app = TestApp::with(&[("limits.logins_per_ip", "\"2/1m\"")]).await;
    for _ in 0..2 {
        app.login("u").await;
    }
    let asked = app.sim.count(Api::Code2Session);
    let code = app.sim.wx_login_code("oUser", None);
    let answer = app.client().post("/api/login", json!({"code": code})).await;
    assert_eq!(answer.expect_problem(429, "too-many-requests").header("retry-after"), "60");
    assert_eq!(app.sim.count(Api::Code2Session), asked, "WeChat is not asked");
    app.clock.advance(60);
    Phone::login(app.client(), &code, "oUser").await;
}

#[tokio::test]
async fn the_address_is_the_one_behind_our_proxy() {
    let app = TestApp::with(&[("limits.logins_per_ip", "\"1/1m\"")]).await;
    let login = async |forwarded: &str, status: u16| {
        let code = app.sim.wx_login_code("oUser", None);
        let request = app.client().request("POST", "/api/login").header("x-forwarded-for", forwarded);
        let request = request.body(json!({"code": code}).to_string());
        crate::support::Client::try_send(forwarded.to_owned(), request).await.unwrap().expect(status);
    };
    login("192.0.2.1", 200).await;
    login("192.0.2.2", 200).await;
    login("192.0.2.1", 429).await;
    login("203.0.113.9, 192.0.2.2, 127.0.0.1", 429).await;
    login("2001:db8::1", 200).await;
    login("2001:db8::ffff", 429).await;
    login("2001:db8:0:1::1", 200).await;
}

#[tokio::test]
async fn the_header_of_an_untrusted_address_is_ignored() {
    let settings = [("limits.logins_per_ip", "\"1/1m\""), ("server.trusted_proxies", "[\"10.0.0.0/8\"]")];
    let app = TestApp::with(&settings).await;
    for (forwarded, status) in [("192.0.2.1", 200), ("192.0.2.2", 429)] {
        let code = app.sim.wx_login_code("oUser", None);
        let request = app.client().request("POST", "/api/login").header("x-forwarded-for", forwarded);
        let request = request.body(json!({"code": code}).to_string());
        crate::support::Client::try_send(forwarded.to_owned(), request).await.unwrap().expect(status);
    }
}

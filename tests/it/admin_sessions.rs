//! Sessions that the back end makes for companies that log their users in themselves, and its door to the admin side.

use kfbind::sim::Api;
use serde_json::{Value, json};

use crate::support::{ADMIN_KEY, EVERY_WAY, TestApp, hears};

const DAY_S: u64 = 24 * 3600;
const PATH: &str = "/api/admin/sessions";

async fn every_way() -> TestApp {
    TestApp::with(&[("binding.methods", EVERY_WAY), ("kf.handover", "\"none\"")]).await
}

#[tokio::test]
async fn a_session_of_the_back_end_opens_every_route_of_a_user_and_outlives_a_restart() {
    let mut app = every_way().await;
    let answer = app.admin().post(PATH, json!({"openid": "oOwnLogin_1-x"})).await.expect(201).json();
    assert_eq!(answer["expires_in"], 7 * DAY_S);
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    let phone = app.admin_session(json!({"openid": "oOwnLogin_1-x"})).await;
    for _ in 0..2 {
        assert_eq!(phone.status().await, "unbound");
        phone.issue().await;
        phone.client.post("/api/binding/intent", json!({})).await.expect(202);
        phone.client.get("/api/binding/ticket?ticket=none").await.expect_problem(404, "ticket-invalid");
        let used = phone.client.post("/api/binding/ticket", json!({"ticket": "none"})).await;
        used.expect_problem(404, "ticket-invalid");
        phone.unbind().await;
        phone.client.get("/api/staff/customers/wmC").await.expect_problem(401, "session-invalid");
        phone.client.get("/api/admin/bindings").await.expect_problem(401, "admin-key-invalid");
        app.restart().await;
    }
    let (customer, code) = (app.sim.customer("c"), phone.issue().await);
    customer.says(&app.account(), &code.text);
    phone.until("bound").await;
    assert_eq!(app.sim.count(Api::Code2Session), 0, "WeChat is never asked");
}

#[tokio::test]
async fn a_session_of_the_back_end_ends_with_its_time() {
    let app = TestApp::codes_alone(&[("binding.session_ttl", "\"90s\"")]).await;
    let answer = app.admin().post(PATH, json!({"openid": "oUser"})).await.expect(201).json();
    assert_eq!(answer["expires_in"], 90);
    let client = app.client().bearing(answer["session"].as_str().unwrap());
    app.clock.advance(89);
    client.get("/api/binding").await.expect(200);
    app.clock.advance(1);
    client.get("/api/binding").await.expect_problem(401, "session-invalid");
}

#[tokio::test]
async fn a_login_and_a_session_of_the_back_end_are_of_one_user() {
    let app = TestApp::codes_alone(&[]).await;
    let (phone, customer, _) = app.bound("u").await;
    let own = app.admin_session(json!({"openid": phone.openid})).await;
    assert_eq!(own.view().await, phone.view().await);
    own.unbind().await;
    assert_eq!(phone.status().await, "unbound");
    customer.says(&app.account(), &own.issue().await.text);
    phone.until("bound").await;
    assert_eq!(app.bindings().await.len(), 1);
}

#[tokio::test]
async fn the_label_names_the_account_in_the_chat_and_in_the_list() {
    let label = "138****8000";
    let app = TestApp::codes_alone(&[
        ("messages.bound", "\"bound {account}\""),
        ("messages.unbound", "\"unbound {account}\""),
        ("messages.already_bound", "\"already {account}\""),
    ])
    .await;
    let phone = app.admin_session(json!({"openid": "oUser", "label": label})).await;
    let (customer, code) = (app.sim.customer("c"), phone.issue().await);
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 1).await, [format!("bound {label}")]);
    assert_eq!(app.bindings().await[0]["label"], label);
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 2).await[1], format!("already {label}"));
    // A login of WeChat's knows no label and takes none away.
    app.login_as("oUser").await;
    assert_eq!(app.bindings().await[0]["label"], label);
    assert!(app.keeps(label).await, "it is in the backup, too");
    customer.says(&app.account(), "解绑");
    assert_eq!(hears(&customer, 3).await[2], format!("unbound {label}"));
}

#[tokio::test]
async fn a_user_without_a_label_has_none_and_a_later_one_takes_its_place() {
    let mut app = TestApp::codes_alone(&[]).await;
    let (phone, _, _) = app.bound("u").await;
    assert_eq!(app.bindings().await[0]["label"], Value::Null);
    for label in ["first", "第二个"] {
        app.admin_session(json!({"openid": phone.openid, "label": label})).await;
        assert_eq!(app.bindings().await[0]["label"], label);
    }
    app.restart().await;
    assert_eq!(app.bindings().await[0]["label"], "第二个");
}

#[tokio::test]
async fn a_label_has_at_most_32_characters_whatever_their_bytes() {
    let app = TestApp::codes_alone(&[]).await;
    for (label, status) in [
        ("x".repeat(32), 201),
        ("x".repeat(33), 400),
        ("汉".repeat(32), 201),
        ("汉".repeat(33), 400),
        ("😀".repeat(32), 201),
        ("😀".repeat(33), 400),
    ] {
        let answer = app.admin().post(PATH, json!({"openid": "oUser", "label": label})).await.expect(status);
        if status == 400 {
            answer.expect_problem(400, "bad-request");
        }
    }
}

#[tokio::test]
async fn a_label_is_text_in_an_answer_and_nothing_else() {
    let app = TestApp::codes_alone(&[("messages.bound", "\"bound {account}\"")]).await;
    let label = "{code} {minutes} \"<b>";
    let phone = app.admin_session(json!({"openid": "oUser", "label": label})).await;
    let (customer, code) = (app.sim.customer("c"), phone.issue().await);
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 1).await, [format!("bound {label}")]);
}

#[tokio::test]
async fn what_is_no_user_is_refused_and_unknown_fields_are_not() {
    let app = TestApp::codes_alone(&[]).await;
    for body in [
        json!({}),
        json!([]),
        json!("oUser"),
        Value::Null,
        json!({"openid": 1}),
        json!({"openid": null}),
        json!({"openid": ""}),
        json!({"openid": ["oUser"]}),
        json!({"openid": "o".repeat(10_000)}),
        json!({"openid": "oUser", "unionid": 7}),
        json!({"openid": "oUser", "unionid": {}}),
        json!({"openid": "oUser", "label": 7}),
        json!({"openid": "oUser", "label": ["a"]}),
        json!({"label": "nobody"}),
    ] {
        app.admin().post(PATH, body).await.expect_problem(400, "bad-request");
    }
    app.admin().send("POST", PATH, None).await.expect_problem(400, "bad-request");
    for broken in ["{", "{\"openid\":\"oUser\"", "{\"openid\":\"\u{0}\"}"] {
        let answer = app.admin().post_bytes(PATH, "application/json", broken).await;
        answer.expect_problem(400, "bad-request");
    }
    let body = json!({"openid": "oUser", "phone": "138", "expires_in": 1, "labels": 7});
    assert_eq!(app.admin().post(PATH, body).await.expect(201).json()["expires_in"], 7 * DAY_S);
    // Without a content type a body is read as JSON.
    app.admin().post_bytes(PATH, "", r#"{"openid":"oUser"}"#).await.expect(201);
}

#[tokio::test]
async fn the_admin_side_judges_a_request_in_the_order_of_the_contract() {
    let app = TestApp::codes_alone(&[]).await;
    let (admin, stranger) = (app.admin(), app.client());
    let large = vec![b'x'; 65_537];
    for client in [&admin, &stranger] {
        client
            .post_bytes("/api/admin/session", "text/plain", large.clone())
            .await
            .expect_problem(404, "not-found");
        client.send("POST", "/api/admin/customers", None).await.expect_problem(404, "not-found");
        for (method, path) in [
            ("GET", PATH),
            ("PUT", PATH),
            ("POST", "/api/admin/bindings"),
            ("GET", "/api/admin/bindings/oUser"),
            ("POST", "/api/admin/bindings/oUser"),
            ("GET", "/api/admin/customers/wmC"),
            ("PUT", "/api/admin/customers/wmC"),
            ("DELETE", "/api/admin/events"),
            ("POST", "/api/admin/stats"),
            ("POST", "/api/admin/export"),
            ("POST", "/api/admin/dead-letters"),
            ("GET", "/api/admin/dead-letters/evt_1/resend"),
        ] {
            let answer = client.send(method, path, None).await.expect_problem(405, "method-not-allowed");
            assert!(!answer.header("allow").is_empty(), "{method} {path}");
        }
    }
    stranger.post_bytes(PATH, "text/plain", large.clone()).await.expect_problem(401, "admin-key-invalid");
    admin.post_bytes(PATH, "text/plain", large).await.expect_problem(413, "too-large");
    admin.post_bytes(PATH, "text/plain", "{").await.expect_problem(415, "unsupported-media-type");
    admin.post_bytes(PATH, "application/json", "{").await.expect_problem(400, "bad-request");
    for (method, path) in [
        ("POST", PATH),
        ("PUT", "/api/admin/bindings/oUser"),
        ("DELETE", "/api/admin/bindings/oUser?erase=perhaps"),
        ("DELETE", "/api/admin/customers/wmC"),
        ("GET", "/api/admin/events?limit=x"),
        ("GET", "/api/admin/stats?days=x"),
        ("GET", "/api/admin/export"),
        ("GET", "/api/admin/dead-letters?limit=x"),
        ("POST", "/api/admin/dead-letters/evt_1/resend"),
    ] {
        for client in [&stranger, &app.client().bearing("x"), &app.client().bearing(&ADMIN_KEY[1..])] {
            client.send(method, path, None).await.expect_problem(401, "admin-key-invalid");
        }
    }
    let (put, too_large) = ("/api/admin/bindings/oUser", "x".repeat(65_537));
    for (kind, body, status) in
        [("text/plain", too_large.as_str(), 413), ("text/plain", "{", 415), ("application/json", "{", 400)]
    {
        let request = admin.request("PUT", put).header("content-type", kind).body(body.to_owned());
        crate::support::Client::try_send(put.into(), request).await.unwrap().expect(status);
    }
}

#[tokio::test]
async fn without_an_admin_key_there_is_no_admin_side() {
    let mut app = TestApp::codes_alone(&[]).await;
    let phone = app.admin_session(json!({"openid": "oUser"})).await;
    app.stop().await;
    app.change(&[("admin.api_key", "\"\"")]);
    app.boot().await.unwrap();
    for client in [app.client(), app.client().bearing(""), app.admin()] {
        for (method, path) in [
            ("POST", PATH),
            ("GET", "/api/admin/bindings"),
            ("PUT", "/api/admin/bindings/oUser"),
            ("DELETE", "/api/admin/bindings/oUser?erase=true"),
            ("DELETE", "/api/admin/customers/wmC"),
            ("DELETE", "/api/admin/locks/wmC"),
            ("GET", "/api/admin/events"),
            ("GET", "/api/admin/stats"),
            ("GET", "/api/admin/export"),
            ("GET", "/api/admin/dead-letters"),
            ("POST", "/api/admin/dead-letters/evt_1/resend"),
            ("PATCH", "/api/admin/bindings"),
        ] {
            client.send(method, path, None).await.expect_problem(404, "not-found");
        }
    }
    phone.client.get("/api/binding").await.expect(200);
}

#[tokio::test]
async fn a_unionid_that_the_back_end_tells_binds_as_one_of_a_login() {
    let app =
        TestApp::with(&[("binding.methods", r#"["code", "unionid"]"#), ("kf.handover", "\"none\"")]).await;
    let first = app.admin_session(json!({"openid": "oFirst", "unionid": "uni1"})).await;
    app.sim.customer("c").with_unionid("uni1").says(&app.account(), "你好");
    assert_eq!(first.until("bound").await["binding"]["method"], "unionid");
    // And the other way round: the session is bound in the moment in which it is made.
    app.sim.customer("d").with_unionid("uni2").says(&app.account(), "你好");
    app.settled().await;
    let second = app.admin_session(json!({"openid": "oSecond", "unionid": "uni2", "label": "二"})).await;
    assert_eq!(second.view().await["binding"]["method"], "unionid");
    let found = app.admin().get("/api/admin/bindings?unionid=uni2").await.expect(200).json();
    assert_eq!(
        (&found["bindings"][0]["openid"], &found["bindings"][0]["label"]),
        (&json!("oSecond"), &json!("二"))
    );
    // Other people's codes are guarded by it.
    let third = app.admin_session(json!({"openid": "oThird", "unionid": "uni3"})).await;
    let stranger = app.sim.customer("e").with_unionid("uni4");
    stranger.says(&app.account(), &third.issue().await.text);
    assert_eq!(hears(&stranger, 1).await, ["other_person"]);
}

#[tokio::test]
async fn wrong_keys_are_slowed_down_and_the_right_one_never() {
    let app = TestApp::codes_alone(&[]).await;
    let wrong = app.client().bearing("wrong-admin-key");
    let guesses = futures_util::future::join_all((0..40).map(|_| wrong.get("/api/admin/bindings")));
    let right = async {
        for _ in 0..40 {
            app.admin().get("/api/admin/events").await.expect(200);
        }
    };
    let (guesses, ()) = futures_util::future::join(guesses, right).await;
    for guess in guesses {
        assert!([401, 429].contains(&guess.status), "{}", guess.status);
    }
    for _ in 0..20 {
        app.admin().post(PATH, json!({"openid": "oUser"})).await.expect(201);
    }
}

#[tokio::test]
async fn whatever_can_be_read_can_be_asked_for_its_head() {
    let app = TestApp::codes_alone(&[]).await;
    for path in [
        "/api/admin/bindings",
        "/api/admin/events",
        "/api/admin/stats",
        "/api/admin/export",
        "/api/admin/dead-letters",
    ] {
        let (get, head) =
            (app.admin().get(path).await.expect(200), app.admin().send("HEAD", path, None).await.expect(200));
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
        assert_eq!(app.client().send("HEAD", path, None).await.status, 401, "{path}");
    }
    app.admin().send("HEAD", "/api/admin/stats?days=0", None).await.expect(400);
}

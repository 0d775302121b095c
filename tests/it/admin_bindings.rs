//! Bindings that the back end makes and ends: the rules of 5.4 hold for it, too.

use serde_json::{Value, json};

use crate::support::{Client, START_S, TestApp, hears, rfc3339};

async fn list(app: &TestApp) -> Vec<(Value, Value)> {
    app.bindings().await.iter().map(|one| (one["openid"].clone(), one["external_userid"].clone())).collect()
}

fn pair(openid: &str, external_userid: &str) -> (Value, Value) {
    (json!(openid), json!(external_userid))
}

#[tokio::test]
async fn the_back_end_binds_two_who_never_met() {
    let app = TestApp::codes_alone(&[]).await;
    let body = json!({"external_userid": "wmCustomer", "open_kfid": app.account(), "more": 1});
    let answer = app.admin().send("PUT", "/api/admin/bindings/oUser", Some(body)).await.expect(200).json();
    assert_eq!(
        answer,
        json!({
            "openid": "oUser", "external_userid": "wmCustomer", "unionid": null, "open_kfid": app.account(),
            "method": "admin", "bound_at": rfc3339(START_S), "nickname": null, "label": null,
        })
    );
    assert_eq!(app.bindings().await, [answer]);
    let phone = app.login_as("oUser").await;
    let view = phone.view().await;
    assert_eq!((&view["status"], &view["binding"]["method"]), (&json!("bound"), &json!("admin")));
    phone.ask(json!({})).await.expect_problem(409, "already-bound");
    assert_eq!(app.metric("kfbind_bindings").await, 1.0);
    assert_eq!(app.metric("kfbind_bindings_total{method=\"admin\"}").await, 1.0);
}

#[tokio::test]
async fn the_same_pair_again_changes_nothing() {
    for policy in ["\"reject\"", "\"replace\""] {
        let mut app = TestApp::codes_alone(&[("binding.on_conflict", policy)]).await;
        let first = app.assign("oUser", "wmCustomer").await.expect(200).json();
        let phone = app.login_as("oUser").await;
        let version = phone.version().await;
        app.clock.advance(100);
        assert_eq!(app.assign("oUser", "wmCustomer").await.expect(200).json(), first);
        app.restart().await;
        assert_eq!(app.assign("oUser", "wmCustomer").await.expect(200).json(), first);
        assert_eq!((app.events().await.len(), phone.version().await), (1, version));
        assert_eq!(app.metric("kfbind_bindings_total{method=\"admin\"}").await, 0.0, "since the restart");
    }
}

#[tokio::test]
async fn a_pair_that_was_bound_another_way_stays_as_it_is() {
    let app = TestApp::codes_alone(&[]).await;
    let (phone, customer, _) = app.bound("u").await;
    app.settled().await;
    let before = app.bindings().await;
    app.clock.advance(100);
    let again = app.assign(&phone.openid, customer.external_userid()).await.expect(200).json();
    assert_eq!((&again["method"], [again.clone()].as_slice()), (&json!("code"), before.as_slice()));
}

#[tokio::test]
async fn whoever_is_bound_elsewhere_is_a_conflict() {
    let app = TestApp::codes_alone(&[]).await;
    app.assign("oA", "wmA").await.expect(200);
    app.assign("oB", "wmB").await.expect(200);
    for (openid, customer) in [("oA", "wmNew"), ("oNew", "wmA"), ("oA", "wmB")] {
        app.assign(openid, customer).await.expect_problem(409, "conflict");
    }
    assert_eq!(list(&app).await, [pair("oA", "wmA"), pair("oB", "wmB")]);
    assert_eq!(app.metric("kfbind_bindings_total{method=\"admin\"}").await, 2.0);
}

#[tokio::test]
async fn with_replace_the_new_pair_takes_the_place_of_all_that_stood_in_its_way() {
    let app = TestApp::codes_alone(&[("binding.on_conflict", "\"replace\"")]).await;
    app.assign("oA", "wmA").await.expect(200);
    app.assign("oB", "wmB").await.expect(200);
    let (a, b) = (app.login_as("oA").await, app.login_as("oB").await);
    app.assign("oA", "wmB").await.expect(200);
    assert_eq!(list(&app).await, [pair("oA", "wmB")]);
    assert_eq!((a.status().await, b.status().await), ("bound".into(), "unbound".into()));
    assert_eq!(app.metric("kfbind_bindings").await, 1.0);
    let ended = app.events_of("unbound").await;
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert!(ended.iter().all(|event| event["by"] == "replaced"), "{ended:?}");
    // Whoever was replaced is free.
    let (customer, code) = (app.sim.customer("c"), b.issue().await);
    customer.says(&app.account(), &code.text);
    b.until("bound").await;
}

#[tokio::test]
async fn a_pending_code_dies_with_the_binding_and_the_mini_program_sees_it_at_once() {
    let app = TestApp::codes_alone(&[]).await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let since = phone.version().await;
    let waiting = tokio::spawn({
        let phone = phone.clone();
        async move { phone.wait(since, 20).await }
    });
    app.assign(&phone.openid, "wmCustomer").await.expect(200);
    let view = waiting.await.unwrap();
    assert_eq!((&view["status"], &view["pending"]), (&json!("bound"), &Value::Null));
    assert_eq!(app.metric("kfbind_codes_live").await, 0.0);
    let customer = app.sim.customer("late");
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 1).await, ["expired_code"]);
    assert_eq!(list(&app).await, [pair(&phone.openid, "wmCustomer")]);
}

#[tokio::test]
async fn the_back_end_binds_whom_the_unionids_tell_apart() {
    let app =
        TestApp::with(&[("binding.methods", r#"["code", "unionid"]"#), ("kf.handover", "\"none\"")]).await;
    let phone = app.login_united("u", "uni1").await;
    let stranger = app.sim.customer("stranger").with_unionid("uni2");
    stranger.says(&app.account(), &phone.issue().await.text);
    assert_eq!(hears(&stranger, 1).await, ["other_person"]);
    let bound = app.assign(&phone.openid, stranger.external_userid()).await.expect(200).json();
    assert_eq!(bound["method"], "admin");
    assert_eq!(list(&app).await, [pair(&phone.openid, stranger.external_userid())]);
}

#[tokio::test]
async fn after_an_unbinding_from_whichever_side_the_back_end_binds_again() {
    let app = TestApp::codes_alone(&[]).await;
    let (phone, customer, code) = app.bound("u").await;
    let path = format!("/api/admin/bindings/{}", phone.openid);
    for round in 0..3 {
        app.clock.advance(1);
        match round {
            0 => phone.unbind().await,
            1 => drop(app.admin().delete(&path).await.expect(204)),
            _ => drop(customer.says(&app.account(), "解绑")),
        }
        phone.until("unbound").await;
        let again = app.assign(&phone.openid, customer.external_userid()).await.expect(200).json();
        assert_eq!(again["method"], "admin", "round {round}");
        assert_eq!(again["bound_at"], rfc3339(START_S + round + 1));
    }
    app.admin().delete(&path).await.expect(204);
    customer.says(&app.account(), &code.text);
    app.settled().await;
    assert_eq!(phone.status().await, "unbound", "but no code of before does");
    app.admin().delete(&path).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn an_undoing_in_the_chat_that_was_sent_before_the_back_end_bound_undoes_nothing() {
    let app = TestApp::codes_alone(&[]).await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    app.clock.advance(10);
    app.assign(&phone.openid, customer.external_userid()).await.expect(200);
    customer.says_at(&app.account(), "解绑", START_S + 9);
    app.settled().await;
    assert_eq!(phone.status().await, "bound");
    customer.says(&app.account(), "解绑");
    phone.until("unbound").await;
}

#[tokio::test]
async fn an_openid_may_come_percent_encoded() {
    let app = TestApp::codes_alone(&[]).await;
    let made = app.assign("%6FUser%5F1%2D", "wmCustomer").await.expect(200).json();
    assert_eq!(made["openid"], "oUser_1-");
    let found = app.admin().get("/api/admin/bindings?openid=oUser%5F1-").await.expect(200).json();
    assert_eq!(found["bindings"][0], made);
    app.admin().delete("/api/admin/bindings/o%55ser_1-").await.expect(204);
    // Whatever else the back end calls its users is one name, not a path.
    for (encoded, openid) in
        [("a%2Fb", "a/b"), ("a%20b", "a b"), ("a%2Bb", "a+b"), ("%E6%B1%89", "汉"), ("a%3Fb", "a?b")]
    {
        let answer = app.assign(encoded, "wmCustomer").await;
        if answer.status == 200 {
            assert_eq!(answer.json()["openid"], openid);
            app.admin().delete(&format!("/api/admin/bindings/{encoded}")).await.expect(204);
        } else {
            assert!([400, 404, 405].contains(&answer.status), "{encoded}: {}", answer.status);
        }
    }
    assert_eq!(list(&app).await, []);
}

#[tokio::test]
async fn what_is_no_customer_is_refused() {
    let app = TestApp::codes_alone(&[]).await;
    let path = "/api/admin/bindings/oUser";
    for body in [
        json!({}),
        json!([]),
        json!({"external_userid": null}),
        json!({"external_userid": ""}),
        json!({"external_userid": 7}),
        json!({"external_userid": "w".repeat(10_000)}),
        json!({"external_userid": "wm\u{0}"}),
        json!({"external_userid": "wmC", "open_kfid": 7}),
        json!({"open_kfid": "wk1"}),
    ] {
        app.admin().send("PUT", path, Some(body)).await.expect_problem(400, "bad-request");
    }
    app.admin().send("PUT", path, None).await.expect_problem(400, "bad-request");
    assert_eq!(list(&app).await, []);
}

#[tokio::test]
async fn of_many_who_want_one_customer_at_once_one_is_bound() {
    let app = TestApp::codes_alone(&[]).await;
    let openids: Vec<String> = (0..20).map(|number| format!("oUser{number}")).collect();
    let answers =
        futures_util::future::join_all(openids.iter().map(|openid| app.assign(openid, "wmC"))).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
    assert_eq!(list(&app).await.len(), 1);
}

#[tokio::test]
async fn a_lock_does_not_bind_the_back_ends_hands_and_is_still_there_after_it() {
    let app = TestApp::codes_alone(&[]).await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    let wrong: Vec<String> = (0..5).map(|number| code.other(number)).collect();
    customer.says(&app.account(), &wrong.join(" "));
    assert_eq!(hears(&customer, 1).await, ["locked"]);
    app.assign("oOther", customer.external_userid()).await.expect(200);
    app.admin().delete("/api/admin/bindings/oOther").await.expect(204);
    customer.says(&app.account(), &code.text);
    app.settled().await;
    assert_eq!(phone.status().await, "pending", "a binding lifts no lock");
    let lock = format!("/api/admin/locks/{}", customer.external_userid());
    for _ in 0..2 {
        app.admin().delete(&lock).await.expect(204);
    }
    customer.says(&app.account(), &code.text);
    phone.until("bound").await;
}

#[tokio::test]
async fn the_wrong_door_changes_nothing() {
    let app = TestApp::codes_alone(&[]).await;
    let body = json!({"external_userid": "wmC"});
    let phone = app.login("u").await;
    let strangers: [&Client; 2] = [&phone.client, &app.client()];
    for client in strangers {
        let answer = client.send("PUT", "/api/admin/bindings/oUser", Some(body.clone())).await;
        answer.expect_problem(401, "admin-key-invalid");
    }
    assert_eq!((list(&app).await, app.events().await), (vec![], vec![]));
}

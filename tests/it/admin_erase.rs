//! People whom the back end has forgotten: what is gone, what can't come back, and who is none the worse for it.

use kfbind::sim::Customer;
use serde_json::json;

use crate::support::{Code, EVERY_WAY, START_S, TestApp, eventually, heard, hears};

const DAY_S: u64 = 24 * 3600;

async fn united() -> TestApp {
    TestApp::with(&[("binding.methods", r#"["code", "unionid"]"#), ("kf.handover", "\"none\"")]).await
}

/// A customer who has typed five wrong codes and hears that it is locked.
async fn locked(app: &TestApp, name: &str, code: &Code) -> Customer {
    let customer = app.sim.customer(name);
    let wrong: Vec<String> = (0..5).map(|number| code.other(number)).collect();
    customer.says(&app.account(), &wrong.join(" "));
    assert_eq!(hears(&customer, 1).await, ["locked"]);
    customer
}

#[tokio::test]
async fn nothing_of_a_bound_person_is_kept() {
    let app = united().await;
    let body = json!({"openid": "oPersonOfThisTest", "unionid": "uniOfThisTest", "label": "139****1234"});
    let phone = app.admin_session(body).await;
    let customer = app.sim.customer("c").with_nickname("昵称小李").with_unionid("uniOfThisTest");
    let other = phone.issue().await;
    customer.says(&app.account(), &other.other(1));
    assert_eq!(hears(&customer, 1).await, ["wrong_code"]);
    phone.until("bound").await;
    phone.unbind().await;
    customer.says(&app.account(), &phone.issue().await.text);
    phone.until("bound").await;
    eventually("the nickname is known", async || {
        (app.bindings().await[0]["nickname"] == "昵称小李").then_some(())
    })
    .await;
    app.settled().await;
    let names = ["oPersonOfThisTest", "uniOfThisTest", "139****1234", "昵称小李", customer.external_userid()];
    for name in names {
        assert!(app.keeps(name).await, "{name} was never there");
    }
    let before = app.events().await.len();

    app.erase(&phone.openid).await.expect(204);
    for name in names {
        assert!(!app.keeps(name).await, "{name} is still there");
    }
    let events = app.events().await;
    let trail = json!(events).to_string();
    assert!(names.iter().all(|name| !trail.contains(name)), "{trail}");
    assert!(events.len() >= before, "what happened stays on record, without names: {trail}");
    assert_eq!(app.bindings().await, [json!(null); 0]);
    assert_eq!(app.metric("kfbind_bindings").await, 0.0);
    phone.client.get("/api/binding").await.expect_problem(401, "session-invalid");
    app.erase(&phone.openid).await.expect_problem(404, "not-found");
    app.erase_customer(customer.external_userid()).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn sessions_made_before_are_refused_and_a_login_in_the_same_second_starts_afresh() {
    let mut app = TestApp::codes_alone(&[]).await;
    let (phone, customer, code) = app.bound("u").await;
    let own = app.admin_session(json!({"openid": phone.openid})).await;
    app.erase(&phone.openid).await.expect(204);
    let fresh = app.login_as(&phone.openid).await;
    let made = app.admin_session(json!({"openid": phone.openid})).await;
    for _ in 0..2 {
        for old in [&phone, &own] {
            old.client.get("/api/binding").await.expect_problem(401, "session-invalid");
            old.client.delete("/api/binding").await.expect_problem(401, "session-invalid");
            old.ask(json!({})).await.expect_problem(401, "session-invalid");
        }
        assert_eq!((fresh.status().await, made.status().await), ("unbound".into(), "unbound".into()));
        app.restart().await;
    }
    app.clock.advance(1);
    customer.says(&app.account(), &code.text);
    app.settled().await;
    assert_eq!(fresh.status().await, "unbound", "the code of before binds nobody");
    customer.says(&app.account(), &fresh.issue().await.text);
    assert_eq!(fresh.until("bound").await["binding"]["method"], "code");
    app.clock.advance(6 * DAY_S);
    phone.client.get("/api/binding").await.expect_problem(401, "session-invalid");
}

#[tokio::test]
async fn an_erasure_without_a_binding_forgets_what_there_is() {
    let app = united().await;
    // One with a code, one of whom only the unionid is known, one with a label, and one who has undone.
    app.login_as("oPending").await.issue().await;
    app.login_united("united", "uniOfThisTest").await;
    app.admin_session(json!({"openid": "oLabelled", "label": "139****1234"})).await;
    let (undone, _, _) = app.bound("undone").await;
    undone.unbind().await;
    app.settled().await;
    let united = app.sim.openid_of("united");
    for openid in ["oPending", united.as_str(), "oLabelled", undone.openid.as_str()] {
        assert!(app.keeps(openid).await, "{openid} was never there");
        app.erase(openid).await.expect(204);
        assert!(!app.keeps(openid).await, "{openid} is still there");
        app.erase(openid).await.expect_problem(404, "not-found");
    }
    assert!(!app.keeps("uniOfThisTest").await && !app.keeps("139****1234").await);
    app.erase("oNeverSeen").await.expect_problem(404, "not-found");
    app.erase_customer("wmNeverSeen").await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_session_of_somebody_who_did_nothing_else_is_refused_too() {
    let app = TestApp::codes_alone(&[]).await;
    let phone = app.login("u").await;
    assert_eq!(phone.status().await, "unbound");
    let answer = app.erase(&phone.openid).await;
    assert!([204, 404].contains(&answer.status), "{}", answer.status);
    phone.client.get("/api/binding").await.expect_problem(401, "session-invalid");
}

#[tokio::test]
async fn only_the_word_true_erases() {
    let app = TestApp::codes_alone(&[]).await;
    let (phone, _, _) = app.bound("u").await;
    let path = format!("/api/admin/bindings/{}", phone.openid);
    app.admin().delete(&format!("{path}?erase=perhaps")).await.expect_problem(400, "bad-request");
    assert_eq!(phone.status().await, "bound");
    app.admin().delete(&format!("{path}?erase=false")).await.expect(204);
    assert_eq!(phone.status().await, "unbound", "unbound, and the session goes on");
    app.admin().delete(&path).await.expect_problem(404, "not-found");
    app.erase(&phone.openid).await.expect(204);
}

#[tokio::test]
async fn no_late_message_with_an_erased_persons_code_binds_or_counts() {
    let app = TestApp::codes_alone(&[]).await;
    let phone = app.login("u").await;
    // Codes of three days: expired, revoked and live ones.
    let mut codes = vec![phone.issue().await];
    app.clock.advance(DAY_S);
    codes.push(phone.issue().await);
    app.clock.advance(5);
    codes.push(phone.issue().await);
    app.erase(&phone.openid).await.expect(204);
    assert_eq!(app.metric("kfbind_codes_live").await, 0.0);
    let customer = app.sim.customer("c");
    for code in codes.iter().chain(&codes) {
        customer.says(&app.account(), &code.text);
        customer.says_at(&app.account(), &code.text, START_S + DAY_S + 6);
    }
    app.settled().await;
    assert!(
        !heard(&customer).iter().any(|said| said == "wrong_code" || said == "locked"),
        "{:?}",
        heard(&customer)
    );
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"wrong\"}").await, 0.0);
    assert_eq!(app.bindings().await, [json!(null); 0]);
    // Nor when the same openid has come back.
    let fresh = app.login_as(&phone.openid).await;
    for code in &codes {
        customer.says(&app.account(), &code.text);
    }
    app.settled().await;
    assert_eq!(fresh.status().await, "unbound");
    customer.says(&app.account(), &fresh.issue().await.text);
    fresh.until("bound").await;
}

#[tokio::test]
async fn a_message_on_its_way_while_its_code_is_erased_binds_nobody() {
    let app = TestApp::codes_alone(&[]).await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    app.sim.hold_callbacks();
    customer.says(&app.account(), &code.text);
    app.clock.advance(2);
    app.erase(&phone.openid).await.expect(204);
    app.login_as(&phone.openid).await;
    app.sim.release_callbacks();
    app.settled().await;
    assert_eq!(app.bindings().await, [json!(null); 0]);
}

#[tokio::test]
async fn who_waits_for_a_change_is_told_that_the_session_is_over() {
    let app = TestApp::codes_alone(&[]).await;
    let (phone, _, _) = app.bound("u").await;
    app.settled().await;
    let since = phone.version().await;
    let (client, path) = (phone.client.clone(), format!("/api/binding?wait=20&since={since}"));
    let waiting = tokio::spawn(async move { client.get(&path).await });
    app.erase(&phone.openid).await.expect(204);
    let answer = waiting.await.unwrap();
    assert!(answer.status == 401 || answer.json()["status"] == "unbound", "{}", answer.text());
}

#[tokio::test]
async fn a_bound_persons_lock_is_forgotten_with_the_person() {
    let app = TestApp::codes_alone(&[]).await;
    let asking = app.login("asking").await;
    let code = asking.issue().await;
    let customer = locked(&app, "c", &code).await;
    app.assign("oPerson", customer.external_userid()).await.expect(200);
    app.erase("oPerson").await.expect(204);
    assert!(!app.keeps(customer.external_userid()).await);
    customer.says(&app.account(), &code.text);
    asking.until("bound").await;
}

#[tokio::test]
async fn somebody_known_from_the_chat_only_is_forgotten() {
    let app = TestApp::codes_alone(&[("limits.wrong_codes_per_customer", "\"5/10m\"")]).await;
    let asking = app.login("asking").await;
    let code = asking.issue().await;
    let customer = locked(&app, "c", &code).await;
    let guesser = app.sim.customer("d");
    guesser.says(&app.account(), &code.other(9));
    assert_eq!(hears(&guesser, 1).await, ["wrong_code"]);
    for one in [&customer, &guesser] {
        assert!(app.keeps(one.external_userid()).await);
        app.erase_customer(one.external_userid()).await.expect(204);
        assert!(!app.keeps(one.external_userid()).await);
        app.erase_customer(one.external_userid()).await.expect_problem(404, "not-found");
    }
    assert!(!json!(app.events().await).to_string().contains(customer.external_userid()));
    // Each of them was erased twice, and a life after an erasure begins behind that.
    app.clock.advance(2);
    // Repeated pages count nothing again, and a fresh start is one.
    customer.says(&app.account(), &code.text);
    asking.until("bound").await;
    assert_eq!(hears(&customer, 2).await, ["locked", "bound"]);
}

#[tokio::test]
async fn a_question_to_a_forgotten_customer_is_dead() {
    let app = TestApp::codes_alone(&[("binding.confirm_code", "true")]).await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    customer.says(&app.account(), &phone.issue().await.text);
    assert_eq!(hears(&customer, 1).await, ["confirm\nconfirm_yes\nconfirm_no"]);
    app.erase_customer(customer.external_userid()).await.expect(204);
    assert!(!app.keeps(customer.external_userid()).await);
    customer.taps_label("confirm_yes");
    app.settled().await;
    assert_eq!(app.bindings().await, [json!(null); 0]);
    assert_eq!(phone.status().await, "pending", "the user's code is not the customer's");
}

#[tokio::test]
async fn a_card_of_a_forgotten_customer_is_dead_and_the_next_word_invites_anew() {
    let app =
        TestApp::with(&[("binding.methods", "[\"code\", \"card\"]"), ("kf.handover", "\"none\"")]).await;
    let customer = app.sim.customer("c").with_nickname("昵称小李");
    customer.says(&app.account(), "你好");
    let card = eventually("a card comes", async || customer.card()).await;
    let ticket = card.pagepath.split_once("?ticket=").unwrap().1.to_owned();
    app.settled().await;
    assert!(app.keeps(customer.external_userid()).await);
    app.erase_customer(customer.external_userid()).await.expect(204);
    assert!(!app.keeps(customer.external_userid()).await && !app.keeps("昵称小李").await);
    let phone = app.login("u").await;
    let used = phone.client.post("/api/binding/ticket", json!({"ticket": ticket})).await;
    used.expect_problem(404, "ticket-invalid");
    app.clock.advance(1);
    customer.says(&app.account(), "在吗");
    eventually("another card comes", async || customer.card().filter(|new| new.pagepath != card.pagepath))
        .await;
}

#[tokio::test]
async fn erasing_the_customer_of_a_pair_ends_the_pair() {
    let app = united().await;
    let phone = app.login_united("u", "uniOfThisTest").await;
    let customer = app.sim.customer("c").with_unionid("uniOfThisTest");
    customer.says(&app.account(), "你好");
    phone.until("bound").await;
    app.settled().await;
    app.erase_customer(customer.external_userid()).await.expect(204);
    assert_eq!(app.bindings().await, [json!(null); 0]);
    assert!(!app.keeps(customer.external_userid()).await);
    assert_eq!(app.metric("kfbind_bindings").await, 0.0);
}

#[tokio::test]
async fn nobody_else_is_touched() {
    let mut app = TestApp::with(&[("binding.methods", EVERY_WAY), ("kf.handover", "\"none\"")]).await;
    let (first, _, _) = app.bound("first").await;
    let (second, customer, _) = app.bound("second").await;
    let third = app.login("third").await;
    let pending = third.issue().await;
    app.settled().await;
    let others = |events: Vec<serde_json::Value>| -> Vec<serde_json::Value> {
        events.into_iter().filter(|event| event["openid"] == second.openid).collect()
    };
    let before = (others(app.events().await), second.view().await, third.view().await);
    app.erase(&first.openid).await.expect(204);
    app.restart().await;
    assert_eq!((others(app.events().await), second.view().await, third.view().await), before);
    let late = app.sim.customer("late");
    late.says(&app.account(), &pending.text);
    third.until("bound").await;
    customer.says(&app.account(), "解绑");
    second.until("unbound").await;
}

#[tokio::test]
async fn an_export_of_after_an_erasure_knows_no_more_than_its_store() {
    let mut app = TestApp::codes_alone(&[]).await;
    let (phone, customer, _) = app.bound("u").await;
    app.settled().await;
    app.erase(&phone.openid).await.expect(204);
    app.restart().await;
    let export = app.admin().get("/api/admin/export").await.expect(200).text();
    assert!(!export.contains(&phone.openid) && !export.contains(customer.external_userid()));
    assert!(!app.keeps(&phone.openid).await && !app.keeps(customer.external_userid()).await);
    phone.client.get("/api/binding").await.expect_problem(401, "session-invalid");
}

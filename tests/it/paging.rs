//! Reading the message stream: pages, cursors, and messages that can't be read.

use std::collections::BTreeSet;

use kfbind::sim::{Api, CallRecord};
use serde_json::{Value, json};

use crate::support::{Code, Options, Phone, START_S, TestApp, eventually, heard, hears, text_message};

async fn about_to_bind(app: &TestApp) -> (Phone, Code) {
    let phone = app.login("u").await;
    let code = phone.issue().await;
    (phone, code)
}

fn pages(app: &TestApp) -> Vec<CallRecord> {
    app.sim.calls(Api::SyncMsg).into_iter().filter(|call| call.errcode == 0).collect()
}

#[tokio::test]
async fn a_backlog_is_read_page_by_page_to_its_end() {
    let app = TestApp::start().await;
    let (phone, code) = about_to_bind(&app).await;
    app.sim.hold_callbacks();
    let customer = app.sim.customer("talker");
    for number in 0..2_300 {
        customer.says(&app.account(), &format!("第{number}句"));
    }
    app.sim.customer("c").says(&app.account(), &code.text);
    let before = pages(&app).len();
    app.sim.push_callback(&app.account());
    app.sim.release_callbacks();
    phone.until("bound").await;
    let read: Vec<usize> = pages(&app)[before..]
        .iter()
        .map(|call| call.answer["msg_list"].as_array().map_or(0, Vec::len))
        .take(3)
        .collect();
    assert_eq!(read, [1000, 1000, 301]);
    assert_eq!(app.metric("kfbind_sync_messages_total{kind=\"text\"}").await, 2_301.0);
}

#[tokio::test]
async fn pages_of_one_message_bring_each_message_once() {
    let app = TestApp::start().await;
    app.sim.switch(|wecom| wecom.page_size_max = 1);
    let (phone, code) = about_to_bind(&app).await;
    let customer = app.sim.customer("c");
    app.sim.hold_callbacks();
    for number in 0..20 {
        customer.says(&app.account(), &format!("第{number}句"));
    }
    customer.says(&app.account(), &code.text);
    app.sim.release_callbacks();
    phone.until("bound").await;
    app.settled().await;
    let brought: Vec<String> = pages(&app)
        .iter()
        .flat_map(|call| call.answer["msg_list"].as_array().cloned().unwrap_or_default())
        .map(|message| message["msgid"].to_string())
        .collect();
    assert_eq!(brought.len(), brought.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(brought.len(), 21);
    // Each page begins where the one before ended.
    for pair in pages(&app).windows(2) {
        assert_eq!(pair[1].body["cursor"], pair[0].answer["next_cursor"]);
    }
}

#[tokio::test]
async fn an_empty_page_with_has_more_is_not_the_end() {
    let app = TestApp::start().await;
    let (phone, code) = about_to_bind(&app).await;
    app.sim.switch(|wecom| wecom.empty_pages = 5);
    app.sim.customer("c").says(&app.account(), &code.text);
    phone.until("bound").await;
    assert_eq!(app.sim.switches().empty_pages, 0);
    assert_eq!(app.sim.callbacks().len(), 1, "without another callback");
}

#[tokio::test]
async fn has_more_without_progress_ends() {
    let app = TestApp::start().await;
    let (phone, code) = about_to_bind(&app).await;
    app.sim.switch(|wecom| wecom.stuck_pages = u32::MAX);
    let before = app.sim.count(Api::SyncMsg);
    app.sim.customer("c").says(&app.account(), &code.text);
    app.metric_reaches("kfbind_sync_pulls_total{result=\"stuck\"}", 1.0).await;
    app.admin().get("/readyz").await.expect(200);
    let pulls = app.sim.count(Api::SyncMsg) - before;
    assert!(pulls <= 3, "{pulls} pulls of a page that does not move");
    app.sim.switch(|wecom| wecom.stuck_pages = 0);
    app.sim.push_callback(&app.account());
    phone.until("bound").await;
}

#[tokio::test]
async fn a_refused_cursor_starts_over_without_doubling() {
    let app = TestApp::start().await;
    let (first, customer, code) = app.bound("first").await;
    for number in 0..4 {
        customer.says(&app.account(), &code.other(number));
        hears(&customer, usize::try_from(number).unwrap() + 2).await;
    }
    app.settled().await;
    let (said, before) = (heard(&customer), first.view().await);
    app.sim.switch(|wecom| wecom.refuse_cursors = 1);
    let (phone, code) = about_to_bind(&app).await;
    app.sim.customer("c").says(&app.account(), &code.text);
    phone.until("bound").await;
    app.settled().await;
    assert_eq!(app.metric("kfbind_sync_pulls_total{result=\"cursor_refused\"}").await, 1.0);
    assert_eq!(heard(&customer), said);
    assert_eq!(first.view().await, before);
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"wrong\"}").await, 4.0);
    let starts =
        pages(&app).iter().filter(|call| call.body["cursor"].as_str().unwrap_or("").is_empty()).count();
    assert_eq!(starts, 2, "the first pull of all, and the one that started over");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_passed() {
    let app = TestApp::start().await;
    let (phone, code) = about_to_bind(&app).await;
    let account = app.account();
    let customer = app.sim.customer("c");
    let id = customer.external_userid().to_owned();
    let odd = [
        json!(null),
        json!("text"),
        json!(17),
        json!([]),
        json!({}),
        json!({"msgid": 5, "open_kfid": account, "send_time": "yesterday", "msgtype": "text"}),
        json!({"msgid": "noTime", "open_kfid": account, "external_userid": id, "origin": 3, "msgtype": "text",
               "text": {"content": code.text}}),
        json!({"msgid": "noText", "open_kfid": account, "external_userid": id, "send_time": START_S, "origin": 3,
               "msgtype": "text"}),
        json!({"msgid": "newKind", "open_kfid": account, "external_userid": id, "send_time": START_S, "origin": 3,
               "msgtype": "hologram", "hologram": {"nested": [[[[1]]]]}}),
        json!({"msgid": "newEvent", "send_time": START_S, "origin": 4, "msgtype": "event",
               "event": {"event_type": "never_heard_of", "open_kfid": account}}),
        json!({"msgid": "bareEvent", "send_time": START_S, "origin": 4, "msgtype": "event"}),
        json!({"msgid": "negative", "open_kfid": account, "external_userid": id, "send_time": -1, "origin": 3,
               "msgtype": "text", "text": {"content": code.text}}),
    ];
    // The sessions of the chat begin with a word of the customer's; without one nobody may answer.
    customer.says(&account, "你好");
    app.sim.hold_callbacks();
    for message in odd {
        app.sim.raw_message(&account, message);
    }
    let phone_message = text_message(&account, "last", &id, START_S, &code.text);
    app.sim.raw_message(&account, phone_message);
    app.sim.release_callbacks();
    let view = phone.until("bound").await;
    assert_eq!(view["binding"]["bound_at"], crate::support::rfc3339(START_S));
    assert!(app.metric("kfbind_sync_messages_total{kind=\"unreadable\"}").await >= 5.0);
    app.settled().await;
    assert_eq!(hears(&customer, 1).await, ["bound"]);
}

#[tokio::test]
async fn fields_that_wecom_may_add_do_no_harm() {
    let app = TestApp::start().await;
    let (phone, code) = about_to_bind(&app).await;
    let account = app.account();
    let customer = app.sim.customer("c");
    let mut message = text_message(&account, "extra", customer.external_userid(), START_S, &code.text);
    message["future"] = json!({"deep": [1, {"a": null}]});
    message["text"]["quote"] = json!("…");
    app.sim.raw_message(&account, message);
    phone.until("bound").await;
}

#[tokio::test]
async fn the_newest_message_first_is_fine_too() {
    let app = TestApp::start().await;
    app.sim.switch(|wecom| wecom.newest_first = true);
    let (phone, code) = about_to_bind(&app).await;
    let customer = app.sim.customer("c");
    app.sim.hold_callbacks();
    customer.says(&app.account(), "你好");
    customer.says(&app.account(), &code.text);
    customer.says(&app.account(), "谢谢");
    app.sim.release_callbacks();
    phone.until("bound").await;
    app.settled().await;
    assert_eq!(heard(&customer), ["bound"]);
}

#[tokio::test]
async fn an_old_sync_token_is_not_used() {
    let app = TestApp::start().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    app.sim.hold_callbacks();
    customer.says(&app.account(), "你好");
    app.clock.advance(601);
    let code = phone.issue().await;
    app.sim.customer("second").says_at(&app.account(), &code.text, START_S + 601);
    app.sim.release_callbacks();
    phone.until("bound").await;
    assert_eq!(app.metric("kfbind_sync_pulls_total{result=\"token_refused\"}").await, 0.0);
}

#[tokio::test]
async fn a_sync_token_that_wecom_refuses_is_dropped_and_the_pull_repeated() {
    let app = TestApp::start().await;
    let (phone, code) = about_to_bind(&app).await;
    app.sim.fail_next(Api::SyncMsg, kfbind::sim::Fault::Errcode(95007), 1);
    app.sim.customer("c").says(&app.account(), &code.text);
    phone.until("bound").await;
    let calls = app.sim.calls(Api::SyncMsg);
    let refused = calls.iter().position(|call| call.errcode == 95007).unwrap();
    assert!(calls[refused].body["token"].as_str().is_some_and(|token| !token.is_empty()));
    assert!(calls[refused + 1].body["token"].as_str().unwrap_or("").is_empty());
}

#[tokio::test]
async fn ids_that_differ_in_case_only_are_two() {
    let app = TestApp::open(Options::default()).await;
    let account = app.account();
    let ids = ["wmCaseCaseCaseCaseCaseCaseCaseCA", "wmcasecasecasecasecasecasecaseca"];
    let mut views: Vec<Value> = Vec::new();
    for (number, id) in ids.into_iter().enumerate() {
        let phone = app.login_as(["oCase", "ocase"][number]).await;
        let code = phone.issue().await;
        let msgid = ["msgCase", "MSGCASE"][number];
        app.sim.raw_message(&account, text_message(&account, msgid, id, START_S, &code.text));
        views.push(phone.until("bound").await);
    }
    let list = app.admin().get("/api/admin/bindings").await.expect(200).json();
    let pairs: Vec<(&str, &str)> = list["bindings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|binding| (binding["openid"].as_str().unwrap(), binding["external_userid"].as_str().unwrap()))
        .collect();
    assert_eq!(pairs, [("oCase", ids[0]), ("ocase", ids[1])]);
    app.admin().delete("/api/admin/bindings/oCASE").await.expect(404);
}

#[tokio::test]
async fn few_pulls_go_out_without_a_sync_token() {
    let app = TestApp::with(&[("kf.reconcile_every", "\"100ms\"")]).await;
    eventually("six pulls", async || (app.sim.count(Api::SyncMsg) >= 6).then_some(())).await;
    // The seventh would come after another 100 ms; twenty answers of ours take longer than that.
    for _ in 0..20 {
        app.login("u").await;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(app.sim.count(Api::SyncMsg), 6);
    // With a token it goes on at once.
    app.bound("u").await;
}

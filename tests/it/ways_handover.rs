//! Hand-over: ordinary talk reaches a person, once; and nobody is taken from one.

use kfbind::sim::{Api, Servicer};
use serde_json::Value;

use crate::support::{EVERY_WAY, TestApp, eventually, heard, hears};

async fn app() -> TestApp {
    TestApp::with(&[
        ("binding.methods", r#"["code"]"#),
        ("kf.handover", "\"pool\""),
        ("kf.person_word", "\"人工\""),
    ])
    .await
}

/// The states to which sessions were moved, by call.
fn moves(app: &TestApp) -> Vec<Value> {
    let calls = app.sim.calls(Api::ServiceStateTrans);
    calls.iter().filter(|call| call.errcode == 0).map(|call| call.body["service_state"].clone()).collect()
}

#[tokio::test]
async fn who_writes_hello_reaches_the_pool_and_is_moved_once() {
    let app = app().await;
    let customer = app.sim.customer("c");
    customer.says(&app.account(), "你好");
    eventually("the pool", async || (app.sim.service_state(&customer, &app.account()) == 2).then_some(()))
        .await;
    customer.says(&app.account(), "有人吗");
    customer.sends_image(&app.account());
    app.settled().await;
    assert_eq!(moves(&app), [2]);
    assert_eq!(heard(&customer), Vec::<String>::new());
}

#[tokio::test]
async fn while_a_person_is_serving_nothing_is_moved_or_sent_and_a_code_binds_all_the_same() {
    let app = app().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    customer.says(&app.account(), "你好");
    app.settled().await;
    app.sim.servicer_takes(&customer, &app.account(), "fakeServicerOne");
    customer.says(&app.account(), "我要退货");
    customer.says(&app.account(), "999999");
    customer.says(&app.account(), &phone.issue().await.text);
    phone.until("bound").await;
    app.settled().await;
    assert_eq!(moves(&app), [2]);
    assert_eq!(heard(&customer), Vec::<String>::new(), "said nothing into a person's talk");
    assert_eq!(app.metric("kfbind_replies_total{result=\"with_person\"}").await, 2.0);
    app.sim.servicer_ends(&customer, &app.account(), "fakeServicerOne");
    customer.says(&app.account(), "再问一下");
    app.settled().await;
    assert_eq!(moves(&app), [2, 2], "the next session is moved again");
}

#[tokio::test]
async fn what_we_answer_or_act_on_moves_nobody() {
    let app = app().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    customer.says(&app.account(), &phone.issue().await.text);
    hears(&customer, 1).await;
    customer.says(&app.account(), "123456");
    hears(&customer, 2).await;
    customer.says(&app.account(), "解绑");
    hears(&customer, 3).await;
    app.settled().await;
    assert_eq!(moves(&app), Vec::<Value>::new());
}

#[tokio::test]
async fn answers_to_wrong_codes_name_the_word_for_a_person_and_it_moves_at_once() {
    let app = app().await;
    let customer = app.sim.customer("c");
    customer.says(&app.account(), "123456");
    let said = hears(&customer, 1).await;
    assert!(said[0].starts_with("wrong_code") && said[0].contains("人工"), "{said:?}");
    customer.says(&app.account(), "人工");
    eventually("the pool", async || (app.sim.service_state(&customer, &app.account()) == 2).then_some(()))
        .await;
}

#[tokio::test]
async fn servicers_take_turns_and_the_pool_stands_in_where_nobody_receives() {
    let app = TestApp::with(&[("binding.methods", r#"["code"]"#), ("kf.handover", "\"servicer\"")]).await;
    app.sim.set_servicers(
        &app.account(),
        vec![Servicer::receiving("staffA"), Servicer::stopped("staffB"), Servicer::receiving("staffC")],
    );
    for number in 0..4 {
        app.sim.customer(&format!("c{number}")).says(&app.account(), "你好");
        app.settled().await;
    }
    let calls = app.sim.calls(Api::ServiceStateTrans);
    let mut served: Vec<String> = calls
        .iter()
        .filter(|call| call.errcode == 0)
        .map(|call| call.body["servicer_userid"].as_str().unwrap_or_default().to_owned())
        .collect();
    served.sort();
    assert_eq!(served, ["staffA", "staffA", "staffC", "staffC"]);
    app.sim.set_servicers(&app.account(), vec![Servicer::stopped("staffA")]);
    let customer = app.sim.customer("late");
    customer.says(&app.account(), "你好");
    eventually("the pool", async || (app.sim.service_state(&customer, &app.account()) == 2).then_some(()))
        .await;
}

#[tokio::test]
async fn a_move_that_was_under_way_at_a_restart_is_made_once() {
    let mut app = app().await;
    let customer = app.sim.customer("c");
    app.sim.switch(|switches| switches.down = true);
    app.sim.switch(|switches| switches.down = false);
    app.sim.fail_next(Api::ServiceStateTrans, kfbind::sim::Fault::Dropped.after_effect(), 1);
    customer.says(&app.account(), "你好");
    eventually("the pool", async || (app.sim.service_state(&customer, &app.account()) == 2).then_some(()))
        .await;
    app.restart().await;
    app.settled().await;
    assert_eq!(moves(&app), [2], "its answer was lost, and nobody was moved twice");
}

#[tokio::test]
async fn with_every_way_on_talk_is_invited_and_moved_and_a_code_binds() {
    let app = TestApp::with(&[("binding.methods", EVERY_WAY), ("kf.handover", "\"pool\"")]).await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    customer.says(&app.account(), "你好");
    eventually("the pool", async || (app.sim.service_state(&customer, &app.account()) == 2).then_some(()))
        .await;
    assert_eq!(hears(&customer, 1).await, ["invite\ninvite_item"], "the invitation goes first");
    customer.says(&app.account(), &phone.issue().await.text);
    assert_eq!(phone.until("bound").await["binding"]["method"], "code");
}

//! The way `unionid`: the same person on both sides, without a word; and different people, whom no way binds.

use kfbind::sim::Api;
use serde_json::json;

use crate::support::{Phone, TestApp, eventually, heard, hears};

async fn app() -> TestApp {
    TestApp::with(&[
        ("binding.methods", r#"["code", "link", "unionid", "card"]"#),
        ("kf.handover", "\"none\""),
    ])
    .await
}

#[tokio::test]
async fn the_same_unionid_binds_without_a_word_whichever_side_shows_it_second() {
    for user_first in [true, false] {
        let app =
            TestApp::with(&[("binding.methods", r#"["code", "unionid"]"#), ("kf.handover", "\"none\"")])
                .await;
        let customer = app.sim.customer("c").with_unionid("uni1");
        let phone = if user_first {
            let phone = app.login_united("u", "uni1").await;
            customer.says(&app.account(), "你好");
            phone
        } else {
            customer.says(&app.account(), "你好");
            app.settled().await;
            app.login_united("u", "uni1").await
        };
        let view = phone.until("bound").await;
        assert_eq!(view["binding"]["method"], "unionid", "user first: {user_first}");
        app.settled().await;
        assert_eq!(heard(&customer), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_pair_that_was_undone_is_bound_again_only_after_another_way_has() {
    let app = app().await;
    let customer = app.sim.customer("c").with_unionid("uni1");
    let phone = app.login_united("u", "uni1").await;
    customer.says(&app.account(), "你好");
    phone.until("bound").await;
    phone.unbind().await;
    customer.says(&app.account(), "在吗");
    app.login_united("u", "uni1").await;
    app.settled().await;
    assert_eq!(phone.status().await, "unbound");
    customer.says(&app.account(), &phone.issue().await.text);
    assert_eq!(phone.until("bound").await["binding"]["method"], "code");
}

#[tokio::test]
async fn different_people_are_bound_by_no_way_and_the_code_lives_on() {
    let app = app().await;
    let phone = app.login_united("u", "uni1").await;
    let stranger = app.sim.customer("stranger").with_unionid("uni2");
    let code = phone.issue().await;
    stranger.says(&app.account(), &code.text);
    assert_eq!(hears(&stranger, 1).await, ["other_person"]);
    stranger.opens(&code.link());
    app.settled().await;
    assert_eq!(app.bound_to(&stranger).await, None);
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"other_person\"}").await, 2.0);
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"wrong\"}").await, 0.0);
    let own = app.sim.customer("own").with_unionid("uni1");
    own.says(&app.account(), &code.text);
    assert_eq!(phone.until("bound").await["binding"]["method"], "code", "the code in the message goes first");
    assert_eq!(hears(&own, 1).await, ["bound"]);
}

#[tokio::test]
async fn a_card_of_somebody_else_is_refused_with_403() {
    let app = app().await;
    let customer = app.sim.customer("c").with_unionid("uni2");
    customer.says(&app.account(), "你好");
    hears(&customer, 1).await;
    let card = customer.card().expect("an invitation");
    let (_, ticket) = card.pagepath.split_once("?ticket=").unwrap();
    let phone = app.login_united("u", "uni1").await;
    let refused = phone.client.post("/api/binding/ticket", json!({"ticket": ticket})).await;
    refused.expect_problem(403, "other-person");
    assert_eq!(app.bound_to(&customer).await, None);
}

#[tokio::test]
async fn a_link_opened_by_the_same_person_needs_no_question() {
    let app = app().await;
    let phone = app.login_united("u", "uni1").await;
    let customer = app.sim.customer("c").with_unionid("uni1");
    customer.opens(&phone.issue().await.link());
    assert_eq!(phone.until("bound").await["binding"]["method"], "link");
    assert_eq!(hears(&customer, 1).await, ["bound"]);
}

#[tokio::test]
async fn while_wecom_does_not_tell_who_it_is_the_code_decides() {
    let app = app().await;
    let phone: Phone = app.login_united("u", "uni1").await;
    let customer = app.sim.customer("c").with_unionid("uni1");
    app.sim.fail_next(Api::CustomerBatchGet, kfbind::sim::Fault::Html, 3);
    let code = phone.issue().await;
    customer.says(&app.account(), &code.text);
    assert_eq!(phone.until("bound").await["binding"]["method"], "code");
}

#[tokio::test]
async fn it_replaces_nothing_whatever_is_done_on_a_conflict() {
    let app = TestApp::with(&[
        ("binding.methods", r#"["code", "unionid"]"#),
        ("binding.on_conflict", "\"replace\""),
        ("kf.handover", "\"none\""),
    ])
    .await;
    let customer = app.sim.customer("c").with_unionid("uni1");
    let first = app.login("first").await;
    customer.says(&app.account(), &first.issue().await.text);
    first.until("bound").await;
    let second = app.login_united("u", "uni1").await;
    customer.says(&app.account(), "你好");
    app.settled().await;
    assert_eq!((first.status().await, second.status().await), ("bound".into(), "unbound".into()));
}

#[tokio::test]
async fn customers_are_asked_about_once_for_a_whole_page_and_only_who_is_not_known() {
    let app =
        TestApp::with(&[("binding.methods", r#"["code", "unionid"]"#), ("kf.handover", "\"none\"")]).await;
    app.sim.hold_callbacks();
    for number in 0..30 {
        app.sim.customer(&format!("c{number}")).says(&app.account(), "你好");
    }
    app.sim.release_callbacks();
    app.settled().await;
    let asked = app.sim.count(Api::CustomerBatchGet);
    assert!(asked <= 5, "{asked} calls for 30 customers");
    for number in 0..30 {
        app.sim.customer(&format!("c{number}")).says(&app.account(), "在吗");
    }
    app.settled().await;
    assert_eq!(app.sim.count(Api::CustomerBatchGet), asked, "nobody is asked about twice within a day");
    eventually("the service goes on", async || {
        (app.client().get("/readyz").await.status == 200).then_some(())
    })
    .await;
}

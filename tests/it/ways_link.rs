//! The way `link`: the ticket in the kf link, the question, and what a forwarded link can't do.

use kfbind::sim::Api;
use serde_json::json;

use crate::support::{START_S, TestApp, heard, hears};

const CODE_TTL_S: u64 = 600;

async fn app() -> TestApp {
    TestApp::with(&[("binding.methods", r#"["code", "link"]"#), ("kf.handover", "\"none\"")]).await
}

#[tokio::test]
async fn opening_the_link_asks_and_a_yes_binds_without_typing() {
    let app = app().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    customer.opens(&code.link()).expect("WeCom tells of the entry");
    assert_eq!(hears(&customer, 1).await, ["confirm\nconfirm_yes\nconfirm_no"]);
    assert_eq!(phone.status().await, "pending", "nothing is bound before the yes");
    assert_eq!(app.sim.count(Api::SendMsgOnEvent), 1, "the question goes out by the entry's own right");
    customer.taps_label("confirm_yes").expect("the yes can be tapped");
    assert_eq!(phone.until("bound").await["binding"]["method"], "link");
    assert_eq!(hears(&customer, 2).await.last().unwrap(), "bound");
    assert_eq!(app.metric("kfbind_bindings_total{method=\"link\"}").await, 1.0);
}

#[tokio::test]
async fn without_confirm_link_entering_is_enough() {
    let app = app_without_question().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    customer.opens(&phone.issue().await.link());
    assert_eq!(phone.until("bound").await["binding"]["method"], "link");
    assert_eq!(hears(&customer, 1).await, ["bound"]);
}

async fn app_without_question() -> TestApp {
    TestApp::with(&[
        ("binding.methods", r#"["code", "link"]"#),
        ("binding.confirm_link", "false"),
        ("kf.handover", "\"none\""),
    ])
    .await
}

#[tokio::test]
async fn a_ticket_ends_when_its_code_ends_by_the_time_of_the_entry() {
    for (offset_s, bound) in [(CODE_TTL_S - 1, true), (CODE_TTL_S, false)] {
        let app = app_without_question().await;
        let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
        let code = phone.issue().await;
        app.clock.advance(CODE_TTL_S + 5);
        customer.opens_at(&code.link(), START_S + offset_s);
        app.settled().await;
        assert_eq!(phone.status().await == "bound", bound, "entered after {offset_s} s");
        assert_eq!(heard(&customer).len(), usize::from(bound), "a dead ticket is never answered");
    }
}

#[tokio::test]
async fn a_ticket_binds_once_and_a_new_code_ends_it() {
    let app = app_without_question().await;
    let (phone, first, second) = (app.login("u").await, app.sim.customer("c"), app.sim.customer("d"));
    let old = phone.issue().await;
    let new = phone.issue().await;
    assert_ne!(old.link(), new.link());
    first.opens(&old.link());
    app.settled().await;
    assert_eq!(phone.status().await, "pending");
    first.opens(&new.link());
    phone.until("bound").await;
    second.opens(&new.link());
    first.opens(&new.link());
    app.settled().await;
    assert_eq!(app.bound_to(&second).await, None);
    assert_eq!(heard(&second), Vec::<String>::new());
    assert_eq!(heard(&first), ["bound"], "its own customer's second entry isn't answered either");
    phone.unbind().await;
    first.opens(&new.link());
    app.settled().await;
    assert_eq!(phone.status().await, "unbound", "no ticket of before an unbinding binds");
}

#[tokio::test]
async fn a_code_given_again_has_the_same_ticket() {
    let app = app().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let again = phone.ask(json!({})).await.expect(200).json();
    assert_eq!(again["kf"]["url"], code.link());
    assert_eq!(phone.view().await["pending"]["kf"]["url"], code.link());
}

#[tokio::test]
async fn a_forwarded_link_asks_the_stranger_and_a_no_ends_it_for_the_stranger_alone() {
    let app = app().await;
    let (phone, stranger, own) =
        (app.login("u").await, app.sim.customer("stranger"), app.sim.customer("own"));
    let code = phone.issue().await;
    stranger.opens(&code.link());
    hears(&stranger, 1).await;
    stranger.taps_label("confirm_no").expect("the no can be tapped");
    assert_eq!(hears(&stranger, 2).await.last().unwrap(), "cancelled");
    stranger.opens(&code.link());
    stranger.says(&app.account(), &code.text);
    app.settled().await;
    assert_eq!(phone.status().await, "pending", "not by the link again, nor by its code");
    own.opens(&code.link());
    hears(&own, 1).await;
    own.taps_label("confirm_yes");
    phone.until("bound").await;
    assert_eq!(app.bound_to(&own).await.unwrap().0, phone.openid);
}

#[tokio::test]
async fn a_tap_from_another_customer_and_the_label_typed_by_hand_are_talk() {
    let app = app().await;
    let (phone, customer, other) = (app.login("u").await, app.sim.customer("c"), app.sim.customer("d"));
    customer.opens(&phone.issue().await.link());
    hears(&customer, 1).await;
    let menu = customer.heard().remove(0).menu;
    let kfbind::sim::MenuItem::Click { id, .. } = &menu[0] else { panic!("{menu:?}") };
    other.sends(&app.account(), "text", json!({"content": "confirm_yes", "menu_id": id}));
    customer.says(&app.account(), "confirm_yes");
    app.settled().await;
    assert_eq!(phone.status().await, "pending");
    assert_eq!(heard(&other), Vec::<String>::new());
    customer.taps(id);
    phone.until("bound").await;
    assert_eq!(app.bound_to(&customer).await.unwrap().0, phone.openid);
}

#[tokio::test]
async fn an_entry_that_wecom_swallowed_is_made_up_for_at_the_next_message() {
    let app = app().await;
    app.sim.switch(|switches| switches.open_session_swallows_entry = true);
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    // A session is open already.
    customer.says(&app.account(), "你好");
    app.settled().await;
    assert_eq!(customer.opens(&phone.issue().await.link()), None, "the event is swallowed");
    app.settled().await;
    assert_eq!(heard(&customer), Vec::<String>::new());
    customer.says(&app.account(), "在吗");
    assert_eq!(hears(&customer, 1).await, ["confirm\nconfirm_yes\nconfirm_no"]);
    customer.says(&app.account(), "好的");
    app.settled().await;
    assert_eq!(heard(&customer).len(), 1, "once per ticket and customer");
    customer.taps_label("confirm_yes");
    assert_eq!(phone.until("bound").await["binding"]["method"], "link");
}

#[tokio::test]
async fn a_link_and_a_code_race_and_bind_once() {
    let app = app().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    customer.opens(&code.link());
    hears(&customer, 1).await;
    customer.says(&app.account(), &code.text);
    assert_eq!(phone.until("bound").await["binding"]["method"], "code");
    hears(&customer, 2).await;
    customer.taps_label("confirm_yes");
    assert_eq!(hears(&customer, 3).await.last().unwrap(), "expired_code", "the question died with the code");
    assert_eq!(app.metric("kfbind_bindings_total{method=\"link\"}").await, 0.0);
}

#[tokio::test]
async fn a_question_and_its_answer_survive_a_restart_between_them() {
    let mut app = app().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    customer.opens(&phone.issue().await.link());
    hears(&customer, 1).await;
    app.restart().await;
    customer.taps_label("confirm_yes");
    phone.until("bound").await;
    assert_eq!(app.bound_to(&customer).await.unwrap().0, phone.openid);
}

#[tokio::test]
async fn a_question_that_is_refused_is_asked_again_at_the_next_message() {
    let app = app().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    // No right to speak with the entry, and a message may only be sent to who has written.
    app.sim.switch(|switches| switches.no_welcome_codes = true);
    customer.opens(&phone.issue().await.link());
    app.settled().await;
    assert_eq!(heard(&customer), Vec::<String>::new());
    customer.says(&app.account(), "你好");
    assert_eq!(hears(&customer, 1).await, ["confirm\nconfirm_yes\nconfirm_no"]);
    customer.taps_label("confirm_yes");
    phone.until("bound").await;
}

#[tokio::test]
async fn an_own_link_without_a_scene_is_passed_on_unaltered() {
    let url = "https://work.weixin.qq.com/kfid/kfcFAKE0123456789abc";
    let app =
        TestApp::with(&[("binding.methods", r#"["code", "link"]"#), ("kf.url", &format!("{url:?}"))]).await;
    assert_eq!(app.login("u").await.issue().await.link(), url);
}

#[tokio::test]
async fn forged_and_altered_tickets_bind_nobody_and_are_not_counted() {
    let app = app_without_question().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let link = phone.issue().await.link();
    let (_, ticket) = link.split_once("scene_param=").unwrap();
    let swapped: String = ticket.chars().rev().collect();
    let mut altered: Vec<char> = ticket.chars().collect();
    altered[31] = if altered[31] == 'A' { 'B' } else { 'A' };
    let altered: String = altered.into_iter().collect();
    for forged in
        [swapped.as_str(), &altered, "", "A", &"A".repeat(32), &"é".repeat(40), phone.openid.as_str()]
    {
        customer.enters(&app.account(), Some(forged));
    }
    app.settled().await;
    assert_eq!(phone.status().await, "pending");
    assert_eq!(heard(&customer), Vec::<String>::new());
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"wrong\"}").await, 0.0);
}

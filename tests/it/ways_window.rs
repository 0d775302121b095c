//! The way `window`: one who announced the chat, one who came, and a yes.

use serde_json::json;

use crate::support::{Phone, TestApp, heard, hears};

const MINUTE_S: u64 = 60;

async fn app() -> TestApp {
    TestApp::with(&[("binding.methods", r#"["code", "window"]"#), ("kf.handover", "\"none\"")]).await
}

async fn announces(phone: &Phone) {
    phone.client.post("/api/binding/intent", json!({})).await.expect(202);
}

#[tokio::test]
async fn the_only_one_who_comes_is_asked_and_a_yes_binds() {
    let app = app().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    announces(&phone).await;
    customer.says(&app.account(), "你好");
    assert_eq!(hears(&customer, 1).await, ["confirm\nconfirm_yes\nconfirm_no"]);
    assert_eq!(phone.status().await, "unbound");
    customer.taps_label("confirm_yes");
    assert_eq!(phone.until("bound").await["binding"]["method"], "window");
    phone.client.post("/api/binding/intent", json!({})).await.expect_problem(409, "already-bound");
}

#[tokio::test]
async fn two_who_announced_or_two_who_came_are_not_asked() {
    let app = app().await;
    let (first, second) = (app.login("u").await, app.login("v").await);
    announces(&first).await;
    announces(&second).await;
    let customer = app.sim.customer("c");
    customer.says(&app.account(), "你好");
    app.settled().await;
    assert_eq!(heard(&customer), Vec::<String>::new(), "two intents");

    let app = self::app().await;
    announces(&app.login("u").await).await;
    let (one, other) = (app.sim.customer("c"), app.sim.customer("d"));
    app.sim.hold_callbacks();
    one.says(&app.account(), "你好");
    other.says(&app.account(), "你好");
    app.sim.release_callbacks();
    app.settled().await;
    assert_eq!(heard(&other), Vec::<String>::new(), "two customers: the second is not asked");
    one.taps_label("confirm_yes");
    app.settled().await;
    assert_eq!(app.bound_to(&one).await, None, "and the first, if asked, can't bind any more");
}

#[tokio::test]
async fn somebody_who_comes_before_the_tap_ends_it() {
    let app = app().await;
    let (phone, customer, late) = (app.login("u").await, app.sim.customer("c"), app.sim.customer("d"));
    announces(&phone).await;
    customer.says(&app.account(), "你好");
    hears(&customer, 1).await;
    app.clock.advance(2);
    late.says(&app.account(), "你好");
    app.settled().await;
    app.clock.advance(2);
    customer.taps_label("confirm_yes");
    assert_eq!(hears(&customer, 2).await.last().unwrap(), "expired_code");
    assert_eq!(phone.status().await, "unbound");
    assert_eq!(heard(&late), Vec::<String>::new());
}

#[tokio::test]
async fn it_is_over_after_its_time_and_bound_customers_do_not_count() {
    let app = app().await;
    let (_, regular, _) = app.bound("regular").await;
    app.clock.advance(2 * MINUTE_S);
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    announces(&phone).await;
    regular.says(&app.account(), "你好");
    customer.says(&app.account(), "你好");
    hears(&customer, 1).await;
    app.clock.advance(5 * MINUTE_S);
    customer.taps_label("confirm_yes");
    assert_eq!(hears(&customer, 2).await.last().unwrap(), "expired_code", "the time is over");
    announces(&phone).await;
    customer.says(&app.account(), "在吗");
    hears(&customer, 3).await;
    customer.taps_label("confirm_yes");
    phone.until("bound").await;
}

#[tokio::test]
async fn a_restart_between_announcing_asking_and_answering_changes_nothing() {
    let mut app = app().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    announces(&phone).await;
    app.restart().await;
    customer.says(&app.account(), "你好");
    hears(&customer, 1).await;
    app.restart().await;
    customer.taps_label("confirm_yes");
    assert_eq!(phone.until("bound").await["binding"]["method"], "window");
}

#[tokio::test]
async fn a_code_typed_meanwhile_goes_first_and_ends_the_intent() {
    let app = app().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    announces(&phone).await;
    customer.says(&app.account(), &code.text);
    assert_eq!(phone.until("bound").await["binding"]["method"], "code");
    assert_eq!(hears(&customer, 1).await, ["bound"]);
}

#[tokio::test]
async fn it_is_off_unless_switched_on() {
    let app = TestApp::with(&[("binding.methods", r#"["code"]"#)]).await;
    let phone = app.login("u").await;
    phone.client.post("/api/binding/intent", json!({})).await.expect_problem(404, "method-off");
}

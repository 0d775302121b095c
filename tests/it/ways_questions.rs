//! `binding.confirm_code`, and the subscribe message.

use serde_json::json;

use crate::support::{TestApp, heard, hears};

#[tokio::test]
async fn a_typed_code_is_asked_about_where_the_company_wants_it() {
    let app = TestApp::with(&[("binding.confirm_code", "true"), ("binding.methods", r#"["code"]"#)]).await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 1).await, ["confirm\nconfirm_yes\nconfirm_no"]);
    assert_eq!(phone.status().await, "pending");
    customer.taps_label("confirm_no");
    assert_eq!(hears(&customer, 2).await.last().unwrap(), "cancelled");
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 3).await.last().unwrap(), "expired_code", "dead for this customer");
    let other = app.sim.customer("d");
    other.says(&app.account(), &code.text);
    hears(&other, 1).await;
    other.taps_label("confirm_yes");
    assert_eq!(phone.until("bound").await["binding"]["method"], "code");
    assert_eq!(app.bound_to(&other).await.unwrap().0, phone.openid);
}

#[tokio::test]
async fn a_yes_that_comes_after_the_code_has_ended_binds_nobody() {
    let app = TestApp::with(&[("binding.confirm_code", "true"), ("binding.methods", r#"["code"]"#)]).await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    customer.says(&app.account(), &phone.issue().await.text);
    hears(&customer, 1).await;
    app.clock.advance(600);
    customer.taps_label("confirm_yes");
    assert_eq!(hears(&customer, 2).await.last().unwrap(), "expired_code");
    assert_eq!(phone.status().await, "unbound");
}

#[tokio::test]
async fn a_subscribe_message_tells_of_a_binding_once_and_a_user_who_did_not_ask_gets_none() {
    let app = TestApp::with(&[
        ("binding.methods", r#"["code"]"#),
        ("miniprogram.subscribe_template_id", "\"fakeTemplate\""),
        ("miniprogram.subscribe_data", r#"{ thing1 = "{account}", time2 = "{time}", name3 = "{nickname}" }"#),
    ])
    .await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c").with_nickname("小李"));
    app.sim.accept_subscribe(&phone.openid, "fakeTemplate", 3);
    customer.says(&app.account(), &phone.issue().await.text);
    phone.until("bound").await;
    app.settled().await;
    let messages = app.sim.subscribe_messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].openid, phone.openid);
    assert_eq!(messages[0].data["name3"], json!({"value": "小李"}));
    assert!(
        messages[0].data["time2"]["value"].as_str().unwrap().starts_with("2025年6月15日"),
        "{messages:?}"
    );
    let (other, ..) = app.bound("v").await;
    app.settled().await;
    assert_eq!(other.status().await, "bound");
    assert_eq!(app.sim.subscribe_messages().len(), 1, "43101 is no error, and nothing is sent");
    assert_eq!(heard(&customer), ["bound"]);
}

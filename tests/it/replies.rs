//! Rule 10 of binding: what is answered in the chat, once, and what becomes of answers that WeCom doesn't take.

use kfbind::sim::{Api, Customer, Fault};

use crate::support::{START_S, TestApp, heard, hears};

/// A user with a code, and a customer who has written it while callbacks are held back, so that the test can set the
/// scene before the answer.
async fn about_to_bind(app: &TestApp) -> (crate::support::Phone, Customer) {
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    app.sim.hold_callbacks();
    customer.says(&app.account(), &code.text);
    (phone, customer)
}

async fn replies(app: &TestApp, result: &str) -> f64 {
    app.metric(&format!("kfbind_replies_total{{result=\"{result}\"}}")).await
}

#[tokio::test]
async fn an_answer_that_was_sent_without_our_knowing_is_not_said_twice() {
    for fault in [Fault::Http(502), Fault::Errcode(-1), Fault::Dropped, Fault::BrokenJson] {
        let app = TestApp::start().await;
        let (_, customer) = about_to_bind(&app).await;
        app.sim.fail_next(Api::SendMsg, fault.clone().after_effect(), 1);
        app.sim.release_callbacks();
        app.settled().await;
        assert_eq!(heard(&customer), ["bound"], "{fault}");
        let calls = app.sim.calls(Api::SendMsg);
        assert_eq!(calls.last().unwrap().errcode, 95033, "{fault}");
        assert!(calls.iter().all(|call| call.body["msgid"] == calls[0].body["msgid"]), "{fault}");
        assert_eq!(replies(&app, "sent").await, 1.0, "{fault}");
    }
}

#[tokio::test]
async fn an_answer_that_could_not_be_sent_is_tried_again() {
    let app = TestApp::start().await;
    let (_, customer) = about_to_bind(&app).await;
    app.sim.fail_next(Api::SendMsg, Fault::Http(503), 1);
    app.sim.release_callbacks();
    assert_eq!(hears(&customer, 1).await, ["bound"]);
}

#[tokio::test]
async fn the_id_of_an_answer_is_ours_and_fits() {
    let app = TestApp::start().await;
    let (_, customer) = about_to_bind(&app).await;
    app.sim.release_callbacks();
    hears(&customer, 1).await;
    let call = &app.sim.calls(Api::SendMsg)[0];
    let id = call.body["msgid"].as_str().unwrap();
    assert!((1..=32).contains(&id.len()), "{id}");
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'), "{id}");
    assert_eq!(call.body["touser"], customer.external_userid());
    assert_eq!(call.body["open_kfid"], app.account());
}

#[tokio::test]
async fn a_refused_answer_is_given_up_and_the_binding_stands() {
    for errcode in [95001, 95002, 40096, 40058] {
        let app = TestApp::start().await;
        let (phone, customer) = about_to_bind(&app).await;
        app.sim.fail_next(Api::SendMsg, Fault::Errcode(errcode), 1);
        app.sim.release_callbacks();
        phone.until("bound").await;
        app.settled().await;
        assert_eq!(app.sim.count(Api::SendMsg), 1, "{errcode}");
        assert_eq!(replies(&app, "refused").await, 1.0, "{errcode}");
        assert_eq!(heard(&customer), [""; 0], "{errcode}");
    }
}

#[tokio::test]
async fn in_a_new_session_that_refuses_answers_the_assistant_takes_it_and_answers() {
    let app = TestApp::start().await;
    let (_, customer) = about_to_bind(&app).await;
    app.sim.switch(|wecom| wecom.refuse_send_in = [0].into());
    app.sim.release_callbacks();
    assert_eq!(hears(&customer, 1).await, ["bound"]);
    assert_eq!(app.sim.count(Api::ServiceStateTrans), 1);
    app.settled().await;
    assert_eq!(replies(&app, "sent").await, 1.0);
}

#[tokio::test]
async fn an_assistant_session_that_refuses_answers_is_given_up() {
    let app = TestApp::start().await;
    let (phone, customer) = about_to_bind(&app).await;
    app.sim.set_service_state(&customer, &app.account(), 1);
    app.sim.switch(|wecom| wecom.refuse_send_in = [1].into());
    app.sim.release_callbacks();
    phone.until("bound").await;
    app.settled().await;
    assert_eq!(replies(&app, "refused").await, 1.0);
    assert_eq!((heard(&customer).len(), app.sim.count(Api::ServiceStateTrans)), (0, 0));
}

#[tokio::test]
async fn out_of_the_queue_the_assistant_takes_the_session_where_wecom_allows_it() {
    for (allowed, said) in [(true, "sent"), (false, "refused")] {
        let app = TestApp::with(&[("kf.handover", "\"none\"")]).await;
        let (phone, customer) = about_to_bind(&app).await;
        app.sim.switch(|wecom| wecom.queue_to_assistant = allowed);
        app.sim.set_service_state(&customer, &app.account(), 2);
        app.sim.release_callbacks();
        phone.until("bound").await;
        app.settled().await;
        assert_eq!(replies(&app, said).await, 1.0, "allowed: {allowed}");
        assert_eq!(heard(&customer).len(), usize::from(allowed));
    }
}

#[tokio::test]
async fn a_person_who_is_talking_is_not_interrupted() {
    let app = TestApp::start().await;
    let (phone, customer) = about_to_bind(&app).await;
    app.sim.set_service_state(&customer, &app.account(), 3);
    app.sim.release_callbacks();
    phone.until("bound").await;
    app.settled().await;
    assert_eq!(replies(&app, "with_person").await, 1.0);
    assert_eq!(app.sim.service_state(&customer, &app.account()), 3);
    assert_eq!((heard(&customer).len(), app.sim.count(Api::ServiceStateTrans)), (0, 0));
}

#[tokio::test]
async fn in_an_ended_session_nothing_is_said() {
    let app = TestApp::start().await;
    let (phone, customer) = about_to_bind(&app).await;
    app.sim.set_service_state(&customer, &app.account(), 4);
    app.sim.release_callbacks();
    phone.until("bound").await;
    app.settled().await;
    assert_eq!(replies(&app, "session_ended").await, 1.0);
    assert_eq!(heard(&customer), [""; 0]);
}

#[tokio::test]
async fn an_answer_that_was_withheld_is_counted() {
    let app = TestApp::start().await;
    let (phone, customer) = about_to_bind(&app).await;
    app.sim.switch(|wecom| wecom.delivery_fails = Some(13));
    app.sim.release_callbacks();
    phone.until("bound").await;
    app.metric_reaches("kfbind_replies_total{result=\"undelivered\"}", 1.0).await;
    assert_eq!(heard(&customer), [""; 0]);
    // Brought again by a later page it is not counted again.
    app.sim.switch(|wecom| wecom.cursor_jumps_back = 1);
    app.settled().await;
    assert_eq!(replies(&app, "undelivered").await, 1.0);
    assert_eq!(phone.status().await, "bound");
}

#[tokio::test]
async fn somebody_elses_withheld_message_is_not_ours_to_count() {
    let app = TestApp::start().await;
    let customer = app.sim.customer("c");
    customer.says(&app.account(), "你好");
    let event = serde_json::json!({
        "msgid": "failMsgId", "send_time": START_S, "origin": 4, "msgtype": "event",
        "event": {
            "event_type": "msg_send_fail", "open_kfid": app.account(),
            "external_userid": customer.external_userid(), "fail_msgid": "somebodyElses", "fail_type": 4,
        },
    });
    app.sim.raw_message(&app.account(), event);
    app.metric_reaches("kfbind_sync_messages_total{kind=\"send_failed\"}", 1.0).await;
    assert_eq!(replies(&app, "undelivered").await, 0.0);
}

#[tokio::test]
async fn the_built_in_answers_are_not_taken_for_credentials() {
    let defaults: toml::Table = include_str!("../../config.toml").parse().unwrap();
    let texts = defaults["messages"].as_table().unwrap();
    let text = |key: &str| texts[key].to_string();
    let (bound, wrong, locked) = (text("bound"), text("wrong_code"), text("locked"));
    let settings = [
        ("messages.bound", bound.as_str()),
        ("messages.wrong_code", wrong.as_str()),
        ("messages.locked", locked.as_str()),
    ];
    let app = TestApp::with(&settings).await;
    app.sim.switch(|wecom| wecom.withhold_credentials = true);
    let (_, customer, code) = app.bound("u").await;
    for number in 0..5 {
        customer.says(&app.account(), &code.other(number));
        hears(&customer, usize::try_from(number).unwrap() + 2).await;
    }
    assert!(heard(&customer)[5].contains("10分钟"), "{:?}", heard(&customer));
}

#[tokio::test]
async fn a_message_older_than_ten_minutes_is_acted_on_but_not_answered() {
    for (age_s, answers) in [(600, 1), (601, 0)] {
        let app = TestApp::with(&[("binding.code_ttl", "\"1h\"")]).await;
        let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
        let code = phone.issue().await;
        app.clock.advance(age_s);
        customer.says_at(&app.account(), &code.text, START_S);
        phone.until("bound").await;
        app.settled().await;
        assert_eq!(heard(&customer).len(), answers, "{age_s} s");
        assert_eq!(replies(&app, "too_old").await, 1.0 - replies(&app, "sent").await, "{age_s} s");
    }
}

#[tokio::test]
async fn a_nickname_is_filled_in_and_without_one_the_customer_is_addressed_politely() {
    let app = TestApp::with(&[("messages.bound", "\"{nickname}，绑定好了\"")]).await;
    let (_, customer, _) = app.bound("小李").await;
    assert_eq!(hears(&customer, 1).await, ["小李，绑定好了"]);
    app.sim.fail_next(Api::CustomerBatchGet, Fault::Errcode(48002), 5);
    let (_, customer, _) = app.bound("小王").await;
    assert_eq!(hears(&customer, 1).await, ["您，绑定好了"]);
}

#[tokio::test]
async fn placeholders_in_a_nickname_are_not_filled_in() {
    let app = TestApp::with(&[("messages.bound", "\"{nickname} {code}\"")]).await;
    let phone = app.login("u").await;
    let customer = app.sim.customer("c").with_nickname("{code}{account}");
    let code = phone.issue().await;
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 1).await, [format!("{{code}}{{account}} {}", code.display)]);
}

#[tokio::test]
async fn answers_to_one_customer_come_in_order() {
    let app = TestApp::start().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    app.sim.hold_callbacks();
    for text in [&code.other(0), &code.text, &code.text, "解绑"] {
        customer.says(&app.account(), text);
    }
    app.sim.fail_next(Api::SendMsg, Fault::Http(502), 1);
    app.sim.release_callbacks();
    assert_eq!(hears(&customer, 4).await, ["wrong_code", "bound", "already_bound", "unbound"]);
}

//! WeCom is away, throttles, refuses or fails in the middle: nothing is lost, nothing is doubled.

use kfbind::sim::{Api, CallbackMode, Fault, FaultPlan};

use crate::support::{DEADLINE, Options, TestApp, eventually, heard, hears};

const DAY_S: u64 = 24 * 3600;

#[tokio::test]
async fn a_message_sent_in_time_binds_after_an_outage_of_a_day() {
    let app = TestApp::start().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    let sent = app.sim.now_s();
    app.sim.hold_callbacks();
    app.sim.switch(|wecom| wecom.down = true);
    customer.says(&app.account(), &code.text);
    app.clock.advance(DAY_S);
    assert_eq!(phone.status().await, "unbound", "the code has expired meanwhile");
    app.sim.switch(|wecom| wecom.down = false);
    app.sim.drop_next_callbacks(1);
    app.sim.push_callback(&app.account());
    app.sim.release_callbacks();
    app.sim.push_callback(&app.account());
    let view = phone.until("bound").await;
    assert_eq!(view["binding"]["bound_at"], crate::support::rfc3339(sent));
    app.settled().await;
    assert!(heard(&customer).is_empty(), "a message of yesterday is acted on, but not answered");
}

#[tokio::test]
async fn an_access_token_that_ends_in_the_middle_of_a_pull_is_renewed_once() {
    let app = TestApp::start().await;
    let account = app.account();
    app.sim.switch(|wecom| {
        wecom.page_size_max = 1;
        wecom.latency_ms.insert(Api::SyncMsg, 20);
    });
    app.sim.hold_callbacks();
    let mut phones = Vec::new();
    for number in 0..6 {
        let phone = app.login(&format!("u{number}")).await;
        let code = phone.issue().await;
        app.sim.customer(&format!("c{number}")).says(&account, &code.text);
        phones.push(phone);
    }
    let (tokens, pulls) = (app.sim.count(Api::GetToken), app.sim.count(Api::SyncMsg));
    app.sim.release_callbacks();
    app.sim.wait_count(Api::SyncMsg, pulls + 2, DEADLINE).await.unwrap();
    app.sim.expire_access_tokens();
    for (number, phone) in phones.iter().enumerate() {
        phone.until("bound").await;
        assert_eq!(hears(&app.sim.customer(&format!("c{number}")), 1).await, ["bound"]);
    }
    let refused = app.sim.calls(Api::SyncMsg).iter().filter(|call| call.errcode == 42_001).count();
    assert!(refused <= 1, "one call met the ended token: {refused}");
    assert_eq!(app.sim.count(Api::GetToken), tokens + 1);
}

#[tokio::test]
async fn a_wrong_secret_stops_the_calls() {
    let mut options = Options::set(&[("wecom.secret", "\"fake-wrong-secret\"")]);
    options.ready = false;
    let app = TestApp::open(options).await;
    app.sim.wait_count(Api::GetToken, 1, DEADLINE).await.unwrap();
    eventually("the operator is told", async || {
        let report = app.admin().get("/readyz").await.expect(503).text();
        report.contains("wecom.secret").then_some(())
    })
    .await;
    let phone = app.login("u").await;
    for _ in 0..5 {
        let callback = app.sim.doorbell_xml(&app.account());
        app.sim.push_raw(&callback, kfbind::sim::Tamper::None).await.unwrap();
        phone.ask(serde_json::json!({})).await.expect_problem(503, "wecom-unavailable");
    }
    assert_eq!(app.sim.count(Api::GetToken), 1, "repeated wrong secrets ban the address");
    assert_eq!(app.sim.count(Api::SyncMsg), 0);
}

#[tokio::test]
async fn what_wecom_answers_wrongly_is_asked_again() {
    for fault in [Fault::Errcode(-1), Fault::Http(502), Fault::BrokenJson, Fault::Html, Fault::Dropped] {
        let app = TestApp::start().await;
        let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
        let code = phone.issue().await;
        let pulls = app.sim.count(Api::SyncMsg);
        app.sim.fail_next(Api::SyncMsg, fault.clone(), 1);
        customer.says(&app.account(), &code.text);
        phone.until("bound").await;
        assert!(app.sim.count(Api::SyncMsg) >= pulls + 2, "{fault:?}");
        assert_eq!(hears(&customer, 1).await, ["bound"], "{fault:?}");
    }
}

#[tokio::test]
async fn all_codes_bind_once_whatever_the_weather() {
    for seed in [3, 14, 159] {
        let mut options =
            Options::set(&[("kf.reconcile_every", "\"1s\""), ("wecom.request_timeout", "\"500ms\"")]);
        options.sim.seed = seed;
        options.sim.callback_mode = CallbackMode::Auto;
        let app = TestApp::open(options).await;
        let plan = FaultPlan { throttling: 0.0, ..FaultPlan::weather(seed) };
        app.sim.faults(plan.clone());
        for number in 0..6 {
            let (phone, customer) = (
                app.login_in_any_weather(&format!("u{number}")).await,
                app.sim.customer(&format!("c{number}")),
            );
            let code = phone.issue().await;
            customer.says(&app.account(), "你好");
            customer.says(&app.account(), &code.text);
            // Every word rings again, so that a lost callback costs no minute here.
            eventually(&format!("bound under {plan}"), async || {
                app.sim.push_callback(&app.account());
                (phone.status().await == "bound").then_some(())
            })
            .await;
        }
        app.sim.no_faults();
        for number in 0..6 {
            let said = hears(&app.sim.customer(&format!("c{number}")), 1).await;
            assert_eq!(said, ["bound"], "under {plan}");
        }
        assert_eq!(app.metric("kfbind_bindings").await, 6.0, "under {plan}");
        assert_eq!(app.metric("kfbind_bindings_total{method=\"code\"}").await, 6.0, "under {plan}");
    }
}

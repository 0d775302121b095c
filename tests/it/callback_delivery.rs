//! What callbacks bring about: one look at the account, and no more than that.

use kfbind::sim::{Api, CallbackMode, Fault, Tamper};

use crate::support::{DEADLINE, Options, TestApp, eventually, heard, hears};

async fn callbacks(app: &TestApp, result: &str) -> f64 {
    app.metric(&format!("kfbind_callbacks_total{{result=\"{result}\"}}")).await
}

/// Like usual, but nothing rings by itself.
async fn quiet(accounts: usize) -> TestApp {
    let mut options = Options::accounts(accounts);
    options.sim.callback_mode = CallbackMode::Manual;
    TestApp::open(options).await
}

#[tokio::test]
async fn a_duplicate_callback_pulls_once() {
    let app = quiet(1).await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    customer.says(&app.account(), &code.text);
    let pulls = app.sim.count(Api::SyncMsg);
    let callback = app.sealed(&app.sim.doorbell_xml(&app.account()));
    for _ in 0..4 {
        app.client().callback(callback.clone()).await.expect(200);
    }
    phone.until("bound").await;
    hears(&customer, 1).await;
    assert_eq!(app.sim.count(Api::SyncMsg), pulls + 1);
    assert_eq!((callbacks(&app, "accepted").await, callbacks(&app, "duplicate").await), (1.0, 3.0));
}

#[tokio::test]
async fn a_burst_of_callbacks_is_few_pulls() {
    let app = quiet(1).await;
    app.sim.switch(|wecom| {
        wecom.latency_ms.insert(Api::SyncMsg, 300);
    });
    let pulls = app.sim.count(Api::SyncMsg);
    for _ in 0..50 {
        let callback = app.sim.doorbell_xml(&app.account());
        assert_eq!(app.sim.push_raw(&callback, Tamper::None).await.unwrap().status, 200);
    }
    app.settled().await;
    let pulls = app.sim.count(Api::SyncMsg) - pulls;
    assert!(pulls < 25, "{pulls} pulls for 50 callbacks");
    assert_eq!(app.sim.max_parallel(Api::SyncMsg), 1, "one account is pulled by one at a time");
}

#[tokio::test]
async fn a_lost_callback_is_repaired_by_the_timer() {
    let app = TestApp::with(&[("kf.reconcile_every", "\"1s\"")]).await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    app.sim.drop_next_callbacks(1);
    customer.says(&app.account(), &code.text);
    phone.until("bound").await;
    assert_eq!(app.sim.callbacks().len(), 0, "nothing rang");
}

#[tokio::test]
async fn a_callback_is_answered_before_wecom_is_asked() {
    let app = quiet(1).await;
    app.sim.fail_next(Api::SyncMsg, Fault::Timeout, 1);
    let callback = app.sim.doorbell_xml(&app.account());
    let answer = app.sim.push_raw(&callback, Tamper::None).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "success"));
}

#[tokio::test]
async fn the_apps_other_messages_and_events_are_taken_and_pull_nothing() {
    let app = quiet(1).await;
    let pulls = app.sim.count(Api::SyncMsg);
    app.sim.push_app_message("你好");
    app.sim.wait_callbacks_done(DEADLINE).await.unwrap();
    let event = "<xml><MsgType>event</MsgType><Event>change_contact</Event><ChangeType>x</ChangeType></xml>";
    app.client().callback(app.sealed(event)).await.expect(200);
    assert_eq!(callbacks(&app, "ignored").await, 2.0);
    assert_eq!(app.sim.callbacks()[0].status, Some(200));
    app.client().get("/readyz").await.expect(200);
    assert_eq!(app.sim.count(Api::SyncMsg), pulls);
}

#[tokio::test]
async fn a_callback_that_names_no_account_nudges_all() {
    let app = quiet(2).await;
    app.sim.switch(|wecom| (wecom.nameless_doorbells, wecom.sync_token_opens_all) = (true, true));
    let mut phones = Vec::new();
    for number in 0..2 {
        let name = format!("user {number}");
        let phone = app.login(&name).await;
        let code = phone.issue().await;
        app.sim.customer(&name).says(&app.sim.account(number), &code.text);
        phones.push(phone);
    }
    app.sim.push_callback(&app.account());
    for phone in phones {
        phone.until("bound").await;
    }
}

#[tokio::test]
async fn a_sync_token_of_another_account_does_not_keep_it_from_being_pulled() {
    let app = quiet(2).await;
    app.sim.switch(|wecom| wecom.nameless_doorbells = true);
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    customer.says(&app.sim.account(1), &code.text);
    app.sim.push_callback(&app.account());
    phone.until("bound").await;
    assert_eq!(app.metric("kfbind_sync_pulls_total{result=\"token_refused\"}").await, 1.0);
}

#[tokio::test]
async fn an_account_that_is_not_ours_is_not_pulled() {
    let mut options = Options::accounts(2);
    let served = options.sim.accounts[0].open_kfid.clone();
    options.settings = vec![("wecom.accounts", format!("[{served:?}]"))];
    let app = TestApp::open(options).await;
    let stranger = app.sim.account(1);
    app.sim.customer("c").says(&stranger, "123456");
    eventually("the callback is counted", async || (callbacks(&app, "unserved").await == 1.0).then_some(()))
        .await;
    app.bound("u").await;
    let pulled = |call: &kfbind::sim::CallRecord| call.body["open_kfid"] == stranger;
    assert!(!app.sim.calls(Api::SyncMsg).iter().any(pulled));
}

#[tokio::test]
async fn callbacks_late_doubled_and_out_of_order_bind_all_the_same() {
    let app = TestApp::start().await;
    app.sim.faults(kfbind::sim::FaultPlan {
        seed: 7,
        duplicate_callbacks: 0.5,
        delay_callbacks: 0.5,
        reorder_callbacks: 0.5,
        ..kfbind::sim::FaultPlan::default()
    });
    for number in 0..8 {
        app.bound(&format!("user {number}")).await;
    }
    app.settled().await;
    assert_eq!(app.metric("kfbind_bindings").await, 8.0);
    for number in 0..8 {
        assert_eq!(heard(&app.sim.customer(&format!("user {number}"))), ["bound"]);
    }
}

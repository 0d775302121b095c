//! An orderly stop: within the grace, with nothing lost.

use kfbind::sim::Api;

use crate::support::{DEADLINE, TestApp, hears};

#[tokio::test]
async fn a_stop_during_a_long_pull_ends_within_the_grace() {
    let mut app =
        TestApp::with(&[("server.shutdown_grace", "\"1s\""), ("wecom.request_timeout", "\"5m\"")]).await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    let pulls = app.sim.count(Api::SyncMsg);
    app.sim.fail_next(Api::SyncMsg, kfbind::sim::Fault::Timeout, 1);
    customer.says(&app.account(), &code.text);
    app.sim.wait_callbacks_done(DEADLINE).await.unwrap();
    tokio::time::timeout(DEADLINE, app.stop()).await.expect("the pull would have lasted five minutes");
    app.boot().await.unwrap();
    phone.until("bound").await;
    assert!(app.sim.count(Api::SyncMsg) > pulls);
    assert_eq!(hears(&customer, 1).await, ["bound"]);
}

#[tokio::test]
async fn what_is_under_way_at_the_stop_is_finished_or_done_again() {
    let mut app = TestApp::start().await;
    for number in 0..5 {
        let name = format!("u{number}");
        let (phone, customer) = (app.login(&name).await, app.sim.customer(&name));
        let code = phone.issue().await;
        customer.says(&app.account(), &code.text);
        app.restart().await;
        phone.until("bound").await;
        assert_eq!(hears(&customer, 1).await, ["bound"]);
    }
    app.settled().await;
    assert_eq!(app.metric("kfbind_bindings").await, 5.0);
}

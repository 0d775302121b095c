//! Several kf accounts, whose streams have nothing to do with each other; and whose store it is.

use std::collections::BTreeMap;

use kfbind::sim::Api;

use crate::support::{Options, TestApp, hears};

#[tokio::test]
async fn ten_accounts_with_mixed_traffic_keep_their_own_cursors() {
    let mut app = TestApp::open(Options::accounts(10)).await;
    let accounts: Vec<String> = (0..10).map(|number| app.sim.account(number)).collect();
    for round in 0..2 {
        for (number, account) in accounts.iter().enumerate() {
            let name = format!("{round}.{number}");
            let (phone, customer) = (app.login(&name).await, app.sim.customer(&name));
            let code = phone.issue().await;
            customer.says(account, "在吗");
            app.sim.customer("talker").says(account, "13800138000");
            customer.says(account, &code.text);
            phone.until("bound").await;
            assert_eq!(hears(&customer, 1).await, ["bound"]);
            assert_eq!(customer.heard()[0].account, *account, "it is answered where it was said");
        }
        app.settled().await;
        app.restart().await;
    }
    let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for call in app.sim.calls(Api::SyncMsg).iter().filter(|call| call.errcode == 0) {
        let account = call.body["open_kfid"].as_str().unwrap().to_owned();
        let asked = call.body["cursor"].as_str().unwrap_or_default().to_owned();
        let known = given.entry(account.clone()).or_default();
        assert!(
            asked.is_empty() && known.is_empty() || known.contains(&asked),
            "{account} was asked with {asked:?}"
        );
        known.push(call.answer["next_cursor"].as_str().unwrap().to_owned());
    }
    assert_eq!(given.len(), 10);
}

#[tokio::test]
async fn a_store_of_another_corp_is_refused() {
    let mut app = TestApp::start().await;
    app.stop().await;
    app.change(&[("wecom.corp_id", "\"wwAnotherCorp\"")]);
    let error = format!("{:#}", app.boot().await.unwrap_err());
    for named in ["wwAnotherCorp", &app.options.corp_id, "wecom.corp_id", "store.path"] {
        assert!(error.contains(named), "{named} in {error}");
    }
}

#[tokio::test]
async fn a_second_process_on_the_store_is_refused() {
    let mut app = TestApp::start().await;
    let error = format!("{:#}", app.boot().await.unwrap_err());
    assert!(error.contains("in use by another process") && error.contains("store.path"), "{error}");
    assert_eq!(app.client().get("/healthz").await.status, 200, "the first one goes on");
}

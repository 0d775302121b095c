//! Getting a code: its shape, when it is given again, and when there is none.

use kfbind::sim::{Api, Sim};
use serde_json::{Value, json};

use crate::support::{Options, START_S, TestApp, rfc3339};

#[tokio::test]
async fn a_code_comes_with_all_that_the_mini_program_shows() {
    let app = TestApp::start().await;
    let code = app.login("u").await.issue().await;
    assert!(code.text.len() == 6 && code.text.bytes().all(|byte| byte.is_ascii_digit()), "{code:?}");
    assert_eq!(code.display, format!("{} {}", &code.text[..3], &code.text[3..]));
    assert_eq!(code.body["expires_at"], rfc3339(START_S + 600));
    assert_eq!(code.body["expires_in"], 600);
    let kf = &code.body["kf"];
    assert_eq!(kf["corp_id"], app.options.corp_id.as_str());
    assert_eq!(kf["open_kfid"], app.account());
    let url = without_ticket(&kf["url"]);
    assert_eq!(url, app.sim.kf_link(&app.account(), "kfbind"), "the link is made with a scene");
    assert_eq!(app.metric("kfbind_codes_issued_total").await, 1.0);
}

/// A link as WeCom made it.
fn without_ticket(url: &Value) -> String {
    url.as_str().and_then(|url| url.split("&scene_param=").next()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_code_with_more_than_half_its_life_left_is_given_again() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let first = phone.ask(json!({})).await.expect(201).json();
    app.clock.advance(299);
    let again = phone.ask(json!({})).await.expect(200).json();
    assert_eq!((&again["bind_token"], &again["expires_in"]), (&first["bind_token"], &json!(301)));
    app.clock.advance(1);
    let second = phone.ask(json!({})).await.expect(201).json();
    assert_ne!(second["bind_token"], first["bind_token"]);
    let renewed = phone.ask(json!({"new": true})).await.expect(201).json();
    assert_ne!(renewed["bind_token"], second["bind_token"]);
    assert_eq!(app.metric("kfbind_codes_issued_total").await, 3.0);
    assert_eq!(app.metric("kfbind_codes_live").await, 1.0);
}

#[tokio::test]
async fn without_a_body_too_a_code_is_given() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    phone.client.send("POST", "/api/binding/token", None).await.expect(201);
    phone.client.post_bytes("/api/binding/token", "application/json", "").await.expect(200);
}

#[tokio::test]
async fn the_pending_code_is_shown_in_the_binding() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let before = phone.view().await;
    assert_eq!(before, json!({"status": "unbound", "version": 0, "pending": null, "binding": null}));
    let code = phone.issue().await;
    let view = phone.view().await;
    assert_eq!((&view["status"], &view["pending"]), (&json!("pending"), &code.body));
    assert!(view["version"].as_u64() > Some(0));
    app.clock.advance(600);
    let after = phone.view().await;
    assert_eq!((&after["status"], &after["pending"]), (&json!("unbound"), &json!(null)));
    assert!(after["version"].as_u64() > view["version"].as_u64(), "an expiry is a change");
}

#[tokio::test]
async fn codes_are_made_so_often_and_then_later() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    for _ in 0..5 {
        app.clock.advance(1);
        phone.issue().await;
    }
    let refused = phone.ask(json!({"new": true})).await.expect_problem(429, "too-many-requests");
    assert_eq!(refused.header("retry-after"), "56");
    phone.ask(json!({})).await.expect(200);
    app.login("other").await.issue().await;
    app.clock.advance(56);
    phone.issue().await;
    phone.ask(json!({"new": true})).await.expect(429);
}

#[tokio::test]
async fn the_limit_on_codes_holds_after_a_restart_and_an_unbinding() {
    let mut app = TestApp::with(&[("limits.codes_per_openid", "\"1/1m\"")]).await;
    let phone = app.login("u").await;
    phone.issue().await;
    phone.unbind().await;
    phone.ask(json!({})).await.expect(429);
    app.restart().await;
    phone.ask(json!({})).await.expect(429);
}

#[tokio::test]
async fn whoever_is_bound_gets_no_code() {
    let app = TestApp::start().await;
    let (phone, _, _) = app.bound("u").await;
    phone.ask(json!({})).await.expect_problem(409, "already-bound");
    phone.ask(json!({"new": true})).await.expect_problem(409, "already-bound");
}

#[tokio::test]
async fn without_a_link_no_code_is_made() {
    let unlinked = |sim: &Sim| sim.fail_next(Api::AddContactWay, kfbind::sim::Fault::Http(502), 1);
    let app = TestApp::open(Options { ready: false, faulty_start: unlinked, ..Options::default() }).await;
    let phone = app.login("u").await;
    phone.ask(json!({})).await.expect_problem(503, "wecom-unavailable");
    assert_eq!(app.metric("kfbind_codes_issued_total").await, 0.0);
    assert_eq!(phone.view().await["version"], 0);
    app.ready().await;
    crate::support::eventually("there is a link", async || {
        (phone.ask(json!({})).await.status == 201).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_link_is_remembered_and_made_anew_for_another_account() {
    let mut app = TestApp::open(Options::accounts(2)).await;
    app.restart().await;
    assert_eq!(app.sim.count(Api::AddContactWay), 1);
    let (first, second) = (app.account(), app.sim.account(1));
    app.restart_with(&[("wecom.accounts", &format!("[\"{second}\"]"))]).await;
    let phone = app.login("u").await;
    let link = app.sim.kf_link(&second, "kfbind");
    let code = crate::support::eventually("the link leads to the second account", async || {
        let code = phone.ask(json!({})).await.json();
        (without_ticket(&code["kf"]["url"]) == link).then_some(code)
    })
    .await;
    assert_eq!(code["kf"]["open_kfid"], second);
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_link_of_the_operators_own_is_passed_on_unaltered() {
    let own = "https://work.weixin.qq.com/kfid/kfcFAKEoperatorLink?a=1&b=%20";
    for (accounts, has_one) in [(1, true), (2, false)] {
        let mut options = Options::accounts(accounts);
        options.settings = vec![("kf.url", format!("{own:?}"))];
        let app = TestApp::open(options).await;
        let phone = app.login("u").await;
        let code = crate::support::eventually("there is a code", async || {
            Some(phone.ask(json!({})).await).filter(|answer| answer.status < 300)
        })
        .await
        .json();
        assert_eq!(code["kf"]["url"], own);
        assert_eq!(code["kf"]["open_kfid"], if has_one { json!(app.account()) } else { json!(null) });
        assert_eq!(app.sim.count(Api::AddContactWay), 0);
    }
}

#[tokio::test]
async fn the_life_of_a_code_is_the_operators() {
    let app = TestApp::with(&[("binding.code_ttl", "\"90s\"")]).await;
    let phone = app.login("u").await;
    assert_eq!(phone.issue().await.body["expires_in"], 90);
    app.clock.advance(89);
    assert_eq!(phone.status().await, "pending");
    app.clock.advance(1);
    assert_eq!(phone.status().await, "unbound");
}

//! Waiting for a change of one's binding.

use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{Phone, TestApp, eventually};

const LONG_S: u64 = 30;

/// A wait under way.
fn waiting(phone: &Phone, since: u64, seconds: u64) -> JoinHandle<serde_json::Value> {
    let phone = phone.clone();
    tokio::spawn(async move { phone.wait(since, seconds).await })
}

#[tokio::test]
async fn a_wait_ends_with_the_binding() {
    let app = TestApp::start().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    let since = phone.version().await;
    let wait = waiting(&phone, since, LONG_S);
    customer.says(&app.account(), &code.text);
    let view = wait.await.unwrap();
    assert_eq!(view["status"], "bound");
    assert!(view["version"].as_u64() > Some(since));
}

#[tokio::test]
async fn a_wait_ends_with_an_unbinding_a_new_code_and_a_late_nickname() {
    // Where another way asks for customers beforehand, no name comes late.
    let app = TestApp::with(&[("binding.methods", "[\"code\"]")]).await;
    app.sim.fail_next(kfbind::sim::Api::CustomerBatchGet, kfbind::sim::Fault::Http(502), 1);
    let (phone, _, _) = app.bound("u").await;
    let first = phone.view().await;
    let view = waiting(&phone, first["version"].as_u64().unwrap(), LONG_S).await.unwrap();
    assert_eq!(view["binding"]["nickname"], "u", "{first}");
    let wait = waiting(&phone, view["version"].as_u64().unwrap(), LONG_S);
    phone.unbind().await;
    let view = wait.await.unwrap();
    assert_eq!(view["status"], "unbound");
    let wait = waiting(&phone, view["version"].as_u64().unwrap(), LONG_S);
    phone.issue().await;
    assert_eq!(wait.await.unwrap()["status"], "pending");
}

#[tokio::test]
async fn a_wait_ends_when_the_code_expires() {
    let app = TestApp::with(&[("binding.code_ttl", "\"1s\"")]).await;
    let phone = app.login("u").await;
    phone.issue().await;
    let wait = waiting(&phone, phone.version().await, LONG_S);
    app.clock.advance(1);
    assert_eq!(wait.await.unwrap()["status"], "unbound");
}

#[tokio::test]
async fn an_older_version_is_answered_at_once_and_so_is_a_wait_without_one() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    phone.issue().await;
    let version = phone.version().await;
    assert_eq!(phone.wait(version - 1, LONG_S).await["version"], version);
    assert_eq!(phone.wait(version + 1, LONG_S).await["version"], version, "a version from elsewhere");
    let answer = phone.client.get("/api/binding?wait=30").await.expect(200);
    assert_eq!(answer.json()["version"], version);
}

#[tokio::test]
async fn nothing_new_is_answered_when_the_time_is_up() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    assert_eq!(phone.wait(0, 0).await["version"], 0);
    let answer = phone.client.get("/api/binding?wait=0.05&since=0").await.expect(200);
    assert_eq!(answer.json()["version"], 0);
}

#[tokio::test]
async fn a_wait_of_another_length_is_refused() {
    let app = TestApp::start().await;
    let client = app.login("u").await.client;
    for query in ["wait=31&since=0", "wait=-1", "wait=x", "wait=", "wait=1&wait=2", "since=-1", "since=1.5"] {
        client.get(&format!("/api/binding?{query}")).await.expect_problem(400, "bad-request");
    }
}

#[tokio::test]
async fn over_64_waits_of_one_user_the_oldest_is_answered() {
    let app = TestApp::start().await;
    let (phone, other) = (app.login("u").await, app.login("other").await);
    phone.issue().await;
    let version = phone.version().await;
    let others = waiting(&other, 0, LONG_S);
    let mut waits = Vec::new();
    for _ in 0..64 {
        waits.push(waiting(&phone, version, LONG_S));
    }
    // They may arrive in any order, so which is the oldest is not for us to say; that one is answered is.
    let extra = waiting(&phone, version, LONG_S);
    waits.push(extra);
    eventually("one of them is answered", async || waits.iter().any(JoinHandle::is_finished).then_some(()))
        .await;
    assert!(!others.is_finished(), "another user's wait goes on");
    phone.unbind().await;
    for wait in waits {
        let view = wait.await.unwrap();
        assert!(view["status"] == json!("unbound") || view["version"] == version);
    }
    other.issue().await;
    others.await.unwrap();
}

#[tokio::test]
async fn a_change_of_one_user_does_not_end_the_wait_of_another() {
    let app = TestApp::start().await;
    let (phone, other) = (app.login("u").await, app.login("other").await);
    let wait = waiting(&phone, 0, LONG_S);
    other.issue().await;
    other.unbind().await;
    assert!(!wait.is_finished());
    phone.issue().await;
    assert_eq!(wait.await.unwrap()["status"], "pending");
}

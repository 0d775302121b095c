//! Bodies that nobody should send: each gets the answer of the contract, and the service lives on.

use serde_json::json;

use crate::support::{CALLBACK_PATH, TestApp};

const MEBIBYTE: usize = 1 << 20;

#[tokio::test]
async fn odd_bodies_of_callbacks_are_refused_by_their_form_and_pull_nothing() {
    let app = TestApp::start().await;
    let pulls = app.sim.count(kfbind::sim::Api::SyncMsg);
    let (query, good) = app.sealed("<xml><Event><![CDATA[other]]></Event></xml>");
    let encrypt = good.split("CDATA[").nth(2).or(good.split("CDATA[").nth(1)).unwrap_or_default();
    let entity = format!(
        "<!DOCTYPE xml [<!ENTITY e \"x\">]><xml><Encrypt><![CDATA[{}</Encrypt></xml>",
        encrypt.split("</Encrypt>").next().unwrap_or_default()
    );
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("spaces", b"   ".to_vec()),
        ("half", good.as_bytes()[..good.len() / 2].to_vec()),
        ("JSON", b"{\"Encrypt\":\"x\"}".to_vec()),
        ("a DTD", entity.into_bytes()),
        ("10,000 levels", "<xml>".repeat(10_000).into_bytes()),
        ("UTF-16", utf16),
        ("broken bytes", b"<xml><Encrypt>\xff\xfe</Encrypt></xml>".to_vec()),
        ("zero bytes", vec![0; 100]),
    ];
    for (name, body) in bodies {
        let answer = app.client().post_bytes(&format!("{CALLBACK_PATH}?{query}"), "text/xml", body).await;
        assert_eq!((answer.status, answer.text().as_str()), (400, ""), "{name}");
    }
    let huge = vec![b'x'; 10 * MEBIBYTE];
    let answer = app.client().post_bytes(&format!("{CALLBACK_PATH}?{query}"), "text/xml", huge).await;
    assert_eq!(answer.status, 413);
    app.client().get("/healthz").await.expect(200);
    assert_eq!(app.sim.count(kfbind::sim::Api::SyncMsg), pulls);
}

#[tokio::test]
async fn odd_json_is_refused_by_its_form() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let client = app.client();
    let huge = format!("{{\"code\":\"{}\"}}", "x".repeat(10 * MEBIBYTE));
    client.post_bytes("/api/login", "application/json", huge).await.expect_problem(413, "too-large");
    let deep = "[".repeat(60_000);
    for body in
        ["", "[]", "null", "{", "{\"code\":7}", "{\"cod\":\"x\"}", "{\"code\":null}", "\u{feff}{}", &deep]
    {
        client.post_bytes("/api/login", "application/json", body).await.expect_problem(400, "bad-request");
    }
    client.post_bytes("/api/login", "text/plain", "{}").await.expect_problem(415, "unsupported-media-type");
    for body in [json!({"new": "yes"}), json!({"new": 1}), json!([]), json!("new")] {
        phone.ask(body).await.expect_problem(400, "bad-request");
    }
    phone.ask(json!({"new": false, "unknown": [1, {"a": null}]})).await.expect(201);
}

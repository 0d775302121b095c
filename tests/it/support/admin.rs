//! What the back end does: sessions, bindings, erasure, and what it reads of the audit trail, the counts and an export.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Answer, Client, Phone, TestApp};

/// Codes alone, whatever other tests are to be played beside.
pub(crate) const CODES_ALONE: [(&str, &str); 2] =
    [("binding.methods", "[\"code\"]"), ("kf.handover", "\"none\"")];

impl TestApp {
    /// Codes alone, and these keys.
    pub(crate) async fn codes_alone(settings: &[(&'static str, &str)]) -> Self {
        Self::with(&[&CODES_ALONE, settings].concat()).await
    }

    /// The session that the back end makes of this body.
    pub(crate) async fn admin_session(&self, body: Value) -> Phone {
        let openid = body["openid"].as_str().expect("an openid").to_owned();
        let made = self.admin().post("/api/admin/sessions", body).await.expect(201).json();
        Phone::with(&self.client(), openid, made["session"].as_str().expect("a session").to_owned())
    }

    /// The back end binds these two.
    pub(crate) async fn assign(&self, openid: &str, external_userid: &str) -> Answer {
        let body = json!({"external_userid": external_userid});
        self.admin().send("PUT", &format!("/api/admin/bindings/{openid}"), Some(body)).await
    }

    /// The back end erases a user.
    pub(crate) async fn erase(&self, openid: &str) -> Answer {
        self.admin().delete(&format!("/api/admin/bindings/{openid}?erase=true")).await
    }

    /// The back end erases somebody who is known from the chat.
    pub(crate) async fn erase_customer(&self, external_userid: &str) -> Answer {
        self.admin().delete(&format!("/api/admin/customers/{external_userid}")).await
    }

    /// All bindings as the back end reads them.
    pub(crate) async fn bindings(&self) -> Vec<Value> {
        let list = self.admin().get("/api/admin/bindings?limit=1000").await.expect(200).json();
        list["bindings"].as_array().expect("a list").clone()
    }

    /// The whole audit trail.
    pub(crate) async fn events(&self) -> Vec<Value> {
        events(&self.admin()).await
    }

    /// The audit trail's events of one type.
    pub(crate) async fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().await.into_iter().filter(|event| event["type"] == kind).collect()
    }

    /// All bytes of an export, decoded: each record's key and value.
    pub(crate) async fn exported(&self) -> Vec<u8> {
        let text = self.admin().get("/api/admin/export").await.expect(200).text();
        let mut bytes = Vec::new();
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).expect("a line of JSON");
            for part in ["key", "value"] {
                if let Some(encoded) = record[part].as_str() {
                    bytes.extend(STANDARD.decode(encoded).expect("base64"));
                    bytes.push(b'\n');
                }
            }
        }
        bytes
    }

    /// Whether this text stands anywhere in the store.
    pub(crate) async fn keeps(&self, text: &str) -> bool {
        self.exported().await.windows(text.len()).any(|part| part == text.as_bytes())
    }
}

/// The whole audit trail, in pages.
pub(crate) async fn events(admin: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = json!(0);
    while !after.is_null() {
        let path = format!("/api/admin/events?limit=1000&after={after}");
        let page = admin.get(&path).await.expect(200).json();
        all.extend(page["events"].as_array().expect("a list").clone());
        after = page["next"].clone();
    }
    all
}

//! The client that plays the mini program and the back end: it asserts the status in the same call as the request.

use std::sync::{Arc, Mutex};

use kfbind::outgoing;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{CALLBACK_PATH, DEADLINE, documented, eventually};

/// What the service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) asked: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The answer itself, which must have this status.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} answered {}", self.asked, self.text());
        self
    }

    /// The same for an error of the contract's form.
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        let body = answer.json();
        assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.asked);
        assert_eq!(body["code"], code, "{} answered {body}", answer.asked);
        assert_eq!(body["status"], status, "{}", answer.asked);
        for field in ["type", "title", "detail"] {
            assert!(body[field].is_string(), "{} answered {body}", answer.asked);
        }
        answer
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, null where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header's value, "" where it isn't there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Asks the service over HTTP.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Arc<Mutex<String>>,
    bearer: Option<String>,
}

impl Client {
    /// A client of a service whose address may change.
    pub(crate) fn new(http: reqwest::Client, base: Arc<Mutex<String>>) -> Self {
        Self { http, base, bearer: None }
    }

    /// A client of a service at this address.
    pub(crate) fn of(base: &str) -> Self {
        let http = outgoing::client(DEADLINE, None).expect("an HTTP client");
        Self { http, base: Arc::new(Mutex::new(base.to_owned())), bearer: None }
    }

    /// The service has moved.
    pub(crate) fn moves(&self, base: &str) {
        base.clone_into(&mut self.base.lock().unwrap());
    }

    /// The same client with another `Authorization: Bearer`.
    pub(crate) fn bearing(&self, bearer: &str) -> Self {
        Self { bearer: Some(bearer.to_owned()), ..self.clone() }
    }

    /// A request that is not sent yet.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let base = self.base.lock().unwrap().clone();
        let request = self.http.request(method.parse().unwrap(), format!("{base}{path}"));
        match &self.bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        }
    }

    /// Sends a request; `None` where there was no answer.
    pub(crate) async fn try_send(asked: String, request: reqwest::RequestBuilder) -> Option<Answer> {
        let (http, request) = request.build_split();
        let request = request.ok()?;
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = http.execute(request).await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.ok()?.to_vec();
        let missing = documented::undocumented(method.as_str(), &path, status, &headers, &body);
        assert_eq!(missing, None, "{asked} was answered what the document doesn't tell");
        Some(Answer { asked, status, headers, body })
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        let asked = format!("{method} {path}");
        Self::try_send(asked.clone(), request).await.unwrap_or_else(|| panic!("{asked}: no answer"))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None).await
    }

    /// POSTs bytes as they are, with this content type ("" = none).
    pub(crate) async fn post_bytes(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let mut request = self.request("POST", path).body(body.into());
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        Self::try_send(format!("POST {path}"), request).await.expect("an answer")
    }

    /// POSTs a callback.
    pub(crate) async fn callback(&self, (query, body): (String, String)) -> Answer {
        self.post_bytes(&format!("{CALLBACK_PATH}?{query}"), "text/xml", body).await
    }
}

/// A bind code as the mini program got it.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    /// As it is typed without thinking.
    pub(crate) text: String,
    /// As the mini program shows it.
    pub(crate) display: String,
    pub(crate) body: Value,
}

impl Code {
    fn of(body: Value) -> Self {
        let text = |key: &str| body[key].as_str().expect("a text").to_owned();
        Self { text: text("bind_token"), display: text("display"), body }
    }

    /// The link to the chat that came with it.
    pub(crate) fn link(&self) -> String {
        self.body["kf"]["url"].as_str().expect("a link").to_owned()
    }

    /// Another code of digits of the same length, a different one for each number.
    pub(crate) fn other(&self, number: u64) -> String {
        let digits = self.text.len();
        let all = 10_u64.pow(u32::try_from(digits).unwrap());
        let other = (self.text.parse::<u64>().unwrap() + 1 + number) % all;
        format!("{other:0digits$}")
    }
}

/// A user's mini program.
#[derive(Clone)]
pub(crate) struct Phone {
    pub(crate) client: Client,
    pub(crate) openid: String,
    pub(crate) session: String,
}

impl Phone {
    /// One that has logged in already.
    pub(crate) fn with(client: &Client, openid: String, session: String) -> Self {
        Self { client: client.bearing(&session), openid, session }
    }

    pub(crate) async fn login(client: Client, js_code: &str, openid: &str) -> Self {
        let login = client.post("/api/login", json!({"code": js_code})).await.expect(200).json();
        let session = login["session"].as_str().expect("a session").to_owned();
        Self::with(&client, openid.to_owned(), session)
    }

    /// Asks for a code.
    pub(crate) async fn ask(&self, body: Value) -> Answer {
        self.client.post("/api/binding/token", body).await
    }

    /// Gets a code that was not there before.
    pub(crate) async fn issue(&self) -> Code {
        Code::of(self.ask(json!({"new": true})).await.expect(201).json())
    }

    pub(crate) async fn view(&self) -> Value {
        self.client.get("/api/binding").await.expect(200).json()
    }

    pub(crate) async fn status(&self) -> String {
        self.view().await["status"].as_str().expect("a status").to_owned()
    }

    /// Waits for a status; the view that has it.
    pub(crate) async fn until(&self, status: &str) -> Value {
        eventually(&format!("the user becomes {status}"), async || {
            Some(self.view().await).filter(|view| view["status"] == status)
        })
        .await
    }

    /// Holds a view of this version until it changes, or so many seconds are over.
    pub(crate) async fn wait(&self, since: u64, seconds: u64) -> Value {
        self.client.get(&format!("/api/binding?wait={seconds}&since={since}")).await.expect(200).json()
    }

    pub(crate) async fn version(&self) -> u64 {
        self.view().await["version"].as_u64().expect("a version")
    }

    pub(crate) async fn unbind(&self) {
        self.client.delete("/api/binding").await.expect(204);
    }
}

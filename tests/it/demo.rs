//! The demo, played through its own page's controls and events, as the binary serves it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Phone, eventually};

/// A running `kfbind demo`. Dropping it kills it.
struct Demo {
    child: Child,
    client: Client,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Demo {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kfbind"))
            .args(["demo", "--port", "0"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let at = line.find("http://").unwrap_or_else(|| panic!("no address in {line:?}"));
        let base = line[at..].split('/').take(3).collect::<Vec<_>>().join("/");
        Self { child, client: Client::of(&base) }
    }

    async fn control(&self, name: &str, body: Value) {
        self.client.post(&format!("/demo/{name}"), body).await.expect(204);
    }

    /// Opens the mini program as this person.
    async fn phone(&self, customer: &str) -> Phone {
        let login = self.client.post("/demo/login", json!({"customer": customer})).await.expect(200);
        let code = login.json()["code"].as_str().unwrap().to_owned();
        Phone::login(self.client.clone(), &code, customer).await
    }

    /// Gets a code, once the service has a link to show with it, and sends it in the chat.
    async fn binds(&self, phone: &Phone) {
        let code = eventually("a code is given", async || {
            let answer = phone.ask(json!({})).await;
            matches!(answer.status, 200 | 201).then(|| answer.json()["display"].as_str().unwrap().to_owned())
        })
        .await;
        self.control("say", json!({"customer": phone.openid, "text": code})).await;
    }

    /// The events after this one, until one of them is wanted, by their type.
    async fn events(&self, after: u64, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let request = self.client.request("GET", "/demo/events").header("last-event-id", after);
        let reading = async {
            let mut response = request.send().await.unwrap();
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            let (mut text, mut events) = (String::new(), Vec::new());
            while let Some(part) = response.chunk().await.unwrap() {
                text.push_str(std::str::from_utf8(&part).unwrap());
                while let Some(end) = text.find("\n\n") {
                    let block: String = text.drain(..end + 2).collect();
                    let Some(data) = block.lines().find_map(|line| line.strip_prefix("data:")) else {
                        continue;
                    };
                    let event: Value = serde_json::from_str(data).unwrap();
                    let is_last = last(&event);
                    events.push(event);
                    if is_last {
                        return events;
                    }
                }
            }
            panic!("the events ended");
        };
        tokio::time::timeout(DEADLINE, reading).await.expect("the event in time")
    }
}

fn first<'a>(events: &'a [Value], kind: &str) -> &'a Value {
    events.iter().find(|event| event["type"] == kind).unwrap_or_else(|| panic!("no {kind} in {events:#?}"))
}

#[tokio::test]
async fn the_events_of_a_binding_tell_it_in_order_and_without_secrets() {
    let demo = Demo::start();
    let phone = demo.phone("小李").await;
    demo.binds(&phone).await;
    phone.until("bound").await;
    let heard = |event: &Value| event["type"] == "heard" && event["customer"] == "小李";
    let events = demo.events(0, heard).await;
    assert_eq!(first(&events, "stage")["n"], 1);
    assert_eq!(first(&events, "service")["state"], "up");
    let numbers: Vec<u64> = events.iter().map(|event| event["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());

    let said_at = events.iter().position(|event| event["type"] == "said").unwrap();
    // Without the pages that are empty anyway.
    let story: Vec<Value> =
        events[said_at..].iter().filter(|event| event["messages"] != 0).cloned().collect();
    let story = &story[..];
    let order: BTreeMap<&str, usize> =
        story.iter().enumerate().rev().map(|(at, event)| (event["type"].as_str().unwrap(), at)).collect();
    for pair in ["said", "callback", "pull", "commit", "answer", "heard"].windows(2) {
        assert!(order[pair[0]] < order[pair[1]], "{pair:?} in {story:#?}");
    }
    let callback = first(story, "callback");
    let body = callback["body"].as_str().unwrap();
    assert!(body.contains("<Encrypt>") && !body.contains("kf_msg_or_event"), "{body}");
    assert!(callback["plain"].as_str().unwrap().contains("kf_msg_or_event"), "{callback}");
    assert_eq!(first(story, "pull")["messages"], 1);
    let commit = first(story, "commit");
    assert_eq!((&commit["effects"], &commit["messages"]), (&json!("bound:1 reply:1"), &json!(1)));

    let text = json!(events).to_string();
    for secret in ["fake-app-secret", "fake0app0secret", phone.session.as_str()] {
        assert!(!text.contains(secret), "the events hold {secret}");
    }
    // Who comes back gets what is new, and nothing twice.
    let again = demo.events(events.len() as u64 - 1, heard).await;
    assert_eq!(again.len(), 1);
}

#[tokio::test]
async fn the_demo_loses_nothing_to_a_lost_callback_an_outage_and_a_restart() {
    let demo = Demo::start();
    let lost = demo.phone("小李").await;
    demo.control("lose-callback", json!({})).await;
    demo.binds(&lost).await;
    let events = demo.events(0, |event| event["type"] == "callback-lost").await;
    assert!(first(&events, "callback-lost")["plain"].as_str().unwrap().contains("kf_msg_or_event"));

    let cut_off = demo.phone("小王").await;
    demo.control("wecom-down", json!({"seconds": 1})).await;
    demo.binds(&cut_off).await;
    demo.events(0, |event| event["type"] == "hung-up").await;
    demo.events(0, |event| event["type"] == "wecom" && event["down"] == false).await;
    cut_off.until("bound").await;
    lost.until("bound").await;

    let restarted = demo.phone("小周").await;
    let before = demo.events(0, |event| event["type"] == "callback-answered").await.len() as u64;
    demo.control("restart", json!({})).await;
    demo.events(before, |event| event["type"] == "service" && event["state"] == "down").await;
    assert_eq!(demo.client.get("/api/binding").await.status, 502);
    demo.control("say", json!({"customer": "小周", "text": "你好"})).await;
    let is_up = |event: &Value| event["type"] == "service" && event["state"] == "up";
    demo.events(before, is_up).await;
    assert_eq!(cut_off.status().await, "bound");
    demo.binds(&restarted).await;
    restarted.until("bound").await;
}

#[tokio::test]
async fn restarts_that_are_asked_for_during_a_restart_are_the_same_one() {
    let demo = Demo::start();
    let is_up = |event: &Value| event["type"] == "service" && event["state"] == "up";
    let before = demo.events(0, is_up).await.len() as u64;
    let pester = async {
        loop {
            demo.control("restart", json!({})).await;
            tokio::task::yield_now().await;
        }
    };
    let events = tokio::select! {
        events = demo.events(before, is_up) => events,
        () = pester => unreachable!(),
    };
    let states: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "service").map(|event| &event["state"]).collect();
    assert_eq!(states, ["stopping", "down", "up"], "{events:#?}");
}

#[tokio::test]
async fn nonsense_is_refused_with_a_reason() {
    let demo = Demo::start();
    for (name, body) in [
        ("login", json!({"customer": " "})),
        ("login", json!({"customer": "名".repeat(30)})),
        ("say", json!({"customer": "小李", "text": ""})),
        ("say", json!({"customer": "小李"})),
        ("tap", json!({"customer": "小李", "menu_id": "none"})),
        ("wecom-down", json!({"seconds": 0})),
        ("restart", json!([1])),
    ] {
        let answer = demo.client.post(&format!("/demo/{name}"), body.clone()).await.expect(400);
        assert!(answer.json()["error"].is_string(), "{name} {body}");
    }
    let page = demo.client.get("/").await.expect(200);
    assert!(page.header("content-security-policy").starts_with("default-src 'self'"));
    assert!(page.text().contains("demo.js"));
    demo.client.get("/phone/page.html").await.expect(200);
}

#[tokio::test]
async fn a_service_of_ones_own_beside_the_demo_passes_every_check() {
    let demo = Demo::start();
    let config = demo.client.get("/demo/config.toml").await.expect(200).text();
    let folder = tempfile::TempDir::with_prefix("kfbind-it-").unwrap();
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    for arguments in [&["check"][..], &["check", "--online"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kfbind"));
        command.args(arguments).env_clear().current_dir(folder.path());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?} said {said}");
        assert!(arguments.len() == 1 || said.contains(", 0 missing"), "{said}");
    }
}

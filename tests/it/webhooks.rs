//! Webhooks from outside: what a business back end is told, in which order, and what becomes of what it does not take.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use actors::ports::Clock as _;
use kfbind::clock::SystemClock;
use serde_json::Value;

use crate::{
    receiver::{Mood, Receiver, SECRET},
    support::{
        CALLBACK_PATH, Client, Options, Phone, TestApp, eventually, hears,
        process::{Process, but, environment, issue, login, world},
    },
};

/// With this in the environment the receivers are those that leave the check to the public packages of npm and `PyPI`;
/// `tests/run` installs them. Otherwise they are the examples of the documentation.
const PUBLIC_PACKAGES: &str = "KFBIND_IT_PUBLIC_PACKAGES";
/// Longer than any webhook is tried.
const FOUR_DAYS_S: u64 = 4 * 24 * 3600;

/// The service and a receiver, on one clock.
async fn start() -> (TestApp, Receiver) {
    let mut options = Options::set(&[("webhooks.secret", &format!("{SECRET:?}"))]);
    let now_s = Arc::new(Mutex::new(Box::new(|| 0_u64) as Box<dyn Fn() -> u64 + Send>));
    let clock = Arc::clone(&now_s);
    let receiver = Receiver::start(move || (clock.lock().unwrap())()).await.unwrap();
    options.settings.push(("webhooks.url", format!("{:?}", receiver.url())));
    let app = TestApp::open(options).await;
    let clock = Arc::clone(&app.clock);
    *now_s.lock().unwrap() = Box::new(move || clock.now().0);
    (app, receiver)
}

/// Waits until it has taken so many events; what they say: type and user.
async fn takes(receiver: &Receiver, count: usize) -> Vec<(String, String)> {
    eventually(&format!("{count} events"), async || (receiver.count() >= count).then_some(())).await;
    assert_eq!(receiver.bad(), Vec::<String>::new());
    receiver.taken().into_iter().map(|event| (event.kind, event.openid)).collect()
}

fn is_told(phone: &Phone, kinds: &[&str], told: &[(String, String)]) {
    let of_user = told.iter().filter(|(_, openid)| *openid == phone.openid).map(|(kind, _)| kind.as_str());
    assert_eq!(of_user.collect::<Vec<_>>(), kinds, "{told:?}");
}

async fn dead_letters(app: &TestApp) -> Vec<Value> {
    let letters = app.admin().get("/api/admin/dead-letters").await.expect(200).json();
    letters["dead_letters"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_back_end_is_told_of_bindings_their_ends_and_conflicts_as_it_is_shown_them() {
    let (app, receiver) = start().await;
    let (phone, customer, _) = app.bound("a").await;
    let shown = app.admin().get("/api/admin/bindings").await.expect(200).json()["bindings"][0].clone();
    takes(&receiver, 1).await;
    let created = receiver.taken()[0].clone();
    assert_eq!(created.body["type"], "binding.created");
    let data = &created.body["data"];
    for field in ["openid", "external_userid", "unionid", "open_kfid", "method", "bound_at", "label"] {
        assert_eq!(data[field], shown[field], "{field}");
    }
    assert_eq!(data.as_object().unwrap().len(), shown.as_object().unwrap().len());
    assert_eq!(created.body["timestamp"], data["bound_at"]);

    let other = app.login("b").await;
    let code = other.issue().await;
    customer.says(&app.account(), &code.text);
    takes(&receiver, 2).await;
    phone.unbind().await;
    let told = takes(&receiver, 3).await;
    is_told(&phone, &["binding.created", "binding.removed"], &told);
    is_told(&other, &["binding.conflict"], &told);
    let conflict = receiver.taken()[1].clone();
    assert_eq!(conflict.customer, customer.external_userid());
    assert_eq!(conflict.body["data"]["bound_at"], Value::Null);
    let ids: BTreeSet<String> = receiver.taken().into_iter().map(|event| event.id).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| id.starts_with("evt_")), "{ids:?}");
    app.metric_reaches("kfbind_webhooks_total{result=\"delivered\"}", 3.0).await;
}

#[tokio::test]
async fn a_receiver_that_was_away_is_told_everything_in_order_once_it_is_back() {
    let (app, mut receiver) = start().await;
    receiver.goes();
    let mut phones = Vec::new();
    for name in ["a", "b", "c"] {
        let (phone, customer, _) = app.bound(name).await;
        phone.unbind().await;
        let code = phone.issue().await;
        customer.says(&app.account(), &code.text);
        phone.until("bound").await;
        phones.push(phone);
    }
    app.metric_reaches("kfbind_webhooks_waiting", 9.0).await;
    app.metric_reaches("kfbind_webhooks_total{result=\"failed\"}", 1.0).await;
    receiver.comes_back().await.unwrap();
    let told = takes(&receiver, 9).await;
    for phone in &phones {
        is_told(phone, &["binding.created", "binding.removed", "binding.created"], &told);
    }
    eventually("nothing waits", async || (app.metric("kfbind_webhooks_waiting").await == 0.0).then_some(()))
        .await;
    assert_eq!((receiver.count(), receiver.repeats()), (9, 0));
}

#[tokio::test]
async fn a_receiver_that_answers_with_errors_gets_everything_when_it_works_again() {
    for broken in [Mood::Answers(500), Mood::Answers(503), Mood::Answers(307), Mood::Answers(401)] {
        let (app, receiver) = start().await;
        receiver.is(broken.clone());
        for name in ["a", "b", "c", "d", "e"] {
            app.bound(name).await.0.unbind().await;
        }
        eventually("it was tried", async || (receiver.calls() > 0).then_some(())).await;
        assert_eq!(receiver.count(), 0);
        receiver.is(Mood::Takes);
        takes(&receiver, 10).await;
    }
}

#[tokio::test]
async fn events_of_one_user_that_are_refused_hold_up_nobody_else() {
    let (app, receiver) = start().await;
    let (refused, ..) = app.bound("refused").await;
    takes(&receiver, 1).await;
    receiver.is(Mood::Refuses(refused.openid.clone()));
    refused.unbind().await;
    for name in ["a", "b", "c"] {
        app.bound(name).await.0.unbind().await;
    }
    let told = takes(&receiver, 7).await;
    is_told(&refused, &["binding.created"], &told);
    app.metric_reaches("kfbind_webhooks_total{result=\"refused\"}", 1.0).await;
    // What was taken last is written down a moment later.
    eventually("nothing else waits", async || {
        (app.metric("kfbind_webhooks_waiting").await == 1.0).then_some(())
    })
    .await;
    receiver.is(Mood::Takes);
    let told = takes(&receiver, 8).await;
    is_told(&refused, &["binding.created", "binding.removed"], &told);
}

#[tokio::test]
async fn a_slow_receiver_is_told_of_many_at_once_but_of_each_user_in_order() {
    let (app, receiver) = start().await;
    receiver.is(Mood::Slow(Duration::from_millis(100)));
    let mut phones = Vec::new();
    for number in 0..12 {
        let (phone, ..) = app.bound(&number.to_string()).await;
        phone.unbind().await;
        phones.push(phone);
    }
    let told = takes(&receiver, 24).await;
    for phone in &phones {
        is_told(phone, &["binding.created", "binding.removed"], &told);
    }
    assert_eq!(receiver.repeats(), 0);
}

#[tokio::test]
async fn what_is_refused_for_three_days_is_a_dead_letter_that_can_be_sent_again() {
    let (app, receiver) = start().await;
    receiver.is(Mood::Answers(400));
    let (phone, ..) = app.bound("a").await;
    app.metric_reaches("kfbind_webhooks_total{result=\"refused\"}", 1.0).await;
    assert!(dead_letters(&app).await.is_empty());
    app.clock.advance(FOUR_DAYS_S);
    let letter = eventually("it is given up", async || dead_letters(&app).await.pop()).await;
    assert_eq!(letter["type"], "binding.created");
    assert_eq!(letter["data"]["openid"], phone.openid.as_str());
    assert_eq!((&letter["error"], &letter["attempts"]), (&"HTTP status 400".into(), &2.into()));
    app.metric_reaches("kfbind_webhooks_total{result=\"gave_up\"}", 1.0).await;

    receiver.is(Mood::Takes);
    let id = letter["id"].as_str().unwrap();
    app.admin().send("POST", &format!("/api/admin/dead-letters/{id}/resend"), None).await.expect(202);
    takes(&receiver, 1).await;
    let sent = receiver.taken()[0].clone();
    assert_eq!((sent.id.as_str(), &sent.body["data"]), (id, &letter["data"]));
    assert_eq!(sent.body["timestamp"], letter["timestamp"]);
    assert!(dead_letters(&app).await.is_empty());
}

#[tokio::test]
async fn without_an_address_nothing_waits_to_be_told() {
    let app = TestApp::start().await;
    app.bound("a").await.0.unbind().await;
    assert_eq!(app.metric("kfbind_webhooks_waiting").await, 0.0);
}

#[tokio::test]
async fn a_kill_between_sending_and_writing_it_down_repeats_and_loses_nothing() {
    let (sim, options, store) = world().await;
    let receiver = Receiver::start(|| SystemClock.now().0).await.unwrap();
    let environment = but(
        &environment(&options, &sim.base_url(), &store),
        &[("WEBHOOKS__URL", &receiver.url()), ("WEBHOOKS__SECRET", SECRET)],
    );
    let mut process = Process::serve(&environment).await;
    let client = Client::of(&process.base);
    let mut log = String::new();
    let mut phones = Vec::new();
    for round in 0..4_u64 {
        sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
        // Taken, and the answer never comes; or never taken.
        receiver.is(if round % 2 == 0 { Mood::Slow(Duration::from_millis(20)) } else { Mood::Silent });
        let before = receiver.calls();
        let phone = login(&client, &sim, &format!("u{round}")).await;
        let code = issue(&phone).await;
        sim.customer(&format!("c{round}")).says(&sim.account(0), &code);
        phone.until("bound").await;
        phone.unbind().await;
        phones.push(phone);
        eventually("an event is on its way", async || (receiver.calls() > before).then_some(())).await;
        log += &process.said();
        drop(process);
        process = Process::serve(&environment).await;
        client.moves(&process.base);
    }
    receiver.is(Mood::Takes);
    let told = takes(&receiver, 8).await;
    for phone in &phones {
        is_told(phone, &["binding.created", "binding.removed"], &told);
    }
    assert_eq!(process.terminate().await, Some(0));
    log += &process.said();
    assert!(!log.contains(SECRET) && !log.contains(&SECRET["whsec_".len()..]), "the log holds the secret");
}

/// A receiver in another language. Dropping it ends it.
struct Program {
    child: Child,
    url: String,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    async fn start(interpreter: &str, file: &str, secret: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(interpreter);
        command.arg(root.join(file)).env("WEBHOOK_SECRET", secret).env("PORT", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{interpreter} is wanted: {error}"));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&printed);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| heard.lock().unwrap().push(line));
        });
        let port = eventually(&format!("{file} listens"), async || {
            Some(printed.lock().unwrap().first()?.strip_prefix("listening ")?.to_owned())
        })
        .await;
        Self { child, url: format!("http://127.0.0.1:{port}/webhooks"), printed }
    }

    /// What it says of the events that it takes.
    fn events(&self) -> Vec<String> {
        self.printed.lock().unwrap().iter().skip(1).cloned().collect()
    }
}

#[tokio::test]
async fn receivers_in_other_languages_take_what_is_signed_and_nothing_else() {
    #[expect(clippy::disallowed_methods, reason = "the tests' own switch; the service never sees it")]
    let (folder, python) = match std::env::var(PUBLIC_PACKAGES) {
        Ok(_) => ("tests/webhooks", concat!(env!("CARGO_MANIFEST_DIR"), "/target/webhooks/venv/bin/python3")),
        Err(_) => ("docs/receivers", "python3"),
    };
    for (interpreter, file) in [("node", "receiver.mjs"), (python, "receiver.py")] {
        let file = format!("{folder}/{file}");
        let (sim, options, store) = world().await;
        let program = Program::start(interpreter, &file, SECRET).await;
        let environment = but(
            &environment(&options, &sim.base_url(), &store),
            &[("WEBHOOKS__URL", &program.url), ("WEBHOOKS__SECRET", SECRET)],
        );
        let process = Process::serve(&environment).await;
        sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
        let client = Client::of(&process.base);
        let customer = sim.customer("小明");
        let phone = login(&client, &sim, "u").await;
        let code = issue(&phone).await;
        customer.says(&sim.account(0), &code);
        phone.until("bound").await;
        hears(&customer, 1).await;
        phone.unbind().await;
        eventually(&format!("{file} takes both"), async || (program.events().len() == 2).then_some(())).await;
        for (event, kind) in program.events().iter().zip(["binding.created", "binding.removed"]) {
            let said: Vec<&str> = event.split(' ').collect();
            assert_eq!(said[..3], [kind, &phone.openid, customer.external_userid()], "{file}");
            assert!(said[3].starts_with("evt_"), "{file}: {event}");
        }
        drop(process);

        // One that was given another secret takes nothing, and is tried again.
        let stranger =
            Program::start(interpreter, &file, "whsec_YW5vdGhlci1mYWtlLXNlY3JldC1mb3ItdGVzdHM=").await;
        let environment = but(&environment, &[("WEBHOOKS__URL", &stranger.url)]);
        let process = Process::serve(&environment).await;
        sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
        client.moves(&process.base);
        let code = issue(&phone).await;
        customer.says(&sim.account(0), &code);
        phone.until("bound").await;
        let failed = || crate::support::metric_of(&client, "kfbind_webhooks_total{result=\"failed\"}");
        eventually(&format!("{file} refuses"), async || (failed().await >= 1.0).then_some(())).await;
        assert!(stranger.events().is_empty(), "{file}");
    }
}

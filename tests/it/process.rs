//! The binary as its operator runs it: started by the environment alone, killed, stopped, misconfigured.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use actors::ports::Clock as _;
use kfbind::{
    clock::SystemClock,
    sim::{Api, Fault, Sim, SimOptions},
};
use tempfile::TempDir;

use crate::support::{CALLBACK_PATH, Client, DEADLINE, Phone, eventually, hears};

/// A running `kfbind serve`. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    pub(crate) base: String,
    pub(crate) log: Arc<Mutex<String>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn environment(sim: &SimOptions, base_url: &str, store: &TempDir) -> Vec<(String, String)> {
    [
        ("SERVER__LISTEN", "127.0.0.1:0"),
        ("STORE__PATH", &store.path().display().to_string()),
        ("WECOM__CORP_ID", &sim.corp_id),
        ("WECOM__SECRET", &sim.secret),
        ("WECOM__TOKEN", &sim.token),
        ("WECOM__ENCODING_AES_KEY", &sim.encoding_aes_key),
        ("WECOM__API_BASE", base_url),
        ("MINIPROGRAM__APP_ID", &sim.app_id),
        ("MINIPROGRAM__SECRET", &sim.app_secret),
        ("MINIPROGRAM__API_BASE", base_url),
        ("BINDING__METHODS", "code"),
        ("MESSAGES__BOUND", "bound"),
    ]
    .map(|(key, value)| (format!("KFBIND_{key}"), value.to_owned()))
    .into()
}

pub(crate) fn kfbind(arguments: &[&str], environment: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kfbind"));
    command.args(arguments).env_clear().env("RUST_LOG", "debug").envs(environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Process {
    /// Starts it and waits until it listens.
    pub(crate) async fn serve(environment: &[(String, String)]) -> Self {
        let mut child = kfbind(&["serve"], environment).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let base = eventually("the process listens", async || {
            let log = log.lock().unwrap();
            let line = log.lines().find(|line| line.contains("listening") && line.contains("addr"))?;
            // As text and as JSON.
            let at = line.split("addr=").nth(1).or_else(|| line.split("\"addr\":\"").nth(1))?;
            Some(format!("http://{}", at.split(['"', ' ']).next()?))
        })
        .await;
        Self { child, base, log }
    }

    /// SIGTERM, and the exit code.
    async fn terminate(&mut self) -> Option<i32> {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        let status = eventually("the process ends", async || self.child.try_wait().unwrap()).await;
        status.code()
    }
}

/// A simulator on the machine's own clock, since another process can't share a clock that is moved by hand.
pub(crate) async fn world() -> (Sim, SimOptions, TempDir) {
    let options = SimOptions { clock: Arc::new(|| SystemClock.now_ms()), ..SimOptions::default() };
    let store = TempDir::with_prefix("kfbind-it-").unwrap();
    (Sim::start(options.clone()).await.unwrap(), options, store)
}

pub(crate) async fn login(client: &Client, sim: &Sim, name: &str) -> Phone {
    let openid = sim.openid_of(name);
    Phone::login(client.clone(), &sim.wx_login_code(&openid, None), &openid).await
}

/// A code, once there is a link.
pub(crate) async fn issue(phone: &Phone) -> String {
    eventually("a code is given", async || {
        let answer = phone.ask(serde_json::json!({})).await;
        matches!(answer.status, 200 | 201).then(|| answer.json()["bind_token"].as_str().unwrap().to_owned())
    })
    .await
}

#[tokio::test]
async fn a_service_that_is_driven_by_the_environment_alone_binds_and_stops_with_0() {
    let (sim, options, store) = world().await;
    let environment = environment(&options, &sim.base_url(), &store);
    let mut process = Process::serve(&environment).await;
    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    let client = Client::of(&process.base);
    let phone = login(&client, &sim, "u").await;
    let code = issue(&phone).await;
    let customer = sim.customer("c");
    customer.says(&sim.account(0), &code);
    phone.until("bound").await;
    assert_eq!(hears(&customer, 1).await, ["bound"]);

    let second = kfbind(&["serve"], &environment).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("in use by another process"), "{said}");

    assert_eq!(process.terminate().await, Some(0));
    let log = process.log.lock().unwrap().clone();
    let secrets = [&options.secret, &options.token, &options.encoding_aes_key, &options.app_secret];
    for secret in secrets.into_iter().chain([&phone.session, &code]) {
        assert!(!log.contains(secret.as_str()), "the log holds {secret}");
    }
    assert!(log.contains("stopped"), "{log}");
}

#[tokio::test]
async fn a_crash_between_commit_and_answer_answers_exactly_once() {
    // The answer stays under way until the process is gone; WeCom has said it by then, or has not.
    for fault in [Fault::Timeout, Fault::Timeout.after_effect()] {
        let (sim, options, store) = world().await;
        let environment = environment(&options, &sim.base_url(), &store);
        let process = Process::serve(&environment).await;
        sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
        let client = Client::of(&process.base);
        let phone = login(&client, &sim, "u").await;
        let code = issue(&phone).await;
        let customer = sim.customer("c");
        sim.fail_next(Api::SendMsg, fault, 1);
        customer.says(&sim.account(0), &code);
        phone.until("bound").await;
        drop(process);
        let process = Process::serve(&environment).await;
        client.moves(&process.base);
        assert_eq!(phone.status().await, "bound", "what was answered before the crash holds");
        let metric = || crate::support::metric_of(&client, "kfbind_outbox_depth");
        eventually("the outbox is empty", async || (metric().await == 0.0).then_some(())).await;
        assert_eq!(hears(&customer, 1).await, ["bound"]);
    }
}

#[tokio::test]
async fn kills_at_any_moment_lose_nothing_and_repeat_nothing() {
    let (sim, options, store) = world().await;
    let environment = environment(&options, &sim.base_url(), &store);
    let mut process = Process::serve(&environment).await;
    let client = Client::of(&process.base);
    let account = sim.account(0);
    let mut expected: Vec<(Phone, String)> = Vec::new();
    for round in 0..6_u64 {
        sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
        let mut pulls = sim.count(Api::SyncMsg);
        for number in 0..4 {
            let name = format!("{round}.{number}");
            let phone = login(&client, &sim, &name).await;
            let code = issue(&phone).await;
            sim.customer(&name).says(&account, &code);
            expected.push((phone, name));
            pulls += 1;
        }
        // Another moment in each round: with the callback, with a page on its way, right behind it.
        if round % 3 > 0 {
            let _ = sim.wait_count(Api::SyncMsg, pulls - 4 + round % 3, DEADLINE).await;
        }
        drop(process);
        process = Process::serve(&environment).await;
        client.moves(&process.base);
    }
    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    for (phone, name) in &expected {
        sim.push_callback(&account);
        phone.until("bound").await;
        assert_eq!(hears(&sim.customer(name), 1).await, ["bound"], "{name}");
    }
    assert_eq!(crate::support::metric_of(&client, "kfbind_bindings").await, 24.0);
}

/// Runs a command to its end; its exit code and what it said on stderr.
pub(crate) fn ran(arguments: &[&str], environment: &[(String, String)]) -> (Option<i32>, String) {
    let output = kfbind(arguments, environment).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The environment with other values.
pub(crate) fn but(environment: &[(String, String)], changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut environment = environment.to_vec();
    environment.extend(changes.iter().map(|(key, value)| (format!("KFBIND_{key}"), (*value).to_owned())));
    environment
}

#[tokio::test]
async fn an_export_made_while_running_answers_the_same_elsewhere() {
    let (sim, options, store) = world().await;
    let base = environment(&options, &sim.base_url(), &store);
    let environment = but(&base, &[("ADMIN__API_KEY", "fake-admin-key-0123456789")]);
    let process = Process::serve(&environment).await;
    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    let client = Client::of(&process.base);
    let (bound, pending) = (login(&client, &sim, "bound").await, login(&client, &sim, "pending").await);
    let code = issue(&bound).await;
    sim.customer("bound").says(&sim.account(0), &code);
    bound.until("bound").await;
    issue(&pending).await;
    hears(&sim.customer("bound"), 1).await;
    let names = || bound.client.bearing("fake-admin-key-0123456789");
    eventually("the nickname is known", async || {
        let list = names().get("/api/admin/bindings").await.expect(200).json();
        (list["bindings"][0]["nickname"] == "bound").then_some(())
    })
    .await;

    let folder = TempDir::with_prefix("kfbind-it-").unwrap();
    let file = folder.path().join("store.ndjson");
    let file = file.to_str().unwrap();
    let (code, said) = ran(&["export", "--out", file, "--url", &process.base], &environment);
    assert_eq!(code, Some(0), "{said}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(std::fs::read_dir(folder.path()).unwrap().count() == 1, "nothing but the file is left");
    let before = (bound.view().await, pending.view().await);
    drop(process);

    // The directory itself gives the same, once nobody runs on it.
    let offline = folder.path().join("offline.ndjson");
    let offline = offline.to_str().unwrap();
    let (code, said) = ran(&["export", "--out", offline], &environment);
    assert_eq!(code, Some(0), "{said}");

    for file in [file, offline] {
        let elsewhere = TempDir::with_prefix("kfbind-it-").unwrap();
        let path = elsewhere.path().join("store");
        let there = but(&environment, &[("STORE__PATH", path.to_str().unwrap())]);
        let (code, said) = ran(&["import", file], &there);
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = ran(&["import", file], &there);
        assert_eq!(code, Some(1), "a second import");
        assert!(said.contains("is not empty"), "{said}");
        let moved = Process::serve(&there).await;
        client.moves(&moved.base);
        assert_eq!(
            (bound.view().await, strip(pending.view().await)),
            (before.0.clone(), strip(before.1.clone()))
        );
        // The cursor came along: nothing is said twice.
        sim.set_callback_url(&format!("{}{CALLBACK_PATH}", moved.base));
        sim.push_callback(&sim.account(0));
        sim.wait_callbacks_done(DEADLINE).await.unwrap();
        assert_eq!(hears(&sim.customer("bound"), 1).await, ["bound"]);
    }
}

/// A view without what changes by itself.
fn strip(mut view: serde_json::Value) -> serde_json::Value {
    if let Some(pending) = view["pending"].as_object_mut() {
        pending.remove("expires_in");
    }
    view
}

#[tokio::test]
async fn an_export_that_is_not_whole_or_not_ours_changes_nothing() {
    let (sim, options, store) = world().await;
    let environment = environment(&options, &sim.base_url(), &store);
    drop(Process::serve(&environment).await);
    let folder = TempDir::with_prefix("kfbind-it-").unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    assert_eq!(ran(&["export", "--out", &at("whole")], &environment).0, Some(0));
    let whole = std::fs::read_to_string(at("whole")).unwrap();
    std::fs::write(at("cut"), &whole[..whole.len() / 2]).unwrap();
    let there = but(&environment, &[("STORE__PATH", &at("store"))]);
    let other = but(&there, &[("WECOM__CORP_ID", "wwFAKEother0000001")]);
    for (environment, file, wanted) in
        [(&there, "cut", "cut off"), (&there, "none", "can't read"), (&other, "whole", "wecom.corp_id")]
    {
        let (code, said) = ran(&["import", &at(file)], environment);
        assert_eq!(code, Some(1), "{file}: {said}");
        assert!(said.contains(wanted), "{file}: {said}");
        assert!(!folder.path().join("store").exists(), "{file} left something behind");
    }
    for (arguments, wanted) in [
        (vec!["export".to_owned(), "--out".to_owned(), at("x")], "there is no store"),
        (
            vec!["export".into(), "--out".into(), at("x"), "--url".into(), "http://127.0.0.1:1".into()],
            "admin.api_key",
        ),
        (vec!["export".into(), "--out".into(), at("")], "is a directory"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, said) = ran(&arguments, &there);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[tokio::test]
async fn a_store_of_the_first_version_opens_and_an_export_of_a_newer_one_is_refused() {
    let (sim, options, store) = world().await;
    for file in ["conf", "db"] {
        let from = format!("{}/tests/fixtures/store-1/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(from, store.path().join(file)).unwrap();
    }
    let environment = but(
        &environment(&options, &sim.base_url(), &store),
        &[("ADMIN__API_KEY", "fake-admin-key-0123456789")],
    );
    let process = Process::serve(&environment).await;
    let admin = Client::of(&process.base).bearing("fake-admin-key-0123456789");
    let list = admin.get("/api/admin/bindings").await.expect(200).json();
    let bindings = list["bindings"].as_array().unwrap();
    assert_eq!(bindings.len(), 1, "{list}");
    assert_eq!((&bindings[0]["method"], &bindings[0]["nickname"]), (&"code".into(), &"小李".into()));
    assert_eq!(bindings[0]["bound_at"], "2026-11-24T08:40:56Z");
    admin
        .delete(&format!("/api/admin/bindings/{}", bindings[0]["openid"].as_str().unwrap()))
        .await
        .expect(204);
    drop(process);

    let folder = TempDir::with_prefix("kfbind-it-").unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    assert_eq!(ran(&["export", "--out", &at("export")], &environment).0, Some(0));
    let export = std::fs::read_to_string(at("export")).unwrap();
    for tree in ["meta", "codes", "users", "cursors", "seen", "attempts", "guesses", "audit"] {
        assert!(export.contains(&format!("{{\"tree\":\"{tree}\",")), "nothing of {tree} came along");
    }

    // A record as the next version might write it: its version byte is one higher.
    let meta = export.lines().find(|line| line.contains("\"key\":\"c3RvcmU=\"")).unwrap();
    let value = meta.split("\"value\":\"").nth(1).unwrap();
    assert!(value.starts_with("AQ"), "the version byte of {meta}");
    let newer = export.replace(value, &value.replacen("AQ", "Ag", 1));
    std::fs::write(at("newer"), newer).unwrap();
    let there = but(&environment, &[("STORE__PATH", &at("store"))]);
    let (code, said) = ran(&["import", &at("newer")], &there);
    assert_eq!(code, Some(1));
    assert!(said.contains("newer version of kfbind"), "{said}");
    // What an import could not end is no store, neither to a service nor to another import.
    for arguments in [&["serve"][..], &["import", &at("export")]] {
        let (code, said) = ran(arguments, &there);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("empty"), "{said}");
    }
}

#[test]
fn check_names_five_mistakes_at_once_with_key_and_fix() {
    let folder = TempDir::with_prefix("kfbind-it-").unwrap();
    let file = folder.path().join("bad.toml");
    let text = "[server]\nlisten = \"127.0.0.1\"\n[wecom]\ncorp_id = \"ww1\"\nsecret = \"s\"\ntoken = \"t\"\n\
        encoding_aes_key = \"short\"\naccounts = [\"kfc123\"]\n[miniprogram]\napp_id = \"wx1\"\nsecret = \"x\"\n\
        [binding]\ncode_tll = \"10m\"\non_conflict = \"ask\"\n";
    std::fs::write(&file, text).unwrap();
    let checked = kfbind(&["check", "--config", file.to_str().unwrap()], &[]).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    for (key, hint) in [
        ("server.listen", "127.0.0.1:8080"),
        ("wecom.encoding_aes_key", "43"),
        ("wecom.accounts", "wk"),
        ("binding.code_tll", "binding.code_ttl"),
        ("binding.on_conflict", "reject"),
    ] {
        let at = said.find(&format!("{key}: ")).unwrap_or_else(|| panic!("{key} in {said}"));
        assert!(said[at..].contains(hint), "{hint} behind {key} in {said}");
    }
    assert_eq!(said.matches("fix:").count(), 5, "{said}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [&["fly"][..], &[], &["serve", "--port", "1"]] {
        assert_eq!(kfbind(arguments, &[]).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
}

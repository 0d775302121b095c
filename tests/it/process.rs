//! The binary as its operator runs it: started by the environment alone, killed, stopped, misconfigured.

use kfbind::sim::{Api, Fault};
use tempfile::TempDir;

use crate::support::{
    CALLBACK_PATH, Client, DEADLINE, Phone, eventually, hears,
    process::{Process, environment, issue, kfbind, login, world},
};

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
    assert!(said.contains("in use by another process") && said.contains("store.path"), "{said}");

    assert_eq!(process.terminate().await, Some(0));
    let log = process.said();
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

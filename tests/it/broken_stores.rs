//! Stores that can't be written or opened: a full disk, and directories that are somebody else's, read-only, no store.

use std::{
    fs::Permissions,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

use kfbind::sim::{Api, CallRecord, Sim};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    lifecycle::contents,
    support::{
        CALLBACK_PATH, Client, DEADLINE, Phone, eventually, hears, metric_of,
        mounted::{Mounted, text},
        process::{ADMIN_KEY, Process, but, environment, issue, login, ran, world},
    },
};

/// The disk of these tests, and what is left of it when it counts as full: less than 64 MiB.
const DISK_MIB: u64 = 80;
const ALMOST_FULL_BYTES: u64 = 60 << 20;
/// How often a disk is filled to get between two looks, which are a second apart.
const ROUNDS_MAX: u32 = 30;
/// The user that owns nothing.
const NOBODY: u32 = 65_534;

/// The service on a disk of its own.
async fn on_a_disk() -> (Sim, Mounted, Vec<(String, String)>) {
    let (sim, options, store) = world().await;
    let disk = Mounted::disk(DISK_MIB);
    let path = text(&disk.path().join("store"));
    let environment = but(
        &environment(&options, &sim.base_url(), &store),
        &[("STORE__PATH", &path), ("ADMIN__API_KEY", ADMIN_KEY)],
    );
    (sim, disk, environment)
}

/// Waits for a /readyz of this status; what it names as problems.
async fn readiness(client: &Client, status: u16) -> String {
    eventually(&format!("/readyz answers {status}"), async || {
        let answer = client.bearing(ADMIN_KEY).get("/readyz").await;
        (answer.status == status).then(|| answer.json()["problems"].to_string())
    })
    .await
}

#[tokio::test]
async fn an_almost_full_disk_refuses_writes_and_with_room_again_all_goes_on_by_itself() {
    let (sim, disk, environment) = on_a_disk().await;
    let process = Process::serve(&environment).await;
    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    let client = Client::of(&process.base);
    let (bound, pending) = (login(&client, &sim, "bound").await, login(&client, &sim, "pending").await);
    let code = issue(&bound).await;
    sim.customer("bound").says(&sim.account(0), &code);
    bound.until("bound").await;
    assert_eq!(hears(&sim.customer("bound"), 1).await, ["bound"]);
    let code = issue(&pending).await;
    let admin = client.bearing(ADMIN_KEY);
    eventually("the outbox is empty", async || {
        (metric_of(&client, "kfbind_outbox_depth").await == 0.0).then_some(())
    })
    .await;
    readiness(&client, 200).await;

    disk.fill(ALMOST_FULL_BYTES);
    let problems = readiness(&client, 503).await;
    assert!(problems.contains("store.path") && problems.contains("room"), "{problems}");
    let stranger = login(&client, &sim, "stranger").await;
    stranger.ask(json!({})).await.expect_problem(503, "unavailable");
    pending.ask(json!({"new": true})).await.expect_problem(503, "unavailable");
    bound.client.delete("/api/binding").await.expect_problem(503, "unavailable");
    let path = format!("/api/admin/bindings/{}", bound.openid);
    admin.delete(&path).await.expect_problem(503, "unavailable");
    // Reads go on, and show that nothing was done.
    assert_eq!(bound.status().await, "bound");
    assert_eq!(pending.view().await["pending"]["bind_token"], code.as_str());
    assert_eq!(stranger.version().await, 0);
    assert_eq!(
        admin.get("/api/admin/bindings").await.expect(200).json()["bindings"][0]["openid"],
        bound.openid
    );

    // What customers send meanwhile is pulled and not taken: the cursor stays.
    let pulls = sim.count(Api::SyncMsg);
    sim.customer("pending").says(&sim.account(0), &code);
    sim.customer("bound").says(&sim.account(0), "解绑");
    sim.wait_count(Api::SyncMsg, pulls + 3, DEADLINE).await.unwrap();
    let calls = sim.calls(Api::SyncMsg).split_off(usize::try_from(pulls).unwrap());
    let with_messages =
        |call: &&CallRecord| call.answer["msg_list"].as_array().is_some_and(|l| !l.is_empty());
    assert!(calls.iter().filter(with_messages).count() > 1, "pages that came and were not taken: {calls:#?}");
    let mut cursors: Vec<&Value> = calls.iter().map(|call| &call.body["cursor"]).collect();
    cursors.dedup();
    assert_eq!(cursors.len(), 1, "a page that is not stored was passed: {calls:#?}");
    assert_eq!((bound.status().await, pending.status().await), ("bound".into(), "pending".into()));
    assert_eq!(sim.customer("pending").heard().len(), 0);

    disk.make_room();
    readiness(&client, 200).await;
    pending.until("bound").await;
    bound.until("unbound").await;
    issue(&stranger).await;
    assert_eq!(hears(&sim.customer("pending"), 1).await, ["bound"]);
    assert_eq!(hears(&sim.customer("bound"), 2).await.len(), 2);
    let said = process.said();
    assert!(said.contains("less than 64 MiB are free") && said.contains("there is room"), "{said}");
    survives(process, &environment, &client, &[&bound, &pending, &stranger]).await;
    // Each once, also after another look at everything.
    assert_eq!((sim.customer("pending").heard().len(), sim.customer("bound").heard().len()), (1, 2));
}

/// Kills the process; the next one shows these users the same.
async fn survives(process: Process, environment: &[(String, String)], client: &Client, phones: &[&Phone]) {
    // A name that WeCom is still asked for would be a change that comes later.
    eventually("all is said and asked", async || {
        (metric_of(client, "kfbind_outbox_depth").await == 0.0).then_some(())
    })
    .await;
    let mut before = Vec::new();
    for phone in phones {
        before.push(phone.view().await["version"].clone());
    }
    drop(process);
    let process = Process::serve(environment).await;
    client.moves(&process.base);
    for (phone, version) in phones.iter().zip(before) {
        assert_eq!(phone.view().await["version"], version, "{} after a restart", phone.openid);
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_between_two_looks_ends_the_process_and_loses_nothing_acknowledged() {
    let (sim, disk, environment) = on_a_disk().await;
    let mut process = Process::serve(&environment).await;
    let client = Client::of(&process.base);
    readiness(&client, 200).await;
    let mut acknowledged: Vec<(Phone, String)> = Vec::new();
    let first = login(&client, &sim, "first").await;
    acknowledged.push((first.clone(), issue(&first).await));
    let mut phones = Vec::new();
    for number in 0..40 {
        phones.push(login(&client, &sim, &format!("u{number}")).await);
    }
    // The free room is looked at once a second: somewhere in between the disk is filled to the last byte.
    for round in 0.. {
        assert!(round < ROUNDS_MAX, "the look at the free room came first every time");
        disk.fill(0);
        for phone in &phones {
            let request = phone.client.request("POST", "/api/binding/token");
            match Client::try_send("a code".to_owned(), request).await {
                Some(answer) if answer.status == 201 => {
                    let code = answer.json()["bind_token"].as_str().unwrap().to_owned();
                    acknowledged.push((phone.clone(), code));
                }
                Some(answer) if answer.status == 200 => {}
                // The look came first, or the database met it; which of them shows below.
                Some(answer) => drop(answer.expect_problem(503, "unavailable")),
                None => break,
            }
        }
        disk.make_room();
        let is_over = eventually("it goes on, or has ended", async || {
            let request = client.request("GET", "/readyz");
            let answer = Client::try_send("/readyz".to_owned(), request).await;
            let is_over = process.child.try_wait().unwrap().is_some();
            (is_over || answer.is_some_and(|answer| answer.status == 200)).then_some(is_over)
        })
        .await;
        if is_over {
            break;
        }
    }
    assert_eq!(process.ends().await, Some(1));
    let said = process.said();
    let path = text(&disk.path().join("store"));
    for wanted in [path.as_str(), "No space left on device", "make room", "start again"] {
        assert!(said.contains(wanted), "{wanted} is not in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");

    let process = Process::serve(&environment).await;
    client.moves(&process.base);
    for (phone, code) in &acknowledged {
        assert_eq!(phone.view().await["pending"]["bind_token"], code.as_str(), "{}", phone.openid);
    }
}

// ---- Directories that can't be used -----------------------------------------------------------------------------

/// That `serve` on this path ends with 1, names it and the key, says these words, and leaves `whole` as it was.
async fn is_refused(path: &Path, whole: &Path, wanted: &str) {
    let (sim, options, store) = world().await;
    let environment = but(&environment(&options, &sim.base_url(), &store), &[("STORE__PATH", &text(path))]);
    let before = contents(whole);
    let (code, said) = ran(&["serve"], &environment);
    assert_eq!(code, Some(1), "{said}");
    for wanted in ["store.path", &text(path), wanted] {
        assert!(said.contains(wanted), "{wanted} is not in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    assert!(contents(whole) == before, "something has changed in {}", whole.display());
}

/// A directory with a store in it, closed.
async fn a_store() -> TempDir {
    let (sim, options, store) = world().await;
    let mut process = Process::serve(&environment(&options, &sim.base_url(), &store)).await;
    assert_eq!(process.terminate().await, Some(0));
    store
}

#[tokio::test]
async fn a_path_that_is_a_file_or_lies_below_one_is_refused() {
    let folder = TempDir::with_prefix("kfbind-it-").unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "somebody's").unwrap();
    is_refused(&file, folder.path(), "no directory").await;
    is_refused(&file.join("store"), folder.path(), "can't create").await;
    is_refused(Path::new("/proc/kfbind/store"), folder.path(), "can't create").await;
}

#[tokio::test]
async fn a_missing_parent_is_made_for_its_owner_alone() {
    let (sim, options, store) = world().await;
    let path = store.path().join("one/two");
    let environment = but(&environment(&options, &sim.base_url(), &store), &[("STORE__PATH", &text(&path))]);
    drop(Process::serve(&environment).await);
    for made in [path.as_path(), path.parent().unwrap()] {
        let mode = std::fs::metadata(made).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", made.display());
    }
}

#[tokio::test]
async fn a_store_on_a_read_only_disk_is_refused() {
    let store = a_store().await;
    let mounted = Mounted::read_only(store.path());
    is_refused(mounted.path(), mounted.path(), "ead-only file system").await;
    let empty = TempDir::with_prefix("kfbind-it-").unwrap();
    let mounted = Mounted::read_only(empty.path());
    is_refused(mounted.path(), mounted.path(), "ead-only file system").await;
    is_refused(&mounted.path().join("store"), mounted.path(), "ead-only file system").await;
}

#[tokio::test]
async fn a_store_of_somebody_else_is_refused() {
    let store = a_store().await;
    let (sim, options, other) = world().await;
    let environment =
        but(&environment(&options, &sim.base_url(), &other), &[("STORE__PATH", &text(store.path()))]);
    // Root may do everything, so the program runs as nobody, from where nobody can read it.
    let place = TempDir::with_prefix("kfbind-it-").unwrap();
    std::fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let program = place.path().join("kfbind");
    // Written by this process, it could not be run as long as a child that another test has just forked holds it open.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_kfbind")).arg(&program).status().unwrap();
    assert!(copied.success());
    let before = contents(store.path());
    for mode in [0o755, 0o700] {
        std::fs::set_permissions(store.path(), Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(&program);
        command.arg("serve").env_clear().envs(environment.iter().cloned()).current_dir(place.path());
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        } else {
            std::fs::set_permissions(store.path(), Permissions::from_mode(0o500)).unwrap();
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for wanted in ["store.path", &text(store.path()), "ermission denied"] {
            assert!(said.contains(wanted), "{wanted} is not in {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
    assert!(contents(store.path()) == before, "something has changed");
}

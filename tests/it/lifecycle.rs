//! A store's whole life: written by an old version, by a newer one, backed up while it is written to, read in elsewhere,
//! and cut off on the way.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use kfbind::sim::Api;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    CALLBACK_PATH, Client, DEADLINE, Phone, TestApp, base64, eventually, hears, metric_of,
    mounted::text,
    process::{ADMIN_KEY, Process, but, environment, issue, kfbind, login, ran, world},
    text_message,
};

/// Bindings in a store that is not small.
const BULK: usize = 10_000;
/// When the fixture was written, in Unix seconds: 2026-11-24T08:40:56Z.
const FIXTURE_S: u64 = 1_795_509_656;

/// Puts the store that version 0.1.0 wrote into this directory.
fn first_version(store: &Path) {
    for file in ["conf", "db"] {
        let from = format!("{}/tests/fixtures/store-1/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(from, store.join(file)).unwrap();
    }
}

/// All files below a directory and their bytes.
pub(crate) fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
                found.insert(path, Vec::new());
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}

// ---- Old and newer versions -----------------------------------------------------------------------------------

#[tokio::test]
async fn a_store_of_the_first_version_opens_with_everything_in_it() {
    let mut app = TestApp::start().await;
    app.stop().await;
    for entry in std::fs::read_dir(app.store.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    }
    first_version(app.store.path());
    app.clock.set(FIXTURE_S + 60);
    app.boot().await.unwrap();
    app.ready().await;

    // One is bound, with name and date.
    let bound = app.login_as("o7epWw6McRhtYqtpFp63CgETxZZk").await;
    let view = bound.view().await;
    assert_eq!(
        view["binding"],
        json!({"method": "code", "bound_at": "2026-11-24T08:40:56Z", "nickname": "小李"})
    );
    assert_eq!(view["version"], 3_591_019_316_u64);
    let list = app.admin().get("/api/admin/bindings").await.expect(200).json();
    let all = list["bindings"].as_array().unwrap();
    assert_eq!((all.len(), &all[0]["openid"]), (1, &json!(bound.openid)), "{list}");
    assert_eq!(all[0]["external_userid"], "wmGOIKeiesn0xa9TXVUCkQ0Jlni4A038");
    assert_eq!(all[0]["open_kfid"], app.account());

    // Two have codes that are live, the very same ones.
    let (pending, other) =
        (app.login_as("ogo66qPFHCAk9CAIhreGUy8rnR2c").await, "oipTiucXKnopsqXwBbYqnxG7jdAM");
    let view = pending.view().await;
    assert_eq!(
        (&view["pending"]["bind_token"], &view["pending"]["display"]),
        (&json!("550002"), &json!("550 002"))
    );
    assert_eq!(view["pending"]["expires_at"], "2026-11-24T08:50:56Z");
    assert_eq!(
        pending.ask(json!({})).await.expect(200).json()["bind_token"],
        "550002",
        "more than half is left"
    );
    let other = app.login_as(other).await;
    assert_eq!(other.view().await["pending"]["bind_token"], "423665");

    // One customer is locked, and one has undone: neither is bound by what they send now.
    let says = |number: u64, customer: &str, text: &str| {
        let message =
            text_message(&app.account(), &format!("fixture{number}"), customer, FIXTURE_S + 60, text);
        app.sim.raw_message(&app.account(), message);
    };
    let (locked, undone) = ("wmgyjos3VznQlrSnTElahc28WQtOcn9S", "wmRgx2G77Vvd9DE4PNEUqZZWqgkbkB22");
    says(1, locked, "423665");
    says(2, undone, "601537");
    app.settled().await;
    assert_eq!(other.status().await, "pending", "the customer is locked");
    let unbound = app.login_as("oemUm6vfsKgopsHvWUw2D8GFLgz4").await;
    assert_eq!(unbound.status().await, "unbound", "the code died with the unbinding");
    let tried = |customer: &str| {
        app.sim.calls(Api::SendMsg).iter().filter(|call| call.body["touser"] == customer).count()
    };
    assert_eq!((tried(locked), tried(undone)), (0, 1), "the lock is silent, the dead code is answered");

    // All of them go on: a live code binds, a lock is lifted, a new code is given, the bound one undoes.
    says(3, undone, "550002");
    app.settled().await;
    assert_eq!(pending.status().await, "bound");
    app.admin().delete(&format!("/api/admin/locks/{locked}")).await.expect(204);
    says(4, locked, "423665");
    says(5, "wmGOIKeiesn0xa9TXVUCkQ0Jlni4A038", "解绑");
    app.settled().await;
    assert_eq!((other.status().await, bound.status().await), ("bound".into(), "unbound".into()));
    unbound.issue().await;
    assert_eq!(app.metric("kfbind_bindings").await, 2.0);
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_and_stays_as_it_is_to_the_byte() {
    let (sim, options, store) = world().await;
    let environment = environment(&options, &sim.base_url(), &store);
    // Killed in the middle of its work, so that opening it would mend and write.
    let process = Process::serve(&environment).await;
    issue(&login(&Client::of(&process.base), &sim, "u").await).await;
    drop(process);
    assert_eq!(std::fs::read_to_string(store.path().join("schema")).unwrap(), "3\n");
    std::fs::write(store.path().join("schema"), "4\n").unwrap();
    let before = contents(store.path());
    let out = TempDir::with_prefix("kfbind-it-").unwrap();
    let out = text(&out.path().join("export"));
    for arguments in [&["serve"][..], &["export", "--out", &out]] {
        let (code, said) = ran(arguments, &environment);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("newer version of kfbind") && said.contains("schema 4"), "{said}");
        assert!(contents(store.path()) == before, "{arguments:?} has changed the store");
    }
    std::fs::write(store.path().join("schema"), "3\n").unwrap();
    assert_eq!(Process::serve(&environment).await.terminate().await, Some(0));
    assert!(contents(store.path()) != before, "opening it does write, so the refusal has to come before");
}

#[tokio::test]
async fn an_export_of_a_newer_version_is_refused_and_leaves_no_store() {
    let (sim, options, store) = world().await;
    first_version(store.path());
    let environment = but(&environment(&options, &sim.base_url(), &store), &[("ADMIN__API_KEY", ADMIN_KEY)]);
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
    assert!(!folder.path().join("store").exists(), "something was begun");
}

// ---- Backups --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_export_made_while_running_answers_the_same_elsewhere() {
    let (sim, options, store) = world().await;
    let base = environment(&options, &sim.base_url(), &store);
    let environment = but(&base, &[("ADMIN__API_KEY", ADMIN_KEY)]);
    let process = Process::serve(&environment).await;
    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    let client = Client::of(&process.base);
    let (bound, pending) = (login(&client, &sim, "bound").await, login(&client, &sim, "pending").await);
    let code = issue(&bound).await;
    sim.customer("bound").says(&sim.account(0), &code);
    bound.until("bound").await;
    issue(&pending).await;
    hears(&sim.customer("bound"), 1).await;
    let names = || bound.client.bearing(ADMIN_KEY);
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
    let owner = whole.lines().find(|line| line.contains("\"key\":\"c3RvcmU=\"")).unwrap();
    let damaged = json!({"tree": "users", "key": base64(b"o1"), "value": base64(&[1, 9])}).to_string();
    std::fs::write(at("damaged"), whole.replace(owner, &damaged)).unwrap();
    let nobodys = json!({"tree": "guesses", "key": base64(&[0; 8]), "value": base64(&[1, 9])}).to_string();
    std::fs::write(at("nobodys"), whole.replace(owner, &nobodys)).unwrap();
    let there = but(&environment, &[("STORE__PATH", &at("store"))]);
    let other = but(&there, &[("WECOM__CORP_ID", "wwFAKEother0000001")]);
    for (environment, file, wanted) in [
        (&there, "cut", "cut off"),
        (&there, "none", "can't read"),
        (&there, "damaged", "\"o1\" of tree `users`"),
        (&there, "nobodys", "whose store it is"),
        (&other, "whole", "wecom.corp_id"),
    ] {
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

/// A store of many bindings as an export: the head and owner of `of`, which is empty, and [`BULK`] pairs.
fn bulk(of: &str) -> String {
    let mut lines: Vec<String> = of
        .lines()
        .filter(|line| line.contains("kfbind_export") || line.contains("\"tree\":\"meta\""))
        .map(str::to_owned)
        .collect();
    // The bytes of `data/README.md`: a version, then the fields one after the other.
    let mut record = |tree: &str, key: &str, value: Vec<u8>| {
        let (key, value) = (base64(key.as_bytes()), base64(&[vec![1], value].concat()));
        lines.push(json!({"tree": tree, "key": key, "value": value}).to_string());
    };
    let text = |text: &str| [vec![u8::try_from(text.len()).unwrap()], text.as_bytes().to_vec()].concat();
    let time = [vec![252], u32::try_from(FIXTURE_S).unwrap().to_le_bytes().to_vec()].concat();
    for number in 0..BULK {
        let (openid, customer) = pair(number);
        record("users", &openid, vec![2, 1, 1, 0, 0, 0, 0]);
        let binding = [text(&customer), vec![0, 0], time.clone(), vec![1], text("名"), vec![0]].concat();
        record("bindings", &openid, binding);
        record("bindings_by_customer", &customer, text(&openid));
    }
    let records = lines.len() - 1;
    lines.push(json!({ "records": records }).to_string());
    lines.join("\n") + "\n"
}

fn pair(number: usize) -> (String, String) {
    (format!("oBulk{number:05}"), format!("wmBulk{number:05}"))
}

/// All bindings that the back end is told of, page by page.
async fn listed(admin: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page = admin.get(&format!("/api/admin/bindings?limit=1000{after}")).await.expect(200).json();
        all.extend(page["bindings"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

/// The store of [`bulk`] in this environment.
async fn many_bindings(environment: &[(String, String)], folder: &Path) {
    let empty = TempDir::with_prefix("kfbind-it-").unwrap();
    let elsewhere = but(environment, &[("STORE__PATH", &text(empty.path()))]);
    drop(Process::serve(&elsewhere).await);
    let (file, out) = (folder.join("bulk"), text(&folder.join("empty")));
    let (code, said) = ran(&["export", "--out", &out], &elsewhere);
    assert_eq!(code, Some(0), "{said}");
    std::fs::write(&file, bulk(&std::fs::read_to_string(out).unwrap())).unwrap();
    let (code, said) = ran(&["import", &text(&file)], environment);
    assert_eq!(code, Some(0), "{said}");
}

/// What goes on while a backup is made, one after the other: bindings end, and users get codes.
#[derive(Default)]
struct Load {
    begun: AtomicUsize,
    done: AtomicUsize,
    is_over: AtomicBool,
}

impl Load {
    async fn work(self: Arc<Self>, admin: Client, phones: Vec<Phone>) {
        for step in 0..BULK {
            self.begun.store(step + 1, Ordering::SeqCst);
            admin.delete(&format!("/api/admin/bindings/{}", pair(order(step)).0)).await.expect(204);
            self.done.store(step + 1, Ordering::SeqCst);
            if let Some(phone) = phones.get(step) {
                phone.issue().await;
            }
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
        }
    }
}

/// Bindings end in an order that is not that of their keys.
fn order(step: usize) -> usize {
    step * 7919 % BULK
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_of_one_moment_and_one_at_rest_gives_every_answer_again() {
    let (sim, options, store) = world().await;
    let folder = TempDir::with_prefix("kfbind-it-").unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let environment = but(
        &environment(&options, &sim.base_url(), &store),
        &[("ADMIN__API_KEY", ADMIN_KEY), ("LIMITS__LOGINS_PER_IP", "100000/1m")],
    );
    many_bindings(&environment, folder.path()).await;
    let process = Process::serve(&environment).await;
    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    let client = Client::of(&process.base);
    let admin = client.bearing(ADMIN_KEY);
    let mut phones = Vec::new();
    for number in 0..400 {
        phones.push(login(&client, &sim, &format!("u{number}")).await);
    }
    issue(&phones[0]).await;

    let load = Arc::new(Load::default());
    let (begun, done) = (|| load.begun.load(Ordering::SeqCst), || load.done.load(Ordering::SeqCst));
    let working = tokio::spawn(Arc::clone(&load).work(admin.clone(), phones.clone()));
    eventually("the load is under way", async || (done() > 20).then_some(())).await;
    let least = done();
    let exported = {
        let (environment, out, base) = (environment.clone(), at("under-load"), process.base.clone());
        tokio::task::spawn_blocking(move || ran(&["export", "--out", &out, "--url", &base], &environment))
    };
    let (code, said) = exported.await.unwrap();
    assert_eq!(code, Some(0), "{said}");
    let most = begun();
    load.is_over.store(true, Ordering::SeqCst);
    working.await.unwrap();
    assert!(most > least + 10, "from {least} to {most} there was no load to speak of");

    // At rest: the running service and the directory itself give the same records.
    eventually("the outbox is empty", async || {
        (metric_of(&client, "kfbind_outbox_depth").await == 0.0).then_some(())
    })
    .await;
    let (code, said) = ran(&["export", "--out", &at("at-rest"), "--url", &process.base], &environment);
    assert_eq!(code, Some(0), "{said}");
    let all = listed(&admin).await;
    let views = views(&phones).await;
    drop(process);
    let (code, said) = ran(&["export", "--out", &at("offline")], &environment);
    assert_eq!(code, Some(0), "{said}");
    let records = |name: &str| -> Vec<String> {
        std::fs::read_to_string(at(name)).unwrap().lines().skip(1).map(str::to_owned).collect()
    };
    assert!(records("at-rest") == records("offline"), "the two exports differ");

    let moved = elsewhere(&environment, &at("offline"), &at("store-at-rest")).await;
    client.moves(&moved.base);
    assert!(listed(&admin).await == all, "the back end is told of other bindings than before");
    assert_eq!(self::views(&phones).await, views);
    drop(moved);

    // The one under load is of one moment: what had ended by then is the beginning of what ended.
    let moved = elsewhere(&environment, &at("under-load"), &at("store-under-load")).await;
    client.moves(&moved.base);
    let there = listed(&admin).await;
    let there: std::collections::BTreeSet<&str> = there.iter().filter_map(|b| b["openid"].as_str()).collect();
    let gone = (0..BULK).take_while(|step| !there.contains(pair(order(*step)).0.as_str())).count();
    assert_eq!(there.len(), BULK - gone, "others are gone than the first {gone}");
    assert!((least..=most).contains(&gone), "{gone} of {least} to {most} were gone at that moment");
    // The codes went in step with them, but for the two that may have been on their way.
    let given = self::views(&phones).await.iter().take_while(|view| view["status"] == "pending").count();
    assert!(given == gone.min(phones.len()) || given + 1 == gone, "{given} codes with {gone} unbindings");
}

/// What these users see, without what changes by itself.
async fn views(phones: &[Phone]) -> Vec<Value> {
    let mut views = Vec::new();
    for phone in phones {
        views.push(strip(phone.view().await));
    }
    views
}

/// The service on a store of its own, into which this export was read.
async fn elsewhere(environment: &[(String, String)], file: &str, store: &str) -> Process {
    let there = but(environment, &[("STORE__PATH", store)]);
    let (code, said) = ran(&["import", file], &there);
    assert_eq!(code, Some(0), "{said}");
    Process::serve(&there).await
}

#[tokio::test]
async fn an_import_that_was_killed_is_no_store_and_says_what_to_do() {
    let (sim, options, store) = world().await;
    let folder = TempDir::with_prefix("kfbind-it-").unwrap();
    let environment = but(&environment(&options, &sim.base_url(), &store), &[("ADMIN__API_KEY", ADMIN_KEY)]);
    many_bindings(&environment, folder.path()).await;
    let path = folder.path().join("store");
    let there = but(&environment, &[("STORE__PATH", &text(&path))]);
    let file = text(&folder.path().join("bulk"));
    let mut import = kfbind(&["import", &file], &there).spawn().unwrap();
    while !path.join("schema").exists() {
        assert!(import.try_wait().unwrap().is_none(), "it has ended before it began");
        std::thread::yield_now();
    }
    import.kill().unwrap();
    import.wait().unwrap();
    let before = contents(&path);
    for arguments in
        [&["serve"][..], &["import", &file], &["export", "--out", &text(&folder.path().join("x"))]]
    {
        let (code, said) = ran(arguments, &there);
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains(&text(&path)), "{arguments:?}: {said}");
    }
    let (_, said) = ran(&["serve"], &there);
    assert!(said.contains("empty the directory, then import again"), "{said}");
    assert!(contents(&path) == before, "it was touched");
    std::fs::remove_dir_all(&path).unwrap();
    let moved = elsewhere(&environment, &file, &text(&path)).await;
    assert_eq!(listed(&Client::of(&moved.base).bearing(ADMIN_KEY)).await.len(), BULK);
}

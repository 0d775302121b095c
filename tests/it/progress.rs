//! Long work says how far it has come: on a terminal while it lasts, in a pipe not at all, and the service in its log.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    process::Stdio,
};

use kfbind::sim::Api;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

use crate::support::{
    CALLBACK_PATH, eventually,
    mounted::text,
    process::{ADMIN_KEY, Process, but, environment, kfbind, world},
    text_message,
};

/// Pages of one message each, and what each takes, in milliseconds: longer than the silence before the first word.
const PAGES: u64 = 40;
const PAGE_MS: u64 = 80;

/// What a command writes to the terminal and to stdout, where its stderr is a terminal, and that it was fine.
fn on_a_terminal(arguments: &[&str], environment: &[(String, String)]) -> (String, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = OpenOptions::new().read(true).write(true).open(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let mut command = kfbind(arguments, environment);
    command.env_remove("RUST_LOG").stderr(Stdio::from(slave.unwrap()));
    let output = command.spawn().unwrap();
    // The command holds the other end: without it the terminal ends when the program does.
    drop(command);
    let mut shown = Vec::new();
    // The end of a terminal is an error, and what came before it counts.
    let _ = File::from(master).read_to_end(&mut shown);
    let output = output.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert_eq!(output.status.code(), Some(0), "{shown}");
    (shown, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The same in a pipe.
fn in_a_pipe(arguments: &[&str], environment: &[(String, String)]) -> (String, String) {
    let output = kfbind(arguments, environment).env_remove("RUST_LOG").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    (said, String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn exports_and_imports_show_their_progress_on_a_terminal_and_in_a_pipe_just_the_last_line() {
    let (sim, options, store) = world().await;
    let environment = but(&environment(&options, &sim.base_url(), &store), &[("ADMIN__API_KEY", ADMIN_KEY)]);
    let folder = TempDir::with_prefix("kfbind-it-").unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let process = Process::serve(&environment).await;
    let running = [at("running-shown"), at("running-quiet")];
    let resting = [at("resting-shown"), at("resting-quiet")];

    let check = |arguments: &[&str], again: &[&str], environments: [&[(String, String)]; 2], word: &str| {
        let (shown, last) = on_a_terminal(arguments, environments[0]);
        assert!(shown.contains(&format!("\r\u{1b}[K{word}")), "{shown:?}");
        assert!(shown.ends_with("\r\u{1b}[K"), "the line is taken away: {shown:?}");
        assert!(last.contains(" records are in ") && last.lines().count() == 1, "{last}");
        let (said, last) = in_a_pipe(again, environments[1]);
        assert_eq!(said, "");
        assert!(last.contains(" records are in ") && last.lines().count() == 1, "{last}");
    };
    let same = [&environment[..], &environment];
    let url = &process.base;
    check(
        &["export", "--url", url, "--out", &running[0]],
        &["export", "--url", url, "--out", &running[1]],
        same,
        "exporting: ",
    );
    drop(process);
    check(&["export", "--out", &resting[0]], &["export", "--out", &resting[1]], same, "exporting: ");
    let elsewhere = |name: &str| but(&environment, &[("STORE__PATH", &at(name))]);
    let (there, here) = (elsewhere("there"), elsewhere("here"));
    check(
        &["import", &running[0]],
        &["import", &resting[1]],
        [&there, &here],
        "looking through the export: ",
    );
}

#[tokio::test]
async fn a_first_sync_of_many_pages_says_in_the_log_how_far_it_has_come() {
    let (sim, options, store) = world().await;
    let account = sim.account(0);
    let sent_s = sim.now_s() - 3600;
    for number in 0..PAGES {
        let message = text_message(&account, &format!("old{number}"), "wmProgress", sent_s + number, "hello");
        sim.raw_message(&account, message);
    }
    sim.switch(|switches| {
        switches.page_size_max = 1;
        switches.latency_ms.insert(Api::SyncMsg, PAGE_MS);
    });
    let process = Process::serve(&environment(&options, &sim.base_url(), &store)).await;
    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    // The token that comes with it lifts the limit of pulls.
    sim.push_callback(&account);
    let line = |part: &str| process.said().lines().find(|line| line.contains(part)).map(str::to_owned);
    let under_way = eventually("a word under way", async || line("reading older messages")).await;
    assert!(
        under_way.contains(&account) && under_way.contains("messages=") && under_way.contains("behind_s=3")
    );
    let last = eventually("a word at the end", async || line("all older messages are read")).await;
    assert!(last.contains(&format!("messages={PAGES}")), "{last}");
}

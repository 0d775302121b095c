//! What "on the disk" means, seen from the kernel: the binary runs under `strace`, and in the trace every durable
//! answer leaves only after an fsync of the database that began after the answer's own bytes were written to it.
//!
//! This shows that each commit ends in an fsync, not that the fsync does what it should: for that, power has to be cut.

use std::{collections::HashMap, process::Command};

use tempfile::TempDir;

use crate::support::{
    CALLBACK_PATH, Client, eventually, hears,
    mounted::text,
    process::{ADMIN_KEY, Process, but, environment, issue, kfbind, login, world},
};

const USERS: usize = 8;
/// The calls that matter: to the database's file, and to sockets.
const CALLS: &str =
    "trace=pwrite64,pwritev,fsync,fdatasync,sync_file_range,write,writev,sendto,sendmsg,read,readv,recvfrom";
/// Longer than any buffer that is written, so that none is cut off in the trace.
const SHOWN_BYTES: &str = "1048576";

/// The same command under `strace`, which becomes a grandchild: signals and exit codes are the program's own.
fn traced(command: &Command, trace: &str) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "-yy", "-s", SHOWN_BYTES, "-e", CALLS, "-o", trace]);
    traced.arg(command.get_program()).args(command.get_args());
    traced.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    traced.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    traced.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    traced
}

/// A system call. Its moments are lines of the trace: it began when the first was written or later, and had ended when
/// the last was.
#[derive(Debug)]
struct Call {
    name: String,
    text: String,
    begun: usize,
    ended: usize,
}

impl Call {
    fn is_on_the_database(&self) -> bool {
        self.text.split(',').next().is_some_and(|file| file.contains("/db>"))
    }

    fn is_on_a_socket(&self) -> bool {
        self.text.split_once('<').is_some_and(|(_, file)| file.starts_with("TCP:"))
    }

    fn socket(&self) -> &str {
        self.text.split('<').next().unwrap_or_default()
    }
}

/// The calls of a trace, in the order in which they began. Those of several threads lie in between each other: one
/// that was interrupted stands on two lines of the same thread.
fn calls(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            if let Some(call) = open.remove(thread).and_then(|place| calls.get_mut(place)) {
                call.text.push_str(resumed.split_once("resumed>").map_or("", |(_, more)| more));
                call.ended = number;
            }
        } else if let Some((name, arguments)) = rest.split_once('(') {
            let unfinished = arguments.strip_suffix("<unfinished ...>");
            if unfinished.is_some() {
                open.insert(thread, calls.len());
            }
            let ended = if unfinished.is_some() { usize::MAX } else { number };
            let text = unfinished.unwrap_or(arguments).to_owned();
            calls.push(Call { name: name.to_owned(), text, begun: number, ended });
        }
    }
    calls
}

/// What stands behind this mark up to the next quotation mark; quotation marks are escaped in the trace.
fn quoted<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let mark = format!("\\\"{key}\\\":\\\"");
    let (_, rest) = text.split_once(mark.as_str())?;
    rest.split('\\').next().filter(|value| !value.is_empty())
}

struct Trace(Vec<Call>);

impl Trace {
    fn writes(&self) -> impl Iterator<Item = &Call> {
        self.0.iter().filter(|call| call.name.starts_with("pwrite") && call.is_on_the_database())
    }

    /// What was said on sockets.
    fn said(&self) -> impl Iterator<Item = &Call> {
        let speaks = |call: &&Call| matches!(&*call.name, "write" | "writev" | "sendto" | "sendmsg");
        self.0.iter().filter(speaks).filter(|call| call.is_on_a_socket())
    }

    /// Whether an fsync lay between the end of this write and the beginning of what was said.
    fn is_synced(&self, write: &Call, said: &Call) -> bool {
        self.0.iter().any(|call| {
            matches!(&*call.name, "fsync" | "fdatasync")
                && call.is_on_the_database()
                && call.text.ends_with(" = 0")
                && call.begun > write.ended
                && call.ended < said.begun
        })
    }

    /// That what was said about `value` was said after the first write that holds it was synced.
    fn follows(&self, said: &Call, value: &str) {
        let write = self.writes().find(|write| write.text.contains(value));
        let write = write.unwrap_or_else(|| panic!("{value} was never written, but said: {said:?}"));
        assert!(self.is_synced(write, said), "said in line {} before it was synced: {value}", said.begun);
    }
}

#[tokio::test]
async fn nothing_durable_is_said_before_its_bytes_were_synced() {
    let (sim, options, store) = world().await;
    let folder = TempDir::with_prefix("kfbind-it-").unwrap();
    let file = text(&folder.path().join("trace"));
    let environment = but(
        &environment(&options, &sim.base_url(), &store),
        &[("ADMIN__API_KEY", ADMIN_KEY), ("LIMITS__CODES_PER_OPENID", "1000/1m")],
    );
    let command = traced(&kfbind(&["serve"], &environment), &file);
    let mut process = Process::start(command).await;
    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    let client = Client::of(&process.base);
    let mut phones = Vec::new();
    for number in 0..USERS {
        phones.push(login(&client, &sim, &number.to_string()).await);
    }
    issue(&phones[0]).await;
    // All at once: codes, messages, pages, answers, unbindings.
    let account = sim.account(0);
    let people = phones.iter().enumerate().map(|(number, phone)| {
        let (customer, account) = (sim.customer(&number.to_string()), account.clone());
        async move {
            for round in 1..=3 {
                phone.issue().await;
                phone.issue().await;
                let code = phone.issue().await;
                customer.says(&account, &code.text);
                phone.until("bound").await;
                phone.unbind().await;
                hears(&customer, round).await;
            }
        }
    });
    futures_util::future::join_all(people).await;
    assert_eq!(process.terminate().await, Some(0));
    let thread = process.child.id().to_string();
    let trace = eventually("the trace is complete", async || {
        let trace = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        let is_last = |line: &str| line.starts_with(&thread) && line.ends_with("+++ exited with 0 +++");
        trace.lines().any(is_last).then_some(trace)
    })
    .await;
    judge(&Trace(calls(&trace)));
}

fn judge(trace: &Trace) {
    assert!(trace.0.iter().all(|call| call.name != "sync_file_range"), "sync_file_range reached the kernel");
    let (mut codes, mut pulls, mut answers, mut unbindings) = (0, 0, 0, 0);
    for said in trace.said() {
        if said.text.contains("HTTP/1.1 201") {
            let code = quoted(&said.text, "bind_token").expect("a code in a 201");
            trace.follows(said, code);
            codes += 1;
        } else if said.text.contains("HTTP/1.1 204") {
            let heard = trace.0.iter().rfind(|call| {
                matches!(&*call.name, "read" | "readv" | "recvfrom")
                    && call.socket() == said.socket()
                    && call.ended < said.begun
                    && call.text.contains("HTTP/1.1")
            });
            let heard = heard.unwrap_or_else(|| panic!("who asked for {said:?}"));
            assert!(heard.text.contains("DELETE /api/binding"), "{heard:?}");
            let synced = trace
                .writes()
                .filter(|write| write.begun > heard.ended && write.ended < said.begun)
                .any(|write| trace.is_synced(write, said));
            assert!(synced, "an unbinding was answered in line {} before it was synced", said.begun);
            unbindings += 1;
        } else if let Some(cursor) = quoted(&said.text, "cursor") {
            trace.follows(said, cursor);
            pulls += 1;
        } else if let Some(msgid) = quoted(&said.text, "msgid").filter(|_| said.text.contains("touser")) {
            trace.follows(said, msgid);
            answers += 1;
        }
    }
    assert_eq!((codes, unbindings), (USERS * 9 + 1, USERS * 3));
    assert!(pulls > USERS && answers >= USERS * 3, "{pulls} pulls, {answers} answers");
}

#[test]
fn calls_of_several_threads_are_told_apart() {
    let trace = "1 pwrite64(7</s/db>, \"ab\", 2, 0 <unfinished ...>\n\
        2 sendto(9<TCP:[1->2]>, \"x\", 1, 0, NULL, 0) = 1\n\
        1 <... pwrite64 resumed>) = 2\n\
        2 fsync(7</s/db> <unfinished ...>\n1 +++ exited with 0 +++\n\
        2 <... fsync resumed>) = 0\n\
        2 sendto(9<TCP:[1->2]>, \"y\", 1, 0, NULL, 0) = 1\n";
    let trace = Trace(calls(trace));
    let moments: Vec<_> = trace.0.iter().map(|call| (call.begun, call.ended)).collect();
    assert_eq!(moments, [(0, 2), (1, 1), (3, 5), (6, 6)]);
    let said: Vec<_> = trace.said().collect();
    let write = trace.writes().next().unwrap();
    assert!(!trace.is_synced(write, said[0]) && trace.is_synced(write, said[1]));
}

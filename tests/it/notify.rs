//! What the binary tells the one who started it: that it is ready, alive, and stopping. And which binary it is.

use std::{
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::Command,
};

use crate::support::{
    Client, DEADLINE, eventually,
    process::{Process, environment, kfbind, world},
};

/// The words of the next datagram.
fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let length = socket.recv(&mut bytes).expect("a datagram within the deadline");
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn the_supervisor_is_told_of_readiness_life_and_stop() {
    let (sim, options, store) = world().await;
    let path = store.path().join("notify");
    let abstract_name = format!("kfbind-it-{}", std::process::id());
    let addresses = [
        (path.display().to_string(), SocketAddr::from_pathname(&path).unwrap()),
        (format!("@{abstract_name}"), SocketAddr::from_abstract_name(&abstract_name).unwrap()),
    ];
    for (name, address) in addresses {
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut environment = environment(&options, &sim.base_url(), &store);
        let store = store.path().join("store").display().to_string();
        environment.push(("KFBIND_STORE__PATH".into(), store));
        environment.push(("NOTIFY_SOCKET".into(), name));
        environment.push(("WATCHDOG_USEC".into(), "1000000".into()));
        let mut process = Process::serve(&environment).await;
        let ready = heard(&socket);
        assert!(ready.starts_with("READY=1\nSTATUS="), "{ready}");
        // What it said is true: it answers.
        assert_eq!(Client::of(&process.base).get("/healthz").await.status, 200);
        let port = process.base.rsplit(':').next().unwrap().to_owned();
        assert!(ready.ends_with(&format!(":{port}")), "{ready} names {port}");
        for _ in 0..3 {
            assert_eq!(heard(&socket), "WATCHDOG=1");
        }
        assert_eq!(process.terminate().await, Some(0));
        let last = eventually("it says that it stops", async || {
            Some(heard(&socket)).filter(|words| words != "WATCHDOG=1")
        });
        assert_eq!(last.await, "STOPPING=1\nSTATUS=stopping");
    }
}

#[test]
fn the_version_names_the_commit() {
    let said = kfbind(&["--version"], &[]).output().unwrap();
    assert_eq!(said.status.code(), Some(0));
    let said = String::from_utf8(said.stdout).unwrap();
    let commit = said
        .strip_prefix(concat!("kfbind ", env!("CARGO_PKG_VERSION"), " ("))
        .and_then(|rest| rest.strip_suffix(")\n"))
        .unwrap_or_else(|| panic!("{said:?}"));
    // The environment of this test's own build goes first; outside of a repository nobody knows.
    let git = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let of_git = git.ok().filter(|git| git.status.success());
    let of_git = of_git.map(|git| String::from_utf8(git.stdout).unwrap().trim().to_owned());
    let wanted = option_env!("KFBIND_COMMIT").map(str::to_owned).or(of_git);
    assert_eq!(commit, wanted.as_deref().unwrap_or("unknown"));
}

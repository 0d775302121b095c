//! Operators on an address of their own: what is there, what is not, and that both end together.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{
    ADMIN_KEY, DEADLINE, TestApp, eventually,
    process::{Process, but, environment, ran, world},
};

const OWN: &[(&str, &str)] = &[("server.ops_listen", "\"127.0.0.1:0\"")];

/// What operators and their machines ask for.
const OPERATORS: [&str; 6] = [
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/admin/bindings",
    "/api/admin/bindings?openid=o1",
    "/api/admin/export",
];
/// What they don't, with the status that it has where it exists, asked for without anything.
const OTHERS: [(&str, &str, u16); 5] = [
    ("GET", "/api/binding", 401),
    ("POST", "/api/binding/token", 401),
    ("POST", "/api/login", 400),
    ("GET", "/api/wechat-work/message", 400),
    ("POST", "/api/wechat-work/message", 400),
];

/// The status of an answer to bytes on a bare socket.
async fn status(address: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_KEY}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn operators_routes_are_on_their_own_address_and_the_others_are_not() {
    let app = TestApp::with(OWN).await;
    for path in OPERATORS {
        app.admin().get(path).await.expect(200);
        app.client().bearing(ADMIN_KEY).get(path).await.expect_problem(404, "not-found");
    }
    for (method, path, there) in OTHERS {
        app.client().send(method, path, None).await.expect(there);
        app.operator().send(method, path, None).await.expect_problem(404, "not-found");
    }
    app.bound("u").await;
    app.admin().delete(&format!("/api/admin/bindings/{}", app.sim.openid_of("u"))).await.expect(204);
}

#[tokio::test]
async fn without_an_address_of_their_own_all_is_on_one() {
    let app = TestApp::start().await;
    assert!(app.addresses().1.is_none());
    for path in OPERATORS {
        app.client().bearing(ADMIN_KEY).get(path).await.expect(200);
    }
    for (method, path, there) in OTHERS {
        app.client().send(method, path, None).await.expect(there);
    }
}

#[tokio::test]
async fn no_spelling_leads_from_one_side_to_the_other() {
    let app = TestApp::with(OWN).await;
    let (main, ops) = app.addresses();
    for target in [
        "/metrics/",
        "//metrics",
        "/metrics?x",
        "/%6detrics",
        "/./metrics",
        "/api/../metrics",
        "/api/binding/../admin/bindings",
        "/api//admin/bindings",
        "/api/admin/bindings/",
        "/api/%61dmin/bindings",
        "/API/admin/bindings",
        "http://x/api/admin/bindings",
        "http://127.0.0.1/metrics",
        "/openapi.json/../metrics",
    ] {
        assert_eq!(status(main, target).await, "404", "{target}");
    }
    for target in [
        "/api/binding/",
        "//api/binding",
        "/api/admin/../binding",
        "http://x/api/binding",
        "/metrics/../api/binding",
    ] {
        assert_eq!(status(ops.unwrap(), target).await, "404", "{target}");
    }
    assert_eq!(
        status(ops.unwrap(), "http://x/metrics").await,
        "200",
        "the address is written like that, too"
    );
}

#[tokio::test]
async fn details_are_shown_there_without_a_key_and_admin_routes_want_theirs() {
    let app = TestApp::with(OWN).await;
    for client in [app.operator(), app.operator().bearing("a-wrong-key"), app.admin()] {
        let report = client.get("/readyz").await.expect(200).json();
        assert!(report["store"]["writable"].as_bool().unwrap() && report["accounts"].is_array(), "{report}");
    }
    app.operator().get("/api/admin/bindings").await.expect_problem(401, "admin-key-invalid");
    app.operator()
        .bearing("a-wrong-key")
        .get("/api/admin/export")
        .await
        .expect_problem(401, "admin-key-invalid");

    let one = TestApp::start().await;
    assert_eq!(one.client().get("/readyz").await.expect(200).json()["store"], serde_json::Value::Null);
}

#[tokio::test]
async fn without_an_admin_key_there_are_no_admin_routes_there_either() {
    let app = TestApp::open(crate::support::Options {
        ready: false,
        ..crate::support::Options::set(&[OWN[0], ("admin.api_key", "\"\"")])
    })
    .await;
    app.operator().get("/api/admin/bindings").await.expect_problem(404, "not-found");
    assert!(app.operator().get("/readyz").await.json()["store"].is_object());
}

#[tokio::test]
async fn the_log_names_both_addresses_and_both_end_with_the_process() {
    let (sim, options, store) = world().await;
    let environment =
        but(&environment(&options, &sim.base_url(), &store), &[("SERVER__OPS_LISTEN", "127.0.0.1:0")]);
    let mut process = Process::serve(&environment).await;
    let ops = eventually("it says where operators find theirs", async || {
        let said = process.said();
        let at = said.lines().find_map(|line| line.split("ops listening addr=").nth(1))?;
        Some(at.split_whitespace().next()?.to_owned())
    })
    .await;
    assert_ne!(process.base, format!("http://{ops}"), "the first line is the main one's");
    assert_eq!(status(ops.parse().unwrap(), "/healthz").await, "200");

    // Neither somebody who says nothing nor half a head holds up the end.
    let mut idle = TcpStream::connect(&ops).await.unwrap();
    let mut half = TcpStream::connect(&ops).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nhost:").await.unwrap();
    assert_eq!(process.terminate().await, Some(0));
    for stream in [&mut idle, &mut half] {
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
    TcpListener::bind(&ops).await.expect("the address is free again");
}

#[tokio::test]
async fn a_taken_address_is_named_with_its_key() {
    let (sim, options, store) = world().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let usual = environment(&options, &sim.base_url(), &store);
    for (variable, key) in [("SERVER__LISTEN", "server.listen"), ("SERVER__OPS_LISTEN", "server.ops_listen")]
    {
        let (code, said) = ran(&["serve"], &but(&usual, &[(variable, &address)]));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&address) && said.contains(&format!("`{key}`")), "{said}");
    }
}

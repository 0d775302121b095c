//! Bytes that nobody should send, written on bare sockets: each gets its status or a closed connection, and the
//! service goes on. Bodies that are merely odd are in `bad_input.rs`.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{DEADLINE, TestApp};

/// Where the service listens.
fn address(app: &TestApp) -> String {
    let request = app.client().request("GET", "/").build().unwrap();
    format!("{}:{}", request.url().host_str().unwrap(), request.url().port().unwrap())
}

/// Sends bytes, hangs up if that is wanted, and reads until the service closes; the statuses of the answers.
async fn statuses(app: &TestApp, bytes: &[u8], hangs_up: bool) -> Vec<u16> {
    let mut stream = TcpStream::connect(address(app)).await.unwrap();
    let (mut answers, mut requests) = stream.split();
    let mut received = Vec::new();
    let talking = async {
        let sending = async {
            // It may be refused before it is all there.
            drop(requests.write_all(bytes).await);
            if hangs_up {
                drop(requests.shutdown().await);
            }
        };
        tokio::join!(sending, answers.read_to_end(&mut received)).1.ok()
    };
    let closed = tokio::time::timeout(DEADLINE, talking).await;
    assert!(closed.is_ok(), "not closed after {}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
    let text = String::from_utf8_lossy(&received);
    let answers = text.split("HTTP/1.").skip(1);
    answers.map(|answer| answer.split(' ').nth(1).unwrap().parse().unwrap()).collect()
}

/// A GET of this path with these lines more, that closes.
fn get(path: &str, lines: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}\r\n").into_bytes()
}

fn post(lines: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST /api/login HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}\r\n");
    [head.as_bytes(), body].concat()
}

/// A name, what is sent, and the statuses of the answers.
type Case = (&'static str, Vec<u8>, &'static [u16]);

fn many_headers(count: usize) -> String {
    (0..count).flat_map(|number| ["x-".to_owned(), number.to_string(), ": y\r\n".to_owned()]).collect()
}

fn long(count: usize) -> String {
    "a".repeat(count)
}

fn heads() -> Vec<Case> {
    vec![
        ("nothing", Vec::new(), &[]),
        ("line ends only", b"\r\n\r\n\r\n".to_vec(), &[]),
        ("zeros", vec![0; 4096], &[400]),
        ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[400]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[]),
        ("HTTP/0.9", b"GET /healthz\r\n".to_vec(), &[400]),
        ("HTTP/1.0", b"GET /healthz HTTP/1.0\r\n\r\n".to_vec(), &[200]),
        ("HTTP/9.9", b"GET /healthz HTTP/9.9\r\n\r\n".to_vec(), &[400]),
        ("half a head", b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-ha".to_vec(), &[]),
        ("a zero in the path", get("/heal\0thz", ""), &[400]),
        ("an escaped zero", get("/api/admin/bindings/%00", ""), &[405]),
        ("a zero in a header", get("/healthz", "x: a\0b\r\n"), &[400]),
        ("a space in a name", get("/healthz", "x y: a\r\n"), &[400]),
        ("a space before the colon", get("/healthz", "x : a\r\n"), &[400]),
        ("a folded header", get("/healthz", "x: a\r\n b\r\n"), &[400]),
        ("a path of dots", get("/api/../../etc/passwd", ""), &[404]),
        ("escaped dots", get("/%2e%2e/%2e%2e/etc/passwd", ""), &[404]),
        ("slashes", get(&"/".repeat(8_000), ""), &[404]),
        ("a long path", get(&format!("/{}", long(12_000)), ""), &[404]),
        ("a path beyond the buffer", get(&format!("/{}", long(100_000)), ""), &[431]),
        ("a long query", get(&format!("/api/wechat-work/message?{}", "a=1&".repeat(3_000)), ""), &[400]),
        ("another host's address", get("http://elsewhere.example/healthz", ""), &[200]),
        ("a tunnel", b"CONNECT elsewhere.example:443 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), &[404]),
        ("all of it", b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(), &[404]),
        (
            "a method of its own",
            b"BREW /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(),
            &[405],
        ),
        ("99 headers", get("/healthz", &many_headers(97)), &[200]),
        ("more headers than allowed", get("/healthz", &many_headers(200)), &[431]),
        ("a flood of headers", get("/healthz", &many_headers(100_000)), &[431]),
        ("a long header", get("/healthz", &format!("x: {}\r\n", long(200_000))), &[431]),
        ("an upgrade", get("/healthz", "connection: upgrade\r\nupgrade: websocket\r\n"), &[200]),
    ]
}

fn bodies() -> Vec<Case> {
    vec![
        ("two lengths", post("content-length: 2\r\ncontent-length: 3\r\n", b"{}}"), &[400]),
        ("a length below zero", post("content-length: -1\r\n", b"{}"), &[400]),
        ("a length with a sign", post("content-length: +2\r\n", b"{}"), &[400]),
        ("a length beyond counting", post("content-length: 99999999999999999999999\r\n", b"{}"), &[400]),
        ("a great length", post("content-length: 9999999999999999\r\n", b"{}"), &[413]),
        ("the greatest length", post("content-length: 18446744073709551615\r\n", b"{}"), &[431]),
        (
            "length and chunks",
            post("content-length: 4\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n"),
            &[400],
        ),
        ("an unknown coding", post("transfer-encoding: gzip\r\n", b"{}"), &[400]),
        ("less than announced", post("content-length: 10\r\n", b"{}"), &[400]),
        ("no chunk", post("transfer-encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"), &[400]),
        ("a chunk beyond counting", post("transfer-encoding: chunked\r\n", b"fffffffffffffffff\r\n"), &[400]),
        ("the greatest chunk", post("transfer-encoding: chunked\r\n", b"fffffffffffffff0\r\n{}"), &[400]),
        (
            "endless talk beside a chunk",
            post(
                "transfer-encoding: chunked\r\n",
                format!("2;{}\r\n{{}}\r\n0\r\n\r\n", long(300_000)).as_bytes(),
            ),
            &[400],
        ),
        (
            "a flood of trailers",
            post(
                "transfer-encoding: chunked\r\n",
                format!("2\r\n{{}}\r\n0\r\n{}\r\n", many_headers(10_000)).as_bytes(),
            ),
            &[400],
        ),
        (
            "garbage behind a request",
            [b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), vec![0xff; 10_000]].concat(),
            &[200, 400],
        ),
        (
            "a second request inside the first one's body",
            post("content-length: 40\r\n", b"GET /api/admin/bindings HTTP/1.1\r\nhost: x"),
            &[400],
        ),
    ]
}

#[tokio::test]
async fn garbage_gets_its_status_or_a_closed_connection() {
    let app = TestApp::start().await;
    for (name, bytes, expected) in heads().into_iter().chain(bodies()) {
        // The service would wait for the rest of these.
        let hangs_up =
            ["nothing", "line ends only", "half a head", "less than announced", "the greatest chunk"]
                .contains(&name);
        assert_eq!(statuses(&app, &bytes, hangs_up).await, expected, "{name}");
    }
    app.client().get("/healthz").await.expect(200);
    app.bound("u").await;
}

#[tokio::test]
async fn a_body_without_an_end_is_cut_off() {
    // What is accepted in all: the limit, what is read of an unwanted body, and the sockets' own buffers.
    const ACCEPTED_BYTES_MAX: usize = 16 << 20;
    let app = TestApp::start().await;
    for path in [
        "/api/login",
        "/api/binding/token",
        "/api/wechat-work/message?msg_signature=a&timestamp=1&nonce=1",
        "/",
    ] {
        let mut stream = TcpStream::connect(address(&app)).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let chunk = [b"1000\r\n".as_slice(), &[b'x'; 4096], b"\r\n"].concat();
        let mut sent = 0;
        let sending = async {
            while stream.write_all(&chunk).await.is_ok() {
                sent += chunk.len();
                assert!(sent < ACCEPTED_BYTES_MAX, "{path} takes bytes without an end");
            }
        };
        tokio::time::timeout(DEADLINE, sending).await.expect("it is cut off");
    }
    app.bound("u").await;
}

/// HTTP lets a client close its half early. Nobody whom we serve does, and waiting for those who are gone costs more.
#[tokio::test]
async fn who_closes_its_half_is_taken_to_be_gone() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let waits = format!(
        "GET /api/binding?wait=30&since={} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        phone.version().await,
        phone.session
    );
    for _ in 0..100 {
        // Closed at once, not after the thirty seconds.
        assert!(statuses(&app, waits.as_bytes(), true).await.is_empty());
    }
    let piped = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(49);
    let last = get("/healthz", "");
    assert_eq!(statuses(&app, &[piped, last].concat(), false).await, [200; 50], "pipelined");
}

#[tokio::test]
async fn customers_bind_while_requests_hang_half_sent() {
    let app = TestApp::start().await;
    let halves: [&[u8]; 4] = [
        b"",
        b"GET /healthz HTT",
        b"POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"code\":",
        b"POST /api/wechat-work/message?msg_signature=a&timestamp=1&nonce=1 HTTP/1.1\r\nhost: x\r\n\
          transfer-encoding: chunked\r\n\r\n10\r\n<xml>",
    ];
    let mut hanging = Vec::new();
    for half in halves.iter().cycle().take(400) {
        let mut stream = TcpStream::connect(address(&app)).await.unwrap();
        stream.write_all(half).await.unwrap();
        hanging.push(stream);
    }
    for name in ["a", "b", "c"] {
        app.bound(name).await;
    }
    // None of them was given anything, or closed already.
    let mut buffer = [0; 64];
    for stream in &mut hanging {
        let read = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut buffer)).await;
        assert!(!matches!(read, Ok(Ok(1..))), "{read:?}");
    }
}

//! HTTPS by the service itself: what is spoken, certificates that change under it, and clients that mean no good.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use kfbind::sim::Sim;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{
    DEADLINE, Options, TestApp, eventually,
    process::{Process, but, environment, world},
};

/// Over so many waits of one user the oldest is answered.
const WAITS_MAX: usize = 64;

/// A certificate and its key, made for one test.
struct Made {
    cert: String,
    key: String,
}

fn made() -> Made {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    Made { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

impl Made {
    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }
}

/// The two files that the service reads.
struct Files {
    folder: TempDir,
}

impl Files {
    fn holding(made: &Made) -> Self {
        let files = Self { folder: TempDir::with_prefix("kfbind-it-").unwrap() };
        files.hold(&made.cert, &made.key);
        files
    }

    fn cert(&self) -> PathBuf {
        self.folder.path().join("fullchain.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("privkey.pem")
    }

    /// As renewing programs do it: one file after the other.
    fn hold(&self, cert: &str, key: &str) {
        std::fs::write(self.cert(), cert).unwrap();
        std::fs::write(self.key(), key).unwrap();
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let quoted = |path: PathBuf| format!("{:?}", path.display().to_string());
        vec![("server.tls_cert", quoted(self.cert())), ("server.tls_key", quoted(self.key()))]
    }
}

/// A service that speaks HTTPS, with operators on an address of their own, where it is looked at.
async fn https(files: &Files) -> TestApp {
    let mut settings = files.settings();
    settings.push(("server.ops_listen", "\"127.0.0.1:0\"".to_owned()));
    TestApp::open(Options { settings, ..Options::default() }).await
}

fn main_address(app: &TestApp) -> SocketAddr {
    app.addresses().0
}

/// A connection of a client that trusts this certificate only.
async fn connect(
    address: SocketAddr,
    trusted: &Made,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    timeout(DEADLINE, TlsConnector::from(Arc::new(config)).connect(name, stream))
        .await
        .expect("a handshake or none")
}

async fn trusting(address: SocketAddr, trusted: &Made) -> std::io::Result<TlsStream<TcpStream>> {
    connect(address, trusted, rustls::ALL_VERSIONS, &[]).await
}

/// Asks on a connection that stays open; the status and the body of an answer with a length.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> (String, String) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, async {
        loop {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            answer.push(char::from(byte[0]));
            if let Some(head) = answer.strip_suffix("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut body).await.unwrap();
                let status = head.split(' ').nth(1).unwrap().to_owned();
                return (status, String::from_utf8(body).unwrap());
            }
        }
    })
    .await
    .expect("an answer")
}

/// Reads until the service closes; what came.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let closed = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
    assert!(closed.is_ok(), "not closed");
    bytes
}

/// What `/readyz` says of the certificate.
async fn complaints(app: &TestApp) -> Vec<String> {
    let report = app.operator().get("/readyz").await.expect(200).json();
    let problems = report["problems"].as_array().unwrap().iter().filter_map(|one| one.as_str());
    let complaints: Vec<_> =
        problems.filter(|one| one.starts_with("server.tls_")).map(str::to_owned).collect();
    assert!(complaints.is_empty() || report["status"] == "degraded", "{report}");
    complaints
}

#[tokio::test]
async fn https_is_spoken_in_both_versions_and_http_1_1_only() {
    let made = made();
    let app = https(&Files::holding(&made)).await;
    for version in [&version::TLS12, &version::TLS13] {
        let mut stream = connect(main_address(&app), &made, &[version], &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        for _ in 0..3 {
            let (status, body) = ask(&mut stream, "/api/binding").await;
            assert!(status == "401" && body.contains("session-invalid"), "{status} {body}");
        }
        assert_eq!(ask(&mut stream, "/metrics").await.0, "404", "that is on the operators' address");
    }
    assert!(connect(main_address(&app), &made, rustls::ALL_VERSIONS, &["h2"]).await.is_err());
}

#[tokio::test]
async fn plain_http_gets_no_answer_there_and_a_tls_greeting_none_from_operators() {
    let made = made();
    let app = https(&Files::holding(&made)).await;
    let mut plain = TcpStream::connect(main_address(&app)).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = rest(&mut plain).await;
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));

    let ops = app.addresses().1.unwrap();
    assert!(trusting(ops, &made).await.is_err());
    let mut greeting = TcpStream::connect(ops).await.unwrap();
    greeting.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
    assert!(rest(&mut greeting).await.starts_with(b"HTTP/1.1 400 "));

    assert_eq!(ask(&mut trusting(main_address(&app), &made).await.unwrap(), "/api/binding").await.0, "401");
    app.operator().get("/healthz").await.expect(200);
}

#[tokio::test]
async fn a_new_certificate_serves_who_comes_then_and_cuts_nobody_off() {
    let (first, second) = (made(), made());
    let files = Files::holding(&first);
    let app = https(&files).await;
    let address = main_address(&app);
    let mut standing = trusting(address, &first).await.unwrap();
    assert_eq!(ask(&mut standing, "/api/binding").await.0, "401");
    files.hold(&second.cert, &second.key);
    let mut fresh =
        eventually("the new certificate is shown", async || trusting(address, &second).await.ok()).await;
    assert_eq!(ask(&mut fresh, "/api/binding").await.0, "401");
    assert!(trusting(address, &first).await.is_err(), "the old one is shown to nobody");
    assert_eq!(ask(&mut standing, "/api/binding").await.0, "401", "who was there goes on");
    assert!(complaints(&app).await.is_empty());
}

#[tokio::test]
async fn a_broken_new_pair_changes_nothing_but_is_told() {
    let (first, second) = (made(), made());
    let files = Files::holding(&first);
    let app = https(&files).await;
    let address = main_address(&app);
    let (cert, key) = (files.cert().display().to_string(), files.key().display().to_string());
    for (new_cert, new_key, file, words) in [
        ("garbage", second.key.as_str(), &cert, "no certificate"),
        (&second.cert, "garbage", &key, "no private key"),
        (&second.cert, &first.key, &key, "is not the key"),
    ] {
        files.hold(new_cert, new_key);
        let told =
            eventually(words, async || complaints(&app).await.into_iter().find(|one| one.contains(words)))
                .await;
        assert!(told.contains(file.as_str()), "{told}");
        assert_eq!(ask(&mut trusting(address, &first).await.unwrap(), "/api/binding").await.0, "401");
    }
    files.hold(&second.cert, &second.key);
    eventually("the mended pair is taken", async || trusting(address, &second).await.ok()).await;
    eventually("all is well", async || complaints(&app).await.is_empty().then_some(())).await;
}

#[tokio::test]
async fn who_never_finishes_a_handshake_is_closed() {
    let made = made();
    let app = https(&Files::holding(&made)).await;
    let address = main_address(&app);
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    // A record of 512 bytes is announced.
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
    let dripping = TcpStream::connect(address).await.unwrap();
    let (mut answers, mut requests) = dripping.into_split();
    let drip = tokio::spawn(async move {
        requests.write_all(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03").await.unwrap();
        while requests.write_all(b"\0").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut bytes = Vec::new();
    let (silent, half, ()) = tokio::join!(rest(&mut silent), rest(&mut half), async {
        // Closed with bytes of ours unread, it may be a reset.
        drop(timeout(DEADLINE, answers.read_to_end(&mut bytes)).await.expect("not closed"));
    });
    timeout(DEADLINE, drip).await.expect("not closed").unwrap();
    assert!(silent.is_empty() && half.is_empty() && bytes.is_empty());
    assert_eq!(ask(&mut trusting(address, &made).await.unwrap(), "/api/binding").await.0, "401");
}

#[tokio::test]
async fn noise_in_place_of_a_handshake_is_closed_at_once() {
    let made = made();
    let app = https(&Files::holding(&made)).await;
    let whole_hello: &[u8] = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
    for noise in [
        b"\0\0\0\0\0\0\0\0",
        &[0xff; 64],
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x16\x03\x01\xff\xff\x01\x00",
        b"\x15\x03\x03\x00\x02\x02\x28",
        whole_hello,
    ] as [&[u8]; 6]
    {
        let mut stream = TcpStream::connect(main_address(&app)).await.unwrap();
        stream.write_all(noise).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(!answer.starts_with(b"HTTP/"), "{noise:?}");
    }
    assert_eq!(ask(&mut trusting(main_address(&app), &made).await.unwrap(), "/api/binding").await.0, "401");
}

#[tokio::test]
async fn the_stop_ends_handshakes_and_idle_connections_and_answers_who_waits() {
    let made = made();
    let files = Files::holding(&made);
    let (sim, options, store) = world().await;
    let mut environment = but(&environment(&options, &sim.base_url(), &store), &[]);
    for (key, file) in [("TLS_CERT", files.cert()), ("TLS_KEY", files.key())] {
        environment.push((format!("KFBIND_SERVER__{key}"), file.display().to_string()));
    }
    let mut process = Process::serve(&environment).await;
    let address: SocketAddr = process.base.strip_prefix("http://").unwrap().parse().unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
    let mut idle = trusting(address, &made).await.unwrap();
    assert_eq!(ask(&mut idle, "/healthz").await.0, "200");
    let mut slow = trusting(address, &made).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost:").await.unwrap();

    let session = login_over(trusting(address, &made).await.unwrap(), &sim).await;
    let poll = format!(
        "GET /api/binding?wait=30&since=1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {session}\r\n\r\n"
    );
    let mut waits = JoinSet::new();
    for _ in 0..=WAITS_MAX {
        let mut stream = trusting(address, &made).await.unwrap();
        stream.write_all(poll.as_bytes()).await.unwrap();
        waits.spawn(async move { String::from_utf8(rest(&mut stream).await).unwrap() });
    }
    // One too many wait, so the oldest is answered; from then on the others are known to be under way.
    let first = waits.join_next().await.unwrap().unwrap();
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");

    assert_eq!(process.terminate().await, Some(0));
    while let Some(answer) = waits.join_next().await {
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("unbound"), "{answer}");
    }
    assert!(rest(&mut half).await.is_empty());
    assert!(rest(&mut idle).await.is_empty() && rest(&mut slow).await.is_empty(), "closed as TLS wants it");
}

/// A session, got over this connection.
async fn login_over(mut stream: TlsStream<TcpStream>, sim: &Sim) -> String {
    let body = format!("{{\"code\":\"{}\"}}", sim.wx_login_code(&sim.openid_of("u"), None));
    let head =
        format!("POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nconnection: close", body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    answer.split("\"session\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_pair_that_can_not_be_used_keeps_the_service_from_starting_and_names_its_key() {
    let (one, other) = (made(), made());
    let files = Files::holding(&one);
    let mut app = TestApp::start().await;
    let (cert, key) = (files.cert().display().to_string(), files.key().display().to_string());
    app.change(&[("server.tls_cert", &format!("{cert:?}")), ("server.tls_key", &format!("{key:?}"))]);
    app.stop().await;
    for (new_cert, new_key, wanted) in [
        (one.cert.as_str(), other.key.as_str(), ["server.tls_key", &key, "is not the key"]),
        ("", &one.key, ["server.tls_cert", &cert, "no certificate"]),
        (&one.cert, "", ["server.tls_key", &key, "no private key"]),
    ] {
        files.hold(new_cert, new_key);
        let error = format!("{:#}", app.boot().await.unwrap_err());
        for words in wanted {
            assert!(error.contains(words), "{words}: {error}");
        }
    }
    files.hold(&one.cert, &one.key);
    app.boot().await.unwrap();
}

//! TLS and a second listener with few connections and a clock that stands still.

use actors::ids::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::tls::PairFiles;

const SEATS: usize = 4;
const HALF_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
const ALIVE: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// A certificate with its files.
struct Made {
    _folder: TempDir,
    der: CertificateDer<'static>,
    certificates: Arc<Certificates>,
}

fn made() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let files = PairFiles { cert: folder.path().join("c"), key: folder.path().join("k") };
    std::fs::write(&files.cert, cert.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    let certificates = Arc::new(Certificates::open(files, Timestamp(NOW_S)).unwrap());
    let der = CertificateDer::from_pem_slice(cert.pem().as_bytes()).unwrap();
    Made { _folder: folder, der, certificates }
}

/// The server with this certificate, if any, and perhaps an address for operators.
async fn opened(
    connections_max: usize,
    made: Option<&Made>,
    with_ops: bool,
) -> (Running, Option<SocketAddr>) {
    let main = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = main.local_addr().unwrap();
    let ops = if with_ops { Some(TcpListener::bind("127.0.0.1:0").await.unwrap()) } else { None };
    let ops_address = ops.as_ref().map(|ops| ops.local_addr().unwrap());
    let site = Site::new(&Options::default()).await;
    let mut context = context(&Options::default(), site.system.handles(), Arc::clone(&site.clock));
    context.certificates = made.map(|made| Arc::clone(&made.certificates));
    let (doors, stopping) = (Doors { main, ops }, site.stop.subscribe());
    let serving = server::serve_at_most(connections_max, doors, context, stopping, DEADLINE / 2);
    (Running { address, site, serving: tokio::spawn(serving) }, ops_address)
}

async fn trusting(address: SocketAddr, made: &Made) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(made.der.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
}

#[tokio::test]
async fn in_a_full_house_half_handshakes_make_room_for_each_newcomer() {
    let made = made();
    for habit in [b"", HALF_HELLO] {
        let (server, _) = opened(SEATS, Some(&made), false).await;
        let mut sitting = Vec::new();
        for _ in 0..SEATS {
            sitting.push(server.send(habit).await);
        }
        for _ in 0..SEATS * 3 {
            let mut stream = trusting(server.address, &made).await;
            stream.write_all(ALIVE).await.unwrap();
            let mut answer = String::new();
            within(stream.read_to_string(&mut answer)).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        assert_eq!(to_end(&mut sitting[0]).await, "", "the first one had to go");
        server.stopped().await;
    }
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_is_not_waited_for() {
    let made = made();
    let (server, _) = opened(SEATS, Some(&made), false).await;
    let mut half = server.send(HALF_HELLO).await;
    // From here the time-outs pass as soon as all there is to do is to wait.
    tokio::time::pause();
    assert_eq!(to_end(&mut half).await, "");
}

#[tokio::test]
async fn half_handshakes_do_not_hold_up_the_stop() {
    let made = made();
    let (server, _) = opened(SEATS, Some(&made), false).await;
    let mut half = server.send(HALF_HELLO).await;
    // Whoever comes later is there, so the half one is.
    let _later = trusting(server.address, &made).await;
    // Less than the grace and the handshake's time-out.
    let stopped = tokio::time::timeout(DEADLINE / 4, server.stopped()).await;
    assert!(stopped.is_ok(), "the stop waited for a handshake");
    // With bytes that were not read yet it is a reset.
    let mut answer = Vec::new();
    drop(within(half.read_to_end(&mut answer)).await);
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_not_kept_inside_tls_either() {
    const REQUESTS: usize = 4_000;
    let made = made();
    let (server, _) = opened(SEATS, Some(&made), false).await;
    let mut deaf = trusting(server.address, &made).await;
    let requests = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(REQUESTS);
    within(deaf.write_all(&requests)).await.unwrap();
    // Paused before it is under way, the time would pass without it.
    let mut answers = vec![0; 100];
    within(deaf.read_exact(&mut answers)).await.unwrap();
    tokio::time::pause();
    tokio::time::sleep(Duration::from_mins(10)).await;
    drop(within(deaf.read_to_end(&mut answers)).await);
    let answered = String::from_utf8_lossy(&answers).matches("HTTP/1.1 200").count();
    assert!((1..REQUESTS).contains(&answered), "{answered} answers");
}

#[tokio::test]
async fn a_full_house_on_one_side_keeps_no_operator_out() {
    let (server, ops) = opened(1, None, true).await;
    let session = server.site.session();
    let wait =
        format!("GET /api/binding?wait=30&since=0 HTTP/1.1\r\nhost: x\r\nauthorization: {session}\r\n\r\n");
    let mut waiting = server.send(wait.as_bytes()).await;
    let _in_vain = server.send(ALIVE).await;
    let mut operator = TcpStream::connect(ops.unwrap()).await.unwrap();
    operator.write_all(ALIVE).await.unwrap();
    assert!(to_end(&mut operator).await.starts_with("HTTP/1.1 200"));
    server.site.stop.send(true).unwrap();
    assert!(to_end(&mut waiting).await.starts_with("HTTP/1.1 200"), "it was worked for all the while");
}

#[tokio::test]
async fn what_is_wrong_with_the_certificate_is_degraded_and_told_to_operators() {
    let made = made();
    let mut site = Site::new(&Options::default()).await;
    let mut context = context(&Options::default(), site.system.handles(), Arc::clone(&site.clock));
    context.certificates = Some(Arc::clone(&made.certificates));
    context.wecom_health = Arc::new(|| WecomHealth { token_had: true, ..WecomHealth::default() });
    site.shared = Arc::new(Shared::new(context, site.stop.subscribe()));
    let key = "authorization: Bearer admin-key";
    let told = |answer: Answer| answer.json()["problems"].to_string().contains("server.tls_cert: ");
    assert!(!told(site.ask("GET", "/readyz", &[key], "").await));
    // Past the year 4096, when the test's certificate ends.
    site.clock.set(100_000_000_000);
    let late = site.ask("GET", "/readyz", &[key], "").await;
    assert_eq!(late.json()["status"], "degraded", "{late:?}");
    assert!(told(late));
}

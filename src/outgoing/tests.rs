//! Tests of the outgoing client against a scripted loopback server.

use tokio::io::AsyncWriteExt as _;

use super::{
    loopback::{Loopback, Play},
    *,
};

const PATIENT: Duration = Duration::from_secs(30);

async fn get(server: &Loopback, body_bytes_max: usize) -> Result<Answer, ExchangeError> {
    let client = client(PATIENT, None).unwrap();
    exchange(client.get(format!("{}/x?access_token=s3cret", server.base())), body_bytes_max).await
}

fn error_of(result: Result<Answer, ExchangeError>) -> ExchangeError {
    match result {
        Ok(answer) => panic!("answered with status {}", answer.status),
        Err(error) => error,
    }
}

#[tokio::test]
async fn an_answer_is_read_with_its_date() {
    let server =
        Loopback::start(|_| Play::with_status("200 OK", &["date: Sun, 06 Nov 1994 08:49:37 GMT"], "body"))
            .await;
    let answer = get(&server, 4).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, b"body".as_slice()));
    assert_eq!(answer.date.as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
}

#[tokio::test]
async fn an_answer_longer_than_the_limit_is_refused_announced_or_not() {
    let announced = Loopback::start(|_| Play::json("12345")).await;
    assert_eq!(error_of(get(&announced, 4).await), ExchangeError::TooLong(4));
    let chunked = Loopback::start(|_| {
        Play::Raw(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n123\r\n2\r\n45\r\n0\r\n\r\n".to_vec(),
        )
    })
    .await;
    assert_eq!(error_of(get(&chunked, 4).await), ExchangeError::TooLong(4));
    assert_eq!(get(&chunked, 5).await.unwrap().body, b"12345");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = Loopback::start(|_| Play::with_status("302 Found", &["location: /elsewhere"], "")).await;
    assert_eq!(get(&server, 100).await.unwrap().status, StatusCode::FOUND);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_silent_server_is_a_time_out() {
    let server = Loopback::start(|_| Play::Silence).await;
    let client = client(Duration::from_millis(50), None).unwrap();
    let error = error_of(exchange(client.get(server.base()), 100).await);
    assert_eq!(error, ExchangeError::TimedOut);
}

#[tokio::test]
async fn errors_tell_the_cause_but_not_the_url() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}/x?access_token=s3cret", listener.local_addr().unwrap());
    drop(listener);
    let client = client(PATIENT, None).unwrap();
    let error = error_of(exchange(client.get(closed), 100).await);
    assert_eq!(error.label(), "connect");
    assert!(error.to_string().contains("refused"), "{error}");

    let server = Loopback::start(|_| Play::Raw(b"SSH-2.0-none\r\n".to_vec())).await;
    let broken = error_of(get(&server, 100).await);
    assert_eq!(broken.label(), "broken");
    let cut = Loopback::start(|_| Play::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1".to_vec())).await;
    let cut = error_of(get(&cut, 100).await);
    assert_eq!(cut.label(), "broken");
    for text in [format!("{error} {error:?}"), format!("{broken} {broken:?}"), format!("{cut} {cut:?}")] {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_no_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    let client = client(PATIENT, None).unwrap();
    let error = error_of(exchange(client.get(format!("https://{address}/")), 100).await);
    assert_eq!(error.label(), "connect", "{error}");
    assert!(error.to_string().contains("corrupt message"), "{error}");
}

#[tokio::test]
async fn a_proxy_gets_the_calls() {
    let proxy = Loopback::start(|_| Play::json("from the proxy")).await;
    let client = client(PATIENT, Some(&proxy.base())).unwrap();
    let answer = exchange(client.get("http://wecom.invalid/cgi-bin/x"), 100).await.unwrap();
    assert_eq!(answer.body, b"from the proxy");
    assert_eq!(proxy.seen()[0].line, "GET http://wecom.invalid/cgi-bin/x");
}

#[test]
fn other_proxies_are_refused_without_being_shown() {
    for proxy in ["proxy:8080", "ftp://user:s3cret@host", "http://", "://s3cret"] {
        let error = client(PATIENT, Some(proxy)).unwrap_err();
        assert!(matches!(error, OutgoingError::Proxy), "{proxy}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
    for proxy in [None, Some(""), Some("socks5://127.0.0.1:1080"), Some("https://127.0.0.1:1")] {
        assert!(client(PATIENT, proxy).is_ok(), "{proxy:?}");
    }
}

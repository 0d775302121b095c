//! One webhook on the wire: what its receiver gets, and what its answer means.

use actors::{
    ids::{ExternalUserId, OpenId},
    messages::{WebhookBinding, WebhookKind},
    testing::ManualClock,
};

use super::*;
use crate::outgoing::loopback::{Loopback, Play};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW_S: u64 = 1_764_064_800;

fn event(kind: WebhookKind) -> WebhookEntry {
    WebhookEntry {
        seq: 7,
        id: "evt_7".to_owned(),
        queued_at: Timestamp(NOW_S - 60),
        happened_at: Timestamp(NOW_S - 61),
        kind,
        binding: WebhookBinding {
            openid: OpenId::new("oA"),
            customer: ExternalUserId::new("wmA"),
            unionid: None,
            account: Some(OpenKfId::new("wkA")),
            method: Some("code"),
            bound_at: Some(Timestamp(NOW_S - 61)),
            nickname: Some("小明".to_owned()),
            label: None,
        },
    }
}

async fn sends(url: &str, timeout: Duration) -> Result<(), Undelivered> {
    let http = outgoing::client(timeout, None).unwrap();
    let key = SigningKey::parse(SECRET).unwrap();
    let client = WebhookClient::new(url.parse().unwrap(), key, http, Arc::new(ManualClock::at(NOW_S)));
    client.deliver(event(WebhookKind::Created)).await
}

async fn answered(play: Play) -> Result<(), Undelivered> {
    let receiver = Loopback::start(move |_| play.clone()).await;
    sends(&format!("{}/hooks", receiver.base()), Duration::from_secs(5)).await
}

#[test]
fn the_signature_is_that_of_the_conventions_own_example() {
    let key = SigningKey::parse(SECRET).unwrap();
    let signature =
        key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", Timestamp(1_614_265_330), br#"{"test": 2432232314}"#);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn a_secret_is_whsec_and_24_to_64_bytes_in_base64() {
    let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![1; bytes]));
    for (secret, is_good) in [
        (of(24), true),
        (of(64), true),
        (of(23), false),
        (of(65), false),
        (of(32).trim_end_matches('=').to_owned(), false),
        (of(32).replace("whsec_", ""), false),
        ("whsec_".to_owned(), false),
        ("whsec_not base64".to_owned(), false),
    ] {
        assert_eq!(SigningKey::parse(&secret).is_ok(), is_good, "{secret}");
    }
}

#[tokio::test]
async fn a_receiver_gets_the_event_with_id_time_and_signature() {
    let receiver = Loopback::start(|_| Play::with_status("204 No Content", &[], "")).await;
    sends(&format!("{}/hooks?token=1", receiver.base()), Duration::from_secs(5)).await.unwrap();
    let [seen] = &receiver.seen()[..] else { panic!("one call") };
    assert_eq!(seen.line, "POST /hooks?token=1");
    assert_eq!(
        seen.body,
        r#"{"type":"binding.created","timestamp":"2025-11-25T09:58:59Z","data":{"openid":"oA","external_userid":"wmA","unionid":null,"open_kfid":"wkA","method":"code","bound_at":"2025-11-25T09:58:59Z","nickname":"小明","label":null}}"#
    );
    let header = |name: &str| {
        let line = seen.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{name} in {}", seen.head)).to_owned()
    };
    assert_eq!(header("webhook-id"), "evt_7");
    assert_eq!(header("webhook-timestamp"), NOW_S.to_string());
    assert_eq!(header("content-type"), "application/json");
    let key = SigningKey::parse(SECRET).unwrap();
    assert_eq!(
        header("webhook-signature"),
        key.sign("evt_7", Timestamp(NOW_S), seen.body.as_bytes()),
        "the signature is over the bytes that were sent"
    );
}

#[test]
fn of_a_conflict_it_says_what_is_known() {
    let mut event = event(WebhookKind::Conflict);
    (event.binding.method, event.binding.bound_at) = (None, None);
    let text = String::from_utf8(body(&event).unwrap()).unwrap();
    assert!(text.starts_with(r#"{"type":"binding.conflict","#), "{text}");
    assert!(text.contains(r#""method":null,"bound_at":null"#), "{text}");
}

#[tokio::test]
async fn the_status_alone_says_what_became_of_it_and_whose_fault_it_is() {
    let status = |status: &str| Play::with_status(status, &[], "whatever");
    for good in ["200 OK", "201 Created", "202 Accepted"] {
        assert_eq!(answered(status(good)).await, Ok(()), "{good}");
    }
    for (down, wait) in
        [("429 Too Many Requests", None), ("503 Unavailable", None), ("410 Gone", Some(GONE_WAIT))]
    {
        let why = format!("HTTP status {}", &down[..3]);
        assert_eq!(answered(status(down)).await, Err(Undelivered::Down { why, wait }));
    }
    for failing in ["500 No", "502 No", "504 No", "401 No", "403 No", "404 No", "408 No"] {
        let why = format!("HTTP status {}", &failing[..3]);
        assert_eq!(answered(status(failing)).await, Err(Undelivered::Failing(why)));
    }
    for refused in ["400 No", "409 No", "413 No", "415 No", "422 No"] {
        let why = format!("HTTP status {}", &refused[..3]);
        assert_eq!(answered(status(refused)).await, Err(Undelivered::Refused(why)));
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let elsewhere = Loopback::start(|_| Play::json("{}")).await;
    let location = format!("location: {}", elsewhere.base());
    let moved = Play::with_status("307 Temporary Redirect", &[&location], "");
    assert_eq!(answered(moved).await, Err(Undelivered::Failing("HTTP status 307".to_owned())));
    assert_eq!(elsewhere.seen().len(), 0);
}

#[tokio::test]
async fn a_receiver_may_ask_for_time_in_seconds_or_by_date() {
    for (header, wait) in [
        ("retry-after: 120", Some(Duration::from_mins(2))),
        ("retry-after: Tue, 25 Nov 2025 10:05:00 GMT", Some(Duration::from_mins(5))),
        ("retry-after: Tue, 25 Nov 2025 09:00:00 GMT", Some(Duration::ZERO)),
        ("retry-after: soon", None),
        ("retry-after: -1", None),
    ] {
        let answer = answered(Play::with_status("503 Unavailable", &[header], "")).await;
        assert_eq!(answer, Err(Undelivered::Down { why: "HTTP status 503".to_owned(), wait }), "{header}");
    }
}

#[tokio::test]
async fn who_can_not_be_reached_is_down_and_who_never_answers_is_failing() {
    let nobody = {
        let receiver = Loopback::start(|_| Play::Silence).await;
        let answer = sends(&receiver.base(), Duration::from_millis(50)).await;
        assert_eq!(answer, Err(Undelivered::Failing("no answer in time".to_owned())));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let answer = sends(&format!("http://{nobody}/?token=SECRET"), Duration::from_secs(5)).await;
    let Err(Undelivered::Down { why, wait: None }) = answer else { panic!("{answer:?}") };
    assert!(why.contains("no connection") && !why.contains("SECRET"), "{why}");
    let broken = answered(Play::Raw(b"HTTP/1.1 2".to_vec())).await;
    assert!(matches!(broken, Err(Undelivered::Failing(_))), "{broken:?}");
}

#[tokio::test]
async fn an_answer_without_end_changes_nothing_about_its_status() {
    let long = Play::with_status("200 OK", &[], &"x".repeat(10 * ANSWER_BYTES_MAX));
    assert_eq!(answered(long).await, Ok(()));
    let cut = Play::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx".to_vec());
    assert_eq!(answered(cut).await, Ok(()));
}

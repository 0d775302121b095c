//! Forwarding to scripted targets on loopback.

use tokio::{net::TcpListener, task};

use super::*;
use crate::outgoing::loopback::{Loopback, Play};

const DEADLINE: Duration = Duration::from_secs(20);

fn started(targets: &[&str]) -> (Forwarder, Senders, Tally) {
    let targets: Vec<SecretString> = targets.iter().map(|one| SecretString::from(*one)).collect();
    let tally = Tally::default();
    let (forwarder, senders) = Forwarder::start(&targets, &tally).unwrap();
    (forwarder, senders, tally)
}

fn count(tally: &Tally, result: &'static str) -> u64 {
    tally.forwarded.get_or_create(&[("result", result)]).get()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let search = async {
        while !holds() {
            task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, search).await.is_ok(), "waited in vain: {what}");
}

#[test]
fn the_query_goes_behind_the_targets_own_byte_for_byte() {
    let query = "msg_signature=0a&nonce=a+b%2Bc%20&x&x=1&timestamp=";
    for (target, wanted) in [
        ("http://h/wecom", format!("http://h/wecom?{query}")),
        ("http://h", format!("http://h/?{query}")),
        ("http://h/wecom?", format!("http://h/wecom?{query}")),
        ("http://h/wecom?tenant=1", format!("http://h/wecom?tenant=1&{query}")),
    ] {
        assert_eq!(addressed(&Url::parse(target).unwrap(), query).as_str(), wanted);
    }
}

#[test]
fn a_target_is_named_without_what_may_be_secret() {
    let url = Url::parse("https://me:SECRET@host.example:8443/SECRET?key=SECRET").unwrap();
    assert_eq!(Report::new(&url, &Tally::default()).target, "https://host.example:8443");
}

#[tokio::test]
async fn each_target_gets_all_in_their_order() {
    let targets = [Loopback::start(|_| Play::json("")).await, Loopback::start(|_| Play::json("")).await];
    let addresses = targets.each_ref().map(|target| target.base().replace("http://", "http://me:pass@"));
    let (forwarder, senders, tally) = started(&addresses.each_ref().map(String::as_str));
    for number in 0..20 {
        forwarder.pass_on(&format!("nonce={number}"), format!("<xml>{number}</xml>").as_bytes());
    }
    until("all are there", || count(&tally, "ok") == 40).await;
    senders.stop().await;
    for target in targets {
        let seen = target.seen();
        for (number, request) in seen.iter().enumerate() {
            assert_eq!(request.line, format!("POST /?nonce={number}"));
            assert_eq!(request.body, format!("<xml>{number}</xml>"));
            let head = request.head.to_ascii_lowercase();
            assert!(
                head.contains("content-type: text/xml") && head.contains("authorization: basic"),
                "{head}"
            );
        }
        assert_eq!(seen.len(), 20);
    }
}

#[tokio::test]
async fn what_a_target_that_hangs_has_no_room_for_is_dropped_at_once() {
    let target = Loopback::start(|_| Play::Silence).await;
    let (forwarder, _senders, tally) = started(&[&target.base()]);
    for _ in 0..WAITING_MAX + 10 {
        forwarder.pass_on("nonce=1", b"<xml/>");
    }
    // Nothing was awaited, so none has left the queue.
    assert_eq!(count(&tally, "dropped"), 10);
    let (forwarder, _senders, tally) = started(&[&target.base()]);
    let half = vec![b' '; WAITING_KIB_MAX * 512 - 1_024];
    for _ in 0..3 {
        forwarder.pass_on("nonce=1", &half);
    }
    assert_eq!(count(&tally, "dropped"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_waited_too_long_is_not_sent() {
    let address = Url::parse("http://127.0.0.1:1").unwrap();
    let report = Arc::new(Report::new(&address, &Tally::default()));
    let client = outgoing::client(FORWARD_TIMEOUT, None).unwrap();
    let target = Target { client, address, report };
    let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let callback = Callback { query: "a=b".into(), body: Bytes::new(), since: Instant::now(), _room: room };
    tokio::time::advance(WAIT_MAX + Duration::from_secs(1)).await;
    assert_eq!(target.send(callback).await, "dropped");
}

#[tokio::test]
async fn failures_are_counted_by_their_kind_and_nothing_is_sent_twice() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let away = Loopback::start(|_| Play::with_status("302 Found", &["location: /elsewhere"], "")).await;
    let noise = Loopback::start(|_| Play::Raw(b"SSH-2.0-none\r\n".to_vec())).await;
    let (forwarder, senders, tally) = started(&[&nobody, &away.base(), &noise.base()]);
    forwarder.pass_on("nonce=1", b"<xml/>");
    for result in ["connect", "refused", "broken"] {
        until(result, || count(&tally, result) == 1).await;
    }
    senders.stop().await;
    assert_eq!((away.seen().len(), noise.seen().len()), (1, 1));
}

#[tokio::test]
async fn the_stop_sends_what_waits() {
    let target = Loopback::start(|_| Play::json("")).await;
    let (forwarder, senders, tally) = started(&[&target.base()]);
    for _ in 0..5 {
        forwarder.pass_on("nonce=1", b"<xml/>");
    }
    senders.stop().await;
    assert_eq!((target.seen().len(), count(&tally, "ok")), (5, 5));
}

#[tokio::test]
async fn the_stop_does_not_wait_for_a_target_that_hangs() {
    let target = Loopback::start(|_| Play::Silence).await;
    let (forwarder, senders, _) = started(&[&target.base()]);
    for _ in 0..20 {
        forwarder.pass_on("nonce=1", b"<xml/>");
    }
    until("it hangs", || !target.seen().is_empty()).await;
    // Each of them would hang for five seconds.
    tokio::time::timeout(DEADLINE, senders.stop()).await.unwrap();
}

//! Tests of the calls to WeCom against a scripted loopback server.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use actors::{
    ids::{Cursor, ExternalUserId, ReplyId, SyncToken, Timestamp, UnionId},
    ports::{Page, PullRequest, Receiver, Reply, ServiceState, WeCom as _, Words},
};
use futures_util::future::join_all;

use super::*;
use crate::outgoing::loopback::{Loopback, Play, Seen};

mod ways;

const SECRET: &str = "the-s3cret";
/// 2023-11-14T22:13:20Z.
const NOW_MS: u64 = 1_700_000_000_000;

struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A server, a client of it, and the client's clock and tally.
struct Bench {
    server: Loopback,
    client: WecomClient,
    clock: Arc<HandClock>,
    tally: Tally,
}

impl Bench {
    /// `gettoken` gives `token-1`, `token-2` and so on; all else is answered by `play`, which gets the number of the
    /// token and the request.
    async fn start(play: impl Fn(usize, &Seen) -> Play + Send + Sync + 'static) -> Self {
        let issued = AtomicUsize::new(0);
        Self::start_raw(move |seen| {
            if seen.call() == "gettoken" {
                let n = issued.fetch_add(1, Ordering::Relaxed) + 1;
                return Play::json(&format!(
                    r#"{{"errcode":0,"errmsg":"ok","access_token":"token-{n}","expires_in":7200}}"#
                ));
            }
            let (_, number) = seen.line.split_once("access_token=token-").unwrap();
            play(number.split('&').next().unwrap().parse().unwrap(), seen)
        })
        .await
    }

    async fn start_raw(play: impl Fn(&Seen) -> Play + Send + Sync + 'static) -> Self {
        Self::with_timeout(Duration::from_secs(30), play).await
    }

    async fn with_timeout(timeout: Duration, play: impl Fn(&Seen) -> Play + Send + Sync + 'static) -> Self {
        let server = Loopback::start(play).await;
        let clock = Arc::new(HandClock(AtomicU64::new(NOW_MS)));
        let tally = Tally::default();
        let config = WecomConfig {
            api_base: server.base(),
            corp_id: "wwCorp".to_owned(),
            secret: SECRET.into(),
            app_id: "wxApp".to_owned(),
        };
        let http = outgoing::client(timeout, None).unwrap();
        let client = WecomClient::new(config, http, Arc::<HandClock>::clone(&clock), tally.clone());
        Self { server, client, clock, tally }
    }

    async fn pull(&self) -> Result<Page, CallError> {
        self.client.pull(pull_request(None, None)).await
    }

    async fn say(&self, text: &str) -> Result<(), CallError> {
        self.client
            .send(Reply {
                account: OpenKfId::new("wk"),
                customer: ExternalUserId::new("wm"),
                reply_id: ReplyId::new("r1"),
                words: Words::Text(text.to_owned()),
            })
            .await
    }
}

fn pull_request(cursor: Option<&str>, sync_token: Option<&str>) -> PullRequest {
    PullRequest {
        account: OpenKfId::new("wk"),
        cursor: cursor.map(Cursor::new),
        sync_token: sync_token
            .map(|value| SyncToken { value: value.to_owned(), created_at: Timestamp(1_700_000_000) }),
    }
}

fn error_answer(errcode: i64) -> Play {
    Play::json(&format!(r#"{{"errcode":{errcode},"errmsg":"words, from ip: 203.0.113.9, more info"}}"#))
}

const EMPTY_PAGE: &str = r#"{"errcode":0,"errmsg":"ok","next_cursor":"c2","has_more":0,"msg_list":[]}"#;

#[tokio::test]
async fn the_token_is_asked_for_once_and_kept() {
    let bench = Bench::start(|_, _| Play::json(EMPTY_PAGE)).await;
    assert_eq!(bench.client.status(), ClientStatus::default());
    for _ in 0..3 {
        bench.pull().await.unwrap();
    }
    assert_eq!((bench.server.count("gettoken"), bench.server.count("sync_msg")), (1, 3));
    assert_eq!(bench.server.seen()[0].line, "GET /cgi-bin/gettoken?corpid=wwCorp&corpsecret=the-s3cret");
    assert!(bench.client.status().token_had);
    assert_eq!(bench.client.status().last_error, None);
}

#[tokio::test]
async fn twenty_parallel_callers_ask_for_one_token() {
    let bench = Bench::start(|_, _| Play::json(EMPTY_PAGE)).await;
    for result in join_all((0..20).map(|_| bench.pull())).await {
        result.unwrap();
    }
    assert_eq!((bench.server.count("gettoken"), bench.server.count("sync_msg")), (1, 20));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_the_call_repeated_once() {
    for errcode in [40001, 40014, 42001] {
        let bench = Bench::start(
            move |token, _| if token == 1 { error_answer(errcode) } else { Play::json(EMPTY_PAGE) },
        )
        .await;
        bench.pull().await.unwrap();
        assert_eq!((bench.server.count("gettoken"), bench.server.count("sync_msg")), (2, 2), "{errcode}");
        assert_eq!(bench.client.status().last_error, None);
    }
}

#[tokio::test]
async fn a_token_refused_twice_is_no_verdict_on_the_call() {
    let bench = Bench::start(|_, _| error_answer(42001)).await;
    let error = bench.say("hello").await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{error:?}");
    assert_eq!((bench.server.count("gettoken"), bench.server.count("send_msg")), (2, 2));
}

#[tokio::test]
async fn callers_whose_token_was_refused_together_renew_it_once() {
    let bench =
        Bench::start(|token, _| if token == 1 { error_answer(42001) } else { Play::json(EMPTY_PAGE) }).await;
    for result in join_all((0..20).map(|_| bench.pull())).await {
        result.unwrap();
    }
    assert_eq!(bench.server.count("gettoken"), 2);
}

#[tokio::test]
async fn console_codes_get_one_new_token_and_one_repeat() {
    for errcode in [95011, 95012, 48002, 48007] {
        let cured = Bench::start(
            move |token, _| if token == 1 { error_answer(errcode) } else { Play::json(EMPTY_PAGE) },
        )
        .await;
        cured.pull().await.unwrap();
        assert_eq!((cured.server.count("gettoken"), cured.server.count("sync_msg")), (2, 2), "{errcode}");

        let bench = Bench::start(move |_, _| error_answer(errcode)).await;
        for _ in 0..2 {
            let error = bench.pull().await.unwrap_err();
            assert!(
                matches!(error, CallError::Misconfigured { errcode: code, .. } if code == errcode),
                "{error:?}"
            );
        }
        assert_eq!((bench.server.count("gettoken"), bench.server.count("sync_msg")), (2, 3), "{errcode}");
    }
}

#[tokio::test]
async fn codes_of_the_console_are_misconfigurations_with_a_hint() {
    for errcode in [60020, 301_042, 60030, 50003, 60031, 48010, 95017] {
        let bench = Bench::start(move |_, _| error_answer(errcode)).await;
        let CallError::Misconfigured { errcode: code, hint } = bench.pull().await.unwrap_err() else {
            panic!("{errcode} is no misconfiguration")
        };
        assert_eq!((code, hint.is_empty()), (errcode, false));
        assert_eq!(hint.contains("203.0.113.9"), [60020, 301_042].contains(&errcode), "{hint}");
        assert_eq!(bench.server.count("sync_msg"), 1);
        assert!(bench.client.status().last_error.unwrap().contains(&hint));
    }
}

#[tokio::test]
async fn a_wrong_secret_stops_all_calls() {
    let bench = Bench::start_raw(|_| error_answer(40001)).await;
    for _ in 0..5 {
        let error = bench.pull().await.unwrap_err();
        assert!(matches!(error, CallError::Stopped(_)), "{error:?}");
    }
    assert_eq!(bench.server.seen().len(), 1);
    assert!(bench.client.status().stopped.unwrap().contains("wecom.secret"));
    bench.clock.0.fetch_add(3_600_000, Ordering::Relaxed);
    bench.pull().await.unwrap_err();
    assert_eq!(bench.server.seen().len(), 2);
}

#[tokio::test]
async fn a_failed_gettoken_is_not_repeated_by_everybody() {
    let bench = Bench::start_raw(|_| Play::with_status("502 Bad Gateway", &[], "")).await;
    for result in join_all((0..20).map(|_| bench.pull())).await {
        assert!(matches!(result.unwrap_err(), CallError::Unreachable(_)));
    }
    assert_eq!(bench.server.seen().len(), 1);
}

#[tokio::test]
async fn limits_say_how_long_to_wait() {
    for (errcode, seconds) in [(45009, 60), (45033, 1)] {
        let bench = Bench::start(move |_, _| error_answer(errcode)).await;
        let wait = Duration::from_secs(seconds);
        assert_eq!(bench.pull().await.unwrap_err(), CallError::Throttled { errcode, wait });
        let bench = Bench::start_raw(move |_| error_answer(errcode)).await;
        assert_eq!(bench.pull().await.unwrap_err(), CallError::Throttled { errcode, wait });
    }
}

#[tokio::test]
async fn what_may_pass_is_unreachable() {
    for play in [
        error_answer(-1),
        error_answer(6000),
        error_answer(45035),
        Play::with_status("502 Bad Gateway", &[], EMPTY_PAGE),
        Play::with_status("302 Found", &["location: /"], ""),
        Play::json("<html>welcome to the hotel</html>"),
        Play::json(r#"{"errcode":0,"msg_list":[{]}"#),
        Play::json(r#"{"errcode":0,"errmsg":"ok"}"#),
        Play::json("{}"),
        Play::json(""),
        Play::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{".to_vec()),
        Play::Raw(Vec::new()),
    ] {
        let shown = format!("{play:?}");
        let bench = Bench::start(move |_, _| play.clone()).await;
        let error = bench.pull().await.unwrap_err();
        assert!(matches!(error, CallError::Unreachable(_)), "{shown}: {error:?}");
        assert_eq!(bench.server.count("sync_msg"), 1, "{shown}");
        assert!(bench.client.status().last_error.unwrap().starts_with("sync_msg: "));
    }
}

#[tokio::test]
async fn a_silent_wecom_is_unreachable() {
    let bench = Bench::with_timeout(Duration::from_millis(50), |_| Play::Silence).await;
    let error = bench.pull().await.unwrap_err();
    assert_eq!(error, CallError::Unreachable("no answer in time".to_owned()));
    assert!(bench.tally.encode().contains(r#"api="gettoken",errcode="timeout""#));
}

#[tokio::test]
async fn a_dead_sync_token_is_told_apart() {
    let bench = Bench::start(|_, _| error_answer(95007)).await;
    assert_eq!(bench.pull().await.unwrap_err(), CallError::SyncTokenRefused(95007));
    assert!(matches!(bench.say("x").await, Err(CallError::Refused { errcode: 95007, .. })));
}

#[tokio::test]
async fn a_pull_sends_what_it_has_and_reads_the_page() {
    let page = r#"{"errcode":0,"errmsg":"ok","next_cursor":"c2","has_more":1,"msg_list":[{"msgid":"m1",
        "open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":3,"msgtype":"text",
        "text":{"content":"482913"}},{"msgid":7}]}"#;
    let bench = Bench::start(move |_, _| Play::json(page)).await;
    let page = bench.client.pull(pull_request(Some("c1"), Some("sync"))).await.unwrap();
    assert_eq!((page.messages.len(), page.unreadable.len(), page.has_more), (1, 1, true));
    let seen = bench.server.seen().pop().unwrap();
    assert_eq!(seen.line, "POST /cgi-bin/kf/sync_msg?access_token=token-1");
    assert_eq!(seen.body, r#"{"cursor":"c1","token":"sync","limit":1000,"open_kfid":"wk"}"#);
    assert!(seen.head.contains("content-type: application/json"));
}

#[tokio::test]
async fn unreadable_messages_that_are_not_kept_are_counted() {
    let rows = vec!["7"; 103].join(",");
    let bench =
        Bench::start(move |_, _| Play::json(&format!(r#"{{"errcode":0,"msg_list":[{rows}]}}"#))).await;
    assert_eq!(bench.pull().await.unwrap().unreadable.len(), 100);
    assert!(bench.tally.encode().contains(r#"sync_messages_total{kind="unreadable"} 3"#));
}

#[tokio::test]
async fn a_text_is_cut_at_2048_bytes_between_characters() {
    let bench = Bench::start(|_, _| Play::json(r#"{"errcode":0,"errmsg":"ok","msgid":"r1"}"#)).await;
    bench.say(&"\u{4f60}".repeat(1000)).await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&bench.server.seen().pop().unwrap().body).unwrap();
    assert_eq!(body["text"]["content"].as_str().unwrap().len(), 2046);
    assert_eq!(
        (&body["touser"], &body["open_kfid"], &body["msgid"], &body["msgtype"]),
        (&"wm".into(), &"wk".into(), &"r1".into(), &"text".into())
    );
}

#[tokio::test]
async fn a_message_that_was_said_before_is_done() {
    let bench = Bench::start(|_, _| error_answer(95033)).await;
    bench.say("hello").await.unwrap();
    assert!(matches!(bench.pull().await, Err(CallError::Refused { errcode: 95033, .. })));
}

#[tokio::test]
async fn other_codes_refuse_the_call_for_good() {
    let bench = Bench::start(|_, _| error_answer(95018)).await;
    let error = bench.say("hello").await.unwrap_err();
    assert!(matches!(&error, CallError::Refused { errcode: 95018, errmsg } if errmsg.starts_with("words")));
    assert_eq!(bench.server.count("send_msg"), 1);
}

#[tokio::test]
async fn accounts_are_listed_page_by_page() {
    let bench = Bench::start(|_, seen| {
        let request: api::AccountListRequest = serde_json::from_str(&seen.body).unwrap();
        let rows: Vec<_> = (request.offset..(request.offset + request.limit).min(230))
            .map(|n| match n {
                0 => r#"{"open_kfid":"wk0","name":"a"}"#.to_owned(),
                1 => r#"{"open_kfid":"wk1","name":"b","manage_privilege":false}"#.to_owned(),
                2 => r#"{"broken":1}"#.to_owned(),
                n => format!(r#"{{"open_kfid":"wk{n}","name":"","manage_privilege":true}}"#),
            })
            .collect();
        Play::json(&format!(r#"{{"errcode":0,"account_list":[{}]}}"#, rows.join(",")))
    })
    .await;
    let accounts = bench.client.accounts().await.unwrap();
    assert_eq!((accounts.len(), bench.server.count("list")), (229, 3));
    assert_eq!((accounts[0].api_managed, accounts[1].api_managed), (true, false));
}

#[tokio::test]
async fn a_list_that_never_ends_is_cut() {
    let rows = vec![r#"{"open_kfid":"wk"}"#; 100].join(",");
    let body = format!(r#"{{"errcode":0,"account_list":[{rows}]}}"#);
    let bench = Bench::start(move |_, _| Play::json(&body)).await;
    bench.client.accounts().await.unwrap();
    assert_eq!(bench.server.count("list"), 100);
}

#[tokio::test]
async fn profiles_are_read_and_nobody_is_asked_for_none() {
    let bench = Bench::start(|_, _| {
        Play::json(
            r#"{"errcode":0,"customer_list":[{"external_userid":"wm1","nickname":"n","unionid":"u"},
            {"external_userid":"wm2","nickname":"","avatar":""}],"invalid_external_userid":["wm3"]}"#,
        )
    })
    .await;
    assert_eq!(bench.client.profiles(Vec::new(), false).await, Ok(Vec::new()));
    assert_eq!(bench.server.seen().len(), 0);
    let customers = (0..150).map(|n| ExternalUserId::new(format!("wm{n}"))).collect();
    let profiles = bench.client.profiles(customers, false).await.unwrap();
    assert_eq!(profiles[0].unionid, Some(UnionId::new("u")));
    assert_eq!((&profiles[1].nickname, &profiles[1].unionid), (&None, &None));
    let request: api::BatchgetRequest =
        serde_json::from_str(&bench.server.seen().pop().unwrap().body).unwrap();
    assert_eq!(request.external_userid_list.len(), 100);
}

#[tokio::test]
async fn session_states_and_links_are_read() {
    let bench = Bench::start(|_, seen| match seen.call() {
        "get" => Play::json(r#"{"errcode":0,"service_state":3,"servicer_userid":"x"}"#),
        "trans" => Play::json(r#"{"errcode":0,"errmsg":"ok"}"#),
        _ => Play::json(r#"{"errcode":0,"url":"https://work.weixin.qq.com/kf/kfc1?enc_scene=E"}"#),
    })
    .await;
    let (account, customer) = (OpenKfId::new("wk"), ExternalUserId::new("wm"));
    let state = bench.client.service_state(account.clone(), customer.clone()).await;
    assert_eq!(state, Ok(ServiceState::Person));
    assert_eq!(bench.client.transfer(account.clone(), customer, Receiver::Assistant).await, Ok(()));
    let moved = bench.server.seen().pop().unwrap().body;
    assert_eq!(moved, r#"{"open_kfid":"wk","external_userid":"wm","service_state":1}"#);
    let url = bench.client.contact_way(account, "kfbind".to_owned()).await.unwrap();
    assert_eq!(url, "https://work.weixin.qq.com/kf/kfc1?enc_scene=E");
}

#[tokio::test]
async fn calls_are_counted_with_their_errcode() {
    let bench = Bench::start(|_, seen| match seen.call() {
        "sync_msg" => Play::json(EMPTY_PAGE),
        _ => error_answer(95018),
    })
    .await;
    bench.pull().await.unwrap();
    bench.say("x").await.unwrap_err();
    let metrics = bench.tally.encode();
    assert!(metrics.contains(r#"wecom_api_seconds_count{api="sync_msg"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"wecom_api_errors_total{api="send_msg",errcode="95018"} 1"#), "{metrics}");
    assert!(!metrics.contains(r#"errors_total{api="sync_msg""#), "{metrics}");
}

#[tokio::test]
async fn the_clock_is_held_against_the_date_of_the_answers() {
    let date = "date: Tue, 14 Nov 2023 22:12:00 GMT";
    let bench = Bench::start(move |_, _| Play::with_status("200 OK", &[date], EMPTY_PAGE)).await;
    bench.pull().await.unwrap();
    let skew_s = bench.client.status().clock_skew_s.unwrap();
    // The round trip of this test comes off the 79.5 s.
    assert!((60..=79).contains(&skew_s), "{skew_s}");
}

#[tokio::test]
async fn no_secret_is_in_errors_debug_or_status() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let config = WecomConfig {
        api_base: format!("http://{closed}"),
        corp_id: "wwCorp".to_owned(),
        secret: SECRET.into(),
        app_id: "wxApp".to_owned(),
    };
    let http = outgoing::client(Duration::from_secs(30), None).unwrap();
    let clock = Arc::new(HandClock(AtomicU64::new(NOW_MS)));
    let client = WecomClient::new(config, http, clock, Tally::default());
    let error = client.check_access_token().await.unwrap_err();
    let shown = format!("{error} {error:?} {client:?} {:?}", client.status());
    assert!(shown.contains("wwCorp") && shown.contains("refused"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");

    let bench = Bench::start(|_, _| Play::Raw(Vec::new())).await;
    let error = bench.pull().await.unwrap_err();
    let shown = format!("{error} {error:?} {:?} {:?}", bench.client, bench.client.status());
    assert!(!shown.contains("token-1") && !shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn an_address_that_is_no_url_is_an_error_and_no_panic() {
    let config = WecomConfig {
        api_base: "qyapi".to_owned(),
        corp_id: "wwCorp".to_owned(),
        secret: SECRET.into(),
        app_id: "wxApp".to_owned(),
    };
    let http = outgoing::client(Duration::from_secs(30), None).unwrap();
    let clock = Arc::new(HandClock(AtomicU64::new(NOW_MS)));
    let client = WecomClient::new(config, http, clock, Tally::default());
    let error = client.accounts().await.unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(text) if text.contains("wecom.api_base")), "{error:?}");
}

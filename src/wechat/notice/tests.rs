//! Tests of the subscribe message against a scripted loopback server and against the simulator.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use actors::ids::OpenId;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::*;
use crate::{
    outgoing::loopback::{Loopback, Play, Seen},
    sim::{Api, Fault, Sim, SimOptions},
};

const SECRET: &str = "the-app-s3cret";
/// 2026-11-25T07:01:59Z.
const BOUND_AT: Timestamp = Timestamp(1_795_590_119);
const OK: &str = r#"{"errcode":0,"errmsg":"ok","msgid":7}"#;

struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn client_of(api_base: String, app_id: &str, secret: &str) -> (NoticeClient, Arc<HandClock>) {
    let config = WechatConfig { api_base, app_id: app_id.to_owned(), secret: secret.to_owned().into() };
    let http = outgoing::client(Duration::from_secs(30), None).unwrap();
    let clock = Arc::new(HandClock(AtomicU64::new(1_795_590_000_000)));
    let page = "pages/bind-account/bind-account".to_owned();
    (NoticeClient::new(config, page, http, Arc::<HandClock>::clone(&clock)), clock)
}

struct Bench {
    server: Loopback,
    client: NoticeClient,
    clock: Arc<HandClock>,
}

impl Bench {
    /// `stable_token` gives `token-1`, `token-2` and so on; messages are answered by `play`, which gets the token's
    /// number.
    async fn start(play: impl Fn(usize) -> Play + Send + Sync + 'static) -> Self {
        let issued = AtomicUsize::new(0);
        Self::start_raw(move |seen| {
            if seen.call() == "stable_token" {
                let n = issued.fetch_add(1, Ordering::Relaxed) + 1;
                return Play::json(&format!(r#"{{"access_token":"token-{n}","expires_in":7200}}"#));
            }
            play(seen.line.split_once("token-").unwrap().1.parse().unwrap())
        })
        .await
    }

    async fn start_raw(play: impl Fn(&Seen) -> Play + Send + Sync + 'static) -> Self {
        let server = Loopback::start(play).await;
        let (client, clock) = client_of(server.base(), "wxApp", SECRET);
        Self { server, client, clock }
    }

    async fn notify(&self) -> Result<NoticeFate, CallError> {
        self.client.notify(notice(&[("thing1", "小程序账号"), ("time2", "{time}")])).await
    }

    fn counts(&self) -> (usize, usize) {
        (self.server.count("stable_token"), self.server.count("send"))
    }
}

fn notice(data: &[(&str, &str)]) -> Notice {
    Notice {
        openid: OpenId::new("oA_b"),
        template_id: "TEMPLATE".to_owned(),
        data: data.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
        bound_at: BOUND_AT,
    }
}

fn error_answer(errcode: i64) -> Play {
    Play::json(&format!(r#"{{"errcode":{errcode},"errmsg":"data.thing1.value invalid rid: x"}}"#))
}

#[tokio::test]
async fn a_message_names_user_template_page_and_data() {
    let bench = Bench::start(|_| Play::json(OK)).await;
    assert_eq!(bench.notify().await, Ok(NoticeFate::Sent));
    let [token, sent] = bench.server.seen().try_into().unwrap();
    assert_eq!(token.line, "POST /cgi-bin/stable_token");
    let body: Value = serde_json::from_str(&token.body).unwrap();
    let expected = json!({"grant_type": "client_credential", "appid": "wxApp", "secret": SECRET,
        "force_refresh": false});
    assert_eq!(body, expected);
    assert_eq!(sent.line, "POST /cgi-bin/message/subscribe/send?access_token=token-1");
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    let expected = json!({"touser": "oA_b", "template_id": "TEMPLATE",
        "page": "pages/bind-account/bind-account", "miniprogram_state": "formal", "lang": "zh_CN",
        "data": {"thing1": {"value": "小程序账号"}, "time2": {"value": "2026年11月25日 15:01"}}});
    assert_eq!(body, expected);
}

#[test]
fn times_are_chinas_in_the_form_of_wechats_example() {
    // 2019-10-01 15:01 in China, of WeChat's own table; then the last second of a day and of a year there.
    assert_eq!(china_time(Timestamp(1_569_913_260)), "2019年10月1日 15:01");
    assert_eq!(china_time(Timestamp(1_767_196_799)), "2025年12月31日 23:59");
    assert_eq!(china_time(Timestamp(1_767_196_800)), "2026年1月1日 00:00");
    assert!(china_time(Timestamp(u64::MAX)).starts_with("9999年12月"), "what nobody will live to see");
}

#[test]
fn values_are_cut_where_wechat_counts_characters() {
    let long = "好".repeat(40);
    let notice = notice(&[
        ("thing1", &long),
        ("name2", &long),
        ("phrase3", &long),
        ("character_string4", &long),
        ("time5", "{time}"),
        ("const6", &long),
        ("thing7", "a\nb"),
    ]);
    let fields = fields(&notice);
    let chars = |name: &str| fields[name].value.chars().count();
    assert_eq!(["thing1", "name2", "phrase3", "character_string4", "const6"].map(chars), [20, 10, 5, 32, 40]);
    assert_eq!(
        (fields["time5"].value.as_str(), fields["thing7"].value.as_str()),
        ("2026年11月25日 15:01", "a b")
    );
}

#[tokio::test]
async fn the_token_is_fetched_once_for_all_who_wait_and_anew_before_it_ends() {
    let bench = Bench::start(|_| Play::json(OK)).await;
    for sent in join_all((0..20).map(|_| bench.notify())).await {
        assert_eq!(sent, Ok(NoticeFate::Sent));
    }
    assert_eq!(bench.counts(), (1, 20));
    bench.clock.0.fetch_add((7200 - 301) * 1000, Ordering::Relaxed);
    bench.notify().await.unwrap();
    assert_eq!(bench.counts(), (1, 21));
    bench.clock.0.fetch_add(1000, Ordering::Relaxed);
    bench.notify().await.unwrap();
    assert_eq!(bench.counts(), (2, 22));
}

#[tokio::test]
async fn a_refused_token_is_fetched_anew_once_and_the_message_sent_once_more() {
    for errcode in [40001, 40014, 42001] {
        let bench =
            Bench::start(move |token| if token == 1 { error_answer(errcode) } else { Play::json(OK) }).await;
        assert_eq!(bench.notify().await, Ok(NoticeFate::Sent), "{errcode}");
        assert_eq!(bench.counts(), (2, 2), "{errcode}");
        let bench = Bench::start(move |_| error_answer(errcode)).await;
        let error = bench.notify().await.unwrap_err();
        assert!(
            matches!(error, CallError::Misconfigured { errcode: code, .. } if code == errcode),
            "{error:?}"
        );
        assert_eq!(bench.counts(), (2, 2), "{errcode}");
    }
}

#[tokio::test]
async fn what_wechat_says_is_told_apart() {
    assert_eq!(Bench::start(|_| error_answer(43101)).await.notify().await, Ok(NoticeFate::Unwanted));
    let wait = Duration::from_mins(1);
    for errcode in [45009, 45011] {
        let error = Bench::start(move |_| error_answer(errcode)).await.notify().await;
        assert_eq!(error, Err(CallError::Throttled { errcode, wait }));
    }
    for (errcode, wanted) in [
        (40037, "miniprogram.subscribe_template_id"),
        (47003, "data.thing1.value"),
        (41030, "miniprogram.card_path"),
    ] {
        let error = Bench::start(move |_| error_answer(errcode)).await.notify().await.unwrap_err();
        let CallError::Misconfigured { errcode: code, hint } = error else { panic!("{errcode}: {error:?}") };
        assert!(code == errcode && hint.contains(wanted), "{hint}");
    }
    for errcode in [40003, 99999] {
        let error = Bench::start(move |_| error_answer(errcode)).await.notify().await.unwrap_err();
        assert!(matches!(error, CallError::Refused { errcode: code, .. } if code == errcode), "{error:?}");
    }
}

#[tokio::test]
async fn after_a_message_without_a_usable_answer_nobody_knows_and_it_is_not_repeated() {
    for play in [
        error_answer(-1),
        Play::with_status("502 Bad Gateway", &[], OK),
        Play::json("<html>"),
        Play::json("{}"),
        Play::Raw(Vec::new()),
    ] {
        let shown = format!("{play:?}");
        let bench = Bench::start(move |_| play.clone()).await;
        let error = bench.notify().await.unwrap_err();
        assert!(matches!(error, CallError::Unreachable(_)), "{shown}: {error:?}");
        assert_eq!(bench.counts(), (1, 1), "{shown}");
    }
}

#[tokio::test]
async fn without_a_token_nothing_was_sent_and_wechat_is_not_hammered() {
    for play in [error_answer(-1), Play::json("<html>"), Play::json(r#"{"expires_in":7200}"#)] {
        let bench = Bench::start_raw(move |_| play.clone()).await;
        for _ in 0..3 {
            let error = bench.notify().await.unwrap_err();
            assert!(matches!(error, CallError::Throttled { errcode: -1, .. }), "{error:?}");
        }
        assert_eq!(bench.counts(), (1, 0));
        bench.clock.0.fetch_add(1000, Ordering::Relaxed);
        bench.notify().await.unwrap_err();
        assert_eq!(bench.counts(), (2, 0));
    }
    let bench = Bench::start_raw(|_| error_answer(40125)).await;
    for _ in 0..3 {
        let error = bench.notify().await.unwrap_err();
        let CallError::Misconfigured { hint, .. } = error else { panic!("{error:?}") };
        assert!(hint.contains("miniprogram.secret"), "{hint}");
        bench.clock.0.fetch_add(10_000, Ordering::Relaxed);
    }
    assert_eq!(bench.counts(), (1, 0));
}

#[tokio::test]
async fn a_wechat_that_can_not_be_reached_got_no_message() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let (client, _clock) = client_of(format!("http://{closed}"), "wxApp", SECRET);
    let error = client.notify(notice(&[])).await.unwrap_err();
    assert!(matches!(error, CallError::Throttled { errcode: -1, .. }), "{error:?}");
}

#[tokio::test]
async fn no_secret_is_in_errors_or_debug() {
    let bench =
        Bench::start(|token| if token == 1 { error_answer(42001) } else { Play::Raw(Vec::new()) }).await;
    let error = bench.notify().await.unwrap_err();
    let shown = format!("{error} {error:?} {:?}", bench.client);
    assert!(shown.contains("wxApp"), "{shown}");
    assert!(!shown.contains("token-") && !shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn the_simulated_wechat_gives_one_message_for_each_accept() {
    let options = SimOptions::default();
    let sim = Sim::start(options.clone()).await.unwrap();
    let (client, _clock) = client_of(sim.base_url(), &options.app_id, &options.app_secret);
    let send = async || client.notify(notice(&[("thing1", "好"), ("time2", "{time}")])).await;
    assert_eq!(send().await, Ok(NoticeFate::Unwanted));
    sim.accept_subscribe("oA_b", "TEMPLATE", 2);
    assert_eq!(send().await, Ok(NoticeFate::Sent));
    sim.revoke_access_tokens();
    assert_eq!(send().await, Ok(NoticeFate::Sent), "with a new access token");
    assert_eq!(send().await, Ok(NoticeFate::Unwanted));
    sim.fail_next(Api::SubscribeSend, Fault::Dropped, 1);
    assert!(matches!(send().await, Err(CallError::Unreachable(_))));
    assert_eq!(sim.subscribe_messages().len(), 2);
    assert_eq!(sim.subscribe_messages()[0].data["time2"]["value"], "2026年11月25日 15:01");
    sim.stop().await;
}

//! Tests of the token cache against a scripted loopback server.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use secrecy::ExposeSecret as _;

use super::*;

/// A clock that is set by hand.
struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tokens, their clock, and how often WeCom was asked.
struct Bench {
    clock: Arc<HandClock>,
    tokens: AccessTokens,
    asked: AtomicUsize,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(HandClock(AtomicU64::new(1_700_000_000_000)));
        let tokens = AccessTokens::new("wecom.secret", Arc::<HandClock>::clone(&clock));
        Self { clock, tokens, asked: AtomicUsize::new(0) }
    }

    fn later(&self, ms: u64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Asks for a token; should WeCom be asked, it answers so.
    async fn get_or(&self, answer: Result<u64, CallError>) -> Result<AccessToken, CallError> {
        self.tokens
            .get(|| async {
                let n = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
                answer.map(|expires_in_s| Issued { access_token: format!("token-{n}").into(), expires_in_s })
            })
            .await
    }

    async fn get(&self) -> String {
        self.get_or(Ok(7200)).await.unwrap().text.expose_secret().to_owned()
    }
}

fn down() -> CallError {
    CallError::Unreachable("down".to_owned())
}

fn refused(errcode: i64) -> CallError {
    CallError::Refused { errcode, errmsg: "no".to_owned() }
}

#[tokio::test]
async fn a_token_is_kept_until_five_minutes_before_its_end() {
    let bench = Bench::new();
    assert!(!bench.tokens.had());
    assert_eq!(bench.get().await, "token-1");
    bench.later(6_900_000 - 1);
    assert_eq!(bench.get().await, "token-1");
    bench.later(1);
    assert_eq!(bench.get().await, "token-2");
    assert_eq!(bench.asked(), 2);
    assert!(bench.tokens.had());
}

#[tokio::test]
async fn a_short_life_is_renewed_at_its_half() {
    let bench = Bench::new();
    bench.get_or(Ok(60)).await.unwrap();
    bench.later(29_999);
    assert_eq!(bench.get().await, "token-1");
    bench.later(1);
    assert_eq!(bench.get().await, "token-2");
}

#[tokio::test]
async fn an_ageing_token_serves_on_while_renewing_fails() {
    let bench = Bench::new();
    bench.get().await;
    bench.later(6_900_000);
    let token = bench.get_or(Err(down())).await.unwrap();
    assert_eq!(token.text.expose_secret(), "token-1");
    bench.later(300_000);
    assert_eq!(bench.get_or(Err(down())).await.err(), Some(down()), "it has ended");
}

#[tokio::test]
async fn a_token_of_no_life_is_asked_for_each_time() {
    let bench = Bench::new();
    bench.get_or(Ok(0)).await.unwrap();
    bench.get_or(Ok(u64::MAX)).await.unwrap();
    assert_eq!(bench.asked(), 2);
    bench.later(LIFE_MS_MAX);
    bench.get().await;
    assert_eq!(bench.asked(), 3);
}

#[tokio::test]
async fn a_clock_that_was_set_back_renews_the_token() {
    let bench = Bench::new();
    bench.get().await;
    bench.clock.0.store(1_000, Ordering::Relaxed);
    assert_eq!(bench.get().await, "token-2");
}

#[tokio::test]
async fn a_failure_stands_for_a_moment() {
    let bench = Bench::new();
    assert_eq!(bench.get_or(Err(down())).await.err(), Some(down()));
    for _ in 0..1000 {
        assert_eq!(bench.get_or(Ok(7200)).await.err(), Some(down()));
    }
    assert_eq!(bench.asked(), 1);
    bench.later(UNREACHABLE_PAUSE_MS);
    assert_eq!(bench.get().await, "token-2");
}

#[tokio::test]
async fn a_limit_stands_for_as_long_as_it_says() {
    let bench = Bench::new();
    let limit = CallError::Throttled { errcode: 45009, wait: Duration::from_mins(1) };
    assert_eq!(bench.get_or(Err(limit.clone())).await.err(), Some(limit.clone()));
    bench.later(59_999);
    assert_eq!(bench.get_or(Ok(7200)).await.err(), Some(limit));
    bench.later(1);
    assert_eq!(bench.get().await, "token-2");
}

#[tokio::test]
async fn a_wrong_secret_or_corp_stops_all_calls_but_an_hourly_probe() {
    for (errcode, key) in [(errcode::BAD_SECRET, "wecom.secret"), (errcode::BAD_CORP_ID, "wecom.corp_id")] {
        let bench = Bench::new();
        let Some(CallError::Stopped(reason)) = bench.get_or(Err(refused(errcode))).await.err() else {
            panic!("not stopped")
        };
        assert!(reason.contains(key), "{reason}");
        assert_eq!(bench.tokens.stopped(), Some(reason.clone()));
        bench.later(PROBE_EVERY_MS - 1);
        assert_eq!(bench.get_or(Ok(7200)).await.err(), Some(CallError::Stopped(reason)));
        assert_eq!(bench.asked(), 1);
        bench.later(1);
        drop(bench.get_or(Err(refused(errcode))).await);
        drop(bench.get_or(Err(refused(errcode))).await);
        assert_eq!(bench.asked(), 2);
        bench.later(PROBE_EVERY_MS);
        assert_eq!(bench.get().await, "token-3");
        assert_eq!(bench.tokens.stopped(), None);
    }
}

#[tokio::test]
async fn a_stop_ends_an_ageing_token_too() {
    let bench = Bench::new();
    bench.get().await;
    bench.later(6_900_000);
    let error = bench.get_or(Err(refused(errcode::BAD_SECRET))).await.err();
    assert!(matches!(error, Some(CallError::Stopped(_))));
    assert!(matches!(bench.get_or(Ok(7200)).await, Err(CallError::Stopped(_))));
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn any_other_refusal_of_a_token_is_the_operators_business() {
    let bench = Bench::new();
    let error = bench.get_or(Err(refused(40091))).await.err();
    assert!(matches!(error, Some(CallError::Misconfigured { errcode: 40091, .. })), "{error:?}");
    assert_eq!(bench.tokens.stopped(), None);
}

#[tokio::test]
async fn a_refused_token_is_given_up_once_for_all_who_used_it() {
    let bench = Bench::new();
    let refused = bench.get_or(Ok(7200)).await.unwrap();
    bench.tokens.give_up(&refused);
    assert_eq!(bench.get().await, "token-2");
    bench.tokens.give_up(&refused);
    assert_eq!(bench.get().await, "token-2");
}

#[tokio::test]
async fn a_token_is_given_up_for_the_console_once_a_minute() {
    let bench = Bench::new();
    let first = bench.get_or(Ok(7200)).await.unwrap();
    assert!(bench.tokens.give_up_for_console(&first));
    let second = bench.get_or(Ok(7200)).await.unwrap();
    assert!(bench.tokens.give_up_for_console(&first), "it was renewed meanwhile: worth a repeat");
    assert!(!bench.tokens.give_up_for_console(&second));
    assert_eq!(bench.get().await, "token-2");
    bench.later(CONSOLE_RENEWAL_EVERY_MS);
    assert!(bench.tokens.give_up_for_console(&second));
    assert_eq!(bench.get().await, "token-3");
}

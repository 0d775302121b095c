//! Pulling: nudges, cursors, tokens, rations, and what goes wrong at WeCom.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    ids::{Cursor, OpenId, OpenKfId, SyncToken, Timestamp},
    messages::{BindingStatus, Delivery},
    ports::{CallError, CallbackEvent, KfAccount, Page},
    testing::{
        ScriptedWeCom,
        rig::{ACCOUNT, BEGIN, Rig, Setup, eventually},
    },
};

fn unreachable() -> CallError {
    CallError::Unreachable("test".to_owned())
}

fn refused(errcode: i64) -> CallError {
    CallError::Refused { errcode, errmsg: "test".to_owned() }
}

/// A rig whose first pull, that of the start, is over.
async fn started(change: impl FnOnce(&mut Setup), accounts: &[&str]) -> Rig {
    let rig = Rig::start_with(change, accounts).await;
    eventually("every account was pulled once", async || {
        accounts.iter().all(|account| !rig.wecom.pulls_of(account).is_empty())
    })
    .await;
    rig.breathe().await;
    rig
}

async fn rig() -> Rig {
    started(|_| {}, &[ACCOUNT]).await
}

/// Every account that WeCom lists.
fn all(setup: &mut Setup) {
    setup.sync_policy.accounts = Vec::new();
}

/// Many pulls, none of them by the timer.
fn tokenless(rig: &Rig) -> usize {
    rig.wecom.pulls().iter().filter(|pull| pull.sync_token.is_none()).count()
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_callback_pulls_once() {
    let mut rig = rig().await;
    let pulls = rig.wecom.pulls().len();
    let token = rig.fresh_token();
    let delivery = rig.callback(Some(ACCOUNT), Some(token));
    for _ in 0..5 {
        rig.handles().deliver(delivery.clone()).await.unwrap();
        rig.breathe().await;
    }
    assert_eq!(rig.wecom.pulls().len(), pulls + 1);
    assert!((rig.metric("kfbind_callbacks_total{result=\"duplicate\"}") - 4.0).abs() < 0.1);
    assert!((rig.metric("kfbind_callbacks_total{result=\"accepted\"}") - 1.0).abs() < 0.1);
    rig.nudge().await;
    rig.breathe().await;
    assert_eq!(rig.wecom.pulls().len(), pulls + 2, "another callback pulls again");
}

#[tokio::test(start_paused = true)]
async fn other_events_and_accounts_that_are_not_served_pull_nothing() {
    let mut rig = rig().await;
    let pulls = rig.wecom.pulls().len();
    rig.handles().deliver(Delivery { signature: [9; 20], event: CallbackEvent::Other }).await.unwrap();
    rig.nudge_at(Some("wkStranger")).await;
    rig.breathe().await;
    assert_eq!(rig.wecom.pulls().len(), pulls);
    assert!((rig.metric("kfbind_callbacks_total{result=\"ignored\"}") - 1.0).abs() < 0.1);
    assert!((rig.metric("kfbind_callbacks_total{result=\"unserved\"}") - 1.0).abs() < 0.1);
    assert_eq!(
        rig.wecom.listings(),
        1,
        "the served accounts are configured: no stranger makes us look again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_callback_without_an_account_nudges_all() {
    let mut rig = started(all, &["wkA", "wkB", "wkC"]).await;
    let before = rig.wecom.pulls().len();
    rig.nudge_at(None).await;
    rig.breathe().await;
    assert_eq!(rig.wecom.pulls().len(), before + 3);
}

#[tokio::test(start_paused = true)]
async fn a_lost_callback_is_repaired_by_the_timer() {
    let rig = rig().await;
    let code = rig.new_code("oA").await;
    let now = rig.now();
    rig.says("wmA", code.code.as_str(), now);
    rig.pass(299).await;
    assert_eq!(rig.bound_to("oA").await, None);
    rig.pass(2).await;
    rig.settled().await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    assert_eq!(rig.binding("oA").await.unwrap().bound_at, Timestamp(BEGIN));
}

#[tokio::test(start_paused = true)]
async fn nudges_during_a_pull_become_one_more_pull() {
    let mut rig = rig().await;
    let before = rig.wecom.pulls().len();
    rig.wecom.hold_pulls(true);
    rig.nudge().await;
    eventually("a pull is open", async || rig.wecom.pulls_open() == 1).await;
    for _ in 0..20 {
        rig.nudge().await;
    }
    rig.breathe().await;
    assert_eq!(rig.wecom.pulls().len(), before + 1);
    rig.wecom.hold_pulls(false);
    rig.breathe().await;
    rig.pass(5).await;
    assert_eq!(rig.wecom.pulls().len(), before + 2);
    assert_eq!(rig.wecom.pulls_at_once(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn all_pages_are_pulled_and_each_with_the_token() {
    let mut rig = rig().await;
    rig.wecom.set_page_messages_max(2);
    let code = rig.new_code("oA").await;
    let now = rig.now();
    for _ in 0..9 {
        rig.says("wmB", "你好", now);
    }
    rig.says("wmA", code.code.as_str(), now);
    let before = rig.wecom.pulls().len();
    let token = rig.fresh_token();
    let delivery = rig.callback(Some(ACCOUNT), Some(token.clone()));
    rig.handles().deliver(delivery).await.unwrap();
    rig.settled().await;
    let pulls = rig.wecom.pulls().split_off(before);
    assert_eq!(pulls.len(), 5);
    assert!(pulls.iter().all(|pull| pull.sync_token.as_ref() == Some(&token)), "{pulls:?}");
    let cursors: Vec<_> = pulls.iter().map(|pull| pull.cursor.clone()).collect();
    let at = |place| Some(ScriptedWeCom::cursor(place));
    assert_eq!(cursors, [None, at(2), at(4), at(6), at(8)]);
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
}

#[tokio::test(start_paused = true)]
async fn an_empty_page_with_more_to_come_is_not_the_end() {
    let mut rig = rig().await;
    let code = rig.new_code("oA").await;
    let now = rig.now();
    for text in ["你好", "你好", code.code.as_str()] {
        rig.says("wmA", text, now);
    }
    let empty = |place| {
        let next_cursor = Some(ScriptedWeCom::cursor(place));
        Ok(Page { next_cursor, has_more: true, ..Page::default() })
    };
    rig.wecom.script_pulls([empty(1), empty(2)]);
    rig.nudge().await;
    rig.settled().await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
}

#[tokio::test(start_paused = true)]
async fn more_without_progress_ends_until_the_next_nudge() {
    let mut rig = rig().await;
    rig.says("wmA", "你好", Timestamp(BEGIN));
    rig.nudge().await;
    rig.settled().await;
    let before = rig.wecom.pulls().len();
    let stuck = |cursor: Option<Cursor>| Ok(Page { next_cursor: cursor, has_more: true, ..Page::default() });
    rig.wecom.script_pulls([stuck(Some(ScriptedWeCom::cursor(1)))]);
    rig.nudge().await;
    rig.pass(120).await;
    assert_eq!(rig.wecom.pulls().len(), before + 1);
    assert!((rig.metric("kfbind_sync_pulls_total{result=\"stuck\"}") - 1.0).abs() < 0.1);
    rig.wecom.script_pulls([stuck(None)]);
    rig.nudge().await;
    rig.pass(60).await;
    assert_eq!(rig.wecom.pulls().len(), before + 2);
    rig.nudge().await;
    rig.pass(2).await;
    assert_eq!(rig.wecom.pulls().len(), before + 3, "the next nudge looks again");
}

#[tokio::test(start_paused = true)]
async fn endless_empty_pages_are_left_for_a_while() {
    let mut rig = rig().await;
    let before = rig.wecom.pulls().len();
    let page = |n: usize| {
        let next_cursor = Some(Cursor::new(format!("endless-{n}")));
        Ok(Page { next_cursor, has_more: true, ..Page::default() })
    };
    rig.wecom.script_pulls((0..1000).map(page));
    rig.nudge().await;
    rig.breathe().await;
    eventually("the first run of empty pages is over", async || rig.wecom.pulls().len() >= before + 50).await;
    rig.breathe().await;
    assert_eq!(rig.wecom.pulls().len(), before + 50);
    rig.pass(2).await;
    assert!(rig.wecom.pulls().len() > before + 50, "the cursor moved, so it goes on later");
}

#[tokio::test(start_paused = true)]
async fn a_refused_cursor_starts_over_without_doubling() {
    for errors in [vec![refused(40_058)], vec![refused(-7), refused(-7), refused(-7)]] {
        let mut rig = rig().await;
        rig.bind("oA", "wmA").await;
        rig.chat("wmB", "999999").await;
        rig.chat("wmA", "解绑").await;
        let (said, before) = (rig.wecom.said().len(), rig.wecom.pulls().len());
        let tries = errors.len();
        rig.wecom.script_pulls(errors.into_iter().map(Err));
        rig.nudge().await;
        rig.pass(60).await;
        rig.settled().await;
        let cursors: Vec<_> =
            rig.wecom.pulls().split_off(before).into_iter().map(|pull| pull.cursor).collect();
        assert!(cursors[..tries].iter().all(Option::is_some), "{cursors:?}");
        assert_eq!(cursors.get(tries), Some(&None), "{cursors:?}");
        assert_eq!(rig.bound_to("oA").await, None, "nothing binds again");
        assert_eq!(rig.wecom.sends().len(), said);
        assert!((rig.metric("kfbind_rejected_codes_total{reason=\"wrong\"}") - 1.0).abs() < 0.1);
        assert!((rig.metric("kfbind_sync_pulls_total{result=\"cursor_refused\"}") - 1.0).abs() < 0.1);
        rig.chat("wmC", "999999").await;
        assert_eq!(rig.heard("wmC").len(), 1, "it goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_account_leaves_the_cursor_alone() {
    let mut rig = rig().await;
    rig.chat("wmA", "999999").await;
    let before = rig.wecom.pulls().len();
    rig.wecom.script_pulls((0..5).map(|_| Err(refused(95_000))));
    rig.nudge().await;
    rig.pass(400).await;
    let pulls = rig.wecom.pulls().split_off(before);
    assert!(pulls.len() > 5, "{}", pulls.len());
    assert!(pulls.iter().all(|pull| pull.cursor.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_callbacks_token_upgrades_a_running_pull() {
    let mut rig = rig().await;
    rig.wecom.set_page_messages_max(1);
    for _ in 0..3 {
        rig.says("wmA", "你好", Timestamp(BEGIN));
    }
    let before = rig.wecom.pulls().len();
    rig.wecom.hold_pulls(true);
    let without = rig.callback(Some(ACCOUNT), None);
    rig.handles().deliver(without).await.unwrap();
    eventually("a pull is open", async || rig.wecom.pulls_open() == 1).await;
    let token = rig.fresh_token();
    let with = rig.callback(Some(ACCOUNT), Some(token.clone()));
    rig.handles().deliver(with).await.unwrap();
    rig.wecom.hold_pulls(false);
    rig.decided().await;
    let tokens: Vec<_> =
        rig.wecom.pulls().split_off(before).into_iter().map(|pull| pull.sync_token).collect();
    assert_eq!(tokens[..3], [None, Some(token.clone()), Some(token)]);
}

#[tokio::test(start_paused = true)]
async fn the_newest_token_wins_whatever_the_order_of_the_callbacks() {
    let mut rig = rig().await;
    let of = |age: u64| SyncToken { value: format!("{age} s old"), created_at: Timestamp(BEGIN - age) };
    for age in [50, 10, 300] {
        let delivery = rig.callback(Some(ACCOUNT), Some(of(age)));
        rig.handles().deliver(delivery).await.unwrap();
        rig.breathe().await;
    }
    let values: Vec<_> =
        rig.wecom.pulls().into_iter().filter_map(|pull| Some(pull.sync_token?.value)).collect();
    assert_eq!(values, ["50 s old", "10 s old", "10 s old"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_older_than_ten_minutes_is_not_used() {
    let mut rig = rig().await;
    for (age, used) in [(600, false), (599, true)] {
        let created_at = Timestamp(rig.now().0 - age);
        let token = SyncToken { value: format!("of {age}"), created_at };
        let delivery = rig.callback(Some(ACCOUNT), Some(token.clone()));
        let before = rig.wecom.pulls().len();
        rig.handles().deliver(delivery).await.unwrap();
        rig.breathe().await;
        let pulls = rig.wecom.pulls().split_off(before);
        assert_eq!(pulls.len(), 1, "it nudges all the same");
        assert_eq!(pulls[0].sync_token.is_some(), used, "{age} s old");
    }
    // The one that was taken goes stale at hand.
    rig.pass(1).await;
    let before = rig.wecom.pulls().len();
    let delivery = rig.callback(Some(ACCOUNT), None);
    rig.handles().deliver(delivery).await.unwrap();
    rig.breathe().await;
    assert_eq!(rig.wecom.pulls()[before].sync_token, None);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_dropped_and_the_pull_made_again_without() {
    let mut rig = rig().await;
    let before = rig.wecom.pulls().len();
    rig.wecom.script_pulls([Err(CallError::SyncTokenRefused(95_007))]);
    rig.chat("wmA", "999999").await;
    let pulls = rig.wecom.pulls().split_off(before);
    let tokens: Vec<_> = pulls.iter().map(|pull| pull.sync_token.is_some()).collect();
    assert_eq!(tokens, [true, false]);
    assert_eq!(rig.heard("wmA").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn at_most_six_pulls_a_minute_go_without_a_token_over_all_accounts() {
    let names: Vec<String> = (0..10).map(|n| format!("wk{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let rig = Rig::start_with(
        |setup| {
            all(setup);
            setup.sync_policy.reconcile_every_ms = 1_000;
        },
        &names,
    )
    .await;
    rig.breathe().await;
    let mut by_second = vec![tokenless(&rig)];
    for _ in 0..240 {
        rig.pass(1).await;
        by_second.push(tokenless(&rig));
    }
    for (second, now) in by_second.iter().enumerate() {
        let minute_ago = second.checked_sub(60).map_or(0, |at| by_second[at]);
        assert!(now - minute_ago <= 6, "{} in the minute before second {second}", now - minute_ago);
    }
    assert!(*by_second.last().unwrap() >= 24, "the ration is used: {by_second:?}");
    let mut counts: BTreeMap<OpenKfId, usize> = BTreeMap::new();
    for pull in rig.wecom.pulls() {
        *counts.entry(pull.account).or_default() += 1;
    }
    assert_eq!(counts.len(), 10, "nobody starves: {counts:?}");
    // Pulls of the very same instant, which only a clock that stands still has, go by name.
    assert!(*counts.values().min().unwrap() >= 2, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_counts_as_a_pull_without_one() {
    let mut rig = rig().await;
    rig.pass(61).await;
    let before = rig.wecom.pulls().len();
    rig.wecom.script_pulls([Err(CallError::SyncTokenRefused(95_007))]);
    for _ in 0..20 {
        rig.nudge().await;
        rig.breathe().await;
    }
    let trusted = rig.wecom.pulls().len();
    assert!(trusted >= before + 20, "one refused token is followed by others that are taken");
    rig.pass(61).await;
    let before = rig.wecom.pulls().len();
    for _ in 0..3 {
        rig.wecom.script_pulls([Err(CallError::SyncTokenRefused(95_007))]);
        rig.nudge().await;
        rig.breathe().await;
    }
    for _ in 0..10 {
        rig.nudge().await;
        rig.breathe().await;
    }
    let pulls = rig.wecom.pulls().len() - before;
    let refused = rig.metric("kfbind_sync_pulls_total{result=\"token_refused\"}");
    assert!((refused - 4.0).abs() < 0.1, "{refused}");
    assert!(pulls <= 6 || rig.wecom.pulls().last().is_some_and(|pull| pull.sync_token.is_some()), "{pulls}");
}

#[tokio::test(start_paused = true)]
async fn a_pull_with_a_token_goes_while_the_ration_is_used_up() {
    let mut rig = rig().await;
    for _ in 0..10 {
        let delivery = rig.callback(Some(ACCOUNT), None);
        rig.handles().deliver(delivery).await.unwrap();
        rig.breathe().await;
    }
    assert_eq!(tokenless(&rig), 6);
    rig.chat("wmA", "999999").await;
    assert_eq!(rig.heard("wmA").len(), 1);
    rig.pass(70).await;
    assert_eq!(tokenless(&rig), 6, "the token is still live");
}

#[tokio::test(start_paused = true)]
async fn a_nudge_without_a_token_waits_for_the_ration() {
    let mut rig = rig().await;
    for _ in 0..10 {
        let delivery = rig.callback(Some(ACCOUNT), None);
        rig.handles().deliver(delivery).await.unwrap();
        rig.breathe().await;
    }
    assert_eq!(tokenless(&rig), 6);
    rig.says("wmA", "999999", Timestamp(BEGIN));
    rig.pass(59).await;
    assert_eq!(tokenless(&rig), 6);
    rig.pass(2).await;
    assert_eq!(tokenless(&rig), 7);
    rig.settled().await;
    assert_eq!(rig.heard("wmA").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn at_most_four_pulls_at_once_and_one_of_each_account() {
    let names: Vec<String> = (0..10).map(|n| format!("wk{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rig = Rig::start_with(all, &names).await;
    rig.pass(70).await;
    rig.wecom.hold_pulls(true);
    for name in &names {
        rig.nudge_at(Some(name)).await;
        rig.nudge_at(Some(name)).await;
    }
    eventually("four pulls are open", async || rig.wecom.pulls_open() == 4).await;
    rig.breathe().await;
    assert_eq!(rig.wecom.pulls_open(), 4);
    rig.wecom.hold_pulls(false);
    rig.breathe().await;
    eventually("all are pulled", async || {
        names.iter().all(|name| rig.wecom.pulls_of(name).iter().any(|pull| pull.sync_token.is_some()))
    })
    .await;
    assert_eq!(rig.wecom.pulls_at_once(), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn cursor_and_token_survive_a_restart() {
    let mut rig = rig().await;
    rig.says("wmA", "999999", Timestamp(BEGIN));
    let token = rig.fresh_token();
    let delivery = rig.callback(Some(ACCOUNT), Some(token.clone()));
    rig.handles().deliver(delivery).await.unwrap();
    rig.settled().await;
    for (passes, with) in [(100, true), (500, false)] {
        rig.clock.advance(passes);
        let before = rig.wecom.pulls().len();
        rig.restart().await;
        eventually("it is pulled", async || rig.wecom.pulls().len() > before).await;
        let pull = rig.wecom.pulls().remove(before);
        assert_eq!(pull.cursor, Some(ScriptedWeCom::cursor(1)));
        assert_eq!(pull.sync_token, with.then(|| token.clone()), "after {passes} s more");
    }
    assert_eq!(rig.heard("wmA").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn messages_of_an_outage_bind_at_the_start() {
    let mut rig = rig().await;
    let code = rig.new_code("oA").await;
    rig.down().await;
    rig.says("wmA", code.code.as_str(), Timestamp(BEGIN + 10));
    rig.clock.advance(5 * 3600);
    rig.up().await.unwrap();
    rig.settled().await;
    assert_eq!(rig.binding("oA").await.unwrap().bound_at, Timestamp(BEGIN + 10));
    assert!(rig.heard("wmA").is_empty(), "too late to answer");
    assert!((rig.metric("kfbind_replies_total{result=\"too_old\"}") - 1.0).abs() < 0.1);
}

#[tokio::test(start_paused = true)]
async fn failed_pulls_are_made_again_and_a_nudge_speeds_that_up() {
    let mut rig = rig().await;
    rig.wecom.script_pulls((0..6).map(|_| Err(unreachable())));
    rig.says("wmA", "999999", Timestamp(BEGIN));
    rig.nudge().await;
    rig.pass(70).await;
    rig.settled().await;
    assert_eq!(rig.heard("wmA").len(), 1, "without another nudge");
    // Now it is down for long, and a callback shows that it is there again.
    rig.wecom.script_pulls((0..6).map(|_| Err(unreachable())));
    rig.nudge().await;
    rig.pass(20).await;
    let before = rig.wecom.pulls().len();
    rig.nudge().await;
    rig.pass(1).await;
    assert!(rig.wecom.pulls().len() > before);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_nudges_is_no_storm_of_failing_pulls() {
    let mut rig = rig().await;
    rig.wecom.script_pulls((0..1000).map(|_| Err(unreachable())));
    let before = rig.wecom.pulls().len();
    for _ in 0..10 {
        for _ in 0..20 {
            rig.nudge().await;
        }
        rig.pass(1).await;
    }
    let pulls = rig.wecom.pulls().len() - before;
    assert!(pulls <= 12, "{pulls} in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_wecom_pauses_all_accounts() {
    let mut rig = started(all, &["wkA", "wkB"]).await;
    rig.pass(61).await;
    let wait = Duration::from_mins(1);
    rig.wecom.script_pulls([Err(CallError::Throttled { errcode: 45_009, wait })]);
    rig.nudge_at(Some("wkA")).await;
    rig.breathe().await;
    let before = rig.wecom.pulls().len();
    for name in ["wkA", "wkB"] {
        rig.nudge_at(Some(name)).await;
    }
    rig.pass(59).await;
    assert_eq!(rig.wecom.pulls().len(), before);
    rig.pass(3).await;
    assert_eq!(rig.wecom.pulls().len(), before + 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_is_passed() {
    let mut rig = rig().await;
    let code = rig.new_code("oA").await;
    rig.wecom.mumbles(ACCOUNT, "{");
    rig.says("wmA", code.code.as_str(), Timestamp(BEGIN));
    rig.wecom.mumbles(ACCOUNT, "}");
    rig.nudge().await;
    rig.settled().await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
}

#[tokio::test(start_paused = true)]
async fn ten_accounts_keep_their_own_cursors() {
    let names: Vec<String> = (0..10).map(|n| format!("wk{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rig = Rig::start_with(all, &names).await;
    rig.wecom.set_page_messages_max(2);
    for (n, name) in names.iter().enumerate() {
        let code = rig.new_code(&format!("o{n}")).await;
        let now = rig.now();
        for _ in 0..n {
            rig.wecom.says(name, "wmTalk", "你好", now);
        }
        rig.wecom.says(name, &format!("wm{n}"), code.code.as_str(), now);
        rig.nudge_at(Some(name)).await;
    }
    rig.settled().await;
    rig.restart().await;
    let before = rig.wecom.pulls().len();
    for (n, name) in names.iter().enumerate() {
        let binding = rig.binding(&format!("o{n}")).await.unwrap();
        assert_eq!(binding.customer.as_str(), format!("wm{n}"));
        assert_eq!(binding.account.unwrap().as_str(), *name);
        rig.nudge_at(Some(name)).await;
    }
    rig.breathe().await;
    eventually("all are pulled", async || rig.wecom.pulls().len() >= before + 10).await;
    for pull in rig.wecom.pulls().split_off(before) {
        assert_eq!(pull.cursor, rig.wecom.end(pull.account.as_str()), "{}", pull.account);
    }
}

#[tokio::test(start_paused = true)]
async fn only_api_managed_accounts_are_served() {
    let wecom = Arc::new(ScriptedWeCom::new(&["wkA"]));
    let account = KfAccount { account: OpenKfId::new("wkB"), name: String::new(), api_managed: false };
    wecom.add_account(account);
    let mut setup = Setup::default();
    all(&mut setup);
    let mut rig = Rig::without_system(setup, wecom);
    rig.up().await.unwrap();
    rig.has_link().await;
    rig.breathe().await;
    let report = rig.handles().health().await.sync;
    assert!(report.accounts_known);
    let served: Vec<_> = report.accounts.iter().map(|account| account.account.as_str()).collect();
    assert_eq!(served, ["wkA"]);
    assert_eq!(rig.wecom.links(), [OpenKfId::new("wkA")]);
}

#[tokio::test(start_paused = true)]
async fn operators_are_told_how_wecom_lists_the_configured_accounts_and_nothing_waits_for_that() {
    let wecom = Arc::new(ScriptedWeCom::new(&["wkOther"]));
    wecom.add_account(KfAccount {
        account: OpenKfId::new(ACCOUNT),
        name: "one".to_owned(),
        api_managed: false,
    });
    wecom.script_listings([unreachable(), unreachable()]);
    let mut rig = Rig::without_system(Setup::default(), wecom);
    rig.up().await.unwrap();
    eventually("it is pulled", async || !rig.wecom.pulls_of(ACCOUNT).is_empty()).await;
    let report = rig.handles().health().await.sync;
    assert!(report.accounts_known);
    assert_eq!(report.accounts.first().unwrap().api_managed, None, "not listed yet");
    rig.pass(30).await;
    rig.breathe().await;
    let report = rig.handles().health().await.sync;
    let accounts: Vec<_> =
        report.accounts.iter().map(|a| (a.account.as_str(), a.api_managed, a.name.as_deref())).collect();
    assert_eq!(accounts, [(ACCOUNT, Some(false), Some("one"))], "the list changes nothing of what is served");
    assert_eq!(report.unserved.iter().map(|listed| listed.account.as_str()).collect::<Vec<_>>(), ["wkOther"]);
    assert_eq!(rig.wecom.listings(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_account_in_a_callback_lists_again_at_most_once_a_minute() {
    let mut rig = started(all, &["wkA"]).await;
    assert_eq!(rig.wecom.listings(), 1);
    rig.wecom.set_accounts(&["wkA", "wkNew"]);
    let code = rig.new_code("oA").await;
    rig.wecom.says("wkNew", "wmA", code.code.as_str(), Timestamp(BEGIN));
    rig.nudge_at(Some("wkNew")).await;
    rig.pass(59).await;
    assert_eq!(rig.wecom.listings(), 1, "the start listed less than a minute ago");
    rig.pass(2).await;
    rig.settled().await;
    assert_eq!(rig.wecom.listings(), 2);
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    for _ in 0..30 {
        rig.nudge_at(Some("wkNobody")).await;
        rig.pass(1).await;
    }
    assert_eq!(rig.wecom.listings(), 2);
    rig.pass(60).await;
    assert_eq!(rig.wecom.listings(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failed_listing_is_made_again_and_nudges_of_meanwhile_count() {
    let wecom = Arc::new(ScriptedWeCom::new(&["wkA"]));
    wecom.script_listings([unreachable(), unreachable(), unreachable()]);
    let mut setup = Setup::default();
    all(&mut setup);
    let mut rig = Rig::without_system(setup, wecom);
    rig.up().await.unwrap();
    rig.nudge().await;
    rig.pass(1).await;
    rig.pass(30).await;
    rig.has_link().await;
    assert_eq!(rig.wecom.listings(), 4);
    assert!(rig.wecom.pulls()[0].sync_token.is_some(), "with the token that came before");
}

#[tokio::test(start_paused = true)]
async fn changed_authority_adds_and_removes_accounts_and_the_link_follows() {
    let rig = started(all, &["wkA"]).await;
    rig.wecom.set_accounts(&["wkB"]);
    let change = CallbackEvent::KfAccountAuthChange {
        added: vec![OpenKfId::new("wkB")],
        removed: vec![OpenKfId::new("wkA")],
    };
    rig.handles().deliver(Delivery { signature: [7; 20], event: change }).await.unwrap();
    eventually("the link leads to the new account", async || {
        rig.wecom.links() == [OpenKfId::new("wkA"), OpenKfId::new("wkB")]
    })
    .await;
    rig.breathe().await;
    let code = rig.new_code("oA").await;
    assert_eq!(code.link.account, Some(OpenKfId::new("wkB")));
    assert!(!rig.wecom.pulls_of("wkB").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_account_that_comes_back_while_it_is_pulled_is_not_pulled_twice_at_once() {
    for comes_back in [true, false] {
        let mut rig = started(all, &["wkA", "wkB"]).await;
        let changed = async |number: u8, accounts: &[&str]| {
            rig.wecom.set_accounts(accounts);
            let change = CallbackEvent::KfAccountAuthChange { added: Vec::new(), removed: Vec::new() };
            rig.handles().deliver(Delivery { signature: [number; 20], event: change }).await.unwrap();
            rig.breathe().await;
            rig.pass(60).await;
            let served = rig.handles().health().await.sync.accounts;
            assert_eq!(served.iter().map(|report| report.account.as_str()).collect::<Vec<_>>(), accounts);
        };
        let code = rig.new_code("oA").await;
        rig.says("wmA", code.code.as_str(), rig.now());
        rig.wecom.hold_pulls(true);
        let nudge = CallbackEvent::KfMessageOrEvent {
            account: Some(OpenKfId::new("wkA")),
            sync_token: Some(rig.fresh_token()),
        };
        rig.handles().deliver(Delivery { signature: [1; 20], event: nudge }).await.unwrap();
        eventually("a pull is open", async || rig.wecom.pulls_open() == 1).await;
        changed(2, &["wkB"]).await;
        if comes_back {
            changed(3, &["wkA", "wkB"]).await;
        }
        assert_eq!(rig.wecom.pulls_at_once().1, 1);
        rig.wecom.hold_pulls(false);
        rig.breathe().await;
        if !comes_back {
            assert_eq!(rig.bound_to("oA").await, None, "it is not served any more");
            changed(4, &["wkA", "wkB"]).await;
        }
        rig.settled().await;
        assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
        assert_eq!(rig.wecom.pulls_at_once().1, 1);
        rig.down().await;
    }
}

/// Whoever has kept an authentic callback can send it again and again, under ever new signatures even.
#[tokio::test(start_paused = true)]
async fn an_old_change_of_authority_that_is_sent_again_takes_nothing_away() {
    let rig = started(all, &["wkA"]).await;
    let replays = async |first: u8| {
        for number in first..first + 100 {
            let event = CallbackEvent::KfAccountAuthChange {
                added: vec![OpenKfId::new("wkGone")],
                removed: vec![OpenKfId::new("wkA")],
            };
            rig.handles().deliver(Delivery { signature: [number; 20], event }).await.unwrap();
        }
    };
    replays(0).await;
    rig.breathe().await;
    replays(100).await;
    rig.breathe().await;
    assert_eq!(rig.wecom.listings(), 2, "the first one makes us look, the others wait");
    let served = rig.handles().health().await.sync.accounts;
    assert_eq!(served.iter().map(|report| report.account.as_str()).collect::<Vec<_>>(), ["wkA"]);
    assert!(rig.wecom.pulls_of("wkGone").is_empty());
    rig.pass(60).await;
    assert_eq!(rig.wecom.listings(), 3, "a hundred more cost one look, a minute later");
}

#[tokio::test(start_paused = true)]
async fn the_link_is_made_once_and_remembered() {
    let mut rig = rig().await;
    rig.restart().await;
    rig.restart().await;
    assert_eq!(rig.wecom.links().len(), 1);
    // Its account is no longer served: another is made.
    rig.restart_with(|setup| setup.sync_policy.accounts = vec![OpenKfId::new("wkB")]).await;
    eventually("another link is made", async || rig.wecom.links().len() == 2).await;
    rig.breathe().await;
    assert_eq!(rig.new_code("oA").await.link.account, Some(OpenKfId::new("wkB")));
}

#[tokio::test(start_paused = true)]
async fn an_own_link_names_the_only_account_and_stays_the_same_over_a_restart() {
    let own = |setup: &mut Setup| {
        all(setup);
        setup.sync_policy.own_link = Some("https://example.com/kf".to_owned());
    };
    let mut rig = started(own, &["wkA"]).await;
    eventually("the account is known", async || {
        matches!(rig.issue("oA").await, crate::messages::IssueOutcome::Again(code)
            | crate::messages::IssueOutcome::Issued(code) if code.link.account == Some(OpenKfId::new("wkA")))
    })
    .await;
    assert!(rig.wecom.links().is_empty());
    let version = rig.version("oA").await;
    rig.restart().await;
    rig.breathe().await;
    assert!(matches!(rig.status("oA").await, BindingStatus::Pending(_)));
    assert_eq!(rig.version("oA").await, version, "a restart changes nothing that the user sees");
    assert!(rig.handles().view(&OpenId::new("oA")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn alarms_do_not_pile_up() {
    let mut rig = rig().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..100 {
        // The alarm for the second try comes before that of the timer, which is set again afterwards.
        rig.wecom.script_pulls([Err(unreachable())]);
        rig.nudge().await;
        rig.pass(2).await;
    }
    assert!(tasks() <= before + 10, "{} tasks after {before}", tasks());
}

#[tokio::test(start_paused = true)]
async fn the_report_says_when_a_pull_last_worked_and_why_it_does_not() {
    let mut rig = rig().await;
    let report = rig.handles().health().await;
    assert!(report.silent_actors.is_empty() && report.store_writable);
    assert_eq!(report.sync.accounts[0].last_pull_at, Some(Timestamp(BEGIN)));
    rig.clock.advance(5);
    rig.wecom.script_pulls([Err(refused(95_000))]);
    rig.nudge().await;
    rig.breathe().await;
    let account = rig.handles().health().await.sync.accounts.remove(0);
    assert_eq!(account.last_pull_at, Some(Timestamp(BEGIN)));
    assert!(account.last_error.unwrap().contains("95000"));
}

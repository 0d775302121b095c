//! The whole inside: a binding from end to end, waits, stop, death of an actor.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::System;
use crate::{
    handles::Unavailable,
    ids::{OpenId, Timestamp},
    messages::{BindingStatus, BindingView, RegistryMessage},
    testing::rig::{ACCOUNT, BEGIN, Rig, eventually},
};

#[tokio::test(start_paused = true)]
async fn a_code_typed_in_the_chat_binds_and_is_answered() {
    let mut rig = Rig::start().await;
    rig.wecom.set_profile("wmA", "小明", None);
    rig.bind("oA", "wmA").await;
    assert_eq!(rig.heard("wmA"), ["bound 小明 您的小程序账号 解绑"]);
    assert_eq!(rig.binding("oA").await.unwrap().nickname.as_deref(), Some("小明"));
    rig.restart().await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    rig.chat("wmA", "解绑").await;
    assert_eq!(rig.bound_to("oA").await, None);
    assert_eq!(rig.heard("wmA").last().unwrap(), "unbound 您的小程序账号");
}

// ---- Waits ----------------------------------------------------------------------------------------------------

type Wait = JoinHandle<Result<BindingView, Unavailable>>;

/// Begins to wait for a change of what a user sees.
async fn begin_wait(rig: &Rig, openid: &str, since: u64) -> Wait {
    let (handles, openid) = (rig.handles(), OpenId::new(openid));
    let wait = async move { handles.wait_for_change(&openid, since, Duration::from_secs(30)).await };
    let wait = tokio::spawn(wait);
    rig.breathe().await;
    wait
}

async fn answer(wait: Wait) -> BindingView {
    eventually("the wait is answered", async || wait.is_finished()).await;
    wait.await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_binding() {
    let mut rig = Rig::start().await;
    let code = rig.new_code("oA").await;
    let since = rig.version("oA").await;
    let wait = begin_wait(&rig, "oA", since).await;
    let other = begin_wait(&rig, "oB", 0).await;
    assert!(!wait.is_finished());
    rig.says("wmA", code.code.as_str(), Timestamp(BEGIN));
    rig.nudge().await;
    let view = answer(wait).await;
    assert!(view.version > since);
    assert!(matches!(view.status, BindingStatus::Bound(info) if info.customer.as_str() == "wmA"));
    rig.settled().await;
    assert!(!other.is_finished(), "it is nobody else's change");
    other.abort();
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_a_code_an_unbinding_and_a_late_name() {
    let mut rig = Rig::start().await;
    let wait = begin_wait(&rig, "oA", 0).await;
    let code = rig.new_code("oA").await;
    let view = answer(wait).await;
    assert!(matches!(view.status, BindingStatus::Pending(p) if p == code));
    rig.wecom.script_profiles((0..2).map(|_| crate::ports::CallError::Unreachable("test".to_owned())));
    rig.wecom.set_profile("wmA", "小明", None);
    rig.says("wmA", code.code.as_str(), Timestamp(BEGIN));
    rig.nudge().await;
    eventually("it is bound", async || rig.binding("oA").await.is_some()).await;
    let wait = begin_wait(&rig, "oA", rig.version("oA").await).await;
    rig.pass(5).await;
    let view = answer(wait).await;
    assert!(matches!(view.status, BindingStatus::Bound(info) if info.nickname.as_deref() == Some("小明")));
    let wait = begin_wait(&rig, "oA", view.version).await;
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    assert_eq!(answer(wait).await.status, BindingStatus::Unbound);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_code() {
    let rig = Rig::start().await;
    rig.new_code("oA").await;
    rig.clock.set(BEGIN + 590);
    let since = rig.version("oA").await;
    let wait = begin_wait(&rig, "oA", since).await;
    rig.pass(9).await;
    assert!(!wait.is_finished());
    rig.pass(1).await;
    let view = answer(wait).await;
    assert_eq!(view, BindingView { version: since + 1, status: BindingStatus::Unbound });
}

#[tokio::test(start_paused = true)]
async fn a_wait_without_a_change_ends_when_its_time_is_up() {
    let rig = Rig::start().await;
    rig.new_code("oA").await;
    let since = rig.version("oA").await;
    let wait = begin_wait(&rig, "oA", since).await;
    rig.pass(29).await;
    assert!(!wait.is_finished());
    rig.pass(1).await;
    assert_eq!(answer(wait).await.version, since);
}

#[tokio::test(start_paused = true)]
async fn a_wait_since_another_version_is_answered_at_once() {
    let rig = Rig::start().await;
    rig.new_code("oA").await;
    let version = rig.version("oA").await;
    for since in [0, version - 1, version + 1, u64::MAX] {
        let view = answer(begin_wait(&rig, "oA", since).await).await;
        assert_eq!(view.version, version);
    }
    let no_time = rig.handles().wait_for_change(&OpenId::new("oA"), version, Duration::ZERO).await;
    assert_eq!(no_time.unwrap().version, version);
}

#[tokio::test(start_paused = true)]
async fn over_64_waits_of_one_user_the_oldest_is_answered() {
    let rig = Rig::start().await;
    let mut waits = Vec::new();
    for _ in 0..64 {
        waits.push(begin_wait(&rig, "oA", 0).await);
    }
    let other = begin_wait(&rig, "oB", 0).await;
    assert!(waits.iter().all(|wait| !wait.is_finished()));
    // Looking without waiting takes no place.
    answer(begin_wait(&rig, "oA", 7).await).await;
    let none = Duration::ZERO;
    rig.handles().wait_for_change(&OpenId::new("oA"), 0, none).await.unwrap();
    rig.breathe().await;
    assert!(waits.iter().all(|wait| !wait.is_finished()));
    for n in 0..3 {
        waits.push(begin_wait(&rig, "oA", 0).await);
        rig.breathe().await;
        let ended: Vec<_> = waits.iter().map(JoinHandle::is_finished).collect();
        assert_eq!(ended.iter().filter(|ended| **ended).count(), n + 1);
        assert!(ended[n], "the oldest goes first");
    }
    assert!(!other.is_finished());
    rig.new_code("oA").await;
    for wait in waits {
        answer(wait).await;
    }
    other.abort();
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_given_up_frees_its_place() {
    let rig = Rig::start().await;
    for _ in 0..200 {
        begin_wait(&rig, "oA", 0).await.abort();
    }
    let wait = begin_wait(&rig, "oA", 0).await;
    for _ in 0..63 {
        begin_wait(&rig, "oA", 0).await;
    }
    rig.breathe().await;
    assert!(!wait.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_given_up_leaves_nothing_behind() {
    let rig = Rig::start().await;
    for n in 0..20 {
        let wait = begin_wait(&rig, &format!("o{n}"), 0).await;
        wait.abort();
        assert!(wait.await.is_err(), "it has not ended by itself");
    }
    assert_eq!(rig.handles().0.changes.users_waited_for(), 0);
}

#[tokio::test(start_paused = true)]
async fn waits_are_answered_at_the_stop_and_not_begun_after_it() {
    let rig = Rig::start().await;
    let waits = [begin_wait(&rig, "oA", 0).await, begin_wait(&rig, "oB", 0).await];
    rig.system().release_waits();
    for wait in waits {
        assert_eq!(answer(wait).await.version, 0);
    }
    assert_eq!(answer(begin_wait(&rig, "oA", 0).await).await.version, 0);
    assert!(rig.handles().is_stopping());
}

// ---- Stop -----------------------------------------------------------------------------------------------------

/// Stops within three seconds of the paused clock, or fails.
async fn stops(system: System) {
    let stop = tokio::spawn(async move {
        system.drain(Duration::from_secs(3)).await;
        system.stop().await;
    });
    for _ in 0..30 {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    eventually("the grace is over and the system has stopped", async || stop.is_finished()).await;
    stop.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_long_pull_and_a_long_answer_ends_within_the_grace() {
    let mut rig = Rig::start().await;
    rig.wecom.hold_sends(true);
    rig.says("wmA", "999999", Timestamp(BEGIN));
    rig.nudge().await;
    eventually("an answer is on its way", async || rig.wecom.sends().len() == 1).await;
    rig.wecom.hold_pulls(true);
    let code = rig.new_code("oA").await;
    rig.says("wmB", code.code.as_str(), Timestamp(BEGIN));
    rig.nudge().await;
    eventually("a pull is open", async || rig.wecom.pulls_open() == 1).await;
    stops(rig.take_system()).await;
    assert_eq!(rig.wecom.pulls_open(), 1, "it was cut off");
    rig.wecom.hold_sends(false);
    rig.wecom.hold_pulls(false);
    rig.up().await.unwrap();
    rig.settled().await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmB"));
    assert_eq!(rig.heard("wmA").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_page_under_way() {
    let mut rig = Rig::start().await;
    let code = rig.new_code("oA").await;
    rig.wecom.hold_pulls(true);
    rig.says("wmA", code.code.as_str(), Timestamp(BEGIN));
    rig.nudge().await;
    eventually("a pull is open", async || rig.wecom.pulls_open() == 1).await;
    let wecom = std::sync::Arc::clone(&rig.wecom);
    let system = rig.take_system();
    let stop = tokio::spawn(async move {
        system.drain(Duration::from_secs(3)).await;
        system.stop().await;
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!stop.is_finished());
    wecom.hold_pulls(false);
    eventually("it has stopped", async || stop.is_finished()).await;
    let pulls = rig.wecom.pulls().len();
    rig.wecom.hold_pulls(true);
    rig.up().await.unwrap();
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"), "the page was decided before the stop");
    eventually("it goes on", async || rig.wecom.pulls().len() > pulls).await;
    assert_eq!(rig.wecom.pulls()[pulls].cursor, rig.wecom.end(ACCOUNT));
    rig.wecom.hold_pulls(false);
}

#[tokio::test(start_paused = true)]
async fn what_was_written_before_a_stop_is_there_after_it() {
    let mut rig = Rig::start().await;
    for round in 0..5 {
        let handles = rig.handles();
        let asks: Vec<_> = (0..50)
            .map(|n| {
                let handles = handles.clone();
                tokio::spawn(
                    async move { handles.issue(OpenId::new(format!("o{round}-{n}")), None, false).await },
                )
            })
            .collect();
        drop(handles);
        tokio::task::yield_now().await;
        rig.down().await;
        let mut given = Vec::new();
        for (n, ask) in asks.into_iter().enumerate() {
            // Who comes too late is told so.
            if let Ok(outcome) = ask.await.unwrap() {
                given.push((n, outcome));
            }
        }
        rig.up().await.unwrap();
        for (n, outcome) in given {
            let status = rig.status(&format!("o{round}-{n}")).await;
            let crate::messages::IssueOutcome::Issued(code) = outcome else { continue };
            assert_eq!(status, BindingStatus::Pending(code));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_while_stopping() {
    let mut rig = Rig::start().await;
    let handles = rig.handles();
    let delivery = rig.callback(Some(ACCOUNT), None);
    rig.system().release_waits();
    assert_eq!(handles.deliver(delivery).await, Err(Unavailable::Busy));
    rig.down().await;
    assert_eq!(handles.issue(OpenId::new("oA"), None, false).await, Err(Unavailable::Busy));
    assert_eq!(handles.unbind(OpenId::new("oA")).await, Err(Unavailable::Busy));
    assert_eq!(
        handles.health().await.silent_actors,
        ["callback", "notifier", "webhooks", "registry", "kf_sync"]
    );
}

// ---- Death ----------------------------------------------------------------------------------------------------

async fn is_reported(rig: &Rig) {
    let failed = rig.system().failed();
    eventually("the failure is reported", async || failed.borrow().is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn the_death_of_any_actor_is_reported() {
    for actor in 0..5 {
        let rig = Rig::start().await;
        assert_eq!(*rig.system().failed().borrow(), None);
        let system = rig.system();
        match actor {
            0 => system.registry().kill(),
            1 => system.kf_sync().kill(),
            2 => system.callback().kill(),
            3 => system.webhooks.kill(),
            _ => system.notifier().kill(),
        }
        is_reported(&rig).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_store_is_reported() {
    let rig = Rig::start().await;
    rig.system().registry().cast(RegistryMessage::WriterFailed("test".to_owned())).unwrap();
    is_reported(&rig).await;
    assert!(rig.system().failed().borrow().as_ref().unwrap().contains("test"));
}

#[tokio::test(start_paused = true)]
async fn a_good_stop_reports_no_failure() {
    let mut rig = Rig::start().await;
    let failed = rig.system().failed();
    rig.down().await;
    assert_eq!(*failed.borrow(), None);
}

//! Answering: in order, tried again, given up by rule, once.

use std::time::Duration;

use crate::{
    ids::{ExternalUserId, OpenKfId, Timestamp},
    messages::OutboxTask,
    ports::{CallError, Receiver, ServiceState},
    testing::rig::{ACCOUNT, BEGIN, Rig, eventually},
};

mod moves;
mod ways;

fn unreachable() -> CallError {
    CallError::Unreachable("test".to_owned())
}

fn refused(errcode: i64) -> CallError {
    CallError::Refused { errcode, errmsg: "test".to_owned() }
}

/// Answers so far, by what became of them.
fn replies(rig: &Rig, result: &str) -> f64 {
    rig.metric(&format!("kfbind_replies_total{{result=\"{result}\"}}"))
}

fn is(value: f64, expected: u32) -> bool {
    (value - f64::from(expected)).abs() < 0.1
}

/// Customers write what is answered, and WeCom nudges.
async fn ask(rig: &mut Rig, customers: &[&str]) {
    let now = rig.now();
    for customer in customers {
        rig.says(customer, "999999", now);
    }
    rig.nudge().await;
    rig.decided().await;
    rig.breathe().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_answer_is_sent_again_with_the_same_id() {
    let mut rig = Rig::start().await;
    rig.wecom.script_sends((0..4).map(|_| Err(unreachable())));
    ask(&mut rig, &["wmA"]).await;
    rig.pass(60).await;
    rig.settled().await;
    let sends = rig.wecom.sends();
    assert_eq!(sends.len(), 5);
    assert!(sends.iter().all(|send| *send == sends[0]), "{sends:?}");
    assert_eq!(sends[0].reply_id.as_str().len(), 32);
    assert_eq!(rig.heard("wmA"), ["wrong 999 999"]);
    assert!(is(replies(&rig, "sent"), 1));
}

#[tokio::test(start_paused = true)]
async fn answers_to_one_customer_stay_in_order_while_others_are_answered() {
    let mut rig = Rig::start().await;
    let now = rig.now();
    rig.wecom.script_sends([Err(unreachable())]);
    for text in ["111111", "222222", "333333"] {
        rig.says("wmA", text, now);
    }
    rig.nudge().await;
    eventually("the first try fails", async || rig.wecom.sends().len() == 1).await;
    rig.says("wmB", "444444", now);
    rig.nudge().await;
    eventually("the other is answered", async || !rig.heard("wmB").is_empty()).await;
    assert!(rig.heard("wmA").is_empty());
    rig.pass(10).await;
    rig.settled().await;
    assert_eq!(rig.heard("wmA"), ["wrong 111 111", "wrong 222 222", "wrong 333 333"]);
}

#[tokio::test(start_paused = true)]
async fn at_most_four_answers_are_on_their_way_and_one_to_each_customer() {
    let mut rig = Rig::start().await;
    rig.wecom.hold_sends(true);
    let now = rig.now();
    for n in 0..10 {
        let customer = format!("wm{n}");
        rig.says(&customer, "111111", now);
        rig.says(&customer, "222222", now);
    }
    rig.nudge().await;
    rig.decided().await;
    rig.pass(5).await;
    let on_the_way = rig.wecom.sends();
    assert_eq!(on_the_way.len(), 4);
    let customers: std::collections::BTreeSet<_> = on_the_way.iter().map(|send| &send.customer).collect();
    assert_eq!(customers.len(), 4);
    rig.wecom.hold_sends(false);
    rig.settled().await;
    assert_eq!(rig.wecom.said().len(), 20);
    for n in 0..10 {
        assert_eq!(rig.heard(&format!("wm{n}")), ["wrong 111 111", "wrong 222 222"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_gets_through_is_given_up_after_two_days() {
    let mut rig = Rig::start().await;
    rig.wecom.script_sends((0..100_000).map(|_| Err(unreachable())));
    ask(&mut rig, &["wmA"]).await;
    rig.clock.set(BEGIN + 48 * 3600 - 1000);
    rig.pass(400).await;
    assert_eq!(rig.outbox().await.len(), 1);
    assert!(is(rig.metric("kfbind_outbox_depth"), 1));
    rig.pass(1000).await;
    rig.settled().await;
    assert!(rig.heard("wmA").is_empty());
    assert!(is(replies(&rig, "gave_up"), 1));
    assert!(is(rig.metric("kfbind_outbox_depth"), 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_refused_for_good_is_given_up_and_the_binding_stands() {
    for errcode in [95_001, 95_002, 40_003] {
        let mut rig = Rig::start().await;
        rig.wecom.script_sends([Err(refused(errcode))]);
        rig.bind("oA", "wmA").await;
        assert_eq!(rig.wecom.sends().len(), 1);
        assert!(rig.heard("wmA").is_empty());
        assert!(is(replies(&rig, "refused"), 1));
        rig.chat("wmB", "999999").await;
        assert_eq!(rig.heard("wmB").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_state_of_the_session_decides_what_becomes_of_an_answer() {
    for (state, moves, heard, result) in [
        (ServiceState::New, true, true, "sent"),
        (ServiceState::Assistant, false, false, "refused"),
        (ServiceState::Queue, true, true, "sent"),
        (ServiceState::Person, false, false, "with_person"),
        (ServiceState::Ended, false, false, "session_ended"),
        (ServiceState::Unknown(9), false, false, "refused"),
    ] {
        let mut rig = Rig::start().await;
        rig.wecom.set_service_state("wmA", state);
        rig.wecom.script_sends([Err(refused(95_018))]);
        rig.chat("wmA", "999999").await;
        assert_eq!(rig.wecom.sessions_asked(), 1, "{state:?}");
        let moved: Vec<_> = moves
            .then(|| (OpenKfId::new(ACCOUNT), ExternalUserId::new("wmA"), Receiver::Assistant))
            .into_iter()
            .collect();
        assert_eq!(rig.wecom.transfers(), moved, "{state:?}");
        assert_eq!(rig.heard("wmA").len(), usize::from(heard), "{state:?}");
        assert!(is(replies(&rig, result), 1), "{state:?}");
        let sends = rig.wecom.sends();
        assert_eq!(sends.len(), if heard { 2 } else { 1 }, "{state:?}");
        assert!(sends.iter().all(|send| send.reply_id == sends[0].reply_id), "one repeat with the same id");
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_that_wecom_refuses_gives_the_answer_up() {
    let mut rig = Rig::start().await;
    rig.wecom.set_service_state("wmA", ServiceState::Queue);
    rig.wecom.script_sends([Err(refused(95_018))]);
    rig.wecom.script_transfers([Err(refused(95_016))]);
    rig.chat("wmA", "999999").await;
    assert_eq!(rig.wecom.sends().len(), 1);
    assert!(is(replies(&rig, "refused"), 1));
}

#[tokio::test(start_paused = true)]
async fn after_one_move_a_second_refusal_is_final() {
    let mut rig = Rig::start().await;
    rig.wecom.script_sends([Err(refused(95_018)), Err(refused(95_018))]);
    rig.chat("wmA", "999999").await;
    assert_eq!((rig.wecom.sends().len(), rig.wecom.transfers().len()), (2, 1));
    assert!(is(replies(&rig, "refused"), 1));
}

#[tokio::test(start_paused = true)]
async fn the_outbox_survives_a_restart_and_answers_once() {
    let mut rig = Rig::start().await;
    rig.wecom.script_sends([Err(unreachable())]);
    ask(&mut rig, &["wmA"]).await;
    assert_eq!(rig.outbox().await.len(), 1);
    rig.restart().await;
    assert!(is(rig.metric("kfbind_outbox_depth"), 1) || !rig.heard("wmA").is_empty());
    rig.settled().await;
    assert_eq!(rig.heard("wmA").len(), 1);
    rig.restart().await;
    rig.pass(5).await;
    assert_eq!(rig.wecom.sends().len(), 2, "the failed one and the one that went through");
}

/// The stop cuts off what is on its way; WeCom has heard it all the same.
async fn crash(rig: &mut Rig) {
    let stopping = rig.take_system();
    let stop = tokio::spawn(async move {
        stopping.drain(Duration::from_secs(1)).await;
        stopping.stop().await;
    });
    rig.clock.advance(1);
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    stop.await.unwrap();
    rig.wecom.hold_sends(false);
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_outcome_a_crash_hid_is_repeated_with_the_same_id() {
    let mut rig = Rig::start().await;
    rig.wecom.hold_sends(true);
    ask(&mut rig, &["wmA"]).await;
    eventually("it is on its way", async || rig.wecom.sends().len() == 1).await;
    crash(&mut rig).await;
    eventually("WeCom takes it", async || rig.heard("wmA").len() == 1).await;
    rig.up().await.unwrap();
    rig.settled().await;
    let sends = rig.wecom.sends();
    assert_eq!(sends.len(), 2);
    assert_eq!(sends[0], sends[1]);
    assert_eq!(rig.heard("wmA").len(), 1, "it is not heard twice");
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_wecom_pauses_all_answers() {
    let mut rig = Rig::start().await;
    let wait = Duration::from_mins(1);
    rig.wecom.script_sends([Err(CallError::Throttled { errcode: 45_009, wait })]);
    ask(&mut rig, &["wmA"]).await;
    eventually("it was tried", async || rig.wecom.sends().len() == 1).await;
    rig.breathe().await;
    ask(&mut rig, &["wmB"]).await;
    rig.pass(59).await;
    assert_eq!(rig.wecom.sends().len(), 1);
    rig.pass(2).await;
    rig.settled().await;
    assert_eq!((rig.heard("wmA").len(), rig.heard("wmB").len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lookup_fills_the_nickname_and_grows_the_version() {
    let mut rig = Rig::start().await;
    rig.wecom.script_profiles((0..3).map(|_| unreachable()));
    rig.wecom.set_profile("wmA", "小明", Some("u1"));
    let code = rig.new_code("oA").await;
    let now = rig.now();
    rig.says("wmA", code.code.as_str(), now);
    rig.nudge().await;
    eventually("it is bound", async || rig.binding("oA").await.is_some()).await;
    let version = rig.version("oA").await;
    assert_eq!(rig.binding("oA").await.unwrap().nickname, None);
    rig.pass(20).await;
    rig.settled().await;
    let binding = rig.binding("oA").await.unwrap();
    assert_eq!(binding.nickname.as_deref(), Some("小明"));
    assert_eq!(binding.unionid.unwrap().as_str(), "u1");
    assert!(rig.version("oA").await > version);
}

#[tokio::test(start_paused = true)]
async fn who_wecom_does_not_tell_of_is_addressed_politely_and_not_asked_for_again() {
    let mut rig = Rig::start().await;
    rig.bind("oA", "wmA").await;
    assert_eq!(rig.heard("wmA"), ["bound 您 您的小程序账号 解绑"]);
    let lookups = rig.wecom.profile_lookups().len();
    rig.pass(600).await;
    assert_eq!(rig.wecom.profile_lookups().len(), lookups);
}

#[tokio::test(start_paused = true)]
async fn names_are_asked_for_a_hundred_at_once() {
    let mut rig = Rig::start_with(|setup| setup.policy.texts.bound = "bound".to_owned(), &[ACCOUNT]).await;
    rig.down().await;
    let mut codes = Vec::new();
    rig.up().await.unwrap();
    for n in 0..150 {
        codes.push(rig.new_code(&format!("o{n}")).await);
        rig.wecom.set_profile(&format!("wm{n}"), &format!("name {n}"), None);
    }
    for (n, code) in codes.iter().enumerate() {
        rig.says(&format!("wm{n}"), code.code.as_str(), Timestamp(BEGIN));
    }
    rig.nudge().await;
    rig.settled().await;
    let lookups = rig.wecom.profile_lookups();
    assert!(lookups.iter().all(|customers| customers.len() <= 100));
    assert!(lookups.len() < 20, "{}", lookups.len());
    for n in 0..150 {
        let nickname = rig.binding(&format!("o{n}")).await.unwrap().nickname;
        assert_eq!(nickname, Some(format!("name {n}")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_never_works_is_given_up_after_two_days_and_a_refused_one_at_once() {
    let mut rig = Rig::start_with(|setup| setup.policy.texts.bound = "bound".to_owned(), &[ACCOUNT]).await;
    rig.wecom.script_profiles((0..100_000).map(|_| unreachable()));
    let code = rig.new_code("oA").await;
    rig.says("wmA", code.code.as_str(), Timestamp(BEGIN));
    rig.nudge().await;
    rig.decided().await;
    rig.clock.set(BEGIN + 48 * 3600 - 1000);
    rig.pass(400).await;
    let outbox = rig.outbox().await;
    assert!(matches!(&outbox[..], [only] if matches!(only.task, OutboxTask::Profile(_))), "{outbox:?}");
    rig.pass(1000).await;
    rig.settled().await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));

    let mut rig = Rig::start_with(|setup| setup.policy.texts.bound = "bound".to_owned(), &[ACCOUNT]).await;
    rig.wecom.script_profiles([refused(40_003)]);
    rig.bind("oA", "wmA").await;
    assert_eq!(rig.wecom.profile_lookups().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outbox_larger_than_one_load_is_worked_off_in_order() {
    let mut rig = Rig::start_with(
        |setup| setup.policy.wrong_codes_per_customer = crate::policy::Rate { count: 1000, window_s: 600 },
        &[ACCOUNT],
    )
    .await;
    rig.wecom.hold_sends(true);
    for n in 0..600 {
        rig.says(&format!("wm{n}"), "999999", Timestamp(BEGIN));
    }
    rig.nudge().await;
    rig.decided().await;
    assert_eq!(rig.outbox().await.len(), 600);
    rig.wecom.hold_sends(false);
    rig.settled().await;
    assert_eq!(rig.wecom.said().len(), 600);
}

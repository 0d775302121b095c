//! Hand-over: from which states, to whom, after refusals and crashes, and what is left unsaid for its sake.

use super::{
    crash, is, refused, replies, unreachable,
    ways::{look, tap, with},
};
use crate::{
    policy::Handover,
    ports::{KfContent, Receiver, ServiceState},
    testing::rig::{ACCOUNT, Rig, eventually},
};

async fn handing(handover: Handover) -> Rig {
    with(|setup| setup.policy.handover = handover).await
}

fn receivers(rig: &Rig) -> Vec<Receiver> {
    rig.wecom.transfers().into_iter().map(|(_, _, to)| to).collect()
}

fn servicer(userid: &str) -> Receiver {
    Receiver::Servicer(crate::ids::UserId::new(userid))
}

#[tokio::test(start_paused = true)]
async fn customers_are_moved_from_the_first_two_states_only() {
    for (state, moves) in [
        (ServiceState::New, true),
        (ServiceState::Assistant, true),
        (ServiceState::Queue, false),
        (ServiceState::Person, false),
        (ServiceState::Ended, false),
        (ServiceState::Unknown(9), false),
    ] {
        let mut rig = handing(Handover::Pool).await;
        rig.wecom.set_service_state("wmA", state);
        rig.chat("wmA", "你好").await;
        assert_eq!(rig.wecom.transfers().len(), usize::from(moves), "{state:?}");
        rig.chat("wmA", "在吗").await;
        assert_eq!(rig.wecom.transfers().len(), usize::from(moves), "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_in_which_nobody_could_be_brought_is_tried_again_at_the_next_message() {
    let mut rig = handing(Handover::Pool).await;
    rig.wecom.set_service_state("wmA", ServiceState::Ended);
    rig.chat("wmA", "你好").await;
    assert!(rig.wecom.transfers().is_empty());
    rig.wecom.set_service_state("wmA", ServiceState::New);
    rig.pass(60).await;
    assert!(rig.wecom.transfers().is_empty(), "not by itself");
    rig.chat("wmA", "在吗").await;
    assert_eq!(receivers(&rig), [Receiver::Pool]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_move_is_tried_again_at_the_next_message_only() {
    for errcode in [95_013, 95_014, 95_016, 95_019] {
        let mut rig = handing(Handover::Pool).await;
        rig.wecom.script_transfers([Err(refused(errcode))]);
        rig.chat("wmA", "你好").await;
        rig.pass(600).await;
        assert_eq!(rig.wecom.transfers().len(), 1, "{errcode}");
        rig.chat("wmA", "在吗").await;
        assert_eq!(rig.wecom.transfers().len(), 2);
        rig.chat("wmA", "还在吗").await;
        assert_eq!(rig.wecom.transfers().len(), 2, "it is with a person now");
    }
}

#[tokio::test(start_paused = true)]
async fn servicers_take_turns_and_whoever_can_not_is_passed_over() {
    let mut rig = handing(Handover::Servicer(Vec::new())).await;
    rig.wecom.set_receiving(&["s1", "s2"]);
    for customer in ["wmA", "wmB", "wmC"] {
        rig.chat(customer, "你好").await;
    }
    assert_eq!(receivers(&rig), [servicer("s1"), servicer("s2"), servicer("s1")]);
    rig.wecom.script_transfers([Err(refused(95_014))]);
    rig.chat("wmD", "你好").await;
    assert_eq!(receivers(&rig)[3..], [servicer("s2"), servicer("s1")]);
    rig.wecom.script_transfers([Err(refused(95_019)), Err(refused(95_014))]);
    rig.chat("wmE", "你好").await;
    assert_eq!(receivers(&rig).last(), Some(&Receiver::Pool));
}

#[tokio::test(start_paused = true)]
async fn where_nobody_who_may_is_receiving_the_pool_takes_them() {
    let wanted = vec![crate::ids::UserId::new("s9")];
    let mut rig = handing(Handover::Servicer(wanted)).await;
    rig.wecom.set_receiving(&["s1", "s2"]);
    rig.chat("wmA", "你好").await;
    assert_eq!(receivers(&rig), [Receiver::Pool]);
    rig.pass(31).await;
    rig.wecom.set_receiving(&["s1", "s9"]);
    rig.chat("wmB", "你好").await;
    assert_eq!(receivers(&rig)[1..], [servicer("s9")]);
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_hid_of_a_move_moves_nobody_twice() {
    let mut rig = handing(Handover::Pool).await;
    rig.wecom.hold_transfers(true);
    rig.says("wmA", "你好", rig.now());
    rig.nudge().await;
    rig.decided().await;
    eventually("the state was asked for", async || rig.wecom.sessions_asked() == 1).await;
    rig.breathe().await;
    crash(&mut rig).await;
    rig.wecom.hold_transfers(false);
    eventually("WeCom has moved them", async || rig.wecom.transfers().len() == 1).await;
    rig.up().await.unwrap();
    rig.settled().await;
    rig.chat("wmA", "在吗").await;
    assert_eq!(rig.wecom.transfers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn with_hand_over_nobody_is_taken_from_a_person_or_out_of_the_queue_to_be_answered() {
    for state in [ServiceState::Queue, ServiceState::Person] {
        let mut rig = handing(Handover::Pool).await;
        rig.wecom.set_service_state("wmA", state);
        rig.wecom.script_sends([Err(refused(95_018))]);
        rig.bind("oA", "wmA").await;
        assert!(rig.wecom.transfers().is_empty(), "{state:?}");
        assert!(rig.heard("wmA").is_empty());
        assert!(is(replies(&rig, "with_person"), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn with_hand_over_a_question_waits_until_the_person_has_gone() {
    let mut rig = with(|setup| {
        setup.policy.handover = Handover::Pool;
        setup.policy.confirm_code = true;
    })
    .await;
    let code = rig.new_code("oA").await;
    rig.wecom.set_service_state("wmA", ServiceState::Person);
    rig.wecom.script_sends([Err(refused(95_018))]);
    rig.chat("wmA", code.code.as_str()).await;
    assert!(rig.wecom.question("wmA").is_none());
    rig.wecom.happens(ACCOUNT, Some("wmA"), KfContent::SessionEnded, rig.now());
    look(&mut rig).await;
    assert!(rig.wecom.question("wmA").is_none());
    rig.wecom.set_service_state("wmA", ServiceState::New);
    rig.chat("wmA", "你好").await;
    assert!(rig.wecom.question("wmA").is_some());
    assert!(rig.wecom.transfers().is_empty(), "what was answered moves nobody");
    tap(&mut rig, "wmA").await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
}

#[tokio::test(start_paused = true)]
async fn an_invitation_is_said_before_the_customer_is_moved() {
    let mut rig = with(|setup| {
        setup.policy.handover = Handover::Pool;
        setup.policy.ways.card = true;
    })
    .await;
    rig.wecom.hold_sends(true);
    rig.says("wmA", "你好", rig.now());
    rig.nudge().await;
    eventually("it is on its way", async || rig.wecom.sends().len() == 1).await;
    rig.pass(3).await;
    assert!(rig.wecom.transfers().is_empty());
    rig.wecom.hold_sends(false);
    rig.settled().await;
    assert!(rig.wecom.card("wmA").is_some());
    assert_eq!(receivers(&rig), [Receiver::Pool]);
}

#[tokio::test(start_paused = true)]
async fn answers_to_wrong_codes_name_the_word_only_where_a_person_can_be_had() {
    let mut rig = handing(Handover::Pool).await;
    rig.chat("wmA", "999999").await;
    assert!(rig.heard("wmA")[0].contains("人工"), "{:?}", rig.heard("wmA"));
    let mut rig = handing(Handover::None).await;
    rig.chat("wmA", "999999").await;
    assert_eq!(rig.heard("wmA"), ["wrong 999 999"]);
}

#[tokio::test(start_paused = true)]
async fn a_move_that_can_not_be_made_for_now_holds_up_no_answer() {
    let mut rig = handing(Handover::Pool).await;
    rig.wecom.script_transfers((0..8).map(|_| Err(unreachable())));
    rig.says("wmA", "你好", rig.now());
    rig.nudge().await;
    rig.decided().await;
    rig.pass(20).await;
    assert!((2..8).contains(&rig.wecom.transfers().len()), "it is tried again");
    let code = rig.new_code("oA").await;
    rig.says("wmA", code.code.as_str(), rig.now());
    rig.nudge().await;
    rig.decided().await;
    rig.breathe().await;
    assert_eq!(rig.heard("wmA").len(), 1);
    rig.pass(600).await;
    assert_eq!(rig.wecom.transfers().len(), 9);
    assert!(rig.outbox().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_a_person_again_and_again_holds_up_nobody_elses_answer() {
    let mut rig = handing(Handover::Pool).await;
    rig.wecom.hold_transfers(true);
    for _ in 0..4_200 {
        rig.says("wmX", "人工", rig.now());
    }
    rig.nudge().await;
    rig.decided().await;
    let code = rig.new_code("oA").await;
    rig.says("wmA", code.code.as_str(), rig.now());
    rig.nudge().await;
    rig.decided().await;
    for _ in 0..100 {
        rig.breathe().await;
    }
    assert_eq!(rig.heard("wmA").len(), 1);
    assert_eq!(rig.wecom.sessions_asked(), 1);
    assert_eq!(rig.outbox().await.len(), 2, "one move is under way, and one is wanted");
    rig.wecom.hold_transfers(false);
    rig.settled().await;
    assert_eq!((rig.wecom.transfers().len(), rig.wecom.sessions_asked()), (1, 2));
}

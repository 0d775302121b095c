//! Questions and subscribe messages: what becomes of them at WeCom and WeChat.

use std::time::Duration;

use super::{crash, is, refused, replies, unreachable};
use crate::{
    ids::{OpenId, Ticket},
    policy::{NoticeTemplate, Ways},
    ports::{CallError, MenuItem, NoticeFate, ServiceState, Words},
    testing::rig::{ACCOUNT, Rig, Setup, eventually},
};

async fn links() -> Rig {
    Rig::start_with(|setup| setup.policy.ways.link = true, &[ACCOUNT]).await
}

pub(super) async fn with(change: impl FnOnce(&mut Setup)) -> Rig {
    Rig::start_with(change, &[ACCOUNT]).await
}

async fn link_of(rig: &Rig, openid: &str) -> Ticket {
    let url = rig.new_code(openid).await.link.url;
    Ticket::new(url.split_once("&scene_param=").expect("a ticket").1)
}

pub(super) async fn look(rig: &mut Rig) {
    rig.nudge().await;
    rig.settled().await;
}

/// A customer enters by a link that comes with a right to speak, and it is looked at `late` seconds after.
async fn enter(rig: &mut Rig, customer: &str, late: u64) {
    let ticket = link_of(rig, "oA").await;
    let sent = rig.now();
    rig.wecom.enters(ACCOUNT, customer, Some(&ticket), Some("W1"), sent);
    rig.pass(late).await;
    look(rig).await;
}

pub(super) async fn tap(rig: &mut Rig, customer: &str) {
    let (yes, _) = rig.wecom.question(customer).expect("a question");
    rig.wecom.taps(ACCOUNT, customer, &yes, rig.now());
    look(rig).await;
}

// ---- Questions --------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_question_has_two_items_yes_first_and_their_ids_tell_nothing() {
    let mut rig = links().await;
    enter(&mut rig, "wmA", 0).await;
    let said = rig.wecom.said();
    let [only] = said.as_slice() else { panic!("{said:?}") };
    let Words::Menu { head, items } = &only.words else { panic!("{said:?}") };
    assert_eq!(head, "confirm 您的小程序账号");
    let [MenuItem::Click { id: yes, label: says_yes }, MenuItem::Click { id: no, label: says_no }] =
        items.as_slice()
    else {
        panic!("{items:?}")
    };
    assert_eq!((says_yes.as_str(), says_no.as_str()), ("yes", "no"));
    assert_ne!(yes, no);
    for id in [yes, no] {
        assert!(id.as_str().len() >= 32 && !id.as_str().contains("oA") && !id.as_str().contains("wmA"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_right_to_speak_is_used_while_it_lives_and_a_message_is_sent_after() {
    for (late, welcomes) in [(0, 1), (17, 1), (18, 0), (300, 0)] {
        let mut rig = links().await;
        enter(&mut rig, "wmA", late).await;
        assert_eq!(rig.wecom.welcomes().len(), welcomes, "{late} s after the entry");
        assert_eq!(rig.wecom.sends().len(), 1 - welcomes);
        assert!(rig.wecom.question("wmA").is_some());
        tap(&mut rig, "wmA").await;
        assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_to_speak_that_wecom_does_not_take_leads_to_a_message() {
    let mut rig = links().await;
    rig.wecom.script_welcomes([Err(refused(95_007))]);
    enter(&mut rig, "wmA", 0).await;
    assert_eq!((rig.wecom.welcomes().len(), rig.wecom.sends().len()), (1, 1));
    assert!(rig.wecom.question("wmA").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_refused_question_is_asked_again_at_the_next_message_and_only_there() {
    for errcode in [95_001, 95_018] {
        let mut rig = links().await;
        rig.wecom.set_service_state("wmA", ServiceState::Person);
        rig.wecom.script_sends([Err(refused(errcode))]);
        enter(&mut rig, "wmA", 30).await;
        assert!(rig.wecom.question("wmA").is_none());
        rig.pass(60).await;
        assert!(rig.wecom.question("wmA").is_none(), "not by itself");
        rig.chat("wmB", "你好").await;
        assert_eq!(rig.wecom.said().len(), 0, "nor at somebody else's message");
        rig.chat("wmA", "你好").await;
        assert!(rig.wecom.question("wmA").is_some());
        let sends = rig.wecom.sends();
        assert_ne!(sends[0].reply_id, sends[1].reply_id, "WeCom takes an id once");
        rig.chat("wmA", "在吗").await;
        assert_eq!(rig.heard("wmA").len(), 1, "it was heard");
        tap(&mut rig, "wmA").await;
        assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_came_while_a_question_was_on_its_way_is_taken_for_the_next_one() {
    let mut rig = links().await;
    let ticket = link_of(&rig, "oA").await;
    rig.wecom.script_welcomes([Err(unreachable())]);
    rig.wecom.hold_sends(true);
    rig.wecom.enters(ACCOUNT, "wmA", Some(&ticket), Some("W1"), rig.now());
    rig.nudge().await;
    eventually("it is on its way", async || rig.wecom.welcomes().len() == 1).await;
    rig.says("wmA", "你好", rig.now());
    rig.nudge().await;
    rig.decided().await;
    rig.wecom.hold_sends(false);
    rig.settled().await;
    eventually("it is asked again", async || rig.wecom.question("wmA").is_some()).await;
    rig.settled().await;
    assert_eq!(rig.wecom.sends().len(), 1);
    tap(&mut rig, "wmA").await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_answered_itself_is_not_taken_for_the_next_one() {
    let mut rig = links().await;
    let ticket = link_of(&rig, "oA").await;
    rig.wecom.script_welcomes([Err(unreachable())]);
    rig.wecom.hold_sends(true);
    rig.wecom.enters(ACCOUNT, "wmA", Some(&ticket), Some("W1"), rig.now());
    rig.nudge().await;
    eventually("it is on its way", async || rig.wecom.welcomes().len() == 1).await;
    rig.chat_unanswered("wmA", "999999").await;
    rig.wecom.hold_sends(false);
    rig.settled().await;
    assert_eq!(rig.heard("wmA"), ["wrong 999 999"], "one answer to one message");
    rig.chat("wmA", "你好").await;
    assert!(rig.wecom.question("wmA").is_some());
    assert_eq!(rig.heard("wmA").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_customer_who_was_answered_too_often_meanwhile_is_not_asked_again() {
    let mut rig = with(|setup| {
        setup.policy.ways.link = true;
        setup.policy.wrong_codes_per_customer.count = 50;
    })
    .await;
    let ticket = link_of(&rig, "oA").await;
    rig.wecom.script_welcomes([Err(unreachable())]);
    rig.wecom.hold_sends(true);
    rig.wecom.enters(ACCOUNT, "wmA", Some(&ticket), Some("W1"), rig.now());
    rig.nudge().await;
    eventually("it is on its way", async || rig.wecom.welcomes().len() == 1).await;
    rig.chat_unanswered("wmA", "你好").await;
    for _ in 0..10 {
        rig.chat_unanswered("wmA", "999999").await;
    }
    rig.wecom.hold_sends(false);
    rig.settled().await;
    assert!(rig.wecom.question("wmA").is_none());
    assert_eq!(rig.heard("wmA").len(), 9, "with the welcome that is in the dark they are ten");
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_hid_of_a_welcome_is_asked_at_the_next_message_and_not_before() {
    let mut rig = links().await;
    let ticket = link_of(&rig, "oA").await;
    rig.wecom.hold_sends(true);
    rig.wecom.enters(ACCOUNT, "wmA", Some(&ticket), Some("W1"), rig.now());
    rig.nudge().await;
    eventually("it is on its way", async || rig.wecom.welcomes().len() == 1).await;
    crash(&mut rig).await;
    rig.up().await.unwrap();
    rig.settled().await;
    assert_eq!((rig.wecom.welcomes().len(), rig.wecom.sends().len()), (1, 0), "we can't know");
    assert!(is(replies(&rig, "unknown"), 1));
    rig.chat("wmA", "你好").await;
    assert_eq!(rig.wecom.sends().len(), 1);
    tap(&mut rig, "wmA").await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
}

// ---- Subscribe messages -----------------------------------------------------------------------------------------

async fn noticing() -> Rig {
    with(|setup| {
        setup.policy.notice = Some(NoticeTemplate {
            template_id: "tpl".to_owned(),
            data: vec![
                ("thing1".to_owned(), "{account} {nickname}".to_owned()),
                ("t".to_owned(), "{time}".to_owned()),
            ],
        });
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_binding_is_told_once_by_a_subscribe_message() {
    let mut rig = noticing().await;
    rig.wecom.set_profile("wmA", "Ann", None);
    rig.bind("oA", "wmA").await;
    let notices = rig.wecom.notices();
    let [only] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!((only.openid.as_str(), only.template_id.as_str()), ("oA", "tpl"));
    assert_eq!(only.data[0].1, "您的小程序账号 Ann");
    assert_eq!(only.bound_at, rig.binding("oA").await.unwrap().bound_at);
    rig.restart().await;
    rig.pass(5).await;
    assert_eq!(rig.wecom.notices().len(), 1);
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    rig.bind("oA", "wmA").await;
    assert_eq!(rig.wecom.notices().len(), 2, "another binding");
}

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_a_subscribe_message_it_is_not_sent_twice_and_holds_up_nothing() {
    for outcome in [
        Ok(NoticeFate::Unwanted),
        Err(unreachable()),
        Err(refused(47_003)),
        Err(CallError::Stopped("test".to_owned())),
    ] {
        let mut rig = noticing().await;
        rig.wecom.script_notices([outcome.clone()]);
        rig.bind("oA", "wmA").await;
        rig.pass(600).await;
        rig.settled().await;
        assert_eq!(rig.wecom.notices().len(), 1, "{outcome:?}");
        assert_eq!(rig.heard("wmA").len(), 1);
    }
    let mut rig = noticing().await;
    let wait = Duration::from_mins(1);
    rig.wecom.script_notices([Err(CallError::Throttled { errcode: 45_009, wait })]);
    rig.bind_unsettled("oA", "wmA").await;
    eventually("it was tried", async || rig.wecom.notices().len() == 1).await;
    rig.pass(70).await;
    rig.settled().await;
    assert_eq!(rig.wecom.notices().len(), 2, "WeChat has not taken it");
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_hid_of_a_subscribe_message_is_not_sent_again() {
    let mut rig = noticing().await;
    rig.wecom.hold_sends(true);
    rig.bind_unsettled("oA", "wmA").await;
    eventually("it is on its way", async || rig.wecom.notices().len() == 1).await;
    crash(&mut rig).await;
    rig.up().await.unwrap();
    rig.settled().await;
    assert_eq!(rig.wecom.notices().len(), 1);
    assert_eq!(rig.heard("wmA").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn everything_off_moves_and_tells_nobody_and_asks_wecom_nothing_more() {
    let mut rig = with(|setup| setup.policy.ways = Ways::default()).await;
    rig.wecom.enters(ACCOUNT, "wmA", Some(&Ticket::new("T")), Some("W1"), rig.now());
    rig.chat("wmA", "你好").await;
    assert!(rig.wecom.said().is_empty() && rig.wecom.transfers().is_empty());
    assert!(rig.wecom.profile_lookups().is_empty() && rig.wecom.sessions_asked() == 0);
    assert!(rig.wecom.notices().is_empty());
}

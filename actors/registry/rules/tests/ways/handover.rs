//! 7.8: who is brought a person. From which states is a matter of the notifier's tests.

use super::{HOUR, T, Ways, world};
use crate::{
    ids::{ExternalUserId, OpenKfId},
    policy::Handover,
    ports::{KfContent, KfMessage, MessageKind},
    registry::rules::{
        Effect, Saying,
        world::{Heard, World},
    },
};

fn pool(ways: Ways) -> World {
    let mut world = world(ways);
    world.policy.handover = Handover::Pool;
    world
}

fn moves(heard: &Heard) -> bool {
    heard.0.effects.contains(&Effect::HandOver)
}

fn other(customer: &str, content: KfContent, sent: u64) -> KfMessage {
    KfMessage { content, ..super::super::message(customer, "", sent) }
}

#[test]
fn talk_moves_once_in_a_session_and_its_end_begins_another() {
    let mut world = pool(Ways::default());
    assert!(moves(&world.says("wmA", "你好", T)));
    assert!(!moves(&world.says("wmA", "在吗", T + 1)));
    // The end of a session of before moves nothing.
    world.happens(&other("wmA", KfContent::SessionEnded, T - 1), T + 2);
    assert!(!moves(&world.says("wmA", "在吗", T + 2)));
    let ended = world.happens(&other("wmA", KfContent::SessionEnded, T + 3), T + 3);
    assert!(!moves(&ended));
    assert!(moves(&world.says("wmA", "还在吗", T + 4)));
    assert!(!moves(&world.says("wmA", "在吗", T + 48 * HOUR + 3)));
    assert!(moves(&world.says("wmA", "在吗", T + 48 * HOUR + 4)));
}

#[test]
fn each_account_has_sessions_of_its_own() {
    let mut world = pool(Ways::default());
    assert!(moves(&world.says("wmA", "你好", T)));
    let mut message = super::super::message("wmA", "你好", T + 1);
    message.account = OpenKfId::new("wkB");
    assert!(moves(&world.happens(&message, T + 1)));
    let mut ended = other("wmA", KfContent::SessionEnded, T + 2);
    ended.account = OpenKfId::new("wkB");
    world.happens(&ended, T + 2);
    assert!(!moves(&world.says("wmA", "在吗", T + 3)));
}

#[test]
fn what_we_answer_or_act_on_moves_nobody_and_pictures_do() {
    let mut world = pool(super::all_ways());
    world.policy.handover = Handover::Servicer(Vec::new());
    world.policy.ways.card = false;
    for text in ["999999", "482913", "解绑"] {
        assert!(!moves(&world.says("wmA", text, T + 1)), "{text}");
    }
    assert!(!moves(&world.enters("wmB", None, T + 1)), "who enters has not said anything");
    assert!(moves(&world.happens(&other("wmB", KfContent::Other(MessageKind::Media), T + 2), T + 2)));
    for kind in [MessageKind::Event, MessageKind::Servicer] {
        assert!(!moves(&world.happens(&other("wmC", KfContent::Other(kind), T + 2), T + 2)));
    }
}

#[test]
fn a_customer_who_is_bound_without_a_word_still_reaches_a_person() {
    let mut world = pool(Ways { unionid: true, ..Ways::default() });
    world.is_user("oA", "u1");
    world.is_person("wmA", "u1");
    let heard = world.says("wmA", "你好", T + 1);
    assert!(heard.bound_at().is_some() && moves(&heard));
}

#[test]
fn a_number_in_a_longer_text_of_which_nothing_comes_is_talk() {
    let mut world = pool(Ways::default());
    assert!(moves(&world.says("wmA", "我的订单号是 999999，请问什么时候发货呢？", T)));
    assert!(!moves(&world.says("wmB", "999999", T)));
}

#[test]
fn an_invitation_goes_first_and_then_the_customer() {
    let mut world = pool(Ways { card: true, ..Ways::default() });
    let heard = world.says("wmA", "你好", T);
    let order: Vec<&str> = heard
        .0
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Answer(answer) if answer.saying == Saying::Invitation => Some("invitation"),
            Effect::HandOver => Some("hand-over"),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["invitation", "hand-over"]);
}

#[test]
fn what_needs_a_question_is_asked_and_moves_nobody() {
    let mut world = pool(Ways { link: true, ..Ways::default() });
    world.entered_with.insert(ExternalUserId::new("wmA"), world.link("482913"));
    let heard = world.says("wmA", "你好", T + 1);
    assert_eq!((heard.answer(), moves(&heard)), (Some(Saying::Question), false));
    assert!(moves(&world.says("wmA", "在吗", T + 2)));
}

#[test]
fn the_word_brings_a_person_at_once_and_again() {
    let mut world = pool(Ways { card: true, ..Ways::default() });
    for sent in [T, T + 1, T + 2] {
        assert!(moves(&world.says("wmA", " 人工 ", sent)));
    }
    assert!(!moves(&world.says("wmA", "人工服务", T + 3)));
    let mut world = pool(Ways { link: true, ..Ways::default() });
    world.entered_with.insert(ExternalUserId::new("wmA"), world.link("482913"));
    assert!(moves(&world.says("wmA", "人工", T + 1)), "also where something is asked");
    let mut world = pool(Ways::default());
    world.policy.person_word = None;
    assert!(moves(&world.says("wmA", "人工", T)) && !moves(&world.says("wmA", "人工", T + 1)));
}

#[test]
fn without_hand_over_the_word_does_nothing_and_nobody_is_moved() {
    let mut world = world(Ways { link: true, ..Ways::default() });
    assert!(world.says("wmA", "人工", T).is_talk());
    assert!(world.says("wmA", "你好", T).is_talk());
}

#[test]
fn what_is_older_than_two_days_moves_nobody() {
    let mut world = pool(Ways::default());
    assert!(!moves(&world.reads("wmA", "你好", T, T + 48 * HOUR + 1)));
    assert!(moves(&world.reads("wmA", "你好", T, T + 48 * HOUR)));
}

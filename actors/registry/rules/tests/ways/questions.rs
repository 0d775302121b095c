//! 7.4: questions, and what a tap on them means.

use super::{HOUR, T, Ways, world};
use crate::{
    ids::{BindCode, ExternalUserId, MenuId, OpenId, Timestamp},
    ports::KfContent,
    registry::{
        records::{Delivery, Method, QuestionId, Subject},
        rules::{CustomerRecord, Effect, Saying, world::World},
    },
};

fn confirming() -> World {
    let mut world = world(Ways::default());
    world.policy.confirm_code = true;
    world
}

fn asked() -> World {
    let mut world = confirming();
    let heard = world.says("wmA", "482913", T + 1);
    assert_eq!(
        (heard.answer(), heard.bound_at(), heard.named().0),
        (Some(Saying::Question), None, Some("oA"))
    );
    world
}

fn last(world: &World) -> QuestionId {
    *world.questions.keys().next_back().unwrap()
}

#[test]
fn a_typed_code_is_asked_about_and_a_yes_binds_by_code_and_dates_from_the_tap() {
    let mut world = asked();
    let heard = world.taps("wmA", true, T + 9);
    assert_eq!((heard.answer(), heard.bound_at()), (Some(Saying::Bound), Some(T + 9)));
    assert_eq!(world.bindings[&OpenId::new("oA")].method, Method::Code);
    assert!(world.codes[&BindCode::new("482913")].spent);
}

#[test]
fn the_label_typed_by_hand_is_talk() {
    let mut world = asked();
    for label in ["yes", "no", "confirm oA", "确认绑定", "1"] {
        assert!(world.says("wmA", label, T + 2).is_talk(), "{label}");
    }
    let id = last(&world).menu_id(true);
    assert!(world.says("wmA", id.as_str(), T + 2).is_talk(), "even the id");
    assert!(world.bindings.is_empty());
    assert_eq!(world.taps("wmA", true, T + 3).answer(), Some(Saying::Bound), "it stays open");
}

#[test]
fn unknown_ids_and_other_peoples_taps_are_talk() {
    let mut world = asked();
    let mine = last(&world);
    for id in [MenuId::new("101"), MenuId::new(""), QuestionId([9; 16]).menu_id(true)] {
        let mut message = super::super::message("wmA", "yes", T + 2);
        message.content = KfContent::Text { content: "yes".to_owned(), menu_id: Some(id) };
        assert!(world.happens(&message, T + 2).is_talk());
    }
    // A code as the label of somebody else's menu is no typed code.
    let mut message = super::super::message("wmA", "482913", T + 2);
    message.content = KfContent::Text { content: "482913".to_owned(), menu_id: Some(MenuId::new("101")) };
    assert!(world.happens(&message, T + 2).is_talk());
    for yes in [true, false] {
        assert!(world.taps_on("wmS", mine, yes, T + 2).is_talk(), "somebody who was not asked");
    }
    assert_eq!(world.taps("wmA", true, T + 3).answer(), Some(Saying::Bound), "nor did that end it");
}

#[test]
fn a_tap_counts_once() {
    for (first, answer) in [(true, Saying::Bound), (false, Saying::Cancelled)] {
        let mut world = asked();
        assert_eq!(world.taps("wmA", first, T + 2).answer(), Some(answer));
        let before = world.bindings.clone();
        for second in [true, false] {
            let heard = world.taps("wmA", second, T + 3);
            assert_eq!(heard.answer(), Some(Saying::ExpiredCode), "{first} then {second}");
            assert_eq!(world.bindings, before);
        }
    }
}

#[test]
fn a_tap_is_judged_by_its_send_time_and_a_dead_question_is_answered_so() {
    for (sent, lives) in [(T + 2, true), (T + 599, true), (T + 600, false), (T + 4000, false)] {
        let mut world = asked();
        let heard = world.taps("wmA", true, sent);
        assert_eq!(heard.bound_at(), lives.then_some(sent), "sent {}", sent - T);
        let said = if lives { Saying::Bound } else { Saying::ExpiredCode };
        assert_eq!(heard.answer(), Some(said));
        assert_eq!(world.guesses, 0);
    }
    // Revoked, spent by somebody else, its user unbound.
    let mut world = asked();
    world.issue("oA", "111111", T + 5);
    assert_eq!(world.taps("wmA", true, T + 6).answer(), Some(Saying::ExpiredCode));
    let mut world = asked();
    world.policy.confirm_code = false;
    world.says("wmB", "482913", T + 2);
    assert_eq!(world.taps("wmA", true, T + 3).answer(), Some(Saying::ExpiredCode));
    let mut world = asked();
    world.unbind(&OpenId::new("oA"));
    assert_eq!(world.taps("wmA", true, T + 3).answer(), Some(Saying::ExpiredCode));
}

#[test]
fn questions_of_a_customer_die_when_the_customer_is_bound_or_unbound() {
    let mut world = asked();
    world.issue("oB", "777777", T);
    let mine = last(&world);
    world.policy.confirm_code = false;
    world.says("wmA", "777777", T + 2);
    assert_eq!(world.taps_on("wmA", mine, true, T + 3).answer(), Some(Saying::ExpiredCode));
    world.says("wmA", "解绑", T + 4);
    assert_eq!(world.taps_on("wmA", mine, true, T + 5).answer(), Some(Saying::ExpiredCode));
    assert!(world.bindings.is_empty());
}

#[test]
fn a_no_kills_every_question_about_the_same_code_for_this_customer() {
    let mut world = world(Ways { link: true, ..Ways::default() });
    world.policy.confirm_code = true;
    world.enters("wmA", Some(&world.link("482913")), T + 1);
    let by_link = last(&world);
    assert_eq!(world.says("wmA", "482913", T + 2).answer(), Some(Saying::Question));
    let by_code = last(&world);
    assert_ne!(by_link, by_code);
    world.says("wmB", "482913", T + 2);
    assert_eq!(world.taps_on("wmA", by_code, false, T + 3).answer(), Some(Saying::Cancelled));
    let heard = world.taps_on("wmA", by_link, true, T + 4);
    assert_eq!((heard.answer(), heard.bound_at()), (Some(Saying::ExpiredCode), None));
    assert_eq!(world.taps("wmB", true, T + 5).answer(), Some(Saying::Bound), "not for others");
}

#[test]
fn one_that_was_refused_is_asked_again_at_the_next_message_and_never_twice_for_one() {
    let mut world = asked();
    let id = world.last_question_is(Delivery::Unsaid);
    let heard = world.says("wmA", "你好", T + 2);
    assert_eq!(heard.answer(), Some(Saying::Question));
    assert_eq!(world.questions.len(), 1, "the same question");
    assert_eq!(world.says("wmA", "你好", T + 3).answer(), None, "it is said now");
    assert_eq!(world.taps_on("wmA", id, true, T + 4).answer(), Some(Saying::Bound));
}

#[test]
fn a_dead_question_is_not_asked_again() {
    for ending in ["time", "revoked", "declined", "locked", "bound"] {
        let mut world = asked();
        world.last_question_is(Delivery::Unsaid);
        let mut sent = T + 9;
        match ending {
            "time" => sent = T + 600,
            "revoked" => world.issue("oA", "111111", T + 5),
            "declined" => {
                let person = world.people.get_mut(&ExternalUserId::new("wmA")).unwrap();
                person.declined.push((Subject::Link(BindCode::new("482913")), Timestamp(T + 600)));
            }
            "locked" => {
                let locked = CustomerRecord { locked_until: Timestamp(T + 500), ..Default::default() };
                world.customers.insert(ExternalUserId::new("wmA"), locked);
            }
            _ => {
                world.issue("oB", "777777", T);
                world.policy.confirm_code = false;
                assert_eq!(world.says("wmA", "777777", T + 5).answer(), Some(Saying::Bound));
                world.policy.confirm_code = true;
            }
        }
        assert_eq!(world.says("wmA", "你好", sent).answer(), None, "{ending}");
    }
}

#[test]
fn a_message_that_comes_while_a_question_is_under_way_is_remembered_unless_it_is_answered_itself() {
    let since = |text: &str, now: u64, noise: u64| {
        let mut world = asked();
        world.last_question_is(Delivery::UnderWay(None));
        for n in 0..noise {
            world.customers.entry(ExternalUserId::new("wmA")).or_default().answered.push(Timestamp(T + n));
        }
        let heard = world.reads("wmA", text, T + 2, now);
        heard.0.effects.iter().any(|effect| matches!(effect, Effect::HeardSince(_)))
    };
    assert!(since("你好", T + 2, 0));
    assert!(!since("999999", T + 2, 0), "its answer has the id that the question would need");
    assert!(!since("你好", T + 603, 0), "too old to be answered");
    assert!(!since("你好", T + 2, 10), "answered too often");
}

#[test]
fn a_question_is_no_answer_to_a_session_that_ended() {
    let mut world = asked();
    world.last_question_is(Delivery::Unsaid);
    let mut message = super::super::message("wmA", "", T + 2);
    message.content = KfContent::SessionEnded;
    assert_eq!(world.happens(&message, T + 2).answer(), None);
}

#[test]
fn a_lock_stops_the_tap_on_a_question_about_a_code_and_its_end_frees_it() {
    let mut world = asked();
    let locked = CustomerRecord { locked_until: Timestamp(T + 100), ..Default::default() };
    world.customers.insert(ExternalUserId::new("wmA"), locked);
    let heard = world.taps("wmA", true, T + 99);
    assert_eq!((heard.answer(), heard.bound_at(), heard.rejected()), (None, None, vec!["locked"]));
    assert_eq!(world.taps("wmA", true, T + 100).answer(), Some(Saying::Bound));
}

#[test]
fn over_ten_answers_in_ten_minutes_nothing_is_asked_and_a_yes_is_still_told() {
    let mut world = confirming();
    let answered = |n: u64| (0..n).map(|n| Timestamp(T + n)).collect::<Vec<_>>();
    let record = CustomerRecord { answered: answered(9), ..Default::default() };
    world.customers.insert(ExternalUserId::new("wmA"), record);
    assert_eq!(world.says("wmA", "482913", T + 20).answer(), Some(Saying::Question), "the tenth");
    assert_eq!(world.says("wmA", "482913", T + 21).silent(), Some("muted"));
    assert_eq!(world.questions.len(), 1);
    assert_eq!(world.taps("wmA", true, T + 22).answer(), Some(Saying::Bound));
}

#[test]
fn of_several_codes_the_first_that_asks_ends_the_trying() {
    let mut world = confirming();
    world.issue("oB", "777777", T);
    let heard = world.says("wmA", "111111 482913 777777", T + 1);
    assert_eq!((heard.answer(), heard.named().0), (Some(Saying::Question), Some("oA")));
    assert_eq!(heard.rejected(), ["wrong"], "the one before it counts");
    assert_eq!(world.questions.len(), 1);
}

#[test]
fn a_tap_on_a_question_of_before_the_ways_were_switched_off_forgets_nothing() {
    let mut world = asked();
    let customer = ExternalUserId::new("wmA");
    let person = world.people.get_mut(&customer).unwrap();
    person.epoch = 7;
    person.parted.push(OpenId::new("oX"));
    let id = last(&world);
    world.questions.get_mut(&id).unwrap().epoch = 7;
    world.policy.confirm_code = false;
    assert_eq!(world.taps("wmA", false, T + 2).answer(), Some(Saying::Cancelled));
    let person = &world.people[&customer];
    assert_eq!((person.epoch, person.parted.len(), person.declined.len()), (7, 1, 1));
}

#[test]
fn what_was_declined_is_forgotten_when_it_is_over_and_not_before() {
    let mut world = asked();
    let customer = ExternalUserId::new("wmA");
    let person = world.people.get_mut(&customer).unwrap();
    for n in 0..40 {
        let over = Timestamp(T - 100 * HOUR);
        person.declined.push((Subject::Code(BindCode::new(format!("{n:06}"))), over));
    }
    assert_eq!(world.taps("wmA", false, T + 2).answer(), Some(Saying::Cancelled));
    assert_eq!(world.people[&customer].declined.len(), 1);
    assert_eq!(world.says("wmA", "482913", T + 3).answer(), Some(Saying::ExpiredCode));
}

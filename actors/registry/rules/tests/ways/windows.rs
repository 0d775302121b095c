//! 7.6: one intent, one arrival, one yes.

use super::{T, Ways, world};
use crate::{
    ids::{ExternalUserId, OpenId},
    ports::{KfContent, MessageKind},
    registry::{
        records::Method,
        rules::{
            Saying,
            world::{Heard, World},
        },
    },
};

/// `oA` has announced the chat at T, for five minutes.
fn announced() -> World {
    let mut world = world(Ways { window: true, ..Ways::default() });
    world.announces("oA", T);
    world
}

fn asks(heard: &Heard) -> bool {
    heard.answer() == Some(Saying::Question)
}

#[test]
fn an_arrival_counts_from_a_minute_before_up_to_the_end() {
    for (sent, counts) in [(T - 61, false), (T - 60, true), (T + 299, true), (T + 300, false)] {
        let mut world = announced();
        let heard = world.says("wmA", "你好", sent);
        assert_eq!(asks(&heard), counts, "sent {}", sent.cast_signed() - T.cast_signed());
        assert_eq!(heard.bound_at(), None, "never without a question");
    }
    for (tapped, counts) in [(T + 299, true), (T + 300, false)] {
        let mut world = announced();
        let heard = world.enters("wmA", None, T + 1);
        assert_eq!((asks(&heard), heard.named().0), (true, Some("oA")));
        let heard = world.taps("wmA", true, tapped);
        assert_eq!(heard.bound_at(), counts.then_some(tapped));
        let said = if counts { Saying::Bound } else { Saying::ExpiredCode };
        assert_eq!(heard.answer(), Some(said));
    }
}

#[test]
fn a_second_intent_before_the_arrival_or_before_the_tap_and_nothing_binds() {
    let mut world = announced();
    world.announces("oB", T + 1);
    assert!(!asks(&world.says("wmA", "你好", T + 2)));
    let mut world = announced();
    assert!(asks(&world.says("wmA", "你好", T + 2)));
    world.announces("oB", T + 3);
    assert_eq!(world.taps("wmA", true, T + 4).answer(), Some(Saying::ExpiredCode));
    // One that ended within the time is still a second one.
    let mut world = announced();
    world.announces("oB", T + 1);
    world.issue("oB", "777777", T);
    world.says("wmX", "777777", T + 2);
    assert!(!asks(&world.says("wmA", "你好", T + 3)));
}

#[test]
fn any_other_unbound_customer_who_came_by_whatever_way_ends_it() {
    let others: [fn(&mut World) -> Heard; 7] = [
        |world| world.says("wmB", "你好", T + 2),
        |world| world.enters("wmB", None, T + 2),
        |world| {
            let mut message = super::super::message("wmB", "", T + 2);
            message.content = KfContent::Other(MessageKind::Media);
            world.happens(&message, T + 2)
        },
        // Those whom another way has decided came, too.
        |world| world.says("wmB", "482913", T + 2),
        |world| world.says("wmB", "999999", T + 2),
        |world| {
            world.policy.ways.link = true;
            world.enters("wmB", Some(&world.link("777777")), T + 2)
        },
        |world| world.says("wmB", "解绑", T + 2),
    ];
    for (number, comes) in others.iter().enumerate() {
        for is_first in [true, false] {
            let mut world = announced();
            world.issue("oY", "777777", T);
            world.issue("oX", "482913", T);
            if is_first {
                comes(&mut world);
                assert!(!asks(&world.says("wmA", "你好", T + 3)), "{number}");
            } else {
                assert!(asks(&world.says("wmA", "你好", T + 1)));
                let mine = *world.questions.keys().next_back().unwrap();
                comes(&mut world);
                let heard = world.taps_on("wmA", mine, true, T + 3);
                assert_eq!(heard.answer(), Some(Saying::ExpiredCode), "{number}");
            }
            assert!(!world.bindings.contains_key(&OpenId::new("oA")));
        }
    }
}

#[test]
fn a_tap_of_somebody_else_is_an_arrival_and_binds_nobody() {
    let mut world = announced();
    world.says("wmA", "你好", T + 1);
    assert_eq!(world.taps("wmB", true, T + 2).answer(), None);
    assert_eq!(world.taps("wmA", true, T + 3).answer(), Some(Saying::ExpiredCode));
}

#[test]
fn bound_customers_do_not_count() {
    let mut world = announced();
    world.issue("oX", "777777", T - 400);
    world.says("wmB", "777777", T - 300);
    assert!(world.says("wmB", "你好", T + 1).is_talk());
    assert!(asks(&world.says("wmA", "你好", T + 2)));
    world.says("wmB", "在吗", T + 3);
    assert_eq!(world.taps("wmA", true, T + 4).answer(), Some(Saying::Bound));
    assert_eq!(world.bindings[&OpenId::new("oA")].method, Method::Window);
}

#[test]
fn pages_out_of_order_hide_nobody() {
    let mut world = announced();
    assert!(asks(&world.says("wmA", "你好", T + 50)));
    // This one had come before, and is read after.
    world.reads("wmB", "你好", T - 60, T + 60);
    assert_eq!(world.taps("wmA", true, T + 70).answer(), Some(Saying::ExpiredCode));
    let mut world = announced();
    assert!(asks(&world.says("wmA", "你好", T + 50)));
    world.reads("wmB", "你好", T - 61, T + 60);
    assert_eq!(world.taps("wmA", true, T + 70).answer(), Some(Saying::Bound), "before its time");
}

#[test]
fn whoever_came_is_not_forgotten_before_a_late_tap_is_read() {
    let mut world = announced();
    assert!(asks(&world.says("wmA", "你好", T + 1)));
    let mine = *world.questions.keys().next_back().unwrap();
    world.says("wmB", "你好", T - 55);
    // Much later somebody else comes, and what is old is forgotten.
    world.says("wmC", "你好", T + 961);
    let mut tap = super::super::message("wmA", "yes", T + 20);
    tap.content = KfContent::Text { content: "yes".to_owned(), menu_id: Some(mine.menu_id(true)) };
    assert_eq!(world.happens(&tap, T + 962).bound_at(), None);
}

#[test]
fn where_more_came_than_can_be_kept_nothing_binds() {
    for after in [false, true] {
        let mut world = announced();
        if after {
            assert!(asks(&world.says("wmA", "你好", T + 1)));
        }
        let mine = world.questions.keys().next_back().copied();
        // One customer, so often that what others did can't be kept.
        world.says("wmB", "你好", T + 2);
        for n in 0..300 {
            world.window_arrives("wmA", T + 3 + n % 200);
        }
        for n in 0..300 {
            world.window_arrives("wmA", T + 3 + n);
        }
        if let Some(mine) = mine {
            assert_eq!(world.taps_on("wmA", mine, true, T + 250).bound_at(), None);
        } else {
            assert!(!asks(&world.says("wmA", "在吗", T + 250)));
        }
    }
    let mut world = world(Ways { window: true, ..Ways::default() });
    for n in 0..300 {
        world.announces(&format!("o{n}"), T - 290 + n % 100);
    }
    world.announces("oA", T + 5);
    assert!(!asks(&world.says("wmA", "你好", T + 6)));
}

#[test]
fn a_no_ends_it_for_this_intent() {
    let mut world = announced();
    world.says("wmA", "你好", T + 1);
    assert_eq!(world.taps("wmA", false, T + 2).answer(), Some(Saying::Cancelled));
    assert!(!asks(&world.says("wmA", "在吗", T + 3)));
}

#[test]
fn one_is_asked_once() {
    let mut world = announced();
    assert!(asks(&world.says("wmA", "你好", T + 1)));
    assert!(!asks(&world.says("wmA", "在吗", T + 2)));
    assert_eq!(world.taps("wmA", true, T + 3).answer(), Some(Saying::Bound));
}

#[test]
fn an_intent_of_a_user_who_was_bound_or_unbound_since_is_dead() {
    let mut world = announced();
    assert!(asks(&world.says("wmA", "你好", T + 1)));
    world.users.entry(OpenId::new("oA")).or_default().epoch += 2;
    assert_eq!(world.taps("wmA", true, T + 2).answer(), Some(Saying::ExpiredCode));
    assert!(!asks(&world.says("wmA", "在吗", T + 3)));
    let mut world = announced();
    assert!(asks(&world.says("wmA", "你好", T + 1)));
    world.user_people.entry(OpenId::new("oA")).or_default().unbound_ms = T * 1000;
    assert_eq!(world.taps("wmA", true, T + 2).answer(), Some(Saying::ExpiredCode));
    let mut world = announced();
    world.user_people.entry(OpenId::new("oA")).or_default().unbound_ms = T * 1000 - 1;
    assert!(asks(&world.says("wmA", "你好", T + 1)), "of before it was opened");
}

#[test]
fn a_code_in_the_message_is_tried_and_nothing_is_asked() {
    let mut world = announced();
    let heard = world.says("wmA", "999999", T + 1);
    assert_eq!(heard.answer(), Some(Saying::WrongCode));
    assert!(asks(&world.says("wmA", "你好", T + 2)));
    world.issue("oA", "777777", T);
    assert_eq!(world.says("wmA", "777777", T + 3).answer(), Some(Saying::Bound));
    assert_eq!(world.taps("wmA", true, T + 4).answer(), Some(Saying::ExpiredCode));
}

#[test]
fn while_the_way_is_off_intents_and_questions_are_dead() {
    let mut world = announced();
    assert!(asks(&world.says("wmA", "你好", T + 1)));
    world.policy.ways.window = false;
    assert_eq!(world.taps("wmA", true, T + 2).answer(), Some(Saying::ExpiredCode));
    assert!(world.says("wmB", "你好", T + 3).is_talk());
}

#[test]
fn what_was_sent_before_undoing_asks_nobody() {
    let mut world = announced();
    world.issue("oX", "777777", T);
    world.says("wmA", "777777", T + 1);
    world.says("wmA", "解绑", T + 10);
    assert!(!asks(&world.says("wmA", "你好", T + 9)));
    assert!(asks(&world.says("wmA", "你好", T + 11)));
    let customer = ExternalUserId::new("wmA");
    assert_eq!(world.people[&customer].questions.len(), 1);
}

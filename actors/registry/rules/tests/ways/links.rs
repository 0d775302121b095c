//! 7.2: tickets in the kf link.

use super::{HOUR, T, Ways, world};
use crate::{
    ids::{ExternalUserId, OpenId, Ticket, Timestamp},
    policy::OnConflict,
    registry::{
        records::{AuditKind, Method},
        rules::{Saying, world::World},
    },
};

fn links() -> World {
    world(Ways { link: true, ..Ways::default() })
}

fn unasked() -> World {
    let mut world = links();
    world.policy.confirm_link = false;
    world
}

#[test]
fn an_entry_is_judged_by_its_send_time_as_a_code_is() {
    for (sent, lives) in [(T - 61, false), (T - 60, true), (T, true), (T + 599, true), (T + 600, false)] {
        let mut world = unasked();
        let ticket = world.link("482913");
        let heard = world.enters("wmA", Some(&ticket), sent);
        assert_eq!(heard.bound_at(), lives.then_some(sent), "sent {}", sent.cast_signed() - T.cast_signed());
        assert_eq!(heard.answer(), lives.then_some(Saying::Bound), "a dead ticket is never answered");
        assert!(heard.rejected().is_empty() && world.guesses == 0, "nor counted");
        let mut world = links();
        let heard = world.enters("wmA", Some(&ticket), sent);
        assert_eq!(heard.answer(), lives.then_some(Saying::Question));
        assert_eq!(heard.bound_at(), None);
    }
}

#[test]
fn an_entry_that_is_pulled_late_binds_where_nothing_is_asked() {
    let mut world = unasked();
    let ticket = world.link("482913");
    let mut message = super::super::message("wmA", "", T + 5);
    message.content =
        crate::ports::KfContent::EnterSession { scene: None, scene_param: Some(ticket), welcome_code: None };
    let heard = world.happens(&message, T + 24 * HOUR);
    assert_eq!((heard.bound_at(), heard.answer()), (Some(T + 5), None));
    assert_eq!(world.bindings[&OpenId::new("oA")].method, Method::Link);
}

#[test]
fn a_question_names_the_account_and_only_a_yes_binds() {
    let mut world = links();
    let ticket = world.link("482913");
    let heard = world.enters("wmS", Some(&ticket), T + 1);
    assert_eq!((heard.answer(), heard.named().0), (Some(Saying::Question), Some("oA")));
    assert!(world.bindings.is_empty(), "whoever opens a forwarded link is asked");
    let heard = world.taps("wmS", true, T + 9);
    assert_eq!((heard.answer(), heard.bound_at()), (Some(Saying::Bound), Some(T + 9)));
    assert_eq!(world.bindings[&OpenId::new("oA")].method, Method::Link);
}

#[test]
fn a_strangers_no_kills_the_link_and_its_code_for_that_stranger_alone() {
    let mut world = links();
    let ticket = world.link("482913");
    world.enters("wmS", Some(&ticket), T + 1);
    assert_eq!(world.taps("wmS", false, T + 2).answer(), Some(Saying::Cancelled));
    assert_eq!(world.enters("wmS", Some(&ticket), T + 3).answer(), None);
    let heard = world.says("wmS", "482913", T + 4);
    assert_eq!((heard.answer(), heard.bound_at()), (Some(Saying::ExpiredCode), None));
    assert_eq!(world.guesses, 0);
    assert_eq!(world.enters("wmA", Some(&ticket), T + 5).answer(), Some(Saying::Question));
    assert_eq!(world.taps("wmA", true, T + 6).bound_at(), Some(T + 6));
}

#[test]
fn a_ticket_lives_and_dies_with_its_code() {
    // Revoked.
    let mut world = unasked();
    let ticket = world.link("482913");
    world.issue("oA", "111111", T + 10);
    assert!(world.enters("wmA", Some(&ticket), T + 10).is_talk());
    assert_eq!(world.enters("wmA", Some(&ticket), T + 9).bound_at(), Some(T + 9), "it lived then");
    // Spent by typing.
    let mut world = unasked();
    world.says("wmA", "482913", T + 1);
    for customer in ["wmA", "wmB"] {
        let heard = world.enters(customer, Some(&ticket), T + 2);
        assert_eq!((heard.answer(), heard.rejected()), (None, vec![]), "its own customer's included");
    }
    // And typing by entering.
    let mut world = unasked();
    world.enters("wmA", Some(&ticket), T + 1);
    assert_eq!(world.says("wmB", "482913", T + 2).answer(), Some(Saying::ExpiredCode));
    // After an unbinding.
    world.unbind(&OpenId::new("oA"));
    assert_eq!(world.enters("wmA", Some(&ticket), T + 3).answer(), None);
}

#[test]
fn no_other_ticket_opens_anything() {
    let mut world = unasked();
    world.issue("oB", "777777", T);
    let mine = world.link("482913");
    let forged: Vec<Ticket> = (0..mine.as_str().len())
        .map(|at| {
            let mut bytes = mine.as_str().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            Ticket::new(String::from_utf8(bytes).unwrap())
        })
        .chain(["", "A", "482913", &format!("{}A", mine.as_str()), &"_".repeat(32)].map(Ticket::new))
        .chain([Ticket::new(mine.as_str().to_lowercase())])
        .collect();
    for ticket in forged {
        assert!(world.enters("wmA", Some(&ticket), T + 1).is_talk(), "{}", ticket.as_str());
    }
    // The head of one and the tail of another.
    let other = world.link("777777");
    assert_ne!(mine, other);
    let mixed = [&mine.as_str()[..16], &other.as_str()[16..]].concat();
    assert!(world.enters("wmA", Some(&Ticket::new(mixed)), T + 1).is_talk());
    assert!(world.bindings.is_empty());
}

#[test]
fn the_ticket_of_a_code_that_was_made_again_is_another_one() {
    let mut world = unasked();
    let old = world.link("482913");
    world.codes.clear();
    world.issue("oB", "482913", T);
    assert!(world.enters("wmA", Some(&old), T + 1).is_talk(), "the same digits, another user");
    world.codes.clear();
    world.issue("oA", "482913", T + 30);
    assert!(world.enters("wmA", Some(&old), T + 31).is_talk(), "the same digits, another time");
}

#[test]
fn a_missed_entry_is_made_up_for_by_the_messages_own_time() {
    for (sent, lives) in [(T - 60, true), (T + 599, true), (T + 600, false)] {
        let mut world = links();
        world.entered_with.insert(ExternalUserId::new("wmA"), world.link("482913"));
        let heard = world.says("wmA", "你好", sent);
        assert_eq!(
            heard.answer(),
            lives.then_some(Saying::Question),
            "sent {}",
            sent.cast_signed() - T.cast_signed()
        );
    }
}

#[test]
fn a_missed_entry_is_made_up_for_once_per_ticket_and_customer() {
    let mut world = links();
    world.entered_with.insert(ExternalUserId::new("wmA"), world.link("482913"));
    assert_eq!(world.says("wmA", "你好", T + 1).answer(), Some(Saying::Question));
    assert_eq!(world.says("wmA", "在吗", T + 2).answer(), None);
    // Another ticket is another try, and so is another customer.
    world.issue("oA", "111111", T + 3);
    world.entered_with.insert(ExternalUserId::new("wmA"), world.link("111111"));
    world.entered_with.insert(ExternalUserId::new("wmB"), world.link("111111"));
    assert_eq!(world.says("wmA", "在吗", T + 4).answer(), Some(Saying::Question));
    assert_eq!(world.says("wmB", "在吗", T + 4).answer(), Some(Saying::Question));
}

#[test]
fn an_entry_whose_event_did_arrive_is_not_made_up_for() {
    let mut world = links();
    let ticket = world.link("482913");
    world.entered_with.insert(ExternalUserId::new("wmA"), ticket.clone());
    world.enters("wmA", Some(&ticket), T + 1);
    assert_eq!(world.says("wmA", "你好", T + 2).answer(), None);
}

#[test]
fn talk_of_before_the_ticket_leaves_the_one_try_to_what_comes_after() {
    let mut world = links();
    world.entered_with.insert(ExternalUserId::new("wmA"), world.link("482913"));
    assert_eq!(world.says("wmA", "你好", T - 61).answer(), None);
    assert_eq!(world.says("wmA", "在吗", T + 1).answer(), Some(Saying::Question));
}

#[test]
fn what_could_not_be_asked_any_more_is_asked_at_the_next_message() {
    let mut world = links();
    world.policy.code_ttl_s = HOUR;
    world.issue("oB", "777777", T);
    let ticket = world.link("777777");
    world.entered_with.insert(ExternalUserId::new("wmA"), ticket.clone());
    assert_eq!(world.reads("wmA", "你好", T + 1, T + 700).silent(), Some("too_old"));
    assert_eq!(world.says("wmA", "在吗", T + 701).answer(), Some(Saying::Question));
}

#[test]
fn a_code_in_the_message_goes_before_a_missed_entry() {
    let mut world = links();
    world.issue("oB", "777777", T);
    world.entered_with.insert(ExternalUserId::new("wmA"), world.link("777777"));
    assert_eq!(world.says("wmA", "482913", T + 1).answer(), Some(Saying::Bound));
    assert_eq!(world.pairs(), [("oA", "wmA")]);
}

#[test]
fn equal_unionids_need_no_question_and_unequal_or_unknown_ones_do() {
    for (user, chat, answer) in [
        (Some("u1"), Some("u1"), Saying::Bound),
        (Some("u1"), None, Saying::Question),
        (None, Some("u1"), Saying::Question),
        (Some("u1"), Some("u2"), Saying::OtherPerson),
    ] {
        let mut world = world(Ways { link: true, unionid: true, ..Ways::default() });
        user.inspect(|unionid| world.is_user("oA", unionid));
        chat.inspect(|unionid| world.is_person("wmA", unionid));
        let heard = world.enters("wmA", Some(&world.link("482913")), T + 1);
        assert_eq!(heard.answer(), Some(answer), "{user:?} {chat:?}");
        let method = world.bindings.get(&OpenId::new("oA")).map(|binding| binding.method);
        assert_eq!(method, (answer == Saying::Bound).then_some(Method::Link), "the link goes first");
    }
}

#[test]
fn a_link_to_somebody_who_is_bound_elsewhere_is_a_conflict_and_lives_on() {
    let mut world = unasked();
    world.issue("oB", "777777", T);
    world.says("wmA", "482913", T + 1);
    let ticket = world.link("777777");
    for sent in [T + 2, T + 3] {
        let heard = world.enters("wmA", Some(&ticket), sent);
        assert_eq!((heard.answer(), heard.named().0), (Some(Saying::Conflict), Some("oA")));
    }
    assert_eq!(world.audits, [AuditKind::Bound, AuditKind::Conflict], "once per code and customer");
    assert_eq!(world.enters("wmB", Some(&ticket), T + 4).bound_at(), Some(T + 4));
    // Where it replaces, the older binding gives way, unless the entry is of before it.
    let mut world = unasked();
    world.policy.on_conflict = OnConflict::Replace;
    world.issue("oB", "777777", T);
    world.says("wmA", "482913", T + 10);
    assert_eq!(world.enters("wmA", Some(&ticket), T + 9).answer(), Some(Saying::Conflict));
    world.enters("wmA", Some(&ticket), T + 10);
    assert_eq!(world.pairs(), [("oB", "wmA")]);
}

#[test]
fn nothing_that_was_sent_before_undoing_in_the_chat_binds() {
    let mut world = unasked();
    world.issue("oB", "777777", T);
    world.says("wmA", "482913", T + 1);
    world.says("wmA", "解绑", T + 20);
    let ticket = world.link("777777");
    assert_eq!(world.enters("wmA", Some(&ticket), T + 19).bound_at(), None);
    assert_eq!(world.enters("wmA", Some(&ticket), T + 20).bound_at(), Some(T + 20));
}

#[test]
fn while_the_way_is_off_its_tickets_and_questions_are_dead() {
    let mut world = links();
    let ticket = world.link("482913");
    world.enters("wmA", Some(&ticket), T + 1);
    world.policy.ways = Ways { card: true, ..Ways::default() };
    assert_eq!(world.taps("wmA", true, T + 2).answer(), Some(Saying::ExpiredCode));
    world.policy.ways = Ways::default();
    assert_eq!(world.taps("wmA", true, T + 2).bound_at(), None);
    assert!(world.enters("wmB", Some(&ticket), T + 3).is_talk());
    world.entered_with.insert(ExternalUserId::new("wmC"), ticket);
    assert!(world.says("wmC", "你好", T + 3).is_talk());
    assert_eq!(world.says("wmA", "482913", T + 4).answer(), Some(Saying::Bound), "the code lives");
}

#[test]
fn a_lock_stops_codes_only() {
    let mut world = links();
    let locked =
        super::super::super::CustomerRecord { locked_until: Timestamp(T + 500), ..Default::default() };
    world.customers.insert(ExternalUserId::new("wmA"), locked);
    let ticket = world.link("482913");
    assert_eq!(world.says("wmA", "482913", T + 1).answer(), None);
    assert_eq!(world.enters("wmA", Some(&ticket), T + 2).answer(), Some(Saying::Question));
    assert_eq!(world.taps("wmA", true, T + 3).answer(), Some(Saying::Bound));
}

#[test]
fn the_word_that_undoes_is_not_taken_for_talk_by_any_way() {
    let mut world = world(super::all_ways());
    world.is_user("oA", "u1");
    world.is_person("wmA", "u1");
    world.entered_with.insert(ExternalUserId::new("wmA"), world.link("482913"));
    let heard = world.says("wmA", "解绑", T + 1);
    assert_eq!((heard.answer(), heard.bound_at()), (None, None));
}

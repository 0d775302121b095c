//! 7.3: the same unionid on both sides.

use super::{T, Ways, world};
use crate::{
    ids::{ExternalUserId, OpenId, UnionId},
    ports::{KfContent, MessageKind},
    registry::{
        records::{AuditKind, Method},
        rules::{Saying, world::World},
    },
};

/// `oA` and `wmA` are one person, `wmB` is another.
fn two() -> World {
    let mut world = world(Ways { unionid: true, link: true, ..Ways::default() });
    world.is_user("oA", "u1");
    world.is_person("wmA", "u1");
    world.is_person("wmB", "u2");
    world
}

#[test]
fn equal_unionids_bind_without_a_word_whatever_is_sent() {
    for content in [
        KfContent::Text { content: "你好".to_owned(), menu_id: None },
        KfContent::Other(MessageKind::Media),
        KfContent::EnterSession { scene: None, scene_param: None, welcome_code: None },
    ] {
        let mut world = two();
        let mut message = super::super::message("wmA", "", T + 1);
        message.content = content;
        let heard = world.happens(&message, T + 1);
        assert_eq!((heard.bound_at(), heard.answer(), heard.silent()), (Some(T + 1), None, None));
        assert_eq!(world.bindings[&OpenId::new("oA")].method, Method::Unionid);
        assert_eq!(world.audits, [AuditKind::Bound]);
    }
    let mut world = two();
    let mut message = super::super::message("wmA", "", T + 1);
    message.content = KfContent::SessionEnded;
    assert_eq!(world.happens(&message, T + 1).bound_at(), None, "the customer has done nothing");
}

#[test]
fn it_never_replaces_anything() {
    for replaces in [false, true] {
        let mut world = two();
        if replaces {
            world.policy.on_conflict = crate::policy::OnConflict::Replace;
        }
        // The user is bound elsewhere.
        world.issue("oA", "111111", T);
        world.says("wmX", "111111", T + 1);
        assert!(world.says("wmA", "你好", T + 2).is_talk());
        // The customer is.
        let mut world = two();
        world.issue("oX", "111111", T);
        world.says("wmA", "111111", T + 1);
        assert_eq!(world.says("wmA", "你好", T + 2).bound_at(), None);
        assert_eq!(world.pairs(), [("oX", "wmA")]);
    }
}

#[test]
fn a_pair_that_was_unbound_stays_so_until_another_way_has_bound_it() {
    let mut world = two();
    world.says("wmA", "你好", T + 1);
    world.says("wmA", "解绑", T + 2);
    assert_eq!(world.says("wmA", "你好", T + 3).bound_at(), None);
    world.issue("oA", "111111", T + 4);
    assert_eq!(world.says("wmA", "111111", T + 5).answer(), Some(Saying::Bound));
    // Bound by another way and unbound again, it is still undone.
    world.unbind(&OpenId::new("oA"));
    assert_eq!(world.says("wmA", "你好", T + 6).bound_at(), None);
    // Whoever else has the same unionid is another pair.
    world.user_people.clear();
    world.is_user("oZ", "u1");
    assert_eq!(world.says("wmA", "你好", T + 7).bound_at(), Some(T + 7));
}

#[test]
fn where_both_are_known_and_differ_no_code_link_or_tap_binds_and_the_code_lives_on() {
    let mut world = two();
    let heard = world.says("wmB", "482913", T + 1);
    assert_eq!((heard.answer(), heard.rejected()), (Some(Saying::OtherPerson), vec!["other_person"]));
    let heard = world.enters("wmB", Some(&world.link("482913")), T + 2);
    assert_eq!(heard.answer(), Some(Saying::OtherPerson));
    assert_eq!(world.audits, [AuditKind::OtherPerson, AuditKind::OtherPerson]);
    assert_eq!(world.guesses, 0);
    assert_eq!(world.customers[&ExternalUserId::new("wmB")].wrong_total, 0, "nothing is counted as wrong");
    // A question was put before WeCom told who that is.
    let ticket = world.link("482913");
    assert_eq!(world.enters("wmC", Some(&ticket), T + 3).answer(), Some(Saying::Question));
    world.is_person("wmC", "u3");
    let heard = world.taps("wmC", true, T + 4);
    assert_eq!((heard.answer(), heard.bound_at()), (Some(Saying::OtherPerson), None));
    assert_eq!(world.says("wmA", "482913", T + 5).answer(), Some(Saying::Bound), "and the code goes first");
    assert_eq!(world.bindings[&OpenId::new("oA")].method, Method::Code);
}

#[test]
fn where_it_is_off_or_only_one_side_is_known_the_other_guards_decide() {
    let mut world = two();
    world.policy.ways.unionid = false;
    assert_eq!(world.says("wmB", "482913", T + 1).answer(), Some(Saying::Bound));
    let mut world = two();
    assert_eq!(world.says("wmC", "482913", T + 1).answer(), Some(Saying::Bound));
    let mut world = two();
    world.issue("oB", "111111", T);
    assert_eq!(world.says("wmB", "111111", T + 1).answer(), Some(Saying::Bound));
}

#[test]
fn a_unionid_from_a_login_of_before_counts_for_the_veto() {
    let mut world = two();
    world.issue("oB", "111111", T);
    world.users.get_mut(&OpenId::new("oB")).unwrap().unionid = Some(UnionId::new("u9"));
    assert_eq!(world.says("wmB", "111111", T + 1).answer(), Some(Saying::OtherPerson));
}

#[test]
fn what_was_sent_before_undoing_shows_nobody() {
    let mut world = two();
    world.issue("oX", "111111", T);
    world.says("wmA", "111111", T + 1);
    world.says("wmA", "解绑", T + 20);
    assert_eq!(world.says("wmA", "你好", T + 19).bound_at(), None);
    assert_eq!(world.says("wmA", "你好", T + 21).bound_at(), Some(T + 21));
}

//! 7.5: who is invited by a card. What its ticket does is a matter of the registry's tests.

use super::{HOUR, T, Ways, world};
use crate::{
    ids::{BindCode, ExternalUserId, OpenId, Ticket, Timestamp, UserId},
    messages::TicketRefusal,
    policy::OnConflict,
    ports::{KfContent, MessageKind},
    registry::{
        records::{Method, TicketRecord},
        rules::{Saying, world::World},
        ways::{
            card::{Redeeming, redeem},
            staff::{Typing, judge},
        },
    },
};

fn cards() -> World {
    world(Ways { card: true, ..Ways::default() })
}

#[test]
fn an_unbound_customer_who_enters_or_talks_is_invited_once_in_two_days() {
    let mut world = cards();
    assert_eq!(world.says("wmA", "你好", T).answer(), Some(Saying::Invitation));
    assert_eq!(world.says("wmA", "在吗", T + 48 * HOUR - 1).answer(), None);
    assert_eq!(world.enters("wmA", None, T + 48 * HOUR - 1).answer(), None);
    assert_eq!(world.says("wmA", "在吗", T + 48 * HOUR).answer(), Some(Saying::Invitation));
    assert_eq!(world.enters("wmB", None, T).answer(), Some(Saying::Invitation));
    let mut message = super::super::message("wmC", "", T);
    message.content = KfContent::Other(MessageKind::Media);
    assert_eq!(world.happens(&message, T).answer(), Some(Saying::Invitation));
}

#[test]
fn over_all_accounts_it_is_one() {
    let mut world = cards();
    world.says("wmA", "你好", T);
    let mut message = super::super::message("wmA", "你好", T + 1);
    message.account = crate::ids::OpenKfId::new("wkB");
    assert_eq!(world.happens(&message, T + 1).answer(), None);
}

#[test]
fn nobody_is_invited_by_an_entry_without_a_right_to_speak() {
    let mut world = cards();
    let mut message = super::super::message("wmA", "", T);
    message.content = KfContent::EnterSession { scene: None, scene_param: None, welcome_code: None };
    assert!(world.happens(&message, T).is_talk());
}

#[test]
fn what_is_ours_invites_nobody_nor_does_what_is_old_and_whoever_is_bound_is_not_invited() {
    let mut world = cards();
    for text in ["999999", "解绑", "我的订单号码是 999999 请问什么时候发货呢"] {
        assert_ne!(world.says("wmA", text, T).answer(), Some(Saying::Invitation), "{text}");
    }
    assert!(world.reads("wmB", "你好", T, T + 601).is_talk());
    world.says("wmA", "482913", T + 1);
    assert!(world.says("wmA", "你好", T + 2).is_talk());
}

#[test]
fn an_invitation_that_is_not_said_is_not_counted_and_anything_else_goes_before_it() {
    let mut world = cards();
    let answered = (0..10).map(|n| Timestamp(T + n)).collect();
    let record = super::super::super::CustomerRecord { answered, ..Default::default() };
    world.customers.insert(ExternalUserId::new("wmA"), record);
    assert_eq!(world.says("wmA", "你好", T + 20).silent(), Some("muted"));
    assert_eq!(world.says("wmA", "你好", T + 700).answer(), Some(Saying::Invitation));
    // A link in the same entry is asked about, and the invitation is still to come.
    let mut world = super::world(Ways { card: true, link: true, ..Ways::default() });
    assert_eq!(world.enters("wmB", Some(&world.link("482913")), T + 1).answer(), Some(Saying::Question));
    assert_eq!(world.says("wmB", "你好", T + 2).answer(), Some(Saying::Invitation));
    // A dead link is no link.
    world.issue("oA", "111111", T + 3);
    assert_eq!(world.enters("wmC", Some(&world.link("482913")), T + 4).answer(), Some(Saying::Invitation));
}

fn ticket(world: &mut World, method: Method) -> Ticket {
    let ticket = Ticket::new("t1");
    let record = TicketRecord {
        customer: ExternalUserId::new("wmA"),
        epoch: world.people.get(&ExternalUserId::new("wmA")).map_or(0, |person| person.epoch),
        account: None,
        method,
        by: (method == Method::Staff).then(|| UserId::new("staff1")),
        made_ms: T * 1000,
        expires_at: Timestamp(T + 48 * HOUR),
        used_by: None,
        conflicts: Vec::new(),
    };
    world.tickets.insert(ticket.clone(), record);
    ticket
}

fn outcome(world: &World, ticket: &Ticket, openid: &str, now: u64) -> Result<Vec<String>, TicketRefusal> {
    match redeem(world, &world.policy, ticket, &OpenId::new(openid), Timestamp(now)).unwrap() {
        Redeeming::Binds { replaces, .. } => Ok(replaces.iter().map(|o| o.as_str().to_owned()).collect()),
        Redeeming::Done => Ok(vec!["done".to_owned()]),
        Redeeming::Refused { refusal, .. } => Err(refusal),
    }
}

#[test]
fn a_ticket_lives_its_time_and_only_while_its_way_is_on() {
    for (method, way) in [
        (Method::Card, Ways { card: true, ..Ways::default() }),
        (Method::Staff, Ways { staff: true, ..Ways::default() }),
    ] {
        let mut world = world(way);
        let ticket = ticket(&mut world, method);
        assert_eq!(outcome(&world, &ticket, "oB", T + 48 * HOUR - 1), Ok(vec![]));
        assert_eq!(outcome(&world, &ticket, "oB", T + 48 * HOUR), Err(TicketRefusal::Invalid));
        world.policy.ways = Ways { card: !way.card, staff: !way.staff, ..super::all_ways() };
        assert_eq!(outcome(&world, &ticket, "oB", T + 1), Err(TicketRefusal::Invalid));
    }
    let world = world(Ways { card: true, ..Ways::default() });
    assert_eq!(outcome(&world, &Ticket::new("unknown"), "oB", T), Err(TicketRefusal::Invalid));
    assert_eq!(outcome(&world, &world.link("482913"), "oB", T), Err(TicketRefusal::Invalid), "of a link");
}

#[test]
fn a_ticket_dies_with_every_binding_and_unbinding_of_its_customer() {
    let mut world = cards();
    let t = ticket(&mut world, Method::Card);
    world.says("wmA", "482913", T + 1);
    assert_eq!(outcome(&world, &t, "oA", T + 2), Err(TicketRefusal::AlreadyBound), "this very pair");
    assert_eq!(outcome(&world, &t, "oB", T + 2), Err(TicketRefusal::Invalid));
    world.policy.on_conflict = OnConflict::Replace;
    assert_eq!(outcome(&world, &t, "oB", T + 2), Err(TicketRefusal::Invalid), "it died with the binding");
    world.says("wmA", "解绑", T + 3);
    for openid in ["oA", "oB"] {
        assert_eq!(outcome(&world, &t, openid, T + 4), Err(TicketRefusal::Invalid));
    }
}

#[test]
fn a_ticket_of_before_an_unbinding_of_the_user_is_dead_for_that_user() {
    let mut world = cards();
    let t = ticket(&mut world, Method::Card);
    world.user_people.entry(OpenId::new("oB")).or_default().unbound_ms = T * 1000;
    assert_eq!(outcome(&world, &t, "oB", T + 1), Err(TicketRefusal::Invalid));
    assert_eq!(outcome(&world, &t, "oC", T + 1), Ok(vec![]));
    world.user_people.entry(OpenId::new("oB")).or_default().unbound_ms = T * 1000 - 1;
    assert_eq!(outcome(&world, &t, "oB", T + 1), Ok(vec![]));
}

#[test]
fn either_side_elsewhere_is_a_conflict_or_gives_way() {
    let mut world = cards();
    world.says("wmX", "482913", T + 1);
    let t = ticket(&mut world, Method::Card);
    assert_eq!(outcome(&world, &t, "oA", T + 2), Err(TicketRefusal::Conflict));
    world.policy.on_conflict = OnConflict::Replace;
    assert_eq!(outcome(&world, &t, "oA", T + 2), Ok(vec!["oA".to_owned()]));
    // The customer bound, by a ticket that an employee made afterwards.
    let mut world = super::world(Ways { staff: true, ..Ways::default() });
    world.says("wmA", "482913", T + 1);
    let t = ticket(&mut world, Method::Staff);
    assert_eq!(outcome(&world, &t, "oB", T + 2), Err(TicketRefusal::Conflict));
    world.policy.on_conflict = OnConflict::Replace;
    assert_eq!(outcome(&world, &t, "oB", T + 2), Ok(vec!["oA".to_owned()]));
}

#[test]
fn differing_unionids_forbid_a_ticket_and_what_an_employee_types() {
    let mut world = super::world(Ways { card: true, staff: true, unionid: true, ..Ways::default() });
    let t = ticket(&mut world, Method::Card);
    world.is_user("oA", "u1");
    world.is_person("wmA", "u2");
    assert_eq!(outcome(&world, &t, "oA", T + 1), Err(TicketRefusal::OtherPerson));
    let typed = typing(&world, "482913", "wmA", T + 1);
    assert!(matches!(typed, Typing::OtherPerson { record, .. } if record.openid.as_str() == "oA"));
    world.policy.ways.unionid = false;
    assert_eq!(outcome(&world, &t, "oA", T + 1), Ok(vec![]));
}

#[test]
fn a_ticket_that_has_bound_binds_nobody_else_and_is_a_retry_for_the_one_whom_it_bound() {
    let mut world = cards();
    let t = ticket(&mut world, Method::Card);
    world.says("wmA", "482913", T + 1);
    world.tickets.get_mut(&t).unwrap().used_by = Some(OpenId::new("oA"));
    assert_eq!(outcome(&world, &t, "oA", T + 500 * HOUR), Ok(vec!["done".to_owned()]));
    assert_eq!(outcome(&world, &t, "oB", T + 2), Err(TicketRefusal::Invalid));
    world.unbind(&OpenId::new("oA"));
    assert_eq!(outcome(&world, &t, "oA", T + 3), Err(TicketRefusal::Invalid));
    // That it was used is enough, whatever else became of its customer.
    world.tickets.get_mut(&t).unwrap().epoch = world.people[&ExternalUserId::new("wmA")].epoch;
    for openid in ["oA", "oB"] {
        assert_eq!(outcome(&world, &t, openid, T + 4), Err(TicketRefusal::Invalid));
    }
}

// ---- 7.7: what an employee types ----

fn typing(world: &World, typed: &str, customer: &str, now: u64) -> Typing {
    let mut lengths = crate::registry::recognise::Lengths::default();
    lengths.insert(crate::policy::CodeFormat::Digits, 6);
    judge(world, &world.policy, &lengths, typed, &ExternalUserId::new(customer), Timestamp(now)).unwrap()
}

#[test]
fn an_employee_may_type_a_code_as_a_customer_would() {
    let world = world(Ways { staff: true, ..Ways::default() });
    let (code, openid) = (BindCode::new("482913"), OpenId::new("oA"));
    let binds = Typing::Binds { code, openid, replaces: vec![] };
    for typed in ["482913", "482 913", " 482-913 ", "４８２９１３", "验证码：482913"] {
        assert_eq!(typing(&world, typed, "wmA", T + 1), binds, "{typed}");
    }
    for typed in ["", "你好", "13800138000", "48291", "482913 482913 111111"] {
        assert_eq!(typing(&world, typed, "wmA", T + 1), Typing::Invalid, "{typed}");
    }
    assert_eq!(typing(&world, "999999", "wmA", T + 1), Typing::Wrong);
    assert_eq!(typing(&world, "482913", "wmA", T + 599), binds);
    assert_eq!(typing(&world, "482913", "wmA", T + 600), Typing::Invalid, "expired, not counted");
}

#[test]
fn what_a_customer_has_declined_no_employee_binds_for_them() {
    let mut world = world(Ways { staff: true, link: true, ..Ways::default() });
    world.enters("wmA", Some(&world.link("482913")), T + 1);
    world.taps("wmA", false, T + 2);
    assert_eq!(typing(&world, "482913", "wmA", T + 3), Typing::Invalid);
    assert!(matches!(typing(&world, "482913", "wmB", T + 3), Typing::Binds { .. }));
}

#[test]
fn an_employee_is_told_of_what_stands() {
    let mut world = world(Ways { staff: true, ..Ways::default() });
    world.issue("oB", "777777", T);
    world.says("wmA", "482913", T + 1);
    assert_eq!(typing(&world, "482913", "wmA", T + 2), Typing::AlreadyBound);
    assert_eq!(typing(&world, "482913", "wmB", T + 2), Typing::Invalid, "spent");
    assert!(matches!(typing(&world, "777777", "wmA", T + 2), Typing::Conflict { .. }));
}

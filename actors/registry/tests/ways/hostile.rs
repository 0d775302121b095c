//! What those try who mean harm: an employee with a client of their own, a user with a card, a customer in two minds.

use super::{Ways, rig};
use crate::{
    handles::Unavailable,
    ids::{BindCode, ExternalUserId, OpenId, OpenKfId, Ticket, UnionId, UserId},
    messages::{StaffBindOutcome, StaffBindRequest, StaffTicketRequest, TicketRefusal, TicketRequest},
    ports::CallError,
    registry::records::{AuditKind, AuditRecord},
    registry::store::TreeId,
    registry::tests::records,
    testing::rig::{ACCOUNT, Rig, eventually},
};

const STAFF: Ways = Ways { link: false, card: false, unionid: false, window: false, staff: true };

fn typing(code: &BindCode, account: &str) -> StaffBindRequest {
    StaffBindRequest {
        userid: UserId::new("s1"),
        customer: ExternalUserId::new("wmA"),
        code: code.clone(),
        account: Some(OpenKfId::new(account)),
    }
}

fn opening(openid: &str, ticket: &Ticket) -> TicketRequest {
    TicketRequest { openid: OpenId::new(openid), unionid: None, ticket: ticket.clone() }
}

/// The accounts in which a customer was told something.
fn told_in(rig: &Rig, customer: &str) -> Vec<String> {
    let said = rig.wecom.said().into_iter().filter(|reply| reply.customer.as_str() == customer);
    said.map(|reply| reply.account.as_str().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn whom_an_employee_binds_is_told_where_they_wrote_whichever_account_the_client_names() {
    let mut rig = rig(STAFF).await;
    rig.wecom.set_profile("wmA", "Ann", None);
    rig.chat("wmA", "你好").await;
    let code = rig.new_code("oA").await.code;
    let outcome = rig.handles().staff_bind(typing(&code, "wkNobodys")).await.unwrap();
    assert!(matches!(outcome, StaffBindOutcome::Bound(_)));
    rig.settled().await;
    assert_eq!(told_in(&rig, "wmA"), [ACCOUNT]);
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    let card = StaffTicketRequest {
        userid: UserId::new("s1"),
        customer: ExternalUserId::new("wmA"),
        account: Some(OpenKfId::new("wkNobodys")),
    };
    let issued = rig.handles().staff_ticket(card).await.unwrap();
    rig.handles().redeem_ticket(opening("oB", &issued.ticket)).await.unwrap().unwrap();
    rig.settled().await;
    assert_eq!(told_in(&rig, "wmA"), [ACCOUNT; 2]);
}

#[tokio::test(start_paused = true)]
async fn another_persons_code_that_is_typed_again_and_again_is_audited_once() {
    let mut rig = rig(Ways { unionid: true, ..STAFF }).await;
    rig.wecom.set_profile("wmA", "Ann", Some("u1"));
    rig.handles().meet(OpenId::new("oB"), UnionId::new("u2")).await.unwrap();
    let code = rig.new_code("oB").await.code;
    for _ in 0..5 {
        let outcome = rig.handles().staff_bind(typing(&code, ACCOUNT)).await.unwrap();
        assert_eq!(outcome, StaffBindOutcome::OtherPerson);
    }
    rig.settled().await;
    rig.down().await;
    let audit: Vec<AuditRecord> =
        records(&rig, TreeId::Audit).await.into_iter().map(|(_, record)| record).collect();
    let kinds: Vec<_> = audit.iter().map(|record| record.what).collect();
    assert_eq!(kinds, [AuditKind::OtherPerson]);
}

#[tokio::test(start_paused = true)]
async fn a_card_that_is_looked_at_again_and_again_has_wecom_asked_once() {
    let mut rig = rig(Ways { card: true, staff: false, ..STAFF }).await;
    rig.wecom.set_profile("wmA", "Ann", None);
    rig.chat("wmA", "你好").await;
    let path = rig.wecom.card("wmA").unwrap();
    let ticket = Ticket::new(path.split_once("?ticket=").unwrap().1);
    let before = rig.wecom.profile_lookups().len();
    for _ in 0..5 {
        let view = rig.handles().look_at_ticket(opening("oA", &ticket)).await.unwrap().unwrap();
        assert_eq!(view.nickname.as_deref(), Some("Ann"));
    }
    assert_eq!(rig.wecom.profile_lookups().len() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_an_employees_asks_does_not_take_all_of_wecoms_seats() {
    let rig = rig(STAFF).await;
    rig.wecom.set_profile("wmA", "Ann", None);
    rig.wecom.hold_profiles(true);
    let asks: Vec<_> = (0..20)
        .map(|_| {
            let handles = rig.handles();
            tokio::spawn(async move { handles.staff_customer(ExternalUserId::new("wmA")).await })
        })
        .collect();
    eventually("some ask", async || !rig.wecom.profile_lookups().is_empty()).await;
    for _ in 0..50 {
        rig.breathe().await;
    }
    assert_eq!(rig.wecom.profile_lookups().len(), 2, "of the four that may be open");
    rig.wecom.hold_profiles(false);
    for ask in asks {
        assert!(ask.await.unwrap().is_ok(), "each has its turn");
    }
}

#[tokio::test(start_paused = true)]
async fn a_card_does_not_bind_unasked_because_others_keep_us_from_asking() {
    let mut rig = rig(Ways { card: true, unionid: true, ..STAFF }).await;
    rig.wecom.script_profiles([CallError::Unreachable("test".to_owned())]);
    rig.chat("wmA", "你好").await;
    let path = rig.wecom.card("wmA").unwrap();
    let ticket = Ticket::new(path.split_once("?ticket=").unwrap().1);
    rig.wecom.set_profile("wmA", "Ann", Some("u1"));
    rig.wecom.hold_profiles(true);
    let flood = async || {
        for _ in 0..2 {
            let handles = rig.handles();
            // What asks WeCom before anything else, so that it has its place in the queue as soon as it runs.
            let card = StaffTicketRequest {
                userid: UserId::new("staff1"),
                customer: ExternalUserId::new("wmA"),
                account: None,
            };
            drop(tokio::spawn(async move { handles.staff_ticket(card).await }));
        }
        tokio::task::yield_now().await;
        rig.pass_ms(500).await;
    };
    // The first two have their turn until 3 s, the next two from then on, and the card would wait until 4 s.
    flood().await;
    flood().await;
    let handles = rig.handles();
    let opened = TicketRequest { unionid: Some(UnionId::new("u2")), ..opening("oB", &ticket) };
    let redeemed = tokio::spawn(async move { handles.redeem_ticket(opened).await });
    rig.breathe().await;
    rig.pass_ms(2_000).await;
    rig.pass_ms(1_100).await;
    assert_eq!(redeemed.await.unwrap(), Err(Unavailable::Busy));
    assert_eq!(rig.bound_to("oB").await, None);
    rig.wecom.hold_profiles(false);
    rig.breathe().await;
    let opened = TicketRequest { unionid: Some(UnionId::new("u2")), ..opening("oB", &ticket) };
    assert_eq!(rig.handles().redeem_ticket(opened).await.unwrap(), Err(TicketRefusal::OtherPerson));
}

#[tokio::test(start_paused = true)]
async fn whoever_was_asked_about_while_our_clock_was_ahead_is_asked_about_again() {
    let mut rig = rig(Ways { unionid: true, staff: false, ..STAFF }).await;
    let began = rig.now();
    rig.wecom.set_profile("wmA", "Ann", None);
    rig.clock.advance(365 * 24 * 3600);
    rig.chat("wmA", "你好").await;
    rig.clock.set(began.0);
    rig.wecom.set_profile("wmA", "Ann", Some("u1"));
    rig.handles().meet(OpenId::new("oB"), UnionId::new("u2")).await.unwrap();
    let code = rig.new_code("oB").await;
    rig.chat("wmA", code.code.as_str()).await;
    assert_eq!(rig.bound_to("oB").await, None, "different people");
    assert_eq!(rig.heard("wmA"), ["other person"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_undoes_and_types_a_strangers_code_at_once_is_still_who_they_were() {
    let mut rig = rig(Ways { staff: false, ..STAFF }).await;
    rig.wecom.set_profile("wmA", "Ann", Some("u1"));
    rig.bind("oA", "wmA").await;
    assert_eq!(rig.binding("oA").await.unwrap().unionid, Some(UnionId::new("u1")));
    rig.restart_with(|setup| setup.policy.ways.unionid = true).await;
    rig.handles().meet(OpenId::new("oB"), UnionId::new("u2")).await.unwrap();
    let code = rig.new_code("oB").await;
    rig.clock.advance(10);
    let now = rig.now();
    rig.says("wmA", "解绑", now);
    rig.chat("wmA", code.code.as_str()).await;
    assert_eq!(rig.bound_to("oA").await, None);
    assert_eq!(rig.bound_to("oB").await, None, "different people");
    assert_eq!(rig.heard("wmA").last().unwrap(), "other person");
}

#[tokio::test(start_paused = true)]
async fn whoever_has_said_no_to_an_announced_user_is_not_asked_about_them_again_and_again() {
    let mut rig = rig(Ways { window: true, staff: false, ..STAFF }).await;
    let openid = OpenId::new("oA");
    for _ in 0..3 {
        rig.handles().open_intent(openid.clone(), None).await.unwrap();
        rig.clock.advance(2);
        rig.chat("wmV", "你好").await;
        if let Some((_, no)) = rig.wecom.question("wmV") {
            rig.wecom.taps(ACCOUNT, "wmV", &no, rig.now());
            rig.nudge().await;
            rig.settled().await;
        }
        rig.handles().unbind(openid.clone()).await.unwrap();
        rig.clock.advance(2);
    }
    let asked = rig.heard("wmV").iter().filter(|text| text.starts_with("confirm")).count();
    assert_eq!(asked, 1, "{:?}", rig.heard("wmV"));
}

#[tokio::test(start_paused = true)]
async fn of_more_questions_than_may_be_open_the_oldest_is_dead() {
    let mut rig = Rig::start_with(|setup| setup.policy.confirm_code = true, &[ACCOUNT]).await;
    let first = rig.new_code("o0").await;
    rig.chat("wmA", first.code.as_str()).await;
    let (yes, _) = rig.wecom.question("wmA").unwrap();
    for number in 1..=8 {
        let code = rig.new_code(&format!("o{number}")).await;
        rig.chat("wmA", code.code.as_str()).await;
    }
    rig.wecom.taps(ACCOUNT, "wmA", &yes, rig.now());
    rig.nudge().await;
    rig.settled().await;
    assert_eq!(rig.bound_to("o0").await, None);
}

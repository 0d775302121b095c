//! 7.7: what employees type, how often, and what the audit trail says of them.

use super::{Ways, rig};
use crate::{
    handles::StaffRefusal,
    ids::{BindCode, ExternalUserId, OpenId, OpenKfId, Ticket, UserId},
    messages::{StaffBindOutcome, StaffBindRequest, StaffTicketRequest, TicketRefusal, TicketRequest},
    ports::CallError,
    registry::{
        records::{AuditBy, AuditKind, AuditRecord, Method},
        store::TreeId,
        tests::records,
    },
    testing::rig::{ACCOUNT, Rig, eventually},
};

async fn staffed() -> Rig {
    let rig = rig(Ways { staff: true, unionid: true, ..Ways::default() }).await;
    rig.wecom.set_profile("wmA", "Ann", None);
    rig
}

fn typing(userid: &str, code: &str) -> StaffBindRequest {
    StaffBindRequest {
        userid: UserId::new(userid),
        customer: ExternalUserId::new("wmA"),
        code: BindCode::new(code),
        account: Some(OpenKfId::new(ACCOUNT)),
    }
}

async fn types(rig: &Rig, userid: &str, code: &str) -> StaffBindOutcome {
    rig.handles().staff_bind(typing(userid, code)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn wrong_codes_are_counted_per_employee_in_a_window() {
    let mut rig = staffed().await;
    let code = rig.new_code("oA").await;
    for _ in 0..5 {
        assert_eq!(types(&rig, "s1", "999999").await, StaffBindOutcome::CodeInvalid);
    }
    rig.pass(10).await;
    let too_many = StaffBindOutcome::TooMany { retry_after_s: 590 };
    assert_eq!(types(&rig, "s1", code.code.as_str()).await, too_many, "a right one, too");
    rig.restart().await;
    assert_eq!(types(&rig, "s1", "999999").await, too_many);
    assert!(matches!(types(&rig, "s2", &code.display).await, StaffBindOutcome::Bound(_)), "another employee");
    rig.clock.advance(590);
    assert_eq!(types(&rig, "s1", "999999").await, StaffBindOutcome::CodeInvalid, "another window");
    // An employee is no customer, whatever the name.
    rig.chat("s1", "999999").await;
    assert!(rig.heard("s1")[0].starts_with("wrong"));
}

#[tokio::test(start_paused = true)]
async fn what_is_over_or_no_code_is_not_counted() {
    let rig = staffed().await;
    let code = rig.new_code("oA").await;
    rig.clock.advance(600);
    for typed in [code.code.as_str(), "你好", "13800138000", code.code.as_str(), "", "1", "2", "3"] {
        assert_eq!(types(&rig, "s1", typed).await, StaffBindOutcome::CodeInvalid, "{typed}");
    }
    let code = rig.new_code("oA").await;
    assert!(matches!(types(&rig, "s1", code.code.as_str()).await, StaffBindOutcome::Bound(_)));
}

#[tokio::test(start_paused = true)]
async fn the_audit_trail_names_the_employee_and_the_customer_and_the_customer_is_told() {
    let mut rig = staffed().await;
    let code = rig.new_code("oA").await;
    let StaffBindOutcome::Bound(info) = types(&rig, "s1", code.code.as_str()).await else {
        panic!("not bound")
    };
    assert_eq!((info.method, info.customer.as_str()), ("staff", "wmA"));
    eventually("the customer is told", async || rig.heard("wmA").len() == 1).await;
    assert!(rig.heard("wmA")[0].starts_with("bound"));
    assert_eq!(types(&rig, "s1", code.code.as_str()).await, StaffBindOutcome::AlreadyBound);
    let other = rig.new_code("oB").await;
    for _ in 0..2 {
        assert_eq!(types(&rig, "s1", other.code.as_str()).await, StaffBindOutcome::Conflict);
    }
    rig.settled().await;
    rig.down().await;
    let audit: Vec<AuditRecord> =
        records(&rig, TreeId::Audit).await.into_iter().map(|(_, record)| record).collect();
    let [bound, conflict] = audit.as_slice() else { panic!("{audit:?}") };
    assert_eq!((bound.what, bound.method), (AuditKind::Bound, Some(Method::Staff)));
    assert_eq!(conflict.what, AuditKind::Conflict, "once per code and customer");
    for record in [bound, conflict] {
        assert_eq!(record.by, AuditBy::Staff(UserId::new("s1")));
        assert_eq!(record.customer, Some(ExternalUserId::new("wmA")));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_about_a_customer_whom_wecom_does_not_know_or_can_not_be_asked_about() {
    let rig = staffed().await;
    let code = rig.new_code("oA").await;
    let unknown =
        StaffBindRequest { customer: ExternalUserId::new("wmZ"), ..typing("s1", code.code.as_str()) };
    assert_eq!(rig.handles().staff_bind(unknown).await, Err(StaffRefusal::Unknown));
    let card = |customer: &str| StaffTicketRequest {
        userid: UserId::new("s1"),
        customer: ExternalUserId::new(customer),
        account: None,
    };
    assert_eq!(rig.handles().staff_ticket(card("wmZ")).await, Err(StaffRefusal::Unknown));
    let who = rig.handles().staff_customer(ExternalUserId::new("wmZ")).await;
    assert_eq!(who, Err(StaffRefusal::Unknown));
    rig.wecom.script_profiles((0..2).map(|_| CallError::Unreachable("test".to_owned())));
    assert_eq!(rig.handles().staff_ticket(card("wmA")).await, Err(StaffRefusal::Unaskable));
    let who = rig.handles().staff_customer(ExternalUserId::new("wmA")).await;
    assert_eq!(who, Err(StaffRefusal::Unaskable));
    assert!(rig.bindings().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_customer_whom_wecom_tells_of_no_more_is_still_known_to_us() {
    let mut rig = staffed().await;
    rig.chat("wmA", "你好").await;
    rig.wecom.forget_profile("wmA");
    let who = rig.handles().staff_customer(ExternalUserId::new("wmA")).await.unwrap();
    assert_eq!((who.nickname.as_deref(), who.binding), (Some("Ann"), None));
    let code = rig.new_code("oA").await;
    let typed = rig.handles().staff_bind(typing("s1", code.code.as_str())).await;
    assert_eq!(typed, Err(StaffRefusal::Unknown), "nothing is done without WeCom's word");
}

#[tokio::test(start_paused = true)]
async fn an_employees_card_is_not_for_a_different_person_and_says_who_sent_it() {
    let mut rig = staffed().await;
    rig.wecom.set_profile("wmB", "Bob", Some("u2"));
    let card = StaffTicketRequest {
        userid: UserId::new("s1"),
        customer: ExternalUserId::new("wmB"),
        account: Some(OpenKfId::new(ACCOUNT)),
    };
    let issued = rig.handles().staff_ticket(card).await.unwrap();
    assert!(issued.ticket.as_str().len() >= 22 && issued.path.ends_with(issued.ticket.as_str()));
    let request = |openid: &str, unionid: &str| TicketRequest {
        openid: OpenId::new(openid),
        unionid: Some(crate::ids::UnionId::new(unionid)),
        ticket: Ticket::new(issued.ticket.as_str()),
    };
    for _ in 0..2 {
        let outcome = rig.handles().redeem_ticket(request("oA", "u1")).await.unwrap();
        assert_eq!(outcome, Err(TicketRefusal::OtherPerson));
    }
    rig.handles().redeem_ticket(request("oB", "u2")).await.unwrap().unwrap();
    assert_eq!(rig.binding("oB").await.unwrap().method, "staff");
    rig.settled().await;
    assert!(rig.heard("wmB")[0].starts_with("bound"));
    rig.down().await;
    let audit: Vec<AuditRecord> =
        records(&rig, TreeId::Audit).await.into_iter().map(|(_, record)| record).collect();
    let kinds: Vec<_> = audit.iter().map(|record| (record.what, record.by.clone())).collect();
    let staff = AuditBy::Staff(UserId::new("s1"));
    assert_eq!(kinds, [(AuditKind::OtherPerson, AuditBy::User), (AuditKind::Bound, staff)]);
}

#[tokio::test(start_paused = true)]
async fn a_customer_whom_an_employee_binds_without_naming_the_account_is_told_where_they_wrote() {
    let mut rig = rig(Ways { staff: true, ..Ways::default() }).await;
    rig.wecom.set_profile("wmA", "Ann", None);
    rig.chat("wmA", "你好").await;
    let code = rig.new_code("oA").await;
    let request = StaffBindRequest { account: None, ..typing("s1", code.code.as_str()) };
    rig.handles().staff_bind(request).await.unwrap();
    eventually("the customer is told", async || rig.heard("wmA").len() == 1).await;
}

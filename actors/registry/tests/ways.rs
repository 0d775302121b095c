//! The further ways to bind, from the outside of the registry: one path through each.

use crate::{
    ids::{BindCode, ExternalUserId, OpenId, OpenKfId, Ticket, UnionId, UserId},
    messages::{
        IntentOutcome, StaffBindOutcome, StaffBindRequest, StaffTicketRequest, TicketRefusal, TicketRequest,
    },
    policy::{Handover, Ways},
    ports::Receiver,
    testing::rig::{ACCOUNT, Rig, eventually},
};

mod hostile;
mod people;
mod staff;
mod stored;
mod tickets;

fn all_ways() -> Ways {
    Ways { link: true, card: true, unionid: true, window: true, staff: true }
}

async fn rig(ways: Ways) -> Rig {
    Rig::start_with(|setup| setup.policy.ways = ways, &[ACCOUNT]).await
}

/// The ticket in the link of a user's code.
async fn link_of(rig: &Rig, openid: &str) -> Ticket {
    let url = rig.new_code(openid).await.link.url;
    let (_, ticket) = url.split_once("&scene_param=").expect("a ticket in the link");
    Ticket::new(ticket)
}

async fn look(rig: &mut Rig) {
    rig.nudge().await;
    rig.settled().await;
}

#[tokio::test(start_paused = true)]
async fn entering_by_a_link_asks_and_a_yes_binds() {
    let mut rig = rig(Ways { link: true, ..Ways::default() }).await;
    let ticket = link_of(&rig, "oA").await;
    assert_eq!(ticket.as_str().len(), 32);
    rig.wecom.enters(ACCOUNT, "wmA", Some(&ticket), Some("W1"), rig.now());
    look(&mut rig).await;
    assert_eq!(rig.wecom.welcomes().len(), 1, "the question goes out by the event's own right");
    assert_eq!(rig.bound_to("oA").await, None);
    let (yes, _) = rig.wecom.question("wmA").unwrap();
    // Somebody else's tap is talk.
    rig.wecom.taps(ACCOUNT, "wmB", &yes, rig.now());
    look(&mut rig).await;
    assert_eq!(rig.bound_to("oA").await, None);
    rig.wecom.taps(ACCOUNT, "wmA", &yes, rig.now());
    look(&mut rig).await;
    let binding = rig.binding("oA").await.unwrap();
    assert_eq!((binding.customer.as_str(), binding.method), ("wmA", "link"));
    rig.wecom.taps(ACCOUNT, "wmA", &yes, rig.now());
    look(&mut rig).await;
    assert!(rig.heard("wmA").last().unwrap().starts_with("expired"), "a second tap is too late");
}

#[tokio::test(start_paused = true)]
async fn a_missed_entry_is_made_up_for_at_the_next_message() {
    let mut rig = rig(Ways { link: true, ..Ways::default() }).await;
    let ticket = link_of(&rig, "oA").await;
    rig.wecom.set_entry("wmA", &ticket);
    rig.chat("wmA", "你好").await;
    let (yes, _) = rig.wecom.question("wmA").unwrap();
    rig.chat("wmA", "在吗").await;
    assert_eq!(rig.heard("wmA").len(), 1, "once per ticket and customer");
    rig.wecom.taps(ACCOUNT, "wmA", &yes, rig.now());
    look(&mut rig).await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
}

#[tokio::test(start_paused = true)]
async fn the_same_unionid_binds_without_a_word_whoever_comes_second() {
    let mut rig = rig(Ways { unionid: true, ..Ways::default() }).await;
    rig.wecom.set_profile("wmA", "Ann", Some("u1"));
    rig.wecom.set_profile("wmB", "Bob", Some("u2"));
    rig.handles().meet(OpenId::new("oA"), UnionId::new("u1")).await.unwrap();
    rig.chat("wmA", "你好").await;
    assert_eq!(rig.binding("oA").await.unwrap().method, "unionid");
    assert_eq!(rig.heard("wmA"), Vec::<String>::new());
    rig.chat("wmB", "你好").await;
    rig.handles().meet(OpenId::new("oB"), UnionId::new("u2")).await.unwrap();
    assert_eq!(rig.bound_to("oB").await.as_deref(), Some("wmB"));
    // A pair that was undone stays undone.
    rig.handles().unbind(OpenId::new("oB")).await.unwrap();
    rig.chat("wmB", "你好").await;
    rig.handles().meet(OpenId::new("oB"), UnionId::new("u2")).await.unwrap();
    assert_eq!(rig.bound_to("oB").await, None);
    // Different people can't be bound by a code either.
    let code = rig.new_code("oB").await;
    rig.wecom.set_profile("wmC", "Cat", Some("u3"));
    rig.chat("wmC", code.code.as_str()).await;
    assert_eq!(rig.bound_to("oB").await, None);
    assert_eq!(rig.heard("wmC"), ["other person"]);
}

#[tokio::test(start_paused = true)]
async fn a_card_binds_whoever_opens_it_and_agrees_once() {
    let mut rig = rig(Ways { card: true, ..Ways::default() }).await;
    rig.wecom.set_profile("wmA", "Ann", None);
    rig.chat("wmA", "你好").await;
    let path = rig.wecom.card("wmA").unwrap();
    let (page, ticket) = path.split_once("?ticket=").unwrap();
    assert_eq!(page, "pages/bind-account/bind-account.html");
    let request = |openid: &str| TicketRequest {
        openid: OpenId::new(openid),
        unionid: None,
        ticket: Ticket::new(ticket),
    };
    let view = rig.handles().look_at_ticket(request("oA")).await.unwrap().unwrap();
    assert_eq!(view.nickname.as_deref(), Some("Ann"));
    rig.handles().redeem_ticket(request("oA")).await.unwrap().unwrap();
    rig.handles().redeem_ticket(request("oA")).await.unwrap().expect("a retry");
    assert_eq!(rig.handles().redeem_ticket(request("oB")).await.unwrap(), Err(TicketRefusal::Invalid));
    assert_eq!(rig.binding("oA").await.unwrap().method, "card");
    eventually("the customer is told", async || rig.heard("wmA").len() == 2).await;
    rig.chat("wmA", "在吗").await;
    assert_eq!(rig.heard("wmA").len(), 2, "who is bound is not invited");
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    assert_eq!(rig.handles().redeem_ticket(request("oA")).await.unwrap(), Err(TicketRefusal::Invalid));
}

#[tokio::test(start_paused = true)]
async fn one_intent_and_one_arrival_are_asked_and_a_second_arrival_ends_it() {
    let mut rig = rig(Ways { window: true, ..Ways::default() }).await;
    let open = rig.handles().open_intent(OpenId::new("oA"), None).await.unwrap();
    assert!(matches!(open, IntentOutcome::Open { .. }));
    rig.pass(5).await;
    rig.chat("wmA", "你好").await;
    let (yes, _) = rig.wecom.question("wmA").unwrap();
    rig.wecom.taps(ACCOUNT, "wmA", &yes, rig.now());
    look(&mut rig).await;
    assert_eq!(rig.binding("oA").await.unwrap().method, "window");

    // A minute before an intent counts as its time.
    rig.pass(70).await;
    rig.handles().open_intent(OpenId::new("oB"), None).await.unwrap();
    rig.chat("wmB", "你好").await;
    let (yes, _) = rig.wecom.question("wmB").unwrap();
    rig.chat("wmC", "你好").await;
    assert!(rig.wecom.question("wmC").is_none());
    rig.wecom.taps(ACCOUNT, "wmB", &yes, rig.now());
    look(&mut rig).await;
    assert_eq!(rig.bound_to("oB").await, None, "a second customer came before the tap");
}

#[tokio::test(start_paused = true)]
async fn an_employee_binds_by_a_code_and_by_a_card() {
    let mut rig = rig(Ways { staff: true, ..Ways::default() }).await;
    rig.wecom.set_profile("wmA", "Ann", None);
    let code = rig.new_code("oA").await;
    let request = |code: &str| StaffBindRequest {
        userid: UserId::new("staff1"),
        customer: ExternalUserId::new("wmA"),
        code: BindCode::new(code),
        account: Some(OpenKfId::new(ACCOUNT)),
    };
    assert_eq!(rig.handles().staff_bind(request("999999")).await.unwrap(), StaffBindOutcome::CodeInvalid);
    let outcome = rig.handles().staff_bind(request(&code.display)).await.unwrap();
    assert!(matches!(outcome, StaffBindOutcome::Bound(_)), "{outcome:?}");
    let customer = rig.handles().staff_customer(ExternalUserId::new("wmA")).await.unwrap();
    assert_eq!(customer.binding.unwrap().method, "staff");
    rig.wecom.set_profile("wmB", "Bob", None);
    rig.chat("wmB", "你好").await;
    let card = StaffTicketRequest {
        userid: UserId::new("staff1"),
        customer: ExternalUserId::new("wmB"),
        account: None,
    };
    let issued = rig.handles().staff_ticket(card).await.unwrap();
    let request = TicketRequest { openid: OpenId::new("oB"), unionid: None, ticket: issued.ticket };
    rig.handles().redeem_ticket(request).await.unwrap().unwrap();
    let binding = rig.binding("oB").await.unwrap();
    assert_eq!((binding.method, binding.account), ("staff", Some(OpenKfId::new(ACCOUNT))));
    eventually("the customer is told, though the employee's page knew no account", async || {
        rig.heard("wmB").len() == 1
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn talk_is_handed_over_once_and_codes_are_not() {
    let mut rig = Rig::start_with(
        |setup| {
            setup.policy.ways = all_ways();
            setup.policy.handover = Handover::Pool;
        },
        &[ACCOUNT],
    )
    .await;
    let code = rig.new_code("oA").await;
    rig.chat("wmA", "999999").await;
    assert!(rig.wecom.transfers().is_empty());
    rig.chat("wmA", "你好").await;
    rig.chat("wmA", "在吗").await;
    let moved: Vec<_> = rig.wecom.transfers().into_iter().map(|(_, _, to)| to).collect();
    assert_eq!(moved, [Receiver::Pool]);
    rig.chat("wmA", code.code.as_str()).await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"), "a code binds all the same");
}

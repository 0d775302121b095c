//! Tickets of links and cards on a real store: given again, of other stores, raced for, told to nobody.

use std::collections::BTreeSet;

use super::{Ways, link_of, look, rig};
use crate::{
    ids::{OpenId, Ticket, UnionId},
    messages::{BindingStatus, IntentOutcome, IssueOutcome, TicketRefusal, TicketRequest},
    policy::OnConflict,
    testing::{
        SeededEntropy,
        rig::{ACCOUNT, Rig},
    },
};

fn request(openid: &str, ticket: &str) -> TicketRequest {
    TicketRequest { openid: OpenId::new(openid), unionid: None, ticket: Ticket::new(ticket) }
}

async fn card_of(rig: &mut Rig, customer: &str) -> String {
    rig.chat(customer, "你好").await;
    let path = rig.wecom.card(customer).expect("a card");
    path.split_once("?ticket=").unwrap().1.to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_code_given_again_has_the_same_ticket_and_a_new_one_another() {
    let mut rig = rig(Ways { link: true, ..Ways::default() }).await;
    let first = rig.new_code("oA").await.link.url;
    let IssueOutcome::Again(again) = rig.issue("oA").await else { panic!("not again") };
    assert_eq!(again.link.url, first);
    rig.restart().await;
    let BindingStatus::Pending(seen) = rig.status("oA").await else { panic!("not pending") };
    assert_eq!(seen.link.url, first, "the poll shows the same");
    assert_ne!(rig.new_code("oA").await.link.url, first);
}

#[tokio::test(start_paused = true)]
async fn tickets_have_their_form_and_none_is_like_another() {
    let rig = rig(Ways { link: true, ..Ways::default() }).await;
    let mut seen = BTreeSet::new();
    for n in 0..50 {
        let ticket = link_of(&rig, &format!("o{n}")).await;
        let text = ticket.as_str().to_owned();
        assert!(text.len() <= 32, "{text}");
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'), "{text}");
        assert!(seen.insert(text));
    }
    for place in 0..32 {
        let here: BTreeSet<u8> = seen.iter().map(|text| text.as_bytes()[place]).collect();
        assert!(here.len() > 4, "place {place} is the same in all");
    }
}

#[tokio::test(start_paused = true)]
async fn the_ticket_of_another_store_opens_nothing() {
    let theirs = rig(Ways { link: true, ..Ways::default() }).await;
    let mut mine = Rig::start_with(
        |setup| {
            setup.policy.ways.link = true;
            setup.entropy = std::sync::Arc::new(SeededEntropy::new(99));
        },
        &[ACCOUNT],
    )
    .await;
    let ticket = link_of(&theirs, "oA").await;
    link_of(&mine, "oA").await;
    mine.wecom.enters(ACCOUNT, "wmA", Some(&ticket), Some("W1"), mine.now());
    look(&mut mine).await;
    assert!(mine.wecom.said().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_link_without_a_scene_is_passed_on_unaltered() {
    for (own, altered) in [
        ("https://work.weixin.qq.com/kfid/kfc1", false),
        ("https://work.weixin.qq.com/kf/kfc1?encScene=OLD", false),
        ("https://work.weixin.qq.com/kf/kfc1?enc_scene=ENC", true),
    ] {
        let rig = Rig::start_with(
            |setup| {
                setup.policy.ways.link = true;
                setup.sync_policy.own_link = Some(own.to_owned());
            },
            &[ACCOUNT],
        )
        .await;
        let url = rig.new_code("oA").await.link.url;
        assert_eq!(url != own, altered, "{url}");
        assert!(url.starts_with(own));
    }
    let rig = rig(Ways::default()).await;
    assert!(!rig.new_code("oA").await.link.url.contains("scene_param"), "the way is off");
}

#[tokio::test(start_paused = true)]
async fn of_a_link_a_code_and_a_card_the_first_wins_and_the_others_die_with_it() {
    let mut rig = rig(Ways { link: true, card: true, ..Ways::default() }).await;
    let card = card_of(&mut rig, "wmA").await;
    let code = rig.new_code("oA").await;
    let link = Ticket::new(code.link.url.split_once("&scene_param=").unwrap().1);
    rig.wecom.enters(ACCOUNT, "wmB", Some(&link), Some("W1"), rig.now());
    look(&mut rig).await;
    let (yes, _) = rig.wecom.question("wmB").unwrap();
    rig.handles().redeem_ticket(request("oA", &card)).await.unwrap().unwrap();
    rig.wecom.taps(ACCOUNT, "wmB", &yes, rig.now());
    look(&mut rig).await;
    rig.chat("wmB", code.code.as_str()).await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    assert!(rig.heard("wmB").iter().rev().take(2).all(|text| text.starts_with("expired")));
    // Nothing that existed then binds after the unbinding, from whichever side.
    rig.chat("wmA", "解绑").await;
    assert_eq!(rig.handles().redeem_ticket(request("oA", &card)).await.unwrap(), Err(TicketRefusal::Invalid));
    assert_eq!(rig.handles().redeem_ticket(request("oC", &card)).await.unwrap(), Err(TicketRefusal::Invalid));
    rig.wecom.enters(ACCOUNT, "wmB", Some(&link), None, rig.now());
    rig.wecom.taps(ACCOUNT, "wmB", &yes, rig.now());
    look(&mut rig).await;
    assert!(rig.bindings().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_card_that_existed_when_a_user_was_unbound_binds_that_user_no_more() {
    for was_bound in [false, true] {
        let mut rig = rig(Ways { card: true, ..Ways::default() }).await;
        if was_bound {
            rig.bind("oA", "wmX").await;
        }
        let card = card_of(&mut rig, "wmA").await;
        // Off and on again does not help it.
        rig.restart_with(|setup| setup.policy.ways.card = false).await;
        rig.handles().unbind(OpenId::new("oA")).await.unwrap();
        rig.restart_with(|setup| setup.policy.ways.card = true).await;
        assert_eq!(
            rig.handles().redeem_ticket(request("oA", &card)).await.unwrap(),
            Err(TicketRefusal::Invalid)
        );
        rig.handles().redeem_ticket(request("oB", &card)).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_card_dies_with_a_binding_that_was_made_while_the_way_was_off() {
    let mut rig = Rig::start_with(
        |setup| {
            setup.policy.ways.card = true;
            setup.policy.on_conflict = OnConflict::Replace;
        },
        &[ACCOUNT],
    )
    .await;
    let card = card_of(&mut rig, "wmA").await;
    rig.restart_with(|setup| setup.policy.ways.card = false).await;
    rig.bind("oA", "wmA").await;
    rig.restart_with(|setup| setup.policy.ways.card = true).await;
    assert_eq!(rig.handles().redeem_ticket(request("oB", &card)).await.unwrap(), Err(TicketRefusal::Invalid));
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_two_users_redeem_at_once_binds_one() {
    let mut rig = rig(Ways { card: true, ..Ways::default() }).await;
    let card = card_of(&mut rig, "wmA").await;
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let (handles, card) = (rig.handles(), card.clone());
            tokio::spawn(
                async move { handles.redeem_ticket(request(&format!("o{n}"), &card)).await.unwrap() },
            )
        })
        .collect();
    let mut bound = 0;
    for task in tasks {
        bound += usize::from(task.await.unwrap().is_ok());
    }
    assert_eq!((bound, rig.bindings().await.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_ticket_asks_wecom_who_the_customer_is_and_decides_without_where_it_is_silent() {
    for wecom_tells in [true, false] {
        let mut rig = rig(Ways { card: true, unionid: true, ..Ways::default() }).await;
        rig.wecom.script_profiles([crate::ports::CallError::Unreachable("test".to_owned())]);
        let card = card_of(&mut rig, "wmA").await;
        rig.wecom.set_profile("wmA", "Ann", Some("u1"));
        if !wecom_tells {
            rig.wecom.script_profiles([crate::ports::CallError::Unreachable("test".to_owned())]);
        }
        let request = TicketRequest { unionid: Some(UnionId::new("u2")), ..request("oA", &card) };
        let outcome = rig.handles().redeem_ticket(request).await.unwrap();
        assert_eq!(outcome == Err(TicketRefusal::OtherPerson), wecom_tells, "{outcome:?}");
        rig.settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_intent_opened_right_after_an_unbinding_counts_and_one_of_before_does_not() {
    let mut rig = rig(Ways { window: true, ..Ways::default() }).await;
    rig.pass(70).await;
    rig.handles().open_intent(OpenId::new("oA"), None).await.unwrap();
    rig.pass_ms(200).await;
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    rig.chat("wmA", "你好").await;
    assert!(rig.wecom.question("wmA").is_none());
    rig.pass(400).await;
    rig.handles().open_intent(OpenId::new("oA"), None).await.unwrap();
    rig.pass_ms(100).await;
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    rig.pass_ms(100).await;
    let open = rig.handles().open_intent(OpenId::new("oA"), None).await.unwrap();
    assert!(matches!(open, IntentOutcome::Open { .. }));
    rig.restart().await;
    rig.chat("wmA", "在吗").await;
    let (yes, _) = rig.wecom.question("wmA").expect("a question");
    rig.wecom.taps(ACCOUNT, "wmA", &yes, rig.now());
    look(&mut rig).await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    let open = rig.handles().open_intent(OpenId::new("oA"), None).await.unwrap();
    assert_eq!(open, IntentOutcome::AlreadyBound);
}

//! Whom WeCom is asked about before a page is decided, and what becomes of what it tells.

use super::{Ways, look, rig};
use crate::{
    ids::{OpenId, Ticket, UnionId},
    policy::OnConflict,
    ports::CallError,
    testing::rig::{ACCOUNT, Rig},
};

fn both() -> Ways {
    Ways { unionid: true, link: true, ..Ways::default() }
}

#[tokio::test(start_paused = true)]
async fn a_page_asks_once_for_all_and_only_about_those_who_matter() {
    let mut rig = rig(Ways { unionid: true, ..Ways::default() }).await;
    rig.bind("oX", "wmX").await;
    let before = rig.wecom.profile_lookups().len();
    for customer in ["wmA", "wmB", "wmC"] {
        rig.wecom.set_profile(customer, customer, Some(customer));
        rig.says(customer, "你好", rig.now());
        rig.says(customer, "在吗", rig.now());
    }
    rig.says("wmX", "你好", rig.now());
    rig.says("wmOld", "你好", crate::ids::Timestamp(rig.now().0 - 48 * 3600));
    look(&mut rig).await;
    let asked: Vec<Vec<String>> = rig.wecom.profile_lookups()[before..]
        .iter()
        .map(|call| call.iter().map(|customer| customer.as_str().to_owned()).collect())
        .collect();
    assert_eq!(asked, [["wmA", "wmB", "wmC"]]);
    for customer in ["wmA", "wmB"] {
        rig.chat(customer, "还在吗").await;
    }
    assert_eq!(rig.wecom.profile_lookups().len(), before + 1, "what is known is not asked for again");
}

#[tokio::test(start_paused = true)]
async fn who_has_no_unionid_is_asked_about_again_after_a_day() {
    let mut rig = rig(Ways { unionid: true, ..Ways::default() }).await;
    rig.wecom.set_profile("wmA", "Ann", None);
    for (later, lookups) in [(0, 1), (24 * 3600 - 1, 1), (1, 2)] {
        rig.clock.advance(later);
        rig.chat("wmA", "你好").await;
        assert_eq!(rig.wecom.profile_lookups().len(), lookups);
    }
}

#[tokio::test(start_paused = true)]
async fn while_wecom_is_down_pages_are_decided_by_the_other_guards() {
    let mut rig = rig(both()).await;
    rig.wecom.set_profile("wmA", "Ann", Some("u2"));
    rig.handles().meet(OpenId::new("oA"), UnionId::new("u1")).await.unwrap();
    let code = rig.new_code("oA").await;
    rig.wecom.script_profiles([CallError::Unreachable("test".to_owned())]);
    rig.chat_unanswered("wmA", code.code.as_str()).await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    rig.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_page_waits_three_seconds_for_what_wecom_tells_and_no_longer() {
    let mut rig = rig(both()).await;
    rig.wecom.set_profile("wmA", "Ann", Some("u2"));
    rig.handles().meet(OpenId::new("oA"), UnionId::new("u1")).await.unwrap();
    let code = rig.new_code("oA").await;
    rig.wecom.hold_profiles(true);
    rig.says("wmA", code.code.as_str(), rig.now());
    rig.nudge().await;
    crate::testing::rig::eventually("WeCom is asked", async || rig.wecom.profile_lookups().len() == 1).await;
    rig.pass(2).await;
    assert_eq!(rig.bound_to("oA").await, None, "the page waits, and nobody else does");
    rig.pass(2).await;
    rig.decided().await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    rig.wecom.hold_profiles(false);
    rig.pass(5).await;
    rig.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_missed_entry_is_found_also_where_later_talk_stands_on_the_same_page() {
    // What is asked would come too late; where nothing is asked, it binds.
    let change = |setup: &mut crate::testing::rig::Setup| {
        setup.policy.ways = both();
        setup.policy.confirm_link = false;
    };
    let mut rig = Rig::start_with(change, &[ACCOUNT]).await;
    let code = rig.new_code("oA").await;
    let ticket = Ticket::new(code.link.url.split_once("&scene_param=").unwrap().1);
    rig.wecom.set_entry("wmA", &ticket);
    let sent = rig.now();
    rig.clock.advance(620);
    rig.says("wmA", "你好", sent);
    rig.says("wmA", "在吗", rig.now());
    look(&mut rig).await;
    assert_eq!(rig.binding("oA").await.unwrap().bound_at, sent);
}

#[tokio::test(start_paused = true)]
async fn where_a_binding_may_be_replaced_the_unionid_of_a_bound_customer_is_wanted_too() {
    let mut rig = Rig::start_with(
        |setup| {
            setup.policy.on_conflict = OnConflict::Replace;
        },
        &[ACCOUNT],
    )
    .await;
    rig.bind("oX", "wmA").await;
    rig.restart_with(|setup| setup.policy.ways = both()).await;
    rig.wecom.set_profile("wmA", "Ann", Some("u1"));
    rig.handles().meet(OpenId::new("oA"), UnionId::new("u2")).await.unwrap();
    let code = rig.new_code("oA").await;
    rig.chat("wmA", code.code.as_str()).await;
    assert_eq!(rig.user_of("wmA").await.as_deref(), Some("oX"));
    assert_eq!(rig.heard("wmA").last().unwrap(), "other person");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_known_writes_nothing_and_one_that_changes_moves_the_unionid() {
    let mut rig = rig(both()).await;
    rig.wecom.set_profile("wmA", "Ann", Some("u1"));
    rig.wecom.set_profile("wmB", "Bob", Some("u2"));
    rig.handles().meet(OpenId::new("oA"), UnionId::new("u1")).await.unwrap();
    rig.handles().meet(OpenId::new("oA"), UnionId::new("u2")).await.unwrap();
    rig.chat("wmA", "你好").await;
    assert_eq!(rig.bound_to("oA").await, None, "it is not that person any more");
    rig.chat("wmB", "你好").await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmB"));
}

#[tokio::test(start_paused = true)]
async fn a_pair_undone_while_the_way_was_off_stays_undone() {
    let mut rig = rig(Ways::default()).await;
    rig.bind("oA", "wmA").await;
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    rig.restart_with(|setup| setup.policy.ways = both()).await;
    rig.wecom.set_profile("wmA", "Ann", Some("u1"));
    rig.handles().meet(OpenId::new("oA"), UnionId::new("u1")).await.unwrap();
    rig.chat("wmA", "你好").await;
    assert_eq!(rig.bound_to("oA").await, None);
    rig.new_code("oA").await;
    assert_eq!(rig.bound_to("oA").await, None);
}

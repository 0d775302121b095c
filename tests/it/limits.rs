//! Rules 6 and 7 of binding: wrong codes are counted and lock, and codes grow with the crowd and with guessing.

use kfbind::sim::Customer;

use crate::support::{Code, START_S, TestApp, heard, hears};

const MINUTE_S: u64 = 60;
const DAY_S: u64 = 24 * 3600;

/// The customer writes so many wrong codes, one by one, from this number on.
async fn guess(
    app: &TestApp,
    customer: &Customer,
    code: &Code,
    numbers: std::ops::Range<u64>,
) -> Vec<String> {
    for number in numbers {
        let before = heard(customer).len();
        customer.says(&app.account(), &code.other(number));
        hears(customer, before + 1).await;
    }
    heard(customer)
}

#[tokio::test]
async fn the_fifth_wrong_code_locks_and_then_nothing_is_answered_or_bound() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let customer = app.sim.customer("c");
    let said = guess(&app, &customer, &code, 0..5).await;
    assert_eq!(said, ["wrong_code", "wrong_code", "wrong_code", "wrong_code", "locked"]);
    customer.says(&app.account(), &code.other(6));
    customer.says(&app.account(), &code.text);
    app.settled().await;
    assert_eq!(heard(&customer).len(), 5);
    assert_eq!(phone.status().await, "pending");
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"locked\"}").await, 2.0);
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"wrong\"}").await, 5.0);
    // Somebody else is not locked.
    let other = app.sim.customer("other");
    other.says(&app.account(), &code.text);
    phone.until("bound").await;
}

#[tokio::test]
async fn a_lock_ends_with_the_window_that_began_with_the_first_wrong_code() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let customer = app.sim.customer("c");
    guess(&app, &customer, &code, 0..1).await;
    app.clock.advance(5 * MINUTE_S);
    assert_eq!(guess(&app, &customer, &code, 1..5).await[4], "locked");
    let code = phone.issue().await;
    app.clock.advance(5 * MINUTE_S - 1);
    customer.says(&app.account(), &code.text);
    app.settled().await;
    assert_eq!(phone.status().await, "pending", "a second before the window ends");
    app.clock.advance(1);
    customer.says(&app.account(), &code.text);
    phone.until("bound").await;
}

#[tokio::test]
async fn a_lock_is_judged_by_when_messages_were_sent() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let customer = app.sim.customer("c");
    guess(&app, &customer, &code, 0..5).await;
    let code = phone.issue().await;
    app.clock.advance(11 * MINUTE_S);
    // Sent while locked, and arrived late.
    customer.says_at(&app.account(), &code.text, START_S + 9 * MINUTE_S);
    app.settled().await;
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"locked\"}").await, 1.0);
    assert_eq!(phone.status().await, "unbound");
}

#[tokio::test]
async fn each_further_lock_lasts_twice_as_long() {
    let app = TestApp::with(&[("messages.locked", "\"locked {minutes}\"")]).await;
    let code = app.login("u").await.issue().await;
    let customer = app.sim.customer("c");
    for (number, minutes) in (0..).zip([10, 20, 40]) {
        let said = guess(&app, &customer, &code, number * 5..number * 5 + 5).await;
        assert_eq!(said.last().unwrap(), &format!("locked {minutes}"));
        app.clock.advance(minutes * MINUTE_S);
    }
}

#[tokio::test]
async fn thirty_days_without_a_wrong_code_start_afresh() {
    let app = TestApp::with(&[("messages.locked", "\"locked {minutes}\"")]).await;
    let code = app.login("u").await.issue().await;
    let customer = app.sim.customer("c");
    assert_eq!(guess(&app, &customer, &code, 0..5).await[4], "locked 10");
    app.clock.advance(29 * DAY_S);
    assert_eq!(guess(&app, &customer, &code, 5..10).await[9], "locked 20");
    app.clock.advance(30 * DAY_S);
    assert_eq!(guess(&app, &customer, &code, 10..15).await[14], "locked 10");
}

#[tokio::test]
async fn a_binding_forgives_no_wrong_codes() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let customer = app.sim.customer("c");
    guess(&app, &customer, &code, 0..4).await;
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 5).await[4], "bound");
    assert_eq!(guess(&app, &customer, &code, 4..5).await[5], "locked");
}

#[tokio::test]
async fn expired_revoked_and_spent_codes_are_not_counted() {
    let app = TestApp::start().await;
    let (_, _, spent) = app.bound("first").await;
    let phone = app.login("u").await;
    let revoked = phone.issue().await;
    let expired = phone.issue().await;
    app.clock.advance(600);
    let customer = app.sim.customer("c");
    let mut count = 0;
    for code in [&spent, &revoked, &expired, &spent, &revoked, &expired] {
        count += 1;
        customer.says(&app.account(), &code.text);
        assert_eq!(hears(&customer, count).await.last().unwrap(), "expired_code");
    }
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"wrong\"}").await, 0.0);
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"expired\"}").await, 6.0);
    let fresh = phone.issue().await;
    customer.says(&app.account(), &fresh.text);
    phone.until("bound").await;
}

#[tokio::test]
async fn what_was_sent_before_the_store_was_made_is_not_counted() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let customer = app.sim.customer("c");
    for number in 0..6 {
        customer.says_at(&app.account(), &code.other(number), START_S - 1);
    }
    app.settled().await;
    customer.says(&app.account(), &code.text);
    phone.until("bound").await;
}

#[tokio::test]
async fn the_hundredth_wrong_code_locks_until_the_back_end_lifts_it() {
    let app = TestApp::with(&[("limits.wrong_codes_per_customer", "\"1000/1m\"")]).await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let customer = app.sim.customer("c");
    for batch in 0..25 {
        let codes: Vec<String> = (0..4).map(|number| code.other(batch * 4 + number)).collect();
        customer.says(&app.account(), &codes.join(" "));
        if batch == 23 {
            app.settled().await;
            assert!(!heard(&customer).contains(&"locked".to_owned()), "96 wrong codes");
        }
    }
    app.settled().await;
    app.clock.advance(60 * DAY_S);
    let phone = app.login("u").await;
    let code = phone.issue().await;
    customer.says(&app.account(), &code.text);
    app.settled().await;
    assert_eq!(phone.status().await, "pending", "two months later");
    app.admin().delete(&format!("/api/admin/locks/{}", customer.external_userid())).await.expect(204);
    customer.says(&app.account(), &code.text);
    phone.until("bound").await;
}

#[tokio::test]
async fn the_back_end_lifts_a_lock() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let customer = app.sim.customer("c");
    guess(&app, &customer, &code, 0..5).await;
    app.admin().delete(&format!("/api/admin/locks/{}", customer.external_userid())).await.expect(204);
    customer.says(&app.account(), &code.text);
    phone.until("bound").await;
}

#[tokio::test]
async fn a_lock_holds_after_a_restart() {
    let mut app = TestApp::start().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let customer = app.sim.customer("c");
    guess(&app, &customer, &code, 0..5).await;
    app.restart().await;
    customer.says(&app.account(), &code.text);
    app.settled().await;
    assert_eq!(phone.status().await, "pending");
}

// ---- 7: codes grow --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn codes_grow_with_the_number_of_live_ones() {
    let app = TestApp::start().await;
    let mut lengths = Vec::new();
    let mut last = None;
    for number in 0..11 {
        let phone = app.login(&format!("user {number}")).await;
        let code = phone.issue().await;
        lengths.push(code.text.len());
        last = Some((phone, code));
    }
    assert_eq!(lengths, [6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 7]);
    assert_eq!(app.metric("kfbind_codes_live").await, 11.0);
    let (phone, code) = last.unwrap();
    assert_eq!(code.display, format!("{} {}", &code.text[..3], &code.text[3..]));
    app.sim.customer("c").says(&app.account(), &code.display);
    phone.until("bound").await;
    assert_eq!(app.metric("kfbind_codes_live").await, 10.0);
    // The crowd has gone, and so have the long codes.
    app.clock.advance(600);
    assert_eq!(app.login("later").await.issue().await.text.len(), 6);
}

#[tokio::test]
async fn codes_grow_with_guessing_for_a_day() {
    let app = TestApp::start().await;
    let code = app.login("u").await.issue().await;
    assert_eq!(app.metric("kfbind_guessing").await, 0.0);
    for guesser in 0..21 {
        let customer = app.sim.customer(&format!("guesser {guesser}"));
        let codes: Vec<String> = (0..5).map(|number| code.other(guesser * 5 + number)).collect();
        customer.says(&app.account(), &codes.join(" "));
    }
    app.settled().await;
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"wrong\"}").await, 105.0);
    assert_eq!(app.metric("kfbind_guessing").await, 1.0);
    assert_eq!(app.login("second").await.issue().await.text.len(), 7);
    app.clock.advance(DAY_S + MINUTE_S);
    assert_eq!(app.login("third").await.issue().await.text.len(), 6);
    assert_eq!(app.metric("kfbind_guessing").await, 0.0);
}

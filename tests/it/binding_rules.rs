//! Rules 1 to 4 and 9 of binding: how long a code lives, what it binds, and how a binding ends.

use std::sync::Arc;

use actors::ports::Entropy;
use serde_json::{Value, json};

use crate::support::{Options, START_S, TestApp, heard, hears, rfc3339, text_message};

const MINUTE_S: u64 = 60;
const CODE_TTL_S: u64 = 600;

// ---- 1: one live code -----------------------------------------------------------------------------------------

#[tokio::test]
async fn a_new_code_revokes_the_old_one() {
    let app = TestApp::start().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let old = phone.issue().await;
    let new = phone.issue().await;
    assert_ne!(old.text, new.text);
    customer.says(&app.account(), &old.text);
    assert_eq!(hears(&customer, 1).await, ["expired_code"]);
    assert_eq!(phone.status().await, "pending");
    customer.says(&app.account(), &new.text);
    assert_eq!(hears(&customer, 2).await, ["expired_code", "bound"]);
    phone.until("bound").await;
}

#[tokio::test]
async fn a_message_sent_before_a_code_was_revoked_binds_and_one_sent_after_does_not() {
    for (sent_after_s, status) in [(4, "bound"), (5, "pending")] {
        let app = TestApp::start().await;
        let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
        let old = phone.issue().await;
        app.clock.advance(5);
        phone.issue().await;
        customer.says_at(&app.account(), &old.text, START_S + sent_after_s);
        app.settled().await;
        assert_eq!(phone.status().await, status, "sent {sent_after_s} s after the first code");
    }
}

// ---- 2: a code is judged by when the message was sent -----------------------------------------------------------

#[tokio::test]
async fn a_message_that_arrives_after_the_code_has_ended_binds_from_when_it_was_sent() {
    let app = TestApp::start().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    app.clock.advance(CODE_TTL_S + 5 * MINUTE_S);
    customer.says_at(&app.account(), &code.text, START_S + 9 * MINUTE_S);
    let view = phone.until("bound").await;
    assert_eq!(view["binding"]["bound_at"], rfc3339(START_S + 9 * MINUTE_S));
    assert_eq!(view["binding"]["method"], "code");
    assert_eq!(hears(&customer, 1).await, ["bound"]);
}

#[tokio::test]
async fn a_code_lives_from_a_minute_before_it_was_made_to_a_second_before_its_end() {
    let cases: [(i64, &str); 4] =
        [(-61, "expired_code"), (-60, "bound"), (599, "bound"), (600, "expired_code")];
    for (offset_s, answer) in cases {
        let app = TestApp::start().await;
        let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
        app.clock.advance(2 * MINUTE_S);
        let code = phone.issue().await;
        let issued_at = START_S + 2 * MINUTE_S;
        app.clock.advance(CODE_TTL_S);
        customer.says_at(&app.account(), &code.text, issued_at.saturating_add_signed(offset_s));
        app.settled().await;
        // The earliest of them are too old for an answer; then the binding itself tells.
        let said = heard(&customer);
        assert!(said.is_empty() || said == [answer], "{offset_s} s: {said:?}");
        let expected = if answer == "bound" { "bound" } else { "unbound" };
        assert_eq!(phone.status().await, expected, "{offset_s} s");
    }
}

#[tokio::test]
async fn a_known_code_sent_too_early_is_treated_as_expired_and_not_counted() {
    let app = TestApp::start().await;
    app.clock.advance(5 * MINUTE_S);
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    // One by one: WeCom takes five answers after a message.
    for count in 1..=6 {
        customer.says_at(&app.account(), &code.text, START_S + 3 * MINUTE_S);
        assert_eq!(hears(&customer, count).await, vec!["expired_code"; count]);
    }
    customer.says(&app.account(), &code.text);
    phone.until("bound").await;
}

/// Always the same bytes, so that the same code would come up again and again.
#[derive(Debug)]
struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

#[tokio::test]
async fn digits_of_the_last_three_days_are_not_given_to_somebody_else() {
    let app = TestApp::open(Options { entropy: Arc::new(Zeros), ..Options::default() }).await;
    let first = app.login("first").await.issue().await;
    app.clock.advance(CODE_TTL_S + 2 * 24 * 3600);
    let second = app.login("second").await.issue().await;
    assert_eq!((&*first.text, &*second.text), ("000000", "0000000"), "drawn from zeros");
}

// ---- 3: once ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_code_binds_once() {
    let app = TestApp::start().await;
    let (_, _, code) = app.bound("first").await;
    let second = app.sim.customer("second");
    second.says(&app.account(), &code.text);
    assert_eq!(hears(&second, 1).await, ["expired_code"]);
    assert_eq!(app.metric("kfbind_bindings").await, 1.0);
}

#[tokio::test]
async fn a_message_that_a_later_page_brings_again_acts_once() {
    let app = TestApp::start().await;
    let (phone, customer) = (app.login("u").await, app.sim.customer("c"));
    let code = phone.issue().await;
    for number in 0..4 {
        customer.says(&app.account(), &code.other(number));
    }
    assert_eq!(hears(&customer, 4).await, ["wrong_code"; 4]);
    app.settled().await;
    app.sim.switch(|wecom| wecom.cursor_jumps_back = 4);
    app.sim.push_callback(&app.account());
    app.metric_reaches("kfbind_sync_messages_total{kind=\"repeated\"}", 4.0).await;
    app.settled().await;
    // Counted twice, they would have locked the customer at the fifth.
    assert_eq!(heard(&customer), ["wrong_code"; 4]);
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 5).await[4], "bound");
    app.settled().await;
    app.sim.switch(|wecom| wecom.cursor_jumps_back = 5);
    app.settled().await;
    assert_eq!(heard(&customer).len(), 5);
    assert_eq!(app.metric("kfbind_bindings_total{method=\"code\"}").await, 1.0);
}

#[tokio::test]
async fn a_repeated_message_does_not_bind_again_after_an_unbinding() {
    let app = TestApp::start().await;
    let (phone, customer, _) = app.bound("u").await;
    phone.unbind().await;
    app.settled().await;
    app.sim.switch(|wecom| wecom.cursor_jumps_back = 1);
    app.settled().await;
    assert_eq!(phone.status().await, "unbound");
    assert_eq!(heard(&customer), ["bound"]);
}

#[tokio::test]
async fn one_msgid_in_two_accounts_is_two_messages() {
    let app = TestApp::open(Options::accounts(2)).await;
    let mut phones = Vec::new();
    for (number, name) in ["first", "second"].into_iter().enumerate() {
        let phone = app.login(name).await;
        let code = phone.issue().await;
        let (account, customer) = (app.sim.account(number), app.sim.customer(name));
        let id = customer.external_userid();
        app.sim.raw_message(&account, text_message(&account, "sameMsgId", id, START_S, &code.text));
        phones.push(phone);
    }
    for phone in phones {
        phone.until("bound").await;
    }
}

// ---- 4: one to one ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_customer_bound_elsewhere_is_told_so_and_the_code_lives_on() {
    let app = TestApp::start().await;
    let (first, customer, _) = app.bound("first").await;
    let second = app.login("second").await;
    let code = second.issue().await;
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 2).await, ["bound", "conflict"]);
    assert_eq!((first.status().await, second.status().await), ("bound".into(), "pending".into()));
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"conflict\"}").await, 1.0);
    let other = app.sim.customer("other");
    other.says(&app.account(), &code.text);
    assert_eq!(hears(&other, 1).await, ["bound"]);
    second.until("bound").await;
}

#[tokio::test]
async fn with_replace_the_new_binding_takes_the_place_of_the_old_one() {
    let app = TestApp::with(&[("binding.on_conflict", "\"replace\"")]).await;
    let (first, customer, _) = app.bound("first").await;
    let second = app.login("second").await;
    let code = second.issue().await;
    app.clock.advance(1);
    customer.says(&app.account(), &code.text);
    second.until("bound").await;
    assert_eq!(first.status().await, "unbound");
    assert_eq!(hears(&customer, 2).await, ["bound", "bound"]);
    assert_eq!(app.metric("kfbind_bindings").await, 1.0);
    assert_eq!(app.metric("kfbind_bindings_total{method=\"code\"}").await, 2.0);
}

#[tokio::test]
async fn with_replace_a_message_sent_before_the_binding_does_not_replace_it() {
    let mut options = Options::accounts(2);
    options.settings = vec![("binding.on_conflict", "\"replace\"".into())];
    let app = TestApp::open(options).await;
    let second = app.login("second").await;
    let code = second.issue().await;
    app.clock.advance(10);
    let (first, customer, _) = app.bound("first").await;
    customer.says_at(&app.sim.account(1), &code.text, START_S + 9);
    assert_eq!(hears(&customer, 2).await, ["bound", "conflict"]);
    assert_eq!((first.status().await, second.status().await), ("bound".into(), "pending".into()));
}

#[tokio::test]
async fn the_same_pair_again_is_already_bound_and_nothing_changes() {
    let app = TestApp::start().await;
    let (phone, customer, code) = app.bound("u").await;
    app.settled().await;
    let before = phone.view().await;
    app.clock.advance(CODE_TTL_S + 1);
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 2).await, ["bound", "already_bound"]);
    assert_eq!(phone.view().await, before);
}

#[tokio::test]
async fn two_customers_racing_with_one_code_bind_one_of_them() {
    let app = TestApp::open(Options::accounts(2)).await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let racers = [app.sim.customer("a"), app.sim.customer("b")];
    for (number, racer) in racers.iter().enumerate() {
        racer.says(&app.sim.account(number), &code.text);
    }
    app.settled().await;
    let mut answers: Vec<String> = racers.iter().flat_map(heard).collect();
    answers.sort();
    assert_eq!(answers, ["bound", "expired_code"]);
    assert_eq!(app.metric("kfbind_bindings").await, 1.0);
}

#[tokio::test]
async fn two_codes_racing_for_one_customer_bind_one_of_their_users() {
    let app = TestApp::open(Options::accounts(2)).await;
    let phones = [app.login("a").await, app.login("b").await];
    let customer = app.sim.customer("c");
    for (number, phone) in phones.iter().enumerate() {
        let code = phone.issue().await;
        customer.says(&app.sim.account(number), &code.text);
    }
    app.settled().await;
    let mut statuses = [phones[0].status().await, phones[1].status().await];
    statuses.sort();
    assert_eq!(statuses, ["bound", "pending"]);
    let mut answers = heard(&customer);
    answers.sort();
    assert_eq!(answers, ["bound", "conflict"]);
}

#[tokio::test]
async fn after_an_unbinding_in_the_mini_program_no_earlier_code_binds_that_user() {
    let app = TestApp::start().await;
    let (phone, customer, code) = app.bound("u").await;
    phone.unbind().await;
    assert_eq!(phone.status().await, "unbound");
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 2).await, ["bound", "expired_code"]);
    // Neither does one that was never used: undoing ends what is pending.
    let pending = phone.issue().await;
    phone.unbind().await;
    customer.says(&app.account(), &pending.text);
    assert_eq!(hears(&customer, 3).await[2], "expired_code");
    assert_eq!(phone.status().await, "unbound");
    let fresh = phone.issue().await;
    customer.says(&app.account(), &fresh.text);
    phone.until("bound").await;
}

#[tokio::test]
async fn after_an_unbinding_by_the_back_end_no_earlier_code_binds_that_user() {
    let app = TestApp::start().await;
    let (phone, customer, code) = app.bound("u").await;
    app.admin().delete(&format!("/api/admin/bindings/{}", phone.openid)).await.expect(204);
    phone.until("unbound").await;
    customer.says(&app.account(), &code.text);
    assert_eq!(hears(&customer, 2).await, ["bound", "expired_code"]);
}

#[tokio::test]
async fn nothing_sent_before_an_undoing_in_the_chat_binds_that_customer() {
    let app = TestApp::open(Options::accounts(2)).await;
    let (phone, customer, _) = app.bound("u").await;
    app.clock.advance(10);
    customer.says(&app.account(), "解绑");
    phone.until("unbound").await;
    let code = phone.issue().await;
    customer.says_at(&app.sim.account(1), &code.text, START_S + 9);
    app.settled().await;
    assert_eq!(heard(&customer), ["bound", "unbound", "expired_code"]);
    assert_eq!(phone.status().await, "pending");
    customer.says(&app.account(), &code.text);
    phone.until("bound").await;
}

// ---- 9: undoing in the chat -----------------------------------------------------------------------------------------

#[tokio::test]
async fn the_word_alone_undoes_the_binding_and_spaces_around_it_do_not_matter() {
    let app = TestApp::start().await;
    let (phone, customer, _) = app.bound("u").await;
    for talk in ["请帮我解绑", "解绑吗", "解 绑"] {
        customer.says(&app.account(), talk);
    }
    app.settled().await;
    assert_eq!(phone.status().await, "bound");
    assert_eq!(heard(&customer), ["bound"]);
    customer.says(&app.account(), " 解绑\n");
    let view = phone.until("unbound").await;
    assert_eq!((&view["binding"], &view["pending"]), (&Value::Null, &Value::Null));
    assert_eq!(hears(&customer, 2).await, ["bound", "unbound"]);
}

#[tokio::test]
async fn the_word_of_somebody_who_is_not_bound_is_talk() {
    let app = TestApp::start().await;
    let customer = app.sim.customer("c");
    customer.says(&app.account(), "解绑");
    app.settled().await;
    assert_eq!(heard(&customer), [""; 0]);
}

#[tokio::test]
async fn the_word_sent_before_the_binding_undoes_nothing() {
    let app = TestApp::open(Options::accounts(2)).await;
    app.clock.advance(10);
    let (phone, customer, _) = app.bound("u").await;
    customer.says_at(&app.sim.account(1), "解绑", START_S + 9);
    app.settled().await;
    assert_eq!(phone.status().await, "bound");
    customer.says_at(&app.sim.account(1), "解绑", START_S + 10);
    phone.until("unbound").await;
}

#[tokio::test]
async fn a_locked_customer_can_undo() {
    let app = TestApp::start().await;
    let (phone, customer, code) = app.bound("u").await;
    for number in 0..5 {
        customer.says(&app.account(), &code.other(number));
    }
    assert_eq!(hears(&customer, 6).await[5], "locked");
    customer.says(&app.account(), "解绑");
    phone.until("unbound").await;
    assert_eq!(hears(&customer, 7).await[6], "unbound");
}

#[tokio::test]
async fn without_a_word_nobody_can_undo_in_the_chat() {
    let app = TestApp::with(&[("binding.unbind_word", "\"\"")]).await;
    let (phone, customer, _) = app.bound("u").await;
    customer.says(&app.account(), "解绑");
    customer.says(&app.account(), "");
    app.settled().await;
    assert_eq!(phone.status().await, "bound");
    assert_eq!(heard(&customer), ["bound"]);
}

#[tokio::test]
async fn the_operators_own_word_counts() {
    let app = TestApp::with(&[("binding.unbind_word", "\"TD\"")]).await;
    let (phone, customer, _) = app.bound("u").await;
    customer.says(&app.account(), "解绑");
    app.settled().await;
    assert_eq!(phone.status().await, "bound");
    customer.says(&app.account(), "TD");
    phone.until("unbound").await;
}

#[tokio::test]
async fn the_built_in_answer_to_a_binding_names_the_account_and_the_word() {
    let defaults: toml::Table = include_str!("../../config.toml").parse().unwrap();
    let text = defaults["messages"]["bound"].to_string();
    let app = TestApp::with(&[("messages.bound", text.as_str())]).await;
    let (_, customer, _) = app.bound("u").await;
    let said = hears(&customer, 1).await;
    assert!(said[0].contains("您的小程序账号") && said[0].contains("“解绑”"), "{said:?}");
    assert!(!said[0].contains(['{', '}']), "{said:?}");
}

#[tokio::test]
async fn a_user_may_ask_for_a_code_of_an_empty_object_too() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let first = phone.ask(json!({})).await.expect(201).json();
    let again = phone.ask(json!({"new": false})).await.expect(200).json();
    assert_eq!(first["bind_token"], again["bind_token"]);
}

//! `card` (7.5): a card in the chat whose ticket binds whoever opens it and agrees, once.

use futures_util::future::join_all;
use kfbind::sim::{Api, Customer, Fault};
use serde_json::{Value, json};

use crate::support::{
    Answer, CALLBACK_PATH, Client, Phone, TestApp, eventually, heard, hears, metric_of,
    process::{Process, but, environment, login, world},
    rfc3339,
};

const DAY_S: u64 = 24 * 3600;
const CARD: (&str, &str) = ("binding.methods", "[\"code\", \"card\"]");
const PAGE: &str = "pages/bind-account/bind-account.html";

/// A customer of this name who has talked and was sent a card; the card's ticket.
async fn invited(app: &TestApp, name: &str) -> (Customer, String) {
    let customer = app.sim.customer(name).with_nickname(name);
    customer.says(&app.account(), "你好");
    let card = eventually("a card comes", async || customer.card()).await;
    let (page, ticket) = card.pagepath.split_once("?ticket=").expect("a ticket in the card's path");
    assert_eq!((card.appid.as_str(), page), (app.options.app_id.as_str(), PAGE));
    (customer, ticket.to_owned())
}

async fn look(phone: &Phone, ticket: &str) -> Answer {
    phone.client.get(&format!("/api/binding/ticket?ticket={ticket}")).await
}

async fn redeem(phone: &Phone, ticket: &str) -> Answer {
    phone.client.post("/api/binding/ticket", json!({"ticket": ticket})).await
}

/// Opens a card and agrees; the view that the page then has.
async fn agree(phone: &Phone, ticket: &str) -> Value {
    redeem(phone, ticket).await.expect(200).json()
}

/// The first lines of what a customer has read: of a menu, what stands above its items.
fn heads(customer: &Customer) -> Vec<String> {
    heard(customer).iter().map(|text| text.lines().next().unwrap_or_default().to_owned()).collect()
}

/// Waits until a customer has read so many.
async fn reads(customer: &Customer, count: usize) -> Vec<String> {
    hears(customer, count).await;
    heads(customer)
}

async fn bindings(app: &TestApp) -> usize {
    let list = app.admin().get("/api/admin/bindings?limit=1000").await.expect(200).json();
    list["bindings"].as_array().expect("a list").len()
}

#[tokio::test]
async fn a_customer_who_talks_is_sent_a_card_and_whoever_opens_it_is_shown_whom_it_binds() {
    let app = TestApp::with(&[CARD]).await;
    let (customer, ticket) = invited(&app, "Ann").await;
    assert!((22..=32).contains(&ticket.len()), "128 random bits in at most 32 characters");
    assert!(ticket.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'));
    let phone = app.login("u").await;
    let seen = look(&phone, &ticket).await.expect(200).json();
    assert_eq!(seen, json!({"nickname": "Ann", "expires_at": rfc3339(app.sim.now_s() + 2 * DAY_S)}));
    assert_eq!(phone.status().await, "unbound", "looking binds nobody");

    let before = phone.version().await;
    let view = agree(&phone, &ticket).await;
    assert_eq!((&view["status"], &view["binding"]["method"]), (&json!("bound"), &json!("card")));
    assert!(view["version"].as_u64() > Some(before));
    assert_eq!(reads(&customer, 2).await, ["invite", "bound"], "the chat is told what another's hand did");
    let list =
        app.admin().get(&format!("/api/admin/bindings?openid={}", phone.openid)).await.expect(200).json();
    assert_eq!(list["bindings"][0]["external_userid"], customer.external_userid());
    assert_eq!(list["bindings"][0]["open_kfid"], app.account());
}

#[tokio::test]
async fn whoever_enters_is_invited_once_in_two_days_and_not_while_bound() {
    let app = TestApp::with(&[CARD]).await;
    let customer = app.sim.customer("c");
    customer.enters(&app.account(), None);
    assert_eq!(reads(&customer, 1).await, ["invite"]);
    customer.says(&app.account(), "在吗");
    customer.sends_image(&app.account());
    app.settled().await;
    assert_eq!(heads(&customer), ["invite"]);
    app.clock.advance(2 * DAY_S);
    customer.says(&app.account(), "在吗");
    assert_eq!(reads(&customer, 2).await, ["invite", "invite"]);
    let ticket = customer.card().unwrap().pagepath.split_once('=').unwrap().1.to_owned();
    agree(&app.login("u").await, &ticket).await;
    app.clock.advance(2 * DAY_S);
    customer.says(&app.account(), "在吗");
    app.settled().await;
    assert_eq!(heads(&customer), ["invite", "invite", "bound"]);
}

#[tokio::test]
async fn a_card_ends_with_its_life_and_one_day_later_is_still_unknown() {
    let app = TestApp::with(&[CARD, ("binding.card_ttl", "\"90s\"")]).await;
    let (_, ticket) = invited(&app, "Ann").await;
    let phone = app.login("u").await;
    app.clock.advance(89);
    look(&phone, &ticket).await.expect(200);
    app.clock.advance(1);
    for _ in 0..2 {
        look(&phone, &ticket).await.expect_problem(404, "ticket-invalid");
        redeem(&phone, &ticket).await.expect_problem(404, "ticket-invalid");
        app.clock.advance(DAY_S);
    }
    assert_eq!(phone.status().await, "unbound");
}

#[tokio::test]
async fn a_used_card_is_a_retry_for_its_user_and_nothing_for_anybody_else() {
    let mut app = TestApp::with(&[CARD]).await;
    let (_, ticket) = invited(&app, "Ann").await;
    let (phone, stranger) = (app.login("u").await, app.login("stranger").await);
    let bound = agree(&phone, &ticket).await;
    assert_eq!(agree(&phone, &ticket).await["binding"]["bound_at"], bound["binding"]["bound_at"]);
    for ticket in [ticket.as_str(), "no-such-ticket"] {
        look(&stranger, ticket).await.expect_problem(404, "ticket-invalid");
        redeem(&stranger, ticket).await.expect_problem(404, "ticket-invalid");
    }
    app.restart().await;
    assert_eq!(agree(&phone, &ticket).await["binding"]["bound_at"], bound["binding"]["bound_at"]);
    redeem(&stranger, &ticket).await.expect_problem(404, "ticket-invalid");
    assert_eq!(bindings(&app).await, 1);
    // After an unbinding nothing of before binds again, not even for the one whom it bound.
    phone.unbind().await;
    redeem(&phone, &ticket).await.expect_problem(404, "ticket-invalid");
    redeem(&stranger, &ticket).await.expect_problem(404, "ticket-invalid");
    assert_eq!(bindings(&app).await, 0);
}

#[tokio::test]
async fn a_card_that_was_forwarded_to_another_person_refuses_them_and_waits_for_its_own() {
    let app = TestApp::with(&[("binding.methods", "[\"code\", \"card\", \"unionid\"]")]).await;
    let customer = app.sim.customer("Ann").with_unionid("unionAnn");
    customer.says(&app.account(), "你好");
    let card = eventually("a card comes", async || customer.card()).await;
    let ticket = card.pagepath.split_once('=').unwrap().1.to_owned();
    let login = async |name: &str, unionid: &str| {
        let openid = app.sim.openid_of(name);
        Phone::login(app.client(), &app.sim.wx_login_code(&openid, Some(unionid)), &openid).await
    };
    let stranger = login("stranger", "unionStranger").await;
    for _ in 0..2 {
        look(&stranger, &ticket).await.expect_problem(403, "other-person");
        redeem(&stranger, &ticket).await.expect_problem(403, "other-person");
    }
    assert_eq!(stranger.status().await, "unbound");
    assert!(app.metric("kfbind_rejected_codes_total{reason=\"other_person\"}").await >= 1.0);
    // Ann's own login binds her by her unionid alone, and the card is dead with that.
    let ann = login("ann", "unionAnn").await;
    assert_eq!(ann.view().await["binding"]["method"], "unionid");
    redeem(&stranger, &ticket).await.expect_problem(404, "ticket-invalid");
    redeem(&ann, &ticket).await.expect_problem(409, "already-bound");
}

#[tokio::test]
async fn whoever_is_bound_elsewhere_is_refused_or_replaced_as_the_operator_decides() {
    let mut app = TestApp::with(&[CARD]).await;
    let (phone, first, _) = app.bound("first").await;
    let (second, ticket) = invited(&app, "second").await;
    look(&phone, &ticket).await.expect_problem(409, "conflict");
    redeem(&phone, &ticket).await.expect_problem(409, "conflict");
    redeem(&phone, &ticket).await.expect_problem(409, "conflict");
    assert_eq!(phone.view().await["binding"]["method"], "code");
    app.restart_with(&[("binding.on_conflict", "\"replace\"")]).await;
    assert_eq!(agree(&phone, &ticket).await["binding"]["method"], "card");
    let list = app.admin().get("/api/admin/bindings").await.expect(200).json();
    assert_eq!(list["bindings"].as_array().unwrap().len(), 1);
    assert_eq!(list["bindings"][0]["external_userid"], second.external_userid());
    assert_ne!(first.external_userid(), second.external_userid());
}

#[tokio::test]
async fn of_many_who_agree_at_once_one_is_bound() {
    let app = TestApp::with(&[CARD]).await;
    let (_, ticket) = invited(&app, "Ann").await;
    let mut phones = Vec::new();
    for number in 0..24 {
        phones.push(app.login(&format!("u{number}")).await);
    }
    let answers = join_all(phones.iter().map(|phone| redeem(phone, &ticket))).await;
    let bound: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(bound.len(), 1);
    for refused in answers.into_iter().filter(|answer| answer.status != 200) {
        refused.expect_problem(404, "ticket-invalid");
    }
    assert_eq!(bindings(&app).await, 1);
}

#[tokio::test]
async fn what_binds_first_ends_the_card_and_the_card_ends_the_code() {
    let app = TestApp::with(&[CARD]).await;
    // The code first: the customer's card is dead, for everybody.
    let (customer, ticket) = invited(&app, "Ann").await;
    let (phone, other) = (app.login("u").await, app.login("other").await);
    customer.says(&app.account(), &phone.issue().await.text);
    phone.until("bound").await;
    redeem(&phone, &ticket).await.expect_problem(409, "already-bound");
    redeem(&other, &ticket).await.expect_problem(404, "ticket-invalid");
    // The card first: the user's code is over.
    let (customer, ticket) = invited(&app, "Bob").await;
    let code = other.issue().await;
    agree(&other, &ticket).await;
    hears(&customer, 2).await;
    let stranger = app.sim.customer("stranger");
    stranger.says(&app.account(), &code.text);
    app.settled().await;
    assert_eq!(heard(&stranger), ["expired_code"]);
    assert_eq!(bindings(&app).await, 2);
}

#[tokio::test]
async fn a_code_and_a_card_at_the_same_moment_bind_the_customer_once() {
    for seed in 0..6 {
        let app = TestApp::with(&[CARD]).await;
        let (customer, ticket) = invited(&app, "Ann").await;
        let (typing, opening) = (app.login("typing").await, app.login("opening").await);
        let code = typing.issue().await;
        let typed = async {
            for _ in 0..seed {
                tokio::task::yield_now().await;
            }
            customer.says(&app.account(), &code.text);
        };
        let ((), opened) = tokio::join!(typed, redeem(&opening, &ticket));
        app.settled().await;
        let by_code = typing.status().await == "bound";
        let by_card = opening.status().await == "bound";
        assert!(by_code != by_card, "by the code: {by_code}, by the card: {by_card}");
        assert_eq!(opened.status == 200, by_card);
        assert_eq!(bindings(&app).await, 1);
    }
}

#[tokio::test]
async fn cards_are_dead_while_the_way_is_off() {
    let mut app = TestApp::with(&[CARD]).await;
    let (_, ticket) = invited(&app, "Ann").await;
    let phone = app.login("u").await;
    app.restart_with(&[("binding.methods", "[\"code\"]")]).await;
    look(&phone, &ticket).await.expect_problem(404, "method-off");
    redeem(&phone, &ticket).await.expect_problem(404, "method-off");
    app.restart_with(&[("binding.methods", "[\"code\", \"staff\"]")]).await;
    redeem(&phone, &ticket).await.expect_problem(404, "ticket-invalid");
    assert_eq!(bindings(&app).await, 0);
}

#[tokio::test]
async fn while_wecom_is_away_a_card_binds_all_the_same() {
    let app = TestApp::with(&[("binding.methods", "[\"code\", \"card\", \"unionid\"]")]).await;
    app.sim.fail_next(Api::CustomerBatchGet, Fault::Http(503), 1);
    let (_, ticket) = invited(&app, "Ann").await;
    app.sim.fail_next(Api::CustomerBatchGet, Fault::Http(503), 100);
    let phone = app.login("u").await;
    let seen = look(&phone, &ticket).await.expect(200).json();
    assert_eq!(seen["nickname"], Value::Null, "the name isn't known, and the page is shown all the same");
    assert_eq!(agree(&phone, &ticket).await["binding"]["method"], "card");
}

#[tokio::test]
async fn crashes_between_card_agreement_and_answer_lose_nothing_and_no_output_shows_the_ticket() {
    let (sim, options, store) = world().await;
    let environment = environment(&options, &sim.base_url(), &store);
    let environment = but(&environment, &[("BINDING__METHODS", "code,card"), ("MESSAGES__INVITE", "invite")]);
    let process = Process::serve(&environment).await;
    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    let client = Client::of(&process.base);
    let (phone, stranger) = (login(&client, &sim, "u").await, login(&client, &sim, "stranger").await);
    let customer = sim.customer("c");
    customer.says(&sim.account(0), "你好");
    let card = eventually("a card comes", async || customer.card()).await;
    let ticket = card.pagepath.split_once("?ticket=").unwrap().1.to_owned();
    let mut outputs = process.said();
    drop(process);

    let process = Process::serve(&environment).await;
    client.moves(&process.base);
    look(&phone, &ticket).await.expect(200);
    // The answer in the chat stays under way until the process is gone.
    sim.fail_next(Api::SendMsg, Fault::Timeout.after_effect(), 1);
    let bound = agree(&phone, &ticket).await;
    outputs += &client.get("/metrics").await.text();
    outputs += &process.said();
    drop(process);

    let process = Process::serve(&environment).await;
    client.moves(&process.base);
    assert_eq!(phone.view().await["binding"]["bound_at"], bound["binding"]["bound_at"]);
    agree(&phone, &ticket).await;
    redeem(&stranger, &ticket).await.expect_problem(404, "ticket-invalid");
    let depth = || metric_of(&client, "kfbind_outbox_depth");
    eventually("the outbox is empty", async || (depth().await == 0.0).then_some(())).await;
    assert_eq!(reads(&customer, 2).await, ["invite", "bound"], "said once");
    outputs += &client.get("/metrics").await.text();
    outputs += &process.said();
    assert!(outputs.contains("listening") && !outputs.contains(&ticket), "{outputs}");
}

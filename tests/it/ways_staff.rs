//! `staff` (7.7): employees log in inside WeCom, see who is writing to them, send cards and type codes for customers.

use futures_util::future::join_all;
use kfbind::sim::{Api, Customer, Fault};
use serde_json::{Value, json};

use crate::support::{
    Answer, CALLBACK_PATH, Client, Options, Phone, START_S, TestApp, eventually, hears,
    process::{Process, but, environment, issue, login, world},
    rfc3339,
};

const HOUR_S: u64 = 3600;
const METHODS: (&str, &str) = ("binding.methods", "[\"code\", \"staff\"]");

async fn start_with(settings: &[(&'static str, &str)]) -> TestApp {
    let mut options = Options::set(&[METHODS]);
    options.settings.retain(|(key, _)| settings.iter().all(|(set, _)| set != key));
    options.settings.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
    TestApp::open(options).await
}

async fn start() -> TestApp {
    start_with(&[]).await
}

async fn try_login(app: &TestApp, code: &str) -> Answer {
    app.client().post("/api/staff/login", json!({"code": code})).await
}

/// The client of an employee who has logged in.
async fn employee(app: &TestApp, userid: &str) -> Client {
    let login = try_login(app, &app.sim.staff_login_code(userid)).await.expect(200).json();
    assert_eq!(login["userid"], userid);
    app.client().bearing(login["session"].as_str().expect("a session"))
}

/// A customer who has written, so that WeCom tells who it is.
async fn customer(app: &TestApp, name: &str) -> Customer {
    let customer = app.sim.customer(name).with_nickname(name);
    customer.says(&app.account(), "你好");
    app.settled().await;
    customer
}

async fn see(employee: &Client, customer: &Customer) -> Answer {
    employee.get(&format!("/api/staff/customers/{}", customer.external_userid())).await
}

async fn bind(employee: &Client, customer: &Customer, code: &str) -> Answer {
    let body = json!({"external_userid": customer.external_userid(), "code": code});
    employee.post("/api/staff/bindings", body).await
}

async fn send_card(employee: &Client, customer: &Customer) -> Answer {
    employee.post("/api/staff/tickets", json!({"external_userid": customer.external_userid()})).await
}

async fn card(employee: &Client, customer: &Customer) -> String {
    let card = send_card(employee, customer).await.expect(201).json();
    card["ticket"].as_str().expect("a ticket").to_owned()
}

async fn redeem(phone: &Phone, ticket: &str) -> Answer {
    phone.client.post("/api/binding/ticket", json!({"ticket": ticket})).await
}

async fn bindings(app: &TestApp) -> Vec<Value> {
    let list = app.admin().get("/api/admin/bindings?limit=1000").await.expect(200).json();
    list["bindings"].as_array().expect("a list").clone()
}

// ---- Logging in -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_employee_logs_in_with_what_wecom_says_and_each_code_once() {
    let app = start().await;
    let code = app.sim.staff_login_code("ZhangSan");
    let answer = try_login(&app, &code).await.expect(200);
    let login = answer.json();
    assert_eq!((&login["userid"], &login["expires_in"]), (&json!("ZhangSan"), &json!(7 * 24 * HOUR_S)));
    let secret = app.sim.calls(Api::StaffCode2Session)[0].answer["session_key"].as_str().unwrap().to_owned();
    assert!(!secret.is_empty() && !answer.text().contains(&secret));
    try_login(&app, &code).await.expect_problem(401, "login-code-invalid");

    let late = app.sim.staff_login_code("ZhangSan");
    app.clock.advance(300);
    let of_a_user = app.sim.wx_login_code("oUser", None);
    for code in [late.as_str(), "no-such-code", &of_a_user] {
        try_login(&app, code).await.expect_problem(401, "login-code-invalid");
    }
    let asked = app.sim.count(Api::StaffCode2Session);
    for code in ["", &"x".repeat(10_000)] {
        try_login(&app, code).await.expect_problem(401, "login-code-invalid");
    }
    assert_eq!(app.sim.count(Api::StaffCode2Session), asked, "WeCom is not asked about what can't be a code");
    // An employee's code is none of a user's either.
    let body = json!({"code": app.sim.staff_login_code("ZhangSan")});
    app.client().post("/api/login", body).await.expect_problem(401, "login-code-invalid");
}

#[tokio::test]
async fn an_employee_who_is_not_on_the_list_is_no_staff_from_the_next_request_on() {
    let mut app = start_with(&[("wecom.staff_userids", "[\"LiSi\", \"ZhangSan\"]")]).await;
    let customer = customer(&app, "Ann").await;
    try_login(&app, &app.sim.staff_login_code("WangWu")).await.expect_problem(403, "not-staff");
    // Userids are kept to the letter.
    try_login(&app, &app.sim.staff_login_code("lisi")).await.expect_problem(403, "not-staff");
    let (zhang, li) = (employee(&app, "ZhangSan").await, employee(&app, "LiSi").await);
    see(&zhang, &customer).await.expect(200);
    let phone = app.login("u").await;
    let code = phone.issue().await;
    app.restart_with(&[("wecom.staff_userids", "[\"LiSi\"]")]).await;
    see(&zhang, &customer).await.expect_problem(403, "not-staff");
    send_card(&zhang, &customer).await.expect_problem(403, "not-staff");
    bind(&zhang, &customer, &code.text).await.expect_problem(403, "not-staff");
    assert_eq!(phone.status().await, "pending");
    bind(&li, &customer, &code.text).await.expect(200);
}

#[tokio::test]
async fn a_users_session_is_none_of_staffs_nor_the_other_way_round() {
    let app = start().await;
    let customer = customer(&app, "Ann").await;
    let (phone, zhang) = (app.login("u").await, employee(&app, "ZhangSan").await);
    let code = phone.issue().await;
    let ticket = card(&zhang, &customer).await;
    for client in [&phone.client, &app.admin(), &app.client()] {
        see(client, &customer).await.expect_problem(401, "session-invalid");
        send_card(client, &customer).await.expect_problem(401, "session-invalid");
        bind(client, &customer, &code.text).await.expect_problem(401, "session-invalid");
    }
    for client in [&zhang, &app.admin(), &app.client()] {
        client.get("/api/binding").await.expect_problem(401, "session-invalid");
        client.delete("/api/binding").await.expect_problem(401, "session-invalid");
        client.post("/api/binding/token", json!({})).await.expect_problem(401, "session-invalid");
        let look = client.get(&format!("/api/binding/ticket?ticket={ticket}")).await;
        look.expect_problem(401, "session-invalid");
        let redeem = client.post("/api/binding/ticket", json!({"ticket": ticket})).await;
        redeem.expect_problem(401, "session-invalid");
    }
    zhang.get("/api/admin/bindings").await.expect_problem(401, "admin-key-invalid");
    assert_eq!(bindings(&app).await.len(), 0);
}

#[tokio::test]
async fn a_staff_session_survives_a_restart_and_ends_with_its_life() {
    let mut app = start_with(&[("binding.session_ttl", "\"1h\"")]).await;
    let customer = customer(&app, "Ann").await;
    let zhang = employee(&app, "ZhangSan").await;
    app.restart().await;
    app.clock.advance(HOUR_S - 1);
    see(&zhang, &customer).await.expect(200);
    app.clock.advance(1);
    see(&zhang, &customer).await.expect_problem(401, "session-invalid");
}

#[tokio::test]
async fn logins_of_employees_and_users_count_together() {
    let app = start_with(&[("limits.logins_per_ip", "\"2/1m\"")]).await;
    app.login("u").await;
    let zhang = app.sim.staff_login_code("ZhangSan");
    try_login(&app, "no-such-code").await.expect_problem(401, "login-code-invalid");
    let refused = try_login(&app, &zhang).await.expect_problem(429, "too-many-requests");
    assert_eq!(refused.header("retry-after"), "60");
    app.client().post("/api/login", json!({"code": "x"})).await.expect_problem(429, "too-many-requests");
    app.clock.advance(60);
    try_login(&app, &zhang).await.expect(200);
}

#[tokio::test]
async fn while_wecom_is_away_nobody_logs_in_and_then_somebody_does() {
    let app = start().await;
    for fault in [Fault::Http(502), Fault::Dropped, Fault::BrokenJson, Fault::Errcode(-1)] {
        app.sim.fail_next(Api::StaffCode2Session, fault, 1);
        let code = app.sim.staff_login_code("ZhangSan");
        try_login(&app, &code).await.expect_problem(503, "wecom-unavailable");
    }
    employee(&app, "ZhangSan").await;
}

// ---- Customers ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_employee_sees_only_customers_whom_wecom_tells_of() {
    let app = start().await;
    let known = customer(&app, "Ann").await;
    let silent = app.sim.customer("silent");
    let zhang = employee(&app, "ZhangSan").await;
    let expected = json!({"external_userid": known.external_userid(), "nickname": "Ann", "binding": null});
    assert_eq!(see(&zhang, &known).await.expect(200).json(), expected);
    let code = app.login("u").await.issue().await;
    see(&zhang, &silent).await.expect_problem(404, "customer-unknown");
    send_card(&zhang, &silent).await.expect_problem(404, "customer-unknown");
    bind(&zhang, &silent, &code.text).await.expect_problem(404, "customer-unknown");
    // Ids are kept to the letter.
    let lower = known.external_userid().to_lowercase();
    zhang.get(&format!("/api/staff/customers/{lower}")).await.expect_problem(404, "customer-unknown");
    // WeCom tells nothing of whoever has been silent for two days; we have seen them, but do nothing on an employee's
    // word alone.
    app.clock.advance(48 * HOUR_S);
    let zhang = employee(&app, "ZhangSan").await;
    assert_eq!(see(&zhang, &known).await.expect(200).json()["binding"], json!(null));
    send_card(&zhang, &known).await.expect_problem(404, "customer-unknown");
}

#[tokio::test]
async fn a_bound_customer_is_shown_even_while_wecom_is_away() {
    let app = start().await;
    let (phone, known, _) = app.bound("Ann").await;
    let zhang = employee(&app, "ZhangSan").await;
    let shown = see(&zhang, &known).await.expect(200);
    assert_eq!(shown.json()["binding"]["method"], "code");
    assert_eq!(shown.json()["binding"]["bound_at"], rfc3339(START_S));
    assert!(!shown.text().contains(&phone.openid), "an employee is not told the user's ids");
    let stranger = customer(&app, "stranger").await;
    app.sim.fail_next(Api::CustomerBatchGet, Fault::Http(503), 1_000);
    assert_eq!(see(&zhang, &known).await.expect(200).json()["binding"]["method"], "code");
    see(&zhang, &stranger).await.expect_problem(503, "wecom-unavailable");
    send_card(&zhang, &stranger).await.expect_problem(503, "wecom-unavailable");
    let code = app.login("v").await.issue().await;
    bind(&zhang, &stranger, &code.text).await.expect_problem(503, "wecom-unavailable");
}

// ---- Codes that are read out ----------------------------------------------------------------------------------------

#[tokio::test]
async fn an_employee_types_the_code_that_a_customer_reads_out() {
    let app = start().await;
    let (known, phone) = (customer(&app, "Ann").await, app.login("u").await);
    let zhang = employee(&app, "ZhangSan").await;
    let code = phone.issue().await;
    let body = json!({
        "external_userid": known.external_userid(), "code": format!(" {} ", code.display), "open_kfid": app.account(),
    });
    let version = phone.version().await;
    let bound = zhang.post("/api/staff/bindings", body).await.expect(200).json();
    assert_eq!(bound["method"], "staff");
    assert_eq!(bound["external_userid"], known.external_userid());
    assert_eq!(bindings(&app).await, [bound]);
    let view = phone.view().await;
    assert_eq!((&view["status"], &view["binding"]["method"]), (&json!("bound"), &json!("staff")));
    assert!(view["version"].as_u64() > Some(version));
    assert_eq!(hears(&known, 1).await, ["bound"], "the chat is told what another's hand did");
    assert_eq!(see(&zhang, &known).await.expect(200).json()["binding"]["method"], "staff");
    assert_eq!(app.metric("kfbind_bindings_total{method=\"staff\"}").await, 1.0);
}

#[tokio::test]
async fn a_code_that_is_over_used_or_of_somebody_bound_is_refused() {
    let app = start().await;
    let (ann, bob) = (customer(&app, "Ann").await, customer(&app, "Bob").await);
    let zhang = employee(&app, "ZhangSan").await;
    let (phone, other) = (app.login("u").await, app.login("v").await);
    let revoked = phone.issue().await;
    let code = phone.issue().await;
    bind(&zhang, &ann, &revoked.text).await.expect_problem(404, "code-invalid");
    let late = other.issue().await;
    bind(&zhang, &ann, &code.text).await.expect(200);
    bind(&zhang, &ann, &code.text).await.expect_problem(409, "already-bound");
    bind(&zhang, &ann, &late.text).await.expect_problem(409, "conflict");
    app.clock.advance(600);
    bind(&zhang, &bob, &late.text).await.expect_problem(404, "code-invalid");
    // After an unbinding no code of before binds.
    phone.unbind().await;
    bind(&zhang, &ann, &code.text).await.expect_problem(404, "code-invalid");
    bind(&zhang, &bob, &code.text).await.expect_problem(404, "code-invalid");
    assert_eq!(bindings(&app).await.len(), 0);
}

#[tokio::test]
async fn too_many_wrong_codes_stop_that_employee_and_not_the_customer() {
    let mut app = start().await;
    let (known, phone) = (customer(&app, "Ann").await, app.login("u").await);
    let (zhang, li) = (employee(&app, "ZhangSan").await, employee(&app, "LiSi").await);
    let code = phone.issue().await;
    for number in 0..5 {
        bind(&zhang, &known, &code.other(number)).await.expect_problem(404, "code-invalid");
    }
    let locked = bind(&zhang, &known, &code.text).await.expect_problem(429, "too-many-requests");
    assert_eq!(locked.header("retry-after"), "600");
    app.clock.advance(1);
    app.restart().await;
    let locked = bind(&zhang, &known, &code.text).await.expect_problem(429, "too-many-requests");
    assert_eq!(locked.header("retry-after"), "599");
    bind(&li, &known, &code.text).await.expect(200);
    phone.unbind().await;
    app.clock.advance(599);
    bind(&zhang, &known, &phone.issue().await.text).await.expect(200);
}

#[tokio::test]
async fn the_code_of_another_person_is_refused_and_lives_on() {
    let app = start_with(&[("binding.methods", "[\"code\", \"staff\", \"unionid\"]")]).await;
    let (ann, bob) =
        (app.sim.customer("Ann").with_unionid("uAnn"), app.sim.customer("Bob").with_unionid("uBob"));
    for customer in [&ann, &bob] {
        customer.says(&app.account(), "你好");
    }
    app.settled().await;
    let openid = app.sim.openid_of("u");
    let login = app.sim.wx_login_code(&openid, Some("uBob2"));
    let phone = Phone::login(app.client(), &login, &openid).await;
    let zhang = employee(&app, "ZhangSan").await;
    let code = phone.issue().await;
    bind(&zhang, &ann, &code.text).await.expect_problem(403, "other-person");
    let ticket = card(&zhang, &bob).await;
    redeem(&phone, &ticket).await.expect_problem(403, "other-person");
    assert_eq!(phone.status().await, "pending");
    assert_eq!(bindings(&app).await.len(), 0);
}

// ---- Cards ----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_employees_card_binds_whoever_opens_it_and_agrees_once() {
    let app = start().await;
    let known = customer(&app, "Ann").await;
    let zhang = employee(&app, "ZhangSan").await;
    let made = send_card(&zhang, &known).await.expect(201).json();
    let ticket = made["ticket"].as_str().unwrap();
    assert!((22..=32).contains(&ticket.len()));
    assert_eq!(made["path"], format!("pages/bind-account/bind-account.html?ticket={ticket}"));
    assert_eq!(made["expires_at"], rfc3339(START_S + 48 * HOUR_S));
    let (phone, stranger) = (app.login("u").await, app.login("v").await);
    let seen = phone.client.get(&format!("/api/binding/ticket?ticket={ticket}")).await.expect(200).json();
    assert_eq!(seen, json!({"nickname": "Ann", "expires_at": made["expires_at"]}));
    let view = redeem(&phone, ticket).await.expect(200).json();
    assert_eq!((&view["status"], &view["binding"]["method"]), (&json!("bound"), &json!("staff")));
    // Only the name may have come meanwhile.
    let again = redeem(&phone, ticket).await.expect(200).json();
    assert_eq!(again["binding"]["bound_at"], view["binding"]["bound_at"]);
    redeem(&stranger, ticket).await.expect_problem(404, "ticket-invalid");
    assert_eq!(hears(&known, 1).await, ["bound"]);
    assert_eq!(bindings(&app).await.len(), 1);
}

#[tokio::test]
async fn a_card_outlives_a_restart_and_its_session_but_not_its_life() {
    let mut app = start_with(&[("binding.card_ttl", "\"2h\""), ("binding.session_ttl", "\"1h\"")]).await;
    let (ann, bob) = (customer(&app, "Ann").await, customer(&app, "Bob").await);
    let zhang = employee(&app, "ZhangSan").await;
    let (first, second) = (card(&zhang, &ann).await, card(&zhang, &bob).await);
    app.restart().await;
    app.clock.advance(2 * HOUR_S - 1);
    redeem(&app.login("u").await, &first).await.expect(200);
    app.clock.advance(1);
    redeem(&app.login("v").await, &second).await.expect_problem(404, "ticket-invalid");
}

#[tokio::test]
async fn a_live_card_says_why_it_binds_nobody_who_is_bound() {
    let app = start().await;
    let (phone, ann, _) = app.bound("Ann").await;
    let bob = customer(&app, "Bob").await;
    let zhang = employee(&app, "ZhangSan").await;
    let (of_ann, of_bob) = (card(&zhang, &ann).await, card(&zhang, &bob).await);
    let other = app.login("other").await;
    redeem(&phone, &of_ann).await.expect_problem(409, "already-bound");
    redeem(&other, &of_ann).await.expect_problem(409, "conflict");
    redeem(&phone, &of_bob).await.expect_problem(409, "conflict");
    redeem(&other, &of_bob).await.expect(200);
}

#[tokio::test]
async fn a_card_that_existed_before_an_unbinding_binds_neither_side_again() {
    let app = start().await;
    let (phone, ann, _) = app.bound("Ann").await;
    let bob = customer(&app, "Bob").await;
    let zhang = employee(&app, "ZhangSan").await;
    let (of_ann, of_bob) = (card(&zhang, &ann).await, card(&zhang, &bob).await);
    phone.unbind().await;
    let other = app.login("other").await;
    redeem(&phone, &of_bob).await.expect_problem(404, "ticket-invalid");
    redeem(&phone, &of_ann).await.expect_problem(404, "ticket-invalid");
    redeem(&other, &of_ann).await.expect_problem(404, "ticket-invalid");
    redeem(&other, &of_bob).await.expect(200);
    app.clock.advance(1);
    redeem(&phone, &card(&zhang, &ann).await).await.expect(200);
}

// ---- At the same time -----------------------------------------------------------------------------------------------

#[tokio::test]
async fn of_a_typed_code_a_card_and_a_message_at_the_same_moment_one_binds() {
    for round in 0..6 {
        let app = start().await;
        let ann = customer(&app, "Ann").await;
        let zhang = employee(&app, "ZhangSan").await;
        let (reading, opening, typing) =
            (app.login("reading").await, app.login("opening").await, app.login("typing").await);
        let (read, typed) = (reading.issue().await, typing.issue().await);
        let ticket = card(&zhang, &ann).await;
        let message = async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            ann.says(&app.account(), &typed.text);
        };
        let ((), opened, heard) =
            tokio::join!(message, redeem(&opening, &ticket), bind(&zhang, &ann, &read.text));
        app.settled().await;
        let bound = bindings(&app).await;
        assert_eq!(bound.len(), 1, "{bound:?}");
        let by = bound[0]["openid"].as_str().unwrap();
        assert_eq!(opened.status == 200, by == opening.openid, "{opened:?}");
        assert_eq!(heard.status == 200, by == reading.openid, "{heard:?}");
        for phone in [&reading, &opening, &typing] {
            assert_eq!(phone.status().await == "bound", by == phone.openid);
        }
    }
}

#[tokio::test]
async fn of_many_employees_who_type_codes_for_one_customer_one_binds() {
    let app = start().await;
    let ann = customer(&app, "Ann").await;
    let mut typing = Vec::new();
    for number in 0..5 {
        let phone = app.login(&format!("u{number}")).await;
        typing.push((employee(&app, &format!("Staff{number}")).await, phone.issue().await));
    }
    let answers = join_all(typing.iter().map(|(staff, code)| bind(staff, &ann, &code.text))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    for refused in answers.into_iter().filter(|answer| answer.status != 200) {
        refused.expect_problem(409, "conflict");
    }
    assert_eq!(bindings(&app).await.len(), 1);
}

// ---- Crashes --------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn crashes_between_an_employees_steps_lose_nothing_and_no_output_shows_a_ticket() {
    let (sim, options, store) = world().await;
    let changes = [("BINDING__METHODS", "code,staff"), ("WECOM__STAFF_SECRET", &options.staff_secret)];
    let environment = but(&environment(&options, &sim.base_url(), &store), &changes);
    let mut process = Process::serve(&environment).await;
    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    let client = Client::of(&process.base);
    let (ann, bob) = (sim.customer("Ann"), sim.customer("Bob"));
    for customer in [&ann, &bob] {
        customer.says(&sim.account(0), "你好");
    }
    let (reading, opening) = (login(&client, &sim, "reading").await, login(&client, &sim, "opening").await);
    let code = issue(&reading).await;
    let body = json!({"code": sim.staff_login_code("ZhangSan")});
    let login = client.post("/api/staff/login", body).await.expect(200).json();
    let session = login["session"].as_str().unwrap().to_owned();
    let zhang = client.bearing(&session);
    let ticket = eventually("a card is made", async || {
        // Whom WeCom doesn't know yet has not written yet.
        let card = send_card(&zhang, &bob).await;
        card.json()["ticket"].as_str().map(str::to_owned)
    })
    .await;
    let mut outputs = String::new();
    for step in 0..4 {
        outputs += &client.get("/metrics").await.text();
        outputs += &process.said();
        drop(process);
        process = Process::serve(&environment).await;
        client.moves(&process.base);
        match step {
            0 => drop(bind(&zhang, &ann, &code).await.expect(200)),
            1 | 2 => drop(redeem(&opening, &ticket).await.expect(200)),
            _ => {
                bind(&zhang, &ann, &code).await.expect_problem(409, "already-bound");
                redeem(&reading, &ticket).await.expect_problem(404, "ticket-invalid");
            }
        }
    }
    assert_eq!(reading.view().await["binding"]["method"], "staff");
    assert_eq!(opening.view().await["binding"]["method"], "staff");
    outputs += &process.said();
    for secret in [&ticket, &session, &options.staff_secret, &code] {
        assert!(outputs.contains("listening") && !outputs.contains(secret.as_str()), "{secret} in {outputs}");
    }
}

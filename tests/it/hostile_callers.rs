//! People who speak our languages well and mean ill: guessing, replaying, forging, asking around.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use kfbind::sim::{Api, Tamper};
use serde_json::json;
use sha2::Sha256;

use crate::support::{
    ADMIN_KEY, Answer, Client, TestApp, heard,
    process::{Process, but, environment, world},
};

const HOUR_S: u64 = 3600;

// ---- Guessing ---------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_thousand_guessers_are_locked_each_and_codes_grow_under_them() {
    let app = TestApp::start().await;
    let victim = app.login("victim").await;
    let live = victim.issue().await;
    let guessers: Vec<_> = (0..1_000).map(|number| app.sim.customer(&format!("guesser {number}"))).collect();
    for (number, guesser) in (0..).zip(&guessers) {
        let codes: Vec<String> = (0..6).map(|guess| live.other(number * 6 + guess)).collect();
        guesser.says(&app.account(), &codes.join(" "));
    }
    app.settled().await;
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"wrong\"}").await, 5_000.0);
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"locked\"}").await, 1_000.0);
    assert_eq!(app.metric("kfbind_guessing").await, 1.0);
    for guesser in &guessers {
        assert_eq!(heard(guesser), ["locked"]);
    }
    // The right one is worth nothing to them now.
    guessers[7].says(&app.account(), &live.text);
    app.settled().await;
    assert_eq!(victim.status().await, "pending");
    // Over 1,000 wrong codes in a day: two places more. And honest customers go on binding.
    let honest = app.login("honest").await;
    let code = honest.issue().await;
    assert_eq!((live.text.len(), code.text.len()), (6, 8));
    app.sim.customer("honest").says(&app.account(), &code.display);
    honest.until("bound").await;
    app.sim.customer("victim").says(&app.account(), &live.display);
    victim.until("bound").await;
}

// ---- Replaying --------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn callbacks_sent_again_a_thousand_times_are_counted_and_cost_next_to_nothing() {
    let app = TestApp::start().await;
    let kept: Vec<_> = (0..20).map(|_| app.sealed(&app.sim.doorbell_xml(&app.account()))).collect();
    for callback in &kept {
        app.client().callback(callback.clone()).await.expect(200);
    }
    app.settled().await;
    let pulls = app.sim.count(Api::SyncMsg);
    let again = async || {
        for callback in kept.iter().cycle().take(1_000) {
            app.client().callback(callback.clone()).await.expect(200);
        }
    };
    // The same bytes, timestamp and nonce as long as their tokens live: known as repeats.
    again().await;
    assert_eq!(app.metric("kfbind_callbacks_total{result=\"duplicate\"}").await, 1_000.0);
    assert_eq!(app.sim.count(Api::SyncMsg), pulls, "a repeat pulls nothing");
    // A day later their tokens are dead. (What we remember of them goes by a clock that can't be moved here.)
    app.clock.advance(24 * HOUR_S);
    again().await;
    let later: Vec<_> = app.sim.calls(Api::SyncMsg).split_off(usize::try_from(pulls).unwrap());
    assert!(later.len() <= 6, "{} pulls", later.len());
    app.bound("u").await;
}

/// Somebody who knows the callback's Token can sign what was kept anew; then only the ration protects WeCom's patience.
#[tokio::test]
async fn old_doorbells_under_new_signatures_cost_no_pulls_beyond_the_ration() {
    let app = TestApp::start().await;
    let old: Vec<String> = (0..300).map(|_| app.sim.doorbell_xml(&app.account())).collect();
    app.clock.advance(HOUR_S);
    let before = app.sim.calls(Api::SyncMsg).len();
    for xml in &old {
        assert_eq!(app.sim.push_raw(xml, Tamper::None).await.unwrap().status, 200);
    }
    let later = app.sim.calls(Api::SyncMsg).split_off(before);
    assert!(later.len() <= 6, "{} pulls", later.len());
    assert!(later.iter().all(|call| call.body["token"].as_str().is_none_or(str::is_empty)), "no dead token");
    assert!(later.iter().all(|call| call.errcode == 0), "WeCom minds none of them");
    app.bound("u").await;
}

// ---- Forging ----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn parts_of_good_sessions_make_no_other_session() {
    let app = TestApp::start().await;
    let (mine, theirs) = (app.login_as("oAttacker").await, app.login_as("oVictimUx").await);
    let bytes = |session: &str| URL_SAFE_NO_PAD.decode(session).unwrap();
    let (mine_bytes, theirs_bytes) = (bytes(&mine.session), bytes(&theirs.session));
    let split = mine_bytes.len() - 32;
    assert_eq!(theirs_bytes.len(), mine_bytes.len());
    let renamed = String::from_utf8_lossy(&mine_bytes[..split]).contains("oAttacker");
    assert!(renamed, "the openid stands in it");
    let at = mine_bytes.windows(9).position(|part| part == b"oAttacker").unwrap();
    let mut altered = mine_bytes.clone();
    altered[at..at + 9].copy_from_slice(b"oVictimUx");
    let mut later = mine_bytes.clone();
    later[10..18].copy_from_slice(&u64::MAX.to_be_bytes());
    let mut forged = vec![
        [&theirs_bytes[..split], &mine_bytes[split..]].concat(),
        [&mine_bytes[..split], &theirs_bytes[split..]].concat(),
        [&theirs_bytes[..split], &[0; 32]].concat(),
        theirs_bytes[..split].to_vec(),
        altered.clone(),
        later,
    ];
    // Signed with what a thief of something else may have.
    let options = &app.options;
    for key in
        ["", ADMIN_KEY, &options.secret, &options.token, &options.app_secret, &options.encoding_aes_key]
    {
        for purpose in ["", "kfbind session\0"] {
            let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
            mac.update(purpose.as_bytes());
            mac.update(&theirs_bytes[..split]);
            forged.push([&theirs_bytes[..split], mac.finalize().into_bytes().as_slice()].concat());
        }
    }
    let mut answers = BTreeSet::new();
    for session in forged {
        let client = app.client().bearing(&URL_SAFE_NO_PAD.encode(session));
        for (method, path) in
            [("GET", "/api/binding"), ("DELETE", "/api/binding"), ("POST", "/api/binding/token")]
        {
            let answer = client.send(method, path, None).await.expect_problem(401, "session-invalid");
            answers.insert(shape(&answer));
        }
    }
    assert_eq!(answers.len(), 1, "they are told apart: {answers:?}");
    assert_eq!((mine.status().await.as_str(), theirs.status().await.as_str()), ("unbound", "unbound"));
}

#[tokio::test]
async fn sessions_and_the_admin_key_open_only_their_own_doors() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let key_as_session = app.client().bearing(ADMIN_KEY);
    for (method, path) in
        [("GET", "/api/binding"), ("DELETE", "/api/binding"), ("POST", "/api/binding/token")]
    {
        key_as_session.send(method, path, None).await.expect_problem(401, "session-invalid");
    }
    for (method, path) in [
        ("GET", "/api/admin/bindings"),
        ("DELETE", "/api/admin/bindings/o1"),
        ("DELETE", "/api/admin/locks/wm1"),
        ("GET", "/api/admin/export"),
    ] {
        phone.client.send(method, path, None).await.expect_problem(401, "admin-key-invalid");
    }
    let details = phone.client.get("/readyz").await.expect(200).json();
    assert_eq!(details.as_object().unwrap().len(), 1, "{details}");
    // Nowhere but in the header.
    for path in [
        format!("/api/admin/bindings?authorization=Bearer%20{ADMIN_KEY}"),
        format!("/api/admin/bindings?access_token={ADMIN_KEY}&api_key={ADMIN_KEY}"),
    ] {
        app.client().get(&path).await.expect_problem(401, "admin-key-invalid");
    }
    let request =
        app.client().request("GET", "/api/binding").header("cookie", format!("session={}", phone.session));
    Client::try_send("a cookie".into(), request).await.unwrap().expect_problem(401, "session-invalid");
}

#[tokio::test]
async fn no_forwarded_address_buys_more_logins() {
    let app = TestApp::with(&[("limits.logins_per_ip", "\"3/1m\"")]).await;
    let login = async |lines: &[&str]| {
        let mut request = app.client().request("POST", "/api/login").body("{\"code\":\"no such code\"}");
        for line in lines {
            request = request.header("x-forwarded-for", *line);
        }
        Client::try_send(format!("{lines:?}"), request).await.unwrap().status
    };
    let mut logins = Vec::new();
    // The proxy adds the address that it saw; all that stands before is the client's own invention.
    let flood = "10.9.8.7, ".repeat(300);
    for lines in [
        &["198.51.100.7"][..],
        &["203.0.113.1", "198.51.100.7"],
        &["203.0.113.2, 198.51.100.7"],
        &["203.0.113.3, 127.0.0.1, 198.51.100.7"],
        &["", ",,,", "198.51.100.7"],
        &["203.0.113.4, 198.51.100.7, 127.0.0.1, ::1"],
        &["nonsense", "198.51.100.7:4711"],
        &["\u{e9}\u{e9}", "::ffff:198.51.100.7"],
        &[&format!("{flood}198.51.100.7")],
    ] {
        logins.push(login(lines).await);
    }
    assert_eq!(logins, [401, 401, 401, 429, 429, 429, 429, 429, 429]);
    // One subscriber has a whole /64; another header says nothing.
    let mut v6 = Vec::new();
    for number in 1..=5 {
        v6.push(login(&[&format!("[2001:db8:1:2:{number}::{number}]:443")]).await);
    }
    assert_eq!(v6, [401, 401, 401, 429, 429]);
    let request = app.client().request("POST", "/api/login").header("x-forwarded-for", "198.51.100.7");
    let request = request
        .header("forwarded", "for=192.0.2.1")
        .header("x-real-ip", "192.0.2.1")
        .body("{\"code\":\"x\"}");
    assert_eq!(Client::try_send("others".into(), request).await.unwrap().status, 429);
    assert_eq!(app.sim.count(Api::Code2Session), 6, "WeChat is asked for those within the limit only");
}

#[tokio::test]
async fn the_header_of_an_untrusted_address_is_named_once_in_the_log() {
    let (sim, options, store) = world().await;
    let environment = but(
        &environment(&options, &sim.base_url(), &store),
        &[("SERVER__TRUSTED_PROXIES", "10.0.0.0/8"), ("LIMITS__LOGINS_PER_IP", "2/1m")],
    );
    let process = Process::serve(&environment).await;
    let client = Client::of(&process.base);
    let mut statuses = Vec::new();
    for number in 0..20 {
        let request =
            client.request("POST", "/api/login").header("x-forwarded-for", format!("192.0.2.{number}"));
        let request = request.body("{\"code\":\"no such code\"}");
        statuses.push(Client::try_send("a login".into(), request).await.unwrap().status);
    }
    assert_eq!((&statuses[..2], &statuses[2..]), (&[401; 2][..], &[429; 18][..]));
    let log = process.log.lock().unwrap().clone();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("X-Forwarded-For")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("WARN") && warnings[0].contains("server.trusted_proxies"), "{warnings:?}");
    assert!(!log.contains("192.0.2."), "what the stranger wrote is not repeated");
}

// ---- Asking around ----------------------------------------------------------------------------------------------------

/// All that an answer tells, without what is new each time.
fn shape(answer: &Answer) -> String {
    let told = answer.headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    let mut told: Vec<String> = told.map(|(name, value)| format!("{name}: {value:?}")).collect();
    told.sort();
    format!("{} {told:?} {}", answer.status, answer.text())
}

#[tokio::test]
async fn strangers_are_answered_the_same_whomever_they_ask_about() {
    let app = TestApp::start().await;
    let (phone, customer, code) = app.bound("known").await;
    let used = app.sim.wx_login_code("oKnown", None);
    app.client().post("/api/login", json!({"code": used})).await.expect(200);
    let callback = |signature: &str, message: &str| {
        let (query, body) = app.sealed(message);
        let right = query.split(['=', '&']).nth(1).unwrap().to_owned();
        (query.replace(&right, signature), body)
    };
    let doorbell = app.sim.doorbell_xml(&app.account());
    let stranger = app.client();
    let wrong = app.client().bearing("not the key");
    let (known, account) = (phone.openid.clone(), customer.external_userid().to_owned());
    let groups: Vec<(&str, Vec<Answer>)> = vec![
        (
            "login codes that don't work",
            vec![
                stranger.post("/api/login", json!({"code": used})).await,
                stranger.post("/api/login", json!({"code": "fake"})).await,
                stranger.post("/api/login", json!({"code": code.text})).await,
                stranger.post("/api/login", json!({"code": known})).await,
                stranger.post("/api/login", json!({"code": ""})).await,
            ],
        ),
        (
            "callbacks that are not WeCom's",
            vec![
                stranger.callback(callback(&"0".repeat(40), &doorbell)).await,
                stranger.callback(callback("x", &doorbell)).await,
                stranger.callback(callback(&"0".repeat(40), "not even an event")).await,
                stranger.callback(callback(&"0".repeat(40), &doorbell.replace("wk", "kw"))).await,
            ],
        ),
        (
            "bindings, without the key",
            vec![
                wrong.get(&format!("/api/admin/bindings?openid={known}")).await,
                wrong.get("/api/admin/bindings?openid=oNobody").await,
                wrong.get("/api/admin/bindings?limit=nonsense").await,
            ],
        ),
        (
            "unbinding, without the key",
            vec![
                wrong.delete(&format!("/api/admin/bindings/{known}")).await,
                wrong.delete("/api/admin/bindings/oNobody").await,
                wrong.delete(&format!("/api/admin/locks/{account}")).await,
                wrong.delete("/api/admin/locks/wmNobody").await,
            ],
        ),
        (
            "readiness, without the key",
            vec![
                stranger.get("/readyz").await,
                wrong.get("/readyz").await,
                phone.client.get("/readyz").await,
            ],
        ),
    ];
    for (name, answers) in groups {
        let shapes: BTreeSet<String> = answers.iter().map(shape).collect();
        assert_eq!(shapes.len(), 1, "{name}: {shapes:#?}");
    }
    assert_eq!(phone.status().await, "bound", "nothing of this has changed anything");
}

#[tokio::test]
async fn a_session_that_is_none_is_answered_as_one_that_has_expired() {
    let app = TestApp::start().await;
    let (bound, _, _) = app.bound("bound").await;
    let unbound = app.login("unbound").await;
    app.clock.advance(8 * 24 * HOUR_S);
    let mut shapes = BTreeSet::new();
    for session in ["x", &"A".repeat(140), &bound.session, &unbound.session] {
        shapes.insert(shape(&app.client().bearing(session).get("/api/binding").await));
    }
    shapes.insert(shape(&app.client().get("/api/binding").await));
    assert_eq!(shapes.len(), 1, "{shapes:#?}");
}

//! Tests of the employees' login against a scripted loopback server and against the simulator.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use super::*;
use crate::{
    outgoing::{
        self,
        loopback::{Loopback, Play, Seen},
    },
    sim::{Sim, SimOptions},
};

const SECRET: &str = "the-staff-s3cret";

struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn client_of(api_base: String, corp_id: &str, secret: &str) -> StaffClient {
    let config = WecomConfig {
        api_base,
        corp_id: corp_id.to_owned(),
        secret: secret.to_owned().into(),
        app_id: "wxApp".to_owned(),
    };
    let http = outgoing::client(Duration::from_secs(30), None).unwrap();
    let clock = Arc::new(HandClock(AtomicU64::new(crate::sim::DEFAULT_NOW_MS)));
    StaffClient::new(config, http, clock, Tally::default())
}

/// `gettoken` gives `token-1`, `token-2` and so on; the login is answered by `play`, which gets the token's number.
async fn start(play: impl Fn(usize) -> Play + Send + Sync + 'static) -> (Loopback, StaffClient) {
    let issued = AtomicUsize::new(0);
    let server = Loopback::start(move |seen: &Seen| {
        if seen.call() == "gettoken" {
            let n = issued.fetch_add(1, Ordering::Relaxed) + 1;
            return Play::json(&format!(
                r#"{{"errcode":0,"errmsg":"ok","access_token":"token-{n}","expires_in":7200}}"#
            ));
        }
        let number = seen.line.split_once("token-").unwrap().1.split('&').next().unwrap().parse().unwrap();
        play(number)
    })
    .await;
    let client = client_of(server.base(), "wwCorp", SECRET);
    (server, client)
}

async fn answered(body: &str) -> Result<UserId, StaffLoginError> {
    let play = Play::json(body);
    start(move |_| play.clone()).await.1.login("code").await
}

#[tokio::test]
async fn a_login_names_the_employee() {
    let body = r#"{"errcode":0,"corpid":"wwCorp","userid":"ZhangSan","session_key":"k"}"#;
    let (server, client) = start(move |_| Play::json(body)).await;
    assert_eq!(client.login("a&b c").await, Ok(UserId::new("ZhangSan")));
    let lines: Vec<_> = server.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(
        lines,
        [
            "GET /cgi-bin/gettoken?corpid=wwCorp&corpsecret=the-staff-s3cret",
            "GET /cgi-bin/miniprogram/jscode2session?access_token=token-1&js_code=a%26b+c&grant_type=authorization_code",
        ]
    );
    client.login("another").await.unwrap();
    assert_eq!((server.count("gettoken"), server.count("jscode2session")), (1, 2));
}

#[tokio::test]
async fn an_employee_of_another_corp_is_none_of_ours() {
    for corpid in ["wwOther", "wwcorp", ""] {
        let body = format!(r#"{{"errcode":0,"corpid":"{corpid}","userid":"ZhangSan"}}"#);
        assert_eq!(answered(&body).await, Err(StaffLoginError::NotOurs), "{corpid}");
    }
}

#[tokio::test]
async fn codes_that_are_not_taken_are_told_from_all_else() {
    for (errcode, expected) in [
        (40029, StaffLoginError::CodeInvalid),
        (40163, StaffLoginError::CodeInvalid),
        (-1, StaffLoginError::Unavailable),
        (45009, StaffLoginError::Unavailable),
        (48002, StaffLoginError::Unavailable),
        (60020, StaffLoginError::Unavailable),
        (40058, StaffLoginError::Unavailable),
    ] {
        let body = format!(r#"{{"errcode":{errcode},"errmsg":"x","corpid":"wwCorp","userid":"u"}}"#);
        assert_eq!(answered(&body).await, Err(expected), "{errcode}");
    }
    let long = format!(r#"{{"corpid":"wwCorp","userid":"{}"}}"#, "u".repeat(USERID_BYTES_MAX + 1));
    for body in ["", "<html>", "{}", r#"{"corpid":"wwCorp"}"#, r#"{"corpid":"wwCorp","userid":""}"#, &long] {
        assert_eq!(answered(body).await, Err(StaffLoginError::Unavailable), "{body}");
    }
}

#[tokio::test]
async fn a_code_is_tried_once_and_again_only_with_a_new_access_token() {
    let (server, client) = start(|_| Play::json(r#"{"errcode":-1,"errmsg":"busy"}"#)).await;
    assert_eq!(client.login("code").await, Err(StaffLoginError::Unavailable));
    assert_eq!(server.count("jscode2session"), 1);
    let (server, client) = start(|token| {
        Play::json(if token == 1 {
            r#"{"errcode":40014,"errmsg":"x"}"#
        } else {
            r#"{"errcode":0,"corpid":"wwCorp","userid":"u"}"#
        })
    })
    .await;
    assert_eq!(client.login("code").await, Ok(UserId::new("u")));
    assert_eq!(server.count("jscode2session"), 2);
    let (server, client) = start(|_| Play::json(r#"{"errcode":40014,"errmsg":"x"}"#)).await;
    assert_eq!(client.login("code").await, Err(StaffLoginError::Unavailable));
    assert_eq!(server.count("jscode2session"), 2);
}

#[tokio::test]
async fn debug_and_errors_show_no_secret() {
    let (_server, client) = start(|_| Play::Raw(Vec::new())).await;
    let error = client.login("the-code").await.unwrap_err();
    let shown = format!("{client:?} {error:?} {error}");
    assert!(shown.contains("wwCorp"), "{shown}");
    assert!(!shown.contains(SECRET) && !shown.contains("token-1") && !shown.contains("the-code"), "{shown}");
}

#[tokio::test]
async fn the_simulated_wecom_takes_a_code_once_and_only_with_the_staff_apps_token() {
    let options = SimOptions::default();
    let sim = Sim::start(options.clone()).await.unwrap();
    let client = client_of(sim.base_url(), &options.corp_id, &options.staff_secret);
    let code = sim.staff_login_code("ZhangSan");
    assert_eq!(client.login(&code).await, Ok(UserId::new("ZhangSan")));
    assert_eq!(client.login(&code).await, Err(StaffLoginError::CodeInvalid));
    let users = sim.wx_login_code("oA", None);
    assert_eq!(client.login(&users).await, Err(StaffLoginError::CodeInvalid));
    let wrong_app = client_of(sim.base_url(), &options.corp_id, &options.secret);
    let code = sim.staff_login_code("ZhangSan");
    assert_eq!(wrong_app.login(&code).await, Err(StaffLoginError::Unavailable));
    assert_eq!(client.login(&code).await, Ok(UserId::new("ZhangSan")), "a refused token spends no code");
    sim.stop().await;
}

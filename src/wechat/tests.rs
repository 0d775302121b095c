//! Tests of the login against a scripted loopback server.

use std::time::Duration;

use super::*;
use crate::outgoing::loopback::{Loopback, Play};

fn client(server: &Loopback) -> WechatClient {
    let config =
        WechatConfig { api_base: server.base(), app_id: "wxapp".to_owned(), secret: "s3cret&+".into() };
    WechatClient::new(config, outgoing::client(Duration::from_secs(30), None).unwrap())
}

async fn answered(play: Play) -> Result<Login, LoginError> {
    let server = Loopback::start(move |_| play.clone()).await;
    client(&server).code2session("code").await
}

#[tokio::test]
async fn a_login_names_openid_and_unionid() {
    let login = answered(Play::json(r#"{"openid":"oA_b","session_key":"k","unionid":"uC","x":{}}"#)).await;
    assert_eq!(login, Ok(Login { openid: OpenId::new("oA_b"), unionid: Some(UnionId::new("uC")) }));
    let login = answered(Play::json(r#"{"openid":"oA_b","unionid":"","errcode":0}"#)).await;
    assert_eq!(login, Ok(Login { openid: OpenId::new("oA_b"), unionid: None }));
}

#[tokio::test]
async fn the_query_is_complete_and_escaped() {
    let server = Loopback::start(|_| Play::json(r#"{"openid":"o"}"#)).await;
    client(&server).code2session("a&b=c d").await.unwrap();
    let line = &server.seen()[0].line;
    assert_eq!(
        line,
        "GET /sns/jscode2session?appid=wxapp&secret=s3cret%26%2B&js_code=a%26b%3Dc+d&grant_type=authorization_code"
    );
}

#[tokio::test]
async fn errcodes_are_told_apart() {
    for (errcode, expected) in [
        (40029, LoginError::CodeInvalid),
        (40163, LoginError::CodeInvalid),
        (40226, LoginError::Refused),
        (45011, LoginError::TooMany),
        (-1, LoginError::Unavailable),
        (40013, LoginError::Unavailable),
        (40125, LoginError::Unavailable),
        (40164, LoginError::Unavailable),
        (99999, LoginError::Unavailable),
    ] {
        let body = format!(r#"{{"errcode":{errcode},"errmsg":"x","openid":"o"}}"#);
        assert_eq!(answered(Play::json(&body)).await, Err(expected), "{errcode}");
    }
}

#[tokio::test]
async fn unusable_answers_are_unavailable() {
    let long = format!(r#"{{"openid":"{}"}}"#, "o".repeat(ID_BYTES_MAX + 1));
    for body in ["", "<html>", "{}", "[]", r#"{"openid":""}"#, r#"{"openid":7}"#, r#"{"errcode":0}"#, &long] {
        assert_eq!(answered(Play::json(body)).await, Err(LoginError::Unavailable), "{body}");
    }
    let play = Play::with_status("502 Bad Gateway", &[], r#"{"openid":"o"}"#);
    assert_eq!(answered(play).await, Err(LoginError::Unavailable));
    assert_eq!(answered(Play::Raw(Vec::new())).await, Err(LoginError::Unavailable));
}

#[tokio::test]
async fn a_code_is_tried_once() {
    let server = Loopback::start(|_| Play::json(r#"{"errcode":-1,"errmsg":"busy"}"#)).await;
    client(&server).code2session("code").await.unwrap_err();
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let server = Loopback::start(|_| Play::Silence).await;
    let shown = format!("{:?}", client(&server));
    assert!(shown.contains("wxapp") && !shown.contains("s3cret"), "{shown}");
}

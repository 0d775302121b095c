//! The mini programs: the employees' login, WeChat's access token, subscribe messages.

use super::*;

async fn stable_token(rig: &Rig) -> String {
    let SimOptions { app_id, app_secret, .. } = &rig.options;
    let body = json!({"grant_type": "client_credential", "appid": app_id, "secret": app_secret});
    let answer = rig.raw("POST", Api::StableToken.path(), Some(body.to_string())).await.unwrap().body;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert!(answer.get("errcode").is_none(), "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

async fn send(rig: &Rig, token: &str, body: &Value) -> i64 {
    let path = format!("{}?access_token={token}", Api::SubscribeSend.path());
    let answer = rig.raw("POST", &path, Some(body.to_string())).await.unwrap().body;
    serde_json::from_str::<Value>(&answer).unwrap()["errcode"].as_i64().unwrap()
}

fn message(field: &str, value: &str) -> Value {
    json!({"touser": "oA", "template_id": "T", "page": "pages/a/a", "miniprogram_state": "formal",
        "lang": "zh_CN", "data": {field: {"value": value}}})
}

#[tokio::test]
async fn the_stable_token_stays_until_its_last_minutes_and_then_two_are_good() {
    let rig = Rig::quiet().await;
    rig.sim.accept_subscribe("oA", "T", 9);
    let token = stable_token(&rig).await;
    rig.pass(7200 - 300);
    assert_eq!(stable_token(&rig).await, token);
    rig.pass(1);
    let fresh = stable_token(&rig).await;
    assert_ne!(fresh, token);
    for token in [&token, &fresh] {
        assert_eq!(send(&rig, token, &message("thing1", "x")).await, 0);
    }
    rig.pass(299);
    assert_eq!(send(&rig, &token, &message("thing1", "x")).await, 42001);
    assert_eq!(send(&rig, &fresh, &message("thing1", "x")).await, 0);
    assert_eq!(send(&rig, &rig.token().await, &message("thing1", "x")).await, 40001, "WeCom's token");
    assert_eq!(send(&rig, "", &message("thing1", "x")).await, 41001);
}

#[tokio::test]
async fn one_accept_is_one_message() {
    let rig = Rig::quiet().await;
    let token = stable_token(&rig).await;
    assert_eq!(send(&rig, &token, &message("thing1", "x")).await, 43101);
    rig.sim.accept_subscribe("oA", "T", 1);
    assert_eq!(send(&rig, &token, &message("thing1", "")).await, 47003, "spends no accept");
    assert_eq!(send(&rig, &token, &message("thing1", "x")).await, 0);
    assert_eq!(send(&rig, &token, &message("thing1", "x")).await, 43101);
    let sent = rig.sim.subscribe_messages();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].openid.as_str(), sent[0].page.as_str()), ("oA", "pages/a/a"));
}

#[tokio::test]
async fn a_subscribe_message_must_be_well_formed() {
    let rig = Rig::quiet().await;
    rig.sim.accept_subscribe("oA", "T", 99);
    let token = stable_token(&rig).await;
    let long = "好".repeat(21);
    for (field, value, errcode) in [
        ("thing1", &long[..60], 0),
        ("thing1", long.as_str(), 47003),
        ("thing1", "a\nb", 47003),
        ("name1", "好好好好好好好好好好", 0),
        ("name1", "好好好好好好好好好好好", 47003),
        ("phrase1", "已绑定", 0),
        ("phrase1", "ok", 47003),
        ("character_string1", "A-1", 0),
        ("character_string1", "好", 47003),
        ("number1", "12a", 47003),
        ("letter1", "a1", 47003),
        ("time2", "2026年11月25日 15:01", 0),
        ("date2", "2026年11月25日", 0),
        ("time2", "15:01", 0),
        ("time2", "2026-11-25T15:01:00Z", 47003),
        ("time2", "2026年13月25日 15:01", 47003),
        ("time2", "2026年11月25日 15:1", 47003),
        ("time2", "{time}", 47003),
    ] {
        assert_eq!(send(&rig, &token, &message(field, value)).await, errcode, "{field} {value}");
    }
    for (field, value, errcode) in [
        ("touser", json!(""), 40003),
        ("template_id", json!(""), 40037),
        ("page", json!("pages/a/a.html?x=1"), 41030),
        ("miniprogram_state", json!(null), 40097),
        ("lang", json!("zh"), 40097),
        ("data", json!({}), 47003),
        ("data", json!({"thing1": "x"}), 47003),
    ] {
        let mut body = message("thing1", "x");
        body[field] = value;
        assert_eq!(send(&rig, &token, &body).await, errcode, "{field}");
    }
}

#[tokio::test]
async fn an_employees_code_is_good_once_for_five_minutes_and_for_the_staff_apps_token_only() {
    let rig = Rig::quiet().await;
    let SimOptions { corp_id, staff_secret, .. } = &rig.options;
    let path = format!("/cgi-bin/gettoken?corpid={corp_id}&corpsecret={staff_secret}");
    let staff_token = rig.get(&path).await["access_token"].as_str().unwrap().to_owned();
    let login = async |token: &str, code: &str| {
        let path = format!(
            "{}?access_token={token}&js_code={code}&grant_type=authorization_code",
            Api::StaffCode2Session.path()
        );
        rig.get(&path).await
    };
    let code = rig.sim.staff_login_code("ZhangSan");
    assert_eq!(login(&rig.token().await, &code).await["errcode"], 40014);
    let answer = login(&staff_token, &code).await;
    assert_eq!((&answer["corpid"], &answer["userid"]), (&json!(corp_id), &json!("ZhangSan")));
    assert_eq!(login(&staff_token, &code).await["errcode"], 40029);
    let old = rig.sim.staff_login_code("ZhangSan");
    rig.pass(300);
    assert_eq!(login(&staff_token, &old).await["errcode"], 40029);
    let body = json!({"open_kfid": "wkONE"}).to_string();
    let path = format!("{}?access_token={staff_token}", Api::SyncMsg.path());
    let pulled = rig.raw("POST", &path, Some(body)).await.unwrap().body;
    assert!(pulled.contains("48002"), "the staff app has no right to kf: {pulled}");
}

//! Tests of what the further ways to bind ask of WeCom: menus, welcomes, hand-over, entries.

use actors::{
    ids::{MenuId, Ticket, UserId, WelcomeCode},
    ports::{MenuItem, Profile},
};
use serde_json::{Value, json};

use super::*;

const DONE: &str = r#"{"errcode":0,"errmsg":"ok","msgid":"r1"}"#;

fn reply(words: Words) -> Reply {
    Reply {
        account: OpenKfId::new("wk"),
        customer: ExternalUserId::new("wm"),
        reply_id: ReplyId::new("r1"),
        words,
    }
}

fn question(head: &str, label: &str) -> Words {
    let click = |id: &str| MenuItem::Click { id: MenuId::new(id), label: label.to_owned() };
    Words::Menu { head: head.to_owned(), items: vec![click("y_1"), click("n_1")] }
}

fn last_body(bench: &Bench) -> Value {
    serde_json::from_str(&bench.server.seen().pop().unwrap().body).unwrap()
}

async fn welcome(bench: &Bench) -> Result<(), CallError> {
    bench.client.welcome(WelcomeCode::new("CODE"), reply(Words::Text("welcome".to_owned()))).await
}

#[tokio::test]
async fn a_question_is_a_menu_with_what_is_tapped() {
    let bench = Bench::start(|_, _| Play::json(DONE)).await;
    bench.client.send(reply(question("sure?", "yes"))).await.unwrap();
    let click = |id: &str| json!({"type": "click", "click": {"id": id, "content": "yes"}});
    let expected = json!({"touser": "wm", "open_kfid": "wk", "msgid": "r1", "msgtype": "msgmenu",
        "msgmenu": {"head_content": "sure?", "list": [click("y_1"), click("n_1")]}});
    assert_eq!(last_body(&bench), expected);
    assert!(bench.tally.encode().contains(r#"wecom_api_seconds_count{api="send_msg"} 1"#));
}

#[tokio::test]
async fn a_card_opens_a_page_of_our_mini_program() {
    let bench = Bench::start(|_, _| Play::json(DONE)).await;
    let page = MenuItem::Page { path: "pages/a/a.html?ticket=t".to_owned(), label: "open".to_owned() };
    bench.client.send(reply(Words::Menu { head: "bind".to_owned(), items: vec![page] })).await.unwrap();
    let item = json!({"type": "miniprogram", "miniprogram":
        {"appid": "wxApp", "pagepath": "pages/a/a.html?ticket=t", "content": "open"}});
    assert_eq!(last_body(&bench)["msgmenu"]["list"], json!([item]));
}

#[tokio::test]
async fn a_menu_is_cut_to_what_wecom_takes_between_characters() {
    let bench = Bench::start(|_, _| Play::json(DONE)).await;
    let long = "\u{4f60}".repeat(1000);
    bench.client.send(reply(question(&long, &long))).await.unwrap();
    let menu = last_body(&bench)["msgmenu"].clone();
    assert_eq!(menu["head_content"].as_str().unwrap().len(), 1023);
    assert_eq!(menu["list"][0]["click"]["content"].as_str().unwrap().len(), 126);
    let page = MenuItem::Page { path: "p.html".to_owned(), label: long };
    bench.client.send(reply(Words::Menu { head: String::new(), items: vec![page] })).await.unwrap();
    let label = last_body(&bench)["msgmenu"]["list"][0]["miniprogram"]["content"].clone();
    assert_eq!(label.as_str().unwrap().len(), 1023);
}

#[tokio::test]
async fn a_welcome_carries_the_code_and_a_msgid_and_names_nobody() {
    let bench = Bench::start(|_, _| Play::json(DONE)).await;
    welcome(&bench).await.unwrap();
    let seen = bench.server.seen().pop().unwrap();
    assert_eq!(seen.line, "POST /cgi-bin/kf/send_msg_on_event?access_token=token-1");
    let expected = json!({"code": "CODE", "msgid": "r1", "msgtype": "text", "text": {"content": "welcome"}});
    assert_eq!(last_body(&bench), expected);
    assert!(bench.tally.encode().contains(r#"wecom_api_seconds_count{api="send_msg_on_event"} 1"#));
}

#[tokio::test]
async fn a_dead_welcome_code_is_refused_and_no_matter_of_sync_tokens() {
    for errcode in [95007, 95033] {
        let bench = Bench::start(move |_, _| error_answer(errcode)).await;
        let error = welcome(&bench).await.unwrap_err();
        assert!(matches!(error, CallError::Refused { errcode: code, .. } if code == errcode), "{error:?}");
        assert_eq!(bench.server.count("send_msg_on_event"), 1);
    }
}

#[tokio::test]
async fn after_a_welcome_without_a_usable_answer_nobody_knows_and_nothing_is_repeated() {
    for play in [
        error_answer(-1),
        Play::with_status("502 Bad Gateway", &[], DONE),
        Play::json("<html>"),
        Play::json("{}"),
        Play::json(r#"{"errmsg":"ok"}"#),
        Play::Raw(Vec::new()),
    ] {
        let shown = format!("{play:?}");
        let bench = Bench::start(move |_, _| play.clone()).await;
        let error = welcome(&bench).await.unwrap_err();
        assert!(matches!(error, CallError::Unreachable(_)), "{shown}: {error:?}");
        assert_eq!(bench.server.count("send_msg_on_event"), 1, "{shown}");
    }
    let bench = Bench::with_timeout(Duration::from_millis(200), |seen| match seen.call() {
        "gettoken" => Play::json(r#"{"errcode":0,"access_token":"token-1","expires_in":7200}"#),
        _ => Play::Silence,
    })
    .await;
    assert_eq!(welcome(&bench).await, Err(CallError::Unreachable("no answer in time".to_owned())));
    assert_eq!(bench.server.count("send_msg_on_event"), 1);
}

#[tokio::test]
async fn a_welcome_that_wecom_never_saw_may_be_said_otherwise() {
    let no_token = Bench::start_raw(|_| Play::with_status("502 Bad Gateway", &[], "")).await;
    let error = welcome(&no_token).await.unwrap_err();
    assert!(matches!(error, CallError::Refused { .. }), "{error:?}");
    let refused_token = Bench::start(|_, _| error_answer(42001)).await;
    let error = welcome(&refused_token).await.unwrap_err();
    assert!(matches!(error, CallError::Refused { .. }), "{error:?}");
    assert_eq!(refused_token.server.count("send_msg_on_event"), 2);
}

#[tokio::test]
async fn a_welcome_refused_for_its_access_token_is_repeated_once() {
    let bench =
        Bench::start(|token, _| if token == 1 { error_answer(42001) } else { Play::json(DONE) }).await;
    welcome(&bench).await.unwrap();
    assert_eq!(bench.server.count("send_msg_on_event"), 2);
}

#[tokio::test]
async fn sessions_are_moved_to_the_pool_and_to_people() {
    let bench = Bench::start(|_, _| Play::json(r#"{"errcode":0,"errmsg":"ok","msg_code":"c"}"#)).await;
    for (to, expected) in [
        (Receiver::Assistant, r#""service_state":1}"#),
        (Receiver::Pool, r#""service_state":2}"#),
        (Receiver::Servicer(UserId::new("Zhang")), r#""service_state":3,"servicer_userid":"Zhang"}"#),
    ] {
        let (account, customer) = (OpenKfId::new("wk"), ExternalUserId::new("wm"));
        bench.client.transfer(account, customer, to).await.unwrap();
        let body = bench.server.seen().pop().unwrap().body;
        assert_eq!(body, format!(r#"{{"open_kfid":"wk","external_userid":"wm",{expected}"#));
    }
    for errcode in [95013, 95014, 95016, 95019] {
        let bench = Bench::start(move |_, _| error_answer(errcode)).await;
        let (account, customer) = (OpenKfId::new("wk"), ExternalUserId::new("wm"));
        let error = bench.client.transfer(account, customer, Receiver::Pool).await.unwrap_err();
        assert!(matches!(error, CallError::Refused { errcode: code, .. } if code == errcode), "{error:?}");
    }
}

#[tokio::test]
async fn only_people_who_are_receiving_are_named() {
    let bench = Bench::start(|_, _| {
        Play::json(
            r#"{"errcode":0,"errmsg":"ok","servicer_list":[{"userid":"zhang","status":0},
            {"userid":"zhao","status":1,"stop_type":1},{"department_id":7},{"department_id":8,"status":0},
            {"userid":"","status":0},{"userid":"li"},{"userid":7},{"userid":"Wang","status":0}]}"#,
        )
    })
    .await;
    let receiving = bench.client.receiving(OpenKfId::new("wk")).await.unwrap();
    assert_eq!(receiving, [UserId::new("zhang"), UserId::new("Wang")]);
    let line = bench.server.seen().pop().unwrap().line;
    assert_eq!(line, "GET /cgi-bin/kf/servicer/list?access_token=token-1&open_kfid=wk");
}

#[tokio::test]
async fn a_missed_ticket_comes_with_the_last_entry() {
    let bench = Bench::start(|_, _| {
        Play::json(
            r#"{"errcode":0,"customer_list":[
            {"external_userid":"wm1","enter_session_context":{"scene":"kfbind","scene_param":"Ticket_-9"}},
            {"external_userid":"wm2","enter_session_context":{"scene":"kfbind"}},
            {"external_userid":"wm3","enter_session_context":null,"nickname":"n"},
            {"external_userid":"wm4","enter_session_context":[7],"nickname":"n"},
            {"external_userid":"wm5","enter_session_context":{"scene_param":""}}]}"#,
        )
    })
    .await;
    let customers: Vec<_> = (1..=5).map(|n| ExternalUserId::new(format!("wm{n}"))).collect();
    let profiles = bench.client.profiles(customers.clone(), true).await.unwrap();
    assert_eq!(last_body(&bench)["need_enter_session_context"], 1);
    let entered: Vec<_> = profiles.iter().map(|profile| profile.entered_with.clone()).collect();
    assert_eq!(entered, [Some(Ticket::new("Ticket_-9")), None, None, None, None]);
    let known = Profile {
        customer: ExternalUserId::new("wm4"),
        nickname: Some("n".to_owned()),
        unionid: None,
        entered_with: None,
    };
    assert_eq!(profiles[3], known);
    bench.client.profiles(customers, false).await.unwrap();
    assert_eq!(last_body(&bench)["need_enter_session_context"], 0);
}

#[tokio::test]
async fn no_more_calls_of_one_interface_are_open_than_wecom_allows() {
    let sim = crate::sim::Sim::start(crate::sim::SimOptions::default()).await.unwrap();
    sim.switch(|wecom| {
        wecom.latency_ms.insert(crate::sim::Api::CustomerBatchGet, 20);
        wecom.latency_ms.insert(crate::sim::Api::SyncMsg, 20);
    });
    let options = crate::sim::SimOptions::default();
    let config = WecomConfig {
        api_base: sim.base_url(),
        corp_id: options.corp_id,
        secret: options.secret.into(),
        app_id: options.app_id,
    };
    let clock = Arc::new(HandClock(AtomicU64::new(crate::sim::DEFAULT_NOW_MS)));
    let http = outgoing::client(Duration::from_secs(30), None).unwrap();
    let client = WecomClient::new(config, http, clock, Tally::default());
    let asked = join_all((0..30).map(|n| client.profiles(vec![ExternalUserId::new(format!("wm{n}"))], true)));
    for answer in asked.await {
        answer.unwrap();
    }
    assert_eq!(sim.count(crate::sim::Api::CustomerBatchGet), 30);
    assert_eq!(sim.max_parallel(crate::sim::Api::CustomerBatchGet), 4);
    sim.stop().await;
}

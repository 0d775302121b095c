//! `send_msg`, `send_msg_on_event`, and the states of a session.

use super::*;

fn text(to: &Customer, msgid: &str, text: &str) -> Value {
    json!({"touser": to.external_userid(), "open_kfid": "wkONE", "msgid": msgid, "msgtype": "text",
        "text": {"content": text}})
}

fn menu(to: &Customer, items: &[Value]) -> Value {
    json!({"touser": to.external_userid(), "open_kfid": "wkONE", "msgtype": "msgmenu",
        "msgmenu": {"head_content": "which?", "list": items, "tail_content": ""}})
}

fn heard(customer: &Customer) -> Vec<String> {
    customer.heard().into_iter().map(|heard| heard.text).collect()
}

#[tokio::test]
async fn five_answers_follow_each_message_for_48_hours() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    let send = async |msgid: &str| rig.errcode(Api::SendMsg, text(&li, msgid, msgid)).await;
    li.enters("wkONE", None);
    assert_eq!(send("m0").await, 95018, "entering alone gives no leave to send");
    li.says("wkONE", "hello");
    assert_eq!(rig.sim.service_state(&li, "wkONE"), 0);
    for msgid in ["m1", "m2", "m3", "m4", "m5"] {
        assert_eq!(send(msgid).await, 0);
    }
    assert_eq!(rig.sim.service_state(&li, "wkONE"), 1, "sending moves the session to the assistant");
    assert_eq!(send("m6").await, 95001);
    assert_eq!(send("m5").await, 95033);
    li.says("wkONE", "again");
    assert_eq!(send("m6").await, 0, "what was refused has not used the msgid up");
    rig.pass(48 * 3600);
    assert_eq!(send("m7").await, 95002);
    assert_eq!(heard(&li), ["m1", "m2", "m3", "m4", "m5", "m6"]);
}

#[tokio::test]
async fn what_is_sent_must_be_well_formed() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    li.says("wkONE", "hello");
    for msgid in ["with space", "ümlaut", "000000000000000000000000000000033"] {
        assert_eq!(rig.errcode(Api::SendMsg, text(&li, msgid, "x")).await, 40058, "{msgid}");
    }
    assert_eq!(rig.errcode(Api::SendMsg, text(&li, "m", "")).await, 40058);
    let mut stranger = text(&li, "m", "x");
    stranger["touser"] = json!(li.external_userid().to_lowercase());
    assert_eq!(rig.errcode(Api::SendMsg, stranger).await, 40096);
    let long = "字".repeat(700);
    assert_eq!(rig.errcode(Api::SendMsg, text(&li, "m", &long)).await, 0);
    assert_eq!(heard(&li), ["字".repeat(682)]);
}

#[tokio::test]
async fn a_state_of_a_person_forbids_sending_and_other_states_may() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    for (state, errcode) in [(0, 0), (1, 0), (2, 95018), (3, 95018), (4, 95018)] {
        rig.sim.set_service_state(&li, "wkONE", state);
        assert_eq!(rig.errcode(Api::SendMsg, text(&li, "", "x")).await, errcode, "state {state}");
    }
    rig.sim.switch(|switches| {
        switches.refuse_send_in.insert(0);
    });
    rig.sim.set_service_state(&li, "wkONE", 0);
    assert_eq!(rig.errcode(Api::SendMsg, text(&li, "same", "x")).await, 95018);
    let trans = json!({"open_kfid": "wkONE", "external_userid": li.external_userid(), "service_state": 1});
    assert_eq!(rig.errcode(Api::ServiceStateTrans, trans).await, 0);
    assert_eq!(rig.errcode(Api::SendMsg, text(&li, "same", "x")).await, 0);
}

#[tokio::test]
async fn a_session_may_begin_with_a_person() {
    let rig = Rig::quiet().await;
    rig.sim.switch(|switches| switches.new_session_state = 3);
    let li = rig.sim.customer("li");
    li.says("wkONE", "hello");
    assert_eq!(rig.sim.service_state(&li, "wkONE"), 3);
    assert_eq!(rig.errcode(Api::SendMsg, text(&li, "", "x")).await, 95018);
}

#[tokio::test]
async fn states_change_along_the_arrows_only() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    rig.sim.set_servicers("wkONE", vec![Servicer::receiving("zhang"), Servicer::stopped("zhao")]);
    let arrows = |from: u8, to: u64| match (from, to) {
        (4, _) => 95013,
        (0, 1..) | (1, 2..) | (2 | 3, 3..) => 0,
        _ => 95016,
    };
    for from in 0..=4 {
        for to in 0..=4 {
            rig.sim.set_service_state(&li, "wkONE", from);
            let body = json!({"open_kfid": "wkONE", "external_userid": li.external_userid(),
                "service_state": to, "servicer_userid": "zhang"});
            assert_eq!(rig.errcode(Api::ServiceStateTrans, body).await, arrows(from, to), "{from} to {to}");
        }
    }
    for (servicer, errcode) in [("zhao", 95019), ("nobody", 95014), ("", 40058)] {
        rig.sim.set_service_state(&li, "wkONE", 0);
        let body = json!({"open_kfid": "wkONE", "external_userid": li.external_userid(),
            "service_state": 3, "servicer_userid": servicer});
        assert_eq!(rig.errcode(Api::ServiceStateTrans, body).await, errcode, "{servicer}");
    }
    rig.sim.switch(|switches| switches.queue_to_assistant = true);
    rig.sim.set_service_state(&li, "wkONE", 2);
    let body = json!({"open_kfid": "wkONE", "external_userid": li.external_userid(), "service_state": 1});
    assert_eq!(rig.errcode(Api::ServiceStateTrans, body).await, 0);
    let path = format!("/cgi-bin/kf/servicer/list?open_kfid=wkONE&access_token={}", rig.token().await);
    let list = rig.get(&path).await["servicer_list"].clone();
    assert_eq!(
        list,
        json!([{"userid": "zhang", "status": 0}, {"userid": "zhao", "status": 1, "stop_type": 0}])
    );
}

#[tokio::test]
async fn a_session_ends_after_48_hours_and_begins_anew() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    assert_eq!(rig.sim.service_state(&li, "wkONE"), 4);
    li.says("wkONE", "hello");
    rig.sim.servicer_takes(&li, "wkONE", "zhang");
    let body = json!({"open_kfid": "wkONE", "external_userid": li.external_userid()});
    let answer = rig.post(Api::ServiceStateGet, body.clone()).await;
    assert_eq!((&answer["service_state"], &answer["servicer_userid"]), (&json!(3), &json!("zhang")));
    rig.pass(48 * 3600);
    let answer = rig.post(Api::ServiceStateGet, body).await;
    assert_eq!((&answer["service_state"], answer.get("servicer_userid")), (&json!(4), None));
    li.says("wkONE", "again");
    assert_eq!(rig.sim.service_state(&li, "wkONE"), 0);
}

#[tokio::test]
async fn a_welcome_code_is_good_once_and_for_twenty_seconds() {
    let rig = Rig::quiet().await;
    let welcome = async || {
        let page = rig.post(Api::SyncMsg, json!({"open_kfid": "wkONE"})).await;
        page["msg_list"].as_array().unwrap().last().unwrap()["event"]["welcome_code"].clone()
    };
    let send = async |code: &Value| {
        let body = json!({"code": code, "msgtype": "text", "text": {"content": "welcome"}});
        rig.errcode(Api::SendMsgOnEvent, body).await
    };
    let (li, wang) = (rig.sim.customer("li"), rig.sim.customer("wang"));
    li.enters("wkONE", None);
    let code = welcome().await;
    rig.pass(19);
    assert_eq!(send(&code).await, 0);
    assert_eq!(send(&code).await, 95007);
    assert_eq!(heard(&li), ["welcome"]);
    li.enters("wkONE", None);
    assert_eq!(welcome().await, Value::Null, "welcomed within 48 hours");
    let zhao = rig.sim.customer("zhao");
    zhao.enters("wkONE", None);
    let first = welcome().await;
    zhao.enters("wkONE", None);
    let second = welcome().await;
    assert!(second.is_string() && second != first, "not welcomed yet");
    assert_eq!((send(&second).await, send(&first).await), (0, 95007), "one welcome for two entries");
    wang.enters("wkONE", None);
    let code = welcome().await;
    rig.pass(20);
    assert_eq!(send(&code).await, 95007);
    wang.says("wkONE", "hello");
    wang.enters("wkONE", None);
    assert_eq!(welcome().await, Value::Null, "wrote within 48 hours");
    rig.pass(48 * 3600);
    wang.enters("wkONE", None);
    assert!(welcome().await.is_string());
}

#[tokio::test]
async fn a_menu_is_tapped_and_its_limits_hold() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    li.says("wkONE", "hello");
    let click = |id: &str, label: &str| json!({"type": "click", "click": {"id": id, "content": label}});
    let send = async |items: &[Value]| rig.errcode(Api::SendMsg, menu(&li, items)).await;
    assert_eq!(send(&[click("yes_1", "Yes"), click("no_1", "No")]).await, 0);
    assert_eq!(heard(&li), ["which?\nYes\nNo"]);
    assert!(li.taps("maybe").is_none());
    assert!(li.taps_label("No").is_some());
    let page = rig.post(Api::SyncMsg, json!({"open_kfid": "wkONE"})).await;
    assert_eq!(page["msg_list"][1]["text"], json!({"content": "No", "menu_id": "no_1"}));
    assert_eq!(send(&vec![click("a", "A"); 10]).await, 0);
    assert_eq!(send(&vec![click("a", "A"); 11]).await, 95008);
    let words = json!({"type": "text", "text": {"content": "words"}});
    assert_eq!(send(&vec![words.clone(); 50]).await, 0);
    assert_eq!(send(&vec![words; 51]).await, 95008);
    assert_eq!(send(&[json!({"type": "button"})]).await, 95009);
    assert_eq!(send(&[click(&"x".repeat(129), "A")]).await, 40058);
    assert_eq!(send(&[click("a", "")]).await, 40058);
    assert!(li.card().is_none());
    let card = |page: &str| {
        json!({"type": "miniprogram",
        "miniprogram": {"appid": "wxFAKE", "pagepath": page, "content": "Open"}})
    };
    assert_eq!(send(&[card("pages/a/a?t=1")]).await, 0);
    assert!(li.card().is_none(), "WeChat says that there is no such page");
    assert_eq!(send(&[card("pages/a/a.html?t=1")]).await, 0);
    assert_eq!(li.card().unwrap().pagepath, "pages/a/a.html?t=1");
}

#[tokio::test]
async fn a_message_may_fail_after_it_was_taken() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    li.says("wkONE", "hello");
    rig.sim.switch(|switches| switches.withhold_credentials = true);
    assert_eq!(rig.errcode(Api::SendMsg, text(&li, "m1", "您的验证码")).await, 0);
    assert_eq!(rig.errcode(Api::SendMsg, text(&li, "m2", "您的绑定码")).await, 0);
    assert_eq!(heard(&li), ["您的绑定码"]);
    let page = rig.post(Api::SyncMsg, json!({"open_kfid": "wkONE"})).await;
    let event = &page["msg_list"][1]["event"];
    assert_eq!(
        (&event["event_type"], &event["fail_msgid"], &event["fail_type"]),
        (&json!("msg_send_fail"), &json!("m1"), &json!(13))
    );
    assert_eq!(page["msg_list"].as_array().unwrap().len(), 2, "what we sent isn't returned");
}

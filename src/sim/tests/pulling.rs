//! `sync_msg`: cursors, limits, sync tokens; and what customers and links bring into a stream.

use super::*;

fn texts(page: &Value) -> Vec<String> {
    let messages = page["msg_list"].as_array().unwrap().iter();
    messages.map(|message| message["text"]["content"].as_str().unwrap_or("-").to_owned()).collect()
}

/// A pull with a fresh doorbell's token, as many as wanted.
async fn pull(rig: &Rig, account: &str, cursor: &Value, limit: u32) -> Value {
    let xml = rig.sim.doorbell_xml(account);
    let token = xml.split("<Token><![CDATA[").nth(1).unwrap().split(']').next().unwrap();
    let body = json!({"open_kfid": account, "cursor": cursor, "token": token, "limit": limit});
    rig.post(Api::SyncMsg, body).await
}

#[tokio::test]
async fn a_stream_is_read_in_pages_from_the_oldest_on() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    for text in ["a", "b", "c"] {
        li.says("wkONE", text);
    }
    li.says("wkTWO", "elsewhere");
    let first = pull(&rig, "wkONE", &Value::Null, 2).await;
    assert_eq!((texts(&first), &first["has_more"]), (vec!["a".into(), "b".into()], &json!(1)));
    let second = pull(&rig, "wkONE", &first["next_cursor"], 2).await;
    assert_eq!((texts(&second), &second["has_more"]), (vec!["c".into()], &json!(0)));
    let third = pull(&rig, "wkONE", &second["next_cursor"], 2).await;
    assert_eq!((texts(&third), &third["has_more"]), (vec![], &json!(0)));
    li.says("wkONE", "d");
    assert_eq!(texts(&pull(&rig, "wkONE", &third["next_cursor"], 2).await), ["d"]);
    let elsewhere = pull(&rig, "wkTWO", &first["next_cursor"], 2).await;
    assert_eq!(elsewhere["errcode"], 40058, "a cursor belongs to its account");
    assert_eq!(pull(&rig, "wkONE", &json!("4gwNONSENSE"), 2).await["errcode"], 40058);
    assert_eq!(pull(&rig, "wkONE", &Value::Null, 1001).await["errcode"], 40058);
    assert_eq!(pull(&rig, "wkONE", &Value::Null, 0).await["errcode"], 40058);
}

#[tokio::test]
async fn messages_are_kept_for_three_days() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    li.says("wkONE", "old");
    rig.pass(3 * 24 * 3600 - 10);
    li.says("wkONE", "new");
    assert_eq!(texts(&pull(&rig, "wkONE", &Value::Null, 9).await), ["old", "new"]);
    rig.pass(11);
    assert_eq!(texts(&pull(&rig, "wkONE", &Value::Null, 9).await), ["new"]);
}

#[tokio::test]
async fn pulls_without_a_good_token_are_rationed() {
    let rig = Rig::quiet().await;
    let bare = async || rig.errcode(Api::SyncMsg, json!({"open_kfid": "wkONE"})).await;
    for _ in 0..9 {
        assert_eq!(bare().await, 0);
    }
    let wrong = rig.errcode(Api::SyncMsg, json!({"open_kfid": "wkONE", "token": "wrong"})).await;
    assert_eq!(wrong, 95007);
    assert_eq!(bare().await, 45009, "wrong tokens count too");
    assert_eq!(pull(&rig, "wkONE", &Value::Null, 1).await["errcode"], 45009, "good ones don't help any more");
    rig.pass(60);
    assert_eq!(bare().await, 0);
}

#[tokio::test]
async fn a_doorbells_token_is_good_for_ten_minutes_and_its_account() {
    let rig = Rig::quiet().await;
    let xml = rig.sim.doorbell_xml("wkONE");
    let token = xml.split("<Token><![CDATA[").nth(1).unwrap().split(']').next().unwrap();
    let body = |account: &str| json!({"open_kfid": account, "token": token});
    assert_eq!(rig.errcode(Api::SyncMsg, body("wkONE")).await, 0);
    assert_eq!(rig.errcode(Api::SyncMsg, body("wkTWO")).await, 95007);
    rig.pass(599);
    assert_eq!(rig.errcode(Api::SyncMsg, body("wkONE")).await, 0);
    rig.pass(1);
    assert_eq!(rig.errcode(Api::SyncMsg, body("wkONE")).await, 95007);
}

#[tokio::test]
async fn pages_can_be_empty_stuck_refused_or_jump_back() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    for text in ["a", "b", "c"] {
        li.says("wkONE", text);
    }
    let page = pull(&rig, "wkONE", &Value::Null, 2).await;
    let cursor = &page["next_cursor"];
    rig.sim.switch(|switches| switches.empty_pages = 1);
    let empty = pull(&rig, "wkONE", cursor, 2).await;
    assert_eq!((texts(&empty).len(), &empty["has_more"]), (0, &json!(1)));
    assert_ne!(&empty["next_cursor"], cursor);
    assert_eq!(texts(&pull(&rig, "wkONE", &empty["next_cursor"], 2).await), ["c"]);
    rig.sim.switch(|switches| switches.stuck_pages = 1);
    let stuck = pull(&rig, "wkONE", cursor, 2).await;
    assert_eq!((&stuck["next_cursor"], &stuck["has_more"]), (cursor, &json!(1)));
    rig.sim.switch(|switches| switches.refuse_cursors = 1);
    assert_eq!(pull(&rig, "wkONE", cursor, 2).await["errcode"], 40058);
    rig.sim.switch(|switches| switches.cursor_jumps_back = 1);
    assert_eq!(texts(&pull(&rig, "wkONE", cursor, 9).await), ["b", "c"]);
    assert_eq!(texts(&pull(&rig, "wkONE", cursor, 9).await), ["c"]);
}

#[tokio::test]
async fn repeated_and_empty_pages_still_come_to_an_end() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    for number in 0..60 {
        li.says("wkONE", &number.to_string());
    }
    rig.sim.faults(FaultPlan { seed: 3, empty_pages: 0.3, repeated_pages: 0.5, ..FaultPlan::default() });
    let (mut cursor, mut seen, mut pulled) = (Value::Null, std::collections::BTreeSet::new(), 0);
    for _ in 0..1000 {
        let page = pull(&rig, "wkONE", &cursor, 7).await;
        pulled += texts(&page).len();
        seen.extend(texts(&page));
        cursor = page["next_cursor"].clone();
        if page["has_more"] == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 60);
    assert!(pulled > 60, "nothing was repeated");
}

#[tokio::test]
async fn events_name_account_and_customer_inside_only() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    let link = rig.post(Api::AddContactWay, json!({"open_kfid": "wkONE", "scene": "s-1"})).await;
    let link = link["url"].as_str().unwrap();
    assert_eq!(link, rig.sim.kf_link("wkONE", "s-1"));
    assert!(li.opens(&format!("{link}&scene_param=a%26b")).is_some());
    assert!(li.opens(&link.replace("ENC", "ENc")).is_none(), "an altered link opens nothing");
    assert!(li.opens(&format!("{link}&other=1")).is_none());
    let page = pull(&rig, "wkONE", &Value::Null, 9).await;
    assert_eq!(page["msg_list"].as_array().unwrap().len(), 1);
    let message = &page["msg_list"][0];
    assert_eq!((&message["origin"], &message["msgtype"]), (&json!(4), &json!("event")));
    assert!(message.get("open_kfid").is_none() && message.get("external_userid").is_none());
    let event = &message["event"];
    assert_eq!(event["event_type"], "enter_session");
    assert_eq!(event["external_userid"], li.external_userid());
    assert_eq!((&event["scene"], &event["scene_param"]), (&json!("s-1"), &json!("a&b")));
    assert!(event["welcome_code"].is_string());
}

#[tokio::test]
async fn the_consoles_link_takes_no_parameter() {
    let rig = Rig::quiet().await;
    let link = rig.sim.console_link("wkTWO");
    assert!(rig.sim.customer("li").opens(&format!("{link}?scene_param=t")).is_some());
    let event = pull(&rig, "wkTWO", &Value::Null, 9).await["msg_list"][0]["event"].clone();
    assert_eq!((&event["scene"], event.get("scene_param")), (&json!(""), None));
}

#[tokio::test]
async fn a_session_under_way_may_swallow_the_entry() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li");
    li.says("wkONE", "hello");
    assert!(li.enters("wkONE", Some("t1")).is_some());
    rig.sim.switch(|switches| switches.open_session_swallows_entry = true);
    assert!(li.enters("wkONE", Some("t2")).is_none());
    let body = json!({"external_userid_list": [li.external_userid()], "need_enter_session_context": 1});
    let answer = rig.post(Api::CustomerBatchGet, body).await;
    assert_eq!(answer["customer_list"][0]["enter_session_context"]["scene_param"], "t2");
}

#[tokio::test]
async fn batchget_tells_of_recent_customers_only() {
    let rig = Rig::quiet().await;
    let li = rig.sim.customer("li").with_unionid("uLi");
    let wang = rig.sim.customer("wang");
    li.says("wkONE", "hello");
    let ask = async || {
        let ids = json!([li.external_userid(), wang.external_userid(), "wmNOBODY"]);
        rig.post(Api::CustomerBatchGet, json!({"external_userid_list": ids})).await
    };
    let answer = ask().await;
    assert_eq!(answer["customer_list"][0]["nickname"], "li");
    assert_eq!(answer["customer_list"][0]["unionid"], "uLi");
    assert!(answer["customer_list"][0].get("enter_session_context").is_none());
    assert_eq!(answer["invalid_external_userid"], json!([wang.external_userid(), "wmNOBODY"]));
    rig.sim.switch(|switches| switches.unionid_bound = false);
    assert!(ask().await["customer_list"][0].get("unionid").is_none());
    rig.pass(48 * 3600);
    assert_eq!(ask().await["customer_list"], json!([]));
    for count in [0, 101] {
        let body = json!({"external_userid_list": vec![li.external_userid(); count]});
        assert_eq!(rig.errcode(Api::CustomerBatchGet, body).await, 40058);
    }
}

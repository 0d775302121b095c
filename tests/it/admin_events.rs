//! The audit trail: every kind of event, who, when and how, and how it is read in pages.

use serde_json::{Value, json};

use crate::support::{START_S, TestApp, hears, rfc3339};

/// An event's type, its two names, its way and whose hand it was.
fn told(event: &Value) -> [Value; 5] {
    ["type", "openid", "external_userid", "method", "by"].map(|key| event[key].clone())
}

#[tokio::test]
async fn each_kind_of_event_tells_who_when_and_how() {
    let app = TestApp::codes_alone(&[]).await;
    assert_eq!(
        app.admin().get("/api/admin/events").await.expect(200).json(),
        json!({"events": [], "next": null})
    );
    app.clock.advance(5);
    let (phone, customer, _) = app.bound("u").await;
    let (openid, name) = (json!(phone.openid), json!(customer.external_userid()));
    let bound = app.events().await;
    assert_eq!(
        told(&bound[0]),
        [json!("bound"), openid.clone(), name.clone(), json!("code"), json!("customer")]
    );
    assert_eq!(bound[0]["at"], rfc3339(START_S + 5));
    // Once per code and customer, however often it is sent.
    let second = app.login("second").await;
    let code = second.issue().await;
    for count in 2..4 {
        customer.says(&app.account(), &code.text);
        hears(&customer, count).await;
    }
    let conflicts = app.events_of("conflict").await;
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert_eq!(told(&conflicts[0])[..3], [json!("conflict"), json!(second.openid), name.clone()]);
    // Undone from each side.
    phone.unbind().await;
    app.assign(&phone.openid, customer.external_userid()).await.expect(200);
    app.clock.advance(1);
    customer.says(&app.account(), "解绑");
    phone.until("unbound").await;
    app.assign(&phone.openid, customer.external_userid()).await.expect(200);
    app.admin().delete(&format!("/api/admin/bindings/{}", phone.openid)).await.expect(204);
    let by = |events: Vec<Value>| -> Vec<Value> { events.iter().map(|event| event["by"].clone()).collect() };
    assert_eq!(by(app.events_of("unbound").await), ["user", "customer", "admin"]);
    assert_eq!(by(app.events_of("bound").await), ["customer", "admin", "admin"]);
    // Five wrong codes.
    let guesser = app.sim.customer("guesser");
    let wrong: Vec<String> = (0..5).map(|number| code.other(number)).collect();
    guesser.says(&app.account(), &wrong.join(" "));
    hears(&guesser, 1).await;
    let locked = app.events_of("locked").await;
    assert_eq!((locked.len(), &locked[0]["external_userid"]), (1, &json!(guesser.external_userid())));
    assert!(locked[0].get("openid").is_none(), "{locked:?}");
}

#[tokio::test]
async fn other_people_and_answers_that_did_not_arrive_are_events_too() {
    let app =
        TestApp::with(&[("binding.methods", r#"["code", "unionid"]"#), ("kf.handover", "\"none\"")]).await;
    let phone = app.login_united("u", "uni1").await;
    let stranger = app.sim.customer("stranger").with_unionid("uni2");
    stranger.says(&app.account(), &phone.issue().await.text);
    hears(&stranger, 1).await;
    let refused = app.events_of("other_person").await;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(
        (&refused[0]["openid"], &refused[0]["external_userid"]),
        (&json!(phone.openid), &json!(stranger.external_userid()))
    );
    app.sim.switch(|wecom| wecom.delivery_fails = Some(4));
    app.sim.customer("c").says(&app.account(), &phone.issue().await.text);
    phone.until("bound").await;
    app.metric_reaches("kfbind_replies_total{result=\"undelivered\"}", 1.0).await;
    assert_eq!(app.events_of("undelivered").await.len(), 1);
}

#[tokio::test]
async fn the_trail_is_read_in_pages_and_its_ids_grow() {
    let mut app = TestApp::codes_alone(&[]).await;
    for number in 0..7 {
        app.assign(&format!("oUser{number}"), &format!("wm{number}")).await.expect(200);
    }
    app.restart().await;
    app.clock.set(START_S - 100);
    app.assign("oLater", "wmLater").await.expect(200);
    let all = app.events().await;
    let ids: Vec<u64> = all.iter().map(|event| event["id"].as_u64().expect("a number")).collect();
    assert!(ids.len() == 8 && ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    assert!(ids.iter().all(|id| *id < 1 << 53), "JavaScript can count so far");
    let page = |query: String| {
        let admin = app.admin();
        async move { admin.get(&format!("/api/admin/events?{query}")).await.expect(200).json() }
    };
    let mut read = Vec::new();
    let mut query = "limit=3".to_owned();
    let mut pages = 0;
    loop {
        let part = page(query).await;
        read.extend(part["events"].as_array().unwrap().clone());
        pages += 1;
        let Some(next) = part["next"].as_u64() else { break };
        query = format!("limit=3&after={next}");
    }
    assert_eq!((pages, &read), (3, &all));
    assert_eq!(page("limit=8".into()).await["next"], Value::Null, "all of them are no page of more");
    assert_eq!(page(format!("after={}", ids[7])).await, json!({"events": [], "next": null}));
    let newest = page("before=&limit=3".into()).await;
    let reversed: Vec<Value> = all.iter().rev().cloned().collect();
    assert_eq!(newest["events"].as_array().unwrap()[..], reversed[..3]);
    let older = page(format!("before={}&limit=5", newest["next"])).await;
    assert_eq!((&older["events"].as_array().unwrap()[..], &older["next"]), (&reversed[3..], &Value::Null));
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=-1",
        "limit=",
        "after=x",
        "after=-1",
        "after=1.5",
        "before=x",
        "after=1&before=2",
        "limit=1&limit=2",
    ] {
        app.admin().get(&format!("/api/admin/events?{query}")).await.expect_problem(400, "bad-request");
    }
}

#[tokio::test]
async fn replaced_bindings_are_told_in_the_order_in_which_it_happened() {
    let app = TestApp::codes_alone(&[("binding.on_conflict", "\"replace\"")]).await;
    app.assign("oA", "wmC").await.expect(200);
    app.assign("oB", "wmC").await.expect(200);
    let told: Vec<_> = app.events().await.iter().map(told).collect();
    let c = json!("wmC");
    assert_eq!(
        told,
        [
            [json!("bound"), json!("oA"), c.clone(), json!("admin"), json!("admin")],
            [json!("unbound"), json!("oA"), c.clone(), Value::Null, json!("replaced")],
            [json!("bound"), json!("oB"), c, json!("admin"), json!("admin")],
        ]
    );
}

//! Counts by day and way: the funnel from logins to bindings.

use serde_json::{Value, json};

use crate::support::{
    START_S, TestApp, hears,
    process::{environment, ran},
    rfc3339,
};

/// Every test begins at 20:00 in China.
const TO_MIDNIGHT_S: u64 = 4 * 3600;

async fn stats(app: &TestApp, days: u64) -> Value {
    app.admin().get(&format!("/api/admin/stats?days={days}")).await.expect(200).json()
}

/// The last day's counts.
async fn today(app: &TestApp) -> Value {
    stats(app, 1).await["days"][0].clone()
}

#[tokio::test]
async fn a_day_is_counted_from_its_logins_to_its_bindings() {
    let mut app = TestApp::codes_alone(&[]).await;
    let (phone, customer, code) = app.bound("u").await;
    let second = app.login("second").await;
    let pending = second.issue().await;
    app.clock.advance(30);
    customer.says(&app.account(), &pending.text);
    hears(&customer, 2).await;
    let other = app.sim.customer("other");
    other.says(&app.account(), &code.text);
    hears(&other, 1).await;
    other.says(&app.account(), &pending.other(3));
    hears(&other, 2).await;
    other.says(&app.account(), "你好");
    other.says(&app.account(), &pending.text);
    second.until("bound").await;
    app.assign("oAdmin", "wmAdmin").await.expect(200);
    phone.unbind().await;
    app.settled().await;
    let day = today(&app).await;
    assert_eq!(day["day"], "2025-06-15");
    assert_eq!((&day["logins"], &day["codes"], &day["messages"]), (&json!(2), &json!(2), &json!(5)));
    assert_eq!(
        day["bound"],
        json!({"code": 2, "link": 0, "card": 0, "unionid": 0, "window": 0, "staff": 0, "admin": 1})
    );
    assert_eq!((&day["unbound"], &day["conflicts"]), (&json!(1), &json!(1)));
    assert_eq!(
        day["rejected"],
        json!({"wrong": 1, "expired": 1, "locked": 0, "conflict": 1, "other_person": 0})
    );
    let times = &day["seconds_to_bind"];
    assert_eq!(times["count"], 2);
    let (p50, p95) = (times["p50"].as_f64().unwrap(), times["p95"].as_f64().unwrap());
    assert!(p50 <= p95 && p50 < 5.0 && (20.0..45.0).contains(&p95), "{times}");
    let all = stats(&app, 14).await;
    assert_eq!(all["totals"]["bindings"], 2);
    app.restart().await;
    assert_eq!(stats(&app, 14).await["days"], all["days"], "an orderly restart forgets nothing");
}

#[tokio::test]
async fn days_are_chinas_and_every_one_is_there() {
    let mut app = TestApp::codes_alone(&[]).await;
    app.bound("before").await;
    app.clock.advance(TO_MIDNIGHT_S - 1);
    app.bound("the last second").await;
    app.clock.advance(1);
    app.bound("the first second").await;
    app.settled().await;
    for _ in 0..2 {
        let told = stats(&app, 3).await;
        assert_eq!(
            (&told["at"], &told["time_zone"]),
            (&json!(rfc3339(START_S + TO_MIDNIGHT_S)), &json!("+08:00"))
        );
        let days: Vec<(Value, Value)> = told["days"]
            .as_array()
            .unwrap()
            .iter()
            .map(|day| (day["day"].clone(), day["bound"]["code"].clone()))
            .collect();
        assert_eq!(
            days,
            [
                (json!("2025-06-14"), json!(0)),
                (json!("2025-06-15"), json!(2)),
                (json!("2025-06-16"), json!(1))
            ]
        );
        app.restart().await;
    }
    assert_eq!(
        app.admin().get("/api/admin/stats").await.expect(200).json()["days"].as_array().unwrap().len(),
        14
    );
    assert_eq!(stats(&app, 400).await["days"].as_array().unwrap().len(), 400);
    for days in ["0", "401", "x", "", "-1", "1.5"] {
        app.admin().get(&format!("/api/admin/stats?days={days}")).await.expect_problem(400, "bad-request");
    }
}

#[tokio::test]
async fn without_any_time_to_bind_there_are_no_percentiles() {
    let app = TestApp::codes_alone(&[]).await;
    app.assign("oA", "wmA").await.expect(200);
    assert_eq!(today(&app).await["seconds_to_bind"], json!({"count": 0, "p50": null, "p95": null}));
}

#[tokio::test]
async fn an_export_made_while_running_gives_the_same_answers_elsewhere() {
    let mut app = TestApp::codes_alone(&[]).await;
    app.bound("u").await;
    app.admin_session(json!({"openid": "oLabelled", "label": "138****8000"})).await;
    app.assign("oLabelled", "wmLabelled").await.expect(200);
    let (erased, _, _) = app.bound("erased").await;
    app.settled().await;
    app.erase(&erased.openid).await.expect(204);
    let folder = tempfile::TempDir::with_prefix("kfbind-it-").unwrap();
    let file = folder.path().join("export.ndjson");
    let export = app.admin().get("/api/admin/export").await.expect(200);
    std::fs::write(&file, &export.body).unwrap();
    let before = (app.events().await, app.bindings().await, stats(&app, 14).await["days"].clone());
    app.stop().await;
    app.store = tempfile::TempDir::with_prefix("kfbind-it-").unwrap();
    let environment = environment(&app.options, &app.sim.base_url(), &app.store);
    let (code, said) = ran(&["import", file.to_str().unwrap()], &environment);
    assert_eq!(code, Some(0), "{said}");
    app.boot().await.unwrap();
    app.ready().await;
    let after = (app.events().await, app.bindings().await, stats(&app, 14).await["days"].clone());
    assert_eq!(after, before);
    erased.client.get("/api/binding").await.expect_problem(401, "session-invalid");
}

//! The mini program's and the operators' routes on real actors.

use super::*;

const KEY: &str = "authorization: Bearer admin-key";

fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_code_is_given_given_again_and_replaced() {
    let site = Site::new(&Options::default()).await;
    let first = site.ask_as_user("POST", "/api/binding/token", "").await;
    assert_eq!(first.status, 201);
    let body = first.json();
    let code = at(&body, "/bind_token").as_str().unwrap().to_owned();
    assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
    assert_eq!(at(&body, "/display").as_str().unwrap().replace(' ', ""), code);
    assert_eq!(at(&body, "/expires_at"), "2023-11-14T22:23:20Z");
    assert_eq!(at(&body, "/expires_in"), 600);
    assert_eq!(at(&body, "/kf/url"), "https://work.weixin.qq.com/kfid/kfc1");
    assert_eq!(at(&body, "/kf/corp_id"), "ww1");
    assert_eq!(at(&body, "/kf/open_kfid"), "wk1");

    site.clock.advance(1);
    let again = site.ask_as_user("POST", "/api/binding/token", "{}").await;
    assert_eq!((again.status, at(&again.json(), "/expires_in")), (200, &Value::from(599)));
    assert_eq!(at(&again.json(), "/bind_token"), &*code);
    let renewed = site.ask_as_user("POST", "/api/binding/token", "{\"new\":true}").await;
    assert_eq!(renewed.status, 201);
    assert_ne!(at(&renewed.json(), "/bind_token"), &*code);
    for _ in 0..3 {
        assert_eq!(site.ask_as_user("POST", "/api/binding/token", "{\"new\":true}").await.status, 201);
    }
    let refused = site.ask_as_user("POST", "/api/binding/token", "{\"new\":true}").await;
    assert_eq!(refused.summary(), "429 too-many-requests");
    let retry_after_s: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry_after_s), "{retry_after_s}");
}

#[tokio::test]
async fn without_a_link_there_is_no_code() {
    let site = Site::new(&Options { own_link: None, ..Options::default() }).await;
    let answer = site.ask_as_user("POST", "/api/binding/token", "").await;
    assert_eq!(answer.summary(), "503 wecom-unavailable");
}

#[tokio::test]
async fn the_view_follows_the_code_and_the_unbinding() {
    let site = Site::new(&Options::default()).await;
    let view = async || site.ask_as_user("GET", "/api/binding", "").await.json();
    let unseen = view().await;
    let expected = serde_json::json!({"status":"unbound","version":0,"pending":null,"binding":null});
    assert_eq!(unseen, expected);

    let token = site.ask_as_user("POST", "/api/binding/token", "").await.json();
    let pending = view().await;
    assert_eq!((at(&pending, "/status"), at(&pending, "/pending")), (&Value::from("pending"), &token));
    assert!(at(&pending, "/version").as_u64() > Some(0));

    for _ in 0..2 {
        let gone = site.ask_as_user("DELETE", "/api/binding", "").await;
        assert_eq!((gone.status, gone.body.len()), (204, 0));
    }
    let unbound = view().await;
    assert_eq!((at(&unbound, "/status"), at(&unbound, "/pending")), (&Value::from("unbound"), &Value::Null));
    assert!(at(&unbound, "/version").as_u64() > at(&pending, "/version").as_u64());
}

#[tokio::test]
async fn a_wait_ends_with_the_change_and_with_the_stop() {
    let site = Site::new(&Options::default()).await;
    let waiting = site.ask_as_user("GET", "/api/binding?wait=30&since=0", "");
    let (waited, issued) =
        within(Box::pin(async { tokio::join!(waiting, site.ask_as_user("POST", "/api/binding/token", "")) }))
            .await;
    assert_eq!((waited.status, issued.status), (200, 201));
    assert_eq!(at(&waited.json(), "/status"), "pending");

    let version = at(&waited.json(), "/version").clone();
    let path = format!("/api/binding?wait=30&since={version}");
    let stop = async { site.stop.send(true).unwrap() };
    let waiting = site.ask_as_user("GET", &path, "");
    let begun = tokio::time::Instant::now();
    let (waited, ()) = within(async { tokio::join!(waiting, stop) }).await;
    assert_eq!((waited.status, at(&waited.json(), "/version")), (200, &version));
    assert!(begun.elapsed() < DEADLINE);
}

#[tokio::test]
async fn a_wait_without_since_or_with_another_version_is_answered_at_once() {
    let site = Site::new(&Options::default()).await;
    for query in ["?wait=30", "?since=0", "?wait=30&since=7", "?wait=0&since=0", "?wait=0.01&since=0"] {
        let answer = within(site.ask_as_user("GET", &format!("/api/binding{query}"), "")).await;
        assert_eq!(answer.status, 200, "{query}");
    }
}

#[tokio::test]
async fn the_back_end_lists_unbinds_and_lifts_locks() {
    let site = Site::new(&Options::default()).await;
    let list =
        site.ask("GET", "/api/admin/bindings?limit=1000&nickname=%E5%BC%A0+%E4%B8%89", &[KEY], "").await;
    assert_eq!((list.status, list.json()), (200, serde_json::json!({"bindings":[],"next":null})));
    let nobody = site.ask("DELETE", "/api/admin/bindings/o%2D1", &[KEY], "").await;
    assert_eq!(nobody.summary(), "404 not-found");
    assert_eq!(site.ask("DELETE", "/api/admin/locks/wm1", &[KEY], "").await.status, 204);
}

#[tokio::test]
async fn readiness_shows_its_reasons_to_the_operator_only() {
    let site = Site::new(&Options::default()).await;
    let public = site.ask("GET", "/readyz", &[], "").await;
    assert_eq!((public.status, public.json()), (503, serde_json::json!({"status":"unavailable"})));
    let detailed = site.ask("GET", "/readyz", &[KEY], "").await;
    assert_eq!(detailed.status, 503);
    assert_eq!(at(&detailed.json(), "/wecom/access_token_had"), false);
    assert_eq!(at(&detailed.json(), "/store/writable"), true);
    assert!(at(&detailed.json(), "/problems").as_array().is_some_and(|problems| !problems.is_empty()));
}

#[tokio::test]
async fn the_metrics_are_in_prometheus_text_form() {
    let site = Site::new(&Options::default()).await;
    let answer = site.ask("GET", "/metrics", &[], "").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.contains("kfbind_callbacks_total{result=\"accepted\"} 0"));
}

//! The employees' routes: what each answers.

use serde_json::json;

use super::{
    ways::{STAFF, text, with},
    *,
};

#[tokio::test]
async fn an_employee_sees_who_is_writing_and_whether_they_are_bound() {
    let site = Site::new(&with(STAFF)).await;
    let see =
        async |customer: &str| site.as_staff("GET", &format!("/api/staff/customers/{customer}"), "").await;
    let unbound = see("wmA").await;
    assert_eq!(unbound.status, 200);
    assert_eq!(unbound.json(), json!({"external_userid": "wmA", "nickname": "Ann", "binding": null}));
    assert_eq!(site.staff_bind("wmA", &site.code("o1").await).await.status, 200);
    let expected = json!({
        "external_userid": "wmA", "nickname": "Ann",
        "binding": {"method": "staff", "bound_at": "2023-11-14T22:13:20Z", "label": null},
    });
    assert_eq!(see("w%6dA").await.json(), expected);
    for nobody in ["wmC", "wma", &"w".repeat(129), &"w".repeat(5_000)] {
        assert_eq!(see(nobody).await.summary(), "404 customer-unknown", "{nobody}");
    }
    let asked = site.wecom_lookups();
    assert!(asked.iter().all(|id| id.len() <= 128), "WeCom is not asked about what is no id");
}

#[tokio::test]
async fn where_wecom_cannot_be_asked_employees_are_told_so_and_nothing_is_bound() {
    let site = Site::new(&Options { ways: STAFF, ..Options::default() }).await;
    let code = site.code("o1").await;
    let card = json!({"external_userid": "wmA"}).to_string();
    let see = site.as_staff("GET", "/api/staff/customers/wmA", "").await;
    let make = site.as_staff("POST", "/api/staff/tickets", &card).await;
    for answer in [see, make, site.staff_bind("wmA", &code).await] {
        assert_eq!(answer.summary(), "503 wecom-unavailable");
    }
    assert_eq!(site.code("o1").await, code, "the code lives on");
}

#[tokio::test]
async fn a_card_is_made_for_a_customer_whom_wecom_knows() {
    let site = Site::new(&with(STAFF)).await;
    let make = async |body: Value| site.as_staff("POST", "/api/staff/tickets", &body.to_string()).await;
    for body in [json!({"external_userid": "wmA"}), json!({"external_userid": "wmA", "open_kfid": null})] {
        let card = make(body).await;
        assert_eq!(card.status, 201, "{card:?}");
        let ticket = text(&card, "/ticket");
        assert!(ticket.len() >= 22 && ticket.len() <= 32, "128 bits at least: {}", ticket.len());
        assert_eq!(text(&card, "/path"), format!("pages/bind-account/bind-account.html?ticket={ticket}"));
        assert_eq!(text(&card, "/expires_at"), "2023-11-16T22:13:20Z");
    }
    for customer in ["", "wmC", &"w".repeat(129)] {
        assert_eq!(make(json!({"external_userid": customer})).await.summary(), "404 customer-unknown");
    }
    for account in ["", &"w".repeat(129), "wk1\n2026-11-25T00:00:00Z ERROR kfbind", "wk 1", "账号", "wk\u{0}"]
    {
        let odd = json!({"external_userid": "wmA", "open_kfid": account});
        assert_eq!(make(odd).await.summary(), "400 bad-request", "{account:?}");
    }
    let asked = site.wecom_lookups().len();
    for customer in ["wm\nA", "wm A", "\u{0}s1", "客户"] {
        assert_eq!(make(json!({"external_userid": customer})).await.summary(), "404 customer-unknown");
    }
    assert_eq!(site.wecom_lookups().len(), asked, "WeCom is not asked about what is no id");
}

#[tokio::test]
async fn a_code_that_is_read_out_binds_and_the_answer_is_the_binding() {
    let site = Site::new(&with(STAFF)).await;
    let code = site.code("o1").await;
    let spaced = format!("{} {}", code.get(..3).unwrap(), code.get(3..).unwrap());
    let body = json!({"external_userid": "wmA", "code": spaced, "open_kfid": "wk1"}).to_string();
    let bound = site.as_staff("POST", "/api/staff/bindings", &body).await;
    assert_eq!(bound.status, 200, "{bound:?}");
    let expected = json!({
        "openid": "o1", "external_userid": "wmA", "unionid": null, "open_kfid": "wk1", "method": "staff",
        "bound_at": "2023-11-14T22:13:20Z", "nickname": "Ann", "label": null,
    });
    assert_eq!(bound.json(), expected);
    let listed = site.ask("GET", "/api/admin/bindings", &["authorization: Bearer admin-key"], "").await;
    assert_eq!(listed.json().pointer("/bindings/0"), Some(&expected));

    assert_eq!(site.staff_bind("wmA", &code).await.summary(), "409 already-bound");
    let other = site.code("o2").await;
    assert_eq!(site.staff_bind("wmA", &other).await.summary(), "409 conflict");
    assert_eq!(site.staff_bind("wmC", &other).await.summary(), "404 customer-unknown");
    assert_eq!(site.staff_bind("wmB", &other).await.status, 200);
}

#[tokio::test]
async fn an_employee_who_guesses_has_to_wait_and_the_others_do_not() {
    let site = Site::new(&with(STAFF)).await;
    let code = site.code("o1").await;
    let wrong = if code == "999999" { "999998" } else { "999999" };
    // What can't be a code is not looked up, so not counted.
    for text in ["", &"9".repeat(257)] {
        assert_eq!(site.staff_bind("wmA", text).await.summary(), "404 code-invalid");
    }
    for _ in 0..5 {
        assert_eq!(site.staff_bind("wmA", wrong).await.summary(), "404 code-invalid");
    }
    let locked = site.staff_bind("wmA", &code).await;
    assert_eq!(
        (locked.summary().as_str(), locked.header("retry-after")),
        ("429 too-many-requests", Some("600"))
    );
    let header = format!("authorization: {}", site.staff_session("li"));
    let body = json!({"external_userid": "wmA", "code": code}).to_string();
    assert_eq!(site.ask("POST", "/api/staff/bindings", &[&header], &body).await.status, 200);
}

#[tokio::test]
async fn codes_of_another_person_are_refused() {
    let options = with(Ways { unionid: true, ..STAFF });
    options.wecom.as_ref().unwrap().set_profile("wmA", "Ann", Some("u-ann"));
    let site = Site::new(&options).await;
    let header = format!("authorization: {}", site.session_of("o1", Some("u-bob")));
    let code = text(&site.ask("POST", "/api/binding/token", &[&header], "").await, "/bind_token");
    assert_eq!(site.staff_bind("wmA", &code).await.summary(), "403 other-person");
}

/// A WeCom that knows the login codes `good`, of Zhang, and `foreign`, of somebody of another corp; the others are
/// errcodes.
async fn wecom_of_staff() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let token = warp::path!("cgi-bin" / "gettoken")
        .map(|| r#"{"errcode":0,"errmsg":"ok","access_token":"t","expires_in":7200}"#.to_owned());
    let login = warp::path!("cgi-bin" / "miniprogram" / "jscode2session")
        .and(warp::query::<Vec<(String, String)>>())
        .map(|query: Vec<(String, String)>| {
            let code = query.iter().find(|(name, _)| name == "js_code").map_or("", |(_, code)| code);
            let of = |corp: &str| {
                format!(
                    r#"{{"errcode":0,"errmsg":"ok","corpid":"{corp}","userid":"zhang","session_key":"k"}}"#
                )
            };
            match code {
                "good" => of("ww1"),
                "foreign" => of("ww2"),
                errcode => format!(r#"{{"errcode":{errcode},"errmsg":"no"}}"#),
            }
        });
    tokio::spawn(warp::serve(token.or(login).unify()).incoming(listener).run());
    address
}

#[tokio::test]
async fn an_employees_login_says_who_it_is_or_why_not_in_our_words() {
    let options = Options { staff: Some(wecom_of_staff().await), ..with(STAFF) };
    let site = Site::new(&options).await;
    let login = async |site: &Site, code: &str| {
        site.ask("POST", "/api/staff/login", &[], &json!({"code": code}).to_string()).await
    };
    let answer = login(&site, "good").await;
    assert_eq!((answer.status, text(&answer, "/userid").as_str()), (200, "zhang"), "{answer:?}");
    assert_eq!(answer.json().get("expires_in"), Some(&Value::from(3_600)));
    assert_eq!(answer.json().as_object().map(serde_json::Map::len), Some(3), "no session_key");
    let keys = &site.shared.context.session_keys;
    let session = text(&answer, "/session");
    let staff = keys.verify_staff(&session, actors::ids::Timestamp(NOW_S + 3_599)).unwrap();
    assert_eq!(staff.userid.as_str(), "zhang");
    assert_eq!(keys.verify_staff(&session, actors::ids::Timestamp(NOW_S + 3_600)), None);

    for (code, expected) in [
        ("foreign", "403 not-staff"),
        ("40029", "401 login-code-invalid"),
        ("-1", "503 wecom-unavailable"),
        ("48002", "503 wecom-unavailable"),
        ("", "401 login-code-invalid"),
        (&"x".repeat(513), "401 login-code-invalid"),
    ] {
        assert_eq!(login(&site, code).await.summary(), expected, "{code}");
    }
    let listed = Site::new(&Options { staff_userids: &["li", "Zhang"], ..options }).await;
    assert_eq!(login(&listed, "good").await.summary(), "403 not-staff", "userids are kept to the letter");
}

#[tokio::test]
async fn logins_of_employees_and_users_count_together() {
    let wechat = Some(wechat().await);
    let site = Site::new(&Options { logins_per_ip: 1, wechat, ..with(STAFF) }).await;
    assert_eq!(site.ask("POST", "/api/login", &[], "{\"code\":\"good\"}").await.status, 200);
    let refused = site.ask("POST", "/api/staff/login", &[], "{\"code\":\"good\"}").await;
    assert_eq!(refused.summary(), "429 too-many-requests");
    assert_eq!(refused.header("retry-after"), Some("60"));
}

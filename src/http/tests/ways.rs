//! The routes of the further ways to bind: the order in which requests are judged, and the users' side. Employees' are in
//! `staff.rs`.

use serde_json::json;

use super::*;

const DAY_S: u64 = 24 * 3_600;
const ALL: Ways = Ways { link: true, card: true, unionid: true, window: true, staff: true };
pub(super) const STAFF: Ways = Ways { link: false, card: false, unionid: false, window: false, staff: true };
const NONE: Ways = Ways { staff: false, ..STAFF };
const TICKET: &str = "0123456789abcdefghijABCDEFGHIJ_-";

/// Customers Ann (`wmA`) and Bob (`wmB`), who have written lately.
fn wecom() -> Arc<ScriptedWeCom> {
    let wecom = ScriptedWeCom::new(&["wk1"]);
    wecom.set_profile("wmA", "Ann", None);
    wecom.set_profile("wmB", "Bob", None);
    Arc::new(wecom)
}

pub(super) fn with(ways: Ways) -> Options {
    let staff = Some(SocketAddr::from(([127, 0, 0, 1], 1))).filter(|_| ways.staff);
    Options { wecom: Some(wecom()), ways, staff, ..Options::default() }
}

impl Site {
    pub(super) fn staff_session(&self, userid: &str) -> String {
        let staff = StaffSession { userid: UserId::new(userid), issued_at: actors::ids::Timestamp(NOW_S) };
        format!("Bearer {}", self.shared.context.session_keys.issue_staff(&staff, SESSION_TTL_S))
    }

    pub(super) async fn as_staff(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask(method, path, &[&format!("authorization: {}", self.staff_session("zhang"))], body).await
    }

    pub(super) async fn as_user(&self, openid: &str, method: &str, path: &str, body: &str) -> Answer {
        let header = format!("authorization: {}", self.session_of(openid, None));
        self.ask(method, path, &[&header], body).await
    }

    /// A ticket of an employee's card for this customer.
    pub(super) async fn card(&self, customer: &str) -> String {
        let body = json!({"external_userid": customer, "open_kfid": "wk1"}).to_string();
        let card = self.as_staff("POST", "/api/staff/tickets", &body).await;
        assert_eq!(card.status, 201, "{card:?}");
        text(&card, "/ticket")
    }

    pub(super) async fn look(&self, openid: &str, ticket: &str) -> Answer {
        self.as_user(openid, "GET", &format!("/api/binding/ticket?ticket={ticket}"), "").await
    }

    pub(super) async fn redeem(&self, openid: &str, ticket: &str) -> Answer {
        self.as_user(openid, "POST", "/api/binding/ticket", &json!({"ticket": ticket}).to_string()).await
    }

    pub(super) fn wecom_lookups(&self) -> Vec<String> {
        let wecom = self.wecom.as_ref().unwrap();
        wecom.profile_lookups().into_iter().flatten().map(|id| id.as_str().to_owned()).collect()
    }

    pub(super) async fn code(&self, openid: &str) -> String {
        let code = self.as_user(openid, "POST", "/api/binding/token", "").await;
        assert!(matches!(code.status, 200 | 201), "{code:?}");
        text(&code, "/bind_token")
    }

    pub(super) async fn staff_bind(&self, customer: &str, code: &str) -> Answer {
        let body = json!({"external_userid": customer, "code": code}).to_string();
        self.as_staff("POST", "/api/staff/bindings", &body).await
    }
}

pub(super) fn text(answer: &Answer, pointer: &str) -> String {
    answer.json().pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Asks each and compares the answers; Zhang may bind, Li may not.
async fn are_answered(cases: &[(&str, &str, &[&str], &str, &str)]) {
    let site = Site::new(&Options { staff_userids: &["zhang"], ..with(ALL) }).await;
    let [user, zhang, li] = [site.session(), site.staff_session("zhang"), site.staff_session("li")];
    for (method, path, headers, body, expected) in cases {
        let headers: Vec<String> = headers
            .iter()
            .map(|header| match *header {
                USER => format!("authorization: {user}"),
                ZHANG => format!("authorization: {zhang}"),
                LI => format!("authorization: {li}"),
                header => header.to_owned(),
            })
            .collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = site.ask(method, path, &headers, body).await;
        assert_eq!(answer.summary(), *expected, "{method} {path} {headers:?} {body}");
    }
}

/// Stand for the sessions of a user and of employees.
const USER: &str = "user";
const ZHANG: &str = "zhang";
const LI: &str = "li";
const ADMIN: &str = "authorization: Bearer admin-key";
const TEXT: &str = "content-type: text/plain";
const CARD: &str = "{\"external_userid\":\"wmA\"}";
const BIND: &str = "{\"external_userid\":\"wmA\",\"code\":\"482913\"}";

#[tokio::test]
async fn methods_and_sessions_are_judged_before_anything_else() {
    let large = "x".repeat(1_025);
    are_answered(&[
        ("POST", "/api/staff/customers", &[ZHANG], "", "404 not-found"),
        ("POST", "/api/staff/customers/wmA/x", &[ZHANG], "", "404 not-found"),
        // 405 before 401 and the body.
        ("PUT", "/api/binding/ticket", &[TEXT], &large, "405 method-not-allowed"),
        ("DELETE", "/api/binding/ticket", &[], "", "405 method-not-allowed"),
        ("GET", "/api/binding/intent", &[], "", "405 method-not-allowed"),
        ("GET", "/api/staff/login", &[], "", "405 method-not-allowed"),
        ("POST", "/api/staff/customers/wmA", &[TEXT], &large, "405 method-not-allowed"),
        ("GET", "/api/staff/tickets", &[], "", "405 method-not-allowed"),
        ("DELETE", "/api/staff/bindings", &[], "", "405 method-not-allowed"),
        // 401 before the body, the query and the path; a session of the other kind is none.
        ("GET", "/api/binding/ticket", &[], "", "401 session-invalid"),
        ("GET", "/api/binding/ticket", &[ZHANG], "", "401 session-invalid"),
        ("POST", "/api/binding/ticket", &[TEXT], &large, "401 session-invalid"),
        ("POST", "/api/binding/ticket", &[ZHANG], "{}", "401 session-invalid"),
        ("POST", "/api/binding/intent", &[ZHANG, TEXT], &large, "401 session-invalid"),
        ("GET", "/api/binding", &[ZHANG], "", "401 session-invalid"),
        ("POST", "/api/binding/token", &[ZHANG], "", "401 session-invalid"),
        ("DELETE", "/api/binding", &[ZHANG], "", "401 session-invalid"),
        ("GET", "/api/staff/customers/%zz", &[], "", "401 session-invalid"),
        ("GET", "/api/staff/customers/wmA", &[USER], "", "401 session-invalid"),
        ("GET", "/api/staff/customers/wmA", &[ADMIN], "", "401 session-invalid"),
        ("POST", "/api/staff/tickets", &[USER], CARD, "401 session-invalid"),
        ("POST", "/api/staff/tickets", &[ADMIN, TEXT], &large, "401 session-invalid"),
        ("POST", "/api/staff/bindings", &[USER, TEXT], &large, "401 session-invalid"),
    ])
    .await;
}

#[tokio::test]
async fn bodies_are_judged_before_who_may_bind_and_what() {
    let large = "x".repeat(1_025);
    are_answered(&[
        // 413 before 415 before 400.
        ("POST", "/api/binding/ticket", &[USER, TEXT], &large, "413 too-large"),
        ("POST", "/api/binding/intent", &[USER, TEXT], &large, "413 too-large"),
        ("POST", "/api/staff/login", &[TEXT], &large, "413 too-large"),
        ("POST", "/api/staff/tickets", &[LI, TEXT], &large, "413 too-large"),
        ("POST", "/api/staff/bindings", &[LI, TEXT], &large, "413 too-large"),
        ("POST", "/api/binding/ticket", &[USER, TEXT], "[", "415 unsupported-media-type"),
        ("POST", "/api/binding/intent", &[USER, TEXT], "[", "415 unsupported-media-type"),
        ("POST", "/api/staff/login", &[TEXT], "[", "415 unsupported-media-type"),
        ("POST", "/api/staff/tickets", &[LI, TEXT], "[", "415 unsupported-media-type"),
        ("POST", "/api/staff/bindings", &[LI, TEXT], "[", "415 unsupported-media-type"),
        ("GET", "/api/binding/ticket", &[USER], "", "400 bad-request"),
        ("GET", "/api/binding/ticket?ticket=a&ticket=a", &[USER], "", "400 bad-request"),
        ("POST", "/api/binding/ticket", &[USER], "", "400 bad-request"),
        ("POST", "/api/binding/ticket", &[USER], "{}", "400 bad-request"),
        ("POST", "/api/binding/ticket", &[USER], "{\"ticket\":7}", "400 bad-request"),
        ("POST", "/api/binding/intent", &[USER], "[]", "400 bad-request"),
        ("POST", "/api/staff/login", &[], "", "400 bad-request"),
        ("POST", "/api/staff/login", &[], "{\"code\":null}", "400 bad-request"),
        ("GET", "/api/staff/customers/%zz", &[LI], "", "400 bad-request"),
        ("POST", "/api/staff/tickets", &[LI], "", "400 bad-request"),
        ("POST", "/api/staff/tickets", &[LI], "{\"external_userid\":1}", "400 bad-request"),
        (
            "POST",
            "/api/staff/tickets",
            &[LI],
            "{\"external_userid\":\"wmA\",\"open_kfid\":\"\"}",
            "400 bad-request",
        ),
        ("POST", "/api/staff/bindings", &[LI], CARD, "400 bad-request"),
        ("POST", "/api/staff/bindings", &[LI], "{\"code\":\"482913\"}", "400 bad-request"),
        // The rest: whoever is not on the list is told nothing of customers and codes.
        ("GET", "/api/staff/customers/wmA", &[LI], "", "403 not-staff"),
        ("GET", "/api/staff/customers/nobody", &[LI], "", "403 not-staff"),
        ("POST", "/api/staff/tickets", &[LI], CARD, "403 not-staff"),
        ("POST", "/api/staff/bindings", &[LI], BIND, "403 not-staff"),
        ("POST", "/api/staff/bindings", &[ZHANG], BIND, "404 code-invalid"),
    ])
    .await;
}

#[tokio::test]
async fn the_routes_of_a_way_are_there_only_while_it_is_on() {
    let routes = [
        ("GET", "/api/binding/ticket?ticket=1"),
        ("POST", "/api/binding/ticket"),
        ("POST", "/api/binding/intent"),
        ("POST", "/api/staff/login"),
        ("GET", "/api/staff/customers/wm1"),
        ("POST", "/api/staff/tickets"),
        ("POST", "/api/staff/bindings"),
    ];
    let cases = [
        (Ways { link: true, unionid: true, ..NONE }, [false; 7]),
        (Ways { card: true, ..NONE }, [true, true, false, false, false, false, false]),
        (Ways { window: true, ..NONE }, [false, false, true, false, false, false, false]),
        (STAFF, [true, true, false, true, true, true, true]),
    ];
    for (ways, on) in cases {
        let site = Site::new(&with(ways)).await;
        for ((method, path), on) in routes.iter().zip(on) {
            // Off, a route says so before it looks at anything; on, it wants a session, or a body.
            for method in ["PATCH", method] {
                let answer = site.ask(method, path, &[], "").await;
                let is_off = answer.summary() == "404 method-off";
                assert_eq!(is_off, !on, "{method} {path} with {ways:?}: {}", answer.summary());
            }
        }
    }
}

#[tokio::test]
async fn a_ticket_shows_whom_it_binds_and_binds_once() {
    let site = Site::new(&with(STAFF)).await;
    let ticket = site.card("wmA").await;
    let look = site.look("o1", &ticket).await;
    assert_eq!(look.status, 200, "{look:?}");
    assert_eq!(look.json(), json!({"nickname": "Ann", "expires_at": "2023-11-16T22:13:20Z"}));
    assert_eq!(
        site.as_user("o1", "HEAD", &format!("/api/binding/ticket?ticket={ticket}"), "").await.status,
        200
    );

    for _ in 0..2 {
        let bound = site.redeem("o1", &ticket).await;
        assert_eq!((bound.status, text(&bound, "/status").as_str()), (200, "bound"), "{bound:?}");
        assert_eq!(text(&bound, "/binding/method"), "staff");
        assert_eq!(bound.json(), site.as_user("o1", "GET", "/api/binding", "").await.json());
    }
    assert_eq!(site.redeem("o2", &ticket).await.summary(), "404 ticket-invalid");
    assert_eq!(site.look("o2", &ticket).await.summary(), "404 ticket-invalid");
    assert_eq!(
        site.as_user("o2", "GET", "/api/binding", "").await.json().get("status"),
        Some(&json!("unbound"))
    );
}

#[tokio::test]
async fn a_ticket_that_cannot_bind_says_why_only_where_it_is_live() {
    let site = Site::new(&with(STAFF)).await;
    let [spent, other] = [site.card("wmA").await, site.card("wmB").await];
    assert_eq!(site.redeem("o1", &spent).await.status, 200);
    let again = site.card("wmA").await;
    for (openid, ticket, expected) in [
        ("o1", &again, "409 already-bound"),
        ("o2", &again, "409 conflict"),
        ("o1", &site.card("wmB").await, "409 conflict"),
        ("o2", &spent, "404 ticket-invalid"),
    ] {
        assert_eq!(site.look(openid, ticket).await.summary(), expected, "{openid}");
        assert_eq!(site.redeem(openid, ticket).await.summary(), expected, "{openid}");
    }
    // Nor after its life, nor where it never was one.
    assert_eq!(site.look("o2", &other).await.status, 200);
    site.clock.advance(2 * DAY_S);
    for ticket in [&other, TICKET, "", "a b", "%41", &"x".repeat(33), &"x".repeat(500)] {
        let encoded = ticket.replace('%', "%25").replace(' ', "%20");
        assert_eq!(site.look("o2", &encoded).await.summary(), "404 ticket-invalid", "{ticket}");
        assert_eq!(site.redeem("o2", ticket).await.summary(), "404 ticket-invalid", "{ticket}");
    }
}

#[tokio::test]
async fn a_ticket_in_the_hands_of_another_person_is_refused() {
    let options = with(Ways { unionid: true, ..STAFF });
    options.wecom.as_ref().unwrap().set_profile("wmA", "Ann", Some("u-ann"));
    let site = Site::new(&options).await;
    let ticket = site.card("wmA").await;
    let body = json!({"ticket": ticket}).to_string();
    let redeem = async |unionid: &str| {
        let header = format!("authorization: {}", site.session_of(&format!("o-{unionid}"), Some(unionid)));
        site.ask("POST", "/api/binding/ticket", &[&header], &body).await
    };
    assert_eq!(redeem("u-bob").await.summary(), "403 other-person");
    assert_eq!(redeem("u-ann").await.status, 200);
}

#[tokio::test]
async fn an_intent_is_announced_unless_bound_or_without_a_link() {
    let site = Site::new(&with(ALL)).await;
    for body in ["", "{}", "{\"x\":1}"] {
        let intent = site.as_user("o1", "POST", "/api/binding/intent", body).await;
        assert_eq!(intent.status, 202, "{intent:?}");
        assert_eq!(intent.json(), json!({"expires_at": "2023-11-14T22:18:20Z"}));
    }
    assert_eq!(site.staff_bind("wmA", &site.code("o1").await).await.status, 200);
    let bound = site.as_user("o1", "POST", "/api/binding/intent", "").await;
    assert_eq!(bound.summary(), "409 already-bound");

    let alone = Site::new(&Options { own_link: None, ways: ALL, ..Options::default() }).await;
    let intent = alone.as_user("o1", "POST", "/api/binding/intent", "").await;
    assert_eq!(intent.summary(), "503 wecom-unavailable");
}

#[tokio::test]
async fn a_login_with_the_unionid_of_a_customer_binds_the_two() {
    let options = with(Ways { unionid: true, ..STAFF });
    options.wecom.as_ref().unwrap().set_profile("wmA", "Ann", Some("u-1"));
    let site = Site::new(&Options { wechat: Some(wechat().await), ..options }).await;
    // WeCom is asked who the customer is.
    site.card("wmA").await;
    let login = site.ask("POST", "/api/login", &[], "{\"code\":\"good\"}").await;
    assert_eq!(login.status, 200);
    let header = format!("authorization: Bearer {}", text(&login, "/session"));
    let view = site.ask("GET", "/api/binding", &[&header], "").await;
    assert_eq!(
        (text(&view, "/status"), text(&view, "/binding/method")),
        ("bound".to_owned(), "unionid".to_owned())
    );
}

#[tokio::test]
async fn requests_that_may_make_wecom_be_asked_are_bounded_in_number() {
    let site = Site::new(&with(ALL)).await;
    let ticket = site.card("wmA").await;
    let code = site.code("o1").await;
    let asked = site.wecom_lookups().len();
    let all = site.shared.asking.try_acquire_many(u32::try_from(ASKING_MAX).unwrap()).unwrap();
    let card = json!({"external_userid": "wmA"}).to_string();
    for answer in [
        site.look("o1", &ticket).await,
        site.redeem("o1", &ticket).await,
        site.as_staff("GET", "/api/staff/customers/wmA", "").await,
        site.as_staff("POST", "/api/staff/tickets", &card).await,
        site.staff_bind("wmA", &code).await,
        site.ask("POST", "/api/staff/login", &[], "{\"code\":\"x\"}").await,
    ] {
        assert_eq!(answer.summary(), "503 unavailable");
    }
    assert_eq!(site.wecom_lookups().len(), asked);
    assert_eq!(site.as_user("o1", "POST", "/api/binding/intent", "").await.status, 202);
    drop(all);
    assert_eq!(site.redeem("o1", &ticket).await.status, 200);
}

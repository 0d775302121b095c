//! `/openapi.json` against the service: the same addresses, methods and answers, in both directions.
//!
//! The routes stand in the source as `warp::path!`, and the service itself tells the methods of an address; so a route
//! that nobody described fails here. All other tests hold what they are answered against the document, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::{Value, json};

use crate::support::{
    Answer, CALLBACK_PATH, Client, EVERY_WAY, Options, TestApp,
    documented::{document, misfit, operations, resolved, undocumented},
};

/// What the run over all operations can't bring about, and why.
const UNANSWERED: &[(&str, &str)] =
    &[("post /api/admin/dead-letters/{id}/resend", "takes a receiver that is away for three days")];

async fn with_every_way() -> TestApp {
    let keys =
        [("binding.methods", EVERY_WAY), ("binding.confirm_link", "false"), ("kf.handover", "\"none\"")];
    TestApp::open(Options::set(&keys)).await
}

/// Where a file tells its addresses apart itself, and which those are.
const BY_HAND: &[(&str, &[&str])] = &[("src/http/operator_page.rs", &["/admin", "/admin/{}"])];

/// The addresses of the routes, `{}` for each segment that may be anything.
fn routes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http")];
    let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http.rs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    for file in files {
        if file.ends_with("tests.rs") || file.parent().is_some_and(|folder| folder.ends_with("tests")) {
            continue;
        }
        let source = fs::read_to_string(&file).unwrap();
        if let Some((_, addresses)) = BY_HAND.iter().find(|(by_hand, _)| file.ends_with(by_hand)) {
            found.extend(addresses.iter().map(|address| (*address).to_owned()));
            continue;
        }
        assert!(
            !source.contains("warp::path::")
                && !source.contains("warp::path(")
                && !source.contains("use warp::path"),
            "{}: addresses are written as warp::path!, so that this test finds them",
            file.display()
        );
        found.extend(
            source.split("warp::path!(").skip(1).map(|rest| address(rest.split(')').next().unwrap())),
        );
    }
    found
}

/// `/a/{}` of `"a" / String`.
fn address(segments: &str) -> String {
    let written = |segment: &str| match segment.trim().strip_prefix('"') {
        Some(literal) => format!("/{}", literal.trim_end_matches('"')),
        None => "/{}".to_owned(),
    };
    segments.split(" / ").map(written).collect()
}

/// An address with something in place of its parameters.
fn filled(path: &str, value: &str) -> String {
    let fill = |segment: &str| match segment {
        "{file}" if value != "{}" => "page.js".to_owned(),
        parameter if parameter.starts_with('{') => value.to_owned(),
        literal => literal.to_owned(),
    };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

/// The methods that the document knows of each address.
fn documented_methods() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut methods = BTreeMap::<_, BTreeSet<String>>::new();
    for operation in operations() {
        methods.entry(operation.path).or_default().insert(operation.method.to_uppercase());
    }
    methods
}

#[test]
fn the_document_has_the_addresses_of_the_routes_and_no_others() {
    let documented: BTreeSet<String> = documented_methods().keys().map(|path| filled(path, "{}")).collect();
    let routes = routes();
    assert!(routes.contains("/api/staff/customers/{}"), "the routes are found: {routes:?}");
    assert_eq!(
        documented.difference(&routes).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "documented, but no route"
    );
    assert_eq!(
        routes.difference(&documented).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "a route, but undocumented"
    );
}

#[tokio::test]
async fn each_address_has_the_methods_of_the_document_and_no_others() {
    let app = with_every_way().await;
    for (path, documented) in documented_methods() {
        let answer = app.client().send("BREW", &filled(path, "some-id"), None).await;
        let answer = answer.expect_problem(405, "method-not-allowed");
        let mut allowed: BTreeSet<String> = answer.header("allow").split(", ").map(str::to_owned).collect();
        // It goes without saying where there is GET.
        if documented.contains("GET") {
            allowed.remove("HEAD");
        }
        assert_eq!(allowed, documented, "{path}");
    }
}

/// Asks everything that can be asked and notes what was answered.
struct Asker<'a> {
    app: &'a TestApp,
    answered: BTreeSet<String>,
}

impl Asker<'_> {
    async fn ask(
        &mut self,
        client: &Client,
        method: &str,
        path: &str,
        body: Option<Value>,
        status: u16,
    ) -> Value {
        let answer = client.send(method, path, body).await.expect(status);
        self.note(method, path, &answer);
        answer.json()
    }

    fn note(&mut self, method: &str, path: &str, answer: &Answer) {
        let path = path.split('?').next().unwrap();
        let missing = undocumented(method, path, answer.status, &answer.headers, &answer.body);
        assert_eq!(missing, None, "{method} {path}");
        let segments = path.split('/').count();
        let operation = operations().into_iter().find(|operation| {
            let parts: Vec<_> = operation.path.split('/').zip(path.split('/')).collect();
            operation.method == method.to_lowercase()
                && operation.path.split('/').count() == segments
                && parts.iter().all(|(wanted, got)| wanted == got || wanted.starts_with('{'))
        });
        let operation = operation.unwrap_or_else(|| panic!("{method} {path} is not in the document"));
        self.answered.insert(format!("{} {}", operation.method, operation.path));
    }

    /// What users ask.
    async fn users(&mut self) {
        let app = self.app;
        let code = app.sim.wx_login_code(&app.sim.openid_of("u"), None);
        let session = self.ask(&app.client(), "POST", "/api/login", Some(json!({"code": code})), 200).await;
        let user = app.client().bearing(session["session"].as_str().unwrap());
        self.ask(&user, "GET", "/api/binding", None, 200).await;
        self.ask(&user, "POST", "/api/binding/token", None, 201).await;
        self.ask(&user, "POST", "/api/binding/token", Some(json!({})), 200).await;
        self.ask(&user, "GET", "/api/binding?wait=0&since=0", None, 200).await;
        self.ask(&user, "POST", "/api/binding/intent", None, 202).await;
        self.ask(&user, "DELETE", "/api/binding", None, 204).await;
    }

    /// What employees ask.
    async fn employees(&mut self) {
        let app = self.app;
        let code = app.sim.staff_login_code("zhangsan");
        let session =
            self.ask(&app.client(), "POST", "/api/staff/login", Some(json!({"code": code})), 200).await;
        let staff = app.client().bearing(session["session"].as_str().unwrap());
        let (phone, customer) = (app.login("v").await, app.sim.customer("d").with_nickname("d"));
        customer.says(&app.account(), "你好");
        app.settled().await;
        let id = customer.external_userid().to_owned();
        let card = json!({"external_userid": id});
        let card = self.ask(&staff, "POST", "/api/staff/tickets", Some(card), 201).await;
        let opened = format!("/api/binding/ticket?ticket={}", card["ticket"].as_str().unwrap());
        self.ask(&phone.client, "GET", &opened, None, 200).await;
        let ticket = json!({"ticket": card["ticket"]});
        self.ask(&phone.client, "POST", "/api/binding/ticket", Some(ticket), 200).await;
        self.ask(&phone.client, "GET", "/api/binding", None, 200).await;
        self.ask(&phone.client, "POST", "/api/binding/token", None, 409).await;
        self.ask(&phone.client, "DELETE", "/api/binding", None, 204).await;
        let code = phone.issue().await.text;
        let body = json!({"external_userid": id, "code": code, "open_kfid": null});
        self.ask(&staff, "POST", "/api/staff/bindings", Some(body.clone()), 200).await;
        self.ask(&staff, "POST", "/api/staff/bindings", Some(body), 409).await;
        self.ask(&staff, "GET", &format!("/api/staff/customers/{id}"), None, 200).await;
    }

    /// What the back end and operators ask.
    async fn back_end(&mut self) {
        let (admin, everyone) = (self.app.admin(), self.app.client());
        let user = json!({"openid": "oNew", "unionid": "uNew", "label": "138****8000"});
        self.ask(&admin, "POST", "/api/admin/sessions", Some(user), 201).await;
        let stranger = self.app.sim.customer("e").external_userid().to_owned();
        let body = json!({"external_userid": stranger});
        self.ask(&admin, "PUT", "/api/admin/bindings/oNew", Some(body.clone()), 200).await;
        self.ask(&admin, "PUT", "/api/admin/bindings/oOther", Some(body), 409).await;
        let page = self.ask(&admin, "GET", "/api/admin/bindings?limit=1", None, 200).await;
        assert!(page["next"].is_string(), "{page}");
        let events = self.ask(&admin, "GET", "/api/admin/events", None, 200).await;
        let kinds: BTreeSet<_> =
            events["events"].as_array().unwrap().iter().map(|it| it["type"].as_str()).collect();
        assert!(kinds.len() > 1, "{events}");
        self.ask(&admin, "GET", "/api/admin/events?before=&limit=1", None, 200).await;
        let stats = self.ask(&admin, "GET", "/api/admin/stats?days=2", None, 200).await;
        assert_eq!(stats["days"].as_array().unwrap().len(), 2);
        self.ask(&admin, "GET", "/api/admin/dead-letters", None, 200).await;
        let export = admin.get("/api/admin/export").await.expect(200);
        self.note("GET", "/api/admin/export", &export);
        self.ask(&admin, "DELETE", &format!("/api/admin/locks/{stranger}"), None, 204).await;
        self.ask(&admin, "DELETE", "/api/admin/bindings/oNew", None, 204).await;
        self.ask(&admin, "DELETE", "/api/admin/bindings/oNew?erase=true", None, 204).await;
        self.ask(&admin, "DELETE", &format!("/api/admin/customers/{stranger}"), None, 204).await;
        self.ask(&admin, "DELETE", "/api/admin/bindings/oNew", None, 404).await;
        for path in [
            "/healthz",
            "/readyz",
            "/metrics",
            "/openapi.json",
            "/admin",
            "/admin/page.js",
            "/admin/page.css",
        ] {
            self.ask(&everyone, "GET", path, None, 200).await;
        }
        let detailed = self.ask(&admin, "GET", "/readyz", None, 200).await;
        assert!(detailed["accounts"][0]["open_kfid"].is_string());
    }

    /// What WeCom asks.
    async fn wecom(&mut self) {
        let app = self.app;
        let encrypt = app.encrypted(b"1288432023552776189", &app.options.corp_id);
        let (query, _) = app.signed(&encrypt);
        let echostr = encrypt.replace('+', "%2B");
        let echo = app.client().get(&format!("{CALLBACK_PATH}?{query}&echostr={echostr}")).await.expect(200);
        self.note("GET", CALLBACK_PATH, &echo);
        let delivered = app.client().callback(app.sealed("<xml></xml>")).await.expect(200);
        self.note("POST", CALLBACK_PATH, &delivered);
        let forged =
            app.client().callback((query.replace("msg_signature=", "msg_signature=0"), String::new())).await;
        self.note("POST", CALLBACK_PATH, &forged);
    }
}

#[tokio::test]
async fn every_operation_of_the_document_answers_as_described() {
    let app = with_every_way().await;
    let mut asker = Asker { app: &app, answered: BTreeSet::new() };
    asker.users().await;
    asker.employees().await;
    asker.back_end().await;
    asker.wecom().await;
    let documented: BTreeSet<String> =
        operations().iter().map(|operation| format!("{} {}", operation.method, operation.path)).collect();
    let answered =
        &asker.answered | &UNANSWERED.iter().map(|(operation, _)| (*operation).to_owned()).collect();
    assert_eq!(documented.difference(&answered).collect::<Vec<_>>(), Vec::<&String>::new(), "never asked");
}

#[tokio::test]
async fn whatever_needs_a_session_or_the_key_says_so_without_one() {
    let app = with_every_way().await;
    for operation in operations() {
        let needs = operation.described["security"].as_array().expect("security");
        let is_open = needs.is_empty() || needs.contains(&json!({}));
        let answer = app
            .client()
            .send(&operation.method.to_uppercase(), &filled(operation.path, "some-id"), None)
            .await;
        assert_eq!(answer.status == 401, !is_open, "{} {}", operation.method, operation.path);
    }
}

#[tokio::test]
async fn the_addresses_of_a_way_that_is_off_say_so_where_the_document_tells_it() {
    let app = TestApp::with(&[("binding.methods", "[\"code\"]")]).await;
    for operation in operations() {
        let answer = app
            .client()
            .send(&operation.method.to_uppercase(), &filled(operation.path, "some-id"), None)
            .await;
        let told = resolved(&operation.described["responses"]["404"]).to_string().contains("\"method-off\"");
        assert_eq!(answer.json()["code"] == "method-off", told, "{} {}", operation.method, operation.path);
    }
}

#[test]
fn every_example_fits_its_schema() {
    let mut examples = 0;
    let mut check = |content: &'static Value, at: &str| {
        let named = content["examples"].as_object().into_iter().flat_map(|named| named.values());
        for example in named.map(|example| &example["value"]).chain(content.get("example")) {
            examples += 1;
            assert_eq!(misfit(&content["schema"], example), None, "{at}: {example}");
        }
    };
    for operation in operations() {
        let at = format!("{} {}", operation.method, operation.path);
        let answers = operation.described["responses"].as_object().expect("answers").values().map(resolved);
        for described in answers.chain(operation.described.get("requestBody")) {
            for content in described["content"].as_object().into_iter().flat_map(|content| content.values()) {
                check(content, &at);
            }
        }
    }
    assert!(examples > 100, "they are found: {examples}");
}

#[test]
fn every_answer_with_a_body_has_an_example() {
    for operation in operations() {
        for (status, answer) in operation.described["responses"].as_object().expect("answers") {
            for content in
                resolved(answer)["content"].as_object().into_iter().flat_map(|content| content.values())
            {
                let has = content.get("example").is_some() || content.get("examples").is_some();
                assert!(has, "{} {} {status}", operation.method, operation.path);
            }
        }
    }
}

#[test]
fn every_code_of_an_error_is_in_the_document() {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/reply.rs")).unwrap();
    // They stand behind their statuses: `(StatusCode::NOT_FOUND, "not-found", …`.
    let codes: BTreeSet<&str> = source
        .split("StatusCode::")
        .skip(1)
        .filter_map(|rest| rest.split_once(',')?.1.trim_start().strip_prefix('"')?.split('"').next())
        .collect();
    assert!(codes.len() > 20 && codes.contains("code-invalid"), "they are found: {codes:?}");
    let text = document().to_string();
    let silent: Vec<_> = codes
        .iter()
        .filter(|code| !text.contains(&format!("\"{code}\"")) && !text.contains(&format!("`{code}`")))
        .collect();
    assert_eq!(silent, Vec::<&&str>::new());
}

#[tokio::test]
async fn a_client_that_has_the_document_is_not_sent_it_again() {
    let app = TestApp::start().await;
    let first = app.client().get("/openapi.json").await.expect(200);
    assert_eq!(first.json(), document());
    let etag = first.header("etag").to_owned();
    for (known, status) in
        [(etag.as_str(), 304), ("\"other\"", 200), (&format!("\"other\", W/{etag}"), 304), ("*", 304)]
    {
        let request = app.client().request("GET", "/openapi.json").header("if-none-match", known);
        let answer = Client::try_send(known.to_owned(), request).await.unwrap().expect(status);
        assert_eq!(answer.header("etag"), etag);
        assert_eq!(answer.body.is_empty(), status == 304);
    }
}

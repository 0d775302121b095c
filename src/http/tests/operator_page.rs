//! The operators' page, as far as it can be judged without a browser: when it is there, and what a browser is told of it.

use super::*;

/// The files of the page, as the page itself and its scripts name them.
async fn named_files(site: &Site) -> Vec<String> {
    let mut found = Vec::new();
    let mut unread = vec!["/admin".to_owned()];
    while let Some(path) = unread.pop() {
        let answer = site.ask("GET", &path, &[], "").await;
        assert_eq!(answer.status, 200, "{path}");
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        for part in text.split(['"', '\'']) {
            let name = part.strip_prefix("admin/").or_else(|| part.strip_prefix("./"));
            let path = name.filter(|name| matches!(name.rsplit_once('.'), Some((_, "js" | "css"))));
            let path = path.map(|name| format!("/admin/{name}"));
            if let Some(path) = path.filter(|path| !found.contains(path)) {
                found.push(path.clone());
                unread.push(path);
            }
        }
    }
    found
}

#[tokio::test]
async fn the_operators_page_and_all_that_it_loads_are_served_with_a_strict_policy() {
    let site = Site::new(&Options::default()).await;
    let files = named_files(&site).await;
    assert!(files.len() > 8 && files.contains(&"/admin/page.css".to_owned()), "{files:?}");
    for path in files.iter().map(String::as_str).chain(["/admin"]) {
        let answer = site.ask("GET", path, &[], "").await;
        let kind = match path.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        let policy = answer.header("content-security-policy").unwrap();
        for part in
            ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"]
        {
            assert!(policy.split("; ").any(|directive| directive == part), "{part} in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn nothing_of_the_operators_page_comes_from_elsewhere_or_stands_inline() {
    let site = Site::new(&Options::default()).await;
    for path in named_files(&site).await.iter().map(String::as_str).chain(["/admin"]) {
        let answer = site.ask("GET", path, &[], "").await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let foreign = text.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !foreign.contains("http:") && !foreign.contains("https:") && !foreign.contains("\"//"),
            "{path}"
        );
        for mark in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "<style", " style=", "javascript:"]
        {
            assert!(!text.contains(mark), "{path} has {mark}");
        }
        let handler = text.split(" on").skip(1).any(|rest| {
            rest.split_once("=\"").is_some_and(|(name, _)| name.bytes().all(|byte| byte.is_ascii_lowercase()))
        });
        assert!(!handler, "{path} has an inline handler");
    }
}

#[tokio::test]
async fn the_operators_page_is_there_only_with_an_admin_key_and_for_reading() {
    for admin_api_key in [None, Some("")] {
        let site = Site::new(&Options { admin_api_key, ..Options::default() }).await;
        for path in ["/admin", "/admin/", "/admin/page.js"] {
            for method in ["GET", "HEAD", "POST"] {
                assert_eq!(
                    site.ask(method, path, &[], "").await.summary(),
                    "404 not-found",
                    "{method} {path}"
                );
            }
        }
    }
    let site = Site::new(&Options::default()).await;
    for (method, path, expected) in [
        ("HEAD", "/admin", "200 -"),
        ("POST", "/admin", "405 method-not-allowed"),
        ("DELETE", "/admin/page.js", "405 method-not-allowed"),
        ("GET", "/admin/nothing.js", "404 not-found"),
        ("POST", "/admin/nothing.js", "404 not-found"),
        ("GET", "/admin/page.js/more", "404 not-found"),
    ] {
        assert_eq!(site.ask(method, path, &[], "").await.summary(), expected, "{method} {path}");
    }
    let refused = site.ask("PUT", "/admin", &[], "").await;
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn the_operators_page_with_a_slash_too_many_leads_to_itself() {
    let site = Site::new(&Options::default()).await;
    let answer = site.ask("GET", "/admin/", &[], "").await;
    assert_eq!((answer.status, answer.header("location")), (308, Some("../admin")));
}

#[tokio::test]
async fn readyz_tells_operators_of_accounts_and_refused_callbacks_and_others_nothing() {
    let wecom = Arc::new(ScriptedWeCom::new(&["wk1", "wkOther"]));
    let site = Site::new(&Options { wecom: Some(wecom), ..Options::default() }).await;
    let refused =
        site.ask("POST", "/api/wechat-work/message?msg_signature=x&timestamp=1&nonce=1", &[], "<xml/>").await;
    assert_eq!(refused.status, 400);
    let ready = async || site.ask("GET", "/readyz", &["authorization: Bearer admin-key"], "").await.json();
    let listed = async {
        while ready().await["unserved_accounts"].as_array().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    within(listed).await;
    let body = ready().await;
    assert_eq!(body["accounts"][0]["open_kfid"], "wk1");
    assert_eq!(body["accounts"][0]["api_managed"], true);
    assert!(body["accounts"][0]["name"].is_string());
    assert_eq!(body["unserved_accounts"][0]["open_kfid"], "wkOther");
    assert_eq!(body["accounts_known"], true);
    assert_eq!(body["callbacks"]["last_refusal"]["reason"], "malformed");
    assert_eq!(body["callbacks"]["last_refusal"]["at"], "2023-11-14T22:13:20Z");
    let stranger = site.ask("GET", "/readyz", &[], "").await.json();
    assert_eq!(stranger.as_object().unwrap().keys().collect::<Vec<_>>(), ["status"]);
}

//! The configuration of a test's service: the usual keys, and what the test sets otherwise.

use kfbind::config::{Config, Environment};

use super::{ADMIN_KEY, TestApp};

/// The answers in the chat, cut down to the names of their keys.
const TEXTS: [&str; 14] = [
    "bound",
    "unbound",
    "wrong_code",
    "expired_code",
    "locked",
    "conflict",
    "already_bound",
    "invite",
    "invite_item",
    "confirm",
    "confirm_yes",
    "confirm_no",
    "cancelled",
    "other_person",
];

/// With this in the environment, every test that says nothing of the ways to bind has all of them on: what is promised of
/// codes holds beside them. Its value is that of `kf.handover`. See `tests/run`.
const ALL_WAYS: &str = "KFBIND_IT_ALL_WAYS";
/// `binding.methods` with all ways on.
pub(crate) const EVERY_WAY: &str = r#"["code", "link", "card", "unionid", "window", "staff"]"#;

/// See [`ALL_WAYS`].
#[expect(clippy::disallowed_methods, reason = "the tests' own switch; the service never sees it")]
pub(super) fn all_ways() -> Option<String> {
    std::env::var(ALL_WAYS).ok()
}

pub(super) fn config(app: &TestApp) -> Config {
    let sim = &app.options;
    let quoted = |text: &str| format!("{text:?}");
    let all_ways = all_ways();
    let methods = if all_ways.is_some() { EVERY_WAY } else { "[\"code\"]" };
    let handover = all_ways.unwrap_or_else(|| "none".to_owned());
    let mut keys = vec![
        ("server.listen", quoted("127.0.0.1:0")),
        ("server.shutdown_grace", quoted("2s")),
        ("store.path", quoted(&app.store.path().display().to_string())),
        ("wecom.corp_id", quoted(&sim.corp_id)),
        ("wecom.secret", quoted(&sim.secret)),
        ("wecom.token", quoted(&sim.token)),
        ("wecom.encoding_aes_key", quoted(&sim.encoding_aes_key)),
        ("wecom.api_base", quoted(&app.sim.base_url())),
        ("wecom.request_timeout", quoted("5s")),
        ("miniprogram.app_id", quoted(&sim.app_id)),
        ("miniprogram.secret", quoted(&sim.app_secret)),
        ("miniprogram.api_base", quoted(&app.sim.base_url())),
        ("binding.methods", methods.to_owned()),
        ("kf.handover", quoted(&handover)),
        // Otherwise answers to wrong codes name it, where there is hand-over.
        ("kf.person_word", quoted("")),
        ("wecom.staff_secret", quoted(&sim.staff_secret)),
        ("admin.api_key", quoted(ADMIN_KEY)),
    ];
    let texts: Vec<(String, String)> =
        TEXTS.iter().map(|name| (format!("messages.{name}"), quoted(name))).collect();
    keys.retain(|(key, _)| app.settings.iter().all(|(set, _)| set != key));
    let texts = texts.iter().filter(|(key, _)| app.settings.iter().all(|(set, _)| set != key));
    let lines = keys
        .iter()
        .chain(&app.settings)
        .map(|(key, value)| format!("{key} = {value}\n"))
        .chain(texts.map(|(key, value)| format!("{key} = {value}\n")));
    let text: String = lines.collect();
    match Config::from_toml(&text, &Environment::default()) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("this test's configuration is wrong: {problems}"),
    }
}

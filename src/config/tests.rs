//! The configuration as its users meet it: files and environments in, all mistakes or typed values out.

use std::{collections::BTreeSet, io::Write as _, path::PathBuf};

use secrecy::ExposeSecret as _;

use super::{keys::KEYS, layers::DEFAULTS, *};

const AES_KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
/// The least that makes a configuration whole; each value of a secret is found again by its `SECRET-`.
const REQUIRED: [(&str, &str); 6] = [
    ("KFBIND_WECOM__CORP_ID", "wwedab3d5fc43636d8"),
    ("KFBIND_WECOM__SECRET", "SECRET-wecom"),
    ("KFBIND_WECOM__TOKEN", "SECRETtoken"),
    ("KFBIND_WECOM__ENCODING_AES_KEY", AES_KEY),
    ("KFBIND_MINIPROGRAM__APP_ID", "wx0123456789abcdef"),
    ("KFBIND_MINIPROGRAM__SECRET", "SECRET-miniprogram"),
];

fn environment(more: &[(&str, &str)]) -> Environment {
    let mut variables: std::collections::BTreeMap<_, _> = REQUIRED.into_iter().collect();
    variables.extend(more.iter().copied());
    Environment::new(variables)
}

fn good(toml: &str, more: &[(&str, &str)]) -> Loaded {
    match Config::from_toml(toml, &environment(more)) {
        Ok(loaded) => loaded,
        Err(problems) => panic!("{problems}"),
    }
}

fn bad(toml: &str, more: &[(&str, &str)]) -> Vec<Problem> {
    match Config::from_toml(toml, &environment(more)) {
        Ok(_) => panic!("accepted: {toml} {more:?}"),
        Err(problems) => problems.0,
    }
}

fn keys_of(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.key.as_str()).collect()
}

/// The one problem there is.
fn only(toml: &str, more: &[(&str, &str)]) -> Problem {
    let problems = bad(toml, more);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn every_key_stands_in_the_committed_file_under_a_comment_and_no_other_does() {
    let mut section = "";
    let mut found = BTreeSet::new();
    let mut before = "";
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            assert!(before.starts_with("# "), "{section}.{key} has no comment above it");
            assert!(found.insert(format!("{section}.{key}")), "{section}.{key} stands twice");
        }
        before = line;
    }
    let known: BTreeSet<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
    assert_eq!(found, known);
}

#[test]
fn the_committed_file_orders_its_keys_as_the_table_does() {
    let lines = DEFAULTS.lines().filter(|line| !line.starts_with('#'));
    let listed: Vec<_> = lines.filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).collect();
    let known: Vec<_> = KEYS.iter().map(|key| key.parts().1).collect();
    assert_eq!(listed, known);
}

#[test]
fn the_committed_file_holds_no_secret() {
    let sections: toml::Table = toml::from_str(DEFAULTS).unwrap();
    for key in KEYS.iter().filter(|key| key.secret) {
        let (section, name) = key.parts();
        let value = sections.get(section).and_then(|keys| keys.get(name)).and_then(toml::Value::as_str);
        assert_eq!(value, Some(""), "{}", key.name);
    }
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = good("", &[]).config;
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.shutdown_grace, Duration::from_secs(10));
    let proxies: Vec<_> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["127.0.0.0/8", "::1/128"]);
    assert_eq!(config.store.path, PathBuf::from("data"));
    assert_eq!(config.wecom.api_base, "https://qyapi.weixin.qq.com");
    assert_eq!(config.miniprogram.api_base, "https://api.weixin.qq.com");
    assert!(config.wecom.accounts.is_empty() && config.wecom.proxy.is_none() && config.kf.url.is_none());
    assert_eq!(config.kf.reconcile_every, Duration::from_mins(5));
    assert_eq!(config.binding.methods, [Method::Code, Method::Link, Method::UnionId]);
    assert_eq!(config.binding.code_format, CodeFormat::Digits);
    assert_eq!(config.binding.on_conflict, OnConflict::Reject);
    assert_eq!(config.binding.code_ttl, Duration::from_mins(10));
    assert_eq!(config.binding.session_ttl, Duration::from_hours(7 * 24));
    assert_eq!(config.binding.card_ttl, Duration::from_hours(48));
    assert_eq!(config.binding.unbind_word.as_deref(), Some("解绑"));
    assert_eq!(config.limits.wrong_codes_per_customer, Rate { count: 5, window: Duration::from_mins(10) });
    assert_eq!(config.limits.logins_per_ip, Rate { count: 600, window: Duration::from_mins(1) });
    assert_eq!(config.limits.body_bytes_max, 65_536);
    assert!(config.admin.api_key.is_none() && config.webhooks.url.is_none());
    assert_eq!(config.kf.handover, Handover::None);
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let file =
        "[kf]\nreconcile_every = \"1m\"\n[binding]\ncode_ttl = \"5m\"\n[server]\nlisten = \"127.0.0.1:0\"";
    let loaded = good(file, &[("KFBIND_BINDING__CODE_TTL", "90s")]);
    assert_eq!(loaded.config.kf.reconcile_every, Duration::from_mins(1));
    assert_eq!(loaded.config.binding.code_ttl, Duration::from_secs(90));
    assert_eq!(loaded.config.server.listen.port(), 0);
    for line in [
        "reconcile_every = \"1m\"  # file",
        "code_ttl = \"90s\"  # KFBIND_BINDING__CODE_TTL",
        "path = \"data\"  # default",
    ] {
        assert!(loaded.effective.lines().any(|shown| shown == line), "{line}\n{}", loaded.effective);
    }
}

#[test]
fn values_of_the_environment_are_typed_by_their_key() {
    let config = good(
        "",
        &[
            ("KFBIND_WECOM__TOKEN", "123456"),
            ("KFBIND_WECOM__ACCOUNTS", "wkA, wkB,wkA"),
            ("KFBIND_LIMITS__BODY_BYTES_MAX", "1024"),
            ("KFBIND_BINDING__CONFIRM_LINK", "false"),
            ("KFBIND_BINDING__METHODS", r#"["code"]"#),
            ("KFBIND_MINIPROGRAM__SUBSCRIBE_DATA", r#"{"thing1":"{account}"}"#),
            ("KFBIND_MESSAGES__LOCKED", "true"),
        ],
    )
    .config;
    assert_eq!(config.wecom.token.expose_secret(), "123456");
    assert_eq!(config.wecom.accounts, ["wkA", "wkB"]);
    assert_eq!(config.limits.body_bytes_max, 1024);
    assert!(!config.binding.confirm_link);
    assert_eq!(config.binding.methods, [Method::Code]);
    assert_eq!(config.miniprogram.subscribe_data.get("thing1").map(String::as_str), Some("{account}"));
    assert_eq!(config.messages.locked, "true");
}

#[test]
fn five_different_mistakes_are_all_named_at_once() {
    let problems = bad(
        "[wecom]\ntoken = 5\naccounts = [\"kfc123\"]\n[binding]\ncode_ttl = \"10 minutes\"\ncolour = \"red\"",
        &[("KFBIND_WECOM__SECRET", ""), ("KFBIND_WECOM__TOKEN", "ok"), ("KFBIND_SERVER__LISTEN", "8080")],
    );
    let mut keys = keys_of(&problems);
    keys.sort_unstable();
    let wanted = [
        "binding.code_ttl",
        "binding.colour",
        "server.listen",
        "wecom.accounts",
        "wecom.secret",
        "wecom.token",
    ];
    assert_eq!(keys, wanted);
    let shown = Problems(problems.clone()).to_string();
    for problem in &problems {
        assert!(shown.contains(&problem.key) && shown.contains(&problem.fix) && !problem.fix.is_empty());
    }
    assert!(shown.contains("set by KFBIND_SERVER__LISTEN"), "{shown}");
}

#[test]
fn everything_that_is_required_is_missed_at_once() {
    let problems = Config::from_toml("", &Environment::new::<String, String>([])).err().unwrap().0;
    let wanted = [
        "wecom.corp_id",
        "wecom.secret",
        "wecom.token",
        "wecom.encoding_aes_key",
        "miniprogram.app_id",
        "miniprogram.secret",
    ];
    assert_eq!(keys_of(&problems), wanted);
    assert!(problems.iter().any(|problem| problem.fix.contains("KFBIND_WECOM__SECRET_FILE")));
}

#[test]
fn a_variable_with_one_underscore_is_recognised_where_its_key_is_missing() {
    let problem = only("", &[("KFBIND_WECOM__SECRET", ""), ("KFBIND_WECOM_SECRET", "x")]);
    assert!(problem.fix.contains("rename KFBIND_WECOM_SECRET to KFBIND_WECOM__SECRET"), "{problem}");
}

#[test]
fn unknown_keys_are_errors_that_name_the_nearest() {
    for (toml, key, nearest) in [
        ("[wecom]\nsecert = \"x\"", "wecom.secert", "wecom.secret"),
        ("[wecmo]\ntoken = \"x\"", "wecmo.token", "wecom.token"),
        ("secret = \"x\"", "secret", "wecom.secret"),
        ("[serve]", "serve", "server"),
        ("wecom = 5", "wecom", "[wecom]"),
    ] {
        let problem = only(toml, &[]);
        assert_eq!(problem.key, key);
        assert!(problem.fix.contains(nearest), "{problem}");
    }
    for (variable, nearest) in [
        ("KFBIND_WECOM__SECERT", "KFBIND_WECOM__SECRET"),
        ("KFBIND_WECOM__SECERT_FILE", "KFBIND_WECOM__SECRET"),
        ("KFBIND__SERVER_LISTEN", "KFBIND_SERVER__LISTEN"),
        ("KFBIND_server__listen", "KFBIND_SERVER__LISTEN"),
    ] {
        let problem = only("", &[(variable, "x")]);
        assert_eq!(problem.key, variable);
        assert!(problem.fix.contains(nearest), "{problem}");
    }
}

#[test]
fn variables_without_two_underscores_are_left_alone() {
    good("", &[("KFBIND_PORT", "tcp://10.0.0.1:80"), ("KFBIND_LOG", "json"), ("KFBIND_SERVICE_HOST", "x")]);
}

#[test]
fn a_syntax_error_names_its_line_and_not_what_stands_there() {
    let toml = "[wecom]\ncorp_id = \"ww1\"\nsecret = \"SECRET-in-file\n";
    let problem = only(toml, &[]);
    assert_eq!(problem.key, "config.toml");
    assert!(problem.what.contains("line 3"), "{problem}");
    assert!(!problem.to_string().contains("SECRET"), "{problem}");
}

#[test]
fn a_syntax_error_does_not_hide_what_is_wrong_in_the_environment() {
    let problems =
        Config::from_toml("[wecom", &Environment::new([("KFBIND_KF__URL", "kfc1"), ("KFBIND_A__B", "")]))
            .err();
    assert_eq!(keys_of(&problems.unwrap().0), ["config.toml", "KFBIND_A__B", "kf.url"]);
}

#[test]
fn a_secret_is_read_from_a_file_without_its_last_newline() {
    for (content, wanted) in
        [("from-file\n", "from-file"), ("from-file\r\n", "from-file"), ("from-file", "from-file")]
    {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let mut variables: Vec<_> =
            REQUIRED.into_iter().filter(|(name, _)| *name != "KFBIND_WECOM__SECRET").collect();
        variables.push(("KFBIND_WECOM__SECRET_FILE", path));
        let loaded = Config::from_toml("", &Environment::new(variables)).ok().unwrap();
        assert_eq!(loaded.config.wecom.secret.expose_secret(), wanted);
        assert!(loaded.effective.contains("secret = \"***\"  # KFBIND_WECOM__SECRET_FILE"));
    }
}

#[test]
fn files_for_secrets_are_refused_twice_missing_or_for_other_keys() {
    let twice = only("", &[("KFBIND_WECOM__SECRET_FILE", "/nonexistent/x")]);
    assert_eq!(twice.key, "wecom.secret");
    assert!(twice.what.contains("twice"), "{twice}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x").to_str().unwrap().to_owned();
    let missing = only("", &[("KFBIND_ADMIN__API_KEY_FILE", &path)]);
    assert_eq!(missing.key, "admin.api_key");
    assert!(missing.what.contains(&path) && missing.what.contains("KFBIND_ADMIN__API_KEY_FILE"), "{missing}");
    let other = only("", &[("KFBIND_SERVER__LISTEN_FILE", "/nonexistent/x")]);
    assert!(other.what.contains("only secrets") && other.fix.contains("KFBIND_SERVER__LISTEN"), "{other}");
}

#[test]
fn what_an_editor_put_before_the_text_is_no_part_of_it() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all("\u{feff}SECRET-admin-key-long-enough\r\n".as_bytes()).unwrap();
    let loaded = good("", &[("KFBIND_ADMIN__API_KEY_FILE", file.path().to_str().unwrap())]);
    let key = loaded.config.admin.api_key.unwrap();
    assert_eq!(key.expose_secret(), "SECRET-admin-key-long-enough");
    good("\u{feff}[server]\nlisten = \"127.0.0.1:0\"", &[]);
}

#[test]
fn a_secret_that_is_given_in_place_of_its_file_is_not_printed() {
    for secret in ["SECRET-admin-key-long-enough", "/SECRET+of/base64=", "SECRET/of/base64=", "/SECRET", ""] {
        let problem = only("", &[("KFBIND_ADMIN__API_KEY_FILE", secret)]);
        assert!(!problem.to_string().contains("SECRET"), "{problem}");
        assert!(problem.what.contains("KFBIND_ADMIN__API_KEY_FILE"), "{problem}");
        assert!(problem.fix.contains("KFBIND_ADMIN__API_KEY "), "{problem}");
    }
}

#[test]
fn a_secrets_file_without_end_is_refused() {
    let problem = only("", &[("KFBIND_ADMIN__API_KEY_FILE", "/dev/zero")]);
    assert!(problem.what.contains("more than"), "{problem}");
}

#[test]
fn secrets_are_neither_in_debug_nor_in_what_check_prints() {
    let loaded = good(
        "[wecom]\nproxy = \"socks5://me:SECRET-proxy@10.0.0.5:1080\"\nstaff_secret = \"SECRET-staff\"",
        &[
            ("KFBIND_ADMIN__API_KEY", "SECRET-admin-key-long-enough"),
            ("KFBIND_WECOM__TOKEN_PREVIOUS", "SECRETprevious"),
            ("KFBIND_WEBHOOKS__SECRET", "whsec_SECRETSECRETSECRETSECRETSECRETSE"),
        ],
    );
    for shown in [format!("{:?}", loaded.config), loaded.effective.clone()] {
        assert!(
            !shown.contains("SECRET-") && !shown.contains("SECRETt") && !shown.contains("SECRETp"),
            "{shown}"
        );
        assert!(!shown.contains("whsec") && !shown.contains(AES_KEY), "{shown}");
        assert!(shown.contains("wwedab3d5fc43636d8"), "{shown}");
    }
    assert!(loaded.effective.contains("proxy = \"socks5://***@10.0.0.5:1080\""));
    assert!(
        loaded.effective.contains("encoding_aes_key_previous = \"\""),
        "an empty secret is shown as empty"
    );
}

#[test]
fn no_problem_shows_a_secret() {
    let problems = bad(
        "[admin]\napi_key = \"Hush \\u00e9\"\n[webhooks]\nsecret = \"Hush-hook\"",
        &[
            ("KFBIND_WECOM__SECRET", "Hush with spaces"),
            ("KFBIND_WECOM__TOKEN", "Hush token"),
            ("KFBIND_WECOM__TOKEN_PREVIOUS", "Hush-token-that-is-much-too-long-for-one"),
            ("KFBIND_WECOM__ENCODING_AES_KEY", "Hushhush"),
            ("KFBIND_WECOM__ENCODING_AES_KEY_PREVIOUS", "Hushhush"),
            ("KFBIND_WECOM__PROXY", "gopher://me:Hush@host"),
        ],
    );
    assert_eq!(problems.len(), 8, "{problems:?}");
    for problem in problems {
        assert!(!problem.to_string().contains("Hush"), "{problem}");
    }
}

#[test]
fn the_effective_configuration_is_toml_with_every_key() {
    let loaded = good("[messages]\nbound = \"a\\\"b\\\\c\\nd\"", &[]);
    let shown: toml::Table = toml::from_str(&loaded.effective).unwrap();
    for key in KEYS {
        let (section, name) = key.parts();
        assert!(shown.get(section).is_some_and(|keys| keys.get(name).is_some()), "{}", key.name);
    }
    assert_eq!(shown["messages"]["bound"].as_str(), Some("a\"b\\c\nd"));
}

#[test]
fn operators_have_an_address_of_their_own() {
    let ops = |toml: &str| good(&format!("[server]\n{toml}"), &[]);
    assert!(ops("").config.server.ops_listen.is_none());
    let own = ops("ops_listen = \"127.0.0.1:9090\"");
    assert_eq!(own.config.server.ops_listen.map(|address| address.port()), Some(9090));
    assert!(own.notes.is_empty(), "{:?}", own.notes);
    assert_eq!(keys_of(&ops("ops_listen = \"0.0.0.0:9090\"").notes), ["server.ops_listen"]);
    ops("listen = \"127.0.0.1:0\"\nops_listen = \"127.0.0.1:0\"");
    let same = only("[server]\nops_listen = \"127.0.0.1:8080\"", &[]);
    assert_eq!(same.key, "server.ops_listen");
    assert!(same.what.contains("server.listen"), "{same}");
}

#[test]
fn https_wants_a_certificate_and_a_key() {
    let both = good("[server]\ntls_cert = \"c.pem\"\ntls_key = \"k.pem\"", &[]).config.server;
    assert_eq!((both.tls_cert, both.tls_key), (Some("c.pem".into()), Some("k.pem".into())));
    for (set, missing) in [("tls_cert", "server.tls_key"), ("tls_key", "server.tls_cert")] {
        let problem = only(&format!("[server]\n{set} = \"x.pem\""), &[]);
        assert_eq!(problem.key, missing);
        assert!(problem.fix.contains("both"), "{problem}");
    }
}

#[test]
fn callbacks_are_passed_on_to_a_few_addresses_whose_secrets_are_not_shown() {
    let toml = "[wecom]\nforward_to = [\"https://me:SECRET-pass@10.0.0.5:9000/wecom?key=SECRET-key\", \"http://host\", \
                \"http://host\"]";
    let loaded = good(toml, &[]);
    assert_eq!(loaded.config.wecom.forward_to.len(), 2, "no repeats");
    assert!(!format!("{:?}", loaded.config).contains("SECRET"));
    let shown =
        "forward_to = [\"https://***@10.0.0.5:9000/wecom?***\", \"http://host\", \"http://host\"]  # file";
    assert!(loaded.effective.contains(shown), "{}", loaded.effective);
    let listed = [("KFBIND_WECOM__FORWARD_TO", "http://a/x,http://b/y")];
    assert_eq!(good("", &listed).config.wecom.forward_to.len(), 2);
    let many: Vec<String> = (0..9).map(|number| format!("http://host{number}")).collect();
    let problem = only("", &[("KFBIND_WECOM__FORWARD_TO", &many.join(","))]);
    assert!(problem.key == "wecom.forward_to" && problem.what.contains('9'), "{problem}");
    for target in
        ["host:80", "ftp://me:SECRET@host", "http://host/#SECRET", "http://me:SECRET@", "http://a b"]
    {
        let problem = only("", &[("KFBIND_WECOM__FORWARD_TO", target)]);
        assert_eq!(problem.key, "wecom.forward_to", "{target}");
        assert!(!problem.to_string().contains("SECRET"), "{problem}");
    }
}

const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn webhooks_want_an_address_and_a_secret() {
    let both = [("KFBIND_WEBHOOKS__SECRET", WEBHOOK_SECRET)];
    let loaded = good("[webhooks]\nurl = \"https://back-end.example/hooks\"", &both);
    assert!(loaded.config.webhooks.url.is_some() && loaded.config.webhooks.secret.is_some());
    assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    let with_token = good("[webhooks]\nurl = \"https://back-end.example/hooks?token=SECRET\"", &both);
    assert!(with_token.effective.contains("url = \"https://back-end.example/hooks?***\""));
    assert!(!format!("{:?}", with_token.config).contains("SECRET"));
    let problem = only("[webhooks]\nurl = \"https://back-end.example/hooks\"", &[]);
    assert_eq!(problem.key, "webhooks.secret");
    assert!(problem.fix.contains("keygen"), "{problem}");
    assert!(good("", &both).notes.is_empty(), "a secret that is ready does no harm");
    let bad_secret = only("[webhooks]\nurl = \"https://back-end.example\"\nsecret = \"whsec_short\"", &[]);
    assert_eq!(bad_secret.key, "webhooks.secret");
}

#[test]
fn plain_http_to_another_machine_is_noted() {
    let secret = [("KFBIND_WEBHOOKS__SECRET", WEBHOOK_SECRET)];
    for (url, notes) in [
        ("http://127.0.0.1:9000/h", 0),
        ("http://localhost:9000/h", 0),
        ("http://[::1]:9000/h", 0),
        ("https://10.0.0.5/h", 0),
        ("http://10.0.0.5/h", 1),
        ("http://back-end.example/h", 1),
    ] {
        let loaded = good(&format!("[webhooks]\nurl = {url:?}"), &secret);
        assert_eq!(loaded.notes.len(), notes, "{url}: {:?}", loaded.notes);
    }
}

#[test]
fn the_further_ways_and_their_keys_are_live() {
    let config = good(
        "[binding]\nmethods = [\"staff\", \"window\", \"card\", \"unionid\", \"code\", \"link\"]\nconfirm_link = false\n\
         confirm_code = true\nwindow = \"1m\"\ncard_ttl = \"1h\"\n[wecom]\nstaff_userids = [\"ZhangSan\", \"li.si@x\"]\n\
         [kf]\nhandover = \"servicer\"\nservicers = [\"li\"]\nperson_word = \"客服\"\n\
         [miniprogram]\ncard_path = \"pages/a/a.html\"\nsubscribe_template_id = \"T\"\n\
         subscribe_data = { thing1 = \"{account}\", time2 = \"{time}\" }",
        &[("KFBIND_WECOM__STAFF_SECRET", "SECRET-staff")],
    );
    assert!(config.notes.is_empty(), "{:?}", config.notes);
    let config = config.config;
    let all =
        [Method::Code, Method::Link, Method::Card, Method::UnionId, Method::Window, Method::Staff].to_vec();
    assert_eq!(config.binding.methods, all);
    assert_eq!((config.binding.confirm_link, config.binding.confirm_code), (false, true));
    assert_eq!(config.binding.window, Duration::from_mins(1));
    assert_eq!(config.binding.card_ttl, Duration::from_hours(1));
    assert_eq!(config.wecom.staff_secret.unwrap().expose_secret(), "SECRET-staff");
    assert_eq!(config.wecom.staff_userids, ["ZhangSan", "li.si@x"]);
    assert_eq!((config.kf.handover, config.kf.servicers), (Handover::Servicer, vec!["li".to_owned()]));
    assert_eq!(config.kf.person_word.as_deref(), Some("客服"));
    assert_eq!(config.miniprogram.card_path, "pages/a/a.html");
    assert_eq!(config.miniprogram.subscribe_template_id.as_deref(), Some("T"));
    assert_eq!(config.miniprogram.subscribe_data.len(), 2);
}

#[test]
fn staff_wants_a_secret_of_its_own() {
    let on = "[binding]\nmethods = [\"code\", \"staff\"]";
    let problem = only(on, &[]);
    assert_eq!(problem.key, "wecom.staff_secret");
    assert!(problem.fix.contains("KFBIND_WECOM__STAFF_SECRET_FILE"), "{problem}");
    let wrong = only(on, &[("KFBIND_WECOM__STAFF_SECRET", "Hush with spaces")]);
    assert_eq!(wrong.key, "wecom.staff_secret");
    assert!(!wrong.what.contains("required") && !wrong.to_string().contains("Hush"), "{wrong}");
    good(on, &[("KFBIND_WECOM__STAFF_SECRET", "SECRET-staff")]);
}

#[test]
fn what_does_nothing_because_of_what_is_off_is_noted() {
    for (toml, key) in [
        ("[wecom]\nstaff_userids = [\"li\"]", "wecom.staff_userids"),
        ("[kf]\nservicers = [\"li\"]", "kf.servicers"),
        ("[kf]\nhandover = \"pool\"\nservicers = [\"li\"]", "kf.servicers"),
        ("[miniprogram]\nsubscribe_data = { thing1 = \"{time}\" }", "miniprogram.subscribe_data"),
        ("[miniprogram]\nsubscribe_template_id = \"T\"", "miniprogram.subscribe_data"),
    ] {
        let notes = good(toml, &[]).notes;
        assert_eq!(keys_of(&notes), [key], "{toml}: {notes:?}");
    }
    assert!(good("[kf]\nhandover = \"pool\"", &[]).notes.is_empty());
}

#[test]
fn window_wants_to_know_the_account_behind_a_link_of_ones_own() {
    let with = |kf: &str, accounts: &str| {
        let toml = format!(
            "[binding]\nmethods = [\"code\", \"window\"]\n[kf]\nurl = \"{kf}\"\n[wecom]\naccounts = {accounts}"
        );
        good(&toml, &[]).notes
    };
    let own = "https://work.weixin.qq.com/kf/kfc6fac668195f8389e?enc_scene=ENC1";
    for accounts in ["[]", "[\"wkA\", \"wkB\"]"] {
        let notes = with(own, accounts);
        assert_eq!(keys_of(&notes), ["kf.url"], "{accounts}");
        assert!(notes[0].what.contains("window"), "{notes:?}");
    }
    assert!(with(own, "[\"wkA\"]").is_empty());
    assert!(with("", "[]").is_empty());
}

#[test]
fn methods_are_known_words_and_contain_code() {
    let unknown = only("[binding]\nmethods = [\"code\", \"qr\"]", &[]);
    assert!(unknown.fix.contains("\"unionid\""), "{unknown}");
    let lacking = only("[binding]\nmethods = [\"link\"]", &[]);
    assert!(lacking.what.contains("\"code\""), "{lacking}");
}

#[test]
fn all_ways_can_be_on_and_employees_want_the_secret_of_their_app() {
    const ALL: &str =
        "[binding]\nmethods = [\"staff\", \"window\", \"unionid\", \"card\", \"link\", \"code\"]";
    let config = good(&format!("{ALL}\n[wecom]\nstaff_secret = \"SECRET-staff\""), &[]).config;
    assert_eq!(config.binding.methods.len(), 6);
    let lacking = only(ALL, &[]);
    assert_eq!(lacking.key, "wecom.staff_secret");
    assert!(lacking.what.contains("\"staff\""), "{lacking}");
}

#[test]
fn the_default_text_speaks_of_the_unbind_word_only_where_there_is_one() {
    let with = good("", &[]).config.messages.bound;
    assert!(with.contains("{unbind_word}") && with.contains("{account}"));
    let without = good("[binding]\nunbind_word = \"\"", &[]);
    assert_eq!(without.config.messages.bound, "绑定成功，{account}已与当前会话关联。");
    assert!(without.effective.contains("bound = \"绑定成功，{account}已与当前会话关联。\""));
    for key in ["bound", "confirm"] {
        let toml = format!("[binding]\nunbind_word = \"\"\n[messages]\n{key} = \"好，回复{{unbind_word}}\"");
        assert_eq!(only(&toml, &[]).key, format!("messages.{key}"));
    }
}

#[test]
fn a_menu_takes_less_than_a_message() {
    for (key, bytes_max) in [("invite", 1024), ("invite_item", 1024), ("confirm", 1024), ("confirm_yes", 128)]
    {
        let toml = |bytes| format!("[messages]\n{key} = \"{}\"", "a".repeat(bytes));
        good(&toml(bytes_max), &[]);
        assert_eq!(only(&toml(bytes_max + 1), &[]).key, format!("messages.{key}"));
    }
}

#[test]
fn the_default_texts_speak_of_no_password() {
    let sections: toml::Table = toml::from_str(DEFAULTS).unwrap();
    for (name, text) in sections["messages"].as_table().unwrap() {
        let text = text.as_str().unwrap();
        assert!(!text.contains("验证码") && !text.contains("密码") && !text.contains('\n'), "{name}");
    }
}

#[test]
fn single_values_are_judged() {
    for (toml, key) in [
        ("[server]\nlisten = \"\"", "server.listen"),
        ("[server]\ntrusted_proxies = [\"proxy\"]", "server.trusted_proxies"),
        ("[server]\nshutdown_grace = \"1h\"", "server.shutdown_grace"),
        ("[store]\npath = \"\"", "store.path"),
        ("[wecom]\napi_base = \"https://host/\"", "wecom.api_base"),
        ("[wecom]\nproxy = \"10.0.0.1:80\"", "wecom.proxy"),
        ("[wecom]\nrequest_timeout = \"0s\"", "wecom.request_timeout"),
        ("[kf]\nurl = \"kfc123\"", "kf.url"),
        ("[kf]\nreconcile_every = \"10ms\"", "kf.reconcile_every"),
        ("[binding]\ncode_ttl = \"500ms\"", "binding.code_ttl"),
        ("[binding]\ncode_ttl = \"2d\"", "binding.code_ttl"),
        ("[binding]\nunbind_word = \" 解绑\"", "binding.unbind_word"),
        ("[binding]\nunbind_word = \"人工\"", "kf.person_word"),
        ("[binding]\non_conflict = \"ask\"", "binding.on_conflict"),
        ("[limits]\ncodes_per_openid = \"5 per minute\"", "limits.codes_per_openid"),
        ("[limits]\nbody_bytes_max = 0", "limits.body_bytes_max"),
        ("[messages]\nlocked = \"{minute}\"", "messages.locked"),
        ("[messages]\nlocked = \"\"", "messages.locked"),
        ("[miniprogram]\nsubscribe_data = { thing1 = \"{code}\" }", "miniprogram.subscribe_data"),
        ("[miniprogram]\nsubscribe_data = { thing1 = \" \" }", "miniprogram.subscribe_data"),
        ("[miniprogram]\ncard_path = \"pages/a/a\"", "miniprogram.card_path"),
        ("[miniprogram]\ncard_path = \"pages/a/a.html?x=1\"", "miniprogram.card_path"),
        ("[miniprogram]\ncard_path = \"/pages/a/a.html\"", "miniprogram.card_path"),
        ("[kf]\nhandover = \"robot\"", "kf.handover"),
        ("[kf]\nservicers = [\"张三\"]", "kf.servicers"),
        ("[wecom]\nstaff_userids = [\"\"]", "wecom.staff_userids"),
        ("[binding]\nwindow = \"2h\"", "binding.window"),
        ("[binding]\ncard_ttl = \"4d\"", "binding.card_ttl"),
        ("[messages]\nconfirm = \"{accounts}?\"", "messages.confirm"),
        ("[messages]\nconfirm_yes = \"好\"\nconfirm_no = \"好\"", "messages.confirm_no"),
    ] {
        assert_eq!(only(toml, &[]).key, key, "{toml}");
    }
}

#[test]
fn a_short_admin_key_and_an_odd_token_are_noted() {
    let notes = good("[admin]\napi_key = \"short\"", &[("KFBIND_WECOM__TOKEN", "a-token")]).notes;
    for key in ["admin.api_key", "wecom.token"] {
        assert!(notes.iter().any(|note| note.key == key), "{key}: {notes:?}");
    }
}

#[test]
fn a_link_of_ones_own_without_enc_scene_is_noted() {
    let bare = "[kf]\nurl = \"https://work.weixin.qq.com/kfid/kfc6fac668195f8389e\"";
    let notes = good(bare, &[]).notes;
    assert!(notes.iter().any(|note| note.key == "kf.url" && note.what.contains("enc_scene")), "{notes:?}");
    assert!(good(bare, &[("KFBIND_BINDING__METHODS", "code")]).notes.is_empty());
}

#[test]
fn a_named_file_must_be_there_and_the_default_one_need_not() {
    let missing = ConfigFile::Named(PathBuf::from("/nonexistent/kfbind.toml"));
    let problems = Config::load(&missing, &environment(&[])).err().unwrap().0;
    assert_eq!(keys_of(&problems), ["/nonexistent/kfbind.toml"]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[kf]\nreconcile_every = \"2m\"").unwrap();
    let named = ConfigFile::Named(file.path().to_owned());
    let loaded = Config::load(&named, &environment(&[])).ok().unwrap();
    assert_eq!(loaded.config.kf.reconcile_every, Duration::from_mins(2));
}

#[test]
fn a_file_from_a_windows_editor_is_read() {
    let config = good("\u{feff}[kf]\r\nreconcile_every = \"2m\"\r\n", &[]).config;
    assert_eq!(config.kf.reconcile_every, Duration::from_mins(2));
}

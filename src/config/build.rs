//! Makes the typed [`Config`] out of the settings, and judges what they mean together.
//!
//! Every part is made even where another is wrong, so that all mistakes are found in one go; a part that is wrong
//! leaves a problem behind and a value that nobody gets to see.

use std::{collections::BTreeMap, net::Ipv4Addr, net::SocketAddr, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    Admin, Binding, CodeFormat, Config, Handover, Kf, Limits, Messages, Method, MiniProgram, OnConflict,
    Problem, Rate, Server, Store, WeCom, Webhooks, checks,
    environment::Environment,
    keys::KEYS,
    layers::Settings,
    value::{Fault, Value},
};

/// What WeCom takes as one text.
const MESSAGE_BYTES_MAX: usize = 2048;
/// What WeCom takes above a menu and as an item that opens a mini program.
const MENU_HEAD_BYTES_MAX: usize = 1024;
/// What WeCom takes as an item to tap.
const MENU_ITEM_BYTES_MAX: usize = 128;
const UNBIND_PLACEHOLDER: &str = "{unbind_word}";
const NOT_YET: &str = "switches on what is not built yet in this version";
/// The names of the methods, in the order of [`Method`], and whether they may be listed in this version.
const METHODS: [(&str, Method, bool); 6] = [
    ("code", Method::Code, true),
    ("link", Method::Link, true),
    ("card", Method::Card, false),
    ("unionid", Method::UnionId, true),
    ("window", Method::Window, false),
    ("staff", Method::Staff, false),
];

/// While there is no word to undo a binding with, the default text does not speak of it.
pub(super) fn adapt_defaults(settings: &mut Settings) {
    let has_word =
        settings.value("binding.unbind_word").is_none() || !settings.text("binding.unbind_word").is_empty();
    if has_word || !settings.is_default("messages.bound") {
        return;
    }
    let text: String = settings
        .text("messages.bound")
        .split_inclusive('。')
        .filter(|sentence| !sentence.contains(UNBIND_PLACEHOLDER))
        .collect();
    settings.adapt_default("messages.bound", Value::Text(text));
}

/// Names the required keys that are empty.
pub(super) fn require(settings: &Settings, environment: &Environment, problems: &mut Vec<Problem>) {
    for key in KEYS.iter().filter(|key| key.required) {
        if !matches!(settings.value(key.name), Some(Value::Text(text)) if text.trim().is_empty()) {
            continue;
        }
        let variable = key.variable();
        let near_miss = variable.replacen("__", "_", 1);
        let fix = if environment.has(&near_miss) {
            format!("rename {near_miss} to {variable}: two underscores follow the section")
        } else {
            let (section, name) = key.parts();
            let or_file = if key.secret { format!(" or {variable}_FILE") } else { String::new() };
            format!(
                "set {name} in the section [{section}] of the file, or {variable}{or_file} in the environment"
            )
        };
        problems.push(Problem::new(key.name, "is required and empty", fix));
    }
}

/// Everything typed, and notes about what works otherwise than one may think. Complete only without problems.
pub(super) fn build(settings: &Settings, problems: &mut Vec<Problem>) -> (Config, Vec<Problem>) {
    let mut reader = Reader { settings, problems };
    let config = Config {
        server: server(&mut reader),
        store: Store { path: reader.optional("store.path", checks::path).unwrap_or_default() },
        wecom: wecom(&mut reader),
        kf: kf(&mut reader),
        miniprogram: miniprogram(&mut reader),
        binding: binding(&mut reader),
        limits: Limits {
            codes_per_openid: reader.rate("limits.codes_per_openid"),
            logins_per_ip: reader.rate("limits.logins_per_ip"),
            wrong_codes_per_customer: reader.rate("limits.wrong_codes_per_customer"),
            body_bytes_max: reader.count("limits.body_bytes_max"),
        },
        messages: messages(&mut reader),
        admin: Admin { api_key: reader.optional("admin.api_key", checks::admin_key) },
        webhooks: Webhooks {
            url: reader.optional("webhooks.url", checks::http_address),
            secret: reader.optional("webhooks.secret", checks::webhook_secret),
        },
    };
    refuse_unbuilt(settings, problems);
    judge_together(&config, problems);
    let notes = notes(&config);
    (config, notes)
}

fn server(reader: &mut Reader<'_>) -> Server {
    Server {
        listen: reader
            .optional("server.listen", checks::address)
            .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        shutdown_grace: reader.time("server.shutdown_grace"),
        ops_listen: reader.optional("server.ops_listen", checks::address),
        tls_cert: reader.optional("server.tls_cert", checks::path),
        tls_key: reader.optional("server.tls_key", checks::path),
        trusted_proxies: reader.items("server.trusted_proxies", checks::network),
    }
}

fn wecom(reader: &mut Reader<'_>) -> WeCom {
    let mut accounts = Vec::new();
    for account in reader.items("wecom.accounts", checks::account) {
        if !accounts.contains(&account) {
            accounts.push(account);
        }
    }
    WeCom {
        corp_id: reader.optional("wecom.corp_id", checks::corp_id).unwrap_or_default(),
        secret: reader.optional("wecom.secret", checks::secret).unwrap_or_default(),
        token: reader.optional("wecom.token", checks::token).unwrap_or_default(),
        encoding_aes_key: reader.optional("wecom.encoding_aes_key", checks::aes_key).unwrap_or_default(),
        token_previous: reader.optional("wecom.token_previous", checks::token),
        encoding_aes_key_previous: reader.optional("wecom.encoding_aes_key_previous", checks::aes_key),
        forward_to: reader.items("wecom.forward_to", checks::http_address),
        api_base: reader.optional("wecom.api_base", checks::api_base).unwrap_or_default(),
        accounts,
        request_timeout: reader.time("wecom.request_timeout"),
        proxy: reader.optional("wecom.proxy", checks::proxy),
        staff_secret: reader.optional("wecom.staff_secret", checks::secret),
        staff_userids: reader.list("wecom.staff_userids"),
    }
}

fn kf(reader: &mut Reader<'_>) -> Kf {
    Kf {
        url: reader.optional("kf.url", checks::kf_url),
        reconcile_every: reader.time("kf.reconcile_every"),
        handover: match reader.settings.text("kf.handover") {
            "pool" => Handover::Pool,
            "servicer" => Handover::Servicer,
            _ => Handover::None,
        },
        servicers: reader.list("kf.servicers"),
        person_word: reader.optional("kf.person_word", checks::word),
    }
}

fn miniprogram(reader: &mut Reader<'_>) -> MiniProgram {
    let subscribe_data = match reader.settings.value("miniprogram.subscribe_data") {
        Some(Value::Table(fields)) => fields.clone(),
        _ => BTreeMap::new(),
    };
    for text in subscribe_data.values() {
        if let Err(fault) = checks::placeholders(text, &checks::SUBSCRIBE_PLACEHOLDERS) {
            reader.report("miniprogram.subscribe_data", fault);
        }
    }
    MiniProgram {
        app_id: reader.optional("miniprogram.app_id", checks::app_id).unwrap_or_default(),
        secret: reader.optional("miniprogram.secret", checks::secret).unwrap_or_default(),
        api_base: reader.optional("miniprogram.api_base", checks::api_base).unwrap_or_default(),
        card_path: reader.optional("miniprogram.card_path", checks::card_path).unwrap_or_default(),
        subscribe_template_id: reader
            .optional("miniprogram.subscribe_template_id", |text| Ok(text.to_owned())),
        subscribe_data,
    }
}

fn binding(reader: &mut Reader<'_>) -> Binding {
    Binding {
        methods: methods(reader),
        confirm_link: reader.flag("binding.confirm_link"),
        confirm_code: reader.flag("binding.confirm_code"),
        window: reader.time("binding.window"),
        card_ttl: reader.time("binding.card_ttl"),
        code_format: match reader.settings.text("binding.code_format") {
            "alphanumeric" => CodeFormat::Alphanumeric,
            "words" => CodeFormat::Words,
            _ => CodeFormat::Digits,
        },
        code_ttl: reader.time("binding.code_ttl"),
        on_conflict: match reader.settings.text("binding.on_conflict") {
            "replace" => OnConflict::Replace,
            _ => OnConflict::Reject,
        },
        session_ttl: reader.time("binding.session_ttl"),
        unbind_word: reader.optional("binding.unbind_word", checks::word),
    }
}

fn methods(reader: &mut Reader<'_>) -> Vec<Method> {
    const KEY: &str = "binding.methods";
    // A list of the wrong type is reported already.
    let Some(Value::List(listed)) = reader.settings.value(KEY) else {
        return Vec::new();
    };
    for name in listed {
        match METHODS.iter().find(|(known, ..)| known == name) {
            Some((_, _, true)) => {}
            Some(_) => reader.report(
                KEY,
                Fault::new(
                    format!("has {name:?}, which is not built yet in this version"),
                    "remove it from the list",
                ),
            ),
            None => {
                let known =
                    METHODS.iter().map(|(known, ..)| format!("\"{known}\"")).collect::<Vec<_>>().join(", ");
                reader.report(KEY, Fault::new(format!("has {name:?}"), format!("use only {known}")));
            }
        }
    }
    if !listed.iter().any(|name| name == "code") {
        reader.report(
            KEY,
            Fault::new("lacks \"code\", on which all others fall back", "add \"code\" to the list"),
        );
    }
    METHODS
        .iter()
        .filter(|(known, ..)| listed.iter().any(|name| name == known))
        .map(|(_, method, _)| *method)
        .collect()
}

fn messages(reader: &mut Reader<'_>) -> Messages {
    let mut text =
        |name, bytes_max| reader.optional(name, |text| checks::message(text, bytes_max)).unwrap_or_default();
    Messages {
        bound: text("messages.bound", MESSAGE_BYTES_MAX),
        unbound: text("messages.unbound", MESSAGE_BYTES_MAX),
        wrong_code: text("messages.wrong_code", MESSAGE_BYTES_MAX),
        expired_code: text("messages.expired_code", MESSAGE_BYTES_MAX),
        locked: text("messages.locked", MESSAGE_BYTES_MAX),
        conflict: text("messages.conflict", MESSAGE_BYTES_MAX),
        already_bound: text("messages.already_bound", MESSAGE_BYTES_MAX),
        invite: text("messages.invite", MENU_HEAD_BYTES_MAX),
        invite_item: text("messages.invite_item", MENU_HEAD_BYTES_MAX),
        confirm: text("messages.confirm", MENU_HEAD_BYTES_MAX),
        confirm_yes: text("messages.confirm_yes", MENU_ITEM_BYTES_MAX),
        confirm_no: text("messages.confirm_no", MENU_ITEM_BYTES_MAX),
        cancelled: text("messages.cancelled", MESSAGE_BYTES_MAX),
        other_person: text("messages.other_person", MESSAGE_BYTES_MAX),
    }
}

fn refuse_unbuilt(settings: &Settings, problems: &mut Vec<Problem>) {
    for key in KEYS.iter().filter(|key| key.later && settings.value(key.name).is_some()) {
        if !settings.is_default(key.name) {
            let fix = "leave it at its default until a later version";
            problems.push(Problem::at(key.name, settings.source(key.name), Fault::new(NOT_YET, fix)));
        }
    }
}

fn judge_together(config: &Config, problems: &mut Vec<Problem>) {
    let messages = &config.messages;
    let texts = [
        ("messages.bound", &messages.bound),
        ("messages.unbound", &messages.unbound),
        ("messages.wrong_code", &messages.wrong_code),
        ("messages.expired_code", &messages.expired_code),
        ("messages.locked", &messages.locked),
        ("messages.conflict", &messages.conflict),
        ("messages.already_bound", &messages.already_bound),
    ];
    let word_is_wrong = problems.iter().any(|problem| problem.key == "binding.unbind_word");
    if config.binding.unbind_word.is_none() && !word_is_wrong {
        for (name, _) in texts.iter().filter(|(_, text)| text.contains(UNBIND_PLACEHOLDER)) {
            problems.push(Problem::new(
                *name,
                format!("has {UNBIND_PLACEHOLDER}, but binding.unbind_word is empty"),
                "remove the placeholder, or set binding.unbind_word",
            ));
        }
    }
    if config.binding.unbind_word.is_some() && config.binding.unbind_word == config.kf.person_word {
        problems.push(Problem::new(
            "kf.person_word",
            "is the same word as binding.unbind_word",
            "choose two different words",
        ));
    }
    if config.server.tls_cert.is_some() != config.server.tls_key.is_some() {
        problems.push(Problem::new(
            if config.server.tls_cert.is_some() { "server.tls_key" } else { "server.tls_cert" },
            "is empty while its other half is set",
            "set both server.tls_cert and server.tls_key, or neither",
        ));
    }
}

fn notes(config: &Config) -> Vec<Problem> {
    let wants_link = config.binding.methods.contains(&Method::Link);
    let mut notes = Vec::new();
    if wants_link && config.kf.url.as_ref().is_some_and(|url| !url.contains("enc_scene=")) {
        notes.push(Problem::new(
            "kf.url",
            "has no enc_scene, so WeCom passes no ticket on and the method \"link\" can't work with it; codes do",
            "leave kf.url empty to have a link made, or take \"link\" out of binding.methods",
        ));
    }
    let is_plain = |secret: &SecretString| secret.expose_secret().bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_plain(&config.wecom.token) {
        notes.push(Problem::new(
            "wecom.token",
            "has other characters than letters and digits, which WeCom's console does not take",
            "paste it again, or make one with `kfbind keygen` and paste it there, too",
        ));
    }
    if config
        .admin
        .api_key
        .as_ref()
        .is_some_and(|key| key.expose_secret().len() < checks::ADMIN_KEY_CHARS_MIN)
    {
        notes.push(Problem::new(
            "admin.api_key",
            format!("has fewer than {} characters and can be guessed", checks::ADMIN_KEY_CHARS_MIN),
            "make one with `kfbind keygen`",
        ));
    }
    notes
}

/// Reads single values and leaves a problem where one is wrong.
struct Reader<'a> {
    settings: &'a Settings,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn report(&mut self, name: &str, fault: Fault) {
        self.problems.push(Problem::at(name, self.settings.source(name), fault));
    }

    /// `None` where the text is empty or wrong.
    fn optional<T>(&mut self, name: &str, check: impl Fn(&str) -> Result<T, Fault>) -> Option<T> {
        let text = self.settings.text(name);
        if text.is_empty() {
            return None;
        }
        check(text).map_err(|fault| self.report(name, fault)).ok()
    }

    fn items<T>(&mut self, name: &str, check: impl Fn(&str) -> Result<T, Fault>) -> Vec<T> {
        let items = self.list(name);
        items.iter().filter_map(|item| check(item).map_err(|fault| self.report(name, fault)).ok()).collect()
    }

    fn list(&self, name: &str) -> Vec<String> {
        match self.settings.value(name) {
            Some(Value::List(items)) => items.clone(),
            _ => Vec::new(),
        }
    }

    fn time(&self, name: &str) -> Duration {
        match self.settings.value(name) {
            Some(Value::Time(time)) => *time,
            _ => Duration::ZERO,
        }
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.settings.value(name), Some(Value::Flag(true)))
    }

    fn count(&self, name: &str) -> u64 {
        match self.settings.value(name) {
            Some(Value::Count(count)) => *count,
            _ => 0,
        }
    }

    fn rate(&self, name: &str) -> Rate {
        match self.settings.value(name) {
            Some(Value::Rate { count, window }) => Rate { count: *count, window: *window },
            _ => Rate { count: 1, window: Duration::from_secs(1) },
        }
    }
}

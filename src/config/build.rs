//! Makes the typed [`Config`] out of the settings, and judges what they mean together.
//!
//! Every part is made even where another is wrong, so that all mistakes are found in one go; a part that is wrong
//! leaves a problem behind and a value that nobody gets to see.

use std::{collections::BTreeMap, net::Ipv4Addr, net::SocketAddr, time::Duration};

use secrecy::SecretString;

use super::{
    Admin, Binding, CodeFormat, Config, Handover, Kf, Limits, Messages, Method, MiniProgram, OnConflict,
    Problem, Rate, Server, Store, WeCom, Webhooks, checks,
    environment::Environment,
    keys::KEYS,
    layers::Settings,
    together,
    value::{Fault, Value},
};

/// What WeCom takes as one text.
const MESSAGE_BYTES_MAX: usize = 2048;
/// What WeCom takes above a menu and as an item that opens a mini program.
const MENU_HEAD_BYTES_MAX: usize = 1024;
/// What WeCom takes as an item to tap.
const MENU_ITEM_BYTES_MAX: usize = 128;
/// The most programs that callbacks are passed on to.
const FORWARD_TARGETS_MAX: usize = 8;
pub(super) const UNBIND_PLACEHOLDER: &str = "{unbind_word}";
/// The names of the methods, in the order of [`Method`].
const METHODS: [(&str, Method); 6] = [
    ("code", Method::Code),
    ("link", Method::Link),
    ("card", Method::Card),
    ("unionid", Method::UnionId),
    ("window", Method::Window),
    ("staff", Method::Staff),
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
            url: reader.optional("webhooks.url", checks::webhook_url),
            secret: reader.optional("webhooks.secret", checks::webhook_secret),
        },
    };
    together::judge(&config, problems);
    let notes = together::notes(&config);
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
        forward_to: forward_to(reader),
        api_base: reader.optional("wecom.api_base", checks::api_base).unwrap_or_default(),
        accounts,
        request_timeout: reader.time("wecom.request_timeout"),
        proxy: reader.optional("wecom.proxy", checks::proxy),
        staff_secret: reader.optional("wecom.staff_secret", checks::secret),
        staff_userids: reader.items("wecom.staff_userids", checks::userid),
    }
}

fn forward_to(reader: &mut Reader<'_>) -> Vec<SecretString> {
    const KEY: &str = "wecom.forward_to";
    let mut targets = Vec::new();
    for target in reader.items(KEY, checks::target) {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    if targets.len() > FORWARD_TARGETS_MAX {
        let what = format!("names {} programs, more than {FORWARD_TARGETS_MAX}", targets.len());
        reader.report(KEY, Fault::new(what, "let one of them pass the callbacks on to others"));
    }
    targets.into_iter().map(SecretString::from).collect()
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
        servicers: reader.items("kf.servicers", checks::userid),
        person_word: reader.optional("kf.person_word", checks::word),
    }
}

fn miniprogram(reader: &mut Reader<'_>) -> MiniProgram {
    let subscribe_data = match reader.settings.value("miniprogram.subscribe_data") {
        Some(Value::Table(fields)) => fields.clone(),
        _ => BTreeMap::new(),
    };
    for (field, text) in &subscribe_data {
        if let Err(fault) = checks::subscribe_field(field, text) {
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
    for name in listed.iter().filter(|name| !METHODS.iter().any(|(known, _)| known == name)) {
        let known = METHODS.iter().map(|(known, _)| format!("\"{known}\"")).collect::<Vec<_>>().join(", ");
        reader.report(KEY, Fault::new(format!("has {name:?}"), format!("use only {known}")));
    }
    if !listed.iter().any(|name| name == "code") {
        reader.report(
            KEY,
            Fault::new("lacks \"code\", on which all others fall back", "add \"code\" to the list"),
        );
    }
    METHODS
        .iter()
        .filter(|(known, _)| listed.iter().any(|name| name == known))
        .map(|(_, method)| *method)
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

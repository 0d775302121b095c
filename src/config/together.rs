//! Judges what the values mean together: what can't work is a problem, what works otherwise than one may think a note.

use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use super::{
    Config, Handover, Method, Problem,
    build::UNBIND_PLACEHOLDER,
    checks,
    keys::{KEYS, Key},
};

/// The key of the app behind the WeCom mini program.
const STAFF_SECRET: &str = "wecom.staff_secret";
/// The key that signs webhooks.
const WEBHOOKS_SECRET: &str = "webhooks.secret";

/// Names what can't work together.
pub(super) fn judge(config: &Config, problems: &mut Vec<Problem>) {
    let already_wrong = |problems: &[Problem], key: &str| problems.iter().any(|problem| problem.key == key);
    if config.binding.unbind_word.is_none() && !already_wrong(problems, "binding.unbind_word") {
        for (name, _) in texts(config).iter().filter(|(_, text)| text.contains(UNBIND_PLACEHOLDER)) {
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
    if config.messages.confirm_yes == config.messages.confirm_no && !config.messages.confirm_no.is_empty() {
        problems.push(Problem::new(
            "messages.confirm_no",
            "is the same as messages.confirm_yes, so that nobody can tell which is which",
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
    let (listen, ops_listen) = (config.server.listen, config.server.ops_listen);
    if ops_listen == Some(listen) && listen.port() != 0 {
        problems.push(Problem::new(
            "server.ops_listen",
            "is the same address as server.listen",
            "give it another port, or leave it empty to have everything on server.listen",
        ));
    }
    if config.webhooks.url.is_some()
        && config.webhooks.secret.is_none()
        && !already_wrong(problems, WEBHOOKS_SECRET)
    {
        problems.push(Problem::new(
            WEBHOOKS_SECRET,
            "is empty, and webhooks.url is not: nothing goes out unsigned",
            "take one from `kfbind keygen`, and give it to the receiver, too; or empty webhooks.url",
        ));
    }
    let wants_secret = config.binding.methods.contains(&Method::Staff) && config.wecom.staff_secret.is_none();
    if wants_secret && !already_wrong(problems, STAFF_SECRET) {
        let variable =
            KEYS.iter().find(|key| key.name == STAFF_SECRET).map(Key::variable).unwrap_or_default();
        problems.push(Problem::new(
            STAFF_SECRET,
            "is required by the method \"staff\", and empty",
            format!(
                "set {variable} or {variable}_FILE to the Secret of the app that the WeCom mini program is linked to \
                 (应用管理), or take \"staff\" out of binding.methods"
            ),
        ));
    }
}

/// Every text that customers read, with its key.
fn texts(config: &Config) -> [(&'static str, &str); 14] {
    let messages = &config.messages;
    [
        ("messages.bound", &messages.bound),
        ("messages.unbound", &messages.unbound),
        ("messages.wrong_code", &messages.wrong_code),
        ("messages.expired_code", &messages.expired_code),
        ("messages.locked", &messages.locked),
        ("messages.conflict", &messages.conflict),
        ("messages.already_bound", &messages.already_bound),
        ("messages.invite", &messages.invite),
        ("messages.invite_item", &messages.invite_item),
        ("messages.confirm", &messages.confirm),
        ("messages.confirm_yes", &messages.confirm_yes),
        ("messages.confirm_no", &messages.confirm_no),
        ("messages.cancelled", &messages.cancelled),
        ("messages.other_person", &messages.other_person),
    ]
}

/// What works otherwise than one may think.
pub(super) fn notes(config: &Config) -> Vec<Problem> {
    let mut notes = Vec::new();
    note_link(config, &mut notes);
    note_ways(config, &mut notes);
    note_ops(config, &mut notes);
    note_webhooks(config, &mut notes);
    let is_plain = |secret: &SecretString| secret.expose_secret().bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_plain(&config.wecom.token) {
        notes.push(Problem::new(
            "wecom.token",
            "has other characters than letters and digits, which WeCom's console does not take",
            "paste it again, or make one with `kfbind keygen` and paste it there, too",
        ));
    }
    let is_short = |key: &SecretString| key.expose_secret().len() < checks::ADMIN_KEY_CHARS_MIN;
    if config.admin.api_key.as_ref().is_some_and(is_short) {
        notes.push(Problem::new(
            "admin.api_key",
            format!("has fewer than {} characters and can be guessed", checks::ADMIN_KEY_CHARS_MIN),
            "make one with `kfbind keygen`",
        ));
    }
    notes
}

/// What is shown on `ops_listen` without a key, and in plain HTTP.
fn note_ops(config: &Config, notes: &mut Vec<Problem>) {
    if config.server.ops_listen.is_some_and(|address| !address.ip().is_loopback()) {
        notes.push(Problem::new(
            "server.ops_listen",
            "can be reached from other machines; it speaks plain HTTP, and shows metrics and the details of /readyz to \
             everybody",
            "let a firewall admit nobody but your monitoring and your back end",
        ));
    }
}

/// What a link of the operator's own takes away from the ways that need one.
fn note_link(config: &Config, notes: &mut Vec<Problem>) {
    let Some(url) = &config.kf.url else { return };
    let methods = &config.binding.methods;
    if methods.contains(&Method::Link) && !url.contains("enc_scene=") {
        notes.push(Problem::new(
            "kf.url",
            "has no enc_scene, so WeCom passes no ticket on and the method \"link\" can't work with it; codes do",
            "leave kf.url empty to have a link made, or take \"link\" out of binding.methods",
        ));
    }
    if methods.contains(&Method::Window) && config.wecom.accounts.len() != 1 {
        notes.push(Problem::new(
            "kf.url",
            "does not say which kf account it leads to, and the method \"window\" binds nobody while more than one \
             is served",
            "name the account of this link as the only one in wecom.accounts, or leave kf.url empty",
        ));
    }
}

/// Who reads along.
fn note_webhooks(config: &Config, notes: &mut Vec<Problem>) {
    let Some(url) = config.webhooks.url.as_ref().and_then(|url| Url::parse(url.expose_secret()).ok()) else {
        return;
    };
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() == "http" && !is_here {
        notes.push(Problem::new(
            "webhooks.url",
            "is plain http to another machine: whoever is in between reads who is bound to whom",
            "use https, unless the network between is your own",
        ));
    }
}

/// Keys that do nothing because of what is off.
fn note_ways(config: &Config, notes: &mut Vec<Problem>) {
    if !config.wecom.staff_userids.is_empty() && !config.binding.methods.contains(&Method::Staff) {
        notes.push(Problem::new(
            "wecom.staff_userids",
            "does nothing while the method \"staff\" is off",
            "add \"staff\" to binding.methods, or empty it",
        ));
    }
    if !config.kf.servicers.is_empty() && config.kf.handover != Handover::Servicer {
        notes.push(Problem::new(
            "kf.servicers",
            "does nothing while kf.handover is not \"servicer\"",
            "set kf.handover to \"servicer\", or empty it",
        ));
    }
    let miniprogram = &config.miniprogram;
    match (&miniprogram.subscribe_template_id, miniprogram.subscribe_data.is_empty()) {
        (Some(_), true) => notes.push(Problem::new(
            "miniprogram.subscribe_data",
            "is empty, so WeChat refuses the subscribe message (47003): it wants every field of the template",
            "write the template's fields, for example { thing1 = \"{account}\", time2 = \"{time}\" }",
        )),
        (None, false) => notes.push(Problem::new(
            "miniprogram.subscribe_data",
            "does nothing while miniprogram.subscribe_template_id is empty",
            "set miniprogram.subscribe_template_id, or empty it",
        )),
        _ => {}
    }
}

//! The literal table of who may import whom.

/// Who may import whom. A row stands for a module and all below it; the longest row that fits counts. On the right
/// are the beginnings of paths. A module may always name itself, and one without a row names nobody.
pub(crate) const SRC_IMPORTS: &[(&str, &[&str])] = &[
    ("main", &["actors::heap", "cli", "config::Environment"]),
    (
        "cli",
        &[
            "app",
            "archive",
            "clock",
            "config",
            "demo",
            "logging",
            "wechat",
            "wecom",
            "outgoing",
            "tls",
            "actors::StoreError",
            "actors::archive",
            "actors::ids",
            "actors::ports",
            "actors::tally",
        ],
    ),
    (
        "app",
        &[
            "actors", "clock", "config", "forward", "http", "logging", "notify", "outgoing", "tls",
            "webhooks", "wechat", "wecom",
        ],
    ),
    ("webhooks", &["actors::ids", "actors::messages", "actors::ports", "outgoing"]),
    ("archive", &["actors::archive", "actors::ids", "actors::messages"]),
    ("http", &["actors", "archive", "forward", "tls", "wechat", "wecom"]),
    ("wecom", &["actors::ids", "actors::ports", "actors::tally", "outgoing"]),
    ("wechat", &["actors::ids", "actors::ports", "outgoing"]),
    ("forward", &["actors::tally", "outgoing"]),
    ("tls", &["actors::ids", "actors::ports"]),
    ("sim", &["wecom::signature", "wecom::envelope", "wecom::api", "outgoing"]),
    (
        "demo",
        &["actors::COMMIT_TARGET", "actors::ports", "app", "clock", "config", "logging", "outgoing", "sim"],
    ),
    ("clock", &["actors::ports"]),
    ("logging", &["config"]),
    ("notify", &["config::NotifySettings"]),
];

/// The same for the inside. Actors talk through messages and never import each other; `system` wires them.
pub(crate) const ACTORS_IMPORTS: &[(&str, &[&str])] = &[
    ("callback", &["ids", "messages", "policy", "ports", "tally"]),
    ("kf_sync", &["alarm", "backoff", "beside", "ids", "messages", "policy", "ports", "tally"]),
    ("notifier", &["alarm", "backoff", "beside", "ids", "messages", "policy", "ports", "tally", "texts"]),
    ("webhooks", &["alarm", "backoff", "beside", "ids", "messages", "ports", "tally"]),
    ("registry", &["ids", "messages", "policy", "ports", "tally", "texts"]),
    ("registry::store", &["durability", "ids"]),
    (
        "system",
        &[
            "callback", "handles", "kf_sync", "messages", "notifier", "policy", "ports", "registry",
            "webhooks",
        ],
    ),
    ("handles", &["ids", "messages", "ports", "registry", "tally"]),
    ("messages", &["ids", "ports"]),
    ("backoff", &["ports"]),
    ("policy", &["ids"]),
    // An event goes out as the registry keeps it.
    ("ports", &["ids", "messages::WebhookEntry"]),
    ("tally", &["ids", "ports"]),
    (
        "testing",
        &[
            "RegistryOptions",
            "StoreError",
            "handles",
            "ids",
            "messages",
            "policy",
            "ports",
            "registry::recognise",
            "registry::words",
            "system",
            "tally",
        ],
    ),
    ("registry::rules::world", &["ids", "policy", "ports", "testing"]),
];

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
            "actors::StoreError",
            "actors::archive",
            "actors::ids",
            "actors::ports",
            "actors::tally",
        ],
    ),
    ("app", &["actors", "clock", "config", "http", "logging", "notify", "outgoing", "wechat", "wecom"]),
    ("archive", &["actors::archive", "actors::ids", "actors::messages"]),
    ("http", &["actors", "archive", "wechat", "wecom"]),
    ("wecom", &["actors::ids", "actors::ports", "actors::tally", "outgoing"]),
    ("wechat", &["actors::ids", "actors::ports", "outgoing"]),
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
    ("registry", &["ids", "messages", "policy", "ports", "tally", "texts"]),
    ("registry::store", &["durability", "ids"]),
    ("system", &["callback", "handles", "kf_sync", "messages", "notifier", "policy", "ports", "registry"]),
    ("handles", &["ids", "messages", "ports", "registry", "tally"]),
    ("messages", &["ids", "ports"]),
    ("backoff", &["ports"]),
    ("policy", &["ids"]),
    ("ports", &["ids"]),
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

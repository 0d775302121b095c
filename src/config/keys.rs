//! The table of all keys: their types, and which of them are secret or required.
//!
//! The defaults are not here: they stand in the committed `config.toml`, which is built in.

use super::value::Kind;

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// `section.key`.
    pub(super) name: &'static str,
    /// Its type.
    pub(super) kind: Kind,
    /// Never shown; may be read from a file.
    pub(super) secret: bool,
    /// Addresses whose query may hold a secret: it is not shown.
    pub(super) query_hidden: bool,
    /// Empty is an error.
    pub(super) required: bool,
}

impl Key {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, secret: false, query_hidden: false, required: false }
    }

    const fn text(name: &'static str) -> Self {
        Self::new(name, Kind::Text)
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn query_hidden(mut self) -> Self {
        self.query_hidden = true;
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The environment variable of this key: `KFBIND_WECOM__SECRET`.
    pub(super) fn variable(&self) -> String {
        format!("KFBIND_{}", self.name.replacen('.', "__", 1).to_ascii_uppercase())
    }

    /// The section and the key within it.
    pub(super) fn parts(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or((self.name, ""))
    }
}

const fn seconds(min: u64, max: u64) -> Kind {
    Kind::Time { min_ms: min * 1_000, max_ms: max * 1_000 }
}

const HOUR_S: u64 = 60 * 60;
const DAY_S: u64 = 24 * HOUR_S;

/// All keys, in the order of `config.toml`.
pub(super) const KEYS: &[Key] = &[
    Key::text("server.listen").required(),
    Key::new("server.shutdown_grace", Kind::Time { min_ms: 0, max_ms: 600_000 }),
    Key::text("server.ops_listen"),
    Key::text("server.tls_cert"),
    Key::text("server.tls_key"),
    Key::new("server.trusted_proxies", Kind::List),
    Key::text("store.path").required(),
    Key::text("wecom.corp_id").required(),
    Key::text("wecom.secret").secret().required(),
    Key::text("wecom.token").secret().required(),
    Key::text("wecom.encoding_aes_key").secret().required(),
    Key::text("wecom.token_previous").secret(),
    Key::text("wecom.encoding_aes_key_previous").secret(),
    Key::new("wecom.forward_to", Kind::List).query_hidden(),
    Key::text("wecom.api_base").required(),
    Key::new("wecom.accounts", Kind::List),
    Key::new("wecom.request_timeout", Kind::Time { min_ms: 10, max_ms: 300_000 }),
    Key::text("wecom.proxy"),
    Key::text("wecom.staff_secret").secret(),
    Key::new("wecom.staff_userids", Kind::List),
    Key::text("kf.url"),
    Key::new("kf.reconcile_every", Kind::Time { min_ms: 100, max_ms: DAY_S * 1_000 }),
    Key::new("kf.handover", Kind::Word(&["none", "pool", "servicer"])),
    Key::new("kf.servicers", Kind::List),
    Key::text("kf.person_word"),
    Key::text("miniprogram.app_id").required(),
    Key::text("miniprogram.secret").secret().required(),
    Key::text("miniprogram.api_base").required(),
    Key::text("miniprogram.card_path").required(),
    Key::text("miniprogram.subscribe_template_id"),
    Key::new("miniprogram.subscribe_data", Kind::Table),
    Key::new("binding.methods", Kind::List),
    Key::new("binding.confirm_link", Kind::Flag),
    Key::new("binding.confirm_code", Kind::Flag),
    Key::new("binding.window", seconds(1, HOUR_S)),
    Key::new("binding.card_ttl", seconds(1, 3 * DAY_S)),
    Key::new("binding.code_format", Kind::Word(&["digits", "alphanumeric", "words"])),
    Key::new("binding.code_ttl", seconds(1, DAY_S)),
    Key::new("binding.on_conflict", Kind::Word(&["reject", "replace"])),
    Key::new("binding.session_ttl", seconds(1, 365 * DAY_S)),
    Key::text("binding.unbind_word"),
    Key::new("limits.codes_per_openid", Kind::Rate),
    Key::new("limits.logins_per_ip", Kind::Rate),
    Key::new("limits.wrong_codes_per_customer", Kind::Rate),
    Key::new("limits.body_bytes_max", Kind::Count { min: 512, max: 16 * 1024 * 1024 }),
    Key::text("messages.bound").required(),
    Key::text("messages.unbound").required(),
    Key::text("messages.wrong_code").required(),
    Key::text("messages.expired_code").required(),
    Key::text("messages.locked").required(),
    Key::text("messages.conflict").required(),
    Key::text("messages.already_bound").required(),
    Key::text("messages.invite").required(),
    Key::text("messages.invite_item").required(),
    Key::text("messages.confirm").required(),
    Key::text("messages.confirm_yes").required(),
    Key::text("messages.confirm_no").required(),
    Key::text("messages.cancelled").required(),
    Key::text("messages.other_person").required(),
    Key::text("admin.api_key").secret(),
    Key::text("webhooks.url").query_hidden(),
    Key::text("webhooks.secret").secret(),
];

/// The key of this full name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key whose name is nearest to one that does not exist. A right key in the wrong section counts as near.
pub(super) fn nearest(name: &str) -> Option<&'static Key> {
    let last = name.rsplit('.').next().unwrap_or(name);
    KEYS.iter().min_by_key(|key| {
        let whole = strsim::damerau_levenshtein(name, key.name);
        let part = strsim::damerau_levenshtein(last, key.parts().1).saturating_add(1);
        (whole.min(part), whole)
    })
}

/// Whether there are keys in a section of this name.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.parts().0 == name)
}

/// The section whose name is nearest to one that does not exist.
pub(super) fn nearest_section(name: &str) -> &'static str {
    let sections = KEYS.iter().map(|key| key.parts().0);
    sections.min_by_key(|section| strsim::damerau_levenshtein(name, section)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        for (written, meant) in [
            ("wecom.secert", "wecom.secret"),
            ("wecmo.secret", "wecom.secret"),
            ("secret", "wecom.secret"),
            ("server.proxy", "wecom.proxy"),
            ("binding.code_tll", "binding.code_ttl"),
            ("mini_program.app_id", "miniprogram.app_id"),
            ("messages.wrongcode", "messages.wrong_code"),
        ] {
            assert_eq!(nearest(written).map(|key| key.name), Some(meant), "{written}");
        }
    }

    #[test]
    fn names_and_variables_are_unique_and_none_looks_like_the_file_of_another() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        let variables: BTreeSet<_> = KEYS.iter().map(Key::variable).collect();
        assert_eq!((names.len(), variables.len()), (KEYS.len(), KEYS.len()));
        for key in KEYS {
            assert!(!key.name.ends_with("_file"), "{}", key.name);
            assert_eq!(key.name.matches('.').count(), 1, "{}", key.name);
        }
    }

    #[test]
    fn keys_that_sound_secret_are_secret() {
        for key in KEYS {
            let sounds = ["secret", "token", "aes_key", "api_key"].iter().any(|word| key.name.contains(word));
            assert_eq!(key.secret, sounds, "{}", key.name);
        }
    }
}

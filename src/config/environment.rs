//! The process's environment, read once and passed on as data. Nothing else reads it.

use std::{ffi::OsString, time::Duration};

/// Names and values of the environment; a value is `None` where it isn't UTF-8. It holds secrets, so no `Debug`.
#[derive(Default)]
pub struct Environment {
    variables: Vec<(String, Option<String>)>,
}

/// How the program logs.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// JSON lines rather than text for people (`KFBIND_LOG=json`).
    pub json: bool,
    /// What is logged, in the form of `RUST_LOG`; `info` where that is unset or empty.
    pub filter: String,
}

/// Who wants to be told how the service is, as systemd says it.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct NotifySettings {
    /// `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    pub socket: Option<String>,
    /// `WATCHDOG_USEC`: after so long a silence the service counts as dead. `None` where that is meant for another process.
    pub watchdog: Option<Duration>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(std::env::vars_os())
    }

    /// An environment made of these names and values.
    pub fn new<N, V>(variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = variables
            .into_iter()
            .filter_map(|(name, value)| {
                // A name that isn't UTF-8 is none of ours.
                let name = name.into().into_string().ok()?;
                Some((name, value.into().into_string().ok()))
            })
            .collect();
        Self { variables }
    }

    /// What `KFBIND_LOG` and `RUST_LOG` say about logging.
    #[must_use]
    pub fn log_settings(&self) -> LogSettings {
        let filter = self.value("RUST_LOG").filter(|filter| !filter.trim().is_empty());
        LogSettings {
            json: self.value("KFBIND_LOG").is_some_and(|format| format.eq_ignore_ascii_case("json")),
            filter: filter.unwrap_or("info").to_owned(),
        }
    }

    /// What `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` say to the process `pid`.
    #[must_use]
    pub fn notify_settings(&self, pid: u32) -> NotifySettings {
        let is_for_us = self.value("WATCHDOG_PID").is_none_or(|meant| meant == pid.to_string());
        let usec = self.value("WATCHDOG_USEC").filter(|_| is_for_us).and_then(|usec| usec.parse().ok());
        NotifySettings {
            socket: self.value("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()).map(str::to_owned),
            watchdog: usec.filter(|usec| *usec > 0).map(Duration::from_micros),
        }
    }

    /// Whether whoever runs the program wants its output without colours (`NO_COLOR`, by its convention any text).
    #[must_use]
    pub fn wants_no_colour(&self) -> bool {
        self.value("NO_COLOR").is_some_and(|text| !text.is_empty())
    }

    /// Whether the variable is set at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.variables.iter().any(|(known, _)| known == name)
    }

    /// Those that are meant for keys: `KFBIND_` with two underscores somewhere behind it. Others with that prefix are
    /// not ours to judge (Kubernetes sets `KFBIND_PORT` where a service has our name).
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.variables
            .iter()
            .filter(|(name, _)| name.strip_prefix("KFBIND").is_some_and(is_for_a_key))
            .map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.as_deref())
    }
}

fn is_for_a_key(rest: &str) -> bool {
    rest.starts_with('_') && rest.contains("__")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_two_underscores_are_keys() {
        let names =
            ["KFBIND_PORT", "KFBIND_LOG", "KFBIND_PORT_80_TCP", "KFBINDX__A", "WECOM__SECRET", "PATH"];
        let none = Environment::new(names.map(|name| (name, "x")));
        assert_eq!(none.keys().count(), 0);
        let both = Environment::new([("KFBIND_WECOM__SECRET", "x"), ("KFBIND__WECOM_SECRET", "x")]);
        assert_eq!(both.keys().count(), 2);
    }

    #[test]
    fn the_watchdog_of_another_process_is_none_of_ours() {
        let told = |pid: &str, usec: &str| {
            let variables = [("NOTIFY_SOCKET", "/run/n"), ("WATCHDOG_PID", pid), ("WATCHDOG_USEC", usec)];
            Environment::new(variables).notify_settings(7)
        };
        let ours = told("7", "30000000");
        assert_eq!((ours.socket.as_deref(), ours.watchdog), (Some("/run/n"), Some(Duration::from_secs(30))));
        for (pid, usec) in [("8", "30000000"), ("7", "0"), ("7", "soon"), ("7", "")] {
            assert_eq!(told(pid, usec).watchdog, None, "{pid} {usec}");
        }
        let without_pid = Environment::new([("WATCHDOG_USEC", "1000000"), ("NOTIFY_SOCKET", "")]);
        let settings = without_pid.notify_settings(7);
        assert_eq!(settings, NotifySettings { socket: None, watchdog: Some(Duration::from_secs(1)) });
    }

    #[test]
    fn logging_is_text_at_level_info_unless_told() {
        let quiet = Environment::new([("RUST_LOG", "")]).log_settings();
        assert_eq!(quiet, LogSettings { json: false, filter: "info".to_owned() });
        let told = Environment::new([("RUST_LOG", "kfbind=debug"), ("KFBIND_LOG", "json")]).log_settings();
        assert_eq!(told, LogSettings { json: true, filter: "kfbind=debug".to_owned() });
    }
}

//! What the service counts, as the metrics of one instance: nothing here is global, so tests run side by side.
//!
//! Names, labels and meanings are those of the outside contract. Every label value that is known beforehand is
//! there from the start, so that no series begins with a gap. Nothing here decides anything.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// A counter per value of one label, such as `{result="ok"}`.
pub type Labelled = Family<[(&'static str, &'static str); 1], Counter>;
type LabelledHistogram = Family<[(&'static str, &'static str); 1], Histogram>;
type ApiErrors = Family<[(&'static str, String); 2], Counter>;

/// What can become of a callback.
pub const CALLBACK_RESULTS: &[&str] = &[
    "accepted",
    "duplicate",
    "echo",
    "ignored",
    "unserved",
    "unreadable",
    "bad_signature",
    "bad_receiveid",
    "bad_padding",
    "malformed",
    "too_large",
    "unavailable",
];
/// What can become of a pull.
pub const PULL_RESULTS: &[&str] =
    &["ok", "unreachable", "throttled", "token_refused", "cursor_refused", "stuck", "refused"];
/// What messages can be.
pub const MESSAGE_KINDS: &[&str] =
    &["text", "enter_session", "send_failed", "media", "event", "servicer", "unreadable", "repeated"];
/// The ways to bind.
pub const METHODS: &[&str] = &["code", "link", "card", "unionid", "window", "staff", "admin"];
/// Why a code did not bind.
pub const CODE_REJECTIONS: &[&str] = &["wrong", "expired", "locked", "conflict", "other_person"];
/// What can become of an answer.
pub const REPLY_RESULTS: &[&str] =
    &["sent", "refused", "gave_up", "with_person", "session_ended", "undelivered", "too_old", "muted"];

/// What can become of a callback on its way to another program.
pub const FORWARD_RESULTS: &[&str] = &["ok", "refused", "timeout", "connect", "broken", "dropped"];
/// What can become of an attempt at a webhook, and of one that is attempted no more.
pub const WEBHOOK_RESULTS: &[&str] = &["delivered", "failed", "refused", "gave_up"];

/// The metrics of one running service. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Tally(Arc<Metrics>);

impl std::ops::Deref for Tally {
    type Target = Metrics;

    fn deref(&self) -> &Metrics {
        &self.0
    }
}

/// See [`Tally`].
#[derive(Debug)]
pub struct Metrics {
    /// Callbacks, by what became of them.
    pub callbacks: Labelled,
    /// From the first byte of a callback to our answer, in seconds.
    pub callback_seconds: Histogram,
    /// Callbacks for other programs, by what became of them.
    pub forwarded: Labelled,
    /// Pulls, by what became of them.
    pub sync_pulls: Labelled,
    /// Messages pulled, by kind.
    pub sync_messages: Labelled,
    /// New codes.
    pub codes_issued: Counter,
    /// Codes that would bind now.
    pub codes_live: Gauge,
    /// Bindings made, by way.
    pub bindings_made: Labelled,
    /// Bindings that stand.
    pub bindings: Gauge,
    /// Codes that did not bind, by reason.
    pub rejected_codes: Labelled,
    /// 1 while many wrong codes come in from all customers together.
    pub guessing: Gauge,
    /// Answers, by what became of them.
    pub replies: Labelled,
    /// Answers and questions to WeCom that wait.
    pub outbox_depth: Gauge,
    /// Attempts at webhooks, by what became of them; and those that were given up.
    pub webhooks: Labelled,
    /// Webhooks that wait.
    pub webhooks_waiting: Gauge,
    /// One durable commit, in seconds.
    pub store_flush_seconds: Histogram,
    /// Size of the store on disk.
    pub store_bytes: Gauge,
    wecom_api_seconds: LabelledHistogram,
    wecom_api_errors: ApiErrors,
    registry: Registry,
}

/// Bounds in seconds from 50 µs to 10 s.
const SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Default for Tally {
    fn default() -> Self {
        let mut metrics = Metrics {
            callbacks: with_values("result", CALLBACK_RESULTS),
            callback_seconds: seconds(),
            forwarded: with_values("result", FORWARD_RESULTS),
            sync_pulls: with_values("result", PULL_RESULTS),
            sync_messages: with_values("kind", MESSAGE_KINDS),
            codes_issued: Counter::default(),
            codes_live: Gauge::default(),
            bindings_made: with_values("method", METHODS),
            bindings: Gauge::default(),
            rejected_codes: with_values("reason", CODE_REJECTIONS),
            guessing: Gauge::default(),
            replies: with_values("result", REPLY_RESULTS),
            outbox_depth: Gauge::default(),
            webhooks: with_values("result", WEBHOOK_RESULTS),
            webhooks_waiting: Gauge::default(),
            store_flush_seconds: seconds(),
            store_bytes: Gauge::default(),
            wecom_api_seconds: LabelledHistogram::new_with_constructor(seconds),
            wecom_api_errors: ApiErrors::default(),
            registry: Registry::with_prefix("kfbind"),
        };
        metrics.register();
        Self(Arc::new(metrics))
    }
}

impl Metrics {
    /// The metrics in Prometheus's text form, version 0.0.4.
    ///
    /// Not in that of OpenMetrics, which the library writes: there a counter's family has no `_total`, and so
    /// `bindings_total` and the gauge `bindings` could not stand side by side.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String can't fail; an empty page is the honest answer if it ever does.
        if encode(&mut text, &self.registry).is_err() {
            return String::new();
        }
        let mut page = String::with_capacity(text.len() + 512);
        let mut lines = text.lines().filter(|line| *line != "# EOF").peekable();
        while let Some(line) = lines.next() {
            let is_counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with(" counter");
            let belongs_to_counter = is_counter(line)
                || line.starts_with("# HELP ") && lines.peek().is_some_and(|next| is_counter(next));
            match line.splitn(4, ' ').collect::<Vec<_>>().as_slice() {
                [hash, word, name, rest] if belongs_to_counter => {
                    page.extend([*hash, " ", word, " ", name, "_total ", rest]);
                }
                _ => page.push_str(line),
            }
            page.push('\n');
        }
        page
    }

    /// One call to WeCom: how long it took, and the errcode unless that was 0 (`http_502`, `timeout` and the
    /// like for calls that got no errcode).
    pub fn wecom_call(&self, api: &'static str, took: Duration, errcode: Option<String>) {
        self.wecom_api_seconds.get_or_create(&[("api", api)]).observe(took.as_secs_f64());
        if let Some(errcode) = errcode {
            self.wecom_api_errors.get_or_create(&[("api", api.to_owned()), ("errcode", errcode)]).inc();
        }
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("callbacks", "Callbacks by what became of them", self.callbacks.clone());
        r.register("callback_seconds", "Time to answer a callback", self.callback_seconds.clone());
        r.register("forwarded", "Callbacks passed on to wecom.forward_to", self.forwarded.clone());
        r.register("sync_pulls", "Pulls of kf/sync_msg by result", self.sync_pulls.clone());
        r.register("sync_messages", "Messages pulled by kind", self.sync_messages.clone());
        r.register("codes_issued", "Bind codes made", self.codes_issued.clone());
        r.register("codes_live", "Bind codes that would bind now", self.codes_live.clone());
        // Told apart from the gauge of the same stem by the ending `_total`, which a counter always has.
        r.register("bindings", "Bindings that stand", self.bindings.clone());
        r.register("bindings", "Bindings made by method", self.bindings_made.clone());
        r.register("rejected_codes", "Codes that did not bind by reason", self.rejected_codes.clone());
        r.register("guessing", "1 while many wrong codes come in", self.guessing.clone());
        r.register("replies", "Answers in the chat by result", self.replies.clone());
        r.register("outbox_depth", "Answers that wait", self.outbox_depth.clone());
        r.register("webhooks", "Attempts at webhooks by result", self.webhooks.clone());
        r.register("webhooks_waiting", "Webhooks that wait", self.webhooks_waiting.clone());
        r.register("store_flush_seconds", "Time of one durable commit", self.store_flush_seconds.clone());
        r.register("store_bytes", "Size of the store on disk", self.store_bytes.clone());
        r.register("wecom_api_seconds", "Calls to WeCom", self.wecom_api_seconds.clone());
        r.register("wecom_api_errors", "Failed calls to WeCom by errcode", self.wecom_api_errors.clone());
    }
}

fn with_values(label: &'static str, values: &[&'static str]) -> Labelled {
    let family = Labelled::default();
    for value in values {
        drop(family.get_or_create(&[(label, *value)]));
    }
    family
}

/// Counts one under `result`.
pub fn count(family: &Labelled, label: &'static str, value: &'static str) {
    family.get_or_create(&[(label, value)]).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_declared_once_and_counters_by_their_full_name() {
        let tally = Tally::default();
        tally.wecom_call("sync_msg", Duration::from_millis(3), Some("45009".to_owned()));
        let page = tally.encode();
        let mut types: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        for wanted in
            ["kfbind_bindings gauge", "kfbind_bindings_total counter", "kfbind_callback_seconds histogram"]
        {
            assert!(types.contains(&wanted), "{wanted} in {types:?}");
        }
        let count = types.len();
        types.sort_unstable();
        types.dedup_by_key(|line| line.split(' ').next());
        assert_eq!(types.len(), count);
        assert!(
            page.contains("kfbind_wecom_api_errors_total{api=\"sync_msg\",errcode=\"45009\"} 1"),
            "{page}"
        );
        assert!(page.contains("kfbind_bindings_total{method=\"code\"} 0"), "{page}");
        assert!(!page.contains("# EOF"));
    }
}

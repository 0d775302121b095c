//! Where log lines go and how they look: always to stderr, as text for people or as JSON.
//!
//! What is logged, and that no secret is, is decided where the lines are written.

use std::io::{self, IsTerminal as _};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt as _, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::LogSettings;

/// Someone beside the log who is told what happens, by a filter of its own.
pub type Watcher = Box<dyn Layer<Registry> + Send + Sync>;

/// The finest lines of other crates show what passes through them, addresses with a session in them included, and no
/// filter of the operator's lets them out.
fn may_be_shown(line: &Metadata<'_>) -> bool {
    let of = line.target().split("::").next().unwrap_or_default();
    *line.level() < Level::TRACE || ["kfbind", "actors"].contains(&of)
}

/// Begins to log for the whole process; further calls change nothing. A filter that can't be read counts as `info`,
/// and the first line says so.
pub fn start(settings: &LogSettings, watcher: Option<Watcher>) {
    let (filter, refused) = match EnvFilter::try_new(&settings.filter) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let filter = filter.and(filter_fn(may_be_shown));
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if settings.json {
        lines.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        lines.with_ansi(io::stderr().is_terminal()).with_filter(filter).boxed()
    };
    let mut layers = vec![lines];
    layers.extend(watcher);
    let started = tracing_subscriber::registry().with(layers).try_init();
    // A second start, as tests in one process make it, finds the first one in place.
    if let (Ok(()), Some(error)) = (started, refused) {
        tracing::warn!(%error, filter = settings.filter, "RUST_LOG can't be read, logging at level info");
    }
}

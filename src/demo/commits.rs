//! Hears of the registry's commits: they happen inside, where no simulator can watch, and are logged there.
//!
//! A layer beside the log, with a filter of its own, so that it works whatever `RUST_LOG` says. It changes nothing.

use std::fmt;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, filter::Targets, layer::Context};

use crate::logging::Watcher;

/// The fields of each commit, as they were logged.
pub type Commits = mpsc::UnboundedReceiver<Map<String, Value>>;

/// A watcher for the log, and what it hears.
#[must_use]
pub fn commits() -> (Watcher, Commits) {
    let (heard, commits) = mpsc::unbounded_channel();
    let filter = Targets::new().with_target(actors::COMMIT_TARGET, Level::DEBUG);
    (Ear { heard }.with_filter(filter).boxed(), commits)
}

struct Ear {
    heard: mpsc::UnboundedSender<Map<String, Value>>,
}

impl<S: Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        // Nobody listens during a script.
        let _ = self.heard.send(fields.0);
    }
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}

//! The demo: the service on a fresh temporary store, wired to the built-in simulator, both on loopback.
//!
//! A page with two phones lets anyone play it by hand (`demo/web.rs`); with `--script` it runs one whole binding by
//! itself (`demo/script.rs`). Nothing here is part of the service.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::app::runtime;

mod commits;
mod script;
mod stage;
mod web;
mod wire;

pub use commits::{Commits, commits};

use stage::{ADMIN_KEY, Stage};

/// The seed of a demo that names none.
const SEED: u64 = 1;

/// Runs the demo's page on this port (0 takes a free one) until SIGTERM or SIGINT; with `script` one binding instead,
/// without a page. `commits` are those of the log's watcher.
pub fn run(port: u16, script: bool, seed: Option<u64>, commits: Commits) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let stage = Arc::new(Stage::set(seed.unwrap_or(SEED)).await?);
        let outcome = if script { script::play(&stage).await } else { show(&stage, port, commits).await };
        stage.clear().await;
        outcome
    })
}

async fn show(stage: &Arc<Stage>, port: u16, commits: Commits) -> anyhow::Result<()> {
    let narrator = stage.narrate(commits);
    let (addr, page) = web::serve(Arc::clone(stage), port).await?;
    say(&format!(
        "kfbind demo: open http://{addr}/ in a browser (two phones, the service and WeCom behind them)"
    ));
    say(&format!("  its operators' page is http://{addr}/admin, with the key {ADMIN_KEY}"));
    say(&format!("  the simulated WeCom is at {}; Ctrl-C ends everything", stage.sim.base_url()));
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        () = page => {}
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    narrator.abort();
    Ok(())
}

/// A line for the person at the terminal. Where nobody listens any more there is nothing to do about it.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

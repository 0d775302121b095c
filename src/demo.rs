//! The demo: the service on a fresh temporary store, wired to the built-in simulator, both on loopback.
//!
//! With `--script` it runs one whole binding by itself (`demo/script.rs`). Nothing here is part of the service.

use std::sync::Arc;

use actors::ports::Clock as _;
use anyhow::Context as _;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    app::{App, Machine, runtime},
    clock::SystemClock,
    config::{Config, Environment},
    sim::{Sim, SimOptions},
};

mod script;

/// Where WeCom is told to send callbacks, behind the service's address.
const CALLBACK_PATH: &str = "/api/wechat-work/message";
/// The seed of a demo that names none.
const SEED: u64 = 1;

/// Runs the demo on this port (0 takes a free one) until SIGTERM or SIGINT; with `script` until the script has ended.
pub fn run(port: u16, script: bool, seed: Option<u64>) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let stage = Stage::set(if script { 0 } else { port }, seed.unwrap_or(SEED)).await?;
        let outcome = if script {
            script::play(&stage).await
        } else {
            say(&format!(
                "kfbind demo: the service is at {} and the simulated WeCom at {}; Ctrl-C ends it",
                stage.service(),
                stage.sim.base_url()
            ));
            until_told_to_stop().await
        };
        stage.clear().await;
        outcome
    })
}

/// The service and the simulator, wired to each other.
struct Stage {
    app: App,
    sim: Sim,
    /// Held for the store, which goes with it.
    _store: TempDir,
}

impl Stage {
    async fn set(port: u16, seed: u64) -> anyhow::Result<Self> {
        let options = SimOptions { seed, clock: Arc::new(|| SystemClock.now_ms()), ..SimOptions::default() };
        let store =
            TempDir::with_prefix("kfbind-demo-").context("can't make a directory for the demo's store")?;
        let config = |base_url: &str| {
            Config::from_toml(
                &config_text(&options, port, &store.path().to_string_lossy(), base_url),
                &Environment::default(),
            )
            .context("the demo's own configuration")
        };
        let sim = Sim::start(options.clone()).await?;
        let app = App::start(&config(&sim.base_url())?.config, Machine::default()).await?;
        sim.set_callback_url(&format!("http://{}{CALLBACK_PATH}", app.addr()));
        Ok(Self { app, sim, _store: store })
    }

    /// The address of the service.
    fn service(&self) -> String {
        format!("http://{}", self.app.addr())
    }

    async fn clear(self) {
        self.app.stop().await;
        self.sim.stop().await;
    }
}

fn config_text(sim: &SimOptions, port: u16, store: &str, base_url: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\nshutdown_grace = \"2s\"\n\
         [store]\npath = {store:?}\n\
         [wecom]\ncorp_id = {corp_id:?}\nsecret = {secret:?}\ntoken = {token:?}\nencoding_aes_key = {key:?}\napi_base = {base_url:?}\n\
         [miniprogram]\napp_id = {app_id:?}\nsecret = {app_secret:?}\napi_base = {base_url:?}\n\
         [binding]\nmethods = [\"code\"]\n",
        corp_id = sim.corp_id,
        secret = sim.secret,
        token = sim.token,
        key = sim.encoding_aes_key,
        app_id = sim.app_id,
        app_secret = sim.app_secret,
    )
}

async fn until_told_to_stop() -> anyhow::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// A line for the person at the terminal. Where nobody listens any more there is nothing to do about it.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

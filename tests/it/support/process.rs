//! The binary as its operator runs it: started by the environment alone, watched by its log, stopped by signals.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use actors::ports::Clock as _;
use kfbind::{
    clock::SystemClock,
    sim::{Sim, SimOptions},
};
use tempfile::TempDir;

use super::{Client, Phone, eventually};

/// No command takes longer, even on a machine that has much else to do.
const ENDS_WITHIN_S: u64 = 60;
pub(crate) const ADMIN_KEY: &str = "fake-admin-key-0123456789";

/// A running `kfbind serve`. Dropping it kills it.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) base: String,
    pub(crate) log: Arc<Mutex<String>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn environment(sim: &SimOptions, base_url: &str, store: &TempDir) -> Vec<(String, String)> {
    [
        ("SERVER__LISTEN", "127.0.0.1:0"),
        ("STORE__PATH", &store.path().display().to_string()),
        ("WECOM__CORP_ID", &sim.corp_id),
        ("WECOM__SECRET", &sim.secret),
        ("WECOM__TOKEN", &sim.token),
        ("WECOM__ENCODING_AES_KEY", &sim.encoding_aes_key),
        ("WECOM__API_BASE", base_url),
        ("MINIPROGRAM__APP_ID", &sim.app_id),
        ("MINIPROGRAM__SECRET", &sim.app_secret),
        ("MINIPROGRAM__API_BASE", base_url),
        ("BINDING__METHODS", "code"),
        ("MESSAGES__BOUND", "bound"),
    ]
    .map(|(key, value)| (format!("KFBIND_{key}"), value.to_owned()))
    .into()
}

pub(crate) fn kfbind(arguments: &[&str], environment: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kfbind"));
    command.args(arguments).env_clear().env("RUST_LOG", "debug").envs(environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Process {
    /// Starts it and waits until it listens.
    pub(crate) async fn serve(environment: &[(String, String)]) -> Self {
        Self::start(kfbind(&["serve"], environment)).await
    }

    /// The same of a command that runs it in its own way.
    pub(crate) async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let base = eventually("the process listens", async || {
            let log = log.lock().unwrap();
            let line = log.lines().find(|line| line.contains("listening") && line.contains("addr"))?;
            // As text and as JSON.
            let at = line.split("addr=").nth(1).or_else(|| line.split("\"addr\":\"").nth(1))?;
            Some(format!("http://{}", at.split(['"', ' ']).next()?))
        })
        .await;
        Self { child, base, log }
    }

    /// What it has logged so far.
    pub(crate) fn said(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits for its end by itself; the exit code.
    pub(crate) async fn ends(&mut self) -> Option<i32> {
        eventually("the process ends", async || self.child.try_wait().unwrap()).await.code()
    }

    /// SIGTERM, and the exit code.
    pub(crate) async fn terminate(&mut self) -> Option<i32> {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        self.ends().await
    }
}

/// A simulator on the machine's own clock, since another process can't share a clock that is moved by hand.
pub(crate) async fn world() -> (Sim, SimOptions, TempDir) {
    let options = SimOptions { clock: Arc::new(|| SystemClock.now_ms()), ..SimOptions::default() };
    let store = TempDir::with_prefix("kfbind-it-").unwrap();
    (Sim::start(options.clone()).await.unwrap(), options, store)
}

pub(crate) async fn login(client: &Client, sim: &Sim, name: &str) -> Phone {
    let openid = sim.openid_of(name);
    Phone::login(client.clone(), &sim.wx_login_code(&openid, None), &openid).await
}

/// A code, once there is a link.
pub(crate) async fn issue(phone: &Phone) -> String {
    eventually("a code is given", async || {
        let answer = phone.ask(serde_json::json!({})).await;
        matches!(answer.status, 200 | 201).then(|| answer.json()["bind_token"].as_str().unwrap().to_owned())
    })
    .await
}

/// Runs a command to its end; its exit code and what it said on stderr. One that does not end by itself is ended: 124.
pub(crate) fn ran(arguments: &[&str], environment: &[(String, String)]) -> (Option<i32>, String) {
    let mut command = Command::new("timeout");
    command.arg(ENDS_WITHIN_S.to_string()).arg(env!("CARGO_BIN_EXE_kfbind")).args(arguments);
    command.env_clear().envs(environment.iter().cloned()).env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The environment with other values.
pub(crate) fn but(environment: &[(String, String)], changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut environment = environment.to_vec();
    environment.extend(changes.iter().map(|(key, value)| (format!("KFBIND_{key}"), (*value).to_owned())));
    environment
}

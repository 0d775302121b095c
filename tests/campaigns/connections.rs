//! Thousands of connections that do nothing, and others that send a byte now and then, while customers go on binding
//! one after the other: the real binary, its memory and its open files read from `/proc`.
//!
//! Self-contained, for the tests (a small crowd) and for the campaigns (10,000 and 1,000). What single hostile requests
//! are answered is not asked here.

use std::{
    fmt,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actors::ports::Clock as _;
use anyhow::{Context as _, bail, ensure};
use kfbind::{
    clock::SystemClock,
    outgoing,
    sim::{Sim, SimOptions},
};
use rustix::process::{Resource, Rlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, timeout},
};

/// Nothing that is waited for takes longer.
const DEADLINE: Duration = Duration::from_mins(2);
/// Between looks at the memory, and at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Over so long the crowd comes in: all in the same moment, they would overflow the kernel's queue.
const COMES_IN: Duration = Duration::from_secs(10);
/// Connections from one address of ours; each has some 28,000 ports.
const PER_ADDRESS_MAX: usize = 4_000;
/// Files of this process beside the crowd's.
const OTHER_FILES: usize = 500;
/// What a connection may cost the service: it buffers 16 KiB at most, and these have sent next to nothing.
const BYTES_EACH_MAX: usize = 32 << 10;
/// Files that the service may hold beyond those of before: connections of those who bind come and go.
const FILES_LEFT_MAX: usize = 20;

#[path = "connections/crowd.rs"]
mod crowd;

use crowd::{Habit, Sitting, sit};

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Crowd {
    /// The binary under test.
    pub(crate) binary: PathBuf,
    /// Connections without a request.
    pub(crate) idle: usize,
    /// Connections that send a request by the byte.
    pub(crate) slow: usize,
    /// How long the crowd stays at least.
    pub(crate) seconds: u64,
    /// How many bindings there are at least while the crowd is there.
    pub(crate) bindings: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Connections that were open at the same moment, by the service's own open files.
    pub(crate) open: usize,
    /// Connections that the service put an end to.
    pub(crate) ended: usize,
    /// Bindings while the crowd was there, and how long they took, in milliseconds.
    pub(crate) bindings: usize,
    pub(crate) median_ms: u128,
    pub(crate) slowest_ms: u128,
    /// The same without the crowd.
    pub(crate) median_alone_ms: u128,
    /// Resident memory, in KiB.
    pub(crate) before_kib: usize,
    pub(crate) with_kib: usize,
    pub(crate) after_kib: usize,
    /// Files of the service once the crowd had gone, beyond those before it came.
    pub(crate) files_left: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connections: {} open at once, {} ended by the service, {} bindings through them \
             (median {} ms, slowest {} ms; {} ms without them), memory {} KiB before, {} KiB with them \
             ({} bytes each), {} KiB after, {} files left open",
            self.open,
            self.ended,
            self.bindings,
            self.median_ms,
            self.slowest_ms,
            self.median_alone_ms,
            self.before_kib,
            self.with_kib,
            self.with_kib.saturating_sub(self.before_kib) * 1024 / self.open.max(1),
            self.after_kib,
            self.files_left,
        )
    }
}

/// Runs it; an error where a binding did not come about, a connection stayed for ever, was answered otherwise than it
/// should be or cost too much, or files stayed open.
pub(crate) async fn run(crowd: &Crowd) -> anyhow::Result<Outcome> {
    let wanted = crowd.idle + crowd.slow;
    raise_file_limit(wanted + OTHER_FILES)?;
    let stage = Stage::new(&crowd.binary).await?;
    let mut alone = Vec::new();
    for number in 0..10 {
        alone.push(stage.bind(&format!("alone {number}")).await?);
    }
    let (before_kib, files_before) = (stage.service.memory_kib()?, stage.service.files()?);

    let sitting = Arc::new(Sitting::default());
    let mut connections = JoinSet::new();
    for number in 0..wanted {
        let source = Ipv4Addr::from([127, 0, 0, u8::try_from(2 + number / PER_ADDRESS_MAX).unwrap_or(254)]);
        let habit = match (number < crowd.idle, number % 2) {
            (true, 0) => Habit::Silent,
            (true, _) => Habit::OneRequest,
            (false, 0) => Habit::SlowHead,
            (false, _) => Habit::SlowBody,
        };
        let (sitting, service) = (Arc::clone(&sitting), stage.service.address);
        let turn = COMES_IN * u32::try_from(number)? / u32::try_from(wanted)?;
        connections.spawn(async move {
            tokio::time::sleep(turn).await;
            sit(&sitting, source, service, habit).await;
        });
    }
    let all = wanted - wanted / 50; // Each is ended after a time and comes again: a few are always on their way.
    let open_now = || Ok::<_, anyhow::Error>(stage.service.files()?.saturating_sub(files_before));
    until("the crowd is there", || Ok(open_now()? >= all))
        .await
        .with_context(|| format!("{:?} of {wanted} connections are open", open_now()))?;

    let (mut took, mut with_kib, mut open) = (Vec::new(), 0, 0);
    let began = Instant::now();
    while took.len() < crowd.bindings || began.elapsed() < Duration::from_secs(crowd.seconds) {
        took.push(stage.bind(&format!("within {}", took.len())).await?);
        with_kib = with_kib.max(stage.service.memory_kib()?);
        open = open.max(open_now()?);
    }

    sitting.over.store(true, Ordering::Relaxed);
    connections.shutdown().await;
    let mut files_left = usize::MAX;
    until("the service has closed what the crowd left", || {
        files_left = open_now()?;
        Ok(files_left <= FILES_LEFT_MAX)
    })
    .await?;
    stage.bind("afterwards").await?;
    let surprises = sitting.surprises();
    ensure!(surprises.is_empty(), "answered otherwise than they should be: {surprises:?}");
    let ended = sitting.ended();
    ensure!(ended > crowd.idle, "{ended} connections were ended: some sat for longer than the time-outs");
    took.sort_unstable();
    alone.sort_unstable();
    let median = |sorted: &[Duration]| sorted.get(sorted.len() / 2).map_or(0, Duration::as_millis);
    let bytes_each = with_kib.saturating_sub(before_kib) * 1024 / open.max(1);
    ensure!(bytes_each <= BYTES_EACH_MAX, "a connection costs {bytes_each} bytes");
    Ok(Outcome {
        open,
        ended,
        bindings: took.len(),
        median_ms: median(&took),
        slowest_ms: took.last().map_or(0, Duration::as_millis),
        median_alone_ms: median(&alone),
        before_kib,
        with_kib,
        after_kib: stage.service.memory_kib()?,
        files_left,
    })
}

fn raise_file_limit(wanted: usize) -> anyhow::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(Resource::Nofile, raised).context("raising the limit of open files")?;
    let enough = limit.maximum.is_none_or(|maximum| maximum >= wanted as u64);
    ensure!(enough, "{wanted} open files are wanted: raise the hard limit (ulimit -Hn) before");
    Ok(())
}

/// Looks again and again until something holds.
async fn until(what: &str, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !holds()? {
        if began.elapsed() > DEADLINE {
            bail!("waited in vain: {what}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

// ---- The service and its world ------------------------------------------------------------------------------------

/// The binary, the simulator beside it, and a client of both.
struct Stage {
    sim: Sim,
    service: Service,
    http: reqwest::Client,
    _store: TempDir,
}

impl Stage {
    async fn new(binary: &Path) -> anyhow::Result<Self> {
        let options = SimOptions { clock: Arc::new(|| SystemClock.now_ms()), ..SimOptions::default() };
        let sim = Sim::start(options.clone()).await?;
        let store = TempDir::with_prefix("kfbind-crowd-")?;
        let service = Service::start(binary, &options, &sim.base_url(), &store).await?;
        sim.set_callback_url(&format!("{}/api/wechat-work/message", service.base()));
        Ok(Self { sim, service, http: outgoing::client(DEADLINE, None)?, _store: store })
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        session: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let request = self.http.request(method.parse()?, format!("{}{path}", self.service.base()));
        let request =
            request.bearer_auth(session).body(body.map(|body| body.to_string()).unwrap_or_default());
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let bytes = answer.bytes().await.with_context(|| format!("{method} {path}"))?;
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// A user logs in, gets a code, the customer sends it, the page shows the binding; how long all that took.
    async fn bind(&self, name: &str) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let login = self.sim.wx_login_code(&self.sim.openid_of(name), None);
        let login = self.ask("POST", "/api/login", "", Some(json!({"code": login}))).await?;
        let session = login["session"].as_str().with_context(|| format!("no login: {login}"))?;
        let code = loop {
            let answer = self.ask("POST", "/api/binding/token", session, None).await?;
            if let Some(code) = answer["bind_token"].as_str() {
                break code.to_owned();
            }
            ensure!(answer["status"] == 503 && began.elapsed() < DEADLINE, "no code: {answer}");
            tokio::time::sleep(LOOK_EVERY).await;
        };
        self.sim.customer(name).says(&self.sim.account(0), &code);
        loop {
            let view = self.ask("GET", "/api/binding", session, None).await?;
            let (status, version) = (&view["status"], &view["version"]);
            if status == "bound" {
                return Ok(began.elapsed());
            }
            ensure!(began.elapsed() < DEADLINE, "{name} was never bound: {view}");
            self.ask("GET", &format!("/api/binding?wait=5&since={version}"), session, None).await?;
        }
    }
}

/// A running `kfbind serve`. Dropping it kills it.
struct Service {
    child: Child,
    address: SocketAddr,
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Service {
    async fn start(binary: &Path, sim: &SimOptions, base_url: &str, store: &TempDir) -> anyhow::Result<Self> {
        let environment = [
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
            ("LIMITS__LOGINS_PER_IP", "1000000/1m"),
        ];
        let mut command = Command::new(binary);
        command.arg("serve").env_clear().env("RUST_LOG", "info");
        command.envs(environment.map(|(key, value)| (format!("KFBIND_{key}"), value.to_owned())));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", binary.display()))?;
        let log = BufReader::new(child.stderr.take().context("the log")?);
        let (found, address) = oneshot::channel();
        // It reads to the end, so that the service is never held up by a full pipe.
        std::thread::spawn(move || {
            let mut lines = log.lines().map_while(Result::ok);
            let address =
                lines.find_map(|line| Some(line.split_once("listening addr=")?.1.trim().to_owned()));
            drop(address.map(|address| found.send(address)));
            lines.for_each(drop);
        });
        // From here on it is killed, whatever happens.
        let mut service = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) };
        service.address = timeout(DEADLINE, address).await.context("it never listened")??.parse()?;
        Ok(service)
    }

    fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Resident memory.
    fn memory_kib(&self) -> anyhow::Result<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Open files.
    fn files(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }
}

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
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
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
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time::{Instant, timeout},
};

/// Nothing that is waited for takes longer.
const DEADLINE: Duration = Duration::from_mins(2);
/// Between the bytes of a slow one.
const BYTE_EVERY: Duration = Duration::from_secs(1);
/// Between looks at the memory, and at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Over so long the crowd comes in: all in the same moment, they would overflow the kernel's queue.
const COMES_IN: Duration = Duration::from_secs(10);
/// A connection that is older is one that the kernel dropped from its queue without telling us.
const LOST_AFTER: Duration = Duration::from_mins(1);
/// Connections from one address of ours; each has some 28,000 ports.
const PER_ADDRESS_MAX: usize = 4_000;
/// Files of this process beside the crowd's.
const OTHER_FILES: usize = 500;

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

/// Runs it; an error where a binding did not come about or a connection stayed for ever.
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
        Ok(files_left <= 20) // The bindings' own connections come and go.
    })
    .await?;
    stage.bind("afterwards").await?;
    took.sort_unstable();
    alone.sort_unstable();
    let median = |sorted: &[Duration]| sorted.get(sorted.len() / 2).map_or(0, Duration::as_millis);
    Ok(Outcome {
        open,
        ended: sitting.ended.load(Ordering::Relaxed),
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

// ---- The crowd ----------------------------------------------------------------------------------------------------

/// What all connections of the crowd share.
#[derive(Debug, Default)]
struct Sitting {
    over: AtomicBool,
    ended: AtomicUsize,
}

/// What a connection does until the service ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Never sends anything.
    Silent,
    /// Asks once, and stays.
    OneRequest,
    /// Sends a head by the byte.
    SlowHead,
    /// Sends a head, and then a body by the byte.
    SlowBody,
}

/// Sits there, and comes again when it is shown the door.
async fn sit(sitting: &Sitting, source: Ipv4Addr, service: SocketAddr, habit: Habit) {
    while !sitting.over.load(Ordering::Relaxed) {
        match open(source, service).await {
            Ok(stream) => {
                // Whatever ends it, an answer, a close or a reset: it was the service.
                if timeout(LOST_AFTER, behave(stream, habit)).await.is_ok() {
                    sitting.ended.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn open(source: Ipv4Addr, service: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // Else thousands of ports that have just been left would be out of reach for a minute.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((source, 0)))?;
    socket.connect(service).await
}

async fn behave(mut stream: TcpStream, habit: Habit) -> std::io::Result<()> {
    let (at_once, slowly): (&[u8], &[u8]) = match habit {
        Habit::Silent => (b"", b""),
        Habit::OneRequest => (b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", b""),
        Habit::SlowHead => (b"", b"POST /api/login HTTP/1.1\r\nhost: a-very-long-name.example\r\nx-more: "),
        Habit::SlowBody => (
            b"POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n",
            b"{\"code\":\"one byte after the other, and never the last one of them all",
        ),
    };
    stream.write_all(at_once).await?;
    let (mut answers, mut requests) = stream.split();
    let mut buffer = [0; 512];
    let mut rest = slowly.iter().cycle().take(if slowly.is_empty() { 0 } else { usize::MAX });
    loop {
        match timeout(BYTE_EVERY, answers.read(&mut buffer)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(answer) => drop(answer?),
            Err(_) => {
                if let Some(byte) = rest.next() {
                    requests.write_all(&[*byte]).await?;
                }
            }
        }
    }
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

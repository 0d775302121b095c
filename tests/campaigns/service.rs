//! The service under test, as a process that can be killed at any moment or inside this one with clocks that can be
//! moved; both read the same settings.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use actors::ports::Clock;
use kfbind::{
    app::{App, Machine},
    clock::SystemClock,
    config::{Config, Environment},
    sim::SimOptions,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    line::eventually,
    report::{Breach, Failure},
    world::ADMIN_KEY,
};

/// How long a start may take, recovery of the store included.
const START_MAX: Duration = Duration::from_mins(1);
/// How long an orderly stop may take: the grace, and some.
const STOP_MAX: Duration = Duration::from_secs(20);
/// So many lines of a process's log are kept to be shown.
const LOG_LINES_MAX: usize = 400;

/// The answers in the chat, cut down to the names of their keys.
const TEXTS: [&str; 11] = [
    "bound",
    "unbound",
    "wrong_code",
    "expired_code",
    "locked",
    "conflict",
    "already_bound",
    "confirm",
    "cancelled",
    "other_person",
    "invite",
];

/// Which ways to bind are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ways {
    /// Codes alone.
    Code,
    /// Every way, and hand-over.
    All,
}

impl Ways {
    /// Of the run with this seed: every other one has them all.
    pub(crate) fn of(seed: u64) -> Self {
        if seed.is_multiple_of(2) { Self::All } else { Self::Code }
    }
}

/// The environment that makes a service of this simulator and this store.
pub(crate) fn environment(
    sim: &SimOptions,
    base_url: &str,
    store: &Path,
    ways: Ways,
) -> Vec<(String, String)> {
    let methods = match ways {
        Ways::Code => "code",
        Ways::All => "code,link,card,unionid,window,staff",
    };
    let store = store.display().to_string();
    let keys = [
        ("SERVER__LISTEN", "127.0.0.1:0"),
        ("SERVER__SHUTDOWN_GRACE", "2s"),
        ("STORE__PATH", store.as_str()),
        ("WECOM__CORP_ID", &sim.corp_id),
        ("WECOM__SECRET", &sim.secret),
        ("WECOM__TOKEN", &sim.token),
        ("WECOM__ENCODING_AES_KEY", &sim.encoding_aes_key),
        ("WECOM__API_BASE", base_url),
        ("WECOM__REQUEST_TIMEOUT", "2s"),
        ("KF__RECONCILE_EVERY", "2s"),
        ("MINIPROGRAM__APP_ID", &sim.app_id),
        ("MINIPROGRAM__SECRET", &sim.app_secret),
        ("MINIPROGRAM__API_BASE", base_url),
        ("BINDING__METHODS", methods),
        ("WECOM__STAFF_SECRET", &sim.staff_secret),
        ("KF__HANDOVER", if ways == Ways::All { "pool" } else { "none" }),
        ("MESSAGES__CONFIRM_YES", "yes"),
        ("MESSAGES__CONFIRM_NO", "no"),
        ("LIMITS__CODES_PER_OPENID", "10000/1m"),
        ("LIMITS__LOGINS_PER_IP", "100000/1m"),
        // One more than anybody sends: a wrong code that is counted twice locks its customer out.
        ("LIMITS__WRONG_CODES_PER_CUSTOMER", "4/10m"),
        ("ADMIN__API_KEY", ADMIN_KEY),
    ];
    let keys = keys.iter().map(|(key, value)| (format!("KFBIND_{key}"), (*value).to_owned()));
    let texts =
        TEXTS.iter().map(|name| (format!("KFBIND_MESSAGES__{}", name.to_uppercase()), (*name).to_owned()));
    keys.chain(texts).collect()
}

/// A command of the real binary in this environment.
pub(crate) fn kfbind(arguments: &[&str], environment: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kfbind"));
    command.args(arguments).env_clear().envs(environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How the service is run.
pub(crate) enum Service {
    /// The real binary.
    Process(Process),
    /// In this process.
    Inside(Box<Inside>),
}

impl Service {
    /// Starts it and waits until it listens; its address.
    pub(crate) async fn start(&mut self, environment: &[(String, String)]) -> Result<String, Failure> {
        match self {
            Self::Process(process) => {
                process.spawn(environment)?;
                process.listens().await
            }
            Self::Inside(inside) => inside.start(environment).await,
        }
    }

    /// An orderly stop.
    pub(crate) async fn stop(&mut self, store: &Path) -> Result<(), Failure> {
        match self {
            Self::Process(process) => process.terminate().await,
            Self::Inside(inside) => {
                if let Some(app) = inside.app.take() {
                    app.stop().await;
                }
                inside.lets_go_of(store).await
            }
        }
    }

    /// The process, where it is one.
    pub(crate) fn process(&mut self) -> Option<&mut Process> {
        match self {
            Self::Process(process) => Some(process),
            Self::Inside(_) => None,
        }
    }
}

/// The service in this process.
pub(crate) struct Inside {
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) app: Option<App>,
}

impl Inside {
    /// Waits until nobody holds the store's lock. With a process that goes at its end; here what ran beside the stop, such
    /// as a connection that was cut off, lets go a moment later.
    async fn lets_go_of(&self, store: &Path) -> Result<(), Failure> {
        let file = store.join("db");
        let is_free = || std::fs::File::open(&file).is_ok_and(|file| file.try_lock().is_ok());
        eventually(
            || format!("{} is still locked after the stop", file.display()),
            Breach::FailedOpen,
            || std::future::ready(is_free().then_some(())),
        )
        .await
    }

    async fn start(&mut self, environment: &[(String, String)]) -> Result<String, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new(Breach::FailedOpen, error.to_string());
        let environment = Environment::new(environment.iter().cloned());
        let loaded = Config::from_toml("", &environment).map_err(|problems| failed(&problems))?;
        let machine = Machine { clock: Arc::clone(&self.clock) as _, ..Machine::default() };
        let app = App::start(&loaded.config, machine).await.map_err(|error| failed(&format!("{error:#}")))?;
        let base = format!("http://{}", app.addr());
        self.app = Some(app);
        Ok(base)
    }
}

/// The machine's clock, some way off.
#[derive(Debug, Default)]
pub(crate) struct ShiftedClock {
    shift_ms: AtomicI64,
}

impl ShiftedClock {
    /// From now on so far off, in milliseconds.
    pub(crate) fn shift(&self, shift_ms: i64) {
        self.shift_ms.store(shift_ms, Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms().saturating_add_signed(self.shift_ms.load(Ordering::SeqCst))
    }
}

/// A running `kfbind serve`. Dropping it kills it.
#[derive(Default)]
pub(crate) struct Process {
    child: Option<Child>,
    log: Arc<Mutex<VecDeque<String>>>,
    address: Option<watch::Receiver<Option<String>>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    /// Starts it, without waiting for anything.
    pub(crate) fn spawn(&mut self, environment: &[(String, String)]) -> Result<(), Failure> {
        let spawned = kfbind(&["serve"], environment).spawn();
        let mut child = spawned.map_err(|error| Failure::new(Breach::FailedOpen, error.to_string()))?;
        let (heard, address) = watch::channel(None);
        let log = Arc::clone(&self.log);
        let lines = child.stderr.take().map(|stderr| BufReader::new(stderr).lines());
        std::thread::spawn(move || {
            for line in lines.into_iter().flatten().map_while(Result::ok) {
                if let Some(at) = line.split("listening addr=").nth(1) {
                    heard.send_replace(Some(format!("http://{}", at.trim())));
                }
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_back(line);
                if log.len() > LOG_LINES_MAX {
                    log.pop_front();
                }
            }
        });
        self.child = Some(child);
        self.address = Some(address);
        Ok(())
    }

    /// Waits until it listens; its address. An error where it ends or hangs instead.
    pub(crate) async fn listens(&mut self) -> Result<String, Failure> {
        let Some(mut address) = self.address.clone() else {
            return Err(Failure::new(Breach::FailedOpen, "it was not started"));
        };
        // The sender goes with the process's end.
        let listening = timeout(START_MAX, address.wait_for(Option::is_some)).await;
        match listening.map(|heard| heard.ok().and_then(|base| base.clone())) {
            Ok(Some(base)) => Ok(base),
            _ => Err(Failure::new(
                Breach::FailedOpen,
                format!("it does not listen; its log:\n{}", self.log_text()),
            )),
        }
    }

    /// SIGKILL, and the end of it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, without waiting.
    pub(crate) fn signal_stop(&self) {
        let pid =
            self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// SIGTERM, and exit code 0.
    pub(crate) async fn terminate(&mut self) -> Result<(), Failure> {
        self.signal_stop();
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        let ends = async {
            loop {
                if let Ok(Some(status)) = child.try_wait() {
                    return status;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        match timeout(STOP_MAX, ends).await {
            Ok(status) if status.code() == Some(0) => {
                self.child = None;
                Ok(())
            }
            ended => {
                let what = format!("an orderly stop: {ended:?}; the log:\n{}", self.log_text());
                self.kill();
                Err(Failure::new(Breach::FailedOpen, what))
            }
        }
    }

    /// Its process id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The last lines of its log, over all its lives.
    pub(crate) fn log_text(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = log.iter().map(|line| format!("    {line}")).collect();
        lines.join("\n")
    }
}

/// A directory of its own for a store, below `folder`.
pub(crate) fn store_in(folder: &Path) -> PathBuf {
    folder.join("store")
}

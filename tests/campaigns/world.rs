//! A run's world: a simulated WeCom, a service, and people who keep it busy; and what must hold when they have left.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use actors::ports::Clock as _;
use kfbind::{
    clock::SystemClock,
    sim::{Api, Sim, SimAccount, SimOptions},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{sync::RwLock, task::JoinSet, time::timeout};

use crate::{
    line::{Ask, Line, PAUSE, eventually},
    person::{Person, Sum},
    report::{Breach, Failure, Report},
    service::{Service, Ways, environment, store_in},
    store,
    talker::Talker,
    walker::Walker,
};

pub(crate) const ADMIN_KEY: &str = "campaign-fake-admin-key-0123456789";
const CALLBACK_PATH: &str = "/api/wechat-work/message";

/// What people share.
pub(crate) struct Town {
    pub(crate) sim: Sim,
    pub(crate) line: Line,
    pub(crate) report: Report,
    pub(crate) accounts: usize,
    /// Held for writing while nobody may begin anything.
    pub(crate) pause: RwLock<()>,
    is_closing: AtomicBool,
    /// Things that people have done.
    steps: AtomicU64,
    /// Messages of bystanders that the service remembers.
    beside: AtomicU64,
    codes: Mutex<HashSet<String>>,
    taps: Mutex<HashSet<String>>,
}

impl Town {
    /// A session for this user.
    pub(crate) async fn login(&self, openid: &str) -> Result<String, Failure> {
        self.login_with(openid, None).await
    }

    /// A session for this user, of whom WeChat tells this unionid.
    pub(crate) async fn login_with(&self, openid: &str, unionid: Option<&str>) -> Result<String, Failure> {
        self.logs_in("/api/login", || self.sim.wx_login_code(openid, unionid)).await
    }

    /// A session for this employee.
    pub(crate) async fn staff_login(&self, userid: &str) -> Result<String, Failure> {
        self.logs_in("/api/staff/login", || self.sim.staff_login_code(userid)).await
    }

    async fn logs_in(&self, path: &str, code: impl Fn() -> String) -> Result<String, Failure> {
        // A code is good for one login, also one whose answer was lost.
        eventually(
            || format!("nobody can log in at {path}"),
            Breach::Stuck,
            || async {
                let body = json!({"code": code()});
                let ask = Ask { method: "POST", path, bearer: None, body: Some(&body) };
                let answer = self.line.once(ask).await.filter(|(status, _)| *status == 200);
                answer.and_then(|(_, body)| body["session"].as_str().map(str::to_owned))
            },
        )
        .await
    }

    /// This code was given to somebody.
    pub(crate) fn learns(&self, code: &str) {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).insert(code.to_owned());
    }

    /// Whether this code was given to anybody.
    pub(crate) fn knows(&self, code: &str) -> bool {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).contains(code)
    }

    /// Whether nobody has tapped this yet; from now on somebody has.
    pub(crate) fn is_first_tap(&self, id: &str) -> bool {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned())
    }

    /// So many more messages that are acted on were sent by nobody who writes things down.
    pub(crate) fn sent_beside(&self, messages: u64) {
        self.beside.fetch_add(messages, Ordering::SeqCst);
    }

    /// Waits until people have done so many things.
    pub(crate) async fn has_seen(&self, steps: u64) {
        while self.steps.load(Ordering::SeqCst) < steps {
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn metric(&self, name: &str) -> Option<f64> {
        let page = self.line.text("/metrics").await?;
        page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}

/// See the module.
pub(crate) struct World {
    pub(crate) town: Arc<Town>,
    pub(crate) service: Service,
    /// Where the store is; a power cut moves it.
    pub(crate) store: PathBuf,
    pub(crate) folder: TempDir,
    /// What is set beside the usual.
    pub(crate) more: Vec<(String, String)>,
    options: SimOptions,
    ways: Ways,
    people: JoinSet<Result<Sum, Failure>>,
}

impl World {
    /// A simulator with so many accounts, and a service that has not been started yet.
    pub(crate) async fn new(
        seed: u64,
        accounts: usize,
        service: Service,
        ways: Ways,
        report: &Report,
    ) -> Result<Self, Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::new(Breach::Stuck, format!("preparing: {error}"));
        let account = |number| SimAccount {
            open_kfid: format!("wkCampaign{number:04}AbC"),
            name: format!("账号{number}"),
            api_managed: true,
        };
        let options = SimOptions {
            seed,
            clock: Arc::new(|| SystemClock.now_ms()),
            accounts: (0..accounts).map(account).collect(),
            ..SimOptions::default()
        };
        let sim = Sim::start(options.clone()).await.map_err(|error| failed(&error))?;
        let folder = TempDir::with_prefix("kfbind-campaign-").map_err(|error| failed(&error))?;
        let town = Town {
            sim,
            line: Line::new()?,
            report: report.clone(),
            accounts,
            pause: RwLock::new(()),
            is_closing: AtomicBool::new(false),
            steps: AtomicU64::default(),
            beside: AtomicU64::default(),
            codes: Mutex::default(),
            taps: Mutex::default(),
        };
        let store = store_in(folder.path());
        Ok(Self {
            town: Arc::new(town),
            service,
            store,
            folder,
            more: Vec::new(),
            options,
            ways,
            people: JoinSet::new(),
        })
    }

    /// The service's environment.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut environment = environment(&self.options, &self.town.sim.base_url(), &self.store, self.ways);
        environment.extend(self.more.iter().cloned());
        environment
    }

    /// Starts the service, and tells everybody where it is.
    pub(crate) async fn start(&mut self) -> Result<(), Failure> {
        let environment = self.environment();
        let base = self.service.start(&environment).await?;
        self.is_at(&base);
        Ok(())
    }

    /// The service listens there.
    pub(crate) fn is_at(&self, base: &str) {
        self.town.sim.set_callback_url(&format!("{base}{CALLBACK_PATH}"));
        self.town.line.is_at(base);
        self.town.report.happened("starts");
    }

    /// An orderly stop.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        self.town.line.is_gone();
        self.service.stop(&self.store).await?;
        self.town.report.happened("orderly stops");
        Ok(())
    }

    /// So many people come and are busy until [`Self::closes`], each with at least so many things.
    pub(crate) fn people_come(&mut self, seed: u64, count: u64, steps_min: u32) {
        for number in 0..count {
            let town = Arc::clone(&self.town);
            self.people.spawn(async move {
                let seed = seed.wrapping_mul(1_000_003).wrapping_add(number);
                let mut person = Person::arrives(Arc::clone(&town), &format!("p{number}"), seed).await?;
                let mut steps = 0;
                while steps < steps_min || !town.is_closing.load(Ordering::SeqCst) {
                    let _going = town.pause.read().await;
                    person.step().await?;
                    steps += 1;
                    town.steps.fetch_add(1, Ordering::SeqCst);
                }
                person.leaves().await
            });
        }
    }

    /// The same for people who bind by every way, and a few who only talk.
    pub(crate) fn walkers_come(&mut self, seed: u64, count: u64, steps_min: u32) {
        for number in 0..count {
            let town = Arc::clone(&self.town);
            self.people.spawn(async move {
                let seed = seed.wrapping_mul(1_000_003).wrapping_add(number);
                let mut walker = Walker::arrives(Arc::clone(&town), number, seed).await?;
                let mut steps = 0;
                while steps < steps_min || !town.is_closing.load(Ordering::SeqCst) {
                    let _going = town.pause.read().await;
                    walker.step().await?;
                    steps += 1;
                    town.steps.fetch_add(1, Ordering::SeqCst);
                }
                walker.leaves().await
            });
        }
        for number in 0..count.div_ceil(4) {
            let town = Arc::clone(&self.town);
            self.people.spawn(async move {
                let mut talker = Talker::arrives(Arc::clone(&town), number);
                for _ in 0..steps_min.div_ceil(4) {
                    let _going = town.pause.read().await;
                    talker.step().await?;
                    town.steps.fetch_add(1, Ordering::SeqCst);
                }
                talker.leaves()
            });
        }
    }

    /// Everybody ends what was begun and leaves; then all that was promised is held against what is there. Leaves the
    /// service stopped.
    pub(crate) async fn closes(&mut self) -> Result<(), Failure> {
        self.town.is_closing.store(true, Ordering::SeqCst);
        let mut sum = Sum { acted_on: self.town.beside.load(Ordering::SeqCst), ..Sum::default() };
        while let Some(left) = self.next_leaves().await? {
            sum.bindings.extend(left.bindings);
            sum.bound += left.bound;
            sum.unbound += left.unbound;
            sum.conflicts += left.conflicts;
            sum.wrong += left.wrong;
            sum.acted_on += left.acted_on;
        }
        self.everything_is_pulled().await?;
        let town = &self.town;
        eventually(
            || "the outbox never became empty".to_owned(),
            Breach::Stuck,
            || async { (town.metric("kfbind_outbox_depth").await == Some(0.0)).then_some(()) },
        )
        .await?;
        let bindings = sum.bindings.len() as u64;
        let gauge = town.metric("kfbind_bindings").await;
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        if gauge != Some(bindings as f64) {
            return Err(Failure::new(
                Breach::Lost,
                format!("the metric counts {gauge:?} of {bindings} bindings"),
            ));
        }
        self.stop().await?;
        store::compare(&self.environment(), self.folder.path(), &sum, self.ways, &self.town.report)
    }

    /// Waits until a pull of each account found nothing new. Most messages have somebody who waits for what they bring
    /// about; those of bystanders have nobody.
    async fn everything_is_pulled(&self) -> Result<(), Failure> {
        let town = &self.town;
        for number in 0..town.accounts {
            let account = town.sim.account(number);
            let before = town.sim.calls(Api::SyncMsg).last().map_or(0, |call| call.number);
            let found_nothing = || {
                // One account's pulls follow each other, so those before this one are committed.
                town.sim.calls(Api::SyncMsg).iter().rev().take_while(|call| call.number > before).any(
                    |call| {
                        let is_last = call.errcode == 0 && call.answer["has_more"] == 0;
                        let is_empty = call.answer["msg_list"].as_array().is_some_and(Vec::is_empty);
                        call.body["open_kfid"] == *account && is_last && is_empty
                    },
                )
            };
            eventually(
                || format!("{account} was never pulled to its end"),
                Breach::Stuck,
                || {
                    town.sim.push_callback(&account);
                    std::future::ready(found_nothing().then_some(()))
                },
            )
            .await?;
        }
        Ok(())
    }

    /// The next who leaves. Somebody rings for every account now and then: messages of which the service was not told
    /// while it was down are due at the next bell, and nobody else may be left who writes.
    async fn next_leaves(&mut self) -> Result<Option<Sum>, Failure> {
        loop {
            match timeout(std::time::Duration::from_millis(300), self.people.join_next()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(left))) => return left.map(Some),
                Ok(Some(Err(panic))) => {
                    return Err(Failure::new(Breach::Stuck, format!("a person panicked: {panic}")));
                }
                Err(_) => {
                    for number in 0..self.town.accounts {
                        self.town.sim.push_callback(&self.town.sim.account(number));
                    }
                }
            }
        }
    }
}

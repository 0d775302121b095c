//! The service and the simulator, wired to each other, and what the page may do to them: speak, break, restart.
//!
//! Knows no HTTP. The service may be stopped and started again on the same store; its address changes with that.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actors::ports::Clock as _;
use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::{Mutex as AsyncMutex, broadcast, watch},
    task::JoinHandle,
};

use super::{
    Commits,
    wire::{Wire, of_sim},
};
use crate::{
    app::{App, Machine},
    clock::SystemClock,
    config::{Config, Environment},
    sim::{Customer, Sim, SimEvent, SimOptions},
};

/// Where WeCom is told to send callbacks, behind the service's address.
const CALLBACK_PATH: &str = "/api/wechat-work/message";
/// How long a restart leaves the service down, so that one can see it.
const RESTART_PAUSE: Duration = Duration::from_secs(2);
/// Who is there from the beginning.
const CUSTOMERS: [&str; 3] = ["小李", "小王", "小陈"];
/// Whose unionid both sides know, so that nothing need be done to be bound.
const KNOWN_TO_BOTH: (&str, &str) = ("小陈", "uniDemoChen0000000000000000");
/// The employee with the third phone.
pub(super) const EMPLOYEE: &str = "demoServicer";
/// Opens the operator page. Everything behind it is made up, and on loopback.
pub(super) const ADMIN_KEY: &str = "demo-admin-key-no-secret";
/// Where a service listens that is run beside the demo, and its store.
const LISTEN_BESIDE: &str = "127.0.0.1:8090";
const STORE_BESIDE: &str = "data-beside-the-demo";
/// More people than this are not played.
pub(super) const CUSTOMERS_MAX: usize = 100;

/// The service and the simulator, wired to each other.
pub(super) struct Stage {
    pub(super) sim: Sim,
    pub(super) wire: Arc<Wire>,
    config: String,
    config_beside: String,
    app: AsyncMutex<Option<App>>,
    /// Where the service is, while it is up.
    service: watch::Sender<Option<SocketAddr>>,
    people: Arc<Mutex<BTreeMap<String, String>>>,
    outage: Mutex<Option<JoinHandle<()>>>,
    /// Held for the store, which goes with it.
    _store: TempDir,
}

impl Stage {
    pub(super) async fn set(seed: u64) -> anyhow::Result<Self> {
        let options = SimOptions { seed, clock: Arc::new(|| SystemClock.now_ms()), ..SimOptions::default() };
        let store =
            TempDir::with_prefix("kfbind-demo-").context("can't make a directory for the demo's store")?;
        let sim = Sim::start(options.clone()).await?;
        let stage = Self {
            config: config_text(&options, "127.0.0.1:0", &store.path().to_string_lossy(), &sim.base_url()),
            config_beside: config_text(&options, LISTEN_BESIDE, STORE_BESIDE, &sim.base_url()),
            wire: Arc::new(Wire::new()),
            sim,
            app: AsyncMutex::new(None),
            service: watch::Sender::new(None),
            people: Arc::default(),
            outage: Mutex::default(),
            _store: store,
        };
        for name in CUSTOMERS {
            stage.customer(name);
        }
        let account = options.accounts.first();
        stage.wire.tell(
            "stage",
            json!({
                "wecom": stage.sim.base_url(),
                "corp_id": options.corp_id,
                "account": account.map(|account| json!({"id": account.open_kfid, "name": account.name})),
                "customers": CUSTOMERS,
            }),
        );
        let app = stage.start().await?;
        *stage.app.lock().await = Some(app);
        stage.wire.tell("service", json!({"state": "up"}));
        Ok(stage)
    }

    /// A configuration for a service of one's own beside the demo, against the same simulated WeCom.
    pub(super) fn config_beside(&self) -> &str {
        &self.config_beside
    }

    /// Where the service is, while it is up.
    pub(super) fn service(&self) -> Option<SocketAddr> {
        *self.service.borrow()
    }

    /// The customer of this name, made at the first mention; `None` where there are too many already.
    pub(super) fn customer(&self, name: &str) -> Option<Customer> {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        if people.len() >= CUSTOMERS_MAX && !people.values().any(|known| known == name) {
            return None;
        }
        let mut customer = self.sim.customer(name);
        if let Some(unionid) = unionid_of(name) {
            customer = customer.with_unionid(unionid);
        }
        people.insert(customer.external_userid().to_owned(), name.to_owned());
        Some(customer)
    }

    /// Tells the pages of everything that happens, until the simulator ends.
    pub(super) fn narrate(&self, mut commits: Commits) -> JoinHandle<()> {
        let (wire, people) = (Arc::clone(&self.wire), Arc::clone(&self.people));
        let mut events = self.sim.subscribe();
        let mut heard = None;
        // Pages that were pulled and whose commit was not told yet: the account, and how many messages.
        let mut pulled = BTreeSet::new();
        let mut tell = move |event: SimEvent, pulled: &mut BTreeSet<(String, u64)>| {
            let people = people.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let told = of_sim(event, |id| people.get(id).cloned());
            if told.0 == "pull" && told.1.get("errcode") == Some(&json!(0)) {
                pulled.extend(page_of(&told.1));
            }
            // The customer hears in the middle of the call that says it; here the call comes first.
            if told.0 == "heard" {
                heard = Some(told);
                return;
            }
            for (kind, fields) in [Some(told), heard.take()].into_iter().flatten() {
                wire.tell(kind, fields);
            }
        };
        let wire = Arc::clone(&self.wire);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    Some(commit) = commits.recv() => {
                        // The pull that led to the commit comes before it, what came of it afterwards.
                        let commit = commit.into();
                        let page = page_of(&commit);
                        while !page.as_ref().is_some_and(|page| pulled.remove(page))
                            && let Ok(event) = events.try_recv()
                        {
                            tell(event, &mut pulled);
                        }
                        wire.tell("commit", commit);
                    }
                    event = events.recv() => match event {
                        Ok(event) => tell(event, &mut pulled),
                        Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => return,
                    },
                }
            }
        })
    }

    /// Stops the service and starts it again on the same store, unless that is under way already.
    pub(super) async fn restart(&self) -> anyhow::Result<()> {
        let Ok(mut app) = self.app.try_lock() else { return Ok(()) };
        if let Some(app) = app.take() {
            self.wire.tell("service", json!({"state": "stopping"}));
            app.stop().await;
        }
        self.service.send_replace(None);
        self.wire.tell("service", json!({"state": "down"}));
        tokio::time::sleep(RESTART_PAUSE).await;
        // Still under the lock: a second restart meanwhile would start a second service on the same store.
        *app = Some(self.start().await?);
        self.wire.tell("service", json!({"state": "up"}));
        Ok(())
    }

    /// Lets WeCom and WeChat close every connection for so long; a further outage takes the place of the first.
    pub(super) fn outage(self: &Arc<Self>, length: Duration) {
        let until_ms = SystemClock.now_ms() + u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        self.sim.switch(|switches| switches.down = true);
        self.wire.tell("wecom", json!({"down": true, "until_ms": until_ms}));
        let stage = Arc::clone(self);
        let end = tokio::spawn(async move {
            tokio::time::sleep(length).await;
            stage.sim.switch(|switches| switches.down = false);
            stage.wire.tell("wecom", json!({"down": false}));
        });
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = outage.replace(end) {
            before.abort();
        }
    }

    /// Stops both.
    pub(super) async fn clear(&self) {
        if let Some(app) = self.app.lock().await.take() {
            app.stop().await;
        }
    }

    async fn start(&self) -> anyhow::Result<App> {
        let config = Config::from_toml(&self.config, &Environment::default())
            .context("the demo's own configuration")?
            .config;
        let app = App::start(&config, Machine::default()).await?;
        self.sim.set_callback_url(&format!("http://{}{CALLBACK_PATH}", app.addr()));
        self.service.send_replace(Some(app.addr()));
        Ok(app)
    }
}

/// What WeChat and WeCom tell of this person's unionid.
pub(super) fn unionid_of(name: &str) -> Option<&'static str> {
    let (known, unionid) = KNOWN_TO_BOTH;
    (name == known).then_some(unionid)
}

/// Which page a pull or a commit is about: the account, and how many messages.
fn page_of(fields: &Value) -> Option<(String, u64)> {
    Some((fields.get("account")?.as_str()?.to_owned(), fields.get("messages")?.as_u64()?))
}

fn config_text(sim: &SimOptions, listen: &str, store: &str, base_url: &str) -> String {
    format!(
        "[server]\nlisten = {listen:?}\nshutdown_grace = \"2s\"\n\
         [store]\npath = {store:?}\n\
         [kf]\nreconcile_every = \"15s\"\n\
         [wecom]\ncorp_id = {corp_id:?}\nsecret = {secret:?}\ntoken = {token:?}\nencoding_aes_key = {key:?}\napi_base = {base_url:?}\nstaff_secret = {staff_secret:?}\n\
         [miniprogram]\napp_id = {app_id:?}\nsecret = {app_secret:?}\napi_base = {base_url:?}\n\
         [binding]\nmethods = [\"code\", \"link\", \"card\", \"unionid\", \"window\", \"staff\"]\n\
         [admin]\napi_key = {ADMIN_KEY:?}\n",
        corp_id = sim.corp_id,
        secret = sim.secret,
        staff_secret = sim.staff_secret,
        token = sim.token,
        key = sim.encoding_aes_key,
        app_id = sim.app_id,
        app_secret = sim.app_secret,
    )
}

//! The service under test and the simulated WeCom beside it, the client that plays the mini program, and waiting.
//!
//! Each test has its own of everything: ports, store, clock, randomness. No test of its own is here.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use actors::{
    ports::{Clock as _, Entropy},
    testing::{ManualClock, SeededEntropy},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kfbind::{
    app::{App, Machine},
    outgoing,
    sim::{Api, CallRecord, Customer, DEFAULT_NOW_MS, Sim, SimAccount, SimOptions},
    wecom::{
        envelope::{EnvelopeKey, envelope_xml},
        signature,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) mod admin;
mod client;
pub(crate) mod documented;
pub(crate) mod mounted;
pub(crate) mod process;
mod settings;

pub(crate) use client::{Answer, Client, Code, Phone};
pub(crate) use settings::EVERY_WAY;

/// When every test begins, in Unix seconds.
pub(crate) const START_S: u64 = DEFAULT_NOW_MS / 1000;
/// Nothing that is waited for takes longer, even on a machine that has much else to do.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const CALLBACK_PATH: &str = "/api/wechat-work/message";
pub(crate) const ADMIN_KEY: &str = "it-admin-key-0123456789";
/// So many pulls may go out at the start, before callbacks bring sync tokens.
const PULLS_AT_START_MAX: usize = 6;

/// What a test wants other than usual.
pub(crate) struct Options {
    /// Keys and their values, as TOML.
    pub(crate) settings: Vec<(&'static str, String)>,
    pub(crate) sim: SimOptions,
    /// How far the simulator's clock is before ours, in seconds.
    pub(crate) sim_ahead_s: i64,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Whether to wait until the service is ready.
    pub(crate) ready: bool,
    pub(crate) faulty_start: fn(&Sim),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settings: Vec::new(),
            sim: SimOptions::default(),
            sim_ahead_s: 0,
            entropy: Arc::new(SeededEntropy::new(1)),
            ready: true,
            faulty_start: |_| (),
        }
    }
}

impl Options {
    /// The usual with these keys set.
    pub(crate) fn set(settings: &[(&'static str, &str)]) -> Self {
        Self {
            settings: settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
            ..Self::default()
        }
    }

    /// The usual with so many kf accounts.
    pub(crate) fn accounts(count: usize) -> Self {
        let mut options = Self::default();
        options.sim.accounts = (0..count)
            .map(|number| SimAccount {
                open_kfid: format!("wkItAccount{number:04}AbC"),
                name: format!("账号{number}"),
                api_managed: true,
            })
            .collect();
        options
    }
}

/// The service, its simulator and what both stand on.
pub(crate) struct TestApp {
    pub(crate) sim: Sim,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: TempDir,
    pub(crate) options: SimOptions,
    settings: Vec<(&'static str, String)>,
    entropy: Arc<dyn Entropy>,
    app: Option<App>,
    http: reqwest::Client,
    base: Arc<Mutex<String>>,
    /// Where operators find theirs: the same, unless they have an address of their own.
    ops_base: Arc<Mutex<String>>,
}

impl TestApp {
    /// As usual.
    pub(crate) async fn start() -> Self {
        Self::open(Options::default()).await
    }

    /// With these keys set, as TOML.
    pub(crate) async fn with(settings: &[(&'static str, &str)]) -> Self {
        Self::open(Options::set(settings)).await
    }

    pub(crate) async fn open(options: Options) -> Self {
        let clock = Arc::new(ManualClock::at(START_S));
        let ahead_ms = options.sim_ahead_s * 1000;
        let sim_clock = Arc::clone(&clock);
        let sim_options = SimOptions {
            clock: Arc::new(move || sim_clock.now_ms().saturating_add_signed(ahead_ms)),
            ..options.sim
        };
        let sim = Sim::start(sim_options.clone()).await.expect("the simulator starts");
        (options.faulty_start)(&sim);
        let mut test = Self {
            sim,
            clock,
            store: TempDir::with_prefix("kfbind-it-").expect("a directory for the store"),
            options: sim_options,
            settings: options.settings,
            entropy: options.entropy,
            app: None,
            http: outgoing::client(DEADLINE, None).expect("an HTTP client"),
            base: Arc::default(),
            ops_base: Arc::default(),
        };
        test.boot().await.expect("the service starts");
        if options.ready {
            test.ready().await;
        }
        test
    }

    /// Starts the service on this test's store; what keeps it from starting.
    pub(crate) async fn boot(&mut self) -> anyhow::Result<()> {
        let config = settings::config(self);
        let machine = Machine { clock: self.clock.clone(), entropy: Arc::clone(&self.entropy) };
        let app = App::start(&config, machine).await?;
        *self.base.lock().unwrap() = format!("http://{}", app.addr());
        *self.ops_base.lock().unwrap() = format!("http://{}", app.ops_addr().unwrap_or(app.addr()));
        self.sim.set_callback_url(&format!("http://{}{CALLBACK_PATH}", app.addr()));
        self.app = Some(app);
        Ok(())
    }

    /// Stops the service in order; its store stays, once the database's own threads let go of its lock.
    pub(crate) async fn stop(&mut self) {
        self.app.take().expect("the service runs").stop().await;
        eventually("the store's lock is free", async || {
            std::fs::File::open(self.store.path().join("db")).ok()?.try_lock().ok()
        })
        .await;
    }

    /// Stops the service and starts it again on its store.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.boot().await.expect("the service starts again");
        self.ready().await;
    }

    /// Restarts with these keys changed.
    pub(crate) async fn restart_with(&mut self, settings: &[(&'static str, &str)]) {
        self.change(settings);
        self.restart().await;
    }

    /// Changes keys for the next start.
    pub(crate) fn change(&mut self, settings: &[(&'static str, &str)]) {
        for (key, value) in settings {
            self.settings.retain(|(known, _)| known != key);
            self.settings.push((key, (*value).to_owned()));
        }
    }

    /// Waits until WeCom's accounts are known, each has been looked at, and there is a link.
    pub(crate) async fn ready(&self) {
        eventually("the service is ready", async || {
            let report = self.admin().get("/readyz").await;
            let accounts = report.json()["accounts"].as_array().cloned().unwrap_or_default();
            let pulled = accounts.iter().filter(|account| !account["last_pull_at"].is_null()).count();
            let known = report.status == 200 && !accounts.is_empty();
            let linked = self.sim.count(Api::AddContactWay) > 0
                || self.settings.iter().any(|(key, _)| *key == "kf.url");
            (known && linked && pulled >= accounts.len().min(PULLS_AT_START_MAX)).then_some(())
        })
        .await;
    }

    /// Waits until everything that arrived was decided, and all that is to be said was said or given up.
    pub(crate) async fn settled(&self) {
        let accounts: Vec<String> = self.sim.stream_lengths().into_keys().collect();
        for account in accounts {
            self.settled_in(&account).await;
        }
        eventually("the outbox is empty", async || {
            (self.metric("kfbind_outbox_depth").await == 0.0).then_some(())
        })
        .await;
    }

    async fn settled_in(&self, account: &str) {
        let mut asked = 0;
        eventually("a pull finds nothing new", async || {
            self.sim.wait_callbacks_done(DEADLINE).await.expect("callbacks are delivered");
            let calls = self.sim.calls(Api::SyncMsg);
            let later: Vec<_> =
                calls.iter().skip(asked).filter(|call| call.body["open_kfid"] == account).collect();
            // One account's pulls follow each other, so an empty page says that those before it are committed.
            let found = later.iter().any(|call| call.errcode == 0 && is_last_page(call));
            if found && asked > 0 {
                return Some(());
            }
            if asked == 0 || !later.is_empty() {
                asked = calls.len();
                self.sim.push_callback(account);
            }
            None
        })
        .await;
    }

    /// Where the service listens: the main address, and that of operators.
    pub(crate) fn addresses(&self) -> (SocketAddr, Option<SocketAddr>) {
        let app = self.app.as_ref().expect("the service runs");
        (app.addr(), app.ops_addr())
    }

    /// A client without a session.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.http.clone(), Arc::clone(&self.base))
    }

    /// A client without a key where operators find theirs.
    pub(crate) fn operator(&self) -> Client {
        Client::new(self.http.clone(), Arc::clone(&self.ops_base))
    }

    /// A client with the admin key, where it opens something.
    pub(crate) fn admin(&self) -> Client {
        self.operator().bearing(ADMIN_KEY)
    }

    /// The mini-program user of this name, logged in however often WeChat has to be asked.
    pub(crate) async fn login_in_any_weather(&self, name: &str) -> Phone {
        let openid = self.sim.openid_of(name);
        let session = eventually("a login works", async || {
            let js_code = self.sim.wx_login_code(&openid, None);
            let answer = self.client().post("/api/login", json!({"code": js_code})).await;
            answer.json()["session"].as_str().map(str::to_owned)
        })
        .await;
        Phone::with(&self.client(), openid, session)
    }

    /// The mini-program user of this name, logged in.
    pub(crate) async fn login(&self, name: &str) -> Phone {
        self.login_as(&self.sim.openid_of(name)).await
    }

    /// The mini-program user of this name, of whom WeChat tells this unionid, logged in.
    pub(crate) async fn login_united(&self, name: &str, unionid: &str) -> Phone {
        let openid = self.sim.openid_of(name);
        Phone::login(self.client(), &self.sim.wx_login_code(&openid, Some(unionid)), &openid).await
    }

    /// The mini-program user with exactly this openid, logged in.
    pub(crate) async fn login_as(&self, openid: &str) -> Phone {
        Phone::login(self.client(), &self.sim.wx_login_code(openid, None), openid).await
    }

    /// The first kf account.
    pub(crate) fn account(&self) -> String {
        self.sim.account(0)
    }

    /// A user and a customer of this name, bound to each other by a code.
    pub(crate) async fn bound(&self, name: &str) -> (Phone, Customer, Code) {
        let (phone, customer) = (self.login(name).await, self.sim.customer(name));
        let code = phone.issue().await;
        customer.says(&self.account(), &code.text);
        phone.until("bound").await;
        (phone, customer, code)
    }

    /// Whom the back end finds bound to a customer, and by which way.
    pub(crate) async fn bound_to(&self, customer: &Customer) -> Option<(String, String)> {
        let path = format!("/api/admin/bindings?external_userid={}", customer.external_userid());
        let body = self.admin().get(&path).await.expect(200).json();
        let text = |key: &str| Some(body["bindings"][0][key].as_str()?.to_owned());
        Some((text("openid")?, text("method")?))
    }

    /// A metric's value; a series that isn't there is none.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        metric_of(&self.operator(), series).await
    }

    /// Waits until a metric has at least this value.
    pub(crate) async fn metric_reaches(&self, series: &str, least: f64) {
        eventually(&format!("{series} reaches {least}"), async || {
            (self.metric(series).await >= least).then_some(())
        })
        .await;
    }

    /// A callback with this text inside, sealed and signed: its query and its body.
    pub(crate) fn sealed(&self, message: &str) -> (String, String) {
        let encrypt = self.encrypted(message.as_bytes(), &self.options.corp_id);
        self.signed(&encrypt)
    }

    /// The ciphertext of a message for this receiver.
    pub(crate) fn encrypted(&self, message: &[u8], receiver: &str) -> String {
        let key = EnvelopeKey::parse(&self.options.encoding_aes_key).expect("the simulator's key");
        key.seal(*b"sixteen bytes ok", message, receiver)
    }

    /// The query and body for this ciphertext.
    pub(crate) fn signed(&self, encrypt: &str) -> (String, String) {
        let (timestamp, nonce) = ("1749988800", "itnonce1");
        let signature = signature::sign(&self.options.token, timestamp, nonce, encrypt);
        let query = format!("msg_signature={signature}&timestamp={timestamp}&nonce={nonce}");
        (query, envelope_xml(&self.options.corp_id, encrypt))
    }
}

fn is_last_page(call: &CallRecord) -> bool {
    let messages = call.answer["msg_list"].as_array();
    call.answer["has_more"] == 0 && messages.is_some_and(Vec::is_empty)
}

/// The value of one series on `/metrics`.
pub(crate) async fn metric_of(client: &Client, series: &str) -> f64 {
    let page = client.get("/metrics").await.expect(200).text();
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0.0)
}

/// Looks again and again until there is something; fails after [`DEADLINE`], naming what it waited for.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, search).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// What a customer read in the chat, oldest first; beside all ways without the invitation, which answers nothing.
pub(crate) fn heard(customer: &Customer) -> Vec<String> {
    let is_answer = |text: &String| settings::all_ways().is_none() || !text.starts_with("invite");
    customer.heard().into_iter().map(|heard| heard.text).filter(is_answer).collect()
}

/// Waits until a customer has read so many answers; all of them.
pub(crate) async fn hears(customer: &Customer, count: usize) -> Vec<String> {
    eventually(&format!("{count} answers"), async || {
        let heard = heard(customer);
        (heard.len() >= count).then_some(heard)
    })
    .await
}

/// A message of a customer as `sync_msg` shows it, with any id.
pub(crate) fn text_message(account: &str, msgid: &str, customer: &str, send_time: u64, text: &str) -> Value {
    json!({
        "msgid": msgid, "open_kfid": account, "external_userid": customer, "send_time": send_time,
        "origin": 3, "msgtype": "text", "text": {"content": text},
    })
}

/// A time as the API shows it.
pub(crate) fn rfc3339(seconds: u64) -> String {
    jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap().to_string()
}

/// Base64 as envelopes have it.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

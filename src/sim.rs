//! WeCom's customer service and WeChat's mini-program login, as far as kfbind talks to them: real HTTP on loopback
//! that the production client calls, and a pusher that signs, encrypts and POSTs callbacks at the service.
//!
//! Written from the protocol's documents, by hand, and strict: it shares nothing with our client but the signature
//! and the envelope (which are checked against other people's vectors), so that a mistake there isn't mirrored here.
//! Where the documents are silent, [`Switches`] has both readings. Time is the clock that is passed in; only waiting
//! (time-outs, retries, latencies) is real. Not here: TLS, media, anything that the service doesn't call.
//!
//! ```text
//!  Sim, Customer ──▶ World (one mutex) ◀── server: the calls      (gate, sync, sending, contacts, login)
//!                        └──▶ Desk ──▶ pusher: the callbacks      (doorbell)
//! ```

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{broadcast, watch},
    task::JoinSet,
};

use crate::wecom::envelope::EnvelopeKey;

mod contacts;
mod customer;
mod doorbell;
mod faults;
mod gate;
mod login;
mod options;
mod people;
mod pusher;
mod record;
mod scene;
mod seed;
mod sending;
mod server;
mod shared;
mod subscribe;
mod switches;
mod sync;
mod world;

pub use contacts::CardPage;
pub use customer::Customer;
pub use doorbell::Tamper;
pub use faults::{Fault, FaultPlan};
pub use options::{CallbackMode, DEFAULT_NOW_MS, Servicer, SimAccount, SimClock, SimOptions};
pub use pusher::{CallbackAnswer, Verification};
pub use record::{Api, CallRecord, CallbackRecord, Heard, Letter, MenuItem, SimEvent};
pub use subscribe::SubscribeMessage;
pub use switches::{BoundCorp, Switches, TokenHabit};

use shared::Shared;
use world::World;

/// So many events wait for a slow watcher; older ones are lost to it.
const EVENTS_WAITING_MAX: usize = 1024;

/// Why the simulator can't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The port is taken, or there is no loopback.
    #[error("listening on 127.0.0.1:{port}: {source}; choose another port")]
    Listen {
        /// The port asked for.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// `encoding_aes_key` is no key.
    #[error("SimOptions::encoding_aes_key is no EncodingAESKey: 43 letters and digits")]
    BadKey,
    /// There is nobody to call back.
    #[error("no callback URL is set: call set_callback_url first")]
    NoCallbackUrl,
    /// The service did not answer.
    #[error("the callback was not answered: {0}")]
    NotAnswered(String),
    /// What was waited for did not come in time.
    #[error("waited in vain: {0}")]
    Deadline(String),
}

/// A running simulator. Dropping it stops it too.
pub struct Sim {
    shared: Arc<Shared>,
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    events: broadcast::Sender<SimEvent>,
}

impl Sim {
    /// Starts to listen on loopback.
    pub async fn start(options: SimOptions) -> Result<Self, SimError> {
        let key = EnvelopeKey::parse(&options.encoding_aes_key).map_err(|_| SimError::BadKey)?;
        let port = options.port;
        let listen = |source| SimError::Listen { port, source };
        let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let events = broadcast::Sender::new(EVENTS_WAITING_MAX);
        let shared = Arc::new(Shared::new(World::new(options, key, events.clone())));
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(listener, Arc::clone(&shared), stopped.clone()));
        tasks.spawn(pusher::run(Arc::clone(&shared), stopped));
        Ok(Self { shared, addr, stop, tasks, events })
    }

    /// Closes all connections and sends no more callbacks.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }

    /// What stands in for both `https://qyapi.weixin.qq.com` and `https://api.weixin.qq.com`, no trailing slash.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Everything that happens from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<SimEvent> {
        self.events.subscribe()
    }

    /// The time by the simulator's clock, in Unix seconds.
    #[must_use]
    pub fn now_s(&self) -> u64 {
        self.shared.read(World::now_s)
    }

    /// The `open_kfid` of the n-th account, "" if there is none.
    #[must_use]
    pub fn account(&self, index: usize) -> String {
        self.shared
            .read(|world| world.accounts.get(index).map(|account| account.open_kfid.clone()))
            .unwrap_or_default()
    }

    /// The customer of this name, made at the first mention; the name is the nickname too.
    #[must_use]
    pub fn customer(&self, name: &str) -> Customer {
        Customer::new(Arc::clone(&self.shared), name)
    }

    // ---- Calls ----

    /// The calls of one interface so far, oldest first.
    #[must_use]
    pub fn calls(&self, api: Api) -> Vec<CallRecord> {
        self.shared.read(|world| world.calls.iter().filter(|call| call.api == api).cloned().collect())
    }

    /// How many calls of one interface there were.
    #[must_use]
    pub fn count(&self, api: Api) -> u64 {
        self.shared.read(|world| world.counts.get(&api).copied().unwrap_or(0))
    }

    /// The most calls of one interface that were ever open at once.
    #[must_use]
    pub fn max_parallel(&self, api: Api) -> usize {
        self.shared.read(|world| world.gate.open_max.get(&api).copied().unwrap_or(0))
    }

    /// Waits, at most so long in real time, until there were at least `count` calls of one interface.
    pub async fn wait_count(&self, api: Api, count: u64, deadline: Duration) -> Result<(), SimError> {
        let reached = |world: &World| (world.counts.get(&api).copied().unwrap_or(0) >= count).then_some(());
        self.shared.wait(deadline, reached).await.ok_or_else(|| {
            SimError::Deadline(format!("{} of {count} calls of {}", self.count(api), api.path()))
        })
    }

    // ---- What goes wrong ----

    /// Draws faults from this plan from now on, its seed at its beginning.
    pub fn faults(&self, plan: FaultPlan) {
        tracing::info!(%plan, "faults on purpose");
        self.shared.change(|world| world.faults.set_plan(Some(plan)));
    }

    /// No more faults, neither drawn nor scripted.
    pub fn no_faults(&self) {
        self.shared.change(|world| {
            world.faults.set_plan(None);
            world.faults.unscript();
        });
    }

    /// The next `times` calls of one interface meet this fault, after those scripted before.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "reads better at the place of use: fail_next(api, Fault::Html, 1)"
    )]
    pub fn fail_next(&self, api: Api, fault: Fault, times: usize) {
        self.shared.change(|world| world.faults.script(api, &fault, times));
    }

    /// Changes how WeCom behaves.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        self.shared.change(|world| change(&mut world.switches));
    }

    /// How WeCom behaves now.
    #[must_use]
    pub fn switches(&self) -> Switches {
        self.shared.read(|world| world.switches.clone())
    }

    /// The next call with any of today's access tokens finds it expired (42001).
    pub fn expire_access_tokens(&self) {
        self.shared.change(|world| world.gate.expire_tokens());
    }

    /// Today's access tokens are no longer known (40014; WeChat's: 40001).
    pub fn revoke_access_tokens(&self) {
        self.shared.change(|world| world.gate.revoke_tokens());
    }

    /// Today's access tokens were made before the app was given a right: the kf interfaces refuse them with this code
    /// (95011, 95012, 48002 or 48007) until there is a new one.
    pub fn stale_access_tokens(&self, errcode: i64) {
        self.shared.change(|world| world.gate.stale_tokens(errcode));
    }

    // ---- Callbacks ----

    /// Where callbacks go: `http://…`, any path. Without one they are dropped.
    pub fn set_callback_url(&self, url: &str) {
        self.shared.change(|world| world.desk.url = Some(url.to_owned()));
    }

    /// Rings for this account, with a fresh sync token.
    pub fn push_callback(&self, account: &str) {
        self.shared.change(|world| world.ring(account));
    }

    /// An ordinary message to the app, which shares the URL.
    pub fn push_app_message(&self, text: &str) {
        self.shared.change(|world| {
            let event_xml = world.app_message_xml(text);
            world.push(None, event_xml);
        });
    }

    /// Keeps callbacks back until released; their tokens grow old meanwhile.
    pub fn hold_callbacks(&self) {
        self.shared.change(|world| world.desk.held = true);
    }

    /// Sends what was kept back, and all that follow.
    pub fn release_callbacks(&self) {
        self.shared.change(|world| world.desk.release());
    }

    /// The next `count` callbacks are lost.
    pub fn drop_next_callbacks(&self, count: usize) {
        self.shared.change(|world| world.desk.drop_next = count);
    }

    /// Sends one callback with this text inside, once, and returns what the service says.
    pub async fn push_raw(&self, event_xml: &str, tamper: Tamper) -> Result<CallbackAnswer, SimError> {
        let sealed = self.shared.change(|world| world.sealed(event_xml, tamper));
        self.request(&sealed).await
    }

    /// The text of a doorbell for this account, with a fresh sync token, for [`Self::push_raw`].
    #[must_use]
    pub fn doorbell_xml(&self, account: &str) -> String {
        self.shared.change(|world| world.doorbell_xml(account))
    }

    /// Checks the URL as the console does when its administrator presses Save.
    pub async fn verify_url(&self) -> Result<Verification, SimError> {
        let (echo, sealed) = self.shared.change(World::sealed_echo);
        self.verification(&echo, &sealed).await
    }

    /// Checks the URL so many times with the very same parameters.
    pub async fn verify_url_times(&self, times: usize) -> Result<Vec<Verification>, SimError> {
        let (echo, sealed) = self.shared.change(World::sealed_echo);
        let mut verifications = Vec::new();
        for _ in 0..times {
            verifications.push(self.verification(&echo, &sealed).await?);
        }
        Ok(verifications)
    }

    async fn verification(&self, echo: &str, sealed: &pusher::Sealed) -> Result<Verification, SimError> {
        let began = tokio::time::Instant::now();
        let answer = self.request(sealed).await?;
        Ok(Verification { answer, echo: echo.to_owned(), took: began.elapsed() })
    }

    async fn request(&self, sealed: &pusher::Sealed) -> Result<CallbackAnswer, SimError> {
        let (url, limit) = self.shared.read(|world| (world.desk.url.clone(), world.options.callback_timeout));
        let url = url.ok_or(SimError::NoCallbackUrl)?;
        pusher::request(&url, sealed, limit).await.map_err(SimError::NotAnswered)
    }

    /// Every attempt to deliver a callback so far, oldest first; those of [`Self::push_raw`] excepted.
    #[must_use]
    pub fn callbacks(&self) -> Vec<CallbackRecord> {
        self.shared.read(|world| world.callbacks.iter().cloned().collect())
    }

    /// Waits, at most so long in real time, until no callback is queued, held back or on its way.
    pub async fn wait_callbacks_done(&self, deadline: Duration) -> Result<(), SimError> {
        let done = self.shared.wait(deadline, |world| (world.desk.under_way == 0).then_some(())).await;
        done.ok_or_else(|| {
            let left = self.shared.read(|world| world.desk.under_way);
            SimError::Deadline(format!("{left} callbacks are still under way"))
        })
    }

    /// How many messages each account keeps, by `open_kfid`.
    #[must_use]
    pub fn stream_lengths(&self) -> BTreeMap<String, usize> {
        let length = |account: &world::Account| (account.open_kfid.clone(), account.stream.len());
        self.shared.read(|world| world.accounts.iter().map(length).collect())
    }

    /// Puts a message into an account's stream of which no field has the type that it should have.
    pub fn unreadable_message(&self, account: &str) {
        let message =
            json!({"msgid": 17, "send_time": "yesterday", "origin": [], "msgtype": null, "text": 0});
        self.raw_message(account, message);
    }

    /// Puts anything at all into an account's stream.
    pub fn raw_message(&self, account: &str, message: Value) {
        self.shared.change(|world| {
            let now_s = world.now_s();
            world.append(account, now_s, message);
        });
    }
}

#[cfg(test)]
mod tests;

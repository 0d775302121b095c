//! The whole inside on a store of its own, with a scripted WeCom and time that passes only when told to.
//!
//! To be used under `#[tokio::test(start_paused = true)]`: the rig keeps the paused clock from running ahead while
//! the registry's thread works, so that no time-out can strike by accident.

#![cfg_attr(
    not(test),
    expect(clippy::unwrap_used, clippy::panic, reason = "a test helper: what fails here fails the test")
)]

use std::{path::Path, sync::Arc, time::Duration};

use ractor::call_t;
use tempfile::TempDir;

use super::{ManualClock, ScriptedWeCom, SeededEntropy, policy};
use crate::{
    RegistryOptions, StoreError,
    handles::Handles,
    ids::{ExternalUserId, OpenId, OpenKfId, SyncToken, Timestamp},
    messages::{
        BindingInfo, BindingQuery, BindingStatus, Delivery, IssueOutcome, OutboxEntry, PendingCode,
        RegistryMessage,
    },
    policy::{Policy, SyncPolicy},
    ports::{BackEnd, CallbackEvent, Clock as _, Entropy},
    system::{StartError, System, SystemOptions},
    tally::Tally,
};

/// When all rigs begin.
pub(crate) const BEGIN: u64 = 1_800_000_000;
/// The account that is meant where none is named.
pub(crate) const ACCOUNT: &str = "wkA";
/// Looks at a condition before it counts as failed; one look takes at least a millisecond.
const LOOKS_MAX: u32 = 10_000;

/// What a rig is started with.
pub(crate) struct Setup {
    pub(crate) policy: Policy,
    pub(crate) sync_policy: SyncPolicy,
    pub(crate) corp_id: String,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) back_end: Option<Arc<dyn BackEnd>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policy: policy(),
            sync_policy: SyncPolicy {
                accounts: vec![OpenKfId::new(ACCOUNT)],
                reconcile_every_ms: 300_000,
                own_link: None,
                learns: false,
            },
            corp_id: "ww1".to_owned(),
            entropy: Arc::new(SeededEntropy::new(1)),
            back_end: None,
        }
    }
}

/// See the module.
pub(crate) struct Rig {
    pub(crate) setup: Setup,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) wecom: Arc<ScriptedWeCom>,
    pub(crate) tally: Tally,
    dir: TempDir,
    system: Option<System>,
    callbacks: u64,
    _time_stands_still: std::sync::mpsc::Sender<()>,
}

impl Rig {
    /// One account, the defaults, and a link that is known.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}, &[ACCOUNT]).await
    }

    /// With other settings and accounts; waits for the link.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Setup), accounts: &[&str]) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        let mut rig = Self::without_system(setup, Arc::new(ScriptedWeCom::new(accounts)));
        rig.up().await.unwrap();
        rig.has_link().await;
        rig
    }

    /// Nothing runs yet.
    pub(crate) fn without_system(setup: Setup, wecom: Arc<ScriptedWeCom>) -> Self {
        let (keeper, kept) = std::sync::mpsc::channel::<()>();
        // While a blocking task runs, tokio's paused clock does not move by itself.
        drop(tokio::task::spawn_blocking(move || kept.recv()));
        Self {
            setup,
            clock: Arc::new(ManualClock::at(BEGIN)),
            wecom,
            tally: Tally::default(),
            dir: TempDir::new().unwrap(),
            system: None,
            callbacks: 0,
            _time_stands_still: keeper,
        }
    }

    /// Starts the inside on the rig's store.
    pub(crate) async fn up(&mut self) -> Result<(), StartError> {
        for _ in 0..LOOKS_MAX {
            self.tally = Tally::default();
            match System::start(self.options()).await {
                // The threads of a store that was just closed may hold its lock a moment longer.
                Err(StartError::Store(StoreError::Locked(_))) => nap().await,
                Err(error) => return Err(error),
                Ok(system) => {
                    self.system = Some(system);
                    return Ok(());
                }
            }
        }
        panic!("the store is still locked");
    }

    /// What the inside is started with.
    pub(crate) fn options(&self) -> SystemOptions {
        SystemOptions {
            registry: RegistryOptions {
                path: self.path().to_owned(),
                corp_id: self.setup.corp_id.clone(),
                policy: self.setup.policy.clone(),
                clock: Arc::<ManualClock>::clone(&self.clock),
                entropy: Arc::clone(&self.setup.entropy),
                tally: self.tally.clone(),
            },
            sync_policy: SyncPolicy {
                learns: self.setup.policy.ways.link || self.setup.policy.ways.unionid,
                ..self.setup.sync_policy.clone()
            },
            wecom: Arc::<ScriptedWeCom>::clone(&self.wecom),
            mini_program: Arc::<ScriptedWeCom>::clone(&self.wecom),
            back_end: self.setup.back_end.clone(),
        }
    }

    /// The store's directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Stops the inside in good order. Nothing else may hold its handles.
    pub(crate) async fn down(&mut self) {
        if let Some(system) = self.system.take() {
            system.drain(Duration::from_secs(10)).await;
            system.stop().await;
        }
    }

    /// Stops and starts again on the same store.
    pub(crate) async fn restart(&mut self) {
        self.down().await;
        self.up().await.unwrap();
        self.has_link().await;
    }

    /// Runs with other settings from now on.
    pub(crate) async fn restart_with(&mut self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.setup);
        self.restart().await;
    }

    pub(crate) fn system(&self) -> &System {
        self.system.as_ref().unwrap()
    }

    pub(crate) fn take_system(&mut self) -> System {
        self.system.take().unwrap()
    }

    pub(crate) fn handles(&self) -> Handles {
        self.system().handles()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    // ---- What people do -------------------------------------------------------------------------------------

    /// A customer writes into the usual account; nobody is nudged.
    pub(crate) fn says(&self, customer: &str, text: &str, sent: Timestamp) {
        self.wecom.says(ACCOUNT, customer, text, sent);
    }

    /// A customer writes now, and WeCom nudges; returns when it is decided and answered.
    pub(crate) async fn chat(&mut self, customer: &str, text: &str) {
        let now = self.now();
        self.says(customer, text, now);
        self.nudge().await;
        self.settled().await;
    }

    /// The same; returns when it is decided.
    pub(crate) async fn chat_unanswered(&mut self, customer: &str, text: &str) {
        let now = self.now();
        self.says(customer, text, now);
        self.nudge().await;
        self.decided().await;
    }

    /// A callback for the usual account with a fresh sync token.
    pub(crate) async fn nudge(&mut self) {
        self.nudge_at(Some(ACCOUNT)).await;
    }

    /// A callback with a fresh sync token.
    pub(crate) async fn nudge_at(&mut self, account: Option<&str>) {
        let delivery = self.callback(account, Some(self.fresh_token()));
        self.handles().deliver(delivery).await.unwrap();
    }

    /// A sync token of this moment that was never used before.
    pub(crate) fn fresh_token(&self) -> SyncToken {
        SyncToken { value: format!("token-{}", self.callbacks), created_at: self.now() }
    }

    /// A callback that was never delivered before.
    pub(crate) fn callback(&mut self, account: Option<&str>, sync_token: Option<SyncToken>) -> Delivery {
        self.callbacks += 1;
        let mut signature = [0; 20];
        signature[..8].copy_from_slice(&self.callbacks.to_be_bytes());
        let account = account.map(OpenKfId::new);
        Delivery { signature, event: CallbackEvent::KfMessageOrEvent { account, sync_token } }
    }

    /// A user asks for a code.
    pub(crate) async fn issue(&self, openid: &str) -> IssueOutcome {
        self.handles().issue(OpenId::new(openid), None, false).await.unwrap()
    }

    /// A user asks for a new code and gets it.
    pub(crate) async fn new_code(&self, openid: &str) -> PendingCode {
        match self.handles().issue(OpenId::new(openid), None, true).await.unwrap() {
            IssueOutcome::Issued(code) => code,
            other => panic!("no new code for {openid}: {other:?}"),
        }
    }

    /// A user gets a code and types it in the chat.
    pub(crate) async fn bind(&mut self, openid: &str, customer: &str) {
        let code = self.new_code(openid).await;
        self.chat(customer, code.code.as_str()).await;
        assert_eq!(self.bound_to(openid).await.as_deref(), Some(customer), "{openid} should be bound");
    }

    /// The same; returns when it is decided.
    pub(crate) async fn bind_unsettled(&mut self, openid: &str, customer: &str) {
        let code = self.new_code(openid).await;
        self.chat_unanswered(customer, code.code.as_str()).await;
        assert_eq!(self.bound_to(openid).await.as_deref(), Some(customer), "{openid} should be bound");
    }

    // ---- What can be seen -----------------------------------------------------------------------------------

    pub(crate) async fn status(&self, openid: &str) -> BindingStatus {
        self.handles().view(&OpenId::new(openid)).await.unwrap().status
    }

    pub(crate) async fn version(&self, openid: &str) -> u64 {
        self.handles().view(&OpenId::new(openid)).await.unwrap().version
    }

    pub(crate) async fn binding(&self, openid: &str) -> Option<BindingInfo> {
        match self.status(openid).await {
            BindingStatus::Bound(info) => Some(*info),
            BindingStatus::Unbound | BindingStatus::Pending(_) => None,
        }
    }

    pub(crate) async fn bound_to(&self, openid: &str) -> Option<String> {
        self.binding(openid).await.map(|binding| binding.customer.as_str().to_owned())
    }

    pub(crate) async fn bindings(&self) -> Vec<BindingInfo> {
        let query = BindingQuery { limit: 1000, ..BindingQuery::default() };
        self.handles().bindings(query).await.unwrap().bindings
    }

    pub(crate) async fn user_of(&self, customer: &str) -> Option<String> {
        let customer = Some(ExternalUserId::new(customer));
        let query = BindingQuery { customer, limit: 1000, ..BindingQuery::default() };
        let page = self.handles().bindings(query).await.unwrap();
        page.bindings.first().map(|binding| binding.openid.as_str().to_owned())
    }

    /// What a customer has heard since the last look.
    pub(crate) fn heard(&self, customer: &str) -> Vec<String> {
        self.wecom.heard(customer)
    }

    /// The value of one line of the metrics, such as `kfbind_replies_total{result="sent"}`.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let text = self.tally.encode();
        let found = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no metric {line} in {text}")).parse().unwrap()
    }

    pub(crate) async fn outbox(&self) -> Vec<OutboxEntry> {
        let registry = self.system().registry();
        let build = |reply| RegistryMessage::Outbox { from: 0, limit: 10_000, reply };
        call_t!(registry, build, 60_000).unwrap()
    }

    // ---- Time -----------------------------------------------------------------------------------------------

    /// Time passes, second by second, for all clocks; the actors work in between.
    pub(crate) async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.pass_ms(1_000).await;
        }
    }

    /// The same in one step.
    pub(crate) async fn pass_ms(&self, milliseconds: u64) {
        self.clock.advance_ms(milliseconds);
        tokio::time::advance(Duration::from_millis(milliseconds)).await;
        self.breathe().await;
    }

    /// Gives every actor the occasion to work through what it has.
    pub(crate) async fn breathe(&self) {
        for _ in 0..4 {
            let _ = self.handles().health().await;
        }
    }

    /// Waits until the link is known.
    pub(crate) async fn has_link(&self) {
        eventually("the kf link is known", async || {
            let outcome = self.handles().issue(OpenId::new("probe"), None, false).await.unwrap();
            outcome != IssueOutcome::NoLink
        })
        .await;
        self.handles().unbind(OpenId::new("probe")).await.unwrap();
    }

    /// Waits until every served message is decided.
    pub(crate) async fn decided(&self) {
        eventually("all messages are decided", async || {
            for report in self.handles().health().await.sync.accounts {
                let build = |reply| RegistryMessage::Cursor(report.account.clone(), reply);
                let stored = call_t!(self.system().registry(), build, 60_000).unwrap().cursor;
                if stored != self.wecom.end(report.account.as_str()) {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Waits until every served message is decided and answered.
    pub(crate) async fn settled(&self) {
        self.decided().await;
        eventually("the outbox is empty", async || self.outbox().await.is_empty()).await;
    }
}

/// Polls until it is so; fails the test after ten seconds.
pub(crate) async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    for look in 0..LOOKS_MAX {
        if is_so().await {
            return;
        }
        // At first only other tasks are waited for, then other threads.
        if look < 20 { tokio::task::yield_now().await } else { nap().await }
    }
    panic!("never came true: {what}");
}

/// A millisecond of real time; tokio's own clock stands still.
async fn nap() {
    let rest = || std::thread::park_timeout(Duration::from_millis(1));
    tokio::task::spawn_blocking(rest).await.unwrap();
}

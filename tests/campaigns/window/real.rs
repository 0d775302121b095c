//! The real registry, told of a simulated day.

use std::{collections::BTreeMap, sync::Arc};

use actors::{
    RegistryOptions,
    ids::{OpenId, OpenKfId, SyncToken, Timestamp},
    messages::{BindingQuery, Delivery},
    policy::{SyncPolicy, Ways},
    ports::{CallbackEvent, Clock as _},
    system::{System, SystemOptions},
    tally::Tally,
    testing::{ManualClock, ScriptedWeCom, SeededEntropy, policy},
};
use tempfile::TempDir;

use super::{Event, MIDNIGHT, WINDOW_S};
use crate::report::{Breach, Failure};

const ACCOUNT: &str = "wkWindow";

/// The real registry, told of the same day.
pub(super) struct Real {
    pub(super) wecom: Arc<ScriptedWeCom>,
    clock: Arc<ManualClock>,
    pub(super) system: System,
    tally: Tally,
    callbacks: u64,
    sent: u64,
    _folder: TempDir,
}

impl Real {
    pub(super) async fn start() -> Result<Self, Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::new(Breach::Stuck, format!("preparing: {error}"));
        let folder = TempDir::with_prefix("kfbind-window-").map_err(|error| failed(&error))?;
        let wecom = Arc::new(ScriptedWeCom::new(&[ACCOUNT]));
        let clock = Arc::new(ManualClock::at(MIDNIGHT - 3600));
        let tally = Tally::default();
        let mut policy = policy();
        policy.ways = Ways { window: true, ..Ways::default() };
        policy.window_s = WINDOW_S;
        let system = System::start(SystemOptions {
            registry: RegistryOptions {
                path: folder.path().join("store"),
                corp_id: "ww1".to_owned(),
                policy,
                clock: Arc::clone(&clock) as _,
                entropy: Arc::new(SeededEntropy::new(1)),
                tally: tally.clone(),
            },
            sync_policy: SyncPolicy {
                accounts: vec![OpenKfId::new(ACCOUNT)],
                reconcile_every_ms: 300_000,
                own_link: None,
                learns: false,
            },
            wecom: Arc::clone(&wecom) as _,
            mini_program: Arc::clone(&wecom) as _,
            back_end: None,
        })
        .await
        .map_err(|error| failed(&error))?;
        Ok(Self { wecom, clock, system, tally, callbacks: 0, sent: 0, _folder: folder })
    }

    /// The same thing happens; then everything is pulled and said.
    pub(super) async fn happens(&mut self, at: u64, event: &Event) -> Result<(), Failure> {
        self.clock.set(at);
        match event {
            Event::Announces(user) => {
                let opened = self.system.handles().open_intent(OpenId::new(name(*user)), None).await;
                opened.map_err(|error| Failure::new(Breach::Stuck, error.to_string()))?;
                Ok(())
            }
            Event::Arrives(person) => {
                self.wecom.says(ACCOUNT, &name(*person), "你好", Timestamp(at));
                self.pulled().await
            }
        }
    }

    pub(super) async fn taps(&mut self, at: u64, person: u64) -> Result<(), Failure> {
        self.clock.set(at);
        let Some((yes, _)) = self.wecom.question(&name(person)) else {
            return Err(Failure::new(Breach::Lost, "the registry did not ask whom the model asks"));
        };
        self.wecom.taps(ACCOUNT, &name(person), &yes, Timestamp(at));
        self.pulled().await
    }

    pub(super) async fn pulled(&mut self) -> Result<(), Failure> {
        self.callbacks += 1;
        let mut signature = [0; 20];
        for (byte, from) in signature.iter_mut().zip(self.callbacks.to_be_bytes()) {
            *byte = from;
        }
        let now = self.clock.now();
        let sync_token = Some(SyncToken { value: format!("t{}", self.callbacks), created_at: now });
        let account = Some(OpenKfId::new(ACCOUNT));
        let event = CallbackEvent::KfMessageOrEvent { account, sync_token };
        let stuck = |what: &str| Failure::new(Breach::Stuck, what.to_owned());
        let delivered = self.system.handles().deliver(Delivery { signature, event }).await;
        delivered.map_err(|_| stuck("a callback was not taken"))?;
        let deadline = tokio::time::Instant::now() + crate::line::PATIENCE;
        self.sent += 1;
        let decided = format!("kfbind_sync_messages_total{{kind=\"text\"}} {}\n", self.sent);
        loop {
            // Counted while it is decided; a look at the registry's health waits for the commit behind that.
            if self.tally.encode().contains(&decided) {
                let _ = self.system.handles().health().await;
                if self.tally.encode().contains("kfbind_outbox_depth 0\n") {
                    return Ok(());
                }
            }
            if tokio::time::Instant::now() > deadline {
                return Err(stuck("a message was never decided or answered"));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Who is bound to whom, in the numbers of the model.
    pub(super) async fn bound(&self) -> Result<BTreeMap<u64, u64>, Failure> {
        let query = BindingQuery { limit: 1_000_000, ..BindingQuery::default() };
        let page = self.system.handles().bindings(query).await;
        let page = page.map_err(|error| Failure::new(Breach::Stuck, error.to_string()))?;
        let number = |text: &str| text.trim_start_matches('n').parse().unwrap_or(u64::MAX);
        let pairs = page.bindings.iter();
        Ok(pairs.map(|pair| (number(pair.openid.as_str()), number(pair.customer.as_str()))).collect())
    }
}

/// What a person is called on either side.
fn name(person: u64) -> String {
    format!("n{person:06}")
}

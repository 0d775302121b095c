//! Who starts, watches and stops whom, and what the outside may hold.
//!
//! ```text
//! System (root) ── watches ──▶ Registry, Notifier, KfSync, Callback
//! ```
//!
//! They are started from left to right, each with the references of those before it, and stopped from right to
//! left. When any of them dies, the system reports failure and the process must end: no half service. Single
//! actors are not restarted, because every reference to them would be stale, and a fresh start of the process is
//! the path that is tested anyway.

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent, call_t};
use tokio::sync::watch;

use crate::{
    callback::Callback,
    ids::{ExternalUserId, OpenId, UnionId},
    kf_sync::{KfSync, KfSyncOptions},
    messages::{
        BindingPage, BindingQuery, BindingView, CallbackMessage, Delivery, IssueOutcome, IssueRequest,
        KfSyncMessage, NotifierMessage, Refusal, RegistryMessage, SyncReport, UnbindBy, UnbindRequest,
    },
    notifier::{Notifier, NotifierOptions},
    policy::SyncPolicy,
    ports::{Clock, WeCom},
    registry::{
        self, Registry, RegistryOptions, StoreError,
        changes::{Changes, Woken},
        reader::Reader,
    },
    tally::Tally,
};

/// How long the callback actor may take, in milliseconds: WeCom waits five seconds.
const DELIVER_TIMEOUT_MS: u64 = 1_000;
/// How long a durable write may take, in milliseconds.
const WRITE_TIMEOUT_MS: u64 = 10_000;
/// How long an actor may take to say that it is alive, in milliseconds.
const OBSERVE_TIMEOUT_MS: u64 = 500;

/// What the inside is started with.
pub struct SystemOptions {
    /// The registry's part, with the ports that all share.
    pub registry: RegistryOptions,
    /// The accounts and the link.
    pub sync_policy: SyncPolicy,
    /// WeCom.
    pub wecom: Arc<dyn WeCom>,
}

/// Why the inside could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An actor did not start.
    #[error("an actor did not start: {0}")]
    Actor(String),
}

impl From<ractor::SpawnErr> for StartError {
    fn from(error: ractor::SpawnErr) -> Self {
        Self::Actor(error.to_string())
    }
}

/// Why the actors did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The service is stopping, or an actor is gone or too slow.
    #[error("the service is stopping or overloaded")]
    Busy,
    /// The store takes no writes for now.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What the actors know of their own health.
#[derive(Clone, Debug)]
pub struct Health {
    /// Whether the store takes writes.
    pub store_writable: bool,
    /// The actors that did not answer.
    pub silent_actors: Vec<&'static str>,
    /// Of kf-sync.
    pub sync: SyncReport,
}

/// The running inside.
pub struct System {
    handles: Handles,
    root: ActorRef<()>,
    registry: ActorRef<RegistryMessage>,
    notifier: ActorRef<NotifierMessage>,
    stopping: watch::Sender<bool>,
    failed: watch::Receiver<Option<String>>,
}

impl System {
    /// Opens the store and starts the actors.
    pub async fn start(options: SystemOptions) -> Result<Self, StartError> {
        let clock = Arc::clone(&options.registry.clock);
        let entropy = Arc::clone(&options.registry.entropy);
        let tally = options.registry.tally.clone();
        let opened = tokio::task::spawn_blocking(move || registry::open(options.registry))
            .await
            .map_err(|error| StartError::Actor(error.to_string()))??;
        let (reader, changes) = (opened.reader.clone(), Arc::clone(&opened.changes));
        let (instance_key, link) = (opened.instance_key, opened.link.clone());

        let (report, failed) = watch::channel(None);
        let (stopping, is_stopping) = watch::channel(false);
        let (root, _) = Actor::spawn(None, Root, (report, is_stopping.clone())).await?;
        let watcher = || root.get_cell();
        let (registry, _) = Actor::spawn_linked(None, Registry, opened, watcher()).await?;
        let notifier = NotifierOptions {
            registry: registry.clone(),
            wecom: Arc::clone(&options.wecom),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            tally: tally.clone(),
        };
        let (notifier, _) = Actor::spawn_linked(None, Notifier, notifier, watcher()).await?;
        registry
            .cast(RegistryMessage::Subscribe(notifier.clone()))
            .map_err(|error| StartError::Actor(error.to_string()))?;
        let kf_sync = KfSyncOptions {
            registry: registry.clone(),
            wecom: options.wecom,
            clock: Arc::clone(&clock),
            entropy,
            tally: tally.clone(),
            policy: options.sync_policy,
            link,
        };
        let (kf_sync, _) = Actor::spawn_linked(None, KfSync, kf_sync, watcher()).await?;
        let (callback, _) =
            Actor::spawn_linked(None, Callback, (kf_sync.clone(), tally.clone()), watcher()).await?;
        let handles = Handles(Arc::new(Inside {
            callback,
            kf_sync,
            notifier: notifier.clone(),
            registry: registry.clone(),
            reader,
            changes,
            clock,
            tally,
            instance_key,
            is_stopping,
        }));
        Ok(Self { handles, root, registry, notifier, stopping, failed })
    }

    /// What the outside may hold.
    #[must_use]
    pub fn handles(&self) -> Handles {
        self.handles.clone()
    }

    /// Becomes `Some` with the reason when an actor has died: then the process must end.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.clone()
    }

    /// Answers all waits now and in future at once. The first step of stopping; the rest is [`System::stop`].
    pub fn release_waits(&self) {
        let _ = self.stopping.send(true);
        self.handles.0.changes.wake_all();
    }

    /// Stops: nothing new is begun, what is under way ends or is cut off after `grace`, everything decided is on the
    /// disk when this returns.
    pub async fn stop(self, grace: Duration) {
        self.release_waits();
        let inside = &self.handles.0;
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        inside.callback.stop(None);
        let pulls = call_t!(inside.kf_sync, KfSyncMessage::Drain, grace_ms);
        let answers = call_t!(self.notifier, NotifierMessage::Drain, grace_ms.min(2_000));
        if pulls.is_err() || answers.is_err() {
            tracing::warn!(
                "calls to WeCom were cut off at the stop; they are made again after the next start"
            );
        }
        inside.kf_sync.stop(None);
        self.notifier.stop(None);
        // The registry finishes what it has been given, and its thread ends with a durable store.
        if self.registry.stop_and_wait(None, None).await.is_err() {
            tracing::error!("the registry had ended before the stop");
        }
        self.root.stop(None);
    }
}

/// The root of the supervision tree: it only watches.
struct Root;

struct RootState {
    report: watch::Sender<Option<String>>,
    is_stopping: watch::Receiver<bool>,
}

impl Actor for Root {
    type Msg = ();
    type State = RootState;
    type Arguments = (watch::Sender<Option<String>>, watch::Receiver<bool>);

    async fn pre_start(
        &self,
        _myself: ActorRef<()>,
        (report, is_stopping): Self::Arguments,
    ) -> Result<RootState, ActorProcessingErr> {
        Ok(RootState { report, is_stopping })
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        let why = match event {
            SupervisionEvent::ActorFailed(_, error) => format!("an actor has died: {error}"),
            SupervisionEvent::ActorTerminated(..) if !*state.is_stopping.borrow() => {
                "an actor has ended before its time".to_owned()
            }
            _ => return Ok(()),
        };
        tracing::error!(why, "the service can't go on");
        let _ = state.report.send(Some(why));
        Ok(())
    }
}

/// All that the outside may ask of the actors. Cheap to clone.
#[derive(Clone)]
pub struct Handles(Arc<Inside>);

struct Inside {
    callback: ActorRef<CallbackMessage>,
    kf_sync: ActorRef<KfSyncMessage>,
    notifier: ActorRef<NotifierMessage>,
    registry: ActorRef<RegistryMessage>,
    reader: Reader,
    changes: Arc<Changes>,
    clock: Arc<dyn Clock>,
    tally: Tally,
    instance_key: [u8; 32],
    is_stopping: watch::Receiver<bool>,
}

impl std::fmt::Debug for Handles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handles")
    }
}

impl Handles {
    /// Passes an authentic callback on. `Ok` means accepted, not done.
    pub async fn deliver(&self, delivery: Delivery) -> Result<(), Unavailable> {
        if *self.0.is_stopping.borrow() {
            return Err(Unavailable::Busy);
        }
        let build = |reply| CallbackMessage::Deliver(delivery, reply);
        call_t!(self.0.callback, build, DELIVER_TIMEOUT_MS).map_err(|_| Unavailable::Busy)
    }

    /// Gives the user a code, or the live one again. `unionid` is the one from the login.
    pub async fn issue(
        &self,
        openid: OpenId,
        unionid: Option<UnionId>,
        renew: bool,
    ) -> Result<IssueOutcome, Unavailable> {
        let request = IssueRequest { openid, unionid, renew };
        self.write(|reply| RegistryMessage::Issue(request, reply)).await
    }

    /// What the user sees now.
    pub async fn view(&self, openid: &OpenId) -> Result<BindingView, Unavailable> {
        Ok(self.look(openid).await?.0)
    }

    /// What the user sees once its version differs from `since`, at the latest after `wait`, at once when the
    /// service stops or the user has too many such waits.
    pub async fn wait_for_change(
        &self,
        openid: &OpenId,
        since: u64,
        wait: Duration,
    ) -> Result<BindingView, Unavailable> {
        let end = tokio::time::Instant::now() + wait;
        loop {
            // Waiting begins before looking, so that no change falls between.
            let mut woken = self.0.changes.wait(openid);
            let (view, changes_at_s) = self.look(openid).await?;
            let mut left = end.saturating_duration_since(tokio::time::Instant::now());
            if view.version != since || left.is_zero() || *self.0.is_stopping.borrow() {
                drop(woken);
                self.0.changes.tidy(openid);
                return Ok(view);
            }
            if let Some(at) = changes_at_s {
                let by_itself = at.0.saturating_mul(1000).saturating_sub(self.0.clock.now_ms());
                left = left.min(Duration::from_millis(by_itself));
            }
            let outcome = tokio::time::timeout(left, &mut woken).await;
            drop(woken);
            self.0.changes.tidy(openid);
            if let Ok(Ok(Woken::Crowded)) = outcome {
                return self.view(openid).await;
            }
        }
    }

    /// The user's own unbinding: the binding and all codes end.
    pub async fn unbind(&self, openid: OpenId) -> Result<(), Unavailable> {
        let request = UnbindRequest { openid, by: UnbindBy::User };
        self.write(|reply| RegistryMessage::Unbind(request, reply)).await.map(|_| ())
    }

    /// The back end's unbinding; whether there was a binding.
    pub async fn unbind_by_admin(&self, openid: OpenId) -> Result<bool, Unavailable> {
        let request = UnbindRequest { openid, by: UnbindBy::Admin };
        self.write(|reply| RegistryMessage::Unbind(request, reply)).await
    }

    /// Lifts a customer's lock and forgets their wrong codes.
    pub async fn lift_lock(&self, customer: ExternalUserId) -> Result<(), Unavailable> {
        self.write(|reply| RegistryMessage::LiftLock(customer, reply)).await.map(|_| ())
    }

    /// Lists bindings, ordered by openid.
    pub async fn bindings(&self, query: BindingQuery) -> Result<BindingPage, Unavailable> {
        loop {
            let (reader, query) = (self.0.reader.clone(), query.clone());
            // A search may walk the whole tree.
            let page = tokio::task::spawn_blocking(move || reader.bindings(&query)).await;
            match page.map_err(|_| Unavailable::Busy)? {
                Ok(Ok(page)) => return Ok(page),
                Ok(Err(_unflushed)) => self.barrier().await?,
                Err(error) => return Err(self.store_failed(&error)),
            }
        }
    }

    /// How the actors are; answered within half a second.
    pub async fn health(&self) -> Health {
        let (callback, notifier, registry, sync) = tokio::join!(
            async { call_t!(self.0.callback, CallbackMessage::Observe, OBSERVE_TIMEOUT_MS) },
            async { call_t!(self.0.notifier, NotifierMessage::Observe, OBSERVE_TIMEOUT_MS) },
            async { call_t!(self.0.registry, RegistryMessage::Barrier, OBSERVE_TIMEOUT_MS) },
            async { call_t!(self.0.kf_sync, KfSyncMessage::Observe, OBSERVE_TIMEOUT_MS) },
        );
        let silent = [
            ("callback", callback.is_err()),
            ("notifier", notifier.is_err()),
            ("registry", registry.is_err()),
            ("kf_sync", sync.is_err()),
        ];
        Health {
            store_writable: self.0.reader.is_writable(),
            silent_actors: silent.iter().filter(|(_, is_silent)| *is_silent).map(|(name, _)| *name).collect(),
            sync: sync.unwrap_or_default(),
        }
    }

    /// Whether the service is stopping.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.0.is_stopping.borrow()
    }

    /// The metrics.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// The secret of this store that sessions are signed with.
    #[must_use]
    pub fn instance_key(&self) -> [u8; 32] {
        self.0.instance_key
    }

    async fn write<T: Send + 'static>(
        &self,
        build: impl FnOnce(ractor::RpcReplyPort<Result<T, Refusal>>) -> RegistryMessage,
    ) -> Result<T, Unavailable> {
        let done = call_t!(self.0.registry, build, WRITE_TIMEOUT_MS).map_err(|_| Unavailable::Busy)?;
        Ok(done?)
    }

    async fn look(
        &self,
        openid: &OpenId,
    ) -> Result<(BindingView, Option<crate::ids::Timestamp>), Unavailable> {
        loop {
            match self.0.reader.view(openid, self.0.clock.now()) {
                Ok(Ok(view)) => return Ok(view),
                Ok(Err(_unflushed)) => self.barrier().await?,
                Err(error) => return Err(self.store_failed(&error)),
            }
        }
    }

    /// Returns when what was committed before is on the disk.
    async fn barrier(&self) -> Result<(), Unavailable> {
        call_t!(self.0.registry, RegistryMessage::Barrier, WRITE_TIMEOUT_MS).map_err(|_| Unavailable::Busy)
    }

    /// A store that can't be read is as dead as one that can't be written.
    fn store_failed(&self, error: &StoreError) -> Unavailable {
        let _ = self.0.registry.cast(RegistryMessage::WriterFailed(error.to_string()));
        Unavailable::Busy
    }
}

#[cfg(test)]
mod tests;

/// What tests may look at beside the handles.
#[cfg(test)]
impl System {
    pub(crate) fn registry(&self) -> &ActorRef<RegistryMessage> {
        &self.registry
    }

    pub(crate) fn kf_sync(&self) -> &ActorRef<KfSyncMessage> {
        &self.handles.0.kf_sync
    }

    pub(crate) fn callback(&self) -> &ActorRef<CallbackMessage> {
        &self.handles.0.callback
    }

    pub(crate) fn notifier(&self) -> &ActorRef<NotifierMessage> {
        &self.notifier
    }
}

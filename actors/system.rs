//! Who starts, watches and stops whom, and what the outside may hold.
//!
//! ```text
//! System (root) ── watches ──▶ Registry, Notifier, Webhooks, KfSync, Callback
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
    handles::{Asking, Calls, Handles, Inside, Look},
    kf_sync::{KfSync, KfSyncOptions},
    messages::{KfSyncMessage, NotifierMessage, RegistryMessage, WebhooksMessage},
    notifier::{Notifier, NotifierOptions},
    policy::SyncPolicy,
    ports::{BackEnd, MiniProgram, WeCom},
    registry::{self, Registry, RegistryOptions, StoreError},
    webhooks::{Webhooks, WebhooksOptions},
};

/// What the inside is started with.
pub struct SystemOptions {
    /// The registry's part, with the ports that all share.
    pub registry: RegistryOptions,
    /// The accounts and the link.
    pub sync_policy: SyncPolicy,
    /// WeCom.
    pub wecom: Arc<dyn WeCom>,
    /// WeChat's mini program.
    pub mini_program: Arc<dyn MiniProgram>,
    /// The business back end, where it wants to be told.
    pub back_end: Option<Arc<dyn BackEnd>>,
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

/// The running inside.
pub struct System {
    handles: Handles,
    root: ActorRef<()>,
    registry: ActorRef<RegistryMessage>,
    notifier: ActorRef<NotifierMessage>,
    webhooks: ActorRef<WebhooksMessage>,
    stopping: watch::Sender<bool>,
    failed: watch::Receiver<Option<String>>,
}

impl System {
    /// Opens the store and starts the actors.
    pub async fn start(options: SystemOptions) -> Result<Self, StartError> {
        let clock = Arc::clone(&options.registry.clock);
        let entropy = Arc::clone(&options.registry.entropy);
        let tally = options.registry.tally.clone();
        let handover = options.registry.policy.handover.clone();
        let opened = tokio::task::spawn_blocking(move || registry::open(options.registry))
            .await
            .map_err(|error| StartError::Actor(error.to_string()))??;
        let (reader, changes) = (opened.reader.clone(), Arc::clone(&opened.changes));
        let (instance_key, link, ration) = (opened.instance_key, opened.link.clone(), opened.ration.clone());

        let (report, failed) = watch::channel(None);
        let (stopping, is_stopping) = watch::channel(false);
        let (root, _) = Actor::spawn(None, Root, (report, is_stopping.clone())).await?;
        let watcher = || root.get_cell();
        let (registry, _) = Actor::spawn_linked(None, Registry, opened, watcher()).await?;
        let notifier = NotifierOptions {
            registry: registry.clone(),
            wecom: Arc::clone(&options.wecom),
            mini_program: options.mini_program,
            handover,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            tally: tally.clone(),
        };
        let (notifier, _) = Actor::spawn_linked(None, Notifier, notifier, watcher()).await?;
        subscribe(&registry, RegistryMessage::Subscribe(notifier.clone()))?;
        let webhooks = WebhooksOptions {
            registry: registry.clone(),
            back_end: options.back_end,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            tally: tally.clone(),
        };
        let (webhooks, _) = Actor::spawn_linked(None, Webhooks, webhooks, watcher()).await?;
        subscribe(&registry, RegistryMessage::SubscribeWebhooks(webhooks.clone()))?;
        let kf_sync = KfSyncOptions {
            registry: registry.clone(),
            wecom: Arc::clone(&options.wecom),
            clock: Arc::clone(&clock),
            entropy,
            tally: tally.clone(),
            policy: options.sync_policy,
            link,
            ration,
        };
        let (kf_sync, _) = Actor::spawn_linked(None, KfSync, kf_sync, watcher()).await?;
        let (callback, _) =
            Actor::spawn_linked(None, Callback, (kf_sync.clone(), tally.clone()), watcher()).await?;
        let handles = Handles(Arc::new(Inside {
            callback,
            kf_sync,
            notifier: notifier.clone(),
            webhooks: webhooks.clone(),
            registry: registry.clone(),
            reader,
            changes,
            wecom: options.wecom,
            clock,
            tally,
            instance_key,
            is_stopping,
            calls: Calls::default(),
            asking: Asking::default(),
            look: Look::default(),
        }));
        Ok(Self { handles, root, registry, notifier, webhooks, stopping, failed })
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

    /// Answers all waits now and in future at once. The first step of stopping; the rest is [`System::drain`] and [`System::stop`].
    pub fn release_waits(&self) {
        let _ = self.stopping.send(true);
        self.handles.0.changes.wake_all();
    }

    /// Lets the calls end that are under way, and begins none; what is not done after `grace` is cut off, and
    /// done again after the next start. The second step of stopping; HTTP requests may still end meanwhile.
    pub async fn drain(&self, grace: Duration) {
        self.release_waits();
        let inside = &self.handles.0;
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        inside.callback.stop(None);
        let (pulls, answers, webhooks) = tokio::join!(
            async { call_t!(inside.kf_sync, KfSyncMessage::Drain, grace_ms) },
            async { call_t!(self.notifier, NotifierMessage::Drain, grace_ms) },
            async { call_t!(self.webhooks, WebhooksMessage::Drain, grace_ms) },
        );
        if pulls.is_err() || answers.is_err() {
            tracing::warn!(
                "calls to WeCom were cut off at the stop; they are made again after the next start"
            );
        }
        if webhooks.is_err() {
            tracing::warn!("webhooks were cut off at the stop; they are sent again after the next start");
        }
        inside.kf_sync.stop(None);
        self.notifier.stop(None);
        self.webhooks.stop(None);
    }

    /// The last step: everything decided is on the disk when this returns.
    pub async fn stop(self) {
        // The registry finishes what it has been given, and its thread ends with a durable store.
        if self.registry.drain_and_wait(None).await.is_err() {
            tracing::error!("the registry had ended before the stop");
        }
        self.root.stop(None);
    }
}

fn subscribe(registry: &ActorRef<RegistryMessage>, subscription: RegistryMessage) -> Result<(), StartError> {
    registry.cast(subscription).map_err(|error| StartError::Actor(error.to_string()))
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

    pub(crate) fn callback(&self) -> &ActorRef<crate::messages::CallbackMessage> {
        &self.handles.0.callback
    }

    pub(crate) fn notifier(&self) -> &ActorRef<NotifierMessage> {
        &self.notifier
    }
}

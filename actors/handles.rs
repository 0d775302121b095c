//! What the outside may hold of the inside: methods instead of references to actors, each call with its time-out.
//!
//! No decisions, and no state but the number of calls under way; the messages that an actor means for itself can't be
//! sent from here.

use std::{sync::Arc, time::Duration};

use ractor::ActorRef;
use tokio::{sync::watch, time::Instant};

use crate::{
    ids::{ExternalUserId, OpenId, Timestamp, UnionId},
    messages::{
        ArchiveRecord, BindingPage, BindingQuery, BindingView, CallbackMessage, Delivery, IssueOutcome,
        IssueRequest, KfSyncMessage, NotifierMessage, Refusal, RegistryMessage, SyncReport, UnbindBy,
        UnbindRequest, WebhooksMessage,
    },
    ports::{Clock, WeCom},
    registry::{
        SCHEMA, StoreError,
        changes::{Changes, Woken},
        reader::Reader,
    },
    tally::Tally,
};

mod admin;
mod calls;
mod ways;

pub use calls::CALLS_MAX;
pub(crate) use calls::Calls;
use calls::Question;
pub(crate) use ways::Asking;
pub use ways::StaffRefusal;

/// How long the callback actor may take: WeCom waits five seconds.
const DELIVER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a durable write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an actor may take to say that it is alive.
const OBSERVE_TIMEOUT: Duration = Duration::from_millis(500);

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

/// An export under way. It is given up when nobody asks for more for a minute.
pub struct StoreExport {
    handles: Handles,
    id: u64,
}

impl StoreExport {
    /// The layout of the trees.
    #[must_use]
    pub fn schema(&self) -> u32 {
        SCHEMA
    }

    /// The next records; empty at the end. An error where the export had to be given up.
    pub async fn next(&self) -> Result<Vec<ArchiveRecord>, Unavailable> {
        let build = |reply| RegistryMessage::NextExported(self.id, reply);
        let inside = &self.handles.0;
        let records = inside.calls.call_in_turn(&inside.registry, build, WRITE_TIMEOUT).await;
        records.flatten().ok_or(Unavailable::Busy)
    }
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

/// All that the outside may ask of the actors. Cheap to clone.
#[derive(Clone)]
pub struct Handles(pub(crate) Arc<Inside>);

/// See [`Handles`].
pub(crate) struct Inside {
    pub(crate) callback: ActorRef<CallbackMessage>,
    pub(crate) kf_sync: ActorRef<KfSyncMessage>,
    pub(crate) notifier: ActorRef<NotifierMessage>,
    pub(crate) webhooks: ActorRef<WebhooksMessage>,
    pub(crate) registry: ActorRef<RegistryMessage>,
    pub(crate) reader: Reader,
    pub(crate) changes: Arc<Changes>,
    pub(crate) wecom: Arc<dyn WeCom>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tally: Tally,
    pub(crate) instance_key: [u8; 32],
    pub(crate) is_stopping: watch::Receiver<bool>,
    pub(crate) calls: Calls,
    pub(crate) asking: Asking,
    pub(crate) look: Look,
}

/// What each actor is asked for its health.
#[derive(Default)]
pub(crate) struct Look {
    callback: Question<()>,
    notifier: Question<()>,
    webhooks: Question<()>,
    registry: Question<()>,
    kf_sync: Question<SyncReport>,
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
        self.0.calls.call(&self.0.callback, build, DELIVER_TIMEOUT).await.ok_or(Unavailable::Busy)
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
        let end = Instant::now() + wait;
        loop {
            let is_over =
                |view: &BindingView| view.version != since || Instant::now() >= end || self.is_stopping();
            // Looking without waiting takes no place among the waits.
            let view = self.view(openid).await?;
            if is_over(&view) {
                return Ok(view);
            }
            // Waiting begins before looking again, so that no change falls between.
            let mut wait = self.0.changes.wait(openid);
            let (view, changes_at_s) = self.look(openid).await?;
            if is_over(&view) {
                return Ok(view);
            }
            let mut left = end.saturating_duration_since(Instant::now());
            if let Some(at) = changes_at_s {
                let by_itself = at.0.saturating_mul(1000).saturating_sub(self.0.clock.now_ms());
                left = left.min(Duration::from_millis(by_itself));
            }
            let outcome = tokio::time::timeout(left, wait.woken()).await;
            drop(wait);
            if let Ok(Some(Woken::Crowded)) = outcome {
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
        // A search may walk the whole tree.
        self.read(move |handles| handles.0.reader.bindings(&query)).await
    }

    /// Begins an export of the whole store at this moment. Two at once are possible, no more.
    pub async fn begin_export(&self) -> Result<StoreExport, Unavailable> {
        let begun = self.0.calls.call(&self.0.registry, RegistryMessage::BeginExport, WRITE_TIMEOUT).await;
        let id = begun.flatten().ok_or(Unavailable::Busy)?;
        Ok(StoreExport { handles: self.clone(), id })
    }

    /// How the actors are; answered within half a second. Everybody may ask: it takes no place among the calls, and each
    /// actor is asked once for all who ask meanwhile.
    pub async fn health(&self) -> Health {
        let (inside, look) = (&self.0, &self.0.look);
        let (callback, notifier, webhooks, registry, sync) = tokio::join!(
            look.callback.ask(&inside.callback, CallbackMessage::Observe, OBSERVE_TIMEOUT),
            look.notifier.ask(&inside.notifier, NotifierMessage::Observe, OBSERVE_TIMEOUT),
            look.webhooks.ask(&inside.webhooks, WebhooksMessage::Observe, OBSERVE_TIMEOUT),
            look.registry.ask(&inside.registry, RegistryMessage::Barrier, OBSERVE_TIMEOUT),
            look.kf_sync.ask(&inside.kf_sync, KfSyncMessage::Observe, OBSERVE_TIMEOUT),
        );
        let silent = [
            ("callback", callback.is_none()),
            ("notifier", notifier.is_none()),
            ("webhooks", webhooks.is_none()),
            ("registry", registry.is_none()),
            ("kf_sync", sync.is_none()),
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
        let done = self.0.calls.call(&self.0.registry, build, WRITE_TIMEOUT).await;
        Ok(done.ok_or(Unavailable::Busy)??)
    }

    async fn look(&self, openid: &OpenId) -> Result<(BindingView, Option<Timestamp>), Unavailable> {
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
        let done = self.0.calls.call_in_turn(&self.0.registry, RegistryMessage::Barrier, WRITE_TIMEOUT);
        done.await.ok_or(Unavailable::Busy)
    }

    /// A store that can't be read is as dead as one that can't be written.
    fn store_failed(&self, error: &StoreError) -> Unavailable {
        let _ = self.0.registry.cast(RegistryMessage::WriterFailed(error.to_string()));
        Unavailable::Busy
    }
}

//! Who starts, watches and stops whom, and what the outside may hold.

use std::time::Duration;

use crate::{
    ids::{ExternalUserId, OpenId, UnionId},
    messages::{BindingPage, BindingQuery, BindingView, Delivery, IssueOutcome, SyncReport},
    tally::Tally,
};

/// Why the actors did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The service is stopping, or an actor is gone or too slow.
    #[error("the service is stopping or overloaded")]
    Busy,
    /// The store takes no writes for now.
    #[error(transparent)]
    Refused(#[from] crate::messages::Refusal),
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
#[derive(Clone, Debug)]
pub struct Handles {}

#[allow(clippy::unused_async, missing_docs)]
impl Handles {
    /// Passes an authentic callback on. `Ok` means accepted, not done.
    pub async fn deliver(&self, _delivery: Delivery) -> Result<(), Unavailable> {
        todo!()
    }
    /// Gives the user a code.
    pub async fn issue(
        &self,
        _openid: OpenId,
        _unionid: Option<UnionId>,
        _renew: bool,
    ) -> Result<IssueOutcome, Unavailable> {
        todo!()
    }
    /// What the user sees now.
    pub async fn view(&self, _openid: &OpenId) -> Result<BindingView, Unavailable> {
        todo!()
    }
    /// What the user sees once its version differs from `since`, at the latest after `wait`, at once when the service stops.
    pub async fn wait_for_change(
        &self,
        _openid: &OpenId,
        _since: u64,
        _wait: Duration,
    ) -> Result<BindingView, Unavailable> {
        todo!()
    }
    /// The user's own unbinding.
    pub async fn unbind(&self, _openid: OpenId) -> Result<(), Unavailable> {
        todo!()
    }
    /// The back end's unbinding; whether there was a binding.
    pub async fn unbind_by_admin(&self, _openid: OpenId) -> Result<bool, Unavailable> {
        todo!()
    }
    /// Lifts a customer's lock.
    pub async fn lift_lock(&self, _customer: ExternalUserId) -> Result<(), Unavailable> {
        todo!()
    }
    /// Lists bindings.
    pub async fn bindings(&self, _query: BindingQuery) -> Result<BindingPage, Unavailable> {
        todo!()
    }
    /// How the actors are; answered within half a second.
    pub async fn health(&self) -> Health {
        todo!()
    }
    /// The metrics.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        todo!()
    }
    /// The secret of this store that sessions are signed with.
    #[must_use]
    pub fn instance_key(&self) -> [u8; 32] {
        todo!()
    }
}

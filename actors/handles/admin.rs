//! What the business back end and operators may ask: users made known, bindings set, people erased, the audit trail,
//! counts, webhooks given up.

use std::time::Duration;

use super::{Handles, Unavailable, WRITE_TIMEOUT};
use crate::{
    ids::{OpenId, Timestamp},
    messages::{
        AdminBindOutcome, AdminBindRequest, DeadLetterPage, EventPage, EventsFrom, Introduction, Person,
        RegistryMessage, Stats,
    },
    registry::{StoreError, erasure::Kind, trail::Read},
};

/// How long an erasure may take: it goes through everything that may name somebody, some seconds per million records.
const ERASE_TIMEOUT: Duration = Duration::from_mins(5);

impl Handles {
    /// A user was given a session; for the counts.
    pub fn count_login(&self) {
        self.0.reader.count_login();
    }

    /// From when a session of this user is to count that is made at `now`. Later than `now` where the user was erased
    /// within the same second: what was made before the erasure must not look like it.
    #[must_use]
    pub fn session_from(&self, openid: &OpenId, now: Timestamp) -> Timestamp {
        self.erased_at(openid).map_or(now, |erased_at| now.max(erased_at.plus(1)))
    }

    /// Whether a session counts that was made then: the user may have been erased since.
    #[must_use]
    pub fn takes_session(&self, openid: &OpenId, issued_at: Timestamp) -> bool {
        self.erased_at(openid).is_none_or(|erased_at| issued_at > erased_at)
    }

    fn erased_at(&self, openid: &OpenId) -> Option<Timestamp> {
        self.0.reader.erased_at(Kind::User, openid.as_str()).map(|at_ms| Timestamp(at_ms / 1000))
    }

    /// The back end has logged this user in.
    pub async fn introduce(&self, introduction: Introduction) -> Result<(), Unavailable> {
        self.write(|reply| RegistryMessage::Introduce(introduction, reply)).await
    }

    /// Binds two by the back end's word.
    pub async fn bind_by_admin(&self, request: AdminBindRequest) -> Result<AdminBindOutcome, Unavailable> {
        self.write(|reply| RegistryMessage::BindForAdmin(request, reply)).await
    }

    /// Keeps nothing of a person; whether anything was kept. An error means that it is under way, or was not begun:
    /// ask again.
    pub async fn erase(&self, person: Person) -> Result<bool, Unavailable> {
        let build = |reply| RegistryMessage::Erase(person, reply);
        let done = self.0.calls.call(&self.0.registry, build, ERASE_TIMEOUT).await;
        Ok(done.ok_or(Unavailable::Busy)??)
    }

    /// A part of the audit trail.
    pub async fn events(&self, from: EventsFrom, limit: usize) -> Result<EventPage, Unavailable> {
        self.read(move |handles| handles.0.reader.events(from, limit)).await
    }

    /// Counts of the last `days` days, today among them.
    pub async fn stats(&self, days: usize) -> Result<Stats, Unavailable> {
        let build = |reply| RegistryMessage::Stats(days, reply);
        self.0.calls.call(&self.0.registry, build, WRITE_TIMEOUT).await.ok_or(Unavailable::Busy)
    }

    /// A part of the webhooks that were given up; `None` where `after` is no id of one.
    pub async fn dead_letters(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Option<DeadLetterPage>, Unavailable> {
        let read = move |handles: &Self| {
            handles.0.reader.dead_letters(&handles.0.instance_key, after.as_deref(), limit)
        };
        self.read(read).await
    }

    /// Sends a webhook again that was given up; whether there is one.
    pub async fn resend(&self, id: String) -> Result<bool, Unavailable> {
        self.write(|reply| RegistryMessage::Resend(id, reply)).await
    }

    /// Reads where it may block, and waits for the flush that what was read may be of.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Self) -> Result<Read<T>, StoreError> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let handles = self.clone();
        let read = tokio::task::spawn_blocking(move || read(&handles)).await;
        let (told, unflushed) =
            read.map_err(|_| Unavailable::Busy)?.map_err(|error| self.store_failed(&error))?;
        if unflushed.is_some() {
            // All that was read is committed by now, so it is on the disk after this; no need to read again.
            self.barrier().await?;
        }
        Ok(told)
    }
}

//! Wakes those who wait for a change of what a user sees (long polls).
//!
//! Says only "look again", after the change is on the disk; what has changed is for the reader to find out.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use tokio::sync::oneshot;

use crate::ids::OpenId;

/// Over so many waits of one user the oldest is answered.
const WAITS_PER_USER_MAX: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    waits: Mutex<HashMap<OpenId, VecDeque<oneshot::Sender<Woken>>>>,
}

/// Why a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Something has changed.
    Changed,
    /// Newer waits took the place of this one.
    Crowded,
}

/// A wait under way. Dropping it ends it and leaves nothing behind, also where a request is given up in the middle.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    changes: &'a Changes,
    openid: &'a OpenId,
    receiver: oneshot::Receiver<Woken>,
}

impl Wait<'_> {
    /// Why it has ended.
    pub(crate) async fn woken(&mut self) -> Option<Woken> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        self.changes.tidy(self.openid);
    }
}

impl Changes {
    /// Begins a wait. To be called before looking, so that no change falls between.
    pub(crate) fn wait<'a>(&'a self, openid: &'a OpenId) -> Wait<'a> {
        let (sender, receiver) = oneshot::channel();
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = waits.entry(openid.clone()).or_default();
        queue.retain(|wait| !wait.is_closed());
        if queue.len() >= WAITS_PER_USER_MAX
            && let Some(oldest) = queue.pop_front()
        {
            let _ = oldest.send(Woken::Crowded);
        }
        queue.push_back(sender);
        Wait { changes: self, openid, receiver }
    }

    /// Forgets the waits of a user that have ended by themselves.
    fn tidy(&self, openid: &OpenId) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = waits.get_mut(openid) {
            queue.retain(|wait| !wait.is_closed());
            if queue.is_empty() {
                waits.remove(openid);
            }
        }
    }

    /// Wakes all who wait for this user.
    pub(crate) fn wake(&self, openid: &OpenId) {
        let queue = self.waits.lock().unwrap_or_else(PoisonError::into_inner).remove(openid);
        for wait in queue.into_iter().flatten() {
            let _ = wait.send(Woken::Changed);
        }
    }

    /// Wakes everybody: the link has changed, or the service stops.
    pub(crate) fn wake_all(&self) {
        let all = std::mem::take(&mut *self.waits.lock().unwrap_or_else(PoisonError::into_inner));
        for wait in all.into_values().flatten() {
            let _ = wait.send(Woken::Changed);
        }
    }

    /// How many users somebody waits for.
    #[cfg(test)]
    pub(crate) fn users_waited_for(&self) -> usize {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

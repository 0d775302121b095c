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

impl Changes {
    /// Begins a wait. To be called before looking, so that no change falls between. Dropping the receiver ends it.
    pub(crate) fn wait(&self, openid: &OpenId) -> oneshot::Receiver<Woken> {
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
        receiver
    }

    /// Tidies up after a wait of this user when it goes, which it may do at any await: the client may hang up. To be
    /// made before the wait, so that the wait goes first.
    pub(crate) fn tidying(&self, openid: &OpenId) -> Tidying<'_> {
        Tidying { changes: self, openid: openid.clone() }
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

    /// How many users are remembered for their waits.
    #[cfg(test)]
    pub(crate) fn users_waiting(&self) -> usize {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).len()
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
}

/// See [`Changes::tidying`].
pub(crate) struct Tidying<'c> {
    changes: &'c Changes,
    openid: OpenId,
}

impl Drop for Tidying<'_> {
    fn drop(&mut self) {
        self.changes.tidy(&self.openid);
    }
}

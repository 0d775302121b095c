//! The world behind its lock, and waiting for it to change.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::{doorbell::Push, world::World};

/// The world as the server, the pusher and the handles hold it.
pub(super) struct Shared {
    world: Mutex<World>,
    changes: watch::Sender<u64>,
    /// Callbacks wait to be sent.
    pub(super) ring: Notify,
}

impl Shared {
    pub(super) fn new(world: World) -> Self {
        Self { world: Mutex::new(world), changes: watch::Sender::new(0), ring: Notify::new() }
    }

    /// Looks at the world.
    pub(super) fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the world; whoever waits looks again.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let (result, rings) = {
            let mut world = self.lock();
            let result = change(&mut world);
            let rings = !world.desk.due.is_empty() || world.desk.overtaken.is_some();
            (result, rings)
        };
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        if rings {
            self.ring.notify_one();
        }
        result
    }

    /// The next callback to send. Rings nobody: it is the pusher that asks, and it would wake itself for ever.
    pub(super) fn next_push(&self) -> Option<Push> {
        self.lock().desk.due.pop_front()
    }

    /// Waits until `found` finds something, at most so long in real time; `None` if it didn't.
    pub(super) async fn wait<T>(
        &self,
        deadline: Duration,
        mut found: impl FnMut(&World) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.changes.subscribe();
        let search = async {
            loop {
                changes.borrow_and_update();
                if let Some(result) = self.read(&mut found) {
                    return Some(result);
                }
                if changes.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(deadline, search).await.ok().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A panic elsewhere is that test's failure; what it left behind is still worth looking at.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

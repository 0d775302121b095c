//! The registry's writer thread: group commit.
//!
//! Commands queue while a commit is under way; then all that wait are decided one after the other against one
//! batch, committed as one transaction, flushed once, and only then answered. The thread is the only one that
//! writes, and the database's blocking calls stay off the async workers. It decides nothing itself: see `ledger.rs`
//! and `rules.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, PoisonError,
        atomic::Ordering,
        mpsc::{Receiver, TryRecvError},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    changes::Changes,
    commands::{Duties, Promises},
    ledger::{Desk, Ledger},
    overlay::Overlay,
    page::PageNote,
    reader::Published,
    store::{Changes as TreeChanges, Store, StoreError, TreeId},
};
use crate::{
    ids::{OpenId, Timestamp},
    messages::{NotifierMessage, RegistryMessage, WebhooksMessage},
    ports::Clock,
};

/// Commands in one batch at most, so that the first doesn't wait for ever for the last.
const BATCH_COMMANDS_MAX: usize = 1024;
/// A clock that goes back by no more than this is being set right as clocks are; beyond, it was wrong. Seconds.
const CLOCK_STEP_S_MAX: u64 = 3600;
/// How often the free disk is looked at.
const ROOM_CHECK_EVERY: Duration = Duration::from_secs(1);

/// What the thread works with.
pub(crate) struct Writer {
    pub(crate) store: Arc<Store>,
    pub(crate) published: Arc<Published>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) desk: Desk,
    pub(crate) duties: Duties,
    pub(crate) room_checked_at: Option<Instant>,
}

impl Writer {
    /// Works until all senders are gone, or the store fails.
    pub(crate) fn run(&mut self, commands: &Receiver<RegistryMessage>) -> Result<(), StoreError> {
        self.publish_gauges();
        loop {
            let mut batch = Vec::new();
            // An erasure under way goes on between the commands.
            if self.duties.scrubber.is_busy() && self.published.writable.load(Ordering::Relaxed) {
                match commands.try_recv() {
                    Ok(first) => batch.push(first),
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => break,
                }
            } else {
                let Ok(first) = commands.recv() else { break };
                batch.push(first);
            }
            while batch.len() < BATCH_COMMANDS_MAX {
                match commands.try_recv() {
                    Ok(command) => batch.push(command),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            self.batch(batch)?;
        }
        // The counts of the last second.
        self.batch(vec![RegistryMessage::Sweep])
    }

    fn batch(&mut self, batch: Vec<RegistryMessage>) -> Result<(), StoreError> {
        let has_room = self.has_room();
        let mut promises = Promises::default();
        let now_ms = self.clock.now_ms();
        self.doubt_the_birthday(Timestamp(now_ms / 1000));
        let mut ledger = Ledger {
            overlay: Overlay::new(
                &self.store,
                self.desk.mint.clone(),
                Arc::clone(&self.desk.erased),
                Timestamp(now_ms / 1000),
            ),
            now_ms,
            changed: BTreeSet::new(),
            outbox_grew: false,
            webhooks_grew: false,
            pages: Vec::new(),
            desk: &mut self.desk,
        };
        if has_room {
            self.duties.catch_up(&mut ledger)?;
            ledger.count_logins(self.published.logins.swap(0, Ordering::Relaxed))?;
            // Before the commands: a pass reads what is committed, and must not be over before what its own erasure
            // writes (that a binding has ended) is.
            self.duties.scrub(&mut ledger, &mut promises)?;
        }
        for command in batch {
            self.duties.take(command, &mut ledger, has_room, &mut promises)?;
        }
        let Ledger { overlay, changed, outbox_grew, webhooks_grew, pages, .. } = ledger;
        let changes = overlay.into_changes();
        self.commit(&changes, &changed, &pages)?;
        self.duties.begin_exports(&mut promises);
        let link_changed = promises.link_changed;
        if link_changed {
            let mut link = self.published.link.write().unwrap_or_else(PoisonError::into_inner);
            link.clone_from(&self.desk.link);
        }
        self.publish_gauges();
        promises.keep();
        if link_changed {
            self.changes.wake_all();
        }
        for openid in &changed {
            self.changes.wake(openid);
        }
        if outbox_grew && let Some(notifier) = &self.duties.notifier {
            let _ = notifier.cast(NotifierMessage::OutboxGrew);
        }
        if webhooks_grew && let Some(webhooks) = &self.duties.webhooks {
            let _ = webhooks.cast(WebhooksMessage::Grew);
        }
        Ok(())
    }

    /// A store can't have been made in the future: our clock was wrong then, and wrong codes would not count until it
    /// is right.
    fn doubt_the_birthday(&mut self, now: Timestamp) {
        if self.desk.store_created_at > now.plus(CLOCK_STEP_S_MAX) {
            self.desk.store_created_at = now;
        }
    }

    /// Makes the batch durable, and hides what it touches from readers meanwhile.
    fn commit(
        &mut self,
        changes: &BTreeMap<TreeId, TreeChanges>,
        users: &BTreeSet<OpenId>,
        pages: &[PageNote],
    ) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.duties.exports.before_commit(changes, &self.store)?;
        self.published.begin(users.iter().cloned());
        let begun = Instant::now();
        self.store.commit(changes)?;
        let flush = begun.elapsed();
        self.desk.tally.store_flush_seconds.observe(flush.as_secs_f64());
        self.published.end();
        for page in pages {
            page.log(flush);
        }
        Ok(())
    }

    fn has_room(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.room_checked_at.is_none_or(|at| now.duration_since(at) >= ROOM_CHECK_EVERY);
        if is_due {
            self.room_checked_at = Some(now);
            let has_room = self.store.has_room();
            let could_write = self.published.writable.swap(has_room, Ordering::Relaxed);
            if could_write && !has_room {
                tracing::error!(
                    path = %self.store.path().display(),
                    "less than 64 MiB are free on the store's disk: writes are refused until there is room"
                );
            } else if !could_write && has_room {
                tracing::info!("there is room on the store's disk again: writes are taken");
            }
            self.desk.tally.store_bytes.set(i64::try_from(self.store.bytes_on_disk()).unwrap_or(i64::MAX));
        }
        self.published.writable.load(Ordering::Relaxed)
    }

    fn publish_gauges(&mut self) {
        let now = self.clock.now();
        let desk = &mut self.desk;
        desk.tally.codes_live.set(i64::try_from(desk.crowd.live(now)).unwrap_or(i64::MAX));
        desk.tally.bindings.set(desk.bindings);
        desk.tally.outbox_depth.set(desk.outbox);
        desk.tally.webhooks_waiting.set(desk.webhooks);
        desk.tally.guessing.set(i64::from(super::code_space::extra_places(desk.crowd.guesses(now)) > 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{ExternalUserId, MessageId, OpenKfId},
        messages::{Learned, PageCommit, Settlement},
        ports::{KfContent, KfMessage, Page},
        registry::{RegistryOptions, open, outbox},
        tally::Tally,
        testing::{ManualClock, SeededEntropy, policy},
    };

    fn writer(path: &std::path::Path) -> Writer {
        let options = RegistryOptions {
            path: path.to_owned(),
            corp_id: "ww1".to_owned(),
            policy: policy(),
            clock: Arc::new(ManualClock::at(1000)),
            entropy: Arc::new(SeededEntropy::new(1)),
            tally: Tally::default(),
        };
        open(options).unwrap().writer
    }

    fn wrong_code() -> RegistryMessage {
        let message = KfMessage {
            msgid: MessageId::new("m1"),
            account: OpenKfId::new("wkA"),
            customer: Some(ExternalUserId::new("wmA")),
            send_time: Timestamp(1000),
            content: KfContent::Text { content: "111111".to_owned(), menu_id: None },
        };
        let page = Page { messages: vec![message], ..Page::default() };
        let commit =
            PageCommit { account: OpenKfId::new("wkA"), page, sync_token: None, learned: Learned::default() };
        RegistryMessage::CommitPage(Box::new(commit), ractor::concurrency::oneshot().0.into())
    }

    #[test]
    fn an_answer_that_was_said_while_the_disk_was_full_is_struck_once_there_is_room() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut writer = writer(dir.path());
        writer.batch(vec![wrong_code()]).unwrap();
        let entries = outbox::waiting(&writer.store, 0, 10).unwrap();
        assert_eq!(entries.len(), 1);
        // The disk is not looked at again before the test is over.
        writer.room_checked_at = Some(Instant::now() + Duration::from_hours(1));
        writer.published.writable.store(false, Ordering::Relaxed);
        writer
            .batch(
                entries
                    .iter()
                    .map(|entry| RegistryMessage::Settle(vec![(entry.seq, Settlement::Done)]))
                    .collect(),
            )
            .unwrap();
        assert_eq!(
            outbox::waiting(&writer.store, 0, 10).unwrap(),
            entries,
            "nothing is written while the disk is full"
        );
        writer.published.writable.store(true, Ordering::Relaxed);
        writer.batch(vec![RegistryMessage::Sweep]).unwrap();
        assert_eq!(outbox::waiting(&writer.store, 0, 10).unwrap(), []);
        assert_eq!(writer.desk.outbox, 0);
    }
}

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

use ractor::{ActorRef, RpcReplyPort};
use tokio::time::Instant;

use super::{
    META_RATION, announcing,
    archive::Exports,
    changes::Changes,
    erasure::Scrubber,
    ledger::{Desk, Ledger},
    overlay::Overlay,
    page::PageNote,
    reader::Published,
    records::{OutboxRecord, OutboxTaskRecord, SayRecord, WordsRecord, decode, number},
    store::{Changes as TreeChanges, Store, StoreError, TreeId},
    sweep::Sweeper,
};
use crate::{
    ids::{OpenId, Timestamp},
    messages::{
        CursorState, HandOver, NotifierMessage, Notify, OutboxEntry, OutboxTask, Refusal, RegistryMessage,
        Say, Settlement, WebhookFate, WebhooksMessage, Welcome,
    },
    ports::{Clock, MenuItem, Notice, Reply, Words},
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
    pub(crate) sweeper: Sweeper,
    pub(crate) scrubber: Scrubber,
    pub(crate) exports: Exports,
    pub(crate) notifier: Option<ActorRef<NotifierMessage>>,
    pub(crate) webhooks: Option<ActorRef<WebhooksMessage>>,
    pub(crate) room_checked_at: Option<Instant>,
    /// Outbox entries that are done with, but could not be struck because the disk was full.
    pub(crate) unsettled: Vec<(u64, Settlement)>,
    /// The same of webhooks.
    pub(crate) unsettled_webhooks: Vec<(u64, WebhookFate)>,
}

/// Something to be told once the batch is on the disk.
type Promise = Box<dyn FnOnce() + Send>;

impl Writer {
    /// Works until all senders are gone, or the store fails.
    pub(crate) fn run(&mut self, commands: &Receiver<RegistryMessage>) -> Result<(), StoreError> {
        self.publish_gauges();
        loop {
            let mut batch = Vec::new();
            // An erasure under way goes on between the commands.
            if self.scrubber.is_busy() {
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
        let mut promises: Vec<Promise> = Vec::with_capacity(batch.len());
        let mut link_changed = false;
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
            ledger.settle(&std::mem::take(&mut self.unsettled))?;
            ledger.settle_webhooks(&std::mem::take(&mut self.unsettled_webhooks))?;
        }
        for command in batch {
            match command {
                RegistryMessage::Subscribe(notifier) => self.notifier = Some(notifier),
                RegistryMessage::SubscribeWebhooks(webhooks) => self.webhooks = Some(webhooks),
                RegistryMessage::Outbox { from, limit, reply } => {
                    let entries = outbox(&self.store, from, limit)?;
                    promises.push(Box::new(move || tell(reply, entries)));
                }
                RegistryMessage::Webhooks { from, limit, reply } => {
                    let key = &ledger.desk.instance_key;
                    let events = announcing::waiting(&self.store, key, from, limit)?;
                    promises.push(Box::new(move || tell(reply, events)));
                }
                RegistryMessage::Stats(days, reply) => {
                    ledger.count_logins(self.published.logins.swap(0, Ordering::Relaxed))?;
                    let stats = ledger.stats(days)?;
                    promises.push(Box::new(move || tell(reply, stats)));
                }
                RegistryMessage::Wanting(on_page, reply) => {
                    let wanted = ledger.wanting(&on_page)?;
                    promises.push(Box::new(move || tell(reply, wanted)));
                }
                RegistryMessage::Cursor(account, reply) => {
                    let record = ledger.overlay.cursor(&account)?;
                    let state = CursorState { cursor: record.cursor, sync_token: record.sync_token };
                    promises.push(Box::new(move || tell(reply, state)));
                }
                RegistryMessage::BeginExport(reply) => {
                    let id = self.exports.begin();
                    promises.push(Box::new(move || tell(reply, id)));
                }
                RegistryMessage::NextExported(id, reply) => {
                    let records = self.exports.next(id, &self.store)?;
                    promises.push(Box::new(move || tell(reply, records)));
                }
                RegistryMessage::Barrier(reply) => promises.push(Box::new(move || tell(reply, ()))),
                RegistryMessage::WriterFailed(_) => {}
                RegistryMessage::Sweep if has_room => {
                    ledger.count_logins(self.published.logins.swap(0, Ordering::Relaxed))?;
                    ledger.save_days()?;
                    self.sweeper.step(&mut ledger)?;
                }
                RegistryMessage::Erase(person, reply) if has_room => {
                    self.scrubber.erase(&mut ledger, person, reply)?;
                }
                write if has_room => {
                    link_changed |= decide(&mut ledger, write, &mut promises)?;
                }
                RegistryMessage::Settle(seqs) => self.unsettled.extend(seqs),
                RegistryMessage::SettleWebhooks(seqs) => self.unsettled_webhooks.extend(seqs),
                refused => refuse(refused, &mut promises),
            }
        }
        if has_room && self.scrubber.is_busy() {
            for (reply, kept) in self.scrubber.step(&mut ledger)? {
                promises.push(Box::new(move || tell(reply, Ok(kept))));
            }
        }
        let Ledger { overlay, changed, outbox_grew, webhooks_grew, pages, .. } = ledger;
        let changes = overlay.into_changes();
        self.commit(&changes, &changed, &pages)?;
        if link_changed {
            let mut link = self.published.link.write().unwrap_or_else(PoisonError::into_inner);
            link.clone_from(&self.desk.link);
        }
        self.publish_gauges();
        for promise in promises {
            promise();
        }
        if link_changed {
            self.changes.wake_all();
        }
        for openid in &changed {
            self.changes.wake(openid);
        }
        if outbox_grew && let Some(notifier) = &self.notifier {
            let _ = notifier.cast(NotifierMessage::OutboxGrew);
        }
        if webhooks_grew && let Some(webhooks) = &self.webhooks {
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
        self.exports.before_commit(changes, &self.store)?;
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

/// Decides one command that may write; whether it changed the kf link.
fn decide(
    ledger: &mut Ledger<'_>,
    command: RegistryMessage,
    promises: &mut Vec<Promise>,
) -> Result<bool, StoreError> {
    match command {
        RegistryMessage::Issue(request, reply) => {
            let outcome = ledger.issue(&request)?;
            promises.push(Box::new(move || tell(reply, Ok(outcome))));
        }
        RegistryMessage::Unbind(request, reply) => {
            let was_bound = ledger.unbind(&request)?;
            promises.push(Box::new(move || tell(reply, Ok(was_bound))));
        }
        RegistryMessage::LiftLock(customer, reply) => {
            let was_there = ledger.lift_lock(&customer)?;
            promises.push(Box::new(move || tell(reply, Ok(was_there))));
        }
        RegistryMessage::Meet(openid, unionid, reply) => {
            ledger.meet(&openid, &unionid)?;
            promises.push(Box::new(move || tell(reply, Ok(()))));
        }
        RegistryMessage::LookAtTicket(request, reply) => {
            let facts = ledger.look_at_ticket(&request)?;
            promises.push(Box::new(move || tell(reply, Ok(facts))));
        }
        RegistryMessage::RedeemTicket(request, reply) => {
            let outcome = ledger.redeem_ticket(&request)?;
            promises.push(Box::new(move || tell(reply, Ok(outcome))));
        }
        RegistryMessage::OpenIntent(openid, unionid, reply) => {
            let outcome = ledger.open_intent(&openid, unionid.as_ref())?;
            promises.push(Box::new(move || tell(reply, Ok(outcome))));
        }
        RegistryMessage::MakeTicket(request, reply) => {
            let ticket = ledger.make_ticket(&request)?;
            promises.push(Box::new(move || tell(reply, Ok(ticket))));
        }
        RegistryMessage::BindForStaff(request, reply) => {
            let outcome = ledger.bind_for_staff(&request)?;
            promises.push(Box::new(move || tell(reply, Ok(outcome))));
        }
        RegistryMessage::Begin(seq, reply) => {
            ledger.begin(seq)?;
            promises.push(Box::new(move || tell(reply, Ok(()))));
        }
        RegistryMessage::CommitPage(commit, reply) => {
            ledger.commit_page(&commit)?;
            promises.push(Box::new(move || tell(reply, Ok(()))));
        }
        RegistryMessage::SaveProfiles(profiles, reply) => {
            for profile in &profiles {
                ledger.save_profile(profile)?;
            }
            promises.push(Box::new(move || tell(reply, Ok(()))));
        }
        RegistryMessage::SaveLink(link, reply) => {
            let changed = ledger.save_link(&link)?;
            promises.push(Box::new(move || tell(reply, Ok(()))));
            return Ok(changed);
        }
        RegistryMessage::SaveRation(spent) => ledger.overlay.put(TreeId::Meta, META_RATION, &spent)?,
        RegistryMessage::Settle(seqs) => ledger.settle(&seqs)?,
        RegistryMessage::SettleWebhooks(seqs) => ledger.settle_webhooks(&seqs)?,
        RegistryMessage::Introduce(introduction, reply) => {
            ledger.introduce(&introduction)?;
            promises.push(Box::new(move || tell(reply, Ok(()))));
        }
        RegistryMessage::BindForAdmin(request, reply) => {
            let outcome = ledger.bind_for_admin(&request)?;
            promises.push(Box::new(move || tell(reply, Ok(outcome))));
        }
        RegistryMessage::Resend(id, reply) => {
            let was_there = ledger.resend(&id)?;
            promises.push(Box::new(move || tell(reply, Ok(was_there))));
        }
        RegistryMessage::Sweep
        | RegistryMessage::Erase(..)
        | RegistryMessage::Stats(..)
        | RegistryMessage::Webhooks { .. }
        | RegistryMessage::SubscribeWebhooks(_)
        | RegistryMessage::Outbox { .. }
        | RegistryMessage::BeginExport(_)
        | RegistryMessage::NextExported(..)
        | RegistryMessage::Cursor(..)
        | RegistryMessage::Wanting(..)
        | RegistryMessage::Subscribe(_)
        | RegistryMessage::Barrier(_)
        | RegistryMessage::WriterFailed(_) => {}
    }
    Ok(false)
}

/// Says no to a command that would write. What was cast will be cast again by whoever needs it.
fn refuse(command: RegistryMessage, promises: &mut Vec<Promise>) {
    fn no<T: Send + 'static>(reply: RpcReplyPort<Result<T, Refusal>>, promises: &mut Vec<Promise>) {
        promises.push(Box::new(move || tell(reply, Err(Refusal::DiskFull))));
    }
    match command {
        RegistryMessage::Issue(_, reply) => no(reply, promises),
        RegistryMessage::Unbind(_, reply)
        | RegistryMessage::LiftLock(_, reply)
        | RegistryMessage::Erase(_, reply)
        | RegistryMessage::Resend(_, reply) => no(reply, promises),
        RegistryMessage::BindForAdmin(_, reply) => no(reply, promises),
        RegistryMessage::CommitPage(_, reply)
        | RegistryMessage::Meet(_, _, reply)
        | RegistryMessage::Introduce(_, reply)
        | RegistryMessage::Begin(_, reply)
        | RegistryMessage::SaveLink(_, reply)
        | RegistryMessage::SaveProfiles(_, reply) => no(reply, promises),
        RegistryMessage::LookAtTicket(_, reply) => no(reply, promises),
        RegistryMessage::RedeemTicket(_, reply) => no(reply, promises),
        RegistryMessage::OpenIntent(_, _, reply) => no(reply, promises),
        RegistryMessage::MakeTicket(_, reply) => no(reply, promises),
        RegistryMessage::BindForStaff(_, reply) => no(reply, promises),
        _ => {}
    }
}

/// Answers; whoever stopped waiting is no error.
fn tell<T: Send + 'static>(reply: RpcReplyPort<T>, answer: T) {
    let _ = reply.send(answer);
}

/// The outbox from `from` on, as it is on the disk.
fn outbox(store: &Store, from: u64, limit: usize) -> Result<Vec<OutboxEntry>, StoreError> {
    store
        .range(TreeId::Outbox, &from.to_be_bytes())?
        .take(limit)
        .map(|entry| {
            let (key, value) = entry?;
            let record: OutboxRecord = decode(TreeId::Outbox, &value)?;
            let task = task(record.task);
            Ok(OutboxEntry { seq: number(TreeId::Outbox, &key)?, created_at: record.created_at, task })
        })
        .collect()
}

/// A stored task, as the notifier takes it.
fn task(record: OutboxTaskRecord) -> OutboxTask {
    match record {
        OutboxTaskRecord::Reply { account, customer, reply_id, text } => {
            let reply = Reply { account, customer, reply_id, words: Words::Text(text) };
            OutboxTask::Say(Box::new(Say { reply, welcome: None, begun: false }))
        }
        OutboxTaskRecord::Say(say) => {
            let SayRecord { account, customer, reply_id, words, welcome, question, begun } = *say;
            let words = match (words, question) {
                (WordsRecord::Text(text), _) => Words::Text(text),
                (WordsRecord::Question { head, yes, no }, question) => {
                    let item = |says_yes: bool, label| {
                        question.map(|id| MenuItem::Click { id: id.menu_id(says_yes), label })
                    };
                    Words::Menu {
                        head,
                        items: [item(true, yes), item(false, no)].into_iter().flatten().collect(),
                    }
                }
                (WordsRecord::Card { head, path, label }, _) => {
                    Words::Menu { head, items: vec![MenuItem::Page { path, label }] }
                }
            };
            let welcome = welcome.map(|(code, entered_at)| Welcome { code, entered_at });
            let reply = Reply { account, customer, reply_id, words };
            OutboxTask::Say(Box::new(Say { reply, welcome, begun }))
        }
        OutboxTaskRecord::Profile { customer } => OutboxTask::Profile(customer),
        OutboxTaskRecord::HandOver { account, customer, sent } => {
            OutboxTask::HandOver(HandOver { account, customer, sent })
        }
        OutboxTaskRecord::Notify { openid, customer, template_id, data, bound_at, begun } => {
            let notice = Notice { openid, template_id, data, bound_at };
            OutboxTask::Notify(Box::new(Notify { notice, customer, begun }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{ExternalUserId, MessageId, OpenKfId},
        messages::{Learned, PageCommit},
        ports::{KfContent, KfMessage, Page},
        registry::{RegistryOptions, open},
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
        let entries = outbox(&writer.store, 0, 10).unwrap();
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
            outbox(&writer.store, 0, 10).unwrap(),
            entries,
            "nothing is written while the disk is full"
        );
        writer.published.writable.store(true, Ordering::Relaxed);
        writer.batch(vec![RegistryMessage::Sweep]).unwrap();
        assert_eq!(outbox(&writer.store, 0, 10).unwrap(), []);
        assert_eq!(writer.desk.outbox, 0);
    }
}

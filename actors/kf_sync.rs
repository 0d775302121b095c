//! The kf-sync actor holds the cursors and pulls pages. Nudges say only "look again"; a timer nudges too, so a lost
//! callback is harmless, and the rare path is the only path.
//!
//! The actor never waits inside `handle`: a pull is a task that reports back as a message, one page per message, so
//! that stopping and observing are always answered at once. What messages mean is the registry's work. Which pull
//! may go out when is in `kf_sync/schedule.rs`, which accounts and which link in `kf_sync/served.rs`.

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call_t};
use tokio::time::Instant;

use crate::{
    alarm::Alarm,
    beside::tell,
    ids::{OpenKfId, Timestamp},
    messages::{CursorState, KfLink, KfSyncMessage, Learned, PageCommit, PageFate, RegistryMessage},
    policy::SyncPolicy,
    ports::{CallError, Clock, Entropy, Page, PullRequest, WeCom},
    tally::{Tally, count},
};

mod account;
mod catching_up;
mod learning;
mod ration;
mod schedule;
mod served;

use account::{Account, Phase, Position};
use catching_up::CatchingUp;
use learning::learn;
use ration::Ration;
use schedule::Schedule;
use served::Served;

/// How long the registry may take for a page, in milliseconds. Longer, and the page is pulled again.
const COMMIT_TIMEOUT_MS: u64 = 30_000;
/// So many empty pages in a row, each with more to come, and the next one waits.
const EMPTY_PAGES_MAX: u32 = 50;

/// The kf-sync actor.
pub(crate) struct KfSync;

/// What it is started with.
pub(crate) struct KfSyncOptions {
    pub(crate) registry: ActorRef<RegistryMessage>,
    pub(crate) wecom: Arc<dyn WeCom>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) tally: Tally,
    pub(crate) policy: SyncPolicy,
    pub(crate) link: Option<KfLink>,
    /// When the latest pulls without a live sync token went out.
    pub(crate) ration: Vec<Timestamp>,
}

/// What it holds.
pub(crate) struct KfSyncState {
    registry: ActorRef<RegistryMessage>,
    wecom: Arc<dyn WeCom>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    tally: Tally,
    served: Served,
    schedule: Schedule,
    alarm: Alarm,
    draining: Option<RpcReplyPort<()>>,
}

impl Actor for KfSync {
    type Msg = KfSyncMessage;
    type State = KfSyncState;
    type Arguments = KfSyncOptions;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        options: KfSyncOptions,
    ) -> Result<Self::State, ActorProcessingErr> {
        let every = Duration::from_millis(options.policy.reconcile_every_ms);
        let ration = Ration::restore(&options.ration, options.clock.now(), Instant::now());
        let state = KfSyncState {
            registry: options.registry,
            wecom: options.wecom,
            clock: options.clock,
            entropy: options.entropy,
            tally: options.tally,
            schedule: Schedule::new(every, ration),
            served: Served::new(options.policy, options.link, Instant::now()),
            alarm: Alarm::default(),
            draining: None,
        };
        myself.cast(KfSyncMessage::Tick)?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let now = Instant::now();
        match message {
            KfSyncMessage::Nudge { account, sync_token } => {
                let sync_token = sync_token.filter(|token| token.is_live(state.clock.now()));
                let known = state.served.nudge(account.as_ref(), sync_token, now);
                count(&state.tally.callbacks, "result", if known { "accepted" } else { "unserved" });
            }
            KfSyncMessage::AuthChange { added, removed } => {
                count(&state.tally.callbacks, "result", "accepted");
                state.served.auth_change(&added, &removed, now);
            }
            KfSyncMessage::Tick => state.alarm.rang(now),
            KfSyncMessage::Loaded { account, state: stored } => state.loaded(&account, stored, now),
            KfSyncMessage::Fetched { account, result } => state.fetched(&myself, &account, result, now),
            KfSyncMessage::Committed { account, outcome } => state.committed(&account, outcome, now),
            KfSyncMessage::Listed(result) => state.served.listed(result, now, state.entropy.as_ref()),
            KfSyncMessage::LinkMade(result) => state.served.link_made(result, now, state.entropy.as_ref()),
            KfSyncMessage::Drain(reply) => state.draining = Some(reply),
            KfSyncMessage::Observe(reply) => drop(reply.send(state.served.report())),
        }
        if state.draining.is_none() {
            state.start_what_is_due(&myself, now);
        } else if state.served.busy() == 0
            && let Some(reply) = state.draining.take()
        {
            let _ = reply.send(());
            myself.stop(None);
        }
        Ok(())
    }
}

impl KfSyncState {
    /// Begins every call that may go out now, and sets the alarm for the next one that may not yet.
    fn start_what_is_due(&mut self, myself: &ActorRef<KfSyncMessage>, now: Instant) {
        if self.served.begin_listing(now) {
            let wecom = Arc::clone(&self.wecom);
            tell(myself, async move { KfSyncMessage::Listed(wecom.accounts().await) });
        }
        if let Some(work) = self.served.begin_link(now) {
            let (wecom, registry) = (Arc::clone(&self.wecom), self.registry.clone());
            tell(myself, async move { KfSyncMessage::LinkMade(work.run(wecom.as_ref(), &registry).await) });
        }
        for account in self.schedule.choose(&mut self.served, self.clock.now(), now) {
            self.pull(myself, &account);
        }
        if let Some(spent) = self.schedule.unsaved_ration(self.clock.now(), now) {
            let _ = self.registry.cast(RegistryMessage::SaveRation(spent));
        }
        let next = [self.schedule.next_at(&self.served, self.clock.now(), now), self.served.next_at()]
            .into_iter()
            .flatten()
            .min();
        if let Some(next) = next {
            self.alarm.set(myself, next, now, || KfSyncMessage::Tick);
        }
    }

    fn pull(&mut self, myself: &ActorRef<KfSyncMessage>, id: &OpenKfId) {
        let now = self.clock.now();
        let Some(account) = self.served.account_mut(id) else { return };
        let (wecom, registry) = (Arc::clone(&self.wecom), self.registry.clone());
        let sync_token = account.sync_token.clone().filter(|token| token.is_live(now));
        let id = id.clone();
        if let Position::At(cursor) = account.position.clone() {
            account.pulled_with = (cursor.clone(), sync_token.clone());
            let request = PullRequest { account: id.clone(), cursor, sync_token };
            tell(
                myself,
                async move { KfSyncMessage::Fetched { account: id, result: wecom.pull(request).await } },
            );
        } else {
            account.phase = Phase::Loading;
            tell(myself, async move {
                let state = call_t!(registry, RegistryMessage::Cursor, COMMIT_TIMEOUT_MS, id.clone()).ok();
                KfSyncMessage::Loaded { account: id, state }
            });
        }
    }

    fn loaded(&mut self, id: &OpenKfId, state: Option<CursorState>, now: Instant) {
        let Some(account) = self.served.came_back(id) else { return };
        account.phase = Phase::Idle;
        match state {
            Some(state) => {
                account.position = Position::At(state.cursor);
                account.offer_token(state.sync_token);
                account.due_at = now;
            }
            None => account.due_at = now + Duration::from_secs(1),
        }
        account.dirty = true;
    }

    fn fetched(
        &mut self,
        myself: &ActorRef<KfSyncMessage>,
        id: &OpenKfId,
        result: Result<Page, CallError>,
        now: Instant,
    ) {
        let wall = self.clock.now();
        let Some(account) = self.served.came_back(id) else { return };
        match result {
            Ok(page) => {
                count(&self.tally.sync_pulls, "result", "ok");
                account.succeeded(wall);
                if account.pulled_with.1.is_some() {
                    self.schedule.token_taken();
                }
                account.phase = Phase::Committing;
                let fate = PageFate {
                    has_more: page.has_more,
                    messages: page.messages.len().saturating_add(page.unreadable.len()),
                    newest: page.messages.iter().map(|message| message.send_time).max(),
                    cursor: page.next_cursor.clone(),
                };
                let mut commit = PageCommit {
                    account: id.clone(),
                    page,
                    sync_token: account.sync_token.clone(),
                    learned: Learned::default(),
                };
                let (registry, id) = (self.registry.clone(), id.clone());
                let wecom = self.served.learns().then(|| Arc::clone(&self.wecom));
                tell(myself, async move {
                    if let Some(wecom) = wecom {
                        commit.learned = learn(wecom.as_ref(), &registry, &commit.page).await;
                    }
                    let done =
                        call_t!(registry, RegistryMessage::CommitPage, COMMIT_TIMEOUT_MS, Box::new(commit));
                    let outcome = matches!(done, Ok(Ok(()))).then_some(fate);
                    KfSyncMessage::Committed { account: id, outcome }
                });
            }
            Err(error) => {
                account.phase = Phase::Idle;
                let label = account.failed(&error, now, self.entropy.as_ref());
                count(&self.tally.sync_pulls, "result", label);
                match &error {
                    // The calls of all accounts are counted together.
                    CallError::Throttled { wait, .. } => self.schedule.pause(now + *wait),
                    // A wrong token counts as none.
                    CallError::SyncTokenRefused(_) if account.pulled_with.1.is_some() => {
                        self.schedule.token_refused(now);
                    }
                    _ => {}
                }
                tracing::warn!(account = %id, error = %error, result = label, "a pull failed; it is tried again");
            }
        }
    }

    fn committed(&mut self, id: &OpenKfId, outcome: Option<PageFate>, now: Instant) {
        let Some(account) = self.served.came_back(id) else { return };
        account.phase = Phase::Idle;
        let Some(fate) = outcome else {
            // The page may or may not be on the disk: ask where to go on.
            account.position = Position::Unasked;
            account.dirty = true;
            account.due_at = now + Duration::from_secs(1);
            return;
        };
        let next = Position::At(fate.cursor.clone());
        let moved = next != Position::At(None) && next != account.position;
        if moved {
            account.position = next;
        }
        catch_up(account, id, &fate, self.clock.now(), now);
        account.empty_pages = if fate.messages == 0 && fate.has_more { account.empty_pages + 1 } else { 0 };
        if fate.has_more && (!moved || account.empty_pages >= EMPTY_PAGES_MAX) {
            // More without progress would never end. The next nudge or the timer looks again.
            count(&self.tally.sync_pulls, "result", "stuck");
            tracing::warn!(account = %id, "WeCom has more, but the cursor does not move: waiting");
            account.back_off(now, self.entropy.as_ref());
            account.empty_pages = 0;
            account.dirty |= moved;
        } else if fate.has_more {
            account.dirty = true;
            account.due_at = now;
        }
    }
}

/// Tells the operator how far the pages have come, where they are many.
fn catch_up(account: &mut Account, id: &OpenKfId, fate: &PageFate, wall: Timestamp, now: Instant) {
    let messages = u64::try_from(fate.messages).unwrap_or(u64::MAX);
    let word = if fate.has_more {
        account.catching_up.get_or_insert_with(|| CatchingUp::begin(now)).page(messages, fate.newest, now)
    } else {
        account.catching_up.take().and_then(|catching_up| catching_up.end(messages))
    };
    let Some(word) = word else { return };
    if fate.has_more {
        let behind_s = word.newest.map(|newest| wall.0.saturating_sub(newest.0));
        tracing::info!(account = %id, messages = word.messages, behind_s, "reading older messages");
    } else {
        tracing::info!(account = %id, messages = word.messages, "all older messages are read");
    }
}

#[cfg(test)]
mod tests;

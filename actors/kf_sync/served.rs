//! Which accounts are served, and which link leads to one of them.
//!
//! The accounts are the configured ones, else every API-managed one that WeCom lists. Pulling them is not done here.

use std::{collections::BTreeMap, time::Duration};

use ractor::{ActorRef, call_t};
use tokio::time::Instant;

use super::account::Account;
use crate::{
    backoff::Backoff,
    ids::{OpenKfId, SyncToken},
    messages::{KfLink, RegistryMessage, SyncReport},
    policy::SyncPolicy,
    ports::{CallError, Entropy, KfAccount, WeCom},
};

/// Between tries to list the accounts or to make the link.
const RETRY: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(1) };
/// How often an unknown account in a callback makes us list anew, at most, and how often changed authority does.
const RELIST_EVERY: Duration = Duration::from_mins(1);
/// The `scene` of our link; without one WeCom takes no `scene_param`.
const SCENE: &str = "kfbind";
/// How long the registry may take to keep the link, in milliseconds.
const SAVE_TIMEOUT_MS: u64 = 10_000;
/// Nudges for accounts that aren't known yet, kept at most.
const WAITING_MAX: usize = 256;

/// A call that is made again until it works.
#[derive(Debug)]
struct Errand {
    is_busy: bool,
    /// When to make it; `None`: no need.
    due_at: Option<Instant>,
    failures: u32,
    done_at: Option<Instant>,
}

impl Errand {
    const fn idle() -> Self {
        Self { is_busy: false, due_at: None, failures: 0, done_at: None }
    }

    fn begin(&mut self, now: Instant) -> bool {
        let begins = !self.is_busy && self.due_at.is_some_and(|at| at <= now);
        if begins {
            self.is_busy = true;
            self.due_at = None;
        }
        begins
    }

    fn worked(&mut self, now: Instant) {
        self.is_busy = false;
        self.failures = 0;
        self.done_at = Some(now);
    }

    fn failed(&mut self, error: &CallError, now: Instant, entropy: &dyn Entropy) {
        self.is_busy = false;
        self.failures += 1;
        let least = if let CallError::Throttled { wait, .. } = error { *wait } else { Duration::ZERO };
        self.due_at = Some(now + RETRY.wait(self.failures, entropy).max(least));
    }

    /// Asks for it to be made, not before this moment.
    fn want(&mut self, at: Instant) {
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }

    fn next_at(&self) -> Option<Instant> {
        if self.is_busy { None } else { self.due_at }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Served {
    policy: SyncPolicy,
    accounts: BTreeMap<OpenKfId, Account>,
    /// Those that are served no more, until what is under way there has come back: they may be listed again before.
    leaving: BTreeMap<OpenKfId, Account>,
    /// What WeCom last listed, served or not; for operators.
    listed: Vec<KfAccount>,
    /// The account that a link of ours leads to.
    first: Option<OpenKfId>,
    is_known: bool,
    listing: Errand,
    /// When a callback last made, or will make us list anew because of changed authority.
    relisted_at: Option<Instant>,
    link: Option<KfLink>,
    linking: Errand,
    /// Nudges that came before the accounts were known.
    waiting: BTreeMap<OpenKfId, Option<SyncToken>>,
}

/// A link to be made and kept.
pub(super) enum LinkWork {
    /// The operator's own.
    Keep(KfLink),
    /// One of ours to this account.
    Make(OpenKfId),
}

impl LinkWork {
    /// Makes it and has the registry keep it.
    pub(super) async fn run(
        self,
        wecom: &dyn WeCom,
        registry: &ActorRef<RegistryMessage>,
    ) -> Result<KfLink, CallError> {
        let link = match self {
            Self::Keep(link) => link,
            Self::Make(account) => {
                let url = wecom.contact_way(account.clone(), SCENE.to_owned()).await?;
                KfLink { url, account: Some(account) }
            }
        };
        match call_t!(registry, RegistryMessage::SaveLink, SAVE_TIMEOUT_MS, link.clone()) {
            Ok(Ok(())) => Ok(link),
            Ok(Err(refusal)) => Err(CallError::Unreachable(format!("the link could not be kept: {refusal}"))),
            Err(error) => Err(CallError::Unreachable(format!("the registry did not keep the link: {error}"))),
        }
    }
}

impl Served {
    /// Whether WeCom may be asked about the customers on a page.
    pub(super) fn learns(&self) -> bool {
        self.policy.learns
    }

    /// The configured accounts, or none yet. `link` is the one that was remembered.
    pub(super) fn new(policy: SyncPolicy, link: Option<KfLink>, now: Instant) -> Self {
        let accounts: BTreeMap<_, _> =
            policy.accounts.iter().map(|id| (id.clone(), Account::new(now))).collect();
        let mut served = Self {
            first: policy.accounts.first().cloned(),
            is_known: !accounts.is_empty(),
            accounts,
            leaving: BTreeMap::new(),
            listed: Vec::new(),
            policy,
            listing: Errand::idle(),
            relisted_at: None,
            link,
            linking: Errand::idle(),
            waiting: BTreeMap::new(),
        };
        // Where the accounts are configured, too: what WeCom says of them is for operators then.
        served.listing.want(now);
        served.check_link(now);
        served
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// In how many accounts something is under way, those included that are served no more.
    pub(super) fn busy(&self) -> usize {
        self.accounts.values().filter(|account| account.is_busy()).count() + self.leaving.len()
    }

    pub(super) fn accounts_mut(&mut self) -> impl Iterator<Item = &mut Account> {
        self.accounts.values_mut()
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = (&OpenKfId, &mut Account)> {
        self.accounts.iter_mut()
    }

    pub(super) fn account_mut(&mut self, id: &OpenKfId) -> Option<&mut Account> {
        self.accounts.get_mut(id)
    }

    /// What was under way in this account has come back; `None` where it is served no more.
    pub(super) fn came_back(&mut self, id: &OpenKfId) -> Option<&mut Account> {
        self.leaving.remove(id);
        self.accounts.get_mut(id)
    }

    /// Something is new there (`None`: anywhere). Whether that is an account of ours, as far as can be told yet.
    pub(super) fn nudge(
        &mut self,
        id: Option<&OpenKfId>,
        sync_token: Option<SyncToken>,
        now: Instant,
    ) -> bool {
        let Some(id) = id else {
            for account in self.accounts.values_mut() {
                account.nudge(sync_token.clone(), now);
            }
            return true;
        };
        if let Some(account) = self.accounts.get_mut(id) {
            account.nudge(sync_token, now);
            return true;
        }
        if !self.policy.accounts.is_empty() {
            return false;
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.insert(id.clone(), sync_token);
        }
        if self.is_known {
            self.listing.want(self.listing.done_at.map_or(now, |at| at + RELIST_EVERY).max(now));
        }
        !self.is_known
    }

    /// The accounts that we may manage have changed, a callback says. WeCom's list decides: a callback may be an old one
    /// that somebody sends again.
    pub(super) fn auth_change(&mut self, added: &[OpenKfId], removed: &[OpenKfId], now: Instant) {
        if !self.policy.accounts.is_empty() {
            tracing::info!(
                ?added,
                ?removed,
                "other accounts may be managed now; `wecom.accounts` decides which are served"
            );
        }
        let at = match self.relisted_at {
            Some(pending) if pending > now => pending,
            Some(last) => now.max(last + RELIST_EVERY),
            None => now,
        };
        self.relisted_at = Some(at);
        self.listing.want(at);
    }

    /// Whether to ask WeCom for the accounts now.
    pub(super) fn begin_listing(&mut self, now: Instant) -> bool {
        self.listing.begin(now)
    }

    /// WeCom listed the accounts, or failed to.
    pub(super) fn listed(
        &mut self,
        result: Result<Vec<KfAccount>, CallError>,
        now: Instant,
        entropy: &dyn Entropy,
    ) {
        let list = match result {
            Ok(list) => list,
            Err(error) => {
                self.listing.failed(&error, now, entropy);
                if self.policy.accounts.is_empty() {
                    tracing::warn!(%error, "the kf accounts can't be listed; it is tried again");
                } else {
                    tracing::debug!(%error, "the kf accounts can't be listed; nothing waits for that");
                }
                return;
            }
        };
        self.listing.worked(now);
        let managed: Vec<OpenKfId> =
            list.iter().filter(|a| a.api_managed).map(|a| a.account.clone()).collect();
        self.listed = list;
        if !self.policy.accounts.is_empty() {
            // Which are served is decided; the list only tells operators how those are.
            return;
        }
        if managed.is_empty() {
            tracing::warn!(
                "no kf account is managed through the API: tick one under 微信客服 → API → 通过API管理微信客服账号"
            );
        }
        self.serve(&managed, now);
        self.first = managed.into_iter().next();
        self.is_known = true;
        for (id, sync_token) in std::mem::take(&mut self.waiting) {
            if let Some(account) = self.accounts.get_mut(&id) {
                account.nudge(sync_token, now);
            }
        }
        self.check_link(now);
    }

    /// From now on exactly these.
    fn serve(&mut self, managed: &[OpenKfId], now: Instant) {
        let (stay, leave): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.accounts).into_iter().partition(|(id, _)| managed.contains(id));
        self.accounts = stay;
        self.leaving.extend(leave.into_iter().filter(|(_, account)| account.is_busy()));
        for id in managed {
            if let Some(mut account) = self.leaving.remove(id) {
                // What came there meanwhile rang for nobody.
                account.dirty = true;
                self.accounts.insert(id.clone(), account);
            }
            self.accounts.entry(id.clone()).or_insert_with(|| Account::new(now));
        }
    }

    /// The link that should be shown, if it is another than the one that is.
    fn wanted_link(&self) -> Option<LinkWork> {
        if let Some(url) = &self.policy.own_link {
            if !self.is_known && self.link.as_ref().is_some_and(|link| link.url == *url) {
                // What was remembered stands until the accounts are known.
                return None;
            }
            let mut ids = self.accounts.keys();
            let only = ids.next().filter(|_| ids.next().is_none());
            let own = KfLink { url: url.clone(), account: only.cloned() };
            return (self.link.as_ref() != Some(&own)).then_some(LinkWork::Keep(own));
        }
        let leads_to = self.link.as_ref().and_then(|link| link.account.as_ref());
        if !self.is_known || leads_to.is_some_and(|id| self.accounts.contains_key(id)) {
            return None;
        }
        self.first.clone().map(LinkWork::Make)
    }

    fn check_link(&mut self, now: Instant) {
        if self.wanted_link().is_some() {
            self.linking.want(now);
        }
    }

    /// The link to make now, if one is wanted.
    pub(super) fn begin_link(&mut self, now: Instant) -> Option<LinkWork> {
        if self.linking.begin(now) {
            let work = self.wanted_link();
            self.linking.is_busy = work.is_some();
            return work;
        }
        None
    }

    /// The link was made and kept, or not.
    pub(super) fn link_made(
        &mut self,
        result: Result<KfLink, CallError>,
        now: Instant,
        entropy: &dyn Entropy,
    ) {
        match result {
            Ok(link) => {
                self.linking.worked(now);
                self.link = Some(link);
                self.check_link(now);
            }
            Err(error) => {
                self.linking.failed(&error, now, entropy);
                tracing::warn!(%error, "the kf link can't be made; no codes are given until there is one");
            }
        }
    }

    /// When the next of these calls is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        [self.listing.next_at(), self.linking.next_at()].into_iter().flatten().min()
    }

    /// For the operator.
    pub(super) fn report(&self) -> SyncReport {
        let listed = |id: &OpenKfId| self.listed.iter().find(|listed| listed.account == *id);
        SyncReport {
            accounts_known: self.is_known,
            accounts: self.accounts.iter().map(|(id, account)| account.report(id, listed(id))).collect(),
            unserved: self
                .listed
                .iter()
                .filter(|listed| !self.accounts.contains_key(&listed.account))
                .cloned()
                .collect(),
        }
    }
}

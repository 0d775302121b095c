//! Carries out decisions on a batch: codes are made, bindings come and go.
//!
//! Everything lands in the [`Overlay`] of the batch; nothing is written or told to anybody here. The rules that
//! decide are in `rules.rs`, the ways in which records are laid out in `records.rs`; pages are gone through in
//! `page.rs`.

use std::collections::BTreeSet;

use super::{
    code_space::{display, draw, length_for},
    crowd::Crowd,
    erasure::ErasedIds,
    funnel::Funnel,
    overlay::Overlay,
    page::PageNote,
    records::{
        AuditBy, AuditKind, AuditRecord, BindingRecord, CodeRecord, CustomerRecord, LinkMeta, OutboxRecord,
        OutboxTaskRecord, UserCode, UserRecord, WebhookKindTag,
    },
    rules::{EARLY_S, Known},
    store::{StoreError, TreeId},
    ways::link::{self, Mint},
};
use crate::{
    ids::{BindCode, ExternalUserId, OpenId, Timestamp},
    messages::{IssueOutcome, IssueRequest, KfLink, PendingCode, UnbindBy, UnbindRequest},
    policy::Policy,
    ports::{Entropy, Profile},
    tally::Tally,
    texts::{NICKNAME_PLACEHOLDER, TIME_PLACEHOLDER, fill, inert},
};

/// How a text names an account that the back end gave no label.
pub(super) const ACCOUNT_WITHOUT_LABEL: &str = "您的小程序账号";
/// After so many draws that met codes of the last days, a code gets longer.
const DRAWS_MAX: u32 = 16;

/// What stays the same from batch to batch, and what is known of all codes together.
pub(crate) struct Desk {
    /// The operator's settings.
    pub(crate) policy: Policy,
    /// The store's secret.
    pub(crate) instance_key: [u8; 32],
    /// Makes the tickets of links.
    pub(crate) mint: Mint,
    /// When the store was made.
    pub(crate) store_created_at: Timestamp,
    /// Where codes are typed.
    pub(crate) link: Option<LinkMeta>,
    /// All codes together.
    pub(crate) crowd: Crowd,
    /// The last ids given out.
    pub(crate) sequences: Sequences,
    /// Bindings that stand.
    pub(crate) bindings: i64,
    /// Outbox entries.
    pub(crate) outbox: i64,
    /// Events that the business back end is still to hear of.
    pub(crate) webhooks: i64,
    /// Events that were given up.
    pub(crate) dead_letters: i64,
    /// Counts by day.
    pub(crate) funnel: Funnel,
    /// Who was erased.
    pub(crate) erased: std::sync::Arc<ErasedIds>,
    /// Where codes come from.
    pub(crate) entropy: std::sync::Arc<dyn Entropy>,
    /// The metrics.
    pub(crate) tally: Tally,
}

/// Numbers that grow with time, also from one store to the next: milliseconds × 1000, or one more than the last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sequences {
    pub(crate) audit: u64,
    pub(crate) outbox: u64,
    pub(crate) webhooks: u64,
    pub(crate) unreadable: u64,
}

pub(super) fn next(last: &mut u64, now_ms: u64) -> u64 {
    *last = now_ms.saturating_mul(1000).max(*last + 1);
    *last
}

/// One batch under decision.
pub(crate) struct Ledger<'a> {
    /// What lasts.
    pub(crate) desk: &'a mut Desk,
    /// What changes.
    pub(crate) overlay: Overlay<'a>,
    /// The time of the batch.
    pub(crate) now_ms: u64,
    /// The users whose view has changed.
    pub(crate) changed: BTreeSet<OpenId>,
    /// Whether the outbox has new entries.
    pub(crate) outbox_grew: bool,
    /// Whether there are new events for the business back end.
    pub(crate) webhooks_grew: bool,
    /// What the batch's pages came to.
    pub(crate) pages: Vec<PageNote>,
}

impl Ledger<'_> {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.now_ms / 1000)
    }

    // ---- Codes ----------------------------------------------------------------------------------------------

    /// Gives a user a code, or the live one again.
    pub(crate) fn issue(&mut self, request: &IssueRequest) -> Result<IssueOutcome, StoreError> {
        let now = self.now();
        if let Some(unionid) = &request.unionid {
            self.meet(&request.openid, unionid)?;
        }
        let mut user = self.overlay.user_or_default(&request.openid)?;
        if user.bound {
            return Ok(IssueOutcome::AlreadyBound);
        }
        let Some(link) = self.desk.link.as_ref().map(kf_link) else { return Ok(IssueOutcome::NoLink) };
        let mint = self.desk.policy.ways.link.then(|| self.desk.mint.clone());
        // A code from the future was made while our clock was wrong: no message would mean it.
        let live =
            user.code.as_ref().filter(|code| now < code.expires_at && code.issued_at <= now.plus(EARLY_S));
        if let Some(code) = live
            && !request.renew
            && code.expires_at.since(now) * 2 > code.expires_at.since(code.issued_at)
        {
            return Ok(IssueOutcome::Again(pending(code, link, &request.openid, mint.as_ref())));
        }
        let rate = self.desk.policy.codes_per_openid;
        // Nor does what a wrong clock made count until that time comes.
        user.issued.retain(|at| now < at.plus(rate.window_s) && *at < now.plus(rate.window_s));
        if user.issued.len() >= rate.count as usize {
            let retry_after_s = user.issued.first().map_or(1, |at| at.plus(rate.window_s).since(now).max(1));
            return Ok(IssueOutcome::TooMany { retry_after_s });
        }
        if let Some(code) = user.code.take().filter(|code| now < code.expires_at) {
            if let Some(mut record) = self.overlay.code(&code.code)? {
                record.revoked_at = Some(now);
                self.overlay.put_code(&code.code, &record)?;
            }
            self.desk.crowd.ended(code.expires_at);
        }
        let code = self.make_code(&request.openid, user.epoch)?;
        let issued = pending(&code, link, &request.openid, mint.as_ref());
        user.issued.push(now);
        user.code = Some(code);
        user.unionid = request.unionid.clone().or(user.unionid);
        self.touch(&request.openid, &mut user)?;
        self.count_code()?;
        Ok(IssueOutcome::Issued(issued))
    }

    fn make_code(&mut self, openid: &OpenId, epoch: u32) -> Result<UserCode, StoreError> {
        let now = self.now();
        let format = self.desk.policy.code_format;
        let live = self.desk.crowd.live(now) + 1;
        let mut length = length_for(format, live, self.desk.crowd.guesses(now));
        let mut draws = 0;
        let code = loop {
            let code = BindCode::new(draw(format, length, self.desk.entropy.as_ref()));
            // A code of the last days is never given to anybody else: an earlier message may still mean it.
            if self.overlay.code(&code)?.is_none() {
                break code;
            }
            draws += 1;
            if draws == DRAWS_MAX {
                (draws, length) = (0, length + 1);
            }
        };
        let expires_at = now.plus(self.desk.policy.code_ttl_s);
        let record = CodeRecord {
            openid: openid.clone(),
            format: format.into(),
            epoch,
            issued_at: now,
            expires_at,
            revoked_at: None,
            spent: false,
            conflicts: Vec::new(),
        };
        self.desk.crowd.made(&code, &record);
        self.overlay.put_code(&code, &record)?;
        Ok(UserCode { code, format: format.into(), issued_at: now, expires_at })
    }

    // ---- Bindings -------------------------------------------------------------------------------------------

    /// An unbinding from outside the chat; whether there was a binding.
    pub(crate) fn unbind(&mut self, request: &UnbindRequest) -> Result<bool, StoreError> {
        let by = match request.by {
            UnbindBy::User => AuditBy::User,
            UnbindBy::Admin => AuditBy::Admin,
        };
        // A back end that hears "none there" has changed nothing; a user's own unbinding ends a pending code, too.
        if request.by == UnbindBy::Admin && !self.overlay.user_or_default(&request.openid)?.bound {
            return Ok(false);
        }
        let Some(customer) = self.release(&request.openid)? else { return Ok(false) };
        self.audit_unbound(&request.openid, customer, by)?;
        Ok(true)
    }

    /// Ends a user's binding, if there is one, and all codes, tickets, intents and questions; the customer who was bound.
    pub(super) fn release(&mut self, openid: &OpenId) -> Result<Option<ExternalUserId>, StoreError> {
        self.forget_tickets(openid)?;
        let Some(mut user) = self.overlay.user(openid)? else { return Ok(None) };
        if !user.bound && user.code.is_none() {
            return Ok(None);
        }
        let binding = if user.bound { self.overlay.binding(openid)? } else { None };
        if let Some(binding) = &binding {
            self.overlay.remove_binding(openid, &binding.customer);
            self.desk.bindings -= 1;
            self.count_unbound()?;
            self.announce(WebhookKindTag::Removed, openid, &user, binding)?;
            self.part(openid, binding)?;
        }
        user.bound = false;
        self.kill_codes(&mut user);
        self.touch(openid, &mut user)?;
        Ok(binding.map(|binding| binding.customer))
    }

    /// No code that exists binds this user any more.
    fn kill_codes(&mut self, user: &mut UserRecord) {
        let now = self.now();
        user.epoch += 1;
        if let Some(code) = user.code.take().filter(|code| now < code.expires_at) {
            self.desk.crowd.ended(code.expires_at);
        }
    }

    /// Keeps a user's record with a new version.
    fn touch(&mut self, openid: &OpenId, user: &mut UserRecord) -> Result<(), StoreError> {
        // Beginning at the time, versions grow even from a record that was forgotten to its successor.
        user.version = (user.version + 2).max(self.now().0 * 2);
        self.overlay.put_user(openid, user)?;
        self.changed.insert(openid.clone());
        Ok(())
    }

    /// Lifts a customer's lock and forgets the wrong codes; whether there was anything.
    pub(crate) fn lift_lock(&mut self, customer: &ExternalUserId) -> Result<bool, StoreError> {
        let before = self.overlay.customer(customer)?;
        if before.wrong_total == 0 {
            return Ok(false);
        }
        // All but what has nothing to do with wrong codes.
        let (undone_at, answered) = (before.undone_at, before.answered);
        let record = CustomerRecord { undone_at, answered, ..CustomerRecord::default() };
        self.overlay.put_customer(customer, &record)?;
        Ok(true)
    }

    /// Keeps what WeCom tells of customers.
    pub(crate) fn save_profile(&mut self, profile: &Profile) -> Result<(), StoreError> {
        self.learn(&profile.customer, Some(profile), None)?;
        let Some(openid) = self.overlay.user_of(&profile.customer)? else { return Ok(()) };
        let Some(mut binding) = self.overlay.binding(&openid)? else { return Ok(()) };
        let before = binding.clone();
        binding.nickname = profile.nickname.clone().or(binding.nickname);
        binding.unionid = profile.unionid.clone().or(binding.unionid);
        if binding == before {
            return Ok(());
        }
        self.overlay.put_binding(&openid, &binding)?;
        let mut user = self.overlay.user_or_default(&openid)?;
        self.touch(&openid, &mut user)
    }

    /// Keeps the kf link; whether it is another than before.
    pub(crate) fn save_link(&mut self, link: &KfLink) -> Result<bool, StoreError> {
        if self.desk.link.as_ref().is_some_and(|known| kf_link(known) == *link) {
            return Ok(false);
        }
        let generation = self.desk.link.as_ref().map_or(0, |known| known.generation + 1);
        let meta = LinkMeta { url: link.url.clone(), account: link.account.clone(), generation };
        self.overlay.put(TreeId::Meta, super::META_LINK, &meta)?;
        self.desk.link = Some(meta);
        Ok(true)
    }

    /// Binds; `took_s` after a code was made for it, if it was one.
    pub(super) fn bind(
        &mut self,
        openid: &OpenId,
        binding: &BindingRecord,
        took_s: Option<u64>,
    ) -> Result<(), StoreError> {
        let mut user = self.overlay.user_or_default(openid)?;
        self.kill_codes(&mut user);
        user.bound = true;
        self.touch(openid, &mut user)?;
        self.overlay.put_binding(openid, binding)?;
        self.desk.bindings += 1;
        self.count_bound(binding.method, took_s)?;
        self.announce(WebhookKindTag::Created, openid, &user, binding)?;
        self.unite(openid, binding)?;
        self.queue_task(OutboxTaskRecord::Profile { customer: binding.customer.clone() })?;
        self.notify(openid, binding, user.label.as_deref())
    }

    /// The subscribe message, where there is one.
    fn notify(
        &mut self,
        openid: &OpenId,
        binding: &BindingRecord,
        label: Option<&str>,
    ) -> Result<(), StoreError> {
        let Some(template) = self.desk.policy.notice.clone() else { return Ok(()) };
        let account = label.map_or_else(|| ACCOUNT_WITHOUT_LABEL.to_owned(), inert);
        let nickname = binding.nickname.as_deref().unwrap_or(NICKNAME_PLACEHOLDER);
        let values = [
            ("{account}", account.as_str()),
            (NICKNAME_PLACEHOLDER, nickname),
            (TIME_PLACEHOLDER, TIME_PLACEHOLDER),
        ];
        let fields = template.data.iter().map(|(name, text)| (name.clone(), fill(text, &values)));
        self.queue_task(OutboxTaskRecord::Notify {
            openid: openid.clone(),
            customer: binding.customer.clone(),
            template_id: template.template_id,
            data: fields.collect(),
            bound_at: binding.bound_at,
            begun: false,
        })
    }

    /// A binding makes room for a newer one.
    pub(super) fn give_way(&mut self, openid: &OpenId) -> Result<(), StoreError> {
        let Some(customer) = self.release(openid)? else { return Ok(()) };
        self.audit_unbound(openid, customer, AuditBy::Replaced)
    }

    fn audit_unbound(
        &mut self,
        openid: &OpenId,
        customer: ExternalUserId,
        by: AuditBy,
    ) -> Result<(), StoreError> {
        self.audit(&AuditRecord {
            at: self.now(),
            what: AuditKind::Unbound,
            openid: Some(openid.clone()),
            customer: Some(customer),
            method: None,
            by,
            message: None,
        })
    }

    pub(super) fn queue_task(&mut self, task: OutboxTaskRecord) -> Result<(), StoreError> {
        let seq = next(&mut self.desk.sequences.outbox, self.now_ms);
        let created_at = self.now();
        self.overlay.put_outbox(seq, &OutboxRecord { created_at, task })?;
        self.desk.outbox += 1;
        self.outbox_grew = true;
        Ok(())
    }

    pub(super) fn audit(&mut self, record: &AuditRecord) -> Result<(), StoreError> {
        if let (AuditKind::Conflict, Some(openid), Some(customer)) =
            (record.what, &record.openid, &record.customer)
        {
            self.count_conflict()?;
            self.announce_conflict(openid, customer, record.method)?;
        }
        let id = next(&mut self.desk.sequences.audit, self.now_ms);
        self.overlay.put_audit(id, record)
    }
}

/// A stored link, as told to the outside.
pub(crate) fn kf_link(meta: &LinkMeta) -> KfLink {
    KfLink { url: meta.url.clone(), account: meta.account.clone() }
}

/// A user's code, as told to the outside; the link carries its ticket where `mint` makes one.
pub(crate) fn pending(
    code: &UserCode,
    mut link: KfLink,
    openid: &OpenId,
    mint: Option<&Mint>,
) -> PendingCode {
    let format = code.format.into();
    let ticket = mint.and_then(|mint| mint.ticket(&code.code, format, openid, code.issued_at));
    if let Some(url) = ticket.and_then(|ticket| link::with_ticket(&link.url, &ticket)) {
        link.url = url;
    }
    PendingCode {
        code: code.code.clone(),
        display: display(format, code.code.as_str()),
        expires_at: code.expires_at,
        link,
    }
}

//! Who people are on either side, beside bindings and codes: what WeCom and logins tell of them, and what a binding and
//! an unbinding mean for what was opened before.
//!
//! Part of the ledger: everything lands in its batch. The rules are in `ways/` and `rules/joining.rs`.

use super::{
    erasure::Kind,
    ledger::Ledger,
    records::{AuditBy, AuditKind, BindingRecord, CustomerPerson, Method, SAME, SamePerson, person_key},
    rules::{Join, Known},
    store::{StoreError, TreeId},
    ways::unionid,
};
use crate::{
    ids::{ExternalUserId, OpenId, OpenKfId, Timestamp, UnionId},
    messages::{OnPage, Wanted},
    policy::OnConflict,
    ports::Profile,
};

/// A customer of whom WeCom told no unionid is asked about again after so long. Seconds.
const ASK_AGAIN_AFTER_S: u64 = 24 * 3600;
/// WeCom tells only of customers who were there within so long. Seconds.
const TELLS_WITHIN_S: u64 = 48 * 3600;
/// So many customers with the same unionid are remembered.
const SAME_MAX: usize = 16;
/// So many users are remembered from whom a customer was unbound.
const PARTED_MAX: usize = 64;

impl Ledger<'_> {
    // ---- What is told of them -------------------------------------------------------------------------------

    /// Which of these customers WeCom should be asked about before their page is decided.
    pub(crate) fn wanting(&mut self, on_page: &[OnPage]) -> Result<Wanted, StoreError> {
        let (ways, now) = (self.desk.policy.ways, self.now());
        let links_until = self.desk.crowd.last_end();
        let mut wanted = Wanted::default();
        let may_replace = self.desk.policy.on_conflict == OnConflict::Replace;
        for OnPage { customer, sent, wrote_at } in on_page {
            let is_bound = self.overlay.user_of(customer)?.is_some();
            // Somebody who is bound matters only where something may take the binding's place.
            if now.since(*sent) >= TELLS_WITHIN_S || is_bound && !may_replace {
                continue;
            }
            let wants_entry = ways.link && !is_bound && wrote_at.is_some_and(|at| at < links_until);
            let person = self.overlay.person(customer)?;
            // A moment that has not come yet was told by a wrong clock.
            let is_due = person.asked_at == Timestamp(0)
                || now >= person.asked_at.plus(ASK_AGAIN_AFTER_S)
                || now < person.asked_at;
            let wants_unionid = ways.unionid && person.unionid.is_none() && is_due;
            if wants_entry || wants_unionid {
                wanted.customers.push(customer.clone());
                wanted.with_entry |= wants_entry;
            }
        }
        Ok(wanted)
    }

    /// Keeps what WeCom told of a customer, or that it told nothing.
    pub(super) fn learn(
        &mut self,
        customer: &ExternalUserId,
        profile: Option<&Profile>,
        account: Option<&OpenKfId>,
    ) -> Result<(), StoreError> {
        let ways = self.desk.policy.ways;
        if !(ways.unionid || ways.card || ways.staff) {
            // Nobody would ask for it.
            return Ok(());
        }
        let mut person = self.overlay.person(customer)?;
        person.asked_at = self.now();
        person.account = account.cloned().or(person.account);
        if let Some(profile) = profile {
            person.nickname = profile.nickname.clone().or(person.nickname);
            if let Some(unionid) = &profile.unionid
                && person.unionid.as_ref() != Some(unionid)
            {
                self.name_customer(customer, person.unionid.as_ref(), unionid)?;
                person.unionid = Some(unionid.clone());
            }
        }
        self.overlay.put_person(customer, &person)
    }

    /// The same of somebody who was asked about for a binding. Whoever was erased meanwhile is not taken up again.
    pub(crate) fn save_profile_of_bound(&mut self, profile: &Profile) -> Result<(), StoreError> {
        let customer = &profile.customer;
        let was_erased = self.desk.erased.at(Kind::Customer, customer.as_str()).is_some();
        if was_erased && self.overlay.user_of(customer)?.is_none() {
            return Ok(());
        }
        self.save_profile(profile)
    }

    fn name_customer(
        &mut self,
        customer: &ExternalUserId,
        old: Option<&UnionId>,
        new: &UnionId,
    ) -> Result<(), StoreError> {
        if let Some(old) = old {
            let mut same = self.overlay.same_person(old)?;
            same.customers.retain(|other| other != customer);
            self.keep_same(old, &same)?;
        }
        let mut same = self.overlay.same_person(new)?;
        same.customers.retain(|other| other != customer);
        same.customers.push(customer.clone());
        if same.customers.len() > SAME_MAX {
            same.customers.remove(0);
        }
        self.overlay.put_same_person(new, &same)
    }

    /// A unionid goes with the last who has it.
    fn keep_same(&mut self, unionid: &UnionId, same: &SamePerson) -> Result<(), StoreError> {
        if *same == SamePerson::default() {
            self.overlay.remove(TreeId::People, &person_key(SAME, unionid.as_str()));
            return Ok(());
        }
        self.overlay.put_same_person(unionid, same)
    }

    /// Keeps a user's unionid; whether anything is to be done with it.
    pub(super) fn name_user(&mut self, openid: &OpenId, unionid: &UnionId) -> Result<bool, StoreError> {
        if !self.desk.policy.ways.unionid {
            return Ok(false);
        }
        let mut person = self.overlay.user_person(openid)?;
        if person.unionid.as_ref() == Some(unionid) {
            return Ok(true);
        }
        if let Some(old) = &person.unionid {
            let mut same = self.overlay.same_person(old)?;
            if same.openid.as_ref() == Some(openid) {
                same.openid = None;
                self.keep_same(old, &same)?;
            }
        }
        person.unionid = Some(unionid.clone());
        self.overlay.put_user_person(openid, &person)?;
        let mut same = self.overlay.same_person(unionid)?;
        same.openid = Some(openid.clone());
        self.overlay.put_same_person(unionid, &same)?;
        Ok(true)
    }

    /// A user has shown this unionid: who has the same in the chat is bound. (7.3)
    pub(crate) fn meet(&mut self, openid: &OpenId, unionid: &UnionId) -> Result<(), StoreError> {
        if !self.name_user(openid, unionid)? {
            return Ok(());
        }
        let same = self.overlay.same_person(unionid)?;
        let Some((customer, person)) = unionid::customer_for(&self.overlay, openid, &same)? else {
            return Ok(());
        };
        let now = self.now();
        self.audit_claim(AuditKind::Bound, openid, &customer, Some(Method::Unionid), AuditBy::User)?;
        self.join(Join {
            openid: openid.clone(),
            customer,
            account: person.account,
            method: Method::Unionid,
            bound_at: now,
            code: None,
            replaces: Vec::new(),
        })
    }

    // ---- What was opened before -----------------------------------------------------------------------------

    /// 5.4: no ticket and no intent that exists binds this user any more.
    pub(super) fn forget_tickets(&mut self, openid: &OpenId) -> Result<(), StoreError> {
        // What is switched off now may have been on when it was made, and may be on again.
        if self.overlay.is_empty(TreeId::Tickets)? && self.overlay.is_empty(TreeId::Windows)? {
            return Ok(());
        }
        let mut person = self.overlay.user_person(openid)?;
        person.unbound_ms = person.unbound_ms.max(self.now_ms);
        self.overlay.put_user_person(openid, &person)?;
        self.end_intents(openid)
    }

    /// What was sent to or asked of the customer binds nobody any more, nor does the same unionid bind these two.
    pub(super) fn part(&mut self, openid: &OpenId, binding: &BindingRecord) -> Result<(), StoreError> {
        let mut person = self.overlay.person(&binding.customer)?;
        person.epoch += 1;
        person.questions.clear();
        // The binding may be of a time when nothing else was kept of them, and is all that tells who they are.
        if self.desk.policy.ways.unionid
            && person.unionid.is_none()
            && let Some(unionid) = &binding.unionid
        {
            self.name_customer(&binding.customer, None, unionid)?;
            person.unionid = Some(unionid.clone());
        }
        if !person.parted.contains(openid) {
            person.parted.push(openid.clone());
            if person.parted.len() > PARTED_MAX {
                person.parted.remove(0);
            }
        }
        self.overlay.put_person(&binding.customer, &person)
    }

    /// 7.1: the customer's tickets and questions and the user's intents die with a binding.
    pub(super) fn unite(&mut self, openid: &OpenId, binding: &BindingRecord) -> Result<(), StoreError> {
        let before = self.overlay.person(&binding.customer)?;
        let mut person = before.clone();
        person.questions.clear();
        person.parted.retain(|parted| parted != openid);
        let ways = self.desk.policy.ways;
        // A ticket may have been made for somebody of whom nothing is kept.
        if ways.card || ways.staff || before != CustomerPerson::default() {
            person.epoch += 1;
            self.overlay.put_person(&binding.customer, &person)?;
        }
        self.end_intents(openid)
    }
}

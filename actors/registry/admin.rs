//! What the business back end does by itself: makes users known, binds by its own word; and what operators count.
//!
//! Part of the ledger: everything lands in its batch. The back end knows who is who, so nothing is asked in the chat
//! and no unionid forbids it; one to one holds for it as for everybody. (5.4, 7.3)

use super::{
    ledger::Ledger,
    reader::info,
    records::{AuditBy, AuditKind, BindingRecord, Method},
    rules::{Join, Known as _},
    store::StoreError,
};
use crate::{
    ids::OpenId,
    messages::{AdminBindOutcome, AdminBindRequest, Introduction, Stats},
    policy::OnConflict,
};

impl Ledger<'_> {
    /// The back end has logged a user in.
    pub(crate) fn introduce(&mut self, introduction: &Introduction) -> Result<(), StoreError> {
        let Introduction { openid, unionid, label } = introduction;
        if let Some(label) = label {
            let label = Some(label.clone()).filter(|label| !label.is_empty());
            let mut user = self.overlay.user_or_default(openid)?;
            if user.label != label {
                user.label = label;
                // Nothing that the user sees.
                self.overlay.put_user(openid, &user)?;
            }
        }
        match unionid {
            Some(unionid) => self.meet(openid, unionid),
            None => Ok(()),
        }
    }

    /// Binds two by the back end's word. The same pair again is no change.
    pub(crate) fn bind_for_admin(
        &mut self,
        request: &AdminBindRequest,
    ) -> Result<AdminBindOutcome, StoreError> {
        let AdminBindRequest { openid, customer, account } = request;
        let theirs = self.overlay.binding(openid)?;
        if let Some(binding) = theirs.as_ref().filter(|binding| binding.customer == *customer) {
            return self.bound(openid, binding.clone());
        }
        let mine = self.overlay.user_of(customer)?;
        let replaces: Vec<OpenId> = mine.into_iter().chain(theirs.map(|_| openid.clone())).collect();
        if !replaces.is_empty() && self.desk.policy.on_conflict == OnConflict::Reject {
            return Ok(AdminBindOutcome::Conflict);
        }
        let account = match account {
            Some(account) => Some(account.clone()),
            None => self.overlay.person(customer)?.account,
        };
        self.join(Join {
            openid: openid.clone(),
            customer: customer.clone(),
            account,
            method: Method::Admin,
            bound_at: self.now(),
            code: None,
            replaces,
        })?;
        self.audit_claim(AuditKind::Bound, openid, customer, Some(Method::Admin), AuditBy::Admin)?;
        match self.overlay.binding(openid)? {
            Some(binding) => self.bound(openid, binding),
            None => Ok(AdminBindOutcome::Conflict),
        }
    }

    fn bound(&self, openid: &OpenId, binding: BindingRecord) -> Result<AdminBindOutcome, StoreError> {
        let user = self.overlay.user_or_default(openid)?;
        Ok(AdminBindOutcome::Bound(Box::new(info(openid.clone(), binding, user))))
    }

    /// Counts of the last days and of now. Days as they are in memory; what waits as this batch leaves it.
    pub(crate) fn stats(&mut self, days: usize) -> Result<Stats, StoreError> {
        let now = self.now();
        let days = self.desk.funnel.last_days(self.overlay.store(), now, days)?;
        let number = |count: i64| u64::try_from(count).unwrap_or_default();
        Ok(Stats {
            bindings: number(self.desk.bindings),
            codes_live: self.desk.crowd.live(now),
            outbox: number(self.desk.outbox),
            webhooks_waiting: number(self.desk.webhooks),
            dead_letters: number(self.desk.dead_letters),
            days,
        })
    }
}

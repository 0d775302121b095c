//! Codes that a customer has typed: which binds, which is wrong, and who must wait. (5.2–5.6)
//!
//! Finding codes in a text is `recognise.rs`'s work.

use super::{
    Ask, Case, EARLY_S, Effect, Join, Known, Saying,
    joining::{Standing, ends_at, is_live, standing},
};
use crate::{
    ids::{OpenId, Timestamp},
    policy::Rate,
    registry::{
        recognise::{Candidate, Found},
        records::{AuditKind, CodeRecord, CustomerRecord, Method, Subject},
    },
};

/// Beside codes at most so many characters may stand where a wrong or expired one is answered.
const BESIDE_CHARS_MAX: usize = 10;
/// No lock by window lasts longer. Seconds.
pub(crate) const LOCK_S_MAX: u64 = 24 * 3600;
/// So many wrong codes lock for good.
pub(crate) const WRONG_TOTAL_MAX: u32 = 100;
/// After so long without a wrong code a customer starts afresh. Seconds.
pub(crate) const FRESH_START_S: u64 = 30 * 24 * 3600;

impl<K: Known> Case<'_, K> {
    /// 5.5: several codes are tried in order, until one binds, asks, or the customer is locked.
    pub(super) fn try_codes(&mut self, found: &Found) -> Result<(), K::Error> {
        let may_say_no = found.beside <= BESIDE_CHARS_MAX;
        for candidate in &found.codes {
            if self.is_locked() {
                self.effects.push(Effect::Rejected("locked"));
                break;
            }
            let Some(code) = self.known.code(&candidate.code)? else {
                self.wrong(candidate, may_say_no);
                continue;
            };
            if self.try_code(candidate, &code, may_say_no)? {
                break;
            }
        }
        self.in_passing = !may_say_no && !self.settled && self.answer.is_none();
        Ok(())
    }

    /// Whether codes of this message are ignored.
    pub(super) fn is_locked(&self) -> bool {
        is_locked(&self.record, self.sent())
    }

    /// Tries a code that was made; whether it has bound, or asks.
    fn try_code(
        &mut self,
        candidate: &Candidate,
        code: &CodeRecord,
        may_say_no: bool,
    ) -> Result<bool, K::Error> {
        let openid = &code.openid;
        let too_early = self.sent() < code.issued_at.minus(EARLY_S);
        let theirs = self.known.binding(openid)?;
        if !too_early && theirs.is_some_and(|binding| binding.customer == *self.customer) {
            self.propose(Saying::AlreadyBound, Some(openid.clone()), Some(candidate));
            return Ok(false);
        }
        let subject = Subject::Code(candidate.code.clone());
        if !is_live(self.known, code, &self.record, self.sent())? || self.has_declined(&subject) {
            self.effects.push(Effect::Rejected("expired"));
            if may_say_no {
                self.propose(Saying::ExpiredCode, None, Some(candidate));
            }
            return Ok(false);
        }
        let replaces = match standing(self.known, self.policy(), openid, self.customer, self.sent())? {
            Standing::Free { replaces } => replaces,
            Standing::OtherPerson => {
                self.other_person(openid.clone());
                return Ok(false);
            }
            Standing::Elsewhere { mine } => {
                self.conflict(candidate, code, mine);
                return Ok(false);
            }
            // Told above, unless the message is too early to mean the code, which is no live one then.
            Standing::Same => return Ok(false),
        };
        if self.policy().confirm_code {
            self.ask(openid.clone(), Ask { subject, until: ends_at(code), again: None });
            return Ok(true);
        }
        let join = Join {
            openid: openid.clone(),
            customer: self.customer.clone(),
            account: Some(self.message.account.clone()),
            method: Method::Code,
            bound_at: self.sent(),
            code: Some(candidate.code.clone()),
            replaces,
        };
        self.bind(join, Some(candidate), false);
        Ok(true)
    }

    /// 5.4: one side is bound elsewhere. The answer may name the customer's own account, never that of the code.
    pub(crate) fn conflict(&mut self, candidate: &Candidate, code: &CodeRecord, mine: Option<OpenId>) {
        self.settled = true;
        self.effects.push(Effect::Rejected("conflict"));
        let noted = Effect::ConflictNoted { code: candidate.code.clone(), customer: self.customer.clone() };
        if !code.conflicts.contains(self.customer) && !self.effects.contains(&noted) {
            self.effects.push(noted);
            self.audit(AuditKind::Conflict, Some(code.openid.clone()), None);
        }
        self.propose(Saying::Conflict, mine, Some(candidate));
    }

    /// 5.6: a code that was never made.
    fn wrong(&mut self, candidate: &Candidate, may_say_no: bool) {
        self.effects.push(Effect::Rejected("wrong"));
        let mut locked = false;
        if self.sent() >= self.circumstances.store_created_at {
            self.effects.push(Effect::Guess);
            let rate = self.policy().wrong_codes_per_customer;
            let sent = self.sent();
            locked = count_wrong(&mut self.record, sent, rate);
        }
        if locked {
            self.audit(AuditKind::Locked, None, None);
            self.propose(Saying::Locked, None, Some(candidate));
        } else if may_say_no {
            self.propose(Saying::WrongCode, None, Some(candidate));
        }
    }
}

/// Whether codes of a message sent at `sent` are ignored.
pub(crate) fn is_locked(record: &CustomerRecord, sent: Timestamp) -> bool {
    record.locked_for_good || sent < record.locked_until
}

/// Counts a wrong code; whether it is the one that locks.
pub(crate) fn count_wrong(record: &mut CustomerRecord, sent: Timestamp, rate: Rate) -> bool {
    if record.wrong_total > 0 && sent >= record.last_wrong_at.plus(FRESH_START_S) {
        record.wrong_total = 0;
        record.wrong_in_window = 0;
        record.locks = 0;
    }
    record.wrong_total += 1;
    record.last_wrong_at = record.last_wrong_at.max(sent);
    // A late page brings a code of a window that is over: it counts for the total alone.
    let is_of_this_window = record.wrong_in_window == 0 || sent.plus(rate.window_s) > record.window_start;
    if record.wrong_in_window == 0 || sent >= record.window_start.plus(rate.window_s) {
        record.window_start = sent;
        record.wrong_in_window = 0;
    }
    record.wrong_in_window += u32::from(is_of_this_window);
    if record.wrong_total >= WRONG_TOTAL_MAX {
        record.locked_for_good = true;
        return true;
    }
    if !is_of_this_window || record.wrong_in_window < rate.count {
        return false;
    }
    record.locks += 1;
    let doublings = (record.locks - 1).min(32);
    let lasts = rate.window_s.saturating_mul(1 << doublings).min(LOCK_S_MAX);
    record.locked_until = record.window_start.plus(lasts);
    true
}

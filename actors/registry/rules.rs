//! The rules of binding as a pure function: what is known + one message → effects.
//!
//! No clock, no store, no I/O: the caller passes the time and answers questions about what is known, and carries out
//! the effects. This is what the model tests drive. The numbers in comments are those of the outside contract's
//! section 5.

use super::{
    recognise::{Candidate, Found, Lengths, recognise},
    records::{AuditBy, AuditKind, BindingRecord, CodeRecord, CustomerRecord, Method, UserRecord},
};
use crate::{
    ids::{BindCode, ExternalUserId, OpenId, OpenKfId, Timestamp},
    policy::{CodeFormat, OnConflict, Policy, Rate},
    ports::{KfContent, KfMessage},
};

/// A message sent so long before its code was made may still mean it: the clocks differ a little. Seconds.
pub(crate) const EARLY_S: u64 = 60;
/// A message this old when it is pulled is acted on, but not answered. Seconds.
const ANSWER_AGE_S_MAX: u64 = 600;
/// Beside codes at most so many characters may stand where a wrong or expired one is answered.
const BESIDE_CHARS_MAX: usize = 10;
/// Answers to one customer within [`ANSWERS_WINDOW_S`]; beyond, only what was bound or unbound is said.
const ANSWERS_MAX: usize = 10;
/// See [`ANSWERS_MAX`]. Seconds.
const ANSWERS_WINDOW_S: u64 = 600;
/// So many of the latest answers to a customer are remembered: more than ten, because what binds or unbinds is always
/// said and pages bring messages late.
const ANSWERS_KEPT_MAX: usize = 30;
/// No lock by window lasts longer. Seconds.
const LOCK_S_MAX: u64 = 24 * 3600;
/// So many wrong codes lock for good.
const WRONG_TOTAL_MAX: u32 = 100;
/// After so long without a wrong code a customer starts afresh. Seconds.
pub(crate) const FRESH_START_S: u64 = 30 * 24 * 3600;

/// What the rules may ask about what is known.
pub(crate) trait Known {
    /// What asking can fail with.
    type Error;
    /// The record of a code of the last days.
    fn code(&self, code: &BindCode) -> Result<Option<CodeRecord>, Self::Error>;
    /// The record of a user.
    fn user(&self, openid: &OpenId) -> Result<Option<UserRecord>, Self::Error>;
    /// The binding of a user.
    fn binding(&self, openid: &OpenId) -> Result<Option<BindingRecord>, Self::Error>;
    /// The user bound to a customer.
    fn user_of(&self, customer: &ExternalUserId) -> Result<Option<OpenId>, Self::Error>;
    /// A customer's limits.
    fn customer(&self, customer: &ExternalUserId) -> Result<CustomerRecord, Self::Error>;
}

/// What holds while a page is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances<'a> {
    /// The operator's settings.
    pub(crate) policy: &'a Policy,
    /// What a code can look like now.
    pub(crate) lengths: &'a Lengths,
    /// The time of the decision; judges only whether an answer still makes sense.
    pub(crate) now: Timestamp,
    /// When the store was made: what was sent before is not counted as wrong.
    pub(crate) store_created_at: Timestamp,
}

/// Something that a message brings about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Bind, after taking back what stands in the way.
    Bind {
        openid: OpenId,
        customer: ExternalUserId,
        account: OpenKfId,
        method: Method,
        bound_at: Timestamp,
        /// The code that did it.
        code: BindCode,
        /// The users whose bindings give way.
        replaces: Vec<OpenId>,
    },
    /// End a binding by the customer's own word.
    Unbind { openid: OpenId },
    /// Keep the customer's limits.
    Customer(CustomerRecord),
    /// Remember that this conflict is audited.
    ConflictNoted { code: BindCode, customer: ExternalUserId },
    /// A wrong code was counted.
    Guess,
    /// A code did not bind, for this reason (a label of the metric).
    Rejected(&'static str),
    /// To the audit trail.
    Audit { what: AuditKind, openid: Option<OpenId>, by: AuditBy },
    /// An answer is not given, for this reason (a label of the metric).
    Unanswered(&'static str),
    /// Answer in the chat.
    Answer(Answer),
}

/// What to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Which text.
    pub(crate) saying: Saying,
    /// The account that the text may name.
    pub(crate) openid: Option<OpenId>,
    /// The code that the text may name, and how it is shown.
    pub(crate) code: Option<(CodeFormat, BindCode)>,
    /// How long something lasts, in minutes.
    pub(crate) minutes: u64,
}

/// The answers, most important first: of several that came up, the first is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Saying {
    Bound,
    Unbound,
    AlreadyBound,
    Conflict,
    Locked,
    WrongCode,
    ExpiredCode,
}

/// What one message comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What to do, in this order.
    pub(crate) effects: Vec<Effect>,
    /// Whether the message must be remembered, so that it can't act twice.
    pub(crate) remember: bool,
}

/// Decides a message by what is known. (5.1–5.10; the caller has made sure that it was not decided before.)
pub(crate) fn decide<K: Known>(
    message: &KfMessage,
    known: &K,
    circumstances: Circumstances<'_>,
) -> Result<Verdict, K::Error> {
    let (Some(customer), KfContent::Text { content, menu_id: None }) = (&message.customer, &message.content)
    else {
        // Pictures, events, taps on menus that are not ours: nothing to decide.
        return Ok(Verdict::default());
    };
    let mut case = Case {
        message,
        customer,
        known,
        circumstances,
        record: known.customer(customer)?,
        effects: Vec::new(),
        answer: None,
    };
    let before = case.record.clone();
    if circumstances.policy.unbind_word.as_deref() == Some(content.trim()) {
        case.undo()?;
    } else {
        let found = recognise(content, circumstances.lengths);
        if found.codes.is_empty() {
            return Ok(Verdict::default());
        }
        case.try_codes(&found)?;
    }
    case.speak();
    let Case { record, mut effects, .. } = case;
    if record != before {
        effects.push(Effect::Customer(record));
    }
    Ok(Verdict { effects, remember: true })
}

/// One message under decision.
struct Case<'a, K> {
    message: &'a KfMessage,
    customer: &'a ExternalUserId,
    known: &'a K,
    circumstances: Circumstances<'a>,
    record: CustomerRecord,
    effects: Vec<Effect>,
    answer: Option<Answer>,
}

impl<K: Known> Case<'_, K> {
    fn sent(&self) -> Timestamp {
        self.message.send_time
    }

    /// 5.9: the one who owns the chat can undo.
    fn undo(&mut self) -> Result<(), K::Error> {
        let Some(openid) = self.known.user_of(self.customer)? else { return Ok(()) };
        let Some(binding) = self.known.binding(&openid)? else { return Ok(()) };
        if self.sent() < binding.bound_at {
            return Ok(());
        }
        self.record.undone_at = self.record.undone_at.max(self.sent());
        self.effects.push(Effect::Unbind { openid: openid.clone() });
        self.audit(AuditKind::Unbound, Some(openid.clone()));
        self.propose(Saying::Unbound, Some(openid), None);
        Ok(())
    }

    /// 5.5: several codes are tried in order, until one binds or the customer is locked.
    fn try_codes(&mut self, found: &Found) -> Result<(), K::Error> {
        let may_say_no = found.beside <= BESIDE_CHARS_MAX;
        for candidate in &found.codes {
            if is_locked(&self.record, self.sent()) {
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
        Ok(())
    }

    /// Tries a code that was made; whether it has bound.
    fn try_code(
        &mut self,
        candidate: &Candidate,
        code: &CodeRecord,
        may_say_no: bool,
    ) -> Result<bool, K::Error> {
        let openid = &code.openid;
        let theirs = self.known.binding(openid)?;
        let too_early = self.sent() < code.issued_at.minus(EARLY_S);
        if !too_early && theirs.as_ref().is_some_and(|b| b.customer == *self.customer) {
            self.propose(Saying::AlreadyBound, Some(openid.clone()), Some(candidate));
            return Ok(false);
        }
        let epoch = self.known.user(openid)?.map(|user| user.epoch);
        let ends_at = code.revoked_at.map_or(code.expires_at, |at| at.min(code.expires_at));
        let binds = !too_early
            && self.sent() < ends_at
            && !code.spent
            && epoch == Some(code.epoch)
            && self.sent() >= self.record.undone_at;
        if !binds {
            self.effects.push(Effect::Rejected("expired"));
            if may_say_no {
                self.propose(Saying::ExpiredCode, None, Some(candidate));
            }
            return Ok(false);
        }
        let mine = self.known.user_of(self.customer)?;
        let mut replaces = Vec::new();
        let mut newest = Timestamp(0);
        for other in [mine.clone(), theirs.map(|_| openid.clone())].into_iter().flatten() {
            if let Some(binding) = self.known.binding(&other)? {
                newest = newest.max(binding.bound_at);
            }
            replaces.push(other);
        }
        let gives_way = self.circumstances.policy.on_conflict == OnConflict::Replace && self.sent() >= newest;
        if !replaces.is_empty() && !gives_way {
            self.conflict(candidate, code, mine);
            return Ok(false);
        }
        self.effects.push(Effect::Bind {
            openid: openid.clone(),
            customer: self.customer.clone(),
            account: self.message.account.clone(),
            method: Method::Code,
            bound_at: self.sent(),
            code: candidate.code.clone(),
            replaces,
        });
        self.audit(AuditKind::Bound, Some(openid.clone()));
        self.propose(Saying::Bound, Some(openid.clone()), Some(candidate));
        Ok(true)
    }

    /// 5.4: one side is bound elsewhere. The answer may name the customer's own account, never that of the code.
    fn conflict(&mut self, candidate: &Candidate, code: &CodeRecord, mine: Option<OpenId>) {
        self.effects.push(Effect::Rejected("conflict"));
        let noted = Effect::ConflictNoted { code: candidate.code.clone(), customer: self.customer.clone() };
        if !code.conflicts.contains(self.customer) && !self.effects.contains(&noted) {
            self.effects.push(noted);
            self.audit(AuditKind::Conflict, Some(code.openid.clone()));
        }
        self.propose(Saying::Conflict, mine, Some(candidate));
    }

    /// 5.6: a code that was never made.
    fn wrong(&mut self, candidate: &Candidate, may_say_no: bool) {
        self.effects.push(Effect::Rejected("wrong"));
        let mut locked = false;
        if self.sent() >= self.circumstances.store_created_at {
            self.effects.push(Effect::Guess);
            let rate = self.circumstances.policy.wrong_codes_per_customer;
            let sent = self.sent();
            locked = count_wrong(&mut self.record, sent, rate);
        }
        if locked {
            self.audit(AuditKind::Locked, None);
            self.propose(Saying::Locked, None, Some(candidate));
        } else if may_say_no {
            self.propose(Saying::WrongCode, None, Some(candidate));
        }
    }

    fn audit(&mut self, what: AuditKind, openid: Option<OpenId>) {
        self.effects.push(Effect::Audit { what, openid, by: AuditBy::Customer });
    }

    /// Keeps the most important of the answers that came up, and of equals the first.
    fn propose(&mut self, saying: Saying, openid: Option<OpenId>, candidate: Option<&Candidate>) {
        if self.answer.as_ref().is_none_or(|answer| saying < answer.saying) {
            let code = candidate.map(|c| (c.format, c.code.clone()));
            let minutes = match saying {
                Saying::Locked if self.record.locked_for_good => LOCK_S_MAX / 60,
                Saying::Locked => self.record.locked_until.since(self.sent()).div_ceil(60),
                _ => 0,
            };
            self.answer = Some(Answer { saying, openid, code, minutes });
        }
    }

    /// 5.5 and 5.10: at most one answer, not too late, and not too many.
    fn speak(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        let sent = self.sent();
        if self.circumstances.now.since(sent) > ANSWER_AGE_S_MAX {
            self.effects.push(Effect::Unanswered("too_old"));
            return;
        }
        let answered = &mut self.record.answered;
        // None is forgotten for being far from this message: the next one may be of another time.
        let is_near = |at: &&Timestamp| at.since(sent).max(sent.since(**at)) < ANSWERS_WINDOW_S;
        let matters = matches!(answer.saying, Saying::Bound | Saying::Unbound);
        if answered.iter().filter(is_near).count() >= ANSWERS_MAX && !matters {
            self.effects.push(Effect::Unanswered("muted"));
            return;
        }
        answered.push(sent);
        answered.sort_unstable();
        if answered.len() > ANSWERS_KEPT_MAX {
            answered.remove(0);
        }
        self.effects.push(Effect::Answer(answer));
    }
}

/// Whether codes of a message sent at `sent` are ignored.
fn is_locked(record: &CustomerRecord, sent: Timestamp) -> bool {
    record.locked_for_good || sent < record.locked_until
}

/// Counts a wrong code; whether it is the one that locks.
fn count_wrong(record: &mut CustomerRecord, sent: Timestamp, rate: Rate) -> bool {
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

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod world;

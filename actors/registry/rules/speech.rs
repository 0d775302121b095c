//! What is said of all that came up: one answer at most, not too late, and not too many. (5.5, 5.10)
//!
//! Only which; the words are the ledger's.

use super::{Answer, Case, Effect, Known, LOCK_S_MAX, Saying};
use crate::{
    ids::{OpenId, Timestamp},
    registry::{recognise::Candidate, records::CustomerRecord},
};

/// A message this old when it is pulled is acted on, but not answered. Seconds.
pub(crate) const ANSWER_AGE_S_MAX: u64 = 600;
/// Answers to one customer within [`ANSWERS_WINDOW_S`]; beyond, only what was bound or unbound is said.
const ANSWERS_MAX: usize = 10;
/// See [`ANSWERS_MAX`]. Seconds.
const ANSWERS_WINDOW_S: u64 = 600;
/// So many of the latest answers to a customer are remembered: more than ten, because what binds or unbinds is always
/// said and pages bring messages late.
pub(crate) const ANSWERS_KEPT_MAX: usize = 30;

impl<K: Known> Case<'_, K> {
    /// Whether it is too late to answer.
    pub(crate) fn is_old(&self) -> bool {
        self.circumstances.now.since(self.sent()) > ANSWER_AGE_S_MAX
    }

    /// Whether something that need not be said would be.
    pub(crate) fn may_answer(&self) -> bool {
        !self.is_old() && !is_mute(&self.record, self.sent())
    }

    /// Keeps the most important of the answers that came up, and of equals the first.
    pub(crate) fn propose(&mut self, saying: Saying, openid: Option<OpenId>, candidate: Option<&Candidate>) {
        if self.answer.as_ref().is_none_or(|answer| saying < answer.saying) {
            let code = candidate.map(|c| (c.format, c.code.clone()));
            let minutes = match saying {
                Saying::Locked if self.record.locked_for_good => LOCK_S_MAX / 60,
                Saying::Locked => self.record.locked_until.since(self.sent()).div_ceil(60),
                _ => 0,
            };
            self.answer = Some(Answer { saying, openid, code, minutes, ask: None });
        }
    }

    /// At most one answer, not too late, and not too many.
    pub(super) fn speak(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        let sent = self.sent();
        if self.is_old() {
            self.effects.push(Effect::Unanswered("too_old"));
            return;
        }
        let matters = matches!(answer.saying, Saying::Bound | Saying::Unbound);
        if is_mute(&self.record, sent) && !matters {
            self.effects.push(Effect::Unanswered("muted"));
            return;
        }
        note_answer(&mut self.record, sent);
        if answer.saying == Saying::Invitation {
            self.person.invited_at = self.person.invited_at.max(Some(sent));
        }
        self.said = Some(answer.saying);
        self.effects.push(Effect::Answer(answer));
    }

    /// A question that is still under way may be put once more as the answer to this message, if it has no other.
    pub(super) fn hear_since(&mut self) {
        let unheard = std::mem::take(&mut self.unheard);
        if self.said.is_none() && self.may_answer() {
            self.effects.extend(unheard.into_iter().map(Effect::HeardSince));
        }
    }
}

/// Whether this customer has been answered too often around then.
pub(crate) fn is_mute(record: &CustomerRecord, sent: Timestamp) -> bool {
    // None is forgotten for being far from this message: the next one may be of another time.
    let is_near = |at: &&Timestamp| at.since(sent).max(sent.since(**at)) < ANSWERS_WINDOW_S;
    record.answered.iter().filter(is_near).count() >= ANSWERS_MAX
}

/// A message that was sent then is answered.
pub(crate) fn note_answer(record: &mut CustomerRecord, sent: Timestamp) {
    record.answered.push(sent);
    record.answered.sort_unstable();
    if record.answered.len() > ANSWERS_KEPT_MAX {
        record.answered.remove(0);
    }
}

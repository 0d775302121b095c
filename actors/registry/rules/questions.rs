//! Questions in the chat: what a tap means, who may answer, and when one is asked again. (7.4)
//!
//! What counts is the tap's id, from the customer who was asked; the label typed by hand is talk.

use super::{
    Ask, Case, Effect, Join, Known, Saying,
    joining::{Standing, is_live, standing},
};
use crate::{
    ids::{MenuId, Timestamp},
    policy::Policy,
    registry::{
        crowd::MESSAGES_KEPT_S,
        recognise::Candidate,
        records::{CustomerRecord, Delivery, Method, QuestionId, QuestionRecord, Subject},
        ways::window,
    },
};

/// Before the id in a `menu_id`, so that ours are told from those of other programs on the account.
const PREFIX: &str = "kfbind_";
/// Behind it.
const YES: char = 'y';
const NO: char = 'n';
/// So many noes of a customer are remembered.
const DECLINED_MAX: usize = 32;

impl QuestionId {
    /// What comes back with a tap on the yes or the no: letters, digits and `_`.
    pub(crate) fn menu_id(self, yes: bool) -> MenuId {
        let mut text = PREFIX.to_owned();
        for byte in self.0 {
            let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
            text.extend([digit(byte >> 4), digit(byte & 15)]);
        }
        text.push(if yes { YES } else { NO });
        MenuId::new(text)
    }

    /// The question and the answer in a `menu_id` of ours.
    pub(crate) fn read(menu_id: &MenuId) -> Option<(Self, bool)> {
        let text = menu_id.as_str().strip_prefix(PREFIX)?;
        let (hex, yes) = match (text.strip_suffix(YES), text.strip_suffix(NO)) {
            (Some(hex), _) => (hex, true),
            (_, Some(hex)) => (hex, false),
            _ => return None,
        };
        let mut bytes = [0; 16];
        if hex.len() != 2 * bytes.len()
            || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some((Self(bytes), yes))
    }
}

impl<K: Known> Case<'_, K> {
    /// A tap. One on a menu that isn't ours, or by somebody who was not asked, is talk.
    pub(super) fn tap(&mut self, menu_id: &MenuId) -> Result<(), K::Error> {
        let Some((id, yes)) = QuestionId::read(menu_id) else { return Ok(()) };
        let Some(question) = self.known.question(id)? else { return Ok(()) };
        if question.customer != *self.customer {
            return Ok(());
        }
        self.acted = true;
        if matches!(question.subject, Subject::Code(_)) && self.is_locked() {
            self.effects.push(Effect::Rejected("locked"));
            return Ok(());
        }
        if !is_alive(self.known, self.policy(), &question, &self.record, self.sent())? {
            self.effects.push(Effect::Rejected("expired"));
            self.propose(Saying::ExpiredCode, None, candidate(&question.subject).as_ref());
            return Ok(());
        }
        self.settled = true;
        self.person.questions.retain(|open| *open != id);
        self.effects.push(Effect::Answered(id));
        if yes {
            return self.confirmed(&question);
        }
        let sent = self.sent();
        self.person.declined.retain(|(_, until)| sent < until.plus(MESSAGES_KEPT_S));
        self.person.declined.push((question.subject.clone(), question.until));
        if self.person.declined.len() > DECLINED_MAX {
            self.person.declined.remove(0);
        }
        self.propose(Saying::Cancelled, Some(question.openid), None);
        Ok(())
    }

    /// Yes.
    fn confirmed(&mut self, question: &QuestionRecord) -> Result<(), K::Error> {
        let openid = &question.openid;
        let candidate = candidate(&question.subject);
        match standing(self.known, self.policy(), openid, self.customer, self.sent())? {
            Standing::Free { replaces } => {
                let join = Join {
                    openid: openid.clone(),
                    customer: self.customer.clone(),
                    account: Some(self.message.account.clone()),
                    method: question.subject.method(),
                    bound_at: self.sent(),
                    code: question.subject.code().cloned(),
                    replaces,
                };
                self.bind(join, candidate.as_ref(), false);
            }
            Standing::Same => self.propose(Saying::AlreadyBound, Some(openid.clone()), candidate.as_ref()),
            Standing::OtherPerson => self.other_person(openid.clone()),
            Standing::Elsewhere { mine } => {
                let code = match question.subject.code() {
                    Some(code) => self.known.code(code)?,
                    None => None,
                };
                match (candidate, code) {
                    (Some(candidate), Some(code)) => self.conflict(&candidate, &code, mine),
                    _ => self.propose(Saying::Conflict, mine, None),
                }
            }
        }
        Ok(())
    }

    /// Whether this customer has said no to it.
    pub(crate) fn has_declined(&self, subject: &Subject) -> bool {
        self.person.declined.iter().any(|(declined, _)| declined.is_same(subject))
    }

    /// A question that did not arrive is asked again at the next message; one that is still under way hears of it.
    pub(super) fn ask_again(&mut self) -> Result<(), K::Error> {
        let open = std::mem::take(&mut self.person.questions);
        for id in open {
            let Some(question) = self.known.question(id)? else { continue };
            // A tap that comes late is still judged by when it was sent, so a question is kept beyond its end.
            if question.answered || self.person.epoch != question.epoch || self.settled && self.has_bound() {
                continue;
            }
            self.person.questions.push(id);
            match question.delivery {
                Delivery::Said => {}
                Delivery::UnderWay(_) => self.unheard.push(id),
                Delivery::Unsaid => {
                    let is_dead = matches!(question.subject, Subject::Code(_)) && self.is_locked()
                        || self.has_declined(&question.subject);
                    if !is_dead && is_alive(self.known, self.policy(), &question, &self.record, self.sent())?
                    {
                        let ask = Ask { subject: question.subject, until: question.until, again: Some(id) };
                        self.ask(question.openid, ask);
                    }
                }
            }
        }
        Ok(())
    }

    fn has_bound(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Bind(_)))
    }
}

/// Whether a yes that is sent then would still mean something.
pub(crate) fn is_alive<K: Known>(
    known: &K,
    policy: &Policy,
    question: &QuestionRecord,
    customer: &CustomerRecord,
    sent: Timestamp,
) -> Result<bool, K::Error> {
    let person = known.person(&question.customer)?;
    let has_declined = person.declined.iter().any(|(declined, _)| declined.is_same(&question.subject));
    if question.answered || question.epoch != person.epoch || has_declined {
        return Ok(false);
    }
    match &question.subject {
        Subject::Code(code) | Subject::Link(code) => {
            let is_on = question.subject.method() == Method::Code || policy.ways.link;
            let Some(code) = known.code(code)?.filter(|_| is_on) else { return Ok(false) };
            is_live(known, &code, customer, sent)
        }
        Subject::Window(openid, opened_at) => {
            let is_on = policy.ways.window && sent >= customer.undone_at;
            Ok(is_on
                && window::stands(known, &question.account, openid, *opened_at, &question.customer, sent)?)
        }
    }
}

/// The code behind a subject, as an answer may name it.
fn candidate(subject: &Subject) -> Option<Candidate> {
    subject.code().map(Candidate::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_menu_id_tells_question_and_answer_and_nothing_else_is_one() {
        let id = QuestionId([0xab; 16]);
        for yes in [true, false] {
            let menu_id = id.menu_id(yes);
            assert!(menu_id.as_str().len() <= 128);
            assert!(menu_id.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
            assert_eq!(QuestionId::read(&menu_id), Some((id, yes)));
        }
        for foreign in ["", "y", "kfbind_", "kfbind_y", "kfbind_abababababababababababababababab", "确认绑定"]
        {
            assert_eq!(QuestionId::read(&MenuId::new(foreign)), None, "{foreign}");
        }
        let upper = id.menu_id(true).as_str().to_uppercase().replace("KFBIND_", PREFIX).replace('Y', "y");
        assert_eq!(QuestionId::read(&MenuId::new(upper)), None);
    }
}

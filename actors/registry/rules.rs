//! The rules of binding as a pure function: what is known + one message → effects.
//!
//! No clock, no store, no I/O: the caller passes the time and answers questions about what is known, and carries out
//! the effects. This is what the model tests drive. The numbers in comments are those of the outside contract's
//! section 5.

use super::{
    recognise::{Candidate, Lengths, recognise},
    records::{
        AuditBy, AuditKind, BindingRecord, CodeRecord, CustomerPerson, CustomerRecord, Method, QuestionId,
        QuestionRecord, SamePerson, Subject, TicketRecord, UserPerson, UserRecord, WindowRecord,
    },
    ways,
};
use crate::{
    ids::{BindCode, ExternalUserId, OpenId, OpenKfId, Ticket, Timestamp, UnionId},
    policy::{CodeFormat, Handover, Policy},
    ports::{KfContent, KfMessage, MessageKind},
};

mod codes;
mod handover;
pub(crate) mod joining;
mod questions;
mod speech;

pub(crate) use codes::FRESH_START_S;
use codes::LOCK_S_MAX;
#[cfg(test)]
pub(crate) use codes::WRONG_TOTAL_MAX;
pub(crate) use codes::is_locked;
pub(crate) use questions::is_alive;
#[cfg(test)]
use speech::ANSWERS_KEPT_MAX;
pub(crate) use speech::{ANSWER_AGE_S_MAX, is_mute, note_answer};

/// A message sent so long before its code was made may still mean it: the clocks differ a little. Seconds.
pub(crate) const EARLY_S: u64 = 60;

/// What the rules may ask about what is known.
pub(crate) trait Known {
    /// What asking can fail with.
    type Error;
    /// The record of a code of the last days.
    fn code(&self, code: &BindCode) -> Result<Option<CodeRecord>, Self::Error>;
    /// The record of a user.
    fn user(&self, openid: &OpenId) -> Result<Option<UserRecord>, Self::Error>;
    /// The epoch of a user, also of one who has no record.
    fn user_epoch(&self, openid: &OpenId) -> Result<u32, Self::Error>;
    /// The binding of a user.
    fn binding(&self, openid: &OpenId) -> Result<Option<BindingRecord>, Self::Error>;
    /// The user bound to a customer.
    fn user_of(&self, customer: &ExternalUserId) -> Result<Option<OpenId>, Self::Error>;
    /// A customer's limits.
    fn customer(&self, customer: &ExternalUserId) -> Result<CustomerRecord, Self::Error>;
    /// What else is known of a customer.
    fn person(&self, customer: &ExternalUserId) -> Result<CustomerPerson, Self::Error>;
    /// What else is known of a user.
    fn user_person(&self, openid: &OpenId) -> Result<UserPerson, Self::Error>;
    /// Who has this unionid.
    fn same_person(&self, unionid: &UnionId) -> Result<SamePerson, Self::Error>;
    /// The code whose link carries this ticket.
    fn code_of_link(&self, ticket: &Ticket) -> Result<Option<(BindCode, CodeRecord)>, Self::Error>;
    /// What a card's ticket binds.
    fn ticket(&self, ticket: &Ticket) -> Result<Option<TicketRecord>, Self::Error>;
    /// A question.
    fn question(&self, id: QuestionId) -> Result<Option<QuestionRecord>, Self::Error>;
    /// Who announced themselves and who came, in an account.
    fn window(&self, account: &OpenKfId) -> Result<WindowRecord, Self::Error>;
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
    /// The ticket of the customer's last entry, where WeCom was asked for it.
    pub(crate) entered_with: Option<&'a Ticket>,
}

/// Something that a message brings about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Keep what else is known of the customer; before all other effects.
    Person(Box<CustomerPerson>),
    /// Bind, after taking back what stands in the way.
    Bind(Join),
    /// End a binding by the customer's own word.
    Unbind { openid: OpenId },
    /// Keep the customer's limits.
    Customer(CustomerRecord),
    /// Remember that this conflict is audited.
    ConflictNoted { code: BindCode, customer: ExternalUserId },
    /// A wrong code was counted.
    Guess,
    /// A code or another way did not bind, for this reason (a label of the metric).
    Rejected(&'static str),
    /// To the audit trail.
    Audit { what: AuditKind, openid: Option<OpenId>, method: Option<Method>, by: AuditBy },
    /// A question has been answered, or is over.
    Answered(QuestionId),
    /// A message has come while a question was still under way.
    HeardSince(QuestionId),
    /// Keep what happens in the message's account.
    Window(Box<WindowRecord>),
    /// Bring a person.
    HandOver,
    /// An answer is not given, for this reason (a label of the metric).
    Unanswered(&'static str),
    /// Answer in the chat.
    Answer(Answer),
}

/// Two who are to be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) openid: OpenId,
    pub(crate) customer: ExternalUserId,
    pub(crate) account: Option<OpenKfId>,
    pub(crate) method: Method,
    pub(crate) bound_at: Timestamp,
    /// The code that did it.
    pub(crate) code: Option<BindCode>,
    /// The users whose bindings give way.
    pub(crate) replaces: Vec<OpenId>,
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
    /// What is asked.
    pub(crate) ask: Option<Ask>,
}

/// A question to be put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) subject: Subject,
    /// After this there is nothing left to ask for.
    pub(crate) until: Timestamp,
    /// The question that was put before, in vain.
    pub(crate) again: Option<QuestionId>,
}

/// The answers, most important first: of several that came up, the first is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Saying {
    Bound,
    Unbound,
    AlreadyBound,
    Conflict,
    OtherPerson,
    Cancelled,
    Question,
    Locked,
    WrongCode,
    ExpiredCode,
    Invitation,
}

/// What one message comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What to do, in this order.
    pub(crate) effects: Vec<Effect>,
    /// Whether the message must be remembered, so that it can't act twice.
    pub(crate) remember: bool,
    /// Whether it held a code, or brought the ticket of one.
    pub(crate) held_code: bool,
}

/// Decides a message by what is known. (5.1–5.10 and 7; the caller has made sure that it was not decided before.)
pub(crate) fn decide<K: Known>(
    message: &KfMessage,
    known: &K,
    circumstances: Circumstances<'_>,
) -> Result<Verdict, K::Error> {
    let is_customers = matches!(
        message.content,
        KfContent::Text { .. }
            | KfContent::EnterSession { .. }
            | KfContent::SessionEnded
            | KfContent::Other(MessageKind::Media)
    );
    let Some(customer) = message.customer.as_ref().filter(|_| is_customers) else {
        return Ok(Verdict::default());
    };
    let policy = circumstances.policy;
    // A tap may answer a question of before the operator's last decision.
    let is_tap = matches!(message.content, KfContent::Text { menu_id: Some(_), .. });
    let knows_people = policy.ways != crate::policy::Ways::default()
        || policy.confirm_code
        || policy.handover != Handover::None
        || is_tap;
    if !knows_people && !matches!(message.content, KfContent::Text { .. }) {
        // Pictures and events: nothing to decide.
        return Ok(Verdict::default());
    }
    let person = if knows_people { known.person(customer)? } else { CustomerPerson::default() };
    let mut case = Case {
        message,
        customer,
        known,
        circumstances,
        record: known.customer(customer)?,
        person,
        effects: Vec::new(),
        answer: None,
        said: None,
        unheard: Vec::new(),
        acted: false,
        held_code: false,
        in_passing: false,
        settled: false,
    };
    let (record, person) = (case.record.clone(), case.person.clone());
    if message.content == KfContent::SessionEnded {
        case.session_ended();
        return Ok(case.verdict(&record, &person));
    }
    if policy.ways.staff {
        // Whom an employee binds is told there.
        case.person.account = Some(message.account.clone());
    }
    case.first_things()?;
    if knows_people {
        case.further_ways()?;
        case.ask_again()?;
    }
    case.speak();
    if knows_people {
        case.hear_since();
        case.hand_over();
    }
    Ok(case.verdict(&record, &person))
}

/// One message under decision.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the message, and most go together"
)]
pub(crate) struct Case<'a, K> {
    pub(crate) message: &'a KfMessage,
    pub(crate) customer: &'a ExternalUserId,
    pub(crate) known: &'a K,
    pub(crate) circumstances: Circumstances<'a>,
    pub(crate) record: CustomerRecord,
    pub(crate) person: CustomerPerson,
    pub(crate) effects: Vec<Effect>,
    answer: Option<Answer>,
    /// What is really answered.
    said: Option<Saying>,
    /// Questions that are still under way.
    unheard: Vec<QuestionId>,
    /// Whether the message meant us: a code, a tap on a question, the word that undoes.
    pub(crate) acted: bool,
    /// Whether the message held a code, or brought the ticket of one.
    pub(crate) held_code: bool,
    /// Whether codes stand in a longer text, and nothing came of them that anybody would notice.
    in_passing: bool,
    /// Whether it is decided who is bound, so that no further way is looked at.
    pub(crate) settled: bool,
}

impl<K: Known> Case<'_, K> {
    pub(crate) fn sent(&self) -> Timestamp {
        self.message.send_time
    }

    pub(crate) fn policy(&self) -> &Policy {
        self.circumstances.policy
    }

    /// What was written to us: the word that undoes, codes, a tap.
    fn first_things(&mut self) -> Result<(), K::Error> {
        match &self.message.content {
            KfContent::Text { menu_id: Some(menu_id), .. } => self.tap(menu_id)?,
            KfContent::Text { content, menu_id: None } => {
                if self.policy().unbind_word.as_deref() == Some(content.trim()) {
                    self.acted = true;
                    // Whoever says this wants to be bound by nothing.
                    self.settled = true;
                    self.undo()?;
                } else {
                    let found = recognise(content, self.circumstances.lengths);
                    if !found.codes.is_empty() {
                        self.acted = true;
                        self.held_code = true;
                        self.try_codes(&found)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// 7.1: several ways may be open at once; the first that decides ends it.
    fn further_ways(&mut self) -> Result<(), K::Error> {
        for way in ways::all() {
            if (way.is_on)(&self.policy().ways) && (way.hears_all || !self.settled) {
                (way.hear)(self)?;
            }
        }
        Ok(())
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
        self.audit(AuditKind::Unbound, Some(openid.clone()), None);
        self.propose(Saying::Unbound, Some(openid), None);
        Ok(())
    }

    /// Binds, and says so unless it is to happen without a word.
    pub(crate) fn bind(&mut self, join: Join, candidate: Option<&Candidate>, is_silent: bool) {
        self.settled = true;
        let (openid, method) = (join.openid.clone(), join.method);
        self.effects.push(Effect::Bind(join));
        self.audit(AuditKind::Bound, Some(openid.clone()), Some(method));
        if !is_silent {
            self.propose(Saying::Bound, Some(openid), candidate);
        }
    }

    /// 7.3: the two are known to be different people.
    pub(crate) fn other_person(&mut self, openid: OpenId) {
        self.settled = true;
        self.effects.push(Effect::Rejected("other_person"));
        self.audit(AuditKind::OtherPerson, Some(openid), None);
        self.propose(Saying::OtherPerson, None, None);
    }

    /// Asks before binding.
    pub(crate) fn ask(&mut self, openid: OpenId, ask: Ask) {
        self.settled = true;
        self.propose(Saying::Question, Some(openid), None);
        if let Some(answer) = self.answer.as_mut().filter(|answer| answer.saying == Saying::Question) {
            answer.ask.get_or_insert(ask);
        }
    }

    pub(crate) fn audit(&mut self, what: AuditKind, openid: Option<OpenId>, method: Option<Method>) {
        self.effects.push(Effect::Audit { what, openid, method, by: AuditBy::Customer });
    }

    fn verdict(self, record: &CustomerRecord, person: &CustomerPerson) -> Verdict {
        let Self { record: new_record, person: new_person, mut effects, acted, held_code, .. } = self;
        if new_record != *record {
            effects.push(Effect::Customer(new_record));
        }
        if new_person != *person {
            effects.insert(0, Effect::Person(Box::new(new_person)));
        }
        // Who was where, and when, is the same if it is noted twice; ordinary talk leaves nothing else behind.
        let is_note = |effect: &Effect| matches!(effect, Effect::Window(_) | Effect::Person(_));
        let remember = acted || !effects.iter().all(is_note);
        Verdict { effects, remember, held_code }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod world;

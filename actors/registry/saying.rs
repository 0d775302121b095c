//! Puts into the outbox what is to be said: the words of answers, questions and invitations, and what becomes of them.
//!
//! Part of the ledger: everything lands in its batch. Whether something is said at all is the rules' word.

use super::{
    code_space::display,
    ledger::{ACCOUNT_WITHOUT_LABEL, Ledger},
    overlay::Overlay,
    records::{
        Delivery, Method, OutboxRecord, OutboxTaskRecord, QuestionId, QuestionRecord, SayRecord, Subject,
        TicketRecord, WordsRecord,
    },
    reply_id::reply_id,
    rules::{Answer, Ask, Known, Saying, is_alive, is_locked, is_mute, note_answer},
    store::{StoreError, TreeId},
    ways::link::base64url,
};
use crate::{
    ids::{ExternalUserId, MessageId, OpenId, OpenKfId, Ticket, Timestamp, UserId, WelcomeCode},
    messages::Settlement,
    policy::Handover,
    ports::{KfContent, KfMessage},
    texts::{NICKNAME_PLACEHOLDER, fill, inert},
};

/// Behind an answer to a wrong code, where a person can be had.
const PERSON_HINT: &str = "如需人工服务，请回复“{person_word}”。";
/// So many questions of a customer may be open; of more, the oldest is dead.
const QUESTIONS_MAX: usize = 8;

/// Where something is said, to whom, and as an answer to what.
struct Occasion<'m> {
    account: &'m OpenKfId,
    customer: &'m ExternalUserId,
    msgid: &'m MessageId,
    welcome: Option<(WelcomeCode, Timestamp)>,
}

impl Ledger<'_> {
    /// Answers a message.
    pub(super) fn answer(
        &mut self,
        message: &KfMessage,
        customer: &ExternalUserId,
        answer: &Answer,
    ) -> Result<(), StoreError> {
        let welcome = match &message.content {
            KfContent::EnterSession { welcome_code, .. } => {
                welcome_code.clone().map(|code| (code, message.send_time))
            }
            _ => None,
        };
        let (account, msgid) = (&message.account, &message.msgid);
        let occasion = Occasion { account, customer, msgid, welcome };
        match (&answer.saying, &answer.ask, &answer.openid) {
            (Saying::Question, Some(ask), Some(openid)) => {
                let id = self.put_question(&occasion, openid, ask)?;
                self.say_question(occasion, id, openid)
            }
            (Saying::Invitation, ..) => self.say_invitation(occasion),
            _ => {
                let text = self.word(answer)?;
                self.say(occasion, WordsRecord::Text(text), None)
            }
        }
    }

    /// Tells a customer who was bound by another's hand.
    pub(super) fn tell_bound(
        &mut self,
        account: &OpenKfId,
        customer: &ExternalUserId,
        openid: &OpenId,
    ) -> Result<(), StoreError> {
        let answer =
            Answer { saying: Saying::Bound, openid: Some(openid.clone()), code: None, minutes: 0, ask: None };
        let text = self.word(&answer)?;
        // No message is answered; what makes this binding unlike any other stands in for one.
        let msgid = &MessageId::new(format!("bound/{}/{}", openid.as_str(), self.now_ms));
        self.say(Occasion { account, customer, msgid, welcome: None }, WordsRecord::Text(text), None)
    }

    fn say(
        &mut self,
        occasion: Occasion<'_>,
        words: WordsRecord,
        question: Option<QuestionId>,
    ) -> Result<(), StoreError> {
        let Occasion { account, customer, msgid, welcome } = occasion;
        let reply_id = reply_id(&self.desk.instance_key, account, msgid, customer);
        let (account, customer) = (account.clone(), customer.clone());
        let task = match words {
            WordsRecord::Text(text) if welcome.is_none() => {
                OutboxTaskRecord::Reply { account, customer, reply_id, text }
            }
            words => OutboxTaskRecord::Say(Box::new(SayRecord {
                account,
                customer,
                reply_id,
                words,
                welcome,
                question,
                begun: false,
            })),
        };
        self.queue_task(task)
    }

    // ---- Questions ------------------------------------------------------------------------------------------

    /// Keeps a question that is about to be put, new or once more.
    fn put_question(
        &mut self,
        occasion: &Occasion<'_>,
        openid: &OpenId,
        ask: &Ask,
    ) -> Result<QuestionId, StoreError> {
        if let Some(id) = ask.again
            && let Some(mut question) = self.overlay.question(id)?
        {
            question.delivery = Delivery::UnderWay(None);
            self.overlay.put_question(id, &question)?;
            return Ok(id);
        }
        let id = QuestionId(self.random());
        let mut person = self.overlay.person(occasion.customer)?;
        person.questions.push(id);
        if person.questions.len() > QUESTIONS_MAX {
            let oldest = person.questions.remove(0);
            if let Some(mut question) = self.overlay.question(oldest)? {
                question.answered = true;
                self.overlay.put_question(oldest, &question)?;
            }
        }
        let question = QuestionRecord {
            customer: occasion.customer.clone(),
            epoch: person.epoch,
            openid: openid.clone(),
            subject: ask.subject.clone(),
            account: occasion.account.clone(),
            until: ask.until,
            answered: false,
            delivery: Delivery::UnderWay(None),
        };
        self.overlay.put_person(occasion.customer, &person)?;
        self.overlay.put_question(id, &question)?;
        Ok(id)
    }

    fn say_question(
        &mut self,
        occasion: Occasion<'_>,
        id: QuestionId,
        openid: &OpenId,
    ) -> Result<(), StoreError> {
        let label = self.label(openid)?;
        let texts = &self.desk.policy.texts;
        let values = [
            ("{account}", label.as_str()),
            // A question must not wait for a name.
            (NICKNAME_PLACEHOLDER, ""),
        ];
        let words = WordsRecord::Question {
            head: fill(&texts.confirm, &values),
            yes: fill(&texts.confirm_yes, &values),
            no: fill(&texts.confirm_no, &values),
        };
        self.say(occasion, words, Some(id))
    }

    fn question_settled(&mut self, id: QuestionId, how: Settlement) -> Result<(), StoreError> {
        let Some(mut question) = self.overlay.question(id)? else { return Ok(()) };
        let heard = match (how, question.delivery) {
            (Settlement::Done, _) => {
                question.delivery = Delivery::Said;
                return self.overlay.put_question(id, &question);
            }
            (Settlement::NotDone, Delivery::UnderWay(heard)) => heard,
            (Settlement::NotDone, Delivery::Said | Delivery::Unsaid) => None,
        };
        let mut limits = self.overlay.customer(&question.customer)?;
        question.delivery = Delivery::Unsaid;
        if let Some((account, msgid, sent)) = heard
            && !is_mute(&limits, sent)
            && !(matches!(question.subject, Subject::Code(_)) && is_locked(&limits, sent))
            && is_alive(&self.overlay, &self.desk.policy, &question, &limits, sent)?
        {
            note_answer(&mut limits, sent);
            self.overlay.put_customer(&question.customer, &limits)?;
            question.delivery = Delivery::UnderWay(None);
            self.overlay.put_question(id, &question)?;
            let (customer, openid) = (question.customer, question.openid);
            let occasion = Occasion { account: &account, customer: &customer, msgid: &msgid, welcome: None };
            return self.say_question(occasion, id, &openid);
        }
        self.overlay.put_question(id, &question)
    }

    // ---- Cards ----------------------------------------------------------------------------------------------

    fn say_invitation(&mut self, occasion: Occasion<'_>) -> Result<(), StoreError> {
        let (customer, account) = (occasion.customer.clone(), occasion.account.clone());
        let (ticket, _) = self.make_card(&customer, Some(account), None)?;
        let path = self.card_path(&ticket);
        let texts = &self.desk.policy.texts;
        let nobody = [(NICKNAME_PLACEHOLDER, "")];
        let words = WordsRecord::Card {
            head: fill(&texts.invite, &nobody),
            path,
            label: fill(&texts.invite_item, &nobody),
        };
        self.say(occasion, words, None)
    }

    /// Makes a ticket that stands for this customer, on an employee's behalf or our own; it and when it ends.
    pub(super) fn make_card(
        &mut self,
        customer: &ExternalUserId,
        account: Option<OpenKfId>,
        by: Option<UserId>,
    ) -> Result<(Ticket, Timestamp), StoreError> {
        let ticket = Ticket::new(base64url(&self.random::<16>()));
        let expires_at = self.now().plus(self.desk.policy.card_ttl_s);
        let record = TicketRecord {
            customer: customer.clone(),
            epoch: self.overlay.person(customer)?.epoch,
            account,
            method: if by.is_some() { Method::Staff } else { Method::Card },
            by,
            made_ms: self.now_ms,
            expires_at,
            used_by: None,
            conflicts: Vec::new(),
        };
        self.overlay.put_ticket(&ticket, &record)?;
        Ok((ticket, expires_at))
    }

    /// The page that a card opens, with its ticket.
    pub(super) fn card_path(&self, ticket: &Ticket) -> String {
        format!("{}?ticket={}", self.desk.policy.card_path, ticket.as_str())
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.desk.entropy.fill(&mut bytes);
        bytes
    }

    // ---- Words ----------------------------------------------------------------------------------------------

    fn label(&self, openid: &OpenId) -> Result<String, StoreError> {
        let label = self.overlay.user(openid)?.and_then(|user| user.label);
        Ok(label.map_or_else(|| ACCOUNT_WITHOUT_LABEL.to_owned(), |label| inert(&label)))
    }

    /// The words of an answer. A nickname that isn't known yet stays a placeholder.
    fn word(&self, answer: &Answer) -> Result<String, StoreError> {
        let policy = &self.desk.policy;
        let texts = &policy.texts;
        let template = match answer.saying {
            Saying::Bound => &texts.bound,
            Saying::Unbound => &texts.unbound,
            Saying::AlreadyBound => &texts.already_bound,
            Saying::Conflict => &texts.conflict,
            Saying::OtherPerson => &texts.other_person,
            Saying::Cancelled => &texts.cancelled,
            Saying::Question => &texts.confirm,
            Saying::Locked => &texts.locked,
            Saying::WrongCode => &texts.wrong_code,
            Saying::ExpiredCode => &texts.expired_code,
            Saying::Invitation => &texts.invite,
        };
        let (mut label, mut nickname) = (ACCOUNT_WITHOUT_LABEL.to_owned(), None);
        if let Some(openid) = &answer.openid {
            label = self.label(openid)?;
            nickname = self.overlay.binding(openid)?.and_then(|binding| binding.nickname);
        }
        let person_word = policy.person_word.as_deref().filter(|_| policy.handover != Handover::None);
        let was_wrong = matches!(answer.saying, Saying::WrongCode | Saying::Locked);
        let hint = if was_wrong && person_word.is_some() { PERSON_HINT } else { "" };
        let code =
            answer.code.as_ref().map_or(String::new(), |(format, code)| display(*format, code.as_str()));
        let filled = fill(
            &[template, hint].concat(),
            &[
                ("{account}", &label),
                ("{code}", &code),
                ("{minutes}", &answer.minutes.to_string()),
                ("{unbind_word}", policy.unbind_word.as_deref().unwrap_or_default()),
                ("{person_word}", person_word.unwrap_or_default()),
                (NICKNAME_PLACEHOLDER, nickname.as_deref().unwrap_or(NICKNAME_PLACEHOLDER)),
            ],
        );
        Ok(filled)
    }

    // ---- The outbox -----------------------------------------------------------------------------------------

    /// An entry is about to be tried by a call that knows no repeat.
    pub(crate) fn begin(&mut self, seq: u64) -> Result<(), StoreError> {
        let key = seq.to_be_bytes();
        let Some(mut record) = self.overlay.get::<OutboxRecord>(TreeId::Outbox, &key)? else { return Ok(()) };
        match &mut record.task {
            OutboxTaskRecord::Say(say) => say.begun = true,
            OutboxTaskRecord::Notify { begun, .. } => *begun = true,
            OutboxTaskRecord::Reply { .. }
            | OutboxTaskRecord::Profile { .. }
            | OutboxTaskRecord::HandOver { .. } => return Ok(()),
        }
        self.overlay.put_outbox(seq, &record)
    }

    /// Takes entries out of the outbox, and draws the consequences of what did not happen.
    pub(crate) fn settle(&mut self, settled: &[(u64, Settlement)]) -> Result<(), StoreError> {
        for (seq, how) in settled {
            let key = seq.to_be_bytes();
            let Some(record) = self.overlay.get::<OutboxRecord>(TreeId::Outbox, &key)? else { continue };
            self.overlay.remove(TreeId::Outbox, &key);
            self.desk.outbox -= 1;
            match (record.task, how) {
                (OutboxTaskRecord::Say(say), how) => {
                    if let Some(id) = say.question {
                        self.question_settled(id, *how)?;
                    }
                }
                (OutboxTaskRecord::HandOver { account, customer, sent }, Settlement::NotDone) => {
                    not_moved(&mut self.overlay, &account, &customer, sent)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The customer is to be moved at the next message.
fn not_moved(
    overlay: &mut Overlay<'_>,
    account: &OpenKfId,
    customer: &ExternalUserId,
    sent: Timestamp,
) -> Result<(), StoreError> {
    let mut person = overlay.person(customer)?;
    person.moved.retain(|(moved_in, at)| moved_in != account || *at > sent);
    overlay.put_person(customer, &person)
}

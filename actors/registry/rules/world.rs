//! Plain maps in the place of the store, for tests: what is known, and what verdicts do to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use super::{Ask, Circumstances, Effect, Join, Known, Verdict, decide};
use crate::{
    ids::{BindCode, ExternalUserId, OpenId, OpenKfId, Ticket, Timestamp, UnionId, WelcomeCode},
    policy::{CodeFormat, Policy},
    ports::{KfContent, KfMessage},
    registry::{
        code_space::{length_of, shortest},
        recognise::Lengths,
        records::{
            BindingRecord, CodeRecord, CustomerPerson, CustomerRecord, Delivery, QuestionId, QuestionRecord,
            SamePerson, TicketRecord, UserPerson, UserRecord, WindowRecord,
        },
        ways::link::Mint,
    },
    testing::policy,
};

mod heard;

pub(crate) use heard::{Heard, message};

/// The account in which everything happens.
const ACCOUNT: &str = "wkA";

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) policy: Policy,
    pub(crate) codes: BTreeMap<BindCode, CodeRecord>,
    pub(crate) users: BTreeMap<OpenId, UserRecord>,
    pub(crate) bindings: BTreeMap<OpenId, BindingRecord>,
    pub(crate) customers: BTreeMap<ExternalUserId, CustomerRecord>,
    pub(crate) store_created_at: Timestamp,
    pub(crate) audits: Vec<super::AuditKind>,
    pub(crate) guesses: u64,
    pub(crate) people: BTreeMap<ExternalUserId, CustomerPerson>,
    pub(crate) user_people: BTreeMap<OpenId, UserPerson>,
    pub(crate) tickets: BTreeMap<Ticket, TicketRecord>,
    pub(crate) questions: BTreeMap<QuestionId, QuestionRecord>,
    pub(crate) window: WindowRecord,
    /// How often somebody was to be brought, by customer.
    pub(crate) handed_over: BTreeMap<ExternalUserId, u32>,
    /// What WeCom would tell of the last entry.
    pub(crate) entered_with: BTreeMap<ExternalUserId, Ticket>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            policy: policy(),
            codes: BTreeMap::new(),
            users: BTreeMap::new(),
            bindings: BTreeMap::new(),
            customers: BTreeMap::new(),
            store_created_at: Timestamp(0),
            audits: Vec::new(),
            guesses: 0,
            people: BTreeMap::new(),
            user_people: BTreeMap::new(),
            tickets: BTreeMap::new(),
            questions: BTreeMap::new(),
            window: WindowRecord::default(),
            handed_over: BTreeMap::new(),
            entered_with: BTreeMap::new(),
        }
    }
}

impl Known for World {
    type Error = Infallible;

    fn code(&self, code: &BindCode) -> Result<Option<CodeRecord>, Infallible> {
        Ok(self.codes.get(code).cloned())
    }

    fn user(&self, openid: &OpenId) -> Result<Option<UserRecord>, Infallible> {
        Ok(self.users.get(openid).cloned())
    }

    fn user_epoch(&self, openid: &OpenId) -> Result<u32, Infallible> {
        Ok(self.users.get(openid).map_or(0, |user| user.epoch))
    }

    fn binding(&self, openid: &OpenId) -> Result<Option<BindingRecord>, Infallible> {
        Ok(self.bindings.get(openid).cloned())
    }

    fn user_of(&self, customer: &ExternalUserId) -> Result<Option<OpenId>, Infallible> {
        Ok(self.bindings.iter().find(|(_, b)| b.customer == *customer).map(|(openid, _)| openid.clone()))
    }

    fn customer(&self, customer: &ExternalUserId) -> Result<CustomerRecord, Infallible> {
        Ok(self.customers.get(customer).cloned().unwrap_or_default())
    }

    fn person(&self, customer: &ExternalUserId) -> Result<CustomerPerson, Infallible> {
        Ok(self.people.get(customer).cloned().unwrap_or_default())
    }

    fn user_person(&self, openid: &OpenId) -> Result<UserPerson, Infallible> {
        Ok(self.user_people.get(openid).cloned().unwrap_or_default())
    }

    fn same_person(&self, unionid: &UnionId) -> Result<SamePerson, Infallible> {
        let openid = self.user_people.iter().find(|(_, user)| user.unionid.as_ref() == Some(unionid));
        let customers = self.people.iter().filter(|(_, person)| person.unionid.as_ref() == Some(unionid));
        Ok(SamePerson {
            openid: openid.map(|(openid, _)| openid.clone()),
            customers: customers.map(|(customer, _)| customer.clone()).collect(),
        })
    }

    fn code_of_link(&self, ticket: &Ticket) -> Result<Option<(BindCode, CodeRecord)>, Infallible> {
        let mint = Self::mint();
        let code = mint.code(ticket).and_then(|code| Some((code.clone(), self.codes.get(&code)?.clone())));
        Ok(code.filter(|(code, record)| mint.is_of(ticket, code, record)))
    }

    fn ticket(&self, ticket: &Ticket) -> Result<Option<TicketRecord>, Infallible> {
        Ok(self.tickets.get(ticket).cloned())
    }

    fn question(&self, id: QuestionId) -> Result<Option<QuestionRecord>, Infallible> {
        Ok(self.questions.get(&id).cloned())
    }

    fn window(&self, _account: &OpenKfId) -> Result<WindowRecord, Infallible> {
        Ok(self.window.clone())
    }
}

impl World {
    /// A code is made for a user: live from `issued` for ten minutes; a live one of theirs is revoked.
    pub(crate) fn issue(&mut self, openid: &str, code: &str, issued: u64) {
        self.issue_of(CodeFormat::Digits, openid, code, issued);
    }

    /// The same in any format.
    pub(crate) fn issue_of(&mut self, format: CodeFormat, openid: &str, code: &str, issued: u64) {
        let openid = OpenId::new(openid);
        let issued_at = Timestamp(issued);
        let epoch = self.users.entry(openid.clone()).or_default().epoch;
        for record in self.codes.values_mut().filter(|record| record.openid == openid) {
            if record.revoked_at.is_none() {
                record.revoked_at = Some(issued_at);
            }
        }
        let record = CodeRecord {
            openid,
            format: format.into(),
            epoch,
            issued_at,
            expires_at: issued_at.plus(self.policy.code_ttl_s),
            revoked_at: None,
            spent: false,
            conflicts: Vec::new(),
        };
        self.codes.insert(BindCode::new(code), record);
    }

    fn mint() -> Mint {
        Mint::new(&[7; 32])
    }

    /// The ticket in the link of a code.
    pub(crate) fn link(&self, code: &str) -> Ticket {
        let code = BindCode::new(code);
        let record = &self.codes[&code];
        Self::mint().ticket(&code, record.format.into(), &record.openid, record.issued_at).unwrap()
    }

    /// The mini program or the back end unbinds a user.
    pub(crate) fn unbind(&mut self, openid: &OpenId) {
        self.window.end(openid, Timestamp(0));
        if let Some(binding) = self.bindings.remove(openid) {
            let person = self.people.entry(binding.customer).or_default();
            person.epoch += 1;
            person.questions.clear();
            person.parted.push(openid.clone());
        }
        if let Some(user) = self.users.get_mut(openid) {
            user.epoch += 1;
        }
    }

    /// WeCom has told who a customer is.
    pub(crate) fn is_person(&mut self, customer: &str, unionid: &str) {
        let person = self.people.entry(ExternalUserId::new(customer)).or_default();
        person.unionid = Some(UnionId::new(unionid));
    }

    /// A login has told who a user is.
    pub(crate) fn is_user(&mut self, openid: &str, unionid: &str) {
        let user = self.user_people.entry(OpenId::new(openid)).or_default();
        user.unionid = Some(UnionId::new(unionid));
    }

    /// A user announces the chat.
    pub(crate) fn announces(&mut self, openid: &str, at: u64) {
        let openid = OpenId::new(openid);
        let epoch = self.users.get(&openid).map_or(0, |user| user.epoch);
        let expires_at = Timestamp(at + self.policy.window_s);
        self.window.announce(&openid, epoch, at * 1000, expires_at);
    }

    /// A customer has come, and nothing else is to follow.
    pub(crate) fn window_arrives(&mut self, customer: &str, at: u64) {
        self.window.arrive(&ExternalUserId::new(customer), Timestamp(at));
    }

    /// WeCom has not taken the last question.
    pub(crate) fn last_question_is(&mut self, delivery: Delivery) -> QuestionId {
        let (id, question) = self.questions.iter_mut().next_back().expect("a question");
        question.delivery = delivery;
        *id
    }

    /// A customer taps the yes or the no of the last question that was put to anybody.
    pub(crate) fn taps(&mut self, customer: &str, yes: bool, sent: u64) -> Heard {
        let id = *self.questions.keys().next_back().expect("a question");
        self.taps_on(customer, id, yes, sent)
    }

    /// The same on a question of one's choice.
    pub(crate) fn taps_on(&mut self, customer: &str, id: QuestionId, yes: bool, sent: u64) -> Heard {
        let mut message = message(customer, "确认绑定", sent);
        message.content =
            KfContent::Text { content: "确认绑定".to_owned(), menu_id: Some(id.menu_id(yes)) };
        self.happens(&message, sent)
    }

    /// A customer enters by a link.
    pub(crate) fn enters(&mut self, customer: &str, ticket: Option<&Ticket>, sent: u64) -> Heard {
        let mut message = message(customer, "enter", sent);
        message.content = KfContent::EnterSession {
            scene: Some("kfbind".to_owned()),
            scene_param: ticket.cloned(),
            welcome_code: Some(WelcomeCode::new("welcome")),
        };
        self.happens(&message, sent)
    }

    /// Anything happens, and we read it at `now`.
    pub(crate) fn happens(&mut self, message: &KfMessage, now: u64) -> Heard {
        let verdict = self.decide(message, Timestamp(now));
        if let Some(customer) = &message.customer {
            self.carry_out(customer, &verdict);
        }
        Heard(verdict)
    }

    /// A customer writes, and we read it at once.
    pub(crate) fn says(&mut self, customer: &str, text: &str, sent: u64) -> Heard {
        self.reads(customer, text, sent, sent)
    }

    /// A customer wrote, and we read it at `now`.
    pub(crate) fn reads(&mut self, customer: &str, text: &str, sent: u64, now: u64) -> Heard {
        let verdict = self.decide(&message(customer, text, sent), Timestamp(now));
        self.carry_out(&ExternalUserId::new(customer), &verdict);
        Heard(verdict)
    }

    /// What the rules say of a message, without consequences.
    pub(crate) fn decide(&self, message: &KfMessage, now: Timestamp) -> Verdict {
        let lengths = self.lengths();
        let circumstances = Circumstances {
            policy: &self.policy,
            lengths: &lengths,
            now,
            store_created_at: self.store_created_at,
            entered_with: message.customer.as_ref().and_then(|customer| self.entered_with.get(customer)),
        };
        match decide(message, self, circumstances) {
            Ok(verdict) => verdict,
            Err(never) => match never {},
        }
    }

    /// Every length that a code of this world has.
    fn lengths(&self) -> Lengths {
        let mut lengths = Lengths::default();
        lengths.insert(self.policy.code_format, shortest(self.policy.code_format));
        for (code, record) in &self.codes {
            let format = record.format.into();
            lengths.insert(format, length_of(format, code.as_str()));
        }
        lengths
    }

    /// What a verdict does.
    pub(crate) fn carry_out(&mut self, by: &ExternalUserId, verdict: &Verdict) {
        for effect in &verdict.effects {
            match effect {
                Effect::Person(person) => drop(self.people.insert(by.clone(), (**person).clone())),
                Effect::Bind(join) => self.join(join),
                Effect::Unbind { openid } => self.unbind(openid),
                Effect::Customer(record) => drop(self.customers.insert(by.clone(), record.clone())),
                Effect::ConflictNoted { code, customer } => {
                    if let Some(record) = self.codes.get_mut(code) {
                        record.conflicts.push(customer.clone());
                    }
                }
                Effect::Guess => self.guesses += 1,
                Effect::Audit { what, .. } => self.audits.push(*what),
                Effect::Answered(id) => self.questions.get_mut(id).expect("a question").answered = true,
                Effect::Window(record) => self.window = (**record).clone(),
                Effect::HandOver => *self.handed_over.entry(by.clone()).or_default() += 1,
                Effect::Answer(answer) => {
                    if let (Some(ask), Some(openid)) = (&answer.ask, &answer.openid) {
                        self.put_question(by, openid, ask);
                    }
                }
                Effect::HeardSince(_) | Effect::Rejected(_) | Effect::Unanswered(_) => {}
            }
        }
        let customers: BTreeSet<_> = self.bindings.values().map(|binding| &binding.customer).collect();
        assert_eq!(customers.len(), self.bindings.len(), "two users bound to one customer");
    }

    fn join(&mut self, join: &Join) {
        for other in &join.replaces {
            self.unbind(other);
        }
        if let Some(record) = join.code.as_ref().and_then(|code| self.codes.get_mut(code)) {
            record.spent = true;
        }
        self.users.entry(join.openid.clone()).or_default().epoch += 1;
        self.window.end(&join.openid, join.bound_at);
        let person = self.people.entry(join.customer.clone()).or_default();
        person.epoch += 1;
        person.questions.clear();
        person.parted.retain(|parted| *parted != join.openid);
        let binding = BindingRecord {
            customer: join.customer.clone(),
            account: join.account.clone(),
            method: join.method,
            bound_at: join.bound_at,
            nickname: None,
            unionid: None,
        };
        self.bindings.insert(join.openid.clone(), binding);
    }

    fn put_question(&mut self, customer: &ExternalUserId, openid: &OpenId, ask: &Ask) {
        if let Some(id) = ask.again {
            self.questions.get_mut(&id).expect("a question").delivery = Delivery::Said;
            return;
        }
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(self.questions.len() as u64).to_be_bytes());
        let id = QuestionId(bytes);
        let person = self.people.entry(customer.clone()).or_default();
        person.questions.push(id);
        let question = QuestionRecord {
            customer: customer.clone(),
            epoch: person.epoch,
            openid: openid.clone(),
            subject: ask.subject.clone(),
            account: OpenKfId::new(ACCOUNT),
            until: ask.until,
            answered: false,
            delivery: Delivery::Said,
        };
        self.questions.insert(id, question);
    }

    /// Who is bound to whom.
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        self.bindings.iter().map(|(openid, b)| (openid.as_str(), b.customer.as_str())).collect()
    }
}

//! Plain maps in the place of the store, for tests: what is known, and what verdicts do to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use super::{Circumstances, Effect, Known, Saying, Verdict, decide};
use crate::{
    ids::{BindCode, ExternalUserId, MessageId, OpenId, OpenKfId, Timestamp},
    policy::{CodeFormat, Policy},
    ports::{KfContent, KfMessage},
    registry::{
        code_space::{length_of, shortest},
        recognise::Lengths,
        records::{BindingRecord, CodeRecord, CustomerRecord, UserRecord},
    },
    testing::policy,
};

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

    fn binding(&self, openid: &OpenId) -> Result<Option<BindingRecord>, Infallible> {
        Ok(self.bindings.get(openid).cloned())
    }

    fn user_of(&self, customer: &ExternalUserId) -> Result<Option<OpenId>, Infallible> {
        Ok(self.bindings.iter().find(|(_, b)| b.customer == *customer).map(|(openid, _)| openid.clone()))
    }

    fn customer(&self, customer: &ExternalUserId) -> Result<CustomerRecord, Infallible> {
        Ok(self.customers.get(customer).cloned().unwrap_or_default())
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

    /// The mini program or the back end unbinds a user.
    pub(crate) fn unbind(&mut self, openid: &OpenId) {
        self.bindings.remove(openid);
        if let Some(user) = self.users.get_mut(openid) {
            user.epoch += 1;
        }
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
                Effect::Bind { openid, customer, account, method, bound_at, code, replaces } => {
                    for other in replaces {
                        self.unbind(other);
                    }
                    if let Some(record) = self.codes.get_mut(code) {
                        record.spent = true;
                    }
                    self.users.entry(openid.clone()).or_default().epoch += 1;
                    let binding = BindingRecord {
                        customer: customer.clone(),
                        account: Some(account.clone()),
                        method: *method,
                        bound_at: *bound_at,
                        nickname: None,
                        unionid: None,
                    };
                    self.bindings.insert(openid.clone(), binding);
                }
                Effect::Unbind { openid } => self.unbind(openid),
                Effect::Customer(record) => drop(self.customers.insert(by.clone(), record.clone())),
                Effect::ConflictNoted { code, customer } => {
                    if let Some(record) = self.codes.get_mut(code) {
                        record.conflicts.push(customer.clone());
                    }
                }
                Effect::Guess => self.guesses += 1,
                Effect::Audit { what, .. } => self.audits.push(*what),
                Effect::Rejected(_) | Effect::Unanswered(_) | Effect::Answer(_) => {}
            }
        }
        let customers: BTreeSet<_> = self.bindings.values().map(|binding| &binding.customer).collect();
        assert_eq!(customers.len(), self.bindings.len(), "two users bound to one customer");
    }

    /// Who is bound to whom.
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        self.bindings.iter().map(|(openid, b)| (openid.as_str(), b.customer.as_str())).collect()
    }
}

/// A text of a customer, as WeCom gives it.
pub(crate) fn message(customer: &str, text: &str, sent: u64) -> KfMessage {
    KfMessage {
        msgid: MessageId::new(format!("{customer}/{text}/{sent}")),
        account: OpenKfId::new("wkA"),
        customer: Some(ExternalUserId::new(customer)),
        send_time: Timestamp(sent),
        content: KfContent::Text { content: text.to_owned(), menu_id: None },
    }
}

/// A verdict, for short questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard(pub(crate) Verdict);

impl Heard {
    /// What is answered.
    pub(crate) fn answer(&self) -> Option<Saying> {
        self.0.effects.iter().find_map(|effect| match effect {
            Effect::Answer(answer) => Some(answer.saying),
            _ => None,
        })
    }

    /// The account and the minutes that the answer names.
    pub(crate) fn named(&self) -> (Option<&str>, u64) {
        self.0
            .effects
            .iter()
            .find_map(|effect| match effect {
                Effect::Answer(answer) => Some((answer.openid.as_ref().map(OpenId::as_str), answer.minutes)),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// When the binding that it made was made.
    pub(crate) fn bound_at(&self) -> Option<u64> {
        self.0.effects.iter().find_map(|effect| match effect {
            Effect::Bind { bound_at, .. } => Some(bound_at.0),
            _ => None,
        })
    }

    /// Why codes did not bind.
    pub(crate) fn rejected(&self) -> Vec<&'static str> {
        self.0
            .effects
            .iter()
            .filter_map(|e| if let Effect::Rejected(why) = e { Some(*why) } else { None })
            .collect()
    }

    /// Why it is not answered.
    pub(crate) fn silent(&self) -> Option<&'static str> {
        self.0.effects.iter().find_map(|e| if let Effect::Unanswered(why) = e { Some(*why) } else { None })
    }

    /// Whether nothing at all follows.
    pub(crate) fn is_talk(&self) -> bool {
        self.0 == Verdict::default()
    }
}

//! Which records name somebody who was erased, and what is left of those.
//!
//! Only judges; the pass that brings the records is `erasure.rs`'s.

use std::collections::{HashMap, HashSet};

use serde::{Serialize, de::DeserializeOwned};

use super::{Digest, ErasedIds, Kind};
use crate::{
    ids::{ExternalUserId, OpenId},
    registry::{
        overlay::Overlay,
        records::{
            AuditRecord, CUSTOMER, CodeRecord, CustomerPerson, DeadLetterRecord, ErasureRecord, OutboxRecord,
            OutboxTaskRecord, QuestionRecord, Subject, TicketRecord, decode,
        },
        store::{StoreError, TreeId},
    },
};

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    Changed,
    Goes,
}

impl Fate {
    fn changed_if(is_changed: bool) -> Self {
        if is_changed { Self::Changed } else { Self::Stays }
    }
}

/// Has a record judged as the batch sees it, and keeps what becomes of it; whether it has gone.
pub(super) fn change<T: DeserializeOwned + Serialize>(
    overlay: &mut Overlay<'_>,
    tree: TreeId,
    key: &[u8],
    stored: &[u8],
    judge: impl FnOnce(&mut T) -> Fate,
) -> Result<bool, StoreError> {
    let record = if overlay.has_changed(tree, key) {
        overlay.get::<T>(tree, key)?
    } else {
        Some(decode(tree, stored)?)
    };
    let Some(mut record) = record else { return Ok(false) };
    match judge(&mut record) {
        Fate::Stays => Ok(false),
        Fate::Changed => overlay.put(tree, key, &record).map(|()| false),
        Fate::Goes => {
            overlay.remove(tree, key);
            Ok(true)
        }
    }
}

/// The names of a pass, and which of them were met.
pub(super) struct Names<'r> {
    pub(super) erased: &'r ErasedIds,
    pub(super) wanted: &'r HashMap<Digest, ErasureRecord>,
    pub(super) found: &'r mut HashSet<Digest>,
}

impl Names<'_> {
    fn wanted(&mut self, kind: Kind, name: &str) -> Option<ErasureRecord> {
        self.wanted_if(kind, name, |_| true)
    }

    /// What is said of a name, where it is one of the pass and the record is not of a later life.
    fn wanted_if(
        &mut self,
        kind: Kind,
        name: &str,
        is_older: impl FnOnce(&ErasureRecord) -> bool,
    ) -> Option<ErasureRecord> {
        let digest = self.erased.digest(kind, name);
        let record = self.wanted.get(&digest).copied().filter(is_older)?;
        self.found.insert(digest);
        Some(record)
    }

    fn is_user(&mut self, openid: &OpenId) -> bool {
        self.wanted(Kind::User, openid.as_str()).is_some()
    }

    fn is_customer(&mut self, customer: &ExternalUserId) -> bool {
        self.wanted(Kind::Customer, customer.as_str()).is_some()
    }

    /// The code itself stays for its days, so that nobody else gets it and a late message isn't counted as a guess.
    pub(super) fn code(&mut self, code: &mut CodeRecord) -> Fate {
        let epoch = u64::from(code.epoch);
        let is_theirs =
            self.wanted_if(Kind::User, code.openid.as_str(), |erased| epoch < erased.at_ms / 1000).is_some();
        if is_theirs {
            code.openid = OpenId::new("");
            code.spent = true;
        }
        let before = code.conflicts.len();
        code.conflicts.retain(|customer| !self.is_customer(customer));
        Fate::changed_if(is_theirs || code.conflicts.len() < before)
    }

    pub(super) fn ticket(&mut self, ticket: &mut TicketRecord) -> Fate {
        let made_ms = ticket.made_ms;
        if self
            .wanted_if(Kind::Customer, ticket.customer.as_str(), |erased| made_ms <= erased.at_ms)
            .is_some()
        {
            return Fate::Goes;
        }
        let is_user = ticket.used_by.clone().is_some_and(|openid| self.is_user(&openid));
        if is_user {
            ticket.used_by = Some(OpenId::new(""));
        }
        let before = ticket.conflicts.len();
        ticket.conflicts.retain(|openid| !self.is_user(openid));
        Fate::changed_if(is_user || ticket.conflicts.len() < before)
    }

    pub(super) fn question(&mut self, question: &mut QuestionRecord) -> Fate {
        let epoch = u64::from(question.epoch);
        let is_older = |erased: &ErasureRecord| epoch < erased.at_ms / 1000;
        let is_theirs = self.wanted_if(Kind::Customer, question.customer.as_str(), is_older).is_some()
            || self.is_user(&question.openid);
        if is_theirs { Fate::Goes } else { Fate::Stays }
    }

    pub(super) fn person(
        &mut self,
        overlay: &mut Overlay<'_>,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let tree = TreeId::People;
        match key.first() {
            Some(&CUSTOMER) => change(overlay, tree, key, value, |person: &mut CustomerPerson| {
                let before = (person.parted.len(), person.declined.len());
                person.parted.retain(|openid| !self.is_user(openid));
                person.declined.retain(|(subject, _)| match subject {
                    Subject::Window(openid, _) => !self.is_user(openid),
                    Subject::Code(_) | Subject::Link(_) => true,
                });
                Fate::changed_if((person.parted.len(), person.declined.len()) != before)
            }),
            _ => Ok(false),
        }
    }

    pub(super) fn letter(&mut self, letter: &mut DeadLetterRecord) -> Fate {
        let DeadLetterRecord { event, .. } = letter;
        let is_older = |erased: &ErasureRecord| event.happened_at.0 <= erased.at_ms / 1000;
        let is_theirs = self.wanted_if(Kind::User, event.openid.as_str(), is_older).is_some()
            || self.wanted_if(Kind::Customer, event.customer.as_str(), is_older).is_some();
        if is_theirs { Fate::Goes } else { Fate::Stays }
    }

    pub(super) fn entry(&mut self, seq: u64, entry: &mut OutboxRecord) -> Fate {
        let (customer, openid) = match &entry.task {
            OutboxTaskRecord::Reply { customer, .. }
            | OutboxTaskRecord::Profile { customer }
            | OutboxTaskRecord::HandOver { customer, .. } => (customer, None),
            OutboxTaskRecord::Say(say) => (&say.customer, None),
            OutboxTaskRecord::Notify { customer, openid, .. } => (customer, Some(openid)),
        };
        let is_older = |erased: &ErasureRecord| seq <= erased.outbox_upto;
        let is_theirs = self.wanted_if(Kind::Customer, customer.as_str(), is_older).is_some()
            || openid.is_some_and(|openid| self.wanted_if(Kind::User, openid.as_str(), is_older).is_some());
        if is_theirs { Fate::Goes } else { Fate::Stays }
    }

    pub(super) fn event(&mut self, id: u64, event: &mut AuditRecord) -> Fate {
        let is_older = |erased: &ErasureRecord| id <= erased.audit_upto;
        let openid = event.openid.as_ref().map(OpenId::as_str);
        let customer = event.customer.as_ref().map(ExternalUserId::as_str);
        let is_user = openid.is_some_and(|name| self.wanted_if(Kind::User, name, is_older).is_some());
        let is_customer =
            customer.is_some_and(|name| self.wanted_if(Kind::Customer, name, is_older).is_some());
        if is_user {
            event.openid = None;
        }
        if is_customer {
            event.customer = None;
        }
        if is_user || is_customer {
            event.message = None;
        }
        Fate::changed_if(is_user || is_customer)
    }
}

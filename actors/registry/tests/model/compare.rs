//! What can be seen of the store, held against the model: views, bindings both ways, locks, what is to be said, the
//! audit trail, cursors and gauges.

use std::collections::BTreeMap;

use super::{
    plain::{self, Answer, Binding, View},
    run::{CROWD, Run},
    steps::{customer, user},
};
use crate::{
    ids::{Cursor, ExternalUserId, MessageId, OpenId, OpenKfId, Timestamp},
    messages::BindingStatus,
    registry::{
        records::{
            AuditKind, AuditRecord, BindingRecord, CursorRecord, CustomerRecord, OutboxRecord,
            OutboxTaskRecord, number,
        },
        reply_id::reply_id,
        store::TreeId,
    },
};

/// Users and customers whose views are compared after each step.
const USERS: u8 = 5;
const CUSTOMERS: u8 = 4;

impl Run {
    /// Fails where anything is not what the model says.
    pub(super) fn compare(&mut self) -> Result<(), String> {
        for number in (0..USERS).chain((0..CROWD).map(|number| 100 + number)) {
            self.compare_view(&user(number))?;
        }
        self.compare_bindings()?;
        self.compare_customers()?;
        self.compare_outbox()?;
        let audits: Vec<plain::Audit> =
            self.records::<AuditRecord>(TreeId::Audit).into_iter().map(|(_, record)| audit(record)).collect();
        same!(audits, self.model.audit, "the audit trail");
        for (account, cursor) in &self.cursors {
            let stored: CursorRecord = self
                .records(TreeId::Cursors)
                .into_iter()
                .find_map(|(key, record)| (key == *account).then_some(record))
                .unwrap_or_default();
            same!(stored.cursor, Some(Cursor::new(cursor)), "the cursor of {account}");
        }
        let gauges = self.tally.encode();
        let gauge = |name: &str| gauges.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        same!(gauge("kfbind_bindings"), Some(&*self.model.bindings.len().to_string()), "the gauge");
        if self.went_back {
            // What was counted out by the later time is not counted in again.
            return Ok(());
        }
        same!(gauge("kfbind_codes_live"), Some(&*self.model.live(self.now()).to_string()), "live codes");
        if let Some(guessing) = self.model.is_guessing(self.now()) {
            same!(gauge("kfbind_guessing"), Some(if guessing { "1" } else { "0" }), "whether it is guessing");
        }
        Ok(())
    }

    fn compare_view(&mut self, openid: &str) -> Result<(), String> {
        let now = self.now();
        let (view, _) = self.opened().reader.view(&OpenId::new(openid), Timestamp(now)).unwrap().unwrap();
        let seen = match view.status {
            BindingStatus::Unbound => View::Unbound,
            BindingStatus::Pending(code) => View::Pending(code.code.as_str().to_owned(), code.expires_at.0),
            BindingStatus::Bound(info) => {
                same!(info.method, "code", "the method of {openid}");
                View::Bound(Binding {
                    customer: info.customer.as_str().to_owned(),
                    account: info.account.map(|account| account.as_str().to_owned()).unwrap_or_default(),
                    bound_at: info.bound_at.0,
                    nickname: info.nickname,
                })
            }
        };
        same!(seen, self.model.view(openid, now), "the view of {openid}");
        let before = self.newest.insert(openid.to_owned(), view.version).unwrap_or_default();
        if !self.went_back && view.version < before {
            return Err(format!("the version of {openid} fell from {before} to {}", view.version));
        }
        let known = self.versions.entry((openid.to_owned(), view.version)).or_insert_with(|| seen.clone());
        same!(seen, *known, "what version {} of {openid} looks like", view.version);
        Ok(())
    }

    fn compare_bindings(&self) -> Result<(), String> {
        let bindings: BTreeMap<String, String> = self
            .records::<BindingRecord>(TreeId::Bindings)
            .into_iter()
            .map(|(openid, record)| (openid, record.customer.as_str().to_owned()))
            .collect();
        let expected: BTreeMap<String, String> = self
            .model
            .bindings
            .iter()
            .map(|(openid, binding)| (openid.clone(), binding.customer.clone()))
            .collect();
        same!(bindings, expected, "who is bound to whom");
        let mirrored: BTreeMap<String, String> = self
            .records::<OpenId>(TreeId::BindingsByCustomer)
            .into_iter()
            .map(|(customer, openid)| (openid.as_str().to_owned(), customer))
            .collect();
        same!(mirrored, bindings, "the mirror");
        Ok(())
    }

    fn compare_customers(&self) -> Result<(), String> {
        let now = self.now();
        let stored: BTreeMap<String, CustomerRecord> = self.records(TreeId::Attempts).into_iter().collect();
        for id in (0..CUSTOMERS).map(customer) {
            let (record, known) =
                (stored.get(&id).cloned().unwrap_or_default(), self.model.customers.get(&id));
            let expected = known.cloned().unwrap_or_default();
            same!(record.locked_for_good, expected.locked_for_good, "whether {id} is locked for good");
            let lock = |until: u64| (until > now).then_some(until);
            same!(lock(record.locked_until.0), lock(expected.locked_until), "until when {id} is locked");
        }
        Ok(())
    }

    pub(super) fn outbox_seqs(&self) -> Vec<u64> {
        let number = |key: Vec<u8>| number(TreeId::Outbox, &key).unwrap();
        self.entries(TreeId::Outbox).into_iter().map(|(key, _)| number(key)).collect()
    }

    fn compare_outbox(&self) -> Result<(), String> {
        let key = self.opened().instance_key;
        let id = |answer: &Answer| {
            let (account, msgid) = (OpenKfId::new(&answer.account), MessageId::new(&answer.msgid));
            reply_id(&key, &account, &msgid, &ExternalUserId::new(&answer.customer)).as_str().to_owned()
        };
        let (mut answers, mut names) = (Vec::new(), Vec::new());
        for (_, record) in self.records::<OutboxRecord>(TreeId::Outbox) {
            match record.task {
                OutboxTaskRecord::Reply { account, customer, reply_id, text } => {
                    let parts = [account.as_str(), customer.as_str(), reply_id.as_str()].map(str::to_owned);
                    answers.push((parts, text));
                }
                OutboxTaskRecord::Profile { customer } => names.push(customer.as_str().to_owned()),
                // No way but the code is on.
                other => return Err(format!("nobody should have asked for {other:?}")),
            }
        }
        let expected: Vec<_> = self.model.answers[self.settled.0..]
            .iter()
            .map(|answer| {
                ([answer.account.clone(), answer.customer.clone(), id(answer)], answer.text.clone())
            })
            .collect();
        same!(answers, expected, "what is to be said");
        same!(names, self.model.names_wanted[self.settled.1..], "whose names are wanted");
        Ok(())
    }
}

fn audit(record: AuditRecord) -> plain::Audit {
    let what = match record.what {
        AuditKind::Bound => "bound",
        AuditKind::Unbound => "unbound",
        AuditKind::Conflict => "conflict",
        AuditKind::Locked => "locked",
        AuditKind::OtherPerson | AuditKind::Undelivered => "none of these",
    };
    let text = |id: &str| id.to_owned();
    (what, record.openid.map(|id| text(id.as_str())), record.customer.map(|id| text(id.as_str())))
}

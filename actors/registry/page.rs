//! Goes through a page message by message: has the rules decide each one, and carries out what they say.
//!
//! Part of the ledger: everything lands in its batch. Whether something comes about is the rules' word, what a
//! binding or a code is made of is `ledger.rs`'s.

use std::{collections::BTreeMap, time::Duration};

use super::{
    ledger::Ledger,
    recognise::Lengths,
    records::{AuditBy, AuditKind, AuditRecord, BindingRecord, CursorRecord, Delivery, OutboxTaskRecord},
    reply_id::is_ours,
    rules::{Circumstances, Effect, Join, Known, decide},
    store::{StoreError, TreeId},
};
use crate::{
    ids::{ExternalUserId, OpenKfId, Ticket},
    messages::PageCommit,
    ports::{KfContent, KfMessage, MessageKind},
    tally::count,
};

/// Under which target a page's commit is logged.
pub const COMMIT_TARGET: &str = "actors::commit";
/// Unreadable messages that are kept, and how much of each, in bytes.
const UNREADABLE_KEPT_MAX: u64 = 100;
const UNREADABLE_BYTES_MAX: usize = 4096;

/// What a page came to, for the log: how many messages, and which effects how often.
#[derive(Debug)]
pub(crate) struct PageNote {
    account: OpenKfId,
    messages: usize,
    effects: BTreeMap<&'static str, usize>,
}

impl PageNote {
    /// One line at level debug, once the page is on the disk.
    pub(crate) fn log(&self, flush: Duration) {
        let effects: Vec<String> =
            self.effects.iter().map(|(effect, times)| format!("{effect}:{times}")).collect();
        tracing::debug!(
            target: COMMIT_TARGET,
            account = %self.account,
            messages = self.messages,
            effects = effects.join(" "),
            flush_us = u64::try_from(flush.as_micros()).unwrap_or(u64::MAX),
            "page committed"
        );
    }
}

impl Ledger<'_> {
    /// Decides a page's messages one by one and keeps the cursor with what they bring about.
    pub(crate) fn commit_page(&mut self, commit: &PageCommit) -> Result<(), StoreError> {
        let lengths = self.desk.crowd.lengths(self.desk.policy.code_format, self.now());
        self.pages.push(PageNote {
            account: commit.account.clone(),
            messages: commit.page.messages.len() + commit.page.unreadable.len(),
            effects: BTreeMap::new(),
        });
        for customer in &commit.learned.asked {
            let begins_at = self.overlay.begins_at(customer);
            let is_theirs = |message: &&KfMessage| message.customer.as_ref() == Some(customer);
            if commit.page.messages.iter().filter(is_theirs).all(|message| message.send_time < begins_at) {
                continue;
            }
            let profile = commit.learned.profiles.iter().find(|profile| profile.customer == *customer);
            self.learn(customer, profile, Some(&commit.account))?;
        }
        let entries: BTreeMap<&ExternalUserId, &Ticket> = commit
            .learned
            .profiles
            .iter()
            .filter_map(|profile| Some((&profile.customer, profile.entered_with.as_ref()?)))
            .collect();
        for message in &commit.page.messages {
            let entered_with = message.customer.as_ref().and_then(|customer| entries.get(customer).copied());
            self.take(message, &lengths, entered_with)?;
        }
        for raw in &commit.page.unreadable {
            count(&self.desk.tally.sync_messages, "kind", "unreadable");
            self.keep_unreadable(raw)?;
        }
        let before = self.overlay.cursor(&commit.account)?;
        let moved = commit.page.next_cursor.is_some() && commit.page.next_cursor != before.cursor;
        if moved {
            let record = CursorRecord {
                cursor: commit.page.next_cursor.clone(),
                sync_token: commit.sync_token.clone(),
            };
            self.overlay.put_cursor(&commit.account, &record)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        message: &KfMessage,
        lengths: &Lengths,
        entered_with: Option<&Ticket>,
    ) -> Result<(), StoreError> {
        let kind = match &message.content {
            KfContent::Text { .. } => "text",
            KfContent::EnterSession { .. } => "enter_session",
            KfContent::SendFailed { .. } => "send_failed",
            KfContent::Other(MessageKind::Media) => "media",
            KfContent::SessionEnded | KfContent::Other(MessageKind::Event) => "event",
            KfContent::Other(MessageKind::Servicer) => "servicer",
        };
        if message.customer.as_ref().is_some_and(|who| message.send_time < self.overlay.begins_at(who)) {
            count(&self.desk.tally.sync_messages, "kind", kind);
            return self.pass_over(message);
        }
        if let KfContent::SendFailed { fail_msgid, .. } = &message.content {
            count(&self.desk.tally.sync_messages, "kind", kind);
            let ours = message
                .customer
                .as_ref()
                .filter(|customer| is_ours(&self.desk.instance_key, fail_msgid, customer));
            if ours.is_some() && !self.overlay.was_seen(&message.account, &message.msgid)? {
                self.undelivered(message, fail_msgid.as_str())?;
            }
            return Ok(());
        }
        let now = self.now();
        let circumstances = Circumstances {
            policy: &self.desk.policy,
            lengths,
            now,
            store_created_at: self.desk.store_created_at,
            entered_with,
        };
        let verdict = decide(message, &self.overlay, circumstances)?;
        // Most messages are talk, which leaves nothing behind and need not be looked up.
        if verdict.remember && self.overlay.was_seen(&message.account, &message.msgid)? {
            count(&self.desk.tally.sync_messages, "kind", "repeated");
            return Ok(());
        }
        count(&self.desk.tally.sync_messages, "kind", kind);
        if verdict.held_code {
            self.count_message()?;
        }
        if verdict.remember {
            self.overlay.put_seen(&message.account, &message.msgid, now)?;
        }
        for effect in verdict.effects {
            self.carry_out(message, effect)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, message: &KfMessage, effect: Effect) -> Result<(), StoreError> {
        let Some(customer) = &message.customer else { return Ok(()) };
        self.note(&effect);
        match effect {
            Effect::Person(person) => self.overlay.put_person(customer, &person),
            Effect::Bind(join) => self.join(join),
            Effect::Unbind { openid } => self.release(&openid).map(|_| ()),
            Effect::Customer(record) => self.overlay.put_customer(customer, &record),
            Effect::ConflictNoted { code, customer } => {
                let Some(mut record) = self.overlay.code(&code)? else { return Ok(()) };
                record.conflicts.push(customer);
                self.overlay.put_code(&code, &record)
            }
            Effect::Guess => {
                // One from the future would count until a day after that has come.
                let (minute, guesses) = self.desk.crowd.guessed(message.send_time.min(self.now()));
                self.overlay.put(TreeId::Guesses, &minute.to_be_bytes(), &guesses)
            }
            Effect::Rejected(reason) => self.count_rejected(reason),
            Effect::Unanswered(result) => {
                count(&self.desk.tally.replies, "result", result);
                Ok(())
            }
            Effect::Audit { what, openid, method, by } => {
                let record = AuditRecord {
                    at: self.now(),
                    what,
                    openid,
                    customer: Some(customer.clone()),
                    method,
                    by,
                    message: Some((message.account.clone(), message.msgid.as_str().to_owned())),
                };
                self.audit(&record)
            }
            Effect::Answered(id) => {
                let Some(mut question) = self.overlay.question(id)? else { return Ok(()) };
                question.answered = true;
                self.overlay.put_question(id, &question)
            }
            Effect::HeardSince(id) => {
                let Some(mut question) = self.overlay.question(id)? else { return Ok(()) };
                let heard = (message.account.clone(), message.msgid.clone(), message.send_time);
                question.delivery = Delivery::UnderWay(Some(heard));
                self.overlay.put_question(id, &question)
            }
            Effect::Window(record) => self.overlay.put_window(&message.account, &record),
            Effect::HandOver => self.queue_task(OutboxTaskRecord::HandOver {
                account: message.account.clone(),
                customer: customer.clone(),
                sent: message.send_time,
            }),
            Effect::Answer(answer) => self.answer(message, customer, &answer),
        }
    }

    /// Binds two, after taking back what stands in the way.
    pub(super) fn join(&mut self, join: Join) -> Result<(), StoreError> {
        for other in join.replaces {
            self.give_way(&other)?;
        }
        let mut took_s = None;
        if let Some(code) = &join.code
            && let Some(mut record) = self.overlay.code(code)?
        {
            took_s = Some(join.bound_at.since(record.issued_at));
            record.spent = true;
            self.overlay.put_code(code, &record)?;
        }
        let person = self.overlay.person(&join.customer)?;
        let binding = BindingRecord {
            customer: join.customer,
            account: join.account,
            method: join.method,
            bound_at: join.bound_at,
            nickname: person.nickname,
            unionid: person.unionid,
        };
        self.bind(&join.openid, &binding, took_s)
    }

    /// A message of a life that was erased: whatever came of it would name them again. Only that somebody came is kept.
    fn pass_over(&mut self, message: &KfMessage) -> Result<(), StoreError> {
        if !self.desk.policy.ways.window {
            return Ok(());
        }
        let mut record = self.overlay.window(&message.account)?;
        if record.complete_since <= message.send_time {
            record.complete_since = message.send_time.plus(1);
            self.overlay.put_window(&message.account, &record)?;
        }
        Ok(())
    }

    fn note(&mut self, effect: &Effect) {
        let name = match effect {
            Effect::Bind(_) => "bound",
            Effect::Unbind { .. } => "unbound",
            Effect::Rejected(reason) => reason,
            Effect::Answer(_) => "reply",
            _ => return,
        };
        if let Some(page) = self.pages.last_mut() {
            *page.effects.entry(name).or_default() += 1;
        }
    }

    fn undelivered(&mut self, message: &KfMessage, fail_msgid: &str) -> Result<(), StoreError> {
        count(&self.desk.tally.replies, "result", "undelivered");
        self.overlay.put_seen(&message.account, &message.msgid, self.now())?;
        let record = AuditRecord {
            at: self.now(),
            what: AuditKind::Undelivered,
            openid: None,
            customer: message.customer.clone(),
            method: None,
            by: AuditBy::WeCom,
            message: Some((message.account.clone(), fail_msgid.to_owned())),
        };
        self.audit(&record)
    }

    /// Keeps the last unreadable messages for the operator; the slots are reused in turn.
    fn keep_unreadable(&mut self, raw: &str) -> Result<(), StoreError> {
        self.desk.sequences.unreadable += 1;
        let slot = self.desk.sequences.unreadable % UNREADABLE_KEPT_MAX;
        let mut end = raw.len().min(UNREADABLE_BYTES_MAX);
        while !raw.is_char_boundary(end) {
            end -= 1;
        }
        let kept = raw.get(..end).unwrap_or_default();
        self.overlay.put(TreeId::Unreadable, &slot.to_be_bytes(), &(self.now(), kept))
    }
}

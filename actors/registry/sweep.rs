//! Forgets what is too old, a little at a time: used codes, seen messages, attempts, the audit trail.
//!
//! Each step looks at a bounded number of records and goes on where the last one stopped, so that no writer waits
//! for it. Nothing is forgotten that a message still to come could mean.

use serde::de::DeserializeOwned;

use super::{
    announcing,
    crowd::MESSAGES_KEPT_S,
    erasure,
    ledger::Ledger,
    overlay::Overlay,
    records::{
        AuditRecord, CUSTOMER, CodeRecord, CustomerPerson, CustomerRecord, DeadLetterRecord, ErasureRecord,
        QuestionRecord, SAME, TicketRecord, USER, UserPerson, decode, person_key,
    },
    rules::{FRESH_START_S, Known as _},
    store::{Store, StoreError, TreeId},
};
use crate::ids::{ExternalUserId, Timestamp};

/// Records that one step looks at in each tree.
const STEP_RECORDS: usize = 128;
/// Kept beyond the time in which it could matter, for clocks that differ. Seconds.
const MARGIN_S: u64 = 3600;
/// How long the audit trail is kept. Seconds.
const AUDIT_KEPT_S: u64 = 400 * 24 * 3600;
/// After so long without a wrong code a customer starts afresh; a message of before that may come late. Seconds.
const ATTEMPTS_KEPT_S: u64 = FRESH_START_S + MESSAGES_KEPT_S + MARGIN_S;

/// Who is unbound and was not heard of for so long is forgotten. Seconds.
const PEOPLE_KEPT_S: u64 = ATTEMPTS_KEPT_S;

/// A key and its value.
type Entry = (Vec<u8>, Vec<u8>);

/// Where the next step goes on.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    codes: Vec<u8>,
    seen: Vec<u8>,
    attempts: Vec<u8>,
    audit: Vec<u8>,
    tickets: Vec<u8>,
    questions: Vec<u8>,
    people: Vec<u8>,
    dead_letters: Vec<u8>,
    erasures: Vec<u8>,
}

impl Sweeper {
    /// Looks at the next records of each tree.
    pub(crate) fn step(&mut self, ledger: &mut Ledger<'_>) -> Result<(), StoreError> {
        let now = Timestamp(ledger.now_ms / 1000);
        let overlay = &mut ledger.overlay;
        sweep(overlay, TreeId::Codes, &mut self.codes, |code: &CodeRecord| {
            now > code.expires_at.plus(MESSAGES_KEPT_S + MARGIN_S)
        })?;
        sweep(overlay, TreeId::Seen, &mut self.seen, |at: &Timestamp| {
            now > at.plus(MESSAGES_KEPT_S + MARGIN_S)
        })?;
        sweep(overlay, TreeId::Attempts, &mut self.attempts, |customer: &CustomerRecord| {
            let answered = customer.answered.iter().max().copied().unwrap_or_default();
            !customer.locked_for_good
                && (customer.wrong_total == 0 || now > customer.last_wrong_at.plus(ATTEMPTS_KEPT_S))
                && now > customer.undone_at.max(answered).plus(MESSAGES_KEPT_S + MARGIN_S)
        })?;
        sweep(overlay, TreeId::Audit, &mut self.audit, |event: &AuditRecord| {
            now > event.at.plus(AUDIT_KEPT_S)
        })?;
        sweep(overlay, TreeId::Tickets, &mut self.tickets, |ticket: &TicketRecord| {
            now > ticket.expires_at.plus(MESSAGES_KEPT_S + MARGIN_S)
        })?;
        sweep(overlay, TreeId::Questions, &mut self.questions, |question: &QuestionRecord| {
            now > question.until.plus(MESSAGES_KEPT_S + MARGIN_S)
        })?;
        let letters =
            sweep(overlay, TreeId::DeadLetters, &mut self.dead_letters, |letter: &DeadLetterRecord| {
                announcing::is_over(letter, now)
            })?;
        ledger.desk.dead_letters -= letters;
        sweep(overlay, TreeId::Erasures, &mut self.erasures, |erasure: &ErasureRecord| {
            erasure::is_over(erasure, now)
        })?;
        // Longer than any ticket that was made before it changed last.
        let kept_s = PEOPLE_KEPT_S.max(ledger.desk.policy.card_ttl_s + MESSAGES_KEPT_S + MARGIN_S);
        sweep_people(overlay, &mut self.people, now.minus(kept_s))?;
        for minute in ledger.desk.crowd.forget_guesses(now) {
            overlay.remove(TreeId::Guesses, &minute.to_be_bytes());
        }
        Ok(())
    }
}

/// Takes away what `is_over` among the next records of a tree; how many.
fn sweep<T: DeserializeOwned>(
    overlay: &mut Overlay<'_>,
    tree: TreeId,
    next: &mut Vec<u8>,
    is_over: impl Fn(&T) -> bool,
) -> Result<i64, StoreError> {
    let mut gone = 0;
    for (key, value) in step(overlay.store(), tree, next)? {
        // A record that this very batch has changed is not old.
        if is_over(&decode(tree, &value)?) && !overlay.has_changed(tree, &key) {
            overlay.remove(tree, &key);
            gone += 1;
        }
    }
    Ok(gone)
}

/// The same for people: who is bound stays, and who was unbound from somebody, lest the same unionid bind them again.
fn sweep_people(
    overlay: &mut Overlay<'_>,
    next: &mut Vec<u8>,
    unheard_since: Timestamp,
) -> Result<(), StoreError> {
    for (key, value) in step(overlay.store(), TreeId::People, next)? {
        let Some((kind, id)) = key.split_first().filter(|_| !overlay.has_changed(TreeId::People, &key))
        else {
            continue;
        };
        match *kind {
            CUSTOMER => {
                let person: CustomerPerson = decode(TreeId::People, &value)?;
                let customer = ExternalUserId::new(String::from_utf8_lossy(id));
                if person.changed_at >= unheard_since
                    || !person.parted.is_empty()
                    || overlay.user_of(&customer)?.is_some()
                {
                    continue;
                }
                if let Some(unionid) = person.unionid {
                    let mut same = overlay.same_person(&unionid)?;
                    same.customers.retain(|other| *other != customer);
                    if same.customers.is_empty() && same.openid.is_none() {
                        overlay.remove(TreeId::People, &person_key(SAME, unionid.as_str()));
                    } else {
                        overlay.put_same_person(&unionid, &same)?;
                    }
                }
                overlay.remove(TreeId::People, &key);
            }
            USER => {
                // A user with a unionid is waited for.
                let person: UserPerson = decode(TreeId::People, &value)?;
                if person.unionid.is_none() && person.unbound_ms < unheard_since.0.saturating_mul(1000) {
                    overlay.remove(TreeId::People, &key);
                }
            }
            // A unionid goes with the last who has it.
            _ => {}
        }
    }
    Ok(())
}

/// The next records of a tree, and where to go on behind them; from the beginning, once the end is reached.
fn step(store: &Store, tree: TreeId, next: &mut Vec<u8>) -> Result<Vec<Entry>, StoreError> {
    let mut records = Vec::new();
    for entry in store.range(tree, next)?.take(STEP_RECORDS) {
        let (key, value) = entry?;
        records.push((key.to_vec(), value.to_vec()));
    }
    next.clear();
    if records.len() == STEP_RECORDS
        && let Some((last, _)) = records.last()
    {
        next.extend_from_slice(last);
        next.push(0);
    }
    Ok(records)
}

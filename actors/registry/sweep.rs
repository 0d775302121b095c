//! Forgets what is too old, a little at a time: used codes, seen messages, attempts, the audit trail.
//!
//! Each step looks at a bounded number of records and goes on where the last one stopped, so that no writer waits
//! for it. Nothing is forgotten that a message still to come could mean.

use serde::de::DeserializeOwned;

use super::{
    crowd::MESSAGES_KEPT_S,
    ledger::Ledger,
    overlay::Overlay,
    records::{AuditRecord, CodeRecord, CustomerRecord, decode},
    rules::FRESH_START_S,
    store::{Store, StoreError, TreeId},
};
use crate::ids::Timestamp;

/// Records that one step looks at in each tree.
const STEP_RECORDS: usize = 128;
/// Kept beyond the time in which it could matter, for clocks that differ. Seconds.
const MARGIN_S: u64 = 3600;
/// How long the audit trail is kept. Seconds.
const AUDIT_KEPT_S: u64 = 400 * 24 * 3600;
/// After so long without a wrong code a customer starts afresh; a message of before that may come late. Seconds.
const ATTEMPTS_KEPT_S: u64 = FRESH_START_S + MESSAGES_KEPT_S + MARGIN_S;

/// Where the next step goes on.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    codes: Vec<u8>,
    seen: Vec<u8>,
    attempts: Vec<u8>,
    audit: Vec<u8>,
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
        for minute in ledger.desk.crowd.forget_guesses(now) {
            overlay.remove(TreeId::Guesses, &minute.to_be_bytes());
        }
        Ok(())
    }
}

/// Takes away what `is_over` among the next records of a tree.
fn sweep<T: DeserializeOwned>(
    overlay: &mut Overlay<'_>,
    tree: TreeId,
    next: &mut Vec<u8>,
    is_over: impl Fn(&T) -> bool,
) -> Result<(), StoreError> {
    let store: &Store = overlay.store();
    let mut over = Vec::new();
    let mut last = None;
    let mut looked_at = 0;
    for entry in store.range(tree, next)?.take(STEP_RECORDS) {
        let (key, value) = entry?;
        looked_at += 1;
        if is_over(&decode(tree, &value)?) {
            over.push(key.to_vec());
        }
        last = Some(key);
    }
    // Behind the last one; or from the beginning, once the end is reached.
    next.clear();
    if looked_at == STEP_RECORDS
        && let Some(last) = last
    {
        next.extend_from_slice(&last);
        next.push(0);
    }
    for key in over {
        // A record that this very batch has changed is not old.
        if !overlay.has_changed(tree, &key) {
            overlay.remove(tree, &key);
        }
    }
    Ok(())
}

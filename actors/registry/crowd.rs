//! What the registry knows of all codes together: how many are live, which lengths are in use, how much is guessed.
//!
//! Kept in memory and made anew from the trees at the start, so that a code costs no records for it.

use std::collections::{BTreeMap, HashMap};

use super::{
    code_space::{length_of, shortest},
    recognise::Lengths,
    records::{CodeRecord, UserRecord, decode, number},
    store::{Store, StoreError, TreeId},
};
use crate::{
    ids::{BindCode, Timestamp},
    policy::CodeFormat,
};

/// How long WeCom keeps messages, and so how long codes are kept, in seconds.
pub(crate) const MESSAGES_KEPT_S: u64 = 3 * 24 * 3600;
/// Over how long wrong codes of all customers are counted, in minutes.
const GUESSES_WINDOW_MIN: u64 = 24 * 60;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// How many codes end at each moment, of those that are neither replaced nor used.
    live: BTreeMap<Timestamp, u64>,
    live_total: u64,
    /// Until when a length counts as in use.
    in_use: HashMap<(CodeFormat, usize), Timestamp>,
    /// When the last code that was made ends by itself.
    last_end: Timestamp,
    /// Wrong codes by the minute in which they were sent.
    guesses: BTreeMap<u64, u64>,
}

impl Crowd {
    /// Reads the trees.
    pub(crate) fn load(store: &Store, now: Timestamp) -> Result<Self, StoreError> {
        let mut crowd = Self::default();
        for entry in store.range(TreeId::Codes, &[])? {
            let (key, value) = entry?;
            let record: CodeRecord = decode(TreeId::Codes, &value)?;
            let code = BindCode::new(String::from_utf8_lossy(&key));
            crowd.note(&code, &record);
            if record.revoked_at.is_none() && !record.spent && now < record.expires_at {
                // Codes that died with a binding or an unbinding are told by their epoch alone.
                let user = store.get(TreeId::Users, record.openid.as_str().as_bytes())?;
                let user: Option<UserRecord> = user.map(|bytes| decode(TreeId::Users, &bytes)).transpose()?;
                if user.is_some_and(|user| user.epoch == record.epoch) {
                    crowd.begin(record.expires_at);
                }
            }
        }
        for entry in store.range(TreeId::Guesses, &[])? {
            let (key, value) = entry?;
            crowd.guesses.insert(number(TreeId::Guesses, &key)?, decode(TreeId::Guesses, &value)?);
        }
        Ok(crowd)
    }

    /// When the last code that was made ends by itself: nothing sent later can mean any.
    pub(crate) fn last_end(&self) -> Timestamp {
        self.last_end
    }

    /// A code was made.
    pub(crate) fn made(&mut self, code: &BindCode, record: &CodeRecord) {
        self.note(code, record);
        self.begin(record.expires_at);
    }

    /// A code that would have ended at `expires_at` ends before its time.
    pub(crate) fn ended(&mut self, expires_at: Timestamp) {
        if let Some(count) = self.live.get_mut(&expires_at) {
            *count -= 1;
            self.live_total -= 1;
            if *count == 0 {
                self.live.remove(&expires_at);
            }
        }
    }

    /// The number of live codes.
    pub(crate) fn live(&mut self, now: Timestamp) -> u64 {
        while let Some(entry) = self.live.first_entry()
            && *entry.key() <= now
        {
            self.live_total -= entry.remove();
        }
        self.live_total
    }

    /// The lengths that a customer's code can have now.
    pub(crate) fn lengths(&self, configured: CodeFormat, now: Timestamp) -> Lengths {
        let mut lengths = Lengths::default();
        lengths.insert(configured, shortest(configured));
        for ((format, length), until) in &self.in_use {
            if now < *until {
                lengths.insert(*format, *length);
                // Of a format in use the shortest length always counts.
                lengths.insert(*format, shortest(*format));
            }
        }
        lengths
    }

    /// A wrong code was sent, not in the future; answers the minute and the count to be stored for it.
    pub(crate) fn guessed(&mut self, sent: Timestamp) -> (u64, u64) {
        let minute = sent.0 / 60;
        let count = self.guesses.entry(minute).or_insert(0);
        *count += 1;
        (minute, *count)
    }

    /// The wrong codes of all customers within the last 24 hours.
    pub(crate) fn guesses(&self, now: Timestamp) -> u64 {
        let first = (now.0 / 60).saturating_sub(GUESSES_WINDOW_MIN - 1);
        self.guesses.range(first..).map(|(_, count)| count).sum()
    }

    /// Forgets the minutes before the window, and answers which those were.
    pub(crate) fn forget_guesses(&mut self, now: Timestamp) -> Vec<u64> {
        let first = (now.0 / 60).saturating_sub(GUESSES_WINDOW_MIN);
        let kept = self.guesses.split_off(&first);
        std::mem::replace(&mut self.guesses, kept).into_keys().collect()
    }

    fn begin(&mut self, expires_at: Timestamp) {
        *self.live.entry(expires_at).or_insert(0) += 1;
        self.live_total += 1;
    }

    fn note(&mut self, code: &BindCode, record: &CodeRecord) {
        self.last_end = self.last_end.max(record.expires_at);
        let format = record.format.into();
        let until = record.expires_at.plus(MESSAGES_KEPT_S);
        let known = self.in_use.entry((format, length_of(format, code.as_str()))).or_insert(until);
        *known = until.max(*known);
    }
}

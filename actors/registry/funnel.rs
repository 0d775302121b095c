//! Counts by day: logins → codes → messages → bound, and how long that took.
//!
//! Part of the ledger. Counting costs no record of its own: the days that have changed are kept in memory and written
//! once a second, so a crash may cost the counts of its last second, and nothing else depends on them.

use std::collections::BTreeMap;

use super::{
    ledger::Ledger,
    overlay::Overlay,
    records::{DayRecord, Method, decode},
    store::{Store, StoreError, TreeId},
};
use crate::{
    ids::Timestamp,
    messages::DayStats,
    tally::{CODE_REJECTIONS, METHODS, count},
};

/// Operators in China mean their own days; the country has one time zone and no summer time. Seconds.
const CHINA_AHEAD_S: u64 = 8 * 3600;
const DAY_S: u64 = 24 * 3600;
/// Classes of times to bind in each doubling of the time: a percentile is right to a fifth.
const CLASSES_PER_DOUBLING: f64 = 4.0;
/// The longest time has a class far below this: it is within what WeCom keeps.
const CLASSES_MAX: usize = 128;

/// The day in China that a moment belongs to, counted from 1970-01-01.
pub(crate) fn day_of(at: Timestamp) -> u64 {
    (at.0 + CHINA_AHEAD_S) / DAY_S
}

/// The days that have changed and are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Funnel {
    days: BTreeMap<u64, DayRecord>,
    is_dirty: bool,
}

impl Funnel {
    fn day(&mut self, overlay: &Overlay<'_>, day: u64) -> Result<&mut DayRecord, StoreError> {
        self.is_dirty = true;
        match self.days.entry(day) {
            std::collections::btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::btree_map::Entry::Vacant(new) => {
                let stored = overlay.get::<DayRecord>(TreeId::Stats, &day.to_be_bytes())?;
                Ok(new.insert(stored.unwrap_or_default()))
            }
        }
    }

    /// The last `count` days up to today, as they are now; days without a record are zero.
    pub(crate) fn last_days(
        &self,
        store: &Store,
        now: Timestamp,
        count: usize,
    ) -> Result<Vec<DayStats>, StoreError> {
        let today = day_of(now);
        let first = (today + 1).saturating_sub(count as u64);
        (first..=today)
            .map(|day| {
                let stored = || -> Result<DayRecord, StoreError> {
                    let bytes = store.get(TreeId::Stats, &day.to_be_bytes())?;
                    Ok(bytes.map(|bytes| decode(TreeId::Stats, &bytes)).transpose()?.unwrap_or_default())
                };
                self.days.get(&day).cloned().map_or_else(stored, Ok).map(|record| stats(day, &record))
            })
            .collect()
    }
}

impl Ledger<'_> {
    fn today(&mut self) -> Result<&mut DayRecord, StoreError> {
        let day = day_of(self.now());
        self.desk.funnel.day(&self.overlay, day)
    }

    /// Users were given sessions.
    pub(crate) fn count_logins(&mut self, logins: u64) -> Result<(), StoreError> {
        if logins > 0 {
            self.today()?.logins += logins;
        }
        Ok(())
    }

    /// A code was made.
    pub(super) fn count_code(&mut self) -> Result<(), StoreError> {
        self.desk.tally.codes_issued.inc();
        self.today()?.codes += 1;
        Ok(())
    }

    /// A message held a code, or brought a ticket.
    pub(super) fn count_message(&mut self) -> Result<(), StoreError> {
        self.today()?.messages += 1;
        Ok(())
    }

    /// Two were bound; `took_s` after a code was made for it, if it was one.
    pub(super) fn count_bound(&mut self, method: Method, took_s: Option<u64>) -> Result<(), StoreError> {
        count(&self.desk.tally.bindings_made, "method", method.name());
        let today = self.today()?;
        bump(&mut today.bound, METHODS, method.name());
        if let Some(took_s) = took_s {
            let class = class_of(took_s);
            if today.seconds.len() <= class {
                today.seconds.resize(class + 1, 0);
            }
            if let Some(times) = today.seconds.get_mut(class) {
                *times = times.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Two were unbound.
    pub(super) fn count_unbound(&mut self) -> Result<(), StoreError> {
        self.today()?.unbound += 1;
        Ok(())
    }

    /// A conflict went to the audit trail.
    pub(super) fn count_conflict(&mut self) -> Result<(), StoreError> {
        self.today()?.conflicts += 1;
        Ok(())
    }

    /// A code or another way did not bind, for this reason.
    pub(super) fn count_rejected(&mut self, reason: &'static str) -> Result<(), StoreError> {
        count(&self.desk.tally.rejected_codes, "reason", reason);
        bump(&mut self.today()?.rejected, CODE_REJECTIONS, reason);
        Ok(())
    }

    /// Writes the days that have changed; of those only today's stays in memory.
    pub(crate) fn save_days(&mut self) -> Result<(), StoreError> {
        let today = day_of(self.now());
        let funnel = &mut self.desk.funnel;
        if !std::mem::take(&mut funnel.is_dirty) {
            return Ok(());
        }
        for (day, record) in &funnel.days {
            self.overlay.put(TreeId::Stats, &day.to_be_bytes(), record)?;
        }
        funnel.days.retain(|day, _| *day == today);
        Ok(())
    }
}

/// Counts one more under this name. A list may be shorter: a later version knows more names.
fn bump(counts: &mut Vec<u64>, names: &[&str], name: &str) {
    if counts.len() < names.len() {
        counts.resize(names.len(), 0);
    }
    let place = names.iter().position(|known| *known == name);
    if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
        *count += 1;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small, not negative, and as exact as classes are"
)]
fn class_of(seconds: u64) -> usize {
    let class = ((seconds as f64 + 1.0).log2() * CLASSES_PER_DOUBLING).floor() as usize;
    class.min(CLASSES_MAX - 1)
}

/// The time below which this share of all lies, in seconds; evenly spread within its class.
#[expect(clippy::cast_precision_loss, reason = "as exact as classes are")]
fn percentile(classes: &[u32], share: f64) -> Option<f64> {
    let total: u64 = classes.iter().map(|times| u64::from(*times)).sum();
    let rank = (total as f64 * share).ceil().max(1.0);
    let mut before = 0.0;
    for (class, times) in classes.iter().enumerate() {
        let times = f64::from(*times);
        if before + times >= rank {
            // Times are whole seconds: the first and the last one of this class.
            let edge = |class: usize| ((class as f64 / CLASSES_PER_DOUBLING).exp2() - 1.0).ceil();
            let (first, last) = (edge(class), (edge(class + 1) - 1.0).max(edge(class)));
            let within = (rank - before - 0.5) / times;
            return Some(((first + (last - first) * within) * 10.0).round() / 10.0);
        }
        before += times;
    }
    None
}

fn stats(day: u64, record: &DayRecord) -> DayStats {
    let named = |counts: &[u64], names: &[&'static str]| {
        names
            .iter()
            .enumerate()
            .map(|(place, name)| (*name, counts.get(place).copied().unwrap_or_default()))
            .collect()
    };
    DayStats {
        day,
        logins: record.logins,
        codes: record.codes,
        messages: record.messages,
        bound: named(&record.bound, METHODS),
        unbound: record.unbound,
        conflicts: record.conflicts,
        rejected: named(&record.rejected, CODE_REJECTIONS),
        timed: record.seconds.iter().map(|times| u64::from(*times)).sum(),
        p50_s: percentile(&record.seconds, 0.5),
        p95_s: percentile(&record.seconds, 0.95),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_china() {
        // 2026-11-25 15:59:59 and 16:00:00 UTC.
        let before_midnight = Timestamp(1_795_622_399);
        assert_eq!(day_of(before_midnight.plus(1)), day_of(before_midnight) + 1);
        assert_eq!(day_of(Timestamp(0)), 0);
    }

    #[test]
    fn percentiles_are_right_to_a_fifth() {
        for seconds in [0, 1, 2, 3, 5, 8, 40, 63, 64, 599, 86_400, 259_200] {
            let mut classes = vec![0; class_of(seconds) + 1];
            classes[class_of(seconds)] = 1;
            let told = percentile(&classes, 0.5).unwrap();
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let off = (told - seconds as f64).abs();
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let allowed = seconds as f64 / 5.0;
            assert!(off <= allowed, "{seconds} s were told as {told}");
        }
        let mut classes = vec![0; CLASSES_MAX];
        classes[class_of(10)] = 95;
        classes[class_of(500)] = 5;
        assert!(percentile(&classes, 0.5).unwrap() < 12.0);
        assert!(percentile(&classes, 0.95).unwrap() < 12.0);
        assert!(percentile(&classes, 0.96).unwrap() > 400.0);
        assert_eq!(percentile(&[], 0.5), None);
    }
}

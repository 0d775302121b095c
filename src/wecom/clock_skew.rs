//! How far our clock is off WeCom's, by the `Date` of its answers.
//!
//! Codes are judged by WeCom's time against ours, with a minute to spare. Nothing here corrects anything: it measures
//! and says so loudly.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use actors::ports::Clock;
use jiff::fmt::rfc2822::DateTimeParser;

/// Beyond this many seconds operators are told.
const SKEW_S_MAX: u64 = 30;
/// Before the first measurement.
const UNKNOWN: i64 = i64::MIN;
/// A `Date` has whole seconds, cut off: half a second is what it lacks on average.
const DATE_CUT_MS: i128 = 500;

pub(super) struct ClockSkew {
    clock: Arc<dyn Clock>,
    seconds: AtomicI64,
    /// Whether the operator was told last that the clock is off.
    told: AtomicBool,
}

impl ClockSkew {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, seconds: AtomicI64::new(UNKNOWN), told: AtomicBool::new(false) }
    }

    /// Our clock minus WeCom's; `None` before the first answer.
    pub(super) fn seconds(&self) -> Option<i64> {
        Some(self.seconds.load(Ordering::Relaxed)).filter(|seconds| *seconds != UNKNOWN)
    }

    /// Takes the `Date` of an answer that has just come, `round_trip` after it was asked for: it was written about
    /// half of that ago. What is no date is passed over.
    pub(super) fn observe(&self, date: &str, round_trip: Duration) {
        let Ok(date) = DateTimeParser::new().parse_timestamp(date) else { return };
        let theirs_ms = i128::from(date.as_millisecond()) + DATE_CUT_MS;
        let half_trip_ms = i128::try_from(round_trip.as_millis() / 2).unwrap_or(0);
        let ours_ms = i128::from(self.clock.now_ms()) - half_trip_ms;
        let skew_s = i64::try_from((ours_ms - theirs_ms) / 1000).unwrap_or(i64::MAX);
        self.seconds.store(skew_s, Ordering::Relaxed);
        let off = skew_s.unsigned_abs() > SKEW_S_MAX;
        if self.told.swap(off, Ordering::Relaxed) == off {
            return;
        }
        if off {
            tracing::error!(
                skew_s,
                "this machine's clock is off WeCom's; beyond 60 s codes fail: set the clock, for example by NTP"
            );
        } else {
            tracing::info!(skew_s, "this machine's clock agrees with WeCom's again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct FixedClock(u64);

    impl Clock for FixedClock {
        fn now_ms(&self) -> u64 {
            self.0
        }
    }

    /// 1994-11-06T08:49:37Z.
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DATE_MS: u64 = 784_111_777_000;

    fn skew(now_ms: u64, date: &str, round_trip_ms: u64) -> Option<i64> {
        let skew = ClockSkew::new(Arc::new(FixedClock(now_ms)));
        skew.observe(date, Duration::from_millis(round_trip_ms));
        skew.seconds()
    }

    #[test]
    fn the_skew_is_ours_minus_theirs() {
        assert_eq!(skew(DATE_MS, DATE, 0), Some(0));
        assert_eq!(skew(DATE_MS + 45_500, DATE, 0), Some(45));
        assert_eq!(skew(DATE_MS - 45_000, DATE, 0), Some(-45));
    }

    #[test]
    fn half_the_round_trip_is_not_skew() {
        assert_eq!(skew(DATE_MS + 20_500, DATE, 40_000), Some(0));
    }

    #[test]
    fn what_is_no_date_is_passed_over() {
        for date in ["", "soon", "2026-01-01", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(skew(DATE_MS, date, 0), None, "{date}");
        }
    }

    #[test]
    fn operators_are_told_once_for_each_change() {
        let skew = ClockSkew::new(Arc::new(FixedClock(DATE_MS + 31_500)));
        assert!(!skew.told.load(Ordering::Relaxed));
        skew.observe(DATE, Duration::ZERO);
        assert!(skew.told.load(Ordering::Relaxed));
        skew.observe("Sun, 06 Nov 1994 08:50:07 GMT", Duration::ZERO);
        assert!(!skew.told.load(Ordering::Relaxed));
    }

    #[test]
    fn thirty_seconds_are_borne() {
        let skew = ClockSkew::new(Arc::new(FixedClock(DATE_MS + 30_500)));
        skew.observe(DATE, Duration::ZERO);
        assert_eq!(skew.seconds(), Some(30));
        assert!(!skew.told.load(Ordering::Relaxed));
    }
}

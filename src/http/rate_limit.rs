//! How often a client address may do something: so many times in a window that begins with the first.
//!
//! Kept in memory only, and bounded: a restart starts afresh. The actors have limits of their own, per person.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use actors::policy::Rate;

/// The most addresses that are remembered at once (some MB). When as many are within their windows, all are
/// forgotten: somebody with so many addresses has no limit to speak of anyway.
const ADDRESSES_MAX: usize = 65_536;

/// A limit per client address; IPv6 addresses count by their /64, which one subscriber has as a whole.
#[derive(Debug)]
pub(crate) struct RateLimit {
    rate: Rate,
    windows: Mutex<HashMap<IpAddr, Window>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began_at_ms: u64,
    count: u32,
}

impl RateLimit {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, windows: Mutex::default() }
    }

    /// Counts one; if it is one too many, says in how many seconds (at least 1) there is room again.
    pub(crate) fn take(&self, address: IpAddr, now_ms: u64) -> Result<(), u64> {
        let window_ms = self.rate.window_s.saturating_mul(1000);
        // A clock that was set back ends the window: nobody may be shut out for the length of the step.
        let within = |window: &Window| {
            now_ms.checked_sub(window.began_at_ms).is_some_and(|passed_ms| passed_ms < window_ms)
        };
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= ADDRESSES_MAX {
            windows.retain(|_, window| within(window));
            // Were it kept almost full, each call would go through all of it.
            if windows.len() > ADDRESSES_MAX / 2 {
                windows.clear();
            }
        }
        let fresh = Window { began_at_ms: now_ms, count: 0 };
        let window = windows.entry(counted_as(address)).or_insert(fresh);
        if !within(window) {
            *window = fresh;
        }
        if window.count >= self.rate.count {
            let left_ms = window.began_at_ms.saturating_add(window_ms).saturating_sub(now_ms);
            return Err(left_ms.div_ceil(1000).max(1));
        }
        window.count += 1;
        Ok(())
    }
}

fn counted_as(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 1_700_000_000_000;

    fn limit(count: u32) -> RateLimit {
        RateLimit::new(Rate { count, window_s: 60 })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_window_begins_with_the_first_call_and_ends_on_its_own() {
        let limit = limit(2);
        let client = ip("192.0.2.1");
        assert_eq!(limit.take(client, START_MS), Ok(()));
        assert_eq!(limit.take(client, START_MS + 30_000), Ok(()));
        assert_eq!(limit.take(client, START_MS + 30_001), Err(30));
        assert_eq!(limit.take(client, START_MS + 59_999), Err(1));
        assert_eq!(limit.take(client, START_MS + 60_000), Ok(()));
    }

    #[test]
    fn addresses_are_counted_apart_but_ipv6_by_its_64() {
        let limit = limit(1);
        assert!(limit.take(ip("192.0.2.1"), START_MS).is_ok());
        assert!(limit.take(ip("192.0.2.2"), START_MS).is_ok());
        assert!(limit.take(ip("2001:db8:0:1::1"), START_MS).is_ok());
        assert!(limit.take(ip("2001:db8:0:1:ffff::2"), START_MS).is_err());
        assert!(limit.take(ip("2001:db8:0:2::1"), START_MS).is_ok());
    }

    #[test]
    fn a_clock_set_back_shuts_nobody_out() {
        let limit = limit(1);
        let client = ip("192.0.2.1");
        assert!(limit.take(client, START_MS).is_ok());
        assert!(limit.take(client, START_MS - 3_600_000).is_ok());
    }

    #[test]
    fn the_memory_is_bounded() {
        let limit = limit(1);
        for number in 0..200_000_u32 {
            assert!(limit.take(IpAddr::V4(number.into()), START_MS).is_ok());
            assert!(limit.windows.lock().unwrap().len() <= ADDRESSES_MAX);
        }
    }
}

//! Scripted stand-ins for the outside, for tests: a clock that is moved by hand, seeded randomness, a scripted WeCom.
//!
//! Not in production builds.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    policy::{CodeFormat, Handover, OnConflict, Policy, Rate, Texts, Ways},
    ports::{Clock, Entropy},
};

pub mod recognition;
mod wecom;

#[cfg(test)]
pub(crate) mod rig;

pub use wecom::ScriptedWeCom;

/// The defaults of the outside contract, with short texts that name themselves.
#[must_use]
pub fn policy() -> Policy {
    Policy {
        code_format: CodeFormat::Digits,
        code_ttl_s: 600,
        on_conflict: OnConflict::Reject,
        unbind_word: Some("解绑".to_owned()),
        codes_per_openid: Rate { count: 5, window_s: 60 },
        wrong_codes_per_customer: Rate { count: 5, window_s: 600 },
        texts: Texts {
            bound: "bound {nickname} {account} {unbind_word}".to_owned(),
            unbound: "unbound {account}".to_owned(),
            wrong_code: "wrong {code}".to_owned(),
            expired_code: "expired {code}".to_owned(),
            locked: "locked {minutes}".to_owned(),
            conflict: "conflict {account}".to_owned(),
            already_bound: "already {account}".to_owned(),
            invite: "invite".to_owned(),
            invite_item: "card".to_owned(),
            confirm: "confirm {account}".to_owned(),
            confirm_yes: "yes".to_owned(),
            confirm_no: "no".to_owned(),
            cancelled: "cancelled".to_owned(),
            other_person: "other person".to_owned(),
        },
        ways: Ways::default(),
        confirm_link: true,
        confirm_code: false,
        window_s: 300,
        card_ttl_s: 172_800,
        card_path: "pages/bind-account/bind-account.html".to_owned(),
        handover: Handover::None,
        person_word: Some("人工".to_owned()),
        notice: None,
        announces: false,
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Begins at this second.
    #[must_use]
    pub fn at(seconds: u64) -> Self {
        Self(AtomicU64::new(seconds * 1000))
    }

    /// Moves on.
    pub fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// Moves on by less than a second.
    pub fn advance_ms(&self, milliseconds: u64) {
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// Jumps, forwards or back.
    pub fn set(&self, seconds: u64) {
        self.0.store(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Randomness that is the same for the same seed (`SplitMix64`).
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    /// Of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            for (byte, random) in chunk.iter_mut().zip(z.to_le_bytes()) {
                *byte = random;
            }
        }
    }
}

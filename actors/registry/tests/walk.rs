//! Every way at once, at random: people who bind as they should, people who forward links, cards and codes to strangers,
//! strangers who tap what they were not asked, restarts and kills in between.
//!
//! What people do is in `walk/deeds.rs`, the store that it happens to in `walk/run.rs`. `walk/oracle.rs` knows from the outside contract alone which two a step may bind,
//! and by which way; everything else that is bound is a fault. It shares no rule with the product.

use std::collections::BTreeMap;

use proptest::test_runner::Config;

mod deeds;
mod oracle;
mod run;

/// Steps of one walk.
const STEPS: u64 = 160;
/// Of the sequences that the model gets, so many make one walk.
const CASES_PER_WALK: u64 = 8;
/// What must have happened in all walks together.
const THINGS: [&str; 20] = [
    "bound by admin",
    "erased",
    "a pair erased",
    "bound by code",
    "bound by link",
    "bound by card",
    "bound by staff",
    "bound by unionid",
    "bound by window",
    "unbound in the chat",
    "unbound outside",
    "replaced",
    "asked",
    "asked again",
    "no",
    "tapped by a stranger",
    "tapped twice",
    "ticket used twice",
    "killed",
    "read twice",
];

/// Numbers that are the same for the same seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    pub(super) fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    pub(super) fn of<T: Clone>(&mut self, among: &[T]) -> Option<T> {
        let sides = among.len() as u64;
        let place = usize::try_from(self.below(sides.max(1))).unwrap_or_default();
        among.get(place).cloned()
    }
}

/// `PROPTEST_CASES` sets how many walks are made: one of eight.
#[test]
fn whatever_people_do_nobody_is_bound_without_a_cause_that_the_contract_knows() {
    let mut reached: BTreeMap<&'static str, u64> = BTreeMap::new();
    let walks = (u64::from(Config::default().cases) / CASES_PER_WALK).max(1);
    for seed in 0..walks {
        let mut run = run::Run::new(seed);
        for step in 0..STEPS {
            if let Err(fault) = run.step() {
                panic!("walk {seed}, step {step}: {fault}");
            }
        }
        for (thing, times) in run.reached {
            *reached.entry(thing).or_default() += times;
        }
    }
    if walks >= 32 {
        let missing: Vec<_> = THINGS.iter().filter(|thing| !reached.contains_key(*thing)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?} of {reached:?}");
    }
}

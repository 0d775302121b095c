//! The registry against a model of it: random commands, clocks and restarts on a real store, and after each step all
//! that can be seen is what plain maps say it should be.
//!
//! What the model knows is in `model/plain.rs`, what may happen in `model/steps.rs`, how it happens to the store in
//! `model/run.rs`, and what is compared in `model/compare.rs`.

use std::{cell::RefCell, collections::BTreeMap};

use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// Fails the case where the store and the model differ.
macro_rules! same {
    ($store:expr, $model:expr, $($what:tt)+) => {{
        let (store, model) = (&$store, &$model);
        if store != model {
            return Err(format!("{}: the store has {store:?}, the model {model:?}", format_args!($($what)+)));
        }
    }};
}

mod compare;
mod plain;
mod run;
mod steps;

/// From so many sequences on each of the things must have happened that the rules speak of.
const TELLING_CASES: u32 = 256;

/// `PROPTEST_CASES` sets how many sequences are tried.
#[test]
fn whatever_happens_the_registry_is_what_the_rules_on_plain_maps_say() {
    let config = Config { failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    let cases = config.cases;
    let reached =
        RefCell::new(plain::THINGS.map(|thing| (thing, 0_u64)).into_iter().collect::<BTreeMap<_, _>>());
    let outcome = TestRunner::new(config).run(&steps::case(), |(settings, steps)| {
        let mut run = run::Run::new(settings);
        for (number, step) in steps.iter().enumerate() {
            let done = run.step(step).and_then(|()| run.compare());
            done.map_err(|difference| TestCaseError::fail(format!("after step {number}: {difference}")))?;
        }
        for (thing, times) in run.model.reached {
            *reached.borrow_mut().entry(thing).or_default() += times;
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let reached = reached.into_inner();
    if cases >= TELLING_CASES {
        assert!(reached.values().all(|times| *times > 0), "some things never happened: {reached:#?}");
    }
}

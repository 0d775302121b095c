//! A month of guessing, in virtual time, against the rules themselves: how likely is it that somebody with so many
//! WeChat accounts binds a stranger's code?
//!
//! The guesses go through [`decide`], which counts and locks; the lengths of codes come from [`Crowd`] and
//! [`length_for`], as when codes are made. What is not drawn is luck: each counted guess adds its exact chance to meet
//! one of the codes that are live at that second, so a run has one outcome and needs no seed. SECURITY.md shows the
//! table, which `cargo test -p actors a_month_of_guessing -- --nocapture` prints.

use std::collections::{BTreeSet, VecDeque};

use super::{
    super::{
        Circumstances, decide,
        world::{World, message},
    },
    DAY, T,
};
use crate::{
    ids::{BindCode, ExternalUserId, OpenId, Timestamp},
    policy::CodeFormat,
    registry::{
        code_space::{length_for, size},
        crowd::Crowd,
        records::CodeRecord,
    },
};

const MONTH: u64 = 30 * DAY;
/// The contract's promise: one guess meets any live code at most once in so many.
const GUESSES_PER_HIT: f64 = 100_000.0;
/// Sums of small chances are off by less.
const ROUNDING: f64 = 1.000_001;
/// After so many an account is locked until the back end lifts it.
const GUESSES_PER_ACCOUNT: u64 = 100;

/// How the attackers spend their guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    /// So many in one message, and again as soon as the rules take the next: 4 never lock, the 5th does.
    AtOnce(usize),
    /// All accounts in the same second, then silence until all live codes were made without a guess in a day before.
    Patient(usize),
}

/// What a month comes to.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    guesses: u64,
    /// The expected number of strangers' codes that were met.
    expected: f64,
    /// The chance that at least one was.
    chance: f64,
}

/// The service, as far as guessing is concerned: what is live, and what the customers have tried.
struct Service {
    world: World,
    crowd: Crowd,
    /// Moment and length of the codes that are live, oldest first.
    live: VecDeque<(u64, usize)>,
    live_wanted: u64,
    made: u64,
}

impl Service {
    fn with(live_wanted: u64) -> Self {
        let mut service = Self {
            world: World::default(),
            crowd: Crowd::default(),
            live: VecDeque::new(),
            live_wanted,
            made: 0,
        };
        service.go_on_to(T);
        assert_eq!(service.live.len() as u64, live_wanted);
        service
    }

    /// Evenly spaced, so that just as many are live at any time. The first ones, which are short because there were
    /// few, are over when the guessing begins.
    fn issued_at(&self, number: u64) -> u64 {
        let ttl_s = self.world.policy.code_ttl_s;
        T - 2 * ttl_s + 1 + number * ttl_s / self.live_wanted
    }

    /// Codes are made and end, up to this moment. Those are passed over that nobody could meet any more, nor those
    /// whose length depends on how many were live.
    fn go_on_to(&mut self, now: u64) {
        let ttl_s = self.world.policy.code_ttl_s;
        while self.issued_at(self.made) <= now {
            let issued = self.issued_at(self.made);
            self.made += 1;
            if issued + 2 * ttl_s > now {
                self.make(Timestamp(issued));
            }
        }
        self.live.retain(|(issued, _)| issued + ttl_s > now);
        self.crowd.forget_guesses(Timestamp(now));
    }

    /// As the ledger makes one.
    fn make(&mut self, now: Timestamp) {
        let live = self.crowd.live(now) + 1;
        let length = length_for(CodeFormat::Digits, live, self.crowd.guesses(now));
        let record = CodeRecord {
            openid: OpenId::new("oStranger"),
            format: CodeFormat::Digits.into(),
            epoch: 0,
            issued_at: now,
            expires_at: now.plus(self.world.policy.code_ttl_s),
            revoked_at: None,
            spent: false,
            conflicts: Vec::new(),
        };
        self.crowd.made(&BindCode::new("0".repeat(length)), &record);
        self.live.push_back((now.0, length));
    }

    /// The length at which a guess has the best chance, and that chance.
    fn best_guess(&self) -> (usize, f64) {
        let chance = |length: usize| {
            let live = self.live.iter().filter(|(_, of)| *of == length).count();
            // Both far below what a double holds exactly.
            #[expect(clippy::cast_precision_loss, reason = "codes have at most 12 digits")]
            let chance = live as f64 / size(CodeFormat::Digits, length) as f64;
            (length, chance)
        };
        (6..=12).map(chance).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
    }

    /// A customer sends so many guesses in one message; how many were counted.
    fn guessed(&mut self, customer: &str, count: usize, length: usize, now: u64) -> u64 {
        // No code of ours and no date, as an attacker would choose.
        let guesses: Vec<String> =
            (0..count).map(|number| format!("3{number:0w$}", w = length - 1)).collect();
        let message = message(customer, &guesses.join(" "), now);
        let lengths = self.crowd.lengths(CodeFormat::Digits, Timestamp(now));
        let circumstances = Circumstances {
            policy: &self.world.policy,
            lengths: &lengths,
            now: Timestamp(now),
            store_created_at: Timestamp(0),
            entered_with: None,
        };
        let Ok(verdict) = decide(&message, &self.world, circumstances);
        let before = self.world.guesses;
        self.world.carry_out(&ExternalUserId::new(customer), &verdict);
        let counted = self.world.guesses - before;
        for _ in 0..counted {
            self.crowd.guessed(Timestamp(now));
        }
        counted
    }
}

/// Plays a month.
fn month(accounts: u64, live: u64, haste: Haste) -> Outcome {
    let mut service = Service::with(live);
    let mut outcome = Outcome { guesses: 0, expected: 0.0, chance: 0.0 };
    let mut none_met = 1.0;
    let mut best = (0, (0, 0.0));
    let mut due: BTreeSet<(u64, String)> = (0..accounts).map(|n| (T, format!("wmGuesser{n}"))).collect();
    while let Some((now, guesser)) = due.pop_first() {
        if now >= T + MONTH {
            break;
        }
        if best.0 != now {
            service.go_on_to(now);
            best = (now, service.best_guess());
        }
        let (_, (length, chance)) = best;
        let (Haste::AtOnce(count) | Haste::Patient(count)) = haste;
        let counted = service.guessed(&guesser, count, length, now);
        outcome.guesses += counted;
        for _ in 0..counted {
            outcome.expected += chance;
            none_met *= 1.0 - chance;
        }
        let record = &service.world.customers[&ExternalUserId::new(guesser.as_str())];
        if !record.locked_for_good {
            let window_ends = record.window_start.0 + service.world.policy.wrong_codes_per_customer.window_s;
            let next = match haste {
                Haste::AtOnce(_) => window_ends.max(record.locked_until.0),
                Haste::Patient(_) => now + DAY + 60 + service.world.policy.code_ttl_s,
            };
            due.insert((next, guesser));
        }
    }
    outcome.chance = 1.0 - none_met;
    outcome
}

#[test]
#[expect(clippy::print_stdout, reason = "the table is what it is run for")]
fn a_month_of_guessing_meets_strangers_codes_no_more_often_than_the_rules_allow() {
    println!(
        "| accounts | live codes | guesses | as fast as codes are taken | as each lock ends | with patience |"
    );
    for accounts in [1, 100, 1_000] {
        for live in [5, 50, 500] {
            let hastes = [Haste::AtOnce(4), Haste::AtOnce(5), Haste::Patient(4)];
            let outcomes = hastes.map(|haste| month(accounts, live, haste));
            for outcome in outcomes {
                assert_eq!(outcome.guesses, accounts * GUESSES_PER_ACCOUNT, "locked for good, every one");
                #[expect(clippy::cast_precision_loss, reason = "far below what a double holds exactly")]
                let most = outcome.guesses as f64 / GUESSES_PER_HIT;
                assert!(
                    outcome.expected > 0.0 && outcome.expected <= most * ROUNDING,
                    "{outcome:?} of {most}"
                );
                assert!(outcome.chance <= outcome.expected * ROUNDING, "{outcome:?}");
            }
            let [fast, locked, patient] =
                outcomes.map(|outcome| format!("{:.6} ({:.4} %)", outcome.expected, outcome.chance * 100.0));
            println!("| {accounts} | {live} | {} | {fast} | {locked} | {patient} |", outcomes[0].guesses);
            // Growing codes are what haste runs into.
            if accounts > 1 {
                assert!(outcomes[0].expected < outcomes[2].expected, "{outcomes:?}");
            }
        }
    }
}

//! A day of traffic for the way `window`: how many are bound, how many of them to a stranger, and how many fall back on
//! the code, with and without each guard, at three sizes of company.
//!
//! The guards are modelled here from the contract, so that each can be taken away; with all of them the same day is
//! played to the real registry too, and both must have bound the same people. What people do when they are asked is an
//! assumption, and stands in [`People`]; the table is only as good as that.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::report::{Breach, Failure};

mod real;

use real::Real;

const WINDOW_S: u64 = 300;
const EARLY_S: u64 = 60;
/// When the day begins, in Unix seconds.
const MIDNIGHT: u64 = 1_800_000_000;
/// Days of each company in a row.
const DAYS: u64 = 5;
/// How busy each hour of the day is.
const HOURS: [u32; 24] = [2, 1, 1, 1, 1, 1, 2, 4, 6, 9, 10, 9, 7, 7, 8, 9, 9, 8, 7, 8, 10, 10, 7, 4];

/// What people do: assumptions, in percent and seconds.
struct People {
    /// Who announces the chat does open it.
    opens: u32,
    /// After so long at most.
    opens_within_s: u64,
    /// Who opens it writes, too.
    writes: u32,
    /// Who is asked about the own account says yes.
    yes_to_own: u32,
    /// Who is asked about an account of somebody else says yes all the same.
    yes_to_other: u32,
    /// A tap comes after so long at most.
    taps_within_s: u64,
}

const PEOPLE: People =
    People { opens: 75, opens_within_s: 60, writes: 60, yes_to_own: 85, yes_to_other: 10, taps_within_s: 30 };

/// A company: who announces the chat a day, and how many unbound others come into it.
const COMPANIES: [(&str, u64, u64); 3] = [("small", 40, 60), ("middle", 600, 900), ("large", 8_000, 12_000)];

/// What keeps strangers from being bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Guards {
    /// Only where one intent alone is open.
    one_intent: bool,
    /// Only where one unbound customer alone came.
    one_customer: bool,
    /// Only after a question that names the account.
    question: bool,
}

const ALL: Guards = Guards { one_intent: true, one_customer: true, question: true };
const VARIANTS: [(&str, Guards); 6] = [
    ("none", Guards { one_intent: false, one_customer: false, question: false }),
    ("one intent", Guards { one_intent: true, one_customer: false, question: false }),
    ("one customer", Guards { one_intent: false, one_customer: true, question: false }),
    ("question", Guards { one_intent: false, one_customer: false, question: true }),
    ("all but the question", Guards { one_intent: true, one_customer: true, question: false }),
    ("all", ALL),
];

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A user announces the chat.
    Announces(u64),
    /// A customer enters or writes; users and customers of one number are the same person.
    Arrives(u64),
}

/// A day's events, in order.
fn day(rng: &mut StdRng, intents: u64, others: u64) -> Vec<(u64, Event)> {
    let mut events = Vec::new();
    for person in 0..intents {
        let at = moment(rng);
        events.push((at, Event::Announces(person)));
        if !percent(rng, PEOPLE.opens) {
            continue;
        }
        let opens = at + rng.random_range(1..=PEOPLE.opens_within_s);
        events.push((opens, Event::Arrives(person)));
        if percent(rng, PEOPLE.writes) {
            events.push((opens + rng.random_range(2..90), Event::Arrives(person)));
        }
    }
    for other in 0..others {
        let person = intents + other;
        let at = moment(rng);
        for message in 0..rng.random_range(1..5_u64) {
            events.push((at + message * rng.random_range(3..60), Event::Arrives(person)));
        }
    }
    events.sort();
    // One thing a second, so that both who decide see the same order.
    let mut last = 0;
    for (at, _) in &mut events {
        *at = (*at).max(last + 1);
        last = *at;
    }
    events
}

fn moment(rng: &mut StdRng) -> u64 {
    let total: u32 = HOURS.iter().sum();
    let mut place = rng.random_range(0..total);
    for (hour, weight) in HOURS.iter().enumerate() {
        if place < *weight {
            return MIDNIGHT + hour as u64 * 3600 + rng.random_range(0..3600);
        }
        place -= weight;
    }
    MIDNIGHT
}

fn percent(rng: &mut StdRng, of_hundred: u32) -> bool {
    rng.random_range(0..100) < of_hundred
}

/// Whether a person says yes when asked about this user's account, and after how many seconds; the same for whoever
/// decides.
fn answer(seed: u64, person: u64, user: u64) -> Option<u64> {
    let mut rng =
        StdRng::seed_from_u64(seed ^ person.wrapping_mul(0x9E37_79B9) ^ user.wrapping_mul(0x85EB_CA6B));
    let yes = if person == user { PEOPLE.yes_to_own } else { PEOPLE.yes_to_other };
    percent(&mut rng, yes).then(|| rng.random_range(1..=PEOPLE.taps_within_s))
}

/// What became of a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    intents: u64,
    entries: u64,
    /// Who is bound to whose chat.
    bound: BTreeMap<u64, u64>,
}

impl Outcome {
    fn wrong(&self) -> usize {
        self.bound.iter().filter(|(user, customer)| user != customer).count()
    }
}

/// The model: the contract's 7.6 on plain lists, each guard to be taken away.
struct Model {
    guards: Guards,
    /// User, opened at, ended at.
    intents: Vec<(u64, u64, u64)>,
    arrivals: Vec<(u64, u64)>,
    /// Who is asked about whom: tap at, person, user, opened at.
    taps: Vec<(u64, u64, u64, u64)>,
    asked: Vec<(u64, u64, u64)>,
    outcome: Outcome,
}

impl Model {
    fn new(guards: Guards) -> Self {
        Self {
            guards,
            intents: Vec::new(),
            arrivals: Vec::new(),
            taps: Vec::new(),
            asked: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    fn is_bound(&self, customer: u64) -> bool {
        self.outcome.bound.values().any(|bound| *bound == customer)
    }

    fn stands(&self, user: u64, opened: u64, customer: u64, at: u64) -> bool {
        let Some((_, _, ends)) = self.intents.iter().find(|(u, o, _)| *u == user && *o == opened) else {
            return false;
        };
        let from = opened.saturating_sub(EARLY_S);
        let alone = !self
            .intents
            .iter()
            .any(|(other, o, e)| *other != user && o.saturating_sub(EARLY_S) <= at && from < *e);
        let only = !self.arrivals.iter().any(|(other, t)| *other != customer && from <= *t && t < ends);
        at < *ends && (alone || !self.guards.one_intent) && (only || !self.guards.one_customer)
    }

    fn tap(&mut self, at: u64, person: u64, user: u64, opened: u64) {
        let is_free = !self.outcome.bound.contains_key(&user) && !self.is_bound(person);
        if is_free && self.stands(user, opened, person, at) {
            self.bind(at, user, person);
        }
    }

    fn bind(&mut self, at: u64, user: u64, person: u64) {
        self.outcome.bound.insert(user, person);
        for (u, _, ends) in &mut self.intents {
            if *u == user {
                *ends = (*ends).min(at);
            }
        }
    }

    fn happens(&mut self, seed: u64, at: u64, event: &Event) {
        match *event {
            Event::Announces(user) => {
                self.outcome.intents += 1;
                if !self.outcome.bound.contains_key(&user) {
                    self.intents.push((user, at, at + WINDOW_S));
                }
            }
            Event::Arrives(person) if !self.is_bound(person) => {
                self.outcome.entries += 1;
                self.arrivals.push((person, at));
                let open: Vec<_> = self
                    .intents
                    .iter()
                    .filter(|(_, o, e)| o.saturating_sub(EARLY_S) <= at && at < *e)
                    .copied()
                    .collect();
                // Without the guard the newest intent is taken, as a window alone would.
                let Some((user, opened, _)) = open.last().copied() else { return };
                let already = self.asked.contains(&(person, user, opened));
                if already || !self.stands(user, opened, person, at) {
                    return;
                }
                if self.guards.question {
                    self.asked.push((person, user, opened));
                    if let Some(after) = answer(seed, person, user) {
                        self.taps.push((at + after, person, user, opened));
                        self.taps.sort_unstable();
                    }
                } else if !self.outcome.bound.contains_key(&user) {
                    self.bind(at, user, person);
                }
            }
            Event::Arrives(_) => {}
        }
        // What can't matter any more only costs time.
        self.intents.retain(|(_, _, ends)| at < ends + 2 * WINDOW_S);
        self.arrivals.retain(|(_, t)| at < t + 3 * WINDOW_S);
    }

    /// The taps that are due before or at this moment, in order.
    fn due(&mut self, at: u64) -> Vec<(u64, u64, u64, u64)> {
        let due = self.taps.iter().take_while(|tap| tap.0 <= at).count();
        self.taps.drain(..due).collect()
    }

    fn play(mut self, seed: u64, events: &[(u64, Event)]) -> Outcome {
        for (at, event) in events {
            for (at, person, user, opened) in self.due(*at) {
                self.tap(at, person, user, opened);
            }
            self.happens(seed, *at, event);
        }
        for (at, person, user, opened) in self.due(u64::MAX) {
            self.tap(at, person, user, opened);
        }
        self.outcome
    }
}

/// Plays the same day to the model and to the registry; both must ask and bind the same.
async fn side_by_side(seed: u64, events: &[(u64, Event)]) -> Result<usize, Failure> {
    let (mut model, mut real) = (Model::new(ALL), Real::start().await?);
    for (at, event) in events {
        for (at, person, user, opened) in model.due(*at) {
            real.taps(at, person).await?;
            model.tap(at, person, user, opened);
        }
        let (asked, questions) = (model.asked.len(), real.wecom.said().len());
        model.happens(seed, *at, event);
        real.happens(*at, event).await?;
        let is_asked = real.wecom.said().len() > questions;
        if is_asked != (model.asked.len() > asked) {
            let what = format!("at {at} {event:?}: the registry asks: {is_asked}, the model otherwise");
            return Err(Failure::new(Breach::Doubled, what));
        }
    }
    for (at, person, user, opened) in model.due(u64::MAX) {
        real.taps(at, person).await?;
        model.tap(at, person, user, opened);
    }
    let bound = real.bound().await?;
    if bound != model.outcome.bound {
        let what = format!("the registry bound {bound:?}\nthe model {:?}", model.outcome.bound);
        return Err(Failure::new(Breach::Wrong, what));
    }
    real.system.stop().await;
    Ok(bound.len())
}

/// Plays the days of all companies and prints the table. Whether the registry did as the model.
pub(crate) async fn run(seed: u64) -> bool {
    println!(
        "{:<8} {:<21} {:>8} {:>8} {:>8} {:>14} {:>12}",
        "company", "guards", "intents", "entries", "bound", "bound wrongly", "fallen back"
    );
    for (company, intents, others) in COMPANIES {
        for (variant, guards) in VARIANTS {
            let (mut total, mut wrong, mut bound) = (Outcome::default(), 0, 0);
            for number in 0..DAYS {
                let seed = seed.wrapping_mul(1_000).wrapping_add(number);
                let events = day(&mut StdRng::seed_from_u64(seed), intents, others);
                let outcome = Model::new(guards).play(seed, &events);
                total.intents += outcome.intents;
                total.entries += outcome.entries;
                bound += outcome.bound.len();
                wrong += outcome.wrong();
            }
            let back = usize::try_from(total.intents).unwrap_or(0).saturating_sub(bound);
            println!(
                "{company:<8} {variant:<21} {:>8} {:>8} {bound:>8} {wrong:>14} {back:>12}",
                total.intents, total.entries
            );
        }
    }
    for (company, intents, others) in &COMPANIES[..2] {
        let events = day(&mut StdRng::seed_from_u64(seed.wrapping_mul(1_000)), *intents, *others);
        match side_by_side(seed.wrapping_mul(1_000), &events).await {
            Ok(bound) => println!("{company}: the registry bound the same {bound} of a day as the model"),
            Err(failure) => {
                println!("{company}: {failure}");
                return false;
            }
        }
    }
    true
}

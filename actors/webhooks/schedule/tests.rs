//! The schedule by itself: a receiver in any weather, a clock that is moved by hand, restarts at any moment.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    ids::{ExternalUserId, OpenId},
    messages::{WebhookBinding, WebhookKind},
    testing::SeededEntropy,
    webhooks::gate::{PATIENCE, REFUSING_MAX, WAIT_MAX},
};

const BEGIN_S: u64 = 1_800_000_000;
const HOUR_S: u64 = 3600;

/// An event of this user and this customer.
pub(in crate::webhooks) fn event(seq: u64, user: &str, customer: &str, queued_at: u64) -> WebhookEntry {
    WebhookEntry {
        seq,
        id: format!("evt_{seq}"),
        queued_at: Timestamp(queued_at),
        happened_at: Timestamp(queued_at),
        kind: WebhookKind::Created,
        binding: WebhookBinding {
            openid: OpenId::new(user),
            customer: ExternalUserId::new(customer),
            unionid: None,
            account: None,
            method: Some("code"),
            bound_at: Some(Timestamp(queued_at)),
            nickname: None,
            label: None,
        },
    }
}

fn down() -> Undelivered {
    Undelivered::Down { why: "test".to_owned(), wait: None }
}

fn failing() -> Undelivered {
    Undelivered::Failing("test".to_owned())
}

fn refused() -> Undelivered {
    Undelivered::Refused("test".to_owned())
}

/// What the receiver does with all events, until it does something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Works,
    /// Nobody listens.
    Down,
    /// Leaves every call open until time is up.
    Hangs,
    /// An error after it has taken the event.
    FailsAfterTaking,
    /// Wants to be left alone for a minute.
    Throttles,
    /// Nothing is good enough.
    RefusesAll,
}

#[derive(Clone, Debug)]
enum Step {
    Event {
        user: u8,
        customer: u8,
    },
    Mood(Mood),
    /// Of this user nothing is taken from now on, or again.
    Refuses(u8),
    Breaks(u8),
    Takes(u8),
    Pass {
        seconds: u64,
    },
    Restart {
        took: bool,
    },
}

/// The registry's list, the receiver, and a schedule between them, moved from one moment to the next at which something
/// happens.
struct World {
    base: Instant,
    passed_ms: u64,
    entropy: SeededEntropy,
    schedule: Schedule,
    /// What the registry holds.
    listed: BTreeMap<u64, WebhookEntry>,
    loaded_up_to: u64,
    next_seq: u64,
    mood: Mood,
    refused: BTreeSet<String>,
    breaking: BTreeSet<String>,
    /// When each attempt ends.
    sending: BTreeMap<u64, u64>,
    arrived: Vec<WebhookEntry>,
    /// With their ages in seconds.
    dead: Vec<(WebhookEntry, u64)>,
    calls: u64,
    restarted_at_ms: u64,
    most_sending: usize,
}

impl World {
    fn new() -> Self {
        Self {
            base: Instant::now(),
            passed_ms: 0,
            entropy: SeededEntropy::new(1),
            schedule: Schedule::default(),
            listed: BTreeMap::new(),
            loaded_up_to: 0,
            next_seq: 0,
            mood: Mood::Works,
            refused: BTreeSet::new(),
            breaking: BTreeSet::new(),
            sending: BTreeMap::new(),
            arrived: Vec::new(),
            dead: Vec::new(),
            calls: 0,
            restarted_at_ms: 0,
            most_sending: 0,
        }
    }

    fn at(&self) -> Moment {
        Moment { now: self.base + Duration::from_millis(self.passed_ms), wall: Timestamp(self.wall_s()) }
    }

    fn wall_s(&self) -> u64 {
        BEGIN_S + self.passed_ms / 1000
    }

    fn happens(&mut self, user: &str, customer: &str) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.listed.insert(seq, event(seq, user, customer, self.wall_s()));
    }

    /// All that can be done at this moment.
    fn work(&mut self) {
        for (seq, fate) in self.schedule.expire(self.at()) {
            self.settled(seq, &fate);
        }
        let new: Vec<_> = self.listed.range(self.loaded_up_to..).map(|(_, event)| event.clone()).collect();
        for event in new {
            self.loaded_up_to = event.seq + 1;
            self.schedule.take(&event);
        }
        while let Some(seq) = self.schedule.next(self.at()) {
            self.starts(seq);
        }
    }

    fn starts(&mut self, seq: u64) {
        self.calls += 1;
        let event = self.listed[&seq].clone();
        let shares = |other: &WebhookEntry| {
            other.binding.openid == event.binding.openid || other.binding.customer == event.binding.customer
        };
        for other in self.sending.keys().map(|other| &self.listed[other]) {
            assert!(!shares(other), "{} and {} at once", other.id, event.id);
        }
        for earlier in self.listed.range(..seq).map(|(_, earlier)| earlier) {
            assert!(!shares(earlier), "{} before {}", event.id, earlier.id);
        }
        let takes_ms = match self.mood {
            Mood::Hangs => 15_000,
            Mood::Down => 1,
            _ => 20 + seq % 7 * 30,
        };
        self.sending.insert(seq, self.passed_ms + takes_ms);
        self.most_sending = self.most_sending.max(self.sending.len());
        assert!(self.sending.len() <= SENDS_MAX);
    }

    fn ends(&mut self, seq: u64) {
        self.sending.remove(&seq);
        let event = self.listed[&seq].clone();
        let user = event.binding.openid.as_str().to_owned();
        let end = match self.mood {
            Mood::Works | Mood::FailsAfterTaking if self.refused.contains(&user) => {
                WebhookEnd::Failed(refused())
            }
            Mood::Works if self.breaking.contains(&user) => WebhookEnd::Failed(failing()),
            Mood::Works => WebhookEnd::Delivered,
            Mood::Down => WebhookEnd::Failed(down()),
            Mood::Hangs | Mood::FailsAfterTaking => WebhookEnd::Failed(failing()),
            Mood::Throttles => WebhookEnd::Failed(Undelivered::Down {
                why: "429".to_owned(),
                wait: Some(Duration::from_mins(1)),
            }),
            Mood::RefusesAll => WebhookEnd::Failed(refused()),
        };
        if end == WebhookEnd::Delivered
            || self.mood == Mood::FailsAfterTaking && end == WebhookEnd::Failed(failing())
        {
            self.arrives(event);
        }
        let (fate, _) = self.schedule.ended(seq, &end, self.at(), &self.entropy);
        assert_eq!(end == WebhookEnd::Delivered, fate == Some(WebhookFate::Delivered));
        if let Some(fate) = fate {
            self.settled(seq, &fate);
        }
    }

    fn arrives(&mut self, event: WebhookEntry) {
        if self.arrived.iter().any(|known| known.id == event.id) {
            return;
        }
        let later = self.arrived.iter().find(|known| {
            known.seq > event.seq
                && (known.binding.openid == event.binding.openid
                    || known.binding.customer == event.binding.customer)
        });
        assert!(later.is_none(), "{} came after {later:?}", event.id);
        self.arrived.push(event);
    }

    fn settled(&mut self, seq: u64, fate: &WebhookFate) {
        let event = self.listed.remove(&seq).expect("settled once");
        let age_s = self.wall_s() - event.queued_at.0;
        if let WebhookFate::GivenUp { .. } = fate {
            self.dead.push((event, age_s));
        }
    }

    /// Time passes, from one thing that happens to the next.
    fn pass(&mut self, seconds: u64) {
        let end_ms = self.passed_ms + seconds * 1000;
        self.work();
        loop {
            let wakes_at = self.schedule.wakes_at(self.at());
            let wakes_at_ms = wakes_at.map(|at| u64::try_from((at - self.base).as_millis()).unwrap() + 1);
            let next = self.sending.values().copied().chain(wakes_at_ms).min().filter(|next| *next <= end_ms);
            let Some(next) = next else { break };
            self.passed_ms = self.passed_ms.max(next);
            let over: Vec<u64> =
                self.sending.iter().filter(|(_, end)| **end <= self.passed_ms).map(|(seq, _)| *seq).collect();
            for seq in over {
                self.ends(seq);
            }
            self.work();
            self.nobody_waits_for_ever();
        }
        self.passed_ms = end_ms;
        self.work();
    }

    /// Three days, the hour of patience or of the longest back-off, and what an attempt takes.
    fn nobody_waits_for_ever(&self) {
        if self.passed_ms - self.restarted_at_ms < 3 * HOUR_S * 1000 {
            return;
        }
        if let Some((_, oldest)) = self.listed.first_key_value() {
            let age_s = self.wall_s() - oldest.queued_at.0;
            assert!(age_s < GIVE_UP_AFTER_S + 2 * HOUR_S, "{} is {age_s} s old", oldest.id);
        }
    }

    /// The process dies: what was on its way has arrived or not, and only the list is left.
    fn restart(&mut self, took: bool) {
        let sending = std::mem::take(&mut self.sending);
        let takes = took && self.mood == Mood::Works;
        for seq in sending.into_keys().filter(|_| takes) {
            let event = self.listed[&seq].clone();
            let user = event.binding.openid.as_str();
            if !self.refused.contains(user) && !self.breaking.contains(user) {
                self.arrives(event);
            }
        }
        self.schedule = Schedule::default();
        self.loaded_up_to = 0;
        self.restarted_at_ms = self.passed_ms;
        self.work();
    }

    /// Nothing of ours runs for so long.
    fn is_off(&mut self, seconds: u64) {
        self.passed_ms += seconds * 1000;
        self.restart(false);
    }

    fn step(&mut self, step: &Step) {
        let user = |user: u8| format!("o{user}");
        match *step {
            Step::Event { user: u, customer } => {
                self.happens(&user(u), &format!("wm{customer}"));
                self.work();
            }
            Step::Mood(mood) => self.mood = mood,
            Step::Refuses(u) => drop(self.refused.insert(user(u))),
            Step::Breaks(u) => drop(self.breaking.insert(user(u))),
            Step::Takes(u) => {
                self.refused.remove(&user(u));
                self.breaking.remove(&user(u));
            }
            Step::Pass { seconds } => self.pass(seconds),
            Step::Restart { took } => self.restart(took),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let mood = prop_oneof![
        4 => Just(Mood::Works),
        2 => Just(Mood::Down),
        1 => Just(Mood::Hangs),
        1 => Just(Mood::FailsAfterTaking),
        1 => Just(Mood::Throttles),
        1 => Just(Mood::RefusesAll),
    ];
    prop_oneof![
        12 => (0..6_u8, 0..6_u8).prop_map(|(user, customer)| Step::Event { user, customer }),
        3 => mood.prop_map(Step::Mood),
        2 => (0..6_u8).prop_map(Step::Refuses),
        1 => (0..6_u8).prop_map(Step::Breaks),
        3 => (0..6_u8).prop_map(Step::Takes),
        4 => (0..10_u64).prop_map(|seconds| Step::Pass { seconds }),
        3 => (0..8 * HOUR_S).prop_map(|seconds| Step::Pass { seconds }),
        1 => (HOUR_S..40 * HOUR_S).prop_map(|seconds| Step::Pass { seconds }),
        2 => any::<bool>().prop_map(|took| Step::Restart { took }),
    ]
}

proptest! {
    #[test]
    fn every_event_arrives_in_order_or_is_a_dead_letter_after_three_days(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.mood = Mood::Works;
        world.refused.clear();
        world.breaking.clear();
        // The longest back-off, and then all that follows.
        world.pass(2 * HOUR_S);
        prop_assert!(world.listed.is_empty(), "{:?} still wait", world.listed);
        let arrived: BTreeSet<&str> = world.arrived.iter().map(|event| event.id.as_str()).collect();
        for seq in 0..world.next_seq {
            let id = format!("evt_{seq}");
            let is_dead = world.dead.iter().any(|(event, _)| event.id == id);
            prop_assert!(is_dead || arrived.contains(id.as_str()), "{id} is lost");
        }
        for (event, age_s) in &world.dead {
            prop_assert!(*age_s >= GIVE_UP_AFTER_S, "{} was given up after {age_s} s", event.id);
        }
    }
}

#[test]
fn a_receiver_that_is_down_for_an_hour_is_left_alone_and_gets_everything_when_it_is_back() {
    for mood in [Mood::Down, Mood::Hangs, Mood::FailsAfterTaking, Mood::RefusesAll] {
        let mut world = World::new();
        world.mood = mood;
        for minute in 0..60_u64 {
            for user in 0..40 {
                world.happens(&format!("o{user}"), &format!("wm{}", (user + minute) % 40));
            }
            world.pass(60);
        }
        // What was under way when it went, and a probe every one to two minutes.
        assert!(world.calls < 110, "{mood:?}: {} calls", world.calls);
        assert!(world.calls > 30, "{mood:?}: {} calls", world.calls);
        world.mood = Mood::Works;
        world.pass(120 + 60);
        assert_eq!((world.listed.len(), world.arrived.len(), world.dead.len()), (0, 2400, 0), "{mood:?}");
        assert_eq!(world.most_sending, SENDS_MAX);
    }
}

#[test]
fn what_a_receiver_cannot_digest_delays_nobody_else() {
    let mut world = World::new();
    world.refused.insert("o0".to_owned());
    world.breaking.insert("o1".to_owned());
    for n in 0..200 {
        world.happens(&format!("o{}", n % 20), &format!("wm{}", n % 20));
        world.pass(10);
    }
    let waiting: BTreeSet<&str> = world.listed.values().map(|event| event.binding.openid.as_str()).collect();
    assert_eq!(waiting, BTreeSet::from(["o0", "o1"]));
    assert_eq!(world.arrived.len(), 180);
    // Nothing but those two was tried twice: the one less and less often, the other every one to two minutes.
    assert!(world.calls < 180 + 15 + 40, "{}", world.calls);
    world.refused.clear();
    world.breaking.clear();
    world.pass(HOUR_S);
    assert_eq!(world.arrived.len(), 200);
}

#[test]
fn one_event_that_breaks_the_receiver_never_stops_the_rest() {
    let mut world = World::new();
    world.breaking.insert("o0".to_owned());
    world.happens("o0", "wm0");
    world.pass(HOUR_S);
    for n in 1..100 {
        world.happens(&format!("o{n}"), &format!("wm{n}"));
    }
    world.pass(5);
    assert_eq!((world.arrived.len(), world.listed.len()), (99, 1));
}

#[test]
fn a_receiver_that_asks_for_time_gets_it_within_reason() {
    let entropy = SeededEntropy::new(1);
    for (wanted, gets) in [(Duration::from_mins(10), Duration::from_mins(10)), (Duration::MAX, WAIT_MAX)] {
        let mut schedule = Schedule::default();
        let base = Instant::now();
        let at = |after| Moment { now: base + after, wall: Timestamp(BEGIN_S) };
        schedule.take(&event(1, "o1", "wm1", BEGIN_S));
        assert_eq!(schedule.next(at(Duration::ZERO)), Some(1));
        let asks = WebhookEnd::Failed(Undelivered::Down { why: "429".to_owned(), wait: Some(wanted) });
        let (fate, turn) = schedule.ended(1, &asks, at(Duration::ZERO), &entropy);
        assert_eq!((fate, turn), (None, Some(Turn::Closed)));
        schedule.take(&event(2, "o2", "wm2", BEGIN_S));
        assert_eq!(schedule.next(at(gets.saturating_sub(Duration::from_secs(1)))), None);
        assert_eq!(schedule.wakes_at(at(Duration::ZERO)), Some(base + gets));
        assert_eq!(schedule.next(at(gets)), Some(2), "another one than the last time");
        assert_eq!(schedule.next(at(gets)), None, "one at a time");
        let (_, turn) = schedule.ended(2, &WebhookEnd::Delivered, at(gets), &entropy);
        assert_eq!(turn, Some(Turn::Opened));
        assert_eq!(schedule.next(at(gets)), Some(1), "at once");
    }
}

#[test]
fn a_probe_may_ask_for_time_too() {
    let entropy = SeededEntropy::new(1);
    let mut schedule = Schedule::default();
    let base = Instant::now();
    let at = |after_s| Moment { now: base + Duration::from_secs(after_s), wall: Timestamp(BEGIN_S) };
    schedule.take(&event(1, "o1", "wm1", BEGIN_S));
    assert_eq!(schedule.next(at(0)), Some(1));
    let _ = schedule.ended(1, &WebhookEnd::Failed(down()), at(0), &entropy);
    assert_eq!(schedule.next(at(10)), Some(1));
    let asks = Undelivered::Down { why: "429".to_owned(), wait: Some(Duration::from_mins(10)) };
    let _ = schedule.ended(1, &WebhookEnd::Failed(asks), at(10), &entropy);
    assert_eq!((schedule.next(at(609)), schedule.next(at(610))), (None, Some(1)));
}

#[test]
fn once_a_receiver_is_back_nobody_waits_for_the_next_try_of_before() {
    for mood in [Mood::RefusesAll, Mood::FailsAfterTaking, Mood::Down] {
        let mut world = World::new();
        world.mood = mood;
        for n in 0..25 {
            world.happens(&format!("o{n}"), &format!("wm{n}"));
        }
        // Each was a probe so often that its own next try would be far away.
        world.pass(24 * HOUR_S);
        world.mood = Mood::Works;
        while world.listed.len() == 25 {
            world.pass(1);
        }
        world.pass(5);
        assert_eq!(world.listed.len(), 0, "{mood:?}");
    }
}

#[test]
fn what_grew_old_while_we_were_away_gets_a_try_unless_nobody_is_there_for_an_hour() {
    let mut world = World::new();
    for n in 0..50 {
        world.happens(&format!("o{n}"), &format!("wm{n}"));
    }
    world.is_off(4 * 24 * HOUR_S);
    world.pass(10);
    assert_eq!((world.arrived.len(), world.dead.len()), (50, 0));

    let mut world = World::new();
    for n in 0..5_000 {
        world.happens(&format!("o{n}"), &format!("wm{n}"));
    }
    world.mood = Mood::Down;
    world.is_off(4 * 24 * HOUR_S);
    world.pass(PATIENCE.as_secs() - 1);
    // Those that were tried, and no others.
    assert!((1..100).contains(&world.dead.len()), "{}", world.dead.len());
    world.pass(2);
    assert_eq!(world.dead.len(), 5_000);
}

#[test]
fn where_there_is_no_receiver_what_waits_grows_old() {
    let mut world = World::new();
    world.schedule = Schedule::without_receiver();
    world.happens("o1", "wm1");
    world.pass(GIVE_UP_AFTER_S - 1);
    assert_eq!((world.calls, world.dead.len()), (0, 0));
    world.pass(1);
    assert_eq!((world.calls, world.dead.len()), (0, 1));
}

#[test]
fn a_receiver_that_refuses_everyone_is_not_asked_about_each() {
    let mut world = World::new();
    world.mood = Mood::RefusesAll;
    for n in 0..5_000 {
        world.happens(&format!("o{n}"), &format!("wm{n}"));
    }
    world.pass(60);
    assert!(world.calls < u64::from(REFUSING_MAX) + 20, "{}", world.calls);
    world.mood = Mood::Works;
    world.pass(HOUR_S);
    assert_eq!(world.arrived.len(), 5_000);
}

#[test]
fn no_more_is_held_than_there_is_room_for() {
    let mut schedule = Schedule::default();
    for seq in 0..HELD_MAX as u64 {
        assert!(schedule.has_room_for(1));
        schedule.take(&event(seq, &format!("o{seq}"), &format!("wm{seq}"), BEGIN_S));
    }
    assert!(!schedule.has_room_for(1));
}

#[test]
fn what_the_registry_no_longer_has_makes_room_for_the_next() {
    let entropy = SeededEntropy::new(1);
    let mut schedule = Schedule::default();
    let at = Moment { now: Instant::now(), wall: Timestamp(BEGIN_S) };
    schedule.take(&event(1, "o1", "wm1", BEGIN_S));
    schedule.take(&event(2, "o1", "wm2", BEGIN_S));
    assert_eq!((schedule.next(at), schedule.next(at)), (Some(1), None));
    assert_eq!(schedule.ended(1, &WebhookEnd::Missing, at, &entropy), (None, None));
    assert_eq!(schedule.next(at), Some(2));
    assert_eq!(schedule.ended(2, &WebhookEnd::Unread, at, &entropy), (None, None));
    assert_eq!(schedule.next(at), None);
    let later = Moment { now: at.now + UNREAD_WAIT, ..at };
    assert_eq!(schedule.next(later), Some(2));
}

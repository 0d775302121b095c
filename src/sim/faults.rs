//! What goes wrong on purpose: faults scripted call by call, and a plan that draws them from a seed.
//!
//! Deterministic is what is drawn: the n-th call of an interface meets the same fault under the same seed. How the
//! calls of different interfaces fall between each other is the scheduler's.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use rand::{RngExt, rngs::StdRng};

use super::{record::Api, seed};

/// What a caller meets instead of an answer. Unless it is [`Fault::AfterEffect`], the call has had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An answer with this `errcode`. 42001 and 40014 also end the token that was used.
    Errcode(i64),
    /// An HTTP status with a page of text.
    Http(u16),
    /// Silence, until the caller leaves.
    Timeout,
    /// Silence for this long, then the connection is closed.
    Stall(Duration),
    /// The connection is closed.
    Dropped,
    /// Status 200 with JSON that breaks off.
    BrokenJson,
    /// Status 200 with a page of HTML, as a captive proxy sends it.
    Html,
    /// The call is carried out, and then that happens to its answer.
    AfterEffect(Box<Fault>),
}

impl Fault {
    /// The same fault after the call has been carried out.
    #[must_use]
    pub fn after_effect(self) -> Self {
        Self::AfterEffect(Box::new(self))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errcode(code) => write!(f, "errcode {code}"),
            Self::Http(status) => write!(f, "HTTP {status}"),
            Self::Timeout => f.write_str("silence"),
            Self::Stall(time) => write!(f, "silence of {} ms", time.as_millis()),
            Self::Dropped => f.write_str("connection closed"),
            Self::BrokenJson => f.write_str("broken JSON"),
            Self::Html => f.write_str("HTML"),
            Self::AfterEffect(fault) => write!(f, "{fault} after the effect"),
        }
    }
}

/// Probabilities from 0 to 1, drawn from the seed. `Display` prints what is needed to repeat a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    /// Where the draws begin.
    pub seed: u64,
    /// A callback is sent twice.
    pub duplicate_callbacks: f64,
    /// A callback is sent late.
    pub delay_callbacks: f64,
    /// The longest such delay in real time, in milliseconds; 0 means 50.
    pub delay_callbacks_ms: u64,
    /// A callback waits until another one has overtaken it.
    pub reorder_callbacks: f64,
    /// A callback is lost.
    pub drop_callbacks: f64,
    /// A page is empty and says that there is more.
    pub empty_pages: f64,
    /// A page begins with messages that the page before already brought.
    pub repeated_pages: f64,
    /// `errcode` -1; half of the time after the call was carried out.
    pub minus_one: f64,
    /// HTTP 502; half of the time after the call was carried out.
    pub http_5xx: f64,
    /// Silence, then a closed connection; half of the time after the call was carried out.
    pub time_outs: f64,
    /// How long that silence lasts in real time, in milliseconds; 0 means 50.
    pub time_outs_ms: u64,
    /// Status 200 with JSON that breaks off, after the call was carried out.
    pub broken_json: f64,
    /// Status 200 with HTML; the call was not carried out.
    pub html: f64,
    /// The access token ends early: 42001 or 40014.
    pub token_expiry: f64,
    /// 45009 or 45033; WeChat's 45011.
    pub throttling: f64,
    /// The interfaces that meet these faults; empty = all.
    pub only: Vec<Api>,
}

impl FaultPlan {
    /// A bit of everything, for long runs.
    #[must_use]
    pub fn weather(seed: u64) -> Self {
        Self {
            seed,
            duplicate_callbacks: 0.1,
            delay_callbacks: 0.1,
            reorder_callbacks: 0.1,
            drop_callbacks: 0.1,
            empty_pages: 0.1,
            repeated_pages: 0.1,
            minus_one: 0.03,
            http_5xx: 0.03,
            time_outs: 0.02,
            broken_json: 0.02,
            html: 0.02,
            token_expiry: 0.02,
            throttling: 0.01,
            ..Self::default()
        }
    }

    fn chances(&self) -> [(&'static str, f64); 13] {
        [
            ("duplicate_callbacks", self.duplicate_callbacks),
            ("delay_callbacks", self.delay_callbacks),
            ("reorder_callbacks", self.reorder_callbacks),
            ("drop_callbacks", self.drop_callbacks),
            ("empty_pages", self.empty_pages),
            ("repeated_pages", self.repeated_pages),
            ("minus_one", self.minus_one),
            ("http_5xx", self.http_5xx),
            ("time_outs", self.time_outs),
            ("broken_json", self.broken_json),
            ("html", self.html),
            ("token_expiry", self.token_expiry),
            ("throttling", self.throttling),
        ]
    }

    fn delay_max_ms(&self) -> u64 {
        if self.delay_callbacks_ms == 0 { 50 } else { self.delay_callbacks_ms }
    }

    fn stall(&self) -> Duration {
        Duration::from_millis(if self.time_outs_ms == 0 { 50 } else { self.time_outs_ms })
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault plan, seed {}:", self.seed)?;
        for (name, chance) in self.chances() {
            if chance > 0.0 {
                write!(f, " {name}={chance}")?;
            }
        }
        write!(f, " delay_callbacks_ms={} time_outs_ms={}", self.delay_max_ms(), self.stall().as_millis())?;
        if !self.only.is_empty() {
            write!(f, " only={:?}", self.only)?;
        }
        Ok(())
    }
}

/// What happens to a callback on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CallbackFate {
    pub(super) dropped: bool,
    pub(super) duplicated: bool,
    pub(super) overtaken: bool,
    pub(super) delay_ms: u64,
}

/// The faults in force, scripted ones first.
#[derive(Default)]
pub(super) struct Faults {
    plan: Option<FaultPlan>,
    children: BTreeMap<(&'static str, Option<Api>), StdRng>,
    scripted: BTreeMap<Api, VecDeque<Fault>>,
}

impl Faults {
    pub(super) fn set_plan(&mut self, plan: Option<FaultPlan>) {
        self.plan = plan;
        self.children.clear();
    }

    pub(super) fn script(&mut self, api: Api, fault: &Fault, times: usize) {
        self.scripted.entry(api).or_default().extend(std::iter::repeat_n(fault.clone(), times));
    }

    /// Forgets what was scripted and not met yet.
    pub(super) fn unscript(&mut self) {
        self.scripted.clear();
    }

    /// What the next call of this interface meets.
    pub(super) fn next(&mut self, api: Api) -> Option<Fault> {
        if let Some(fault) = self.scripted.get_mut(&api).and_then(VecDeque::pop_front) {
            return Some(fault);
        }
        let plan = self.plan.clone()?;
        if !plan.only.is_empty() && !plan.only.contains(&api) {
            return None;
        }
        // Every purpose is drawn at every call, so that a change of one probability leaves the others' draws alone.
        let silence = self.drawn(&plan, "time_outs", api, plan.time_outs);
        let bad_gateway = self.drawn(&plan, "http_5xx", api, plan.http_5xx);
        let busy = self.drawn(&plan, "minus_one", api, plan.minus_one);
        let broken = self.drawn(&plan, "broken_json", api, plan.broken_json);
        let html = self.drawn(&plan, "html", api, plan.html);
        let expired = self.drawn(&plan, "token_expiry", api, plan.token_expiry);
        let throttled = self.drawn(&plan, "throttling", api, plan.throttling);
        let carried_out = self.drawn(&plan, "carried_out", api, 0.5);
        let variant = self.drawn(&plan, "variant", api, 0.5);
        let fault = if silence {
            Fault::Stall(plan.stall())
        } else if bad_gateway {
            Fault::Http(502)
        } else if busy {
            Fault::Errcode(-1)
        } else if broken {
            return Some(Fault::BrokenJson.after_effect());
        } else if html {
            return Some(Fault::Html);
        } else if expired && !api.is_wechat() && api != Api::GetToken {
            return Some(Fault::Errcode(if variant { 42001 } else { 40014 }));
        } else if throttled {
            return Some(Fault::Errcode(match (api.is_wechat(), variant) {
                (true, _) => 45011,
                (false, true) => 45033,
                (false, false) => 45009,
            }));
        } else {
            return None;
        };
        Some(if carried_out { fault.after_effect() } else { fault })
    }

    /// Whether the next page is to be empty.
    pub(super) fn empties_page(&mut self) -> bool {
        self.plan.clone().is_some_and(|plan| self.drawn(&plan, "empty_pages", Api::SyncMsg, plan.empty_pages))
    }

    /// Whether the next page is to bring the one before again.
    pub(super) fn repeats_page(&mut self) -> bool {
        self.plan
            .clone()
            .is_some_and(|plan| self.drawn(&plan, "repeated_pages", Api::SyncMsg, plan.repeated_pages))
    }

    /// What happens to the next callback.
    pub(super) fn callback(&mut self) -> CallbackFate {
        let Some(plan) = self.plan.clone() else { return CallbackFate::default() };
        let mut draw = |purpose, chance| chance_of(self.child(plan.seed, purpose, None), chance);
        let dropped = draw("drop_callbacks", plan.drop_callbacks);
        let duplicated = draw("duplicate_callbacks", plan.duplicate_callbacks);
        let overtaken = draw("reorder_callbacks", plan.reorder_callbacks);
        let delayed = draw("delay_callbacks", plan.delay_callbacks);
        let delay_ms = self.child(plan.seed, "delay_ms", None).random_range(1..=plan.delay_max_ms());
        CallbackFate { dropped, duplicated, overtaken, delay_ms: if delayed { delay_ms } else { 0 } }
    }

    fn drawn(&mut self, plan: &FaultPlan, purpose: &'static str, api: Api, chance: f64) -> bool {
        chance_of(self.child(plan.seed, purpose, Some(api)), chance)
    }

    fn child(&mut self, seed: u64, purpose: &'static str, api: Option<Api>) -> &mut StdRng {
        self.children.entry((purpose, api)).or_insert_with(|| {
            let name = api.map_or("", Api::path);
            seed::child(seed, &format!("{purpose}{name}"))
        })
    }
}

fn chance_of(generator: &mut StdRng, chance: f64) -> bool {
    generator.random_bool(chance.clamp(0.0, 1.0))
}

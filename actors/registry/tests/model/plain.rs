//! The rules of binding once more, on plain maps and from the outside contract's section 5 alone.
//!
//! Deliberately not built on `rules.rs` or the records: a mistake made there must not be made here by itself. It
//! keeps whole histories where the product keeps counters, and knows texts only as lists of parts.

use std::collections::{BTreeMap, BTreeSet};

mod messages;

const MINUTE: u64 = 60;
pub(super) const DAY: u64 = 24 * 3600;
/// How long WeCom keeps messages.
pub(super) const KEPT: u64 = 3 * DAY;

/// What a sequence may bring about; a run that never sees one of these proves little.
pub(super) const THINGS: [&str; 20] = [
    "bound",
    "bound late",
    "bound by a revoked code",
    "replaced",
    "too old to replace",
    "conflict",
    "already bound",
    "sent too early",
    "dead code",
    "sent before undoing",
    "undone",
    "undone too early",
    "wrong",
    "wrong of before the store",
    "locked",
    "locked again",
    "locked for good",
    "ignored while locked",
    "muted",
    "repeated",
];

/// The operator's decisions that matter here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) replaces: bool,
    pub(super) code_ttl: u64,
    pub(super) codes: (usize, u64),
    pub(super) wrong: (u32, u64),
}

#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) text: String,
    pub(super) user: String,
    pub(super) issued: u64,
    pub(super) expires: u64,
    pub(super) revoked: Option<u64>,
    /// It has bound, or its user was bound or unbound since it was made.
    pub(super) dead: bool,
    conflicts: BTreeSet<String>,
}

impl Code {
    fn is_live(&self, now: u64) -> bool {
        !self.dead && self.revoked.is_none() && now < self.expires
    }

    fn ends(&self) -> u64 {
        self.revoked.map_or(self.expires, |revoked| revoked.min(self.expires))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) customer: String,
    pub(super) account: String,
    pub(super) bound_at: u64,
    pub(super) nickname: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Customer {
    /// The open window of wrong codes: when it began, and how many are in it.
    window: Option<(u64, u32)>,
    total: u32,
    locks: u32,
    last_wrong: u64,
    pub(super) locked_until: u64,
    pub(super) locked_for_good: bool,
    pub(super) undone: u64,
    /// When the answered messages were sent, all of them.
    answered: Vec<u64>,
}

/// What a customer writes.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// Numbers as they would be typed without spaces, each apart from the next, and so many other characters.
    Numbers(Vec<String>, usize),
    /// The word that undoes.
    Word,
    /// Nothing that a program should act on.
    Talk,
}

/// A message as it stands in an account's stream.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) account: String,
    pub(super) msgid: String,
    pub(super) customer: String,
    pub(super) sent: u64,
    pub(super) said: Said,
}

/// An audit record, as far as it is compared: type, user, customer.
pub(super) type Audit = (&'static str, Option<String>, Option<String>);

/// Which text for which message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) account: String,
    pub(super) msgid: String,
    pub(super) customer: String,
    pub(super) text: String,
}

/// What a user sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum View {
    Unbound,
    Pending(String, u64),
    Bound(Binding),
}

/// What asking for a code should bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Issue {
    Again(String),
    /// A new one, of this length or (where the border is a matter of a minute) one of these.
    New(Vec<usize>),
    AlreadyBound,
    TooMany(u64),
}

#[derive(Clone, Debug)]
pub(super) struct Plain {
    pub(super) settings: Settings,
    pub(super) created: u64,
    pub(super) codes: Vec<Code>,
    made: BTreeMap<String, Vec<u64>>,
    pub(super) bindings: BTreeMap<String, Binding>,
    pub(super) customers: BTreeMap<String, Customer>,
    decided: BTreeSet<(String, String)>,
    counted: Vec<u64>,
    pub(super) audit: Vec<Audit>,
    pub(super) answers: Vec<Answer>,
    pub(super) names_wanted: Vec<String>,
    /// How often each of [`THINGS`] has happened.
    pub(super) reached: BTreeMap<&'static str, u64>,
}

impl Plain {
    pub(super) fn new(settings: Settings, created: u64) -> Self {
        Self {
            settings,
            created,
            codes: Vec::new(),
            made: BTreeMap::new(),
            bindings: BTreeMap::new(),
            customers: BTreeMap::new(),
            decided: BTreeSet::new(),
            counted: Vec::new(),
            audit: Vec::new(),
            answers: Vec::new(),
            names_wanted: Vec::new(),
            reached: BTreeMap::new(),
        }
    }

    fn reach(&mut self, thing: &'static str) {
        *self.reached.entry(thing).or_default() += 1;
    }

    fn code(&self, text: &str) -> Option<usize> {
        self.codes.iter().rposition(|code| code.text == text)
    }

    pub(super) fn user_of(&self, customer: &str) -> Option<String> {
        self.bindings.iter().find(|(_, binding)| binding.customer == customer).map(|(user, _)| user.clone())
    }

    pub(super) fn live(&self, now: u64) -> usize {
        self.codes.iter().filter(|code| code.is_live(now)).count()
    }

    pub(super) fn view(&self, user: &str, now: u64) -> View {
        if let Some(binding) = self.bindings.get(user) {
            return View::Bound(binding.clone());
        }
        let live = self.codes.iter().find(|code| code.user == user && code.is_live(now));
        live.map_or(View::Unbound, |code| View::Pending(code.text.clone(), code.expires))
    }

    /// A store can't have been made in the future: then the clock was wrong.
    pub(super) fn doubt_the_birthday(&mut self, now: u64) {
        if self.created > now + 3600 {
            self.created = now;
        }
    }

    // ---- Section 3: codes -----------------------------------------------------------------------------------

    /// What this request should be answered with.
    pub(super) fn ask(&self, user: &str, renew: bool, now: u64) -> Issue {
        if self.bindings.contains_key(user) {
            return Issue::AlreadyBound;
        }
        let live = self.codes.iter().find(|code| code.user == user && code.is_live(now));
        if let Some(code) = live
            && !renew
            && code.issued <= now + MINUTE
            && (code.expires - now) * 2 > self.settings.code_ttl
        {
            return Issue::Again(code.text.clone());
        }
        let (count, window) = self.settings.codes;
        let made = self.made.get(user).into_iter().flatten().copied();
        let recent: Vec<u64> = made.filter(|at| at.abs_diff(now) < window).collect();
        if recent.len() >= count {
            let first = recent.iter().min().copied().unwrap_or(now);
            return Issue::TooMany((first + window).saturating_sub(now));
        }
        let others = self.live(now) - usize::from(live.is_some());
        Issue::New(self.lengths_of_new(others + 1, now))
    }

    /// 5.7. The window of a day is kept by the minute, so at its border either is right.
    fn lengths_of_new(&self, live: usize, now: u64) -> Vec<usize> {
        let crowd = (6..12).find(|length| 10_usize.pow(*length) >= 100_000 * live).unwrap_or(12) as usize;
        let mut lengths: Vec<usize> =
            [DAY, DAY - MINUTE].map(|window| crowd + self.extra(now, window)).into();
        lengths.dedup();
        lengths
    }

    fn extra(&self, now: u64, window: u64) -> usize {
        let wrong = self.counted.iter().filter(|sent| **sent + window > now).count();
        [100, 1_000, 10_000].iter().filter(|bound| wrong > **bound).count()
    }

    /// Whether somebody is guessing; `None` at the border of the day.
    pub(super) fn is_guessing(&self, now: u64) -> Option<bool> {
        let [wide, narrow] = [DAY, DAY - MINUTE].map(|window| self.extra(now, window) > 0);
        (wide == narrow).then_some(wide)
    }

    pub(super) fn made(&mut self, user: &str, text: &str, now: u64) {
        // Over or not: it must not come to life again where the clock is set back.
        for code in self.codes.iter_mut().filter(|code| code.user == user && code.revoked.is_none()) {
            code.revoked = Some(now);
        }
        let (_, window) = self.settings.codes;
        let made = self.made.entry(user.to_owned()).or_default();
        made.retain(|at| at.abs_diff(now) < window);
        made.push(now);
        self.codes.push(Code {
            text: text.to_owned(),
            user: user.to_owned(),
            issued: now,
            expires: now + self.settings.code_ttl,
            revoked: None,
            dead: false,
            conflicts: BTreeSet::new(),
        });
    }

    /// The lengths that a number must have to be a code.
    fn lengths_in_use(&self, now: u64) -> BTreeSet<usize> {
        let used = self.codes.iter().filter(|code| now < code.expires + KEPT).map(|code| code.text.len());
        used.chain([6]).collect()
    }

    // ---- Section 5: unbinding -------------------------------------------------------------------------------

    /// From whichever side; no code that exists binds this user again.
    fn end(&mut self, user: &str) -> Option<Binding> {
        for code in self.codes.iter_mut().filter(|code| code.user == user) {
            code.dead = true;
        }
        self.bindings.remove(user)
    }

    /// By the user or the back end; whether there was a binding.
    pub(super) fn unbind(&mut self, user: &str, by_admin: bool) -> bool {
        if by_admin && !self.bindings.contains_key(user) {
            return false;
        }
        let Some(binding) = self.end(user) else { return false };
        self.audit.push(("unbound", Some(user.to_owned()), Some(binding.customer)));
        true
    }

    pub(super) fn lift(&mut self, customer: &str) {
        if let Some(known) = self.customers.get_mut(customer) {
            let (undone, answered) = (known.undone, std::mem::take(&mut known.answered));
            *known = Customer { undone, answered, ..Customer::default() };
        }
    }

    pub(super) fn named(&mut self, customer: &str, name: &str) {
        for binding in self.bindings.values_mut().filter(|binding| binding.customer == customer) {
            binding.nickname = Some(name.to_owned());
        }
    }
}

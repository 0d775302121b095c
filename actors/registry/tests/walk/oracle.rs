//! Who may be bound to whom, by which way, and until when: the outside contract's sections 5 and 7 on plain lists.
//!
//! It says only what is allowed; whether an allowed binding comes about is not its business.

use std::collections::{BTreeMap, BTreeSet};

/// Before its beginning something counts for so long.
const EARLY: u64 = 60;

/// A code, with the ticket of its link.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) text: String,
    pub(super) ticket: String,
    pub(super) user: String,
    pub(super) issued: u64,
    pub(super) expires: u64,
    pub(super) revoked: Option<u64>,
    /// It has bound, or its user was bound or unbound since.
    dead: bool,
}

/// A card's ticket.
#[derive(Clone, Debug)]
pub(super) struct Card {
    pub(super) ticket: String,
    pub(super) customer: String,
    pub(super) method: &'static str,
    pub(super) made_ms: u64,
    pub(super) expires: u64,
    dead: bool,
    pub(super) used: bool,
}

/// A question that was put into the outbox.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) yes: String,
    pub(super) no: String,
    pub(super) customer: String,
    /// The user whom it names.
    pub(super) user: String,
    /// The codes that it may be about.
    pub(super) about: Vec<String>,
    pub(super) delivered: bool,
    pub(super) tapped: bool,
    dead: bool,
}

#[derive(Clone, Debug)]
struct Intent {
    user: String,
    opened: u64,
    ends: u64,
    /// Died with a binding or an unbinding.
    dead: bool,
}

/// Two, and the way.
pub(super) type Cause = (String, String, &'static str);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) replaces: bool,
    pub(super) confirms: bool,
    pub(super) codes: Vec<Code>,
    pub(super) cards: Vec<Card>,
    pub(super) questions: Vec<Question>,
    intents: Vec<Intent>,
    arrivals: Vec<(String, u64)>,
    /// Who is bound to whom, and since when.
    pub(super) bound: BTreeMap<String, (String, u64)>,
    parted: BTreeSet<(String, String)>,
    unbound_ms: BTreeMap<String, u64>,
    undone: BTreeMap<String, u64>,
    /// The unionids that were shown, of users and of customers.
    pub(super) users: BTreeMap<String, String>,
    pub(super) customers: BTreeMap<String, String>,
    /// What a customer has said no to.
    declined: BTreeSet<(String, String)>,
}

impl Oracle {
    pub(super) fn new(replaces: bool, confirms: bool) -> Self {
        Self { replaces, confirms, ..Self::default() }
    }

    pub(super) fn user_of(&self, customer: &str) -> Option<&String> {
        self.bound.iter().find(|(_, (bound, _))| bound == customer).map(|(user, _)| user)
    }

    /// When a customer last undid something in the chat.
    pub(super) fn undone_at(&self, customer: &str) -> u64 {
        self.undone.get(customer).copied().unwrap_or_default()
    }

    fn differ(&self, user: &str, customer: &str) -> bool {
        matches!((self.users.get(user), self.customers.get(customer)), (Some(a), Some(b)) if a != b)
    }

    fn same(&self, user: &str, customer: &str) -> bool {
        self.users.get(user).is_some_and(|unionid| self.customers.get(customer) == Some(unionid))
    }

    /// Whether nothing is in the way of these two, or what is gives way.
    fn free(&self, user: &str, customer: &str, sent: u64) -> bool {
        let mine = self.bound.get(user).map(|(_, at)| *at);
        let theirs = self.user_of(customer).and_then(|user| self.bound.get(user)).map(|(_, at)| *at);
        let gives_way = [mine, theirs].iter().flatten().all(|at| self.replaces && sent >= *at);
        gives_way && !self.differ(user, customer)
    }

    fn lives(&self, code: &Code, customer: &str, sent: u64) -> bool {
        let ends = code.revoked.map_or(code.expires, |at| at.min(code.expires));
        sent + EARLY >= code.issued
            && sent < ends
            && !code.dead
            && sent >= self.undone_at(customer)
            && !self.declined.contains(&(customer.to_owned(), code.text.clone()))
    }

    // ---- What may be bound ----------------------------------------------------------------------------------

    /// By a code that was typed in the chat.
    pub(super) fn by_code(&self, customer: &str, text: &str, sent: u64) -> Vec<Cause> {
        let codes = self.codes.iter().filter(|code| code.text == text && !self.confirms);
        let codes =
            codes.filter(|code| self.lives(code, customer, sent) && self.free(&code.user, customer, sent));
        codes.map(|code| (code.user.clone(), customer.to_owned(), "code")).collect()
    }

    /// By an entry without a question.
    pub(super) fn by_entry(&self, customer: &str, ticket: &str, sent: u64) -> Vec<Cause> {
        let codes = self.codes.iter().filter(|code| code.ticket == ticket && self.same(&code.user, customer));
        let codes =
            codes.filter(|code| self.lives(code, customer, sent) && self.free(&code.user, customer, sent));
        codes.map(|code| (code.user.clone(), customer.to_owned(), "link")).collect()
    }

    /// By the same unionid, whoever has shown it.
    pub(super) fn by_unionid(&self) -> Vec<Cause> {
        let mut causes = Vec::new();
        for user in self.users.keys().filter(|user| !self.bound.contains_key(*user)) {
            for customer in self.customers.keys().filter(|customer| self.user_of(customer).is_none()) {
                let pair = (user.clone(), customer.clone());
                if self.same(user, customer) && !self.parted.contains(&pair) {
                    causes.push((pair.0, pair.1, "unionid"));
                }
            }
        }
        causes
    }

    /// By a tap on a yes.
    pub(super) fn by_tap(&self, customer: &str, yes: &str, sent: u64) -> Vec<Cause> {
        let asked = self.questions.iter().find(|question| question.yes == yes);
        let Some(question) = asked.filter(|q| q.customer == customer && !q.tapped && !q.dead) else {
            return Vec::new();
        };
        let user = &question.user;
        if !self.free(user, customer, sent) || sent < self.undone_at(customer) {
            return Vec::new();
        }
        let mut causes = Vec::new();
        let is_about = |code: &&Code| code.user == *user && question.about.contains(&code.text);
        if self.codes.iter().filter(is_about).any(|code| self.lives(code, customer, sent)) {
            causes.push((user.clone(), customer.to_owned(), "link"));
            if self.confirms {
                causes.push((user.clone(), customer.to_owned(), "code"));
            }
        }
        if self.intents.iter().any(|intent| intent.user == *user && self.alone(intent, customer, sent)) {
            causes.push((user.clone(), customer.to_owned(), "window"));
        }
        causes
    }

    /// Whether in an intent's time, up to the tap, there was nobody else on either side.
    fn alone(&self, intent: &Intent, customer: &str, sent: u64) -> bool {
        let from = intent.opened.saturating_sub(EARLY);
        let other_intent = self.intents.iter().any(|other| {
            other.user != intent.user && other.opened.saturating_sub(EARLY) <= sent && from < other.ends
        });
        let other_customer =
            self.arrivals.iter().any(|(other, at)| other != customer && (from..=sent).contains(at));
        !intent.dead && (from..intent.ends).contains(&sent) && !other_intent && !other_customer
    }

    /// By a ticket in the hands of a user.
    pub(super) fn by_ticket(&self, user: &str, ticket: &str, now_ms: u64) -> Vec<Cause> {
        let cards = self.cards.iter().filter(|card| card.ticket == ticket && !card.dead && !card.used);
        let cards = cards.filter(|card| {
            now_ms / 1000 < card.expires
                && self.unbound_ms.get(user).is_none_or(|at| card.made_ms > *at)
                && self.free(user, &card.customer, now_ms / 1000)
        });
        cards.map(|card| (user.to_owned(), card.customer.clone(), card.method)).collect()
    }

    /// By a code that an employee types for a customer.
    pub(super) fn by_staff(&self, customer: &str, text: &str, now: u64) -> Vec<Cause> {
        let codes = self.codes.iter().filter(|code| code.text == text);
        let codes =
            codes.filter(|code| self.lives(code, customer, now) && self.free(&code.user, customer, now));
        codes.map(|code| (code.user.clone(), customer.to_owned(), "staff")).collect()
    }

    // ---- What happens ---------------------------------------------------------------------------------------

    pub(super) fn issued(&mut self, user: &str, text: &str, ticket: &str, now: u64, expires: u64) {
        for code in self.codes.iter_mut().filter(|code| code.user == user && code.revoked.is_none()) {
            code.revoked = Some(now);
        }
        self.codes.push(Code {
            text: text.to_owned(),
            ticket: ticket.to_owned(),
            user: user.to_owned(),
            issued: now,
            expires,
            revoked: None,
            dead: false,
        });
    }

    pub(super) fn card(
        &mut self,
        ticket: &str,
        customer: &str,
        method: &'static str,
        now_ms: u64,
        expires: u64,
    ) {
        self.cards.push(Card {
            ticket: ticket.to_owned(),
            customer: customer.to_owned(),
            method,
            made_ms: now_ms,
            expires,
            dead: false,
            used: false,
        });
    }

    pub(super) fn announced(&mut self, user: &str, now: u64, ends: u64) {
        self.intents.push(Intent { user: user.to_owned(), opened: now, ends, dead: false });
        // Announcing again goes on with the one that is open.
        for intent in self.intents.iter_mut().filter(|intent| intent.user == user && !intent.dead) {
            if now < intent.ends {
                intent.ends = intent.ends.max(ends);
            }
        }
    }

    /// Somebody entered or wrote.
    pub(super) fn came(&mut self, customer: &str, sent: u64) {
        if self.user_of(customer).is_none() {
            self.arrivals.push((customer.to_owned(), sent));
        }
    }

    pub(super) fn asked(
        &mut self,
        yes: &str,
        no: &str,
        customer: &str,
        user: &str,
        about: &[String],
    ) -> bool {
        if let Some(known) = self.questions.iter_mut().find(|question| question.yes == yes) {
            return known.customer == customer && known.user == user && !known.tapped;
        }
        self.questions.push(Question {
            yes: yes.to_owned(),
            no: no.to_owned(),
            customer: customer.to_owned(),
            user: user.to_owned(),
            about: about.to_vec(),
            delivered: false,
            tapped: false,
            dead: false,
        });
        true
    }

    /// A tap by the one who was asked ends the question; a no, what it was about.
    pub(super) fn tapped(&mut self, customer: &str, id: &str, lives: bool) {
        let is_it = |q: &&mut Question| q.customer == customer && (q.yes == id || q.no == id) && !q.tapped;
        let Some(question) = self.questions.iter_mut().find(is_it) else { return };
        if !lives {
            return;
        }
        question.tapped = true;
        if question.no == id {
            self.declined.extend(question.about.iter().map(|code| (customer.to_owned(), code.clone())));
        }
    }

    /// Two were bound: what existed on either side is dead.
    pub(super) fn joined(&mut self, user: &str, customer: &str, at: u64) {
        self.bound.insert(user.to_owned(), (customer.to_owned(), at));
        self.parted.remove(&(user.to_owned(), customer.to_owned()));
        self.kill(user, customer);
    }

    /// Two were unbound.
    pub(super) fn parted(&mut self, user: &str, now_ms: u64) {
        let Some((customer, _)) = self.bound.remove(user) else { return };
        self.kill(user, &customer);
        self.parted.insert((user.to_owned(), customer));
        self.unbound_ms.insert(user.to_owned(), now_ms);
    }

    /// A user undid something outside the chat, bound or not.
    pub(super) fn released(&mut self, user: &str, now_ms: u64) {
        self.parted(user, now_ms);
        self.kill(user, "");
        self.unbound_ms.insert(user.to_owned(), now_ms);
    }

    /// A customer undid a binding in the chat.
    pub(super) fn undid(&mut self, customer: &str, sent: u64) {
        let at = self.undone.entry(customer.to_owned()).or_default();
        *at = sent.max(*at);
    }

    /// A person was erased: what was known of either side is not, and what existed is dead.
    pub(super) fn erased(&mut self, user: Option<&str>, customer: Option<&str>, now_ms: u64) {
        if let Some(user) = user {
            self.released(user, now_ms);
            self.users.remove(user);
        }
        if let Some(customer) = customer {
            self.kill("", customer);
            self.undid(customer, now_ms / 1000);
            self.customers.remove(customer);
            self.declined.retain(|(who, _)| who != customer);
        }
        // That they were parted is forgotten, too.
        self.parted.retain(|(o, c)| Some(o.as_str()) != user && Some(c.as_str()) != customer);
    }

    /// By the back end's word, whoever they are.
    pub(super) fn by_admin(&self, user: &str, customer: &str) -> Vec<Cause> {
        let is_pair = self.bound.get(user).is_some_and(|(bound, _)| bound == customer);
        let is_free = !self.bound.contains_key(user) && self.user_of(customer).is_none();
        if is_pair || !(is_free || self.replaces) {
            return Vec::new();
        }
        vec![(user.to_owned(), customer.to_owned(), "admin")]
    }

    fn kill(&mut self, user: &str, customer: &str) {
        for code in self.codes.iter_mut().filter(|code| code.user == user) {
            code.dead = true;
        }
        for intent in self.intents.iter_mut().filter(|intent| intent.user == user) {
            intent.dead = true;
        }
        for card in self.cards.iter_mut().filter(|card| card.customer == customer) {
            card.dead = true;
        }
        for question in self.questions.iter_mut().filter(|q| q.customer == customer || q.user == user) {
            question.dead = true;
        }
    }
}

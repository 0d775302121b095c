//! One walk: what people do next, the store that it happens to, and whether what came of it had a cause.
//!
//! The commands go to the writer itself, one at a time and in this thread; what the outbox holds is said, refused or
//! left in the dark by the dice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ractor::RpcReplyPort;
use tempfile::TempDir;

use super::{
    Dice,
    oracle::{Cause, Oracle},
};
use crate::{
    ids::{OpenId, OpenKfId},
    messages::{KfLink, OutboxEntry, OutboxTask, PageCommit, Refusal, RegistryMessage, Settlement},
    policy::{Handover, OnConflict, Policy, Rate, Ways},
    ports::{Clock as _, MenuItem, Words},
    registry::{
        Opened, RegistryOptions, StoreError, open,
        records::{BindingRecord, UserRecord, decode, encode},
        store::TreeId,
        tests::copy,
    },
    tally::Tally,
    testing::{ManualClock, SeededEntropy, policy, rig::BEGIN},
};

pub(super) const ACCOUNT: &str = "wkA";
/// What is rolled where a customer taps, and where one just talks.
const TAPS: u64 = 9;
const TALKS: u64 = 15;
const USERS: u64 = 4;
const CUSTOMERS: u64 = 5;

/// See the module.
pub(super) struct Run {
    dir: TempDir,
    pub(super) clock: Arc<ManualClock>,
    policy: Policy,
    seed: u64,
    pub(super) opened: Option<Opened>,
    pub(super) dice: Dice,
    pub(super) oracle: Oracle,
    pub(super) messages: u64,
    /// What customers do next, the last one first.
    planned: Vec<(String, u64)>,
    /// The last pages, to be read once more.
    pub(super) pages: Vec<PageCommit>,
    /// The ticket with which a customer entered last, where nobody was told.
    pub(super) swallowed: BTreeMap<String, String>,
    /// Every answer that was ever in the outbox, by the entry that held it.
    answers: BTreeMap<String, u64>,
    pub(super) reached: BTreeMap<&'static str, u64>,
}

/// What a step did, for the judgement.
#[derive(Default)]
pub(super) struct Deed {
    pub(super) causes: Vec<Cause>,
    /// Codes that were typed or entered with, by customer: what a question may be about.
    pub(super) about: Vec<String>,
    /// Whose binding may end.
    pub(super) may_end: BTreeSet<String>,
    pub(super) bound_at: u64,
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1);
        let oracle = Oracle::new(dice.one_in(2), dice.one_in(2));
        let mut policy = policy();
        policy.ways = Ways { link: true, card: true, unionid: true, window: true, staff: true };
        policy.on_conflict = if oracle.replaces { OnConflict::Replace } else { OnConflict::Reject };
        policy.confirm_code = oracle.confirms;
        policy.handover = Handover::Pool;
        policy.codes_per_openid = Rate { count: 1000, window_s: 60 };
        let mut run = Self {
            dir: TempDir::new().unwrap(),
            clock: Arc::new(ManualClock::at(BEGIN)),
            policy,
            seed,
            opened: None,
            dice,
            oracle,
            messages: 0,
            planned: Vec::new(),
            pages: Vec::new(),
            swallowed: BTreeMap::new(),
            answers: BTreeMap::new(),
            reached: BTreeMap::new(),
        };
        run.open();
        // The names by which questions name users.
        let label = |n: u64| {
            let record = UserRecord { label: Some(format!("o{n}")), ..UserRecord::default() };
            (format!("o{n}").into_bytes(), Some(encode(TreeId::Users, &record).unwrap()))
        };
        let labels = (0..USERS).map(label).collect();
        run.opened.as_ref().unwrap().writer.store.commit(&[(TreeId::Users, labels)].into()).unwrap();
        let url = "https://example.com/kf?enc_scene=E".to_owned();
        let link = KfLink { url, account: Some(OpenKfId::new(ACCOUNT)) };
        let _: Result<(), Refusal> = run.ask(|reply| RegistryMessage::SaveLink(link, reply));
        run
    }

    // ---- The store ------------------------------------------------------------------------------------------

    fn open(&mut self) {
        self.seed += 1000;
        for _ in 0..100_000 {
            let options = RegistryOptions {
                path: self.dir.path().to_owned(),
                corp_id: "ww1".to_owned(),
                policy: self.policy.clone(),
                clock: Arc::<ManualClock>::clone(&self.clock),
                entropy: Arc::new(SeededEntropy::new(self.seed)),
                tally: Tally::default(),
            };
            match open(options) {
                Err(StoreError::Locked(_)) => std::thread::yield_now(),
                opened => {
                    self.opened = Some(opened.unwrap());
                    return;
                }
            }
        }
        panic!("the store is still locked");
    }

    pub(super) fn restart(&mut self) {
        if self.dice.one_in(2) {
            let image = TempDir::new().unwrap();
            copy(self.dir.path(), image.path());
            self.opened = None;
            self.dir = image;
            self.reach("killed");
        } else {
            self.opened = None;
        }
        self.open();
    }

    pub(super) fn ask<T>(&mut self, build: impl FnOnce(RpcReplyPort<T>) -> RegistryMessage) -> T {
        let (reply, mut answer) = ractor::concurrency::oneshot();
        self.tell(build(RpcReplyPort::from(reply)));
        answer.try_recv().expect("the batch is committed, so it is answered")
    }

    /// The same of what may take more batches.
    pub(super) fn ask_patiently<T>(&mut self, build: impl FnOnce(RpcReplyPort<T>) -> RegistryMessage) -> T {
        let (reply, mut answer) = ractor::concurrency::oneshot();
        self.tell(build(RpcReplyPort::from(reply)));
        for _ in 0..8 {
            if let Ok(told) = answer.try_recv() {
                return told;
            }
            self.tell(RegistryMessage::Sweep);
        }
        panic!("not answered after 8 more batches");
    }

    pub(super) fn tell(&mut self, command: RegistryMessage) {
        let (sender, queue) = std::sync::mpsc::channel();
        sender.send(command).unwrap();
        drop(sender);
        self.opened.as_mut().unwrap().writer.run(&queue).unwrap();
    }

    fn bindings(&self) -> Result<BTreeMap<String, (String, &'static str)>, String> {
        let store = &self.opened.as_ref().unwrap().writer.store;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut found = BTreeMap::new();
        for entry in store.range(TreeId::Bindings, &[]).unwrap() {
            let (key, value) = entry.unwrap();
            let record: BindingRecord = decode(TreeId::Bindings, &value).unwrap();
            let back = store.get(TreeId::BindingsByCustomer, record.customer.as_str().as_bytes()).unwrap();
            let back: Option<OpenId> = back.map(|bytes| decode(TreeId::BindingsByCustomer, &bytes).unwrap());
            let user: Option<UserRecord> =
                store.get(TreeId::Users, &key).unwrap().map(|bytes| decode(TreeId::Users, &bytes).unwrap());
            if back.is_none_or(|back| back.as_str().as_bytes() != &*key)
                || !user.is_some_and(|user| user.bound)
            {
                return Err(format!("{} is bound in one tree and not in another", text(&key)));
            }
            found.insert(text(&key), (record.customer.as_str().to_owned(), record.method.name()));
        }
        let mirrored = store.count(TreeId::BindingsByCustomer).unwrap();
        if mirrored != found.len() {
            return Err(format!("{mirrored} customers are bound to {} users", found.len()));
        }
        Ok(found)
    }

    pub(super) fn reach(&mut self, thing: &'static str) {
        *self.reached.entry(thing).or_default() += 1;
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.now().0
    }

    // ---- Steps ----------------------------------------------------------------------------------------------

    pub(super) fn step(&mut self) -> Result<(), String> {
        let pause = [0, 1, 3, 20, 90, 400][usize::try_from(self.dice.below(6)).unwrap()];
        self.clock.advance_ms(pause * 1000 + 7);
        if self.dice.one_in(4000) {
            self.clock.advance(50 * 3600);
        }
        let (user, customer) =
            (format!("o{}", self.dice.below(USERS)), format!("wm{}", self.dice.below(CUSTOMERS)));
        let planned = self.planned.pop();
        if let Some((customer, what)) = planned {
            let deed = self.write(&customer, Some(what));
            self.judge(&deed)?;
            return self.say(&deed);
        }
        let deed = match self.dice.below(35) {
            0..=4 => self.issue(&user),
            5 => self.log_in(&user),
            6 => self.unbind(&user),
            7 => {
                self.tell(RegistryMessage::Sweep);
                Deed::default()
            }
            8 => {
                self.restart();
                Deed::default()
            }
            9..=10 => self.redeem(&user),
            11 => self.announce(&user),
            34 => {
                // Long enough after all others; then one customer comes, and mostly answers.
                self.clock.advance(500);
                self.planned = vec![(customer.clone(), TAPS), (customer, TALKS)];
                self.announce(&user)
            }
            12 => self.staff_card(&customer),
            13 => self.staff_types(&customer),
            14 => self.read_again(),
            32 if self.dice.one_in(3) => self.put(&user, &customer)?,
            33 if self.dice.one_in(3) => self.erase(&user, &customer)?,
            _ => self.write(&customer, None),
        };
        self.judge(&deed)?;
        self.say(&deed)
    }

    /// Those whose binding gives way to one of these.
    pub(super) fn rivals(&self, causes: &[Cause]) -> BTreeSet<String> {
        let rivals = causes.iter().filter(|(_, _, way)| *way != "unionid" && self.oracle.replaces);
        rivals
            .flat_map(|(user, customer, _)| [Some(user.clone()), self.oracle.user_of(customer).cloned()])
            .flatten()
            .collect()
    }

    // ---- Judgement ------------------------------------------------------------------------------------------

    /// Every binding that is new had a cause in this very step, and every one that is gone a reason to go.
    fn judge(&mut self, deed: &Deed) -> Result<(), String> {
        let found = self.bindings()?;
        let now_ms = self.clock.now_ms();
        let before: Vec<(String, String)> =
            self.oracle.bound.iter().map(|(user, (customer, _))| (user.clone(), customer.clone())).collect();
        for (user, customer) in before {
            if found.get(&user).is_some_and(|(now, _)| *now == customer) {
                continue;
            }
            if !deed.may_end.contains(&user) {
                return Err(format!("{user} and {customer} were unbound by nobody"));
            }
            let is_undoing =
                !found.contains_key(&user) && !found.values().any(|(other, _)| *other == customer);
            self.reach(if is_undoing { "unbound in the chat" } else { "replaced" });
            self.oracle.parted(&user, now_ms);
            if is_undoing {
                self.oracle.undid(&customer, deed.bound_at);
            }
        }
        for (user, (customer, way)) in &found {
            if self.oracle.bound.contains_key(user) {
                continue;
            }
            if !deed.causes.iter().any(|(o, c, by)| o == user && c == customer && by == way) {
                return Err(format!(
                    "{user} and {customer} are bound by {way}; allowed were {:?}",
                    deed.causes
                ));
            }
            self.oracle.joined(user, customer, deed.bound_at);
            self.reach(match *way {
                "code" => "bound by code",
                "link" => "bound by link",
                "card" => "bound by card",
                "staff" => "bound by staff",
                "unionid" => "bound by unionid",
                "admin" => "bound by admin",
                _ => "bound by window",
            });
        }
        Ok(())
    }

    /// What the outbox holds is said, or is not, or nobody knows.
    fn say(&mut self, deed: &Deed) -> Result<(), String> {
        let build = |reply| RegistryMessage::Outbox { from: 0, limit: 1000, reply };
        let entries: Vec<OutboxEntry> = self.ask(build);
        let mut settled = Vec::new();
        for entry in entries {
            let fate = self.dice.below(8);
            let delivered = fate < 6;
            if let OutboxTask::Say(say) = &entry.task {
                let id = say.reply.reply_id.as_str().to_owned();
                if self.answers.insert(id, entry.seq).is_some_and(|seq| seq != entry.seq) {
                    return Err(format!("one message is answered twice: {:?}", say.reply));
                }
                self.hear(&say.reply.words, say.reply.customer.as_str(), delivered, deed)?;
            }
            match fate {
                0..=4 => settled.push((entry.seq, Settlement::Done)),
                // Refused, or said without our knowing.
                5..=6 => settled.push((entry.seq, Settlement::NotDone)),
                // Still under way.
                _ => {}
            }
        }
        self.tell(RegistryMessage::Settle(settled));
        Ok(())
    }

    fn hear(&mut self, words: &Words, customer: &str, delivered: bool, deed: &Deed) -> Result<(), String> {
        let Words::Menu { head, items } = words else { return Ok(()) };
        match items.as_slice() {
            [MenuItem::Click { id: yes, .. }, MenuItem::Click { id: no, .. }] => {
                let user = head.strip_prefix("confirm ").unwrap_or_default().to_owned();
                let (yes, no) = (yes.as_str().to_owned(), no.as_str().to_owned());
                let known = self.oracle.questions.iter().any(|question| question.yes == yes);
                self.reach(if known { "asked again" } else { "asked" });
                if !self.oracle.asked(&yes, &no, customer, &user, &deed.about) {
                    return Err(format!("a question that is over, or another, is put to {customer}"));
                }
                if delivered {
                    for question in self.oracle.questions.iter_mut().filter(|question| question.yes == yes) {
                        question.delivered = true;
                    }
                }
            }
            [MenuItem::Page { path, .. }] => {
                let ticket = path.split_once("?ticket=").expect("a ticket").1;
                if !self.oracle.cards.iter().any(|card| card.ticket == ticket) {
                    let now_ms = self.clock.now_ms();
                    self.oracle.card(
                        ticket,
                        customer,
                        "card",
                        now_ms,
                        now_ms / 1000 + self.policy.card_ttl_s,
                    );
                }
            }
            other => return Err(format!("a menu of {} items", other.len())),
        }
        Ok(())
    }
}

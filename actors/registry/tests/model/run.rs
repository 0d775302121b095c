//! The store under the model: what is opened, closed and killed, how steps become commands, and whether their answers
//! are the model's.
//!
//! The commands go to the writer itself, one batch at a time and in this thread, so that a failing sequence fails
//! again.

use std::{collections::BTreeMap, sync::Arc};

use ractor::{RpcReplyPort, concurrency::OneshotReceiver};
use tempfile::TempDir;

use super::{
    plain::{self, Issue, Plain, Settings, View},
    steps::{ACCOUNTS, Command, Step, Written, customer, user},
};
use crate::{
    ids::{Cursor, ExternalUserId, MessageId, OpenId, OpenKfId, Timestamp},
    messages::{
        IssueOutcome, IssueRequest, KfLink, Learned, PageCommit, Refusal, RegistryMessage, Settlement,
        UnbindBy, UnbindRequest,
    },
    policy::{OnConflict, Policy, Rate},
    ports::{Clock as _, KfMessage, Page, Profile},
    registry::{Opened, RegistryOptions, StoreError, open, records::decode, store::TreeId, tests::copy},
    tally::Tally,
    testing::{ManualClock, SeededEntropy, policy, rig::BEGIN},
};

/// Users who only make the crowd.
pub(super) const CROWD: u8 = 12;

type Reply<T> = OneshotReceiver<Result<T, Refusal>>;

/// A command that was sent, with what is needed to judge its answer.
enum Asked {
    Issue(String, bool, Reply<IssueOutcome>),
    Unbind(String, bool, Reply<bool>),
    Lift(String, Reply<bool>),
    Page(String, String, Vec<Written>, Reply<()>),
    Named(String, String, Reply<()>),
    /// So many answers and names were in the outbox at some time, and are no longer.
    Settled(usize, usize),
}

/// See the module.
pub(super) struct Run {
    dir: TempDir,
    clock: Arc<ManualClock>,
    policy: Policy,
    pub(super) tally: Tally,
    seed: u64,
    opened: Option<Opened>,
    pub(super) model: Plain,
    /// The latest that the clock has shown; once it went back, some borders are no longer to be told.
    latest: u64,
    pub(super) went_back: bool,
    streams: BTreeMap<String, Vec<Written>>,
    pub(super) cursors: BTreeMap<String, String>,
    pages: usize,
    /// What each version of each user looked like: one version, one view.
    pub(super) versions: BTreeMap<(String, u64), View>,
    pub(super) newest: BTreeMap<String, u64>,
    pub(super) settled: (usize, usize),
}

impl Run {
    pub(super) fn new(settings: Settings) -> Self {
        let mut policy = policy();
        policy.on_conflict = if settings.replaces { OnConflict::Replace } else { OnConflict::Reject };
        policy.code_ttl_s = settings.code_ttl;
        policy.codes_per_openid =
            Rate { count: u32::try_from(settings.codes.0).unwrap(), window_s: settings.codes.1 };
        policy.wrong_codes_per_customer = Rate { count: settings.wrong.0, window_s: settings.wrong.1 };
        let mut run = Self {
            dir: TempDir::new().unwrap(),
            clock: Arc::new(ManualClock::at(BEGIN)),
            policy,
            tally: Tally::default(),
            seed: 0,
            opened: None,
            model: Plain::new(settings, BEGIN),
            latest: BEGIN,
            went_back: false,
            streams: BTreeMap::new(),
            cursors: BTreeMap::new(),
            pages: 0,
            versions: BTreeMap::new(),
            newest: BTreeMap::new(),
            settled: (0, 0),
        };
        run.open();
        let link = KfLink { url: "https://example.com/kf".to_owned(), account: None };
        let (reply, _answer) = ractor::concurrency::oneshot();
        run.batch(vec![RegistryMessage::SaveLink(link, RpcReplyPort::from(reply))]);
        run
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.now().0
    }

    // ---- The store ------------------------------------------------------------------------------------------

    fn open(&mut self) {
        self.seed += 1;
        for _ in 0..10_000 {
            self.tally = Tally::default();
            let options = RegistryOptions {
                path: self.dir.path().to_owned(),
                corp_id: "ww1".to_owned(),
                policy: self.policy.clone(),
                clock: Arc::<ManualClock>::clone(&self.clock),
                entropy: Arc::new(SeededEntropy::new(self.seed)),
                tally: self.tally.clone(),
            };
            match open(options) {
                // The threads of a store that was just closed may hold it a moment longer.
                Err(StoreError::Locked(_)) => std::thread::yield_now(),
                opened => {
                    self.opened = Some(opened.unwrap());
                    return;
                }
            }
        }
        panic!("the store is still locked");
    }

    pub(super) fn opened(&self) -> &Opened {
        self.opened.as_ref().unwrap()
    }

    /// Closes the store and opens it again; or opens what a kill at this moment would leave.
    fn restart(&mut self, kill: bool) {
        if kill {
            let image = TempDir::new().unwrap();
            copy(self.dir.path(), image.path());
            self.opened = None;
            self.dir = image;
        } else {
            self.opened = None;
        }
        self.open();
    }

    fn batch(&mut self, commands: Vec<RegistryMessage>) {
        let (sender, queue) = std::sync::mpsc::channel();
        for command in commands {
            sender.send(command).unwrap();
        }
        drop(sender);
        self.opened.as_mut().unwrap().writer.run(&queue).unwrap();
    }

    pub(super) fn entries(&self, tree: TreeId) -> Vec<(Vec<u8>, Vec<u8>)> {
        let entries = self.opened().writer.store.range(tree, &[]).unwrap();
        entries.map(|entry| entry.unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    pub(super) fn records<T: serde::de::DeserializeOwned>(&self, tree: TreeId) -> Vec<(String, T)> {
        let text = |key: Vec<u8>| String::from_utf8_lossy(&key).into_owned();
        let entries = self.entries(tree).into_iter();
        entries.map(|(key, value)| (text(key), decode(tree, &value).unwrap())).collect()
    }

    // ---- Steps ----------------------------------------------------------------------------------------------

    pub(super) fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Clock(seconds) => {
                self.clock.set(self.now().saturating_add_signed(*seconds));
                self.latest = self.latest.max(self.now());
                self.went_back |= *seconds < 0;
                self.model.doubt_the_birthday(self.now());
                // A batch is the occasion on which the gauges are set.
                self.batch(vec![RegistryMessage::Sweep]);
            }
            Step::Restart { kill } => {
                self.restart(*kill);
                self.model.created = BEGIN;
                self.model.doubt_the_birthday(self.now());
                self.batch(vec![RegistryMessage::Sweep]);
            }
            Step::Batch(commands) => self.commands(commands)?,
        }
        Ok(())
    }

    fn commands(&mut self, commands: &[Command]) -> Result<(), String> {
        let (mut messages, mut asked) = (Vec::new(), Vec::new());
        for command in commands {
            self.translate(command, &mut messages, &mut asked);
        }
        self.batch(messages);
        for asked in asked {
            self.judge(asked)?;
        }
        Ok(())
    }

    fn translate(&mut self, command: &Command, messages: &mut Vec<RegistryMessage>, asked: &mut Vec<Asked>) {
        macro_rules! send {
            ($build:expr) => {{
                let (reply, answer) = ractor::concurrency::oneshot();
                messages.push($build(RpcReplyPort::from(reply)));
                answer
            }};
        }
        match command {
            Command::Issue(number, renew) => {
                let openid = user(*number);
                let request = IssueRequest { openid: OpenId::new(&openid), unionid: None, renew: *renew };
                let answer = send!(|reply| RegistryMessage::Issue(request, reply));
                asked.push(Asked::Issue(openid, *renew, answer));
            }
            Command::Crowd => {
                for number in 0..CROWD {
                    self.translate(&Command::Issue(100 + number, false), messages, asked);
                }
            }
            Command::Unbind(number, admin) => {
                let by = if *admin { UnbindBy::Admin } else { UnbindBy::User };
                let request = UnbindRequest { openid: OpenId::new(user(*number)), by };
                let answer = send!(|reply| RegistryMessage::Unbind(request, reply));
                asked.push(Asked::Unbind(user(*number), *admin, answer));
            }
            Command::Lift(number) => {
                let id = ExternalUserId::new(customer(*number));
                let answer = send!(|reply| RegistryMessage::LiftLock(id, reply));
                asked.push(Asked::Lift(customer(*number), answer));
            }
            Command::Named(number, name) => {
                let nickname = format!("名{name}");
                let id = ExternalUserId::new(customer(*number));
                let profiles = vec![Profile {
                    customer: id,
                    nickname: Some(nickname.clone()),
                    unionid: None,
                    entered_with: None,
                }];
                let answer = send!(|reply| RegistryMessage::SaveProfiles(profiles, reply));
                asked.push(Asked::Named(customer(*number), nickname, answer));
            }
            Command::Page(page) => {
                let account = ACCOUNTS[usize::from(page.account) % ACCOUNTS.len()].to_owned();
                let stream = self.streams.entry(account.clone()).or_default();
                let written = page.write(&self.model, &account, stream, self.clock.now().0, self.latest);
                self.pages += 1;
                let cursor = format!("cursor-{}", self.pages);
                let commit = page_of(&account, &cursor, &written);
                let answer = send!(|reply| RegistryMessage::CommitPage(Box::new(commit), reply));
                asked.push(Asked::Page(account, cursor, written, answer));
            }
            Command::Settle => {
                messages.push(RegistryMessage::Settle(
                    self.outbox_seqs().into_iter().map(|seq| (seq, Settlement::Done)).collect(),
                ));
                asked.push(Asked::Settled(self.model.answers.len(), self.model.names_wanted.len()));
            }
            Command::Sweep => messages.push(RegistryMessage::Sweep),
        }
    }

    /// Holds an answer against the model's, which then goes on from there.
    fn judge(&mut self, asked: Asked) -> Result<(), String> {
        let now = self.now();
        match asked {
            Asked::Issue(openid, renew, answer) => self.judge_issue(&openid, renew, take(answer), now)?,
            Asked::Unbind(openid, admin, answer) => {
                same!(take(answer), self.model.unbind(&openid, admin), "unbinding {openid}");
            }
            Asked::Lift(customer, answer) => {
                take(answer);
                self.model.lift(&customer);
            }
            Asked::Named(customer, name, answer) => {
                take(answer);
                self.model.named(&customer, &name);
            }
            Asked::Page(account, cursor, written, answer) => {
                take(answer);
                self.cursors.insert(account, cursor);
                let messages: Vec<_> = written.into_iter().map(|written| written.meant).collect();
                self.model.page(&messages, now);
            }
            Asked::Settled(answers, names) => self.settled = (answers, names),
        }
        Ok(())
    }

    fn judge_issue(
        &mut self,
        openid: &str,
        renew: bool,
        outcome: IssueOutcome,
        now: u64,
    ) -> Result<(), String> {
        let expected = self.model.ask(openid, renew, now);
        match (outcome, expected) {
            (IssueOutcome::Issued(code), expected) => {
                let text = code.code.as_str().to_owned();
                match expected {
                    Issue::New(lengths) if lengths.contains(&text.len()) || self.went_back => {}
                    Issue::TooMany(_) if self.went_back => {}
                    other => return Err(format!("{openid} got a code of {} digits: {other:?}", text.len())),
                }
                let (head, tail) = text.split_at(text.len() / 2);
                same!(code.display, format!("{head} {tail}"), "the display of a code");
                same!(code.expires_at.0, now + self.model.settings.code_ttl, "the end of a code");
                let kept = |known: &plain::Code| known.text == text && now < known.expires + plain::KEPT;
                if self.model.codes.iter().any(kept) {
                    return Err(format!("{text} was given out twice"));
                }
                self.model.made(openid, &text, now);
            }
            (IssueOutcome::Again(code), Issue::Again(text)) => same!(code.code.as_str(), text, "again"),
            (IssueOutcome::AlreadyBound, Issue::AlreadyBound) => {}
            (IssueOutcome::TooMany { retry_after_s }, Issue::TooMany(seconds)) => {
                if !self.went_back {
                    same!(retry_after_s, seconds, "when {openid} may ask again");
                }
            }
            (outcome, expected) => return Err(format!("{openid} got {outcome:?} instead of {expected:?}")),
        }
        Ok(())
    }
}

fn take<T>(mut answer: Reply<T>) -> T {
    answer.try_recv().expect("the batch is committed, so it is answered").expect("the disk has room")
}

fn page_of(account: &str, cursor: &str, written: &[Written]) -> PageCommit {
    let messages = written
        .iter()
        .map(|written| KfMessage {
            msgid: MessageId::new(&written.meant.msgid),
            account: OpenKfId::new(account),
            customer: Some(ExternalUserId::new(&written.meant.customer)),
            send_time: Timestamp(written.meant.sent),
            content: written.content.clone(),
        })
        .collect();
    let next_cursor = Some(Cursor::new(cursor));
    let page = Page { messages, unreadable: Vec::new(), next_cursor, has_more: false };
    PageCommit { account: OpenKfId::new(account), page, sync_token: None, learned: Learned::default() }
}

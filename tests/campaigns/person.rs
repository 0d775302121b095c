//! A person with two mini-program accounts and two chats, who does in any order what people do, writes down what was
//! promised, and holds the service to it.
//!
//! The model here is written from the contract, not from the service's rules. One thing after the other, so that each
//! step has one right outcome; many such people at once make the load.

use std::{sync::Arc, time::Duration};

use kfbind::sim::Customer;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    line::{Ask, eventually},
    report::{Breach, Failure},
    world::{ADMIN_KEY, Town},
};

/// Beyond this many answers within ten minutes a customer hears of nothing but bindings; so nobody provokes more.
const ANSWERS_MAX: usize = 9;
/// One more would lock the customer.
const WRONG_CODES_MAX: usize = 3;
const TALK: [&str; 4] =
    ["你好，请问什么时候发货？", "我的电话是13800138000", "订单DD20261124000017", "好的👌"];

/// A mini-program account.
struct Phone {
    openid: String,
    session: String,
    version: u64,
    /// The code that is good now.
    code: Option<String>,
    /// Codes that were good once.
    dead: Vec<String>,
    /// Which chat it is bound to, since when, by which code.
    bound: Option<(usize, u64, String)>,
}

/// The chats with the kf accounts of one WeChat user.
struct Chat {
    customer: Customer,
    expected: Vec<&'static str>,
    wrong: usize,
    bound: Option<usize>,
}

/// What all people together have brought about, to be compared with what is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Bindings that stand: openid, customer, since when.
    pub(crate) bindings: Vec<(String, String, u64)>,
    pub(crate) bound: u64,
    pub(crate) unbound: u64,
    pub(crate) conflicts: u64,
    /// Codes that were never made.
    pub(crate) wrong: u64,
    /// Messages that held a code or the word that unbinds.
    pub(crate) acted_on: u64,
}

/// See the module.
pub(crate) struct Person {
    town: Arc<Town>,
    rng: StdRng,
    phones: Vec<Phone>,
    chats: Vec<Chat>,
    sum: Sum,
    conflicts: Vec<(String, usize)>,
}

impl Person {
    /// Somebody new, with both phones logged in.
    pub(crate) async fn arrives(town: Arc<Town>, name: &str, seed: u64) -> Result<Self, Failure> {
        let mut phones = Vec::new();
        for number in 0..2 {
            let openid = town.sim.openid_of(&format!("{name}/{number}"));
            let session = town.login(&openid).await?;
            phones.push(Phone { openid, session, version: 0, code: None, dead: Vec::new(), bound: None });
        }
        let chat = |number| Chat {
            customer: town.sim.customer(&format!("{name}/{number}")),
            expected: Vec::new(),
            wrong: 0,
            bound: None,
        };
        let chats = (0..2).map(chat).collect();
        let rng = StdRng::seed_from_u64(seed);
        Ok(Self { town, rng, phones, chats, sum: Sum::default(), conflicts: Vec::new() })
    }

    /// One more thing is done, and what it must lead to has come.
    pub(crate) async fn step(&mut self) -> Result<(), Failure> {
        let (p, c) = (self.rng.random_range(0..2), self.rng.random_range(0..2));
        let draw = self.rng.random_range(0..100);
        match (self.phones[p].bound.clone(), self.chats[c].bound) {
            (None, _) if self.phones[p].code.is_none() => self.gets_code(p).await,
            (None, None) if draw < 60 => self.binds(p, c, draw < 15).await,
            (None, Some(_)) if draw < 40 => self.meets_conflict(p, c).await,
            (None, _) if draw < 70 => self.gets_code(p).await,
            (Some((own, ..)), _) if draw < 20 => self.says_again(p, own).await,
            (Some((own, ..)), _) if draw < 40 => self.undoes_in_chat(p, own).await,
            (Some((own, ..)), _) if draw < 60 => self.undoes_over_http(p, own, draw < 50).await,
            _ if draw < 75 => self.says_stale(p, c).await,
            _ if draw < 86 => self.guesses(p, c).await,
            _ if draw < 92 => {
                let talk = TALK[self.rng.random_range(0..TALK.len())];
                self.says(c, talk);
                Ok(())
            }
            _ if draw < 96 => self.hangs_up(p).await,
            _ => self.looks(p).await,
        }
    }

    /// All that was begun has ended, and everything is as it was promised.
    pub(crate) async fn leaves(mut self) -> Result<Sum, Failure> {
        for number in 0..2 {
            self.hears_all(number).await?;
            self.looks(number).await?;
        }
        for phone in &self.phones {
            if let Some((chat, since, _)) = &phone.bound {
                let customer = self.chats[*chat].customer.external_userid().to_owned();
                self.sum.bindings.push((phone.openid.clone(), customer, *since));
            }
        }
        Ok(self.sum)
    }

    // ---- In the mini program ------------------------------------------------------------------------------------

    async fn ask(
        &self,
        p: usize,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value, bool), Failure> {
        let bearer = Some(self.phones[p].session.as_str());
        let answer = self.town.line.ask(Ask { method, path, bearer, body }).await?;
        if answer.status == 401 {
            return Err(Failure::new(Breach::Lost, format!("a session is refused at {method} {path}")));
        }
        Ok((answer.status, answer.body, answer.tried_before))
    }

    /// The view of this phone, whose version never goes back.
    async fn view(&mut self, p: usize) -> Result<Value, Failure> {
        let (status, view, _) = self.ask(p, "GET", "/api/binding", None).await?;
        let version = view["version"].as_u64().unwrap_or_default();
        let phone = &mut self.phones[p];
        if status != 200 || version < phone.version {
            let what = format!("after version {} comes {status} {view}", phone.version);
            return Err(Failure::new(Breach::Lost, what));
        }
        phone.version = version;
        Ok(view)
    }

    /// The view is what was promised.
    async fn looks(&mut self, p: usize) -> Result<(), Failure> {
        let view = self.view(p).await?;
        let phone = &self.phones[p];
        let is_right = match (&phone.bound, &phone.code) {
            (Some((_, since, _)), _) => view["status"] == "bound" && bound_at(&view) == Some(*since),
            (None, Some(code)) => view["status"] == "pending" && view["pending"]["bind_token"] == **code,
            (None, None) => view["status"] == "unbound",
        };
        if !is_right {
            let what = format!("promised {:?}, code {:?}; found {view}", phone.bound, phone.code);
            return Err(Failure::new(Breach::Lost, what));
        }
        self.town.report.checked("views as promised");
        Ok(())
    }

    /// Hangs up on a long poll half-way; that must change nothing.
    async fn hangs_up(&mut self, p: usize) -> Result<(), Failure> {
        let half_way = Duration::from_millis(self.rng.random_range(1..60));
        let phone = &self.phones[p];
        let path = format!("/api/binding?wait=20&since={}", phone.version);
        let ask = Ask { method: "GET", path: &path, bearer: Some(&phone.session), body: None };
        let hung_up = timeout(half_way, self.town.line.once(ask)).await.is_err();
        self.town.report.happened_times("long polls hung up on", u64::from(hung_up));
        self.looks(p).await
    }

    /// Waits until the status is this; the one before is the only other that may be seen.
    async fn becomes(&mut self, p: usize, status: &str, before: &str) -> Result<Value, Failure> {
        let deadline = tokio::time::Instant::now() + crate::line::PATIENCE;
        loop {
            let view = self.view(p).await?;
            if view["status"] == status {
                return Ok(view);
            }
            if view["status"] != before {
                return Err(Failure::new(Breach::Lost, format!("waiting for {status} comes {view}")));
            }
            if tokio::time::Instant::now() > deadline {
                let what = format!("{} never became {status}", self.phones[p].openid);
                return Err(Failure::new(Breach::Stuck, what));
            }
            tokio::time::sleep(crate::line::PAUSE).await;
        }
    }

    async fn gets_code(&mut self, p: usize) -> Result<(), Failure> {
        // What is still on its way was meant for the code that this one may end.
        for c in 0..2 {
            self.hears_all(c).await?;
        }
        let renew = self.rng.random_bool(0.4);
        let body = json!({"new": renew});
        let (status, body, tried_before) = self.ask(p, "POST", "/api/binding/token", Some(&body)).await?;
        let code = body["bind_token"].as_str().map(str::to_owned);
        let (Some(code), 200 | 201) = (code, status) else {
            return Err(Failure::new(Breach::Lost, format!("asking for a code unbound: {status} {body}")));
        };
        let phone = &mut self.phones[p];
        match phone.code.take() {
            Some(before) if before == code => phone.dead.retain(|dead| *dead != code),
            // A live code is given again; only a try whose answer was lost may have ended it.
            Some(before) if !renew && !tried_before => {
                return Err(Failure::new(Breach::Lost, format!("the code {before} was forgotten")));
            }
            before => phone.dead.extend(before),
        }
        phone.code = Some(code.clone());
        self.town.learns(&code);
        self.town.report.checked("codes given");
        Ok(())
    }

    async fn undoes_over_http(&mut self, p: usize, c: usize, by_admin: bool) -> Result<(), Failure> {
        self.hears_all(c).await?;
        let openid = self.phones[p].openid.clone();
        if by_admin {
            let path = format!("/api/admin/bindings/{openid}");
            let ask = Ask { method: "DELETE", path: &path, bearer: Some(ADMIN_KEY), body: None };
            let answer = self.town.line.ask(ask).await?;
            if answer.status != 204 && !(answer.status == 404 && answer.tried_before) {
                return Err(Failure::new(Breach::Lost, format!("the back end unbinds: {}", answer.status)));
            }
        } else {
            let (status, body, _) = self.ask(p, "DELETE", "/api/binding", None).await?;
            if status != 204 {
                return Err(Failure::new(Breach::Lost, format!("the user unbinds: {status} {body}")));
            }
        }
        self.is_unbound(p, c);
        self.looks(p).await?;
        self.town.report.checked(if by_admin { "unbound by the back end" } else { "unbound by the user" });
        Ok(())
    }

    fn is_unbound(&mut self, p: usize, c: usize) {
        self.phones[p].bound = None;
        self.chats[c].bound = None;
        self.sum.unbound += 1;
    }

    // ---- In the chat --------------------------------------------------------------------------------------------

    /// Writes into one of the accounts; when it was sent.
    fn says(&mut self, c: usize, text: &str) -> u64 {
        let account = self.town.sim.account(self.rng.random_range(0..self.town.accounts));
        let sent = self.town.sim.now_s();
        self.chats[c].customer.says_at(&account, text, sent);
        self.town.report.happened("messages sent");
        sent
    }

    /// Writes something that must be answered with this.
    fn says_for(&mut self, c: usize, text: &str, answer: &'static str) -> u64 {
        self.chats[c].expected.push(answer);
        self.sum.acted_on += 1;
        self.says(c, text)
    }

    /// Whether one more answer may be provoked.
    fn may_provoke(&self, c: usize) -> bool {
        self.chats[c].expected.len() < ANSWERS_MAX
    }

    /// Waits until everything was answered, each message once.
    async fn hears_all(&mut self, c: usize) -> Result<(), Failure> {
        let chat = &self.chats[c];
        let heard = || -> Vec<String> { chat.customer.heard().into_iter().map(|heard| heard.text).collect() };
        eventually(
            || format!("a customer waits for {:?}, heard {:?}", chat.expected, heard()),
            Breach::Stuck,
            || std::future::ready((heard().len() >= chat.expected.len()).then_some(())),
        )
        .await?;
        let (mut heard, mut expected) = (heard(), chat.expected.clone());
        heard.sort_unstable();
        expected.sort_unstable();
        if heard != expected {
            return Err(Failure::new(
                Breach::Doubled,
                format!("a customer should hear {expected:?}, heard {heard:?}"),
            ));
        }
        self.town.report.checked("chats heard out");
        Ok(())
    }

    async fn binds(&mut self, p: usize, c: usize, twice: bool) -> Result<(), Failure> {
        let Some(code) = self.phones[p].code.take() else { return Ok(()) };
        let twice = twice && self.may_provoke(c);
        let sent = self.says_for(c, &code, "bound");
        if twice {
            self.says_for(c, &code, "already_bound");
        }
        let view = self.becomes(p, "bound", "pending").await?;
        // Of the two messages either may have come first: their accounts are pulled side by side.
        let at = bound_at(&view).filter(|at| *at == sent || (twice && *at >= sent));
        let Some(at) = at else {
            return Err(Failure::new(Breach::Doubled, format!("a code sent at {sent} bound: {view}")));
        };
        self.phones[p].dead.push(code.clone());
        self.phones[p].bound = Some((c, at, code));
        self.chats[c].bound = Some(p);
        self.sum.bound += 1;
        self.town.report.checked("bound by code");
        if twice { self.hears_all(c).await } else { Ok(()) }
    }

    async fn says_again(&mut self, p: usize, c: usize) -> Result<(), Failure> {
        let Some((_, _, code)) = self.phones[p].bound.clone().filter(|_| self.may_provoke(c)) else {
            return Ok(());
        };
        self.says_for(c, &code, "already_bound");
        self.hears_all(c).await?;
        self.town.report.checked("codes sent again");
        Ok(())
    }

    async fn meets_conflict(&mut self, p: usize, c: usize) -> Result<(), Failure> {
        let Some(code) = self.phones[p].code.clone().filter(|_| self.may_provoke(c)) else { return Ok(()) };
        self.says_for(c, &code, "conflict");
        self.hears_all(c).await?;
        let once = (code, c);
        if !self.conflicts.contains(&once) {
            self.conflicts.push(once);
            self.sum.conflicts += 1;
        }
        self.looks(p).await?;
        self.town.report.checked("conflicts refused");
        Ok(())
    }

    async fn undoes_in_chat(&mut self, p: usize, c: usize) -> Result<(), Failure> {
        self.hears_all(c).await?;
        self.says_for(c, "解绑", "unbound");
        self.becomes(p, "unbound", "bound").await?;
        self.is_unbound(p, c);
        self.town.report.checked("unbound in the chat");
        Ok(())
    }

    async fn says_stale(&mut self, p: usize, c: usize) -> Result<(), Failure> {
        if self.phones[p].bound.as_ref().is_some_and(|(own, ..)| *own == c) || !self.may_provoke(c) {
            return Ok(());
        }
        let Some(code) = self.phones[p].dead.last().cloned() else { return Ok(()) };
        self.says_for(c, &code, "expired_code");
        self.hears_all(c).await?;
        self.town.report.checked("dead codes refused");
        Ok(())
    }

    async fn guesses(&mut self, p: usize, c: usize) -> Result<(), Failure> {
        if self.chats[c].wrong == WRONG_CODES_MAX || !self.may_provoke(c) {
            return Ok(());
        }
        let digits = self.phones[p].code.as_ref().map_or(6, String::len);
        let guess: String = (0..digits).map(|_| char::from(b'0' + self.rng.random_range(0..10))).collect();
        // Dates are no codes, and a real one is no wrong one.
        if digits >= 8 || self.town.knows(&guess) {
            return Ok(());
        }
        self.chats[c].wrong += 1;
        self.sum.wrong += 1;
        self.says_for(c, &guess, "wrong_code");
        self.hears_all(c).await?;
        self.town.report.checked("wrong codes refused");
        Ok(())
    }
}

/// Since when a view says that its user is bound, in Unix seconds.
fn bound_at(view: &Value) -> Option<u64> {
    crate::line::unix_seconds(view["binding"]["bound_at"].as_str()?)
}

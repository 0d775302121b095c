//! A person with one phone and one chat who binds by every way there is, is forwarded things by strangers, and undoes it
//! again; and a person who only talks and wants to be brought to somebody. With all ways and hand-over switched on.
//!
//! The model is written from the contract: whatever happens, nobody is ever bound but the two who belong together, and
//! whoever goes on trying is bound in the end. What WeCom may have swallowed may stay unsaid, but is never said twice.

use std::sync::Arc;

use kfbind::sim::{Customer, MenuItem};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

mod ways;

use crate::{
    line::{Answer, Ask, PATIENCE, PAUSE, TRIES_BEFORE_WRITING, eventually},
    person::Sum,
    report::{Breach, Failure},
    world::Town,
};

/// Beyond this many answers within ten minutes a customer is asked nothing.
const ANSWERS_MAX: usize = 9;
/// The question, once more, and that it is bound.
const ANSWERS_OF_A_LINK: usize = 4;
/// Who binds from the WeCom side.
const EMPLOYEE: &str = "campaignEmployee";

/// A way to bind, as people choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Code,
    Link,
    Card,
    StaffCard,
    StaffCode,
    Unionid,
}

impl Way {
    /// What the binding calls it.
    fn method(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Link => "link",
            Self::Card => "card",
            Self::StaffCard | Self::StaffCode => "staff",
            Self::Unionid => "unionid",
        }
    }

    fn counted(self) -> &'static str {
        match self {
            Self::Code => "bound by code",
            Self::Link => "bound by link",
            Self::Card => "bound by card",
            Self::StaffCard => "bound by an employee's card",
            Self::StaffCode => "bound by an employee's typing",
            Self::Unionid => "bound by unionid",
        }
    }
}

/// See the module.
pub(crate) struct Walker {
    town: Arc<Town>,
    rng: StdRng,
    openid: String,
    unionid: Option<String>,
    session: String,
    staff_session: String,
    chat: Customer,
    /// Somebody else, to whom things are forwarded, and whose chat must never be bound.
    stranger: Customer,
    stranger_session: String,
    account: String,
    is_bound: bool,
    /// Answers that were provoked: beyond ten within ten minutes nothing is asked.
    provoked: usize,
    /// The card that came with the one invitation in 48 hours has been used.
    card_used: bool,
    united: bool,
    sum: Sum,
    /// Tickets that are over.
    dead_tickets: Vec<String>,
}

impl Walker {
    /// Somebody new, with the phone logged in. Every third has a unionid.
    pub(crate) async fn arrives(town: Arc<Town>, number: u64, seed: u64) -> Result<Self, Failure> {
        let name = format!("w{number}");
        let unionid = number.is_multiple_of(3).then(|| format!("uniCampaign{number:06}"));
        let openid = town.sim.openid_of(&name);
        let mut chat = town.sim.customer(&name);
        if let Some(unionid) = &unionid {
            chat = chat.with_unionid(unionid);
        }
        let stranger =
            town.sim.customer(&format!("{name}/stranger")).with_unionid(&format!("uniStranger{number}"));
        let session = town.login_with(&openid, None).await?;
        let stranger_openid = town.sim.openid_of(&format!("{name}/stranger"));
        let stranger_session = town.login_with(&stranger_openid, None).await?;
        let staff_session = town.staff_login(EMPLOYEE).await?;
        let account = town.sim.account(0);
        Ok(Self {
            rng: StdRng::seed_from_u64(seed),
            openid,
            unionid,
            session,
            staff_session,
            chat,
            stranger,
            stranger_session,
            account,
            is_bound: false,
            provoked: 0,
            card_used: false,
            united: false,
            sum: Sum::default(),
            dead_tickets: Vec::new(),
            town,
        })
    }

    /// One more thing is done, and what it must lead to has come.
    pub(crate) async fn step(&mut self) -> Result<(), Failure> {
        if self.is_bound {
            return self.undoes().await;
        }
        let way = match self.rng.random_range(0..7) {
            0 | 1 if self.provoked + ANSWERS_OF_A_LINK <= ANSWERS_MAX => Way::Link,
            2 if !self.card_used && self.provoked < ANSWERS_MAX => Way::Card,
            3 => Way::StaffCard,
            4 => Way::StaffCode,
            5 if self.unionid.is_some() && !self.united => Way::Unionid,
            _ => Way::Code,
        };
        self.provoked += 1;
        let way = match way {
            Way::Code => self.by_code().await.map(|()| way),
            Way::Link => self.by_link().await.map(|()| way),
            Way::Card => self.by_card().await,
            Way::StaffCard => self.by_staff_card().await,
            Way::StaffCode => self.by_staff_code().await.map(|()| way),
            Way::Unionid => self.by_unionid().await.map(|()| way),
        }?;
        self.is_bound_now(way).await
    }

    /// All that was begun has ended.
    pub(crate) async fn leaves(mut self) -> Result<Sum, Failure> {
        self.strangers_are_free().await?;
        if self.is_bound {
            let since =
                self.view().await?["binding"]["bound_at"].as_str().and_then(crate::line::unix_seconds);
            let Some(since) = since else {
                return Err(Failure::new(Breach::Lost, "a binding is gone in the end"));
            };
            let customer = self.chat.external_userid().to_owned();
            self.sum.bindings.push((self.openid.clone(), customer, since));
        }
        let said = self.chat.heard().iter().filter(|heard| heard.text == "bound").count() as u64;
        if said > self.sum.bound {
            let what = format!("bound {} times, told so {said} times", self.sum.bound);
            return Err(Failure::new(Breach::Doubled, what));
        }
        Ok(self.sum)
    }

    /// Waits until the binding is there, answering questions meanwhile, and looks at it.
    async fn is_bound_now(&mut self, way: Way) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let (mut tries, mut wrote) = (0_u32, false);
        let view = loop {
            let view = self.view().await?;
            if view["status"] == "bound" {
                break view;
            }
            self.says_yes();
            tries += 1;
            if tries.is_multiple_of(TRIES_BEFORE_WRITING) {
                // A question that did not arrive is asked again at the next message; a person who is serving would keep
                // everything from being said, and ends the session.
                self.town.sim.servicer_ends(&self.chat, &self.account, "fakeServicerOne");
                if view["status"] == "pending" {
                    self.provoked += 1;
                    self.chat.says(&self.account, "收到了吗");
                    if self.provoked > ANSWERS_MAX {
                        // Nothing is asked any more; the code beside the link is what all fall back on.
                        let code = view["pending"]["bind_token"].as_str().unwrap_or_default();
                        self.chat.says(&self.account, code);
                    }
                } else {
                    // The code has run out meanwhile: from the beginning, unless the binding has just come.
                    self.says_new_code().await?;
                }
                wrote = true;
            }
            if Instant::now() > deadline {
                let what = format!("{} was never bound by {way:?}: {view}", self.openid);
                return Err(Failure::new(Breach::Stuck, what));
            }
            sleep(PAUSE).await;
        };
        let method = view["binding"]["method"].as_str().unwrap_or_default().to_owned();
        // What is known to be the same person is bound by that where another way takes too long.
        let may_be = [way.method(), "code", "unionid", "link"];
        if method != way.method()
            && !(wrote && may_be.contains(&method.as_str()))
            && !self.is_united_by(&method)
        {
            let what = format!("bound by {method} instead of {}", way.method());
            return Err(Failure::new(Breach::Doubled, what));
        }
        self.is_own().await?;
        self.is_bound = true;
        self.sum.bound += 1;
        self.town.report.checked(if method == way.method() { way.counted() } else { "bound by another way" });
        self.town.report.checked("bound to the right chat");
        Ok(())
    }

    fn is_united_by(&self, method: &str) -> bool {
        method == "unionid" && self.unionid.is_some()
    }

    /// Taps the yes of the newest question that was heard.
    fn says_yes(&self) {
        let newest = self.chat.heard().into_iter().rev().find_map(|heard| {
            heard.menu.iter().find_map(|item| match item {
                MenuItem::Click { id, content } if content == "yes" => Some(id.clone()),
                _ => None,
            })
        });
        let is_new = |id: &String| self.town.is_first_tap(id);
        if let Some(id) = newest.filter(is_new) {
            self.chat.taps(&id);
        }
    }

    /// The binding is with the own chat, by the back end's word.
    async fn is_own(&self) -> Result<(), Failure> {
        let path = format!("/api/admin/bindings?openid={}", self.openid);
        let bearer = Some(crate::world::ADMIN_KEY);
        let answer = self.town.line.ask(Ask { method: "GET", path: &path, bearer, body: None }).await?;
        let customer = answer.body["bindings"][0]["external_userid"].as_str().unwrap_or_default();
        if customer != self.chat.external_userid() {
            let what = format!("{} is bound to {customer}: {}", self.openid, answer.body);
            return Err(Failure::new(Breach::Wrong, what));
        }
        Ok(())
    }

    async fn strangers_are_free(&self) -> Result<(), Failure> {
        let path = format!("/api/admin/bindings?external_userid={}", self.stranger.external_userid());
        let bearer = Some(crate::world::ADMIN_KEY);
        let answer = self.town.line.ask(Ask { method: "GET", path: &path, bearer, body: None }).await?;
        if answer.body["bindings"].as_array().is_none_or(|bindings| !bindings.is_empty()) {
            return Err(Failure::new(Breach::Wrong, format!("a stranger was bound: {}", answer.body)));
        }
        self.town.report.checked("strangers left unbound");
        Ok(())
    }

    // ---- Undoing ------------------------------------------------------------------------------------------------

    async fn undoes(&mut self) -> Result<(), Failure> {
        let in_chat = self.rng.random_bool(0.3);
        if in_chat {
            self.provoked += 1;
            self.chat.says(&self.account, "解绑");
        } else {
            let answer = self.user(&self.session, "DELETE", "/api/binding", None).await?;
            if answer.status != 204 {
                return Err(Failure::new(Breach::Lost, format!("the user unbinds: {}", answer.status)));
            }
        }
        eventually(
            || format!("{} was never unbound", self.openid),
            Breach::Stuck,
            || async {
                let view = self.view().await.ok()?;
                (view["status"] == "unbound").then_some(())
            },
        )
        .await?;
        self.is_bound = false;
        self.sum.unbound += 1;
        // Nothing that existed before binds now.
        if let Some(ticket) = self.dead_tickets.last() {
            let body = json!({"ticket": ticket});
            let answer = self.user(&self.session, "POST", "/api/binding/ticket", Some(&body)).await?;
            if answer.status != 404 {
                let what = format!("a ticket of before an unbinding: {} {}", answer.status, answer.body);
                return Err(Failure::new(Breach::Doubled, what));
            }
            self.town.report.checked("old tickets refused");
        }
        // The one who undid is not bound again by what the two have in common.
        self.united |= self.unionid.is_some();
        self.town.report.checked(if in_chat { "unbound in the chat" } else { "unbound by the user" });
        Ok(())
    }

    // ---- Asking -------------------------------------------------------------------------------------------------

    async fn user(
        &self,
        session: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        self.town.line.ask(Ask { method, path, bearer: Some(session), body }).await
    }

    async fn staff(&self, method: &str, path: &str, body: &Value) -> Result<Answer, Failure> {
        let bearer = Some(self.staff_session.as_str());
        self.town.line.ask(Ask { method, path, bearer, body: Some(body) }).await
    }

    async fn view(&self) -> Result<Value, Failure> {
        let answer = self.user(&self.session, "GET", "/api/binding", None).await?;
        if answer.status == 200 {
            Ok(answer.body)
        } else {
            Err(Failure::new(Breach::Lost, format!("the view: {} {}", answer.status, answer.body)))
        }
    }

    /// A code and its link.
    async fn code(&self) -> Result<(String, String), Failure> {
        let body = json!({"new": self.rng_is_even()});
        let answer = self.user(&self.session, "POST", "/api/binding/token", Some(&body)).await?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match (text(&answer.body["bind_token"]), text(&answer.body["kf"]["url"])) {
            (Some(code), Some(url)) => Ok((code, url)),
            _ => Err(Failure::new(Breach::Lost, format!("a code: {} {}", answer.status, answer.body))),
        }
    }

    fn rng_is_even(&self) -> bool {
        self.sum.bound.is_multiple_of(2)
    }
}

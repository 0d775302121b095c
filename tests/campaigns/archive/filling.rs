//! Fills a service over its own interface: many bindings by the back end, and some of every other thing that a store
//! keeps, each by the people who make it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kfbind::sim::{Api, Sim};
use serde_json::{Value, json};

use crate::{
    line::{Ask, Line, PATIENCE, eventually},
    report::{Breach, Failure, Report},
    world::ADMIN_KEY,
};

/// Requests at once.
const AT_ONCE: usize = 64;
/// So many people of each other kind.
const OF_EACH_KIND: u64 = 50;
/// So many of those who are bound by the back end are asked for their own view, too.
const VIEWS: u64 = 1000;
/// One more wrong code than the limit allows.
const WRONG_CODES: u64 = 5;

struct Filling<'f> {
    sim: &'f Sim,
    line: &'f Line,
    account: String,
    sessions: Vec<String>,
}

/// Fills it; the sessions of users whose views are worth a comparison.
pub(super) async fn fill(
    sim: &Sim,
    line: &Line,
    bindings: u64,
    report: &Report,
) -> Result<Vec<String>, Failure> {
    has_a_link(sim).await?;
    bind(line, bindings, report).await?;
    let mut filling = Filling { sim, line, account: sim.account(0), sessions: Vec::new() };
    for number in 0..bindings.min(VIEWS) {
        let (openid, _) = pair(number * (bindings / VIEWS).max(1));
        filling.session_of(&openid, None).await?;
    }
    for number in 0..OF_EACH_KIND {
        filling.codes(number).await?;
        filling.wrong_and_locked(number).await?;
        filling.staff_card(number).await?;
        filling.conflict(number).await?;
        filling.question(number).await?;
        sim.unreadable_message(&filling.account);
    }
    filling.comes_to_rest().await?;
    let people = [
        "waiting users",
        "unbound users",
        "locked customers",
        "cards",
        "intents",
        "conflicts",
        "open questions",
    ];
    for kind in people {
        report.happened_times(kind, OF_EACH_KIND);
    }
    Ok(filling.sessions)
}

async fn has_a_link(sim: &Sim) -> Result<(), Failure> {
    let link = sim.wait_count(Api::AddContactWay, 1, PATIENCE).await;
    link.map_err(|error| Failure::new(Breach::Stuck, error.to_string()))
}

fn pair(number: u64) -> (String, String) {
    (format!("oArchive{number:020}"), format!("wmArchive{number:023}"))
}

/// Binds so many by the back end.
async fn bind(line: &Line, bindings: u64, report: &Report) -> Result<(), Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let work = (0..AT_ONCE).map(|_| {
        let next = Arc::clone(&next);
        async move {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= bindings {
                    return Ok::<(), Failure>(());
                }
                let (openid, customer) = pair(number);
                let body = json!({"external_userid": customer});
                let path = format!("/api/admin/bindings/{openid}");
                asked(line, ("PUT", &path, ADMIN_KEY), Some(&body), 200).await?;
            }
        }
    });
    futures_util::future::try_join_all(work).await?;
    report.happened_times("bindings by the back end", bindings);
    Ok(())
}

/// Asks, and expects this status.
async fn asked(
    line: &Line,
    (method, path, bearer): (&str, &str, &str),
    body: Option<&Value>,
    status: u16,
) -> Result<Value, Failure> {
    let answer = line.ask(Ask { method, path, bearer: Some(bearer), body }).await?;
    if answer.status == status {
        return Ok(answer.body);
    }
    let what = format!("{method} {path} answered {}: {}", answer.status, answer.body);
    Err(Failure::new(Breach::Wrong, what))
}

impl Filling<'_> {
    /// A session by the back end, which is kept to be asked with.
    async fn session_of(&mut self, openid: &str, label: Option<&str>) -> Result<String, Failure> {
        let mut body = json!({"openid": openid});
        if let (Some(label), Some(fields)) = (label, body.as_object_mut()) {
            fields.insert("label".to_owned(), json!(label));
        }
        let made = asked(self.line, ("POST", "/api/admin/sessions", ADMIN_KEY), Some(&body), 201).await?;
        let session = made["session"].as_str().unwrap_or_default().to_owned();
        self.sessions.push(session.clone());
        Ok(session)
    }

    async fn code(&self, session: &str) -> Result<String, Failure> {
        let made = asked(self.line, ("POST", "/api/binding/token", session), Some(&json!({})), 201).await?;
        Ok(made["bind_token"].as_str().unwrap_or_default().to_owned())
    }

    async fn becomes(&self, session: &str, status: &str) -> Result<(), Failure> {
        let what = || format!("a user never becomes {status}");
        eventually(what, Breach::Stuck, || async {
            let ask = Ask { method: "GET", path: "/api/binding", bearer: Some(session), body: None };
            let (_, view) = self.line.once(ask).await?;
            (view["status"] == status).then_some(())
        })
        .await
    }

    /// One who waits with a code and a label, one who is bound by a code, one who was unbound again, one with an intent.
    async fn codes(&mut self, number: u64) -> Result<(), Failure> {
        let waiting = self.session_of(&format!("oWaits{number:05}"), Some("138****8000")).await?;
        self.code(&waiting).await?;
        let announced = self.session_of(&format!("oIntends{number:05}"), None).await?;
        asked(self.line, ("POST", "/api/binding/intent", &announced), None, 202).await?;
        for kind in ["stays", "leaves"] {
            let session = self.session_of(&format!("o{kind}{number:05}"), None).await?;
            let code = self.code(&session).await?;
            self.sim.customer(&format!("{kind} {number}")).says(&self.account, &code);
            self.becomes(&session, "bound").await?;
            if kind == "leaves" {
                asked(self.line, ("DELETE", "/api/binding", &session), None, 204).await?;
            }
        }
        Ok(())
    }

    /// One customer who guesses until locked, and one who is invited by a card.
    async fn wrong_and_locked(&self, number: u64) -> Result<(), Failure> {
        let guesser = self.sim.customer(&format!("guesses {number}"));
        for wrong in 0..WRONG_CODES {
            guesser.says(&self.account, &format!("{:06}", 100_000 + number * 10 + wrong));
        }
        let invited = self.sim.customer(&format!("talks {number}"));
        invited.says(&self.account, "hello");
        let heard = invited.wait_heard(1, PATIENCE).await;
        heard.map(drop).map_err(|error| Failure::new(Breach::Stuck, format!("an invitation: {error}")))
    }

    /// A card by an employee, for a customer whom WeCom knows.
    async fn staff_card(&self, number: u64) -> Result<(), Failure> {
        let customer = self.sim.customer(&format!("talks {number}"));
        let code = json!({"code": self.sim.staff_login_code("fakeEmployee")});
        let login = asked(self.line, ("POST", "/api/staff/login", ""), Some(&code), 200).await?;
        let session = login["session"].as_str().unwrap_or_default();
        let body = json!({"external_userid": customer.external_userid()});
        asked(self.line, ("POST", "/api/staff/tickets", session), Some(&body), 201).await.map(drop)
    }

    /// Somebody else's customer by the back end: refused, and in the trail.
    async fn conflict(&self, number: u64) -> Result<(), Failure> {
        let (_, taken) = pair(number);
        let body = json!({"external_userid": taken});
        let path = format!("/api/admin/bindings/oConflicts{number:05}");
        asked(self.line, ("PUT", &path, ADMIN_KEY), Some(&body), 409).await.map(drop)
    }

    /// One who opened the chat by the link, was asked, and has not said yes or no.
    async fn question(&mut self, number: u64) -> Result<(), Failure> {
        let session = self.session_of(&format!("oAsked{number:05}"), None).await?;
        let made = asked(self.line, ("POST", "/api/binding/token", &session), Some(&json!({})), 201).await?;
        let customer = self.sim.customer(&format!("is asked {number}"));
        customer.opens(made["kf"]["url"].as_str().unwrap_or_default());
        let heard = customer.wait_heard(1, PATIENCE).await;
        heard.map(drop).map_err(|error| Failure::new(Breach::Stuck, format!("a question: {error}")))
    }

    /// Waits until all that was written in the chat is decided.
    async fn comes_to_rest(&self) -> Result<(), Failure> {
        let failed = |error: kfbind::sim::SimError| Failure::new(Breach::Stuck, error.to_string());
        self.sim.wait_callbacks_done(PATIENCE).await.map_err(failed)?;
        let calls = self.sim.count(Api::SyncMsg);
        self.sim.push_callback(&self.account);
        self.sim.wait_count(Api::SyncMsg, calls + 2, PATIENCE).await.map_err(failed)
    }
}

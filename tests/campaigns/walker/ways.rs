//! What a walker does by each way, up to the moment from which the binding must come by itself.

use rand::RngExt as _;
use serde_json::json;
use tokio::time::sleep;

use super::{Walker, Way};
use crate::{
    line::{PAUSE, TRIES_BEFORE_WRITING},
    report::{Breach, Failure},
};

impl Walker {
    // ---- The ways -----------------------------------------------------------------------------------------------

    pub(super) async fn by_code(&mut self) -> Result<(), Failure> {
        let (code, _) = self.code().await?;
        self.chat.says(&self.account, &code);
        Ok(())
    }

    /// A code is typed where the one before has run out; none is given to whoever is bound by now.
    pub(super) async fn says_new_code(&mut self) -> Result<(), Failure> {
        let session = self.session.clone();
        let answer = self.user(&session, "POST", "/api/binding/token", Some(&json!({}))).await?;
        match (answer.status, answer.body["bind_token"].as_str()) {
            (409, _) => {}
            (200 | 201, Some(code)) => drop(self.chat.says(&self.account, code)),
            _ => {
                return Err(Failure::new(Breach::Lost, format!("a code: {} {}", answer.status, answer.body)));
            }
        }
        Ok(())
    }

    pub(super) async fn by_link(&mut self) -> Result<(), Failure> {
        let (_, url) = self.code().await?;
        if !url.contains("scene_param=") {
            return Err(Failure::new(Breach::Lost, format!("a link without a ticket: {url}")));
        }
        self.provoked += 1;
        // The link is forwarded first; whoever opens it is asked, and says no or nothing.
        if self.rng.random_bool(0.3) {
            self.stranger.opens(&url);
            self.town.report.happened("links forwarded to strangers");
            if self.rng.random_bool(0.5) {
                self.stranger.taps_label("no");
            }
        }
        self.chat.opens(&url);
        Ok(())
    }

    /// By the card that the chat sends, or an employee's where that one doesn't come or is over; which it was.
    pub(super) async fn by_card(&mut self) -> Result<Way, Failure> {
        self.card_used = true;
        self.chat.says(&self.account, "你好，请问在吗");
        let mut tries = 0_u32;
        while self.chat.card().is_none() && tries < TRIES_BEFORE_WRITING {
            tries += 1;
            sleep(PAUSE).await;
        }
        // With a person, or in the queue to one, nothing can be said, and who was invited is not invited again for two
        // days: whoever waits in vain takes another way.
        let Some(card) = self.chat.card() else { return self.by_staff_card().await };
        let Some((_, ticket)) = card.pagepath.split_once(".html?ticket=") else {
            return Err(Failure::new(Breach::Lost, format!("a card without a ticket: {}", card.pagepath)));
        };
        let body = json!({"ticket": ticket});
        let session = self.session.clone();
        let answer = self.user(&session, "POST", "/api/binding/ticket", Some(&body)).await?;
        match answer.status {
            200 => {
                self.is_used_up(ticket).await?;
                Ok(Way::Card)
            }
            // It came with an earlier entry, and died with a binding since.
            404 if self.sum.bound > 0 => self.by_staff_card().await,
            _ => {
                let what = format!("an own card is refused: {} {}", answer.status, answer.body);
                Err(Failure::new(Breach::Lost, what))
            }
        }
    }

    pub(super) async fn by_staff_card(&mut self) -> Result<Way, Failure> {
        let ticket = self.staff_ticket().await?;
        self.redeems_own(&ticket).await?;
        Ok(Way::StaffCard)
    }

    async fn staff_ticket(&mut self) -> Result<String, Failure> {
        self.is_known_to_wecom();
        let body = json!({"external_userid": self.chat.external_userid(), "open_kfid": self.account});
        let answer = self.staff("POST", "/api/staff/tickets", &body).await?;
        match answer.body["ticket"].as_str() {
            Some(ticket) if answer.status == 201 => Ok(ticket.to_owned()),
            _ => Err(Failure::new(Breach::Lost, format!("a card: {} {}", answer.status, answer.body))),
        }
    }

    pub(super) async fn by_staff_code(&mut self) -> Result<(), Failure> {
        self.is_known_to_wecom();
        let (code, _) = self.code().await?;
        let body = json!({
            "external_userid": self.chat.external_userid(),
            "code": code,
            "open_kfid": self.account,
        });
        let answer = self.staff("POST", "/api/staff/bindings", &body).await?;
        let is_done = answer.status == 200
            || (answer.tried_before && answer.status == 409 && answer.body["code"] == "already-bound");
        if is_done {
            return Ok(());
        }
        Err(Failure::new(Breach::Lost, format!("a typed code: {} {}", answer.status, answer.body)))
    }

    pub(super) async fn by_unionid(&mut self) -> Result<(), Failure> {
        self.united = true;
        let unionid = self.unionid.clone();
        if self.rng.random_bool(0.5) {
            // A picture is talk, too, but nobody is invited by what was shown before.
            self.chat.says(&self.account, "今天发货吗");
            self.session = self.town.login_with(&self.openid, unionid.as_deref()).await?;
        } else {
            self.session = self.town.login_with(&self.openid, unionid.as_deref()).await?;
            self.chat.says(&self.account, "今天发货吗");
        }
        Ok(())
    }

    /// WeCom tells only of people who were there lately.
    fn is_known_to_wecom(&self) {
        if self.chat.heard().is_empty() {
            self.chat.enters(&self.account, None);
        }
    }

    /// The own phone opens a card and agrees; nobody else can any more.
    async fn redeems_own(&mut self, ticket: &str) -> Result<(), Failure> {
        let body = json!({"ticket": ticket});
        let answer = self.user(&self.session, "POST", "/api/binding/ticket", Some(&body)).await?;
        if answer.status != 200 {
            let what = format!("an own ticket is refused: {} {}", answer.status, answer.body);
            return Err(Failure::new(Breach::Lost, what));
        }
        self.is_used_up(ticket).await
    }

    /// Nobody else can use a ticket that has bound.
    async fn is_used_up(&mut self, ticket: &str) -> Result<(), Failure> {
        let body = json!({"ticket": ticket});
        let again = self.user(&self.stranger_session, "POST", "/api/binding/ticket", Some(&body)).await?;
        if again.status != 404 || again.body["code"] != "ticket-invalid" {
            let what = format!("a used ticket, in a stranger's hand: {} {}", again.status, again.body);
            return Err(Failure::new(Breach::Doubled, what));
        }
        self.town.report.checked("used tickets refused to strangers");
        self.dead_tickets.push(ticket.to_owned());
        Ok(())
    }
}

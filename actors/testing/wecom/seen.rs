//! What the scripted WeCom has seen and said so far.

use super::ScriptedWeCom;
use crate::{
    ids::{ExternalUserId, MenuId, MessageId, OpenKfId, Ticket, Timestamp, WelcomeCode},
    ports::{KfContent, MenuItem, Notice, PullRequest, Receiver, Reply, Words},
};

impl ScriptedWeCom {
    /// All pulls so far, failed ones too.
    #[must_use]
    pub fn pulls(&self) -> Vec<PullRequest> {
        self.state().pulls.clone()
    }

    /// The pulls of one account so far.
    #[must_use]
    pub fn pulls_of(&self, account: &str) -> Vec<PullRequest> {
        self.pulls().into_iter().filter(|pull| pull.account.as_str() == account).collect()
    }

    /// The greatest number of pulls that were open at once: over all accounts, and of one account.
    #[must_use]
    pub fn pulls_at_once(&self) -> (usize, usize) {
        let state = self.state();
        (state.pulls_at_once, state.pulls_of_one_account_at_once)
    }

    /// The number of pulls that are open.
    #[must_use]
    pub fn pulls_open(&self) -> usize {
        self.state().pulls_in_flight.len()
    }

    /// All attempts at saying something, in order.
    #[must_use]
    pub fn sends(&self) -> Vec<Reply> {
        self.state().sends.clone()
    }

    /// What was really said, in order: no reply id twice.
    #[must_use]
    pub fn said(&self) -> Vec<Reply> {
        self.state().said.clone()
    }

    /// What a customer has heard, in order; of a menu its head.
    #[must_use]
    pub fn heard(&self, customer: &str) -> Vec<String> {
        let text = |words| match words {
            Words::Text(text) => text,
            Words::Menu { head, .. } => head,
        };
        self.said().into_iter().filter(|r| r.customer.as_str() == customer).map(|r| text(r.words)).collect()
    }

    /// The yes and the no of the last question that a customer was asked.
    #[must_use]
    pub fn question(&self, customer: &str) -> Option<(MenuId, MenuId)> {
        self.said().into_iter().rev().filter(|r| r.customer.as_str() == customer).find_map(|r| {
            let Words::Menu { items, .. } = r.words else { return None };
            match items.as_slice() {
                [MenuItem::Click { id: yes, .. }, MenuItem::Click { id: no, .. }] => {
                    Some((yes.clone(), no.clone()))
                }
                _ => None,
            }
        })
    }

    /// The page of the last card that a customer was sent.
    #[must_use]
    pub fn card(&self, customer: &str) -> Option<String> {
        self.said().into_iter().rev().filter(|r| r.customer.as_str() == customer).find_map(|r| {
            let Words::Menu { items, .. } = r.words else { return None };
            match items.as_slice() {
                [MenuItem::Page { path, .. }] => Some(path.clone()),
                _ => None,
            }
        })
    }

    /// A customer taps an item of a menu; the id of the message.
    pub fn taps(&self, account: &str, customer: &str, id: &MenuId, sent: Timestamp) -> MessageId {
        let content = KfContent::Text { content: "yes".to_owned(), menu_id: Some(id.clone()) };
        self.happens(account, Some(customer), content, sent)
    }

    /// A customer enters by a link; the id of the event.
    pub fn enters(
        &self,
        account: &str,
        customer: &str,
        ticket: Option<&Ticket>,
        welcome: Option<&str>,
        sent: Timestamp,
    ) -> MessageId {
        let content = KfContent::EnterSession {
            scene: Some("kfbind".to_owned()),
            scene_param: ticket.cloned(),
            welcome_code: welcome.map(WelcomeCode::new),
        };
        self.happens(account, Some(customer), content, sent)
    }

    /// The rights to speak that were used, in order.
    #[must_use]
    pub fn welcomes(&self) -> Vec<WelcomeCode> {
        self.state().welcomes.clone()
    }

    /// The subscribe messages that were sent, in order.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.state().notices.clone()
    }

    /// Who was moved, and to whom.
    #[must_use]
    pub fn transfers(&self) -> Vec<(OpenKfId, ExternalUserId, Receiver)> {
        self.state().transfers.clone()
    }

    /// How often the state of a session was asked for.
    #[must_use]
    pub fn sessions_asked(&self) -> usize {
        self.state().sessions_asked
    }

    /// Who was asked about, call by call.
    #[must_use]
    pub fn profile_lookups(&self) -> Vec<Vec<ExternalUserId>> {
        self.state().profile_lookups.clone()
    }

    /// How often the accounts were listed.
    #[must_use]
    pub fn listings(&self) -> usize {
        self.state().listings
    }

    /// The accounts to which links were made.
    #[must_use]
    pub fn links(&self) -> Vec<OpenKfId> {
        self.state().links.clone()
    }
}

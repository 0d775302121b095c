//! When a customer is brought to a person: talk that we neither answer nor act on, and the word for it. (7.8)
//!
//! Only whether; moving the session is the notifier's work, and from which states it is allowed WeCom's.

use super::{Case, Effect, Known, Saying};
use crate::{
    policy::Handover,
    ports::{KfContent, MessageKind},
    registry::records::Method,
};

/// A session lasts so long from when a person was brought, unless it is ended before. Seconds.
pub(crate) const SESSION_S: u64 = 48 * 3600;

impl<K: Known> Case<'_, K> {
    /// A person on our side ended the session: the next talk brings one again.
    pub(super) fn session_ended(&mut self) {
        let (account, sent) = (&self.message.account, self.sent());
        self.person.moved.retain(|(moved_in, at)| moved_in != account || *at > sent);
    }

    /// Brings a person, once in a session.
    pub(super) fn hand_over(&mut self) {
        let is_talk = match &self.message.content {
            KfContent::Text { .. } => !self.acted || self.in_passing,
            KfContent::Other(MessageKind::Media) => true,
            _ => false,
        };
        let is_word = self.is_person_word();
        let is_answered = self.said.is_some_and(|saying| saying != Saying::Invitation);
        let is_acted_on = self
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Bind(join) if join.method != Method::Unionid));
        let sent = self.sent();
        let is_old = self.circumstances.now.since(sent) > SESSION_S;
        if self.policy().handover == Handover::None || !is_talk || is_old {
            return;
        }
        if (is_answered || is_acted_on) && !is_word {
            return;
        }
        let account = &self.message.account;
        let was_moved =
            self.person.moved.iter().any(|(moved_in, at)| moved_in == account && sent < at.plus(SESSION_S));
        if was_moved && !is_word {
            return;
        }
        let account = account.clone();
        self.person.moved.retain(|(moved_in, at)| *moved_in != account && sent < at.plus(SESSION_S));
        self.person.moved.push((account, sent));
        self.effects.push(Effect::HandOver);
    }

    fn is_person_word(&self) -> bool {
        match (&self.message.content, &self.policy().person_word) {
            (KfContent::Text { content, .. }, Some(word)) => content.trim() == word,
            _ => false,
        }
    }
}

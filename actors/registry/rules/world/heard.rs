//! Short questions about what a message came to, for tests.

use super::ACCOUNT;
use crate::{
    ids::{ExternalUserId, MessageId, OpenId, OpenKfId, Timestamp},
    ports::{KfContent, KfMessage},
    registry::rules::{Effect, Saying, Verdict},
};

/// A text of a customer, as WeCom gives it.
pub(crate) fn message(customer: &str, text: &str, sent: u64) -> KfMessage {
    KfMessage {
        msgid: MessageId::new(format!("{customer}/{text}/{sent}")),
        account: OpenKfId::new(ACCOUNT),
        customer: Some(ExternalUserId::new(customer)),
        send_time: Timestamp(sent),
        content: KfContent::Text { content: text.to_owned(), menu_id: None },
    }
}

/// A verdict, for short questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard(pub(crate) Verdict);

impl Heard {
    /// What is answered.
    pub(crate) fn answer(&self) -> Option<Saying> {
        self.0.effects.iter().find_map(|effect| match effect {
            Effect::Answer(answer) => Some(answer.saying),
            _ => None,
        })
    }

    /// The account and the minutes that the answer names.
    pub(crate) fn named(&self) -> (Option<&str>, u64) {
        self.0
            .effects
            .iter()
            .find_map(|effect| match effect {
                Effect::Answer(answer) => Some((answer.openid.as_ref().map(OpenId::as_str), answer.minutes)),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// When the binding that it made was made.
    pub(crate) fn bound_at(&self) -> Option<u64> {
        self.0.effects.iter().find_map(|effect| match effect {
            Effect::Bind(join) => Some(join.bound_at.0),
            _ => None,
        })
    }

    /// Why codes did not bind.
    pub(crate) fn rejected(&self) -> Vec<&'static str> {
        self.0
            .effects
            .iter()
            .filter_map(|e| if let Effect::Rejected(why) = e { Some(*why) } else { None })
            .collect()
    }

    /// Why it is not answered.
    pub(crate) fn silent(&self) -> Option<&'static str> {
        self.0.effects.iter().find_map(|e| if let Effect::Unanswered(why) = e { Some(*why) } else { None })
    }

    /// Whether nothing at all follows.
    pub(crate) fn is_talk(&self) -> bool {
        self.0 == Verdict::default()
    }
}

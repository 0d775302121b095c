//! The names of things: one type per kind of identifier, so that two strings that look alike can't be swapped.
//!
//! Ids come from WeCom and WeChat and are kept to the letter: they are case-sensitive everywhere. Nothing here
//! checks where an id came from; the wire layer does that before it builds one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A type that is a text and nothing else.
macro_rules! text {
    ($(#[$attribute:meta])* $name:ident) => {
        $(#[$attribute])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text, to the letter.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

/// One that everybody may see.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        text! { $(#[$doc])* #[derive(Debug)] $name }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// One that opens something: only its length is shown.
macro_rules! hidden_id {
    ($(#[$doc:meta])* $name:ident) => {
        text! { $(#[$doc])* $name }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({} bytes)", stringify!($name), self.0.len())
            }
        }
    };
}

text_id! {
    /// A customer-service account (`wk…`).
    OpenKfId
}
text_id! {
    /// A person in the kf chat (`wm…`): WeCom's `external_userid`, the customer.
    ExternalUserId
}
text_id! {
    /// A person in the mini program: WeChat's `openid`, the user.
    OpenId
}
text_id! {
    /// An employee, within the corp.
    UserId
}
text_id! {
    /// The same person across all apps of one WeChat Open Platform account.
    UnionId
}
text_id! {
    /// A message in a kf account, unique together with its [`OpenKfId`].
    MessageId
}
text_id! {
    /// A place in one account's message stream (`next_cursor`), at most 64 bytes by WeCom's word.
    Cursor
}
text_id! {
    /// The `msgid` under which we send an answer: 32 characters, derived from the message that it answers.
    ReplyId
}

text! {
    /// The bind token that the user types into the chat, in its stored form: digits; upper-case letters and digits;
    /// or lower-case words joined by hyphens. Whoever reads one could bind somebody, so `Debug` hides it.
    BindCode
}

impl fmt::Debug for BindCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BindCode({} characters)", self.0.len())
    }
}

hidden_id! {
    /// What a kf link or a card carries: binds whoever comes with it, once. `Debug` hides it.
    Ticket
}
hidden_id! {
    /// What a tap on a menu item says: the answer to one question. `Debug` hides it.
    MenuId
}
hidden_id! {
    /// Lets us speak first to whoever has just entered, once, within 20 s. `Debug` hides it.
    WelcomeCode
}

/// The permission in a callback that lifts the limit on pulling; valid ten minutes from `created_at`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncToken {
    /// What goes into `kf/sync_msg` as `token`, at most 128 bytes by WeCom's word.
    pub value: String,
    /// The callback's `CreateTime`.
    pub created_at: Timestamp,
}

impl SyncToken {
    /// How long WeCom takes a sync token, in seconds.
    pub const LIFE_S: u64 = 600;

    /// Whether WeCom would still take it at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now.0 < self.created_at.0.saturating_add(Self::LIFE_S)
    }
}

impl fmt::Debug for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncToken(of {})", self.created_at.0)
    }
}

/// A moment in whole Unix seconds, the unit in which the rules compare times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// `seconds` later.
    #[must_use]
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// `seconds` earlier, at the earliest the epoch.
    #[must_use]
    pub fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// The seconds since `earlier`, 0 if that is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

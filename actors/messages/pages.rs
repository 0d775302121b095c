//! What passes between kf-sync and the registry about pages of messages. Plain values.

use crate::{
    ids::{Cursor, ExternalUserId, OpenKfId, SyncToken, Timestamp},
    ports::{Page, Profile},
};

/// See [`super::RegistryMessage::Cursor`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CursorState {
    /// Where the next page begins; `None` = the oldest message that WeCom keeps.
    pub cursor: Option<Cursor>,
    /// The newest sync token, live or not.
    pub sync_token: Option<SyncToken>,
}

/// See [`super::RegistryMessage::CommitPage`].
#[derive(Clone, Debug)]
pub struct PageCommit {
    /// The account that was pulled.
    pub account: OpenKfId,
    /// The page.
    pub page: Page,
    /// The newest sync token, kept with the cursor.
    pub sync_token: Option<SyncToken>,
    /// What WeCom told of the customers on it.
    pub learned: Learned,
}

/// A customer on a page, as far as it matters for [`super::RegistryMessage::Wanting`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnPage {
    /// Who.
    pub customer: ExternalUserId,
    /// When the newest message was sent.
    pub sent: Timestamp,
    /// When the oldest was sent that was written, where there was more than an entry.
    pub wrote_at: Option<Timestamp>,
}

/// See [`super::RegistryMessage::Wanting`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// About whom.
    pub customers: Vec<ExternalUserId>,
    /// Whether with the ticket of the last entry.
    pub with_entry: bool,
}

/// What WeCom told of the customers on a page.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    /// Who was asked about and answered for, known or not.
    pub asked: Vec<ExternalUserId>,
    /// What was told.
    pub profiles: Vec<Profile>,
}

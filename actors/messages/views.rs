//! What the inside tells the outside about codes, bindings and records: plain values, no messages.

use std::fmt;

use crate::ids::{BindCode, ExternalUserId, OpenId, OpenKfId, Timestamp, UnionId};

/// The link to a kf account, as the mini program shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct KfLink {
    /// What to open. May carry a ticket.
    pub url: String,
    /// The account behind it, if known.
    pub account: Option<OpenKfId>,
}

impl fmt::Debug for KfLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.url.split(['?', '&']).next().unwrap_or_default();
        f.debug_struct("KfLink").field("url", &bare).field("account", &self.account).finish_non_exhaustive()
    }
}

/// A user's live code, as the mini program shows it. `Debug` hides it, and the link, which may carry a ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingCode {
    /// What to type.
    pub code: BindCode,
    /// The same as the eye likes it: digits split near the middle, other formats not at all.
    pub display: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Where to type it.
    pub link: KfLink,
}

impl fmt::Debug for PendingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCode")
            .field("code", &self.code)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A binding, as told to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingInfo {
    /// The user.
    pub openid: OpenId,
    /// The customer.
    pub customer: ExternalUserId,
    /// The account in which it was made.
    pub account: Option<OpenKfId>,
    /// By which way: `code`, `admin`, …
    pub method: &'static str,
    /// When.
    pub bound_at: Timestamp,
    /// The customer's name in WeChat, once known.
    pub nickname: Option<String>,
    /// The unionid of either side, if known.
    pub unionid: Option<UnionId>,
    /// How the back end names the account.
    pub label: Option<String>,
}

/// What a user sees of their binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingView {
    /// Grows with every change of the rest; 0 for a user never seen.
    pub version: u64,
    /// The state.
    pub status: BindingStatus,
}

/// See [`BindingView`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingStatus {
    /// Neither bound nor about to be.
    Unbound,
    /// A code is live.
    Pending(PendingCode),
    /// Bound.
    Bound(Box<BindingInfo>),
}

/// Which bindings the back end asks for; the fields narrow it down together.
#[derive(Clone, Debug, Default)]
pub struct BindingQuery {
    /// Of this user.
    pub openid: Option<OpenId>,
    /// Of this customer.
    pub customer: Option<ExternalUserId>,
    /// Of this person.
    pub unionid: Option<UnionId>,
    /// Of customers of exactly this name.
    pub nickname: Option<String>,
    /// Only users behind this one in order.
    pub after: Option<OpenId>,
    /// At most so many, 1 to 1,000.
    pub limit: usize,
}

/// The answer to a [`BindingQuery`], ordered by openid.
#[derive(Clone, Debug, Default)]
pub struct BindingPage {
    /// The bindings.
    pub bindings: Vec<BindingInfo>,
    /// What to give as `after` for more.
    pub next: Option<OpenId>,
}

/// A record as it is stored, for an export. `Debug` hides key and value: codes, texts and the instance key are among them.
#[derive(Clone, PartialEq, Eq)]
pub struct ArchiveRecord {
    /// The tree's name.
    pub tree: &'static str,
    /// The key.
    pub key: Vec<u8>,
    /// The value, version byte first.
    pub value: Vec<u8>,
}

impl fmt::Debug for ArchiveRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArchiveRecord(of {}, {} bytes)", self.tree, self.value.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_codes_nor_stored_bytes() {
        let code = PendingCode {
            code: BindCode::new("482913"),
            display: "482 913".to_owned(),
            expires_at: Timestamp(1),
            link: KfLink { url: "https://example.com/?scene_param=Hush".to_owned(), account: None },
        };
        let view = BindingView { version: 1, status: BindingStatus::Pending(code) };
        let record = ArchiveRecord { tree: "codes", key: b"482913".to_vec(), value: vec![201, 202, 203] };
        let shown = format!("{view:?} {record:?}");
        for hidden in ["482", "913", "Hush", "201, 202"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}

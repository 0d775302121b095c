//! What the inside tells the outside about codes, bindings and records: plain values, no messages.

use super::KfLink;
use crate::ids::{BindCode, ExternalUserId, OpenId, OpenKfId, Timestamp, UnionId};

/// A user's live code, as the mini program shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// A record as it is stored, for an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveRecord {
    /// The tree's name.
    pub tree: &'static str,
    /// The key.
    pub key: Vec<u8>,
    /// The value, version byte first.
    pub value: Vec<u8>,
}

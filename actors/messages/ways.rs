//! What the outside asks and is told about the further ways to bind: tickets, intents, employees. Plain values.

use std::fmt;

use crate::ids::{BindCode, ExternalUserId, OpenId, OpenKfId, Ticket, Timestamp, UnionId, UserId};

use super::{BindingInfo, BindingView};

/// A user of the mini program comes with a ticket.
#[derive(Clone, Debug)]
pub struct TicketRequest {
    /// Who.
    pub openid: OpenId,
    /// From the login, if WeChat told it.
    pub unionid: Option<UnionId>,
    /// The ticket.
    pub ticket: Ticket,
}

/// Why a ticket doesn't bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketRefusal {
    /// Unknown, used or expired: all alike, so that nothing can be learned by trying.
    Invalid,
    /// These very two are bound already.
    AlreadyBound,
    /// One side is bound elsewhere.
    Conflict,
    /// The two are known to be different people.
    OtherPerson,
}

/// Whom a ticket would bind, for the page to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketView {
    /// The customer's name in WeChat, if it can be had.
    pub nickname: Option<String>,
    /// When the ticket ends.
    pub expires_at: Timestamp,
}

/// What a ticket stands for, as the registry tells it to [`crate::handles::Handles`], which may ask WeCom then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketFacts {
    /// Whom it would bind.
    pub customer: ExternalUserId,
    /// The name, if known.
    pub nickname: Option<String>,
    /// When the ticket ends.
    pub expires_at: Timestamp,
    /// Whether WeCom should be asked who the customer is before the ticket binds.
    pub wants_profile: bool,
}

/// The outcome of redeeming a ticket.
pub type TicketOutcome = Result<BindingView, TicketRefusal>;

/// The outcome of announcing that one is about to open the chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntentOutcome {
    /// Open until then.
    Open {
        /// When it ends.
        expires_at: Timestamp,
    },
    /// The user is bound.
    AlreadyBound,
    /// No kf link is known, or one that doesn't say to which account it leads.
    NoLink,
}

/// A card that an employee wants to send.
#[derive(Clone, Debug)]
pub struct StaffTicketRequest {
    /// The employee.
    pub userid: UserId,
    /// For whom.
    pub customer: ExternalUserId,
    /// In which account, if the employee knows.
    pub account: Option<OpenKfId>,
}

/// A ticket and where it is opened.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedTicket {
    /// The ticket.
    pub ticket: Ticket,
    /// The card's page with the ticket in its query.
    pub path: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl fmt::Debug for IssuedTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedTicket").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// An employee types the code that a customer reads out.
#[derive(Clone, Debug)]
pub struct StaffBindRequest {
    /// The employee.
    pub userid: UserId,
    /// Who reads it out.
    pub customer: ExternalUserId,
    /// What was typed, as it was typed.
    pub code: BindCode,
    /// In which account, if the employee knows.
    pub account: Option<OpenKfId>,
}

/// The outcome of [`StaffBindRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StaffBindOutcome {
    /// Bound.
    Bound(Box<BindingInfo>),
    /// No such code, or one that is over.
    CodeInvalid,
    /// One side is bound elsewhere.
    Conflict,
    /// These two are bound already.
    AlreadyBound,
    /// The two are known to be different people.
    OtherPerson,
    /// This employee has typed too many wrong codes.
    TooMany {
        /// Seconds, at least 1.
        retry_after_s: u64,
    },
}

/// What an employee is shown of the customer who writes to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaffCustomer {
    /// The name in WeChat, if known.
    pub nickname: Option<String>,
    /// The binding, if there is one.
    pub binding: Option<Box<BindingInfo>>,
}

//! The whole conversation between the actors on one page.
//!
//! ```text
//!  http callback ──Deliver (call)──▶ Callback ──Nudge, AuthChange (cast)──▶ KfSync ─┐ Tick, Loaded, Fetched,
//!                                                                            ▲     │ Committed … (to itself)
//!                                                                            └─────┘
//!  http binding ──Issue, Unbind … (call)──▶ Registry ◀──Cursor, CommitPage, SaveLink (call)── KfSync
//!                                           │     ▲
//!                         OutboxGrew (cast) ▼     │ Outbox, SaveProfiles (call), Settle (cast)
//!                                           Notifier ─┐ Loaded, Sent, LookedUp, Tick (to itself)
//!                                              ▲──────┘
//!                                  Registry ──Grew (cast)──▶ Webhooks ─┐ Loaded, Ended, Tick (to itself)
//!                                     ▲──Webhooks (call), SettleWebhooks (cast)──┘
//!  http health ──Observe (call)──▶ each of them
//! ```
//!
//! Calls carry a timeout and go to the registry or come from HTTP; the registry calls nobody, so no circle of calls
//! can lock up. Whoever holds [`crate::handles::Handles`] can't send the messages that an actor means for itself.

use ractor::RpcReplyPort;

mod admin;
mod outbox;
mod pages;
mod views;
mod ways;
mod webhooks;

pub use admin::{
    AdminBindOutcome, AdminBindRequest, AuditEvent, DayStats, EventPage, EventsFrom, Introduction, Person,
    Stats,
};
pub use outbox::{HandOver, Notify, OutboxEntry, OutboxTask, Say, Welcome};
pub use pages::{CursorState, Learned, OnPage, PageCommit, Wanted};
pub use views::{
    ArchiveRecord, BindingInfo, BindingPage, BindingQuery, BindingStatus, BindingView, KfLink, PendingCode,
};
pub use ways::{
    IntentOutcome, IssuedTicket, StaffBindOutcome, StaffBindRequest, StaffCustomer, StaffTicketRequest,
    TicketFacts, TicketOutcome, TicketRefusal, TicketRequest, TicketView,
};
pub use webhooks::{
    DeadLetter, DeadLetterPage, WebhookBinding, WebhookEnd, WebhookEntry, WebhookFate, WebhookKind,
    WebhooksMessage,
};

use crate::{
    ids::{Cursor, ExternalUserId, OpenId, OpenKfId, SyncToken, Timestamp, UnionId},
    ports::{CallError, CallbackEvent, KfAccount, Page, Profile},
};

// ---- Callback ---------------------------------------------------------------------------------------------------

/// An authentic callback, opened.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The callback's signature: the same bytes again are a repeat of the same request.
    pub signature: [u8; 20],
    /// What it says.
    pub event: CallbackEvent,
}

/// To the callback actor.
#[derive(Debug)]
pub enum CallbackMessage {
    /// Take this callback; the answer means that it is passed on, not that anything was pulled.
    Deliver(Delivery, RpcReplyPort<()>),
    /// Answer that you are alive.
    Observe(RpcReplyPort<()>),
}

// ---- KfSync -----------------------------------------------------------------------------------------------------

/// To the kf-sync actor.
#[derive(Debug)]
pub enum KfSyncMessage {
    /// Look again, there (`None`: everywhere). Says nothing about what is new.
    Nudge {
        /// Where.
        account: Option<OpenKfId>,
        /// A permission to pull.
        sync_token: Option<SyncToken>,
    },
    /// The accounts that we may manage have changed.
    AuthChange {
        /// Now ours.
        added: Vec<OpenKfId>,
        /// No longer ours.
        removed: Vec<OpenKfId>,
    },
    /// To itself: look at what is due.
    Tick,
    /// To itself: the registry told where to go on; `None` if it did not answer.
    Loaded {
        /// In which account.
        account: OpenKfId,
        /// What is stored.
        state: Option<CursorState>,
    },
    /// To itself: WeCom answered a pull.
    Fetched {
        /// Of which account.
        account: OpenKfId,
        /// The page.
        result: Result<Page, CallError>,
    },
    /// To itself: the registry has the page on disk, or could not take it.
    Committed {
        /// Of which account.
        account: OpenKfId,
        /// `None`: refused for now, try again.
        outcome: Option<PageFate>,
    },
    /// To itself: WeCom listed the accounts.
    Listed(Result<Vec<KfAccount>, CallError>),
    /// To itself: WeCom made the link, and the registry kept it.
    LinkMade(Result<KfLink, CallError>),
    /// Begin nothing new; answer when nothing is under way.
    Drain(RpcReplyPort<()>),
    /// Tell what you know of each account.
    Observe(RpcReplyPort<SyncReport>),
}

/// What became of a page, as kf-sync needs it to go on.
#[derive(Clone, Debug)]
pub struct PageFate {
    /// Whether WeCom has more.
    pub has_more: bool,
    /// How many messages were on the page, unreadable ones included.
    pub messages: usize,
    /// When the newest of them was sent.
    pub newest: Option<Timestamp>,
    /// Where the next page begins, if WeCom named it.
    pub cursor: Option<Cursor>,
}

/// What kf-sync knows.
#[derive(Clone, Debug, Default)]
pub struct SyncReport {
    /// Whether the accounts to serve are known.
    pub accounts_known: bool,
    /// One line per served account.
    pub accounts: Vec<AccountReport>,
    /// What WeCom last listed and is not served.
    pub unserved: Vec<KfAccount>,
}

/// What kf-sync knows of one account.
#[derive(Clone, Debug)]
pub struct AccountReport {
    /// Which.
    pub account: OpenKfId,
    /// Its name in the console, once WeCom has listed it.
    pub name: Option<String>,
    /// Whether the API may manage it, as WeCom last listed it; `None` while it hasn't.
    pub api_managed: Option<bool>,
    /// When a pull last worked.
    pub last_pull_at: Option<Timestamp>,
    /// Why the last pull failed, if it did.
    pub last_error: Option<String>,
}

// ---- Registry ---------------------------------------------------------------------------------------------------

/// To the registry actor. Everything that changes state is answered after the bytes are on the disk.
#[derive(Debug)]
pub enum RegistryMessage {
    /// Give this user a code.
    Issue(IssueRequest, RpcReplyPort<Result<IssueOutcome, Refusal>>),
    /// End this user's binding and codes.
    Unbind(UnbindRequest, RpcReplyPort<Result<bool, Refusal>>),
    /// Lift a customer's lock and forget the wrong codes. Answers whether there was anything.
    LiftLock(ExternalUserId, RpcReplyPort<Result<bool, Refusal>>),
    /// A user has logged in with this unionid.
    Meet(OpenId, UnionId, RpcReplyPort<Result<(), Refusal>>),
    /// Whom a ticket would bind, for this user.
    LookAtTicket(TicketRequest, RpcReplyPort<Result<Result<TicketFacts, TicketRefusal>, Refusal>>),
    /// Bind by a ticket.
    RedeemTicket(TicketRequest, RpcReplyPort<Result<Result<(), TicketRefusal>, Refusal>>),
    /// A user is about to open the chat.
    OpenIntent(OpenId, Option<UnionId>, RpcReplyPort<Result<IntentOutcome, Refusal>>),
    /// Make a ticket for an employee's card.
    MakeTicket(StaffTicketRequest, RpcReplyPort<Result<IssuedTicket, Refusal>>),
    /// Bind by a code that an employee typed.
    BindForStaff(StaffBindRequest, RpcReplyPort<Result<StaffBindOutcome, Refusal>>),
    /// The back end has logged this user in.
    Introduce(Introduction, RpcReplyPort<Result<(), Refusal>>),
    /// The back end binds two.
    BindForAdmin(AdminBindRequest, RpcReplyPort<Result<AdminBindOutcome, Refusal>>),
    /// Keep nothing of this person; whether anything was kept. Answered when nothing is left, after a pass over all
    /// that may name them.
    Erase(Person, RpcReplyPort<Result<bool, Refusal>>),
    /// Counts of so many days.
    Stats(usize, RpcReplyPort<Stats>),
    /// The events for the business back end from this one on, oldest first.
    Webhooks {
        /// The first sequence number wanted.
        from: u64,
        /// At most so many.
        limit: usize,
        /// The events.
        reply: RpcReplyPort<Vec<WebhookEntry>>,
    },
    /// These events are done with, and how they ended.
    SettleWebhooks(Vec<(u64, WebhookFate)>),
    /// Tell this actor whenever more events wait.
    SubscribeWebhooks(ractor::ActorRef<WebhooksMessage>),
    /// Send the dead letter with this id again; whether there is one.
    Resend(String, RpcReplyPort<Result<bool, Refusal>>),
    /// Which of the customers on a page WeCom should be asked about before it is decided.
    Wanting(Vec<OnPage>, RpcReplyPort<Wanted>),
    /// Decide a page's messages, and keep effects, answers and cursor together.
    CommitPage(Box<PageCommit>, RpcReplyPort<Result<(), Refusal>>),
    /// Keep what WeCom tells of customers.
    SaveProfiles(Vec<Profile>, RpcReplyPort<Result<(), Refusal>>),
    /// The same of customers who were asked about for their bindings: they may have been erased since.
    SaveProfilesOfBound(Vec<Profile>, RpcReplyPort<Result<(), Refusal>>),
    /// Keep when the latest pulls without a live sync token went out: WeCom counts them across our restarts.
    SaveRation(Vec<Timestamp>),
    /// Keep the kf link.
    SaveLink(KfLink, RpcReplyPort<Result<(), Refusal>>),
    /// Where to go on in an account, and the sync token kept with it.
    Cursor(OpenKfId, RpcReplyPort<CursorState>),
    /// The outbox from this entry on, oldest first.
    Outbox {
        /// The first sequence number wanted.
        from: u64,
        /// At most so many.
        limit: usize,
        /// The entries.
        reply: RpcReplyPort<Vec<OutboxEntry>>,
    },
    /// This outbox entry is about to be done, by a call that knows no repeat.
    Begin(u64, RpcReplyPort<Result<(), Refusal>>),
    /// These outbox entries are done with, and how they ended.
    Settle(Vec<(u64, Settlement)>),
    /// Tell this actor whenever the outbox has grown.
    Subscribe(ractor::ActorRef<NotifierMessage>),
    /// Begin an export of the whole store as it is now; its id, or `None` while too many are under way.
    BeginExport(RpcReplyPort<Option<u64>>),
    /// The next records of an export; empty at the end, `None` where it was given up.
    NextExported(u64, RpcReplyPort<Option<Vec<ArchiveRecord>>>),
    /// Answer once everything that came before is on the disk.
    Barrier(RpcReplyPort<()>),
    /// To itself: forget what is too old, a little at a time.
    Sweep,
    /// To itself: the writer thread has failed; the process must end.
    WriterFailed(String),
}

/// Why the registry takes no writes for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Less than 64 MiB are free on the store's disk.
    #[error("the disk of the store is almost full")]
    DiskFull,
}

/// See [`RegistryMessage::Issue`].
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// For whom.
    pub openid: OpenId,
    /// The user's unionid, if WeChat told it at login.
    pub unionid: Option<UnionId>,
    /// Whether a live code is to be replaced rather than given again.
    pub renew: bool,
}

/// See [`RegistryMessage::Issue`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueOutcome {
    /// A new code.
    Issued(PendingCode),
    /// The live code, with more than half its life left.
    Again(PendingCode),
    /// The user is bound already.
    AlreadyBound,
    /// Too many new codes; the next may be made after so many seconds.
    TooMany {
        /// Seconds, at least 1.
        retry_after_s: u64,
    },
    /// No kf link is known yet, so a code would lead nowhere. None was made.
    NoLink,
}

/// See [`RegistryMessage::Unbind`].
#[derive(Clone, Debug)]
pub struct UnbindRequest {
    /// Whose binding.
    pub openid: OpenId,
    /// Who asks.
    pub by: UnbindBy,
}

/// Who ended a binding, beside the customer in the chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnbindBy {
    /// The user, in the mini program.
    User,
    /// The business back end.
    Admin,
}

/// How an outbox entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done, or given up without consequences.
    Done,
    /// It did not happen, or nobody knows: a question is asked again, a customer is moved again, at the next message.
    NotDone,
}

// ---- Notifier ---------------------------------------------------------------------------------------------------

/// To the notifier actor.
#[derive(Debug)]
pub enum NotifierMessage {
    /// The outbox has new entries.
    OutboxGrew,
    /// To itself: the entries that it asked for; `None` if the registry did not answer.
    Loaded(Option<Vec<OutboxEntry>>),
    /// To itself: an attempt at this customer's first entry has ended.
    Sent {
        /// Whose.
        customer: ExternalUserId,
        /// How.
        attempt: Attempt,
    },
    /// To itself: an attempt at a subscribe message has ended.
    Notified {
        /// The entry.
        seq: u64,
        /// How.
        attempt: Attempt,
    },
    /// To itself: an attempt at finding out who these customers are has ended.
    LookedUp {
        /// The entries.
        seqs: Vec<u64>,
        /// How.
        attempt: Attempt,
    },
    /// To itself: look at what is due.
    Tick,
    /// Begin nothing new; answer when nothing is under way.
    Drain(RpcReplyPort<()>),
    /// Answer that you are alive.
    Observe(RpcReplyPort<()>),
}

/// How an attempt at an outbox entry ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Done.
    Done,
    /// Never going to work, for this reason (a label of the metric).
    GivenUp(&'static str),
    /// It may have happened or not, and must not be tried again.
    Unknown,
    /// Perhaps later.
    Later(CallError),
}

//! What is stored, and its bytes: one version byte, then bincode (variable-length integers, nothing trailing).
//!
//! The only file that knows the encoding. A record of an older version is read and upgraded here; one of a newer
//! version is refused. Nothing here decides anything.

use std::fmt;

use bincode::Options;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::store::{StoreError, TreeId};
use crate::{
    ids::{
        BindCode, Cursor, ExternalUserId, OpenId, OpenKfId, ReplyId, SyncToken, Timestamp, UnionId, UserId,
        WelcomeCode,
    },
    policy::CodeFormat,
};

mod check;
mod service;
mod ways;

pub(crate) use check::check;
pub(crate) use service::{DayRecord, DeadLetterRecord, ErasureRecord, WebhookKindTag, WebhookRecord};
pub(crate) use ways::{
    CustomerPerson, Delivery, Intent, QuestionId, QuestionRecord, SamePerson, Subject, TicketRecord,
    UserPerson, WindowRecord,
};

/// The version of all records; a change to one of them gets a number, a struct and an upgrade of its own.
const VERSION: u8 = 1;

/// The largest record that is read, so that a damaged length can't ask for all the memory.
const RECORD_BYTES_MAX: u64 = 1 << 20;

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_limit(RECORD_BYTES_MAX)
}

/// The bytes of a record.
pub(crate) fn encode<T: Serialize>(tree: TreeId, record: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![VERSION];
    options()
        .serialize_into(&mut bytes, record)
        .map_err(|e| StoreError::BadRecord { tree: tree.name(), why: e.to_string() })?;
    Ok(bytes)
}

/// The record in these bytes.
pub(crate) fn decode<T: DeserializeOwned>(tree: TreeId, bytes: &[u8]) -> Result<T, StoreError> {
    let bad = |why: String| StoreError::BadRecord { tree: tree.name(), why };
    match bytes.split_first() {
        Some((&VERSION, rest)) => options().deserialize(rest).map_err(|e| bad(e.to_string())),
        Some((&found, _)) if found > VERSION => {
            Err(StoreError::NewerRecord { tree: tree.name(), found, known: VERSION })
        }
        Some((version, _)) => Err(bad(format!("there never was a version {version}"))),
        None => Err(bad("it is empty".to_owned())),
    }
}

/// The number that a key is: big-endian, so that keys sort as numbers do.
pub(crate) fn number(tree: TreeId, key: &[u8]) -> Result<u64, StoreError> {
    key.try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| StoreError::BadRecord { tree: tree.name(), why: "its key is no number".to_owned() })
}

/// What a key of the tree `people` begins with: a customer, a user, or a unionid.
pub(crate) const CUSTOMER: u8 = 0;
pub(crate) const USER: u8 = 1;
pub(crate) const SAME: u8 = 2;

/// The key of somebody in the tree `people`.
pub(crate) fn person_key(kind: u8, id: &str) -> Vec<u8> {
    [&[kind], id.as_bytes()].concat()
}

/// Tree `codes`, by the code's stored form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CodeRecord {
    /// Whose it is.
    pub(crate) openid: OpenId,
    /// How it looks.
    pub(crate) format: CodeFormatTag,
    /// The user's epoch when it was made; it binds only while the user is still in that one.
    pub(crate) epoch: u32,
    /// When it was made.
    pub(crate) issued_at: Timestamp,
    /// When it ends by itself.
    pub(crate) expires_at: Timestamp,
    /// When a newer code took its place.
    pub(crate) revoked_at: Option<Timestamp>,
    /// Whether it has bound.
    pub(crate) spent: bool,
    /// The customers whose conflict over it stands in the audit trail already.
    pub(crate) conflicts: Vec<ExternalUserId>,
}

/// [`CodeFormat`] as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CodeFormatTag {
    Digits,
    Alphanumeric,
    Words,
}

impl From<CodeFormat> for CodeFormatTag {
    fn from(format: CodeFormat) -> Self {
        match format {
            CodeFormat::Digits => Self::Digits,
            CodeFormat::Alphanumeric => Self::Alphanumeric,
            CodeFormat::Words => Self::Words,
        }
    }
}

impl From<CodeFormatTag> for CodeFormat {
    fn from(format: CodeFormatTag) -> Self {
        match format {
            CodeFormatTag::Digits => Self::Digits,
            CodeFormatTag::Alphanumeric => Self::Alphanumeric,
            CodeFormatTag::Words => Self::Words,
        }
    }
}

/// Tree `users`, by openid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserRecord {
    /// Grows by at least two with every change that the user sees; the odd number after it is that of expiry.
    pub(crate) version: u64,
    /// Grows with every binding and unbinding; codes of an earlier epoch are dead.
    pub(crate) epoch: u32,
    /// Whether there is a record in `bindings`.
    pub(crate) bound: bool,
    /// The latest code of this epoch, live or expired.
    pub(crate) code: Option<UserCode>,
    /// When the latest codes were made, oldest first, as far as the limit needs it.
    pub(crate) issued: Vec<Timestamp>,
    /// How the back end names the account.
    pub(crate) label: Option<String>,
    /// From the login.
    pub(crate) unionid: Option<UnionId>,
}

/// The latest code in a [`UserRecord`], so that one read answers the mini program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserCode {
    pub(crate) code: BindCode,
    pub(crate) format: CodeFormatTag,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// Tree `bindings`, by openid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BindingRecord {
    pub(crate) customer: ExternalUserId,
    pub(crate) account: Option<OpenKfId>,
    pub(crate) method: Method,
    pub(crate) bound_at: Timestamp,
    pub(crate) nickname: Option<String>,
    /// The customer's, from WeCom.
    pub(crate) unionid: Option<UnionId>,
}

/// The way in which a binding was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Method {
    Code,
    Link,
    Card,
    Unionid,
    Window,
    Staff,
    Admin,
}

impl Method {
    /// The name that the outside knows.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Link => "link",
            Self::Card => "card",
            Self::Unionid => "unionid",
            Self::Window => "window",
            Self::Staff => "staff",
            Self::Admin => "admin",
        }
    }
}

/// Tree `attempts`, by customer: what limits and undoes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CustomerRecord {
    /// When the current window of wrong codes began.
    pub(crate) window_start: Timestamp,
    /// Wrong codes in it.
    pub(crate) wrong_in_window: u32,
    /// Wrong codes since the last fresh start.
    pub(crate) wrong_total: u32,
    /// Locks since the last fresh start.
    pub(crate) locks: u32,
    /// When the last wrong code was sent.
    pub(crate) last_wrong_at: Timestamp,
    /// Codes sent before this are ignored.
    pub(crate) locked_until: Timestamp,
    /// Locked until the back end lifts it.
    pub(crate) locked_for_good: bool,
    /// When the customer last undid a binding in the chat: nothing sent before that binds.
    pub(crate) undone_at: Timestamp,
    /// The `send_time`s of the messages that were answered lately.
    pub(crate) answered: Vec<Timestamp>,
}

/// Tree `cursors`, by account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorRecord {
    pub(crate) cursor: Option<Cursor>,
    pub(crate) sync_token: Option<SyncToken>,
}

/// Tree `outbox`, by sequence number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutboxRecord {
    pub(crate) created_at: Timestamp,
    pub(crate) task: OutboxTaskRecord,
}

/// What an [`OutboxRecord`] is to do. `Debug` hides the text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OutboxTaskRecord {
    Reply {
        account: OpenKfId,
        customer: ExternalUserId,
        reply_id: ReplyId,
        text: String,
    },
    Profile {
        customer: ExternalUserId,
    },
    Say(Box<SayRecord>),
    HandOver {
        account: OpenKfId,
        customer: ExternalUserId,
        sent: Timestamp,
    },
    Notify {
        openid: OpenId,
        customer: ExternalUserId,
        template_id: String,
        data: Vec<(String, String)>,
        bound_at: Timestamp,
        begun: bool,
    },
}

/// An answer that is more than words to be sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SayRecord {
    pub(crate) account: OpenKfId,
    pub(crate) customer: ExternalUserId,
    pub(crate) reply_id: ReplyId,
    pub(crate) words: WordsRecord,
    /// The event's own right to speak, and when the customer entered.
    pub(crate) welcome: Option<(WelcomeCode, Timestamp)>,
    /// The question that it asks.
    pub(crate) question: Option<QuestionId>,
    /// Whether an attempt by the event's right was begun.
    pub(crate) begun: bool,
}

/// What a [`SayRecord`] says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WordsRecord {
    Text(String),
    /// A question with its yes and its no.
    Question {
        head: String,
        yes: String,
        no: String,
    },
    /// An invitation with the page that it opens.
    Card {
        head: String,
        path: String,
        label: String,
    },
}

impl fmt::Debug for OutboxTaskRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, customer) = match self {
            Self::Reply { customer, .. } => ("Reply", customer),
            Self::Profile { customer } => ("Profile", customer),
            Self::Say(say) => ("Say", &say.customer),
            Self::HandOver { customer, .. } => ("HandOver", customer),
            Self::Notify { customer, .. } => ("Notify", customer),
        };
        write!(f, "{what}(for {customer})")
    }
}

/// Tree `audit`, by event id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditRecord {
    pub(crate) at: Timestamp,
    pub(crate) what: AuditKind,
    pub(crate) openid: Option<OpenId>,
    pub(crate) customer: Option<ExternalUserId>,
    pub(crate) method: Option<Method>,
    pub(crate) by: AuditBy,
    /// The message that caused it, or that was not delivered.
    pub(crate) message: Option<(OpenKfId, String)>,
}

/// The types of audit events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AuditKind {
    Bound,
    Unbound,
    Conflict,
    Locked,
    OtherPerson,
    Undelivered,
}

/// Who caused an audit event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AuditBy {
    Customer,
    User,
    Admin,
    /// A newer binding took this one's place.
    Replaced,
    WeCom,
    /// This employee.
    Staff(UserId),
}

/// Tree `meta`, key `store`. `Debug` hides the key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreMeta {
    pub(crate) schema: u32,
    pub(crate) corp_id: String,
    /// Signs sessions and marks our message ids.
    pub(crate) instance_key: [u8; 32],
    /// Wrong codes sent before this are not counted.
    pub(crate) created_at: Timestamp,
}

impl fmt::Debug for StoreMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreMeta")
            .field("schema", &self.schema)
            .field("corp_id", &self.corp_id)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// Tree `meta`, key `link`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkMeta {
    pub(crate) url: String,
    pub(crate) account: Option<OpenKfId>,
    /// How often the link has changed; part of every user's version.
    pub(crate) generation: u64,
}

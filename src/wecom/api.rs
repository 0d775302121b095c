//! The JSON of the WeCom calls that we make: requests, answers and error codes.
//!
//! Shapes only: who calls, with which token and what a failure means is [`super::client`]. Field names are WeCom's.
//! Answers hold no more than what is used, and tolerate whatever else WeCom adds.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

pub mod errcode;
pub mod message;
pub mod page;

/// How many messages a `kf/sync_msg` asks for: WeCom's most.
pub const SYNC_MSG_LIMIT: u32 = 1000;
/// How many accounts a `kf/account/list` asks for: WeCom's most.
pub const ACCOUNT_LIST_LIMIT: u32 = 100;
/// How many customers a `kf/customer/batchget` may name.
pub const BATCHGET_MAX: usize = 100;

/// Body of `kf/sync_msg` (document 94670).
#[derive(Clone, Serialize, Deserialize)]
pub struct SyncMsgRequest {
    /// The last `next_cursor`; absent = the oldest message of the last three days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The sync token of a callback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// At most [`SYNC_MSG_LIMIT`].
    #[serde(default = "sync_msg_limit")]
    pub limit: u32,
    /// The account.
    pub open_kfid: String,
}

fn sync_msg_limit() -> u32 {
    SYNC_MSG_LIMIT
}

/// Body of `kf/service_state/get` (document 94669).
#[derive(Clone, Serialize, Deserialize)]
pub struct ServiceStateRequest {
    /// The account.
    pub open_kfid: String,
    /// The customer.
    pub external_userid: String,
}

/// Body of `kf/service_state/trans` (document 94669).
#[derive(Clone, Serialize, Deserialize)]
pub struct ServiceStateTransRequest {
    /// The account.
    pub open_kfid: String,
    /// The customer.
    pub external_userid: String,
    /// Where to: 1 the assistant, 2 the pool, 3 a servicer, 4 the end.
    pub service_state: u32,
    /// To whom, for 3 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servicer_userid: Option<String>,
}

/// Body of `kf/customer/batchget` (document 95159).
#[derive(Clone, Serialize, Deserialize)]
pub struct BatchgetRequest {
    /// 1 to [`BATCHGET_MAX`] customers.
    pub external_userid_list: Vec<String>,
    /// 1 = with the last entry of each within 48 hours.
    pub need_enter_session_context: u8,
}

/// Body of `kf/account/list` (document 94661).
#[derive(Clone, Serialize, Deserialize)]
pub struct AccountListRequest {
    /// How many accounts to skip.
    pub offset: u32,
    /// At most [`ACCOUNT_LIST_LIMIT`].
    pub limit: u32,
}

/// Body of `kf/add_contact_way` (document 94665).
#[derive(Clone, Serialize, Deserialize)]
pub struct AddContactWayRequest {
    /// The account.
    pub open_kfid: String,
    /// At most 32 bytes of `[0-9a-zA-Z_-]`; only a link made with one takes a `scene_param`.
    pub scene: String,
}

/// What every answer begins with.
#[derive(Clone, Debug, Deserialize)]
pub struct Head {
    /// 0 = done; a missing one counts as 0 where the rest of the answer is there.
    #[serde(default)]
    pub errcode: i64,
    /// WeCom's words, never to be decided on.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub errmsg: String,
}

/// Answer of `gettoken` (document 91039). No `Debug`: it is a secret.
#[derive(Clone, Deserialize)]
pub struct GettokenAnswer {
    /// The access token.
    pub access_token: String,
    /// Its life in seconds, normally 7200.
    pub expires_in: u64,
}

/// Answer of calls that tell nothing but whether they were done.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct DoneAnswer {
    /// Must be there, since nothing else shows that WeCom answered.
    #[serde(rename = "errcode")]
    _errcode: i64,
}

/// Answer of `kf/service_state/get`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ServiceStateAnswer {
    /// 0 to 4 so far.
    pub service_state: u32,
}

/// Answer of `kf/add_contact_way`.
#[derive(Clone, Debug, Deserialize)]
pub struct AddContactWayAnswer {
    /// The link.
    pub url: String,
}

/// Answer of `kf/customer/batchget`.
#[derive(Debug, Deserialize)]
pub struct BatchgetAnswer {
    /// Must be there, as in [`DoneAnswer`], since the list may be missing.
    #[serde(rename = "errcode")]
    _errcode: i64,
    /// Those of whom WeCom tells.
    pub customer_list: Option<Vec<Box<RawValue>>>,
}

/// A customer in a [`BatchgetAnswer`].
#[derive(Clone, Debug, Deserialize)]
pub struct CustomerRow {
    /// The customer.
    pub external_userid: String,
    /// The name in WeChat.
    pub nickname: Option<String>,
    /// Only where a mini program or official account of the same open platform is bound in the console.
    pub unionid: Option<String>,
    /// The last entry within 48 hours; only where it was asked for. Another form than the known one is none.
    #[serde(default, deserialize_with = "known_or_nothing")]
    pub enter_session_context: Option<EnterSessionContext>,
}

/// The last entry of a customer, in a [`CustomerRow`].
#[derive(Clone, Deserialize)]
pub struct EnterSessionContext {
    /// What was appended to the link.
    pub scene_param: Option<String>,
}

impl fmt::Debug for EnterSessionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What was appended may bind somebody.
        f.write_str("EnterSessionContext")
    }
}

/// Answer of `kf/account/list`.
#[derive(Debug, Deserialize)]
pub struct AccountListAnswer {
    /// Must be there, as in [`DoneAnswer`], since the list may be missing.
    #[serde(rename = "errcode")]
    _errcode: i64,
    /// Fewer than asked for on the last page.
    pub account_list: Option<Vec<Box<RawValue>>>,
}

/// An account in an [`AccountListAnswer`].
#[derive(Clone, Debug, Deserialize)]
pub struct AccountRow {
    /// Its id.
    pub open_kfid: String,
    /// Its name.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub name: String,
    /// Whether the API may manage it. Not told for every way of access; a missing one is no error.
    pub manage_privilege: Option<bool>,
}

/// Answer of `kf/servicer/list` (document 94645).
#[derive(Debug, Deserialize)]
pub struct ServicerListAnswer {
    /// Must be there, as in [`DoneAnswer`], since the list may be missing.
    #[serde(rename = "errcode")]
    _errcode: i64,
    /// Persons and departments.
    pub servicer_list: Option<Vec<Box<RawValue>>>,
}

/// One who receives in an account, in a [`ServicerListAnswer`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServicerRow {
    /// A person.
    pub userid: Option<String>,
    /// Of a person: 0 receiving, 1 stopped.
    pub status: Option<u32>,
    /// A whole department.
    pub department_id: Option<u64>,
}

/// Answer of `miniprogram/jscode2session` (document 91507). `session_key` is left out on purpose.
#[derive(Clone, Debug, Deserialize)]
pub struct StaffSessionAnswer {
    /// The employee's corp.
    pub corpid: String,
    /// The employee.
    pub userid: String,
}

/// The rows that can be read. One that can't must not hide the others.
#[must_use]
pub fn readable_rows<T: DeserializeOwned>(rows: &[Box<RawValue>]) -> Vec<T> {
    rows.iter().filter_map(|row| serde_json::from_str(row.get()).ok()).collect()
}

/// The body of an answer as text that a JSON parser takes.
///
/// WeCom passes on what customers type and call themselves, so bodies with bytes that are no UTF-8 occur: they become
/// U+FFFD rather than spoil the whole answer.
#[must_use]
pub fn body_text(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body)
}

/// Parses an answer. Where that fails, control characters are replaced by spaces and it is tried again: raw ones
/// occur inside names, and JSON forbids them.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match without_control_characters(text) {
        Some(cleaned) => serde_json::from_str(&cleaned),
        None => Err(error),
    })
}

/// `None` if there are none inside.
fn without_control_characters(text: &str) -> Option<String> {
    let is_control = |character: char| character < ' ';
    text.contains(is_control).then(|| text.replace(is_control, " "))
}

fn text_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn known_or_nothing<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let raw = Option::<Box<RawValue>>::deserialize(deserializer)?;
    Ok(raw.and_then(|raw| serde_json::from_str(raw.get()).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_cursor_and_token_leaves_both_out() {
        let mut request =
            SyncMsgRequest { cursor: None, token: None, limit: 1000, open_kfid: "wk".to_owned() };
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"limit":1000,"open_kfid":"wk"}"#);
        request.cursor = Some("c".to_owned());
        request.token = Some("t".to_owned());
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(text, r#"{"cursor":"c","token":"t","limit":1000,"open_kfid":"wk"}"#);
    }

    #[test]
    fn an_unreadable_row_does_not_hide_the_others() {
        let text = r#"{"errcode":0,"account_list":[{"open_kfid":"wk1","name":null},{"open_kfid":7},
            {"open_kfid":"wk2","name":"n","manage_privilege":false,"avatar":{}}]}"#;
        let answer: AccountListAnswer = parse(text).unwrap();
        let rows: Vec<AccountRow> = readable_rows(&answer.account_list.unwrap());
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].manage_privilege, rows[1].manage_privilege), (None, Some(false)));
    }

    #[test]
    fn raw_control_characters_and_broken_utf_8_are_survived() {
        let body = b"{\"errcode\":0,\"customer_list\":[{\"external_userid\":\"wm\",\"nickname\":\"a\x01b\xffc\n\"}]}";
        let answer: BatchgetAnswer = parse(&body_text(body)).unwrap();
        let rows: Vec<CustomerRow> = readable_rows(&answer.customer_list.unwrap());
        assert_eq!(rows[0].nickname.as_deref(), Some("a b\u{fffd}c "));
    }

    #[test]
    fn an_answer_that_only_says_done_must_say_it() {
        assert!(parse::<DoneAnswer>(r#"{"errcode":0,"errmsg":"ok","msgid":"m"}"#).is_ok());
        assert!(parse::<DoneAnswer>("{}").is_err());
    }
}

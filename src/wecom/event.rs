//! The decrypted callback of a POST: which of the app's events it is.
//!
//! A kf callback is a doorbell without any message in it; what is new is pulled with `kf/sync_msg`. The app's other
//! messages and events arrive at the same address and are [`CallbackEvent::Other`], whatever they say.

use actors::{
    ids::{OpenKfId, SyncToken, Timestamp},
    ports::CallbackEvent,
};

use super::xml::{self, Child};

/// The longest sync token that is taken, in bytes, by WeCom's document 94670.
pub const SYNC_TOKEN_BYTES_MAX: usize = 128;
/// The longest account id that is taken, in bytes. Real ones have 32.
pub const OPEN_KFID_BYTES_MAX: usize = 64;

/// Why a decrypted callback can't be read, in words that hold nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the decrypted callback can't be read: {0}")]
pub struct EventError(&'static str);

/// Reads the inner XML of an authentic callback.
///
/// A `kf_msg_or_event` without a usable `CreateTime` is still a doorbell, just without its token: when a token dies
/// can't be told without it.
pub fn parse(message: &[u8]) -> Result<CallbackEvent, EventError> {
    let mut fields = Fields::default();
    xml::for_each_child(message, |child| fields.take(&child)).map_err(EventError)?;
    fields.into_event().map_err(EventError)
}

/// Whether this is one of the app's messages or events, and one that tells more than that there is something to pull.
///
/// A doorbell tells nobody anything: an account's id and a permission to pull that dies in ten minutes and is worth
/// nothing without our access token.
#[must_use]
pub fn is_more_than_a_doorbell(message: &[u8]) -> bool {
    let mut fields = Fields::default();
    let read = xml::for_each_child(message, |child| fields.take(&child));
    let doorbell = |fields: Fields| matches!(fields.into_event(), Ok(CallbackEvent::KfMessageOrEvent { .. }));
    fields.msg_type.is_some() && !(read.is_ok() && doorbell(fields))
}

#[derive(Default)]
struct Fields {
    msg_type: Option<String>,
    event: Option<String>,
    create_time: Option<String>,
    sync_token: Option<String>,
    account: Option<String>,
    added: Vec<String>,
    removed: Vec<String>,
}

impl Fields {
    fn take(&mut self, child: &Child<'_>) -> Result<(), &'static str> {
        let field = match child.name {
            "MsgType" => &mut self.msg_type,
            "Event" => &mut self.event,
            "CreateTime" => &mut self.create_time,
            "Token" => &mut self.sync_token,
            "OpenKfId" => &mut self.account,
            "AuthAddOpenKfId" => {
                self.added.push(text_of(child)?);
                return Ok(());
            }
            "AuthDelOpenKfId" => {
                self.removed.push(text_of(child)?);
                return Ok(());
            }
            _ => return Ok(()),
        };
        match field.replace(text_of(child)?) {
            None => Ok(()),
            Some(_) => Err("a field stands in it twice"),
        }
    }

    fn into_event(self) -> Result<CallbackEvent, &'static str> {
        if self.msg_type.as_deref() != Some("event") {
            return Ok(CallbackEvent::Other);
        }
        match self.event.as_deref() {
            Some("kf_msg_or_event") => self.into_doorbell(),
            Some("kf_account_auth_change") => Ok(CallbackEvent::KfAccountAuthChange {
                added: accounts(self.added)?,
                removed: accounts(self.removed)?,
            }),
            _ => Ok(CallbackEvent::Other),
        }
    }

    fn into_doorbell(self) -> Result<CallbackEvent, &'static str> {
        let account = self.account.filter(|id| !id.is_empty()).map(account).transpose()?;
        let value = self.sync_token.filter(|token| !token.is_empty());
        if value.as_ref().is_some_and(|token| token.len() > SYNC_TOKEN_BYTES_MAX) {
            return Err("an overlong Token");
        }
        let created_at = self.create_time.and_then(|time| time.parse().ok()).map(Timestamp);
        let sync_token = value.zip(created_at).map(|(value, created_at)| SyncToken { value, created_at });
        Ok(CallbackEvent::KfMessageOrEvent { account, sync_token })
    }
}

fn text_of(child: &Child<'_>) -> Result<String, &'static str> {
    if child.has_elements { Err("elements where text is wanted") } else { Ok(child.text.trim().to_owned()) }
}

fn accounts(ids: Vec<String>) -> Result<Vec<OpenKfId>, &'static str> {
    ids.into_iter().filter(|id| !id.is_empty()).map(account).collect()
}

fn account(id: String) -> Result<OpenKfId, &'static str> {
    if id.len() > OPEN_KFID_BYTES_MAX { Err("an overlong account id") } else { Ok(OpenKfId::new(id)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn doorbell(fields: &str) -> Result<CallbackEvent, EventError> {
        let document = format!(
            "<xml><ToUserName><![CDATA[ww]]></ToUserName><MsgType><![CDATA[event]]></MsgType>\
             <Event><![CDATA[kf_msg_or_event]]></Event>{fields}</xml>"
        );
        parse(document.as_bytes())
    }

    fn expected(account: Option<&str>, sync_token: Option<(&str, u64)>) -> CallbackEvent {
        CallbackEvent::KfMessageOrEvent {
            account: account.map(OpenKfId::new),
            sync_token: sync_token
                .map(|(value, at)| SyncToken { value: value.to_owned(), created_at: Timestamp(at) }),
        }
    }

    #[test]
    fn a_doorbell_names_account_and_token() {
        let fields = "<CreateTime>1700000000</CreateTime><Token><![CDATA[ENCx]]></Token>\
                      <OpenKfId><![CDATA[wkAJ2G]]></OpenKfId>";
        assert_eq!(doorbell(fields), Ok(expected(Some("wkAJ2G"), Some(("ENCx", 1_700_000_000)))));
    }

    #[test]
    fn the_doorbell_of_the_vectors_is_read() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/wecom_vectors.json")).unwrap();
        let vector =
            file["vectors"].as_array().unwrap().iter().find(|vector| vector["name"] == "S1").unwrap();
        assert_eq!(
            parse(vector["message"].as_str().unwrap().as_bytes()),
            Ok(expected(
                Some("wkAJ2GCAAASSm4_FhToWMFea0xAFfd3Q"),
                Some(("ENCApHxnGDNAVNY4AaSJKj4Tb5mwsEMzxhFmHVGcra996NR", 1_700_000_000))
            ))
        );
    }

    #[test]
    fn account_and_token_may_be_missing_or_empty() {
        let time = "<CreateTime>1700000000</CreateTime>";
        assert_eq!(doorbell(time), Ok(expected(None, None)));
        assert_eq!(doorbell(&format!("{time}<OpenKfId/><Token></Token>")), Ok(expected(None, None)));
        assert_eq!(
            doorbell(&format!("{time}<Token>t</Token>")),
            Ok(expected(None, Some(("t", 1_700_000_000))))
        );
    }

    #[test]
    fn a_doorbell_without_a_usable_time_rings_without_its_token() {
        for time in ["", "<CreateTime>soon</CreateTime>", "<CreateTime>-1</CreateTime>", "<CreateTime/>"] {
            let fields = format!("{time}<Token>t</Token><OpenKfId>wk</OpenKfId>");
            assert_eq!(doorbell(&fields), Ok(expected(Some("wk"), None)), "{time}");
        }
    }

    #[test]
    fn ids_are_kept_to_the_letter() {
        assert_eq!(doorbell("<OpenKfId>wkAbC_-1</OpenKfId>"), Ok(expected(Some("wkAbC_-1"), None)));
    }

    #[test]
    fn overlong_fields_are_unreadable() {
        let token = |length: usize| {
            doorbell(&format!("<CreateTime>1</CreateTime><Token>{}</Token>", "t".repeat(length)))
        };
        let id = |length: usize| doorbell(&format!("<OpenKfId>{}</OpenKfId>", "w".repeat(length)));
        assert!(token(SYNC_TOKEN_BYTES_MAX).is_ok());
        assert_eq!(token(SYNC_TOKEN_BYTES_MAX + 1), Err(EventError("an overlong Token")));
        assert!(id(OPEN_KFID_BYTES_MAX).is_ok());
        assert_eq!(id(OPEN_KFID_BYTES_MAX + 1), Err(EventError("an overlong account id")));
    }

    #[test]
    fn a_change_of_accounts_lists_all_of_them() {
        let document = "<xml><FromUserName>sys</FromUserName><MsgType>event</MsgType>\
            <Event>kf_account_auth_change</Event><AuthAddOpenKfId>wk1</AuthAddOpenKfId>\
            <AuthDelOpenKfId>wk2</AuthDelOpenKfId><AuthAddOpenKfId><![CDATA[wk3]]></AuthAddOpenKfId>\
            <AuthAddOpenKfId/></xml>";
        let ids = |ids: &[&str]| ids.iter().map(|id| OpenKfId::new(*id)).collect();
        let event =
            CallbackEvent::KfAccountAuthChange { added: ids(&["wk1", "wk3"]), removed: ids(&["wk2"]) };
        assert_eq!(parse(document.as_bytes()), Ok(event));
    }

    #[test]
    fn everything_else_is_not_ours() {
        for document in [
            "<xml><MsgType>text</MsgType><Content>kf_msg_or_event</Content><Event>kf_msg_or_event</Event></xml>",
            "<xml><MsgType>event</MsgType><Event>enter_agent</Event></xml>",
            "<xml><MsgType>event</MsgType><Event>KF_MSG_OR_EVENT</Event></xml>",
            "<xml><MsgType>event</MsgType></xml>",
            "<xml/>",
        ] {
            assert_eq!(parse(document.as_bytes()), Ok(CallbackEvent::Other), "{document}");
        }
    }

    #[test]
    fn unreadable_documents_are_errors() {
        let deep = format!("<xml>{}", "<a>".repeat(10_000));
        for document in [
            "",
            "{}",
            "<xml>",
            "<!DOCTYPE xml><xml/>",
            "<xml><Token>&secret;</Token></xml>",
            "<xml><Token>a</Token><Token>b</Token></xml>",
            "<xml><Token>a<b/></Token></xml>",
            deep.as_str(),
        ] {
            assert!(parse(document.as_bytes()).is_err(), "{document}");
        }
        assert!(parse(b"<xml>\xff</xml>").is_err());
    }

    #[test]
    fn every_truncation_is_unreadable() {
        let whole =
            "<xml><MsgType>event</MsgType><Event>kf_msg_or_event</Event><OpenKfId>wk</OpenKfId></xml>";
        for length in 0..whole.len() {
            assert!(parse(&whole.as_bytes()[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(message in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(parse(&message));
        }

        #[test]
        fn arbitrary_fields_never_panic(fields in "(</?(xml|MsgType|Event|Token|OpenKfId|CreateTime)/?>|event|kf_msg_or_event|&|[0-9]){0,40}") {
            drop(parse(format!("<xml>{fields}</xml>").as_bytes()));
        }
    }
}

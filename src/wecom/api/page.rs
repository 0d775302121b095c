//! A page of `kf/sync_msg`: every message is parsed by itself, so that an unreadable one doesn't stall an account.
//!
//! Nothing is filtered and nothing is decided here: what can't be read is kept raw for the operator, capped, and what
//! we don't know is [`KfContent::Other`].

use actors::{
    ids::{Cursor, ExternalUserId, MenuId, MessageId, OpenKfId, ReplyId, Ticket, Timestamp, WelcomeCode},
    ports::{KfContent, KfMessage, MessageKind, Page},
};
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::{body_text, without_control_characters};

/// How many bytes of an unreadable message are kept.
pub const UNREADABLE_BYTES_MAX: usize = 4096;
/// How many unreadable messages of a page are kept; the rest is counted only.
pub const UNREADABLE_MAX: usize = 100;
/// The longest message, account or customer id that is taken, in bytes. Real ones have 32 to 50.
pub const ID_BYTES_MAX: usize = 128;
/// The longest cursor that is taken, in bytes. WeCom speaks of 64.
pub const CURSOR_BYTES_MAX: usize = 1024;

/// A customer's own words or files.
const ORIGIN_CUSTOMER: u32 = 3;

/// The `change_type` of a session that a person on our side has ended.
const CHANGE_ENDED: u32 = 3;

/// A page as it was read.
#[derive(Debug)]
pub struct ParsedPage {
    /// What goes to the actors.
    pub page: Page,
    /// How many unreadable messages there were beyond [`UNREADABLE_MAX`].
    pub unreadable_not_kept: u64,
}

/// Why a page as a whole can't be used. The text holds nothing of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer of kf/sync_msg can't be used: {0}")]
pub struct PageError(&'static str);

#[derive(Deserialize)]
struct SyncMsgAnswer<'a> {
    next_cursor: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    has_more: Option<bool>,
    #[serde(borrow)]
    msg_list: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    msgid: String,
    open_kfid: Option<String>,
    external_userid: Option<String>,
    send_time: u64,
    origin: Option<u32>,
    msgtype: String,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Text {
    content: String,
    menu_id: Option<String>,
}

#[derive(Default, Deserialize)]
struct Event {
    #[serde(default, rename = "event_type")]
    kind: String,
    open_kfid: Option<String>,
    external_userid: Option<String>,
    scene: Option<String>,
    scene_param: Option<String>,
    welcome_code: Option<String>,
    fail_msgid: Option<String>,
    fail_type: Option<u32>,
    change_type: Option<u32>,
}

/// Reads the answer of a `kf/sync_msg` on `account` whose errcode was 0.
pub fn parse_page(body: &[u8], account: &OpenKfId) -> Result<ParsedPage, PageError> {
    let text = body_text(body);
    parse_text(&text, account).or_else(|error| match without_control_characters(&text) {
        Some(cleaned) => parse_text(&cleaned, account),
        None => Err(error),
    })
}

fn parse_text(text: &str, account: &OpenKfId) -> Result<ParsedPage, PageError> {
    let answer: SyncMsgAnswer<'_> =
        serde_json::from_str(text).map_err(|_| PageError("it is no JSON object of the known form"))?;
    if answer.next_cursor.is_none() && answer.has_more.is_none() && answer.msg_list.is_none() {
        return Err(PageError("it has none of the known fields"));
    }
    let next_cursor = answer.next_cursor.filter(|cursor| !cursor.is_empty());
    if next_cursor.as_ref().is_some_and(|cursor| cursor.len() > CURSOR_BYTES_MAX) {
        return Err(PageError("its cursor is overlong"));
    }
    let rows = answer.msg_list.unwrap_or_default();
    let mut parsed = ParsedPage {
        page: Page {
            messages: Vec::with_capacity(rows.len()),
            unreadable: Vec::new(),
            next_cursor: next_cursor.map(Cursor::new),
            has_more: answer.has_more.unwrap_or(false),
        },
        unreadable_not_kept: 0,
    };
    for row in rows {
        match parse_message(row.get(), account) {
            Some(message) => parsed.page.messages.push(message),
            None if parsed.page.unreadable.len() < UNREADABLE_MAX => {
                let raw = row.get();
                let kept = raw.get(..raw.floor_char_boundary(UNREADABLE_BYTES_MAX)).unwrap_or_default();
                parsed.page.unreadable.push(kept.to_owned());
            }
            None => parsed.unreadable_not_kept += 1,
        }
    }
    Ok(parsed)
}

fn parse_message(raw: &str, pulled: &OpenKfId) -> Option<KfMessage> {
    let message: Message<'_> = serde_json::from_str(raw).ok()?;
    let is_event = message.msgtype == "event";
    let event: Event = match message.event {
        Some(event) if is_event => serde_json::from_str(event.get()).ok()?,
        _ => Event::default(),
    };
    let account = id(message.open_kfid)?.or(id(event.open_kfid.clone())?);
    let customer = id(message.external_userid)?.or(id(event.external_userid.clone())?);
    let content = if is_event {
        event_content(event)?
    } else if message.origin != Some(ORIGIN_CUSTOMER) {
        KfContent::Other(MessageKind::Servicer)
    } else if message.msgtype == "text" {
        let text: Text = serde_json::from_str(message.text?.get()).ok()?;
        KfContent::Text { content: text.content, menu_id: filled(text.menu_id).map(MenuId::new) }
    } else {
        KfContent::Other(MessageKind::Media)
    };
    Some(KfMessage {
        msgid: MessageId::new(id(Some(message.msgid))??),
        account: account.map_or_else(|| pulled.clone(), OpenKfId::new),
        customer: customer.map(ExternalUserId::new),
        send_time: Timestamp(message.send_time),
        content,
    })
}

fn event_content(event: Event) -> Option<KfContent> {
    Some(match event.kind.as_str() {
        "enter_session" => KfContent::EnterSession {
            scene: filled(event.scene),
            scene_param: filled(event.scene_param).map(Ticket::new),
            welcome_code: filled(event.welcome_code).map(WelcomeCode::new),
        },
        "session_status_change" if event.change_type == Some(CHANGE_ENDED) => KfContent::SessionEnded,
        "msg_send_fail" => KfContent::SendFailed {
            fail_msgid: ReplyId::new(id(event.fail_msgid)??),
            fail_type: event.fail_type.unwrap_or(0),
        },
        _ => KfContent::Other(MessageKind::Event),
    })
}

/// `None` = unreadable, since overlong; `Some(None)` = none named.
#[expect(clippy::option_option, reason = "the two ways of having no id lead to different ends")]
fn id(id: Option<String>) -> Option<Option<String>> {
    match filled(id) {
        Some(id) if id.len() > ID_BYTES_MAX => None,
        id => Some(id),
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// WeCom says 0 or 1; `true` and `false` are understood too.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    struct Flag;

    impl de::Visitor<'_> for Flag {
        type Value = Option<bool>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("0 or 1")
        }

        fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
            Ok(Some(value))
        }

        fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
            Ok(Some(value != 0))
        }

        fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
            Ok(Some(value != 0))
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }

    deserializer.deserialize_any(Flag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(body: &str) -> Result<ParsedPage, PageError> {
        parse_page(body.as_bytes(), &OpenKfId::new("wkPulled"))
    }

    fn message(json: &str) -> Option<KfMessage> {
        let parsed = page(&format!(r#"{{"errcode":0,"msg_list":[{json}]}}"#)).unwrap();
        assert_eq!(parsed.page.messages.len() + parsed.page.unreadable.len(), 1);
        parsed.page.messages.into_iter().next()
    }

    fn content(json: &str) -> KfContent {
        message(json).unwrap().content
    }

    #[test]
    fn a_page_says_where_the_next_begins() {
        let parsed =
            page(r#"{"errcode":0,"errmsg":"ok","next_cursor":"c2","has_more":1,"msg_list":[]}"#).unwrap();
        assert_eq!(parsed.page.next_cursor, Some(Cursor::new("c2")));
        assert!(parsed.page.has_more);
        let parsed = page(r#"{"errcode":0,"next_cursor":"","has_more":0,"msg_list":null}"#).unwrap();
        assert_eq!(parsed.page.next_cursor, None);
        assert!(!parsed.page.has_more);
        assert!(page(r#"{"has_more":true}"#).unwrap().page.has_more);
    }

    #[test]
    fn pages_without_anything_usable_are_errors() {
        let long = format!(r#"{{"next_cursor":"{}"}}"#, "c".repeat(CURSOR_BYTES_MAX + 1));
        for body in [
            "",
            "<html>502</html>",
            "[]",
            "{}",
            r#"{"errcode":0,"errmsg":"ok"}"#,
            r#"{"msg_list":{}}"#,
            r#"{"msg_list":[}"#,
            r#"{"msg_list":[]"#,
            long.as_str(),
        ] {
            assert!(page(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_text_keeps_every_letter_and_names_its_own_account() {
        let read = message(
            r#"{"msgid":"m1","open_kfid":"wkOwn","external_userid":"wmA_b","send_time":1700000000,"origin":3,
            "msgtype":"text","text":{"content":" 482 913\n\u4f60\ud83d\ude00","menu_id":"yes_1"}}"#,
        );
        let expected = KfMessage {
            msgid: MessageId::new("m1"),
            account: OpenKfId::new("wkOwn"),
            customer: Some(ExternalUserId::new("wmA_b")),
            send_time: Timestamp(1_700_000_000),
            content: KfContent::Text {
                content: " 482 913\n\u{4f60}\u{1f600}".to_owned(),
                menu_id: Some(MenuId::new("yes_1")),
            },
        };
        assert_eq!(read, Some(expected));
    }

    #[test]
    fn the_pulled_account_stands_in_where_the_message_names_none() {
        let read =
            message(r#"{"msgid":"m","send_time":1,"origin":3,"msgtype":"text","text":{"content":""}}"#)
                .unwrap();
        assert_eq!(read.account, OpenKfId::new("wkPulled"));
        assert_eq!(read.customer, None);
    }

    #[test]
    fn an_event_names_account_and_customer_inside() {
        let read = message(
            r#"{"msgid":"m","send_time":1,"origin":4,"msgtype":"event","event":{"event_type":"enter_session",
            "open_kfid":"wkIn","external_userid":"wmIn","scene":"kfbind","scene_param":"t","welcome_code":""}}"#,
        )
        .unwrap();
        assert_eq!(read.account, OpenKfId::new("wkIn"));
        assert_eq!(read.customer, Some(ExternalUserId::new("wmIn")));
        let (scene, scene_param) = (Some("kfbind".to_owned()), Some(Ticket::new("t")));
        assert_eq!(read.content, KfContent::EnterSession { scene, scene_param, welcome_code: None });
    }

    #[test]
    fn a_failed_send_names_the_message() {
        let event = |fields: &str| {
            message(&format!(
                r#"{{"msgid":"m","send_time":1,"origin":4,"msgtype":"event",
                "event":{{"event_type":"msg_send_fail"{fields}}}}}"#
            ))
        };
        let read = event(r#","fail_msgid":"r1","fail_type":13"#).unwrap().content;
        assert_eq!(read, KfContent::SendFailed { fail_msgid: ReplyId::new("r1"), fail_type: 13 });
        let read = event(r#","fail_msgid":"r1""#).unwrap().content;
        assert_eq!(read, KfContent::SendFailed { fail_msgid: ReplyId::new("r1"), fail_type: 0 });
        assert_eq!(event(""), None);
    }

    #[test]
    fn a_session_that_a_person_ended_names_account_and_customer() {
        let read = message(
            r#"{"msgid":"m","send_time":1,"origin":4,"msgtype":"event","event":{
            "event_type":"session_status_change","open_kfid":"wkIn","external_userid":"wmIn","change_type":3,
            "old_servicer_userid":"zhang","msg_code":"c"}}"#,
        )
        .unwrap();
        assert_eq!(read.content, KfContent::SessionEnded);
        assert_eq!(read.account, OpenKfId::new("wkIn"));
        assert_eq!(read.customer, Some(ExternalUserId::new("wmIn")));
    }

    #[test]
    fn a_tap_a_ticket_and_a_welcome_code_keep_every_letter() {
        let tapped = content(
            r#"{"msgid":"m","send_time":1,"origin":3,"msgtype":"text","text":{"content":"","menu_id":"Yes_-9"}}"#,
        );
        let menu_id = Some(MenuId::new("Yes_-9"));
        assert_eq!(tapped, KfContent::Text { content: String::new(), menu_id });
        let entered = content(
            r#"{"msgid":"m","send_time":1,"origin":4,"msgtype":"event","event":{"event_type":"enter_session",
            "external_userid":"wm","scene":"","scene_param":"Ab-_9","welcome_code":"Wc-9"}}"#,
        );
        let (scene_param, welcome_code) = (Some(Ticket::new("Ab-_9")), Some(WelcomeCode::new("Wc-9")));
        assert_eq!(entered, KfContent::EnterSession { scene: None, scene_param, welcome_code });
    }

    #[test]
    fn origins_tell_who_speaks() {
        let text = |origin: &str| {
            content(&format!(
                r#"{{"msgid":"m","send_time":1,{origin}"msgtype":"text","text":{{"content":"482913"}}}}"#
            ))
        };
        assert!(matches!(text(r#""origin":3,"#), KfContent::Text { .. }));
        for origin in ["", r#""origin":4,"#, r#""origin":5,"#, r#""origin":9,"#] {
            assert_eq!(text(origin), KfContent::Other(MessageKind::Servicer), "{origin}");
        }
    }

    #[test]
    fn unknown_kinds_are_tolerated() {
        let of = |fields: &str| content(&format!(r#"{{"msgid":"m","send_time":1,{fields}}}"#));
        for fields in [
            r#""origin":3,"msgtype":"image","image":{"media_id":"x"}"#,
            r#""origin":3,"msgtype":"hologram","hologram":[[]],"text":7,"event":[]"#,
        ] {
            assert_eq!(of(fields), KfContent::Other(MessageKind::Media), "{fields}");
        }
        for fields in [
            r#""origin":4,"msgtype":"event","event":{"event_type":"session_status_change","change_type":1}"#,
            r#""origin":4,"msgtype":"event","event":{"event_type":"session_status_change"}"#,
            r#""origin":4,"msgtype":"event","event":{"event_type":"brand_new","x":{}}"#,
            r#""origin":4,"msgtype":"event""#,
        ] {
            assert_eq!(of(fields), KfContent::Other(MessageKind::Event), "{fields}");
        }
    }

    #[test]
    fn an_unreadable_message_is_kept_raw_and_passed() {
        let good = r#"{"msgid":"m","send_time":1,"origin":3,"msgtype":"text","text":{"content":"a"}}"#;
        let long_id = "m".repeat(ID_BYTES_MAX + 1);
        for bad in [
            "7".to_owned(),
            "null".to_owned(),
            "{}".to_owned(),
            r#"{"msgid":"","send_time":1,"msgtype":"text"}"#.to_owned(),
            r#"{"msgid":"m","send_time":-1,"msgtype":"text"}"#.to_owned(),
            r#"{"msgid":"m","send_time":1,"origin":3,"msgtype":"text"}"#.to_owned(),
            r#"{"msgid":"m","send_time":1,"origin":3,"msgtype":"text","text":{"content":7}}"#.to_owned(),
            r#"{"msgid":"m","send_time":1,"origin":3,"msgtype":"text","text":{"content":"\ud83d"}}"#
                .to_owned(),
            good.replace("\"m\"", &format!("\"{long_id}\"")),
            format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)),
        ] {
            let parsed = page(&format!(r#"{{"msg_list":[{good},{bad},{good}]}}"#)).unwrap();
            assert_eq!(parsed.page.messages.len(), 2, "{bad}");
            let kept = &bad[..bad.len().min(UNREADABLE_BYTES_MAX)];
            assert_eq!(parsed.page.unreadable, [kept], "{bad}");
        }
    }

    #[test]
    fn unreadable_messages_are_capped_in_length_and_number() {
        let long = format!(r#"{{"x":"{}"}}"#, "\u{4f60}".repeat(3000));
        let rows = vec![long.as_str(); UNREADABLE_MAX + 7].join(",");
        let parsed = page(&format!(r#"{{"msg_list":[{rows}]}}"#)).unwrap();
        assert_eq!(parsed.page.unreadable.len(), UNREADABLE_MAX);
        assert_eq!(parsed.unreadable_not_kept, 7);
        assert!(parsed.page.unreadable.iter().all(|raw| raw.len() <= UNREADABLE_BYTES_MAX));
        assert!(parsed.page.unreadable.iter().all(|raw| raw.len() > UNREADABLE_BYTES_MAX - 4));
    }

    #[test]
    fn a_raw_control_character_or_a_broken_byte_spoils_no_page() {
        let body = b"{\"msg_list\":[{\"msgid\":\"m\",\"send_time\":1,\"origin\":3,\"msgtype\":\"text\",\
                     \"text\":{\"content\":\"a\x02b\xff\"}}]}";
        let parsed = parse_page(body, &OpenKfId::new("wk")).unwrap();
        let text = KfContent::Text { content: "a b\u{fffd}".to_owned(), menu_id: None };
        assert_eq!(parsed.page.messages[0].content, text);
    }

    #[test]
    fn a_full_page_keeps_its_order() {
        let rows: Vec<_> = (0..1000)
            .map(|n| {
                format!(
                    r#"{{"msgid":"m{n}","send_time":{n},"origin":3,"msgtype":"text","text":{{"content":"{n}"}}}}"#
                )
            })
            .collect();
        let parsed = page(&format!(r#"{{"msg_list":[{}]}}"#, rows.join(","))).unwrap();
        assert_eq!(parsed.page.messages.len(), 1000);
        assert!(parsed.page.messages.iter().zip(0..).all(|(message, n)| message.send_time == Timestamp(n)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(parse_page(&body, &OpenKfId::new("wk")));
        }

        #[test]
        fn arbitrary_messages_never_panic(fields in prop::collection::vec(
            ("(msgid|open_kfid|send_time|origin|msgtype|text|event|event_type|content)", "(\"(event|text|m)\"|-?[1-9][0-9]{0,19}|null|\\{\\}|\\[\\]|true|\\{\"content\":\"x\"\\})"), 0..8)
        ) {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let parsed = page(&format!(r#"{{"msg_list":[{{{}}}]}}"#, fields.join(","))).unwrap();
            prop_assert_eq!(parsed.page.messages.len() + parsed.page.unreadable.len(), 1);
        }
    }
}

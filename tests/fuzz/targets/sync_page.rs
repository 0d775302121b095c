//! Answers of `kf/sync_msg`: any bytes, messages that must not spoil each other, and messages whose fields must come
//! out as they went in.

use actors::{
    ids::{Cursor, ExternalUserId, MessageId, OpenKfId, Timestamp},
    ports::{KfContent, KfMessage},
};
use kfbind::wecom::api::page::{
    CURSOR_BYTES_MAX, ID_BYTES_MAX, ParsedPage, UNREADABLE_BYTES_MAX, UNREADABLE_MAX, parse_page,
};
use serde_json::{json, value::RawValue};

use super::{choice, fields, text};

/// Tries one of the promises on these bytes.
pub fn run(data: &[u8]) {
    let Some((chosen, data)) = choice(data) else { return };
    match chosen % 4 {
        0 => any_bytes(data),
        1 => each_by_itself(data),
        2 => a_text(data),
        _ => many_messages(data),
    }
}

fn pulled() -> OpenKfId {
    OpenKfId::new("wkPulled")
}

fn is_id(id: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
}

/// Whatever is read has the form that the rest of the program counts on.
fn check(parsed: &ParsedPage) {
    let page = &parsed.page;
    assert!(page.unreadable.len() <= UNREADABLE_MAX);
    assert!(page.unreadable.iter().all(|raw| raw.len() <= UNREADABLE_BYTES_MAX));
    assert!(parsed.unreadable_not_kept == 0 || page.unreadable.len() == UNREADABLE_MAX);
    assert!(page.next_cursor.iter().all(|cursor| (1..=CURSOR_BYTES_MAX).contains(&cursor.as_str().len())));
    for message in &page.messages {
        assert!(is_id(message.msgid.as_str()) && is_id(message.account.as_str()));
        assert!(message.customer.iter().all(|customer| is_id(customer.as_str())));
        match &message.content {
            KfContent::SendFailed { fail_msgid, .. } => assert!(is_id(fail_msgid.as_str())),
            KfContent::EnterSession { scene, scene_param, welcome_code } => {
                assert_ne!(scene.as_deref(), Some(""));
                assert!(scene_param.iter().all(|ticket| !ticket.as_str().is_empty()));
                assert!(welcome_code.iter().all(|code| !code.as_str().is_empty()));
            }
            KfContent::Text { menu_id, .. } => assert!(menu_id.iter().all(|id| !id.as_str().is_empty())),
            KfContent::SessionEnded | KfContent::Other(_) => {}
        }
    }
}

fn any_bytes(body: &[u8]) {
    if let Ok(parsed) = parse_page(body, &pulled()) {
        check(&parsed);
    }
}

fn page_of(rows: &[&str]) -> ParsedPage {
    let body = format!(r#"{{"errcode":0,"next_cursor":"c","has_more":1,"msg_list":[{}]}}"#, rows.join(","));
    let parsed = parse_page(body.as_bytes(), &pulled()).expect("a page of well-formed rows");
    check(&parsed);
    assert_eq!(parsed.page.next_cursor.as_ref().map(Cursor::as_str), Some("c"));
    assert!(parsed.page.has_more);
    let unreadable = parsed.page.unreadable.len() + usize::try_from(parsed.unreadable_not_kept).expect("few");
    assert_eq!(parsed.page.messages.len() + unreadable, rows.len(), "no row is lost or doubled");
    parsed
}

/// Each row is read as if it came alone, whatever stands beside it.
fn each_by_itself(data: &[u8]) {
    let rows = text(data);
    let rows: Vec<&str> =
        rows.split('\n').filter(|row| serde_json::from_str::<&RawValue>(row).is_ok()).take(64).collect();
    let together = page_of(&rows).page;
    let (mut messages, mut unreadable) = (Vec::new(), Vec::new());
    for row in &rows {
        let alone = page_of(&[row]).page;
        messages.extend(alone.messages);
        unreadable.extend(alone.unreadable);
    }
    assert_eq!((together.messages, together.unreadable), (messages, unreadable));
}

/// A customer's text comes out letter by letter, with the ids it went in with.
fn a_text(data: &[u8]) {
    let [msgid, account, customer, time, content] = fields(data);
    let (msgid, account, customer, content) = (text(msgid), text(account), text(customer), text(content));
    let send_time = time.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let row = json!({
        "msgid": msgid, "open_kfid": account, "external_userid": customer, "send_time": send_time,
        "origin": 3, "msgtype": "text", "text": { "content": content }, "unheard_of": [{}],
    });
    let read = page_of(&[&row.to_string()]).page.messages.pop();
    let fits = is_id(&msgid) && account.len() <= ID_BYTES_MAX && customer.len() <= ID_BYTES_MAX;
    let expected = KfMessage {
        msgid: MessageId::new(msgid),
        account: if account.is_empty() { pulled() } else { OpenKfId::new(account) },
        customer: Some(customer).filter(|id| !id.is_empty()).map(ExternalUserId::new),
        send_time: Timestamp(send_time),
        content: KfContent::Text { content, menu_id: None },
    };
    assert_eq!(read, fits.then_some(expected));
}

/// Rows chosen from a table of good and bad ones: the good are read, in order, and the bad are kept or counted.
fn many_messages(data: &[u8]) {
    let good = |n: usize| {
        format!(
            r#"{{"msgid":"m{n}","send_time":{n},"origin":3,"msgtype":"text","text":{{"content":"{n}"}}}}"#
        )
    };
    let rows: Vec<(bool, String)> = data
        .iter()
        .take(1000)
        .enumerate()
        .map(|(n, byte)| match byte % 8 {
            0 => (false, "null".to_owned()),
            1 => (false, r#"{"msgid":7}"#.to_owned()),
            2 => (false, format!(r#"{{"x":"{}"}}"#, "\u{4f60}".repeat(usize::from(*byte) * 8))),
            3 => (false, good(n).replace("\"m", "\"\\ud800")),
            _ => (true, good(n)),
        })
        .collect();
    let parsed = page_of(&rows.iter().map(|(_, row)| row.as_str()).collect::<Vec<_>>());
    let expected = rows.iter().enumerate().filter(|(_, (good, _))| *good).map(|(n, _)| format!("m{n}"));
    assert!(parsed.page.messages.iter().map(|message| message.msgid.as_str().to_owned()).eq(expected));
}

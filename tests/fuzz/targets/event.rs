//! The inner XML of an authentic callback: any bytes, any fields in a well-formed head, and values that must come out
//! as they went in, however they are written.

use actors::{
    ids::{OpenKfId, SyncToken, Timestamp},
    ports::CallbackEvent,
};
use kfbind::wecom::event::{OPEN_KFID_BYTES_MAX, SYNC_TOKEN_BYTES_MAX, parse};

use super::{choice, fields, text};

/// Tries one of the promises on these bytes.
pub fn run(data: &[u8]) {
    let Some((chosen, data)) = choice(data) else { return };
    match chosen % 5 {
        0 => any_bytes(data),
        1 => any_bytes(&within("kf_msg_or_event", data)),
        2 => any_bytes(&within("kf_account_auth_change", data)),
        3 => doorbell(data),
        _ => changed_accounts(data),
    }
}

fn within(event: &str, inside: &[u8]) -> Vec<u8> {
    let head = format!("<xml><MsgType>event</MsgType><Event><![CDATA[{event}]]></Event>");
    [head.as_bytes(), inside, b"</xml>"].concat()
}

fn is_id(id: &OpenKfId) -> bool {
    (1..=OPEN_KFID_BYTES_MAX).contains(&id.as_str().len()) && id.as_str().trim() == id.as_str()
}

/// Whatever is read has the form that the rest of the program counts on, and is read again the same.
fn any_bytes(document: &[u8]) {
    let read = parse(document);
    assert_eq!(read, parse(document));
    match &read {
        Ok(CallbackEvent::KfMessageOrEvent { account, sync_token }) => {
            assert!(account.iter().all(is_id));
            assert!(sync_token.iter().all(|token| (1..=SYNC_TOKEN_BYTES_MAX).contains(&token.value.len())));
        }
        Ok(CallbackEvent::KfAccountAuthChange { added, removed }) => {
            assert!(added.iter().chain(removed).all(is_id));
        }
        Ok(CallbackEvent::Other) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // What is whole with its end is not whole without it.
    if let Some(cut) = document.strip_suffix(b"</xml>").filter(|_| read.is_ok()) {
        assert!(parse(cut).is_err());
    }
}

/// How a text can be written in XML. Nothing else is needed for any value.
fn written(value: &str, how: u8) -> String {
    match how % 3 {
        0 => format!("<![CDATA[{}]]>", value.replace("]]>", "]]]]><![CDATA[>")),
        1 => value
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&apos;"),
        // NUL is the one character that XML can't even refer to.
        _ => {
            let numbers = value.chars().map(u32::from).filter(|number| *number != 0);
            numbers.flat_map(|number| ["&#".to_owned(), number.to_string(), ";".to_owned()]).collect()
        }
    }
}

fn value(data: &[u8]) -> String {
    text(data).replace('\0', "").trim().to_owned()
}

/// Account, token and time come out of a doorbell as they went in.
fn doorbell(data: &[u8]) {
    let [how, time, account, token] = fields(data);
    let how = |at: usize| how.get(at).copied().unwrap_or_default();
    let created_at = time.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let (account, token) = (value(account), value(token));
    let mut children = [
        format!("<CreateTime>{created_at}</CreateTime>"),
        format!("<OpenKfId>{}</OpenKfId>", written(&account, how(0))),
        format!("<Token>\n{} </Token>", written(&token, how(1))),
        format!("<Unheard><Token>{}</Token></Unheard>", written(&token, how(2))),
    ];
    children.rotate_left(usize::from(how(3) % 4));
    let read = parse(&within("kf_msg_or_event", children.concat().as_bytes()));
    if account.len() > OPEN_KFID_BYTES_MAX || token.len() > SYNC_TOKEN_BYTES_MAX {
        assert!(read.is_err());
        return;
    }
    let sync_token = Some(SyncToken { value: token, created_at: Timestamp(created_at) });
    let expected = CallbackEvent::KfMessageOrEvent {
        account: Some(account).filter(|id| !id.is_empty()).map(OpenKfId::new),
        sync_token: sync_token.filter(|token| !token.value.is_empty()),
    };
    assert_eq!(read, Ok(expected));
}

/// All accounts of a change come out, in their order.
fn changed_accounts(data: &[u8]) {
    let (mut children, mut added, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for (at, id) in data.split(|byte| *byte == 0xff).take(20).enumerate() {
        let how = id.first().copied().unwrap_or_default();
        let id = value(id);
        let (name, list) =
            if at % 2 == 0 { ("AuthAddOpenKfId", &mut added) } else { ("AuthDelOpenKfId", &mut removed) };
        children.push(format!("<{name}>{}</{name}>", written(&id, how)));
        if !id.is_empty() {
            list.push(OpenKfId::new(id));
        }
    }
    let read = parse(&within("kf_account_auth_change", children.concat().as_bytes()));
    if added.iter().chain(&removed).all(is_id) {
        assert_eq!(read, Ok(CallbackEvent::KfAccountAuthChange { added, removed }));
    } else {
        assert!(read.is_err());
    }
}

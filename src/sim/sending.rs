//! `kf/send_msg` and `kf/send_msg_on_event`: what may be said, to whom, and how often.

use serde_json::{Value, json};

use super::{
    gate::Request,
    people::{CodeKind, SENDS_PER_MESSAGE_MAX, SESSION_S, SHORT_CODE_S, within},
    record::{Heard, MenuItem},
    world::{Answer, Refused, World},
};

const MSGID_BYTES_MAX: usize = 32;
const TEXT_BYTES_MAX: usize = 2048;
const MENU_ITEMS_MAX: usize = 50;
const MENU_ITEMS_ON_EVENT_MAX: usize = 10;
const MENU_TAPPABLE_MAX: usize = 10;
const MENU_HEAD_BYTES_MAX: usize = 1024;

/// What a message shows.
struct Content {
    msgtype: String,
    text: String,
    menu: Vec<MenuItem>,
}

impl World {
    /// `kf/send_msg`
    pub(super) fn send_msg(&mut self, request: &Request) -> Answer {
        let customer = request.required("touser")?.to_owned();
        let open_kfid = request.text("open_kfid")?.to_owned();
        self.managed_account(&open_kfid)?;
        let content = content(request, MENU_ITEMS_MAX)?;
        if !self.people.contains_key(&customer) {
            return Err(Refused::new(40096, "invalid external userid"));
        }
        let msgid = self.sending_id(request, &open_kfid)?;
        let now_s = self.now_s();
        let refused_states = self.switches.refuse_send_in.clone();
        let session = self.session(&customer, &open_kfid);
        if session.consulted_at.is_some_and(|at| !within(at, now_s)) {
            return Err(Refused::new(
                95002,
                "send msg time limit, over 48 hours since the customer's last message",
            ));
        }
        let state = session.state(now_s);
        if state > 1 || refused_states.contains(&state) {
            return Err(Refused::new(95018, "send msg session status invalid"));
        }
        if session.sent >= SENDS_PER_MESSAGE_MAX {
            return Err(Refused::new(95001, "send msg count limit"));
        }
        session.sent += 1;
        session.set_state(1, None);
        Ok(self.say(&customer, &open_kfid, msgid, content))
    }

    /// `kf/send_msg_on_event`
    pub(super) fn send_msg_on_event(&mut self, request: &Request) -> Answer {
        let code = request.required("code")?.to_owned();
        let content = content(request, MENU_ITEMS_ON_EVENT_MAX)?;
        let now_s = self.now_s();
        let invalid = || Refused::new(95007, "invalid code, it may be expired or used");
        let known = self.event_codes.get(&code).cloned().ok_or_else(invalid)?;
        let (life_s, menus, state) = match known.kind {
            CodeKind::Welcome => (SHORT_CODE_S, true, None),
            CodeKind::Queued => (SESSION_S, false, Some(2)),
            CodeKind::Taken => (SESSION_S, false, Some(3)),
            CodeKind::Ended => (SHORT_CODE_S, true, Some(4)),
        };
        let welcomed = self.session(&known.customer, &known.account).welcomed_at;
        let was_welcomed = known.kind == CodeKind::Welcome && welcomed.is_some_and(|at| within(at, now_s));
        // Somebody who came in twice has two codes, and is welcomed once.
        if known.used || was_welcomed || now_s >= known.made_s + life_s {
            return Err(invalid());
        }
        if content.msgtype != "text" && !(menus && content.msgtype == "msgmenu") {
            return Err(Refused::parameter("msgtype"));
        }
        self.managed_account(&known.account)?;
        if state.is_some_and(|state| self.session(&known.customer, &known.account).state(now_s) != state) {
            return Err(Refused::new(95018, "send msg session status invalid"));
        }
        let msgid = self.sending_id(request, &known.account)?;
        if let Some(code) = self.event_codes.get_mut(&code) {
            code.used = true;
        }
        if known.kind == CodeKind::Welcome {
            self.session(&known.customer, &known.account).welcomed_at = Some(now_s);
        }
        Ok(self.say(&known.customer, &known.account, msgid, content))
    }

    /// The `msgid` that the caller wants, or a new one: 95033 where it was used. Only what is sent uses one up.
    fn sending_id(&mut self, request: &Request, open_kfid: &str) -> Result<String, Refused> {
        let msgid = request.text("msgid")?;
        let in_charset =
            msgid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if msgid.len() > MSGID_BYTES_MAX || !in_charset {
            return Err(Refused::parameter("msgid"));
        }
        if msgid.is_empty() {
            return Ok(self.message_id());
        }
        if self.account(open_kfid).is_some_and(|account| account.sent_ids.contains(msgid)) {
            return Err(Refused::new(95033, "duplicate msgid"));
        }
        Ok(msgid.to_owned())
    }

    fn say(&mut self, customer: &str, open_kfid: &str, msgid: String, content: Content) -> Value {
        if let Some(account) = self.account_mut(open_kfid) {
            account.sent_ids.insert(msgid.clone());
        }
        let answer = json!({"msgid": msgid});
        let Content { msgtype, text, menu } = content;
        let (at_ms, account) = (self.now_ms(), open_kfid.to_owned());
        self.deliver(customer, Heard { text, msgid, at_ms, account, msgtype, menu });
        answer
    }
}

/// The fields that other kinds of message must have, as non-empty texts.
const OTHER_KINDS: [(&str, &[&str]); 7] = [
    ("image", &["media_id"]),
    ("voice", &["media_id"]),
    ("video", &["media_id"]),
    ("file", &["media_id"]),
    ("link", &["title", "url", "thumb_media_id"]),
    ("miniprogram", &["appid", "thumb_media_id", "pagepath"]),
    ("ca_link", &["link_url"]),
];

fn content(request: &Request, items_max: usize) -> Result<Content, Refused> {
    let msgtype = request.required("msgtype")?;
    let body = request.field(msgtype).filter(|body| body.is_object());
    let body = body.ok_or_else(|| Refused::parameter(msgtype))?;
    let (text, menu) = match msgtype {
        "text" => {
            let text = text_of(body, "content", 1, usize::MAX)?;
            (truncated(text, TEXT_BYTES_MAX).to_owned(), Vec::new())
        }
        "msgmenu" => menu(body, items_max)?,
        "location" => {
            let has = |name| body.get(name).is_some_and(Value::is_number);
            if !has("latitude") || !has("longitude") {
                return Err(Refused::parameter("location"));
            }
            (String::new(), Vec::new())
        }
        _ => {
            let fields = OTHER_KINDS.iter().find(|(name, _)| *name == msgtype);
            let (_, fields) = fields.ok_or_else(|| Refused::parameter("msgtype"))?;
            for name in *fields {
                text_of(body, name, 1, TEXT_BYTES_MAX)?;
            }
            (String::new(), Vec::new())
        }
    };
    Ok(Content { msgtype: msgtype.to_owned(), text, menu })
}

fn menu(body: &Value, items_max: usize) -> Result<(String, Vec<MenuItem>), Refused> {
    let head = text_of(body, "head_content", 0, MENU_HEAD_BYTES_MAX)?;
    let tail = text_of(body, "tail_content", 0, MENU_HEAD_BYTES_MAX)?;
    let items = match body.get("list") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items.as_slice(),
        Some(_) => return Err(Refused::parameter("list")),
    };
    if items.len() > items_max {
        return Err(Refused::new(95008, "too many menu items"));
    }
    if items.is_empty() && head.is_empty() && tail.is_empty() {
        return Err(Refused::parameter("msgmenu"));
    }
    let menu = items.iter().map(menu_item).collect::<Result<Vec<_>, _>>()?;
    let tappable = menu.iter().filter(|item| !matches!(item, MenuItem::Text { .. })).count();
    if tappable > MENU_TAPPABLE_MAX {
        return Err(Refused::new(95008, "too many menu items"));
    }
    let lines = std::iter::once(head).chain(menu.iter().map(MenuItem::content)).chain(std::iter::once(tail));
    let text = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    Ok((text, menu))
}

fn menu_item(item: &Value) -> Result<MenuItem, Refused> {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
    if !matches!(kind, "click" | "view" | "miniprogram" | "text") {
        return Err(Refused::new(95009, "invalid menu item type"));
    }
    let body = item.get(kind).ok_or_else(|| Refused::parameter(kind))?;
    let owned = |name, least, most| text_of(body, name, least, most).map(str::to_owned);
    Ok(match kind {
        "click" => MenuItem::Click { id: owned("id", 0, 128)?, content: owned("content", 1, 128)? },
        "view" => MenuItem::View { url: owned("url", 1, 2048)?, content: owned("content", 1, 1024)? },
        "text" => MenuItem::Text { content: owned("content", 1, 256)? },
        _ => {
            let pagepath = owned("pagepath", 1, 1024)?;
            let opens = pagepath.split('?').next().is_some_and(|path| path.strip_suffix(".html").is_some());
            MenuItem::Miniprogram {
                appid: owned("appid", 1, 32)?,
                pagepath,
                content: owned("content", 1, 1024)?,
                opens,
            }
        }
    })
}

/// A text of `least` to `most` bytes; an absent one counts as empty.
fn text_of<'a>(body: &'a Value, name: &str, least: usize, most: usize) -> Result<&'a str, Refused> {
    let text = match body.get(name) {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(_) => return Err(Refused::parameter(name)),
    };
    if (least..=most).contains(&text.len()) { Ok(text) } else { Err(Refused::parameter(name)) }
}

fn truncated(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

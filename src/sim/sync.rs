//! `kf/sync_msg`: pages of an account's stream, cursors and sync tokens.

use serde_json::{Value, json};

use super::{
    gate::Request,
    world::{Answer, CursorAt, RETENTION_S, Refused, SYNC_TOKEN_LIFE_S, World},
};

const CURSOR_BYTES_MAX: usize = 64;
const SYNC_TOKEN_BYTES_MAX: usize = 128;
const LIMIT_MAX: u32 = 1000;

/// A stretch of a stream.
struct Stretch {
    messages: Vec<Value>,
    next: u64,
    has_more: bool,
}

impl World {
    /// `kf/sync_msg`
    pub(super) fn sync_msg(&mut self, request: &Request) -> Answer {
        let open_kfid = request.text("open_kfid")?;
        let token = request.text("token")?;
        let cursor = request.text("cursor")?.to_owned();
        let limit = request.number("limit", LIMIT_MAX)?;
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Refused::parameter("limit"));
        }
        if !(0..=1).contains(&request.number("voice_format", 0)?) {
            return Err(Refused::parameter("voice_format"));
        }
        self.managed_account(open_kfid)?;
        let open_kfid = open_kfid.to_owned();
        self.check_sync_token(token, &open_kfid)?;
        let mut position = self.position(&cursor, &open_kfid)?;
        if !cursor.is_empty() {
            position = position.saturating_sub(std::mem::take(&mut self.switches.cursor_jumps_back) as u64);
        }
        if self.switches.stuck_pages > 0 {
            self.switches.stuck_pages -= 1;
            return Ok(json!({"next_cursor": cursor, "has_more": 1, "msg_list": []}));
        }
        let scripted_empty = self.switches.empty_pages > 0;
        if scripted_empty {
            self.switches.empty_pages -= 1;
        }
        if self.faults.empties_page() || scripted_empty {
            let next_cursor = self.new_cursor(&open_kfid, position);
            return Ok(json!({"next_cursor": next_cursor, "has_more": 1, "msg_list": []}));
        }
        let limit = usize::try_from(limit).unwrap_or(1).min(self.switches.page_size_max).max(1);
        if !cursor.is_empty() && self.faults.repeats_page() {
            // Backwards by less than a page, so that the stream still comes to its end.
            position = position.saturating_sub((limit as u64 / 2).clamp(1, 20));
        }
        let page = self.stretch(&open_kfid, position, limit);
        Ok(json!({
            "next_cursor": self.cursor(&open_kfid, page.next),
            "has_more": u8::from(page.has_more),
            "msg_list": page.messages,
        }))
    }

    fn check_sync_token(&mut self, token: &str, open_kfid: &str) -> Result<(), Refused> {
        let now_s = self.now_s();
        let all = self.switches.sync_token_opens_all;
        let is_good = token.len() <= SYNC_TOKEN_BYTES_MAX
            && self.sync_tokens.get(token).is_some_and(|known| {
                now_s < known.made_s + SYNC_TOKEN_LIFE_S && (all || known.account == open_kfid)
            });
        if is_good {
            return Ok(());
        }
        self.count_tokenless_pull();
        if token.is_empty() { Ok(()) } else { Err(Refused::new(95007, "invalid msg token")) }
    }

    fn position(&mut self, cursor: &str, open_kfid: &str) -> Result<u64, Refused> {
        if cursor.is_empty() {
            return Ok(0);
        }
        if self.switches.refuse_cursors > 0 {
            self.switches.refuse_cursors -= 1;
            return Err(Refused::parameter("cursor"));
        }
        match self.cursors.get(cursor) {
            Some(at) if at.account == open_kfid && cursor.len() <= CURSOR_BYTES_MAX => Ok(at.position),
            _ => Err(Refused::parameter("cursor")),
        }
    }

    /// The cursor that belongs to a position: the same place has the same one.
    fn cursor(&mut self, open_kfid: &str, position: u64) -> String {
        let cursor = self.ids.named(&format!("cursor/{open_kfid}/{position}"), "4gw", 44);
        self.cursors.insert(cursor.clone(), CursorAt { account: open_kfid.to_owned(), position });
        cursor
    }

    /// Another cursor for the same position, so that an empty page moves.
    fn new_cursor(&mut self, open_kfid: &str, position: u64) -> String {
        let cursor = self.ids.next("cursor", "4gw", 44);
        self.cursors.insert(cursor.clone(), CursorAt { account: open_kfid.to_owned(), position });
        cursor
    }

    fn stretch(&self, open_kfid: &str, position: u64, limit: usize) -> Stretch {
        let mut stretch = Stretch { messages: Vec::new(), next: position, has_more: false };
        let Some(account) = self.account(open_kfid) else { return stretch };
        let oldest_s = self.now_s().saturating_sub(RETENTION_S);
        let begin = position.max(account.first);
        stretch.next = begin;
        let skipped = usize::try_from(begin - account.first).unwrap_or(usize::MAX);
        for (number, entry) in (begin..).zip(account.stream.iter().skip(skipped)) {
            let is_kept = entry.send_time >= oldest_s && entry.arrived_s >= oldest_s;
            if is_kept && stretch.messages.len() == limit {
                stretch.has_more = true;
                break;
            }
            if is_kept {
                stretch.messages.push(entry.message.clone());
            }
            stretch.next = number + 1;
        }
        if self.switches.newest_first {
            stretch.messages.reverse();
        }
        stretch
    }
}

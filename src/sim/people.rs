//! Customers and their sessions: who may be answered, how often, and in which state. What the documents call 48 hours,
//! 5 messages and 20 seconds is here, and nothing of HTTP.

use serde_json::{Value, json};

use super::{
    record::{Heard, MenuItem, SimEvent},
    world::{Link, World},
};

/// A session, the leave to send, a place in `batchget`: 48 hours, in seconds.
pub(super) const SESSION_S: u64 = 48 * 3600;
/// What may be sent after each message of a customer.
pub(super) const SENDS_PER_MESSAGE_MAX: u32 = 5;
/// How long a `welcome_code`, or the code of an ended session, is good, in seconds.
pub(super) const SHORT_CODE_S: u64 = 20;
/// The longest `scene_param`, in bytes before encoding.
pub(super) const SCENE_PARAM_BYTES_MAX: usize = 128;

/// A customer.
#[derive(Clone, Default)]
pub(super) struct Person {
    pub(super) nickname: String,
    pub(super) unionid: Option<String>,
    pub(super) heard: Vec<Heard>,
}

/// One customer's session with one account. Times are Unix seconds.
#[derive(Clone)]
pub(super) struct Session {
    state: u8,
    pub(super) servicer: Option<String>,
    /// The last message of the customer.
    pub(super) consulted_at: Option<u64>,
    /// What was sent since.
    pub(super) sent: u32,
    pub(super) welcomed_at: Option<u64>,
    pub(super) entered_at: Option<u64>,
    pub(super) entered_by: Option<(String, Option<String>)>,
    pub(super) was_queued: bool,
    pub(super) was_taken: bool,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            state: 4,
            servicer: None,
            consulted_at: None,
            sent: 0,
            welcomed_at: None,
            entered_at: None,
            entered_by: None,
            was_queued: false,
            was_taken: false,
        }
    }
}

impl Session {
    /// The state that `service_state/get` tells: a session ends after 48 hours.
    pub(super) fn state(&self, now_s: u64) -> u8 {
        if self.consulted_at.is_some_and(|at| within(at, now_s)) { self.state } else { 4 }
    }

    pub(super) fn set_state(&mut self, state: u8, servicer: Option<String>) {
        self.state = state;
        self.servicer = if state == 3 { servicer } else { None };
    }
}

/// Whether `at` is within 48 hours before `now_s`.
pub(super) fn within(at: u64, now_s: u64) -> bool {
    now_s < at.saturating_add(SESSION_S)
}

/// What an event code came from; it says for how long it is good and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodeKind {
    Welcome,
    Queued,
    Taken,
    Ended,
}

/// A code for `send_msg_on_event`.
#[derive(Clone)]
pub(super) struct EventCode {
    pub(super) customer: String,
    pub(super) account: String,
    pub(super) kind: CodeKind,
    pub(super) made_s: u64,
    pub(super) used: bool,
}

impl World {
    /// The customer of this name, made at the first mention. Ids are of both cases: they must be kept to the letter.
    pub(super) fn customer(&mut self, name: &str) -> String {
        let id = self.ids.named(&format!("customer/{name}"), "wm", 32);
        self.people
            .entry(id.clone())
            .or_insert_with(|| Person { nickname: name.to_owned(), ..Person::default() });
        id
    }

    pub(super) fn session(&mut self, customer: &str, open_kfid: &str) -> &mut Session {
        self.sessions.entry((customer.to_owned(), open_kfid.to_owned())).or_default()
    }

    /// The customer sends something: the quota is renewed, an ended session begins anew.
    pub(super) fn customer_sends(
        &mut self,
        customer: &str,
        open_kfid: &str,
        send_time: u64,
        body: (&str, Value),
    ) -> String {
        let now_s = self.now_s();
        let session = self.session(customer, open_kfid);
        if session.state(now_s) == 4 {
            session.set_state(0, None);
            session.was_queued = false;
            session.was_taken = false;
        }
        session.consulted_at = session.consulted_at.max(Some(send_time));
        session.sent = 0;
        self.append_message(customer, open_kfid, send_time, 3, body)
    }

    /// The customer comes in through a link. `None` where WeCom keeps that to itself.
    pub(super) fn customer_enters(
        &mut self,
        customer: &str,
        link: &Link,
        scene_param: Option<&str>,
        send_time: u64,
    ) -> Option<String> {
        let scene_param = scene_param.filter(|_| !link.scene.is_empty());
        if scene_param.is_some_and(|text| text.len() > SCENE_PARAM_BYTES_MAX) {
            return None;
        }
        let now_s = self.now_s();
        let swallows = self.switches.open_session_swallows_entry;
        let welcomes = !self.switches.no_welcome_codes;
        let session = self.session(customer, &link.account);
        let under_way = session.state(now_s) != 4;
        let silent = !session.consulted_at.is_some_and(|at| within(at, now_s))
            && !session.welcomed_at.is_some_and(|at| within(at, now_s));
        session.entered_at = Some(send_time);
        session.entered_by = Some((link.scene.clone(), scene_param.map(str::to_owned)));
        if under_way && swallows {
            return None;
        }
        let mut event = json!({
            "event_type": "enter_session",
            "open_kfid": link.account,
            "external_userid": customer,
            "scene": link.scene,
        });
        let welcome_code = (silent && welcomes)
            .then(|| self.event_code(customer, &link.account, CodeKind::Welcome, send_time));
        if let Some(fields) = event.as_object_mut() {
            if let Some(text) = scene_param {
                fields.insert("scene_param".into(), json!(text));
            }
            if let Some(code) = welcome_code {
                fields.insert("welcome_code".into(), json!(code));
            }
        }
        Some(self.append_event(&link.account, send_time, &event))
    }

    pub(super) fn event_code(
        &mut self,
        customer: &str,
        open_kfid: &str,
        kind: CodeKind,
        made_s: u64,
    ) -> String {
        let code = self.ids.next("event_code", "CODE", 40);
        let (customer, account) = (customer.to_owned(), open_kfid.to_owned());
        self.event_codes.insert(code.clone(), EventCode { customer, account, kind, made_s, used: false });
        code
    }

    /// Something appears in the customer's chat, or fails to, with `msg_send_fail` instead.
    pub(super) fn deliver(&mut self, customer: &str, heard: Heard) {
        let withheld = self.switches.withhold_credentials
            && ["密码", "验证码"].iter().any(|word| heard.text.contains(word));
        let fail_type = self.switches.delivery_fails.or(withheld.then_some(13));
        if let Some(fail_type) = fail_type {
            let event = json!({
                "event_type": "msg_send_fail",
                "open_kfid": heard.account,
                "external_userid": customer,
                "fail_msgid": heard.msgid,
                "fail_type": fail_type,
            });
            let now_s = self.now_s();
            self.append_event(&heard.account, now_s, &event);
            return;
        }
        self.tell(SimEvent::Heard { customer: customer.to_owned(), heard: heard.clone() });
        if let Some(person) = self.people.get_mut(customer) {
            person.heard.push(heard);
        }
    }

    /// The newest menu item with this id that the customer can see: where it is, and its label.
    pub(super) fn menu_item(&self, customer: &str, menu_id: &str) -> Option<(String, String)> {
        let person = self.people.get(customer)?;
        person.heard.iter().rev().find_map(|heard| {
            heard.menu.iter().find_map(|item| match item {
                MenuItem::Click { id, content } if id == menu_id => {
                    Some((heard.account.clone(), content.clone()))
                }
                _ => None,
            })
        })
    }
}

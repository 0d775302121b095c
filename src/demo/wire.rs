//! What goes over the wire and what comes of it, as events for the page: kept for those who come late, and live.
//!
//! Says what happened and judges nothing. The simulator's secrets are fake, and are masked all the same.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actors::ports::Clock as _;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use crate::{
    clock::SystemClock,
    sim::{Api, CallRecord, CallbackRecord, Letter, SimEvent},
};

/// Events kept for pages that are opened later.
const EVENTS_KEPT_MAX: usize = 1000;
/// Live events that wait for a slow page; it reads on from the kept ones when it has missed some.
const EVENTS_WAITING_MAX: usize = 256;
/// Parameters and fields whose values nobody should get used to seeing.
const MASKED: [&str; 6] = ["access_token", "appsecret", "corpsecret", "js_code", "secret", "session_key"];
const MASK: &str = "…";

/// One event, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// 1, 2, 3…
    pub(super) number: u64,
    /// The event as JSON.
    pub(super) json: Arc<str>,
}

/// All events of a demo.
pub(super) struct Wire {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Kept {
    /// How many there were.
    told: u64,
    /// The first one of all, which says where we are; the pages always need it.
    first: Option<Event>,
    newest: VecDeque<Event>,
}

impl Wire {
    pub(super) fn new() -> Self {
        Self { kept: Mutex::default(), live: broadcast::Sender::new(EVENTS_WAITING_MAX) }
    }

    /// Tells all pages.
    pub(super) fn tell(&self, kind: &str, fields: Value) {
        let mut kept = self.lock();
        kept.told += 1;
        let mut event = json!({"n": kept.told, "at_ms": SystemClock.now_ms(), "type": kind});
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        let event = Event { number: kept.told, json: event.to_string().into() };
        if kept.first.is_none() {
            kept.first = Some(event.clone());
        } else {
            kept.newest.push_back(event.clone());
            if kept.newest.len() > EVENTS_KEPT_MAX {
                kept.newest.pop_front();
            }
        }
        // Under the lock, so that whoever subscribes gets each event exactly once. No page is no error.
        let _ = self.live.send(event);
    }

    /// What was kept of the events after this number, and those that will come.
    pub(super) fn watch(&self, after: u64) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let kept = self.lock();
        let past = kept.first.iter().chain(&kept.newest).filter(|event| event.number > after);
        (past.cloned().collect(), self.live.subscribe())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event of the simulator: its name on the page, and its fields. `name_of` knows the customers.
pub(super) fn of_sim(event: SimEvent, name_of: impl Fn(&str) -> Option<String>) -> (&'static str, Value) {
    match event {
        SimEvent::Arrived { account, message } => {
            let customer = ["/external_userid", "/event/external_userid"]
                .iter()
                .find_map(|pointer| message.pointer(pointer).and_then(Value::as_str));
            let fields = json!({
                "account": account,
                "customer": customer.and_then(name_of),
                "msgid": message.get("msgid"),
                "origin": message.get("origin"),
                "text": message.pointer("/text/content"),
                "event": message.pointer("/event/event_type"),
            });
            ("said", fields)
        }
        SimEvent::Heard { customer, heard } => {
            let fields = json!({
                "account": heard.account,
                "customer": name_of(&customer),
                "msgid": heard.msgid,
                "msgtype": heard.msgtype,
                "text": heard.text,
                "menu": heard.menu,
            });
            ("heard", fields)
        }
        SimEvent::Called(call) => of_call(&call),
        SimEvent::CallingBack(letter) => ("callback", of_letter(letter)),
        SimEvent::CalledBack(callback) => ("callback-answered", of_callback(callback)),
        SimEvent::CallbackDropped { account, event_xml } => {
            ("callback-lost", json!({"account": account, "plain": event_xml}))
        }
        SimEvent::HungUp { path } => ("hung-up", json!({"path": path})),
    }
}

fn of_call(call: &CallRecord) -> (&'static str, Value) {
    let request: Map<String, Value> =
        call.query.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let mut request = Value::Object(request);
    if let (Some(request), Some(body)) = (request.as_object_mut(), call.body.as_object()) {
        request.extend(body.clone());
    }
    let mut answer = call.answer.clone();
    mask(&mut request);
    mask(&mut answer);
    let mut fields = json!({
        "api": call.api, "path": call.api.path(), "errcode": call.errcode, "fault": call.fault,
        "request": request, "answer": answer,
    });
    let kind = match call.api {
        Api::SyncMsg => "pull",
        Api::SendMsg | Api::SendMsgOnEvent => "answer",
        _ => "call",
    };
    if let (Api::SyncMsg, Some(fields)) = (call.api, fields.as_object_mut()) {
        let list = call.answer.get("msg_list").and_then(Value::as_array);
        let text = |name| call.body.get(name).and_then(Value::as_str).unwrap_or_default();
        fields.insert("account".into(), text("open_kfid").into());
        fields.insert("sync_token".into(), (!text("token").is_empty()).into());
        fields.insert("messages".into(), list.map_or(0, Vec::len).into());
        fields.insert("has_more".into(), (call.answer.get("has_more") == Some(&json!(1))).into());
    }
    (kind, fields)
}

fn of_letter(letter: Letter) -> Value {
    let query: Map<String, Value> =
        letter.query.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    json!({
        "push": letter.push,
        "retry": letter.retry,
        "account": letter.account,
        "query": query,
        "body": letter.envelope,
        "plain": letter.event_xml,
    })
}

fn of_callback(callback: CallbackRecord) -> Value {
    json!({
        "push": callback.push,
        "retry": callback.retry,
        "status": callback.status,
        "why": callback.status.is_none().then_some(callback.body),
        "took_us": callback.took_us,
    })
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if MASKED.contains(&name.as_str()) {
                    *field = MASK.into();
                } else {
                    mask(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

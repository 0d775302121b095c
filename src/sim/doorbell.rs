//! Which callbacks go out, and when: rung, held, dropped, doubled, overtaken. Writing them on the wire is the
//! pusher's.

use std::collections::VecDeque;

use super::{
    record::SimEvent,
    world::{SYNC_TOKEN_LIFE_S, SyncToken, World},
};

/// So many callbacks wait to be sent; WeCom too gives up on those that it can't place.
const CALLBACKS_WAITING_MAX: usize = 100_000;

/// What is done to a callback before it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tamper {
    /// Nothing.
    #[default]
    None,
    /// The signature is another one.
    Signature,
    /// The signature is in upper case.
    UpperCaseSignature,
    /// The message is for another corp; the signature is right.
    Receiver,
    /// One character of the ciphertext is another one; the signature is of the original.
    Ciphertext,
    /// One character of the ciphertext is another one, and the signature is made for that.
    CiphertextSigned,
    /// The ciphertext is cut in half, and the signature is made for that.
    Truncated,
    /// The timestamp in the query isn't the one that was signed.
    Timestamp,
    /// `nonce` is missing from the query.
    NoNonce,
    /// The body is no XML.
    NotXml,
}

/// A callback on its way.
#[derive(Clone, Debug)]
pub(super) struct Push {
    pub(super) number: u64,
    pub(super) account: Option<String>,
    pub(super) event_xml: String,
    pub(super) delay_ms: u64,
}

/// The callbacks that wait.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) url: Option<String>,
    pub(super) held: bool,
    pub(super) drop_next: usize,
    pub(super) numbered: u64,
    /// How many are queued, held back or being sent.
    pub(super) under_way: usize,
    pub(super) due: VecDeque<Push>,
    holding: VecDeque<Push>,
    /// Waits until another one has gone before it.
    pub(super) overtaken: Option<Push>,
}

impl Desk {
    fn enqueue(&mut self, push: Push) {
        let queue = if self.held { &mut self.holding } else { &mut self.due };
        if queue.len() < CALLBACKS_WAITING_MAX {
            queue.push_back(push);
            self.under_way += 1;
        }
    }

    pub(super) fn release(&mut self) {
        self.held = false;
        self.due.append(&mut self.holding);
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }
}

impl World {
    /// Rings for one account: something is new.
    pub(super) fn ring(&mut self, open_kfid: &str) {
        let event_xml = self.doorbell_xml(open_kfid);
        self.push(Some(open_kfid), event_xml);
    }

    /// The decrypted text of a doorbell, with a fresh sync token.
    pub(super) fn doorbell_xml(&mut self, open_kfid: &str) -> String {
        let now_s = self.now_s();
        let token = self.ids.next("sync_token", "ENC", 48);
        let is_old = |token: &SyncToken| now_s >= token.made_s + SYNC_TOKEN_LIFE_S;
        while let Some(oldest) = self.sync_tokens_by_age.front()
            && self.sync_tokens.get(oldest).is_none_or(is_old)
        {
            self.sync_tokens.remove(oldest);
            self.sync_tokens_by_age.pop_front();
        }
        self.sync_tokens_by_age.push_back(token.clone());
        self.sync_tokens.insert(token.clone(), SyncToken { account: open_kfid.to_owned(), made_s: now_s });
        let account = if self.switches.nameless_doorbells {
            String::new()
        } else {
            format!("<OpenKfId><![CDATA[{open_kfid}]]></OpenKfId>")
        };
        format!(
            "<xml><ToUserName><![CDATA[{}]]></ToUserName><CreateTime>{now_s}</CreateTime>\
             <MsgType><![CDATA[event]]></MsgType><Event><![CDATA[kf_msg_or_event]]></Event>\
             <Token><![CDATA[{token}]]></Token>{account}</xml>",
            self.options.corp_id
        )
    }

    /// The decrypted text that tells of accounts given to the app and taken from it.
    pub(super) fn auth_change_xml(&self, added: &[&str], removed: &[&str]) -> String {
        let mut nodes = String::new();
        for (name, accounts) in [("AuthAddOpenKfId", added), ("AuthDelOpenKfId", removed)] {
            for account in accounts {
                nodes.push_str(&["<", name, "><![CDATA[", account, "]]></", name, ">"].concat());
            }
        }
        format!(
            "<xml><ToUserName><![CDATA[{}]]></ToUserName><FromUserName>sys</FromUserName>\
             <CreateTime>{}</CreateTime><MsgType><![CDATA[event]]></MsgType>\
             <Event><![CDATA[kf_account_auth_change]]></Event>{nodes}</xml>",
            self.options.corp_id,
            self.now_s(),
        )
    }

    /// The decrypted text of an ordinary message to the app, which shares the URL.
    pub(super) fn app_message_xml(&mut self, text: &str) -> String {
        format!(
            "<xml><ToUserName><![CDATA[{}]]></ToUserName><FromUserName><![CDATA[fakeEmployee]]></FromUserName>\
             <CreateTime>{}</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{text}]]></Content>\
             <MsgId>{}</MsgId><AgentID>1000002</AgentID></xml>",
            self.options.corp_id,
            self.now_s(),
            7_000_000_000_000_000_000_u64 + self.calls_answered,
        )
    }

    /// Puts a callback on its way, through whatever the plan has in store for it.
    pub(super) fn push(&mut self, account: Option<&str>, event_xml: String) {
        let fate = self.faults.callback();
        if self.desk.drop_next > 0 {
            self.desk.drop_next -= 1;
            self.tell(SimEvent::CallbackDropped { account: account.map(str::to_owned), event_xml });
            return;
        }
        if fate.dropped || self.desk.url.is_none() {
            self.tell(SimEvent::CallbackDropped { account: account.map(str::to_owned), event_xml });
            return;
        }
        let number = self.desk.next_number();
        let push = Push { number, account: account.map(str::to_owned), event_xml, delay_ms: fate.delay_ms };
        if fate.overtaken && self.desk.overtaken.is_none() {
            self.desk.under_way += 1;
            self.desk.overtaken = Some(push);
            return;
        }
        if fate.duplicated {
            self.desk.enqueue(push.clone());
        }
        self.desk.enqueue(push);
        self.flush_overtaken();
    }

    /// The overtaken callback has waited long enough.
    pub(super) fn flush_overtaken(&mut self) {
        if let Some(late) = self.desk.overtaken.take() {
            self.desk.under_way = self.desk.under_way.saturating_sub(1);
            self.desk.enqueue(late);
        }
    }
}

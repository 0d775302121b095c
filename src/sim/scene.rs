//! What happens in the consoles, at the servicers' desks and in the mini programs: the parts of the world that the
//! customers don't move.

use serde_json::json;

use super::{
    Customer, Servicer, Sim, SimAccount,
    login::Visitor,
    people::CodeKind,
    record::{Heard, MenuItem},
    subscribe::SubscribeMessage,
    world::World,
};

impl Sim {
    // ---- Consoles ----

    /// Adds an account, or changes one, without a word to the service.
    pub fn add_account(&self, account: SimAccount) {
        self.shared.change(|world| world.add_account(account));
    }

    /// Gives accounts to the app and takes others from it, and tells the service (`kf_account_auth_change`). Unknown
    /// accounts are made.
    pub fn change_authority(&self, added: &[&str], removed: &[&str]) {
        self.shared.change(|world| {
            for (accounts, api_managed) in [(added, true), (removed, false)] {
                for open_kfid in accounts {
                    let name = world.account(open_kfid).map_or("新客服", |account| &account.name).to_owned();
                    world.add_account(SimAccount { open_kfid: (*open_kfid).to_owned(), name, api_managed });
                }
            }
            let event_xml = world.auth_change_xml(added, removed);
            world.push(None, event_xml);
        });
    }

    /// Who receives customers of an account; at first one who is receiving.
    pub fn set_servicers(&self, account: &str, servicers: Vec<Servicer>) {
        self.shared.change(|world| {
            if let Some(account) = world.account_mut(account) {
                account.servicers = servicers;
            }
        });
    }

    /// The link of an account and a scene, as `add_contact_way` gives it.
    #[must_use]
    pub fn kf_link(&self, account: &str, scene: &str) -> String {
        self.shared.change(|world| world.link(account, scene))
    }

    /// The link of an account as the console shows it: it takes no `scene_param`.
    #[must_use]
    pub fn console_link(&self, account: &str) -> String {
        self.shared.read(|world| world.console_link(account))
    }

    // ---- Sessions ----

    /// Puts a session into a state, as if it had come there by itself. One that hasn't begun begins now, unless the
    /// state is 4.
    pub fn set_service_state(&self, customer: &Customer, account: &str, state: u8) {
        self.shared.change(|world| {
            let now_s = world.now_s();
            let session = world.session(customer.external_userid(), account);
            if state < 4 && session.state(now_s) == 4 {
                session.consulted_at = Some(now_s);
            }
            session.set_state(state, Some("fakeServicerOne".into()));
        });
    }

    /// The state of a session, as `service_state/get` tells it.
    #[must_use]
    pub fn service_state(&self, customer: &Customer, account: &str) -> u8 {
        self.shared.read(|world| {
            let key = (customer.external_userid().to_owned(), account.to_owned());
            world.sessions.get(&key).map_or(4, |session| session.state(world.now_s()))
        })
    }

    /// A servicer takes the session over in the WeCom client (`session_status_change` 1).
    pub fn servicer_takes(&self, customer: &Customer, account: &str, servicer: &str) {
        self.set_service_state(customer, account, 3);
        self.shared.change(|world| {
            world.session(customer.external_userid(), account).servicer = Some(servicer.to_owned());
            world.status_change(customer, account, 1, servicer);
        });
    }

    /// A servicer writes in the WeCom client (`origin` 5). Returns the message's id.
    #[expect(clippy::must_use_candidate, reason = "the saying matters, its id to few")]
    pub fn servicer_says(&self, customer: &Customer, account: &str, servicer: &str, text: &str) -> String {
        self.shared.change(|world| {
            let now_s = world.now_s();
            let msgid = world.message_id();
            let message = json!({
                "msgid": msgid,
                "open_kfid": account,
                "external_userid": customer.external_userid(),
                "send_time": now_s,
                "origin": 5,
                "servicer_userid": servicer,
                "msgtype": "text",
                "text": {"content": text},
            });
            world.append(account, now_s, message);
            msgid
        })
    }

    /// A servicer sends a card of the mini program from the toolbar (`wx.qy.sendChatMessage`). Returns the message's id.
    #[expect(clippy::must_use_candidate, reason = "the card matters, its id to few")]
    pub fn servicer_sends_card(
        &self,
        customer: &Customer,
        account: &str,
        servicer: &str,
        page: &str,
        title: &str,
    ) -> String {
        self.shared.change(|world| {
            let (now_s, at_ms) = (world.now_s(), world.now_ms());
            let (msgid, appid) = (world.message_id(), world.options.app_id.clone());
            let message = json!({
                "msgid": msgid,
                "open_kfid": account,
                "external_userid": customer.external_userid(),
                "send_time": now_s,
                "origin": 5,
                "servicer_userid": servicer,
                "msgtype": "miniprogram",
                "miniprogram": {"title": title, "appid": appid, "pagepath": page, "thumb_media_id": "fakeMediaId"},
            });
            world.append(account, now_s, message);
            let opens = page.split('?').next().is_some_and(|path| path.strip_suffix(".html").is_some());
            let item = MenuItem::Miniprogram {
                appid,
                pagepath: page.to_owned(),
                content: title.to_owned(),
                opens,
            };
            let heard = Heard {
                text: title.to_owned(),
                msgid: msgid.clone(),
                at_ms,
                account: account.to_owned(),
                msgtype: "miniprogram".to_owned(),
                menu: vec![item],
            };
            world.deliver(customer.external_userid(), heard);
            msgid
        })
    }

    /// A servicer ends the session in the WeCom client (`session_status_change` 3).
    pub fn servicer_ends(&self, customer: &Customer, account: &str, servicer: &str) {
        self.shared.change(|world| {
            world.session(customer.external_userid(), account).set_state(4, None);
            world.status_change(customer, account, 3, servicer);
        });
    }

    // ---- Mini programs ----

    /// An openid for this name, always the same.
    #[must_use]
    pub fn openid_of(&self, name: &str) -> String {
        self.shared.read(|world| world.ids.named(&format!("openid/{name}"), "o", 28))
    }

    /// What `wx.login` gives this user: a code for one login within five minutes. The openid is taken to the letter.
    #[must_use]
    pub fn wx_login_code(&self, openid: &str, unionid: Option<&str>) -> String {
        let visitor = Visitor::User { openid: openid.to_owned(), unionid: unionid.map(str::to_owned) };
        self.shared.change(|world| world.login_code(visitor))
    }

    /// What `wx.qy.login` gives this employee.
    #[must_use]
    pub fn staff_login_code(&self, userid: &str) -> String {
        let visitor = Visitor::Employee { userid: userid.to_owned() };
        self.shared.change(|world| world.login_code(visitor))
    }

    /// The user agrees to `times` more subscribe messages of this template.
    pub fn accept_subscribe(&self, openid: &str, template_id: &str, times: u32) {
        self.shared.change(|world| {
            *world.accepted.entry((openid.to_owned(), template_id.to_owned())).or_default() += times;
        });
    }

    /// The subscribe messages that were sent.
    #[must_use]
    pub fn subscribe_messages(&self) -> Vec<SubscribeMessage> {
        self.shared.read(|world| world.subscribe_messages.clone())
    }
}

impl World {
    fn status_change(&mut self, customer: &Customer, account: &str, change_type: u8, servicer: &str) {
        let customer = customer.external_userid();
        let now_s = self.now_s();
        let (kind, side) = if change_type == 1 {
            (CodeKind::Taken, "new_servicer_userid")
        } else {
            (CodeKind::Ended, "old_servicer_userid")
        };
        let msg_code = self.event_code(customer, account, kind, now_s);
        let mut event = json!({
            "event_type": "session_status_change",
            "open_kfid": account,
            "external_userid": customer,
            "change_type": change_type,
            "msg_code": msg_code,
        });
        if let Some(fields) = event.as_object_mut() {
            fields.insert(side.into(), json!(servicer));
        }
        self.append_event(account, now_s, &event);
    }
}

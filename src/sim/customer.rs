//! A customer in a test's or demo's hands: what one does in the kf chat on a phone.
#![expect(
    clippy::must_use_candidate,
    reason = "saying something is what these methods are called for; its id matters to few"
)]

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    SimError,
    contacts::CardPage,
    people::Person,
    record::{Heard, MenuItem},
    shared::Shared,
    world::World,
};

/// A person who writes to kf accounts. Cheap to clone; the same name is the same person.
#[derive(Clone)]
pub struct Customer {
    shared: Arc<Shared>,
    id: String,
}

impl Customer {
    pub(super) fn new(shared: Arc<Shared>, name: &str) -> Self {
        let id = shared.change(|world| world.customer(name));
        Self { shared, id }
    }

    /// The `external_userid`, of both cases.
    #[must_use]
    pub fn external_userid(&self) -> &str {
        &self.id
    }

    /// Has another name in WeChat than the one it was made with.
    #[must_use]
    pub fn with_nickname(self, nickname: &str) -> Self {
        self.change(|person| nickname.clone_into(&mut person.nickname));
        self
    }

    /// Has a unionid, told by `batchget` as long as the switch `unionid_bound` is on.
    #[must_use]
    pub fn with_unionid(self, unionid: &str) -> Self {
        self.change(|person| person.unionid = Some(unionid.to_owned()));
        self
    }

    /// Writes a text. Returns the message's id.
    pub fn says(&self, account: &str, text: &str) -> String {
        self.says_at(account, text, self.shared.read(World::now_s))
    }

    /// Writes a text that carries this `send_time`, in Unix seconds, and arrives now.
    pub fn says_at(&self, account: &str, text: &str, send_time_s: u64) -> String {
        self.sends_at(account, "text", json!({"content": text}), send_time_s)
    }

    /// Sends a picture.
    pub fn sends_image(&self, account: &str) -> String {
        self.sends(account, "image", json!({"media_id": "fakeMediaId"}))
    }

    /// Sends anything: `body` stands under the name of its `msgtype`.
    pub fn sends(&self, account: &str, msgtype: &str, body: Value) -> String {
        self.sends_at(account, msgtype, body, self.shared.read(World::now_s))
    }

    fn sends_at(&self, account: &str, msgtype: &str, body: Value, send_time_s: u64) -> String {
        self.shared.change(|world| world.customer_sends(&self.id, account, send_time_s, (msgtype, body)))
    }

    /// Enters through the account's link with the scene `kfbind`, as if it were tapped in the mini program. Returns
    /// the event's id, `None` where WeCom keeps the entry to itself.
    pub fn enters(&self, account: &str, scene_param: Option<&str>) -> Option<String> {
        self.shared.change(|world| {
            let now_s = world.now_s();
            let link = super::world::Link { account: account.to_owned(), scene: "kfbind".into() };
            world.customer_enters(&self.id, &link, scene_param, now_s)
        })
    }

    /// Taps on a link as the service gave it. Returns the event's id; `None` where the link was altered, so that
    /// there is no event at all, or where WeCom keeps the entry to itself.
    pub fn opens(&self, url: &str) -> Option<String> {
        self.opens_at(url, self.shared.read(World::now_s))
    }

    /// The same with this `send_time`, in Unix seconds, arriving now.
    pub fn opens_at(&self, url: &str, send_time_s: u64) -> Option<String> {
        self.shared.change(|world| {
            let (link, scene_param) = world.opened_link(url)?;
            world.customer_enters(&self.id, &link, scene_param.as_deref(), send_time_s)
        })
    }

    /// Taps on a menu item with this id, on the newest message that has it. `None` where there is none to see.
    pub fn taps(&self, menu_id: &str) -> Option<String> {
        self.taps_at(menu_id, self.shared.read(World::now_s))
    }

    /// The same with this `send_time`, in Unix seconds, arriving now.
    pub fn taps_at(&self, menu_id: &str, send_time_s: u64) -> Option<String> {
        self.shared.change(|world| {
            let (account, content) = world.menu_item(&self.id, menu_id)?;
            let body = json!({"content": content, "menu_id": menu_id});
            Some(world.customer_sends(&self.id, &account, send_time_s, ("text", body)))
        })
    }

    /// Taps on the item with this label of the newest message that has it.
    pub fn taps_label(&self, label: &str) -> Option<String> {
        let items = self.heard().into_iter().rev().flat_map(|heard| heard.menu);
        let id = items.into_iter().find_map(|item| match item {
            MenuItem::Click { id, content } if content == label => Some(id),
            _ => None,
        })?;
        self.taps(&id)
    }

    /// The newest mini-program card that WeChat would open: its app and page.
    #[must_use]
    pub fn card(&self) -> Option<CardPage> {
        let items = self.heard().into_iter().rev().flat_map(|heard| heard.menu);
        items.into_iter().find_map(|item| match item {
            MenuItem::Miniprogram { appid, pagepath, opens: true, .. } => Some(CardPage { appid, pagepath }),
            _ => None,
        })
    }

    /// Takes a message back.
    pub fn recalls(&self, account: &str, msgid: &str) -> String {
        let event = json!({
            "event_type": "user_recall_msg",
            "open_kfid": account,
            "external_userid": self.id,
            "recall_msgid": msgid,
        });
        self.shared.change(|world| {
            let now_s = world.now_s();
            world.append_event(account, now_s, &event)
        })
    }

    /// Everything that appeared in this person's chats, oldest first.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.shared
            .read(|world| world.people.get(&self.id).map(|person| person.heard.clone()).unwrap_or_default())
    }

    /// Waits, at most so long in real time, until at least `count` messages appeared; all of them.
    pub async fn wait_heard(&self, count: usize, deadline: Duration) -> Result<Vec<Heard>, SimError> {
        let heard = |world: &World| {
            let person = world.people.get(&self.id)?;
            (person.heard.len() >= count).then(|| person.heard.clone())
        };
        let result = self.shared.wait(deadline, heard).await;
        result.ok_or_else(|| {
            let so_far: Vec<String> = self.heard().into_iter().map(|heard| heard.text).collect();
            SimError::Deadline(format!("the customer heard {} of {count} messages: {so_far:?}", so_far.len()))
        })
    }

    fn change(&self, change: impl FnOnce(&mut Person)) {
        self.shared.change(|world| {
            if let Some(person) = world.people.get_mut(&self.id) {
                change(person);
            }
        });
    }
}

//! The JSON of what we say: `kf/send_msg` (document 94677) and `kf/send_msg_on_event` (document 95122).
//!
//! Texts are cut where WeCom would cut or refuse them; the rest of its limits (ids, paths, numbers of items) is kept by
//! whoever makes the words.

use actors::ports::{MenuItem, Reply, Words};
use serde::{Deserialize, Serialize};

/// The longest text, in bytes; WeCom cuts the rest.
pub const TEXT_BYTES_MAX: usize = 2048;
/// The longest sentence above a menu, in bytes.
pub const MENU_HEAD_BYTES_MAX: usize = 1024;
/// The longest label of an item that is tapped, in bytes.
pub const CLICK_LABEL_BYTES_MAX: usize = 128;
/// The longest label of an item that opens a mini program, in bytes.
pub const PAGE_LABEL_BYTES_MAX: usize = 1024;

/// Body of `kf/send_msg`.
#[derive(Clone, Serialize, Deserialize)]
pub struct SendMsgRequest {
    /// The customer.
    pub touser: String,
    /// The account that speaks.
    pub open_kfid: String,
    /// Ours, at most 32 bytes of `[0-9a-zA-Z_-]`; WeCom takes each once per account.
    pub msgid: String,
    /// What is said.
    #[serde(flatten)]
    pub content: Content,
}

/// Body of `kf/send_msg_on_event`.
#[derive(Clone, Serialize, Deserialize)]
pub struct SendMsgOnEventRequest {
    /// The event's own right to speak: it says to whom, and for which account.
    pub code: String,
    /// As in [`SendMsgRequest`].
    pub msgid: String,
    /// What is said.
    #[serde(flatten)]
    pub content: Content,
}

/// What is said, under the name of its kind. No `Debug`: it is for the customer only.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "msgtype", rename_all = "lowercase")]
pub enum Content {
    /// Words.
    Text {
        /// The words.
        text: TextBody,
    },
    /// Words and items to tap.
    MsgMenu {
        /// Both.
        msgmenu: MenuBody,
    },
}

/// The body of a text message.
#[derive(Clone, Serialize, Deserialize)]
pub struct TextBody {
    /// At most [`TEXT_BYTES_MAX`] bytes.
    pub content: String,
}

/// The body of a menu.
#[derive(Clone, Serialize, Deserialize)]
pub struct MenuBody {
    /// At most [`MENU_HEAD_BYTES_MAX`] bytes.
    pub head_content: String,
    /// At most ten.
    pub list: Vec<Item>,
}

/// A line of a menu.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Item {
    /// A tap comes back as a text with the id.
    Click {
        /// What is tapped.
        click: ClickBody,
    },
    /// Opens a mini program.
    MiniProgram {
        /// Which page of which.
        miniprogram: PageBody,
    },
}

/// See [`Item::Click`].
#[derive(Clone, Serialize, Deserialize)]
pub struct ClickBody {
    /// 1 to 128 bytes.
    pub id: String,
    /// At most [`CLICK_LABEL_BYTES_MAX`] bytes.
    pub content: String,
}

/// See [`Item::MiniProgram`].
#[derive(Clone, Serialize, Deserialize)]
pub struct PageBody {
    /// The mini program.
    pub appid: String,
    /// At most 1,024 bytes; its path ends in `.html`.
    pub pagepath: String,
    /// At most [`PAGE_LABEL_BYTES_MAX`] bytes.
    pub content: String,
}

impl SendMsgRequest {
    /// The request that says this; `app_id` is whose pages are meant.
    #[must_use]
    pub fn of(reply: Reply, app_id: &str) -> Self {
        Self {
            touser: reply.customer.as_str().to_owned(),
            open_kfid: reply.account.as_str().to_owned(),
            msgid: reply.reply_id.as_str().to_owned(),
            content: Content::of(reply.words, app_id),
        }
    }
}

impl Content {
    /// The words as WeCom takes them.
    #[must_use]
    pub fn of(words: Words, app_id: &str) -> Self {
        match words {
            Words::Text(content) => Self::Text { text: TextBody { content: cut(content, TEXT_BYTES_MAX) } },
            Words::Menu { head, items } => Self::MsgMenu {
                msgmenu: MenuBody {
                    head_content: cut(head, MENU_HEAD_BYTES_MAX),
                    list: items.into_iter().map(|item| Item::of(item, app_id)).collect(),
                },
            },
        }
    }
}

impl Item {
    fn of(item: MenuItem, app_id: &str) -> Self {
        match item {
            MenuItem::Click { id, label } => Self::Click {
                click: ClickBody { id: id.as_str().to_owned(), content: cut(label, CLICK_LABEL_BYTES_MAX) },
            },
            MenuItem::Page { path, label } => Self::MiniProgram {
                miniprogram: PageBody {
                    appid: app_id.to_owned(),
                    pagepath: path,
                    content: cut(label, PAGE_LABEL_BYTES_MAX),
                },
            },
        }
    }
}

fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

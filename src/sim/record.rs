//! What the simulator remembers and tells: the calls it answered, the callbacks it sent, and a stream of both for
//! whoever watches. No behaviour.

use serde::Serialize;
use serde_json::Value;

/// An interface that the simulator answers, on either of the two hosts; both live under one base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// `GET /cgi-bin/gettoken`
    GetToken,
    /// `POST /cgi-bin/kf/sync_msg`
    SyncMsg,
    /// `POST /cgi-bin/kf/send_msg`
    SendMsg,
    /// `POST /cgi-bin/kf/send_msg_on_event`
    SendMsgOnEvent,
    /// `POST /cgi-bin/kf/service_state/get`
    ServiceStateGet,
    /// `POST /cgi-bin/kf/service_state/trans`
    ServiceStateTrans,
    /// `POST /cgi-bin/kf/customer/batchget`
    CustomerBatchGet,
    /// `POST /cgi-bin/kf/account/list`
    AccountList,
    /// `POST /cgi-bin/kf/add_contact_way`
    AddContactWay,
    /// `GET /cgi-bin/kf/servicer/list`
    ServicerList,
    /// `GET /cgi-bin/getcallbackip`
    GetCallbackIp,
    /// `GET /cgi-bin/get_api_domain_ip`
    GetApiDomainIp,
    /// `GET /cgi-bin/miniprogram/jscode2session`: the employee's login in the WeCom mini program
    StaffCode2Session,
    /// `GET /sns/jscode2session`: the user's login in the WeChat mini program
    Code2Session,
    /// `POST /cgi-bin/stable_token` of the WeChat mini program
    StableToken,
    /// `POST /cgi-bin/message/subscribe/send` of the WeChat mini program
    SubscribeSend,
    /// `GET /customservice/work/get` of the WeChat mini program: the company that it is bound to
    KfWorkGet,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::GetToken,
        Self::SyncMsg,
        Self::SendMsg,
        Self::SendMsgOnEvent,
        Self::ServiceStateGet,
        Self::ServiceStateTrans,
        Self::CustomerBatchGet,
        Self::AccountList,
        Self::AddContactWay,
        Self::ServicerList,
        Self::GetCallbackIp,
        Self::GetApiDomainIp,
        Self::StaffCode2Session,
        Self::Code2Session,
        Self::StableToken,
        Self::SubscribeSend,
        Self::KfWorkGet,
    ];

    /// Its path.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::GetToken => "/cgi-bin/gettoken",
            Self::SyncMsg => "/cgi-bin/kf/sync_msg",
            Self::SendMsg => "/cgi-bin/kf/send_msg",
            Self::SendMsgOnEvent => "/cgi-bin/kf/send_msg_on_event",
            Self::ServiceStateGet => "/cgi-bin/kf/service_state/get",
            Self::ServiceStateTrans => "/cgi-bin/kf/service_state/trans",
            Self::CustomerBatchGet => "/cgi-bin/kf/customer/batchget",
            Self::AccountList => "/cgi-bin/kf/account/list",
            Self::AddContactWay => "/cgi-bin/kf/add_contact_way",
            Self::ServicerList => "/cgi-bin/kf/servicer/list",
            Self::GetCallbackIp => "/cgi-bin/getcallbackip",
            Self::GetApiDomainIp => "/cgi-bin/get_api_domain_ip",
            Self::StaffCode2Session => "/cgi-bin/miniprogram/jscode2session",
            Self::Code2Session => "/sns/jscode2session",
            Self::StableToken => "/cgi-bin/stable_token",
            Self::SubscribeSend => "/cgi-bin/message/subscribe/send",
            Self::KfWorkGet => "/customservice/work/get",
        }
    }

    /// The interface at `path`.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.path() == path)
    }

    /// Whether it wants POST; the others want GET.
    #[must_use]
    pub fn is_post(self) -> bool {
        !matches!(
            self,
            Self::GetToken
                | Self::ServicerList
                | Self::GetCallbackIp
                | Self::GetApiDomainIp
                | Self::StaffCode2Session
                | Self::Code2Session
                | Self::KfWorkGet
        )
    }

    /// Whether it is WeChat's (`api.weixin.qq.com`) rather than WeCom's.
    #[must_use]
    pub fn is_wechat(self) -> bool {
        matches!(self, Self::Code2Session | Self::StableToken | Self::SubscribeSend | Self::KfWorkGet)
    }

    /// Whether it is one of the customer-service interfaces.
    #[must_use]
    pub fn is_kf(self) -> bool {
        self.path().starts_with("/cgi-bin/kf/")
    }
}

/// One call that reached the simulator.
#[derive(Clone, Debug, Serialize)]
pub struct CallRecord {
    /// Counts all calls, from 1, in the order in which they were answered.
    pub number: u64,
    /// When it was answered, by the simulator's clock, in milliseconds.
    pub at_ms: u64,
    /// What was called.
    pub api: Api,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The body; null if there was none or it was no JSON.
    pub body: Value,
    /// What was decided, whether or not a fault kept it from the caller; null if a fault came first.
    pub answer: Value,
    /// The `errcode` of [`Self::answer`], 0 if it has none.
    pub errcode: i64,
    /// The fault that the caller saw instead of, or after, the answer.
    pub fault: Option<String>,
    /// How many calls of this interface were open at that moment, this one included.
    pub parallel: usize,
}

/// One attempt to deliver a callback.
#[derive(Clone, Debug, Serialize)]
pub struct CallbackRecord {
    /// When it was sent, by the simulator's clock, in milliseconds.
    pub at_ms: u64,
    /// Which push it belongs to; retries share the number.
    pub push: u64,
    /// 0 for the first try.
    pub retry: u32,
    /// The account that rang, if the callback is about one.
    pub account: Option<String>,
    /// The HTTP status of the answer; `None` if there was none.
    pub status: Option<u16>,
    /// The body of the answer, or why there was none.
    pub body: String,
    /// From sending to the answer, in real time, in microseconds.
    pub took_us: u64,
}

/// A callback as it goes out, inside and outside.
#[derive(Clone, Debug, Serialize)]
pub struct Letter {
    /// Which push it belongs to; retries share the number.
    pub push: u64,
    /// 0 for the first try.
    pub retry: u32,
    /// The account that rang, if the callback is about one.
    pub account: Option<String>,
    /// The query, decoded: signature, timestamp and nonce.
    pub query: Vec<(&'static str, String)>,
    /// The envelope, as it was sent.
    pub envelope: String,
    /// What the envelope holds, decrypted.
    pub event_xml: String,
}

/// What a watcher is told, in the order in which it happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SimEvent {
    /// A customer wrote something, or something else came into an account's stream.
    Arrived {
        /// The account.
        account: String,
        /// The message as `sync_msg` will show it.
        message: Value,
    },
    /// A customer heard something.
    Heard {
        /// Who.
        customer: String,
        /// What.
        heard: Heard,
    },
    /// A call was answered.
    Called(Box<CallRecord>),
    /// A callback goes out.
    CallingBack(Letter),
    /// That callback was answered, or not.
    CalledBack(CallbackRecord),
    /// A callback was swallowed on purpose.
    CallbackDropped {
        /// The account that would have rung.
        account: Option<String>,
        /// What it would have said, decrypted.
        event_xml: String,
    },
    /// A connection was closed without an answer, because the simulator is switched to be down.
    HungUp {
        /// The path of the call.
        path: String,
    },
}

/// Something that appeared in a customer's chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Heard {
    /// The text; of a menu: head, items and tail, each on its line.
    pub text: String,
    /// The message's id.
    pub msgid: String,
    /// When, by the simulator's clock, in milliseconds.
    pub at_ms: u64,
    /// The account that spoke.
    pub account: String,
    /// `text`, `msgmenu`, …
    pub msgtype: String,
    /// The items of a menu.
    pub menu: Vec<MenuItem>,
}

/// An item of a menu, as the customer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MenuItem {
    /// A tap sends its content back, with its id.
    Click {
        /// Comes back as `menu_id`.
        id: String,
        /// The label.
        content: String,
    },
    /// Opens a web page.
    View {
        /// Where.
        url: String,
        /// The label.
        content: String,
    },
    /// Opens a mini program.
    Miniprogram {
        /// Which.
        appid: String,
        /// The page with its query.
        pagepath: String,
        /// The label.
        content: String,
        /// Whether WeChat finds the page: its path must end in `.html`.
        opens: bool,
    },
    /// Only words.
    Text {
        /// The words.
        content: String,
    },
}

impl MenuItem {
    /// What the customer reads.
    #[must_use]
    pub fn content(&self) -> &str {
        match self {
            Self::Click { content, .. }
            | Self::View { content, .. }
            | Self::Miniprogram { content, .. }
            | Self::Text { content } => content,
        }
    }
}

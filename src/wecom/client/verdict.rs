//! Which calls there are, and what an errcode of theirs means for the caller.

use std::time::Duration;

use actors::ports::CallError;

use crate::wecom::api::{self, errcode};

/// The longest answer that is read, in bytes: a page of 1000 texts of 2 KiB, JSON-escaped, is 12 MiB.
const PAGE_BYTES_MAX: usize = 32 << 20;
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long 45009 lasts at least.
const TOO_MANY_CALLS_WAIT: Duration = Duration::from_mins(1);
/// After 45033 the others must only finish.
pub(super) const TOO_MANY_AT_ONCE_WAIT: Duration = Duration::from_secs(1);
/// How much of WeCom's words is kept, in bytes.
const ERRMSG_BYTES_MAX: usize = 300;

/// The calls, as the metrics name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Gettoken,
    SyncMsg,
    SendMsg,
    SendMsgOnEvent,
    ServiceStateGet,
    ServiceStateTrans,
    CustomerBatchget,
    AccountList,
    AddContactWay,
    ServicerList,
    StaffLogin,
}

impl Api {
    /// All that carry an access token.
    pub(super) const ALL: [Self; 10] = [
        Self::SyncMsg,
        Self::SendMsg,
        Self::SendMsgOnEvent,
        Self::ServiceStateGet,
        Self::ServiceStateTrans,
        Self::CustomerBatchget,
        Self::AccountList,
        Self::AddContactWay,
        Self::ServicerList,
        Self::StaffLogin,
    ];

    /// The name in the metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Gettoken => "gettoken",
            Self::SyncMsg => "sync_msg",
            Self::SendMsg => "send_msg",
            Self::SendMsgOnEvent => "send_msg_on_event",
            Self::ServiceStateGet => "service_state_get",
            Self::ServiceStateTrans => "service_state_trans",
            Self::CustomerBatchget => "customer_batchget",
            Self::AccountList => "account_list",
            Self::AddContactWay => "add_contact_way",
            Self::ServicerList => "servicer_list",
            Self::StaffLogin => "staff_jscode2session",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Gettoken => "/cgi-bin/gettoken",
            Self::SyncMsg => "/cgi-bin/kf/sync_msg",
            Self::SendMsg => "/cgi-bin/kf/send_msg",
            Self::SendMsgOnEvent => "/cgi-bin/kf/send_msg_on_event",
            Self::ServiceStateGet => "/cgi-bin/kf/service_state/get",
            Self::ServiceStateTrans => "/cgi-bin/kf/service_state/trans",
            Self::CustomerBatchget => "/cgi-bin/kf/customer/batchget",
            Self::AccountList => "/cgi-bin/kf/account/list",
            Self::AddContactWay => "/cgi-bin/kf/add_contact_way",
            Self::ServicerList => "/cgi-bin/kf/servicer/list",
            Self::StaffLogin => "/cgi-bin/miniprogram/jscode2session",
        }
    }

    /// The longest answer that is read.
    pub(super) fn body_bytes_max(self) -> usize {
        if self == Self::SyncMsg { PAGE_BYTES_MAX } else { ANSWER_BYTES_MAX }
    }
}

/// What an errcode means for the caller; `None` = done.
pub(super) fn failure(api: Api, head: &api::Head) -> Option<CallError> {
    let errcode = head.errcode;
    match errcode {
        0 => return None,
        // Said before, which is what was wanted.
        errcode::MSGID_REPEATED if api == Api::SendMsg => return None,
        _ => {}
    }
    let errmsg = head.errmsg.get(..head.errmsg.floor_char_boundary(ERRMSG_BYTES_MAX)).unwrap_or_default();
    Some(match errcode {
        errcode::BUSY | errcode::VERSION_CONFLICT | errcode::WRITE_CONFLICT => {
            CallError::Unreachable(format!("errcode {errcode}: {errmsg}"))
        }
        errcode::TOO_MANY_CALLS => CallError::Throttled { errcode, wait: TOO_MANY_CALLS_WAIT },
        errcode::TOO_MANY_AT_ONCE => CallError::Throttled { errcode, wait: TOO_MANY_AT_ONCE_WAIT },
        errcode::BAD_SYNC_TOKEN if api == Api::SyncMsg => CallError::SyncTokenRefused(errcode),
        _ => match errcode::console_hint(errcode, errmsg) {
            Some(hint) => CallError::Misconfigured { errcode, hint },
            None => CallError::Refused { errcode, errmsg: errmsg.to_owned() },
        },
    })
}

/// Whether a call failed for its access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenFault {
    None,
    /// It isn't taken.
    Refused,
    /// It may be older than a right that was granted.
    IssuedTooEarly,
}

pub(super) fn token_fault(error: &CallError) -> TokenFault {
    match error {
        CallError::Refused {
            errcode: errcode::BAD_SECRET | errcode::BAD_ACCESS_TOKEN | errcode::ACCESS_TOKEN_EXPIRED,
            ..
        } => TokenFault::Refused,
        CallError::Misconfigured {
            errcode:
                errcode::API_FORBIDDEN
                | errcode::ACCOUNT_NOT_AUTHORISED
                | errcode::WRONG_EDITION_INSIDE
                | errcode::WRONG_EDITION_ALONE,
            ..
        } => TokenFault::IssuedTooEarly,
        _ => TokenFault::None,
    }
}

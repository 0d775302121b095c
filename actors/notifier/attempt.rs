//! One attempt at one outbox entry: the calls to WeCom and WeChat, and what their outcome means.
//!
//! No queues and no waiting here; a try that may work later says so. Customers moved to a person are `moving.rs`'s.

use std::{sync::Arc, time::Duration};

use ractor::{ActorRef, call_t};

use super::{REGISTRY_TIMEOUT_MS, moving::Turns};
use crate::{
    ids::ExternalUserId,
    messages::{Attempt, Notify, RegistryMessage, Say, Welcome},
    policy::Handover,
    ports::{CallError, Clock, MiniProgram, NoticeFate, Receiver, Reply, ServiceState, WeCom, Words},
    texts::{NICKNAME_PLACEHOLDER, fill},
};

/// The session's state does not allow sending.
const NOT_IN_THIS_STATE: i64 = 95_018;
/// An answer waits so long for a name that its text wants.
const NICKNAME_WAIT: Duration = Duration::from_secs(3);
/// How a text addresses somebody whose name can't be had.
const NOBODY: &str = "您";
/// The right to speak that comes with an entry lasts so long, in seconds; it is not begun in the last of them.
const WELCOME_LIFE_S: u64 = 20;
const WELCOME_MARGIN_S: u64 = 2;

/// Whom an attempt may call.
pub(super) struct Outside {
    pub(super) registry: ActorRef<RegistryMessage>,
    pub(super) wecom: Arc<dyn WeCom>,
    pub(super) mini_program: Arc<dyn MiniProgram>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) handover: Handover,
    /// Whose turn it is.
    pub(super) turns: Turns,
}

/// Says something in a chat.
pub(super) async fn say(outside: &Outside, seq: u64, say: Say, is_first_try: bool) -> Attempt {
    let Say { mut reply, welcome, begun } = say;
    if begun {
        // Another process had begun; whether it was said, WeCom doesn't tell.
        return Attempt::Unknown;
    }
    if let Words::Text(text) = &mut reply.words
        && text.contains(NICKNAME_PLACEHOLDER)
    {
        let nickname = nickname(outside.wecom.as_ref(), &reply.customer).await;
        *text = fill(text, &[(NICKNAME_PLACEHOLDER, &nickname)]);
    }
    // After a failed try the right to speak is used up or over.
    if let Some(welcome) = welcome.filter(|welcome| is_first_try && is_live(outside, welcome))
        && let Some(attempt) = welcome_by(outside, seq, welcome, &reply).await
    {
        return attempt;
    }
    match outside.wecom.send(reply.clone()).await {
        Ok(()) => Attempt::Done,
        Err(CallError::Refused { errcode: NOT_IN_THIS_STATE, .. }) => by_state(outside, reply).await,
        Err(error) => judge(error, &reply.customer),
    }
}

fn is_live(outside: &Outside, welcome: &Welcome) -> bool {
    outside.clock.now() < welcome.entered_at.plus(WELCOME_LIFE_S - WELCOME_MARGIN_S)
}

/// Speaks by an event's own right. `None` = it was not said, and may be said otherwise.
async fn welcome_by(outside: &Outside, seq: u64, welcome: Welcome, reply: &Reply) -> Option<Attempt> {
    if let Err(error) = begin(outside, seq).await {
        return Some(Attempt::Later(error));
    }
    match outside.wecom.welcome(welcome.code, reply.clone()).await {
        Ok(()) => Some(Attempt::Done),
        Err(CallError::Unreachable(why)) => {
            tracing::warn!(customer = %reply.customer, why, "whether a welcome was said is not known");
            Some(Attempt::Unknown)
        }
        Err(error) => {
            tracing::debug!(customer = %reply.customer, %error, "no welcome is taken: sent as a message");
            None
        }
    }
}

/// Marks an entry before a call that knows no repeat, so that another process doesn't make it again.
async fn begin(outside: &Outside, seq: u64) -> Result<(), CallError> {
    let build = |reply| RegistryMessage::Begin(seq, reply);
    match call_t!(outside.registry, build, REGISTRY_TIMEOUT_MS) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refusal)) => Err(CallError::Unreachable(refusal.to_string())),
        Err(error) => Err(CallError::Unreachable(error.to_string())),
    }
}

/// The session's state decides what becomes of an answer that it does not allow.
async fn by_state(outside: &Outside, reply: Reply) -> Attempt {
    let (account, customer) = (reply.account.clone(), reply.customer.clone());
    let state = match outside.wecom.service_state(account.clone(), customer.clone()).await {
        Ok(state) => state,
        Err(error) => return judge(error, &customer),
    };
    tracing::warn!(%account, %customer, ?state, "WeCom allows no answer in this state of the session (95018)");
    let takes_from_queue = outside.handover == Handover::None;
    let result = match state {
        ServiceState::Queue if !takes_from_queue => "with_person",
        ServiceState::New | ServiceState::Queue => {
            return match outside.wecom.transfer(account, customer.clone(), Receiver::Assistant).await {
                Ok(()) => match outside.wecom.send(reply).await {
                    Ok(()) => Attempt::Done,
                    Err(error) => judge(error, &customer),
                },
                Err(error) => judge(error, &customer),
            };
        }
        // A person is talking: never interrupted.
        ServiceState::Person => "with_person",
        ServiceState::Ended => "session_ended",
        ServiceState::Assistant | ServiceState::Unknown(_) => "refused",
    };
    Attempt::GivenUp(result)
}

pub(super) fn judge(error: CallError, customer: &ExternalUserId) -> Attempt {
    match error {
        CallError::Refused { errcode, errmsg } => {
            tracing::warn!(%customer, errcode, errmsg, "WeCom refuses it for good: given up");
            Attempt::GivenUp("refused")
        }
        // A token that this call does not even carry: nothing that a repeat would mend.
        CallError::SyncTokenRefused(errcode) => {
            tracing::warn!(%customer, errcode, "WeCom refuses it for good: given up");
            Attempt::GivenUp("refused")
        }
        later => Attempt::Later(later),
    }
}

async fn nickname(wecom: &dyn WeCom, customer: &ExternalUserId) -> String {
    let asked = tokio::time::timeout(NICKNAME_WAIT, wecom.profiles(vec![customer.clone()], false)).await;
    let profiles = asked.ok().and_then(Result::ok).unwrap_or_default();
    profiles.into_iter().find_map(|profile| profile.nickname).unwrap_or_else(|| NOBODY.to_owned())
}

/// Sends a subscribe message, at most once.
pub(super) async fn notify(outside: &Outside, seq: u64, notify: Notify) -> Attempt {
    let Notify { mut notice, customer, begun } = notify;
    if begun {
        return Attempt::Unknown;
    }
    if notice.data.iter().any(|(_, text)| text.contains(NICKNAME_PLACEHOLDER)) {
        let nickname = nickname(outside.wecom.as_ref(), &customer).await;
        for (_, text) in &mut notice.data {
            *text = fill(text, &[(NICKNAME_PLACEHOLDER, &nickname)]);
        }
    }
    if let Err(error) = begin(outside, seq).await {
        return Attempt::Later(error);
    }
    let openid = notice.openid.clone();
    match outside.mini_program.notify(notice).await {
        Ok(NoticeFate::Sent) => Attempt::Done,
        Ok(NoticeFate::Unwanted) => Attempt::GivenUp("unwanted"),
        Err(CallError::Unreachable(why)) => {
            tracing::warn!(%openid, why, "whether a subscribe message was sent is not known: given up");
            Attempt::Unknown
        }
        Err(error @ CallError::Throttled { .. }) => Attempt::Later(error),
        Err(error) => {
            tracing::warn!(%openid, %error, "WeChat refuses a subscribe message: given up");
            Attempt::GivenUp("refused")
        }
    }
}

/// Finds out who these customers are, and has the registry keep it.
pub(super) async fn look_up(outside: &Outside, customers: Vec<ExternalUserId>) -> Attempt {
    let profiles = match outside.wecom.profiles(customers, false).await {
        Ok(profiles) => profiles,
        Err(CallError::Refused { errcode, errmsg }) => {
            tracing::warn!(errcode, errmsg, "WeCom does not tell who these customers are: given up");
            return Attempt::GivenUp("refused");
        }
        Err(error) => return Attempt::Later(error),
    };
    let build = |reply| RegistryMessage::SaveProfilesOfBound(profiles, reply);
    match call_t!(outside.registry, build, REGISTRY_TIMEOUT_MS) {
        Ok(Ok(())) => Attempt::Done,
        Ok(Err(refusal)) => Attempt::Later(CallError::Unreachable(refusal.to_string())),
        Err(error) => Attempt::Later(CallError::Unreachable(error.to_string())),
    }
}

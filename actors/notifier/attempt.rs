//! One attempt at one outbox entry: the calls to WeCom, and what their outcome means.
//!
//! No queues and no waiting here; a try that may work later says so.

use std::time::Duration;

use ractor::{ActorRef, call_t};

use super::REGISTRY_TIMEOUT_MS;
use crate::{
    ids::ExternalUserId,
    messages::{Attempt, RegistryMessage},
    ports::{CallError, Reply, ServiceState, WeCom},
    texts::{NICKNAME_PLACEHOLDER, fill},
};

/// The session's state does not allow sending.
const NOT_IN_THIS_STATE: i64 = 95_018;
/// An answer waits so long for a name that its text wants.
const NICKNAME_WAIT: Duration = Duration::from_secs(3);
/// How a text addresses somebody whose name can't be had.
const NOBODY: &str = "您";

/// Says an answer.
pub(super) async fn deliver(wecom: &dyn WeCom, mut reply: Reply) -> Attempt {
    if reply.text.contains(NICKNAME_PLACEHOLDER) {
        let nickname = nickname(wecom, &reply.customer).await;
        reply.text = fill(&reply.text, &[(NICKNAME_PLACEHOLDER, &nickname)]);
    }
    match wecom.send(reply.clone()).await {
        Ok(()) => Attempt::Done,
        Err(CallError::Refused { errcode: NOT_IN_THIS_STATE, .. }) => by_state(wecom, reply).await,
        Err(error) => judge(error, &reply.customer),
    }
}

/// The session's state decides what becomes of an answer that it does not allow.
async fn by_state(wecom: &dyn WeCom, reply: Reply) -> Attempt {
    let (account, customer) = (reply.account.clone(), reply.customer.clone());
    let state = match wecom.service_state(account.clone(), customer.clone()).await {
        Ok(state) => state,
        Err(error) => return judge(error, &customer),
    };
    tracing::warn!(%account, %customer, ?state, "WeCom allows no answer in this state of the session (95018)");
    let result = match state {
        ServiceState::New | ServiceState::Queue => {
            return match wecom.to_assistant(account, customer.clone()).await {
                Ok(()) => match wecom.send(reply).await {
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

fn judge(error: CallError, customer: &ExternalUserId) -> Attempt {
    match error {
        CallError::Refused { errcode, errmsg } => {
            tracing::warn!(%customer, errcode, errmsg, "WeCom refuses an answer for good: given up");
            Attempt::GivenUp("refused")
        }
        // A token that this call does not even carry: nothing that a repeat would mend.
        CallError::SyncTokenRefused(errcode) => {
            tracing::warn!(%customer, errcode, "WeCom refuses an answer for good: given up");
            Attempt::GivenUp("refused")
        }
        later => Attempt::Later(later),
    }
}

async fn nickname(wecom: &dyn WeCom, customer: &ExternalUserId) -> String {
    let asked = tokio::time::timeout(NICKNAME_WAIT, wecom.profiles(vec![customer.clone()])).await;
    let profiles = asked.ok().and_then(Result::ok).unwrap_or_default();
    profiles.into_iter().find_map(|profile| profile.nickname).unwrap_or_else(|| NOBODY.to_owned())
}

/// Finds out who these customers are, and has the registry keep it.
pub(super) async fn look_up(
    wecom: &dyn WeCom,
    registry: &ActorRef<RegistryMessage>,
    customers: Vec<ExternalUserId>,
) -> Attempt {
    let profiles = match wecom.profiles(customers).await {
        Ok(profiles) => profiles,
        Err(CallError::Refused { errcode, errmsg }) => {
            tracing::warn!(errcode, errmsg, "WeCom does not tell who these customers are: given up");
            return Attempt::GivenUp("refused");
        }
        Err(error) => return Attempt::Later(error),
    };
    let build = |reply| RegistryMessage::SaveProfiles(profiles, reply);
    match call_t!(registry, build, REGISTRY_TIMEOUT_MS) {
        Ok(Ok(())) => Attempt::Done,
        Ok(Err(refusal)) => Attempt::Later(CallError::Unreachable(refusal.to_string())),
        Err(error) => Attempt::Later(CallError::Unreachable(error.to_string())),
    }
}

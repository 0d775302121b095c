//! What operators and their machines ask: alive, ready, and the metrics.
//!
//! Only judges; who is how comes from the actors and from WeCom's client.

use actors::{handles::Health, ids::Timestamp, messages::AccountReport, ports::KfAccount};
use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::Response;

use super::{
    WecomHealth,
    callback::RefusalSeen,
    openapi::shapes::HealthStatus,
    reply::{self, ApiError, Rfc3339},
    request::{Head, Right},
    side::Side,
};
use crate::tls::Finding;

/// How far our clock may be off WeCom's, in seconds. Codes begin to fail at 60.
const CLOCK_SKEW_S_MAX: u64 = 30;
const OPEN_METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// In a word.
#[derive(Serialize, ToSchema)]
#[schema(as = Status)]
pub(super) struct StatusBody {
    #[schema(value_type = HealthStatus)]
    status: &'static str,
}

/// In detail, for whoever has the admin key.
#[derive(Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(super) struct DetailBody<'h> {
    #[schema(value_type = HealthStatus)]
    status: &'static str,
    /// Worst first; each says what to look at.
    #[schema(value_type = Vec<String>)]
    problems: &'h [String],
    store: StoreBody,
    actors: ActorsBody<'h>,
    wecom: WecomBody<'h>,
    callbacks: CallbacksBody,
    accounts_known: bool,
    accounts: Vec<AccountBody<'h>>,
    unserved_accounts: Vec<UnservedBody<'h>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StoreHealth)]
struct StoreBody {
    writable: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ActorsHealth)]
struct ActorsBody<'h> {
    /// Those that don't answer.
    #[schema(value_type = Vec<String>)]
    silent: &'h [&'static str],
}

#[derive(Serialize, ToSchema)]
#[schema(as = WecomHealth)]
struct WecomBody<'h> {
    access_token_had: bool,
    /// Calls are stopped because the credentials are wrong.
    stopped: bool,
    /// How far our clock is ahead of WeCom's, in seconds.
    #[schema(required = true)]
    clock_skew_s: Option<i64>,
    #[schema(required = true)]
    last_error: Option<&'h str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CallbacksHealth)]
struct CallbacksBody {
    /// The key of the configuration that the last refusal points to.
    #[schema(required = true)]
    key_to_check: Option<&'static str>,
    #[schema(required = true)]
    last_refusal: Option<RefusalBody>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CallbackRefusal)]
struct RefusalBody {
    at: Rfc3339,
    reason: &'static str,
}

impl From<RefusalSeen> for RefusalBody {
    fn from(seen: RefusalSeen) -> Self {
        Self { at: Rfc3339(Timestamp(seen.at_ms / 1_000)), reason: seen.result }
    }
}

/// An account that WeCom lists and nobody serves here.
#[derive(Serialize, ToSchema)]
#[schema(as = UnservedAccount)]
struct UnservedBody<'h> {
    open_kfid: &'h str,
    name: &'h str,
    api_managed: bool,
}

impl<'h> From<&'h KfAccount> for UnservedBody<'h> {
    fn from(listed: &'h KfAccount) -> Self {
        Self { open_kfid: listed.account.as_str(), name: &listed.name, api_managed: listed.api_managed }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = AccountHealth)]
struct AccountBody<'h> {
    open_kfid: &'h str,
    #[schema(required = true)]
    name: Option<&'h str>,
    #[schema(required = true)]
    api_managed: Option<bool>,
    #[schema(required = true)]
    last_pull_at: Option<Rfc3339>,
    #[schema(required = true)]
    last_error: Option<&'h str>,
}

impl<'h> From<&'h AccountReport> for AccountBody<'h> {
    fn from(report: &'h AccountReport) -> Self {
        Self {
            open_kfid: report.account.as_str(),
            name: report.name.as_deref(),
            api_managed: report.api_managed,
            last_pull_at: report.last_pull_at.map(Rfc3339),
            last_error: report.last_error.as_deref(),
        }
    }
}

/// `/healthz`
pub(crate) async fn alive(head: Head) -> Result<Response, ApiError> {
    only_get(&head)?;
    Ok(reply::json(StatusCode::OK, &StatusBody { status: "ok" }))
}

/// `/metrics`
pub(crate) async fn metrics(head: Head) -> Result<Response, ApiError> {
    only_get(&head)?;
    let text = head.shared.context.handles.tally().encode();
    Ok(reply::bytes_of(StatusCode::OK, OPEN_METRICS, text.into_bytes()))
}

/// `/readyz`
pub(crate) async fn ready(head: Head) -> Result<Response, ApiError> {
    only_get(&head)?;
    let shared = &head.shared;
    // A wrong key waits here too, or this would be the place to guess it. Where no key is wanted, none is looked at.
    let sees_details = head.side == Side::Ops || head.right().await == Right::Admin;
    let now = shared.context.clock.now();
    let seen = Seen {
        stopping: shared.is_stopping(),
        callback_key_to_check: shared.callback_watch.key_to_check(shared.context.clock.now_ms()),
        certificate: shared.context.certificates.as_ref().map(|one| one.problems(now)).unwrap_or_default(),
        wecom: (shared.context.wecom_health)(),
        inside: shared.context.handles.health().await,
    };
    let (readiness, problems) = seen.judged();
    let (code, status) = match readiness {
        Readiness::Ok => (StatusCode::OK, "ok"),
        Readiness::Degraded => (StatusCode::OK, "degraded"),
        Readiness::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    if !sees_details {
        return Ok(reply::json(code, &StatusBody { status }));
    }
    let body = DetailBody {
        status,
        problems: &problems,
        store: StoreBody { writable: seen.inside.store_writable },
        actors: ActorsBody { silent: &seen.inside.silent_actors },
        wecom: WecomBody {
            access_token_had: seen.wecom.token_had,
            stopped: seen.wecom.stopped,
            clock_skew_s: seen.wecom.clock_skew_s,
            last_error: seen.wecom.last_error.as_deref(),
        },
        callbacks: CallbacksBody {
            key_to_check: seen.callback_key_to_check,
            last_refusal: shared.callback_watch.last_refusal().map(RefusalBody::from),
        },
        accounts_known: seen.inside.sync.accounts_known,
        accounts: seen.inside.sync.accounts.iter().map(AccountBody::from).collect(),
        unserved_accounts: seen.inside.sync.unserved.iter().map(UnservedBody::from).collect(),
    };
    Ok(reply::json(code, &body))
}

fn only_get(head: &Head) -> Result<(), ApiError> {
    if matches!(head.method, Method::GET | Method::HEAD) {
        Ok(())
    } else {
        Err(ApiError::MethodNotAllowed("GET, HEAD"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Readiness {
    Ok,
    Degraded,
    Unavailable,
}

/// All that readiness depends on.
struct Seen {
    stopping: bool,
    callback_key_to_check: Option<&'static str>,
    certificate: Vec<Finding>,
    wecom: WecomHealth,
    inside: Health,
}

impl Seen {
    /// How ready we are, and what keeps us from more, worst first.
    fn judged(&self) -> (Readiness, Vec<String>) {
        let mut fatal = Vec::new();
        if self.stopping {
            fatal.push("the service is stopping".to_owned());
        }
        if !self.inside.store_writable {
            fatal.push("the store takes no writes: make room on the disk of store.path".to_owned());
        }
        fatal.extend(
            self.inside.silent_actors.iter().map(|actor| format!("no answer from the actor {actor}")),
        );
        if !self.wecom.token_had {
            fatal.push(
                "no access token yet: check wecom.corp_id, wecom.secret and the way to wecom.api_base"
                    .to_owned(),
            );
        }
        let mut lesser = Vec::new();
        if let Some(key) = self.callback_key_to_check {
            lesser.push(format!("callbacks refused: check {key}"));
        }
        lesser.extend(self.certificate.iter().map(ToString::to_string));
        if self.wecom.stopped {
            lesser.push(
                "calls to WeCom are stopped: check wecom.corp_id and wecom.secret, then restart".to_owned(),
            );
        } else if let Some(error) = &self.wecom.last_error {
            lesser.push(format!("the last call to WeCom failed: {error}"));
        }
        if let Some(skew_s) =
            self.wecom.clock_skew_s.filter(|skew_s| skew_s.unsigned_abs() > CLOCK_SKEW_S_MAX)
        {
            lesser.push(format!("our clock is {skew_s} s off WeCom's: set it right, codes fail beyond 60"));
        }
        if !self.inside.sync.accounts_known {
            lesser.push("the kf accounts to serve are not known yet".to_owned());
        }
        lesser.extend(self.inside.sync.accounts.iter().filter_map(|report| {
            let error = report.last_error.as_ref()?;
            Some(format!("the last pull of {} failed: {error}", report.account))
        }));
        let readiness = match (fatal.is_empty(), lesser.is_empty()) {
            (false, _) => Readiness::Unavailable,
            (true, false) => Readiness::Degraded,
            (true, true) => Readiness::Ok,
        };
        fatal.append(&mut lesser);
        (readiness, fatal)
    }
}

#[cfg(test)]
mod tests {
    use actors::{ids::OpenKfId, messages::SyncReport};

    use super::*;

    fn healthy() -> Seen {
        Seen {
            stopping: false,
            callback_key_to_check: None,
            certificate: Vec::new(),
            wecom: WecomHealth { token_had: true, stopped: false, clock_skew_s: Some(30), last_error: None },
            inside: Health {
                store_writable: true,
                silent_actors: Vec::new(),
                sync: SyncReport {
                    accounts_known: true,
                    unserved: Vec::new(),
                    accounts: vec![AccountReport {
                        account: OpenKfId::new("wk1"),
                        name: None,
                        api_managed: None,
                        last_pull_at: None,
                        last_error: None,
                    }],
                },
            },
        }
    }

    fn judged(change: impl FnOnce(&mut Seen)) -> (Readiness, String) {
        let mut seen = healthy();
        change(&mut seen);
        let (readiness, problems) = seen.judged();
        (readiness, problems.join("; "))
    }

    #[test]
    fn a_healthy_service_has_no_problems() {
        assert_eq!(judged(|_| ()), (Readiness::Ok, String::new()));
    }

    #[test]
    fn what_keeps_us_from_serving_is_unavailable() {
        for change in [
            |seen: &mut Seen| seen.stopping = true,
            |seen: &mut Seen| seen.inside.store_writable = false,
            |seen: &mut Seen| seen.inside.silent_actors.push("kf-sync"),
            |seen: &mut Seen| seen.wecom.token_had = false,
        ] {
            let (readiness, problems) = judged(change);
            assert_eq!(readiness, Readiness::Unavailable, "{problems}");
            assert!(!problems.is_empty());
        }
    }

    #[test]
    fn all_else_is_degraded_and_names_what_to_look_at() {
        let (readiness, problems) = judged(|seen| seen.callback_key_to_check = Some("wecom.token"));
        assert_eq!((readiness, &*problems), (Readiness::Degraded, "callbacks refused: check wecom.token"));
        for change in [
            |seen: &mut Seen| {
                seen.certificate.push(Finding {
                    key: "server.tls_cert",
                    what: "has expired".to_owned(),
                    fix: "renew it".to_owned(),
                });
            },
            |seen: &mut Seen| seen.wecom.stopped = true,
            |seen: &mut Seen| seen.wecom.last_error = Some("timeout".to_owned()),
            |seen: &mut Seen| seen.wecom.clock_skew_s = Some(-31),
            |seen: &mut Seen| seen.inside.sync.accounts_known = false,
            |seen: &mut Seen| {
                seen.inside
                    .sync
                    .accounts
                    .iter_mut()
                    .for_each(|report| report.last_error = Some("60020".to_owned()));
            },
        ] {
            let (readiness, problems) = judged(change);
            assert_eq!(readiness, Readiness::Degraded, "{problems}");
            assert!(!problems.is_empty());
        }
    }
}

//! The access token: kept, renewed in time, and asked for by one caller at once.
//!
//! `gettoken` must not be called often, and repeated calls with a wrong secret ban the address for an hour. So a
//! failure is remembered for a while, and a wrong secret stops all calls until an hourly probe works. Who asks WeCom
//! is passed in; nothing here knows HTTP.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actors::ports::{CallError, Clock};
use secrecy::SecretString;

use super::api::errcode;

/// How long before its end a token is renewed, or half its life where that is shorter.
const RENEW_BEFORE_MS: u64 = 5 * 60 * 1000;
/// How long a stop lasts before WeCom is asked again.
const PROBE_EVERY_MS: u64 = 60 * 60 * 1000;
/// For how long a failed `gettoken` is answered without asking again.
const UNREACHABLE_PAUSE_MS: u64 = 1000;
const MISCONFIGURED_PAUSE_MS: u64 = 10_000;
/// How often at most a token is given up because a console may have changed since it was issued.
const CONSOLE_RENEWAL_EVERY_MS: u64 = 60_000;
/// The longest life that is believed.
const LIFE_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// A token that WeCom issued.
#[derive(Clone)]
pub(super) struct Issued {
    /// The token.
    pub(super) access_token: SecretString,
    /// Its life in seconds.
    pub(super) expires_in_s: u64,
}

/// A token to be used. The number tells renewals apart: WeCom may issue the same text twice.
#[derive(Clone)]
pub(super) struct AccessToken {
    pub(super) text: SecretString,
    generation: u64,
}

/// The token of one corp and secret.
pub(super) struct AccessTokens {
    /// The key of the secret, for what the operator is told.
    secret_key: &'static str,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Held by the one that asks WeCom.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    generation: u64,
    had: bool,
    failed: Option<Pause>,
    console_renewed_at_ms: Option<u64>,
}

struct Kept {
    token: AccessToken,
    issued_at_ms: u64,
    renew_at_ms: u64,
    expires_at_ms: u64,
}

/// A failure that stands for a while.
struct Pause {
    error: CallError,
    since_ms: u64,
    length_ms: u64,
}

impl Pause {
    /// A clock that was set back ends a pause rather than prolong it.
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms < self.since_ms || now_ms - self.since_ms >= self.length_ms
    }
}

enum Look {
    /// Use it.
    Fresh(AccessToken),
    /// Still good, but to be renewed.
    Ageing(AccessToken),
    /// There is none.
    Absent,
}

impl AccessTokens {
    pub(super) fn new(secret_key: &'static str, clock: Arc<dyn Clock>) -> Self {
        Self { secret_key, clock, state: Mutex::default(), flight: tokio::sync::Mutex::default() }
    }

    /// Whether there ever was a token.
    pub(super) fn had(&self) -> bool {
        self.state().had
    }

    /// Why calls are stopped, if they are.
    pub(super) fn stopped(&self) -> Option<String> {
        match &self.state().failed {
            Some(Pause { error: CallError::Stopped(reason), .. }) => Some(reason.clone()),
            _ => None,
        }
    }

    /// The token; asks for a new one with `gettoken` where there is none or it is about to end. An ageing one is used
    /// on while somebody else asks, and where asking fails.
    pub(super) async fn get<F>(&self, gettoken: impl FnOnce() -> F) -> Result<AccessToken, CallError>
    where
        F: Future<Output = Result<Issued, CallError>>,
    {
        match self.look() {
            Look::Fresh(token) => Ok(token),
            Look::Ageing(token) => {
                let Ok(_flight) = self.flight.try_lock() else { return Ok(token) };
                match self.ask(gettoken).await {
                    Err(CallError::Stopped(reason)) => Err(CallError::Stopped(reason)),
                    Err(_) => Ok(token),
                    Ok(renewed) => Ok(renewed),
                }
            }
            Look::Absent => {
                let _flight = self.flight.lock().await;
                match self.look() {
                    Look::Fresh(token) | Look::Ageing(token) => Ok(token),
                    Look::Absent => self.ask(gettoken).await,
                }
            }
        }
    }

    /// Gives up a token that WeCom refused, unless it was renewed meanwhile.
    pub(super) fn give_up(&self, refused: &AccessToken) {
        self.state().kept.take_if(|kept| kept.token.generation == refused.generation);
    }

    /// Gives up a token that may have been issued before a right was granted. `false` = not now, that was tried a
    /// moment ago.
    pub(super) fn give_up_for_console(&self, refused: &AccessToken) -> bool {
        let now_ms = self.clock.now_ms();
        let mut state = self.state();
        let renewed_meanwhile =
            state.kept.as_ref().is_some_and(|kept| kept.token.generation != refused.generation);
        if renewed_meanwhile {
            return true;
        }
        let recently = |at_ms: u64| now_ms >= at_ms && now_ms - at_ms < CONSOLE_RENEWAL_EVERY_MS;
        if state.console_renewed_at_ms.is_some_and(recently) {
            return false;
        }
        state.console_renewed_at_ms = Some(now_ms);
        state.kept = None;
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> Look {
        let now_ms = self.clock.now_ms();
        let state = self.state();
        match &state.kept {
            // A clock that was set back says nothing about the token's age.
            Some(kept) if now_ms < kept.issued_at_ms || now_ms >= kept.expires_at_ms => Look::Absent,
            Some(kept) if now_ms >= kept.renew_at_ms => Look::Ageing(kept.token.clone()),
            Some(kept) => Look::Fresh(kept.token.clone()),
            None => Look::Absent,
        }
    }

    /// Asks WeCom, unless a failure still stands. The caller holds the flight.
    async fn ask<F>(&self, gettoken: impl FnOnce() -> F) -> Result<AccessToken, CallError>
    where
        F: Future<Output = Result<Issued, CallError>>,
    {
        if let Some(error) = self.standing_failure() {
            return Err(error);
        }
        let asked_at_ms = self.clock.now_ms();
        let issued = gettoken().await.map_err(|error| self.as_gettoken_failure(error));
        let mut state = self.state();
        match issued {
            Ok(issued) => {
                if matches!(&state.failed, Some(Pause { error: CallError::Stopped(_), .. })) {
                    let secret_key = self.secret_key;
                    tracing::info!("WeCom takes wecom.corp_id and {secret_key} again; calls go on");
                }
                Ok(state.keep(issued, asked_at_ms))
            }
            Err(error) => {
                state.fail(self.secret_key, error.clone(), self.clock.now_ms());
                Err(error)
            }
        }
    }

    fn standing_failure(&self) -> Option<CallError> {
        let now_ms = self.clock.now_ms();
        self.state().failed.as_ref().filter(|pause| !pause.is_over(now_ms)).map(|pause| pause.error.clone())
    }
}

impl AccessTokens {
    /// What a refusal means at `gettoken`: it is never about the call that wanted the token.
    fn as_gettoken_failure(&self, error: CallError) -> CallError {
        let secret_key = self.secret_key;
        match error {
            CallError::Refused { errcode: errcode::BAD_SECRET, .. } => CallError::Stopped(format!(
                "{secret_key} is not that of an app of wecom.corp_id, or the app is disabled (errcode 40001)"
            )),
            CallError::Refused { errcode: errcode::BAD_CORP_ID, .. } => {
                CallError::Stopped("wecom.corp_id is unknown to WeCom (errcode 40013)".to_owned())
            }
            CallError::Refused { errcode, errmsg } => CallError::Misconfigured {
                errcode,
                hint: format!(
                    "WeCom issues no access token ({errmsg}): check wecom.corp_id and {secret_key}"
                ),
            },
            error => error,
        }
    }
}

impl State {
    fn keep(&mut self, issued: Issued, asked_at_ms: u64) -> AccessToken {
        let life_ms = issued.expires_in_s.saturating_mul(1000).min(LIFE_MS_MAX);
        self.generation += 1;
        let token = AccessToken { text: issued.access_token, generation: self.generation };
        self.kept = Some(Kept {
            token: token.clone(),
            issued_at_ms: asked_at_ms,
            renew_at_ms: asked_at_ms.saturating_add(life_ms - RENEW_BEFORE_MS.min(life_ms / 2)),
            expires_at_ms: asked_at_ms.saturating_add(life_ms),
        });
        self.had = true;
        self.failed = None;
        token
    }

    fn fail(&mut self, secret_key: &str, error: CallError, now_ms: u64) {
        let length_ms = match &error {
            CallError::Stopped(reason) => {
                tracing::error!(
                    reason,
                    "all calls to WeCom by {secret_key} are stopped, since repeated wrong ones ban this address for an \
                     hour; correct wecom.corp_id or {secret_key} and restart (one more try is made every hour)"
                );
                self.kept = None;
                PROBE_EVERY_MS
            }
            CallError::Throttled { wait, .. } => u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            CallError::Unreachable(_) => UNREACHABLE_PAUSE_MS,
            _ => MISCONFIGURED_PAUSE_MS,
        };
        self.failed = Some(Pause { error, since_ms: now_ms, length_ms });
    }
}

#[cfg(test)]
mod tests;

//! The access token of the mini program (`stable_token`): kept, and asked for by one caller at once.
//!
//! Normal mode only: it gives the same token to everybody who asks, so that no other program of the operator's is
//! thrown out. A failure stands for a while, so that a wrong secret isn't tried with every message. Who asks WeChat is
//! passed in; nothing here knows HTTP.

use std::{fmt, sync::Arc};

use actors::ports::{CallError, Clock};
use secrecy::SecretString;
use tokio::sync::Mutex;

/// From so long before its end WeChat gives a new token, in milliseconds; half its life where that is shorter.
const RENEW_BEFORE_MS: u64 = 5 * 60 * 1000;
/// The longest life that is believed, in milliseconds: WeChat's own.
const LIFE_MS_MAX: u64 = 7200 * 1000;
/// For how long a failure is answered without asking again, in milliseconds.
const UNREACHABLE_PAUSE_MS: u64 = 1000;
const REFUSED_PAUSE_MS: u64 = 60_000;

/// A token that WeChat issued.
pub(super) struct Issued {
    pub(super) access_token: SecretString,
    pub(super) expires_in_s: u64,
}

/// A token to be used. The number tells renewals apart: WeChat may issue the same text twice.
#[derive(Clone)]
pub(super) struct AccessToken {
    pub(super) text: SecretString,
    generation: u64,
}

/// Why there is none, and whether that may pass by itself.
#[derive(Clone, Debug)]
pub(super) enum NoToken {
    /// WeChat can't be reached, or is busy.
    Unreachable(String),
    /// For this reason, which stands.
    Refused(CallError),
}

/// The token of one mini program.
pub(super) struct AccessTokens {
    clock: Arc<dyn Clock>,
    /// Held while WeChat is asked, so that whoever comes meanwhile waits for that answer.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    generation: u64,
    failed: Option<Failed>,
}

struct Kept {
    token: AccessToken,
    issued_at_ms: u64,
    renew_at_ms: u64,
}

struct Failed {
    error: NoToken,
    since_ms: u64,
    length_ms: u64,
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessTokens")
    }
}

impl AccessTokens {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// The token; asks with `stable_token` where there is none or it is about to end.
    pub(super) async fn get<F>(&self, stable_token: impl FnOnce() -> F) -> Result<AccessToken, NoToken>
    where
        F: Future<Output = Result<Issued, NoToken>>,
    {
        let mut state = self.state.lock().await;
        let now_ms = self.clock.now_ms();
        // A clock that was set back says nothing about the token's age, nor about how long a failure stands.
        let kept = state.kept.as_ref().filter(|kept| (kept.issued_at_ms..kept.renew_at_ms).contains(&now_ms));
        if let Some(kept) = kept {
            return Ok(kept.token.clone());
        }
        let stands =
            |failed: &&Failed| now_ms >= failed.since_ms && now_ms - failed.since_ms < failed.length_ms;
        if let Some(failed) = state.failed.as_ref().filter(stands) {
            return Err(failed.error.clone());
        }
        match stable_token().await {
            Ok(issued) => Ok(state.keep(issued, now_ms)),
            Err(error) => {
                let length_ms = match &error {
                    NoToken::Unreachable(_) => UNREACHABLE_PAUSE_MS,
                    NoToken::Refused(_) => REFUSED_PAUSE_MS,
                };
                let since_ms = self.clock.now_ms();
                state.failed = Some(Failed { error: error.clone(), since_ms, length_ms });
                Err(error)
            }
        }
    }

    /// Gives up a token that WeChat refused, unless it was renewed meanwhile.
    pub(super) async fn give_up(&self, refused: &AccessToken) {
        let mut state = self.state.lock().await;
        state.kept.take_if(|kept| kept.token.generation == refused.generation);
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
        });
        self.failed = None;
        token
    }
}

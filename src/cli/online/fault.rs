//! What a failed call to WeCom points to: the key, and what to do about it in the console. Decides on codes alone.

use actors::ports::CallError;

use crate::{config::Problem, wecom::api::errcode};

/// The codes for an address that is not on the app's list.
const ADDRESS_REFUSED: [i64; 2] = [errcode::ADDRESS_NOT_TRUSTED, errcode::ADDRESS_NOT_LISTED];

/// A problem of a key.
pub(super) fn problem(key: &str, what: impl Into<String>, fix: impl Into<String>) -> Problem {
    Problem { key: key.to_owned(), what: what.into(), fix: fix.into() }
}

/// Which key an error points to, of a call made with the secret of `secret_key`.
pub(super) fn refusal(secret_key: &str, error: &CallError) -> Problem {
    let what = error.to_string();
    match error {
        CallError::Stopped(reason) if reason.contains("40013") => {
            problem("wecom.corp_id", what, "copy 企业ID from the WeCom console, 我的企业")
        }
        CallError::Stopped(_) => problem(
            secret_key,
            what,
            "copy the Secret of the app again (WeCom console, 应用管理), and check that wecom.corp_id is the company of \
             that app; repeated wrong ones ban this address for an hour",
        ),
        CallError::Misconfigured { errcode, hint } => {
            let key = if is_about_the_address(error) { "wecom.proxy" } else { secret_key };
            problem(key, format!("WeCom refuses the app (errcode {errcode})"), hint.clone())
        }
        CallError::Unreachable(_) => problem(
            "wecom.api_base",
            what,
            "check wecom.api_base and wecom.proxy, and that this machine may open connections there",
        ),
        CallError::Throttled { wait, .. } => problem(
            secret_key,
            what,
            format!(
                "wait {} seconds and check again; after many wrong secrets WeCom refuses this address for an hour",
                wait.as_secs().max(1)
            ),
        ),
        CallError::SyncTokenRefused(_) | CallError::Refused { .. } => problem(
            secret_key,
            what,
            "look the errcode up in WeCom's list (全局错误码), and check that the app may call the kf interfaces",
        ),
    }
}

/// Whether WeCom refuses this machine's address and has not looked at anything else.
pub(super) fn is_about_the_address(error: &CallError) -> bool {
    matches!(error, CallError::Misconfigured { errcode, .. } if ADDRESS_REFUSED.contains(errcode))
}

/// Whether the error may be gone a minute later, so that nothing is known.
pub(super) fn may_pass(error: &CallError) -> bool {
    matches!(error, CallError::Unreachable(_) | CallError::Throttled { .. })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_refusal_points_to_a_key() {
        let misconfigured = |errcode| CallError::Misconfigured { errcode, hint: "do this".to_owned() };
        for (error, key) in [
            (CallError::Stopped("wecom.secret is wrong (errcode 40001)".to_owned()), "wecom.secret"),
            (CallError::Stopped("wecom.corp_id is wrong (errcode 40013)".to_owned()), "wecom.corp_id"),
            (misconfigured(60020), "wecom.proxy"),
            (misconfigured(301_042), "wecom.proxy"),
            (misconfigured(48002), "wecom.secret"),
            (misconfigured(40091), "wecom.secret"),
            (CallError::Unreachable("time-out".to_owned()), "wecom.api_base"),
            (CallError::Throttled { errcode: 45009, wait: Duration::from_mins(1) }, "wecom.secret"),
        ] {
            assert_eq!(refusal("wecom.secret", &error).key, key, "{error}");
        }
        assert_eq!(refusal("wecom.staff_secret", &misconfigured(40091)).key, "wecom.staff_secret");
    }
}

//! `kfbind check --online`: what WeCom itself says about the configuration.
//!
//! Asks for an access token, the accounts and who receives in each, and changes nothing.

use std::sync::Arc;

use actors::{
    ports::{CallError, KfAccount, WeCom as _},
    tally::Tally,
};
use secrecy::ExposeSecret;

use crate::{
    clock::SystemClock,
    config::{Config, Problem},
    outgoing::{self, OutgoingError},
    wecom::{
        api::{ServicerRow, errcode},
        client::{WecomClient, WecomConfig},
    },
};

/// What WeCom's answer means.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What there is, a line each.
    pub(super) lines: Vec<String>,
    /// What is wrong.
    pub(super) problems: Vec<Problem>,
}

/// What WeCom told of an account.
#[derive(Debug)]
pub(super) struct Listed {
    account: KfAccount,
    /// Who receives there; not asked for accounts that the API does not manage.
    receivers: Option<Result<Vec<ServicerRow>, CallError>>,
}

/// Lists the accounts and who receives there. The outer error is one of this machine, not of WeCom.
pub(super) async fn ask(config: &Config) -> Result<Result<Vec<Listed>, CallError>, OutgoingError> {
    let wecom = &config.wecom;
    let proxy = wecom.proxy.as_ref().map(ExposeSecret::expose_secret);
    let http = outgoing::client(wecom.request_timeout, proxy)?;
    let whom = WecomConfig {
        api_base: wecom.api_base.clone(),
        corp_id: wecom.corp_id.clone(),
        secret: wecom.secret.clone(),
        app_id: config.miniprogram.app_id.clone(),
    };
    let client = WecomClient::new(whom, http, Arc::new(SystemClock), Tally::default());
    let accounts = match client.accounts().await {
        Ok(accounts) => accounts,
        Err(error) => return Ok(Err(error)),
    };
    let mut listed = Vec::with_capacity(accounts.len());
    for account in accounts {
        let receivers =
            if account.api_managed { Some(client.servicers(&account.account).await) } else { None };
        listed.push(Listed { account, receivers });
    }
    Ok(Ok(listed))
}

/// Judges the list of accounts, or the error in its place.
pub(super) fn judge(config: &Config, listed: Result<Vec<Listed>, CallError>) -> Findings {
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => return Findings { lines: Vec::new(), problems: vec![refusal(&error)] },
    };
    let wanted = &config.wecom.accounts;
    let mut findings = Findings::default();
    findings.lines.push(format!("WeCom gave an access token and lists {} kf accounts", listed.len()));
    for Listed { account, receivers } in &listed {
        let id = account.account.as_str();
        let managed =
            if account.api_managed { "managed through the API" } else { "not managed through the API" };
        let is_served = account.api_managed && (wanted.is_empty() || wanted.iter().any(|one| one == id));
        let served = if is_served { "served" } else { "not served" };
        findings.lines.push(format!("  {id}  {}  {managed}, {served}", account.name));
        match receivers {
            None => {}
            Some(Ok(rows)) => findings.lines.push(format!("    {}", receiving(rows))),
            Some(Err(error)) => findings.problems.push(unknown_receivers(id, error)),
        }
    }
    let accounts: Vec<KfAccount> = listed.into_iter().map(|one| one.account).collect();
    findings.problems.extend(wanted.iter().filter_map(|id| unusable(id, &accounts)));
    if wanted.is_empty() && !accounts.iter().any(|account| account.api_managed) {
        findings.problems.push(problem(
            "wecom.accounts",
            "is empty, which means every account managed through the API, and there is none",
            MANAGE,
        ));
    }
    findings
}

/// Who receives, in words.
fn receiving(rows: &[ServicerRow]) -> String {
    let names: Vec<String> = rows
        .iter()
        .filter_map(|row| match (&row.userid, row.department_id) {
            (Some(userid), _) if row.status == Some(0) => Some(format!("{userid} (receiving)")),
            (Some(userid), _) => Some(format!("{userid} (stopped)")),
            (None, Some(department)) => Some(format!("department {department}")),
            (None, None) => None,
        })
        .collect();
    if names.is_empty() {
        return "nobody receives there: all answers are the program's".to_owned();
    }
    format!(
        "who receives there: {}; while one of them has a session, WeCom refuses answers (95018)",
        names.join(", ")
    )
}

/// Who receives can't be told, which points to a right that answers may need, too.
fn unknown_receivers(id: &str, error: &CallError) -> Problem {
    let fix = match error {
        CallError::Misconfigured { hint, .. } => hint.clone(),
        _ => {
            "check it again; if it stays, widen the app's 可见范围 to the people who receive in this account"
                .to_owned()
        }
    };
    problem("wecom.secret", format!("can't ask who receives in {id}: {error}"), fix)
}

/// The codes for an address that is not on the app's list.
const ADDRESS_REFUSED: [i64; 2] = [errcode::ADDRESS_NOT_TRUSTED, errcode::ADDRESS_NOT_LISTED];
const MANAGE: &str =
    "in the WeCom console, 微信客服, API, 通过API管理微信客服账号, assign the account to this app";

fn problem(key: &str, what: impl Into<String>, fix: impl Into<String>) -> Problem {
    Problem { key: key.to_owned(), what: what.into(), fix: fix.into() }
}

/// Why an account of the configuration can't be served, if so.
fn unusable(id: &str, accounts: &[KfAccount]) -> Option<Problem> {
    let key = "wecom.accounts";
    if let Some(account) = accounts.iter().find(|account| account.account.as_str() == id) {
        let what = || format!("has {id:?} ({}), which is not managed through the API", account.name);
        return (!account.api_managed).then(|| problem(key, what(), MANAGE));
    }
    let twin = accounts.iter().find(|account| account.account.as_str().eq_ignore_ascii_case(id));
    let fix = match twin {
        Some(twin) => format!("write {:?}: upper and lower case matter", twin.account.as_str()),
        None => {
            "write one of the listed ids, or let the app call this account (微信客服, API, 可调用接口的应用)"
                .to_owned()
        }
    };
    Some(problem(key, format!("has {id:?}, which WeCom does not list"), fix))
}

/// Which key an error of the first calls points to.
fn refusal(error: &CallError) -> Problem {
    let what = error.to_string();
    match error {
        CallError::Stopped(reason) if reason.contains("40013") => {
            problem("wecom.corp_id", what, "copy 企业ID from the WeCom console, 我的企业")
        }
        CallError::Stopped(_) => problem(
            "wecom.secret",
            what,
            "copy the Secret of the app again, and check that wecom.corp_id is the company of that app; \
             repeated wrong ones ban this address for an hour",
        ),
        CallError::Misconfigured { errcode, hint } => {
            let key = if ADDRESS_REFUSED.contains(errcode) { "wecom.proxy" } else { "wecom.secret" };
            problem(key, format!("WeCom refuses the app (errcode {errcode})"), hint.clone())
        }
        CallError::Unreachable(_) => problem(
            "wecom.api_base",
            what,
            "check wecom.api_base and wecom.proxy, and that this machine may open connections there",
        ),
        CallError::Throttled { wait, .. } => {
            problem("wecom.secret", what, format!("wait {} seconds and check again", wait.as_secs().max(1)))
        }
        CallError::SyncTokenRefused(_) | CallError::Refused { .. } => problem(
            "wecom.secret",
            what,
            "look the errcode up in WeCom's list (全局错误码), and check that the app may call the kf interfaces",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actors::ids::OpenKfId;

    use super::*;
    use crate::{
        config::Environment,
        outgoing::loopback::{Loopback, Play, Seen},
    };

    fn config(accounts: &str) -> Config {
        let environment = Environment::new([
            ("KFBIND_WECOM__CORP_ID", "ww1"),
            ("KFBIND_WECOM__SECRET", "x"),
            ("KFBIND_WECOM__TOKEN", "x"),
            ("KFBIND_WECOM__ENCODING_AES_KEY", "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"),
            ("KFBIND_MINIPROGRAM__APP_ID", "wx1"),
            ("KFBIND_MINIPROGRAM__SECRET", "x"),
            ("KFBIND_WECOM__ACCOUNTS", accounts),
        ]);
        Config::from_toml("", &environment).ok().unwrap().config
    }

    fn account(id: &str, api_managed: bool) -> Listed {
        let account = KfAccount { account: OpenKfId::new(id), name: "客服".to_owned(), api_managed };
        Listed { account, receivers: None }
    }

    const TOKEN: &str = r#"{"errcode":0,"errmsg":"ok","access_token":"T","expires_in":7200}"#;

    const SERVICERS: &str = r#"{"errcode":0,"servicer_list":[{"userid":"zhang","status":0},
        {"userid":"wang","status":1,"stop_type":0},{"department_id":2}]}"#;

    /// The findings about a WeCom that answers like this.
    async fn online(accounts: &str, token: &'static str, list: &'static str) -> Findings {
        let play = move |seen: &Seen| {
            Play::json(match seen.call() {
                "gettoken" => token,
                "list" if seen.line.contains("servicer") => SERVICERS,
                _ => list,
            })
        };
        let server = Loopback::start(play).await;
        let mut config = config(accounts);
        config.wecom.api_base = server.base();
        judge(&config, ask(&config).await.unwrap())
    }

    #[tokio::test]
    async fn wecoms_own_list_is_fetched_and_judged() {
        let list =
            r#"{"errcode":0,"account_list":[{"open_kfid":"wkA","name":"客服","manage_privilege":true}]}"#;
        let findings = online("wkB", TOKEN, list).await;
        assert!(findings.lines.iter().any(|line| line.contains("wkA")), "{findings:?}");
        let receivers = "zhang (receiving), wang (stopped), department 2";
        assert!(findings.lines.iter().any(|line| line.contains(receivers)), "{findings:?}");
        assert_eq!(findings.problems.len(), 1, "{findings:?}");
        assert!(findings.problems[0].what.contains("wkB"), "{findings:?}");
    }

    #[tokio::test]
    async fn a_refused_secret_or_corp_is_told_by_its_key() {
        for (token, key) in [
            (r#"{"errcode":40001,"errmsg":"invalid credential"}"#, "wecom.secret"),
            (r#"{"errcode":40013,"errmsg":"invalid corpid"}"#, "wecom.corp_id"),
        ] {
            let findings = online("", token, "{}").await;
            assert_eq!(findings.problems.first().map(|problem| problem.key.as_str()), Some(key));
        }
    }

    #[tokio::test]
    async fn the_address_that_wecom_saw_is_shown() {
        let list = r#"{"errcode":60020,"errmsg":"not allow to access from your ip, hint: [1], from ip: 192.0.2.7, more"}"#;
        let findings = online("", TOKEN, list).await;
        let problem = findings.problems.first().unwrap();
        assert_eq!(problem.key, "wecom.proxy");
        assert!(problem.what.contains("60020") && problem.fix.contains("192.0.2.7"), "{problem}");
    }

    #[test]
    fn each_account_is_listed_with_whether_it_is_managed() {
        let findings = judge(&config(""), Ok(vec![account("wkA", true), account("wkB", false)]));
        assert!(findings.problems.is_empty(), "{findings:?}");
        assert!(
            findings.lines[1].contains("wkA")
                && findings.lines[1].contains("managed through the API, served")
        );
        assert!(
            findings.lines[2].contains("wkB")
                && findings.lines[2].contains("not managed through the API, not served")
        );
    }

    #[test]
    fn accounts_that_are_named_but_not_listed_or_not_managed_are_problems() {
        let listed = vec![account("wkA", true), account("wkB", false)];
        let findings = judge(&config("wkA,wkB,wka,wkC"), Ok(listed));
        let whats: Vec<_> = findings.problems.iter().map(ToString::to_string).collect();
        assert_eq!(whats.len(), 3, "{whats:?}");
        assert!(whats[0].contains("\"wkB\"") && whats[0].contains("not managed"));
        assert!(whats[1].contains("\"wka\"") && whats[1].contains("write \"wkA\""));
        assert!(whats[2].contains("\"wkC\"") && whats[2].contains("does not list"));
        assert!(findings.problems.iter().all(|problem| problem.key == "wecom.accounts"));
    }

    #[test]
    fn no_managed_account_at_all_is_a_problem() {
        for listed in [vec![], vec![account("wkA", false)]] {
            let findings = judge(&config(""), Ok(listed));
            assert_eq!(findings.problems.len(), 1);
        }
    }

    #[test]
    fn every_refusal_points_to_a_key() {
        let misconfigured = |errcode| CallError::Misconfigured { errcode, hint: "do this".to_owned() };
        for (error, key) in [
            (CallError::Stopped("wecom.secret is wrong (errcode 40001)".to_owned()), "wecom.secret"),
            (CallError::Stopped("wecom.corp_id is wrong (errcode 40013)".to_owned()), "wecom.corp_id"),
            (misconfigured(60020), "wecom.proxy"),
            (misconfigured(48002), "wecom.secret"),
            (CallError::Unreachable("time-out".to_owned()), "wecom.api_base"),
            (CallError::Throttled { errcode: 45009, wait: Duration::from_mins(1) }, "wecom.secret"),
        ] {
            let findings = judge(&config(""), Err(error));
            assert_eq!(findings.problems.first().map(|problem| problem.key.as_str()), Some(key));
        }
    }
}

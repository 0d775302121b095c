//! The kf accounts: whether those that are to be served exist and are managed through the API, who receives in them and
//! whether answers get past those people, and whether a link to the chat can be made.

use actors::{
    ids::OpenKfId,
    ports::{CallError, KfAccount, WeCom as _},
};

use super::{
    fault::{may_pass, problem, refusal},
    walk::Step,
};
use crate::{
    config::{Config, Handover, Method},
    wecom::{api::ServicerRow, client::WecomClient},
};

const SECRET: &str = "wecom.secret";
const ACCOUNTS: &str = "wecom.accounts";
const MANAGE: &str = "in the WeCom console, 微信客服, API, 通过API管理微信客服账号, 企业内部开发, assign the account to this app";
/// The `scene` that the service makes its link with: the same call gives the same link.
const SCENE: &str = "kfbind";

/// Whether an account is to be served.
fn is_served(config: &Config, account: &KfAccount) -> bool {
    let wanted = &config.wecom.accounts;
    account.api_managed && (wanted.is_empty() || wanted.iter().any(|id| id == account.account.as_str()))
}

/// The accounts to serve, those of `wecom.accounts` in its order.
pub(super) fn served(config: &Config, listed: &[KfAccount]) -> Vec<KfAccount> {
    let mut served: Vec<KfAccount> =
        listed.iter().filter(|account| is_served(config, account)).cloned().collect();
    served.sort_by_key(|one| config.wecom.accounts.iter().position(|id| id == one.account.as_str()));
    served
}

/// Every account that WeCom lists, and what is wrong with those to be served.
pub(super) fn list(config: &Config, listed: &[KfAccount]) -> Step {
    let mut step = Step::new("WeCom: the kf accounts, and whether the app manages them (API-managed)");
    let wanted = &config.wecom.accounts;
    for account in listed {
        let managed =
            if account.api_managed { "managed through the API" } else { "not managed through the API" };
        let served = if is_served(config, account) { "served" } else { "not served" };
        step.ok(format!("{}  {}  {managed}, {served}", account.account, account.name));
    }
    for id in wanted {
        if let Some(problem) = unusable(id, listed) {
            step.missing(problem);
        }
    }
    if listed.is_empty() {
        step.missing(problem(
            ACCOUNTS,
            "WeCom lists no kf account at all to this app",
            "make one (微信客服, 添加客服账号), and add the app to 微信客服, API, 可调用接口的应用",
        ));
    } else if wanted.is_empty() && !listed.iter().any(|account| account.api_managed) {
        step.missing(problem(
            ACCOUNTS,
            "is empty, which means every account managed through the API, and there is none",
            MANAGE,
        ));
    }
    step
}

/// Why an account that the configuration names can't be served.
fn unusable(id: &str, listed: &[KfAccount]) -> Option<crate::config::Problem> {
    if let Some(account) = listed.iter().find(|account| account.account.as_str() == id) {
        let what = || format!("has {id:?} ({}), which is not managed through the API", account.name);
        return (!account.api_managed).then(|| problem(ACCOUNTS, what(), MANAGE));
    }
    let twin = listed.iter().find(|account| account.account.as_str().eq_ignore_ascii_case(id));
    let fix = match twin {
        Some(twin) => format!("write {:?}: upper and lower case matter", twin.account.as_str()),
        None => {
            "write one of the listed ids, or let the app call this account (微信客服, API, 可调用接口的应用)"
                .to_owned()
        }
    };
    Some(problem(ACCOUNTS, format!("has {id:?}, which WeCom does not list"), fix))
}

/// Who receives in each account to be served, and whether answers and hand-over get through.
pub(super) async fn receivers(config: &Config, client: &WecomClient, served: &[KfAccount]) -> Step {
    let mut step = Step::new("WeCom: who receives in each account, and whether answers get through (95018)");
    let mut seen = Vec::new();
    for account in served {
        match client.servicers(&account.account).await {
            Ok(rows) => {
                receiving(config, &account.account, &rows, &mut step);
                seen.push(rows);
            }
            Err(error) => unknown_receivers(&account.account, &error, &mut step),
        }
    }
    if seen.len() == served.len() {
        named_servicers(config, &seen, &mut step);
    }
    for account in served {
        step.look(format!(
            "open 微信客服, {}, 接待设置: 接待方式 must be 智能助手. With 人工接待 WeCom gives new sessions to people, and refuses \
             answers there with 95018; bindings stand all the same",
            account.name
        ));
    }
    step
}

/// Judges the people of one account.
fn receiving(config: &Config, account: &OpenKfId, rows: &[ServicerRow], step: &mut Step) {
    let names: Vec<String> = rows
        .iter()
        .filter_map(|row| match (&row.userid, row.department_id) {
            (Some(userid), _) if row.status == Some(0) => Some(format!("{userid} (receiving)")),
            (Some(userid), _) => Some(format!("{userid} (stopped)")),
            (None, Some(department)) => Some(format!("department {department}")),
            (None, None) => None,
        })
        .collect();
    let (names, hands_over) = (names.join(", "), config.kf.handover != Handover::None);
    let may_receive = rows.iter().any(|row| row.department_id.is_some() || row.status == Some(0));
    match (names.is_empty(), hands_over) {
        (true, true) => step.missing(problem(
            "kf.handover",
            format!("hands customers over, but nobody receives in {account}: they would wait in the pool for ever"),
            "add 接待人员 to the account in the WeCom console, or set kf.handover to \"none\"",
        )),
        (true, false) => {
            step.ok(format!("{account}: nobody receives there: all answers are the program's"));
            step.note(problem(
                "kf.handover",
                format!("is \"none\", and nobody receives in {account}: what customers write beside codes reaches nobody"),
                "fine for an account of its own; else add 接待人员 and set kf.handover to \"pool\"",
            ));
        }
        (false, true) if !may_receive => step.missing(problem(
            "kf.handover",
            format!("hands customers over, but all who receive in {account} have stopped: {names} (95019)"),
            "one of them switches to 接待中 in the WeCom client; until then customers wait",
        )),
        (false, true) => step.ok(format!("{account}: who receives there: {names}")),
        (false, false) => step.ok(format!(
            "{account}: who receives there: {names}; while one of them has a session, WeCom refuses answers (95018)"
        )),
    }
}

/// Those whom the configuration names, against those whom WeCom knows as receiving.
fn named_servicers(config: &Config, seen: &[Vec<ServicerRow>], step: &mut Step) {
    if config.kf.handover != Handover::Servicer {
        return;
    }
    let rows = || seen.iter().flatten();
    let has_departments = rows().any(|row| row.department_id.is_some());
    for named in &config.kf.servicers {
        let is = |same: fn(&str, &str) -> bool| {
            rows().filter_map(|row| row.userid.as_deref()).find(|known| same(known, named))
        };
        if is(|known, named| known == named).is_some() {
            continue;
        }
        let what = format!("has {named:?}, who receives in none of the served accounts (95014)");
        match is(str::eq_ignore_ascii_case) {
            Some(twin) => step.missing(problem(
                "kf.servicers",
                what,
                format!("write {twin:?}: upper and lower case matter"),
            )),
            None if has_departments => step.unknown(
                format!("kf.servicers: whether {named:?} is in a department that receives"),
                "see 接待人员 of the account in the WeCom console",
            ),
            None => step.missing(problem(
                "kf.servicers",
                what,
                "add that person to 接待人员 of the account, or correct the userid (通讯录, 账号)",
            )),
        }
    }
}

/// Who receives can't be told, which points to a right that answers may need, too.
fn unknown_receivers(account: &OpenKfId, error: &CallError, step: &mut Step) {
    let what = format!("who receives in {account} can't be asked: {error}");
    match error {
        error if may_pass(error) => step.unknown(what, "check again a minute later"),
        CallError::Misconfigured { hint, .. } => step.missing(problem(SECRET, what, hint)),
        _ => step.missing(problem(
            SECRET,
            what,
            "put the people who receive in this account (接待人员) into the app's visible range (应用可见范围)",
        )),
    }
}

/// The link that users are shown.
pub(super) async fn link(config: &Config, client: &WecomClient, served: &[KfAccount]) -> Step {
    let mut step = Step::new("The link to the chat");
    let wants_ticket = config.binding.methods.contains(&Method::Link);
    if let Some(url) = &config.kf.url {
        if wants_ticket && !url.contains("enc_scene=") {
            step.note(problem(
                "kf.url",
                "has no enc_scene, so WeCom passes no ticket on and the method \"link\" can't work with it; codes do",
                "leave kf.url empty to have a link made, or take \"link\" out of binding.methods",
            ));
        } else {
            step.ok("kf.url: users are shown the link of your own");
        }
        step.look("open kf.url in WeChat: it must open the chat of an account that is served");
        return step;
    }
    let Some(account) = served.first() else {
        step.not_asked();
        return step;
    };
    let id = &account.account;
    match client.contact_way(id.clone(), SCENE.to_owned()).await {
        Ok(url) if wants_ticket && !url.contains("enc_scene=") => step.note(problem(
            "binding.methods",
            format!(
                "has \"link\", but the link that WeCom makes for {id} has no enc_scene: it takes no ticket"
            ),
            "codes work all the same; take \"link\" out",
        )),
        Ok(_) => step.ok(format!("WeCom makes the link of {id} ({})", account.name)),
        Err(error) if may_pass(&error) => {
            step.unknown(
                format!("the link of {id} could not be made: {error}"),
                "check again a minute later",
            );
        }
        Err(error) => {
            let refused = refusal(SECRET, &error);
            step.missing(problem(
                &refused.key,
                format!("no link can be made for {id}: {}", refused.what),
                refused.fix,
            ));
        }
    }
    step
}

//! The mini program in WeChat's console: its secret, the company that it is bound to, and what only its users see.

use secrecy::SecretString;

use super::{fault::problem, walk::Step};
use crate::{
    config::Config,
    wechat::console::{ADDRESS_NOT_LISTED, ConsoleClient, Unsaid},
};

const SECRET: &str = "miniprogram.secret";
const API_BASE: &str = "miniprogram.api_base";

/// The secret, by the token that it gives.
pub(super) async fn secret(client: &ConsoleClient) -> (Step, Option<SecretString>) {
    let mut step = Step::new("WeChat: AppID and AppSecret of the mini program");
    match client.access_token().await {
        Ok(token) => {
            step.ok("miniprogram.app_id, miniprogram.secret: WeChat gives an access token for them");
            (step, Some(token))
        }
        Err(error) => {
            refused(&error, &mut step);
            (step, None)
        }
    }
}

fn refused(error: &Unsaid, step: &mut Step) {
    let (errcode, errmsg, hint) = match error {
        Unsaid::Unreachable(why) => {
            step.missing(problem(
                API_BASE,
                format!("WeChat can't be reached ({why})"),
                "check miniprogram.api_base and wecom.proxy, and that this machine may open connections there",
            ));
            return;
        }
        Unsaid::Refused { errcode, errmsg, hint } => (*errcode, errmsg, hint),
    };
    match errcode {
        -1 | 45009 | 45011 => step.unknown(
            format!("WeChat is busy or limits our calls (errcode {errcode})"),
            "check again a minute later",
        ),
        40013 | 41002 => step.missing(problem(
            "miniprogram.app_id",
            format!("is unknown to WeChat (errcode {errcode})"),
            "copy AppID from mp.weixin.qq.com, 开发管理",
        )),
        ADDRESS_NOT_LISTED => step.missing(problem(
            "wecom.proxy",
            format!("WeChat refuses this machine's address (errcode {errcode})"),
            format!("{hint} (开发管理, IP白名单), or set wecom.proxy to a way out with a fixed address"),
        )),
        _ => step.missing(problem(SECRET, format!("WeChat refuses it (errcode {errcode}: {errmsg})"), hint)),
    }
}

/// Whether the mini program may open this company's chat.
pub(super) async fn bound(config: &Config, client: &ConsoleClient, token: Option<&SecretString>) -> Step {
    let mut step = Step::new("WeChat: the mini program is bound to the company (微信客服)");
    let bind = "in mp.weixin.qq.com, 功能, 客服, 微信客服, bind the company (企业ID), which must be the same legal entity";
    let ours = &config.wecom.corp_id;
    let Some(token) = token else {
        step.not_asked();
        return finish_bound(step);
    };
    match client.bound_corp(token).await {
        Ok(Some(corp_id)) if corp_id == *ours => {
            step.ok(format!("it is bound to {corp_id}, so wx.openCustomerServiceChat may open the chat"));
        }
        Ok(Some(corp_id)) => step.missing(problem(
            "wecom.corp_id",
            format!("is {ours}, but the mini program is bound to {corp_id}: wx.openCustomerServiceChat fails"),
            bind,
        )),
        Ok(None) => step.missing(problem(
            "miniprogram.app_id",
            format!("this mini program is bound to no company, not to {ours}: wx.openCustomerServiceChat fails (not bind)"),
            bind,
        )),
        Err(Unsaid::Unreachable(why)) => {
            step.unknown(format!("which company it is bound to ({why})"), format!("check again, or {bind}"));
        }
        Err(Unsaid::Refused { errcode, .. }) => step.unknown(
            format!("which company it is bound to: WeChat does not say (errcode {errcode})"),
            format!("see for yourself: {bind}"),
        ),
    }
    finish_bound(step)
}

/// What no interface tells of the mini program.
fn finish_bound(mut step: Step) -> Step {
    step.look(
        "open mp.weixin.qq.com, 开发管理, 服务器域名: request 合法域名 has the https address of this service",
    );
    step.look("open mp.weixin.qq.com, 用户隐私保护指引: 剪切板 is declared, so that the code can be copied");
    step
}

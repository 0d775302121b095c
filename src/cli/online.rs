//! `kfbind check --online`: a walk through all that the consoles of WeCom and WeChat must have been told, each step asked
//! of whoever knows: WeCom, WeChat, the running service, this machine.
//!
//! Only asks, and makes the link that the service makes too. What nobody tells is left to a person, and said to be.

use std::{
    io::{self, Write},
    sync::Arc,
};

use actors::{
    ports::{KfAccount, WeCom as _},
    tally::Tally,
};
use anyhow::Context as _;
use secrecy::ExposeSecret;

use crate::{
    clock::SystemClock,
    config::{Config, Method},
    outgoing,
    wechat::{WechatConfig, console::ConsoleClient},
    wecom::{
        client::{WecomClient, WecomConfig},
        staff::StaffClient,
    },
};

mod accounts;
mod fault;
mod machine;
mod service;
mod walk;
mod ways;
mod wechat;

use fault::{is_about_the_address, problem, refusal};
use walk::{Step, Walk};

const SECRET: &str = "wecom.secret";

/// Walks, printing each step as it ends. Whether nothing is missing.
pub(super) async fn walk(config: &Config, out: &mut impl Write, is_coloured: bool) -> anyhow::Result<bool> {
    let proxy = config.wecom.proxy.as_ref().map(ExposeSecret::expose_secret);
    let http = outgoing::client(config.wecom.request_timeout, proxy)
        .context("can't prepare outgoing calls (`wecom.proxy`, `wecom.request_timeout`)")?;
    let mut walk = Walk::begin(out, is_coloured)?;
    walk.take(&machine::store(config))?;
    let wecom = WecomClient::new(
        wecom_config(config, config.wecom.secret.clone()),
        http.clone(),
        Arc::new(SystemClock),
        Tally::default(),
    );
    through_wecom(config, &wecom, &mut walk).await?;
    walk.take(&service::callback(config).await.context("can't ask the running service")?)?;
    let wechat = ConsoleClient::new(
        WechatConfig {
            api_base: config.miniprogram.api_base.clone(),
            app_id: config.miniprogram.app_id.clone(),
            secret: config.miniprogram.secret.clone(),
        },
        http.clone(),
    );
    let (step, token) = wechat::secret(&wechat).await;
    walk.take(&step)?;
    walk.take(&wechat::bound(config, &wechat, token.as_ref()).await)?;
    let staff = staff_client(config, &http);
    walk.take(&ways::ways(config, staff.as_ref()).await)?;
    // As the service does: `wecom.proxy` leads to WeCom.
    let direct = outgoing::client(config.wecom.request_timeout, None)?;
    walk.take(&ways::webhooks(config, &direct).await)?;
    Ok(walk.end()?)
}

fn wecom_config(config: &Config, secret: secrecy::SecretString) -> WecomConfig {
    WecomConfig {
        api_base: config.wecom.api_base.clone(),
        corp_id: config.wecom.corp_id.clone(),
        secret,
        app_id: config.miniprogram.app_id.clone(),
    }
}

fn staff_client(config: &Config, http: &reqwest::Client) -> Option<StaffClient> {
    let secret = config.wecom.staff_secret.clone();
    let secret = secret.filter(|_| config.binding.methods.contains(&Method::Staff))?;
    let clock = Arc::new(SystemClock);
    Some(StaffClient::new(wecom_config(config, secret), http.clone(), clock, Tally::default()))
}

/// The steps that WeCom itself answers, each standing on the one before.
async fn through_wecom<W: Write>(
    config: &Config,
    client: &WecomClient,
    walk: &mut Walk<'_, W>,
) -> io::Result<()> {
    let mut step = Step::new("WeCom: the company and the app's secret");
    let has_token = match client.check_access_token().await {
        Ok(()) => {
            step.ok("wecom.corp_id, wecom.secret: WeCom gave an access token for them");
            true
        }
        Err(error) => {
            step.missing(refusal(SECRET, &error));
            false
        }
    };
    walk.take(&step)?;
    walk.take(&machine::clock(client.status().clock_skew_s))?;
    let (step, listed) = rights(client, has_token).await;
    walk.take(&step)?;
    let Some(listed) = listed else {
        let mut step = Step::new("WeCom: the kf accounts, who receives in them, and the link to the chat");
        step.not_asked();
        return walk.take(&step);
    };
    let served = accounts::served(config, &listed);
    walk.take(&accounts::list(config, &listed))?;
    walk.take(&accounts::receivers(config, client, &served).await)?;
    walk.take(&accounts::link(config, client, &served).await)
}

/// Whether WeCom takes calls from this address and for this app, by the list of accounts.
async fn rights(client: &WecomClient, has_token: bool) -> (Step, Option<Vec<KfAccount>>) {
    let mut step =
        Step::new("WeCom: this machine's address (企业可信IP) and the app's rights (可调用接口的应用)");
    if !has_token {
        step.not_asked();
        return (step, None);
    }
    match client.accounts().await {
        Ok(listed) => {
            step.ok("WeCom takes this machine's calls, and lets the app call the kf interfaces");
            (step, Some(listed))
        }
        Err(error) => {
            let refused = refusal(SECRET, &error);
            let what = if is_about_the_address(&error) {
                format!("{}: this machine's address is not trusted", refused.what)
            } else {
                refused.what
            };
            step.missing(problem(&refused.key, what, refused.fix));
            (step, None)
        }
    }
}

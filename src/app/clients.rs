//! The outgoing clients that only some configurations have.

use std::sync::Arc;

use actors::{ports::BackEnd, tally::Tally};
use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use super::{Machine, ways};
use crate::{
    config::Config,
    outgoing,
    webhooks::{self, SigningKey, WebhookClient},
    wechat::{WechatClient, WechatConfig, notice::NoticeClient},
    wecom::{client::WecomConfig, staff::StaffClient},
};

/// Asks WeChat who logs in, and sends its subscribe messages.
pub(super) fn mini_program(
    config: &Config,
    outgoing: &reqwest::Client,
    machine: &Machine,
) -> (WechatClient, NoticeClient) {
    let wechat = WechatConfig {
        api_base: config.miniprogram.api_base.clone(),
        app_id: config.miniprogram.app_id.clone(),
        secret: config.miniprogram.secret.clone(),
    };
    let clock = Arc::clone(&machine.clock);
    let notices = NoticeClient::new(wechat.clone(), bind_page(config), outgoing.clone(), clock);
    (WechatClient::new(wechat, outgoing.clone()), notices)
}

/// The bind page as mini programs name it: only kf wants the ending.
fn bind_page(config: &Config) -> String {
    let path = &config.miniprogram.card_path;
    path.strip_suffix(".html").unwrap_or(path).to_owned()
}

/// Asks WeCom which employee logs in, as the app that the WeCom mini program is linked to.
pub(super) fn staff_client(
    config: &Config,
    outgoing: &reqwest::Client,
    machine: &Machine,
    tally: &Tally,
) -> Option<StaffClient> {
    let secret = config.wecom.staff_secret.clone().filter(|_| ways(config).staff)?;
    let config = WecomConfig {
        api_base: config.wecom.api_base.clone(),
        corp_id: config.wecom.corp_id.clone(),
        secret,
        app_id: config.miniprogram.app_id.clone(),
    };
    Some(StaffClient::new(config, outgoing.clone(), Arc::clone(&machine.clock), tally.clone()))
}

/// Who is told of bindings. The way there is its own: `wecom.proxy` leads to WeCom.
pub(super) fn back_end(config: &Config, machine: &Machine) -> anyhow::Result<Option<Arc<dyn BackEnd>>> {
    let (Some(url), Some(secret)) = (&config.webhooks.url, &config.webhooks.secret) else { return Ok(None) };
    let url = url.expose_secret().parse().context("`webhooks.url`")?;
    let key = SigningKey::parse(secret.expose_secret()).context("`webhooks.secret`")?;
    let http = outgoing::client(webhooks::CALL_TIMEOUT, None).context("can't prepare webhooks")?;
    Ok(Some(Arc::new(WebhookClient::new(url, key, http, Arc::clone(&machine.clock)))))
}

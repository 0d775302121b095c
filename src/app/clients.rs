//! The clients for calls that go out. What they are for is theirs.

use std::sync::Arc;

use actors::{ports::BackEnd, tally::Tally};
use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Machine, ways};
use crate::{
    config::Config,
    outgoing,
    webhooks::{self, SigningKey, WebhookClient},
    wecom::{
        client::{WecomClient, WecomConfig},
        staff::StaffClient,
    },
};

/// Calls WeCom as the app.
pub(super) fn wecom_client(
    config: &Config,
    outgoing: &reqwest::Client,
    machine: &Machine,
    tally: &Tally,
) -> WecomClient {
    let own = wecom_config(config, config.wecom.secret.clone());
    WecomClient::new(own, outgoing.clone(), Arc::clone(&machine.clock), tally.clone())
}

fn wecom_config(config: &Config, secret: SecretString) -> WecomConfig {
    WecomConfig {
        api_base: config.wecom.api_base.clone(),
        corp_id: config.wecom.corp_id.clone(),
        secret,
        app_id: config.miniprogram.app_id.clone(),
    }
}

/// Asks WeCom which employee logs in, as the app that the WeCom mini program is linked to.
pub(super) fn staff_client(
    config: &Config,
    outgoing: &reqwest::Client,
    machine: &Machine,
    tally: &Tally,
) -> Option<StaffClient> {
    let secret = config.wecom.staff_secret.clone().filter(|_| ways(config).staff)?;
    Some(StaffClient::new(
        wecom_config(config, secret),
        outgoing.clone(),
        Arc::clone(&machine.clock),
        tally.clone(),
    ))
}

/// Who is told of bindings. The way there is its own: `wecom.proxy` leads to WeCom.
pub(super) fn back_end(config: &Config, machine: &Machine) -> anyhow::Result<Option<Arc<dyn BackEnd>>> {
    let (Some(url), Some(secret)) = (&config.webhooks.url, &config.webhooks.secret) else { return Ok(None) };
    let url = url.expose_secret().parse().context("`webhooks.url`")?;
    let key = SigningKey::parse(secret.expose_secret()).context("`webhooks.secret`")?;
    let http = outgoing::client(webhooks::CALL_TIMEOUT, None).context("can't prepare webhooks")?;
    Ok(Some(Arc::new(WebhookClient::new(url, key, http, Arc::clone(&machine.clock)))))
}

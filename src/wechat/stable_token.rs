//! `cgi-bin/stable_token`: one request for the mini program's access token, in normal mode, which gives the same token to
//! everybody who asks. What a refusal means is for whoever asks; nothing is kept here.

use reqwest::Client;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::{ANSWER_BYTES_MAX, WechatConfig};
use crate::outgoing;

const PATH: &str = "/cgi-bin/stable_token";

#[derive(Serialize)]
struct Request<'c> {
    grant_type: &'static str,
    appid: &'c str,
    secret: &'c str,
    force_refresh: bool,
}

/// No `Debug`: it holds a secret.
#[derive(Deserialize)]
pub(super) struct StableToken {
    /// Missing on success.
    #[serde(default)]
    pub(super) errcode: i64,
    #[serde(default)]
    pub(super) errmsg: String,
    #[serde(default)]
    pub(super) access_token: String,
    #[serde(default)]
    pub(super) expires_in: u64,
}

/// Asks once; the error is that no usable answer came.
pub(super) async fn ask(config: &WechatConfig, http: &Client) -> Result<StableToken, String> {
    let request = Request {
        grant_type: "client_credential",
        appid: &config.app_id,
        secret: config.secret.expose_secret(),
        force_refresh: false,
    };
    let json = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
    let address = format!("{}{PATH}", config.api_base.trim_end_matches('/'));
    let request = http.post(address).header(http::header::CONTENT_TYPE, "application/json").body(json);
    parsed(outgoing::exchange(request, ANSWER_BYTES_MAX).await)
}

/// The answer, or what is wrong with it. The parser's own words may quote it, and are left out.
pub(super) fn parsed<T: serde::de::DeserializeOwned>(
    answer: Result<outgoing::Answer, outgoing::ExchangeError>,
) -> Result<T, String> {
    let answer = answer.map_err(|error| error.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("HTTP status {}", answer.status.as_u16()));
    }
    serde_json::from_slice(&answer.body).map_err(|_| "the answer is no JSON of the known form".to_owned())
}

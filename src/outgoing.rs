//! The one HTTP client for all calls that we make, and the one way to read an answer.
//!
//! TLS is rustls with the ring provider; certificates are checked against the roots that the binary brings and, where
//! they can be read, the system's (a company's own proxy needs those). Names of hosts are looked up in Rust, see
//! `outgoing/names.rs`. Nothing here retries, follows redirects,
//! looks at proxy variables of the environment, or knows what the calls are about.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use http::StatusCode;
use reqwest::{Client, Proxy, RequestBuilder, Response, redirect::Policy};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::time::Instant;

mod names;

use names::Names;

/// How long a connection may take to stand, TLS included; less where the request's own time-out is shorter.
pub const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// How many idle connections are kept for each host.
const IDLE_CONNECTIONS_MAX: usize = 16;
const PROXY_SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The proxy's address can't be used; it isn't repeated, since it may hold a password.
    #[error("wecom.proxy is no http://, https:// or socks5:// address")]
    Proxy,
    /// TLS can't be set up.
    #[error("setting up TLS for outgoing calls: {0}")]
    Tls(#[from] rustls::Error),
    /// The client can't be built.
    #[error("setting up the client for outgoing calls: {0}")]
    Client(#[source] reqwest::Error),
}

/// Makes the client. `request_timeout` bounds a whole call, from connecting to the last byte of the answer; `proxy`
/// is for all calls, an empty one is none.
pub fn client(request_timeout: Duration, proxy: Option<&str>) -> Result<Client, OutgoingError> {
    #[expect(clippy::disallowed_methods, reason = "the one place where clients are made")]
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls()?)
        .timeout(request_timeout)
        .connect_timeout(request_timeout.min(CONNECT_TIMEOUT_MAX))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .dns_resolver(Arc::new(Names::default()))
        .user_agent(concat!("kfbind/", env!("CARGO_PKG_VERSION")));
    if let Some(proxy) = proxy.filter(|proxy| !proxy.is_empty()) {
        let scheme = proxy.split_once("://").map_or("", |(scheme, _)| scheme);
        if !PROXY_SCHEMES.contains(&scheme) {
            return Err(OutgoingError::Proxy);
        }
        builder = builder.proxy(Proxy::all(proxy).map_err(|_| OutgoingError::Proxy)?);
    }
    builder.build().map_err(OutgoingError::Client)
}

fn tls() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // Unreadable ones are no error: containers often have none, and the binary brings its own.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// What came back for a request.
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The header `Date`, as it came.
    pub date: Option<String>,
    /// From sending to the first byte.
    pub round_trip: Duration,
    /// The body.
    pub body: Vec<u8>,
}

/// Why nothing usable came back. The texts hold no URL, since queries carry tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The time is up.
    #[error("no answer in time")]
    TimedOut,
    /// There is no connection.
    #[error("no connection: {0}")]
    NoConnection(String),
    /// The connection broke, or what came is no HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// More than the limit came back, in bytes.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl ExchangeError {
    /// A short name for a metric.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::TimedOut => "timeout",
            Self::NoConnection(_) => "connect",
            Self::Broken(_) => "broken",
            Self::TooLong(_) => "too_long",
        }
    }
}

impl From<reqwest::Error> for ExchangeError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::TimedOut
        } else if error.is_connect() {
            Self::NoConnection(causes(&error.without_url()))
        } else {
            Self::Broken(causes(&error.without_url()))
        }
    }
}

/// The innermost cause says most, and the outer ones repeat each other.
fn causes(error: &dyn StdError) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Sends a request and reads its answer, of which at most `body_bytes_max`.
pub async fn exchange(request: RequestBuilder, body_bytes_max: usize) -> Result<Answer, ExchangeError> {
    let sent_at = Instant::now();
    let response = request.send().await?;
    let round_trip = sent_at.elapsed();
    let status = response.status();
    let date = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let date = date.map(str::to_owned);
    let body = read_limited(response, body_bytes_max).await?;
    Ok(Answer { status, date, round_trip, body })
}

/// Reads a body, and gives up where it is longer than `bytes_max`.
pub async fn read_limited(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, ExchangeError> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(ExchangeError::TooLong(bytes_max));
    }
    let mut body = Vec::with_capacity(announced.unwrap_or(0));
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > bytes_max.saturating_sub(body.len()) {
            return Err(ExchangeError::TooLong(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
pub(crate) mod loopback;
#[cfg(test)]
mod tests;

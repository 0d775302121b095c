//! The HTTP side: warp filters that verify and translate requests into calls of the actors' [`Handles`].
//!
//! [`serve`] is all that the rest of the program needs. Requests are judged in one order everywhere: 404, 405, 401,
//! 413, 415, 400, the rest. So each path is one branch of the table and judges the method itself; errors are values
//! (`http/reply.rs` turns them into answers), because a rejection would fall through to the next branch.
//! No rule of binding is here, and nothing of the configuration's form.

use std::{convert::Infallible, fmt, pin::Pin, sync::Arc};

use actors::{handles::Handles, policy::Rate, ports::Clock};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use warp::{Filter, reply::Response};

use crate::{wechat::WechatClient, wecom::envelope::CallbackKeys};

mod admin;
mod binding;
mod body;
mod callback;
mod client_address;
mod health;
mod login;
mod progress;
mod query;
mod rate_limit;
mod reply;
mod request;
mod seats;
mod server;
mod session;

pub use server::serve;
pub use session::{SessionKeys, UserSession};

use body::payload;
use reply::{ApiError, finish};
use request::head;

/// The most logins that wait for WeChat at once; apart from what waits for the actors, so that a slow WeChat stops
/// nothing else.
const LOGINS_MAX: usize = 1_024;

/// What the routes work with.
pub struct Context {
    /// The actors.
    pub handles: Handles,
    /// Makes and checks sessions; from the store's instance key.
    pub session_keys: SessionKeys,
    /// Opens callbacks.
    pub callback_keys: CallbackKeys,
    /// Asks WeChat who logs in.
    pub wechat: WechatClient,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The operator's decisions.
    pub settings: HttpSettings,
    /// Tells how WeCom's client is; called for each `/readyz`, so it should only look.
    pub wecom_health: Arc<dyn Fn() -> WecomHealth + Send + Sync>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The operator's decisions, as far as HTTP is concerned.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Shown to the mini program beside the kf link.
    pub corp_id: String,
    /// `None` = the admin routes don't exist.
    pub admin_api_key: Option<SecretString>,
    /// Life of a session, in seconds.
    pub session_ttl_s: u64,
    /// The longest request body.
    pub body_bytes_max: usize,
    /// Logins of one client address.
    pub logins_per_ip: Rate,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// How WeCom's client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WecomHealth {
    /// Whether there ever was an access token.
    pub token_had: bool,
    /// Whether calls are stopped because the credentials are wrong.
    pub stopped: bool,
    /// How far our clock is ahead of WeCom's `Date`, in seconds, if known.
    pub clock_skew_s: Option<i64>,
    /// Why the last call failed, if it did. Without secrets; operators read it.
    pub last_error: Option<String>,
}

/// The [`Context`] and what HTTP itself keeps while it runs.
struct Shared {
    context: Context,
    admin_key: Option<request::AdminKey>,
    client_address: client_address::ClientAddress,
    logins_per_ip: rate_limit::RateLimit,
    callback_watch: callback::CallbackWatch,
    logins: Semaphore,
    /// Turns true when the service stops: ends the long polls.
    stop: watch::Receiver<bool>,
}

impl Shared {
    fn new(context: Context, stop: watch::Receiver<bool>) -> Self {
        let settings = &context.settings;
        let admin_key = settings.admin_api_key.as_ref().map(ExposeSecret::expose_secret);
        Self {
            // An empty key would be one that everybody has.
            admin_key: admin_key.filter(|key| !key.is_empty()).map(request::AdminKey::new),
            client_address: client_address::ClientAddress::new(settings.trusted_proxies.clone()),
            logins_per_ip: rate_limit::RateLimit::new(settings.logins_per_ip),
            callback_watch: callback::CallbackWatch::default(),
            logins: Semaphore::new(LOGINS_MAX),
            stop,
            context,
        }
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    fn login_permit(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.logins.try_acquire().map_err(|_| ApiError::Unavailable)
    }
}

/// Returns once the service stops; also where nobody is left to say so, since then nobody would ever end it.
async fn stopped(mut stop: watch::Receiver<bool>) {
    // The guard inside must not live on: it can't cross to another thread.
    drop(stop.wait_for(|stopping| *stopping).await);
}

/// All addresses in one table, the busiest first. It holds no state: that comes with each request, so that the copy
/// that warp makes of it per request costs nothing.
fn routes() -> impl Filter<Extract = (Response,), Error = Infallible> + Copy + Send + Sync + 'static {
    let callback = warp::path!("api" / "wechat-work" / "message").and(head()).and(payload());
    let binding = warp::path!("api" / "binding").and(head());
    let token = warp::path!("api" / "binding" / "token").and(head()).and(payload());
    let login = warp::path!("api" / "login").and(head()).and(warp::header::headers_cloned()).and(payload());

    let alive = warp::path!("healthz").and(head());
    let ready = warp::path!("readyz").and(head());
    let metrics = warp::path!("metrics").and(head());

    let admin_bindings = warp::path!("api" / "admin" / "bindings").and(head());
    let admin_binding = warp::path!("api" / "admin" / "bindings" / String).and(head());
    let admin_lock = warp::path!("api" / "admin" / "locks" / String).and(head());

    let admin_export = warp::path!("api" / "admin" / "export").and(head());

    let ticket = warp::path!("api" / "binding" / "ticket");
    let intent = warp::path!("api" / "binding" / "intent");
    let staff_login = warp::path!("api" / "staff" / "login");
    let staff_customer = warp::path!("api" / "staff" / "customers" / String).map(drop).untuple_one();
    let staff_tickets = warp::path!("api" / "staff" / "tickets");
    let staff_bindings = warp::path!("api" / "staff" / "bindings");
    let off = ticket.or(intent).unify().or(staff_login).unify().or(staff_customer).unify();
    let off = off.or(staff_tickets).unify().or(staff_bindings).unify();

    let callback = callback.then(|head, payload| boxed(callback::callback(head, payload))).map(finish);
    let busy = callback.or(binding.then(|head| boxed(binding::binding(head))).map(finish)).unify();
    let user = token
        .then(|head, payload| boxed(binding::token(head, payload)))
        .map(finish)
        .or(login.then(|head, headers, payload| boxed(login::login(head, headers, payload))).map(finish))
        .unify();
    let health = alive
        .then(health::alive)
        .map(finish)
        .or(ready.then(|head| boxed(health::ready(head))).map(finish))
        .unify();
    let operators = health.or(metrics.then(health::metrics).map(finish)).unify();
    let admin = admin_bindings.then(|head| boxed(admin::bindings(head))).map(finish);
    let admin = admin.or(admin_binding.then(|id, head| boxed(admin::binding(id, head))).map(finish)).unify();
    let admin = admin.or(admin_lock.then(|id, head| boxed(admin::lock(id, head))).map(finish)).unify();
    let admin = admin.or(admin_export.then(|head| boxed(admin::export(head))).map(finish)).unify();
    let off = off.map(|| finish(Err(ApiError::MethodOff)));
    let nothing = warp::any().map(|| finish(Err(ApiError::NotFound)));
    busy.or(user).unify().or(operators).unify().or(admin).unify().or(off).unify().or(nothing).unify()
}

/// Keeps each handler's state out of that of all other requests: a connection holds room for the largest, and ten
/// thousand phones wait in theirs.
fn boxed(
    answer: impl Future<Output = Result<Response, ApiError>> + Send + 'static,
) -> Pin<Box<dyn Future<Output = Result<Response, ApiError>> + Send>> {
    Box::pin(answer)
}

#[cfg(test)]
mod tests;

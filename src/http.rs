//! The HTTP side: warp filters that verify and translate requests into calls of the actors' [`Handles`].
//!
//! [`serve`] is all that the rest of the program needs. Requests are judged in one order everywhere: 404, 405, 401,
//! 413, 415, 400, the rest. So each path is one branch of the table and judges the method itself; errors are values
//! (`http/reply.rs` turns them into answers), because a rejection would fall through to the next branch.
//! No rule of binding is here, and nothing of the configuration's form.

use std::{convert::Infallible, fmt, net::IpAddr, pin::Pin, sync::Arc};

use actors::{
    handles::Handles,
    ids::UserId,
    policy::{Rate, Ways},
    ports::Clock,
};
use http::HeaderMap;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use warp::{Filter, Rejection, reply::Response};

use crate::{
    forward::Forwarder,
    tls::Certificates,
    wechat::WechatClient,
    wecom::{envelope::CallbackKeys, staff::StaffClient},
};

mod admin;
mod binding;
mod body;
mod callback;
mod client_address;
mod health;
mod login;
mod openapi;
mod operator_page;
mod progress;
mod query;
mod rate_limit;
mod reply;
mod request;
mod seats;
mod server;
mod session;
mod side;
mod staff;
mod ticket;

pub use openapi::document as openapi_document;
pub use server::{Doors, serve};
pub use session::{SessionKeys, StaffSession, UserSession};

use admin::{people, trail};
use body::payload;
use reply::{ApiError, finish};
use request::head;

/// The most logins that wait for WeChat at once; apart from what waits for the actors, so that a slow WeChat stops
/// nothing else.
const LOGINS_MAX: usize = 1_024;
/// The most requests of the further ways that may make WeCom be asked, at once; more get a 503. WeCom takes few calls at
/// a time, and the pages of messages need theirs too.
const ASKING_MAX: usize = 256;

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
    /// Asks WeCom which employee logs in; `None` where employees don't.
    pub staff: Option<StaffClient>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Passes authentic callbacks on.
    pub forwarder: Forwarder,
    /// Means HTTPS on the main listener; `None` = plain HTTP.
    pub certificates: Option<Arc<Certificates>>,
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
    /// The further ways to bind that are on; the routes of the others say that they are off.
    pub ways: Ways,
    /// The employees who may bind; empty = all whom WeCom lets log in.
    pub staff_userids: Vec<UserId>,
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
    asking: Semaphore,
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
            asking: Semaphore::new(ASKING_MAX),
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

    /// To be held by whatever may make WeCom be asked because a client wants it.
    fn asking_permit(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.asking.try_acquire().map_err(|_| ApiError::Unavailable)
    }

    /// Counts a login of this client, a user's or an employee's.
    fn count_login(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), ApiError> {
        let client = self.client_address.of(peer, headers);
        self.logins_per_ip
            .take(client, self.context.clock.now_ms())
            .map_err(|retry_after_s| ApiError::TooManyRequests { retry_after_s })
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

    let openapi = warp::path!("openapi.json").and(head()).and(request::optional_header("if-none-match"));

    let admin_bindings = warp::path!("api" / "admin" / "bindings").and(head());
    let admin_binding = warp::path!("api" / "admin" / "bindings" / String).and(head()).and(payload());
    let admin_lock = warp::path!("api" / "admin" / "locks" / String).and(head());

    let admin_export = warp::path!("api" / "admin" / "export").and(head());

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
    let operators = operators.or(openapi.then(openapi::openapi).map(finish)).unify();
    let admin = admin_bindings.then(|head| boxed(admin::bindings(head))).map(finish);
    let admin_binding = admin_binding.then(|id, head, payload| boxed(people::binding(id, head, payload)));
    let admin = admin.or(admin_binding.map(finish)).unify();
    let admin = admin.or(admin_lock.then(|id, head| boxed(admin::lock(id, head))).map(finish)).unify();
    let admin = admin.or(admin_export.then(|head| boxed(admin::export(head))).map(finish)).unify();
    let admin = admin.or(operator_page::routes()).unify();
    let nothing = warp::any().map(|| finish(Err(ApiError::NotFound)));
    busy.or(user)
        .unify()
        .or(operators)
        .unify()
        .or(admin)
        .unify()
        .or(back_end())
        .unify()
        .or(ways())
        .unify()
        .or(nothing)
        .unify()
}

/// What else the business back end and operators may do.
fn back_end() -> impl Filter<Extract = (Response,), Error = Rejection> + Copy + Send + Sync + 'static {
    let sessions = warp::path!("api" / "admin" / "sessions").and(head()).and(payload());
    let customer = warp::path!("api" / "admin" / "customers" / String).and(head());
    let events = warp::path!("api" / "admin" / "events").and(head());
    let stats = warp::path!("api" / "admin" / "stats").and(head());
    let letters = warp::path!("api" / "admin" / "dead-letters").and(head());
    let resend = warp::path!("api" / "admin" / "dead-letters" / String / "resend").and(head());

    let sessions = sessions.then(|head, payload| boxed(people::sessions(head, payload))).map(finish);
    let customer = customer.then(|id, head| boxed(people::customer(id, head))).map(finish);
    let events = events.then(|head| boxed(trail::events(head))).map(finish);
    let stats = stats.then(|head| boxed(trail::stats(head))).map(finish);
    let letters = letters.then(|head| boxed(trail::dead_letters(head))).map(finish);
    let resend = resend.then(|id, head| boxed(trail::resend(id, head))).map(finish);
    let people = sessions.or(customer).unify();
    people.or(events).unify().or(stats).unify().or(letters).unify().or(resend).unify()
}

/// The further ways to bind. Their addresses exist while they are off too, and say so.
fn ways() -> impl Filter<Extract = (Response,), Error = Rejection> + Copy + Send + Sync + 'static {
    let ticket = warp::path!("api" / "binding" / "ticket").and(head()).and(payload());
    let intent = warp::path!("api" / "binding" / "intent").and(head()).and(payload());
    let login = warp::path!("api" / "staff" / "login").and(head());
    let login = login.and(warp::header::headers_cloned()).and(payload());
    let customer = warp::path!("api" / "staff" / "customers" / String).and(head());
    let tickets = warp::path!("api" / "staff" / "tickets").and(head()).and(payload());
    let bindings = warp::path!("api" / "staff" / "bindings").and(head()).and(payload());

    let ticket = ticket.then(|head, payload| boxed(ticket::ticket(head, payload))).map(finish);
    let intent = intent.then(|head, payload| boxed(ticket::intent(head, payload))).map(finish);
    let login = login.then(|head, headers, payload| boxed(staff::login(head, headers, payload))).map(finish);
    let customer = customer.then(|id, head| boxed(staff::customer(id, head))).map(finish);
    let tickets = tickets.then(|head, payload| boxed(staff::tickets(head, payload))).map(finish);
    let bindings = bindings.then(|head, payload| boxed(staff::bindings(head, payload))).map(finish);
    let user = ticket.or(intent).unify();
    user.or(login).unify().or(customer).unify().or(tickets).unify().or(bindings).unify()
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

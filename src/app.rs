//! The composition root: builds the running service from a configuration, and stops it in order.
//!
//! Everything is wired here and nowhere else. No route, no rule and no wire format is here.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actors::{
    RegistryOptions,
    ids::{OpenKfId, Timestamp, UserId},
    policy::{CodeFormat, Handover, NoticeTemplate, OnConflict, Policy, Rate, SyncPolicy, Texts, Ways},
    ports::{Clock, Entropy},
    system::{System, SystemOptions},
    tally::Tally,
};
use anyhow::Context as _;
use rustix::process::{Resource, Rlimit};
use secrecy::ExposeSecret;
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use crate::{
    clock::SystemClock,
    config::{self, Config, Method, NotifySettings},
    forward::{self, Forwarder},
    http::{self, Doors, HttpSettings, SessionKeys, WecomHealth},
    notify::Supervisor,
    outgoing,
    tls::{Certificates, PairFiles},
    wecom::{
        client::{WecomClient, WecomConfig},
        envelope::{CallbackKeys, EnvelopeKey},
    },
};

mod clients;

use clients::{back_end, mini_program, staff_client};

/// Connections that wait in the kernel until they are accepted; it may allow fewer (`net.core.somaxconn`). Thousands of
/// phones come back in the same second after a restart, and whom the kernel drops tries again seconds later only.
const ACCEPT_QUEUE_MAX: u32 = 4096;

/// What the service takes from the machine, so that tests can bring their own.
#[derive(Clone)]
pub struct Machine {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for Machine {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) }
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug)]
struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            // Codes that could be foretold are worse than no service.
            tracing::error!(%error, "the operating system gives no randomness: the process can't go on");
            std::process::abort();
        }
    }
}

/// A running service.
pub struct App {
    addr: SocketAddr,
    ops_addr: Option<SocketAddr>,
    system: System,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    senders: forward::Senders,
    grace: Duration,
}

impl App {
    /// Opens the store, starts the actors and listens. Fails where the store, the address or a key can't be used.
    pub async fn start(config: &Config, machine: Machine) -> anyhow::Result<Self> {
        let (main, addr) = listener("server.listen", config.server.listen)?;
        let ops =
            config.server.ops_listen.map(|address| listener("server.ops_listen", address)).transpose()?;
        let (ops, ops_addr) = ops.unzip();
        let certificates = certificates(config, machine.clock.now())?;
        let tally = Tally::default();
        let proxy = config.wecom.proxy.as_ref().map(ExposeSecret::expose_secret);
        let outgoing = outgoing::client(config.wecom.request_timeout, proxy)
            .context("can't prepare outgoing calls (`wecom.proxy`, `wecom.request_timeout`)")?;
        let wecom = Arc::new(WecomClient::new(
            WecomConfig {
                api_base: config.wecom.api_base.clone(),
                corp_id: config.wecom.corp_id.clone(),
                secret: config.wecom.secret.clone(),
                app_id: config.miniprogram.app_id.clone(),
            },
            outgoing.clone(),
            Arc::clone(&machine.clock),
            tally.clone(),
        ));
        let (forwarder, senders) = Forwarder::start(&config.wecom.forward_to, &tally)?;
        let staff = staff_client(config, &outgoing, &machine, &tally);
        let (wechat, notices) = mini_program(config, &outgoing, &machine);
        let back_end = back_end(config, &machine)?;
        let system = System::start(SystemOptions {
            registry: RegistryOptions {
                path: config.store.path.clone(),
                corp_id: config.wecom.corp_id.clone(),
                policy: policy(config),
                clock: Arc::clone(&machine.clock),
                entropy: machine.entropy,
                tally,
            },
            sync_policy: sync_policy(config),
            wecom: Arc::clone(&wecom) as _,
            mini_program: Arc::new(notices),
            back_end,
        })
        .await?;
        let context = http::Context {
            session_keys: SessionKeys::new(system.handles().instance_key()),
            handles: system.handles(),
            callback_keys: callback_keys(config)?,
            wechat,
            staff,
            clock: machine.clock,
            forwarder,
            certificates,
            settings: http_settings(config),
            wecom_health: Arc::new(move || wecom_health(&wecom)),
        };
        let (stop, is_stopping) = watch::channel(false);
        let grace = config.server.shutdown_grace;
        let server = tokio::spawn(http::serve(Doors { main, ops }, context, is_stopping, grace));
        // The contract fixes these words: `listening addr=…`, `ops listening addr=…`.
        tracing::info!(%addr, "listening");
        if let Some(addr) = ops_addr {
            tracing::info!(%addr, "ops listening");
        }
        Ok(Self { addr, ops_addr, system, stop, server, senders, grace })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where operators find theirs, if they have an address of their own.
    #[must_use]
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops_addr
    }

    /// Becomes `Some` with the reason when the service can't go on.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.system.failed()
    }

    /// Stops in order: no new requests, waiting ones are answered, running ones end, everything is on the disk.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        self.system.release_waits();
        // Requests and calls to WeCom end side by side, so that both have the whole grace.
        let (served, ()) = tokio::join!(self.server, self.system.drain(self.grace));
        if served.is_err() {
            tracing::error!("the HTTP side had ended before the stop");
        }
        tokio::join!(self.senders.stop(), self.system.stop());
    }
}

/// Runs the service until SIGTERM or SIGINT; an error where it could not start or go on. Whoever is named by `notify`
/// is told how it is.
pub fn serve(config: &Config, notify: &NotifySettings) -> anyhow::Result<()> {
    raise_file_limit();
    runtime()?.block_on(async {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let app = App::start(config, Machine::default()).await?;
        let supervisor = Supervisor::of(notify);
        supervisor.ready(&format!("{} listens on {}", env!("KFBIND_VERSION"), app.addr())).await;
        let mut failed = app.failed();
        let handles = app.system.handles();
        let pings = supervisor.watch(async || handles.health().await.silent_actors.is_empty());
        let why = tokio::select! {
            _ = term.recv() => None,
            _ = int.recv() => None,
            never = pings => match never {},
            why = failed.wait_for(Option::is_some) => why.ok().and_then(|why| why.clone()),
        };
        tracing::info!("stopping");
        supervisor.stopping().await;
        app.stop().await;
        match why {
            None => {
                tracing::info!("stopped");
                Ok(())
            }
            Some(why) => Err(anyhow::anyhow!("the service could not go on: {why}")),
        }
    })
}

/// A listener and the address that it really has.
fn listener(key: &str, listen: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    bind(listen)
        .and_then(|listener| listener.local_addr().map(|address| (listener, address)))
        .with_context(|| format!("can't listen on {listen}: stop whatever holds the port, or change `{key}`"))
}

fn certificates(config: &Config, now: Timestamp) -> anyhow::Result<Option<Arc<Certificates>>> {
    let (Some(cert), Some(key)) = (&config.server.tls_cert, &config.server.tls_key) else {
        return Ok(None);
    };
    let files = PairFiles { cert: cert.clone(), key: key.clone() };
    Ok(Some(Arc::new(Certificates::open(files, now)?)))
}

fn bind(listen: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As every server does, so that a restart doesn't wait for the last one's connections.
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(ACCEPT_QUEUE_MAX)
}

/// Every connection is an open file, and the usual limit of 1,024 is for programs that can't handle more.
fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files can't be raised; many waiting phones may not find room");
    }
}

/// The async runtime of a command.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("can't start the async runtime")
}

fn policy(config: &Config) -> Policy {
    let (binding, limits, messages) = (&config.binding, &config.limits, &config.messages);
    Policy {
        code_format: match binding.code_format {
            config::CodeFormat::Digits => CodeFormat::Digits,
            config::CodeFormat::Alphanumeric => CodeFormat::Alphanumeric,
            config::CodeFormat::Words => CodeFormat::Words,
        },
        code_ttl_s: binding.code_ttl.as_secs(),
        on_conflict: match binding.on_conflict {
            config::OnConflict::Reject => OnConflict::Reject,
            config::OnConflict::Replace => OnConflict::Replace,
        },
        unbind_word: binding.unbind_word.clone(),
        codes_per_openid: rate(limits.codes_per_openid),
        wrong_codes_per_customer: rate(limits.wrong_codes_per_customer),
        texts: Texts {
            bound: messages.bound.clone(),
            unbound: messages.unbound.clone(),
            wrong_code: messages.wrong_code.clone(),
            expired_code: messages.expired_code.clone(),
            locked: messages.locked.clone(),
            conflict: messages.conflict.clone(),
            already_bound: messages.already_bound.clone(),
            invite: messages.invite.clone(),
            invite_item: messages.invite_item.clone(),
            confirm: messages.confirm.clone(),
            confirm_yes: messages.confirm_yes.clone(),
            confirm_no: messages.confirm_no.clone(),
            cancelled: messages.cancelled.clone(),
            other_person: messages.other_person.clone(),
        },
        ways: ways(config),
        confirm_link: binding.confirm_link,
        confirm_code: binding.confirm_code,
        window_s: binding.window.as_secs(),
        card_ttl_s: binding.card_ttl.as_secs(),
        card_path: config.miniprogram.card_path.clone(),
        handover: handover(config),
        person_word: config.kf.person_word.clone(),
        notice: notice(config),
        announces: config.webhooks.url.is_some(),
    }
}

fn ways(config: &Config) -> Ways {
    let is_on = |method| config.binding.methods.contains(&method);
    Ways {
        link: is_on(Method::Link),
        card: is_on(Method::Card),
        unionid: is_on(Method::UnionId),
        window: is_on(Method::Window),
        staff: is_on(Method::Staff),
    }
}

fn handover(config: &Config) -> Handover {
    match config.kf.handover {
        config::Handover::None => Handover::None,
        config::Handover::Pool => Handover::Pool,
        config::Handover::Servicer => {
            Handover::Servicer(config.kf.servicers.iter().map(UserId::new).collect())
        }
    }
}

fn notice(config: &Config) -> Option<NoticeTemplate> {
    let template_id = config.miniprogram.subscribe_template_id.clone()?;
    let data = config.miniprogram.subscribe_data.clone().into_iter().collect();
    Some(NoticeTemplate { template_id, data })
}

fn rate(rate: config::Rate) -> Rate {
    Rate { count: rate.count, window_s: rate.window.as_secs() }
}

fn sync_policy(config: &Config) -> SyncPolicy {
    let ways = ways(config);
    SyncPolicy {
        accounts: config.wecom.accounts.iter().map(OpenKfId::new).collect(),
        reconcile_every_ms: u64::try_from(config.kf.reconcile_every.as_millis()).unwrap_or(u64::MAX),
        own_link: config.kf.url.clone(),
        learns: ways.link || ways.unionid,
    }
}

fn callback_keys(config: &Config) -> anyhow::Result<CallbackKeys> {
    let wecom = &config.wecom;
    let key =
        EnvelopeKey::parse(wecom.encoding_aes_key.expose_secret()).context("`wecom.encoding_aes_key`")?;
    let previous = wecom
        .encoding_aes_key_previous
        .as_ref()
        .map(|key| EnvelopeKey::parse(key.expose_secret()).context("`wecom.encoding_aes_key_previous`"))
        .transpose()?;
    let token_previous = wecom.token_previous.as_ref().map(ExposeSecret::expose_secret);
    Ok(CallbackKeys::new(&wecom.corp_id, wecom.token.expose_secret(), key)
        .with_previous(token_previous, previous))
}

fn http_settings(config: &Config) -> HttpSettings {
    HttpSettings {
        corp_id: config.wecom.corp_id.clone(),
        admin_api_key: config.admin.api_key.clone(),
        session_ttl_s: config.binding.session_ttl.as_secs(),
        body_bytes_max: usize::try_from(config.limits.body_bytes_max).unwrap_or(usize::MAX),
        logins_per_ip: rate(config.limits.logins_per_ip),
        ways: ways(config),
        staff_userids: config.wecom.staff_userids.iter().map(UserId::new).collect(),
        trusted_proxies: config.server.trusted_proxies.clone(),
    }
}

fn wecom_health(wecom: &WecomClient) -> WecomHealth {
    let status = wecom.status();
    WecomHealth {
        token_had: status.token_had,
        stopped: status.stopped.is_some(),
        clock_skew_s: status.clock_skew_s,
        last_error: status.stopped.or(status.last_error),
    }
}

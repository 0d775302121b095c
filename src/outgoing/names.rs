//! How the name of a host becomes addresses: the hosts file, then the name servers of `resolv.conf`, asked in Rust.
//!
//! The C library's own way loads plugins at run time, which a static binary can't; so that all builds behave alike,
//! none goes that way. Both files are read again when they have changed. Without a `resolv.conf` the machine itself is
//! asked, as the C library does. Plugins beside `dns` and `files` (mDNS, LDAP) are not asked.

use std::{
    fs::{self, File, Metadata},
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf::parse_resolv_conf,
};
use reqwest::dns::{Addrs, Resolve, Resolving};

/// How long one question to one name server may take, whatever `resolv.conf` says: a second try must have its time, too.
const QUESTION_TIMEOUT_MAX: Duration = Duration::from_millis(1500);
/// How long all of it may take. Less than [`super::CONNECT_TIMEOUT_MAX`], so that the error says that it was the name.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);
/// How long "no such name" is believed: after a mistake in the DNS is mended, calls work again.
const NEGATIVE_LIFE_MAX: Duration = Duration::from_secs(10);
/// How much longer the IPv6 addresses are waited for once those of IPv4 are there. Some name servers never answer
/// for the former.
const SECOND_FAMILY_WAIT: Duration = Duration::from_millis(50);
const DNS_PORT: u16 = 53;

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
#[error("no address for the name {name}: {why} (asked: {asked})")]
struct NoAddress {
    name: String,
    why: String,
    asked: String,
}

/// Looks names up. One for each client, since it lives in that client's runtime. Clones share what they know.
#[derive(Clone)]
pub(super) struct Names {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    /// 53, but in tests.
    port: u16,
    known: Arc<Mutex<Option<Arc<Known>>>>,
}

/// What follows from the two files as they were.
struct Known {
    stamps: [Stamp; 2],
    resolver: TokioResolver,
    hosts: Hosts,
    /// Whom the resolver asks, for people.
    asked: String,
}

/// What changes with a file; `None` where there is none.
type Stamp = Option<(u64, i64, i64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let of = |file: Metadata| (file.ino(), file.mtime(), file.mtime_nsec(), file.size());
    fs::metadata(path).ok().map(of)
}

impl Default for Names {
    fn default() -> Self {
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            hosts: "/etc/hosts".into(),
            port: DNS_PORT,
            known: Arc::default(),
        }
    }
}

impl Names {
    /// The resolver for the files as they are now. The files are small, and looked at for each new connection only.
    fn known(&self) -> Result<Arc<Known>, NetError> {
        let stamps = [stamp(&self.resolv_conf), stamp(&self.hosts)];
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref().filter(|known| known.stamps == stamps) {
            return Ok(Arc::clone(known));
        }
        let read = fs::read(&self.resolv_conf).map_err(NetError::from).and_then(parse_resolv_conf);
        let (config, mut options, remark) = match read {
            Ok((config, options)) => (config, options, String::new()),
            Err(error) => {
                let remark = format!(", because {} can't be used: {error}", self.resolv_conf.display());
                let this_machine = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![this_machine]);
                (config, ResolverOpts::default(), remark)
            }
        };
        let (domain, search, mut servers) =
            (config.domain().cloned(), config.search().to_vec(), config.name_servers().to_vec());
        let connections = servers.iter_mut().flat_map(|server| &mut server.connections);
        connections.for_each(|connection| connection.port = self.port);
        let addresses: Vec<String> = servers.iter().map(|server| server.ip.to_string()).collect();
        let mut builder = TokioResolver::builder_with_config(
            ResolverConfig::from_parts(domain, search, servers),
            TokioRuntimeProvider::default(),
        );
        options.timeout = options.timeout.min(QUESTION_TIMEOUT_MAX);
        options.negative_max_ttl = Some(NEGATIVE_LIFE_MAX);
        // It would look there for one family and ask the DNS for the other.
        options.use_hosts_file = ResolveHosts::Never;
        *builder.options_mut() = options;
        let fresh = Arc::new(Known {
            stamps,
            resolver: builder.build()?,
            hosts: read_hosts(&self.hosts),
            asked: addresses.join(", ") + &remark,
        });
        *known = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// The addresses, those of IPv4 first: it is an IPv4 address that the operator has put on WeCom's list.
    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, NoAddress> {
        let failed = |why: String, asked: &str| NoAddress { name: name.into(), why, asked: asked.into() };
        let known = self.known().map_err(|error| failed(error.to_string(), "nobody"))?;
        let written = known.written(name);
        if !written.is_empty() {
            return Ok(written);
        }
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, known.ask(name))
            .await
            .map_err(|_| failed("no answer in time".into(), &known.asked))?
            .map_err(|error| failed(error.to_string(), &known.asked))?;
        if found.is_empty() {
            return Err(failed("the answer is empty".into(), &known.asked));
        }
        Ok(found)
    }
}

impl Known {
    /// What the hosts file says.
    fn written(&self, name: &str) -> Vec<IpAddr> {
        let Ok(name) = Name::from_utf8(name) else { return Vec::new() };
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|family| self.hosts.lookup_static_host(&Query::query(name.clone(), family)))
            .flat_map(|lookup| addresses(&lookup))
            .collect()
    }

    /// What the name servers say. Both families are asked for at once.
    async fn ask(&self, name: &str) -> Result<Vec<IpAddr>, NetError> {
        let mut four = pin!(self.resolver.lookup(name, RecordType::A));
        let mut six = pin!(self.resolver.lookup(name, RecordType::AAAA));
        let mut early = None;
        let four = loop {
            tokio::select! {
                four = &mut four => break four,
                six = &mut six, if early.is_none() => early = Some(six),
            }
        };
        let six = match (early, &four) {
            (Some(six), _) => Some(six),
            (None, Ok(_)) => tokio::time::timeout(SECOND_FAMILY_WAIT, six).await.ok(),
            (None, Err(_)) => Some(six.await),
        };
        match (four, six) {
            (Ok(four), six) => {
                let six = six.and_then(Result::ok).map(|six| addresses(&six)).unwrap_or_default();
                Ok(addresses(&four).into_iter().chain(six).collect())
            }
            (Err(_), Some(Ok(six))) => Ok(addresses(&six)),
            (Err(error), _) => Err(error),
        }
    }
}

fn read_hosts(file: &Path) -> Hosts {
    let mut hosts = Hosts::default();
    // None, or half of one: the name servers are asked for what isn't in it.
    drop(File::open(file).and_then(|file| hosts.read_hosts_conf(file)));
    hosts
}

fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect()
}

impl Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let found = names.look_up(name.as_str()).await?;
            // The port is the caller's business.
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;

//! The certificate for HTTPS on `server.listen`: read from its PEM files, judged, and read again when they change.
//!
//! A pair that can't be used never takes the place of one that can. No connection and no handshake is here.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actors::{ids::Timestamp, ports::Clock};
use rustls::{
    CertificateError, InconsistentKeys, RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    sign::{CertifiedKey, SingleCertAndKey},
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The key of the certificate chain.
const CERT: &str = "server.tls_cert";
/// The key of the private key.
const KEY: &str = "server.tls_key";
/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// How often the files are looked at.
const REREAD_INTERVAL: Duration = Duration::from_secs(2);
/// A certificate that ends within this time is named: whoever renews by itself has done so long before.
const EXPIRY_WARNING_S: u64 = 14 * DAY_S;
const DAY_S: u64 = 24 * 60 * 60;
/// Everybody on the machine.
const OTHERS: u32 = 0o007;
/// HTTP/2 is not spoken; saying so keeps clients from trying.
const ALPN: &[u8] = b"http/1.1";

/// Where the two halves are.
#[derive(Clone, Debug)]
pub struct PairFiles {
    /// The certificate chain, the server's own first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is wrong with one half, or soon will be. Shows nothing of what stands in the files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}; {fix}")]
pub struct Finding {
    /// The key of the configuration.
    pub key: &'static str,
    /// What it is, with the file.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl Finding {
    fn new(key: &'static str, what: String, fix: impl Into<String>) -> Self {
        Self { key, what, fix: fix.into() }
    }
}

/// What can be said of a pair of files without serving anything.
#[derive(Debug, Default)]
pub struct Judged {
    /// What clients would stumble over.
    pub problems: Vec<Finding>,
    /// What works, but not as it should.
    pub notes: Vec<Finding>,
}

/// Reads the pair and judges it, as it is at this moment.
#[must_use]
pub fn judge(files: &PairFiles, now: Timestamp) -> Judged {
    let mut judged = Judged::default();
    match Halves::read(files).pair(files) {
        Err(finding) => judged.problems.push(finding),
        Ok(pair) => {
            judged.problems.extend(pair.useless(files, now));
            judged.notes.extend(pair.ending(files, now));
        }
    }
    judged.notes.extend(open_to_others(files));
    judged
}

/// The pair in force, and what became of newer ones.
pub struct Certificates {
    files: PairFiles,
    state: Mutex<State>,
}

struct State {
    pair: Pair,
    /// What the files held when they were last looked at.
    seen: Seen,
    /// A pair that can't be used, seen once: whoever writes one file after the other is given until the next look.
    doubted: Option<Finding>,
    /// The newer pair that is not in force.
    refused: Option<Finding>,
    /// What was last said of the end of the one in force; it counts days, so it is said once a day.
    said: Option<Finding>,
}

impl Certificates {
    /// Reads the pair. An expired one is taken, too: who has nothing better is not helped by a service that is down.
    pub fn open(files: PairFiles, now: Timestamp) -> Result<Self, Finding> {
        let halves = Halves::read(&files);
        let pair = halves.pair(&files)?;
        if let Some(note) = open_to_others(&files) {
            tracing::warn!("{note}");
        }
        let state = Mutex::new(State { pair, seen: halves.seen(), doubted: None, refused: None, said: None });
        let certificates = Self { files, state };
        certificates.tell_of_its_end(&mut certificates.state(), now);
        Ok(certificates)
    }

    /// What a handshake that begins now needs.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.state().pair.config)
    }

    /// What keeps clients away, or soon will, for `/readyz`.
    pub(crate) fn problems(&self, now: Timestamp) -> Vec<Finding> {
        let state = self.state();
        state.refused.iter().cloned().chain(state.pair.useless(&self.files, now)).collect()
    }

    /// Looks at the files again and again. Connections that stand keep what they began with.
    pub(crate) async fn keep_fresh(self: Arc<Self>, clock: Arc<dyn Clock>) {
        loop {
            tokio::time::sleep(REREAD_INTERVAL).await;
            let (certificates, now) = (Arc::clone(&self), clock.now());
            if tokio::task::spawn_blocking(move || certificates.look(now)).await.is_err() {
                tracing::error!("looking at the certificate ended in a panic; this is a bug");
            }
        }
    }

    fn look(&self, now: Timestamp) {
        let halves = Halves::read(&self.files);
        let seen = halves.seen();
        let mut state = self.state();
        if seen == state.seen {
            if let Some(finding) = state.doubted.take() {
                tracing::error!(
                    reason = %finding,
                    "the new certificate can't be used; the one in force stays in force"
                );
                state.refused = Some(finding);
            }
        } else {
            state.seen = seen;
            match halves.pair(&self.files).and_then(|pair| state.pair.unless_worse(pair, &self.files, now)) {
                Ok(pair) => {
                    tracing::info!(until = %date(pair.not_after), "the certificate was read again");
                    if let Some(note) = open_to_others(&self.files) {
                        tracing::warn!("{note}");
                    }
                    state.pair = pair;
                    (state.doubted, state.refused, state.said) = (None, None, None);
                }
                Err(finding) => state.doubted = Some(finding),
            }
        }
        self.tell_of_its_end(&mut state, now);
    }

    fn tell_of_its_end(&self, state: &mut State, now: Timestamp) {
        let pair = &state.pair;
        let finding = pair.useless(&self.files, now).or_else(|| pair.ending(&self.files, now));
        if finding != state.said {
            if let Some(finding) = &finding {
                tracing::warn!("{finding}");
            }
            state.said = finding;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of both files, or why they can't be had.
struct Halves {
    cert: Result<Zeroizing<Vec<u8>>, String>,
    key: Result<Zeroizing<Vec<u8>>, String>,
}

/// Enough to tell whether a file has changed.
type Seen = [Result<[u8; 32], String>; 2];

impl Halves {
    fn read(files: &PairFiles) -> Self {
        Self { cert: read(&files.cert), key: read(&files.key) }
    }

    fn seen(&self) -> Seen {
        [&self.cert, &self.key].map(|half| match half {
            Ok(bytes) => Ok(Sha256::digest(bytes).into()),
            Err(why) => Err(why.clone()),
        })
    }

    fn pair(&self, files: &PairFiles) -> Result<Pair, Finding> {
        let unread = |key, file: &Path, why: &str| {
            let what = format!("{} can't be read: {why}", file.display());
            Finding::new(key, what, "name a PEM file that this program may read")
        };
        let cert = self.cert.as_ref().map_err(|why| unread(CERT, &files.cert, why))?;
        let key = self.key.as_ref().map_err(|why| unread(KEY, &files.key, why))?;
        Pair::of(cert, key, files)
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let reading = || {
        // Opening a pipe would wait for its other end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut bytes = Zeroizing::new(Vec::new());
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        Ok(bytes)
    };
    reading().map_err(|error| error.to_string())
}

/// A certificate with its key, ready for handshakes.
struct Pair {
    config: Arc<ServerConfig>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Pair {
    fn of(cert: &[u8], key: &[u8], files: &PairFiles) -> Result<Self, Finding> {
        let chain = chain(cert, &files.cert)?;
        let signing = ring::sign::any_supported_type(&private_key(key, &files.key)?).map_err(|_| {
            let what = format!("{} holds a key of a kind that is not supported", files.key.display());
            Finding::new(KEY, what, "take one of RSA (2048 bits or more), ECDSA (P-256, P-384) or Ed25519")
        })?;
        let odd = || {
            let what = format!("the first certificate in {} is none that TLS can use", files.cert.display());
            Finding::new(CERT, what, "take an X.509 certificate of version 3")
        };
        let certified = CertifiedKey::new(chain.clone(), Arc::clone(&signing));
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                let fits = |one: &CertificateDer<'static>| {
                    CertifiedKey::new(vec![one.clone()], Arc::clone(&signing))
                };
                let misplaced = chain.iter().any(|one| fits(one).keys_match().is_ok());
                return Err(mismatch(misplaced, files));
            }
            Err(_) => return Err(odd()),
        }
        let (not_before, not_after) = chain.first().and_then(validity).ok_or_else(odd)?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder
            .map_err(|_| odd())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { config: Arc::new(config), not_before, not_after })
    }

    /// Why clients refuse it now, if they do.
    fn useless(&self, files: &PairFiles, now: Timestamp) -> Option<Finding> {
        let (what, fix) = if now > self.not_after {
            (format!("has expired on {}", date(self.not_after)), "renew it")
        } else if now < self.not_before {
            (
                format!("is not valid before {}", date(self.not_before)),
                "set this machine's clock right, or wait",
            )
        } else {
            return None;
        };
        Some(Finding::new(CERT, format!("the certificate in {} {what}", files.cert.display()), fix))
    }

    /// Its end, if that is near.
    fn ending(&self, files: &PairFiles, now: Timestamp) -> Option<Finding> {
        let left_s = self.not_after.since(now);
        if now > self.not_after || left_s >= EXPIRY_WARNING_S {
            return None;
        }
        let (file, end) = (files.cert.display(), date(self.not_after));
        let what = format!("the certificate in {file} expires in {} days, on {end}", left_s / DAY_S);
        Some(Finding::new(CERT, what, "renew it, or see why it isn't renewed by itself"))
    }

    /// The newer one, unless clients would refuse it and take this one.
    fn unless_worse(&self, newer: Self, files: &PairFiles, now: Timestamp) -> Result<Self, Finding> {
        match newer.useless(files, now) {
            Some(finding) if self.useless(files, now).is_none() => Err(finding),
            _ => Ok(newer),
        }
    }
}

fn chain(pem: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>, Finding> {
    // The parser's own words quote lines of the file.
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| {
        let what = format!("{} holds no certificate in PEM form", file.display());
        Finding::new(CERT, what, "take the file with -----BEGIN CERTIFICATE-----, often fullchain.pem")
    })
}

fn private_key(pem: &[u8], file: &Path) -> Result<PrivateKeyDer<'static>, Finding> {
    let holds = |words: &[u8]| pem.windows(words.len()).any(|window| window == words);
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let (what, fix) = if holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED") {
            ("is encrypted, and nobody is there to type its password", "take the password off: openssl pkey")
        } else if holds(b"BEGIN CERTIFICATE") {
            ("holds a certificate and no private key", "see whether the two files are swapped")
        } else {
            ("holds no private key in PEM form", "take the file with -----BEGIN PRIVATE KEY-----")
        };
        Finding::new(KEY, format!("{} {what}", file.display()), fix)
    })
}

fn mismatch(misplaced: bool, files: &PairFiles) -> Finding {
    let (cert, key) = (files.cert.display(), files.key.display());
    if misplaced {
        let what = format!("the server's own certificate is not the first in {cert}");
        return Finding::new(CERT, what, "put it first, and behind it those that sign it");
    }
    let what = format!("{key} is not the key of the certificate in {cert}");
    Finding::new(KEY, what, "take both from the same order")
}

/// From when to when a certificate is good. A verifier that is asked for a time beyond all certificates says when this
/// one ends, and for one before them when it begins: it looks at that before it looks for an issuer.
fn validity(cert: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
            .build()
            .ok()?;
    let name = ServerName::try_from("kfbind.invalid").ok()?;
    let at = |seconds| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        verifier.verify_server_cert(cert, &[], &name, &[], time).err()
    };
    let not_before = match at(0) {
        Some(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before, ..
        })) => not_before.as_secs(),
        _ => 0,
    };
    match at(u64::MAX)? {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            Some((Timestamp(not_before), Timestamp(not_after.as_secs())))
        }
        _ => None,
    }
}

/// A note where the key can be read, or worse, by everybody on the machine.
fn open_to_others(files: &PairFiles) -> Option<Finding> {
    let mode = fs::metadata(&files.key).ok()?.permissions().mode();
    (mode & OTHERS != 0).then(|| {
        let what = format!("{} is open to everybody on this machine", files.key.display());
        Finding::new(KEY, what, format!("take that away: chmod o= {}", files.key.display()))
    })
}

fn date(at: Timestamp) -> String {
    let seconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests;

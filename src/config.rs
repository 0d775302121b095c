//! The configuration: built-in defaults, then the file, then the environment, judged as a whole and typed.
//!
//! This is the only place that reads the environment. All mistakes are collected and reported together. Nothing here
//! knows the rest of the program; what the values do is documented in the committed `config.toml`.

mod build;
mod checks;
mod environment;
mod keys;
mod layers;
mod show;
#[cfg(test)]
mod tests;
mod together;
mod value;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use secrecy::SecretString;

pub use environment::{Environment, LogSettings, NotifySettings};

/// The file that is read where none is named, from the working directory.
const DEFAULT_FILE: &str = "config.toml";
/// The longest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The usable configuration. `Debug` hides the secrets.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[store]`
    pub store: Store,
    /// `[wecom]`
    pub wecom: WeCom,
    /// `[kf]`
    pub kf: Kf,
    /// `[miniprogram]`
    pub miniprogram: MiniProgram,
    /// `[binding]`
    pub binding: Binding,
    /// `[limits]`
    pub limits: Limits,
    /// `[messages]`
    pub messages: Messages,
    /// `[admin]`
    pub admin: Admin,
    /// `[webhooks]`
    pub webhooks: Webhooks,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// Where all routes are; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long a stopping server waits for running requests.
    pub shutdown_grace: Duration,
    /// An address of its own for operators.
    pub ops_listen: Option<SocketAddr>,
    /// PEM file of the certificate chain; set together with the key or not at all.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the private key.
    pub tls_key: Option<PathBuf>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[store]`
#[derive(Clone, Debug)]
pub struct Store {
    /// The database's directory.
    pub path: PathBuf,
}

/// `[wecom]`
#[derive(Clone, Debug)]
pub struct WeCom {
    /// The company.
    pub corp_id: String,
    /// The app's secret.
    pub secret: SecretString,
    /// The callback's Token.
    pub token: SecretString,
    /// The callback's `EncodingAESKey`: 43 letters and digits, still encoded.
    pub encoding_aes_key: SecretString,
    /// The former Token. Where it is `None` and the former key is not, the current one stands in; likewise the key.
    pub token_previous: Option<SecretString>,
    /// The former `EncodingAESKey`.
    pub encoding_aes_key_previous: Option<SecretString>,
    /// Who else gets every authentic callback, without repeats; secret because they may hold passwords.
    pub forward_to: Vec<SecretString>,
    /// WeCom's interface, without a slash at the end.
    pub api_base: String,
    /// The `open_kfid`s to serve, without repeats; empty = all that are managed through the API.
    pub accounts: Vec<String>,
    /// For one call, connecting included.
    pub request_timeout: Duration,
    /// `http://`, `https://` or `socks5://`; secret because it may hold a password.
    pub proxy: Option<SecretString>,
    /// The secret of the app behind the WeCom mini program.
    pub staff_secret: Option<SecretString>,
    /// The employees who may bind; empty = all of that app.
    pub staff_userids: Vec<String>,
}

/// `[kf]`
#[derive(Clone, Debug)]
pub struct Kf {
    /// The operator's own kf link; `None` = made by the program.
    pub url: Option<String>,
    /// How often each account is pulled without a callback.
    pub reconcile_every: Duration,
    /// Who takes over what is no binding.
    pub handover: Handover,
    /// The userids for [`Handover::Servicer`]; empty = all of the account.
    pub servicers: Vec<String>,
    /// What a customer writes to get a person.
    pub person_word: Option<String>,
}

/// `kf.handover`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// Nobody.
    None,
    /// The account's pool.
    Pool,
    /// One servicer after the other.
    Servicer,
}

/// `[miniprogram]`
#[derive(Clone, Debug)]
pub struct MiniProgram {
    /// The `AppID`.
    pub app_id: String,
    /// The `AppSecret`.
    pub secret: SecretString,
    /// WeChat's interface, without a slash at the end.
    pub api_base: String,
    /// The page that a card opens, ending in `.html`.
    pub card_path: String,
    /// The template of the subscribe message.
    pub subscribe_template_id: Option<String>,
    /// Its fields, with `{account}`, `{nickname}` and `{time}`.
    pub subscribe_data: BTreeMap<String, String>,
}

/// `[binding]`
#[derive(Clone, Debug)]
pub struct Binding {
    /// The ways to bind, in the order of [`Method`], without repeats; always with [`Method::Code`].
    pub methods: Vec<Method>,
    /// Ask before a link binds.
    pub confirm_link: bool,
    /// Ask before a code binds.
    pub confirm_code: bool,
    /// How long an intent is open; whole seconds.
    pub window: Duration,
    /// Life of a card's ticket; whole seconds.
    pub card_ttl: Duration,
    /// The format of new codes.
    pub code_format: CodeFormat,
    /// Life of a code; whole seconds.
    pub code_ttl: Duration,
    /// What a right code does where one side is bound elsewhere.
    pub on_conflict: OnConflict,
    /// Life of a session; whole seconds.
    pub session_ttl: Duration,
    /// What a customer writes to undo the binding; `None` = not from the chat.
    pub unbind_word: Option<String>,
}

/// A way to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// A code typed into the chat.
    Code,
    /// The kf link with a ticket.
    Link,
    /// A card sent into the chat.
    Card,
    /// Equal unionids.
    UnionId,
    /// Nobody else in the chat at that time.
    Window,
    /// An employee's hand.
    Staff,
}

/// `binding.code_format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeFormat {
    /// `482913`
    Digits,
    /// `A1B2`
    Alphanumeric,
    /// `apple-blue-cat`
    Words,
}

/// `binding.on_conflict`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Nothing changes.
    Reject,
    /// The older binding gives way.
    Replace,
}

/// `count` times within `window` (whole seconds, at least one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How often, at least once.
    pub count: u32,
    /// Within which time.
    pub window: Duration,
}

/// `[limits]`
#[derive(Clone, Debug)]
pub struct Limits {
    /// New codes per user.
    pub codes_per_openid: Rate,
    /// Logins per address.
    pub logins_per_ip: Rate,
    /// Wrong codes per customer.
    pub wrong_codes_per_customer: Rate,
    /// The longest body of a request.
    pub body_bytes_max: u64,
}

/// `[messages]`: at most 2,048 bytes each, with known placeholders only.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is documented in config.toml, under the same name")]
pub struct Messages {
    pub bound: String,
    pub unbound: String,
    pub wrong_code: String,
    pub expired_code: String,
    pub locked: String,
    pub conflict: String,
    pub already_bound: String,
    pub invite: String,
    pub invite_item: String,
    pub confirm: String,
    pub confirm_yes: String,
    pub confirm_no: String,
    pub cancelled: String,
    pub other_person: String,
}

/// `[admin]`
#[derive(Clone, Debug)]
pub struct Admin {
    /// The key of the admin routes; `None` = there are none.
    pub api_key: Option<SecretString>,
}

/// `[webhooks]`
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// Where they go; secret because its query may hold a password.
    pub url: Option<SecretString>,
    /// Signs them: `whsec_…`.
    pub secret: Option<SecretString>,
}

/// Which file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    /// `config.toml` in the working directory, if it is there.
    Default,
    /// This one, which must be there.
    Named(PathBuf),
}

/// A configuration without mistakes.
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The same as TOML for people, secrets masked, with the source of each value as a comment.
    pub effective: String,
    /// What works, but perhaps not as the operator thinks.
    pub notes: Vec<Problem>,
}

/// One mistake. Never contains the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key (`wecom.secret`), or the variable or file as it was written.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

/// All mistakes of a configuration, at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Config {
    /// Reads the file and lays it and the environment over the defaults. The error names all that is wrong.
    pub fn load(file: &ConfigFile, environment: &Environment) -> Result<Loaded, Problems> {
        let mut problems = Vec::new();
        let (path, may_be_missing) = match file {
            ConfigFile::Default => (Path::new(DEFAULT_FILE), true),
            ConfigFile::Named(path) => (path.as_path(), false),
        };
        let name = path.display().to_string();
        let text = read_file(path, may_be_missing).unwrap_or_else(|error| {
            problems.push(Problem::new(
                &name,
                format!("could not be read: {error}"),
                "name a readable configuration file with --config",
            ));
            None
        });
        Self::assemble(text.as_deref().map(|text| (text, name.as_str())), environment, problems)
    }

    /// Like [`Config::load`], from a text in place of the file.
    pub fn from_toml(text: &str, environment: &Environment) -> Result<Loaded, Problems> {
        Self::assemble(Some((text, DEFAULT_FILE)), environment, Vec::new())
    }

    fn assemble(
        file: Option<(&str, &str)>,
        environment: &Environment,
        mut problems: Vec<Problem>,
    ) -> Result<Loaded, Problems> {
        let file_unread = !problems.is_empty();
        let mut settings = layers::merge(file, environment, &mut problems);
        build::adapt_defaults(&mut settings);
        let file_unread =
            file_unread || file.is_some_and(|(_, name)| problems.iter().any(|one| one.key == name));
        // Without the file nobody knows which keys are missing.
        if !file_unread {
            build::require(&settings, environment, &mut problems);
        }
        let (config, notes) = build::build(&settings, &mut problems);
        if problems.is_empty() {
            Ok(Loaded { config, effective: show::effective(&settings), notes })
        } else {
            Err(Problems(problems))
        }
    }
}

impl Problem {
    fn new(key: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into(), fix: fix.into() }
    }

    /// A fault of a key's value; where the environment set it, the variable is named.
    fn at(key: &str, source: Option<&layers::Source>, fault: value::Fault) -> Self {
        let what = match source {
            Some(layers::Source::Environment(variable)) => format!("{} (set by {variable})", fault.what),
            _ => fault.what,
        };
        Self::new(key, what, fault.fix)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}\n    fix: {}", self.key, self.what, self.fix)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(formatter, "the configuration has {count} problem{}:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|problem| write!(formatter, "\n{problem}"))
    }
}

fn read_file(path: &Path, may_be_missing: bool) -> io::Result<Option<String>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if may_be_missing && error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, FILE_BYTES_MAX.saturating_add(1)), &mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(Some(text))
}

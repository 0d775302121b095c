//! A business back end that receives webhooks: checks each, keeps what it got, and is down, slow or picky when told to.
//!
//! Its check of the signature is its own; that of the public packages is in the tests that run them. Shared by the
//! campaigns and the whole-service tests.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What both sides sign with; obviously nobody's.
pub(crate) const SECRET: &str = "whsec_ZmFrZS13ZWJob29rLXNlY3JldC1mb3ItdGVzdHM=";
/// How far the moment of an attempt may be off, in seconds.
const TOLERANCE_S: u64 = 300;

/// What it does with what comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes it.
    Takes,
    /// Answers with this status and takes nothing.
    Answers(u16),
    /// Answers with 400 to all events of this user.
    Refuses(String),
    /// Takes it after a while.
    Slow(Duration),
    /// Never answers.
    Silent,
}

/// An event that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) openid: String,
    pub(crate) customer: String,
    /// The whole body.
    pub(crate) body: Value,
}

#[derive(Default)]
struct Kept {
    taken: Vec<Event>,
    /// How often an event came again after it was taken, by id.
    again: BTreeMap<String, u64>,
    /// Requests, whatever became of them.
    calls: u64,
    /// What was wrong with those that no receiver should take.
    bad: Vec<String>,
}

struct Inner {
    mood: Mutex<Mood>,
    kept: Mutex<Kept>,
    now_s: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Inner {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module. Gone when dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    inner: Arc<Inner>,
    /// Whoever accepts, with all connections.
    open: Option<tokio::task::AbortHandle>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.goes();
    }
}

impl Receiver {
    /// One that takes everything. `now_s` is its clock, in Unix seconds.
    pub(crate) async fn start(now_s: impl Fn() -> u64 + Send + Sync + 'static) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let inner = Inner { mood: Mutex::new(Mood::Takes), kept: Mutex::default(), now_s: Box::new(now_s) };
        let mut receiver = Self { address: listener.local_addr()?, inner: Arc::new(inner), open: None };
        receiver.accepts(listener);
        Ok(receiver)
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/webhooks", self.address)
    }

    /// Nobody listens any more, and all connections are cut.
    pub(crate) fn goes(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
        }
    }

    /// It listens again, at the same address.
    pub(crate) async fn comes_back(&mut self) -> std::io::Result<()> {
        self.goes();
        // The former listener's task may take a moment to end.
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                bound => break bound?,
            }
        };
        self.accepts(listener);
        Ok(())
    }

    /// From now on.
    pub(crate) fn is(&self, mood: Mood) {
        *self.inner.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// What it has taken, each event once, as they first came.
    pub(crate) fn taken(&self) -> Vec<Event> {
        self.inner.kept().taken.clone()
    }

    /// How many events it has taken.
    pub(crate) fn count(&self) -> usize {
        self.inner.kept().taken.len()
    }

    /// Requests, whatever became of them.
    pub(crate) fn calls(&self) -> u64 {
        self.inner.kept().calls
    }

    /// How often something came that it had already.
    pub(crate) fn repeats(&self) -> u64 {
        self.inner.kept().again.values().sum()
    }

    /// What was wrong with requests that no receiver should take.
    pub(crate) fn bad(&self) -> Vec<String> {
        self.inner.kept().bad.clone()
    }

    fn accepts(&mut self, listener: TcpListener) {
        let inner = Arc::clone(&self.inner);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&inner);
                connections.spawn(async move { serve(stream, &inner).await });
                while connections.try_join_next().is_some() {}
            }
        });
        self.open = Some(accepting.abort_handle());
    }
}

/// One connection, for as long as the other side likes.
async fn serve(stream: TcpStream, inner: &Inner) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut headers = BTreeMap::new();
        let mut line = String::new();
        let mut is_first = true;
        loop {
            line.clear();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':').filter(|_| !is_first) {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            is_first = false;
        }
        let length: usize = headers.get("content-length")?.parse().ok()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let status = judge(inner, &headers, &body).await?;
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// The status to answer with; `None`: nothing, for ever.
async fn judge(inner: &Inner, headers: &BTreeMap<String, String>, body: &[u8]) -> Option<u16> {
    inner.kept().calls += 1;
    let event = match verified(headers, body, (inner.now_s)()) {
        Ok(event) => event,
        Err(what) => {
            inner.kept().bad.push(what);
            return Some(400);
        }
    };
    let mood = inner.mood.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match mood {
        Mood::Answers(status) => return Some(status),
        Mood::Refuses(openid) if openid == event.openid => return Some(400),
        Mood::Silent => std::future::pending::<()>().await,
        Mood::Slow(wait) => tokio::time::sleep(wait).await,
        Mood::Takes | Mood::Refuses(_) => {}
    }
    let mut kept = inner.kept();
    if kept.taken.iter().rev().any(|known| known.id == event.id) {
        *kept.again.entry(event.id).or_default() += 1;
    } else {
        kept.taken.push(event);
    }
    Some(200)
}

/// The event, if id, time and signature are right.
fn verified(headers: &BTreeMap<String, String>, body: &[u8], now_s: u64) -> Result<Event, String> {
    let header = |name: &str| headers.get(name).ok_or_else(|| format!("no {name}"));
    let (id, timestamp, signature) =
        (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
    let at: u64 = timestamp.parse().map_err(|_| format!("the time {timestamp}"))?;
    if at.abs_diff(now_s) > TOLERANCE_S {
        return Err(format!("the time {at} is not {now_s}"));
    }
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).map_err(|error| error.to_string())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| error.to_string())?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    let given = signature.strip_prefix("v1,").and_then(|given| STANDARD.decode(given).ok());
    let given = given.ok_or_else(|| format!("the signature {signature}"))?;
    mac.verify_slice(&given).map_err(|_| format!("the signature of {id} is wrong"))?;
    let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| format!("the body {body}"));
    Ok(Event {
        id: id.clone(),
        kind: text(&body["type"])?,
        openid: text(&body["data"]["openid"])?,
        customer: text(&body["data"]["external_userid"])?,
        body,
    })
}

//! The other direction: encrypts, signs and POSTs callbacks at the service, again where it isn't answered with 200
//! in time, and checks its URL. Plain HTTP only, each request on a connection of its own.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rand::Rng;
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};
use url::Url;

use crate::wecom::{envelope::envelope_xml, signature};

use super::{
    doorbell::{Push, Tamper},
    record::{CallbackRecord, Letter, SimEvent},
    shared::Shared,
    world::World,
};

/// The retries of a callback that isn't answered with 200 in time.
const RETRIES_MAX: u32 = 3;
/// The most callbacks on the wire at once.
const PUSHES_AT_ONCE_MAX: usize = 64;
/// How long an overtaken callback waits for the one that overtakes it, in real time.
const OVERTAKEN_WAIT: Duration = Duration::from_millis(100);
/// The most that is read of an answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What the service said to a request of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// What came of a check of the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// What the service said.
    pub answer: CallbackAnswer,
    /// What it should have said.
    pub echo: String,
    /// How long it took, in real time.
    pub took: Duration,
}

impl Verification {
    /// Whether the console would take the URL: status 200 and exactly the echo. WeCom gives it one second, which is
    /// not judged here.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.answer.status == 200 && self.answer.body == self.echo
    }
}

/// A request, encrypted and signed.
#[derive(Clone)]
pub(super) struct Sealed {
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<String>,
}

impl World {
    /// A callback with this text inside.
    pub(super) fn sealed(&mut self, event_xml: &str, tamper: Tamper) -> Sealed {
        let receiver = match tamper {
            Tamper::Receiver => "wwFAKEother0000001".to_owned(),
            _ => self.options.corp_id.clone(),
        };
        let mut encrypt = self.encrypted(event_xml.as_bytes(), &receiver);
        match tamper {
            Tamper::CiphertextSigned => encrypt = altered(&encrypt),
            Tamper::Truncated => encrypt.truncate(encrypt.len() / 2),
            _ => {}
        }
        let mut query = self.signed(&encrypt);
        for (name, value) in &mut query {
            match (*name, tamper) {
                ("msg_signature", Tamper::Signature) => *value = altered_hex(value),
                ("msg_signature", Tamper::UpperCaseSignature) => *value = value.to_ascii_uppercase(),
                ("timestamp", Tamper::Timestamp) => value.push('1'),
                _ => {}
            }
        }
        if tamper == Tamper::NoNonce {
            query.retain(|(name, _)| *name != "nonce");
        }
        if tamper == Tamper::Ciphertext {
            encrypt = altered(&encrypt);
        }
        let mut body = envelope_xml(&self.options.corp_id, &encrypt);
        if let Some(agent_id) = self.switches.agent_id {
            let node = format!("<AgentID><![CDATA[{agent_id}]]></AgentID><Encrypt>");
            body = body.replacen("<Encrypt>", &node, 1);
        }
        if tamper == Tamper::NotXml {
            body = body.replace('<', "{");
        }
        Sealed { query, body: Some(body) }
    }

    /// A check of the URL: the echo, and the request.
    pub(super) fn sealed_echo(&mut self) -> (String, Sealed) {
        let number = self.envelope_bytes.next_u64() | (1 << 62);
        let echo = number.to_string();
        let corp_id = self.options.corp_id.clone();
        let echostr = self.encrypted(echo.as_bytes(), &corp_id);
        let mut query = self.signed(&echostr);
        query.push(("echostr", echostr));
        (echo, Sealed { query, body: None })
    }

    fn encrypted(&mut self, message: &[u8], receive_id: &str) -> String {
        let mut random = [0; 16];
        self.envelope_bytes.fill_bytes(&mut random);
        self.key.seal(random, message, receive_id)
    }

    fn signed(&mut self, encrypt: &str) -> Vec<(&'static str, String)> {
        let timestamp = self.now_s().to_string();
        let nonce = self.ids.next("nonce", "", 11);
        let msg_signature = signature::sign(&self.options.token, &timestamp, &nonce, encrypt);
        vec![("msg_signature", msg_signature), ("timestamp", timestamp), ("nonce", nonce)]
    }
}

/// Another base64 text of the same length.
fn altered(encrypt: &str) -> String {
    let middle = encrypt.len() / 2;
    let alter = |(at, character)| match (at == middle, character) {
        (true, 'A') => 'B',
        (true, _) => 'A',
        (false, same) => same,
    };
    encrypt.chars().enumerate().map(alter).collect()
}

fn altered_hex(signature: &str) -> String {
    let (first, rest) = signature.split_at_checked(1).unwrap_or_default();
    format!("{}{rest}", if first == "0" { "1" } else { "0" })
}

/// Sends what is due until told to stop.
pub(super) async fn run(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut pushes = JoinSet::new();
    let mut flush_at: Option<Instant> = None;
    loop {
        while pushes.len() < PUSHES_AT_ONCE_MAX
            && let Some(push) = shared.next_push()
        {
            pushes.spawn(deliver(Arc::clone(&shared), push));
        }
        let is_waiting = shared.read(|world| world.desk.overtaken.is_some());
        flush_at = is_waiting.then(|| flush_at.unwrap_or_else(|| Instant::now() + OVERTAKEN_WAIT));
        tokio::select! {
            () = shared.ring.notified() => {}
            Some(_) = pushes.join_next() => {}
            () = tokio::time::sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() => {
                shared.change(World::flush_overtaken);
            }
            _ = stop.wait_for(|stopped| *stopped) => break,
        }
    }
    pushes.shutdown().await;
}

async fn deliver(shared: Arc<Shared>, push: Push) {
    if push.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(push.delay_ms)).await;
    }
    let (mut sealed, resigned, url, limit, wait) = shared.change(|world| {
        (
            world.sealed(&push.event_xml, Tamper::None),
            world.switches.retries_resigned,
            world.desk.url.clone().unwrap_or_default(),
            world.options.callback_timeout,
            world.options.callback_retry_wait,
        )
    });
    for retry in 0..=RETRIES_MAX {
        if retry > 0 {
            tokio::time::sleep(wait).await;
            if resigned {
                sealed = shared.change(|world| world.sealed(&push.event_xml, Tamper::None));
            }
        }
        let sent = shared.change(|world| world.announce(&push, retry, &sealed));
        let sent_at = Instant::now();
        let answer = request(&url, &sealed, limit).await;
        let is_taken = answer.as_ref().is_ok_and(|answer| answer.status == 200);
        let took = sent_at.elapsed();
        shared.change(|world| world.record_callback(sent.ended(answer, took)));
        if is_taken {
            break;
        }
    }
    shared.change(|world| world.desk.under_way = world.desk.under_way.saturating_sub(1));
}

impl World {
    /// Tells that an attempt begins; its record, so far.
    fn announce(&self, push: &Push, retry: u32, sealed: &Sealed) -> CallbackRecord {
        self.tell(SimEvent::CallingBack(Letter {
            push: push.number,
            retry,
            account: push.account.clone(),
            query: sealed.query.clone(),
            envelope: sealed.body.clone().unwrap_or_default(),
            event_xml: push.event_xml.clone(),
        }));
        CallbackRecord {
            at_ms: self.now_ms(),
            push: push.number,
            retry,
            account: push.account.clone(),
            status: None,
            body: String::new(),
            took_us: 0,
        }
    }
}

impl CallbackRecord {
    fn ended(mut self, answer: Result<CallbackAnswer, String>, took: Duration) -> Self {
        (self.status, self.body) = match answer {
            Ok(answer) => (Some(answer.status), answer.body),
            Err(reason) => (None, reason),
        };
        self.took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self
    }
}

/// One request to the service: a POST where there is a body, else a GET.
pub(super) async fn request(url: &str, sealed: &Sealed, limit: Duration) -> Result<CallbackAnswer, String> {
    let mut url = Url::parse(url).map_err(|error| format!("the callback URL can't be read: {error}"))?;
    url.query_pairs_mut().extend_pairs(&sealed.query);
    match timeout(limit, exchange(&url, sealed.body.clone())).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
    }
}

async fn exchange(url: &Url, body: Option<String>) -> Result<CallbackAnswer, String> {
    let host = url.host_str().filter(|_| url.scheme() == "http");
    let host = host.ok_or("the callback URL must begin with http://")?;
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await;
    let stream = stream.map_err(|error| format!("connecting to {host}:{port}: {error}"))?;
    let exchange = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let path =
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = http::Request::new(Full::new(Bytes::from(body.unwrap_or_default())));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse()?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, format!("{host}:{port}").parse()?);
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/xml"));
        headers.insert(header::USER_AGENT, header::HeaderValue::from_static("Mozilla/4.0"));
        let answer = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
            Ok(CallbackAnswer { status, body: String::from_utf8_lossy(&body).into_owned() })
        };
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            // The connection may end, by the service's wish, while the last of the answer is still to be read.
            _ = connection => answer.await,
        }
    };
    let answer: Result<CallbackAnswer, Box<dyn std::error::Error + Send + Sync>> = exchange.await;
    answer.map_err(|error| format!("asking {host}:{port}: {error}"))
}

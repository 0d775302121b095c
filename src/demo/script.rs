//! `demo --script`: one whole binding over real HTTP, as a mini program and a customer would do it, a line per step.
//!
//! Every step is checked; the first one that fails ends the script with an error.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{sync::broadcast, time::timeout};

use super::{say, stage::Stage};
use crate::{
    outgoing::{self, exchange},
    sim::{Api, SimEvent},
};

/// No step may take longer.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// What the long poll asks for, in seconds.
const WAIT_S: u64 = 8;
/// No answer of the service is longer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Plays the script.
pub(super) async fn play(stage: &Stage) -> anyhow::Result<()> {
    let mut wire = stage.sim.subscribe();
    let mut phone = Phone::new(stage)?;
    let customer = stage.sim.customer("小李").with_nickname("小李");
    let account = stage.sim.account(0);

    let js_code = stage.sim.wx_login_code(&stage.sim.openid_of("小李"), None);
    let login =
        phone.ask(Method::POST, "/api/login", Some(json!({ "code": js_code })), StatusCode::OK).await?;
    phone.session = Some(text(&login, "/session")?);
    step("login", "the mini program has a session");

    let code = phone.issue().await?;
    step(
        "code issued",
        &format!("{}, live for {} s", text(&code, "/display")?, number(&code, "/expires_in")?),
    );
    let pending = phone.ask(Method::GET, "/api/binding", None, StatusCode::OK).await?;
    ensure!(text(&pending, "/status")? == "pending", "the status after the code is {pending}");
    let version = number(&pending, "/version")?;

    // The mini program waits while its user types in the chat.
    let path = format!("/api/binding?wait={WAIT_S}&since={version}");
    let typed = text(&code, "/display")?;
    let chat = async {
        customer.says(&account, &typed);
        step("message sent in chat", &typed);
        watch(&mut wire).await
    };
    let (bound, said) = tokio::try_join!(phone.ask(Method::GET, &path, None, StatusCode::OK), chat)?;
    step("callback verified", "signature and envelope are right, the service answered 200");
    step("page pulled", "kf/sync_msg gave the message");
    ensure!(text(&bound, "/status")? == "bound", "the long poll answered {bound}");
    step(
        "bound",
        &format!("by {}, since {}", text(&bound, "/binding/method")?, text(&bound, "/binding/bound_at")?),
    );
    step("answered in chat", &said);
    ensure!(number(&bound, "/version")? > version, "the version did not grow: {bound}");
    step("status `bound` by long poll", &format!("version {version} → {}", number(&bound, "/version")?));
    Ok(())
}

/// Watches the wire until the callback was taken, the message pulled and the customer answered; what was said.
async fn watch(wire: &mut broadcast::Receiver<SimEvent>) -> anyhow::Result<String> {
    let (mut is_called_back, mut is_pulled, mut said) = (false, false, None);
    let watching = async {
        while !(is_called_back && is_pulled && said.is_some()) {
            match wire.recv().await? {
                SimEvent::CalledBack(callback) => is_called_back |= callback.status == Some(200),
                SimEvent::Called(call) if call.api == Api::SyncMsg && call.errcode == 0 => {
                    let list = call.answer.pointer("/msg_list").and_then(Value::as_array);
                    is_pulled |= list.is_some_and(|list| !list.is_empty());
                }
                SimEvent::Heard { heard, .. } => said = Some(heard.text),
                _ => {}
            }
        }
        Ok::<(), broadcast::error::RecvError>(())
    };
    let outcome = timeout(STEP_TIMEOUT, watching).await;
    ensure!(is_called_back, "no callback was answered with 200");
    ensure!(is_pulled, "the message was not pulled");
    outcome.context("the customer was not answered")?.context("the simulator ended")?;
    said.context("the customer was not answered")
}

/// The mini program, as far as the service sees it.
struct Phone {
    http: Client,
    service: String,
    session: Option<String>,
}

impl Phone {
    fn new(stage: &Stage) -> anyhow::Result<Self> {
        let service = format!("http://{}", stage.service().context("the service is not up")?);
        Ok(Self { http: outgoing::client(STEP_TIMEOUT, None)?, service, session: None })
    }

    /// Asks for a code, until the service has the link that it shows with it.
    async fn issue(&self) -> anyhow::Result<Value> {
        let attempts = async {
            loop {
                match self.ask(Method::POST, "/api/binding/token", None, StatusCode::CREATED).await {
                    Err(error) if error.to_string().contains("wecom-unavailable") => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    outcome => return outcome,
                }
            }
        };
        timeout(STEP_TIMEOUT, attempts).await.context("the service found no kf link")?
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        wanted: StatusCode,
    ) -> anyhow::Result<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.service));
        if let Some(session) = &self.session {
            request = request.bearer_auth(session);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = exchange(request, ANSWER_BYTES_MAX).await.with_context(|| format!("asking {path}"))?;
        let body: Value =
            serde_json::from_slice(&answer.body).with_context(|| format!("the answer to {path}"))?;
        ensure!(answer.status == wanted, "{path} answered {} {body}", answer.status);
        Ok(body)
    }
}

fn text(value: &Value, pointer: &str) -> anyhow::Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.map(str::to_owned).with_context(|| format!("no text at {pointer} of {value}"))
}

fn number(value: &Value, pointer: &str) -> anyhow::Result<u64> {
    value
        .pointer(pointer)
        .and_then(Value::as_u64)
        .with_context(|| format!("no number at {pointer} of {value}"))
}

fn step(name: &str, detail: &str) {
    say(&format!("ok  {name}: {detail}"));
}

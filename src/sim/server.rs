//! The HTTP side: one listener for both hosts' paths, the faults on the way out, and the record of every call.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{
    faults::Fault,
    gate::Request,
    record::{Api, CallRecord, SimEvent},
    shared::Shared,
    world::{Answer, Refused, World},
};

/// The largest body of a call, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The most connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;

/// Ends a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer, on purpose")]
struct Closed;

/// Accepts until told to stop, then closes everything.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
            _ = stop.wait_for(|stopped| *stopped) => break,
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "a connection to the simulator ended");
    }
}

/// Counts a call out, also where the caller left before the answer.
struct OpenCall {
    shared: Arc<Shared>,
    api: Api,
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.shared.change(|world| world.gate.leave(self.api));
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: http::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Closed> {
    let (parts, body) = request.into_parts();
    let is_down = shared.read(|world| {
        if world.switches.down {
            world.tell(SimEvent::HungUp { path: parts.uri.path().to_owned() });
        }
        world.switches.down
    });
    if is_down {
        return Err(Closed);
    }
    let date = shared.read(date);
    let Some(api) = Api::at(parts.uri.path()) else {
        return Ok(page(StatusCode::NOT_FOUND, "text/html", "<h1>404 Not Found</h1>".into(), &date));
    };
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return Ok(page(StatusCode::PAYLOAD_TOO_LARGE, "text/html", "<h1>413</h1>".into(), &date));
    };
    let request = Request {
        is_post: parts.method == Method::POST,
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect(),
        body: serde_json::from_slice(&body.to_bytes()).ok(),
    };
    let (parallel, fault, latency_ms) = shared.change(|world| {
        let parallel = world.gate.enter(api);
        let latency_ms = world.switches.latency_ms.get(&api).copied().unwrap_or(0);
        (parallel, world.faults.next(api), latency_ms)
    });
    let _open = OpenCall { shared: Arc::clone(&shared), api };
    if latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(latency_ms)).await;
    }
    let value = shared.change(|world| carry_out(world, api, request, parallel, fault.as_ref()));
    let seen = match fault {
        Some(Fault::AfterEffect(fault)) => Some(*fault),
        fault => fault,
    };
    show(api, &value, seen, &date).await
}

/// Decides a call, unless a fault comes first, and records it. Returns what the caller is to see where no fault shows
/// something else.
fn carry_out(world: &mut World, api: Api, request: Request, parallel: usize, fault: Option<&Fault>) -> Value {
    let comes_first = fault.filter(|fault| !matches!(fault, Fault::AfterEffect(_)));
    let (answer, errcode) = match comes_first {
        None => rendered(api, decide(world, api, &request, parallel)),
        Some(Fault::Errcode(errcode)) => (Value::Null, *errcode),
        Some(_) => (Value::Null, 0),
    };
    if let Some(Fault::Errcode(errcode @ (42001 | 40014))) = fault {
        world.gate.end_token(request.param("access_token"), *errcode == 42001);
    }
    world.calls_answered += 1;
    let call = CallRecord {
        number: world.calls_answered,
        at_ms: world.now_ms(),
        api,
        query: request.query,
        body: request.body.unwrap_or_default(),
        answer: answer.clone(),
        errcode,
        fault: fault.map(ToString::to_string),
        parallel,
    };
    world.record_call(call);
    answer
}

fn decide(world: &mut World, api: Api, request: &Request, parallel: usize) -> Answer {
    world.admit(api, request, parallel)?;
    if let Some(errcode) = world.switches.refuse.get(&api) {
        return Err(Refused::new(*errcode, "refused by a switch"));
    }
    match api {
        Api::GetToken => world.get_token(request),
        Api::SyncMsg => world.sync_msg(request),
        Api::SendMsg => world.send_msg(request),
        Api::SendMsgOnEvent => world.send_msg_on_event(request),
        Api::ServiceStateGet => world.service_state_get(request),
        Api::ServiceStateTrans => world.service_state_trans(request),
        Api::CustomerBatchGet => world.batch_get(request),
        Api::AccountList => world.account_list(request),
        Api::AddContactWay => world.add_contact_way(request),
        Api::ServicerList => world.servicer_list(request),
        Api::GetCallbackIp | Api::GetApiDomainIp => Ok(json!({"ip_list": ["127.0.0.1", "101.226.103.*"]})),
        Api::StaffCode2Session => world.staff_code2session(request),
        Api::Code2Session => world.code2session(request),
        Api::StableToken => world.stable_token(request),
        Api::SubscribeSend => world.subscribe_send(request),
        Api::KfWorkGet => Ok(world.kf_work_get()),
    }
}

/// The answer with `errcode` and `errmsg`, where the document has them.
fn rendered(api: Api, answer: Answer) -> (Value, i64) {
    match answer {
        Ok(mut answer) => {
            let silent = matches!(api, Api::Code2Session | Api::StableToken);
            if let Some(fields) = answer.as_object_mut().filter(|_| !silent) {
                fields.insert("errcode".into(), json!(0));
                fields.insert("errmsg".into(), json!("ok"));
            }
            (answer, 0)
        }
        Err(Refused { errcode, errmsg }) => (json!({"errcode": errcode, "errmsg": errmsg}), errcode),
    }
}

/// Sends the answer, or what the fault makes of it.
async fn show(
    api: Api,
    value: &Value,
    fault: Option<Fault>,
    date: &HeaderValue,
) -> Result<Response<Full<Bytes>>, Closed> {
    // WeChat labels the answer of its login as text.
    let json_type = if api == Api::Code2Session { "text/plain" } else { "application/json; charset=UTF-8" };
    let json = |value: &Value| page(StatusCode::OK, json_type, value.to_string(), date);
    match fault {
        None | Some(Fault::AfterEffect(_)) => Ok(json(value)),
        Some(Fault::Errcode(errcode)) => {
            Ok(json(&json!({"errcode": errcode, "errmsg": "refused on purpose, hint: [1700000000]"})))
        }
        Some(Fault::Http(status)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            Ok(page(status, "text/html", format!("<html><h1>{status}</h1></html>"), date))
        }
        Some(Fault::Html) => Ok(page(
            StatusCode::OK,
            "text/html",
            "<html><h1>Sign in to this network</h1></html>".into(),
            date,
        )),
        Some(Fault::BrokenJson) => {
            let whole = if value.is_null() { json!({"errcode": 0, "errmsg": "ok"}) } else { value.clone() };
            let mut text = whole.to_string();
            text.truncate(text.floor_char_boundary(text.len() / 2));
            Ok(page(StatusCode::OK, json_type, text, date))
        }
        Some(Fault::Dropped) => Err(Closed),
        Some(Fault::Stall(time)) => {
            tokio::time::sleep(time).await;
            Err(Closed)
        }
        // Ends when the caller closes the connection, or with the simulator.
        Some(Fault::Timeout) => std::future::pending().await,
    }
}

fn page(
    status: StatusCode,
    content_type: &'static str,
    text: String,
    date: &HeaderValue,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::DATE, date.clone());
    response
}

/// The `Date` header by the simulator's clock.
fn date(world: &World) -> HeaderValue {
    let now_s = i64::try_from(world.now_s()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(now_s)
        .ok()
        .and_then(|now| jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok())
        .and_then(|text| HeaderValue::from_str(&text).ok())
        .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

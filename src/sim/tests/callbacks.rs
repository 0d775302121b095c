//! The callbacks as a service gets them.

use std::sync::Mutex;

use hyper::service::service_fn;

use crate::wecom::{envelope::EnvelopeKey, signature};

use super::*;

/// A service that records what it gets and answers with one status after the other, then 200.
struct Service {
    got: Arc<Mutex<Vec<(String, String)>>>,
    url: String,
    task: AbortHandle,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let statuses = Arc::new(Mutex::new(statuses.to_vec()));
        let into = Arc::clone(&got);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (got, statuses) = (Arc::clone(&into), Arc::clone(&statuses));
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let (got, statuses) = (Arc::clone(&got), Arc::clone(&statuses));
                    async move {
                        let query = request.uri().query().unwrap().to_owned();
                        let body = request.into_body().collect().await?.to_bytes();
                        got.lock().unwrap().push((query, String::from_utf8(body.to_vec()).unwrap()));
                        let mut left = statuses.lock().unwrap();
                        let status = if left.is_empty() { 200 } else { left.remove(0) };
                        let mut response = http::Response::new(Full::new(Bytes::from("success")));
                        *response.status_mut() = status.try_into().unwrap();
                        Ok::<_, hyper::Error>(response)
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { got, url, task: task.abort_handle() }
    }

    fn got(&self) -> Vec<(String, String)> {
        self.got.lock().unwrap().clone()
    }
}

fn param(query: &str, name: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).unwrap().1.into_owned()
}

fn encrypt_of(body: &str) -> &str {
    body.split("<Encrypt><![CDATA[").nth(1).unwrap().split(']').next().unwrap()
}

/// The message inside, if the signature is right and it is for our corp.
fn opened(options: &SimOptions, (query, body): &(String, String)) -> Option<String> {
    let encrypt = encrypt_of(body);
    let (timestamp, nonce) = (param(query, "timestamp"), param(query, "nonce"));
    if signature::sign(&options.token, &timestamp, &nonce, encrypt) != param(query, "msg_signature") {
        return None;
    }
    let key = EnvelopeKey::parse(&options.encoding_aes_key).unwrap();
    String::from_utf8(key.open(encrypt, &options.corp_id).ok()?).ok()
}

#[tokio::test]
async fn every_message_rings_with_a_signed_and_encrypted_callback() {
    let rig = Rig::start(CallbackMode::Auto).await;
    let service = Service::start(&[]).await;
    rig.sim.set_callback_url(&service.url);
    let li = rig.sim.customer("li");
    li.says("wkONE", "hello");
    li.says("wkNATIVE", "hello");
    rig.sim.wait_callbacks_done(SOON).await.unwrap();
    let got = service.got();
    assert_eq!(got.len(), 1, "an account of others doesn't ring");
    let event = opened(&rig.options, &got[0]).unwrap();
    assert!(event.contains("<Event><![CDATA[kf_msg_or_event]]></Event>"), "{event}");
    assert!(event.contains("<OpenKfId><![CDATA[wkONE]]></OpenKfId>"), "{event}");
    assert!(event.contains("<CreateTime>1749988800</CreateTime>"), "{event}");
}

#[tokio::test]
async fn a_callback_is_sent_again_three_times_at_most() {
    let rig = Rig::quiet().await;
    let service = Service::start(&[500, 503, 200, 500, 500, 500, 500]).await;
    rig.sim.set_callback_url(&service.url);
    for attempts in [3, 4] {
        let before = rig.sim.callbacks().len();
        rig.sim.push_callback("wkONE");
        rig.sim.wait_callbacks_done(SOON).await.unwrap();
        assert_eq!(rig.sim.callbacks().len() - before, attempts);
    }
    let got = service.got();
    assert_eq!(got[0], got[1], "a retry repeats the callback to the letter");
    rig.sim.switch(|switches| switches.retries_resigned = true);
    let resigning = Service::start(&[500]).await;
    rig.sim.set_callback_url(&resigning.url);
    rig.sim.push_callback("wkONE");
    rig.sim.wait_callbacks_done(SOON).await.unwrap();
    let got = resigning.got();
    assert_ne!(got[0], got[1]);
    assert_eq!(opened(&rig.options, &got[0]), opened(&rig.options, &got[1]));
}

#[tokio::test]
async fn a_callback_that_nobody_answers_is_recorded_as_such() {
    let rig = Rig::quiet().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    rig.sim.set_callback_url(&format!("http://{nobody}/"));
    rig.sim.push_callback("wkONE");
    rig.sim.wait_callbacks_done(SOON).await.unwrap();
    let callbacks = rig.sim.callbacks();
    assert_eq!(callbacks.len(), 4);
    assert!(callbacks.iter().all(|callback| callback.status.is_none()));
}

#[tokio::test]
async fn callbacks_are_held_released_and_dropped() {
    let rig = Rig::start(CallbackMode::Auto).await;
    let service = Service::start(&[]).await;
    rig.sim.set_callback_url(&service.url);
    let li = rig.sim.customer("li");
    rig.sim.drop_next_callbacks(1);
    rig.sim.hold_callbacks();
    for text in ["dropped", "held", "held"] {
        li.says("wkONE", text);
    }
    rig.sim.push_app_message("hello");
    rig.sim.change_authority(&["wkTHREE"], &["wkTWO"]);
    assert!(rig.sim.wait_callbacks_done(Duration::from_millis(50)).await.is_err());
    assert!(service.got().is_empty());
    rig.sim.release_callbacks();
    rig.sim.wait_callbacks_done(SOON).await.unwrap();
    let mut kinds: Vec<&str> = Vec::new();
    let events: Vec<String> = service.got().iter().map(|got| opened(&rig.options, got).unwrap()).collect();
    for kind in ["kf_msg_or_event", "kf_account_auth_change", "<MsgType><![CDATA[text]]>"] {
        kinds.extend(events.iter().filter(|event| event.contains(kind)).map(|_| kind));
    }
    assert_eq!(kinds.len(), events.len());
    assert_eq!(events.len(), 4, "{events:#?}");
    let change = events.iter().find(|event| event.contains("auth_change")).unwrap();
    assert!(change.contains("<AuthAddOpenKfId><![CDATA[wkTHREE]]></AuthAddOpenKfId>"), "{change}");
    assert_eq!(rig.errcode(Api::SyncMsg, json!({"open_kfid": "wkTWO"})).await, 48007);
    assert_eq!(rig.errcode(Api::SyncMsg, json!({"open_kfid": "wkTHREE"})).await, 0);
}

#[tokio::test]
async fn the_plan_doubles_drops_and_reorders_callbacks_but_loses_no_other() {
    let rig = Rig::quiet().await;
    let service = Service::start(&[]).await;
    rig.sim.set_callback_url(&service.url);
    let push_all = async |plan: FaultPlan| {
        let before = service.got().len();
        rig.sim.faults(plan);
        for _ in 0..40 {
            rig.sim.push_callback("wkONE");
        }
        rig.sim.wait_callbacks_done(SOON).await.unwrap();
        service.got().len() - before
    };
    let plan = FaultPlan { seed: 5, ..FaultPlan::default() };
    assert_eq!(push_all(FaultPlan { duplicate_callbacks: 1.0, ..plan.clone() }).await, 80);
    assert_eq!(push_all(FaultPlan { drop_callbacks: 1.0, ..plan.clone() }).await, 0);
    assert_eq!(push_all(FaultPlan { reorder_callbacks: 1.0, ..plan.clone() }).await, 40);
    assert_eq!(push_all(FaultPlan { delay_callbacks: 1.0, delay_callbacks_ms: 5, ..plan }).await, 40);
}

#[tokio::test]
async fn what_is_tampered_with_can_be_told() {
    let rig = Rig::quiet().await;
    let service = Service::start(&[]).await;
    rig.sim.set_callback_url(&service.url);
    let xml = rig.sim.doorbell_xml("wkONE");
    let spoiled = [
        Tamper::Signature,
        Tamper::UpperCaseSignature,
        Tamper::Receiver,
        Tamper::Ciphertext,
        Tamper::Timestamp,
    ];
    for tamper in spoiled {
        assert_eq!(rig.sim.push_raw(&xml, tamper).await.unwrap().status, 200);
        assert_eq!(opened(&rig.options, service.got().last().unwrap()), None, "{tamper:?}");
    }
    rig.sim.switch(|switches| switches.agent_id = Some(1_000_002));
    let answer = rig.sim.push_raw(&xml, Tamper::None).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "success"));
    let got = service.got();
    let (_, body) = got.last().unwrap();
    assert!(body.contains("<AgentID><![CDATA[1000002]]></AgentID><Encrypt>"), "{body}");
    assert_eq!(opened(&rig.options, got.last().unwrap()).unwrap(), xml);
}

#[tokio::test]
async fn a_url_that_does_not_echo_is_not_accepted() {
    let rig = Rig::quiet().await;
    assert!(matches!(rig.sim.verify_url().await, Err(SimError::NoCallbackUrl)));
    let service = Service::start(&[]).await;
    rig.sim.set_callback_url(&service.url);
    let checks = rig.sim.verify_url_times(2).await.unwrap();
    assert!(checks.iter().all(|check| !check.is_accepted()));
    let got = service.got();
    assert_eq!(got[0], got[1]);
    let (query, _) = &got[0];
    let echostr = param(query, "echostr");
    let key = EnvelopeKey::parse(&rig.options.encoding_aes_key).unwrap();
    let echo = key.open(&echostr, &rig.options.corp_id).unwrap();
    assert_eq!(String::from_utf8(echo).unwrap(), checks[0].echo);
    let signed =
        signature::sign(&rig.options.token, &param(query, "timestamp"), &param(query, "nonce"), &echostr);
    assert_eq!(signed, param(query, "msg_signature"));
}

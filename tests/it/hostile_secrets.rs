//! No secret in any output: a whole life of the binary, at the loudest log level, in both forms of the log, with WeCom
//! failing in between; then everything that came out is searched for everything that must not.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kfbind::sim::{Api, Fault, Sim, SimOptions, Tamper};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Answer, CALLBACK_PATH, Client, DEADLINE, Phone, eventually, hears,
    process::{Process, but, environment, issue, kfbind, login, ran, world},
};

const ADMIN_KEY: &str = "fake-admin-key-0123456789";
const WRONG_ADMIN_KEY: &str = "fake-wrong-key-9876543210";
/// Between two bells while WeCom fails.
const RING_EVERY: Duration = Duration::from_millis(500);
/// What customers write; some look like codes.
const TALK: [&str; 3] = ["这是我们之间的悄悄话", "zebra wrong words", "请打电话给小李"];

/// What came out, by where.
#[derive(Default)]
struct Outputs(Vec<(String, String)>);

impl Outputs {
    fn keep(&mut self, whence: impl Into<String>, text: impl Into<String>) {
        self.0.push((whence.into(), text.into()));
    }

    fn answer(&mut self, answer: &Answer) {
        self.keep(answer.asked.clone(), format!("{:?} {}", answer.headers, answer.text()));
    }

    fn hold_none_of(&self, secrets: &[(&'static str, String)]) {
        for (name, secret) in secrets {
            assert!(secret.len() >= 8, "{name} is too short to be searched for: {secret:?}");
            for (whence, text) in &self.0 {
                if let Some(at) = text.find(secret.as_str()) {
                    let line = text[..at].lines().last().unwrap_or_default();
                    panic!("{whence} holds {name}, behind: {line}");
                }
            }
        }
    }
}

/// The texts under this name in the bodies and answers of all calls of an interface.
fn told(sim: &Sim, api: Api, field: &str) -> Vec<String> {
    let calls = sim.calls(api);
    let both = calls.iter().flat_map(|call| [&call.body, &call.answer]);
    let texts = both.filter_map(|value| value[field].as_str().map(str::to_owned));
    texts.filter(|text| !text.is_empty()).collect()
}

/// The key that signs sessions, in each form in which it could be written.
fn instance_key(environment: &[(String, String)], corp_id: &str) -> Vec<String> {
    let folder = TempDir::with_prefix("kfbind-it-").unwrap();
    let file = folder.path().join("export");
    let (code, said) = ran(&["export", "--out", file.to_str().unwrap()], environment);
    assert_eq!(code, Some(0), "{said}");
    let export = std::fs::read_to_string(file).unwrap();
    let record = export.lines().find(|line| line.contains("\"key\":\"c3RvcmU=\"")).unwrap();
    let record: Value = serde_json::from_str(record).unwrap();
    let bytes = STANDARD.decode(record["value"].as_str().unwrap()).unwrap();
    let corp_at = bytes.windows(corp_id.len()).position(|part| part == corp_id.as_bytes()).unwrap();
    let key = &bytes[corp_at + corp_id.len()..][..32];
    let hex = format!("{:032x}", u128::from_be_bytes(key[..16].try_into().unwrap()));
    let list = format!("{:?}", &key[..8]);
    vec![hex[..16].to_owned(), STANDARD.encode(key), list.trim_matches(['[', ']']).to_owned()]
}

/// Everything that the service does, and everything that may go wrong with it.
async fn live(sim: &Sim, process: &Process, outputs: &mut Outputs) -> Vec<(&'static str, String)> {
    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    let client = Client::of(&process.base);
    let mut secrets = Vec::new();
    let (bound, pending) = (login(&client, sim, "bound").await, login(&client, sim, "pending").await);
    let code = issue(&bound).await;
    let left = issue(&pending).await;
    let customer = sim.customer("bound");
    for talk in TALK {
        customer.says(&sim.account(0), talk);
    }
    customer.says(&sim.account(0), &code);
    bound.until("bound").await;
    hears(&customer, 1).await;
    fail(sim, &client, outputs).await;

    for (bearer, path) in [
        (ADMIN_KEY, "/api/admin/bindings"),
        (WRONG_ADMIN_KEY, "/api/admin/bindings"),
        (bound.session.as_str(), "/api/admin/bindings"),
        (ADMIN_KEY, "/api/binding"),
        (ADMIN_KEY, "/readyz"),
        ("", "/readyz"),
        ("", "/metrics"),
        ("", "/healthz"),
        (&bound.session[1..], "/api/binding"),
    ] {
        outputs.answer(&client.bearing(bearer).get(path).await);
    }
    // In the wrong places, where proxies and logs like to keep them.
    for path in [format!("/api/{}", bound.session), format!("/api/binding?session={}", bound.session)] {
        let answer = client.get(&path).await;
        outputs.keep("a session in the address", answer.text());
    }
    outputs.answer(&client.post("/api/login", json!({"code": "fake-login-code-that-nobody-knows"})).await);
    outputs.answer(&client.post("/api/login", json!({"cod": "fake-login-code-that-nobody-knows"})).await);
    customer.says(&sim.account(0), "解绑");
    bound.until("unbound").await;
    outputs.answer(&pending.client.delete("/api/binding").await);

    secrets.push(("a code of somebody unknown", "fake-login-code-that-nobody-knows".to_owned()));
    for Phone { session, .. } in [bound, pending] {
        secrets.push(("a session", session));
    }
    secrets.extend([("a spent code", code), ("a revoked code", left)]);
    secrets
}

/// WeCom and WeChat fail in all the ways whose errors could quote what was asked.
async fn fail(sim: &Sim, client: &Client, outputs: &mut Outputs) {
    for fault in [Fault::Dropped, Fault::Html] {
        let failed = sim.count(Api::SyncMsg);
        for api in [Api::GetToken, Api::SyncMsg, Api::Code2Session] {
            sim.fail_next(api, fault.clone(), 1);
        }
        sim.expire_access_tokens();
        let js_code = sim.wx_login_code("oNobody", None);
        outputs.answer(&client.post("/api/login", json!({"code": js_code})).await);
        sim.push_callback(&sim.account(0));
        // Once with the error at hand, once when all is well again.
        outputs.answer(&client.bearing(ADMIN_KEY).get("/readyz").await);
        eventually("it goes on", async || {
            // WeCom rings again, as it does: without that the pauses between the tries only grow.
            sim.push_callback(&sim.account(0));
            tokio::time::sleep(RING_EVERY).await;
            (sim.count(Api::SyncMsg) > failed + 1).then_some(())
        })
        .await;
        outputs.answer(&client.bearing(ADMIN_KEY).get("/readyz").await);
    }
    let xml = sim.doorbell_xml(&sim.account(0));
    for tamper in [Tamper::Signature, Tamper::Receiver, Tamper::CiphertextSigned, Tamper::NotXml] {
        outputs.keep(format!("{tamper:?}"), sim.push_raw(&xml, tamper).await.unwrap().body);
    }
}

fn of_world(sim: &Sim, options: &SimOptions) -> Vec<(&'static str, String)> {
    let mut secrets = vec![
        ("wecom.secret", options.secret.clone()),
        ("wecom.token", options.token.clone()),
        ("wecom.encoding_aes_key", options.encoding_aes_key.clone()),
        ("miniprogram.secret", options.app_secret.clone()),
        ("admin.api_key", ADMIN_KEY.to_owned()),
        ("a wrong admin key", WRONG_ADMIN_KEY.to_owned()),
    ];
    for (name, api, field) in [
        ("an access token", Api::GetToken, "access_token"),
        ("a sync token", Api::SyncMsg, "token"),
        ("a session_key", Api::Code2Session, "session_key"),
    ] {
        let found = told(sim, api, field);
        assert!(!found.is_empty(), "there was {name}");
        secrets.extend(found.into_iter().map(|secret| (name, secret)));
    }
    secrets.extend(TALK.map(|talk| ("what a customer wrote", talk.to_owned())));
    secrets
}

#[tokio::test]
async fn no_secret_is_in_any_output_at_the_loudest_level() {
    for log in ["text", "json"] {
        let (sim, options, store) = world().await;
        let base = environment(&options, &sim.base_url(), &store);
        let mut environment =
            but(&base, &[("ADMIN__API_KEY", ADMIN_KEY), ("BINDING__CODE_FORMAT", "words"), ("LOG", log)]);
        environment.push(("RUST_LOG".to_owned(), "trace".to_owned()));
        let mut outputs = Outputs::default();
        let process = Process::serve(&environment).await;
        let mut secrets = live(&sim, &process, &mut outputs).await;
        sim.wait_callbacks_done(DEADLINE).await.unwrap();
        let process_log = std::sync::Arc::clone(&process.log);
        drop(process);

        for arguments in [&["check"][..], &["check", "--online"]] {
            let output = kfbind(arguments, &environment).output().unwrap();
            outputs.keep(format!("{arguments:?}"), String::from_utf8_lossy(&output.stdout));
            outputs.keep(format!("{arguments:?}, its log"), String::from_utf8_lossy(&output.stderr));
        }
        let process_log = process_log.lock().unwrap().clone();
        assert!(process_log.lines().count() > 50, "the log is loud: {process_log}");
        assert_eq!(process_log.contains("\"level\":\"DEBUG\""), log == "json");
        outputs.keep("the log", process_log);
        secrets.extend(of_world(&sim, &options));
        let keys = instance_key(&environment, &options.corp_id);
        secrets.extend(keys.into_iter().map(|key| ("the instance key", key)));
        outputs.hold_none_of(&secrets);
    }
}

//! Callbacks for other programs on the same app: as they came, and never in the way of our own answer.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use kfbind::sim::{CallbackMode, Tamper};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::{
    CALLBACK_PATH, DEADLINE, Options, TestApp, eventually,
    process::{Process, but, environment, ran, world},
};

/// A request as it came.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    line: String,
    headers: String,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.headers.lines().filter_map(|line| line.split_once(": "));
        pairs.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Another program. It answers while its gate is open.
struct Other {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    gate: watch::Sender<bool>,
}

impl Other {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (gate, opened) = watch::channel(true);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept), opened.clone(), answer));
            }
        });
        Self { address, seen, gate }
    }

    async fn taking() -> Self {
        Self::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    async fn sees(&self, count: usize) -> Vec<Seen> {
        eventually(&format!("{count} callbacks are passed on"), async || {
            Some(self.seen()).filter(|seen| seen.len() >= count)
        })
        .await
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<Seen>>>,
    mut gate: watch::Receiver<bool>,
    answer: &'static str,
) {
    let mut bytes = Vec::new();
    loop {
        let Some(request) = take(&mut bytes) else {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(length @ 1..) => bytes.extend_from_slice(&chunk[..length]),
                _ => return,
            }
            continue;
        };
        seen.lock().unwrap().push(request);
        drop(gate.wait_for(|open| *open).await);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The first whole request, taken out of the bytes.
fn take(bytes: &mut Vec<u8>) -> Option<Seen> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap();
    let mut seen = Seen { line: line.to_owned(), headers: headers.to_owned(), body: Vec::new() };
    let length: usize = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    seen.body = bytes.get(end..end + length)?.to_vec();
    bytes.drain(..end + length);
    Some(seen)
}

/// A service that passes callbacks on to these; nothing rings by itself.
async fn forwarding(targets: &[String]) -> TestApp {
    let mut options = Options::default();
    options.sim.callback_mode = CallbackMode::Manual;
    options.settings = vec![("wecom.forward_to", format!("{targets:?}"))];
    TestApp::open(options).await
}

async fn forwarded(app: &TestApp, result: &str) -> f64 {
    app.metric(&format!("kfbind_forwarded_total{{result=\"{result}\"}}")).await
}

#[tokio::test]
async fn every_authentic_callback_is_passed_on_as_it_came() {
    let others = [Other::taking().await, Other::taking().await];
    let [plain, own] = others.each_ref().map(|other| other.address);
    let app =
        forwarding(&[format!("http://{plain}/wecom"), format!("http://me:pass@{own}/x?tenant=7")]).await;
    let (query, body) = app.sealed(&app.sim.doorbell_xml(&app.account()));
    let event = "<xml><MsgType>event</MsgType><Event>change_contact</Event></xml>";
    let sent = [
        // In another order, with more than is wanted, and escaped in ways of its own.
        (format!("z=1&{query}&nonsense=%2B+a%20b,%e4%bd%a0&z=2&&="), body.clone()),
        // WeCom repeats itself.
        (query.clone(), body.clone()),
        (query, format!("\n {body}\n<!-- \u{4f60} -->\r\n")),
        app.sealed(event),
        app.sealed("no XML at all"),
        app.sealed("<xml><MsgType>text</MsgType><Content>你好</Content></xml>"),
    ];
    for callback in &sent {
        let answer = app.client().callback(callback.clone()).await.expect(200);
        assert_eq!(answer.text(), "success");
    }
    for (other, path) in others.iter().zip(["/wecom?", "/x?tenant=7&"]) {
        let seen = other.sees(sent.len()).await;
        assert_eq!(seen.len(), sent.len());
        for (seen, (query, body)) in seen.iter().zip(&sent) {
            assert_eq!(seen.line, format!("POST {path}{query} HTTP/1.1"));
            assert_eq!(seen.body, body.as_bytes());
            assert_eq!(seen.header("content-type"), Some("text/xml"));
        }
    }
    let credentials = others[1].seen()[0].header("authorization").map(str::to_owned);
    assert!(
        credentials.is_some_and(|one| one.starts_with("Basic "))
            && others[0].seen()[0].header("authorization").is_none()
    );
    eventually("all are counted", async || (forwarded(&app, "ok").await == 12.0).then_some(())).await;
}

#[tokio::test]
async fn what_is_not_authentic_and_checks_of_the_url_are_not_passed_on() {
    let other = Other::taking().await;
    let app = forwarding(&[format!("http://{}/", other.address)]).await;
    let (query, body) = app.sealed(&app.sim.doorbell_xml(&app.account()));
    let strange = app.signed(&app.encrypted(b"<xml/>", "wwsomebodyelse"));
    for (callback, status) in [
        ((query.replace("msg_signature=", "msg_signature=0"), body.clone()), 403),
        ((query.clone(), body.replacen("<Encrypt>", "<Encrypt>A", 1)), 403),
        ((query.clone(), "<xml/>".to_owned()), 400),
        ((String::new(), body.clone()), 400),
        (strange, 403),
    ] {
        app.client().callback(callback).await.expect(status);
    }
    assert!(app.sim.verify_url().await.unwrap().is_accepted(), "the check of the URL is answered");
    app.client().callback((query.clone(), body)).await.expect(200);
    let seen = other.sees(1).await;
    assert!(seen.len() == 1 && seen[0].line.contains(&query), "{seen:?}");
}

#[tokio::test]
async fn what_another_program_forwarded_is_not_forwarded_again() {
    let other = Other::taking().await;
    let app = forwarding(&[format!("http://{}/", other.address)]).await;
    let (query, body) = app.sealed(&app.sim.doorbell_xml(&app.account()));
    app.client().callback((query.clone(), body.clone())).await.expect(200);
    let first = other.sees(1).await.remove(0);
    // As a second service would get it.
    let mut request =
        app.client().request("POST", &format!("{CALLBACK_PATH}?again=1&{query}")).body(body.clone());
    for name in ["content-type", "kfbind-forwarded"] {
        request = request.header(name, first.header(name).expect(name));
    }
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
    app.client().callback((format!("last=1&{query}"), body)).await.expect(200);
    let lines: Vec<_> = other.sees(2).await.into_iter().map(|seen| seen.line).collect();
    assert!(lines.len() == 2 && lines[1].contains("last=1"), "{lines:?}");
}

#[tokio::test]
async fn programs_that_hang_or_are_gone_or_refuse_delay_nobody() {
    let (hanging, away, elsewhere) = (Other::taking().await, Other::taking().await, Other::taking().await);
    hanging.gate.send(false).unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = gone.local_addr().unwrap();
    drop(gone);
    let to_elsewhere: &'static str = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
        elsewhere.address
    )
    .leak();
    let redirecting = Other::start(to_elsewhere).await;
    let targets = [hanging.address, nobody, redirecting.address, away.address]
        .map(|address| format!("http://{address}/"));
    let app = forwarding(&targets).await;
    for number in 0..20 {
        let answer = app.sim.push_raw(&format!("<xml><A>{number}</A></xml>"), Tamper::None).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "success"));
    }
    // All are acknowledged, and the one that hangs has answered none: nobody waited for it.
    hanging.sees(1).await;
    assert!(!*hanging.gate.borrow());
    assert_eq!(away.sees(20).await.len(), 20, "nor does one target wait for another");
    for result in ["connect", "refused"] {
        eventually(result, async || (forwarded(&app, result).await == 20.0).then_some(())).await;
    }
    assert_eq!(elsewhere.seen(), [], "redirects are not followed");
    hanging.gate.send(true).unwrap();
    let order = |seen: Vec<Seen>| seen.into_iter().map(|one| one.line).collect::<Vec<_>>();
    assert_eq!(order(hanging.sees(20).await), order(away.seen()), "what waited comes, in its order");
    let (phone, customer) = (app.login("u").await, app.sim.customer("u"));
    let code = phone.issue().await;
    customer.says(&app.account(), &code.text);
    app.sim.push_callback(&app.account());
    phone.until("bound").await;
}

#[tokio::test]
async fn a_hanging_program_does_not_hold_up_the_stop() {
    let hanging = Other::taking().await;
    hanging.gate.send(false).unwrap();
    let mut app = forwarding(&[format!("http://{}/", hanging.address)]).await;
    let callback = app.sealed(&app.sim.doorbell_xml(&app.account()));
    for _ in 0..20 {
        app.client().callback(callback.clone()).await.expect(200);
    }
    hanging.sees(1).await;
    tokio::time::timeout(DEADLINE, app.stop()).await.expect("twenty of them would hang for 100 seconds");
    assert!(!*hanging.gate.borrow(), "it still hangs");
}

#[tokio::test]
async fn other_programs_are_reached_past_the_proxy() {
    let (other, proxy) = (Other::taking().await, Other::taking().await);
    let mut options = Options { ready: false, ..Options::default() };
    options.sim.callback_mode = CallbackMode::Manual;
    options.settings = vec![
        ("wecom.forward_to", format!("[\"http://{}/\"]", other.address)),
        ("wecom.proxy", format!("\"http://{}\"", proxy.address)),
    ];
    let app = TestApp::open(options).await;
    app.client().callback(app.sealed("<xml/>")).await.expect(200);
    assert_eq!(other.sees(1).await.len(), 1);
    assert!(!proxy.sees(1).await.iter().any(|seen| seen.line.contains(&other.address.to_string())));
}

#[tokio::test]
async fn secrets_in_the_addresses_of_other_programs_are_in_no_output() {
    let (sim, options, store) = world().await;
    let refusing = Other::start("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = gone.local_addr().unwrap();
    drop(gone);
    let secret = |address: SocketAddr| format!("http://Hush-user:Hush-pass@{address}/wecom?key=Hush-key");
    let targets = format!("{},{}", secret(refusing.address), secret(nobody));
    let environment =
        but(&environment(&options, &sim.base_url(), &store), &[("WECOM__FORWARD_TO", &targets)]);
    let mut process = Process::serve(&environment).await;
    sim.set_callback_url(&format!("{}{CALLBACK_PATH}", process.base));
    assert_eq!(sim.push_raw("<xml/>", Tamper::None).await.unwrap().status, 200);
    refusing.sees(1).await;
    for address in [refusing.address, nobody] {
        eventually("the failure is told", async || {
            let named = format!("http://{address}");
            process
                .said()
                .lines()
                .any(|line| line.contains("was not forwarded") && line.contains(&named))
                .then_some(())
        })
        .await;
    }
    process.terminate().await;
    assert!(!process.said().contains("Hush"), "{}", process.said());
    let (_, said) = ran(&["check"], &environment);
    assert!(!said.contains("Hush"), "{said}");
}

//! What goes wrong in a run with faults, each for a while: at WeCom, with the clocks, and among the clients.
//!
//! Only makes trouble; what must hold all the same is the people's business.

use std::time::Duration;

use kfbind::sim::{Api, Fault, FaultPlan, Sim, TokenHabit};
use rand::{RngExt as _, rngs::StdRng};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use crate::{
    report::Failure,
    service::Service,
    world::{ADMIN_KEY, World},
};

/// How far a clock jumps, in milliseconds.
const JUMP_MS: i64 = 3_600_000;
/// What the kernel takes in for a client that doesn't read, in bytes; and how often such a one asks.
const UNREAD_BYTES: u32 = 4096;
const UNREAD_ANSWERS: usize = 200;
/// The interfaces that a binding needs.
const APIS: [Api; 8] = [
    Api::GetToken,
    Api::SyncMsg,
    Api::SendMsg,
    Api::SendMsgOnEvent,
    Api::ServiceStateGet,
    Api::ServiceStateTrans,
    Api::CustomerBatchGet,
    Api::Code2Session,
];

/// A bit of everything, drawn anew for each seed: some days are fair, some are not.
pub(crate) fn weather(rng: &mut StdRng, seed: u64) -> FaultPlan {
    let mut chance = |most: f64| if rng.random_bool(0.5) { rng.random_range(0.0..most) } else { 0.0 };
    FaultPlan {
        seed,
        duplicate_callbacks: chance(0.5),
        delay_callbacks: chance(0.5),
        reorder_callbacks: chance(0.5),
        drop_callbacks: chance(0.5),
        empty_pages: chance(0.4),
        repeated_pages: chance(0.4),
        minus_one: chance(0.15),
        http_5xx: chance(0.15),
        time_outs: chance(0.1),
        broken_json: chance(0.1),
        html: chance(0.15),
        token_expiry: chance(0.1),
        throttling: chance(0.02),
        ..FaultPlan::default()
    }
}

/// One trouble, from its beginning to its end.
pub(crate) async fn happens(world: &mut World, rng: &mut StdRng) -> Result<(), Failure> {
    let count = rng.random_range(1..6_usize);
    let length = Duration::from_millis(rng.random_range(50..700));
    let kind = match rng.random_range(0..16) {
        0 => {
            world.town.sim.switch(|switches| switches.down = true);
            sleep(length).await;
            world.town.sim.switch(|switches| switches.down = false);
            "WeCom down"
        }
        1 => {
            world.town.sim.hold_callbacks();
            sleep(length).await;
            world.town.sim.release_callbacks();
            "callbacks held back"
        }
        2 => {
            stale_messages(world, 2_000);
            "old messages in heaps"
        }
        3 => {
            nudges(world, 300);
            "nudges in heaps"
        }
        4 => {
            clients_misbehave(world, length).await;
            "slow and broken clients"
        }
        5 => {
            world.stop().await?;
            sleep(length / 4).await;
            world.start().await?;
            "a restart"
        }
        _ => wecom_errs(&world.town.sim, rng, count),
    };
    world.town.report.happened(kind);
    Ok(())
}

/// WeCom makes a mistake, or a few of a kind, at its next chance.
fn wecom_errs(sim: &Sim, rng: &mut StdRng, count: usize) -> &'static str {
    match rng.random_range(0..10) {
        0 => {
            for api in APIS {
                sim.fail_next(api, Fault::Html, count);
            }
            "HTML from everybody"
        }
        1 => {
            sim.switch(|switches| switches.refuse_cursors += 1);
            "a cursor refused"
        }
        2 => {
            sim.switch(|switches| switches.cursor_jumps_back += count * 5);
            "a cursor jumps back"
        }
        3 => {
            sim.switch(|switches| switches.stuck_pages += 1);
            "a page that goes nowhere"
        }
        4 => {
            sim.switch(|switches| switches.empty_pages += 1 + u32::from(count > 3));
            "empty pages"
        }
        5 => {
            sim.revoke_access_tokens();
            "access tokens revoked"
        }
        6 => {
            sim.expire_access_tokens();
            sim.switch(|switches| switches.token_habit = TokenHabit::NewKillsOld);
            "access tokens kill each other"
        }
        7 => {
            sim.drop_next_callbacks(count * 10);
            "callbacks lost"
        }
        8 => {
            sim.fail_next(Api::SendMsg, Fault::Dropped.after_effect(), count);
            sim.fail_next(Api::SyncMsg, Fault::BrokenJson.after_effect(), 1);
            "answers lost on the way back"
        }
        _ => {
            sim.switch(|switches| {
                switches.newest_first = true;
                switches.page_size_max = count;
            });
            "small pages, newest first"
        }
    }
}

/// The service's clock is an hour off for a while. Nobody begins anything meanwhile but a few bystanders, whose luck with
/// codes is their own: WeCom's times and ours don't meet.
pub(crate) async fn clock_jumps(world: &mut World, rng: &mut StdRng) -> Result<(), Failure> {
    let Service::Inside(inside) = &world.service else { return Ok(()) };
    let clock = std::sync::Arc::clone(&inside.clock);
    let town = std::sync::Arc::clone(&world.town);
    let paused = town.pause.write().await;
    clock.shift(if rng.random_bool(0.5) { JUMP_MS } else { -JUMP_MS });
    for number in 0..3 {
        let account = town.sim.account(number % town.accounts);
        let openid = town.sim.openid_of(&format!("bystander{number}"));
        let session = town.login(&openid).await?;
        let ask = crate::line::Ask {
            method: "POST",
            path: "/api/binding/token",
            bearer: Some(&session),
            body: Some(&json!({})),
        };
        let answer = town.line.ask(ask).await?;
        town.sim.customer(&format!("bystander{number}")).says(&account, "解绑");
        town.report.happened_times("asked in a wrong time", u64::from(answer.status < 300));
    }
    town.sent_beside(3);
    sleep(Duration::from_millis(rng.random_range(100..600))).await;
    clock.shift(0);
    drop(paused);
    town.report.happened("clock jumps");
    Ok(())
}

/// People have talked for long before anybody looked.
pub(crate) fn stale_messages(world: &World, count: u64) {
    let sim = &world.town.sim;
    let sent = sim.now_s() - 2 * 24 * 3600;
    for number in 0..count {
        let message = json!({
            "msgid": format!("stale-{sent}-{number}"),
            "open_kfid": sim.account(0),
            "external_userid": "wmStaleCustomer",
            "send_time": sent,
            "origin": 3,
            "msgtype": "text",
            "text": {"content": "有人吗"},
        });
        sim.raw_message(&sim.account(0), message);
    }
}

/// WeCom rings so often at once.
pub(crate) fn nudges(world: &World, count: usize) {
    for number in 0..count {
        world.town.sim.push_callback(&world.town.sim.account(number % world.town.accounts));
    }
}

/// Some send half of a head, some half of a body, some shut their side, some leave in the middle, some never read what
/// they asked for.
async fn clients_misbehave(world: &World, length: Duration) {
    let Some(address) =
        world.town.line.base().and_then(|base| Some(base.strip_prefix("http://")?.to_owned()))
    else {
        return;
    };
    let halves: [&[u8]; 4] = [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"code\":",
        b"POST /api/wechat-work/message?msg_signature=0&timestamp=1&nonce=2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n<xml>",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    let mut open = Vec::new();
    for number in 0..40 {
        let Ok(mut stream) = TcpStream::connect(&address).await else { continue };
        if stream.write_all(halves[number % halves.len()]).await.is_ok() && number % 5 == 0 {
            let _ = stream.shutdown().await;
        }
        if number % 3 > 0 {
            open.push(stream);
        }
    }
    for number in 0..4 {
        if let Some(stream) = never_reads(&address, number % 2 == 0).await {
            world.town.report.happened("answers that nobody reads");
            open.push(stream);
        }
    }
    sleep(length).await;
    // One of them has been there all the time and now wants to know.
    if let Some(stream) = open.first_mut() {
        let _ = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut [0; 64])).await;
    }
}

/// Asks for a whole export or again and again for the metrics, and reads no answer.
async fn never_reads(address: &str, export: bool) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_recv_buffer_size(UNREAD_BYTES).ok()?;
    let mut stream = socket.connect(address.parse().ok()?).await.ok()?;
    let requests = if export {
        format!("GET /api/admin/export HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\r\n")
    } else {
        "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(UNREAD_ANSWERS)
    };
    // Once no answer goes out no request goes in.
    let _ = timeout(Duration::from_millis(50), stream.write_all(requests.as_bytes())).await;
    Some(stream)
}

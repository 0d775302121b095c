//! Webhooks, by the clock on the wall: the receiver is away for so many minutes while people bind and unbind and the
//! service is killed and stopped; then it is back, and must get every event, in order for each user and customer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use actors::ports::Clock as _;
use kfbind::clock::SystemClock;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    line::{Ask, PATIENCE},
    receiver::{Event, Mood, Receiver, SECRET},
    report::{Breach, Failure, Report},
    service::{Process, Service, Ways},
    world::{ADMIN_KEY, Town, World},
};

const ACCOUNTS: usize = 2;
const USERS: usize = 120;
/// Fewer, so that customers go from one user to the next.
const CHATS: usize = 80;
/// Bindings begun each second, each of which makes two events.
const ROUNDS_PER_SECOND: u32 = 8;
/// How long the backlog may take once the receiver is back: up to two minutes until it is looked for, and then the
/// events.
const BACKLOG_MAX: Duration = Duration::from_mins(15);
/// Attempts that may fail while the receiver is away: a handful at each start, and a probe every one to two minutes.
const FAILED_AT_START_MAX: u64 = 40;
const FAILED_PER_MINUTE_MAX: u64 = 2;

/// The receiver is away for so many minutes. Whether every event came, in order.
pub(crate) async fn run(seed: u64, minutes: u64) -> bool {
    let report = Report::default();
    if let Err(failure) = campaign(seed, minutes, &report).await {
        println!("webhooks --seed {seed}: {failure}");
        report.broken(seed, failure);
    }
    println!("{}", report.kinds());
    println!("{}", report.last_line("webhooks", 1));
    report.failed_seeds().is_empty()
}

async fn campaign(seed: u64, minutes: u64, report: &Report) -> Result<(), Failure> {
    let mut world =
        World::new(seed, ACCOUNTS, Service::Process(Process::default()), Ways::Code, report).await?;
    let mut receiver = Receiver::start(|| SystemClock.now().0).await.map_err(|error| stuck(&error))?;
    world.more = [("WEBHOOKS__URL", receiver.url()), ("WEBHOOKS__SECRET", SECRET.to_owned())]
        .map(|(key, value)| (format!("KFBIND_{key}"), value))
        .into();
    world.start().await?;
    let town = Arc::clone(&world.town);
    let crowd = Crowd::arrives(&town).await?;
    let away = Duration::from_secs(minutes * 60);
    let began = Instant::now();
    let end = began + away;
    let people = tokio::spawn(crowd.clone().goes_about(Arc::clone(&world.town), seed, end + away / 20));
    // One user of whom it takes nothing; then, for a tenth each, a receiver that is there and does not work; then nobody
    // is there at all.
    receiver.is(Mood::Refuses(town.sim.openid_of("h0")));
    sleep_until(began + away / 20).await;
    receiver.is(Mood::Silent);
    sleep_until(began + away / 10).await;
    receiver.is(Mood::Answers(500));
    sleep_until(began + away / 5).await;
    let calls = receiver.calls();
    receiver.goes();
    sleep_until(began + away * 2 / 5).await;
    kill(&mut world).await?;
    sleep_until(began + away * 3 / 5).await;
    world.stop().await?;
    world.start().await?;
    let started = Instant::now();
    sleep_until(end).await;
    spared(&world.town, started, report).await?;
    let waiting = metric(&world.town, "kfbind_webhooks_waiting").await?;
    println!(
        "away for {minutes} minutes: {waiting} events wait, {} kB of memory",
        world.service.process().and_then(|process| process.id()).map_or(0, resident_kb)
    );
    report.happened_times("calls before it was gone", calls);
    receiver.is(Mood::Slow(Duration::from_millis(2)));
    receiver.comes_back().await.map_err(|error| stuck(&error))?;
    let back = Instant::now();
    let before = receiver.count();
    first_arrives(&receiver, before).await?;
    receiver.is(Mood::Takes);
    println!("back: the first event after {:.1} s", back.elapsed().as_secs_f64());
    let rounds = people.await.map_err(|error| stuck(&error))??;
    everything_arrives(&world.town, &receiver, rounds, back).await?;
    report.happened_times("rounds: bound, unbound", rounds);
    report.happened_times("events that came again after they had been taken", receiver.repeats());
    crowd.is_told_in_order(&receiver, report).await?;
    no_dead_letters(&world.town).await?;
    world.stop().await
}

fn stuck(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Breach::Stuck, error.to_string())
}

async fn kill(world: &mut World) -> Result<(), Failure> {
    world.town.line.is_gone();
    if let Some(process) = world.service.process() {
        process.kill();
    }
    world.town.report.happened("kills");
    world.start().await
}

async fn metric(town: &Town, name: &str) -> Result<u64, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = town.line.text("/metrics").await.unwrap_or_default();
        let found = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        match found {
            Some(value) => return Ok(value),
            None if Instant::now() > deadline => return Err(stuck(&format!("no metric {name}"))),
            None => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// While it was away, the receiver was looked for now and then.
async fn spared(town: &Town, since: Instant, report: &Report) -> Result<(), Failure> {
    let failed = metric(town, "kfbind_webhooks_total{result=\"failed\"}").await?;
    let most = FAILED_AT_START_MAX + since.elapsed().as_secs().div_ceil(60) * FAILED_PER_MINUTE_MAX;
    if !(1..=most).contains(&failed) {
        return Err(Failure::new(
            Breach::Doubled,
            format!("{failed} attempts while nobody was there; {most} are fine"),
        ));
    }
    report.checked_times("attempts while the receiver was away, few enough", failed);
    Ok(())
}

fn resident_kb(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

async fn first_arrives(receiver: &Receiver, before: usize) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while receiver.count() == before {
        if Instant::now() > deadline {
            return Err(stuck(&"nothing came after the receiver was back"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn everything_arrives(
    town: &Town,
    receiver: &Receiver,
    rounds: u64,
    back: Instant,
) -> Result<(), Failure> {
    while metric(town, "kfbind_webhooks_waiting").await? > 0 {
        if back.elapsed() > BACKLOG_MAX {
            return Err(stuck(&format!("{} of {} events came", receiver.count(), rounds * 2)));
        }
        sleep(Duration::from_millis(500)).await;
    }
    println!("back: {} events came within {:.0} s", receiver.count(), back.elapsed().as_secs_f64());
    Ok(())
}

async fn no_dead_letters(town: &Town) -> Result<(), Failure> {
    let ask = Ask { method: "GET", path: "/api/admin/dead-letters", bearer: Some(ADMIN_KEY), body: None };
    let answer = town.line.ask(ask).await?;
    if answer.status == 200 && answer.body["dead_letters"].as_array().is_some_and(Vec::is_empty) {
        return Ok(());
    }
    Err(Failure::new(Breach::Lost, format!("dead letters: {answer:?}")))
}

/// A user, and whom they were bound to, one after the other.
struct User {
    openid: String,
    session: String,
    bound: Vec<String>,
}

/// A customer, and whom they were bound to, one after the other.
struct Chat {
    customer: kfbind::sim::Customer,
    bound: Vec<String>,
}

/// Everybody.
#[derive(Clone)]
struct Crowd {
    users: Arc<Vec<Mutex<User>>>,
    chats: Arc<Vec<Mutex<Chat>>>,
}

impl Crowd {
    async fn arrives(town: &Town) -> Result<Self, Failure> {
        let mut users = Vec::new();
        for number in 0..USERS {
            let openid = town.sim.openid_of(&format!("h{number}"));
            let session = town.login(&openid).await?;
            users.push(Mutex::new(User { openid, session, bound: Vec::new() }));
        }
        let chat = |number| Chat { customer: town.sim.customer(&format!("h{number}")), bound: Vec::new() };
        let chats = (0..CHATS).map(|number| Mutex::new(chat(number))).collect();
        Ok(Self { users: Arc::new(users), chats: Arc::new(chats) })
    }

    /// They bind and unbind until then; how often.
    async fn goes_about(self, town: Arc<Town>, seed: u64, end: Instant) -> Result<u64, Failure> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut running: JoinSet<Result<(), Failure>> = JoinSet::new();
        let (start, mut begun) = (Instant::now(), 0_u32);
        while Instant::now() < end {
            sleep_until(start + Duration::from_secs(1) * begun / ROUNDS_PER_SECOND).await;
            begun += 1;
            let (crowd, town) = (self.clone(), Arc::clone(&town));
            let (user, chat) = (rng.random_range(0..USERS), rng.random_range(0..CHATS));
            let account = town.sim.account(rng.random_range(0..ACCOUNTS));
            running.spawn(async move {
                // Always in this order, so that nobody waits in a circle.
                let (Some(user), Some(chat)) = (crowd.users.get(user), crowd.chats.get(chat)) else {
                    return Ok(());
                };
                let (user, chat) = (user.lock().await, chat.lock().await);
                round(&town, user, chat, &account).await
            });
            while let Some(ended) = running.try_join_next() {
                ended.map_err(|panic| stuck(&panic))??;
            }
        }
        while let Some(ended) = running.join_next().await {
            ended.map_err(|panic| stuck(&panic))??;
        }
        Ok(u64::from(begun))
    }

    /// What came is what happened: for each user, and for each customer, in its order.
    async fn is_told_in_order(&self, receiver: &Receiver, report: &Report) -> Result<(), Failure> {
        let bad = receiver.bad();
        if !bad.is_empty() {
            return Err(Failure::new(
                Breach::Wrong,
                format!("{} not as signed, the first: {}", bad.len(), bad[0]),
            ));
        }
        let taken = receiver.taken();
        let ids: BTreeSet<&str> = taken.iter().map(|event| event.id.as_str()).collect();
        if ids.len() != taken.len() {
            return Err(Failure::new(Breach::Doubled, "two events have one id"));
        }
        let mut told: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        for event in &taken {
            if !event.body["timestamp"].is_string() || !event.body["data"]["bound_at"].is_string() {
                return Err(Failure::new(Breach::Wrong, format!("no time in {}", event.body)));
            }
            told.entry(&event.openid).or_default().push(event);
            told.entry(&event.customer).or_default().push(event);
        }
        for user in self.users.iter() {
            let user = user.lock().await;
            same(&user.openid, &user.bound, told.remove(user.openid.as_str()), |event| &event.customer)?;
            report.checked_times("events of a user, in order", user.bound.len() as u64 * 2);
        }
        for chat in self.chats.iter() {
            let chat = chat.lock().await;
            let name = chat.customer.external_userid();
            same(name, &chat.bound, told.remove(name), |event| &event.openid)?;
            report.checked_times("events of a customer, in order", chat.bound.len() as u64 * 2);
        }
        told.keys().next().map_or(Ok(()), |name| {
            Err(Failure::new(Breach::Wrong, format!("{name} was told of, and nobody knows them")))
        })
    }
}

/// Made and ended, with one after the other.
fn same(
    name: &str,
    bound: &[String],
    told: Option<Vec<&Event>>,
    other: impl Fn(&Event) -> &String,
) -> Result<(), Failure> {
    let expected = bound.iter().flat_map(|other| [("binding.created", other), ("binding.removed", other)]);
    let expected: Vec<(&str, &String)> = expected.collect();
    let told = told.unwrap_or_default();
    let told: Vec<(&str, &String)> = told.iter().map(|event| (event.kind.as_str(), other(event))).collect();
    if told == expected {
        return Ok(());
    }
    let at = told.iter().zip(&expected).take_while(|(told, expected)| told == expected).count();
    let breach = if told.len() < expected.len() { Breach::Lost } else { Breach::Wrong };
    Err(Failure::new(
        breach,
        format!(
            "{name} has {} events of {}; number {at} is {:?} and not {:?}",
            told.len(),
            expected.len(),
            told.get(at),
            expected.get(at)
        ),
    ))
}

/// Code, message, bound, unbound.
async fn round(
    town: &Town,
    mut user: MutexGuard<'_, User>,
    mut chat: MutexGuard<'_, Chat>,
    account: &str,
) -> Result<(), Failure> {
    let session = user.session.clone();
    let ask = |method, path, body| {
        let (line, session) = (&town.line, session.as_str());
        async move { line.ask(Ask { method, path, bearer: Some(session), body }).await }
    };
    let body = json!({"new": true});
    let answer = ask("POST", "/api/binding/token", Some(&body)).await?;
    let Some(code) = answer.body["bind_token"].as_str() else {
        return Err(Failure::new(Breach::Lost, format!("{} gets no code: {answer:?}", user.openid)));
    };
    chat.customer.says(account, code);
    let deadline = Instant::now() + PATIENCE;
    while ask("GET", "/api/binding", None).await?.body["status"] != "bound" {
        if Instant::now() > deadline {
            return Err(Failure::new(Breach::Stuck, format!("{} is never bound", user.openid)));
        }
        sleep(Duration::from_millis(50)).await;
    }
    user.bound.push(chat.customer.external_userid().to_owned());
    chat.bound.push(user.openid.clone());
    let answer = ask("DELETE", "/api/binding", None).await?;
    if answer.status != 204 {
        return Err(Failure::new(Breach::Lost, format!("{} is not unbound: {answer:?}", user.openid)));
    }
    Ok(())
}

//! The soak: the real binary under steady load for long, with what it takes from the machine written down and judged.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    ballast,
    growth::{Growth, Sample},
    line::{Ask, PATIENCE},
    report::{Breach, Failure, Report},
    service::{Process, Service, Ways},
    store,
    world::{Town, World},
};

const ACCOUNTS: usize = 4;
/// So many people take turns in binding and unbinding.
const PEOPLE: usize = 2000;
/// Rounds at once while the machine's capacity is measured, and the most later.
const AT_ONCE: usize = 64;
const MEASURE: Duration = Duration::from_secs(30);
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// Of so many samples one is shown.
const SHOWN_EVERY: usize = 6;

/// Soaks for so many minutes. Whether nothing was lost or stuck, and nothing grew that should not.
pub(crate) async fn run(seed: u64, minutes: u64) -> bool {
    let report = Report::default();
    if let Err(failure) = soak(seed, minutes, &report).await {
        println!("soak --seed {seed}: {failure}");
        report.broken(seed, failure);
    }
    println!("{}", report.kinds());
    println!("{}, {} grown", report.last_line("soak", 1), report.breaches(Breach::Grew));
    report.failed_seeds().is_empty()
}

async fn soak(seed: u64, minutes: u64, report: &Report) -> Result<(), Failure> {
    let mut world =
        World::new(seed, ACCOUNTS, Service::Process(Process::default()), Ways::Code, report).await?;
    let folder = world.folder.path().to_owned();
    ballast::lay(&world.environment(), world.town.sim.now_s(), &folder)?;
    world.start().await?;
    let people = people(&world.town).await?;
    let began = Instant::now();
    let rounds = rounds(&world.town, &people, seed, None, began + MEASURE, |_| Ok(())).await?;
    let capacity = per_second(rounds, began.elapsed());
    let rate = capacity / 2.0;
    // Now everybody has been there: what comes from here on comes of the rounds.
    world.stop().await?;
    let before = store::census(&world.environment(), &folder)?;
    println!(
        "capacity {capacity:.0} rounds a second with {AT_ONCE} at once; soaking at {rate:.0}, on {} old records",
        ballast::RECORDS
    );
    world.start().await?;
    let id = world.service.process().and_then(|process| process.id()).unwrap_or_default();
    let store = world.store.clone();
    let mut samples = Vec::new();
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let done = self::rounds(&world.town, &people, seed, Some(rate), end, |rounds| {
        let sample = Sample::take(id, &store, rounds)?;
        if samples.len().is_multiple_of(SHOWN_EVERY) {
            println!("{sample}");
        }
        samples.push(sample);
        Ok(())
    })
    .await?;
    report.checked_times("rounds: code, message, bound, answer, unbound", done);
    world.stop().await?;
    let after = store::census(&world.environment(), &folder)?;
    let growth = Growth::of(&samples, &before, &after, done)
        .ok_or_else(|| Failure::new(Breach::Stuck, "too short to say anything"))?;
    println!("{growth}");
    for failure in growth.unexplained() {
        println!("soak --seed {seed}: {failure}");
        report.broken(seed, failure);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn per_second(rounds: u64, time: Duration) -> f64 {
    rounds as f64 / time.as_secs_f64().max(0.001)
}

/// Somebody who is free to play a round.
struct Someone {
    openid: String,
    session: String,
    customer: kfbind::sim::Customer,
    heard: usize,
}

type People = Arc<(mpsc::UnboundedSender<Someone>, tokio::sync::Mutex<mpsc::UnboundedReceiver<Someone>>)>;

async fn people(town: &Arc<Town>) -> Result<People, Failure> {
    let (free, taken) = mpsc::unbounded_channel();
    for number in 0..PEOPLE {
        let openid = town.sim.openid_of(&format!("s{number}"));
        let session = town.login(&openid).await?;
        let customer = town.sim.customer(&format!("s{number}"));
        let _ = free.send(Someone { openid, session, customer, heard: 0 });
    }
    Ok(Arc::new((free, tokio::sync::Mutex::new(taken))))
}

/// Plays rounds until the end, at this rate or as fast as it goes; how many.
async fn rounds(
    town: &Arc<Town>,
    people: &People,
    seed: u64,
    rate: Option<f64>,
    end: Instant,
    mut sample: impl FnMut(u64) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running: JoinSet<Result<(), Failure>> = JoinSet::new();
    let (mut begun, mut done) = (0_u32, 0_u64);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut samples = interval(SAMPLE_EVERY);
    samples.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let start = Instant::now();
    while Instant::now() < end {
        let next = rate.map_or(start, |rate| start + Duration::from_secs_f64(f64::from(begun) / rate));
        tokio::select! {
            biased;
            _ = samples.tick() => sample(done)?,
            Some(round) = running.join_next() => {
                round.unwrap_or_else(|panic| Err(Failure::new(Breach::Stuck, panic.to_string())))?;
                done += 1;
            }
            place = Arc::clone(&places).acquire_owned(), if Instant::now() >= next => {
                begun += 1;
                let (town, people) = (Arc::clone(town), Arc::clone(people));
                let account = town.sim.account(rng.random_range(0..ACCOUNTS));
                running.spawn(async move {
                    let _place = place;
                    let someone = people.1.lock().await.recv().await;
                    let someone = someone.ok_or_else(|| Failure::new(Breach::Stuck, "nobody is there"))?;
                    let someone = round(&town, someone, &account).await?;
                    let _ = people.0.send(someone);
                    Ok(())
                });
            }
            () = sleep_until(next), if Instant::now() < next => {}
        }
    }
    while let Some(round) = running.join_next().await {
        round.unwrap_or_else(|panic| Err(Failure::new(Breach::Stuck, panic.to_string())))?;
        done += 1;
    }
    sample(done)?;
    Ok(done)
}

/// Code, message, bound, answer, unbound.
async fn round(town: &Town, mut someone: Someone, account: &str) -> Result<Someone, Failure> {
    let body = json!({"new": true});
    let session = someone.session.clone();
    let answer = town
        .line
        .ask(Ask { method: "POST", path: "/api/binding/token", bearer: Some(&session), body: Some(&body) })
        .await?;
    let Some(code) = answer.body["bind_token"].as_str() else {
        return Err(Failure::new(Breach::Lost, format!("{} gets no code: {answer:?}", someone.openid)));
    };
    let version = town
        .line
        .ask(Ask { method: "GET", path: "/api/binding", bearer: Some(&session), body: None })
        .await?
        .body["version"]
        .as_u64()
        .unwrap_or(0);
    someone.customer.says(account, code);
    let deadline = Instant::now() + PATIENCE;
    let mut since = version;
    loop {
        let path = format!("/api/binding?wait=5&since={since}");
        let view =
            town.line.ask(Ask { method: "GET", path: &path, bearer: Some(&session), body: None }).await?.body;
        if view["status"] == "bound" {
            break;
        }
        if Instant::now() > deadline {
            return Err(Failure::new(Breach::Stuck, format!("{} is never bound: {view}", someone.openid)));
        }
        since = view["version"].as_u64().unwrap_or(since);
    }
    let heard = someone.customer.wait_heard(someone.heard + 1, PATIENCE).await;
    let heard = heard.map_err(|error| Failure::new(Breach::Stuck, error.to_string()))?;
    if heard.len() != someone.heard + 1 {
        return Err(Failure::new(Breach::Doubled, format!("{} hears too much", someone.openid)));
    }
    someone.heard += 1;
    let answer = town
        .line
        .ask(Ask { method: "DELETE", path: "/api/binding", bearer: Some(&session), body: None })
        .await?;
    if answer.status != 204 {
        return Err(Failure::new(Breach::Lost, format!("{} is not unbound: {answer:?}", someone.openid)));
    }
    Ok(someone)
}

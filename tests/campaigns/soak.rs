//! The soak: the real binary under steady load for long, with what it takes from the machine written down.

use std::{path::Path, sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    line::{Ask, PATIENCE},
    report::{Breach, Failure, Report},
    service::{Process, Service},
    world::{Town, World},
};

const ACCOUNTS: usize = 4;
/// So many people take turns in binding and unbinding.
const PEOPLE: usize = 2000;
/// Rounds at once while the machine's capacity is measured, and the most later.
const AT_ONCE: usize = 64;
const MEASURE: Duration = Duration::from_secs(30);
const SAMPLE_EVERY: Duration = Duration::from_secs(30);

/// Soaks for so many minutes. Whether nothing was lost or stuck.
pub(crate) async fn run(seed: u64, minutes: u64) -> bool {
    let report = Report::default();
    if let Err(failure) = soak(seed, minutes, &report).await {
        println!("soak --seed {seed}: {failure}");
        report.broken(seed, failure);
    }
    println!("{}", report.kinds());
    println!("{}", report.last_line("soak", 1));
    report.failed_seeds().is_empty()
}

async fn soak(seed: u64, minutes: u64, report: &Report) -> Result<(), Failure> {
    let mut world = World::new(seed, ACCOUNTS, Service::Process(Process::default()), report).await?;
    world.start().await?;
    let people = people(&world.town).await?;
    let began = Instant::now();
    let rounds = rounds(&world.town, &people, seed, None, began + MEASURE, |_| Ok(())).await?;
    let capacity = per_second(rounds, began.elapsed());
    let rate = capacity / 2.0;
    println!("capacity {capacity:.0} rounds a second with {AT_ONCE} at once; soaking at {rate:.0}");
    let id = world.service.process().and_then(|process| process.id()).unwrap_or_default();
    let store = world.store.clone();
    let mut samples = Vec::new();
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let done = self::rounds(&world.town, &people, seed, Some(rate), end, |rounds| {
        let sample = Sample::take(id, &store, rounds)?;
        println!("{sample}");
        samples.push(sample);
        Ok(())
    })
    .await?;
    report.checked_times("rounds: code, message, bound, answer, unbound", done);
    println!("{}", Slope::of(&samples));
    world.stop().await?;
    // What the store itself takes from the memory, nothing read yet; the rest was the cache and what has not been freed.
    world.start().await?;
    let id = world.service.process().and_then(|process| process.id()).unwrap_or_default();
    println!("the same store, opened anew: {}", Sample::take(id, &world.store, done)?);
    world.stop().await
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

/// What the process takes at a moment.
struct Sample {
    at: Instant,
    rounds: u64,
    resident_kib: u64,
    files: usize,
    store_kib: u64,
}

impl Sample {
    fn take(id: u32, store: &Path, rounds: u64) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::new(Breach::FailedOpen, format!("the process is gone: {error}"));
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).map_err(failed)?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let files = std::fs::read_dir(format!("/proc/{id}/fd")).map_err(failed)?.count();
        Ok(Self {
            at: Instant::now(),
            rounds,
            resident_kib: resident.unwrap_or(0),
            files,
            store_kib: size(store) / 1024,
        })
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rounds, resident_kib, files, store_kib, .. } = self;
        write!(
            f,
            "{rounds:>9} rounds  {resident_kib:>8} KiB resident  {files:>4} files  {store_kib:>8} KiB store"
        )
    }
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// How the second half of a soak runs, by least squares.
struct Slope {
    minutes: f64,
    resident_kib_a_minute: f64,
    resident_bytes_a_round: f64,
    store_bytes_a_round: f64,
    files: (usize, usize),
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
impl Slope {
    fn of(samples: &[Sample]) -> Self {
        let half = samples.get(samples.len() / 2..).unwrap_or_default();
        let (Some(first), Some(last)) = (half.first(), half.last()) else {
            return Self {
                minutes: 0.0,
                resident_kib_a_minute: 0.0,
                resident_bytes_a_round: 0.0,
                store_bytes_a_round: 0.0,
                files: (0, 0),
            };
        };
        let minutes: Vec<f64> = half.iter().map(|s| (s.at - first.at).as_secs_f64() / 60.0).collect();
        let rounds: Vec<f64> = half.iter().map(|s| s.rounds as f64).collect();
        let resident: Vec<f64> = half.iter().map(|s| s.resident_kib as f64).collect();
        let store: Vec<f64> = half.iter().map(|s| s.store_kib as f64).collect();
        Self {
            minutes: (last.at - first.at).as_secs_f64() / 60.0,
            resident_kib_a_minute: slope(&minutes, &resident),
            resident_bytes_a_round: slope(&rounds, &resident) * 1024.0,
            store_bytes_a_round: slope(&rounds, &store) * 1024.0,
            files: (
                half.iter().map(|s| s.files).min().unwrap_or(0),
                half.iter().map(|s| s.files).max().unwrap_or(0),
            ),
        }
    }
}

impl std::fmt::Display for Slope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "second half, {:.0} minutes: resident {:+.1} KiB a minute ({:+.1} bytes a round), store {:+.0} bytes a round, {} to {} files",
            self.minutes,
            self.resident_kib_a_minute,
            self.resident_bytes_a_round,
            self.store_bytes_a_round,
            self.files.0,
            self.files.1,
        )
    }
}

fn slope(x: &[f64], y: &[f64]) -> f64 {
    let mean = |values: &[f64]| {
        values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap_or(1).max(1))
    };
    let (mean_x, mean_y) = (mean(x), mean(y));
    let over: f64 = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let under: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
    if under == 0.0 { 0.0 } else { over / under }
}

//! Export and import of a large store: the real binary is filled over its own interface, written out while it runs and
//! while it rests, read in elsewhere, and asked everything again. Every answer must be the same; what it took is printed.
//!
//! Memory is what Linux calls `VmHWM`, the most that was ever resident; of a command it is read until it ends.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use kfbind::sim::{Sim, SimOptions};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    growth::size,
    line::{Line, eventually},
    report::{Breach, Failure, Report},
    service::{Process, Ways, environment, kfbind},
};

mod answers;
mod filling;

use answers::Answers;

/// Between two looks at how much memory a command takes.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const MIB: u64 = 1 << 20;

/// Where a service of this campaign lies, and what makes it.
struct Place {
    store: PathBuf,
    environment: Vec<(String, String)>,
}

impl Place {
    fn new(options: &SimOptions, base_url: &str, store: PathBuf) -> Self {
        let mut environment = environment(options, base_url, &store, Ways::All);
        // What is to be compared must not run out meanwhile.
        let long = [("BINDING__CODE_TTL", "1d"), ("BINDING__WINDOW", "1h"), ("BINDING__SESSION_TTL", "30d")];
        environment.extend(long.map(|(key, value)| (format!("KFBIND_{key}"), value.to_owned())));
        Self { store, environment }
    }

    /// Starts the service; how long it took until it listened.
    async fn start(&self, process: &mut Process, line: &Line) -> Result<Duration, Failure> {
        let begun = Instant::now();
        process.spawn(&self.environment)?;
        let base = process.listens().await?;
        let took = begun.elapsed();
        line.is_at(&base);
        Ok(took)
    }
}

/// Plays it with so many bindings. Whether every answer was the same.
pub(crate) async fn run(seed: u64, bindings: u64) -> bool {
    let report = Report::default();
    if let Err(failure) = play(seed, bindings, &report).await {
        println!("archive --seed {seed}: {failure}");
        report.broken(seed, failure);
    }
    println!("{}", report.kinds());
    println!("{}", report.last_line("archive", 1));
    report.failed_seeds().is_empty()
}

async fn play(seed: u64, bindings: u64, report: &Report) -> Result<(), Failure> {
    let prepared = |error: &dyn std::fmt::Display| Failure::new(Breach::Stuck, format!("preparing: {error}"));
    let folder = TempDir::with_prefix("kfbind-archive-").map_err(|error| prepared(&error))?;
    let clock = kfbind::clock::SystemClock;
    let options = SimOptions {
        clock: std::sync::Arc::new(move || actors::ports::Clock::now_ms(&clock)),
        seed,
        ..SimOptions::default()
    };
    let sim = Sim::start(options.clone()).await.map_err(|error| prepared(&error))?;
    let home = Place::new(&options, &sim.base_url(), folder.path().join("home"));
    let (mut process, line) = (Process::default(), Line::new()?);
    home.start(&mut process, &line).await?;
    sim.set_callback_url(&format!("{}/api/wechat-work/message", line.base().unwrap_or_default()));

    let begun = Instant::now();
    let sessions = filling::fill(&sim, &line, bindings, report).await?;
    println!("filled with {bindings} bindings in {:.1} s", begun.elapsed().as_secs_f64());
    nothing_is_left_to_say(&line).await?;
    let before = Answers::of(&line, &sessions).await?;
    println!("{before}");
    say_memory("the service that was filled", &process);

    let running = folder.path().join("running.ndjson");
    let url = line.base().unwrap_or_default();
    command("export --url", &["export", "--url", &url, "--out", &shown(&running)], &home).await?;
    say_memory("the service, exported from", &process);
    let took = Instant::now();
    process.terminate().await?;
    println!("stopped in {:.2} s; store {}", took.elapsed().as_secs_f64(), mib(size(&home.store)));
    let resting = folder.path().join("resting.ndjson");
    command("export of the directory", &["export", "--out", &shown(&resting)], &home).await?;
    let (first, second) = (trees(&running)?, trees(&resting)?);
    if first != second {
        let what = format!("running: {first:?}\nresting: {second:?}");
        return Err(Failure::new(Breach::Lost, format!("the two exports differ in their records\n{what}")));
    }
    println!("records: {first:?}");
    report.checked_times("trees of the same records in both exports", first.len() as u64);

    let again = home.start(&mut process, &line).await?;
    println!("the service that was filled starts again in {:.2} s", again.as_secs_f64());
    process.terminate().await?;
    for (name, file) in [("running", &running), ("resting", &resting)] {
        println!("export {name}: {}", mib(std::fs::metadata(file).map_or(0, |file| file.len())));
        let place = Place::new(&options, &sim.base_url(), folder.path().join(name));
        command("import", &["import", &shown(file)], &place).await?;
        println!("    store {}", mib(size(&place.store)));
        let took = place.start(&mut process, &line).await?;
        println!("    starts in {:.2} s", took.as_secs_f64());
        say_memory("the imported service, started", &process);
        let after = Answers::of(&line, &sessions).await?;
        before.must_equal(&after)?;
        report.checked_times("answers that were the same after an import", before.count());
        say_memory("the imported service, asked everything", &process);
        process.terminate().await?;
    }
    Ok(())
}

/// Answers and questions go out after what they answer.
async fn nothing_is_left_to_say(line: &Line) -> Result<(), Failure> {
    let what = || "the outbox is never empty".to_owned();
    eventually(what, Breach::Stuck, || async {
        let page = line.text("/metrics").await?;
        let depth = page.lines().find_map(|line| line.strip_prefix("kfbind_outbox_depth "))?;
        (depth == "0").then_some(())
    })
    .await
}

/// How many records each tree has in an export.
fn trees(file: &Path) -> Result<BTreeMap<String, u64>, Failure> {
    let text =
        std::fs::read_to_string(file).map_err(|error| Failure::new(Breach::Lost, error.to_string()))?;
    let mut trees = BTreeMap::new();
    for line in text.lines() {
        if let Some(tree) = line.strip_prefix("{\"tree\":\"").and_then(|rest| rest.split('"').next()) {
            *trees.entry(tree.to_owned()).or_default() += 1;
        }
    }
    Ok(trees)
}

/// Runs a command to its end, and says how long it took and how much memory.
async fn command(name: &str, arguments: &[&str], place: &Place) -> Result<(), Failure> {
    let failed = |what: String| Failure::new(Breach::FailedOpen, format!("{name}: {what}"));
    let begun = Instant::now();
    let mut child =
        kfbind(arguments, &place.environment).spawn().map_err(|error| failed(error.to_string()))?;
    let mut most_kib = 0;
    while child.try_wait().map_err(|error| failed(error.to_string()))?.is_none() {
        most_kib = most_kib.max(peak_kib(child.id()));
        sleep(LOOK_EVERY).await;
    }
    let took = begun.elapsed();
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.code() != Some(0) {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let records = said.split(' ').next().unwrap_or_default();
    println!("{name}: {records} records in {:.2} s, {} of memory", took.as_secs_f64(), mib(most_kib * 1024));
    Ok(())
}

fn say_memory(whose: &str, process: &Process) {
    let kib = process.id().map_or(0, peak_kib);
    println!("    {whose}: {} of memory at most so far", mib(kib * 1024));
}

/// The most memory that a process ever had, in KiB; 0 where it is gone.
fn peak_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    line.unwrap_or(0)
}

fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

//! The long campaigns: the service under load, while it is killed, loses its power, or meets a WeCom in which everything
//! goes wrong; and for an hour without any of that. What people were promised is held against what they got.
//!
//! `tests/campaign` is the command. No benchmark, though cargo builds it as one: nothing is compared with a clock.

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a command that talks to a terminal; people have two phones and two chats"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::{sync::Semaphore, task::JoinSet};

use connections::Crowd;
use report::{Failure, Report};

mod archive;
mod ballast;
mod connections;
mod disk;
mod faults;
mod growth;
mod kill;
mod line;
mod person;
mod powercut;
mod receiver;
mod report;
mod service;
mod soak;
mod store;
mod talker;
mod trouble;
mod walker;
mod webhooks;
mod window;
mod world;

#[derive(Parser)]
#[command(
    name = "tests/campaign",
    about = "Long runs that end with 0 only if nothing was lost, doubled or stuck"
)]
struct Arguments {
    #[command(subcommand)]
    campaign: Campaign,
    /// How many runs; each has a seed of its own, one more than the last.
    #[arg(long, global = true)]
    count: Option<u64>,
    /// The first seed.
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// How long to soak, or to be away.
    #[arg(long, global = true, default_value_t = 60)]
    minutes: u64,
    /// How many bindings to export and import.
    #[arg(long, global = true, default_value_t = 100_000)]
    bindings: u64,
    /// Cargo says so where it runs this.
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Subcommand)]
enum Campaign {
    /// The real binary, killed at random moments: under load, starting, stopping, twice in a row [500 runs]
    Kill,
    /// The same on a disk that loses its power at random moments; needs root [200 runs]
    Powercut,
    /// A WeCom, clients and clocks that do all that they shouldn't [1000 runs]
    Faults,
    /// The real binary under steady load at half of what the machine can do
    Soak,
    /// A simulated day for the way `window`: bound, wrongly bound, fallen back, with and without each guard
    Window,
    /// Webhooks to a receiver that is away for so long, while people bind and unbind
    Webhooks,
    /// 10,000 idle connections and 1,000 slow ones, while customers go on binding
    Connections,
    /// A large store, exported, imported, and asked everything again
    Archive,
    /// A little of kill and faults, for every change
    Short,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            println!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    if runtime.block_on(run(&arguments)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(arguments: &Arguments) -> bool {
    let Arguments { campaign, count, seed, minutes, bindings, .. } = *arguments;
    match campaign {
        Campaign::Kill => repeat("kill", seed, count.unwrap_or(500), 4, kill::run).await,
        Campaign::Faults => repeat("faults", seed, count.unwrap_or(1000), 64, faults::run).await,
        Campaign::Powercut => {
            let host = match disk::Host::mount() {
                Ok(host) => host,
                Err(failure) => {
                    println!("powercut: {failure}");
                    return false;
                }
            };
            let run = move |seed, report| powercut::run(host.clone(), seed, report);
            repeat("powercut", seed, count.unwrap_or(200), 3, run).await
        }
        Campaign::Soak => soak::run(seed, minutes).await,
        Campaign::Archive => archive::run(seed, bindings).await,
        Campaign::Webhooks => webhooks::run(seed, minutes).await,
        Campaign::Window => window::run(seed).await,
        Campaign::Connections => {
            let binary = env!("CARGO_BIN_EXE_kfbind").into();
            let crowd = Crowd { binary, idle: 10_000, slow: 1_000, seconds: 45, bindings: 100 };
            let outcome = connections::run(&crowd).await;
            match &outcome {
                Ok(outcome) => println!("{outcome}"),
                Err(error) => println!("connections: {error:#}"),
            }
            outcome.is_ok()
        }
        Campaign::Short => {
            let count = count.unwrap_or(12);
            let kills = repeat("kill", seed, count, 4, kill::run).await;
            let faults = repeat("faults", seed, count, 4, faults::run).await;
            // As the tests' own runner says it, so that whoever sums up can count these, too.
            let passed = u8::from(kills) + u8::from(faults);
            let verdict = if kills && faults { "ok" } else { "FAILED" };
            println!("test result: {verdict}. {passed} passed; {} failed", 2 - passed);
            kills && faults
        }
    }
}

/// Runs so many seeds, some at once, and tells what came out. Whether nothing was broken.
async fn repeat<F>(
    name: &'static str,
    first: u64,
    count: u64,
    at_once: usize,
    run: impl Fn(u64, Report) -> F + Clone + Send + 'static,
) -> bool
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let report = Report::default();
    let places = std::sync::Arc::new(Semaphore::new(at_once));
    let mut runs = JoinSet::new();
    for seed in first..first.saturating_add(count) {
        let (places, report, run) = (places.clone(), report.clone(), run.clone());
        runs.spawn(async move {
            let _place = places.acquire_owned().await;
            if let Err(failure) = run(seed, report.clone()).await {
                println!(
                    "{name} --seed {seed}: {failure}\n  again: tests/campaign {name} --seed {seed} --count 1"
                );
                report.broken(seed, failure);
            }
        });
    }
    let mut ended = 0_u64;
    while let Some(joined) = runs.join_next().await {
        ended += 1;
        if joined.is_err() {
            println!("{name}: a run panicked");
            report.broken(0, Failure::new(report::Breach::Stuck, "a run panicked"));
        }
        if ended.is_multiple_of(50) {
            println!("{name}: {ended} of {count} runs, {} effects checked", report.effects());
        }
    }
    println!("{}", report.kinds());
    let failed = report.failed_seeds();
    if !failed.is_empty() {
        println!("failed seeds: {failed:?}");
    }
    println!("{}", report.last_line(name, ended));
    failed.is_empty()
}

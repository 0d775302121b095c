//! Kills: the real binary dies by SIGKILL at a random moment of its life, and comes back on the same store.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    report::{Breach, Failure, Report},
    service::{Process, Service, Ways},
    world::World,
};

const ACCOUNTS: usize = 3;
/// What each of them does at least.
const STEPS_MIN: u32 = 6;
const PEOPLE: u64 = 12;

/// One world, and what the seed has in store for it.
pub(crate) async fn run(seed: u64, report: Report) -> Result<(), Failure> {
    let mut rng = StdRng::seed_from_u64(seed);
    let ways = Ways::of(seed);
    let mut world = World::new(seed, ACCOUNTS, Service::Process(Process::default()), ways, &report).await?;
    world.start().await?;
    match ways {
        Ways::Code => world.people_come(seed, PEOPLE, STEPS_MIN),
        Ways::All => world.walkers_come(seed, PEOPLE, STEPS_MIN),
    }
    // The moments are drawn, not waited for: nothing is promised to have happened by then.
    passes(&mut rng, 400).await;
    match rng.random_range(0..10) {
        0..4 => dies(&mut world)?,
        4..6 => {
            dies(&mut world)?;
            begins_and_dies(&mut world, &mut rng, 30).await?;
        }
        6..8 => {
            dies(&mut world)?;
            world.start().await?;
            passes(&mut rng, 60).await;
            dies(&mut world)?;
        }
        _ => {
            world.town.line.is_gone();
            process(&mut world)?.signal_stop();
            passes(&mut rng, 25).await;
            dies(&mut world)?;
            report.happened("killed while stopping");
        }
    }
    world.start().await?;
    passes(&mut rng, 300).await;
    let closed = world.closes().await;
    closed.map_err(|failure| with_log(&mut world, &failure))
}

/// Adds the process's log to a failure.
pub(crate) fn with_log(world: &mut World, failure: &Failure) -> Failure {
    let log = world.service.process().map(|process| process.log_text()).unwrap_or_default();
    Failure::new(failure.breach, format!("{}\n{log}", failure.what))
}

async fn passes(rng: &mut StdRng, most_ms: u64) {
    sleep(Duration::from_micros(rng.random_range(0..most_ms * 1000))).await;
}

fn process(world: &mut World) -> Result<&mut Process, Failure> {
    world.service.process().ok_or_else(|| Failure::new(Breach::Stuck, "there is no process to kill"))
}

fn dies(world: &mut World) -> Result<(), Failure> {
    process(world)?.kill();
    // Only now: what it answered until then holds.
    world.town.line.is_gone();
    world.town.report.happened("kills");
    Ok(())
}

async fn begins_and_dies(world: &mut World, rng: &mut StdRng, most_ms: u64) -> Result<(), Failure> {
    let environment = world.environment();
    process(world)?.spawn(&environment)?;
    passes(rng, most_ms).await;
    dies(world)?;
    world.town.report.happened("killed while starting");
    Ok(())
}

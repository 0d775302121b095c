//! Power cuts: the disk as it is at a random moment under load, and the service on that.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    disk::{Disk, Host},
    kill::with_log,
    report::{Breach, Failure, Report},
    service::{Process, Service, Ways, store_in},
    world::World,
};

const ACCOUNTS: usize = 3;
/// What each of them does at least.
const STEPS_MIN: u32 = 6;
const PEOPLE: u64 = 12;
/// The longest that people are at it before the cut, in milliseconds.
const BEFORE_MS_MAX: u64 = 1500;

/// One world, and one cut.
pub(crate) async fn run(host: Host, seed: u64, report: Report) -> Result<(), Failure> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut disk = blocking(move || Disk::new(host, seed)).await?;
    let ways = Ways::of(seed);
    let mut world = World::new(seed, ACCOUNTS, Service::Process(Process::default()), ways, &report).await?;
    world.store = store_in(&disk.path());
    world.start().await?;
    match ways {
        Ways::Code => world.people_come(seed, PEOPLE, STEPS_MIN),
        Ways::All => world.walkers_come(seed, PEOPLE, STEPS_MIN),
    }
    // The moment is drawn, not waited for.
    sleep(Duration::from_micros(rng.random_range(0..BEFORE_MS_MAX * 1000))).await;
    // First nobody's word counts any more, then the disk is looked at: what was promised before must be on it.
    world.town.line.power_goes();
    let (mut disk, image) = blocking(move || disk.image_now().map(|image| (disk, image))).await?;
    if let Some(process) = world.service.process() {
        process.kill();
    }
    let disk = blocking(move || disk.becomes(image).map(|()| disk)).await?;
    report.happened("power cuts");
    world.store = store_in(&disk.path());
    let ended = async {
        world.start().await?;
        world.closes().await
    };
    let ended = ended.await;
    ended.map_err(|failure| with_log(&mut world, &failure))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(Failure::new(Breach::FailedOpen, panic.to_string())))
}

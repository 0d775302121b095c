//! Faults: everything between WeCom, the service and its clients goes wrong by the seed's plan, and in the end everybody
//! is bound or answered as the rules say.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{sleep, timeout};

use crate::{
    report::{Failure, Report},
    service::{Inside, Service, ShiftedClock, Ways},
    trouble,
    world::World,
};

/// The longest that the weather lasts.
const WEATHER_MAX: Duration = Duration::from_secs(40);
const ACCOUNTS: usize = 2;
/// What each of them does at least.
const STEPS_MIN: u32 = 12;
const PEOPLE: u64 = 8;

/// One world, and its weather.
pub(crate) async fn run(seed: u64, report: Report) -> Result<(), Failure> {
    let mut rng = StdRng::seed_from_u64(seed);
    let service = Service::Inside(Box::new(Inside { clock: Arc::new(ShiftedClock::default()), app: None }));
    let ways = Ways::of(seed);
    let mut world = World::new(seed, ACCOUNTS, service, ways, &report).await?;
    let weather = trouble::weather(&mut rng, seed);
    world.town.sim.faults(weather.clone());
    // Every so often the two extremes, for sure: a store that begins behind 100,000 messages, and 10,000 bells at once.
    if seed.is_multiple_of(50) {
        trouble::stale_messages(&world, 100_000);
        report.happened("first starts behind 100,000 old messages");
    }
    world.start().await?;
    if seed % 50 == 25 {
        trouble::nudges(&world, 10_000);
        report.happened("10,000 nudges at once");
    }
    match ways {
        Ways::Code => world.people_come(seed, PEOPLE, STEPS_MIN),
        Ways::All => world.walkers_come(seed, PEOPLE, STEPS_MIN),
    }
    for _ in 0..rng.random_range(1..4) {
        sleep(Duration::from_millis(rng.random_range(0..1200))).await;
        if rng.random_range(0..12) == 0 {
            trouble::clock_jumps(&mut world, &mut rng).await?;
        } else {
            trouble::happens(&mut world, &mut rng).await?;
        }
    }
    // The weather stays until most of what they have to do is done in it; nothing is promised to go on meanwhile.
    let enough = PEOPLE * u64::from(STEPS_MIN) * 2 / 3;
    let _ = timeout(WEATHER_MAX, world.town.has_seen(enough)).await;
    world.town.sim.no_faults();
    // Heaps of old messages in pages of one would take longer than anybody waits.
    world.town.sim.switch(|switches| switches.page_size_max = 1000);
    let closed = world.closes().await;
    closed.map_err(|failure| Failure { what: format!("{}\n  {weather}", failure.what), ..failure })
}

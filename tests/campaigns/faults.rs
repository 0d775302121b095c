//! Faults: everything between WeCom, the service and its clients goes wrong by the seed's plan, and in the end everybody
//! is bound or answered as the rules say.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    report::{Failure, Report},
    service::{Inside, Service, ShiftedClock},
    trouble,
    world::World,
};

const ACCOUNTS: usize = 2;
const PEOPLE: u64 = 8;

/// One world, and its weather.
pub(crate) async fn run(seed: u64, report: Report) -> Result<(), Failure> {
    let mut rng = StdRng::seed_from_u64(seed);
    let service = Service::Inside(Box::new(Inside { clock: Arc::new(ShiftedClock::default()), app: None }));
    let mut world = World::new(seed, ACCOUNTS, service, &report).await?;
    let weather = trouble::weather(&mut rng, seed);
    world.town.sim.faults(weather.clone());
    world.start().await?;
    world.people_come(seed, PEOPLE);
    for _ in 0..rng.random_range(1..4) {
        sleep(Duration::from_millis(rng.random_range(0..400))).await;
        if rng.random_range(0..12) == 0 {
            trouble::clock_jumps(&mut world, &mut rng).await?;
        } else {
            trouble::happens(&mut world, &mut rng).await?;
        }
    }
    world.town.sim.no_faults();
    let closed = world.closes().await;
    closed.map_err(|failure| Failure { what: format!("{}\n  {weather}", failure.what), ..failure })
}

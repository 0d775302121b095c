//! Each rule of the outside contract's section 7, with its borders, on plain maps.

use super::super::world::World;
use crate::policy::Ways;

mod cards;
mod handover;
mod links;
mod questions;
mod unionids;
mod windows;

/// When codes are made.
const T: u64 = 1_800_000_000;
const HOUR: u64 = 3600;

/// A world in which these further ways are on, and `oA` has the code 482913.
fn world(ways: Ways) -> World {
    let mut world = World::default();
    world.policy.ways = ways;
    world.issue("oA", "482913", T);
    world
}

fn all_ways() -> Ways {
    Ways { link: true, card: true, unionid: true, window: true, staff: true }
}

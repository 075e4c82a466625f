//! Scenario tests of the log with two or more replicas and a server.

mod authority;
mod content;
mod first_snapshot;
mod pages;
mod past;
mod repair;
mod sight;
mod write_only;

use super::world::World;

fn two() -> World {
    World::new(&[("phone", "a"), ("tablet", "a")], &[("r0", "a")])
}

//! PostgreSQL only: sequencing of concurrent commits, several nodes, bucket resolvers, row level
//! security.

mod bucket_functions;
pub(crate) mod feeder;
mod foresight;
mod half_open;
mod hook;
mod inbox;
mod many;
pub(crate) mod nodes;
mod operate;
mod pooler;
pub(crate) mod proxy;
mod reconnect;
mod replica;
pub(crate) mod round_trips;
mod row_security;
mod scale;
mod sequencer;
mod set_trips;
mod sets;
mod sqlstates;
mod tls;
mod types;
mod ways;
mod writer;

use rejoin_postgres::{Cluster, ClusterOptions};

/// A cluster that a test may stop.
fn cluster() -> Cluster {
    Cluster::start(&ClusterOptions::default()).unwrap()
}

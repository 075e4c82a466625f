//! PostgreSQL for tests and benchmarks: finds the programs, starts clusters that end with the
//! process, creates databases.
//!
//! A cluster runs without fsync unless requested, and its folder is removed at the end. The crate
//! does not depend on Rejoin.

mod cluster;
#[cfg(feature = "client")]
mod database;
mod pooler;
#[cfg(feature = "client")]
mod standby;

pub use cluster::{Cluster, ClusterOptions, StartError, basebackup, programs};
#[cfg(feature = "client")]
pub use database::{Database, ResultSet, Session, blocking};
pub use pooler::{Pooler, pgbouncer};
#[cfg(feature = "client")]
pub use standby::Standby;

/// URL of a running server for tests, without a database: `postgres://user@host:port`.
pub const URL_VARIABLE: &str = "REJOIN_TEST_POSTGRES_URL";

/// Settings of a cluster shared by many tests: not durable, and without background work for idle
/// databases.
pub const SHARED_SETTINGS: &str = "-c full_page_writes=off -c synchronous_commit=off -c autovacuum=off \
     -c max_connections=400 -c max_prepared_transactions=20 -c shared_buffers=64MB";

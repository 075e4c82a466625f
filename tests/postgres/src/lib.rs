//! PostgreSQL for tests and benches: finds the programs, starts clusters that end with the process, makes databases.
//!
//! Nothing here keeps data: a cluster runs without fsync unless asked, and its folder is removed at the end. The crate
//! knows nothing of Rejoin.

mod cluster;
#[cfg(feature = "client")]
mod database;

pub use cluster::{Cluster, ClusterOptions, StartError, programs};
#[cfg(feature = "client")]
pub use database::{Database, ResultSet, Session, blocking};

/// Names a running server for tests, without a database: `postgres://user@host:port`.
pub const URL_VARIABLE: &str = "REJOIN_TEST_POSTGRES_URL";

/// Settings of a cluster that many tests share: nothing is durable, and no process wakes up for databases at rest.
pub const SHARED_SETTINGS: &str = "-c full_page_writes=off -c synchronous_commit=off -c autovacuum=off \
     -c max_connections=400 -c max_prepared_transactions=20 -c shared_buffers=64MB";

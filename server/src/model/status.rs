//! What an operator can read of a running server: connections, bucket resolvers, compactions.

use std::time::Duration;

/// The connections of a store to its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Connections in use.
    pub used: u64,
    /// Open connections that are not in use.
    pub idle: u64,
    /// How often a request had to wait for a connection, since the start.
    pub waits: u64,
}

/// The reads that a replica of the database may serve, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaReads {
    /// Reads that the replica has served.
    pub served: u64,
    /// Reads that were sent on to the database.
    pub declined: u64,
}

/// The backlog of bucket resolvers in Rust. A store without resolvers reports an empty backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feed {
    /// How many changes wait; a store may stop counting at 100,000.
    pub waiting: u64,
    /// For how long the oldest of them has waited; `None` if nothing waits.
    pub oldest: Option<Duration>,
    /// Whether a feeder is active, in this process or another; `true` where none is needed.
    pub is_fed: bool,
}

impl Feed {
    /// The state of a store without resolvers.
    pub const NONE: Self = Self { waiting: 0, oldest: None, is_fed: true };
}

/// A row for which the operator's bucket function failed: it is in none of its buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketFailure {
    /// The table.
    pub table: String,
    /// The row's key.
    pub id: String,
    /// The error of the database.
    pub why: String,
}

/// The result of running the bucket functions again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// The number of rows that were tried.
    pub tried: usize,
    /// The number of rows that failed again.
    pub failed: usize,
}

/// The result of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compaction {
    /// Cursors below it need a snapshot.
    pub watermark: i64,
    /// The number of log entries that were removed.
    pub entries: usize,
    /// The number of verdicts that were removed.
    pub verdicts: usize,
    /// The number of author times that were removed. They are kept for as many days as verdicts.
    pub times: usize,
    /// The number of transactions that it took.
    pub batches: usize,
    /// Whether another server on this database was compacting and does the rest.
    pub elsewhere: bool,
}

/// How the database runs a query of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryPlan {
    /// The setting that has the query.
    pub place: String,
    /// The steps.
    pub steps: Vec<PlanStep>,
}

/// A step in which the database runs a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStep {
    /// The database's words.
    pub text: String,
    /// Whether it reads a whole table.
    pub is_scan: bool,
}

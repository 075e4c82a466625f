//! Bucket resolvers: host code that names the buckets of a row.
//!
//! One feeder calls the resolver for all nodes, after the writer's commit, and stores the result in
//! the database. Reads never call it. A row that was not resolved yet is in none of the resolver's
//! buckets.

use std::error::Error;
use std::fmt::Debug;

use rejoin_protocol::wire::push::Operation;
use serde_json::{Map, Value};

/// Names the buckets of rows, in addition to those of their owners. Called on its own thread and
/// never within a transaction. It may be slow, but all later rows wait for it.
pub trait BucketResolver: Send + Sync + Debug {
    /// Returns the buckets of the row. Empty names and duplicates are ignored. An error, a panic,
    /// more names than `max_buckets_per_event`, or an invalid name is a failure: the row is in no
    /// bucket until it is written again or replayed (`Server::replay_buckets`). May be called more
    /// than once for one change.
    fn buckets(&self, write: &RowWrite<'_>) -> Result<Vec<String>, Box<dyn Error + Send + Sync>>;

    /// A greater number than before resolves all rows again, and all devices rebuild. A node with a
    /// smaller number keeps serving but does not call its resolver.
    fn version(&self) -> u32 {
        0
    }

    /// The columns of this table that the resolver depends on. An update that changes none of them
    /// keeps the row's buckets without a call. `None`: every update is resolved.
    fn decides_by(&self, table: &str) -> Option<Vec<String>> {
        let _ = table;
        None
    }
}

/// A written row. Columns by name, synced or not, in the form of PostgreSQL's `to_jsonb`.
#[derive(Debug)]
pub struct RowWrite<'a> {
    /// The table.
    pub table: &'a str,
    /// The row's key as text.
    pub id: &'a str,
    /// `Create` or `Update`; deletes are not resolved. `Create` for a row that is older than the
    /// resolver.
    pub operation: Operation,
    /// The row as last written.
    pub new: &'a Map<String, Value>,
    /// The row before the write; `None` for a create.
    pub old: Option<&'a Map<String, Value>>,
}

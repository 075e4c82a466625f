//! Buckets by code of the host's: what a resolver is told of a row, and what it may say.
//!
//! It is asked by one feeder for all nodes, after the writer has committed, and what it says is kept in the database: nobody is
//! asked while a device reads. A row of which it has not spoken yet is in none of its buckets.

use std::error::Error;
use std::fmt::Debug;

use rejoin_protocol::wire::push::Operation;
use serde_json::{Map, Value};

/// Names the buckets of rows, beside those of their owners. Asked on a thread of its own, never within a transaction: it may
/// take its time, but all rows wait for it.
pub trait BucketResolver: Send + Sync + Debug {
    /// In which buckets the row is. Empty names and doubles are left out. An error, a panic, more names than
    /// `max_buckets_per_event`, and a name that nobody could hold are failures: the row is in none, until it is written again
    /// or replayed (`Server::replay_buckets`). May be asked more than once for one change.
    fn buckets(&self, write: &RowWrite<'_>) -> Result<Vec<String>, Box<dyn Error + Send + Sync>>;

    /// A greater number than before has all rows asked for anew, and all devices rebuild. A node with a smaller one, which is yet
    /// to be renewed, serves on and asks nobody.
    fn version(&self) -> u32 {
        0
    }

    /// The columns of this table by which it decides: an update that leaves them alone leaves the row in its buckets, and need
    /// not be asked for. `None`: every update is.
    fn decides_by(&self, table: &str) -> Option<Vec<String>> {
        let _ = table;
        None
    }
}

/// A row that was written. Columns by name, whether devices get them or not, as PostgreSQL's `to_jsonb` says them.
#[derive(Debug)]
pub struct RowWrite<'a> {
    /// The table.
    pub table: &'a str,
    /// The row's key as text.
    pub id: &'a str,
    /// `Create` or `Update`; of a row that goes nobody is asked. A row that was there before the resolver was created.
    pub operation: Operation,
    /// The row as it was written last.
    pub new: &'a Map<String, Value>,
    /// The row before that; `None` for a create.
    pub old: Option<&'a Map<String, Value>>,
}

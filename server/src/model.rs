//! Plain data that the store, the engine and the routes share: tables, rows, log entries, verdicts, devices.
//!
//! It imports nothing from the rest of the server and does no I/O. The rules on this data are in the engine, its storage is
//! in the store.

mod device;
mod log;
mod log_table;
mod row;
mod schema;
mod scope;
mod staged;
mod status;
mod verdict;

pub mod resolver;

pub use device::{Client, KnownClient, ManifestVersion, StaleClient};
pub use log::{ChangeEntry, LogState, Touched};
pub use log_table::{LogColumn, LogTable, LogType};
pub use row::{KeyLock, Page, PageLimit, Row, StoredRow, Violation};
pub use schema::{Access, BucketColumn, Column, LeftOut, PushPolicy, Reference, Schema, Table};
pub(crate) use scope::{GLOBAL, OWN_PREFIX, Rights, WAITING, own_bucket};
pub use scope::{Grant, ReadScope};
pub use staged::{StagedPart, StagedSize};
pub use status::{
    BucketFailure, Compaction, Connections, Feed, PlanStep, QueryPlan, Replayed, ReplicaReads,
};
pub use verdict::StoredVerdict;

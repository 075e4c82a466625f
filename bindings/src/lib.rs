//! Rejoin for Kotlin, Swift and TypeScript: the client of `rejoin-core` in UniFFI types.
//!
//! Each method converts, calls the core and converts back; the core does not depend on UniFFI. No
//! call blocks: what may wait or may call back is asynchronous; synchronous calls only read memory
//! or queue work. No panic and no foreign exception crosses the FFI boundary.
//!
//! The comments become the documentation in the other languages, so they use no Rust types. Apps
//! use the hand-written packages on top of the generated code.
// UniFFI passes owned values, and requires `async` where only the core's future is awaited.
#![allow(clippy::needless_pass_by_value, clippy::unused_async)]

mod acting;
mod actions;
mod change;
mod client;
mod config;
mod detach;
mod detail;
mod elsewhere;
mod error;
mod held;
mod history;
mod import;
mod log;
mod pending;
mod queue;
mod read_only;
mod reset;
mod status;
mod storage;
mod streams;
mod subscription;
mod syncing;
mod tokens;
mod transport;
mod value;
mod verdicts;
mod watch;

pub use acting::{ActionContext, ActionHandler};
pub use actions::{
    ActionDefinition, ActionParameter, ActionParameterType, ActionRegistry, ActionUpgrade,
    Performed,
};
pub use change::{Change, ChangeObserver, ChangeOrigin, ChangedTable};
pub use client::RejoinClient;
pub use config::{ActionBudget, ClientConfig, ConflictPolicy, Durability, MeteredPolicy};
pub use detach::detach_all;
pub use error::{ActionFault, ChangedRow, ColumnValue, RefusalCode, RejoinError};
pub use held::{HeldSnapshot, HeldTransaction};
pub use history::{AcceptedMutation, HistoryBounds, Undone};
pub use import::{ImportedTable, LeftOut, SynchroImport};
pub use log::{LogField, LogLevel, LogRecord, LogSink, set_log_sink};
pub use pending::{
    MutationState, ParkReason, PatchKind, PendingColumn, PendingCounts, PendingMutation,
    PendingRow, RowSyncState, Verdict,
};
pub use read_only::ReadOnlyClient;
pub use reset::{Keep, ResetReport};
pub use status::{FirstSync, LeftOutPart, StatusObserver, SyncState, SyncStatus};
pub use storage::{CheckpointMode, Checkpointed};
pub use streams::{StreamStatus, StreamSubscription, SubscribedStream, SubscriptionsObserver};
pub use subscription::Subscription;
pub use syncing::{DoctorReport, SyncReport, TableCheck};
pub use tokens::TokenProvider;
pub use transport::{HttpHeader, HttpRequest, HttpResponse, HttpTransport};
pub use value::{SqlValue, Statement};
pub use verdicts::{VerdictEntry, VerdictKind, VerdictObserver, Verdicts};
pub use watch::{QueryWatch, RowDifference, WatchUpdate};

uniffi::setup_scaffolding!();

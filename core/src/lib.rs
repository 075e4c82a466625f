//! Rejoin, for apps: a local SQLite database that keeps itself in step with a server.

mod block_on;
pub mod client;
pub mod config;
mod diagnose;
pub mod engine;
pub mod error;
pub mod host;
pub mod ids;
pub mod mutant;
mod readers;
pub mod row_buffer;
pub mod runtime;
pub mod sync;
pub mod transport;
pub mod value;
pub mod watch;
pub mod writer;

pub use block_on::block_on;
pub use client::{
    Client, IntoParams, Pending, PendingColumn, PendingRow, Services, Snapshot, Transaction,
};
pub use config::{Config, Metered};
pub use engine::capture::patch::PatchKind;
pub use engine::change::{Change, Origin};
pub use engine::checkpoint::{CheckpointMode, Checkpointed};
pub use engine::queue::Counts;
pub use engine::queue::mutation::{ParkReason, State as MutationState};
pub use engine::row_state::RowSyncState;
pub use error::{Error, Result};
pub use host::{Host, SystemHost};
pub use ids::{MutationId, Seq};
pub use rejoin_protocol::Manifest;
pub use row_buffer::{Cell, FromCell, Row, RowBuffer};
pub use sync::driver::{Network, Report};
pub use sync::status::{FirstSync, Rows as SyncedRows, State as SyncState, Status, Transition};
pub use sync::token::{TokenError, TokenProvider};
pub use transport::{HttpTransport, Transport};
pub use value::Value;
pub use watch::{Difference, Subscription, Update, Watch};
pub use writer::Answer;

//! Rejoin client SDK: a local SQLite database that syncs with a server.
//!
//! An app opens a file and uses plain SQL, online or offline. A manifest declares the *synced*
//! tables. A write to a synced table is captured in its own transaction and queued in the file
//! until a network is available. The app sees the server's confirmed rows with its own pending
//! writes on top.
//!
//! ```
//! use rejoin_core::{Client, Config, MutationState, block_on};
//!
//! # const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "tasks",
//! #   "push_policy": "owner_only", "updated_at_column": "updated_at", "deleted_at_column": "", "primary_key": ["id"],
//! #   "columns": [
//! #     {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
//! #     {"name": "title", "db_type": "text", "logical_type": "string"},
//! #     {"name": "updated_at", "db_type": "text", "logical_type": "datetime", "nullable": true}]}]}"#;
//! # let folder = tempfile::tempdir().unwrap();
//! # let file = folder.path().join("app.db");
//! # block_on(async {
//! let schema = serde_json::from_str(SCHEMA).unwrap(); // Bundled, so that the first start works offline.
//! let config = Config::new(file).schema(schema); // With `server` it syncs.
//! let client = Client::open(config).await?;
//! let mut tasks = client.watch("SELECT id, title FROM tasks", (), &["id"]).await?;
//! assert!(tasks.next().await.unwrap()?.rows.is_empty());
//!
//! client.execute("INSERT INTO tasks (id, title) VALUES (rejoin_new_id(), ?)", ("buy milk",)).await?;
//!
//! let update = tasks.next().await.unwrap()?; // The commit changed the result.
//! assert_eq!(update.rows.row(0).unwrap().get::<&str>("title")?, "buy milk");
//! let pending = client.queue().pending().await?; // Stored in the file until a network is available.
//! assert_eq!((pending.len(), pending[0].state), (1, MutationState::Pending));
//! client.shutdown().await?;
//! # Ok::<(), rejoin_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! # Overview
//!
//! - [`Client`]: open, read, write, watch, sync, suspend; its methods are the API. [`Config`] lists
//!   the settings and their limits. [`Services`] has clock, transport, tokens and actions.
//! - [`RowBuffer`]: the rows of a result, decoded on access. [`Update`] and [`Difference`]: what a
//!   [`Watch`] delivers.
//! - [`Actions`]: named writes that run again on newer rows; see `docs/actions.md` and
//!   [`Client::perform`].
//! - [`Transaction`] and [`Snapshot`]: several statements on one state, in a closure.
//!   [`HeldTransaction`] and [`HeldSnapshot`]: the same through a handle, for asynchronous code.
//! - [`PendingMutation`]: a write that the server has not accepted. [`Verdicts`]: results of writes until
//!   the app acknowledges them. [`AcceptedMutation`], [`Undone`], [`HistoryBounds`]: accepted writes and
//!   their undo.
//! - [`SyncStatus`] and [`SyncReport`]: what syncing does and did. [`DoctorReport`]: whether the rows are
//!   the server's. [`Keep`] and [`Reset`]: clear the file, for example for another user.
//! - [`Subscribe`] and [`StreamSubscription`]: rows that a device holds only while it subscribes to
//!   them; see `docs/subscriptions.md` and [`SyncHandle::subscribe`].
//! - [`Inspection`]: the content of a file, readable while an app has it open.
//! - [`Error`]: one variant per decision of the caller; each documents the state of the data.
//!
//! Methods that may touch the disk return futures that work on any executor. [`block_on`] waits for
//! one without an executor. The guide is `docs/guide.md`; `ARCHITECTURE.md` describes the code.

// Without this feature, items that only tests use are unused.
#![cfg_attr(not(feature = "internals"), allow(dead_code, unreachable_pub, unused_imports))]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::exit
    )
)]

mod block_on;
#[cfg(test)]
mod cases;
pub mod client;
pub mod config;
#[cfg(feature = "internals")]
pub mod death;
#[cfg(not(feature = "internals"))]
mod death;
#[cfg(any(test, feature = "mutants"))]
pub mod decoders;
mod diagnose;
mod ending;
#[cfg(feature = "internals")]
pub mod engine;
#[cfg(not(feature = "internals"))]
mod engine;
pub mod error;
pub mod host;
pub mod ids;
mod inspect;
mod params;
mod readers;
pub mod row_buffer;
#[cfg(feature = "internals")]
pub mod runtime;
#[cfg(not(feature = "internals"))]
mod runtime;
mod slow;
#[cfg(feature = "internals")]
pub mod sync;
#[cfg(not(feature = "internals"))]
mod sync;
pub mod transport;
pub mod value;
pub mod watch;
#[cfg(feature = "internals")]
pub mod writer;
#[cfg(not(feature = "internals"))]
mod writer;

pub use block_on::block_on;
pub use client::{
    AsyncAction, Client, HeldContext, HeldSnapshot, HeldTransaction, PendingColumn,
    PendingMutation, PendingRow, QueueHandle, ReadOnlyClient, Reset, SchemaHandle, Services,
    Snapshot, StorageHandle, StreamSubscription, Subscribe, SyncHandle, Transaction,
};
pub use config::{Config, Metered};
pub use engine::action::{
    Action, ActionBudget, Actions, Arguments, Context, Parameter, ParameterType, Performed, Upgrade,
};
pub use engine::change::{Change, Origin};
pub use engine::checkpoint::{CheckpointMode, Checkpointed, Durability};
#[cfg(feature = "synchro-import")]
pub use engine::import::{ImportedTable, LeftOut, SynchroImport};
pub use engine::queue::PendingCounts;
pub use engine::queue::detail::{
    ColumnValues, ConflictedRow, Correction, EffectRow, VerdictDetail,
};
pub use engine::queue::history::HistoryBounds;
pub use engine::queue::mutation::{MutationState, ParkReason};
pub use engine::queue::verdict::{VerdictEntry, VerdictKind, Verdicts};
pub use engine::rebase::take_back::Undone;
pub use engine::reset::Keep;
pub use engine::row_state::RowSyncState;
pub use engine::rows::patch::PatchKind;
pub use engine::schema::left_out::LeftOutPart;
pub use engine::subscription::{RefusalCode, StreamParameters, StreamStatus, SubscribedStream};
pub use error::{
    ActionFault, ChangedRow, Error, InputFault, QueueFault, Result, StorageFault, SyncFault,
};
pub use host::{Host, SystemHost};
pub use ids::{MutationId, Seq};
pub use inspect::{AcceptedMutation, InspectedTable, Inspection, LogCounts};
pub use params::IntoParams;
pub use rejoin_protocol::{Manifest, Policy};
pub use row_buffer::{Cell, FromCell, Row, RowBuffer};
pub use slow::SlowPart;
pub use sync::doctor::{DoctorReport, TableCheck};
pub use sync::driver::{Network, SyncReport, Verdict};
pub use sync::status::{FirstSync, SyncState, SyncStatus, SyncedRows, Transition};
pub use sync::token::{TokenError, TokenProvider};
pub use transport::{HttpTransport, Transport};
pub use value::Value;
pub use watch::{Difference, Subscription, Update, Watch};
pub use writer::Task;

/// Compiles the examples of the README and of the guide.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/guide.md")]
    struct Guide;
    #[doc = include_str!("../../docs/quickstart.md")]
    struct QuickStart;
    #[doc = include_str!("../../docs/actions.md")]
    struct ActionsPage;
    #[doc = include_str!("../../docs/row-buffer.md")]
    struct RowBufferPage;
    #[doc = include_str!("../../docs/from-synchro.md")]
    struct FromSynchro;
    #[doc = include_str!("../../docs/verdicts.md")]
    struct Verdicts;
    #[doc = include_str!("../../docs/subscriptions.md")]
    struct Subscriptions;
    #[doc = include_str!("../../docs/identity.md")]
    struct Identity;
}

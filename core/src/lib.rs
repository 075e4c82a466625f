//! Rejoin, for apps: a local SQLite database that keeps itself in step with a server.
//!
//! An app opens a file and uses plain SQL, on or off line. Writes to *synced* tables, which a manifest declares, are captured
//! in the transaction that makes them and wait in the file until there is a network. What the app sees is always the
//! server's confirmed rows with its own pending writes on top.
//!
//! ```
//! use rejoin_core::{Client, Config, MutationState, block_on};
//!
//! # const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
//! #   "push_policy": "owner_only", "updated_at_column": "updated_at", "deleted_at_column": "", "primary_key": ["id"],
//! #   "columns": [
//! #     {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
//! #     {"name": "title", "db_type": "text", "logical_type": "string"},
//! #     {"name": "updated_at", "db_type": "text", "logical_type": "datetime", "nullable": true}]}]}"#;
//! # let folder = tempfile::tempdir().unwrap();
//! # let file = folder.path().join("app.db");
//! # block_on(async {
//! let schema = serde_json::from_str(SCHEMA).unwrap(); // Bundled, so that the first start works offline.
//! let config = Config { schema: Some(schema), ..Config::new(file) }; // With `server_url` it syncs.
//! let client = Client::open(config).await?;
//! let mut tasks = client.watch("SELECT id, title FROM task", (), &["id"]).await?;
//! assert!(tasks.next().await.unwrap()?.rows.is_empty());
//!
//! client.execute("INSERT INTO task (id, title) VALUES (rejoin_new_id(), ?)", ("buy milk",)).await?;
//!
//! let update = tasks.next().await.unwrap()?; // Told because the commit changed what the query shows.
//! assert_eq!(update.rows.row(0).unwrap().get::<&str>("title")?, "buy milk");
//! let pending = client.pending().await?; // In the file, waiting for a network.
//! assert_eq!((pending.len(), pending[0].state), (1, MutationState::Pending));
//! client.shutdown().await?;
//! # Ok::<(), rejoin_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! # The tour
//!
//! - [`Client`]: open, read, write, watch, sync, suspend; its methods are the API. [`Config`] has the fields and their limits,
//!   [`Services`] what a test or a platform puts in place of the real machine.
//! - [`RowBuffer`]: the rows of a result, decoded where they are looked at. [`Update`] and [`Difference`]: what a [`Watch`]
//!   tells.
//! - [`Actions`]: writes that know what was meant, and are done again on newer rows; `docs/actions.md`. [`Client::perform`].
//! - [`Transaction`] and [`Snapshot`]: several statements on one state, in a closure; [`HeldTransaction`] and
//!   [`HeldSnapshot`] where code waits between two of them.
//! - [`Pending`]: a write that the server has not accepted. [`Verdicts`]: how writes ended, until the app knows. [`Accepted`],
//!   [`Undone`], [`HistoryBounds`]: what the server has accepted, taken back and forgotten.
//! - [`Status`] and [`Report`]: what syncing does, and did. [`Keep`] and [`Reset`]: beginning anew in the same file, for another
//!   user.
//! - [`Inspection`]: what a file holds, seen from outside, beside whoever uses it.
//! - [`Error`]: one variant per decision; each says what became of the data.
//!
//! Methods that may touch the disk give futures that need no executor of any kind: await them in tokio, in another runtime, or
//! wait with [`block_on`]. The guide is `docs/guide.md`; what is where in the code, `ARCHITECTURE.md`.

// Without the feature, what only tests use of these modules is used by nothing.
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
    AsyncAction, Client, HeldContext, HeldSnapshot, HeldTransaction, Pending, PendingColumn,
    PendingRow, Reset, Services, Snapshot, Transaction,
};
pub use config::{Config, Metered};
pub use engine::action::{
    Action, Actions, Arguments, Budget, Context, Parameter, ParameterType, Performed, Upgrade,
};
pub use engine::change::{Change, Origin};
pub use engine::checkpoint::{CheckpointMode, Checkpointed, Durability};
#[cfg(feature = "synchro-import")]
pub use engine::import::{ImportedTable, LeftOut, SynchroImport};
pub use engine::queue::Counts;
pub use engine::queue::history::HistoryBounds;
pub use engine::queue::mutation::{ParkReason, State as MutationState};
pub use engine::queue::verdict::{VerdictEntry, VerdictKind, Verdicts};
pub use engine::rebase::take_back::Undone;
pub use engine::reset::Keep;
pub use engine::row_state::RowSyncState;
pub use engine::rows::patch::PatchKind;
pub use error::{ActionFault, ChangedRow, Error, Result};
pub use host::{Host, SystemHost};
pub use ids::{MutationId, Seq};
pub use inspect::{Accepted, InspectedTable, Inspection};
pub use params::IntoParams;
pub use rejoin_protocol::{Manifest, Policy};
pub use row_buffer::{Cell, FromCell, Row, RowBuffer};
pub use slow::SlowPart;
pub use sync::driver::{Network, Report, Verdict};
pub use sync::status::{FirstSync, Rows as SyncedRows, State as SyncState, Status, Transition};
pub use sync::token::{TokenError, TokenProvider};
pub use transport::{HttpTransport, Transport};
pub use value::Value;
pub use watch::{Difference, Subscription, Update, Watch};
pub use writer::Answer;

/// The examples of the README and of the guide, compiled.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/guide.md")]
    struct Guide;
    #[doc = include_str!("../../docs/actions.md")]
    struct ActionsPage;
    #[doc = include_str!("../../docs/row-buffer.md")]
    struct RowBufferPage;
    #[doc = include_str!("../../docs/from-synchro.md")]
    struct FromSynchro;
    #[doc = include_str!("../../docs/verdicts.md")]
    struct Verdicts;
    #[doc = include_str!("../../docs/identity.md")]
    struct Identity;
}

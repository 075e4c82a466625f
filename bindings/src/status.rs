//! The sync status and its observers.

use std::sync::Arc;

use rejoin_core::{self as core, SyncedRows};

use crate::error::Result;
use crate::value::small;

/// The sync state. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum SyncState {
    /// No attempt yet.
    Idle,
    /// A pass has started.
    Connecting,
    /// Local writes are being sent.
    Pushing,
    /// Remote rows are being fetched and applied.
    Applying {
        /// Rows applied in this pass.
        done: u32,
        /// Total number of rows, if the server has reported it.
        total: Option<u32>,
        /// Average speed of this pass.
        rows_per_second: u32,
    },
    /// The server asked to retry later.
    WaitingUntil {
        /// Time of the next attempt.
        at_ms: i64,
        /// The result of the last attempt.
        reason: String,
    },
    /// No server can be reached. Local work continues.
    Offline {
        /// The next attempt; nothing while the device reports that there is no network.
        retry_at_ms: Option<i64>,
        /// The result of the last attempt.
        reason: String,
    },
    /// The network is metered and the policy does not allow the rest.
    Metered,
    /// Credentials are missing or rejected. Local work continues; the queue waits for new ones.
    NeedsAuth,
    /// The server requires a newer app. Local work continues; the queue waits.
    UpgradeRequired {
        /// The server's message.
        reason: String,
    },
    /// An error that a quick retry does not resolve; it is retried later.
    Failed {
        /// The error.
        reason: String,
        /// The next attempt.
        retry_at_ms: i64,
    },
    /// Everything was pushed and pulled.
    UpToDate {
        /// End of the last pass.
        since_ms: i64,
    },
    /// The app is in the background: no file, lock or connection is open.
    Suspended,
    /// Syncing was stopped.
    Stopped,
}

/// Whether a first sync has completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum FirstSync {
    /// Nothing was fetched yet.
    Absent,
    /// In progress: tables have a part of the rows.
    Partial,
    /// Completed, now or earlier.
    Done,
}

/// A table of the server, or a part of one, that this device has left out of its schema.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct LeftOutPart {
    /// The table.
    pub table: String,
    /// What of it: `table`, or `index NAME`, `CHECK NAME` and the like.
    pub part: String,
    /// Why, and the remedy.
    pub reason: String,
}

/// The sync state, the first-sync state, and what is left out.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct SyncStatus {
    /// The sync state.
    pub state: SyncState,
    /// Whether a first sync has completed.
    pub first_sync: FirstSync,
    /// Tables of the server, and rules and indexes, that this device has left out of its schema.
    pub left_out: Vec<LeftOutPart>,
}

/// Observes the sync status.
///
/// Called on a thread of the engine, one call at a time. It may call the client but must not block
/// on it. An exception is logged and ignored.
#[uniffi::export(with_foreign)]
pub trait StatusObserver: Send + Sync {
    /// Called with the current status and after each change. Changes during a call are combined:
    /// the next call gets the latest status.
    fn on_status(&self, status: SyncStatus) -> Result<()>;
}

impl From<rejoin_core::SyncState> for SyncState {
    fn from(state: rejoin_core::SyncState) -> Self {
        use rejoin_core::SyncState as Core;
        match state {
            Core::Idle => Self::Idle,
            Core::Connecting => Self::Connecting,
            Core::Pushing => Self::Pushing,
            Core::Applying(SyncedRows { done, total, rows_per_second }) => Self::Applying {
                done: small(done),
                total: total.map(small),
                rows_per_second: small(rows_per_second),
            },
            Core::WaitingUntil { at_ms, reason } => Self::WaitingUntil { at_ms, reason },
            Core::Offline { retry_at_ms, reason } => Self::Offline { retry_at_ms, reason },
            Core::Metered => Self::Metered,
            Core::NeedsAuth => Self::NeedsAuth,
            Core::UpgradeRequired { reason } => Self::UpgradeRequired { reason },
            Core::Failed { reason, retry_at_ms } => Self::Failed { reason, retry_at_ms },
            Core::UpToDate { since_ms } => Self::UpToDate { since_ms },
            Core::Suspended => Self::Suspended,
            Core::Stopped => Self::Stopped,
        }
    }
}

impl From<rejoin_core::FirstSync> for FirstSync {
    fn from(first_sync: rejoin_core::FirstSync) -> Self {
        match first_sync {
            rejoin_core::FirstSync::Absent => Self::Absent,
            rejoin_core::FirstSync::Partial => Self::Partial,
            rejoin_core::FirstSync::Done => Self::Done,
        }
    }
}

impl From<core::LeftOutPart> for LeftOutPart {
    fn from(core::LeftOutPart { table, part, reason }: core::LeftOutPart) -> Self {
        Self { table, part, reason }
    }
}

impl From<core::SyncStatus> for SyncStatus {
    fn from(status: core::SyncStatus) -> Self {
        let left_out = status.left_out.into_iter().map(LeftOutPart::from).collect();
        Self { state: status.state.into(), first_sync: status.first_sync.into(), left_out }
    }
}

/// The core's callback.
pub(crate) fn telling(
    observer: Arc<dyn StatusObserver>,
) -> impl FnMut(core::SyncStatus) + Send + 'static {
    move |status| {
        if let Err(error) = observer.on_status(status.into()) {
            tracing::warn!(%error, "a status observer threw");
        }
    }
}

//! What syncing is doing, told to the app's observers.

use std::sync::Arc;

use rejoin_core::{Status, SyncedRows};

use crate::error::Result;
use crate::value::small;

/// What syncing is doing. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum SyncState {
    /// Nothing was tried yet.
    Idle,
    /// A pass has begun.
    Connecting,
    /// Local writes are on their way.
    Pushing,
    /// Remote rows are being fetched and applied.
    Applying {
        /// Rows applied in this pass.
        done: u32,
        /// Rows to come in all, where the server has said so.
        total: Option<u32>,
        /// The pace since the pass began.
        rows_per_second: u32,
    },
    /// The server answered that it cannot just now.
    WaitingUntil {
        /// When it is tried again.
        at: i64,
        /// What the last attempt found.
        why: String,
    },
    /// No server can be reached. Local work goes on.
    Offline {
        /// The next attempt; nothing while the device itself says that there is no network.
        retry_at: Option<i64>,
        /// What the last attempt found.
        why: String,
    },
    /// The network is metered, and the policy holds back what remains.
    Metered,
    /// Credentials are missing or refused. Local work goes on; the queue waits for new ones.
    NeedsAuth,
    /// The server asks for a newer app. Local work goes on; the queue waits.
    UpgradeRequired {
        /// The server's words.
        why: String,
    },
    /// Something that a quick retry does not mend; tried again all the same.
    Failed {
        /// What.
        why: String,
        /// The next attempt.
        retry_at: i64,
    },
    /// All was pushed and pulled.
    UpToDate {
        /// When the last pass ended.
        since: i64,
    },
    /// The app is in the background: no file, no lock and no connection is held.
    Suspended,
    /// Syncing was stopped.
    Stopped,
}

/// Whether the tables have ever been complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum FirstSync {
    /// Nothing has come yet.
    Absent,
    /// Under way: tables hold a part of the rows.
    Partial,
    /// Done, maybe long ago.
    Done,
}

/// What syncing is doing, and how far it ever came.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct SyncStatus {
    /// What it is doing.
    pub state: SyncState,
    /// Whether the tables have ever been complete.
    pub first_sync: FirstSync,
}

/// Hears what syncing is doing.
///
/// Called on a thread of the engine, one call after the other; it may call anything of the client that it need not wait for.
/// An exception is written to the log and changes nothing else.
#[uniffi::export(with_foreign)]
pub trait StatusObserver: Send + Sync {
    /// Called with the status now, and after each change. What changes while it runs is not queued: it gets the latest.
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
            Core::WaitingUntil { at, why } => Self::WaitingUntil { at, why },
            Core::Offline { retry_at, why } => Self::Offline { retry_at, why },
            Core::Metered => Self::Metered,
            Core::NeedsAuth => Self::NeedsAuth,
            Core::UpgradeRequired { message } => Self::UpgradeRequired { why: message },
            Core::Failed { why, retry_at } => Self::Failed { why, retry_at },
            Core::UpToDate { since } => Self::UpToDate { since },
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

impl From<Status> for SyncStatus {
    fn from(status: Status) -> Self {
        Self { state: status.state.into(), first_sync: status.first_sync.into() }
    }
}

/// What the core calls.
pub(crate) fn telling(observer: Arc<dyn StatusObserver>) -> impl FnMut(Status) + Send + 'static {
    move |status| {
        if let Err(error) = observer.on_status(status.into()) {
            tracing::warn!(%error, "a status observer threw");
        }
    }
}

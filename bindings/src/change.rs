//! Change notifications for the app's observers.

use std::sync::Arc;

use rejoin_core::Origin;

use crate::error::Result;
use crate::value::SqlValue;

/// The origin of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ChangeOrigin {
    /// The app, on this device.
    Local,
    /// A response of the server.
    Remote,
}

/// A changed table.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ChangedTable {
    /// Its name.
    pub name: String,
    /// The keys of the changed rows; nothing if only the table is known, as for local-only tables.
    pub keys: Option<Vec<SqlValue>>,
}

/// The tables changed by one commit, or by several during an observer call.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Change {
    /// The origin.
    pub origin: ChangeOrigin,
    /// The changed tables, including `sqlite_schema` when the app changed the schema.
    pub tables: Vec<ChangedTable>,
    /// Whether the queue, or the sync state of any row, changed.
    pub queue: bool,
}

/// Observes commits.
///
/// Called on a thread of the engine, one call at a time. It may call the client but must not block
/// on it. An exception is logged and ignored.
#[uniffi::export(with_foreign)]
pub trait ChangeObserver: Send + Sync {
    /// Called after each commit that changed an observed table.
    fn on_change(&self, change: Change) -> Result<()>;
}

impl From<Origin> for ChangeOrigin {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Local => Self::Local,
            Origin::Remote => Self::Remote,
        }
    }
}

impl From<rejoin_core::Change> for Change {
    fn from(change: rejoin_core::Change) -> Self {
        let tables = change.tables.into_iter().map(|(name, keys)| {
            let keys = keys.map(|keys| keys.into_iter().map(SqlValue::from).collect());
            ChangedTable { name, keys }
        });
        Self { origin: change.origin.into(), tables: tables.collect(), queue: change.queue }
    }
}

/// The core's callback.
pub(crate) fn telling(
    observer: Arc<dyn ChangeObserver>,
) -> impl FnMut(rejoin_core::Change) + Send + 'static {
    move |change| {
        if let Err(error) = observer.on_change(change.into()) {
            tracing::warn!(%error, "a change observer threw");
        }
    }
}

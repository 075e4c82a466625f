//! What a commit changed, told to the app's observers.

use std::sync::Arc;

use rejoin_core::Origin;

use crate::error::Result;
use crate::value::SqlValue;

/// Who wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ChangeOrigin {
    /// The app, on this device.
    Local,
    /// The server's answer.
    Remote,
}

/// A table that was touched.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ChangedTable {
    /// Its name.
    pub name: String,
    /// The keys of the rows that were touched; nothing where only the table is known, as for the app's own tables.
    pub keys: Option<Vec<SqlValue>>,
}

/// The tables that one commit touched, or several that came while the observer ran.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Change {
    /// Who wrote.
    pub origin: ChangeOrigin,
    /// What was touched. `sqlite_schema` is among them when the app changed the schema.
    pub tables: Vec<ChangedTable>,
    /// Whether the queue, or the sync state of any row, changed.
    pub queue: bool,
}

/// Hears of commits.
///
/// Called on a thread of the engine, one call after the other; it may call anything of the client that it need not wait for.
/// An exception is written to the log and changes nothing else.
#[uniffi::export(with_foreign)]
pub trait ChangeObserver: Send + Sync {
    /// Called after each commit that touched what was asked for.
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

/// What the core calls.
pub(crate) fn telling(
    observer: Arc<dyn ChangeObserver>,
) -> impl FnMut(rejoin_core::Change) + Send + 'static {
    move |change| {
        if let Err(error) = observer.on_change(change.into()) {
            tracing::warn!(%error, "a change observer threw");
        }
    }
}

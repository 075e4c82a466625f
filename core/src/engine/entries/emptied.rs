//! Another server under the URL must not empty a table of the log: it may have lost its database. The
//! app decides, by a reset. `staging::emptied` does the same for tables of rows.

use rejoin_log::ids::Name;
use rejoin_log::message::snapshot::SnapshotPage;
use rejoin_log::replica::snapshot;
use rejoin_log::replica::store::ReplicaStore as _;

use super::reading;
use crate::engine::Engine;
use crate::engine::meta::{LOG_OTHER_SERVER, set_meta};
use crate::engine::staging;
use crate::error::Result;

/// Checks a snapshot that replaces an earlier one and ends with this page, if another server answers
/// since.
///
/// # Errors
/// `Refused` if a table has rows of the earlier server and none in the snapshot.
pub(super) fn check(engine: &Engine, last: &SnapshotPage) -> Result<()> {
    if engine.meta(LOG_OTHER_SERVER)?.is_none() {
        return Ok(());
    }
    let stamp = reading(engine, |store| store.facts())?.and_then(|facts| facts.stamp);
    if stamp.is_some_and(|stamp| stamp.epoch != last.stamp.epoch) {
        let (had, shown) = reading(engine, |store| {
            Ok((snapshot::base_tables(store)?, snapshot::shown_tables(store, last)?))
        })?;
        let is_here = |table: &Name| engine.schema.named(table.as_str()).is_some();
        if let Some(table) = had.difference(&shown).find(|table| is_here(table)) {
            return Err(staging::would_empty(table.as_str()));
        }
    }
    set_meta(engine.db.conn(), LOG_OTHER_SERVER, None)
}

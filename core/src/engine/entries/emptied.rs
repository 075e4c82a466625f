//! Another server under the URL must not empty a table of the log: it may have lost its database. The
//! app decides, by a reset. `staging::emptied` does the same for tables of rows.

use std::collections::BTreeSet;

use rejoin_log::ids::Name;
use rejoin_log::key::Key;
use rejoin_log::message::LogSnapshot;
use rejoin_log::replica::store::ReplicaStore as _;
use rejoin_log::replica::{LogError, Replica, check as content};

use super::{on, reading};
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::log::SqliteReplica;
use crate::engine::meta::{LOG_OTHER_SERVER, set_meta};
use crate::engine::staging;
use crate::error::Result;

/// Checks a snapshot that replaces an earlier one, if another server answers since.
///
/// # Errors
/// `Refused` if a table has rows of the earlier server and none in the snapshot.
pub(super) fn check(engine: &mut Engine, whole: &LogSnapshot) -> Result<()> {
    if engine.meta(LOG_OTHER_SERVER)?.is_none() {
        return Ok(());
    }
    let stamp = reading(engine, |store| store.facts())?.and_then(|facts| facts.stamp);
    if stamp.is_some_and(|stamp| stamp.epoch != whole.stamp.epoch) {
        let items = whole.items.iter().flat_map(|item| item.effects.rows());
        let rows = whole.base.iter().map(|(row, _)| row.clone()).chain(items);
        let shown: BTreeSet<Name> = rows.map(|row| row.table).collect();
        let had = engine.write(Origin::Remote, |engine| on(engine, |replica| tables(replica)))?;
        let is_here = |table: &Name| engine.schema.named(table.as_str()).is_some();
        if let Some(table) = had.difference(&shown).find(|table| is_here(table)) {
            return Err(staging::would_empty(table.as_str()));
        }
    }
    set_meta(engine.db.conn(), LOG_OTHER_SERVER, None)
}

/// The tables that have rows of the server: of its base, or of entries that it has accepted.
fn tables(replica: &Replica<SqliteReplica<'_>>) -> Result<BTreeSet<Name>, LogError> {
    let base = content::base_rows(replica)?.into_keys();
    let mut tables: BTreeSet<Name> = base.map(|row| row.table).collect();
    for id in replica.store().ids(&Key::LAST)? {
        let item = replica.store().record(id)?.and_then(|record| record.item);
        for row in item.map(|item| item.effects.rows()).unwrap_or_default() {
            if !tables.contains(&row.table) && replica.row(&row)?.is_some() {
                tables.insert(row.table);
            }
        }
    }
    Ok(tables)
}

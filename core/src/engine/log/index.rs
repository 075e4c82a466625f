//! The index of the steps in SQLite: `rejoin_log_step` has the footprint of each, the tables beside
//! it find steps by row and by table.

use rejoin_log::ids::Name;
use rejoin_log::key::Key;
use rejoin_log::rebase::{Footprint, StepIndex};
use rejoin_log::row::RowName;
use rejoin_log::store::StoreError;
use rusqlite::OptionalExtension as _;

use super::{SqliteReplica, from_bytes};
use crate::engine::database::fault;

const BY_TABLE: &str = "/*rejoin*/SELECT key FROM rejoin_log_table \
                        WHERE table_name = ?1 AND reads = ?2 AND key > ?3 ORDER BY key";

impl SqliteReplica<'_> {
    /// Whether steps may be after this key. Most entries come last, and need no look at the index.
    fn has_after(&self, key: &Key) -> Result<bool, StoreError> {
        Ok(self.last()?.is_some_and(|last| last > *key))
    }

    /// Adds or removes a step where it is found by row and by table.
    fn find_by(&self, step: &Key, footprint: &Footprint, there: bool) -> Result<(), StoreError> {
        let [row, table] = if there {
            [
                "/*rejoin*/INSERT INTO rejoin_log_row (table_name, row_id, key) VALUES (?1, ?2, ?3)",
                "/*rejoin*/INSERT INTO rejoin_log_table (table_name, reads, key) VALUES (?1, ?2, ?3)",
            ]
        } else {
            [
                "/*rejoin*/DELETE FROM rejoin_log_row WHERE table_name = ?1 AND row_id = ?2 AND key = ?3",
                "/*rejoin*/DELETE FROM rejoin_log_table WHERE table_name = ?1 AND reads = ?2 AND key = ?3",
            ]
        };
        for name in &footprint.rows {
            self.run(row, (name.table.as_str(), name.id.as_str(), step.to_bytes()))?;
        }
        for name in footprint.written() {
            self.run(table, (name.as_str(), false, step.to_bytes()))?;
        }
        for name in &footprint.tables {
            self.run(table, (name.as_str(), true, step.to_bytes()))?;
        }
        Ok(())
    }
}

impl StepIndex for SqliteReplica<'_> {
    fn put(&mut self, step: &Key, footprint: &Footprint) -> Result<(), StoreError> {
        match self.get(step)? {
            Some(former) if former == *footprint => return Ok(()),
            Some(former) => self.find_by(step, &former, false)?,
            None => {}
        }
        let sql = "/*rejoin*/INSERT INTO rejoin_log_step (key, footprint) VALUES (?1, ?2) \
                   ON CONFLICT (key) DO UPDATE SET footprint = excluded.footprint";
        let last = self.last()?.unwrap_or(Key::FIRST);
        self.run(sql, (step.to_bytes(), self.to_json(footprint)?))?;
        self.last_step.set(Some(last.max(*step)));
        self.find_by(step, footprint, true)
    }

    fn remove(&mut self, step: &Key) -> Result<(), StoreError> {
        let Some(former) = self.get(step)? else { return Ok(()) };
        self.find_by(step, &former, false)?;
        self.last_step.set(None);
        self.run("/*rejoin*/DELETE FROM rejoin_log_step WHERE key = ?1", [step.to_bytes()])
    }

    fn get(&self, step: &Key) -> Result<Option<Footprint>, StoreError> {
        if self.last()?.is_none_or(|last| last < *step) {
            return Ok(None);
        }
        let sql = "/*rejoin*/SELECT footprint FROM rejoin_log_step WHERE key = ?1";
        self.json("step", sql, [step.to_bytes()])
    }

    fn keys(&self) -> Result<Vec<Key>, StoreError> {
        self.list("/*rejoin*/SELECT key FROM rejoin_log_step ORDER BY key", [], from_bytes)
    }

    fn last(&self) -> Result<Option<Key>, StoreError> {
        if let Some(known) = self.last_step.get() {
            return Ok((known > Key::FIRST).then_some(known));
        }
        let sql = "/*rejoin*/SELECT key FROM rejoin_log_step ORDER BY key DESC LIMIT 1";
        let last = || self.conn.prepare_cached(sql)?.query_row([], from_bytes).optional();
        let last = self.kept(last().map_err(fault::of))?;
        self.last_step.set(Some(last.unwrap_or(Key::FIRST)));
        Ok(last)
    }

    fn naming(&self, row: &RowName, after: &Key) -> Result<Vec<Key>, StoreError> {
        if !self.has_after(after)? {
            return Ok(Vec::new());
        }
        let sql = "/*rejoin*/SELECT key FROM rejoin_log_row \
                   WHERE table_name = ?1 AND row_id = ?2 AND key > ?3 ORDER BY key";
        self.list(sql, (row.table.as_str(), row.id.as_str(), after.to_bytes()), from_bytes)
    }

    fn reading(&self, table: &Name, after: &Key) -> Result<Vec<Key>, StoreError> {
        if !self.has_after(after)? {
            return Ok(Vec::new());
        }
        self.list(BY_TABLE, (table.as_str(), true, after.to_bytes()), from_bytes)
    }

    fn writing(&self, table: &Name, after: &Key) -> Result<Vec<Key>, StoreError> {
        if !self.has_after(after)? {
            return Ok(Vec::new());
        }
        self.list(BY_TABLE, (table.as_str(), false, after.to_bytes()), from_bytes)
    }
}

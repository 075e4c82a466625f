//! The index of the steps in SQLite: `rejoin_log_row` has the rows that each names, by step and by
//! row, `rejoin_log_table` the tables that its run read or wrote.

use rejoin_log::ids::Name;
use rejoin_log::key::Key;
use rejoin_log::rebase::{Footprint, StepIndex};
use rejoin_log::row::RowName;
use rejoin_log::store::StoreError;
use rusqlite::{OptionalExtension as _, Row};

use super::{SqliteReplica, from_bytes};

impl SqliteReplica<'_> {
    /// Whether steps may be after this key. Most entries come last, and need no look at the index.
    fn has_after(&self, key: &Key) -> Result<bool, StoreError> {
        Ok(self.last()?.is_some_and(|last| last > *key))
    }

    /// Adds the rows and tables of a step that is not there.
    fn add(&self, step: &Key, footprint: &Footprint) -> Result<(), StoreError> {
        let key = step.to_bytes();
        let sql =
            "/*rejoin*/INSERT INTO rejoin_log_row (key, table_name, row_id) VALUES (?1, ?2, ?3)";
        for name in &footprint.rows {
            self.run(sql, (key, name.table.as_str(), name.id.as_str()))?;
        }
        if footprint.rows.is_empty() {
            self.run(sql, (key, "", ""))?;
        }
        let sql = "/*rejoin*/INSERT INTO rejoin_log_table (key, table_name) VALUES (?1, ?2)";
        footprint.tables.iter().try_for_each(|table| self.run(sql, (key, table.as_str())))
    }
}

impl StepIndex for SqliteReplica<'_> {
    fn put(&mut self, step: &Key, footprint: &Footprint) -> Result<(), StoreError> {
        match self.get(step)? {
            Some(former) if former == *footprint => return Ok(()),
            Some(_) => self.remove(step)?,
            None => {}
        }
        let last = self.last()?.unwrap_or(Key::FIRST);
        self.add(step, footprint)?;
        self.last_step.set(Some(last.max(*step)));
        Ok(())
    }

    fn remove(&mut self, step: &Key) -> Result<(), StoreError> {
        self.last_step.set(None);
        self.run("/*rejoin*/DELETE FROM rejoin_log_row WHERE key = ?1", [step.to_bytes()])?;
        self.run("/*rejoin*/DELETE FROM rejoin_log_table WHERE key = ?1", [step.to_bytes()])
    }

    fn get(&self, step: &Key) -> Result<Option<Footprint>, StoreError> {
        if self.last()?.is_none_or(|last| last < *step) {
            return Ok(None);
        }
        let sql = "/*rejoin*/SELECT table_name, row_id FROM rejoin_log_row WHERE key = ?1 \
                   UNION ALL SELECT table_name, NULL FROM rejoin_log_table WHERE key = ?1";
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?));
        let named = self.list(sql, [step.to_bytes()], read)?;
        if named.is_empty() {
            return Ok(None);
        }
        let mut footprint = Footprint::default();
        for (table, id) in named {
            match id {
                // The step names no row.
                Some(_) if table.is_empty() => {}
                Some(id) => drop(footprint.rows.insert(RowName::new(table, id))),
                None => drop(footprint.tables.insert(Name::from(table))),
            }
        }
        Ok(Some(footprint))
    }

    fn keys(&self) -> Result<Vec<Key>, StoreError> {
        self.list("/*rejoin*/SELECT DISTINCT key FROM rejoin_log_row ORDER BY key", [], from_bytes)
    }

    fn last(&self) -> Result<Option<Key>, StoreError> {
        if let Some(known) = self.last_step.get() {
            return Ok((known > Key::FIRST).then_some(known));
        }
        let sql = "/*rejoin*/SELECT key FROM rejoin_log_row ORDER BY key DESC LIMIT 1";
        let last = || self.conn.prepare_cached(sql)?.query_row([], from_bytes).optional();
        let last = self.kept(last())?;
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
        let sql = "/*rejoin*/SELECT key FROM rejoin_log_table \
                   WHERE table_name = ?1 AND key > ?2 ORDER BY key";
        self.list(sql, (table.as_str(), after.to_bytes()), from_bytes)
    }

    fn writing(&self, table: &Name, after: &Key) -> Result<Vec<Key>, StoreError> {
        if !self.has_after(after)? {
            return Ok(Vec::new());
        }
        // `+`: in the order of the keys. A replay is mostly near the end, its table is not small.
        let sql = "/*rejoin*/SELECT DISTINCT key FROM rejoin_log_row \
                   WHERE key > ?2 AND +table_name = ?1 ORDER BY key";
        self.list(sql, (table.as_str(), after.to_bytes()), from_bytes)
    }
}

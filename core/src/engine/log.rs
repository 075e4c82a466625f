//! The log of a device in the engine's file: a [`ReplicaStore`] over SQLite.
//!
//! The rows are those of the app's synced tables (`rows`), the records and facts those of tables
//! `rejoin_log_*`, as is the index of the steps (`index`). A store borrows the connection for one
//! transaction; the caller turns capture off, and rolls back after an error. The store makes no
//! decision: these are in `rejoin-log`.

use std::cell::{Cell, RefCell};

use rejoin_log::entry::Intent;
use rejoin_log::handler::{Context, Ran, Stop};
use rejoin_log::ids::{EntryId, Name};
use rejoin_log::key::Key;
use rejoin_log::message::snapshot::SnapshotPage;
use rejoin_log::rebase::StepIndex;
use rejoin_log::replica::store::{Facts, Record, ReplicaStore, Waiting};
use rejoin_log::row::{LogRow, RowName};
use rejoin_log::store::StoreError;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::change::Touched;
use crate::engine::schema::model::Schema;
use crate::error::{Error, Result, StorageFault};
use key::{from_bytes, id_of};

mod index;
pub(crate) mod key;
mod rows;

pub(crate) use rows::RowTables;

#[cfg(test)]
mod tests;

/// The tables of the log.
const TABLES: [&str; 5] = [
    "rejoin_log_facts",
    "rejoin_log_entry",
    "rejoin_log_row",
    "rejoin_log_table",
    "rejoin_log_page",
];

/// Runs actions of the app.
pub(crate) trait RunAction {
    /// The result of a run on the current rows, which stay unchanged; `None` without a handler.
    fn run(
        &mut self,
        touched: &mut Touched,
        intent: &Intent,
        context: &Context,
    ) -> Result<Option<Ran>>;
}

/// The log of a file, within one transaction.
pub struct SqliteReplica<'c> {
    conn: &'c Connection,
    schema: &'c Schema,
    /// Receives the written rows, for the observers of the commit.
    touched: &'c mut Touched,
    /// Runs actions; without one, the handlers of the replica do.
    runner: Option<&'c mut dyn RunAction>,
    /// The first failure of the database: a [`StoreError`] has only its text.
    failure: &'c Cell<Option<Error>>,
    tables: &'c RowTables,
    /// The last step of the index, [`Key::FIRST`] without one; `None` if it is not known.
    last_step: Cell<Option<Key>>,
    /// The row that was last read, until a write or a run: a rebase reads a row several times before
    /// it writes it, and one that is not there is written by one statement.
    last_read: RefCell<Option<(RowName, Option<LogRow>)>>,
    /// The names of a table with integer keys, in order, until a write.
    integer_names: RefCell<Option<(Name, Vec<Name>)>>,
}

impl std::fmt::Debug for SqliteReplica<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SqliteReplica").finish_non_exhaustive()
    }
}

impl<'c> SqliteReplica<'c> {
    /// The log of this connection, over the tables of `schema`; their statements stay in `tables`.
    pub(crate) fn new(
        conn: &'c Connection,
        (schema, tables): (&'c Schema, &'c RowTables),
        touched: &'c mut Touched,
        failure: &'c Cell<Option<Error>>,
    ) -> Self {
        let (last_step, last_read, integer_names) = Default::default();
        let runner = None;
        Self { conn, schema, touched, runner, failure, tables, last_step, last_read, integer_names }
    }

    /// The same with the actions of the app.
    pub(crate) fn with_actions(self, runner: &'c mut dyn RunAction) -> Self {
        Self { runner: Some(runner), ..self }
    }

    /// Keeps the error for the caller, and passes its text on.
    fn kept<T>(&self, result: Result<T, impl Into<Error>>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let error = error.into();
            let text = error.to_string();
            self.failure.set(Some(self.failure.take().unwrap_or(error)));
            StoreError(text)
        })
    }

    /// Runs a fixed statement.
    fn run(&self, sql: &str, params: impl Params) -> Result<(), StoreError> {
        let run = || self.conn.prepare_cached(sql)?.execute(params);
        self.kept(run().map(drop))
    }

    /// All rows of a fixed query.
    fn list<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let list = || self.conn.prepare_cached(sql)?.query_map(params, read)?.collect();
        let list: rusqlite::Result<Vec<T>> = list();
        self.kept(list)
    }

    /// The JSON value of a fixed query.
    fn json<T: DeserializeOwned>(
        &self,
        what: &str,
        sql: &str,
        params: impl Params,
    ) -> Result<Option<T>, StoreError> {
        let text = || self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional();
        let text: Option<String> = self.kept(text())?;
        let read =
            |text: String| serde_json::from_str(&text).map_err(|error| corrupt(what, &error));
        self.kept(text.map(read).transpose())
    }

    fn to_json<T: Serialize>(&self, value: &T) -> Result<String, StoreError> {
        self.kept(serde_json::to_string(value).map_err(|error| Error::Internal(error.to_string())))
    }
}

impl SqliteReplica<'_> {
    /// Own entries that the server has at their newest revision, newest first, at most `limit`.
    /// Actions that rejected and were ended have no effect, and are left out.
    pub(crate) fn held(&self, limit: usize) -> Result<Vec<Record>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = "/*rejoin*/SELECT record FROM rejoin_log_entry WHERE own = 0 \
                   AND record ->> '$.own.given_up' IS NULL ORDER BY key DESC LIMIT ?1";
        let texts = self.list(sql, [limit], |row| row.get::<_, String>(0))?;
        let read = |text: String| {
            self.kept(serde_json::from_str(&text).map_err(|error| corrupt("entry", &error)))
        };
        texts.into_iter().map(read).collect()
    }

    /// Own actions that are on the server and now reject, in key order.
    pub(crate) fn refused_ids(&self) -> Result<Vec<EntryId>, StoreError> {
        let sql = "/*rejoin*/SELECT id FROM rejoin_log_entry WHERE own = ?1 ORDER BY key";
        self.list(sql, [REFUSED], id_of)
    }
}

impl ReplicaStore for SqliteReplica<'_> {
    fn facts(&self) -> Result<Option<Facts>, StoreError> {
        self.json("facts", "/*rejoin*/SELECT facts FROM rejoin_log_facts WHERE one = 1", [])
    }

    fn set_facts(&mut self, facts: &Facts) -> Result<(), StoreError> {
        let sql = "/*rejoin*/INSERT INTO rejoin_log_facts (one, facts) VALUES (1, ?1) \
                   ON CONFLICT (one) DO UPDATE SET facts = excluded.facts";
        self.run(sql, [self.to_json(facts)?])
    }

    fn record(&self, id: EntryId) -> Result<Option<Record>, StoreError> {
        let sql = "/*rejoin*/SELECT record FROM rejoin_log_entry WHERE id = ?1";
        self.json("entry", sql, [id.0.as_bytes()])
    }

    fn put_record(&mut self, id: EntryId, record: &Record) -> Result<(), StoreError> {
        let own = match record.waits_for() {
            Some(Waiting::Server) if record.is_refused() => Some(REFUSED_UNSENT),
            Some(Waiting::Server) if record.is_given_up() => Some(ENDED_UNSENT),
            Some(what) => Some(number(what)),
            None if record.own.is_none() => None,
            None => Some(if record.is_refused() { REFUSED } else { 0 }),
        };
        let sql = "/*rejoin*/INSERT INTO rejoin_log_entry (id, key, own, record) \
                   VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE SET \
                   key = excluded.key, own = excluded.own, record = excluded.record";
        self.run(sql, (id.0.as_bytes(), record.key.to_bytes(), own, self.to_json(record)?))?;
        self.touched.entry(id, Some(record));
        Ok(())
    }

    fn remove_record(&mut self, id: EntryId) -> Result<(), StoreError> {
        let sql = "/*rejoin*/DELETE FROM rejoin_log_entry WHERE id = ?1 RETURNING own IS NOT NULL";
        if self.list(sql, [id.0.as_bytes()], |row| row.get(0))?.contains(&true) {
            self.touched.queue(); // The history had it.
        }
        self.touched.entry(id, None);
        Ok(())
    }

    fn ids(&self, up_to: &Key) -> Result<Vec<EntryId>, StoreError> {
        let sql = "/*rejoin*/SELECT id FROM rejoin_log_entry WHERE key <= ?1 ORDER BY key";
        self.list(sql, [up_to.to_bytes()], id_of)
    }

    fn own_ids(&self) -> Result<Vec<EntryId>, StoreError> {
        let sql = "/*rejoin*/SELECT id FROM rejoin_log_entry WHERE own < ?1 ORDER BY key";
        self.list(sql, [number(Waiting::Correction)], id_of)
    }

    fn waiting_ids(&self, what: Waiting, limit: usize) -> Result<Vec<EntryId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = "/*rejoin*/SELECT id FROM (SELECT id, key FROM (\
                   SELECT id, key FROM rejoin_log_entry WHERE own = ?1 ORDER BY key LIMIT ?3) \
                   UNION ALL SELECT id, key FROM (\
                   SELECT id, key FROM rejoin_log_entry WHERE own < ?2 ORDER BY key LIMIT ?3)) \
                   ORDER BY key LIMIT ?3";
        let unsent = (what == Waiting::Server).then_some(0);
        self.list(sql, (number(what), unsent, limit), id_of)
    }

    fn put_page(&mut self, page: &SnapshotPage) -> Result<(), StoreError> {
        let sql = "/*rejoin*/INSERT INTO rejoin_log_page (page) VALUES (?1)";
        self.run(sql, [self.to_json(page)?])
    }

    fn page_after(&self, number: u64) -> Result<Option<(u64, SnapshotPage)>, StoreError> {
        let number = number + 1;
        let sql = "/*rejoin*/SELECT page FROM rejoin_log_page WHERE number = ?1";
        let page =
            self.json("page of a snapshot", sql, [i64::try_from(number).unwrap_or(i64::MAX)])?;
        Ok(page.map(|page| (number, page)))
    }

    fn clear_pages(&mut self) -> Result<(), StoreError> {
        self.run("/*rejoin*/DELETE FROM rejoin_log_page", [])
    }

    fn names_between(
        &self,
        after: Option<&RowName>,
        through: Option<&RowName>,
    ) -> Result<Vec<RowName>, StoreError> {
        self.names(after, through)
    }

    fn run_action(&mut self, intent: &Intent, context: &Context) -> Option<Result<Ran, Stop>> {
        self.last_read.take();
        let ran = self.runner.as_mut()?.run(self.touched, intent, context);
        Some(self.kept(ran).map_err(Stop::Store).and_then(|ran| ran.ok_or(Stop::NoHandler)))
    }

    fn steps(&self) -> &dyn StepIndex {
        self
    }

    fn steps_mut(&mut self) -> &mut dyn StepIndex {
        self
    }
}

/// The stored number of an own action that is on the server and now rejects.
const REFUSED: i64 = 3;

/// The stored number of one whose newest revision, without effects, is not on the server yet.
const REFUSED_UNSENT: i64 = -1;

/// The same of one that the app has ended.
const ENDED_UNSENT: i64 = -2;

/// The stored number of what an entry waits for: above those of own entries for a correction.
fn number(what: Waiting) -> i64 {
    match what {
        Waiting::Server => 1,
        Waiting::User => 2,
        Waiting::Correction => 4,
    }
}

fn corrupt(what: &str, error: &dyn std::fmt::Display) -> Error {
    StorageFault::Corrupt(format!("{what} of the log: {error}; reset the file")).into()
}

/// Calls `each` with the own entries that wait.
pub(crate) fn each_waiting(
    conn: &Connection,
    mut each: impl FnMut(EntryId, &Record),
) -> Result<()> {
    let sql = "/*rejoin*/SELECT id, record FROM rejoin_log_entry WHERE own IN (-1, 1, 2, 3)";
    let mut statement = conn.prepare(sql)?;
    let read = |row: &Row<'_>| Ok((id_of(row)?, row.get::<_, String>(1)?));
    for row in statement.query_map([], read)? {
        let (id, text) = row?;
        each(id, &serde_json::from_str(&text).map_err(|error| corrupt("entry", &error))?);
    }
    Ok(())
}

/// The log takes a snapshot at its next exchange; unpublished entries stay. One that has begun begins
/// again: its position gets a membership version that no server has. The state in memory is reloaded
/// by the caller.
pub(crate) fn require_snapshot(conn: &Connection) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_log_facts \
               SET facts = json_replace(facts, '$.needs_snapshot', json('true'), \
               '$.loading.stamp.membership', 9223372036854775807)";
    conn.execute(sql, [])?;
    Ok(())
}

/// The next snapshot is taken as that of another epoch: even if it is older than what the device has
/// seen, and own entries that it lacks are published again. The caller requires a snapshot.
pub(crate) fn forget_epoch(conn: &Connection) -> Result<()> {
    let sql =
        "/*rejoin*/UPDATE rejoin_log_facts SET facts = json_replace(facts, '$.stamp.epoch', ?1)";
    conn.execute(sql, [uuid::Uuid::nil().to_string()])?;
    Ok(())
}

/// Removes the log, without its rows.
pub(crate) fn clear(conn: &Connection) -> Result<()> {
    let empty = |table| conn.execute(&format!("/*rejoin*/DELETE FROM {table}"), []).map(drop);
    Ok(TABLES.iter().try_for_each(empty)?)
}

/// Numbers of entries, for diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogCounts {
    /// Entries above the horizon.
    pub entries: i64,
    /// Own entries whose newest revision is not on the server, without those that are parked.
    pub pending: i64,
    /// Own entries that wait for a decision: denied, or actions that now reject.
    pub parked: i64,
}

/// Counts the entries of the log; `None` if the file has no log.
pub(crate) fn counts(conn: &Connection) -> Result<Option<LogCounts>> {
    let sql = "/*rejoin*/SELECT count(*), count(*) FILTER (WHERE own = 1), \
               count(*) FILTER (WHERE own IN (-1, 2, 3)), EXISTS (SELECT 1 FROM rejoin_log_facts) \
               FROM rejoin_log_entry";
    let read = |row: &Row<'_>| {
        let counts = LogCounts { entries: row.get(0)?, pending: row.get(1)?, parked: row.get(2)? };
        Ok(row.get::<_, bool>(3)?.then_some(counts))
    };
    Ok(conn.query_row(sql, [], read)?)
}

//! A look at a file from outside: its tables, what waits and what was parked with every patch, the history, the digests.
//!
//! Promise: nothing is written and no lock is taken, so that it works beside the app that holds the file, and on a copy
//! that a user sent. Everything belongs to one moment. Unlike [`Client::diagnose`](crate::Client::diagnose) it shows the
//! data of the app's rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::client::{Pending, PendingRow, pending_of, to_pending_rows};
use crate::engine::Engine;
use crate::engine::database::fault;
use crate::engine::queue::Counts;
use crate::engine::queue::history::{self, Kept};
use crate::engine::queue::store;
use crate::engine::schema::model::{Schema, Table};
use crate::engine::schema::sql::quoted;
use crate::error::Result;
use crate::host::SystemHost;
use crate::ids::{MutationId, Seq};
use crate::sync::status::FirstSync;

mod json;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// The format of its own tables.
    pub format: i64,
    /// What the engine remembers, by name: who it is, cursor, epoch. No token is ever in the file.
    pub facts: BTreeMap<String, String>,
    /// Whether the tables have ever been complete.
    pub first_sync: FirstSync,
    /// How many mutations stand where.
    pub counts: Counts,
    /// The synced tables, by name.
    pub tables: Vec<InspectedTable>,
    /// What the server has not accepted, in the order in which it was written: waiting, on its way, parked.
    pub queue: Vec<Pending>,
    /// What it has accepted and the file still remembers, oldest first.
    pub history: Vec<Accepted>,
}

/// A synced table of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedTable {
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// Whether the app may write it.
    pub writable: bool,
    /// Rows that the app sees.
    pub rows: u64,
    /// Rows that the server has confirmed, without what waits.
    pub base_rows: u64,
    /// The digest of those, as the server would give it: equal digests are equal rows.
    pub digest: String,
}

/// A mutation that the server has accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// Its place in the queue, when it was there.
    pub seq: Seq,
    /// Its name, here and on the server.
    pub id: MutationId,
    /// The action's name; `None` for plain SQL.
    pub action: Option<String>,
    /// When it was written: milliseconds since 1970.
    pub written_ms: i64,
    /// When its verdict came.
    pub accepted_ms: i64,
    /// How often its content had been offered.
    pub attempt: i64,
    /// The mutation that it takes back, by undo or redo.
    pub undoes: Option<MutationId>,
    /// What it did, a row each; the old values are those that it displaced.
    pub rows: Vec<PendingRow>,
}

impl Accepted {
    /// A mutation of the history in the app's words.
    pub(crate) fn told(kept: Kept, schema: &Schema) -> Self {
        Self {
            seq: kept.seq,
            id: kept.id,
            action: kept.action,
            written_ms: kept.time_ms,
            accepted_ms: kept.accepted_ms,
            attempt: kept.attempt,
            undoes: kept.undoes,
            rows: to_pending_rows(kept.done, schema),
        }
    }
}

impl Inspection {
    /// Looks at a file. Costs a scan of each synced table, for the digests.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, Inspection};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("a.db");
    /// let client = Client::open(Config::new(&path)).wait()?; // Open elsewhere, or not.
    /// let found = Inspection::of(&path)?;
    /// assert!(found.queue.is_empty());
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) for what is no database or a damaged one,
    /// [`Error::TooNew`](crate::Error::TooNew), [`Error::Refused`](crate::Error::Refused) for a file of somebody else or of an
    /// older release, [`Error::Io`](crate::Error::Io) if it is not there or cannot be read.
    pub fn of(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let engine = Engine::open_to_read(path, Arc::new(SystemHost::default()))?;
        let mut facts: BTreeMap<String, String> =
            store::facts(engine.db.conn())?.into_iter().collect();
        // The tables tell what of it matters.
        facts.remove("manifest");
        let mut tables: Vec<&Arc<Table>> = engine.schema().tables.values().collect();
        tables.sort_by(|left, right| left.name.cmp(&right.name));
        let schema = engine.schema();
        Ok(Self {
            path: path.to_owned(),
            format: number(&engine, "PRAGMA user_version")?,
            first_sync: FirstSync::read(facts.get("first_sync").map(String::as_str)),
            counts: engine.queue.counts(),
            tables: tables.into_iter().map(|table| look(&engine, table)).collect::<Result<_>>()?,
            queue: pending_of(&engine)?,
            history: history::read_newest(engine.db.conn(), usize::MAX)?
                .into_iter()
                .rev()
                .map(|one| Accepted::told(one, schema))
                .collect(),
            facts,
        })
    }

    /// The same as one JSON object, for scripts. Bytes are `{"blob": "hexadecimal"}`; integers are exact.
    pub fn to_json(&self) -> Json {
        json::inspection(self)
    }
}

fn look(engine: &Engine, table: &Table) -> Result<InspectedTable> {
    let digest = engine.digest(&table.name)?;
    let rows = number(engine, &format!("SELECT count(*) FROM {}", quoted(&table.name)))?;
    Ok(InspectedTable {
        name: table.name.clone(),
        columns: table.columns.iter().map(|column| column.name.clone()).collect(),
        writable: table.writable,
        rows: u64::try_from(rows).unwrap_or(0),
        base_rows: digest.count,
        digest: digest.sum_text(),
    })
}

fn number(engine: &Engine, sql: &str) -> Result<i64> {
    let sql = format!("/*rejoin*/{sql}");
    engine.db.conn().query_row(&sql, [], |row| row.get(0)).map_err(fault::of)
}

#[cfg(test)]
mod tests;

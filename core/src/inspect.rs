//! Read-only inspection of a file: tables, pending and parked mutations with patches, history,
//! digests.
//!
//! It writes nothing and takes no lock, so that it works while an app has the file open, and on a
//! copy from a user. It shows one state. Unlike [`StorageHandle::diagnose`](crate::StorageHandle::diagnose) it
//! contains row data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::client::{PendingMutation, PendingRow, pending_of, to_pending_rows};
use crate::engine::Engine;
use crate::engine::entries::list;
use crate::engine::log;
use crate::engine::queue::PendingCounts;
use crate::engine::queue::history::{self, Kept};
use crate::engine::queue::store;
use crate::engine::schema::model::{Schema, Table};
use crate::engine::schema::sql::quoted;
use crate::error::Result;
use crate::host::SystemHost;
use crate::ids::{MutationId, Seq};
use crate::sync::rows::{digest, fact};
use crate::sync::status::FirstSync;

mod json;

pub use crate::engine::log::LogCounts;

/// The content of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Format number of the engine's tables.
    pub format: i64,
    /// The stored facts by name: identity, cursor, epoch. The file never stores a token.
    pub facts: BTreeMap<String, String>,
    /// Whether a first sync has completed.
    pub first_sync: FirstSync,
    /// Number of mutations by state.
    pub counts: PendingCounts,
    /// Number of entries of the log; `None` in a file without one.
    pub log: Option<LogCounts>,
    /// The synced tables, by name.
    pub tables: Vec<InspectedTable>,
    /// Mutations that the server has not accepted, in queue order: waiting, sent, parked.
    pub queue: Vec<PendingMutation>,
    /// Accepted mutations and entries of the log that the file still keeps, oldest first.
    pub history: Vec<AcceptedMutation>,
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
    /// Number of rows that the app sees.
    pub rows: u64,
    /// Number of confirmed rows, without pending writes; in a table of the log, of all rows.
    pub base_rows: u64,
    /// Digest of these rows, as the server computes it: equal digests mean equal rows. In a table of
    /// the log it is the server's only if no entry waits.
    pub digest: String,
}

/// A mutation that the server has accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedMutation {
    /// Its former position in the queue; 0 for an entry of the log.
    pub seq: Seq,
    /// Its id, here and on the server.
    pub id: MutationId,
    /// The action's name; `None` for plain SQL.
    pub action: Option<String>,
    /// When it was written: milliseconds since 1970.
    pub written_ms: i64,
    /// When its verdict arrived. For an entry of the log whose verdict the app has acknowledged: when it
    /// was written.
    pub accepted_ms: i64,
    /// Number of attempts.
    pub attempt: i64,
    /// The mutation that it reverts, by undo or redo.
    pub undoes: Option<MutationId>,
    /// Its changes, one entry per row; the old values are the server's before-images.
    pub rows: Vec<PendingRow>,
}

impl AcceptedMutation {
    /// The accepted mutations and entries of the log that a file still keeps, newest first, at most
    /// `limit`. The two lists have their own orders, and are merged by the time of the write.
    pub(crate) fn newest(engine: &Engine, limit: usize) -> Result<Vec<Self>> {
        let mut entries = list::accepted(engine, limit)?.into_iter().peekable();
        let mut newest = Vec::new();
        for mutation in history::read_newest(engine.db.conn(), limit)? {
            while let Some(entry) = entries.next_if(|entry| entry.time_ms > mutation.time_ms) {
                newest.push(entry);
            }
            newest.push(mutation);
        }
        newest.extend(entries);
        newest.truncate(limit);
        Ok(newest.into_iter().map(|one| Self::of_kept(one, engine.schema())).collect())
    }

    fn of_kept(kept: Kept, schema: &Schema) -> Self {
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
    /// Inspects a file. Scans each synced table to compute the digests.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, Inspection};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("a.db");
    /// let client = Client::open(Config::new(&path)).wait()?; // May be open in any process.
    /// let found = Inspection::of(&path)?;
    /// assert!(found.queue.is_empty());
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`StorageFault::Corrupt`](crate::StorageFault::Corrupt) if it is no database or is damaged,
    /// [`StorageFault::TooNew`](crate::StorageFault::TooNew), [`InputFault::Refused`](crate::InputFault::Refused) for a
    /// file of another application or an older release, [`StorageFault::Io`](crate::StorageFault::Io) if it
    /// cannot be read.
    pub fn of(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let engine = Engine::open_to_read(path, Arc::new(SystemHost::default()))?;
        let mut facts: BTreeMap<String, String> =
            store::facts(engine.db.conn())?.into_iter().collect();
        // The list of tables has the relevant part.
        facts.remove("manifest");
        let mut tables: Vec<&Arc<Table>> = engine.schema().tables.values().collect();
        tables.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(Self {
            path: path.to_owned(),
            format: number(&engine, "PRAGMA user_version")?,
            first_sync: fact::first_sync(&engine)?,
            counts: engine.counts()?,
            log: log::counts(engine.db.conn())?,
            tables: tables.into_iter().map(|table| look(&engine, table)).collect::<Result<_>>()?,
            queue: pending_of(&engine)?,
            history: AcceptedMutation::newest(&engine, usize::MAX)?.into_iter().rev().collect(),
            facts,
        })
    }

    /// The inspection as one JSON object. Blobs are `{"blob": "hexadecimal"}`; integers are exact.
    pub fn to_json(&self) -> Json {
        json::inspection(self)
    }
}

fn look(engine: &Engine, table: &Table) -> Result<InspectedTable> {
    let digest = digest::digest(engine, &table.name)?;
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
    Ok(engine.db.conn().query_row(&sql, [], |row| row.get(0))?)
}

#[cfg(test)]
mod tests;

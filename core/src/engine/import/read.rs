//! Reads the old file: its tables, its rows, and its queue.

use std::collections::HashSet;

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension as _, Row};

use super::file::OldFile;
use crate::engine::schema::sql::{listed, quoted};
use crate::error::Result;
use crate::value::Value;

/// A table of the old file.
#[derive(Debug)]
pub(super) struct OldTable {
    pub(super) name: String,
    /// Whether the SDK synced it; otherwise it is the app's own.
    pub(super) synced: bool,
    pub(super) columns: Vec<String>,
}

/// The operation of an unsent edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
}

/// An entry of the old queue: one per row, without the changed columns.
#[derive(Debug, Clone)]
pub(super) struct SynchroEntry {
    pub(super) table: String,
    pub(super) record_id: String,
    /// `None` for an unknown operation.
    pub(super) operation: Option<Operation>,
    /// `updated_at` of the row before its first unsent edit.
    pub(super) base: Option<String>,
    /// The time of the last edit.
    pub(super) time: String,
    /// The operation's name in the file.
    word: String,
}

impl SynchroEntry {
    /// Identifies this edit among all others, including later ones of the same row.
    pub(super) fn fingerprint(&self) -> String {
        [&self.table, &self.record_id, &self.word, &self.time].map(String::as_str).join("\u{1f}")
    }
}

/// Tables of the SDK, of SQLite, and of the libraries below the SDK.
fn is_plumbing(name: &str) -> bool {
    name.starts_with("_synchro_")
        || name.starts_with("sqlite_")
        || matches!(name, "grdb_migrations" | "android_metadata" | "room_master_table")
}

impl OldFile {
    /// The app's tables, synced and its own, by name.
    pub(super) fn tables(&self) -> Result<Vec<OldTable>> {
        let names = |kind: &str, sql: &str| -> Result<Vec<String>> {
            self.run(|conn| conn.prepare(sql)?.query_map([kind], |row| row.get(0))?.collect())
        };
        let sql = "SELECT name FROM sqlite_schema WHERE type = ?1 ORDER BY name";
        let triggers: HashSet<String> = names("trigger", sql)?.into_iter().collect();
        let mut tables = Vec::new();
        for name in names("table", sql)? {
            if !is_plumbing(&name) {
                let synced = triggers.contains(&format!("_synchro_cdc_insert_{name}"));
                tables.push(OldTable { synced, columns: self.columns(&name)?, name });
            }
        }
        Ok(tables)
    }

    /// The columns of a table, in order.
    pub(super) fn columns(&self, table: &str) -> Result<Vec<String>> {
        self.run(|conn| {
            conn.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?
                .query_map([table], |row| row.get(0))?
                .collect()
        })
    }

    /// The queue in the order in which the SDK sends it.
    pub(super) fn entries(&self) -> Result<Vec<SynchroEntry>> {
        self.run(|conn| {
            conn.prepare(
                "SELECT table_name, record_id, operation, base_updated_at, client_updated_at \
                 FROM _synchro_pending_changes ORDER BY client_updated_at, rowid",
            )?
            .query_map([], entry)?
            .collect()
        })
    }

    /// Reads a row by its key's text.
    pub(super) fn row(
        &self,
        table: &str,
        columns: &[String],
        key: &str,
        id: &str,
    ) -> Result<Option<Vec<Value>>> {
        let sql = format!("{} WHERE {} = ?1", select(table, columns), quoted(key));
        self.run(|conn| {
            conn.prepare_cached(&sql)?.query_row([id], |row| values(row, columns.len())).optional()
        })
    }

    /// Reads every row of a table.
    pub(super) fn each_row(
        &self,
        table: &str,
        columns: &[String],
        mut each: impl FnMut(Vec<Value>) -> Result<()>,
    ) -> Result<()> {
        let sql = select(table, columns);
        let mut result = Ok(());
        self.run(|conn| {
            let mut statement = conn.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                result = each(values(row, columns.len())?);
                if result.is_err() {
                    break;
                }
            }
            Ok(())
        })?;
        result
    }
}

fn select(table: &str, columns: &[String]) -> String {
    format!("SELECT {} FROM {}", listed("", columns.iter().map(String::as_str)), quoted(table))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<SynchroEntry> {
    let word: String = row.get(2)?;
    Ok(SynchroEntry {
        table: row.get(0)?,
        record_id: row.get(1)?,
        operation: match word.as_str() {
            "create" => Some(Operation::Create),
            "update" => Some(Operation::Update),
            "delete" => Some(Operation::Delete),
            _ => None,
        },
        base: row.get(3)?,
        time: row.get(4)?,
        word,
    })
}

fn values(row: &Row<'_>, count: usize) -> rusqlite::Result<Vec<Value>> {
    (0..count)
        .map(|at| {
            Ok(match row.get_ref(at)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Integer(number),
                ValueRef::Real(number) => Value::Real(number),
                // Invalid UTF-8 is kept as bytes; a check of the column then rejects it.
                ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                    Ok(text) => Value::Text(text.to_owned()),
                    Err(_) => Value::Blob(bytes.to_vec()),
                },
                ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
            })
        })
        .collect()
}

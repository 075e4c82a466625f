//! The numbers of tables and columns as the file keeps them (S1): given once, never again.

use std::collections::BTreeMap;

use rejoin_protocol::ColumnKind;
use rusqlite::{Connection, OptionalExtension as _};

use super::build::Numbers;
use crate::engine::database::{OURS, fault};
use crate::engine::queue::store::set_meta;
use crate::error::{Error, Result};
use crate::ids::{ColumnId, TableNumber};
use crate::mutant::{self, Mutant};

/// The key in `rejoin_meta` of the columns that were gained and wait for the server's values, as pairs of table and column. Until
/// then such a column is NULL in every row, which says nothing about its value.
const UNFILLED: &str = "unfilled";

/// Columns that wait for the server's values.
pub(crate) fn unfilled(conn: &Connection) -> Result<Vec<(TableNumber, ColumnId)>> {
    let sql = format!("{OURS}SELECT value FROM rejoin_meta WHERE key = ?1");
    let json: Option<String> = conn
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.query_row([UNFILLED], |row| row.get(0)).optional())
        .map_err(fault::of)?;
    let Some(json) = json else { return Ok(Vec::new()) };
    let pairs: Vec<(u32, u32)> = serde_json::from_str(&json)
        .map_err(|error| Error::Corrupt(format!("fact {UNFILLED}: {error}")))?;
    Ok(pairs.into_iter().map(|(table, column)| (TableNumber(table), ColumnId(column))).collect())
}

/// These columns were gained too.
pub(super) fn note_unfilled(
    conn: &Connection,
    gained: &[(TableNumber, Vec<ColumnId>)],
) -> Result<()> {
    if gained.is_empty() {
        return Ok(());
    }
    let mut all = unfilled(conn)?;
    for (table, columns) in gained {
        all.extend(columns.iter().map(|column| (*table, *column)));
    }
    let pairs: Vec<(u32, u32)> = all.iter().map(|(table, column)| (table.0, column.0)).collect();
    set_meta(conn, UNFILLED, serde_json::to_string(&pairs).ok().as_deref())
}

/// A snapshot has filled them all: the fact that says so.
pub(crate) fn filled() -> (String, Option<String>) {
    (UNFILLED.to_owned(), None)
}

/// What the file knows, and what [`Numbers`] has added to it since.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    tables: BTreeMap<u32, String>,
    columns: BTreeMap<(u32, u32), Known>,
}

#[derive(Debug)]
struct Known {
    name: String,
    identity: Option<u32>,
    kind: String,
    gone: bool,
    /// Whether the manifest that is being built names it.
    named: bool,
}

impl Catalogue {
    /// Reads the file's numbers.
    pub(crate) fn load(conn: &Connection) -> Result<Self> {
        let mut out = Self::default();
        let mut read = || -> rusqlite::Result<()> {
            let mut tables =
                conn.prepare_cached(&format!("{OURS}SELECT number, name FROM rejoin_table"))?;
            let mut rows = tables.query([])?;
            while let Some(row) = rows.next()? {
                out.tables.insert(row.get(0)?, row.get(1)?);
            }
            let mut columns = conn.prepare_cached(&format!(
                "{OURS}SELECT table_number, id, name, identity, kind, gone FROM rejoin_column"
            ))?;
            let mut rows = columns.query([])?;
            while let Some(row) = rows.next()? {
                let known = Known {
                    name: row.get(2)?,
                    identity: row.get(3)?,
                    kind: row.get(4)?,
                    gone: row.get(5)?,
                    named: false,
                };
                out.columns.insert((row.get(0)?, row.get(1)?), known);
            }
            Ok(())
        };
        read().map_err(fault::of)?;
        Ok(out)
    }

    /// Writes the numbers back. Columns that the manifest did not name are gone from here on.
    pub(crate) fn store(&mut self, conn: &Connection) -> Result<()> {
        for known in self.columns.values_mut() {
            known.gone = !known.named;
        }
        let write = || -> rusqlite::Result<()> {
            let mut table = conn.prepare_cached(&format!(
                "{OURS}INSERT OR IGNORE INTO rejoin_table (number, name) VALUES (?1, ?2)"
            ))?;
            for (number, name) in &self.tables {
                table.execute((number, name))?;
            }
            let mut column = conn.prepare_cached(&format!(
                "{OURS}INSERT INTO rejoin_column (table_number, id, name, identity, kind, gone)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (table_number, id) DO UPDATE SET
                 name = excluded.name, identity = excluded.identity, kind = excluded.kind, gone = excluded.gone"
            ))?;
            for ((number, id), known) in &self.columns {
                let Known { name, identity, kind, gone, .. } = known;
                column.execute((number, id, name, identity, kind, gone))?;
            }
            Ok(())
        };
        write().map_err(fault::of)
    }

    /// The living column that is meant: by the server's identity, else by name where one side tells no identity.
    fn find(&self, table: u32, name: &str, identity: Option<u32>) -> Option<u32> {
        let living = || {
            (self.columns.range((table, 0)..=(table, u32::MAX)))
                .filter(|(_, known)| !known.gone && !known.named)
                .map(|((_, id), known)| (*id, known))
        };
        if mutant::on(Mutant::ColumnsByName) {
            let named = living().find(|(_, known)| known.name.eq_ignore_ascii_case(name));
            return named.map(|(id, _)| id);
        }
        let by_identity =
            living().find(|(_, known)| identity.is_some() && known.identity == identity);
        let by_name = || {
            living().find(|(_, known)| {
                known.name.eq_ignore_ascii_case(name)
                    && (identity.is_none() || known.identity.is_none())
            })
        };
        by_identity.or_else(by_name).map(|(id, _)| id)
    }
}

impl Numbers for Catalogue {
    fn table(&mut self, name: &str) -> TableNumber {
        let known = self.tables.iter().find(|(_, other)| other.eq_ignore_ascii_case(name));
        if let Some((number, _)) = known {
            return TableNumber(*number);
        }
        let number = self.tables.last_key_value().map_or(1, |(last, _)| last + 1);
        self.tables.insert(number, name.to_owned());
        TableNumber(number)
    }

    fn column(
        &mut self,
        table: TableNumber,
        name: &str,
        identity: Option<u32>,
        kind: ColumnKind,
    ) -> ColumnId {
        let wanted = format!("{kind:?}");
        let same_kind = |known: &str| {
            // A wider integer is the same column: what stands in it stays as it is.
            let integer = |kind: &str| kind == "Int" || kind == "Int64";
            known == wanted || (integer(known) && integer(&wanted))
        };
        if let Some(id) = self.find(table.0, name, identity)
            && let Some(known) = self.columns.get_mut(&(table.0, id))
            && same_kind(&known.kind)
        {
            name.clone_into(&mut known.name);
            known.identity = identity.or(known.identity);
            known.kind = wanted;
            known.named = true;
            return ColumnId(id);
        }
        let range = (table.0, 0)..=(table.0, u32::MAX);
        let id = self.columns.range(range).next_back().map_or(1, |((_, last), _)| last + 1);
        let name = name.to_owned();
        let known = Known { name, identity, kind: wanted, gone: false, named: true };
        self.columns.insert((table.0, id), known);
        ColumnId(id)
    }
}

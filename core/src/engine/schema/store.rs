//! The numbers of tables and columns as stored in the file: assigned once, never reused. A table
//! that the server removes and creates again gets another number.

use std::collections::BTreeMap;
use std::sync::Arc;

use rejoin_protocol::ColumnKind;
use rusqlite::{Connection, OptionalExtension as _};

use crate::engine::database::OURS;
use crate::engine::meta::set_meta;
use crate::engine::schema::build::{Numbers, refused};
use crate::engine::schema::model::{Column, Removed, Schema};
use crate::error::{Error, Result, StorageFault};
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// The key in `rejoin_meta` of added columns that have no server values yet, as pairs of table and
/// column. Until then such a column is NULL in every row, which says nothing about its value.
const UNFILLED: &str = "unfilled";

/// Columns that have no server values yet.
pub(crate) fn unfilled(conn: &Connection) -> Result<Vec<(TableNumber, ColumnId)>> {
    let sql = format!("{OURS}SELECT value FROM rejoin_meta WHERE key = ?1");
    let json: Option<String> =
        conn.prepare_cached(&sql)?.query_row([UNFILLED], |row| row.get(0)).optional()?;
    let Some(json) = json else { return Ok(Vec::new()) };
    let pairs: Vec<(u32, u32)> = serde_json::from_str(&json).map_err(|error| {
        Error::Storage(StorageFault::Corrupt(format!("fact {UNFILLED}: {error}")))
    })?;
    Ok(pairs.into_iter().map(|(table, column)| (TableNumber(table), ColumnId(column))).collect())
}

/// Adds columns that have no server values yet.
pub(crate) fn note_unfilled(
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

/// The metadata entry after a snapshot has filled all columns.
pub(crate) fn filled() -> (String, Option<String>) {
    (UNFILLED.to_owned(), None)
}

/// Columns that a file may have had, with those of removed tables: they stay in memory.
const MOST_COLUMNS: usize = 200_000;

/// The numbers of the file, and those that [`Numbers`] has added since.
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
    /// The value of its default when it was removed.
    removed_default: Value,
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
                "{OURS}SELECT table_number, id, name, identity, kind, gone, removed_default
                 FROM rejoin_column"
            ))?;
            let mut rows = columns.query([])?;
            while let Some(row) = rows.next()? {
                let known = Known {
                    name: row.get(2)?,
                    identity: row.get(3)?,
                    kind: row.get(4)?,
                    gone: row.get(5)?,
                    removed_default: row.get(6)?,
                    named: false,
                };
                out.columns.insert((row.get(0)?, row.get(1)?), known);
            }
            Ok(())
        };
        read()?;
        Ok(out)
    }

    /// Refuses a schema, of which `table` is the first table, if the file has had too many columns: a
    /// server may rename all of them at each request.
    pub(crate) fn check_size(&self, table: &str) -> Result<()> {
        if self.columns.len() <= MOST_COLUMNS {
            return Ok(());
        }
        let why = format!(
            "with it the file has had more than {MOST_COLUMNS} columns, including removed ones; sync into a new file"
        );
        Err(refused(table, why))
    }

    /// Writes the numbers back. Columns of the `old` schema that the manifest does not name are
    /// marked as removed.
    pub(crate) fn store(&mut self, conn: &Connection, old: &Schema) -> Result<()> {
        for ((table, id), known) in &mut self.columns {
            let is_removed = !known.gone && !known.named;
            known.gone = !known.named;
            let table = old.tables.get(&TableNumber(*table)).filter(|_| is_removed);
            let position = table.and_then(|table| table.position(ColumnId(*id)));
            if let (Some(table), Some(at)) = (table, position) {
                known.removed_default = default_of(conn, &table.columns[at]);
            }
        }
        let mut table = conn.prepare_cached(&format!(
            "{OURS}INSERT OR IGNORE INTO rejoin_table (number, name) VALUES (?1, ?2)"
        ))?;
        for (number, name) in &self.tables {
            table.execute((number, name))?;
        }
        let mut column = conn.prepare_cached(&format!(
            "{OURS}INSERT INTO rejoin_column (table_number, id, name, identity, kind, gone, removed_default)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (table_number, id) DO UPDATE SET
             name = excluded.name, identity = excluded.identity, kind = excluded.kind,
             gone = excluded.gone, removed_default = excluded.removed_default"
        ))?;
        for ((number, id), known) in &self.columns {
            let Known { name, identity, kind, gone, removed_default, .. } = known;
            column.execute((number, id, name, identity, kind, gone, removed_default))?;
        }
        Ok(())
    }

    /// The table has another key: from now on it is another table.
    pub(crate) fn replace(&mut self, table: TableNumber) {
        for (_, known) in self.columns.range_mut((table.0, 0)..=(table.0, u32::MAX)) {
            known.gone = true;
        }
    }

    /// Adds the removed tables and columns to the schema.
    pub(crate) fn note_removed(&self, schema: &mut Schema) {
        for (number, name) in &self.tables {
            let columns = self.columns.range((*number, 0)..=(*number, u32::MAX));
            let columns = columns.filter(|(_, known)| known.gone);
            let removed = columns.map(|((_, id), known)| Removed {
                id: ColumnId(*id),
                name: known.name.clone(),
                default: known.removed_default.clone(),
            });
            let (number, removed) = (TableNumber(*number), removed.collect::<Vec<_>>());
            match schema.tables.get_mut(&number) {
                Some(table) if !removed.is_empty() => Arc::make_mut(table).removed = removed,
                Some(_) => {}
                None => schema.add_removed(number, name, removed),
            }
        }
    }

    fn is_living(&self, table: u32) -> bool {
        self.columns.range((table, 0)..=(table, u32::MAX)).any(|(_, known)| !known.gone)
    }

    /// The existing column: by the server's identity, else by name if one side has no identity.
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

/// The value of a column's default, as the column would store it; NULL if it has none.
fn default_of(conn: &Connection, column: &Column) -> Value {
    let Some(default) = &column.default else { return Value::Null };
    let sql = match column.kind.sqlite_type() {
        kind @ ("INTEGER" | "REAL" | "TEXT" | "NUMERIC") => format!("CAST(({default}) AS {kind})"),
        _ => default.clone(),
    };
    let value = conn.query_row(&format!("{OURS}SELECT {sql}"), [], |row| row.get(0));
    // An unknown default counts as written: the mutation is parked whole, and nothing of it is left
    // out.
    value.unwrap_or_default()
}

impl Numbers for Catalogue {
    fn table(&mut self, name: &str) -> TableNumber {
        let mut living = self.tables.iter().filter(|(number, _)| self.is_living(**number));
        if let Some((number, _)) = living.find(|(_, other)| other.eq_ignore_ascii_case(name)) {
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
            // A wider integer is the same column: its values stay.
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
        let known = Known {
            name,
            identity,
            kind: wanted,
            gone: false,
            removed_default: Value::Null,
            named: true,
        };
        self.columns.insert((table.0, id), known);
        ColumnId(id)
    }
}

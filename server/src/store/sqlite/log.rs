//! The log's statements in a transaction of the embedded store.

use rejoin_protocol::Value;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ToSql, params_from_iter};

use super::transaction::SqliteTransaction;
use crate::error::Fault;
use crate::model::LogTable;
use crate::store::log::{Cell, LogDatabase, LogSession, LogWrites, SQLITE, Statements};
use crate::store::quote::quoted;

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Number(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn cell(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Cell> {
    Ok(match row.get_ref(at)? {
        ValueRef::Integer(number) => Cell::Number(number),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
        _ => Cell::Text(row.get(at)?),
    })
}

/// The key and the other columns: a table may have no other.
fn all_columns(table: &LogTable) -> String {
    let names = [&table.key].into_iter().chain(&table.columns);
    names.map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
}

impl LogDatabase for SqliteTransaction<'_> {
    fn statements(&self) -> &'static Statements {
        &SQLITE
    }

    fn writes(&self) -> bool {
        self.waiting.is_some()
    }

    /// A write transaction is exclusive already.
    fn query(&self, sql: &str, cells: &[Cell]) -> Result<Vec<Vec<Cell>>, Fault> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let width = statement.column_count();
        let found = statement.query_map(params_from_iter(cells), |row| {
            (0..width).map(|at| cell(row, at)).collect::<rusqlite::Result<Vec<Cell>>>()
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    fn tables(&self) -> &[LogTable] {
        &self.log_tables
    }

    fn current(&self, table: &LogTable, key: &Value) -> Result<Option<Vec<Value>>, Fault> {
        let (what, key_name) = (all_columns(table), quoted(&table.key.name));
        let sql = format!("SELECT {what} FROM {} WHERE {key_name} = ?1", quoted(&table.name));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([key])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let cells = (1..=table.columns.len()).map(|at| row.get(at));
        Ok(Some(cells.collect::<rusqlite::Result<_>>()?))
    }

    fn scan(
        &self,
        table: &LogTable,
        after: Option<&Value>,
        limit: usize,
    ) -> Result<Vec<(Value, Vec<Value>)>, Fault> {
        let (what, key) = (all_columns(table), quoted(&table.key.name));
        let sql = format!(
            "SELECT {what} FROM {} WHERE {key} IS NOT NULL AND ({key} > ?1 OR ?1 IS NULL) \
             ORDER BY {key} LIMIT {limit}",
            quoted(&table.name)
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([after], |row| {
            let cells = (1..=table.columns.len()).map(|at| row.get(at));
            Ok((row.get(0)?, cells.collect::<rusqlite::Result<_>>()?))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn write_all(&self, writes: &LogWrites<'_>) -> Result<(), Fault> {
        for (sql, lists) in &writes.records {
            let mut statement = self.connection.prepare_cached(sql)?;
            for cells in lists {
                statement.execute(params_from_iter(cells))?;
            }
        }
        for (table, keys) in &writes.removed {
            let (name, key_name) = (quoted(&table.name), quoted(&table.key.name));
            let sql = format!("DELETE FROM {name} WHERE {key_name} = ?1");
            let mut statement = self.connection.prepare_cached(&sql)?;
            for key in keys {
                statement.execute([key])?;
            }
        }
        for (table, rows) in &writes.rows {
            let Some((_, cells)) = rows.first() else { continue };
            let name = quoted(&table.name);
            let sql = table.upsert(cells, &name, None, &mut |_, _| String::from("?"));
            let mut statement = self.connection.prepare_cached(&sql)?;
            for (key, cells) in rows {
                let values = [key].into_iter().chain(cells.iter().map(|(_, value)| *value));
                statement.execute(params_from_iter(values))?;
            }
        }
        Ok(())
    }

    fn session(&self) -> &LogSession {
        &self.log_session
    }
}

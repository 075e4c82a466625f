//! Whether effects fit the tables that the log writes: checked before an entry is accepted.
//!
//! Pure: it uses the tables' columns only, so every row that the fold makes of accepted entries can
//! be stored, whatever order they arrive in.

use rejoin_log::effect::{Effect, Effects};
use rejoin_log::row::{Columns, RowName};
use rejoin_log::store::StoreError;
use rejoin_protocol::Value;

use crate::model::{LogColumn, LogTable};

/// Why a row cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the row {} of {} does not fit: {why}", .row.id, .row.table)]
pub struct LogRowError {
    /// The row.
    pub row: RowName,
    /// What does not fit.
    pub why: Misfit,
}

/// What does not fit a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The table is not a log table.
    #[error("the table is not a log table of this server: configure it")]
    Table,
    /// The table has no such column, or it is the key or computed by the database.
    #[error("the table has no column {column} for devices: add it first")]
    Column {
        /// The column.
        column: String,
    },
    /// The column cannot hold the value.
    #[error("the column {column} takes {expected}")]
    Value {
        /// The column.
        column: String,
        /// What the column takes.
        expected: &'static str,
    },
    /// The value is too long for an index.
    #[error("the column {column} is indexed and takes at most {most} bytes: send less")]
    TooLong {
        /// The column.
        column: String,
        /// The limit.
        most: usize,
    },
    /// NULL, or no value, in a column that needs one.
    #[error("the column {column} needs a value")]
    Missing {
        /// The column.
        column: String,
    },
}

impl From<LogRowError> for StoreError {
    fn from(error: LogRowError) -> Self {
        Self(error.to_string())
    }
}

/// Whether these tables can hold every row that these effects may lead to. The server denies an entry
/// for which this fails.
pub fn fits(effects: &Effects, tables: &[LogTable]) -> Result<(), LogRowError> {
    for (row, effect) in effects.iter() {
        let table = tables.iter().find(|table| table.name == row.table.as_str());
        let table = table.ok_or_else(|| unknown_table(row))?;
        key(table, row)?;
        match effect {
            Effect::Insert(image) => drop(cells(table, row, image.columns())?),
            Effect::Update(columns) => drop(written(table, row, columns)?),
            Effect::Delete => {}
        }
    }
    Ok(())
}

pub(super) fn unknown_table(row: &RowName) -> LogRowError {
    misfit(row, Misfit::Table)
}

/// The key of the row as a value of its column.
pub(super) fn key(table: &LogTable, row: &RowName) -> Result<Value, LogRowError> {
    let id = row.id.as_str();
    let number = |number: i64| (number.to_string() == id).then_some(Value::Integer(number));
    let value = match table.key.kind {
        crate::model::LogType::Integer(_) => id.parse().ok().and_then(number),
        _ => None,
    };
    let value = value.unwrap_or_else(|| Value::from(id));
    check(&table.key, &value).map_err(|why| misfit(row, why))?;
    Ok(value)
}

/// The cells of a whole row by the position of their column; columns without a default are there.
pub(super) fn cells<'c>(
    table: &LogTable,
    row: &RowName,
    columns: &'c Columns,
) -> Result<Vec<(usize, &'c Value)>, LogRowError> {
    let required = |column: &&LogColumn| column.not_null && !column.has_default;
    for column in table.columns.iter().filter(required) {
        if columns.get(column.name.as_str()).is_none() {
            return Err(misfit(row, Misfit::Missing { column: column.name.clone() }));
        }
    }
    written(table, row, columns)
}

fn written<'c>(
    table: &LogTable,
    row: &RowName,
    columns: &'c Columns,
) -> Result<Vec<(usize, &'c Value)>, LogRowError> {
    let mut cells = Vec::with_capacity(columns.len());
    for (name, value) in columns {
        let at = table.columns.iter().position(|column| column.name == name.as_str());
        let found = at.and_then(|at| Some((at, table.columns.get(at)?)));
        let Some((at, column)) = found else {
            return Err(misfit(row, Misfit::Column { column: name.to_string() }));
        };
        check(column, value).map_err(|why| misfit(row, why))?;
        cells.push((at, value));
    }
    // One statement text for each set of columns.
    cells.sort_unstable_by_key(|(at, _)| *at);
    Ok(cells)
}

fn check(column: &LogColumn, value: &Value) -> Result<(), Misfit> {
    let name = || column.name.clone();
    if value.is_null() && column.not_null {
        return Err(Misfit::Missing { column: name() });
    }
    if let Some(expected) = column.kind.refuses(value) {
        return Err(Misfit::Value { column: name(), expected });
    }
    let length = match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        _ => 0,
    };
    match column.max_bytes {
        Some(most) if length > most => Err(Misfit::TooLong { column: name(), most }),
        _ => Ok(()),
    }
}

fn misfit(row: &RowName, why: Misfit) -> LogRowError {
    LogRowError { row: row.clone(), why }
}

#[cfg(test)]
mod tests {
    use super::{Effect, LogColumn, LogTable, Misfit, RowName, Value, fits};
    use crate::model::LogType;
    use rejoin_log::row::{Columns, LogRow};

    fn column(name: &str, kind: LogType, not_null: bool, has_default: bool) -> LogColumn {
        LogColumn { name: name.to_owned(), kind, not_null, has_default, max_bytes: Some(10) }
    }

    fn table() -> LogTable {
        LogTable {
            name: String::from("notes"),
            key: column("id", LogType::Text, true, false),
            columns: vec![
                column("body", LogType::Text, true, false),
                column("rank", LogType::Integer(16), true, true),
                column("due", LogType::Date, false, false),
            ],
        }
    }

    fn numbered() -> LogTable {
        let key = column("id", LogType::Integer(32), true, false);
        LogTable { name: String::from("numbers"), key, columns: Vec::new() }
    }

    fn columns(of: &[(&str, Value)]) -> Columns {
        of.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    #[test]
    #[allow(clippy::too_many_lines)] // A table.
    fn effects_fit_if_every_cell_does() {
        let insert = |of: &[(&str, Value)]| Effect::Insert(LogRow::from(columns(of)));
        let update = |of: &[(&str, Value)]| Effect::Update(columns(of));
        let named = |column: &str| column.to_owned();
        let missing = |column: &str| Some(Misfit::Missing { column: named(column) });
        let value =
            |column: &str, expected| Some(Misfit::Value { column: named(column), expected });
        let body = || ("body", Value::from("x"));
        let size = "an integer of the column's size";
        let table_of = [
            ("notes", "n1", insert(&[body()]), None),
            ("notes", "n1", insert(&[body(), ("due", Value::Null)]), None),
            ("notes", "n1", insert(&[]), missing("body")),
            ("notes", "n1", insert(&[("body", Value::Null)]), missing("body")),
            ("notes", "n1", update(&[]), None),
            ("notes", "n1", update(&[("body", Value::Null)]), missing("body")),
            ("notes", "n1", update(&[("rank", Value::Null)]), missing("rank")),
            ("notes", "n1", update(&[("rank", Value::Integer(40_000))]), value("rank", size)),
            (
                "notes",
                "n1",
                update(&[("due", Value::from("x"))]),
                value("due", "a day as YYYY-MM-DD"),
            ),
            (
                "notes",
                "n1",
                update(&[("id", body().1)]),
                Some(Misfit::Column { column: named("id") }),
            ),
            (
                "notes",
                "n1",
                update(&[("x", body().1)]),
                Some(Misfit::Column { column: named("x") }),
            ),
            (
                "notes",
                "n1",
                update(&[("body", Value::from("0123456789x"))]),
                Some(Misfit::TooLong { column: named("body"), most: 10 }),
            ),
            (
                "notes",
                "0123456789x",
                Effect::Delete,
                Some(Misfit::TooLong { column: named("id"), most: 10 }),
            ),
            ("notes", "\0", Effect::Delete, value("id", "text without NUL")),
            ("others", "n1", Effect::Delete, Some(Misfit::Table)),
            ("numbers", "-7", Effect::Delete, None),
            ("numbers", "07", Effect::Delete, value("id", "an integer")),
            ("numbers", "x", Effect::Delete, value("id", "an integer")),
            ("numbers", "4294967296", Effect::Delete, value("id", size)),
        ];
        let tables = [table(), numbered()];
        for (table, id, effect, expected) in table_of {
            let line = format!("{table} {id} {effect:?}");
            let effects = [(RowName::new(table, id), effect)].into_iter().collect();
            let found = fits(&effects, &tables).err().map(|error| error.why);
            assert_eq!(found, expected, "{line}");
        }
    }
}

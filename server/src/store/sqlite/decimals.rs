//! Exact decimals in SQLite: a value that the column would round is rejected, never changed.
//!
//! A column of numeric affinity converts a decimal to a double or a 64-bit integer. A column
//! declared DECIMAL TEXT keeps text.

use rejoin_protocol::wire::code;
use rejoin_protocol::{ColumnKind, Value, equal};
use rusqlite::Connection;

use crate::model::{Table, Violation};

/// The decimal that SQLite would not store with all digits: a column of numeric affinity converts
/// it to a double or a 64-bit integer.
pub(super) fn rounded(
    connection: &Connection,
    table: &Table,
    cells: &[(usize, Value)],
) -> rusqlite::Result<Option<Violation>> {
    for (at, value) in cells {
        let Some(column) = table.columns.get(*at).filter(|c| c.kind == ColumnKind::Numeric) else {
            continue;
        };
        // A value without digits ("NaN") is text to SQLite.
        let text = value.as_text().map(str::trim).filter(|text| text.contains(is_digit));
        let number: Option<f64> = text.and_then(|text| text.parse().ok());
        let (Some(text), Some(number)) = (text, number) else { continue };
        let is_exact = equal::equal(&Value::Real(number), value, ColumnKind::Numeric);
        if is_exact || text.parse::<i64>().is_ok() {
            continue;
        }
        let is_text: bool = connection.query_row(
            "SELECT type LIKE '%text%' FROM pragma_table_info(?1) WHERE name = ?2",
            [&table.name, &column.name],
            |row| row.get(0),
        )?;
        if !is_text {
            let message = "SQLite keeps 15 to 17 digits in a column of this type: use fewer, or declare the \
                           column DECIMAL TEXT on the server";
            let (column, message) = (Some(column.name.clone()), String::from(message));
            let (code, is_among_rows) = (code::VALUE_INVALID, false);
            return Ok(Some(Violation { code, column, message, is_among_rows }));
        }
    }
    Ok(None)
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit()
}

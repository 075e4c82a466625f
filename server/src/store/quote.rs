//! Identifiers, texts and cells as quoted SQL.

use crate::model::Table;

/// An identifier in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in quotes.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A column of the row `alias`.
pub(super) fn cell(table: &Table, alias: &str, at: usize) -> String {
    let name = table.columns.get(at).map_or("", |column| column.name.as_str());
    format!("{alias}.{}", quoted(name))
}

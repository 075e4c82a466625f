//! Names, texts and cells as SQL text, quoted so that no content can end its quotes.

use crate::model::Table;

/// An identifier in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in quotes.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A column of a row that SQL calls `alias`.
pub(super) fn cell(table: &Table, alias: &str, at: usize) -> String {
    let name = table.columns.get(at).map_or("", |column| column.name.as_str());
    format!("{alias}.{}", quoted(name))
}

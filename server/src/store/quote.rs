//! Identifiers, texts and cells as quoted SQL.

use crate::model::Table;

/// An identifier in quotes.
pub(super) fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    push(&mut text, name, '"');
    text
}

/// A text in quotes.
pub(super) fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    push(&mut quoted, text, '\'');
    quoted
}

/// A column of the row `alias`.
pub(super) fn cell(table: &Table, alias: &str, at: usize) -> String {
    let mut text = String::new();
    push_cell(&mut text, table, alias, at);
    text
}

/// Appends a column of the row `alias`.
pub(super) fn push_cell(text: &mut String, table: &Table, alias: &str, at: usize) {
    let name = table.columns.get(at).map_or("", |column| column.name.as_str());
    text.reserve(alias.len() + name.len() + 3);
    text.push_str(alias);
    text.push('.');
    push(text, name, '"');
}

/// Appends a text in quotes. Names are quoted for each statement, and few have a quote.
fn push(text: &mut String, name: &str, quote: char) {
    text.push(quote);
    for (number, part) in name.split(quote).enumerate() {
        if number > 0 {
            text.push(quote);
            text.push(quote);
        }
        text.push_str(part);
    }
    text.push(quote);
}

#[cfg(test)]
mod tests {
    use super::{literal, quoted};

    #[test]
    fn quotes_within_a_name_are_doubled() {
        let table =
            [("", "\"\""), ("a", "\"a\""), ("\"", "\"\"\"\""), ("a\"\"b", "\"a\"\"\"\"b\"")];
        for (name, expected) in table {
            assert_eq!(quoted(name), expected, "{name}");
        }
        assert_eq!(literal("it's"), "'it''s'");
    }
}

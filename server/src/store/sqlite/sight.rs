//! Access as SQL: the predicate of who sees a row, and the expression of its bucket for the triggers.
//!
//! One place, so that what a page shows, what a push may touch and what the log names cannot drift apart.

use rejoin_protocol::ColumnKind;

use crate::engine::schema::{Access, Schema, Table};

/// An identifier in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A column of a row that SQL calls `alias`.
pub(super) fn cell(table: &Table, alias: &str, at: usize) -> String {
    let name = table.columns.get(at).map_or("", |column| column.name.as_str());
    format!("{alias}.{}", quoted(name))
}

/// Whether the row `alias` is seen by the owners in the JSON array `:{who}_owners`, and everybody's rows if
/// `:{who}_global` is 1.
pub(super) fn seen(schema: &Schema, table: &Table, alias: &str, who: &str) -> String {
    match table.access {
        Access::Nobody => String::from("0"),
        Access::Global => format!(":{who}_global"),
        Access::Owner { column, global } => {
            let owner = cell(table, alias, column);
            let is_text =
                table.columns.get(column).is_some_and(|column| column.kind == ColumnKind::String);
            // BINARY: user ids differ by case, whatever the column's collation thinks.
            let name = if is_text { owner.clone() } else { format!("CAST({owner} AS TEXT)") };
            let own =
                format!("{name} COLLATE BINARY IN (SELECT value FROM json_each(:{who}_owners))");
            if global { format!("({own} OR ({owner} IS NULL AND :{who}_global))") } else { own }
        }
        Access::Chain { column, parent } => {
            let Some(above) = schema.tables.get(parent) else { return String::from("0") };
            let next = format!("{alias}p");
            format!(
                "EXISTS (SELECT 1 FROM {} AS {next} WHERE {} = {} AND {})",
                quoted(&above.name),
                cell(above, &next, above.key),
                cell(table, alias, column),
                seen(schema, above, &next, who)
            )
        }
    }
}

/// The bucket of the row `alias`, or NULL if nobody may see it.
pub(super) fn bucket(schema: &Schema, table: &Table, alias: &str) -> String {
    match table.access {
        Access::Nobody => String::from("NULL"),
        Access::Global => String::from("'global'"),
        Access::Owner { column, global } => {
            let owner = cell(table, alias, column);
            let nobody = if global { "'global'" } else { "NULL" };
            format!("CASE WHEN {owner} IS NULL THEN {nobody} ELSE 'user:' || {owner} END")
        }
        Access::Chain { column, parent } => {
            let Some(above) = schema.tables.get(parent) else { return String::from("NULL") };
            let next = format!("{}p", alias.to_ascii_lowercase());
            format!(
                "(SELECT {} FROM {} AS {next} WHERE {} = {})",
                bucket(schema, above, &next),
                quoted(&above.name),
                cell(above, &next, above.key),
                cell(table, alias, column)
            )
        }
    }
}

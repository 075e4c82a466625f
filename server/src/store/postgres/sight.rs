//! Access as SQL: the predicate of who sees a row, and the expression of its bucket for the triggers.
//!
//! One place, so that what a page shows, what a push may touch and what the log names cannot drift apart. A predicate's
//! parameters are two: the owners as a list of texts, and whether everybody's rows are seen.

use super::types::OwnerForm;
use super::{Known, Shape};
use crate::engine::schema::{Access, Table};

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

/// Whether the row `alias` is seen by the owners in `$owners`, and everybody's rows if `$global`.
pub(super) fn seen(
    known: &Known,
    table: &Table,
    alias: &str,
    (owners, global): (usize, usize),
) -> String {
    match table.access {
        Access::Nobody => String::from("false"),
        Access::Global => format!("${global}::boolean"),
        Access::Owner { column, global: is_open } => {
            let owner = cell(table, alias, column);
            let shape = known.shape(table);
            let own = owned(shape.owner, &owner, owners);
            if is_open {
                format!("({own} OR ({owner} IS NULL AND ${global}::boolean))")
            } else {
                own
            }
        }
        Access::Chain { column, parent } => {
            let Some(above) = known.schema.tables.get(parent) else { return String::from("false") };
            let next = format!("{alias}p");
            format!(
                "EXISTS (SELECT FROM {} AS {next} WHERE {} = {} AND {})",
                known.shape(above).name,
                cell(above, &next, above.key),
                cell(table, alias, column),
                seen(known, above, &next, (owners, global))
            )
        }
    }
}

/// User ids are texts and differ by case. A list is compared in the column's own type where that says the same, so that
/// an index on the owner serves; a user whose id is no value of the type owns nothing there.
fn owned(form: OwnerForm, owner: &str, owners: usize) -> String {
    match form {
        OwnerForm::Text => format!("{owner} = ANY(${owners}::text[])"),
        OwnerForm::Uuid => format!(
            "{owner} = ANY(ARRAY(SELECT o::uuid FROM unnest(${owners}::text[]) AS o WHERE o ~ \
             '^[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}$'))"
        ),
        OwnerForm::Integer => format!(
            "{owner} = ANY(ARRAY(SELECT o::bigint FROM unnest(${owners}::text[]) AS o WHERE o ~ \
             '^(0|-?[1-9][0-9]{{0,17}})$'))"
        ),
        OwnerForm::Other => format!("{owner}::text COLLATE \"C\" = ANY(${owners}::text[])"),
    }
}

/// The bucket of the row `alias`, or NULL if nobody may see it.
pub(super) fn bucket(known: &Known, table: &Table, alias: &str) -> String {
    match table.access {
        Access::Nobody => String::from("NULL::text"),
        Access::Global => String::from("'global'"),
        Access::Owner { column, global } => {
            let owner = cell(table, alias, column);
            let nobody = if global { "'global'" } else { "NULL" };
            format!("CASE WHEN {owner} IS NULL THEN {nobody} ELSE 'user:' || {owner}::text END")
        }
        Access::Chain { column, parent } => {
            let Some(above) = known.schema.tables.get(parent) else {
                return String::from("NULL::text");
            };
            let next = format!("{}p", alias.to_ascii_lowercase());
            format!(
                "(SELECT {} FROM {} AS {next} WHERE {} = {})",
                bucket(known, above, &next),
                known.shape(above).name,
                cell(above, &next, above.key),
                cell(table, alias, column)
            )
        }
    }
}

impl Known {
    /// How a table looks in this database.
    pub(super) fn shape(&self, table: &Table) -> &Shape {
        // Both lists are made together; a table that is in none of them is in no statement either.
        let at = self.schema.tables.iter().position(|known| known.number == table.number);
        at.and_then(|at| self.shapes.get(at)).unwrap_or(&self.nothing)
    }
}

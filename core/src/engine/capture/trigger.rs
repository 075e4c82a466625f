//! SQL text of the triggers of a synced table: one per event.
//!
//! Each calls the capture function, then checks its row, then runs cascades. They are one trigger
//! because SQLite fires several in an undefined order, so a cascade could be captured before its
//! cause. A trigger that does more than capture is guarded as a whole; one that only captures
//! checks the guard inside the function, which costs less.

use std::fmt::Write as _;

use rejoin_protocol::manifest::{ReferenceAction, Rule};
use rusqlite::Connection;

use crate::engine::capture::function::{DELETE, INSERT, UPDATE};
use crate::engine::schema::model::{Schema, Table};
use crate::engine::schema::sql::{listed, quoted};

/// The names of a table's triggers.
pub(crate) fn names(table: &Table) -> [String; 3] {
    ["insert", "update", "delete"].map(|event| format!("rejoin_{event}_{}", table.number.0))
}

/// SQL that drops a table's triggers.
pub(crate) fn drop_all(table: &Table) -> String {
    names(table).iter().fold(String::new(), |mut out, name| {
        let _ = writeln!(out, "DROP TRIGGER IF EXISTS {name};");
        out
    })
}

/// The statements that create a table's triggers. `checked` returns the columns that a CHECK reads,
/// by the position of its rule.
pub(crate) fn create_all(
    table: &Table,
    schema: &Schema,
    checked: &dyn Fn(usize) -> Vec<String>,
) -> Vec<String> {
    let [insert, update, delete] = names(table);
    let name = quoted(&table.name);
    let columns = |prefix: &str| listed(prefix, table.columns.iter().map(|c| c.name.as_str()));
    let capture = |operation: u32, values: &str| {
        format!("SELECT rejoin_capture({}, {operation}, {values});\n", table.number.0)
    };
    let both = format!("{}, {}", columns("OLD."), columns("NEW."));
    [
        (insert, "INSERT", capture(INSERT, &columns("NEW.")), checks(table, None)),
        (
            update,
            "UPDATE",
            capture(UPDATE, &both),
            checks(table, Some(checked)) + &parent_moved(table, schema),
        ),
        (delete, "DELETE", capture(DELETE, &columns("OLD.")), parent_gone(table, schema)),
    ]
    .into_iter()
    .map(|(trigger, event, capture, rules)| {
        let guard = if rules.is_empty() { "" } else { " WHEN rejoin_local()" };
        format!(
            "CREATE TRIGGER {trigger} AFTER {event} ON {name}{guard} BEGIN\n{capture}{rules}END"
        )
    })
    .collect()
}

/// CHECK reads the row from the table, because a bare `NEW.x` has no affinity; on update only if a
/// column that it reads has changed.
fn checks(table: &Table, changed: Option<&dyn Fn(usize) -> Vec<String>>) -> String {
    let mut out = String::new();
    let (name, key) = (quoted(&table.name), quoted(&table.key_column().name));
    for (position, rule) in table.rules.iter().enumerate() {
        let Rule::Check { expression, .. } = rule else { continue };
        let _ = write!(
            out,
            "SELECT rejoin_fail({}, {position}) FROM {name} WHERE {key} = NEW.{key} AND NOT ({expression})",
            table.number.0
        );
        let named = changed.map(|columns| columns(position)).unwrap_or_default();
        if !named.is_empty() {
            let differ: Vec<String> = (named.iter().map(|column| quoted(column)))
                .map(|column| format!("NEW.{column} IS NOT OLD.{column}"))
                .collect();
            let _ = write!(out, " AND ({})", differ.join(" OR "));
        }
        out.push_str(";\n");
    }
    out
}

/// A rule that refers to this table: (the child's number, the rule's position, child, column,
/// action).
type Incoming<'a> = (u32, usize, &'a str, &'a str, ReferenceAction);

fn incoming<'a>(table: &'a Table, schema: &'a Schema, deleted: bool) -> Vec<Incoming<'a>> {
    let mut out = Vec::new();
    for child in schema.tables.values() {
        for (position, rule) in child.rules.iter().enumerate() {
            if let Rule::References { column, table: parent, on_delete, on_update } = rule
                && parent.eq_ignore_ascii_case(&table.name)
            {
                let action = if deleted { *on_delete } else { *on_update };
                out.push((child.number.0, position, child.name.as_str(), column.as_str(), action));
            }
        }
    }
    // RESTRICT goes first; then by number, so that the text is the same on each device.
    out.sort_by_key(|(number, position, .., action)| {
        (*action != ReferenceAction::Restrict, *number, *position)
    });
    out
}

fn parent_gone(table: &Table, schema: &Schema) -> String {
    let key = quoted(&table.key_column().name);
    let mut out = String::new();
    for (number, position, child, column, action) in incoming(table, schema, true) {
        let (child, column) = (quoted(child), quoted(column));
        let _ = match action {
            ReferenceAction::NoAction => Ok(()),
            ReferenceAction::Restrict => writeln!(
                out,
                "SELECT rejoin_fail({number}, {position}) FROM {child} WHERE {column} = OLD.{key};"
            ),
            ReferenceAction::Cascade => {
                writeln!(out, "DELETE FROM {child} WHERE {column} = OLD.{key};")
            }
            ReferenceAction::SetNull => {
                writeln!(out, "UPDATE {child} SET {column} = NULL WHERE {column} = OLD.{key};")
            }
        };
    }
    out
}

fn parent_moved(table: &Table, schema: &Schema) -> String {
    let key = quoted(&table.key_column().name);
    let mut out = String::new();
    for (number, position, child, column, action) in incoming(table, schema, false) {
        let (child, column) = (quoted(child), quoted(column));
        let moved = format!("{column} = OLD.{key} AND NEW.{key} IS NOT OLD.{key}");
        let _ = match action {
            ReferenceAction::NoAction => Ok(()),
            ReferenceAction::Restrict => {
                writeln!(
                    out,
                    "SELECT rejoin_fail({number}, {position}) FROM {child} WHERE {moved};"
                )
            }
            ReferenceAction::Cascade => {
                writeln!(out, "UPDATE {child} SET {column} = NEW.{key} WHERE {moved};")
            }
            ReferenceAction::SetNull => {
                writeln!(out, "UPDATE {child} SET {column} = NULL WHERE {moved};")
            }
        };
    }
    out
}

/// Whether the file's triggers of a table are exactly those of `sql`.
pub(crate) fn are_as(
    conn: &Connection,
    table: &Table,
    triggers: &[String],
) -> rusqlite::Result<bool> {
    let mut statement = conn.prepare_cached(
        "/*rejoin*/SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?1 AND tbl_name = ?2",
    )?;
    for name in names(table) {
        let mut rows = statement.query((&name, &table.name))?;
        let found: Option<String> = rows.next()?.map(|row| row.get(0)).transpose()?;
        if !found.is_some_and(|found| triggers.contains(&found)) {
            return Ok(false);
        }
    }
    Ok(true)
}

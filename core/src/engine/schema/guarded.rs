//! A synced table in the form that capture and checks need: rules sorted by when they are checked.

use std::sync::Arc;

use rejoin_protocol::ColumnKind;
use rejoin_protocol::manifest::{ReferenceAction, Rule};

use crate::engine::database::OURS;
use crate::engine::schema::model::{Schema, Table};
use crate::engine::schema::sql::quoted;
use crate::ids::TableNumber;

/// A table with the checks for each of its rows, and those after each statement.
#[derive(Debug)]
pub(crate) struct GuardedTable {
    /// The table.
    pub(crate) table: Arc<Table>,
    /// By position: constraints on a new value.
    pub(crate) columns: Vec<GuardedColumn>,
    /// UNIQUE and references of this table, checked after a statement for new or changed rows.
    pub(crate) after_change: Vec<AfterStatement>,
    /// NO ACTION references to this table, checked after a statement for removed keys.
    pub(crate) after_delete: Vec<AfterStatement>,
    /// Whether cascades from this table lead into a circle.
    pub(crate) is_circular: bool,
}

/// Constraints on a value of the column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardedColumn {
    /// Its kind.
    pub(crate) kind: ColumnKind,
    /// Whether it is the key.
    pub(crate) key: bool,
    /// Whether it must not be NULL.
    pub(crate) not_null: bool,
    /// Whether the server's type is `uuid`: only the canonical text is accepted.
    pub(crate) uuid: bool,
}

/// A rule that is checked after each statement, by a query that returns a row if it is violated.
#[derive(Debug)]
pub(crate) struct AfterStatement {
    /// Positions of the columns; the rule is checked only if one of them changed.
    pub(crate) columns: Vec<usize>,
    /// Takes the key as its one parameter.
    pub(crate) sql: String,
    /// The table that the error names.
    pub(crate) table: String,
    /// The column that the error names.
    pub(crate) column: String,
    /// The rule, in SQLite's words.
    pub(crate) rule: &'static str,
}

impl GuardedTable {
    /// Whether a statement that writes this table needs checks after it.
    pub(crate) fn checks_after(&self) -> bool {
        !self.after_change.is_empty() || !self.after_delete.is_empty()
    }
}

/// The checks of one table of `schema`.
pub(crate) fn guard(table: &Arc<Table>, schema: &Schema) -> GuardedTable {
    let not_null = |name: &str| {
        table.rules.iter().any(
            |rule| matches!(rule, Rule::NotNull { column } if column.eq_ignore_ascii_case(name)),
        )
    };
    let columns = (table.columns.iter().enumerate())
        .map(|(position, column)| GuardedColumn {
            kind: column.kind,
            key: position == table.key,
            not_null: not_null(&column.name),
            uuid: is_uuid(schema, &table.name, &column.name),
        })
        .collect();
    let after_change = table.rules.iter().filter_map(|rule| after_change(table, schema, rule));
    let after_delete = schema.tables.values().flat_map(|child| {
        child.rules.iter().filter_map(move |rule| after_delete(table, child, rule))
    });
    GuardedTable {
        table: Arc::clone(table),
        columns,
        after_change: after_change.collect(),
        after_delete: after_delete.collect(),
        is_circular: leads_into_circle(table, schema, &mut Vec::new(), &mut Vec::new()),
    }
}

/// Whether cascades from the table lead to a table on `path`, or into another circle.
fn leads_into_circle(
    table: &Table,
    schema: &Schema,
    path: &mut Vec<TableNumber>,
    done: &mut Vec<TableNumber>,
) -> bool {
    if path.contains(&table.number) {
        return true;
    }
    if done.contains(&table.number) {
        return false;
    }
    path.push(table.number);
    let mut children = schema.tables.values().filter(|child| is_written_with(table, child));
    let found = children.any(|child| leads_into_circle(child, schema, path, done));
    path.pop();
    done.push(table.number);
    found
}

/// Whether deleting a row of `parent`, or changing its key, may write rows of `child`.
fn is_written_with(parent: &Table, child: &Table) -> bool {
    let writes = |action: &ReferenceAction| {
        matches!(action, ReferenceAction::Cascade | ReferenceAction::SetNull)
    };
    child.rules.iter().any(|rule| {
        matches!(rule, Rule::References { table, on_delete, on_update, .. }
            if table.eq_ignore_ascii_case(&parent.name) && (writes(on_delete) || writes(on_update)))
    })
}

fn is_uuid(schema: &Schema, table: &str, column: &str) -> bool {
    let manifest = schema.manifest.iter().flat_map(|manifest| &manifest.tables);
    manifest
        .filter(|other| other.table_name == table)
        .flat_map(|other| &other.columns)
        .any(|other| other.name == column && other.db_type.eq_ignore_ascii_case("uuid"))
}

fn after_change(table: &Table, schema: &Schema, rule: &Rule) -> Option<AfterStatement> {
    let name = quoted(&table.name);
    let key = quoted(&table.key_column().name);
    match rule {
        Rule::Unique { columns } => {
            let positions: Vec<usize> =
                columns.iter().filter_map(|column| table.column_named(column)).collect();
            let equal: Vec<String> =
                columns.iter().map(|column| format!("b.{0} = a.{0}", quoted(column))).collect();
            Some(AfterStatement {
                columns: positions,
                sql: format!(
                    "{OURS}SELECT 1 FROM {name} AS a JOIN {name} AS b ON {} AND b.{key} <> a.{key}
                     WHERE a.{key} = ?1 LIMIT 1",
                    equal.join(" AND ")
                ),
                table: table.name.clone(),
                column: columns.join(","),
                rule: "UNIQUE",
            })
        }
        Rule::References { column, table: parent, .. } => {
            let parent = schema.named(parent)?;
            Some(AfterStatement {
                columns: vec![table.column_named(column)?],
                sql: format!(
                    "{OURS}SELECT 1 FROM {name} AS a WHERE a.{key} = ?1 AND a.{column} IS NOT NULL
                     AND NOT EXISTS (SELECT 1 FROM {parent} AS p WHERE p.{parent_key} = a.{column})",
                    column = quoted(column),
                    parent = quoted(&parent.name),
                    parent_key = quoted(&parent.key_column().name),
                ),
                table: table.name.clone(),
                column: column.clone(),
                rule: "FOREIGN KEY",
            })
        }
        Rule::NotNull { .. } | Rule::Check { .. } => None,
    }
}

/// For a parent: the children that would refer to a missing row. With a NO ACTION reference,
/// CASCADE is checked as well, since it leaves no children.
fn after_delete(parent: &Table, child: &Table, rule: &Rule) -> Option<AfterStatement> {
    let Rule::References { column, table, on_delete, on_update } = rule else { return None };
    let no_action = |action: &ReferenceAction| *action == ReferenceAction::NoAction;
    if !table.eq_ignore_ascii_case(&parent.name) || !(no_action(on_delete) || no_action(on_update))
    {
        return None;
    }
    Some(AfterStatement {
        columns: Vec::new(),
        sql: format!(
            "{OURS}SELECT 1 FROM {child} AS c WHERE c.{column} = ?1
             AND NOT EXISTS (SELECT 1 FROM {parent} AS p WHERE p.{key} = ?1) LIMIT 1",
            child = quoted(&child.name),
            column = quoted(column),
            parent = quoted(&parent.name),
            key = quoted(&parent.key_column().name),
        ),
        table: child.name.clone(),
        column: column.clone(),
        rule: "FOREIGN KEY",
    })
}

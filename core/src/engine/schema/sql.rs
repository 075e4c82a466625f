//! SQL text of the app's tables. Pure.
//!
//! A synced table has only its key as a native constraint; the engine checks every other rule, so
//! that a base row is never rejected.

use std::fmt::Write as _;

use rejoin_protocol::ColumnKind;

use crate::engine::schema::model::{Column, Table};

/// Quotes a name for SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names, quoted, with a prefix, joined by commas.
pub(crate) fn listed<'a>(prefix: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("{prefix}{}", quoted(name))).collect();
    names.join(", ")
}

/// The declared type of a column. An integer key is INT, not INTEGER: an INTEGER key would be the
/// rowid, which SQLite assigns if the app does not.
fn declared_type(table: &Table, position: usize) -> &'static str {
    let kind = table.columns[position].kind;
    match kind {
        ColumnKind::Int | ColumnKind::Int64 if position == table.key => "INT",
        _ => kind.declared_type(),
    }
}

/// The DEFAULT clause of a column.
pub(crate) fn default_clause(column: &Column) -> String {
    column.default.as_ref().map(|default| format!(" DEFAULT ({default})")).unwrap_or_default()
}

/// `CREATE TABLE` for a synced table, under the given name.
pub(crate) fn create_table(table: &Table, name: &str) -> String {
    let mut parts = Vec::with_capacity(table.columns.len() + table.generated.len());
    for (position, column) in table.columns.iter().enumerate() {
        let mut part = format!("{} {}", quoted(&column.name), declared_type(table, position));
        if position == table.key {
            part.push_str(" PRIMARY KEY");
        }
        part.push_str(&default_clause(column));
        parts.push(part);
    }
    for column in &table.generated {
        let mut part = format!("{} {}", quoted(&column.name), column.sql_type);
        let _ = write!(part, " GENERATED ALWAYS AS ({})", column.expression);
        part.push_str(if column.stored { " STORED" } else { " VIRTUAL" });
        parts.push(part);
    }
    let tail = if table.without_rowid { " WITHOUT ROWID" } else { "" };
    format!("CREATE TABLE {} ({}){tail}", quoted(name), parts.join(", "))
}

/// The indexes of a table: those of the manifest, and the engine's for UNIQUE and references, which
/// turn checks and cascades into look-ups. None is UNIQUE.
pub(crate) fn indexes(table: &Table) -> Vec<(String, String)> {
    use rejoin_protocol::manifest::Rule;
    let mut out: Vec<(String, String)> = Vec::new();
    let mut push = |name: String, columns: &[String]| {
        let columns = listed("", columns.iter().map(String::as_str));
        let sql = format!("CREATE INDEX {} ON {} ({columns})", quoted(&name), quoted(&table.name));
        out.push((name, sql));
    };
    for index in &table.indexes {
        push(index.name.clone(), &index.columns);
    }
    for (position, rule) in table.rules.iter().enumerate() {
        let name = format!("rejoin_rule_{}_{position}", table.number.0);
        match rule {
            Rule::Unique { columns } => push(name, columns),
            Rule::References { column, .. } => push(name, std::slice::from_ref(column)),
            Rule::NotNull { .. } | Rule::Check { .. } => {}
        }
    }
    out
}

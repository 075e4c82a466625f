//! The tables of the app as SQL text. Pure.
//!
//! A synced table carries only its key natively; every other rule is the engine's (R5), so that a base row is never
//! refused.

use std::fmt::Write as _;

use rejoin_protocol::ColumnKind;

use crate::engine::schema::model::{Column, Table};

/// A name as SQL writes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names, quoted, with a prefix, joined by commas.
pub(crate) fn listed<'a>(prefix: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("{prefix}{}", quoted(name))).collect();
    names.join(", ")
}

/// The type that the column is declared with. An integer key is INT, not INTEGER: it would else be the rowid, which SQLite
/// gives when the app does not (D3).
fn declared_type(table: &Table, position: usize) -> &'static str {
    let kind = table.columns[position].kind;
    match kind {
        ColumnKind::Int | ColumnKind::Int64 if position == table.key => "INT",
        _ => kind.sqlite_type(),
    }
}

/// The default of a column, ready to stand in its definition.
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

/// The indexes of a table: those that the manifest asks for, and ours for UNIQUE and references, which make a check after
/// a statement, and a cascade, a look-up. None is UNIQUE.
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

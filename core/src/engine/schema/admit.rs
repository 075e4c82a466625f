//! Checks a manifest before it is adopted: its size, and what its expressions call.
//!
//! A device evaluates rules, defaults and generated columns at each of its writes, so a server that can
//! choose them freely could make every write fail or exhaust the memory. A manifest that is already
//! stored is not checked again: the file must open.

use rejoin_protocol::limits::NAME;
use rejoin_protocol::manifest::{Manifest, Rule, TableManifest};

use crate::engine::schema::build::refused;
use crate::engine::schema::functions::{self, Use};
use crate::error::Result;

/// Tables of a manifest.
const MOST_TABLES: usize = 2_000;

/// Rules, indexes and generated columns of a table.
const MOST_PARTS: usize = 1_000;

/// The same of a manifest, without NOT NULL, which needs no statement.
const MOST_PARTS_IN_ALL: usize = 10_000;

/// Bytes of one expression.
const LONGEST: usize = 16 * 1024;

/// Bytes of the expressions of a table: its triggers contain all of them.
const LONGEST_IN_ALL: usize = 64 * 1024;

/// Bytes of the manifest as it is stored.
const LARGEST: usize = 16 * 1024 * 1024;

/// An expression of a manifest.
pub(super) struct Expression<'m> {
    /// Its place, for errors: `CHECK a`, `default of column b`.
    pub(super) place: String,
    /// Its text.
    pub(super) text: &'m str,
    /// What it is for.
    pub(super) of: Use,
}

/// Checks a manifest and its JSON.
pub(crate) fn check(manifest: &Manifest, json: &str) -> Result<()> {
    let first = manifest.tables.first().map_or("", |table| &table.table_name);
    if json.len() > LARGEST || manifest.tables.len() > MOST_TABLES {
        let why = format!(
            "the manifest has {} tables and {} bytes; at most {MOST_TABLES} and {LARGEST} are allowed",
            manifest.tables.len(),
            json.len()
        );
        return Err(refused(first, why));
    }
    let mut in_all = 0;
    for table in &manifest.tables {
        check_names(table)?;
        check_expressions(table)?;
        in_all += check_parts(table)?;
        if in_all > MOST_PARTS_IN_ALL {
            let why = format!(
                "the manifest has more than {MOST_PARTS_IN_ALL} rules, indexes and generated columns"
            );
            return Err(refused(&table.table_name, why));
        }
    }
    Ok(())
}

/// The expressions of a table.
pub(super) fn expressions(table: &TableManifest) -> impl Iterator<Item = Expression<'_>> {
    let is_local = table.rejoin.as_ref().is_some_and(|extension| extension.local_only);
    let defaults = table.columns.iter().filter_map(move |column| {
        let text = column.sqlite_default_sql.as_deref()?;
        let text = if is_local || column.default_kind != "server_only" { text } else { "" };
        let place = format!("default of column {}", column.name);
        (!text.trim().is_empty()).then_some(Expression { place, text, of: Use::Default })
    });
    let extension = table.rejoin.iter();
    let generated = extension.clone().flat_map(|extension| &extension.generated);
    let generated = generated.map(|column| Expression {
        place: format!("expression of column {}", column.name),
        text: &column.expression,
        of: Use::Row,
    });
    let rules = extension.flat_map(|extension| &extension.rules).filter_map(|rule| match rule {
        Rule::Check { name, expression } => {
            Some(Expression { place: format!("CHECK {name}"), text: expression, of: Use::Row })
        }
        _ => None,
    });
    defaults.chain(generated).chain(rules)
}

fn check_expressions(table: &TableManifest) -> Result<()> {
    let mut in_all = 0;
    for Expression { place, text, of } in expressions(table) {
        in_all += text.len();
        if text.len() > LONGEST || in_all > LONGEST_IN_ALL {
            let why = format!(
                "the {place} is too long: an expression has at most {LONGEST} bytes, those of a table {LONGEST_IN_ALL}"
            );
            return Err(refused(&table.table_name, why));
        }
        functions::check(text, of)
            .map_err(|why| refused(&table.table_name, format!("the {place} {why}")))?;
    }
    Ok(())
}

/// Checks the number of rules, indexes and generated columns; returns it without NOT NULL.
fn check_parts(table: &TableManifest) -> Result<usize> {
    let Some(extension) = &table.rejoin else { return Ok(0) };
    let rules = &extension.rules;
    let others = extension.indexes.len() + extension.generated.len();
    if rules.len() + others > MOST_PARTS {
        let why = format!("more than {MOST_PARTS} rules, indexes and generated columns");
        return Err(refused(&table.table_name, why));
    }
    Ok(others + rules.iter().filter(|rule| !matches!(rule, Rule::NotNull { .. })).count())
}

fn check_names(table: &TableManifest) -> Result<()> {
    let extension = table.rejoin.iter();
    let checks = extension.clone().flat_map(|extension| &extension.rules);
    let checks = checks.filter_map(|rule| match rule {
        Rule::Check { name, .. } => Some(name),
        _ => None,
    });
    let names = [&table.table_name].into_iter();
    let names = names.chain(table.columns.iter().map(|column| &column.name));
    let generated = extension.clone().flat_map(|extension| &extension.generated);
    let indexes = extension.flat_map(|extension| &extension.indexes);
    let names = names.chain(generated.map(|column| &column.name));
    let mut names = names.chain(indexes.map(|index| &index.name)).chain(checks);
    let Some(long) = names.find(|name| name.len() > NAME) else { return Ok(()) };
    let start = |name: &str| name.chars().take(40).collect::<String>();
    let why =
        format!("the name {}... has {} bytes; at most {NAME} are allowed", start(long), long.len());
    Err(refused(&start(&table.table_name), why))
}

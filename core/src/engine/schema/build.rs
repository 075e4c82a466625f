//! Builds the engine's table model from a manifest. Pure.
//!
//! Tables and columns that this release cannot sync are rejected by name here, before anything is
//! written.

use std::collections::HashSet;
use std::sync::Arc;

use rejoin_protocol::ColumnKind;
use rejoin_protocol::manifest::{
    ColumnManifest, GeneratedColumn, Manifest, Rule, SyncModel, TableExtension, TableManifest,
};

use crate::engine::schema::expression;
use crate::engine::schema::model::{Column, Schema, Table};
use crate::error::{Error, InputFault, Result};
use crate::ids::{ColumnId, TableNumber};

/// Old and new values of a row are arguments of one SQL function; SQLite allows at most 1,000.
const MOST_COLUMNS: usize = 499;

/// Assigns numbers to tables and columns: those of the file, or new ones.
pub(crate) trait Numbers {
    /// The number of a table.
    fn table(&mut self, name: &str) -> TableNumber;
    /// The identity of a column. `identity` is the server's, if it sends one.
    fn column(
        &mut self,
        table: TableNumber,
        name: &str,
        identity: Option<u32>,
        kind: ColumnKind,
    ) -> ColumnId;
}

/// The synced tables of a manifest.
pub(crate) fn build(manifest: &Manifest, numbers: &mut dyn Numbers) -> Result<Schema> {
    let mut schema = Schema { manifest: Some(manifest.clone()), ..Schema::default() };
    let mut names = HashSet::new();
    for table in manifest.synced() {
        if !names.insert(table.table_name.to_ascii_lowercase()) {
            return Err(refused(&table.table_name, "the manifest names it twice"));
        }
        let table = Arc::new(build_table(table, numbers)?);
        schema.by_name.insert(table.name.clone(), table.number);
        schema.tables.insert(table.number, table);
    }
    for table in schema.tables.values() {
        for rule in &table.rules {
            if let Rule::References { column, table: parent, .. } = rule
                && schema.named(parent).is_none()
            {
                let why = format!("column {column} references {parent}, which is not synced");
                return Err(refused(&table.name, why));
            }
        }
    }
    Ok(schema)
}

/// The error for a table that cannot be synced.
pub(crate) fn refused(table: &str, why: impl Into<String>) -> Error {
    Error::InvalidInput(InputFault::SchemaRefused { table: table.to_owned(), reason: why.into() })
}

/// Checks that an expression of a manifest stays one expression inside a statement of the engine.
pub(super) fn check_expression(table: &str, what: &str, text: &str) -> Result<()> {
    expression::check(text)
        .map_err(|why| refused(table, format!("the {what} is not one expression: it {why}")))
}

fn check_rules(table: &str, rules: &[Rule]) -> Result<()> {
    rules.iter().try_for_each(|rule| match rule {
        Rule::Check { name, expression } => {
            check_expression(table, &format!("CHECK {name}"), expression)
        }
        _ => Ok(()),
    })
}

fn build_table(manifest: &TableManifest, numbers: &mut dyn Numbers) -> Result<Table> {
    let name = &manifest.table_name;
    let none = TableExtension::default();
    let extension = manifest.rejoin.as_ref().unwrap_or(&none);
    name_is_free(name, name)?;
    let key = key_of(manifest)?;
    if manifest.columns.len() > MOST_COLUMNS {
        let why =
            format!("{} columns; at most {MOST_COLUMNS} can be captured", manifest.columns.len());
        return Err(refused(name, why));
    }
    check_rules(name, &extension.rules)?;
    let generated = extension.generated.iter().map(|column| build_generated(name, column));
    let generated = generated.collect::<Result<Vec<_>>>()?;
    let number = numbers.table(name);
    let mut seen = HashSet::new();
    for column in &extension.generated {
        if !seen.insert(column.name.to_ascii_lowercase()) {
            return Err(refused(name, format!("column {} is listed twice", column.name)));
        }
    }
    // A server may also list a computed column among the others.
    let is_generated = |column: &&ColumnManifest| {
        extension.generated.iter().any(|other| other.name.eq_ignore_ascii_case(&column.name))
    };
    let mut columns = Vec::with_capacity(manifest.columns.len());
    for column in manifest.columns.iter().filter(|column| !is_generated(column)) {
        if !seen.insert(column.name.to_ascii_lowercase()) {
            return Err(refused(name, format!("column {} is listed twice", column.name)));
        }
        columns.push(build_column(manifest, extension, column, number, numbers)?);
    }
    let position =
        |wanted: &str| columns.iter().position(|column| column.name.eq_ignore_ascii_case(wanted));
    let key = position(key)
        .ok_or_else(|| refused(name, format!("key {key} is not among its columns")))?;
    // In the log every column belongs to the app.
    let of_server = |column: &str| position(column).filter(|_| manifest.sync() != SyncModel::Log);
    if !matches!(columns[key].kind, ColumnKind::String | ColumnKind::Int | ColumnKind::Int64) {
        let why = format!("key {} is neither text nor an integer", columns[key].name);
        return Err(refused(name, why));
    }
    let table = Table {
        number,
        owner: manifest.bucket_by_column.as_deref().and_then(position),
        name: name.clone(),
        sync: manifest.sync(),
        key,
        updated_at: of_server(&manifest.updated_at_column),
        deleted_at: of_server(&manifest.deleted_at_column),
        columns,
        rules: extension.rules.clone(),
        generated,
        indexes: extension.indexes.clone(),
        writable: is_writable(manifest),
        without_rowid: extension.without_rowid,
        policy: extension.policy,
        whole_rows: extension.whole_rows,
        removed: Vec::new(),
    };
    named_columns_exist(&table, &seen)?;
    Ok(table)
}

/// The push policy is for mutations; for entries of the log the membership of the user decides.
fn is_writable(manifest: &TableManifest) -> bool {
    manifest.sync() == SyncModel::Log || manifest.push_policy != "disabled"
}

fn key_of(manifest: &TableManifest) -> Result<&str> {
    match manifest.primary_key.as_slice() {
        [key] => Ok(key),
        [] => Err(refused(
            &manifest.table_name,
            "it has no key; one key column set by the app is required",
        )),
        keys => Err(refused(
            &manifest.table_name,
            format!("key ({}) has several columns; one is needed", keys.join(", ")),
        )),
    }
}

fn build_column(
    table: &TableManifest,
    extension: &TableExtension,
    column: &ColumnManifest,
    number: TableNumber,
    numbers: &mut dyn Numbers,
) -> Result<Column> {
    let name = &column.name;
    if name.is_empty() || name.contains('\0') {
        return Err(refused(&table.table_name, "a column without a name"));
    }
    let kind = ColumnKind::of(&column.logical_type, &column.db_type).ok_or_else(|| {
        let why = format!("column {name} has the unknown type {}", column.logical_type);
        refused(&table.table_name, why)
    })?;
    let default = default_of(column, kind);
    if let Some(sql) = &default {
        check_expression(&table.table_name, &format!("default of column {name}"), sql)?;
    }
    let identity = extension.identities.iter().find(|identity| identity.name == *name);
    Ok(Column {
        id: numbers.column(number, name, identity.map(|identity| identity.id), kind),
        name: name.clone(),
        kind,
        default,
        protected: table.is_protected(name),
    })
}

fn build_generated(table: &str, column: &GeneratedColumn) -> Result<GeneratedColumn> {
    let name = &column.name;
    if name.is_empty() || name.contains('\0') {
        return Err(refused(table, "a column without a name"));
    }
    check_expression(table, &format!("expression of column {name}"), &column.expression)?;
    let sql_type = expression::declared_type(&column.sql_type).to_owned();
    Ok(GeneratedColumn { sql_type, ..column.clone() })
}

/// A default that the device can compute; an instant is always written in the canonical form.
fn default_of(column: &ColumnManifest, kind: ColumnKind) -> Option<String> {
    let sql = column.sqlite_default_sql.as_deref()?.trim();
    if sql.is_empty() || column.default_kind == "server_only" {
        return None;
    }
    let bare = sql.trim_start_matches('(').trim_end_matches(')').trim();
    if kind == ColumnKind::Datetime && bare.eq_ignore_ascii_case("CURRENT_TIMESTAMP") {
        return Some(String::from("rejoin_now()"));
    }
    match kind {
        // v0.1.2 sends an array's `{}` for JSON; only PostgreSQL can parse other array literals.
        ColumnKind::Array if bare == "'{}'" => Some(String::from("'[]'")),
        ColumnKind::Array if bare.starts_with("'{") => None,
        _ => Some(sql.to_owned()),
    }
}

/// Checks that a name is reserved neither by SQLite nor by the engine.
pub(super) fn name_is_free(table: &str, name: &str) -> Result<()> {
    let begins = |start: &str| {
        name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
    };
    if name.is_empty() || name.contains('\0') {
        return Err(refused(table, "a name is empty"));
    }
    if begins("rejoin_") || begins("sqlite_") {
        return Err(refused(table, format!("the name {name} is reserved")));
    }
    Ok(())
}

/// Checks that rules, indexes and generated columns name only columns of the table.
fn named_columns_exist(table: &Table, names: &HashSet<String>) -> Result<()> {
    let known = |column: &String| {
        if names.contains(&column.to_ascii_lowercase()) {
            return Ok(());
        }
        Err(refused(&table.name, format!("a rule or index names the unknown column {column}")))
    };
    let stored = |column: &String| {
        table.column_named(column).map(drop).ok_or_else(|| {
            refused(&table.name, format!("a rule names column {column}, which is not stored"))
        })
    };
    for rule in &table.rules {
        match rule {
            Rule::NotNull { column } | Rule::References { column, .. } => stored(column)?,
            Rule::Unique { columns } => columns.iter().try_for_each(stored)?,
            Rule::Check { .. } => {}
        }
    }
    for index in &table.indexes {
        name_is_free(&table.name, &index.name)?;
        index.columns.iter().try_for_each(known)?;
    }
    Ok(())
}

//! Builds the engine's table model from a manifest. Pure.
//!
//! [`rejoin_protocol::admit`] has checked the manifest, before anything is written.

use std::sync::Arc;

use rejoin_protocol::manifest::{
    ColumnManifest, GeneratedColumn, Manifest, SyncModel, TableExtension, TableManifest,
};
use rejoin_protocol::{ColumnKind, expression};

use crate::engine::schema::model::{Column, Schema, Table};
use crate::error::{Error, InputFault, Result};
use crate::ids::{ColumnId, TableNumber};

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

/// The synced tables of a manifest whose parts were checked by [`rejoin_protocol::admit`].
pub(crate) fn build(manifest: &Manifest, numbers: &mut dyn Numbers) -> Result<Schema> {
    let mut schema = Schema { manifest: Some(manifest.clone()), ..Schema::default() };
    for table in manifest.synced() {
        let table = Arc::new(build_table(table, numbers)?);
        schema.by_name.insert(table.name.clone(), table.number);
        schema.tables.insert(table.number, table);
    }
    Ok(schema)
}

/// The error for a table that cannot be synced.
pub(crate) fn refused(table: &str, why: impl Into<String>) -> Error {
    Error::InvalidInput(InputFault::SchemaRefused { table: table.to_owned(), reason: why.into() })
}

fn build_table(manifest: &TableManifest, numbers: &mut dyn Numbers) -> Result<Table> {
    let name = &manifest.table_name;
    let none = TableExtension::default();
    let extension = manifest.rejoin.as_ref().unwrap_or(&none);
    let generated = extension.generated.iter().map(|column| GeneratedColumn {
        sql_type: expression::declared_type(&column.sql_type).to_owned(),
        ..column.clone()
    });
    let generated = generated.collect();
    let number = numbers.table(name);
    // A server may also list a computed column among the others.
    let is_generated = |column: &&ColumnManifest| {
        extension.generated.iter().any(|other| other.name.eq_ignore_ascii_case(&column.name))
    };
    let mut columns = Vec::with_capacity(manifest.columns.len());
    for column in manifest.columns.iter().filter(|column| !is_generated(column)) {
        columns.push(build_column(manifest, extension, column, number, numbers)?);
    }
    let position =
        |wanted: &str| columns.iter().position(|column| column.name.eq_ignore_ascii_case(wanted));
    let key = manifest.key().and_then(position);
    let key = key.ok_or_else(|| refused(name, "its key is not among its columns"))?;
    // In the log every column belongs to the app.
    let of_server = |column: &str| position(column).filter(|_| manifest.sync() != SyncModel::Log);
    Ok(Table {
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
    })
}

/// The push policy is for mutations; for entries of the log the membership of the user decides.
fn is_writable(manifest: &TableManifest) -> bool {
    manifest.sync() == SyncModel::Log || manifest.push_policy != "disabled"
}

fn build_column(
    table: &TableManifest,
    extension: &TableExtension,
    column: &ColumnManifest,
    number: TableNumber,
    numbers: &mut dyn Numbers,
) -> Result<Column> {
    let name = &column.name;
    let kind = ColumnKind::of(&column.logical_type, &column.db_type).ok_or_else(|| {
        let why = format!("column {name} has the unknown type {}", column.logical_type);
        refused(&table.table_name, why)
    })?;
    let identity = extension.identities.iter().find(|identity| identity.name == *name);
    Ok(Column {
        id: numbers.column(number, name, identity.map(|identity| identity.id), kind),
        name: name.clone(),
        kind,
        default: default_of(column, kind),
        protected: table.is_protected(name),
    })
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

//! The same table, synced by Rejoin.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use rejoin_core::engine::{Engine, OpenOptions};
use rejoin_core::host::SystemHost;
use rejoin_core::value::Value;
use rejoin_protocol::Manifest;
use rejoin_protocol::manifest::{ColumnManifest, SyncModel, TableManifest};

/// The manifest of the table.
pub(crate) fn manifest() -> Manifest {
    let column = |(name, db_type, logical_type): (&str, &str, &str)| ColumnManifest {
        name: name.to_owned(),
        db_type: db_type.to_owned(),
        logical_type: logical_type.to_owned(),
        nullable: name != "id",
        default_kind: "none".to_owned(),
        is_primary_key: name == "id",
        ..ColumnManifest::default()
    };
    let columns = [
        ("id", "text", "string"),
        ("title", "text", "string"),
        ("body", "text", "string"),
        ("count", "bigint", "int64"),
        ("amount", "double precision", "float"),
        ("done", "boolean", "boolean"),
        ("note", "text", "string"),
        ("updated_at", "timestamp with time zone", "datetime"),
    ];
    let table = TableManifest {
        table_name: "item".to_owned(),
        push_policy: "owner_only".to_owned(),
        updated_at_column: "updated_at".to_owned(),
        deleted_at_column: "deleted_at".to_owned(),
        primary_key: vec!["id".to_owned()],
        columns: columns.map(column).into(),
        ..TableManifest::default()
    };
    Manifest::new(1, vec![table])
}

/// Opens a file with the table.
pub(crate) fn open(path: &Path) -> Result<Engine> {
    open_in(path, SyncModel::Rows)
}

/// Opens a file with the table in this model.
pub(crate) fn open_in(path: &Path, sync: SyncModel) -> Result<Engine> {
    open_with(path, |table| table.rejoin.get_or_insert_default().sync = sync)
}

/// Opens a file with the table of the log, whose rows are in one of two [`BUCKETS`].
pub(crate) fn open_in_buckets(path: &Path) -> Result<Engine> {
    open_with(path, |table| {
        table.rejoin.get_or_insert_default().sync = SyncModel::Log;
        table.bucket_by_column = Some("done".to_owned());
        table.bucket_prefix = Some("done:".to_owned());
    })
}

/// The buckets of [`open_in_buckets`].
pub(crate) const BUCKETS: [&str; 2] = ["done:0", "done:1"];

fn open_with(path: &Path, change: impl Fn(&mut TableManifest)) -> Result<Engine> {
    let mut manifest = manifest();
    manifest.tables.iter_mut().for_each(change);
    let options = OpenOptions { path: path.to_owned(), manifest: Some(manifest) };
    Ok(Engine::open(&options, Arc::new(SystemHost::default()))?)
}

/// The row with this number, in the engine's form.
pub(crate) fn row(number: usize) -> [Value; 8] {
    as_values(crate::raw::row(number))
}

/// The row with this number under a key spread over the table.
pub(crate) fn spread_row(number: usize) -> [Value; 8] {
    as_values(crate::raw::keyed(crate::raw::spread(number), number))
}

fn as_values(row: [rusqlite::types::Value; 8]) -> [Value; 8] {
    row.map(|value| match value {
        rusqlite::types::Value::Null => Value::Null,
        rusqlite::types::Value::Integer(number) => Value::Integer(number),
        rusqlite::types::Value::Real(number) => Value::Real(number),
        rusqlite::types::Value::Text(text) => Value::Text(text),
        rusqlite::types::Value::Blob(bytes) => Value::Blob(bytes),
    })
}

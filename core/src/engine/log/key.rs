//! Keys and ids of entries as cells, and keys of rows.

use rejoin_log::ids::{EntryId, Name};
use rejoin_log::key::Key;
use rejoin_protocol::ColumnKind;
use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type};
use uuid::Uuid;

use crate::engine::schema::model::Table;
use crate::value::Value;

/// The value of a row's key column; `None` if no key of this table has this name.
pub(crate) fn value_of(table: &Table, id: &Name) -> Option<Value> {
    match table.key_column().kind {
        ColumnKind::Int | ColumnKind::Int64 => {
            let number: i64 = id.as_str().parse().ok()?;
            (number.to_string() == id.as_str()).then_some(Value::Integer(number))
        }
        _ => Some(Value::from(id.as_str())),
    }
}

/// The key of a query's first column.
pub(super) fn from_bytes(row: &Row<'_>) -> rusqlite::Result<Key> {
    let bytes: Vec<u8> = row.get(0)?;
    let size = FromSqlError::InvalidBlobSize { expected_size: 48, blob_size: bytes.len() };
    let wrong = || rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(size));
    Key::from_bytes(&bytes).ok_or_else(wrong)
}

/// The id in a query's first column.
pub(super) fn id_of(row: &Row<'_>) -> rusqlite::Result<EntryId> {
    row.get(0).map(Uuid::from_bytes).map(EntryId)
}

//! Keys and ids of entries as cells.

use rejoin_log::ids::EntryId;
use rejoin_log::key::Key;
use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type};
use uuid::Uuid;

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

//! Keys of entries as bytes: time, counter, author and id, big-endian, so that bytes compare as
//! keys do. Pure but for the type of the error.

use rejoin_log::ids::{AuthorId, EntryId};
use rejoin_log::key::Key;
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use uuid::Uuid;

/// The key as stored.
pub(super) struct KeyBytes([u8; 48]);

pub(super) fn to_bytes(key: &Key) -> KeyBytes {
    let mut bytes = [0; 48];
    bytes[..8].copy_from_slice(&key.millis.to_be_bytes());
    bytes[8..16].copy_from_slice(&key.counter.to_be_bytes());
    bytes[16..32].copy_from_slice(key.author.0.as_bytes());
    bytes[32..].copy_from_slice(key.id.0.as_bytes());
    KeyBytes(bytes)
}

/// The key of a query's first column.
pub(super) fn from_bytes(row: &Row<'_>) -> rusqlite::Result<Key> {
    let KeyBytes(bytes) = row.get(0)?;
    let (millis, rest) = number(&bytes);
    let (counter, rest) = number(rest);
    let (author, id) = rest.split_at(16);
    let uuid = |bytes| Uuid::from_slice(bytes).unwrap_or_default();
    Ok(Key { millis, counter, author: AuthorId(uuid(author)), id: EntryId(uuid(id)) })
}

fn number(bytes: &[u8]) -> (u64, &[u8]) {
    let (number, rest) = bytes.split_at(8);
    (number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), rest)
}

/// The id in a query's first column.
pub(super) fn id_of(row: &Row<'_>) -> rusqlite::Result<EntryId> {
    row.get(0).map(Uuid::from_bytes).map(EntryId)
}

impl ToSql for KeyBytes {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
    }
}

impl FromSql for KeyBytes {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        let size = |_| FromSqlError::InvalidBlobSize { expected_size: 48, blob_size: bytes.len() };
        bytes.try_into().map(Self).map_err(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_order_as_keys_and_give_the_key_back() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        let mut random = fastrand::Rng::with_seed(5);
        let mut key = || {
            let mut uuid = || Uuid::from_u128(random.u128(..) >> (random.u32(0..2) * 127));
            let (author, id) = (AuthorId(uuid()), EntryId(uuid()));
            let mut number = || [0, 1, 255, 256, u64::MAX, random.u64(..)][random.usize(..6)];
            Key { millis: number(), counter: number(), author, id }
        };
        for _ in 0..2_000 {
            let (left, right) = (key(), key());
            assert_eq!(left.cmp(&right), to_bytes(&left).0.cmp(&to_bytes(&right).0));
            let back = conn.query_row("SELECT ?1", [to_bytes(&left)], from_bytes).unwrap();
            assert_eq!(back, left);
        }
    }
}

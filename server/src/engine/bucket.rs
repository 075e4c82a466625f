//! Buckets that rows name themselves: a device puts a row into none that its user does not read.
//!
//! Else a device could put rows before others' eyes, or before everybody's. Operators do that: by SQL, or by giving a user the
//! bucket first.

use rejoin_protocol::{ColumnKind, Value};

use super::conflict::is_equal;
use crate::model::{BucketColumn, GLOBAL, Row, Table};

/// The position of the bucket column, if one of these cells puts the row (`None`: a new one) into a bucket that is not held.
pub(super) fn foreign(
    table: &Table,
    row: Option<&Row>,
    cells: &[(usize, Value)],
    held: &[String],
) -> Option<usize> {
    let bucket = table.bucket.as_ref()?;
    // The owner and the parent of a row have rules of their own.
    if table.owner() == Some(bucket.column) || table.parent_column() == Some(bucket.column) {
        return None;
    }
    let (at, value) = cells.iter().find(|(at, _)| *at == bucket.column)?;
    let stays = row.is_some_and(|row| is_equal(table, row, *at, value));
    let kind = table.columns.get(*at).map(|column| column.kind);
    (!stays && !may_name(bucket, kind, value, held)).then_some(*at)
}

/// Whether this value names no bucket, or one that is held. Everybody's is nobody's to fill.
fn may_name(
    bucket: &BucketColumn,
    kind: Option<ColumnKind>,
    value: &Value,
    held: &[String],
) -> bool {
    let name = match (kind, value) {
        (_, Value::Null) => String::new(),
        (Some(ColumnKind::String), Value::Text(text)) => text.clone(),
        (Some(ColumnKind::Int | ColumnKind::Int64), Value::Integer(number)) => number.to_string(),
        // The database writes it in words of its own.
        _ => return false,
    };
    if name.is_empty() {
        return !bucket.global;
    }
    let name = format!("{}{name}", bucket.prefix);
    name != GLOBAL && held.contains(&name)
}

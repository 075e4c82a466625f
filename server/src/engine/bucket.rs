//! Buckets named by row contents: a device may only write rows into buckets that its user reads.
//!
//! Otherwise a device could show rows to other users. Operators publish rows by SQL, or by
//! subscribing the user to the bucket first.

use rejoin_protocol::{ColumnKind, Value};

use super::conflict::is_equal;
use crate::model::{BucketColumn, GLOBAL, Row, Table};

/// The position of the bucket column, if one of these cells moves the row (`None`: a new row) into
/// a bucket that the user does not read.
pub(super) fn foreign(
    table: &Table,
    row: Option<&Row>,
    cells: &[(usize, Value)],
    held: &[String],
) -> Option<usize> {
    let bucket = table.bucket.as_ref()?;
    // Owner and parent columns have rules of their own.
    if table.owner() == Some(bucket.column) || table.parent_column() == Some(bucket.column) {
        return None;
    }
    let (at, value) = cells.iter().find(|(at, _)| *at == bucket.column)?;
    let stays = row.is_some_and(|row| is_equal(table, row, *at, value));
    let kind = table.columns.get(*at).map(|column| column.kind);
    (!stays && !may_name(bucket, kind, value, held)).then_some(*at)
}

/// Whether this value names no bucket, or one that the user reads. Devices cannot write to the
/// public bucket.
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
        // The database formats such a value differently.
        _ => return false,
    };
    if name.is_empty() {
        return !bucket.global;
    }
    let name = format!("{}{name}", bucket.prefix);
    name != GLOBAL && held.contains(&name)
}

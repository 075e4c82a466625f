//! Buckets named by row contents: a device may only write rows into buckets that its user reads.
//!
//! Otherwise a device could show rows to other users. Operators publish rows by SQL, or by
//! subscribing the user to the bucket first. The cells of a change are checked before the write, and
//! the row afterwards, because defaults and triggers may name a bucket too.

use rejoin_protocol::{ColumnKind, Value, equal};

use crate::model::{BucketColumn, GLOBAL, Row, Table};

/// The column that names a bucket. Owner and parent columns have rules of their own.
pub(super) fn column(table: &Table) -> Option<&BucketColumn> {
    let bucket = table.bucket.as_ref()?;
    let has_rules = [table.owner(), table.parent_column()].contains(&Some(bucket.column));
    (!has_rules).then_some(bucket)
}

/// The position of the bucket column, if one of these cells moves the row (`None`: a new or deleted
/// row) into a bucket that the user does not read.
pub(super) fn foreign(
    table: &Table,
    row: Option<&Row>,
    cells: &[(usize, Value)],
    held: &[String],
) -> Option<usize> {
    let bucket = column(table)?;
    let (at, value) = cells.iter().find(|(at, _)| *at == bucket.column)?;
    is_foreign(table, bucket, row.map(|row| row.cell(*at)), value, held).then_some(*at)
}

/// Whether this value of the bucket column moves the row from its former bucket (`None`: a new or
/// deleted row) into one that the user does not read.
pub(super) fn is_foreign(
    table: &Table,
    bucket: &BucketColumn,
    former: Option<&Value>,
    value: &Value,
    held: &[String],
) -> bool {
    let kind = table.columns.get(bucket.column).map(|column| column.kind);
    let stays = former
        .is_some_and(|former| equal::equal(former, value, kind.unwrap_or(ColumnKind::String)));
    !stays && !may_name(bucket, kind, value, held)
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

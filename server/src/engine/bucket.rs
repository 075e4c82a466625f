//! Buckets named by row contents: a device may only write rows into buckets that its user reads, and in
//! tables whose rows are written by their bucket, into those that its user writes.
//!
//! Otherwise a device could show rows to other users. Operators publish rows by SQL, or by granting
//! the user the bucket first. The cells of a change are checked before the write, and
//! the row afterwards, because defaults and triggers may name a bucket too.

use rejoin_protocol::{ColumnKind, Value, equal};

use crate::model::{BucketColumn, GLOBAL, PushPolicy, Rights, Row, Table};

/// The column that names a bucket. Owner and parent columns have rules of their own.
pub(super) fn column(table: &Table) -> Option<&BucketColumn> {
    let bucket = table.bucket.as_ref()?;
    let has_rules = [table.owner, table.parent_column()].contains(&Some(bucket.column));
    (!has_rules).then_some(bucket)
}

/// The position of the bucket column, if one of these cells moves the row (`None`: a new or deleted
/// row) into a bucket that the user may not put rows into.
pub(super) fn foreign(
    table: &Table,
    row: Option<&Row>,
    cells: &[(usize, Value)],
    rights: &Rights,
) -> Option<usize> {
    let bucket = column(table)?;
    let (at, value) = cells.iter().find(|(at, _)| *at == bucket.column)?;
    is_foreign(table, bucket, row.map(|row| row.cell(*at)), value, rights).then_some(*at)
}

/// Whether this value of the bucket column moves the row from its former bucket (`None`: a new or
/// deleted row) into one that the user may not put rows into.
pub(super) fn is_foreign(
    table: &Table,
    bucket: &BucketColumn,
    former: Option<&Value>,
    value: &Value,
    rights: &Rights,
) -> bool {
    let kind = table.columns.get(bucket.column).map(|column| column.kind);
    let stays = former
        .is_some_and(|former| equal::equal(former, value, kind.unwrap_or(ColumnKind::String)));
    !stays && !may_name(table, (bucket, kind), value, rights)
}

/// The bucket whose users write the row, if the table's rows are written by their bucket.
pub(super) fn written(table: &Table, row: &Row) -> Option<String> {
    let bucket = table.bucket.as_ref().filter(|_| table.push == PushPolicy::Bucket)?;
    let value = row.cell(bucket.column);
    (!value.is_null()).then(|| format!("{}{}", bucket.prefix, value.to_id().unwrap_or_default()))
}

/// Whether this value names a bucket that the user may put rows into, or none. Devices cannot write to
/// the public bucket, and where the bucket decides who writes, they cannot write rows without one.
fn may_name(
    table: &Table,
    (bucket, kind): (&BucketColumn, Option<ColumnKind>),
    value: &Value,
    rights: &Rights,
) -> bool {
    let Some(name) = name((bucket, kind), value) else { return false };
    let is_writers = table.push == PushPolicy::Bucket;
    if name.is_empty() {
        return !bucket.global && !is_writers;
    }
    name != GLOBAL && if is_writers { rights.may_write(&name) } else { rights.may_read(&name) }
}

/// The bucket that this value names, empty for none; `None` if only the database knows its text.
fn name((bucket, kind): (&BucketColumn, Option<ColumnKind>), value: &Value) -> Option<String> {
    let text = match (kind, value) {
        (_, Value::Null) => return Some(String::new()),
        (Some(ColumnKind::String), Value::Text(text)) => text.clone(),
        (Some(ColumnKind::Int | ColumnKind::Int64), Value::Integer(number)) => number.to_string(),
        _ => return None,
    };
    Some(if text.is_empty() { text } else { format!("{}{text}", bucket.prefix) })
}

/// The bucket that these cells name, if it is one that can be granted.
pub(super) fn named(table: &Table, cells: &[(usize, Value)]) -> Option<String> {
    let bucket = column(table)?;
    let (_, value) = cells.iter().find(|(at, _)| *at == bucket.column)?;
    let kind = table.columns.get(bucket.column).map(|column| column.kind);
    name((bucket, kind), value).filter(|name| !name.is_empty() && name != GLOBAL)
}

//! Values that no other row of a table has, for rows that give up their own for a moment.
//!
//! The final value is written in the same transaction. A value may be refused (a CHECK, a type that
//! has no spare values): then the row keeps its own.

use rejoin_protocol::manifest::ColumnManifest;
use rejoin_protocol::{ColumnKind, Value, time};
use uuid::Uuid;

use crate::model::{Schema, Table};

/// 9000-01-01T00:00:00Z, in microseconds.
const FAR: i64 = 221_845_392_000_000_000;

/// In microseconds.
const HOUR: i64 = 3_600_000_000;

/// NULL if the column takes it, else a value that is unlikely to be in use; `None` if there is none, or
/// if the column decides who may read the row. `place`: another one for each row.
pub(super) fn free_value(schema: &Schema, table: &Table, at: usize, place: usize) -> Option<Value> {
    let column = table.columns.get(at)?;
    let bucket = table.bucket.as_ref().map(|bucket| bucket.column);
    let fixed = [Some(table.key), table.deleted_at, table.owner, table.parent_column(), bucket];
    if fixed.contains(&Some(at)) || column.protected {
        return None;
    }
    let declared = declared(schema, table, at)?;
    if declared.nullable {
        return Some(Value::Null);
    }
    if table.references.iter().any(|reference| reference.column == at) {
        return None;
    }
    // Columns of one row keep their order: a period ends after its begin.
    let place = i64::try_from(place).ok()?;
    let instant = FAR + place.checked_mul(HOUR)? + i64::try_from(at).ok()? * 1_000_000;
    let text = |value: String| Some(Value::Text(value));
    match column.kind {
        ColumnKind::String if declared.db_type == "uuid" => text(Uuid::new_v4().to_string()),
        ColumnKind::String => {
            let most = size(&declared.db_type).map_or(32, |(most, _)| most);
            text(Uuid::new_v4().simple().to_string().chars().rev().take(most).collect())
        }
        ColumnKind::Int if declared.db_type == "smallint" => Some(Value::Integer(32_767 - place)),
        ColumnKind::Int => Some(Value::Integer(i64::from(i32::MAX) - place)),
        ColumnKind::Int64 => Some(Value::Integer((1 << 53) - 1 - place)),
        ColumnKind::Float => Some(Value::Real(9e15 - f64::from(u32::try_from(place).ok()?))),
        ColumnKind::Numeric => {
            let (digits, scale) = size(&declared.db_type).unwrap_or((18, 0));
            let whole = u32::try_from(digits.saturating_sub(scale).min(18)).ok()?;
            text((10_i64.checked_pow(whole)? - 1 - place).to_string())
        }
        ColumnKind::Datetime => text(time::format(instant)),
        ColumnKind::Date => {
            text(time::format(instant + place * 23 * HOUR).chars().take(10).collect())
        }
        ColumnKind::Bytes => Some(Value::Blob(Uuid::new_v4().into_bytes().to_vec())),
        ColumnKind::Boolean | ColumnKind::Time | ColumnKind::Json | ColumnKind::Array => None,
    }
}

/// Whether the column takes NULL.
pub(super) fn is_nullable(schema: &Schema, table: &Table, at: usize) -> bool {
    declared(schema, table, at).is_some_and(|declared| declared.nullable)
}

fn declared<'s>(schema: &'s Schema, table: &Table, at: usize) -> Option<&'s ColumnManifest> {
    let column = table.columns.get(at)?;
    let named = schema.manifest.tables.iter().find(|named| named.table_name == table.name)?;
    named.columns.iter().find(|named| named.name == column.name)
}

/// The numbers in the parentheses of a declared type: a length, or digits and those behind the point.
fn size(declared: &str) -> Option<(usize, usize)> {
    let (_, numbers) = declared.split_once('(')?;
    let mut numbers = numbers.trim_end_matches(|c: char| !c.is_ascii_digit()).split(',');
    let most = numbers.next()?.trim().parse().ok()?;
    let scale = numbers.next().and_then(|scale| scale.trim().parse().ok());
    Some((most, scale.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn size_of_a_declared_type_is_read() {
        let table = [
            ("text", None),
            ("character varying(10)", Some((10, 0))),
            ("numeric(10,2)", Some((10, 2))),
            ("numeric(5, 0)", Some((5, 0))),
            ("character(3)", Some((3, 0))),
        ];
        for (declared, expected) in table {
            assert_eq!(size(declared), expected, "{declared}");
        }
    }
}

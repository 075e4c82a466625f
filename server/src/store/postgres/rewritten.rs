//! Detects that a schema change has rewritten the values of a table: `ALTER COLUMN ... TYPE ... USING`, another
//! precision, a renamed label of an enum. No trigger is called, so no device would get the values.
//!
//! A rewrite gives the table another file and changes the catalogue row of the column; `VACUUM FULL` and `CLUSTER` do
//! only the former, `SET NOT NULL` only the latter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::connection::Connection;
use crate::error::ServerError;

/// What the stored values depend on.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Stored {
    /// The files of the table and of its partitions.
    files: Vec<i64>,
    /// The transaction that wrote the catalogue row of each column, by `attnum`.
    columns: BTreeMap<i32, String>,
    /// The labels of the enums of its columns.
    labels: BTreeMap<i64, String>,
}

const SELECT: &str = "SELECT (SELECT json_build_object(
      'files', (SELECT json_agg(c.relfilenode::bigint ORDER BY c.oid) FROM pg_class AS c WHERE c.oid = n.relation
        OR c.oid IN (SELECT h.inhrelid FROM pg_inherits AS h WHERE h.inhparent = n.relation)),
      'columns', (SELECT coalesce(json_object_agg(a.attnum, a.xmin::text), '{}') FROM pg_attribute AS a
        WHERE a.attrelid = n.relation AND a.attnum > 0 AND NOT a.attisdropped),
      'labels', (SELECT coalesce(json_object_agg(e.oid::bigint, e.enumlabel), '{}') FROM pg_enum AS e WHERE e.enumtypid IN (
        SELECT coalesce(nullif(t.typelem, 0), nullif(t.typbasetype, 0), t.oid) FROM pg_attribute AS a
        JOIN pg_type AS t ON t.oid = a.atttypid WHERE a.attrelid = n.relation AND a.attnum > 0)))::text),
    n.stored::text FROM rejoin.table_number AS n WHERE n.number = $1";

/// Whether the values of the table were rewritten since the last call, which it notes. `is_same`: it is the table that
/// had the number before; rows of another one are found otherwise.
pub(super) fn is_news(
    connection: &Connection,
    number: i32,
    is_same: bool,
) -> Result<bool, ServerError> {
    let Some(row) = connection.first(SELECT, &[&number])? else { return Ok(false) };
    let (now, before): (String, Option<String>) = (row.get(0), row.get(1));
    let put = "UPDATE rejoin.table_number SET stored = $2::text::json WHERE number = $1";
    connection.execute(put, &[&number, &now])?;
    let read = |text: &str| serde_json::from_str::<Stored>(text).unwrap_or_default();
    Ok(before.is_some_and(|before| is_same && read(&now).differs_from(&read(&before))))
}

impl Stored {
    /// Columns and labels that are new, or gone, rewrite no value of another column.
    fn differs_from(&self, before: &Self) -> bool {
        fn changed<K: Ord>(now: &BTreeMap<K, String>, before: &BTreeMap<K, String>) -> bool {
            now.iter().any(|(key, value)| before.get(key).is_some_and(|other| other != value))
        }
        changed(&self.labels, &before.labels)
            || self.files != before.files && changed(&self.columns, &before.columns)
    }
}

#[cfg(test)]
mod tests {
    use super::Stored;

    fn stored(files: &[i64], columns: &[(i32, &str)], labels: &[(i64, &str)]) -> Stored {
        let text = |text: &&str| (*text).to_owned();
        Stored {
            files: files.to_vec(),
            columns: columns.iter().map(|(at, xmin)| (*at, text(xmin))).collect(),
            labels: labels.iter().map(|(id, label)| (*id, text(label))).collect(),
        }
    }

    #[test]
    fn rewrite_is_another_file_and_another_column() {
        let before = stored(&[1], &[(1, "10"), (2, "10")], &[(5, "a")]);
        for (name, now, expected) in [
            ("nothing", stored(&[1], &[(1, "10"), (2, "10")], &[(5, "a")]), false),
            ("VACUUM FULL", stored(&[2], &[(1, "10"), (2, "10")], &[(5, "a")]), false),
            ("SET NOT NULL", stored(&[1], &[(1, "10"), (2, "11")], &[(5, "a")]), false),
            ("ADD COLUMN", stored(&[2], &[(1, "10"), (2, "10"), (3, "11")], &[(5, "a")]), false),
            ("DROP COLUMN", stored(&[1], &[(1, "10")], &[(5, "a")]), false),
            ("ADD VALUE", stored(&[1], &[(1, "10"), (2, "10")], &[(5, "a"), (6, "b")]), false),
            ("TYPE USING", stored(&[2], &[(1, "10"), (2, "11")], &[(5, "a")]), true),
            ("RENAME VALUE", stored(&[1], &[(1, "10"), (2, "10")], &[(5, "b")]), true),
        ] {
            assert_eq!(now.differs_from(&before), expected, "{name}");
        }
    }
}

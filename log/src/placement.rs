//! The placement of rows as the manifest declares it: one column of the row names its bucket.
//!
//! Server and device build it from the same manifest, so they place every row alike. A row whose
//! column is NULL, empty, or neither text nor an integer lies in no bucket: no user may read it.

use std::collections::BTreeMap;

use rejoin_protocol::{Manifest, Value};

use super::ids::{Buckets, Name};
use super::row::{LogRow, Placement, RowName};

/// Each table of the log with the column that names the bucket of its rows.
#[derive(Debug, Clone, Default)]
pub struct ColumnPlacement(BTreeMap<Name, BucketColumn>);

#[derive(Debug, Clone)]
struct BucketColumn {
    column: String,
    prefix: String,
}

impl ColumnPlacement {
    /// The placement of the manifest's tables of the log.
    pub fn of(manifest: &Manifest) -> Self {
        let tables = manifest.in_log().filter_map(|table| {
            let column = table.bucket_by_column.clone()?;
            let prefix = table.bucket_prefix.clone().unwrap_or_default();
            Some((Name::from(table.table_name.as_str()), BucketColumn { column, prefix }))
        });
        Self(tables.collect())
    }
}

impl Placement for ColumnPlacement {
    fn buckets(&self, row: &RowName, image: &LogRow) -> Buckets {
        let Some(BucketColumn { column, prefix }) = self.0.get(&row.table) else {
            return Buckets::default();
        };
        let value = image.get(column).and_then(Value::to_id);
        let named = value.filter(|value| !value.is_empty());
        named.into_iter().map(|value| format!("{prefix}{value}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use rejoin_protocol::manifest::{SyncModel, TableExtension, TableManifest};
    use rejoin_protocol::{Manifest, Value};

    use super::ColumnPlacement;
    use crate::ids::Buckets;
    use crate::row::{LogRow, Placement as _, RowName};

    #[test]
    fn column_of_the_manifest_names_the_bucket() {
        let table = |name: &str, sync| TableManifest {
            table_name: name.to_owned(),
            bucket_by_column: Some(String::from("event")),
            bucket_prefix: Some(String::from("event:")),
            rejoin: Some(TableExtension { sync, ..TableExtension::default() }),
            ..TableManifest::default()
        };
        let tables = vec![table("seats", SyncModel::Log), table("places", SyncModel::Rows)];
        let placement = ColumnPlacement::of(&Manifest::new(1, tables));
        // table, value of the column, bucket
        let cases = [
            ("seats", Value::from("e1"), Some("event:e1")),
            ("seats", Value::from(7), Some("event:7")),
            ("seats", Value::from(""), None),
            ("seats", Value::Null, None),
            ("seats", Value::Real(1.0), None),
            ("seats", Value::Blob(vec![1]), None),
            ("places", Value::from("e1"), None),
            ("others", Value::from("e1"), None),
        ];
        for (table, value, bucket) in cases {
            let image = LogRow::from([("event", value.clone())]);
            let expected: Buckets = bucket.into_iter().collect();
            let placed = placement.buckets(&RowName::new(table, "1"), &image);
            assert_eq!(placed, expected, "{table} {value:?}");
        }
        let row = RowName::new("seats", "1");
        let none: [(&str, Value); 0] = [];
        assert!(placement.buckets(&row, &LogRow::from(none)).is_empty(), "the column is missing");
    }
}

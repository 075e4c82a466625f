//! The table digest (D30): how many rows, and the sum of their hashes, so that order does not matter.
//!
//! Both sides compute it with this code over base rows that the user may see, deleted ones left out. A row's hash covers
//! its key and every column that the digest of the table covers: all but generated and protected ones, `updated_at` kept.

use xxhash_rust::xxh3::xxh3_64;

use crate::manifest::TableManifest;
use crate::{ColumnKind, Value, equal, time};

/// The columns that a table's digest covers, as positions in the manifest's columns, in that order.
///
/// The key and every other column, but neither generated ones nor the server's own (`created_at`, the deletion's column,
/// the owner, whatever the table protects); the version's column is kept, so that equal digests mean equal versions. A
/// column of a type that this crate does not know is left out: such a manifest is refused before anybody digests it.
pub fn covered(table: &TableManifest) -> Vec<(usize, ColumnKind)> {
    let extension = table.rejoin.as_ref();
    let hidden = |name: &str| {
        extension.is_some_and(|extension| {
            extension.generated.iter().any(|generated| generated.name == name)
                || extension.owner_column.as_deref() == Some(name)
                || extension.protected.iter().any(|protected| protected == name)
        }) || name == "created_at"
            || name == table.deleted_at_column
    };
    let kept = |name: &str| name == table.updated_at_column || !hidden(name);
    let known = table.columns.iter().enumerate().filter(|(_, column)| kept(&column.name));
    known
        .filter_map(|(at, column)| {
            Some((at, ColumnKind::of(&column.logical_type, &column.db_type)?))
        })
        .collect()
}

/// The digest of a table, or of any set of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    /// How many rows.
    pub count: u64,
    /// The wrapping sum of their hashes.
    pub sum: u64,
}

impl Digest {
    /// Adds one row: its cells in the manifest's order, key included.
    pub fn add<'a>(&mut self, cells: impl IntoIterator<Item = (&'a Value, ColumnKind)>) {
        let mut bytes = Vec::with_capacity(128);
        for (value, kind) in cells {
            canonical(value, kind, &mut bytes);
        }
        self.count += 1;
        self.sum = self.sum.wrapping_add(xxh3_64(&bytes));
    }
}

/// Tag and bytes of a cell; equal values ([`equal::equal`]) give equal bytes.
fn canonical(value: &Value, kind: ColumnKind, out: &mut Vec<u8>) {
    match (value, kind) {
        (Value::Null, _) => out.push(0),
        (Value::Text(text), ColumnKind::Datetime) if time::parse(text).is_some() => {
            tagged(1, &time::parse(text).unwrap_or_default().to_le_bytes(), out);
        }
        (Value::Text(text), ColumnKind::Numeric) => numeric(text, out),
        (Value::Integer(number), ColumnKind::Numeric) => numeric(&number.to_string(), out),
        (Value::Real(number), ColumnKind::Numeric) => numeric(&number.to_string(), out),
        (Value::Text(text), ColumnKind::Json | ColumnKind::Array) => {
            // serde_json's map is sorted, so that the order of members does not matter.
            let text = serde_json::from_str::<serde_json::Value>(text)
                .map_or_else(|_| text.clone(), |json| json.to_string());
            tagged(5, text.as_bytes(), out);
        }
        (Value::Integer(number), _) => tagged(2, &number.to_le_bytes(), out),
        (Value::Real(number), _) => match equal::exact(*number) {
            Some(whole) => tagged(2, &whole.to_le_bytes(), out),
            None => tagged(3, &number.to_le_bytes(), out),
        },
        (Value::Text(text), _) => tagged(4, text.as_bytes(), out),
        (Value::Blob(bytes), _) => tagged(6, bytes, out),
    }
}

fn numeric(text: &str, out: &mut Vec<u8>) {
    match equal::decimal(text) {
        Some((negative, digits, scale)) => {
            tagged(7, &[u8::from(negative)], out);
            tagged(7, digits.as_bytes(), out);
            tagged(7, &scale.to_le_bytes(), out);
        }
        None => tagged(4, text.as_bytes(), out),
    }
}

fn tagged(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

//! The table digest: the row count and the sum of the row hashes, independent of row order.
//!
//! Both sides compute it with this code over the base rows that the user may see, without deleted
//! ones. A row's hash covers the cells of the columns of [`covered`], in that order.
//!
//! [`slice()`] divides the rows of a table, so that a search for a difference needs few of them.

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    ColumnKind, Value,
    equal::{Meaning, meaning},
    manifest::TableManifest,
};

/// The columns of a table's digest, as indexes into the manifest's columns, in that order.
///
/// The digest covers the key and all other columns except generated ones and those of
/// [`TableManifest::is_protected`]. It includes the version column, so that equal digests mean
/// equal versions. Columns of unknown types are left out: such a manifest is refused earlier.
pub fn covered(table: &TableManifest) -> Vec<(usize, ColumnKind)> {
    let kept = |name: &str| {
        name == table.updated_at_column || !(table.is_protected(name) || table.is_generated(name))
    };
    let covered = table.columns.iter().enumerate().filter(|(_, column)| kept(&column.name));
    covered.filter_map(|(at, column)| Some((at, column.kind()?))).collect()
}

/// The digest of a set of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    /// The number of rows.
    pub count: u64,
    /// The wrapping sum of the row hashes.
    pub sum: u64,
}

impl Digest {
    /// Adds one row: its cells in manifest order, including the key.
    pub fn add<'a>(&mut self, cells: impl IntoIterator<Item = (&'a Value, ColumnKind)>) {
        self.add_hash(row_hash(cells));
    }

    /// Adds one row by its hash.
    pub fn add_hash(&mut self, hash: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(hash);
    }

    /// The sum on the wire: sixteen hexadecimal digits, because JSON numbers are not exact to 64
    /// bits.
    pub fn sum_text(&self) -> String {
        hash_text(self.sum)
    }
}

/// The hash of one row: its cells in manifest order, including the key.
pub fn row_hash<'a>(cells: impl IntoIterator<Item = (&'a Value, ColumnKind)>) -> u64 {
    let mut bytes = Vec::with_capacity(128);
    for (value, kind) in cells {
        canonical(value, kind, &mut bytes);
    }
    xxh3_64(&bytes)
}

/// The slice of a row, by the text form of its key: a hash, so that both sides divide a table alike,
/// whatever order their databases give to keys. `slices` is at least 1.
pub fn slice(row_id: &str, slices: u32) -> u32 {
    let slice = xxh3_64(row_id.as_bytes()) % u64::from(slices.max(1));
    u32::try_from(slice).unwrap_or_default()
}

/// A hash on the wire: sixteen hexadecimal digits.
pub fn hash_text(hash: u64) -> String {
    format!("{hash:016x}")
}

/// Reads a hash from the wire.
pub fn read_hash(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// Tag, length and bytes of a cell; values that are [`crate::equal::equal`] give equal bytes.
fn canonical(value: &Value, kind: ColumnKind, out: &mut Vec<u8>) {
    match meaning(value, kind) {
        Meaning::Null => out.push(0),
        Meaning::Instant(micros) => tagged(1, &micros.to_le_bytes(), out),
        Meaning::Integer(number) => tagged(2, &number.to_le_bytes(), out),
        Meaning::Real(number) => tagged(3, &number.to_le_bytes(), out),
        Meaning::Text(text) => tagged(4, text.as_bytes(), out),
        Meaning::Json(text) => tagged(5, text.as_bytes(), out),
        Meaning::Bytes(bytes) => tagged(6, bytes, out),
        Meaning::Decimal(text) => tagged(7, text.as_bytes(), out),
    }
}

fn tagged(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    // A SQLite cell is smaller than 4 GiB.
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::{Digest, canonical, slice};
    use crate::{
        ColumnKind::{self, Boolean, Bytes, Datetime, Float, Int64, Json, Numeric, String},
        Value::{self, Blob, Integer, Null, Real},
    };

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    /// The row of the test vector in docs/protocol.md.
    fn row() -> Vec<(Value, ColumnKind)> {
        vec![
            (text("p1"), String),
            (text("B\u{e4}ckerei"), String),
            (Integer(9_007_199_254_740_993), Int64),
            (Real(0.5), Float),
            (Real(3.0), Float),
            (text("1.50"), Numeric),
            (Integer(1), Boolean),
            (text("2026-11-20 08:00:00"), Datetime),
            (text(r#"{"b":[2.0],"a":"x"}"#), Json),
            (Blob(vec![0, 255]), Bytes),
            (Null, String),
        ]
    }

    fn of(rows: &[Vec<(Value, ColumnKind)>]) -> Digest {
        let mut digest = Digest::default();
        for row in rows {
            digest.add(row.iter().map(|(value, kind)| (value, *kind)));
        }
        digest
    }

    #[test]
    fn canonical_bytes_match_the_documented_vector() {
        let mut bytes = Vec::new();
        for (value, kind) in &row() {
            canonical(value, *kind, &mut bytes);
        }
        let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let book: Vec<_> = include_str!("../../docs/protocol.md")
            .split_once("<!-- digest-bytes -->\n```text\n")
            .and_then(|(_, rest)| rest.split_once("```"))
            .map(|(block, _)| block.split_whitespace().collect())
            .unwrap_or_default();
        assert_eq!(hex, book);
    }

    #[test]
    fn sum_matches_the_documented_vector() {
        let digest = of(&[row()]);
        let book = include_str!("../../docs/protocol.md");
        assert!(book.contains(&format!("`sum` is `{}`", digest.sum_text())), "{digest:?}");
        assert_eq!(digest.count, 1);
    }

    #[test]
    fn slice_matches_the_documented_vector() {
        let book = include_str!("../../docs/protocol.md");
        let slices = [slice("p1", 1), slice("p1", 8), slice("", 8), slice("p1", 4096)];
        let documented = format!(
            "of 8 slices, `p1` is in slice {}, and the empty text in slice {}",
            slices[1], slices[2]
        );
        assert!(book.contains(&documented), "{documented}");
        assert_eq!(slices[0], 0);
        assert!(slices[3] < 4096);
    }

    #[test]
    fn digest_ignores_order_and_counts_duplicates() {
        let rows: Vec<Vec<(Value, ColumnKind)>> =
            (0..50).map(|number| vec![(Integer(number), Int64), (text("x"), String)]).collect();
        let mut shuffled = rows.clone();
        fastrand::Rng::with_seed(3).shuffle(&mut shuffled);
        assert_eq!(of(&rows), of(&shuffled));
        shuffled.push(rows[0].clone());
        assert_ne!(of(&rows), of(&shuffled));
    }

    #[test]
    fn equal_values_give_equal_digests_and_moved_cells_differ() {
        #[rustfmt::skip]
        let table = [
            (text("1.5"), text("1.50"), Numeric, true),
            (Integer(2), text("2.0"), Numeric, true),
            (text("2026-11-20T10:00:00Z"), text("2026-11-20 10:00:00"), Datetime, true),
            (text("[1.0]"), text("[ 1 ]"), Json, true),
            (Real(1.0), Integer(1), Float, true),
            (Real(0.5), Real(0.25), Float, false),
            (Null, text(""), String, false),
            (text("1"), text("1.0"), String, false),
        ];
        for (left, right, kind, same) in table {
            let digests = (of(&[vec![(left.clone(), kind)]]), of(&[vec![(right.clone(), kind)]]));
            assert_eq!(digests.0 == digests.1, same, "{left:?} {right:?}");
        }
        let split =
            |left: &str, right: &str| of(&[vec![(text(left), String), (text(right), String)]]);
        assert_ne!(split("ab", "c"), split("a", "bc"));
    }
}

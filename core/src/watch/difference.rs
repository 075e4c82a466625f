//! The difference between two results, by row key.

use std::collections::HashMap;

use crate::error::Result;
use crate::row_buffer::{Row, RowBuffer};

/// A new result of a watched query.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The whole result.
    pub rows: RowBuffer,
    /// The difference to the reader's previous result; `None` without a key. First, all rows are
    /// added.
    pub difference: Option<Difference>,
}

/// The difference to the previous result. Rows are identified by number, so nothing is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The previous result; `None` the first time.
    pub before: Option<RowBuffer>,
    /// Rows of the new result whose key is new.
    pub added: Vec<usize>,
    /// Rows of the new result whose key existed with other values.
    pub changed: Vec<usize>,
    /// Rows of the previous result whose key is gone.
    pub removed: Vec<usize>,
}

impl Difference {
    /// Compares two results. Rows with equal keys are paired in order.
    pub(crate) fn between(
        before: Option<&RowBuffer>,
        after: &RowBuffer,
        key: &[String],
    ) -> Result<Self> {
        let mut old: HashMap<(Vec<u8>, usize), usize> = HashMap::new();
        let mut counts = HashMap::new();
        if let Some(before) = before {
            for (number, row) in before.iter().enumerate() {
                old.insert(numbered(&mut counts, name(&row, key)?), number);
            }
        }
        let (mut added, mut changed) = (Vec::new(), Vec::new());
        counts.clear();
        for (number, row) in after.iter().enumerate() {
            match old.remove(&numbered(&mut counts, name(&row, key)?)) {
                None => added.push(number),
                Some(earlier) => {
                    let earlier = before.and_then(|before| before.row(earlier));
                    if earlier.is_none_or(|earlier| earlier.bytes() != row.bytes()) {
                        changed.push(number);
                    }
                }
            }
        }
        let mut removed: Vec<usize> = old.into_values().collect();
        removed.sort_unstable();
        Ok(Self { before: before.cloned(), added, changed, removed })
    }
}

/// The bytes of the key cells; equal if and only if the values are.
fn name(row: &Row<'_>, key: &[String]) -> Result<Vec<u8>> {
    let mut name = Vec::new();
    for column in key {
        name.extend_from_slice(row.cell_bytes(column.as_str())?);
    }
    Ok(name)
}

/// The key with the number of earlier rows that have it.
fn numbered(counts: &mut HashMap<Vec<u8>, usize>, name: Vec<u8>) -> (Vec<u8>, usize) {
    let count = counts.entry(name.clone()).or_default();
    *count += 1;
    (name, *count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row_buffer::Encoder;
    use crate::value::Value;

    fn buffer(rows: &[(i64, &str)]) -> RowBuffer {
        let mut encoder = Encoder::new(["id", "title"]);
        for (id, title) in rows {
            encoder.row(&[Value::from(*id), Value::from(*title)]).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn between(before: Option<&RowBuffer>, after: &RowBuffer) -> Difference {
        Difference::between(before, after, &["id".to_owned()]).unwrap()
    }

    #[test]
    fn difference_lists_added_changed_and_removed_rows() {
        type Rows<'a> = &'a [(i64, &'a str)];
        type Numbers<'a> = &'a [usize];
        let table: &[(Rows<'_>, Rows<'_>, Numbers<'_>, Numbers<'_>, Numbers<'_>, &str)] = &[
            (&[], &[], &[], &[], &[], "nothing of nothing"),
            (&[], &[(1, "a")], &[0], &[], &[], "one more"),
            (&[(1, "a")], &[], &[], &[], &[0], "one less"),
            (&[(1, "a")], &[(1, "b")], &[], &[0], &[], "other values"),
            (&[(1, "a"), (2, "b")], &[(2, "b"), (1, "a")], &[], &[], &[], "only the order"),
            (&[(1, "a"), (2, "b")], &[(3, "c"), (2, "x")], &[0], &[1], &[0], "all three"),
            (&[(1, "a"), (1, "b")], &[(1, "a"), (1, "c")], &[], &[1], &[], "two of one key"),
            (&[(1, "a"), (1, "b")], &[(1, "a")], &[], &[], &[1], "one of two of one key"),
        ];
        for (before, after, added, changed, removed, why) in table {
            let (before, after) = (buffer(before), buffer(after));
            let expected = Difference {
                before: Some(before.clone()),
                added: added.to_vec(),
                changed: changed.to_vec(),
                removed: removed.to_vec(),
            };
            assert_eq!(between(Some(&before), &after), expected, "{why}");
        }
    }

    #[test]
    fn first_result_is_all_added() {
        let difference = between(None, &buffer(&[(1, "a"), (2, "b")]));
        assert_eq!(difference.added, [0, 1]);
        assert_eq!(difference.before, None);
    }
}

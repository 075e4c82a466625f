//! The order of rows: by table, then as SQLite orders keys.

use std::cmp::Ordering;

use super::patch::RowKey;
use crate::value::Value;

/// A row that sorts like its key in SQLite: integers as numbers, text by bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ordered(pub(crate) RowKey);

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.table.cmp(&other.0.table).then_with(|| in_key_order(&self.0.key, &other.0.key))
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares keys like SQLite.
pub(crate) fn in_key_order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (left, right) => class(left).cmp(&class(right)),
    }
}

fn class(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    }
}

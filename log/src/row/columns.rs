//! Some columns of a row: a sorted list. Rows have few columns, so a list is read, built and compared
//! faster than a tree, in one allocation.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::by_table;
use super::super::ids::Name;
use rejoin_protocol::Value;

/// Some columns of a row, by name.
#[derive(Clone, PartialEq, Default)]
pub struct Columns(Vec<(Name, Value)>);

impl Columns {
    /// The value of a column.
    pub fn get<N: AsRef<str> + ?Sized>(&self, column: &N) -> Option<&Value> {
        let at = self.position(column.as_ref()).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Sets the value of a column.
    pub fn insert(&mut self, column: Name, value: Value) {
        match self.position(column.as_str()) {
            Ok(at) => {
                if let Some((_, former)) = self.0.get_mut(at) {
                    *former = value;
                }
            }
            Err(at) => self.0.insert(at, (column, value)),
        }
    }

    fn position(&self, column: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| name.as_str().cmp(column))
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &Value)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The names, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Name> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The values, in the order of the names.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Value> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Columns {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.iter()).finish()
    }
}

/// Of two values of one column, the last counts.
impl From<Vec<(Name, Value)>> for Columns {
    fn from(mut columns: Vec<(Name, Value)>) -> Self {
        if !columns.is_sorted_by(|(left, _), (right, _)| left < right) {
            columns.reverse();
            columns.sort_by(|(left, _), (right, _)| left.cmp(right));
            columns.dedup_by(|(later, _), (kept, _)| later == kept);
        }
        Self(columns)
    }
}

impl FromIterator<(Name, Value)> for Columns {
    fn from_iter<I: IntoIterator<Item = (Name, Value)>>(columns: I) -> Self {
        Vec::from_iter(columns).into()
    }
}

impl Extend<(Name, Value)> for Columns {
    fn extend<I: IntoIterator<Item = (Name, Value)>>(&mut self, columns: I) {
        for (column, value) in columns {
            self.insert(column, value);
        }
    }
}

impl<const COUNT: usize> From<[(Name, Value); COUNT]> for Columns {
    fn from(columns: [(Name, Value); COUNT]) -> Self {
        columns.into_iter().collect()
    }
}

impl IntoIterator for Columns {
    type Item = (Name, Value);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'c> IntoIterator for &'c Columns {
    type Item = (&'c Name, &'c Value);
    type IntoIter = std::iter::Map<
        std::slice::Iter<'c, (Name, Value)>,
        fn(&'c (Name, Value)) -> (&'c Name, &'c Value),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

/// As an object.
impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        by_table::columns(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::{Columns, Name, Value};

    fn columns(pairs: &[(&str, i64)]) -> Columns {
        pairs.iter().map(|(name, value)| (Name::from(*name), Value::from(*value))).collect()
    }

    #[test]
    fn columns_are_sorted_and_the_last_value_of_a_name_counts() {
        let found = columns(&[("b", 1), ("a", 2), ("c", 3), ("b", 4), ("b", 5)]);
        assert_eq!(found, columns(&[("a", 2), ("b", 5), ("c", 3)]));
        assert_eq!(
            format!("{found:?}"),
            format!(
                "{:?}",
                found.clone().into_iter().collect::<std::collections::BTreeMap<_, _>>()
            )
        );
        assert_eq!(columns(&[("a", 1), ("a", 2)]).get("a"), Some(&Value::from(2)));
    }

    #[test]
    fn column_is_set_at_its_place() {
        let mut found = columns(&[("b", 1), ("d", 2)]);
        for (name, value) in [("c", 3), ("a", 4), ("e", 5), ("b", 6)] {
            found.insert(Name::from(name), Value::from(value));
        }
        assert_eq!(found, columns(&[("a", 4), ("b", 6), ("c", 3), ("d", 2), ("e", 5)]));
        assert_eq!((found.get("c"), found.get("x"), found.len()), (Some(&Value::from(3)), None, 5));
    }
}

//! Effects of an entry on rows: one net effect per row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::by_table;
use super::ids::Name;
use super::row::{Columns, LogRow, RowName};

/// The net effect on one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Writes the whole row, replacing any existing one.
    Insert(LogRow),
    /// Sets these columns, if the row exists.
    Update(Columns),
    /// Removes the row.
    Delete,
}

impl Effect {
    /// The effect that changes `before` to `after`; `None` if they are equal.
    pub fn between(before: Option<&LogRow>, after: Option<&LogRow>) -> Option<Self> {
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(Self::Insert(after.clone())),
            (Some(_), None) => Some(Self::Delete),
            (Some(before), Some(after)) => {
                if before.columns().keys().any(|column| after.get(column.as_str()).is_none()) {
                    return Some(Self::Insert(after.clone()));
                }
                let differs =
                    |(name, value): &(&Name, &_)| before.columns().get(*name) != Some(*value);
                let changed = after.columns().iter().filter(differs);
                let columns: Columns =
                    changed.map(|(name, value)| (name.clone(), value.clone())).collect();
                (!columns.is_empty()).then_some(Self::Update(columns))
            }
        }
    }

    /// The row after this effect on `before`, without checking whether it is void (see
    /// [`super::fold`]).
    pub fn on(&self, before: Option<&LogRow>) -> Option<LogRow> {
        match self {
            Self::Insert(image) => Some(image.clone()),
            Self::Update(columns) => before.map(|before| before.with(columns)),
            Self::Delete => None,
        }
    }
}

/// The effects of one entry, by row. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effects(Arc<BTreeMap<RowName, Effect>>);

impl Effects {
    /// The effect on this row.
    pub fn get(&self, row: &RowName) -> Option<&Effect> {
        self.0.get(row)
    }

    /// In row order.
    pub fn iter(&self) -> impl Iterator<Item = (&RowName, &Effect)> {
        self.0.iter()
    }

    /// The rows that they name, including void effects.
    pub fn rows(&self) -> BTreeSet<RowName> {
        self.0.keys().cloned().collect()
    }

    /// Whether there are no effects.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(RowName, Effect)> for Effects {
    fn from_iter<I: IntoIterator<Item = (RowName, Effect)>>(effects: I) -> Self {
        Self(Arc::new(effects.into_iter().collect()))
    }
}

/// As an object of tables, each an object of rows.
impl Serialize for Effects {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        by_table::serialize(&self.iter().collect::<Vec<_>>(), serializer)
    }
}

impl<'de> Deserialize<'de> for Effects {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(by_table::deserialize(deserializer)?.into_iter().collect())
    }
}

//! What an entry does to rows: one net effect for each (L1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::row::{Columns, Image, RowName};

/// The net effect on one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Puts the whole row, over whatever stands there.
    Insert(Image),
    /// Sets these columns, if the row exists.
    Update(Columns),
    /// Removes the row.
    Delete,
}

impl Effect {
    /// What turns `before` into `after`; `None` where they are equal.
    pub fn between(before: Option<&Image>, after: Option<&Image>) -> Option<Self> {
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(Self::Insert(after.clone())),
            (Some(_), None) => Some(Self::Delete),
            (Some(before), Some(after)) => {
                if before.columns().keys().any(|column| after.get(column.as_str()).is_none()) {
                    return Some(Self::Insert(after.clone()));
                }
                let differs =
                    |(name, value): &(&_, &_)| before.columns().get(*name) != Some(*value);
                let changed = after.columns().iter().filter(differs);
                let columns: Columns =
                    changed.map(|(name, value)| (name.clone(), value.clone())).collect();
                (!columns.is_empty()).then_some(Self::Update(columns))
            }
        }
    }

    /// The row after this effect on `before`, void or not (that is asked in [`super::fold`]).
    pub fn on(&self, before: Option<&Image>) -> Option<Image> {
        match self {
            Self::Insert(image) => Some(image.clone()),
            Self::Update(columns) => before.map(|before| before.with(columns)),
            Self::Delete => None,
        }
    }
}

/// The effects of one entry, by row. Cheap to copy.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effects(Arc<BTreeMap<RowName, Effect>>);

impl Effects {
    /// The effect on this row.
    pub fn get(&self, row: &RowName) -> Option<&Effect> {
        self.0.get(row)
    }

    /// In order of the rows.
    pub fn iter(&self) -> impl Iterator<Item = (&RowName, &Effect)> {
        self.0.iter()
    }

    /// The rows that they name, void ones too (L14).
    pub fn rows(&self) -> BTreeSet<RowName> {
        self.0.keys().cloned().collect()
    }

    /// Whether they name no row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(RowName, Effect)> for Effects {
    fn from_iter<I: IntoIterator<Item = (RowName, Effect)>>(effects: I) -> Self {
        Self(Arc::new(effects.into_iter().collect()))
    }
}

//! An index of rows by their keys: finds the position of a row in a long list.
//!
//! Pure. It stores positions only, so that it needs no copy of the keys.

use std::cmp::Ordering;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use super::key_order::in_key_order;
use super::patch::{Effect, RowKey, RowPatch};

/// The positions of the rows of a list, in the order of the rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowIndex {
    order: Vec<usize>,
}

impl RowIndex {
    /// The index of a list whose rows are all different.
    pub(crate) fn of<T>(list: &[T], row: impl Fn(&T) -> &RowKey) -> Self {
        let mut order: Vec<usize> = (0..list.len()).collect();
        order.sort_unstable_by(|a, b| in_order(row(&list[*a]), row(&list[*b])));
        Self { order }
    }

    /// The position of a row in the list.
    pub(crate) fn find<T>(
        &self,
        list: &[T],
        row: impl Fn(&T) -> &RowKey,
        wanted: &RowKey,
    ) -> Option<usize> {
        let found = self.order.binary_search_by(|at| in_order(row(&list[*at]), wanted));
        found.ok().map(|place| self.order[place])
    }

    /// The list has lost the row at this position.
    fn remove(&mut self, position: usize) {
        self.order.retain(|at| *at != position);
        self.order.iter_mut().filter(|at| **at > position).for_each(|at| *at -= 1);
    }
}

fn in_order(a: &RowKey, b: &RowKey) -> Ordering {
    a.table.cmp(&b.table).then_with(|| in_key_order(&a.key, &b.key))
}

/// An effect with an index of its rows, which is built at the first search.
#[derive(Debug, Clone, Default)]
pub(crate) struct IndexedEffect {
    effect: Effect,
    index: OnceLock<RowIndex>,
}

impl From<Effect> for IndexedEffect {
    fn from(effect: Effect) -> Self {
        Self { effect, index: OnceLock::new() }
    }
}

impl PartialEq for IndexedEffect {
    fn eq(&self, other: &Self) -> bool {
        self.effect == other.effect
    }
}

impl Deref for IndexedEffect {
    type Target = Effect;

    fn deref(&self) -> &Effect {
        &self.effect
    }
}

impl DerefMut for IndexedEffect {
    /// Any change of the rows may invalidate the index.
    fn deref_mut(&mut self) -> &mut Effect {
        self.index = OnceLock::new();
        &mut self.effect
    }
}

impl IndexedEffect {
    /// The patch of a row, with its position.
    pub(crate) fn find(&self, row: &RowKey) -> Option<(usize, &RowPatch)> {
        let rows = &self.effect.rows;
        let index = self.index.get_or_init(|| RowIndex::of(rows, |patch| &patch.row));
        let at = index.find(rows, |patch| &patch.row, row)?;
        Some((at, &rows[at]))
    }

    /// Removes the patch at a position, and keeps the index.
    pub(crate) fn remove(&mut self, position: usize) -> RowPatch {
        if let Some(index) = self.index.get_mut() {
            index.remove(position);
        }
        self.effect.rows.remove(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rows::patch::PatchKind;
    use crate::ids::TableNumber;
    use crate::value::Value;

    #[test]
    fn row_is_found_before_and_after_others_are_removed() {
        let row = |table, key: Value| RowKey { table: TableNumber(table), key };
        let rows = [row(2, "b".into()), row(1, 7.into()), row(2, "a".into()), row(1, 1.into())];
        let patch = |row: &RowKey| RowPatch {
            row: row.clone(),
            kind: PatchKind::Update,
            columns: Vec::new(),
        };
        let patches = rows.iter().map(patch).collect();
        let mut effect = IndexedEffect::from(Effect { schema_version: 1, rows: patches });
        let at = |effect: &IndexedEffect, row: &RowKey| effect.find(row).map(|(at, _)| at);
        for (position, row) in rows.iter().enumerate() {
            assert_eq!(at(&effect, row), Some(position));
        }
        assert_eq!(at(&effect, &row(3, "a".into())), None);
        assert_eq!(effect.remove(1).row, rows[1]);
        let found: Vec<_> = rows.iter().map(|row| at(&effect, row)).collect();
        assert_eq!(found, [Some(0), None, Some(1), Some(2)]);
        effect.rows.reverse();
        assert_eq!(at(&effect, &rows[0]), Some(2), "a changed effect has a new index");
    }
}

//! Comparisons, by folds over plain maps that share no code with the engine.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::capture::compose::compose;
use crate::engine::rows::patch::{ColumnPatch, Effect, PatchKind, RowKey, RowPatch, same};
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// The number of the table whose last column is the time of a soft delete.
pub(super) const SOFT: u32 = 2;

/// Rows by table and key: the two cells beside the key.
pub(super) type Rows = BTreeMap<(u32, String), Vec<Value>>;

/// The identities of the cells' columns, by table.
pub(super) type Columns = BTreeMap<u32, Vec<ColumnId>>;

pub(super) fn name(row: &RowKey) -> (u32, String) {
    (row.table.0, row.key.as_text().unwrap_or_default().to_owned())
}

fn identical(left: &[Value], right: &[Value]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(a, b)| same(a, b))
}

/// Compares two sets of rows exactly; describes the first difference.
pub(super) fn equal(what: &str, left: &Rows, right: &Rows) -> Result<(), String> {
    let keys: BTreeSet<_> = left.keys().chain(right.keys()).collect();
    for key in keys {
        let (a, b) = (left.get(key), right.get(key));
        let agree = match (a, b) {
            (Some(a), Some(b)) => identical(a, b),
            (None, None) => true,
            _ => false,
        };
        if !agree {
            return Err(format!("{what}: {key:?} is {a:?} and not {b:?}"));
        }
    }
    Ok(())
}

/// Applies effects to rows: updates and deletes of missing rows are skipped, inserts set the
/// columns of existing rows.
pub(super) fn apply_effects(mut rows: Rows, effects: &[Effect], columns: &Columns) -> Rows {
    for patch in effects.iter().flat_map(|effect| &effect.rows) {
        let key = name(&patch.row);
        let known = &columns[&key.0];
        let brings = !rows.contains_key(&key) && patch.kind != PatchKind::Delete;
        match patch.kind {
            PatchKind::Delete => {
                rows.remove(&key);
            }
            PatchKind::Insert => {
                rows.entry(key.clone()).or_insert_with(|| vec![Value::Null; known.len()]);
            }
            // An undone soft delete creates the whole row if the row was removed since.
            PatchKind::Update if takes_back(patch, known) && !rows.contains_key(&key) => {
                rows.insert(key.clone(), vec![Value::Null; known.len()]);
            }
            PatchKind::Update => {}
        }
        if let Some(row) = rows.get_mut(&key) {
            for column in patch
                .columns
                .iter()
                .filter(|c| brings || c.is_change() || patch.kind == PatchKind::Insert)
            {
                if let Some(at) = known.iter().position(|id| *id == column.column) {
                    row[at] = column.new.clone();
                }
            }
        }
    }
    rows
}

/// Only an undone soft delete names unchanged columns, and clears the last one.
fn takes_back(patch: &RowPatch, columns: &[ColumnId]) -> bool {
    let last = patch.columns.last();
    patch.columns.len() == columns.len()
        && last.is_some_and(|c| {
            c.column == columns[columns.len() - 1] && c.new.is_null() && c.is_change()
        })
        && patch.row.table.0 == SOFT
}

/// The patches that lead from one state of the tables to another.
pub(super) fn diff(before: &Rows, after: &Rows, columns: &Columns) -> Vec<RowPatch> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut patches = Vec::new();
    for key in keys {
        let (old, new) = (before.get(key), after.get(key));
        let kind = match (old, new) {
            (Some(old), Some(new)) if identical(old, new) => continue,
            (Some(_), Some(_)) => PatchKind::Update,
            (None, _) => PatchKind::Insert,
            (_, None) => PatchKind::Delete,
        };
        let cell =
            |row: Option<&Vec<Value>>, at: usize| row.map_or(Value::Null, |row| row[at].clone());
        let cells = columns[&key.0].iter().enumerate().map(|(at, id)| ColumnPatch {
            column: *id,
            old: cell(old, at),
            new: cell(new, at),
        });
        let columns =
            cells.filter(|c| kind != PatchKind::Update || !same(&c.old, &c.new)).collect();
        let row = RowKey { table: TableNumber(key.0), key: key.1.clone().into() };
        patches.push(RowPatch { row, kind, columns });
    }
    patches
}

/// Whether the patches are the same, in any order; unchanged columns are ignored.
pub(super) fn same_patches(
    what: &str,
    left: &[RowPatch],
    right: &[RowPatch],
) -> Result<(), String> {
    let sorted = |patches: &[RowPatch]| {
        let mut patches = patches.to_vec();
        patches.sort_by_key(|patch| name(&patch.row));
        for patch in patches.iter_mut().filter(|patch| patch.kind == PatchKind::Update) {
            patch.columns.retain(ColumnPatch::is_change);
        }
        format!("{patches:?}")
    };
    let (left, right) = (sorted(left), sorted(right));
    if left == right { Ok(()) } else { Err(format!("{what}: {left} and not {right}")) }
}

/// Composes consecutive patches into one per row.
pub(super) fn composed(patches: impl Iterator<Item = RowPatch>) -> Vec<RowPatch> {
    let mut net: BTreeMap<(u32, String), RowPatch> = BTreeMap::new();
    for patch in patches {
        let key = name(&patch.row);
        let both = match net.remove(&key) {
            None => Some(patch),
            Some(first) => compose(&first, &patch),
        };
        net.extend(both.map(|both| (key, both)));
    }
    net.into_values().collect()
}

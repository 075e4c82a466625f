//! The order in which the changes of a group are applied.
//!
//! Parents are written before their children and deleted after them. Tables have an order; rows are
//! ordered by their references only where tables refer to themselves or to each other.

use std::collections::HashMap;

use rejoin_protocol::wire::push::{Change, Operation};
use serde_json::value::RawValue;

use super::change::decode;
use super::naming::Naming;
use crate::model::{Schema, Table};

/// A row by the names of the request.
type Name<'c> = (&'c str, String);

/// The changes in the order in which they are applied.
pub(super) fn in_order<'c>(
    schema: &Schema,
    changes: &'c [Change],
    naming: &Naming,
) -> Vec<&'c Change> {
    let depth = |change: &Change| schema.table(&change.table_name).map_or(0, |t| t.depth);
    let mut ordered: Vec<&Change> = changes.iter().collect();
    ordered.sort_by_key(|change| match change.operation {
        Operation::Delete => (1, usize::MAX - depth(change)),
        Operation::Create | Operation::Update => (0, depth(change)),
    });
    let is_knotted = |change: &&Change| {
        schema.table(&change.table_name).is_some_and(|table| is_in_cycle(schema, table))
    };
    if ordered.len() < 2 || !ordered.iter().any(is_knotted) {
        return ordered;
    }
    by_rows(schema, &ordered, naming)
}

/// Whether the table refers to itself, or to one that is not above it.
fn is_in_cycle(schema: &Schema, table: &Table) -> bool {
    let mut above = table.references.iter().filter_map(|reference| schema.table(&reference.table));
    above.any(|above| above.depth >= table.depth)
}

/// The same order, but each row after those that must come before it. In a cycle one row comes
/// before another that it refers to.
fn by_rows<'c>(schema: &Schema, ordered: &[&'c Change], naming: &Naming) -> Vec<&'c Change> {
    let name = |change: &'c Change| -> Name<'c> { (&change.table_name, change.id.clone()) };
    let places: HashMap<Name<'c>, usize> =
        ordered.iter().enumerate().map(|(at, change)| (name(change), at)).collect();
    let deletes =
        |at: usize| ordered.get(at).is_some_and(|change| change.operation == Operation::Delete);
    let mut before = vec![Vec::new(); ordered.len()];
    for (at, change) in ordered.iter().enumerate() {
        let is_delete = change.operation == Operation::Delete;
        let cells = if is_delete { change.old.as_deref() } else { change.data.as_deref() };
        for parent in parents(schema, change, cells, naming) {
            let Some(parent) = places.get(&parent).filter(|parent| **parent != at) else {
                continue;
            };
            let (first, second) = if is_delete { (at, *parent) } else { (*parent, at) };
            if deletes(*parent) == is_delete
                && let Some(before) = before.get_mut(second)
            {
                before.push(first);
            }
        }
    }
    in_depth(&before).into_iter().filter_map(|at| ordered.get(at).copied()).collect()
}

/// The rows that these cells refer to by key. Cells that cannot be decoded are rejected later.
fn parents<'s>(
    schema: &'s Schema,
    change: &Change,
    cells: Option<&RawValue>,
    naming: &Naming,
) -> Vec<Name<'s>> {
    let Some(table) = schema.table(&change.table_name) else { return Vec::new() };
    let cells = decode(table, cells, naming).unwrap_or_default();
    let named = table.references.iter().filter_map(|reference| {
        let above = schema.table(&reference.table).filter(|above| reference.is_to_key(above))?;
        let (_, value) = cells.iter().find(|(at, _)| *at == reference.column)?;
        Some((above.name.as_str(), value.to_id()?))
    });
    named.collect()
}

/// All places, each after those `before` it. Without recursion: a chain may be as long as a group.
fn in_depth(before: &[Vec<usize>]) -> Vec<usize> {
    let mut seen = vec![false; before.len()];
    let mut is_new =
        |at: usize| seen.get_mut(at).is_some_and(|seen| !std::mem::replace(seen, true));
    let mut places = Vec::with_capacity(before.len());
    for start in 0..before.len() {
        if !is_new(start) {
            continue;
        }
        let mut path = vec![(start, 0)];
        while let Some((at, next)) = path.last_mut() {
            if let Some(first) = before.get(*at).and_then(|before| before.get(*next)) {
                *next += 1;
                if is_new(*first) {
                    path.push((*first, 0));
                }
            } else {
                places.push(*at);
                path.pop();
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::in_depth;

    #[test]
    fn places_follow_what_comes_before_them() {
        let table: [(&[&[usize]], &[usize]); 4] = [
            (&[&[], &[], &[]], &[0, 1, 2]),
            (&[&[2], &[0], &[]], &[2, 0, 1]),
            (&[&[1], &[2], &[0]], &[2, 1, 0]),
            (&[&[0, 1], &[]], &[1, 0]),
        ];
        for (before, expected) in table {
            let before: Vec<Vec<usize>> = before.iter().map(|places| places.to_vec()).collect();
            assert_eq!(in_depth(&before), expected, "{before:?}");
        }
        let chain: Vec<Vec<usize>> = (1..=100_000).map(|next| vec![next]).collect();
        assert_eq!(in_depth(&chain).first(), Some(&99_999));
    }
}

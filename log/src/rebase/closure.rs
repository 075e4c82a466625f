//! The steps that a change reaches and that must be undone first.

use std::collections::BTreeSet;

use super::super::key::Key;
use super::super::row::RowName;
use super::{Change, Footprint, Steps};

/// The rows changed by the change itself, each with the key after which they differ.
pub(super) fn beginnings(steps: &Steps, change: &Change) -> Vec<(Key, BTreeSet<RowName>)> {
    let mut beginnings = change.below.clone();
    if !change.base.is_empty() {
        beginnings.push((Key::FIRST, change.base.keys().cloned().collect()));
    }
    beginnings.extend(change.out.iter().map(|step| (*step, former(steps, step))));
    beginnings
}

/// The rows that a step named before the change.
fn former(steps: &Steps, step: &Key) -> BTreeSet<RowName> {
    steps.get(step).map(|footprint| footprint.rows.clone()).unwrap_or_default()
}

/// The steps to undo: changed and removed steps, steps whose rows or read tables the change
/// affects, and steps reached from these.
pub(super) fn reach(steps: &Steps, change: &Change, everything: bool) -> BTreeSet<Key> {
    if everything {
        return steps.keys().copied().collect();
    }
    let mut reached = BTreeSet::new();
    let mut open = Vec::new();
    let touched = change.out.iter().chain(change.put.keys()).chain(&change.run);
    for step in touched.filter(|step| steps.get(step).is_some()) {
        take(*step, &mut reached, &mut open);
    }
    let put = change.put.iter().map(|(step, named)| (*step, &former(steps, step) | named));
    for (key, rows) in beginnings(steps, change).into_iter().chain(put) {
        ReachedSteps::of_rows(steps, &key, &rows)
            .for_each(|step| take(step, &mut reached, &mut open));
    }
    while let Some(step) = open.pop() {
        let Some(footprint) = steps.get(&step) else { continue };
        ReachedSteps::of(steps, &step, footprint)
            .for_each(|later| take(later, &mut reached, &mut open));
    }
    reached
}

fn take(step: Key, reached: &mut BTreeSet<Key>, open: &mut Vec<Key>) {
    if reached.insert(step) {
        open.push(step);
    }
}

/// The later steps that one step reaches.
pub(super) struct ReachedSteps;

impl ReachedSteps {
    /// Later steps that name its rows or read their tables. For a replay also those that wrote a
    /// table which it reads or writes: when it runs again, it must not see them.
    pub(super) fn of<'a>(
        steps: &'a Steps,
        step: &'a Key,
        footprint: &'a Footprint,
    ) -> impl Iterator<Item = Key> + use<'a> {
        let writers = footprint.reads().flat_map(move |table| steps.writing(table, step));
        Self::of_rows(steps, step, &footprint.rows).chain(writers)
    }

    fn of_rows<'a>(
        steps: &'a Steps,
        step: &'a Key,
        rows: &'a BTreeSet<RowName>,
    ) -> impl Iterator<Item = Key> + use<'a> {
        let mut last = None;
        let tables = rows.iter().map(|row| &row.table).filter(move |table| {
            let new = last != Some(*table);
            last = Some(*table);
            new
        });
        let readers = tables.flat_map(move |table| steps.reading(table, step));
        rows.iter().flat_map(move |row| steps.naming(row, step)).chain(readers)
    }
}

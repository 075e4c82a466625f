//! The steps that a change reaches and that must be undone first.

use std::collections::{BTreeMap, BTreeSet};

use super::super::ids::Name;
use super::super::key::Key;
use super::super::row::RowName;
use super::super::store::StoreError;
use super::{Change, Footprint, StepIndex};
use rejoin_protocol::mutant::{self, Mutant};

/// Rows that differ after a key.
pub(super) type Beginning = (Key, BTreeSet<RowName>);

/// The rows changed by the change itself, each with the key after which they differ.
pub(super) fn beginnings(
    steps: &dyn StepIndex,
    change: &Change,
) -> Result<Vec<Beginning>, StoreError> {
    let mut beginnings = change.below.clone();
    if !change.base.is_empty() {
        beginnings.push((Key::FIRST, change.base.keys().cloned().collect()));
    }
    for step in &change.out {
        beginnings.push((*step, former(steps, step)?));
    }
    Ok(beginnings)
}

/// The first key at or after which something changes.
fn first(change: &Change) -> Option<Key> {
    let base = (!change.base.is_empty()).then_some(&Key::FIRST);
    let steps = [change.out.first(), change.put.keys().next(), change.run.first(), base];
    let below = change.below.iter().map(|(key, _)| key);
    steps.into_iter().flatten().chain(below).min().copied()
}

/// The rows that a step named before the change.
fn former(steps: &dyn StepIndex, step: &Key) -> Result<BTreeSet<RowName>, StoreError> {
    Ok(steps.get(step)?.map(|footprint| footprint.rows).unwrap_or_default())
}

/// The steps to undo: changed and removed steps, steps whose rows or read tables the change
/// affects, and steps reached from these.
pub(super) fn reach(
    steps: &dyn StepIndex,
    change: &Change,
    everything: bool,
) -> Result<BTreeSet<Key>, StoreError> {
    if everything {
        return Ok(steps.keys()?.into_iter().collect());
    }
    // As when all entries of a page are new: no step is at the change or after it.
    if steps.last()?.is_none_or(|last| first(change).is_none_or(|first| last < first)) {
        return Ok(BTreeSet::new());
    }
    let mut open: BTreeSet<Key> = BTreeSet::new();
    for step in change.out.iter().chain(change.put.keys()).chain(&change.run) {
        if steps.get(step)?.is_some() {
            open.insert(*step);
        }
    }
    let mut begun = beginnings(steps, change)?;
    for (step, named) in &change.put {
        begun.push((*step, &former(steps, step)? | named));
    }
    begun.sort_unstable_by_key(|(key, _)| *key);
    let mut later = LaterSteps::default();
    for (key, rows) in begun {
        open.extend(later.of_rows(steps, &key, &rows)?);
    }
    // In key order: a row or a table is looked up once, from the first step that touches it.
    let mut reached = BTreeSet::new();
    while let Some(step) = open.pop_first() {
        if reached.insert(step)
            && let Some(footprint) = steps.get(&step)?
        {
            open.extend(later.of(steps, &step, &footprint)?);
        }
    }
    Ok(reached)
}

/// Looks up the later steps that some steps reach, each row and each table only once: what was
/// found after a key is not found again after a higher one.
#[derive(Debug, Default)]
pub(super) struct LaterSteps {
    named: BTreeMap<RowName, Key>,
    read: BTreeMap<Name, Key>,
    written: BTreeMap<Name, Key>,
}

impl LaterSteps {
    /// Later steps that name the rows of a step or read their tables. For a replay also those that
    /// wrote a table which it reads or writes: when it runs again, it must not see them.
    pub(super) fn of(
        &mut self,
        steps: &dyn StepIndex,
        step: &Key,
        footprint: &Footprint,
    ) -> Result<Vec<Key>, StoreError> {
        let mut found = self.of_rows(steps, step, &footprint.rows)?;
        for table in footprint.reads() {
            if is_new(&mut self.written, table, step) {
                found.extend(steps.writing(table, step)?);
            }
        }
        Ok(found)
    }

    fn of_rows(
        &mut self,
        steps: &dyn StepIndex,
        step: &Key,
        rows: &BTreeSet<RowName>,
    ) -> Result<Vec<Key>, StoreError> {
        let mut found = Vec::new();
        if mutant::on(Mutant::NoClosureByRows) {
            return Ok(found);
        }
        for row in rows {
            if is_new(&mut self.named, row, step) {
                found.extend(steps.naming(row, step)?);
            }
            if is_new(&mut self.read, &row.table, step) {
                found.extend(steps.reading(&row.table, step)?);
            }
        }
        Ok(found)
    }
}

/// Whether the steps after this key were not looked up yet; then they are now.
fn is_new<K: Ord + Clone>(known: &mut BTreeMap<K, Key>, name: &K, after: &Key) -> bool {
    match known.get_mut(name) {
        Some(from) if *from <= *after => false,
        Some(from) => {
            *from = *after;
            true
        }
        None => {
            known.insert(name.clone(), *after);
            true
        }
    }
}

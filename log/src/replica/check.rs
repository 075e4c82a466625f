//! Invariants of a replica at every commit, computed without optimizations. For tests, simulations
//! and `diagnose`.

use std::collections::{BTreeMap, BTreeSet};

use super::super::effect::Effects;
use super::super::fold::{AppliedEffect, apply_effect};
use super::super::key::Key;
use super::super::rebase::Change;
use super::super::row::{LogRow, RowName};
use super::super::store::StoreError;
use super::super::write_set::WriteSet;
use super::Replica;
use super::memory::MemoryReplica;
use super::store::{Counted, ReplicaStore};

/// Rows by name.
pub type RowMap = BTreeMap<RowName, LogRow>;

/// The rows at the horizon: the state after undoing all steps.
pub fn base_rows<S: ReplicaStore>(replica: &Replica<S>) -> Result<RowMap, StoreError> {
    let mut rows: RowMap = replica.store.all_rows()?.into_iter().collect();
    for key in replica.store.steps().keys()?.into_iter().rev() {
        let undo = replica.store.record(key.id)?.map(|record| record.undo).unwrap_or_default();
        for (row, image) in undo.into_iter().rev() {
            match image {
                Some(image) => rows.insert(row, image),
                None => rows.remove(&row),
            };
        }
    }
    Ok(rows)
}

/// All effects folded over `base` in key order: [`Replica::rows`] must return the same.
pub fn fold_over<S: ReplicaStore>(
    replica: &Replica<S>,
    mut rows: RowMap,
) -> Result<RowMap, StoreError> {
    for id in replica.store.ids(&Key::LAST)? {
        let Some(record) = replica.store.record(id)? else { continue };
        match record.counted() {
            Some(Counted::Item(effects)) => put_all(&mut rows, effects, |_, _, after| after),
            Some(Counted::Own(effects)) => match &replica.facts.buckets {
                None => put_all(&mut rows, effects, |_, _, after| after),
                Some(buckets) => put_within(replica, &mut rows, effects, buckets),
            },
            Some(Counted::Whole(effects, write_set)) => {
                put_within(replica, &mut rows, effects, write_set);
            }
            None => {}
        }
    }
    Ok(rows)
}

fn put_within<S: ReplicaStore>(
    replica: &Replica<S>,
    rows: &mut RowMap,
    effects: &Effects,
    write_set: &WriteSet,
) {
    put_all(rows, effects, |row, before, after| {
        let Some(effect) = effects.get(row) else { return after };
        match apply_effect(row, effect, before.as_ref(), write_set, &*replica.placement) {
            AppliedEffect::Row(after) => after,
            AppliedEffect::Void => before,
        }
    });
}

/// Runs every own action again on a copy, in key order from the base up. Returns the rows. With
/// deterministic actions a selective rebase must give the same result.
pub fn rows_run_again<S: ReplicaStore>(replica: &Replica<S>) -> Result<RowMap, StoreError> {
    let store = MemoryReplica::copy_of(&replica.store)?;
    let mut copy = Replica::open(store, replica.handlers.clone(), replica.placement.clone())?;
    let mut edit = copy.edit();
    let run = copy.store.steps().keys()?.into_iter().collect();
    edit.change = Change { everything: true, run, ..Change::default() };
    copy.commit(edit)?;
    Ok(copy.rows()?.into_iter().collect())
}

/// The steps whose entry in the index differs from their record: none.
pub fn stale_steps<S: ReplicaStore>(replica: &Replica<S>) -> Result<BTreeSet<Key>, StoreError> {
    let steps = replica.store.steps();
    let mut stale: BTreeSet<Key> = steps.keys()?.into_iter().collect();
    for id in replica.store.ids(&Key::LAST)? {
        let Some(record) = replica.store.record(id)? else { continue };
        let expected = record.counted().map(|_| record.footprint());
        if steps.get(&record.key)? == expected {
            stale.remove(&record.key);
        } else {
            stale.insert(record.key);
        }
    }
    Ok(stale)
}

fn put_all(
    rows: &mut RowMap,
    effects: &Effects,
    apply: impl Fn(&RowName, Option<LogRow>, Option<LogRow>) -> Option<LogRow>,
) {
    for (row, effect) in effects.iter() {
        let before = rows.get(row).cloned();
        let after = effect.on(before.as_ref());
        match apply(row, before, after) {
            Some(image) => rows.insert(row.clone(), image),
            None => rows.remove(row),
        };
    }
}

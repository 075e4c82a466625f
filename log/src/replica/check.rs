//! Invariants of a replica at every commit, computed without optimizations. For tests, simulations
//! and `diagnose`.

use std::collections::BTreeMap;

use super::super::effect::Effects;
use super::super::fold::{AppliedEffect, apply_effect};
use super::super::ids::Buckets;
use super::super::key::Key;
use super::super::rebase::Change;
use super::super::row::{LogRow, RowName};
use super::super::store::StoreError;
use super::Replica;
use super::store::{Counted, ReplicaStore};

/// Rows by name.
pub type RowMap = BTreeMap<RowName, LogRow>;

/// The rows at the horizon: the state after undoing all steps.
pub fn base_rows<S: ReplicaStore>(replica: &Replica<S>) -> Result<RowMap, StoreError> {
    let mut rows: RowMap = replica.store.all_rows()?.into_iter().collect();
    for key in replica.steps.keys().rev() {
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
    write_set: &Buckets,
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
pub fn rows_run_again<S: ReplicaStore + Clone>(replica: &Replica<S>) -> Result<RowMap, StoreError> {
    let mut copy =
        Replica::open(replica.store.clone(), replica.handlers.clone(), replica.placement.clone())?;
    let mut edit = copy.edit();
    let run = copy.steps.keys().copied().collect();
    edit.change = Change { everything: true, run, ..Change::default() };
    copy.commit(edit)?;
    Ok(copy.rows()?.into_iter().collect())
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

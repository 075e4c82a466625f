//! Applies a snapshot: replaces the base and the items below the own entries, which stay.

use std::collections::{BTreeMap, BTreeSet};

use super::super::ids::EntryId;
use super::super::key::Key;
use super::super::message::LogSnapshot;
use super::super::row::{LogRow, RowName};
use super::super::store::StoreError;
use super::Replica;
use super::edit::RecordEdit;
use super::store::{Authority, ReplicaStore};
use super::{check, fetch};

/// Whether the server requires a snapshot, or none was taken yet.
pub fn needs_snapshot<S: ReplicaStore>(replica: &Replica<S>) -> bool {
    replica.facts.needs_snapshot
}

/// Applies a snapshot. One that is not needed or outdated is ignored. Own entries that the
/// server does not show stay pending.
pub fn take_snapshot<S: ReplicaStore>(
    replica: &mut Replica<S>,
    snapshot: &LogSnapshot,
) -> Result<(), StoreError> {
    if !replica.facts.needs_snapshot || is_older(replica, snapshot) {
        return Ok(());
    }
    let same_epoch = replica.facts.stamp.is_some_and(|stamp| stamp.epoch == snapshot.stamp.epoch);
    if same_epoch {
        // Compare both bases at one horizon, so that items that were only folded are not
        // changes.
        fetch::fold_to(replica, snapshot.horizon)?;
    } else {
        // The awaited response comes from a log that no longer exists.
        replica.awaited = None;
    }
    let mut edit = replica.edit();
    edit.change.everything = true;
    edit.change.base = differing_base(replica, snapshot)?;
    let left = replica.facts.buckets.as_ref().is_some_and(|had| !snapshot.buckets.covers(had));
    let_go(replica, &mut edit, snapshot, same_epoch, left)?;
    edit.facts.buckets = Some(snapshot.buckets.clone());
    for seen in &snapshot.items {
        fetch::take(replica, &mut edit, seen)?;
    }
    edit.facts.stamp = Some(snapshot.stamp);
    edit.facts.horizon = snapshot.horizon;
    edit.facts.cursor = snapshot.cursor;
    edit.facts.needs_snapshot = false;
    replica.at_head = true;
    replica.commit(edit)
}

fn is_older<S: ReplicaStore>(replica: &Replica<S>, snapshot: &LogSnapshot) -> bool {
    replica.facts.stamp.is_some_and(|stamp| {
        stamp.epoch == snapshot.stamp.epoch
            && (snapshot.stamp.membership < stamp.membership
                || snapshot.cursor < replica.facts.cursor)
    })
}

/// The rows of the base that change.
fn differing_base<S: ReplicaStore>(
    replica: &Replica<S>,
    snapshot: &LogSnapshot,
) -> Result<BTreeMap<RowName, Option<LogRow>>, StoreError> {
    let mut old = check::base_rows(replica)?;
    let mut base = BTreeMap::new();
    for (row, image) in &snapshot.base {
        if old.remove(row).as_ref() != Some(image) {
            base.insert(row.clone(), Some(image.clone()));
        }
    }
    base.extend(old.into_keys().map(|row| (row, None)));
    Ok(base)
}

/// Removes items that the snapshot lacks, and own entries that it shows to be final. In a new
/// epoch nothing counts as acknowledged. On leaving a bucket, the author loses authority over
/// accepted entries.
pub(super) fn let_go<S: ReplicaStore>(
    replica: &Replica<S>,
    edit: &mut RecordEdit,
    snapshot: &LogSnapshot,
    same_epoch: bool,
    left: bool,
) -> Result<(), StoreError> {
    let shown: BTreeSet<EntryId> = snapshot.items.iter().map(|seen| seen.key.id).collect();
    for id in replica.store.ids(&Key::LAST)? {
        let Some(mut record) = replica.store.record(id)? else { continue };
        let here = shown.contains(&id);
        if !here {
            record.item = None;
            record.authority = None;
        }
        if let Some(own) = &mut record.own {
            // An entry above the horizon over which the author has authority was accepted after
            // the snapshot was made.
            let is_final = record.key <= snapshot.horizon || own.authority == Authority::Frozen;
            if !here && same_epoch && own.acknowledged.is_some() && is_final {
                record.own = None;
            } else if !same_epoch && own.authority != Authority::Parked {
                own.acknowledged = None;
                own.authority = Authority::Mine;
            }
            if let Some(own) = &mut record.own
                && left
                && let Some(acknowledged) = own.acknowledged
                && own.authority == Authority::Mine
            {
                own.authority = Authority::Frozen;
                own.revision = acknowledged;
            }
        }
        let keep = record.own.is_some() || record.item.is_some();
        replica.set(edit, id, keep.then_some(record))?;
    }
    Ok(())
}

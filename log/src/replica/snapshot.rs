//! Applies the pages of a snapshot. Own entries stay above its rows, and are published after the
//! last page.
//!
//! The position is stored with each page, so that a snapshot continues after a restart. The pages of
//! a first one are applied as they arrive (`first`); those of one that replaces rows are stored,
//! and applied with the last (`replace`).

mod first;
mod replace;

use std::collections::BTreeSet;

use super::super::ids::EntryId;
use super::super::key::Key;
use super::super::message::snapshot::{
    SnapshotAnswer, SnapshotNext, SnapshotPage, SnapshotRequest,
};
use super::super::message::{Item, LogSnapshot};
use super::super::store::StoreError;
use super::Replica;
use super::edit::RecordEdit;
use super::store::{Authority, ReplicaStore};
pub use replace::{base_tables, shown_entries, shown_tables};

/// Whether the server requires a snapshot, or none was taken yet.
pub fn needs_snapshot<S: ReplicaStore>(replica: &Replica<S>) -> bool {
    replica.facts.needs_snapshot
}

/// Whether no snapshot was ever complete here.
pub fn is_first<S: ReplicaStore>(replica: &Replica<S>) -> bool {
    replica.facts.stamp.is_none()
}

/// The request for the next page.
pub fn page_request<S: ReplicaStore>(replica: &Replica<S>, limit: usize) -> SnapshotRequest {
    SnapshotRequest { after: replica.facts.loading.clone(), limit }
}

/// Applies a page. One that is not needed, or does not continue the last one, is ignored, as is the
/// last page of a snapshot that is older than the rows. Own entries that the server does not show
/// stay pending.
pub fn take_page<S: ReplicaStore>(
    replica: &mut Replica<S>,
    answer: &SnapshotAnswer,
) -> Result<(), StoreError> {
    if !replica.facts.needs_snapshot {
        return Ok(());
    }
    match answer {
        SnapshotAnswer::Restart => start_over(replica),
        SnapshotAnswer::Page(page) if page.after != replica.facts.loading => Ok(()),
        SnapshotAnswer::Page(page) if is_first(replica) => first::take(replica, page),
        SnapshotAnswer::Page(page) => replace::take(replica, page),
    }
}

/// Applies a whole snapshot, as one page.
pub fn take_snapshot<S: ReplicaStore>(
    replica: &mut Replica<S>,
    snapshot: &LogSnapshot,
) -> Result<(), StoreError> {
    start_over(replica)?;
    let LogSnapshot { stamp, buckets, horizon, base, items, cursor } = snapshot.clone();
    let items = items.into_iter().map(|seen| Item::Entry(Box::new(seen))).collect();
    let next = SnapshotNext::Cursor(cursor);
    let page = SnapshotPage { stamp, after: None, buckets, horizon, base, items, next };
    take_page(replica, &SnapshotAnswer::Page(Box::new(page)))
}

/// Removes what the pages so far have brought: the next page is the first.
pub(super) fn start_over<S: ReplicaStore>(replica: &mut Replica<S>) -> Result<(), StoreError> {
    match &replica.facts.loading {
        None => Ok(()),
        Some(_) if is_first(replica) => first::start_over(replica),
        Some(_) => replace::forget(replica),
    }
}

/// Removes items that are not shown, and own entries that the snapshot at this horizon shows to be
/// final. In a new epoch nothing counts as acknowledged. On leaving a bucket, the author loses
/// authority over accepted entries.
fn let_go<S: ReplicaStore>(
    replica: &Replica<S>,
    edit: &mut RecordEdit,
    (shown, horizon): (&BTreeSet<EntryId>, Key),
    same_epoch: bool,
    left: bool,
) -> Result<(), StoreError> {
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
            let is_final = record.key <= horizon || own.authority == Authority::Frozen;
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

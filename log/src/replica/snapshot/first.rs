//! A first snapshot: each page is applied when it arrives, because a device without rows has nothing
//! to replace at once. The app sees the rows as they arrive, and only one page is in memory.

use std::collections::BTreeSet;

use super::super::super::key::Key;
use super::super::super::message::Item;
use super::super::super::message::snapshot::{SnapshotNext, SnapshotPage};
use super::super::super::store::StoreError;
use super::super::edit::RecordEdit;
use super::super::store::ReplicaStore;
use super::super::{Replica, check, fetch};

/// Applies a page.
pub(super) fn take<S: ReplicaStore>(
    replica: &mut Replica<S>,
    page: &SnapshotPage,
) -> Result<(), StoreError> {
    let mut edit = replica.edit();
    add(replica, &mut edit, page)?;
    let is_last = edit.facts.stamp.is_some();
    replica.commit(edit)?;
    replica.at_head |= is_last;
    Ok(())
}

fn add<S: ReplicaStore>(
    replica: &Replica<S>,
    edit: &mut RecordEdit,
    page: &SnapshotPage,
) -> Result<(), StoreError> {
    let base = page.base.iter().map(|(row, image)| (row.clone(), Some(image.clone())));
    edit.change.base = base.collect();
    edit.change.creates = true;
    edit.facts.buckets = Some(page.buckets.clone());
    for item in &page.items {
        match item {
            Item::Entry(seen) => fetch::take(replica, edit, seen)?,
            Item::Gone(id) => fetch::take_gone(replica, edit, *id)?,
        }
    }
    match &page.next {
        SnapshotNext::Next(position) => edit.facts.loading = Some(position.clone()),
        SnapshotNext::Cursor(cursor) => {
            edit.facts.loading = None;
            edit.facts.stamp = Some(page.stamp);
            edit.facts.horizon = page.horizon;
            edit.facts.cursor = *cursor;
            edit.facts.needs_snapshot = false;
        }
    }
    Ok(())
}

/// Removes what the pages so far have brought.
pub(super) fn start_over<S: ReplicaStore>(replica: &mut Replica<S>) -> Result<(), StoreError> {
    let mut edit = replica.edit();
    edit.facts.loading = None;
    let rows = check::base_rows(replica)?;
    edit.change.base = rows.into_keys().map(|row| (row, None)).collect();
    super::let_go(replica, &mut edit, (&BTreeSet::new(), Key::FIRST), false, false)?;
    replica.commit(edit)
}

//! Applies the pages of a first snapshot, each when it arrives: a device without rows has nothing
//! to replace at once. The position is stored with the rows, so that it continues after a restart,
//! and only one page is in memory.
//!
//! The app sees the rows as they arrive. Own entries stay above them, and are published after the
//! last page.

use super::super::key::Key;
use super::super::message::snapshot::{
    SnapshotAnswer, SnapshotNext, SnapshotPage, SnapshotRequest,
};
use super::super::message::{Cursor, Item, LogSnapshot};
use super::super::store::StoreError;
use super::edit::RecordEdit;
use super::pages::SnapshotBuilder;
use super::store::ReplicaStore;
use super::{Replica, check, fetch, snapshot};

/// Whether no snapshot was ever complete here.
pub fn is_first<S: ReplicaStore>(replica: &Replica<S>) -> bool {
    replica.facts.stamp.is_none()
}

/// The request for the next page of the snapshot that is needed. `pages` has those of one that is
/// not the first.
pub fn page_request<S: ReplicaStore>(
    replica: &Replica<S>,
    pages: &SnapshotBuilder,
    limit: usize,
) -> SnapshotRequest {
    if is_first(replica) {
        return SnapshotRequest { after: replica.facts.loading.clone(), limit };
    }
    pages.request(limit)
}

/// Applies a page of a first snapshot. One that does not continue the last one is ignored. What the
/// pages so far have brought is removed on [`SnapshotAnswer::Restart`].
pub fn take_page<S: ReplicaStore>(
    replica: &mut Replica<S>,
    answer: &SnapshotAnswer,
) -> Result<(), StoreError> {
    if !is_first(replica) {
        return Ok(());
    }
    let mut edit = replica.edit();
    match answer {
        SnapshotAnswer::Restart => start_over(replica, &mut edit)?,
        SnapshotAnswer::Page(page) if page.after == replica.facts.loading => {
            take(replica, &mut edit, page)?;
        }
        SnapshotAnswer::Page(_) => return Ok(()),
    }
    let is_last = edit.facts.stamp.is_some();
    replica.commit(edit)?;
    replica.at_head |= is_last;
    Ok(())
}

fn take<S: ReplicaStore>(
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

/// Removes what the pages so far have brought: the next page is the first.
pub(super) fn start_over<S: ReplicaStore>(
    replica: &Replica<S>,
    edit: &mut RecordEdit,
) -> Result<(), StoreError> {
    let Some(position) = edit.facts.loading.take() else { return Ok(()) };
    let nothing = LogSnapshot {
        stamp: position.stamp,
        buckets: edit.facts.buckets.clone().unwrap_or_default(),
        horizon: Key::FIRST,
        base: Vec::new(),
        items: Vec::new(),
        cursor: Cursor::default(),
    };
    let rows = check::base_rows(replica)?;
    edit.change.base = rows.into_keys().map(|row| (row, None)).collect();
    snapshot::let_go(replica, edit, &nothing, false, false)
}

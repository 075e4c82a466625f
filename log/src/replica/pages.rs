//! Collects the pages of a snapshot.

use std::collections::BTreeMap;

use super::super::ids::EntryId;
use super::super::message::{
    Item, LogSnapshot, SnapshotAnswer, SnapshotPlace, SnapshotRequest, ViewedEntry,
};
use super::super::row::{LogRow, RowName};

/// The pages that have arrived.
#[derive(Debug, Clone, Default)]
pub struct SnapshotPages {
    base: BTreeMap<RowName, LogRow>,
    items: BTreeMap<EntryId, ViewedEntry>,
    next: Option<SnapshotPlace>,
}

impl SnapshotPages {
    /// The next request.
    pub fn request(&self, limit: usize) -> SnapshotRequest {
        SnapshotRequest { from: self.next.clone(), limit }
    }

    /// Takes the response to [`request`](Self::request). Returns the snapshot after the last page;
    /// the pages are then empty again, as after `restart`.
    pub fn take(&mut self, answer: SnapshotAnswer) -> Option<LogSnapshot> {
        let SnapshotAnswer::Page(page) = answer else {
            *self = Self::default();
            return None;
        };
        self.base.extend(page.base.into_iter().map(|base| (base.row, base.columns)));
        for item in page.items {
            match item {
                Item::Entry(seen) => self.items.insert(seen.id, *seen),
                Item::Gone(id) => self.items.remove(&id),
            };
        }
        self.next = page.next;
        let cursor = page.cursor?;
        let Self { base, items, .. } = std::mem::take(self);
        let mut items: Vec<ViewedEntry> = items.into_values().collect();
        items.sort_unstable_by_key(|seen| seen.key);
        Some(LogSnapshot {
            stamp: page.stamp,
            buckets: page.buckets,
            horizon: page.horizon,
            base: base.into_iter().collect(),
            items,
            cursor,
        })
    }
}

//! Collects the pages of a snapshot that replaces an earlier one, so that the app sees the old rows
//! until the last page. Nothing of it is durable: after a restart the snapshot begins again.

use std::collections::BTreeMap;

use super::super::ids::EntryId;
use super::super::message::snapshot::{
    SnapshotAnswer, SnapshotNext, SnapshotPage, SnapshotPosition, SnapshotRequest,
};
use super::super::message::{Item, LogSnapshot, ViewedEntry};
use super::super::row::{LogRow, RowName};

/// The pages of one snapshot so far. Pages may be lost, doubled, late or out of order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SnapshotBuilder {
    after: Option<SnapshotPosition>,
    base: Vec<(RowName, LogRow)>,
    items: BTreeMap<EntryId, ViewedEntry>,
}

impl SnapshotBuilder {
    /// The request for the next page.
    pub fn request(&self, limit: usize) -> SnapshotRequest {
        SnapshotRequest { after: self.after.clone(), limit }
    }

    /// Takes a page. Returns the snapshot after the last one, and starts again.
    ///
    /// A page that does not continue the last one is ignored.
    pub fn take(&mut self, answer: SnapshotAnswer) -> Option<LogSnapshot> {
        let page = match answer {
            SnapshotAnswer::Restart => {
                *self = Self::default();
                return None;
            }
            SnapshotAnswer::Page(page) => *page,
        };
        if page.after != self.after {
            return None;
        }
        let SnapshotPage { stamp, buckets, horizon, base, items, next, .. } = page;
        self.base.extend(base);
        for item in items {
            match item {
                // It moved while the pages were read: the last view counts.
                Item::Entry(seen) => drop(self.items.insert(seen.key.id, *seen)),
                Item::Gone(id) => drop(self.items.remove(&id)),
            }
        }
        match next {
            SnapshotNext::Next(position) => {
                self.after = Some(position);
                None
            }
            SnapshotNext::Cursor(cursor) => {
                let Self { base, items, .. } = std::mem::take(self);
                let mut items: Vec<ViewedEntry> = items.into_values().collect();
                items.sort_by_key(|seen| seen.key);
                Some(LogSnapshot { stamp, buckets, horizon, base, items, cursor })
            }
        }
    }
}

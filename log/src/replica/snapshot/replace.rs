//! A snapshot that replaces rows: its pages are stored, and applied at once with the last, so that
//! the app sees the old rows until then. In memory are one page, the entries above the horizon with
//! their rows, and the rows that differ.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::super::super::ids::{EntryId, Name};
use super::super::super::key::Key;
use super::super::super::message::snapshot::{SnapshotNext, SnapshotPage};
use super::super::super::message::{Cursor, EpochStamp, Item, ViewedEntry};
use super::super::super::row::{LogRow, RowName};
use super::super::super::store::StoreError;
use super::super::store::ReplicaStore;
use super::super::{Replica, fetch};

/// The later items, each as the last page shows it.
type Items = BTreeMap<EntryId, ViewedEntry>;

/// Stores a page, or applies all with the last.
pub(super) fn take<S: ReplicaStore>(
    replica: &mut Replica<S>,
    page: &SnapshotPage,
) -> Result<(), StoreError> {
    match &page.next {
        SnapshotNext::Next(position) => {
            replica.store.put_page(page)?;
            let mut edit = replica.edit();
            edit.facts.loading = Some(position.clone());
            replica.commit(edit)
        }
        SnapshotNext::Cursor(cursor) => {
            if !is_older(replica, page.stamp, *cursor) {
                apply(replica, page, *cursor)?;
            }
            forget(replica)
        }
    }
}

/// Removes the stored pages.
pub(super) fn forget<S: ReplicaStore>(replica: &mut Replica<S>) -> Result<(), StoreError> {
    if replica.facts.loading.is_none() {
        return Ok(());
    }
    replica.store.clear_pages()?;
    let mut edit = replica.edit();
    edit.facts.loading = None;
    replica.commit(edit)
}

fn is_older<S: ReplicaStore>(replica: &Replica<S>, new: EpochStamp, cursor: Cursor) -> bool {
    replica.facts.stamp.is_some_and(|stamp| {
        stamp.epoch == new.epoch
            && (new.membership < stamp.membership || cursor < replica.facts.cursor)
    })
}

/// Replaces the rows at the horizon and the items; own entries stay above them.
fn apply<S: ReplicaStore>(
    replica: &mut Replica<S>,
    last: &SnapshotPage,
    cursor: Cursor,
) -> Result<(), StoreError> {
    let same_epoch = replica.facts.stamp.is_some_and(|stamp| stamp.epoch == last.stamp.epoch);
    if same_epoch {
        // Compare both bases at one horizon, so that items that were only folded are not
        // changes.
        fetch::fold_to(replica, last.horizon)?;
    } else {
        // The awaited response comes from a log that no longer exists.
        replica.awaited = None;
    }
    let mut edit = replica.edit();
    edit.change.everything = true;
    let (base, items) = differences(&replica.store, last)?;
    edit.change.base = base;
    let mut items: Vec<ViewedEntry> = items.into_values().collect();
    items.sort_unstable_by_key(|seen| seen.key);
    let shown = items.iter().map(|seen| seen.key.id).collect();
    let left = replica.facts.buckets.as_ref().is_some_and(|had| !last.buckets.covers(had));
    super::let_go(replica, &mut edit, (&shown, last.horizon), same_epoch, left)?;
    edit.facts.buckets = Some(last.buckets.clone());
    for seen in &items {
        fetch::take(replica, &mut edit, seen)?;
    }
    edit.facts.stamp = Some(last.stamp);
    edit.facts.horizon = last.horizon;
    edit.facts.cursor = cursor;
    edit.facts.needs_snapshot = false;
    replica.at_head = true;
    replica.commit(edit)
}

/// Calls `each` with the stored pages, and with the last one.
fn each_page<S: ReplicaStore>(
    store: &S,
    last: &SnapshotPage,
    mut each: impl FnMut(&SnapshotPage) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut number = 0;
    while let Some((next, page)) = store.page_after(number)? {
        each(&page)?;
        number = next;
    }
    each(last)
}

fn items<S: ReplicaStore>(store: &S, last: &SnapshotPage) -> Result<Items, StoreError> {
    let mut items = Items::new();
    each_page(store, last, |page| {
        add_items(&mut items, page);
        Ok(())
    })?;
    Ok(items)
}

fn add_items(items: &mut Items, page: &SnapshotPage) {
    for item in &page.items {
        match item {
            // It moved while the pages were read: the last view counts.
            Item::Entry(seen) => drop(items.insert(seen.key.id, (**seen).clone())),
            Item::Gone(id) => drop(items.remove(id)),
        }
    }
}

/// The rows at the horizon that change, and the items. The pages have the rows in name order.
fn differences<S: ReplicaStore>(
    store: &S,
    last: &SnapshotPage,
) -> Result<(BTreeMap<RowName, Option<LogRow>>, Items), StoreError> {
    let base = Base::of(store)?;
    let (mut changes, mut items, mut after) = (BTreeMap::new(), Items::new(), None);
    each_page(store, last, |page| {
        add_items(&mut items, page);
        let Some((through, _)) = page.base.last() else { return Ok(()) };
        base.compare((after.as_ref(), Some(through)), &page.base, &mut changes)?;
        after = Some(through.clone());
        Ok(())
    })?;
    base.compare((after.as_ref(), None), &[], &mut changes)?;
    Ok((changes, items))
}

/// The rows of the device at the horizon.
struct Base<'s, S> {
    store: &'s S,
    /// Those that entries above the horizon have changed, as they were before.
    below: BTreeMap<RowName, Option<LogRow>>,
}

impl<'s, S: ReplicaStore> Base<'s, S> {
    fn of(store: &'s S) -> Result<Self, StoreError> {
        let mut below = BTreeMap::new();
        for key in store.steps().keys()?.into_iter().rev() {
            let undo = store.record(key.id)?.map(|record| record.undo);
            below.extend(undo.unwrap_or_default().into_iter().rev());
        }
        Ok(Self { store, below })
    }

    fn row(&self, row: &RowName) -> Result<Option<LogRow>, StoreError> {
        match self.below.get(row) {
            Some(image) => Ok(image.clone()),
            None => self.store.row(row),
        }
    }

    /// The names after the first and through the second.
    fn names(
        &self,
        (after, through): (Option<&RowName>, Option<&RowName>),
    ) -> Result<BTreeSet<RowName>, StoreError> {
        if after.zip(through).is_some_and(|(after, through)| after >= through) {
            return Ok(BTreeSet::new());
        }
        let mut names: BTreeSet<RowName> =
            self.store.names_between(after, through)?.into_iter().collect();
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let through = through.map_or(Bound::Unbounded, Bound::Included);
        for (row, image) in self.below.range((after, through)) {
            match image {
                Some(_) => names.insert(row.clone()),
                None => names.remove(row),
            };
        }
        Ok(names)
    }

    /// Adds what changes where these rows replace those of a range.
    fn compare(
        &self,
        range: (Option<&RowName>, Option<&RowName>),
        rows: &[(RowName, LogRow)],
        changes: &mut BTreeMap<RowName, Option<LogRow>>,
    ) -> Result<(), StoreError> {
        let mut gone = self.names(range)?;
        for (row, image) in rows {
            gone.remove(row);
            if self.row(row)?.as_ref() != Some(image) {
                changes.insert(row.clone(), Some(image.clone()));
            }
        }
        changes.extend(gone.into_iter().map(|row| (row, None)));
        Ok(())
    }
}

/// The entries of a snapshot that ends with this page.
pub fn shown_entries<S: ReplicaStore>(
    store: &S,
    last: &SnapshotPage,
) -> Result<BTreeSet<EntryId>, StoreError> {
    Ok(items(store, last)?.into_keys().collect())
}

/// The tables of which a snapshot that ends with this page shows rows.
pub fn shown_tables<S: ReplicaStore>(
    store: &S,
    last: &SnapshotPage,
) -> Result<BTreeSet<Name>, StoreError> {
    let mut tables = BTreeSet::new();
    each_page(store, last, |page| {
        tables.extend(page.base.iter().map(|(row, _)| row.table.clone()));
        Ok(())
    })?;
    let items = items(store, last)?;
    tables.extend(items.values().flat_map(|seen| seen.effects.rows()).map(|row| row.table));
    Ok(tables)
}

/// The tables that have rows of the server: of its base, or of entries that it has accepted. All
/// names of rows are in memory.
pub fn base_tables<S: ReplicaStore>(store: &S) -> Result<BTreeSet<Name>, StoreError> {
    let names = Base::of(store)?.names((None, None))?;
    let mut tables: BTreeSet<Name> = names.into_iter().map(|row| row.table).collect();
    for id in store.ids(&Key::LAST)? {
        let item = store.record(id)?.and_then(|record| record.item);
        for row in item.map(|item| item.effects.rows()).unwrap_or_default() {
            if !tables.contains(&row.table) && store.row(&row)?.is_some() {
                tables.insert(row.table);
            }
        }
    }
    Ok(tables)
}

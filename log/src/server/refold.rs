//! The server's incremental fold: a late entry costs only the rows that it names, from its key on.
//!
//! Each row has a history: its base, then a link for each entry that names it, in key order, with
//! the row after it and the viewers' changes. A new link is inserted, and later links are
//! recomputed until the row is unchanged. Entries whose views changed get new positions, so that
//! viewers receive them again.

use std::collections::BTreeMap;

use super::super::effect::{Effect, Effects};
use super::super::ids::Buckets;
use super::super::key::Key;
use super::super::row::{LogRow, RowName};
use super::super::store::StoreError;
use super::super::view::RowEffect;
use super::super::write_set::WriteSet;
use super::Server;
use super::store::{AcceptedEntry, Link, LogStore};

/// Entries whose views have changed, and the buckets of their old and new views.
type Moved = BTreeMap<Key, Buckets>;

impl<S: LogStore> Server<S> {
    /// Stores an entry with new content, replacing the effects of `former`. Moves it and all
    /// entries whose view it changed to the end of the feed, in key order. The caller then stores
    /// the facts.
    pub(super) fn place(
        &mut self,
        entry: &AcceptedEntry,
        former: &Effects,
        now: u64,
    ) -> Result<(), StoreError> {
        let mut moved = Moved::from([(entry.key, entry.touched.clone())]);
        let effects = &entry.content.effects;
        let rows = &former.rows() | &effects.rows();
        self.store.expect(&rows.iter().map(|row| (row, &entry.key)).collect::<Vec<_>>())?;
        for row in &rows {
            let link = effects.get(row).map(|effect| (effect, &entry.content.write_set));
            let is_linked = former.get(row).is_some();
            self.relink(row, &entry.key, is_linked, link, &mut moved)?;
        }
        for (key, touched) in moved {
            let entry =
                if key == entry.key { Some(entry.clone()) } else { self.store.entry(key.id)? };
            if let Some(entry) = entry {
                self.move_to_end(entry, &touched, now)?;
            }
        }
        Ok(())
    }

    /// Gives an item the next position.
    fn move_to_end(
        &mut self,
        mut entry: AcceptedEntry,
        touched: &Buckets,
        now: u64,
    ) -> Result<(), StoreError> {
        self.facts.head += 1;
        entry.position = self.facts.head;
        entry.moved_at = now;
        entry.touched = entry.touched.with(touched);
        self.moved = self.moved.with(&entry.touched);
        self.store.put_entry(&entry)
    }

    /// Sets, replaces or removes the link of a row at a key, and recomputes later links as far as
    /// the row changes. `is_linked`: whether there is a link to replace or remove.
    fn relink(
        &mut self,
        row: &RowName,
        key: &Key,
        is_linked: bool,
        new: Option<(&Effect, &WriteSet)>,
        moved: &mut Moved,
    ) -> Result<(), StoreError> {
        let before = self.row_before(row, key)?;
        let old = if is_linked { self.store.link(row, key)? } else { None };
        let new =
            new.map(|(effect, write_set)| self.applied(row, effect, before.as_ref(), write_set));
        note(moved, key, old.as_ref());
        note(moved, key, new.as_ref());
        self.store.put_link(row, key, new.as_ref())?;
        let previous = old.map_or_else(|| before.clone(), |link| link.after);
        let current = new.map_or(before, |link| link.after);
        if previous == current { Ok(()) } else { self.relay(row, key, current, moved) }
    }

    /// Recomputes the links after a key for the row `current`, until one leaves the row unchanged.
    /// If none does, the row as it now stands has changed.
    fn relay(
        &mut self,
        row: &RowName,
        after: &Key,
        mut current: Option<LogRow>,
        moved: &mut Moved,
    ) -> Result<(), StoreError> {
        let mut at = *after;
        while let Some((key, old)) = self.store.link_after(row, &at)? {
            let new = self.applied(row, &old.effect, current.as_ref(), &old.write_set);
            if new.passage != old.passage {
                note(moved, &key, Some(&old));
                note(moved, &key, Some(&new));
            }
            self.store.put_link(row, &key, Some(&new))?;
            if new.after == old.after {
                return Ok(());
            }
            (current, at) = (new.after, key);
        }
        self.store.put_current(row, current.as_ref())
    }

    pub(super) fn applied(
        &self,
        row: &RowName,
        effect: &Effect,
        before: Option<&LogRow>,
        write_set: &WriteSet,
    ) -> Link {
        let (after, passage) = RowEffect::of(row, effect, before, write_set, &*self.placement);
        Link { effect: effect.clone(), write_set: write_set.clone(), after, passage }
    }

    /// The row below a key.
    pub(super) fn row_before(
        &self,
        row: &RowName,
        key: &Key,
    ) -> Result<Option<LogRow>, StoreError> {
        match self.store.link_before(row, key)? {
            Some(link) => Ok(link.after),
            None => self.store.base(row),
        }
    }

    /// Recomputes every link of every row, for another placement.
    pub(super) fn relay_everything(&mut self) -> Result<(), StoreError> {
        for row in self.store.linked_rows()? {
            let (mut at, mut current) = (Key::FIRST, self.store.base(&row)?);
            let mut former = current.clone();
            while let Some((key, old)) = self.store.link_after(&row, &at)? {
                let new = self.applied(&row, &old.effect, current.as_ref(), &old.write_set);
                self.store.put_link(&row, &key, Some(&new))?;
                (current, at, former) = (new.after, key, old.after);
            }
            if current != former {
                self.store.put_current(&row, current.as_ref())?;
            }
        }
        Ok(())
    }

    /// All rows by a fold from the horizon on, without links: [`Server::rows`] must return the
    /// same. For checks.
    pub fn fold(&self) -> Result<BTreeMap<RowName, LogRow>, StoreError> {
        let mut rows: BTreeMap<_, _> =
            self.store.base_after(None, usize::MAX)?.into_iter().collect();
        for entry in self.entries()? {
            let write_set = &entry.content.write_set;
            for (row, effect) in entry.content.effects.iter() {
                let link = self.applied(row, effect, rows.get(row), write_set);
                match link.after {
                    Some(image) => rows.insert(row.clone(), image),
                    None => rows.remove(row),
                };
            }
        }
        Ok(rows)
    }

    /// All entries above the horizon, in key order.
    pub fn entries(&self) -> Result<Vec<AcceptedEntry>, StoreError> {
        let ids = self.store.by_key(&Key::FIRST, usize::MAX)?;
        let mut entries = Vec::with_capacity(ids.len());
        for id in ids {
            entries.extend(self.store.entry(id)?);
        }
        Ok(entries)
    }
}

/// Records that an entry's view has changed: all its viewers must receive it again.
fn note(moved: &mut Moved, key: &Key, link: Option<&Link>) {
    let touched = moved.entry(*key).or_default();
    if let Some(passage) = link.and_then(|link| link.passage.as_ref()) {
        *touched = touched.with(&passage.touched());
    }
}

//! The server's state as recomputed from its entries: its rows, what was sent, and what must not be
//! sent.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_log::effect::Effect;
use rejoin_log::ids::{AuthorId, EntryId};
use rejoin_log::key::Key;
use rejoin_log::message::{Correct, Correction, Item, LogSnapshot, Page, ViewedEntry};
use rejoin_log::row::{Columns, LogRow, RowName};

use super::ids;
use super::oracle::{
    self, Change, Names, Rows, ServerEntry, WriteBuckets, after, describe_difference, fold, place,
    seen, sees, view,
};
use super::server::{LogServer, without_nulls};
use crate::simulate::{Checked, broken};

/// Rows of the log model as the oracle represents them.
pub(super) fn rows(rows: Vec<(RowName, LogRow)>) -> Rows {
    rows.into_iter().map(|(name, image)| (name, image.columns().clone())).collect()
}

/// The rows that a viewer must be shown, each with the image that the viewer may see afterwards.
type VisibleRows = BTreeMap<RowName, Option<Columns>>;

#[derive(Debug, Clone, Copy, Default)]
struct FeedPosition {
    position: u64,
    since: u64,
    version: u64,
}

/// The recomputed state of a server.
#[derive(Debug, Clone, Default)]
pub(super) struct ExpectedServer {
    /// The rows at the horizon, folded here.
    pub(super) base: Rows,
    /// The entries above the horizon, in the order of their keys.
    pub(super) entries: Vec<ServerEntry>,
    /// The changes of each entry.
    changes: Vec<Vec<Change>>,
    /// The current rows.
    pub(super) rows: Rows,
    /// Entries at or below the horizon.
    pub(super) finals: BTreeSet<EntryId>,
    /// The buckets that each row was ever in, by the rows that entries named. A member of one of
    /// them may receive the entry. The server may have moved a row within one request, so a
    /// stricter check is not possible from outside.
    placed: BTreeMap<RowName, Names>,
    named: BTreeMap<EntryId, BTreeSet<RowName>>,
    /// The last feed position of each item, its time, and its content.
    feed_positions: BTreeMap<EntryId, FeedPosition>,
}

impl ExpectedServer {
    /// A server with these rows and no entry.
    pub(super) fn of(base: Rows) -> Self {
        Self { base, ..Self::default() }
    }

    /// Reads the server after a step; returns how many items moved only because their view changed.
    pub(super) fn update(&mut self, server: &LogServer, now: u64) -> Checked<u64> {
        let entries = server.entries()?;
        let mut for_views = 0;
        for entry in &entries {
            let former = self.feed_positions.get(&entry.id).copied().unwrap_or_default();
            let stays = former.position == entry.position;
            let since = if stays { former.since } else { now };
            for_views += u64::from(!stays && former.version == entry.version);
            self.feed_positions.insert(
                entry.id,
                FeedPosition { position: entry.position, since, version: entry.version },
            );
        }
        self.entries = entries
            .into_iter()
            .map(|entry| ServerEntry {
                id: entry.id,
                key: entry.key,
                time: entry.time,
                intent: entry.intent,
                revision: entry.content.revision.0,
                effects: entry.content.effects,
                within: WriteBuckets::of(&entry.content.write_set),
                by_authority: entry.by_authority,
                version: entry.version,
            })
            .collect();
        self.entries.sort_by_key(|entry| entry.key);
        (self.rows, self.changes) = fold(&self.base, &self.entries);
        for (entry, changes) in self.entries.iter().zip(&self.changes) {
            self.named.entry(entry.id).or_default().extend(entry.effects.rows());
            for (row, effect) in entry.effects.iter() {
                if let Some(written) = after(effect, Some(&Columns::default())) {
                    self.placed.entry(row.clone()).or_default().extend(place(&written));
                }
            }
            for change in changes {
                let images = [&change.before, &change.after].into_iter().flatten();
                self.placed.entry(change.row.clone()).or_default().extend(images.flat_map(place));
            }
        }
        let (folded, current) = (server.rows()?, server.current_rows()?);
        let shown = without_nulls(&self.rows);
        for (what, have, want) in
            [("rows", &folded, &self.rows), ("current rows", &current, &shown)]
        {
            if let Some(difference) = describe_difference(have, want) {
                return broken!(
                    "server-rows-are-the-fold",
                    "the server's {what} are not the fold of its entries: {difference}"
                );
            }
        }
        Ok(for_views)
    }

    /// Folds the entries up to `horizon`, as they were last read.
    pub(super) fn fold_to_horizon(
        &mut self,
        horizon: &Key,
        retention: u64,
        now: u64,
    ) -> Checked<u64> {
        let entries = std::mem::take(&mut self.entries);
        let (below, above): (Vec<ServerEntry>, Vec<ServerEntry>) =
            entries.into_iter().partition(|entry| entry.key <= *horizon);
        for entry in &below {
            let FeedPosition { since, .. } =
                self.feed_positions.get(&entry.id).copied().unwrap_or_default();
            if since + retention > now {
                return broken!(
                    "horizon-is-final",
                    "the horizon passed {}, which moved {} ms ago",
                    ids::entry(entry.id),
                    now - since
                );
            }
            self.finals.insert(entry.id);
        }
        (self.base, _) = fold(&self.base, &below);
        self.entries = above;
        Ok(below.len() as u64)
    }

    /// The rows that a viewer must be shown of an entry, with their images after it.
    fn view_of(
        &self,
        id: EntryId,
        viewer: &Names,
    ) -> Option<(&ServerEntry, &[Change], VisibleRows)> {
        let at = self.entries.iter().position(|entry| entry.id == id)?;
        Some((&self.entries[at], &self.changes[at], view(&self.changes[at], viewer)))
    }

    /// Checks that a page sends only what this viewer may see.
    pub(super) fn check_page(&self, page: &Page, viewer: &Names, author: AuthorId) -> Checked {
        for item in &page.items {
            match item {
                Item::Entry(seen) => self.check_item(seen, viewer, author)?,
                Item::Gone(id) => {
                    let rows = self.named.get(id).into_iter().flatten();
                    let met = |row| {
                        self.placed.get(row).is_some_and(|buckets| !buckets.is_disjoint(viewer))
                    };
                    if !rows.into_iter().any(met) {
                        return broken!(
                            "feed-shows-what-concerns",
                            "{} was sent, which was never visible to this viewer",
                            ids::entry(*id)
                        );
                    }
                }
            }
        }
        Ok(())
    }

    fn check_item(&self, sent: &ViewedEntry, viewer: &Names, author: AuthorId) -> Checked {
        let id = ids::entry(sent.key.id);
        let Some((entry, changes, view)) = self.view_of(sent.key.id, viewer) else {
            return broken!("feed-shows-what-concerns", "{id} was sent, which is not in the log");
        };
        if sent.whole.is_some() || sent.own.is_some() != (entry.key.author == author) {
            return broken!(
                "feed-shows-what-concerns",
                "of {id} more was sent than its viewer may know, or less than its author must"
            );
        }
        if sent.effects.rows() != view.keys().cloned().collect() {
            let effects = &sent.effects;
            return broken!(
                "view-is-the-viewers-part",
                "of {id} was sent: {effects:?}; other rows are due"
            );
        }
        for change in changes {
            let Some(effect) = sent.effects.get(&change.row) else { continue };
            let before = change.before.as_ref().filter(|image| sees(viewer, image));
            let due = view.get(&change.row).cloned().flatten();
            let leaks = match (effect, &due) {
                (Effect::Insert(image), Some(due)) => image.columns() != due,
                (Effect::Update(columns), Some(due)) => {
                    before.is_none()
                        || columns.iter().any(|(name, value)| due.get(name) != Some(value))
                }
                (Effect::Delete, None) => false,
                _ => true,
            };
            if leaks || after(effect, before) != due {
                let name = &change.row;
                return broken!(
                    "view-is-the-viewers-part",
                    "of {id} this was sent of {name:?}: {effect:?}"
                );
            }
        }
        Ok(())
    }

    /// Checks that a snapshot is exactly this viewer's part.
    pub(super) fn check_snapshot(
        &self,
        snapshot: &LogSnapshot,
        viewer: &Names,
        author: AuthorId,
    ) -> Checked {
        if let Some(difference) =
            describe_difference(&rows(snapshot.base.clone()), &seen(&self.base, viewer))
        {
            return broken!(
                "epochs-and-copies-noticed",
                "the base of a snapshot is wrong: {difference}"
            );
        }
        for item in &snapshot.items {
            self.check_item(item, viewer, author)?;
        }
        let due = self.entries.iter().zip(&self.changes);
        let due = due.filter(|(entry, changes)| {
            entry.key.author == author || !view(changes, viewer).is_empty()
        });
        let sent: BTreeSet<EntryId> = snapshot.items.iter().map(|item| item.key.id).collect();
        let missing: Vec<String> = due
            .filter(|(entry, _)| !sent.contains(&entry.id))
            .map(|(entry, _)| ids::entry(entry.id))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            broken!("epochs-and-copies-noticed", "a snapshot lacks {}", missing.join(", "))
        }
    }

    /// Checks that an author was allowed to publish its changes since `before`: none of the
    /// authority's entries, and none that were accepted in a bucket that the author has left.
    pub(super) fn check_author(&self, before: &[ServerEntry], buckets: &Names) -> Checked {
        for old in before {
            let Some(new) = self
                .entries
                .iter()
                .find(|entry| entry.id == old.id && entry.version != old.version)
            else {
                continue;
            };
            let id = ids::entry(old.id);
            if old.by_authority {
                return broken!(
                    "authority-decides",
                    "{id} is the authority's, and its author has changed it"
                );
            }
            if !old.within.all.is_subset(buckets) {
                return broken!(
                    "left-bucket-is-closed",
                    "{id} was accepted in a bucket which its author has left, and the author has changed it"
                );
            }
            if new.revision <= old.revision {
                return broken!(
                    "revisions-rise",
                    "revision {} of {id} was taken upon {}",
                    new.revision,
                    old.revision
                );
            }
        }
        Ok(())
    }

    /// Checks that the corrections in transit replace what the authority read; returns how many do.
    pub(super) fn count_current(&self, correct: &Correct) -> usize {
        let reads = |correction: &&Correction| {
            self.entries
                .iter()
                .any(|entry| entry.id == correction.id && entry.version == correction.version)
        };
        correct.corrections.iter().filter(reads).count()
    }

    /// The state if every entry had been taken in key order, each on its author's view. `written_by`
    /// returns an author's present write set; entries that the authority took keep the write set that
    /// it found.
    pub(super) fn state_in_order(
        &self,
        base: &Rows,
        written_by: impl Fn(AuthorId) -> WriteBuckets,
    ) -> Rows {
        let mut rows = base.clone();
        for entry in &self.entries {
            match &entry.intent {
                None => drop(oracle::apply_effects(&mut rows, &entry.effects, Some(&entry.within))),
                Some(intent) => {
                    let within = if entry.by_authority {
                        entry.within.clone()
                    } else {
                        written_by(entry.key.author)
                    };
                    let visible = seen(&rows, &within.read());
                    let effects =
                        oracle::run(&visible, Some(&within), intent, entry.id, entry.time);
                    oracle::apply_effects(&mut rows, &effects, Some(&within));
                }
            }
        }
        rows
    }
}

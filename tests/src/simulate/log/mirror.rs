//! The server as an onlooker sees it who folds everything himself: what stands, what was sent and what must not have been.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_log::effect::Effect;
use rejoin_log::ids::{AuthorId, EntryId};
use rejoin_log::key::Key;
use rejoin_log::message::{Correct, Correction, Item, Page, Seen, Snapshot};
use rejoin_log::row::{Columns, Image, RowName};
use rejoin_log::server::Server;
use rejoin_log::server::memory::MemoryLog;

use super::oracle::{
    self, Change, Fact, Names, Rows, after, fold, names, place, seen, sees, unlike, view,
};
use super::words;
use crate::simulate::{Checked, broken};

/// Rows of the room as the oracle has them.
pub(super) fn rows(rows: Vec<(RowName, Image)>) -> Rows {
    rows.into_iter().map(|(name, image)| (name, image.columns().clone())).collect()
}

/// What a viewer must be shown: rows, and what he may see of them afterwards.
type Shown = BTreeMap<RowName, Option<Columns>>;

#[derive(Debug, Clone, Copy, Default)]
struct Moved {
    position: u64,
    since: u64,
    version: u64,
}

/// What an onlooker remembers of a server.
#[derive(Debug, Clone, Default)]
pub(super) struct Mirror {
    /// The rows at the horizon, folded by himself.
    pub(super) base: Rows,
    /// The facts above the horizon, in the order of their keys.
    pub(super) facts: Vec<Fact>,
    /// What each of them changed.
    changes: Vec<Vec<Change>>,
    /// The rows as they stand.
    pub(super) rows: Rows,
    /// Entries at or below the horizon.
    pub(super) finals: BTreeSet<EntryId>,
    /// Where each row ever lay, and the rows that each entry ever named: whoever has a bucket of those may know of the entry.
    /// (The server may have moved it within one request; so no more than this can be seen from outside.)
    lay: BTreeMap<RowName, Names>,
    named: BTreeMap<EntryId, BTreeSet<RowName>>,
    /// Where each item last was in the feed, since when, and with which content.
    moved: BTreeMap<EntryId, Moved>,
}

impl Mirror {
    /// A server with these rows and no entry.
    pub(super) fn of(base: Rows) -> Self {
        Self { base, ..Self::default() }
    }

    /// Looks at the server after something happened to it; answers how many items moved only because what they show changed.
    pub(super) fn look(&mut self, server: &Server<MemoryLog>, now: u64) -> Checked<u64> {
        let entries = server.entries().map_err(|error| error.to_string())?;
        let mut for_views = 0;
        for entry in &entries {
            let former = self.moved.get(&entry.id).copied().unwrap_or_default();
            let stays = former.position == entry.position;
            let since = if stays { former.since } else { now };
            for_views += u64::from(!stays && former.version == entry.version);
            self.moved.insert(
                entry.id,
                Moved { position: entry.position, since, version: entry.version },
            );
        }
        self.facts = entries
            .into_iter()
            .map(|entry| Fact {
                id: entry.id,
                key: entry.key,
                time: entry.time,
                intent: entry.intent,
                revision: entry.content.revision.0,
                effects: entry.content.effects,
                within: names(&entry.content.write_set),
                refereed: entry.refereed,
                version: entry.version,
            })
            .collect();
        self.facts.sort_by_key(|fact| fact.key);
        (self.rows, self.changes) = fold(&self.base, &self.facts);
        for (fact, changes) in self.facts.iter().zip(&self.changes) {
            self.named.entry(fact.id).or_default().extend(fact.effects.rows());
            for (row, effect) in fact.effects.iter() {
                if let Some(written) = after(effect, Some(&Columns::new())) {
                    self.lay.entry(row.clone()).or_default().extend(place(&written));
                }
            }
            for change in changes {
                let images = [&change.before, &change.after].into_iter().flatten();
                self.lay.entry(change.row.clone()).or_default().extend(images.flat_map(place));
            }
        }
        let have = rows(server.rows().map_err(|error| error.to_string())?);
        match unlike(&have, &self.rows) {
            Some(difference) => broken!(
                "server-rows-are-the-fold",
                "the server's rows are not the fold of its entries: {difference}"
            ),
            None => Ok(for_views),
        }
    }

    /// The horizon has risen to `horizon`: folds the facts below it, as they were seen last.
    pub(super) fn fold_away(&mut self, horizon: &Key, retention: u64, now: u64) -> Checked<u64> {
        let facts = std::mem::take(&mut self.facts);
        let (below, above): (Vec<Fact>, Vec<Fact>) =
            facts.into_iter().partition(|fact| fact.key <= *horizon);
        for fact in &below {
            let Moved { since, .. } = self.moved.get(&fact.id).copied().unwrap_or_default();
            if since + retention > now {
                return broken!(
                    "horizon-is-final",
                    "the horizon passed {}, which moved {} ms ago",
                    words::entry(fact.id),
                    now - since
                );
            }
            self.finals.insert(fact.id);
        }
        (self.base, _) = fold(&self.base, &below);
        self.facts = above;
        Ok(below.len() as u64)
    }

    /// What a viewer must be shown of an entry: rows and their images after it.
    fn view_of(&self, id: EntryId, viewer: &Names) -> Option<(&Fact, &[Change], Shown)> {
        let at = self.facts.iter().position(|fact| fact.id == id)?;
        Some((&self.facts[at], &self.changes[at], view(&self.changes[at], viewer)))
    }

    /// Whether a page sends nothing but what this viewer may see.
    pub(super) fn rightful(&self, page: &Page, viewer: &Names, author: AuthorId) -> Checked {
        for item in &page.items {
            match item {
                Item::Entry(seen) => self.rightful_item(seen, viewer, author)?,
                Item::Gone(id) => {
                    let rows = self.named.get(id).into_iter().flatten();
                    let met =
                        |row| self.lay.get(row).is_some_and(|buckets| !buckets.is_disjoint(viewer));
                    if !rows.into_iter().any(met) {
                        return broken!(
                            "feed-shows-what-concerns",
                            "{} was told of, which never concerned this viewer",
                            words::entry(*id)
                        );
                    }
                }
            }
        }
        Ok(())
    }

    fn rightful_item(&self, sent: &Seen, viewer: &Names, author: AuthorId) -> Checked {
        let id = words::entry(sent.id);
        let Some((fact, changes, view)) = self.view_of(sent.id, viewer) else {
            return broken!("feed-shows-what-concerns", "{id} was sent, which does not stand");
        };
        if sent.whole.is_some() || sent.own.is_some() != (fact.key.author == author) {
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

    /// Whether a snapshot is exactly this viewer's part.
    pub(super) fn rightful_snapshot(
        &self,
        snapshot: &Snapshot,
        viewer: &Names,
        author: AuthorId,
    ) -> Checked {
        if let Some(difference) = unlike(&rows(snapshot.base.clone()), &seen(&self.base, viewer)) {
            return broken!(
                "epochs-and-copies-noticed",
                "the base of a snapshot is wrong: {difference}"
            );
        }
        for item in &snapshot.items {
            self.rightful_item(item, viewer, author)?;
        }
        let due = self.facts.iter().zip(&self.changes);
        let due = due.filter(|(fact, changes)| {
            fact.key.author == author || !view(changes, viewer).is_empty()
        });
        let sent: BTreeSet<EntryId> = snapshot.items.iter().map(|item| item.id).collect();
        let missing: Vec<String> = due
            .filter(|(fact, _)| !sent.contains(&fact.id))
            .map(|(fact, _)| words::entry(fact.id))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            broken!("epochs-and-copies-noticed", "a snapshot lacks {}", missing.join(", "))
        }
    }

    /// Whether what an author has published since `before` was his to change: nothing of the referee's (L5), and nothing that
    /// was accepted in a bucket which he has left (L10).
    pub(super) fn rightful_author(&self, before: &[Fact], buckets: &Names) -> Checked {
        for old in before {
            let Some(new) =
                self.facts.iter().find(|fact| fact.id == old.id && fact.version != old.version)
            else {
                continue;
            };
            let id = words::entry(old.id);
            if old.refereed {
                return broken!(
                    "referee-decides",
                    "{id} is the referee's, and its author has changed it"
                );
            }
            if !old.within.is_subset(buckets) {
                return broken!(
                    "left-bucket-is-closed",
                    "{id} was accepted in a bucket which its author has left, and he has changed it"
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

    /// Whether what the referee is about to replace is what it read (L5): how many of its corrections are.
    pub(super) fn still_read(&self, correct: &Correct) -> usize {
        let reads = |correction: &&Correction| {
            self.facts
                .iter()
                .any(|fact| fact.id == correction.id && fact.version == correction.version)
        };
        correct.corrections.iter().filter(reads).count()
    }

    /// What stands if every entry had been taken in the order of keys, each on what its author sees (rules-log, what may be
    /// promised). `buckets` gives an author's present ones; what the referee has taken stays within what it found.
    pub(super) fn as_taken(&self, base: &Rows, buckets: impl Fn(AuthorId) -> Names) -> Rows {
        let mut rows = base.clone();
        for fact in &self.facts {
            match &fact.intent {
                None => drop(oracle::lay(&mut rows, &fact.effects, Some(&fact.within))),
                Some(intent) => {
                    let within =
                        if fact.refereed { fact.within.clone() } else { buckets(fact.key.author) };
                    let effects = oracle::run(&rows, Some(&within), intent, fact.id, fact.time);
                    oracle::lay(&mut rows, &effects, Some(&within));
                }
            }
        }
        rows
    }
}

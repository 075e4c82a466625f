//! What must hold on a device after whatever happened to it; an onlooker keeps its own base and items for it.
//!
//! Three laws: the rows are the fold of base and items, with the own entries as L13 says; running every own action again, from
//! the first, would correct nothing (L4, L14); and an entry was corrected at most once for each time that something before it
//! changed.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_core::sync::log::effect::Effects;
use rejoin_core::sync::log::ids::EntryId;
use rejoin_core::sync::log::key::Key;
use rejoin_core::sync::log::message::{
    Fetched, Held, Item, Outcome, Published, Seen, Snapshot, Verdict,
};
use rejoin_core::sync::log::replica::Replica;
use rejoin_core::sync::log::replica::memory::MemoryReplica;
use rejoin_core::sync::log::replica::store::{Authority, Facts, Own, ReplicaStore as _};

use super::mirror::rows;
use super::oracle::{Names, Rows, lay, names, run, unlike};
use super::words;
use super::world::{Letter, Lived, unexpected};

/// What the server has shown of an entry.
#[derive(Debug, Clone)]
struct Shown {
    key: Key,
    effects: Effects,
    held: Option<Held>,
}

/// An entry in its place, with what counts of it.
#[derive(Debug, Clone, PartialEq)]
struct Placed {
    key: Key,
    id: EntryId,
    effects: Effects,
    /// Counted by its own effects, within the buckets of the author.
    own: bool,
}

/// What an onlooker knows of a device.
#[derive(Debug, Clone, Default)]
pub(super) struct Shadow {
    base: Rows,
    items: BTreeMap<EntryId, Shown>,
    /// The last entry that was folded away since the laws were asked.
    folded: Option<Key>,
    placed: Vec<Placed>,
    /// Own entries that the server shows otherwise than they counted, at the same revision, since the laws were asked: something
    /// before them has changed, which may come on a later page, or never be seen here.
    turned: BTreeSet<EntryId>,
    own: BTreeMap<EntryId, Own>,
    buckets: Option<Names>,
    /// How often something before each own entry has changed.
    allowed: BTreeMap<EntryId, u32>,
    /// Whether the last page was the last there was.
    pub(super) at_head: bool,
}

fn facts(replica: &Replica<MemoryReplica>) -> Lived<Facts> {
    replica
        .store()
        .facts()
        .map_err(unexpected)?
        .ok_or_else(|| "the replica has no facts".to_owned())
}

/// What a device takes for granted about a letter, before it reads it.
pub(super) struct Before(Facts);

impl Shadow {
    /// Before a letter is read.
    pub(super) fn before(replica: &Replica<MemoryReplica>) -> Lived<Before> {
        facts(replica).map(Before)
    }

    /// A letter was read: if the device took it, the onlooker takes it too.
    pub(super) fn read(
        &mut self,
        letter: &Letter,
        before: &Before,
        replica: &Replica<MemoryReplica>,
    ) -> Lived {
        let (before, after) = (&before.0, facts(replica)?);
        self.gives_up(before, &after, replica)?;
        Self::knows_its_own(letter, replica)?;
        match letter {
            Letter::Snapshot(snapshot) => {
                let stands =
                    after.standing == Some(snapshot.standing) && after.cursor == snapshot.cursor;
                if stands
                    && (before.needs_snapshot || before.cursor != after.cursor)
                    && !after.needs_snapshot
                {
                    self.begin(snapshot);
                }
            }
            Letter::Page(Fetched::Page(page)) => {
                let taken = before.cursor == page.from
                    && after.cursor == page.next
                    && after.standing == Some(page.standing);
                if taken {
                    page.items.iter().for_each(|item| self.show(item));
                    self.at_head = !page.more;
                }
            }
            Letter::Page(Fetched::Resync) => self.at_head = false,
            Letter::Answer(answer) => self.covers_what_it_names(answer, replica)?,
            Letter::Request(..) => {}
        }
        if after.needs_snapshot {
            self.at_head = false;
        }
        self.fold_to(&after.horizon);
        Ok(())
    }

    /// What is shown under buckets of which the author is no member any more is not his, whatever he had heard of it (L10).
    fn is_not_his(&self, own: &BTreeMap<EntryId, (Key, Own)>, within: Option<&Names>) -> Lived {
        let Some(within) = within else { return Ok(()) };
        for (id, (_, record)) in own {
            let held = self.items.get(id).and_then(|item| item.held.as_ref());
            let left = held.is_some_and(|held| !names(&held.write_set).is_subset(within));
            if left && record.authority == Authority::Mine {
                return Err(format!(
                    "L10: {} stands in a bucket that was left, and stays its author's",
                    words::entry(*id)
                ));
            }
        }
        Ok(())
    }

    /// Who leaves a bucket gives up what was accepted (L10).
    fn gives_up(&self, before: &Facts, after: &Facts, replica: &Replica<MemoryReplica>) -> Lived {
        let same_log = before.standing.map(|standing| standing.epoch)
            == after.standing.map(|standing| standing.epoch);
        let within = |buckets: &Option<_>| buckets.as_ref().map(names);
        let (Some(had), Some(has)) = (within(&before.buckets), within(&after.buckets)) else {
            return Ok(());
        };
        if !same_log || had.is_subset(&has) {
            return Ok(());
        }
        for (id, (_, own)) in own_records(replica)? {
            let accepted = self.own.get(&id).is_some_and(|old| old.acknowledged.is_some());
            if accepted && own.authority == Authority::Mine {
                return Err(format!(
                    "L10: {} was accepted in a bucket that was left, and stays its author's",
                    words::entry(id)
                ));
            }
        }
        Ok(())
    }

    /// Whoever is shown an own entry that he never made is a copy, and says so (L12).
    fn knows_its_own(letter: &Letter, replica: &Replica<MemoryReplica>) -> Lived {
        let Letter::Page(Fetched::Page(page)) = letter else { return Ok(()) };
        let facts = facts(replica)?;
        if facts.cursor != page.next || facts.standing != Some(page.standing) {
            return Ok(());
        }
        for item in &page.items {
            let Item::Entry(seen) = item else { continue };
            let own =
                replica.store().record(seen.id).map_err(unexpected)?.and_then(|record| record.own);
            let stranger = seen.own.is_some()
                && own.is_none()
                && seen.key > facts.horizon
                && seen.key.author == facts.author;
            if stranger && !replica.needs_new_author() {
                return Err(format!(
                    "L12: {} was never made here, and nobody minds",
                    words::entry(seen.id)
                ));
            }
        }
        Ok(())
    }

    /// An answer acknowledges the revision that it names, and no newer one (L7).
    fn covers_what_it_names(&self, answer: &Published, replica: &Replica<MemoryReplica>) -> Lived {
        let Outcome::Judged(verdicts) = &answer.outcome else { return Ok(()) };
        let own = own_records(replica)?;
        for (id, verdict) in verdicts {
            let (Verdict::Held { revision, .. }, Some((_, new)), Some(old)) =
                (verdict, own.get(id), self.own.get(id))
            else {
                continue;
            };
            if new.acknowledged > old.acknowledged.max(Some(*revision)) {
                return Err(format!(
                    "L7: an answer to {} covers more than it names",
                    words::entry(*id)
                ));
            }
        }
        Ok(())
    }

    fn begin(&mut self, snapshot: &Snapshot) {
        self.base = rows(snapshot.base.clone());
        self.items.clear();
        snapshot.items.iter().for_each(|seen| self.show_entry(seen));
        self.at_head = true;
        // It is taken in two strides: to its horizon, then upon it.
        self.allowed.values_mut().for_each(|allowed| *allowed += 2);
    }

    fn show(&mut self, item: &Item) {
        match item {
            Item::Entry(seen) => self.show_entry(seen),
            Item::Gone(id) => drop(self.items.remove(id)),
        }
    }

    fn show_entry(&mut self, seen: &Seen) {
        let shown = Shown { key: seen.key, effects: seen.effects.clone(), held: seen.own.clone() };
        let revision = self.own.get(&seen.id).map(|own| own.revision);
        let echoes = seen.own.as_ref().is_some_and(|held| Some(held.revision) == revision);
        let counted = self.placed.iter().find(|entry| entry.id == seen.id);
        if echoes && counted.is_some_and(|entry| entry.effects != seen.effects) {
            self.turned.insert(seen.id);
        }
        self.items.insert(seen.id, shown);
    }

    /// Folds the items up to the horizon into the base.
    fn fold_to(&mut self, horizon: &Key) {
        let mut below: Vec<(Key, EntryId)> = self
            .items
            .iter()
            .filter(|(_, item)| item.key <= *horizon)
            .map(|(id, item)| (item.key, *id))
            .collect();
        below.sort_unstable();
        self.folded = below.last().map(|(key, _)| *key).max(self.folded);
        for (_, id) in below {
            if let Some(item) = self.items.remove(&id) {
                lay(&mut self.base, &item.effects, None);
            }
        }
    }

    /// Holds the device to its laws: `repeatable` if it always had every handler, `counted` if it is nobody's copy.
    pub(super) fn holds(
        &mut self,
        replica: &Replica<MemoryReplica>,
        repeatable: bool,
        counted: bool,
    ) -> Lived {
        let facts = facts(replica)?;
        let within = facts.buckets.as_ref().map(names);
        let own = own_records(replica)?;
        let placed = self.place(&own);
        let mut state = self.base.clone();
        for entry in &placed {
            let before = state.clone();
            lay(&mut state, &entry.effects, within.as_ref().filter(|_| entry.own));
            // Between two pages an own item may be here, and what made it void on the next page.
            if let Some((_, record)) = own.get(&entry.id).filter(|_| repeatable && self.at_head) {
                self.would_stay(entry, record, &before, &state, within.as_ref())?;
            }
        }
        let have = rows(replica.rows().map_err(unexpected)?);
        if let Some(difference) = unlike(&have, &state) {
            return Err(format!("L13: the rows of a device are not its fold: {difference}"));
        }
        self.is_not_his(&own, within.as_ref())?;
        if counted {
            self.corrects_something(&own, within.as_ref())?;
            self.within_bound(&placed, &own, &facts.horizon, within != self.buckets)?;
        }
        self.own = own.into_iter().map(|(id, (_, record))| (id, record)).collect();
        (self.placed, self.buckets) = (placed, within);
        Ok(())
    }

    /// A new revision says something else than the server holds, or says it under other buckets (L4).
    fn corrects_something(
        &self,
        own: &BTreeMap<EntryId, (Key, Own)>,
        within: Option<&Names>,
    ) -> Lived {
        for (id, (_, new)) in own {
            let Some(old) = self.own.get(id) else { continue };
            let held = self.items.get(id).and_then(|item| item.held.as_ref());
            let held = held.filter(|held| {
                held.revision == old.revision && Some(&names(&held.write_set)) == within
            });
            if held.is_some() && new.revision == old.revision.next() && new.effects == old.effects {
                return Err(format!(
                    "L4: {} is corrected to what the server holds",
                    words::entry(*id)
                ));
            }
        }
        Ok(())
    }

    /// Base aside, everything in its order, with what counts (L13).
    fn place(&self, own: &BTreeMap<EntryId, (Key, Own)>) -> Vec<Placed> {
        let mut placed: Vec<Placed> = Vec::new();
        for (id, item) in &self.items {
            if !own.contains_key(id) {
                placed.push(Placed {
                    key: item.key,
                    id: *id,
                    effects: item.effects.clone(),
                    own: false,
                });
            }
        }
        for (id, (key, record)) in own {
            let item = self.items.get(id);
            let by_own = match (record.authority, item) {
                (Authority::Parked, _) => continue,
                (_, None) => true,
                (Authority::Referee | Authority::Frozen, Some(_)) => false,
                (_, Some(item)) if item.held.as_ref().is_some_and(|held| held.refereed) => false,
                (Authority::Mine, Some(item)) => {
                    let echoed =
                        item.held.as_ref().is_some_and(|held| held.revision == record.revision);
                    !echoed || record.acknowledged < Some(record.revision)
                }
            };
            let effects = if by_own {
                &record.effects
            } else {
                item.map_or(&record.effects, |item| &item.effects)
            };
            let key = item.map_or(*key, |item| item.key);
            placed.push(Placed { key, id: *id, effects: effects.clone(), own: by_own });
        }
        placed.sort_by_key(|entry| entry.key);
        placed
    }

    /// Running an own action again, on what stands before it, would correct nothing.
    fn would_stay(
        &self,
        entry: &Placed,
        record: &Own,
        before: &Rows,
        state: &Rows,
        within: Option<&Names>,
    ) -> Lived {
        let Some(intent) = record.intent.as_ref().filter(|_| record.authority == Authority::Mine)
        else {
            return Ok(());
        };
        if intent.action.as_str() == "dice" {
            return Ok(());
        }
        let effects = run(before, within, intent, entry.id, record.time);
        let mut again = before.clone();
        lay(&mut again, &effects, within);
        let Some(difference) = unlike(state, &again) else { return Ok(()) };
        let held = self.items.get(&entry.id).and_then(|item| item.held.as_ref());
        let refused = held.is_some_and(|held| Some(&names(&held.write_set)) == within);
        let comes_to = |effects: &Effects| {
            let mut rows = before.clone();
            lay(&mut rows, effects, None);
            rows
        };
        if !entry.own && refused && comes_to(&effects) == comes_to(&record.effects) {
            return Ok(()); // The server holds what comes to just that, and found it void.
        }
        Err(format!(
            "L14: {}, run again, would give something else: {difference}",
            words::entry(entry.id)
        ))
    }

    /// At most one correction for each change before an entry.
    fn within_bound(
        &mut self,
        placed: &[Placed],
        own: &BTreeMap<EntryId, (Key, Own)>,
        horizon: &Key,
        other_buckets: bool,
    ) -> Lived {
        let ids: BTreeSet<EntryId> = placed.iter().map(|entry| entry.id).collect();
        // What the server shows comes to the same when it is folded away. What counted by its own effects may not: it counts from
        // then on as the server has it, under those who still wait.
        let folded =
            |entry: &&Placed| !entry.own && entry.key <= *horizon && !ids.contains(&entry.id);
        let old: Vec<&Placed> = self.placed.iter().filter(|entry| !folded(entry)).collect();
        let first = old
            .iter()
            .zip(placed)
            .position(|(old, new)| **old != *new)
            .unwrap_or(old.len().min(placed.len()));
        let changed =
            [old.get(first).map(|entry| entry.key), placed.get(first).map(|entry| entry.key)];
        let changed = changed.into_iter().flatten().min();
        let (folded, first_waiting) = (self.folded.take(), own.values().map(|(key, _)| *key).min());
        for (id, (key, record)) in own {
            let allowed = self.allowed.entry(*id).or_default();
            let turned = self.turned.remove(id);
            let moved = old.iter().any(|entry| entry.id == *id && entry.key != *key);
            let before = changed.is_some_and(|changed| changed < *key);
            *allowed += u32::from(before || turned || moved || other_buckets);
            // Then what is folded away comes to lie below what waits, also if it was above it.
            *allowed +=
                u32::from(first_waiting.is_some_and(|first| folded > Some(first) && first <= *key));
            if record.revision.0 > *allowed {
                let (id, corrected) = (words::entry(*id), record.revision.0);
                return Err(format!(
                    "L4: {id} has {corrected} corrections, but only {allowed} changes came before it"
                ));
            }
        }
        Ok(())
    }

    /// The user decided something about an entry, or its key changed: one revision more is due.
    pub(super) fn allow(&mut self, id: EntryId) {
        *self.allowed.entry(id).or_default() += 1;
    }
}

fn own_records(replica: &Replica<MemoryReplica>) -> Lived<BTreeMap<EntryId, (Key, Own)>> {
    let mut own = BTreeMap::new();
    for id in replica.store().own_ids().map_err(unexpected)? {
        if let Some(record) = replica.store().record(id).map_err(unexpected)?
            && let Some(mine) = record.own
        {
            own.insert(id, (record.key, mine));
        }
    }
    Ok(own)
}

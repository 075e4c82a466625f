//! What must hold on a device after each operation; an observer keeps its own base and items for it.
//!
//! The rows are the fold of base and items, with the own entries as L13 says; and running every own action again, from the
//! first, would correct nothing (L14).

use std::collections::BTreeMap;

use rejoin_core::sync::log::effect::Effects;
use rejoin_core::sync::log::ids::EntryId;
use rejoin_core::sync::log::key::Key;
use rejoin_core::sync::log::message::{Fetched, Held, Item, Seen, Snapshot};
use rejoin_core::sync::log::replica::Replica;
use rejoin_core::sync::log::replica::memory::MemoryReplica;
use rejoin_core::sync::log::replica::store::{Authority, Facts, Own, ReplicaStore as _};

use super::mirror::rows;
use super::oracle::{Names, Rows, lay, names, run, unlike};
use super::words;
use super::world::{Letter, unexpected};
use crate::simulate::{Checked, broken};

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
    /// Whether the last page was the last there was.
    pub(super) at_head: bool,
}

/// What a device has of the log, itself apart.
pub(super) fn facts(replica: &Replica<MemoryReplica>) -> Checked<Facts> {
    replica
        .store()
        .facts()
        .map_err(unexpected)?
        .ok_or_else(|| unexpected("the replica has no facts"))
}

impl Shadow {
    /// A letter was read: if the device took it, the onlooker takes it too.
    pub(super) fn read(
        &mut self,
        letter: &Letter,
        before: &Facts,
        replica: &Replica<MemoryReplica>,
    ) -> Checked {
        let after = facts(replica)?;
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
            Letter::Answer(_) | Letter::Request(..) => {}
        }
        if after.needs_snapshot {
            self.at_head = false;
        }
        self.fold_to(&after.horizon);
        Ok(())
    }

    fn begin(&mut self, snapshot: &Snapshot) {
        self.base = rows(snapshot.base.clone());
        self.items.clear();
        snapshot.items.iter().for_each(|seen| self.show_entry(seen));
        self.at_head = true;
    }

    fn show(&mut self, item: &Item) {
        match item {
            Item::Entry(seen) => self.show_entry(seen),
            Item::Gone(id) => drop(self.items.remove(id)),
        }
    }

    fn show_entry(&mut self, seen: &Seen) {
        let shown = Shown { key: seen.key, effects: seen.effects.clone(), held: seen.own.clone() };
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
        for (_, id) in below {
            if let Some(item) = self.items.remove(&id) {
                lay(&mut self.base, &item.effects, None);
            }
        }
    }

    /// Checks the device; `repeatable` if it always had every handler.
    pub(super) fn holds(&self, replica: &Replica<MemoryReplica>, repeatable: bool) -> Checked {
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
            return broken!(
                "rows-are-the-fold",
                "the rows of a device are not its fold: {difference}"
            );
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
    ) -> Checked {
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
        broken!(
            "rerun-changes-nothing",
            "{}, run again, would give something else: {difference}",
            words::entry(entry.id)
        )
    }
}

fn own_records(replica: &Replica<MemoryReplica>) -> Checked<BTreeMap<EntryId, (Key, Own)>> {
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

//! Invariants of one device. Its rows are computed a second time: the server's items, applied by
//! `oracle` alone.
//!
//! The rows are the fold of base and items, with the own entries as the device counts them. Running
//! every own action again, from the first, corrects nothing. An entry is corrected at most once for
//! each change before it. A response acknowledges the revision that it names. A device that leaves
//! a bucket gives up the authority over its entries. A copied database is detected.

mod snapshots;

use std::collections::{BTreeMap, BTreeSet};

use rejoin_log::effect::Effects;
use rejoin_log::ids::EntryId;
use rejoin_log::key::Key;
use rejoin_log::message::{
    EntryVerdict, Fetched, Held, Item, Outcome, Page, Published, Verdict, ViewedEntry,
};
use rejoin_log::replica::store::{Authority, Facts, OwnEntry, ReplicaStore as _};
use rejoin_log::replica::{Replica, check};

use super::expected_server::rows;
use super::ids;
use super::oracle::{Rows, WriteBuckets, apply_effects, describe_difference, names, run};
use super::run::{Message, unexpected};
use super::store::DeviceStore;
use crate::simulate::{Checked, broken};

/// What the server has shown of an entry.
#[derive(Debug, Clone, PartialEq)]
struct ShownEntry {
    key: Key,
    effects: Effects,
    held: Option<Held>,
}

/// An entry at its position, with the effects that count.
#[derive(Debug, Clone, PartialEq)]
struct Placed {
    key: Key,
    id: EntryId,
    effects: Effects,
    /// Counted by its own effects, within the buckets of the author.
    own: bool,
}

/// The state of a device as recomputed from its messages.
#[derive(Debug, Clone, Default)]
pub(super) struct ExpectedDevice {
    base: Rows,
    items: BTreeMap<EntryId, ShownEntry>,
    /// The last entry that was folded into the base since the last check.
    folded: Option<Key>,
    placed: Vec<Placed>,
    /// Own entries that the server shows with other effects at the same revision, since the last
    /// check. Something before them has changed; the change may come on a later page, or may never
    /// be visible here.
    changed_in_view: BTreeSet<EntryId>,
    own: BTreeMap<EntryId, OwnEntry>,
    buckets: Option<WriteBuckets>,
    /// Number of changes before each own entry.
    allowed: BTreeMap<EntryId, u32>,
    /// Whether the last page ended at the head.
    pub(super) at_head: bool,
}

/// The log state of a device.
pub(super) fn facts(replica: &Replica<DeviceStore>) -> Checked<Facts> {
    replica
        .store()
        .facts()
        .map_err(unexpected)?
        .ok_or_else(|| unexpected("the replica has no facts"))
}

impl ExpectedDevice {
    /// Applies a message that the device has read, if the device applied it.
    pub(super) fn update(
        &mut self,
        message: &Message,
        before: &Facts,
        replica: &Replica<DeviceStore>,
    ) -> Checked {
        let after = facts(replica)?;
        self.check_left_buckets(before, &after, replica)?;
        match message {
            Message::SnapshotPage(_, answer, last) if before.stamp.is_none() => {
                self.read_first(answer, last.as_ref(), before, &after)?;
            }
            Message::Snapshot(snapshot) | Message::SnapshotPage(_, _, Some(snapshot)) => {
                let holds = after.stamp == Some(snapshot.stamp) && after.cursor == snapshot.cursor;
                if holds && before.needs_snapshot && !after.needs_snapshot {
                    self.begin(snapshot);
                    self.has_items(replica)?;
                }
            }
            Message::Page(Fetched::Page(page)) => {
                let reached = after.cursor == page.next && after.stamp == Some(page.stamp);
                if reached {
                    Self::check_copy_detected(page, &after, replica)?;
                }
                if reached && before.cursor == page.from {
                    page.items.iter().for_each(|item| self.show(item));
                    self.at_head = !page.more;
                }
            }
            Message::Page(Fetched::Resync) => self.at_head = false,
            Message::Answer(answer) => self.check_acknowledged(answer, replica)?,
            Message::Request(..) | Message::SnapshotPage(..) => {}
        }
        if after.needs_snapshot {
            self.at_head = false;
        }
        self.fold_to(&after.horizon);
        Ok(())
    }

    /// A device that leaves a bucket gives up its accepted entries there.
    fn check_left_buckets(
        &self,
        before: &Facts,
        after: &Facts,
        replica: &Replica<DeviceStore>,
    ) -> Checked {
        let epoch = |facts: &Facts| facts.stamp.map(|stamp| stamp.epoch);
        let (Some(had), Some(has)) = (&before.buckets, &after.buckets) else { return Ok(()) };
        if epoch(before) != epoch(after) || names(had.buckets()).is_subset(&names(has.buckets())) {
            return Ok(());
        }
        let accepted =
            |id: &EntryId| self.own.get(id).is_some_and(|old| old.acknowledged.is_some());
        let mut own = own_records(replica)?.into_iter();
        match own.find(|(id, (_, own))| accepted(id) && own.authority == Authority::Mine) {
            None => Ok(()),
            Some((id, _)) => left_bucket_violation(id),
        }
    }

    /// An entry that is shown under buckets that its author has left no longer belongs to its
    /// author, whatever came before.
    fn check_not_own(
        &self,
        own: &BTreeMap<EntryId, (Key, OwnEntry)>,
        within: Option<&WriteBuckets>,
    ) -> Checked {
        let Some(within) = within else { return Ok(()) };
        let held = |id: &EntryId| self.items.get(id).and_then(|item| item.held.as_ref());
        let left = |id: &EntryId| {
            held(id).is_some_and(|held| !names(held.write_set.buckets()).is_subset(&within.all))
        };
        match own.iter().find(|(id, (_, own))| own.authority == Authority::Mine && left(id)) {
            None => Ok(()),
            Some((id, _)) => left_bucket_violation(*id),
        }
    }

    /// A device that is shown an own entry that it never made is a copy, and reports it.
    fn check_copy_detected(page: &Page, facts: &Facts, replica: &Replica<DeviceStore>) -> Checked {
        for item in &page.items {
            let Item::Entry(seen) = item else { continue };
            let own = replica
                .store()
                .record(seen.key.id)
                .map_err(unexpected)?
                .and_then(|record| record.own);
            let stranger = seen.own.is_some()
                && own.is_none()
                && seen.key > facts.horizon
                && seen.key.author == facts.author;
            if stranger && !replica.needs_new_author() {
                return broken!(
                    "epochs-and-copies-noticed",
                    "{} was never made here, and the device keeps its name",
                    ids::entry(seen.key.id)
                );
            }
        }
        Ok(())
    }

    /// A response acknowledges the revision that it names, and no newer one.
    fn check_acknowledged(&self, answer: &Published, replica: &Replica<DeviceStore>) -> Checked {
        let Outcome::Verdicts { verdicts } = &answer.outcome else { return Ok(()) };
        let own = own_records(replica)?;
        for EntryVerdict { id, verdict } in verdicts {
            let (Verdict::Held { revision, .. }, Some((_, new)), Some(old)) =
                (verdict, own.get(id), self.own.get(id))
            else {
                continue;
            };
            if new.acknowledged > old.acknowledged.max(Some(*revision)) {
                return broken!(
                    "answer-covers-what-it-names",
                    "an answer to revision {revision:?} of {} covers more",
                    ids::entry(*id)
                );
            }
        }
        Ok(())
    }

    fn show(&mut self, item: &Item) {
        match item {
            Item::Entry(seen) => self.show_entry(seen),
            Item::Gone(id) => drop(self.items.remove(id)),
        }
    }

    fn show_entry(&mut self, seen: &ViewedEntry) {
        let shown =
            ShownEntry { key: seen.key, effects: seen.effects.clone(), held: seen.own.clone() };
        let revision = self.own.get(&seen.key.id).map(|own| own.revision);
        let echoes = seen.own.as_ref().is_some_and(|held| Some(held.revision) == revision);
        let counted = self.placed.iter().find(|entry| entry.id == seen.key.id);
        if echoes && counted.is_some_and(|entry| entry.effects != seen.effects) {
            self.changed_in_view.insert(seen.key.id);
        }
        self.items.insert(seen.key.id, shown);
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
                apply_effects(&mut self.base, &item.effects, None);
            }
        }
    }

    /// Checks the device; `repeatable` if it always had every handler, `counted` if it is not a
    /// copy.
    pub(super) fn check_invariants(
        &mut self,
        replica: &Replica<DeviceStore>,
        repeatable: bool,
        counted: bool,
    ) -> Checked {
        let facts = facts(replica)?;
        let within = facts.buckets.as_ref().map(WriteBuckets::of);
        let own = own_records(replica)?;
        let placed = self.place(&own);
        let mut state = self.base.clone();
        for entry in &placed {
            // Between two pages an own item may be present while the item that makes it void is on
            // the next page.
            let runs_again = own.get(&entry.id).filter(|_| repeatable && self.at_head);
            let before = runs_again.map(|_| state.clone());
            apply_effects(&mut state, &entry.effects, within.as_ref().filter(|_| entry.own));
            if let (Some((_, record)), Some(before)) = (runs_again, &before) {
                self.check_rerun(entry, record, before, &state, within.as_ref())?;
            }
        }
        let have = rows(replica.rows().map_err(unexpected)?);
        if let Some(difference) = describe_difference(&have, &state) {
            return broken!(
                "rows-are-the-fold",
                "the rows of a device are not its fold: {difference}"
            );
        }
        if let Some(step) = check::stale_steps(replica).map_err(unexpected)?.first() {
            return broken!("rows-are-the-fold", "the index of the steps is wrong at {step:?}");
        }
        self.check_not_own(&own, within.as_ref())?;
        if counted {
            self.check_correction(&own, within.as_ref())?;
            self.check_correction_bound(&placed, &own, &facts.horizon, within != self.buckets)?;
        }
        self.own = own.into_iter().map(|(id, (_, record))| (id, record)).collect();
        (self.placed, self.buckets) = (placed, within);
        Ok(())
    }

    /// A new revision differs from what the server holds, in its effects or in its buckets.
    fn check_correction(
        &self,
        own: &BTreeMap<EntryId, (Key, OwnEntry)>,
        within: Option<&WriteBuckets>,
    ) -> Checked {
        for (id, (_, new)) in own {
            let Some(old) = self.own.get(id) else { continue };
            let is_held = |item: &ShownEntry| {
                item.effects == new.effects
                    && item.held.as_ref().is_some_and(|held| {
                        held.revision == old.revision
                            && Some(&WriteBuckets::of(&held.write_set)) == within
                    })
            };
            if new.revision == old.revision.next() && self.items.get(id).is_some_and(is_held) {
                return broken!(
                    "correction-changes-something",
                    "{} is corrected to what the server holds",
                    ids::entry(*id)
                );
            }
        }
        Ok(())
    }

    /// All entries above the base in key order, with the effects that count.
    fn place(&self, own: &BTreeMap<EntryId, (Key, OwnEntry)>) -> Vec<Placed> {
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
                (Authority::Appointed | Authority::Frozen, Some(_)) => false,
                (_, Some(item)) if item.held.as_ref().is_some_and(|held| held.by_authority) => {
                    false
                }
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

    /// Checks that running an own action again, on the entries before it, corrects nothing.
    fn check_rerun(
        &self,
        entry: &Placed,
        record: &OwnEntry,
        before: &Rows,
        state: &Rows,
        within: Option<&WriteBuckets>,
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
        apply_effects(&mut again, &effects, within);
        let Some(difference) = describe_difference(state, &again) else { return Ok(()) };
        let held = self.items.get(&entry.id).and_then(|item| item.held.as_ref());
        let refused = held.is_some_and(|held| Some(&WriteBuckets::of(&held.write_set)) == within);
        let comes_to = |effects: &Effects| {
            let mut rows = before.clone();
            apply_effects(&mut rows, effects, None);
            rows
        };
        if !entry.own && refused && comes_to(&effects) == comes_to(&record.effects) {
            return Ok(()); // The server holds an equal result, and found it void.
        }
        broken!(
            "rerun-changes-nothing",
            "{}, run again, would give something else: {difference}",
            ids::entry(entry.id)
        )
    }

    /// Checks that an entry has at most one correction for each change before it.
    fn check_correction_bound(
        &mut self,
        placed: &[Placed],
        own: &BTreeMap<EntryId, (Key, OwnEntry)>,
        horizon: &Key,
        other_buckets: bool,
    ) -> Checked {
        let ids: BTreeSet<EntryId> = placed.iter().map(|entry| entry.id).collect();
        // An entry counted as the server shows it has the same result when it is folded. One
        // counted by its own effects may differ: from then on it counts as the server has it, below
        // the pending entries.
        let folded =
            |entry: &&Placed| !entry.own && entry.key <= *horizon && !ids.contains(&entry.id);
        let old: Vec<&Placed> = self.placed.iter().filter(|entry| !folded(entry)).collect();
        let same = old.iter().zip(placed).take_while(|(old, new)| **old == *new).count();
        let changed =
            [old.get(same).map(|entry| entry.key), placed.get(same).map(|entry| entry.key)];
        let changed = changed.into_iter().flatten().min();
        let (folded, first_waiting) = (self.folded.take(), own.values().map(|(key, _)| *key).min());
        for (id, (key, record)) in own {
            let allowed = self.allowed.entry(*id).or_default();
            let changed_in_view = self.changed_in_view.remove(id);
            let moved = old.iter().any(|entry| entry.id == *id && entry.key != *key);
            let before = changed.is_some_and(|changed| changed < *key);
            *allowed += u32::from(before || changed_in_view || moved || other_buckets);
            // A folded entry is below the pending ones, even if it was above them before.
            *allowed +=
                u32::from(first_waiting.is_some_and(|first| folded > Some(first) && first <= *key));
            if record.revision.0 > *allowed {
                return broken!(
                    "corrections-are-bounded",
                    "{} has {} corrections, but only {allowed} changes came before it",
                    ids::entry(*id),
                    record.revision.0
                );
            }
        }
        Ok(())
    }

    /// The user decided about an entry: one more revision is allowed.
    pub(super) fn allow(&mut self, id: EntryId) {
        *self.allowed.entry(id).or_default() += 1;
    }
}

fn left_bucket_violation(id: EntryId) -> Checked {
    broken!(
        "left-bucket-is-closed",
        "{} is in a bucket that was left, and stays its author's",
        ids::entry(id)
    )
}

fn own_records(replica: &Replica<DeviceStore>) -> Checked<BTreeMap<EntryId, (Key, OwnEntry)>> {
    let mut own = BTreeMap::new();
    for id in replica.store().own_ids().map_err(unexpected)? {
        if let Some(record) = replica.store().record(id).map_err(unexpected)?
            && let Some(mine) = record.own
        {
            own.insert(id, (record.key, *mine));
        }
    }
    Ok(own)
}

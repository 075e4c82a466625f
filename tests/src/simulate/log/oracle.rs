//! Computes the expected state without code of the log model; only its plain data types are used.
//!
//! Everything is folded from the start, row by row and entry by entry, without cache, index or
//! memory of what was sent. A mistake in the log model's fold, views or selective re-runs therefore
//! shows as a difference.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_log::effect::{Effect, Effects};
use rejoin_log::entry::Intent;
use rejoin_log::handler::Stop;
use rejoin_log::ids::{Buckets, EntryId};
use rejoin_log::key::Key;
use rejoin_log::row::{Columns, RowName};
use rejoin_log::write_set::WriteSet;

use super::actions::{self, ActionContext, string};

/// Rows of all tables.
pub(super) type Rows = BTreeMap<RowName, Columns>;

/// Names of buckets.
pub(super) type Names = BTreeSet<String>;

/// The buckets of a row: two of its columns.
pub(super) fn place(row: &Columns) -> Names {
    ["b", "also"]
        .into_iter()
        .map(|column| string(row, column).to_owned())
        .filter(|bucket| !bucket.is_empty())
        .collect()
}

/// Where an author writes: all its buckets, and those that it does not read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct WriteBuckets {
    pub(super) all: Names,
    write_only: Names,
}

impl WriteBuckets {
    pub(super) fn of(set: &WriteSet) -> Self {
        let all = names(set.buckets());
        Self { write_only: &all - &names(set.reads()), all }
    }

    /// The buckets whose rows a run of the author sees.
    pub(super) fn read(&self) -> Names {
        &self.all - &self.write_only
    }

    /// Whether an effect may change a row so. A row that its author does not read stays where it
    /// is.
    pub(super) fn permits(&self, before: Option<&Columns>, after: Option<&Columns>) -> bool {
        let mut images = before.into_iter().chain(after).map(place);
        if images.any(|lies| lies.is_empty() || !lies.is_subset(&self.all)) {
            return false;
        }
        let (Some(from), Some(to)) = (before.map(place), after.map(place)) else { return true };
        from == to || !from.is_subset(&self.write_only)
    }
}

/// The names of some buckets of the log model.
pub(super) fn names(buckets: &Buckets) -> Names {
    buckets.iter().map(|bucket| bucket.as_str().to_owned()).collect()
}

/// Whether a member of these buckets sees the row.
pub(super) fn sees(buckets: &Names, row: &Columns) -> bool {
    !place(row).is_disjoint(buckets)
}

/// The rows that a member of these buckets sees.
pub(super) fn seen(rows: &Rows, buckets: &Names) -> Rows {
    rows.iter()
        .filter(|(_, row)| sees(buckets, row))
        .map(|(name, row)| (name.clone(), row.clone()))
        .collect()
}

/// The row after an effect, without a check of access.
pub(super) fn after(effect: &Effect, before: Option<&Columns>) -> Option<Columns> {
    match (effect, before) {
        (Effect::Insert(image), _) => Some(image.columns().clone()),
        (Effect::Update(columns), Some(before)) => {
            let mut row = before.clone();
            row.extend(columns.iter().map(|(name, value)| (name.clone(), value.clone())));
            Some(row)
        }
        (Effect::Update(_), None) | (Effect::Delete, _) => None,
    }
}

/// The change of a row by an effect that counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) row: RowName,
    pub(super) effect: Effect,
    pub(super) before: Option<Columns>,
    pub(super) after: Option<Columns>,
}

/// Applies effects to rows; those that leave `within` are void. Without `within` all count: views
/// and own entries are applied unchanged.
pub(super) fn apply_effects(
    rows: &mut Rows,
    effects: &Effects,
    within: Option<&WriteBuckets>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (row, effect) in effects.iter() {
        let before = rows.get(row).cloned();
        let after = after(effect, before.as_ref());
        let permitted = within.is_none_or(|within| within.permits(before.as_ref(), after.as_ref()));
        if !permitted || before.is_none() && after.is_none() {
            continue;
        }
        match &after {
            Some(image) => rows.insert(row.clone(), image.clone()),
            None => rows.remove(row),
        };
        changes.push(Change { row: row.clone(), effect: effect.clone(), before, after });
    }
    changes
}

/// An entry as the server holds it.
#[derive(Debug, Clone)]
pub(super) struct ServerEntry {
    pub(super) id: EntryId,
    pub(super) key: Key,
    pub(super) time: u64,
    pub(super) intent: Option<Intent>,
    pub(super) revision: u32,
    pub(super) effects: Effects,
    pub(super) within: WriteBuckets,
    pub(super) by_authority: bool,
    /// Rises with each new content of any entry.
    pub(super) version: u64,
}

/// The state after all entries, and the changes of each.
pub(super) fn fold(base: &Rows, entries: &[ServerEntry]) -> (Rows, Vec<Vec<Change>>) {
    let mut rows = base.clone();
    let mut sorted: Vec<&ServerEntry> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.key);
    let changes = sorted
        .iter()
        .map(|entry| apply_effects(&mut rows, &entry.effects, Some(&entry.within)))
        .collect();
    (rows, changes)
}

/// The view of a change: each row where a visible part changed, with the image that the viewer may
/// see afterwards.
pub(super) fn view(changes: &[Change], viewer: &Names) -> BTreeMap<RowName, Option<Columns>> {
    let mut shown = BTreeMap::new();
    for change in changes {
        let visible = |image: &Option<Columns>| image.clone().filter(|image| sees(viewer, image));
        let (before, after) = (visible(&change.before), visible(&change.after));
        if before.is_some() || after.is_some() {
            shown.insert(change.row.clone(), after);
        }
    }
    shown
}

/// Rows on which an action runs as a member of these buckets, with the oracle's own implementation.
struct OracleContext<'a> {
    rows: Rows,
    buckets: Option<&'a Names>,
    entry: EntryId,
    time: u64,
}

impl ActionContext for OracleContext<'_> {
    fn row(&mut self, table: &str, id: &str) -> Result<Option<Columns>, Stop> {
        Ok(self.rows.get(&RowName::new(table, id)).cloned())
    }

    fn rows(&mut self, table: &str) -> Result<Vec<(RowName, Columns)>, Stop> {
        let rows = self.rows.iter().filter(|(name, _)| name.table.as_str() == table);
        Ok(rows.map(|(name, row)| (name.clone(), row.clone())).collect())
    }

    fn put(&mut self, table: &str, id: &str, row: Columns) {
        self.rows.insert(RowName::new(table, id), row);
    }

    fn set(&mut self, table: &str, id: &str, columns: Columns) -> Result<bool, Stop> {
        let row = self.rows.get_mut(&RowName::new(table, id));
        Ok(row.map(|row| row.extend(columns)).is_some())
    }

    fn remove(&mut self, table: &str, id: &str) -> Result<bool, Stop> {
        Ok(self.rows.remove(&RowName::new(table, id)).is_some())
    }

    fn member(&mut self, bucket: &str) -> bool {
        self.buckets.is_none_or(|buckets| buckets.contains(bucket))
    }

    fn entry(&self) -> String {
        self.entry.to_string()
    }

    fn time(&self) -> u64 {
        self.time
    }
}

/// The effects of an action of an author with this write set on these rows; none if it is refused.
/// Without a known one the author sees everything.
pub(super) fn run(
    rows: &Rows,
    within: Option<&WriteBuckets>,
    intent: &Intent,
    entry: EntryId,
    time: u64,
) -> Effects {
    let buckets = within.map(|within| &within.all);
    let before = buckets.map_or_else(|| rows.clone(), |buckets| seen(rows, buckets));
    let mut context = OracleContext { rows: before.clone(), buckets, entry, time };
    if actions::run_pure(intent, &mut context).is_err() {
        return Effects::default();
    }
    difference(&before, &context.rows)
}

/// The effects that turn some rows into others.
pub(super) fn difference(before: &Rows, after: &Rows) -> Effects {
    let mut effects = Vec::new();
    for (row, image) in after {
        match before.get(row) {
            None => effects.push((row.clone(), Effect::Insert(image.clone().into()))),
            Some(old) if old == image => {}
            Some(old) if old.keys().any(|name| image.get(name).is_none()) => {
                effects.push((row.clone(), Effect::Insert(image.clone().into())));
            }
            Some(old) => {
                let changed = image.iter().filter(|(name, value)| old.get(*name) != Some(*value));
                let changed = changed.map(|(name, value)| (name.clone(), value.clone())).collect();
                effects.push((row.clone(), Effect::Update(changed)));
            }
        }
    }
    effects.extend(
        before
            .keys()
            .filter(|row| !after.contains_key(*row))
            .map(|row| (row.clone(), Effect::Delete)),
    );
    effects.into_iter().collect()
}

/// The difference of two tables, as text.
pub(super) fn describe_difference(have: &Rows, want: &Rows) -> Option<String> {
    if have == want {
        return None;
    }
    let all: BTreeSet<&RowName> = have.keys().chain(want.keys()).collect();
    let bad: Vec<String> = all
        .into_iter()
        .filter(|row| have.get(*row) != want.get(*row))
        .map(|row| format!("{row:?}: {:?} instead of {:?}", have.get(row), want.get(row)))
        .collect();
    Some(bad.join("; "))
}

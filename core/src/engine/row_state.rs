//! Index of pending mutations and entries by row: in memory, shared with the readers.
//!
//! Built when the file is opened and changed only after a commit, so it never shows rolled-back
//! work. Readers see the current state, not that of their snapshot: `rejoin_row_state(table, id)`
//! answers for now. Does not depend on SQLite.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::engine::rows::patch::{PatchKind, RowKey};
use crate::engine::schema::model::Schema;
use crate::ids::{Seq, TableNumber};
use crate::value::Value;
use entries::EntryStates;

pub(crate) mod entries;

/// State of a mutation in the queue, stored as a number. Accepted mutations are in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MutationState {
    /// Waits to be sent.
    Pending = 0,
    /// Frozen and about to be sent, or sent.
    Sent = 1,
    /// Sent without a response: replayed as its recorded effect and sent again unchanged.
    Uncertain = 2,
    /// Ended without being accepted; kept with reason and payload, blocks nothing.
    Parked = 3,
}

/// Sync state of a row, for display in an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowSyncState {
    /// No mutation or entry of this device that waits edits it.
    Synced,
    /// An edit waits to be sent.
    Pending,
    /// An edit was sent.
    Sent,
    /// An edit was sent without a response; it will be sent again.
    Uncertain,
    /// An edit was not accepted, and the app has not decided yet.
    Parked,
}

impl RowSyncState {
    /// The text that `rejoin_row_state` returns.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Uncertain => "uncertain",
            Self::Parked => "parked",
        }
    }
}

impl From<MutationState> for RowSyncState {
    fn from(state: MutationState) -> Self {
        match state {
            MutationState::Pending => Self::Pending,
            MutationState::Sent => Self::Sent,
            MutationState::Uncertain => Self::Uncertain,
            MutationState::Parked => Self::Parked,
        }
    }
}

/// A mutation at a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub seq: Seq,
    /// Its state.
    pub state: MutationState,
    /// What it does to the row.
    pub kind: PatchKind,
}

/// The shared index: the writer's queue changes it, readers read it.
#[derive(Debug, Clone, Default)]
pub struct SharedRowStates(Arc<RwLock<RowStates>>);

impl SharedRowStates {
    /// Locks the index for reading. Never held across SQL of an app.
    pub fn read(&self) -> RwLockReadGuard<'_, RowStates> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the index for changes, after a commit.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, RowStates> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The mutations of the queue by the rows of their effects, oldest first, and the entries that
/// wait.
#[derive(Debug, Default)]
pub struct RowStates {
    names: HashMap<String, TableNumber>,
    tables: Map<TableNumber, Keys>,
    /// Those of tables of the log.
    pub(crate) entries: EntryStates,
}

/// Read for each row of each batch, so hashing must be cheap; seeded, so that no peer can choose
/// colliding keys.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// By storage class of the key, so that a lookup borrows the key.
#[derive(Debug, Default)]
struct Keys {
    text: Map<Box<str>, Line>,
    integer: Map<i64, Line>,
}

impl Keys {
    fn line_mut(&mut self, key: &Value) -> Option<&mut Line> {
        match key {
            Value::Text(text) => self.text.get_mut(text.as_str()),
            Value::Integer(number) => self.integer.get_mut(number),
            _ => None,
        }
    }
}

/// The mutations at one row, oldest first: nearly always one.
#[derive(Debug)]
enum Line {
    One(Waiting),
    Many(Vec<Waiting>),
}

impl Line {
    fn all(&self) -> &[Waiting] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn all_mut(&mut self) -> &mut [Waiting] {
        match self {
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(many) => many,
        }
    }

    fn add(&mut self, waiting: Waiting) {
        if let Self::One(one) = self {
            *self = Self::Many(vec![*one]);
        }
        if let Self::Many(many) = self {
            let place = many.partition_point(|one| one.seq < waiting.seq);
            many.insert(place, waiting);
        }
    }

    /// Whether none is left.
    fn remove(&mut self, seq: Seq) -> bool {
        match self {
            Self::One(one) => one.seq == seq,
            Self::Many(many) => {
                many.retain(|one| one.seq != seq);
                many.is_empty()
            }
        }
    }
}

/// Without parked mutations, which are not applied to the visible rows.
fn live(waiting: &[Waiting]) -> impl DoubleEndedIterator<Item = Seq> + '_ {
    waiting.iter().filter(|one| one.state != MutationState::Parked).map(|one| one.seq)
}

impl RowStates {
    /// The applied mutations at a row, oldest first.
    pub(crate) fn steps_at(
        &self,
        table: TableNumber,
        key: &Value,
    ) -> impl DoubleEndedIterator<Item = Seq> + '_ {
        live(self.at(table, key))
    }

    /// The applied mutations at a row after a number, oldest first.
    pub(crate) fn steps_after(
        &self,
        row: &RowKey,
        seq: Seq,
    ) -> impl DoubleEndedIterator<Item = Seq> + '_ {
        live(self.after(row.table, &row.key, seq))
    }

    /// The synced table of this name, in any case.
    pub(crate) fn name_of(&self, table: &str) -> Option<&str> {
        let exact = self.names.get_key_value(table);
        exact
            .or_else(|| self.names.iter().find(|(name, _)| name.eq_ignore_ascii_case(table)))
            .map(|(name, _)| name.as_str())
    }

    /// The state to show for a row: parked if any edit is, else the state of the latest edit. An
    /// integer key may be given as text. Unknown tables and rows are synced.
    pub fn state(&self, table: &str, key: &Value) -> RowSyncState {
        let Some(number) = self.names.get(table) else { return RowSyncState::Synced };
        let mut waiting = self.at(*number, key);
        if let (true, Some(number_key)) =
            (waiting.is_empty(), key.as_text().and_then(|text| text.parse::<i64>().ok()))
        {
            waiting = self.at(*number, &Value::Integer(number_key));
        }
        if waiting.iter().any(|one| one.state == MutationState::Parked) {
            return RowSyncState::Parked;
        }
        waiting.last().map_or_else(|| self.entries.state(table, key), |one| one.state.into())
    }

    /// The mutations at a row, oldest first, including parked ones.
    pub fn at(&self, table: TableNumber, key: &Value) -> &[Waiting] {
        let Some(keys) = self.tables.get(&table) else { return &[] };
        let found = match key {
            Value::Text(text) => keys.text.get(text.as_str()),
            Value::Integer(number) => keys.integer.get(number),
            _ => None,
        };
        found.map_or(&[], Line::all)
    }

    /// The mutations at a row after a number, oldest first.
    pub fn after(&self, table: TableNumber, key: &Value, seq: Seq) -> &[Waiting] {
        let all = self.at(table, key);
        &all[all.partition_point(|one| one.seq <= seq)..]
    }

    /// Whether any row of a table has a mutation.
    pub fn touches(&self, table: TableNumber) -> bool {
        self.tables.contains_key(&table)
    }

    /// The applied mutations at every row of a table whose key is `within`, in order.
    pub fn in_table(&self, table: TableNumber, within: impl Fn(&Value) -> bool) -> Vec<Seq> {
        let Some(keys) = self.tables.get(&table) else { return Vec::new() };
        let text = keys.text.iter().map(|(key, line)| (Value::Text(key.as_ref().into()), line));
        let integer = keys.integer.iter().map(|(key, line)| (Value::Integer(*key), line));
        let rows = text.chain(integer).filter(|(key, _)| within(key));
        let live = rows.flat_map(|(_, line)| line.all());
        let mut seqs: Vec<Seq> =
            live.filter(|one| one.state != MutationState::Parked).map(|one| one.seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        seqs
    }

    /// Sets the tables' names.
    pub(crate) fn name(&mut self, schema: &Schema) {
        self.names.clone_from(&schema.by_name);
    }

    /// Adds a mutation at a row, in the order of numbers.
    pub(crate) fn add(&mut self, table: TableNumber, key: &Value, waiting: Waiting) {
        let keys = self.tables.entry(table).or_default();
        match key {
            Value::Text(text) => match keys.text.get_mut(text.as_str()) {
                Some(line) => line.add(waiting),
                None => drop(keys.text.insert(text.as_str().into(), Line::One(waiting))),
            },
            Value::Integer(number) => match keys.integer.get_mut(number) {
                Some(line) => line.add(waiting),
                None => drop(keys.integer.insert(*number, Line::One(waiting))),
            },
            _ => {}
        }
    }

    /// Removes a mutation from a row; a row without any leaves the index.
    pub(crate) fn remove(&mut self, table: TableNumber, key: &Value, seq: Seq) {
        let Some(keys) = self.tables.get_mut(&table) else { return };
        if keys.line_mut(key).is_some_and(|line| line.remove(seq)) {
            match key {
                Value::Text(text) => drop(keys.text.remove(text.as_str())),
                Value::Integer(number) => drop(keys.integer.remove(number)),
                _ => {}
            }
            if keys.text.is_empty() && keys.integer.is_empty() {
                self.tables.remove(&table);
            }
        }
    }

    /// Changes a mutation's state at a row.
    pub(crate) fn change(
        &mut self,
        table: TableNumber,
        key: &Value,
        seq: Seq,
        state: MutationState,
    ) {
        let Some(keys) = self.tables.get_mut(&table) else { return };
        let waiting = keys.line_mut(key).into_iter().flat_map(Line::all_mut);
        for one in waiting.filter(|one| one.seq == seq) {
            one.state = state;
        }
    }

    /// Everything in a fixed order, for comparison.
    #[cfg(test)]
    pub(crate) fn sorted(&self) -> std::collections::BTreeMap<(TableNumber, String), Vec<Waiting>> {
        let mut all = std::collections::BTreeMap::new();
        for (table, keys) in &self.tables {
            let text = keys.text.iter().map(|(key, line)| (key.to_string(), line));
            let integer = keys.integer.iter().map(|(key, line)| (key.to_string(), line));
            all.extend(text.chain(integer).map(|(key, l)| ((*table, key), l.all().to_vec())));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> RowStates {
        let mut schema = Schema::default();
        schema.by_name.insert("notes".to_owned(), TableNumber(1));
        let mut states = RowStates::default();
        states.name(&schema);
        states
    }

    fn waiting(seq: i64, state: MutationState) -> Waiting {
        Waiting { seq: Seq(seq), state, kind: PatchKind::Update }
    }

    #[test]
    fn row_state_is_parked_or_that_of_the_latest_edit() {
        let mut states = states();
        let key = Value::from("n1");
        assert_eq!(states.state("notes", &key), RowSyncState::Synced);
        states.add(TableNumber(1), &key, waiting(5, MutationState::Pending));
        states.add(TableNumber(1), &key, waiting(2, MutationState::Uncertain));
        assert_eq!(states.state("notes", &key), RowSyncState::Pending);
        states.change(TableNumber(1), &key, Seq(2), MutationState::Parked);
        assert_eq!(states.state("notes", &key), RowSyncState::Parked);
        states.remove(TableNumber(1), &key, Seq(2));
        states.remove(TableNumber(1), &key, Seq(5));
        assert_eq!(states.state("notes", &key), RowSyncState::Synced);
        assert!(!states.touches(TableNumber(1)));
        assert_eq!(states.state("elsewhere", &key), RowSyncState::Synced);
    }

    #[test]
    fn integer_key_is_found_by_its_text() {
        let mut states = states();
        states.add(TableNumber(1), &7.into(), waiting(1, MutationState::Sent));
        assert_eq!(states.state("notes", &7.into()), RowSyncState::Sent);
        assert_eq!(states.state("notes", &"7".into()), RowSyncState::Sent);
        assert_eq!(states.state("notes", &"07x".into()), RowSyncState::Synced);
    }

    #[test]
    fn range_returns_each_mutation_once_in_order() {
        let mut states = states();
        for (seq, key) in [(3, "c"), (1, "a"), (2, "b"), (2, "c"), (9, "z")] {
            states.add(TableNumber(1), &key.into(), waiting(seq, MutationState::Pending));
        }
        states.add(TableNumber(1), &"b".into(), waiting(4, MutationState::Parked));
        let within = |key: &Value| matches!(key.as_text(), Some("b" | "c"));
        assert_eq!(states.in_table(TableNumber(1), within), vec![Seq(2), Seq(3)]);
    }
}

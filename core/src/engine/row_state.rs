//! Which mutations wait on which row: the one index by row, in memory, shared with the readers (B16).
//!
//! Built when the file is opened and changed only after a commit, so it never shows work that was rolled back. Readers
//! see the present, not their snapshot: `rejoin_row_state(table, id)` answers for now. Knows no SQLite.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::engine::rows::patch::RowKey;
use crate::engine::schema::model::Schema;
use crate::ids::{Seq, TableNumber};
use crate::value::Value;

/// Where a mutation stands. Stored as a number; accepted ones live in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits to be sent.
    Pending = 0,
    /// Frozen and about to leave, or on its way (O5).
    Sent = 1,
    /// Sent, and no answer came: replayed as its effect and sent again as it is (R7, P2).
    Uncertain = 2,
    /// Ended without being accepted; kept with reason and payload, blocks nothing.
    Parked = 3,
}

/// What an app can show beside a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowSyncState {
    /// Nothing of this device waits on it.
    Synced,
    /// An edit waits to be sent.
    Pending,
    /// An edit is on its way.
    Sent,
    /// An edit was sent and no answer came; it will be sent again.
    Uncertain,
    /// An edit was not accepted, and the app has not decided yet what becomes of it.
    Parked,
}

impl RowSyncState {
    /// The word that `rejoin_row_state` returns.
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

impl From<State> for RowSyncState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Sent => Self::Sent,
            State::Uncertain => Self::Uncertain,
            State::Parked => Self::Parked,
        }
    }
}

/// A mutation at a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub seq: Seq,
    /// Its state.
    pub state: State,
}

/// The index, shared: the writer's queue changes it, readers look.
#[derive(Debug, Clone, Default)]
pub struct SharedRowStates(Arc<RwLock<RowStates>>);

impl SharedRowStates {
    /// To look. Never held across SQL of an app.
    pub fn read(&self) -> RwLockReadGuard<'_, RowStates> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To change, after a commit.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, RowStates> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The mutations of the queue by the rows that their effects name, oldest first.
#[derive(Debug, Default)]
pub struct RowStates {
    names: HashMap<String, TableNumber>,
    tables: Map<TableNumber, Keys>,
}

/// Looked into for each row of each batch, so that hashing must be cheap; it is seeded, so that no peer can choose keys
/// that meet.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// By class of key, so that a lookup borrows the key.
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

/// Parked mutations are not part of what the app sees.
fn live(waiting: &[Waiting]) -> impl DoubleEndedIterator<Item = Seq> + '_ {
    waiting.iter().filter(|one| one.state != State::Parked).map(|one| one.seq)
}

impl RowStates {
    /// The steps at a row: mutations that are part of what the app sees, oldest first.
    pub(crate) fn steps_at(
        &self,
        table: TableNumber,
        key: &Value,
    ) -> impl DoubleEndedIterator<Item = Seq> + '_ {
        live(self.at(table, key))
    }

    /// The steps at a row that are later than one, oldest first.
    pub(crate) fn steps_after(
        &self,
        row: &RowKey,
        seq: Seq,
    ) -> impl DoubleEndedIterator<Item = Seq> + '_ {
        live(self.after(row.table, &row.key, seq))
    }

    /// The state to show for a row. A parked edit shows before all; else the latest one. An integer key may be given as
    /// text. Unknown tables and rows are synced: there is nothing of ours on them.
    pub fn state(&self, table: &str, key: &Value) -> RowSyncState {
        let Some(number) = self.names.get(table) else { return RowSyncState::Synced };
        let mut waiting = self.at(*number, key);
        if let (true, Some(number_key)) =
            (waiting.is_empty(), key.as_text().and_then(|text| text.parse::<i64>().ok()))
        {
            waiting = self.at(*number, &Value::Integer(number_key));
        }
        if waiting.iter().any(|one| one.state == State::Parked) {
            return RowSyncState::Parked;
        }
        waiting.last().map_or(RowSyncState::Synced, |one| one.state.into())
    }

    /// The mutations at a row, oldest first, parked ones among them.
    pub fn at(&self, table: TableNumber, key: &Value) -> &[Waiting] {
        let Some(keys) = self.tables.get(&table) else { return &[] };
        let found = match key {
            Value::Text(text) => keys.text.get(text.as_str()),
            Value::Integer(number) => keys.integer.get(number),
            _ => None,
        };
        found.map_or(&[], Line::all)
    }

    /// Those at a row that are later than a number, oldest first.
    pub fn after(&self, table: TableNumber, key: &Value, seq: Seq) -> &[Waiting] {
        let all = self.at(table, key);
        &all[all.partition_point(|one| one.seq <= seq)..]
    }

    /// Whether anything waits on any row of a table.
    pub fn touches(&self, table: TableNumber) -> bool {
        self.tables.contains_key(&table)
    }

    /// The mutations that are part of what the app sees, at every row of a table whose key is `within`, in order.
    pub fn in_table(&self, table: TableNumber, within: impl Fn(&Value) -> bool) -> Vec<Seq> {
        let Some(keys) = self.tables.get(&table) else { return Vec::new() };
        let text = keys.text.iter().map(|(key, line)| (Value::Text(key.as_ref().into()), line));
        let integer = keys.integer.iter().map(|(key, line)| (Value::Integer(*key), line));
        let rows = text.chain(integer).filter(|(key, _)| within(key));
        let live = rows.flat_map(|(_, line)| line.all());
        let mut seqs: Vec<Seq> =
            live.filter(|one| one.state != State::Parked).map(|one| one.seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        seqs
    }

    /// Learns the tables' names.
    pub(crate) fn name(&mut self, schema: &Schema) {
        self.names.clone_from(&schema.by_name);
    }

    /// Puts a mutation at a row, in its place by number.
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

    /// Takes a mutation from a row; a row without any leaves the index.
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
    pub(crate) fn change(&mut self, table: TableNumber, key: &Value, seq: Seq, state: State) {
        let Some(keys) = self.tables.get_mut(&table) else { return };
        let waiting = keys.line_mut(key).into_iter().flat_map(Line::all_mut);
        for one in waiting.filter(|one| one.seq == seq) {
            one.state = state;
        }
    }

    /// Everything, in one order, to be compared.
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

    fn waiting(seq: i64, state: State) -> Waiting {
        Waiting { seq: Seq(seq), state }
    }

    #[test]
    fn the_latest_edit_shows_but_a_parked_one_shows_before_all() {
        let mut states = states();
        let key = Value::from("n1");
        assert_eq!(states.state("notes", &key), RowSyncState::Synced);
        states.add(TableNumber(1), &key, waiting(5, State::Pending));
        states.add(TableNumber(1), &key, waiting(2, State::Uncertain));
        assert_eq!(states.state("notes", &key), RowSyncState::Pending);
        states.change(TableNumber(1), &key, Seq(2), State::Parked);
        assert_eq!(states.state("notes", &key), RowSyncState::Parked);
        states.remove(TableNumber(1), &key, Seq(2));
        states.remove(TableNumber(1), &key, Seq(5));
        assert_eq!(states.state("notes", &key), RowSyncState::Synced);
        assert!(!states.touches(TableNumber(1)));
        assert_eq!(states.state("elsewhere", &key), RowSyncState::Synced);
    }

    #[test]
    fn an_integer_key_is_found_by_its_text_too() {
        let mut states = states();
        states.add(TableNumber(1), &7.into(), waiting(1, State::Sent));
        assert_eq!(states.state("notes", &7.into()), RowSyncState::Sent);
        assert_eq!(states.state("notes", &"7".into()), RowSyncState::Sent);
        assert_eq!(states.state("notes", &"07x".into()), RowSyncState::Synced);
    }

    #[test]
    fn a_range_names_each_mutation_in_it_once_and_in_order() {
        let mut states = states();
        for (seq, key) in [(3, "c"), (1, "a"), (2, "b"), (2, "c"), (9, "z")] {
            states.add(TableNumber(1), &key.into(), waiting(seq, State::Pending));
        }
        states.add(TableNumber(1), &"b".into(), waiting(4, State::Parked));
        let within = |key: &Value| matches!(key.as_text(), Some("b" | "c"));
        assert_eq!(states.in_table(TableNumber(1), within), vec![Seq(2), Seq(3)]);
    }
}

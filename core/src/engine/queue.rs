//! The queue of mutations: what local transactions wrote, until each has its verdict.
//!
//! The rows of `rejoin_mutation` are the truth; in memory stand the states, the ids and the index by row, loaded when the
//! file is opened and changed only when the transaction that changed the rows has committed (I1). Appending costs one
//! insert and the rows that were written; nothing here is linear in the queue but loading it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rusqlite::Connection;

use crate::engine::capture::compose::Recorded;
use crate::engine::row_state::{RowStates, SharedRowStates, Waiting};
use crate::engine::rows::patch::{PatchKind, RowKey};
use crate::engine::schema::model::Schema;
use crate::error::Result;
use crate::host::Host;
use crate::ids::{MutationId, Seq, TableNumber};

mod after;
pub(crate) mod again;
pub(crate) mod attempt;
pub(crate) mod cancel;
pub(crate) mod coalesce;
pub(crate) mod displaced;
pub(crate) mod faults;
pub(crate) mod freeze;
pub mod history;
pub(crate) mod intent;
pub mod mutation;
pub mod offer;
pub(crate) mod part;
pub(crate) mod record;
pub mod seen;
pub(crate) mod stance;
pub(crate) mod step;
pub(crate) mod store;
pub mod verdict;
pub(crate) mod view;

use cancel::{Cancelled, Cancels};
use mutation::State;
use record::{Record, Records};
use seen::SeenRow;

/// What a local transaction hands to the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMutation {
    /// What it wrote; never empty.
    pub recorded: Recorded,
    /// What was meant; `None` for plain SQL.
    pub intent: Option<Intent>,
}

/// An action that was performed.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Its name.
    pub action: String,
    /// Its version.
    pub version: i64,
    /// Its arguments as JSON.
    pub args: String,
    /// The tables that its last run read, those that it wrote among them (R2).
    pub reads: Vec<TableNumber>,
    /// The rows that it read by their keys, as it found them (O8).
    pub seen: Vec<SeenRow>,
}

impl NewMutation {
    /// A transaction of plain SQL.
    pub fn plain(recorded: Recorded) -> Self {
        Self { recorded, intent: None }
    }
}

/// How many mutations stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Waiting to be sent.
    pub pending: u64,
    /// On their way.
    pub sent: u64,
    /// Sent, without an answer.
    pub uncertain: u64,
    /// Not accepted; the app's to decide.
    pub parked: u64,
}

/// The queue's memory.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<Seq, Entry>,
    ids: HashMap<MutationId, Seq>,
    states: SharedRowStates,
    counts: Counts,
    /// How many of them have read anything.
    actions: usize,
    /// What a plain server was sent; empty with a Rejoin server.
    records: Records,
    /// What was given up, and a server may have.
    cancels: Cancels,
    last: Last,
    /// Imported edits that cannot be sent before the server's rows are here, and the versions that were edited.
    awaiting: Awaiting,
    staged: Vec<Staged>,
}

/// By number: the version of the row that an imported edit was made on, as the old file had it.
pub(crate) type Awaiting = BTreeMap<Seq, Option<String>>;

/// The place that the next mutation of the running transaction has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    last: Last,
    pub(crate) id: MutationId,
}

impl Place {
    /// When it was written.
    pub(crate) fn time_ms(&self) -> i64 {
        self.last.time_ms
    }
}

/// The numbers that were given last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Last {
    pub(crate) seq: i64,
    time_ms: i64,
    counter: i64,
}

impl Last {
    /// The numbers after these. The clock may go back; the order of the queue does not.
    pub(crate) fn next(self, now_ms: i64) -> Self {
        let (time_ms, counter) =
            if now_ms > self.time_ms { (now_ms, 0) } else { (self.time_ms, self.counter + 1) };
        Self { seq: self.seq + 1, time_ms, counter }
    }
}

/// A mutation, as far as decisions need it at hand.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) seq: Seq,
    pub(crate) id: MutationId,
    pub(crate) state: State,
    pub(crate) attempt: i64,
    pub(crate) rows: Arc<[(RowKey, PatchKind)]>,
    /// The tables that an action has read (R2); empty for all that never runs again.
    pub(crate) reads: Arc<[TableNumber]>,
}

impl Entry {
    /// Whether it is an action that may run again: no server can have it (R7).
    pub(crate) fn replays(&self) -> bool {
        self.state == State::Pending && !self.reads.is_empty()
    }
}

/// A change of the memory that waits for the commit.
#[derive(Debug)]
pub(crate) enum Staged {
    Added(Entry),
    Moved(Seq, State, i64),
    Left(Seq),
    Recorded(Record),
    Unrecorded(i64),
    /// These await the server's rows now, and no others.
    Awaiting(Awaiting),
    /// It was given up, and a server may have it.
    Cancelled(Cancelled),
    /// The server's word on what had this place is here.
    Settled(Seq),
    /// These numbers are given.
    Given(Last),
}

/// Writes a mutation into the queue, inside the transaction of the rows that it records (I1).
pub(crate) fn append(
    conn: &Connection,
    queue: &mut Queue,
    place: Place,
    new: &NewMutation,
) -> Result<Seq> {
    append_at(conn, queue, place, new, None)
}

/// [`append`], for what was written elsewhere and earlier: at `written_ms`, if that is not in the future.
pub(crate) fn append_at(
    conn: &Connection,
    queue: &mut Queue,
    place: Place,
    new: &NewMutation,
    written_ms: Option<i64>,
) -> Result<Seq> {
    let Place { last, id } = place;
    let written = written_ms.filter(|at| *at < last.time_ms).map(|at| (at, 0));
    let entry = Entry {
        seq: Seq(last.seq),
        id,
        state: State::Pending,
        attempt: 1,
        rows: Arc::clone(&new.recorded.rows),
        reads: new
            .intent
            .as_ref()
            .map_or_else(Arc::default, |intent| intent.reads.as_slice().into()),
    };
    store::insert(conn, &entry, written.unwrap_or((last.time_ms, last.counter)), new)?;
    queue.staged.extend([Staged::Given(last), Staged::Added(entry)]);
    Ok(Seq(last.seq))
}

impl Queue {
    /// Whether a request has carried it before, in this or an earlier attempt.
    pub(crate) fn has_left(&self, seq: Seq) -> bool {
        let left = |entry: &Entry| entry.state == State::Uncertain || entry.attempt > 1;
        self.entry(seq).is_some_and(left)
    }

    /// Reads the queue of a file. What was on its way when the last process ended has no answer (O5): it is uncertain.
    pub fn load(conn: &Connection, schema: &Schema) -> Result<Self> {
        store::recover(conn)?;
        Self::look(conn, schema)
    }

    /// Reads the queue of a file as it stands: another process may just be sending from it.
    pub(crate) fn look(conn: &Connection, schema: &Schema) -> Result<Self> {
        let mut queue =
            Self { last: store::last(conn)?, records: Records::load(conn)?, ..Self::default() };
        store::each_entry(conn, |entry| {
            queue.staged.push(Staged::Added(entry));
        })?;
        for one in cancel::load(conn)? {
            queue.staged.push(Staged::Cancelled(one));
        }
        queue.name_tables(schema);
        queue.staged.push(Staged::Awaiting(store::read_awaiting(conn)?));
        queue.committed();
        Ok(queue)
    }

    /// Learns the names by which `rejoin_row_state` finds tables.
    pub fn name_tables(&self, schema: &Schema) {
        self.states.write().name(schema);
    }

    /// The place of the mutation that is appended next.
    pub(crate) fn place(&self, host: &dyn Host) -> Place {
        let last = self.last().next(host.now_micros() / 1000);
        Place { last, id: MutationId(host.uuid4()) }
    }

    /// The transaction was committed: what it did to the queue counts.
    pub fn committed(&mut self) {
        if self.staged.is_empty() {
            return;
        }
        let shared = self.states.clone();
        let mut states = shared.write();
        for staged in std::mem::take(&mut self.staged) {
            match staged {
                Staged::Added(entry) => self.add(&mut states, entry),
                Staged::Moved(seq, state, attempt) => {
                    self.change(&mut states, seq, (state, attempt));
                }
                Staged::Left(seq) => self.remove(&mut states, seq),
                Staged::Recorded(record) => self.records.put(record),
                Staged::Unrecorded(place) => self.records.take(place),
                Staged::Awaiting(awaiting) => self.awaiting = awaiting,
                Staged::Cancelled(one) => drop(self.cancels.insert(one.seq, one)),
                Staged::Settled(seq) => drop(self.cancels.remove(&seq)),
                Staged::Given(last) => self.last = last,
            }
        }
        if !self.awaiting.is_empty() {
            let entries = &self.entries;
            self.awaiting.retain(|seq, _| {
                entries.get(seq).is_some_and(|entry| entry.state == State::Pending)
            });
        }
    }

    /// The transaction was rolled back: nothing happened.
    pub fn rolled_back(&mut self) {
        self.staged.clear();
    }

    /// Notes what the running transaction does to the queue.
    pub(crate) fn stage(&mut self, staged: Staged) {
        self.staged.push(staged);
    }

    /// What a plain server was sent and has not judged yet.
    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// What was given up, and a server may have.
    pub(crate) fn cancels(&self) -> &Cancels {
        &self.cancels
    }

    /// How many mutations stand where.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many mutations there are, in every state.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The index by row, shared with readers.
    pub fn states(&self) -> SharedRowStates {
        self.states.clone()
    }

    /// The numbers that were given last, in the running transaction too.
    pub(crate) fn last(&self) -> Last {
        let staged = self.staged.iter().rev().find_map(|staged| match staged {
            Staged::Given(last) => Some(*last),
            _ => None,
        });
        staged.unwrap_or(self.last)
    }

    /// Imported edits that wait for the server's rows, with the versions that were edited.
    pub(crate) fn awaiting(&self) -> &Awaiting {
        &self.awaiting
    }

    /// Every mutation, in the order of the queue.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.values()
    }

    /// Those that are part of what the app sees.
    pub(crate) fn live(&self) -> impl Iterator<Item = Seq> + '_ {
        self.entries.values().filter(|entry| entry.state != State::Parked).map(|entry| entry.seq)
    }

    /// Every mutation after a number, in order.
    pub(crate) fn entries_after(&self, seq: Seq) -> impl Iterator<Item = &Entry> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.entries.range((Excluded(seq), Unbounded)).map(|(_, entry)| entry)
    }

    /// The rows in which any mutation has a hand, parked ones too.
    pub(crate) fn rows(&self) -> HashSet<RowKey> {
        let rows = self.entries.values().flat_map(|entry| entry.rows.iter());
        rows.map(|(row, _)| row.clone()).collect()
    }

    /// Whether there may be actions that run again.
    pub(crate) fn has_actions(&self) -> bool {
        self.actions > 0
    }

    /// A mutation by its number.
    pub(crate) fn entry(&self, seq: Seq) -> Option<&Entry> {
        self.entries.get(&seq)
    }

    /// A mutation by its id.
    pub(crate) fn find(&self, id: MutationId) -> Option<&Entry> {
        self.entries.get(self.ids.get(&id)?)
    }

    fn add(&mut self, states: &mut RowStates, entry: Entry) {
        *self.counts.of(entry.state) += 1;
        self.actions += usize::from(!entry.reads.is_empty());
        self.ids.insert(entry.id, entry.seq);
        for (row, _) in entry.rows.iter() {
            states.add(row.table, &row.key, Waiting { seq: entry.seq, state: entry.state });
        }
        self.entries.insert(entry.seq, entry);
    }

    fn change(&mut self, states: &mut RowStates, seq: Seq, (state, attempt): (State, i64)) {
        let Some(entry) = self.entries.get_mut(&seq) else { return };
        *self.counts.of(entry.state) -= 1;
        *self.counts.of(state) += 1;
        entry.state = state;
        entry.attempt = attempt;
        for (row, _) in entry.rows.iter() {
            states.change(row.table, &row.key, seq, state);
        }
    }

    fn remove(&mut self, states: &mut RowStates, seq: Seq) {
        let Some(entry) = self.entries.remove(&seq) else { return };
        *self.counts.of(entry.state) -= 1;
        self.actions -= usize::from(!entry.reads.is_empty());
        self.ids.remove(&entry.id);
        for (row, _) in entry.rows.iter() {
            states.remove(row.table, &row.key, seq);
        }
    }
}

impl Counts {
    fn of(&mut self, state: State) -> &mut u64 {
        match state {
            State::Pending => &mut self.pending,
            State::Sent => &mut self.sent,
            State::Uncertain => &mut self.uncertain,
            State::Parked => &mut self.parked,
        }
    }
}

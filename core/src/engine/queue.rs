//! The queue of mutations: what local transactions wrote, until each has its verdict.
//!
//! The rows of `rejoin_mutation` are authoritative. The states, the ids and the index by row are
//! kept in memory, loaded when the file is opened and changed only after a commit. Appending costs
//! one insert plus the written rows; only loading is linear in the size of the queue.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rusqlite::Connection;

use crate::engine::capture::compose::Recorded;
use crate::engine::log;
use crate::engine::row_state::entries::{EntryChanges, WaitingEntry};
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
pub mod detail;
pub(crate) mod displaced;
pub(crate) mod faults;
pub(crate) mod freeze;
pub mod history;
pub(crate) mod intent;
pub mod mutation;
pub mod offer;
pub(crate) mod part;
pub(crate) mod pending_op;
pub(crate) mod policy_state;
pub(crate) mod record;
pub mod seen;
pub(crate) mod store;
pub mod verdict;
pub(crate) mod view;

use cancel::{Cancelled, Cancels};
use mutation::MutationState;
use record::{Record, Records};
use seen::SeenRow;

/// A local transaction to be appended to the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMutation {
    /// What it wrote; never empty.
    pub recorded: Recorded,
    /// The action that was performed; `None` for plain SQL.
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
    /// The tables that its last run read, including those that it wrote.
    pub reads: Vec<TableNumber>,
    /// The rows that it read by key, with their values before the run.
    pub seen: Vec<SeenRow>,
}

impl NewMutation {
    /// A transaction of plain SQL.
    pub fn plain(recorded: Recorded) -> Self {
        Self { recorded, intent: None }
    }
}

/// Number of mutations by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PendingCounts {
    /// Waiting to be sent.
    pub pending: u64,
    /// Sent, waiting for the response.
    pub sent: u64,
    /// Sent, without a response.
    pub uncertain: u64,
    /// Not accepted; the app must decide.
    pub parked: u64,
}

/// The queue in memory.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<Seq, QueueEntry>,
    ids: HashMap<MutationId, Seq>,
    states: SharedRowStates,
    counts: PendingCounts,
    /// Number of mutations that have read anything.
    actions: usize,
    /// Frozen records for a plain server; empty with a Rejoin server.
    records: Records,
    /// Discarded mutations that a server may have.
    cancels: Cancels,
    last: Last,
    /// Imported edits that cannot be sent before the server's rows arrive, with the edited
    /// versions.
    awaiting: Awaiting,
    staged: Vec<Staged>,
}

/// By number: the version of the row that an imported edit was made on, according to the old file.
pub(crate) type Awaiting = BTreeMap<Seq, Option<String>>;

/// The queue position of the next mutation in the running transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NextPosition {
    last: Last,
    pub(crate) id: MutationId,
}

impl NextPosition {
    /// When it was written.
    pub(crate) fn time_ms(&self) -> i64 {
        self.last.time_ms
    }
}

/// The numbers that were assigned last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Last {
    pub(crate) seq: i64,
    time_ms: i64,
    counter: i64,
}

impl Last {
    /// The next numbers. The clock may go back; the order of the queue does not.
    pub(crate) fn next(self, now_ms: i64) -> Self {
        let (time_ms, counter) =
            if now_ms > self.time_ms { (now_ms, 0) } else { (self.time_ms, self.counter + 1) };
        Self { seq: self.seq + 1, time_ms, counter }
    }
}

/// A mutation as kept in memory.
#[derive(Debug, Clone)]
pub(crate) struct QueueEntry {
    pub(crate) seq: Seq,
    pub(crate) id: MutationId,
    pub(crate) state: MutationState,
    pub(crate) attempt: i64,
    pub(crate) rows: Arc<[(RowKey, PatchKind)]>,
    /// The tables that an action has read; empty for mutations that never run again.
    pub(crate) reads: Arc<[TableNumber]>,
}

impl QueueEntry {
    /// Whether it is an action that may run again: no server can have it.
    pub(crate) fn replays(&self) -> bool {
        self.state == MutationState::Pending && !self.reads.is_empty()
    }
}

/// A change of the memory that is applied at the commit.
#[derive(Debug)]
pub(crate) enum Staged {
    Added(QueueEntry),
    Moved(Seq, MutationState, i64),
    Left(Seq),
    Recorded(Record),
    Unrecorded(i64),
    /// Replaces the set of edits that await the server's rows.
    Awaiting(Awaiting),
    /// A mutation that a server may have was discarded.
    Cancelled(Cancelled),
    /// The server's answer to the cancelled mutation at this position is here.
    Settled(Seq),
    /// These numbers are assigned.
    Given(Last),
}

/// Appends a mutation to the queue, in the transaction of the rows that it records.
pub(crate) fn append(
    conn: &Connection,
    queue: &mut Queue,
    place: NextPosition,
    new: &NewMutation,
) -> Result<Seq> {
    append_at(conn, queue, place, new, None)
}

/// Like [`append`], for an earlier write from another file: at `written_ms`, if that is not in the
/// future.
pub(crate) fn append_at(
    conn: &Connection,
    queue: &mut Queue,
    place: NextPosition,
    new: &NewMutation,
    written_ms: Option<i64>,
) -> Result<Seq> {
    let NextPosition { last, id } = place;
    let written = written_ms.filter(|at| *at < last.time_ms).map(|at| (at, 0));
    let entry = QueueEntry {
        seq: Seq(last.seq),
        id,
        state: MutationState::Pending,
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
    /// Whether a request has carried it, in this or an earlier attempt.
    pub(crate) fn has_left(&self, seq: Seq) -> bool {
        let left =
            |entry: &QueueEntry| entry.state == MutationState::Uncertain || entry.attempt > 1;
        self.entry(seq).is_some_and(left)
    }

    /// Loads the queue of a file. Mutations that were sent when the last process ended have no
    /// response: they become uncertain.
    pub fn load(conn: &Connection, schema: &Schema) -> Result<Self> {
        store::recover(conn)?;
        Self::look(conn, schema)
    }

    /// Loads the queue of a file without changes: another process may be sending from it.
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
        let mut entries = EntryChanges::new();
        log::each_waiting(conn, |id, record| {
            entries.insert(id, WaitingEntry::of(record));
        })?;
        queue.take_entries(entries);
        Ok(queue)
    }

    /// Sets the table names for `rejoin_row_state`.
    pub fn name_tables(&self, schema: &Schema) {
        self.states.write().name(schema);
    }

    /// The queue position of the mutation that is appended next.
    pub(crate) fn place(&self, host: &dyn Host) -> NextPosition {
        let last = self.last().next(host.now_micros() / 1000);
        NextPosition { last, id: MutationId(host.uuid4()) }
    }

    /// Applies the staged changes after a commit.
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
                entries.get(seq).is_some_and(|entry| entry.state == MutationState::Pending)
            });
        }
    }

    /// Applies the entries of the log that a commit has written to the index by row. Returns whether
    /// any has changed its state or its rows.
    pub(crate) fn take_entries(&self, entries: EntryChanges) -> bool {
        !entries.is_empty() && self.states.write().entries.apply(entries)
    }

    /// Drops the staged changes after a rollback.
    pub fn rolled_back(&mut self) {
        self.staged.clear();
    }

    /// Stages a change that the running transaction makes to the queue.
    pub(crate) fn stage(&mut self, staged: Staged) {
        self.staged.push(staged);
    }

    /// Records that were sent to a plain server and have no verdict.
    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// Discarded mutations that a server may have.
    pub(crate) fn cancels(&self) -> &Cancels {
        &self.cancels
    }

    /// Number of mutations by state.
    pub fn counts(&self) -> PendingCounts {
        self.counts
    }

    /// Number of mutations in any state.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The index by row, shared with readers.
    pub fn states(&self) -> SharedRowStates {
        self.states.clone()
    }

    /// The numbers that were assigned last, including those of the running transaction.
    pub(crate) fn last(&self) -> Last {
        let staged = self.staged.iter().rev().find_map(|staged| match staged {
            Staged::Given(last) => Some(*last),
            _ => None,
        });
        staged.unwrap_or(self.last)
    }

    /// Imported edits that wait for the server's rows, with the edited versions.
    pub(crate) fn awaiting(&self) -> &Awaiting {
        &self.awaiting
    }

    /// Every mutation, in queue order.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &QueueEntry> {
        self.entries.values()
    }

    /// Mutations that are applied to the visible rows.
    pub(crate) fn live(&self) -> impl Iterator<Item = Seq> + '_ {
        self.entries
            .values()
            .filter(|entry| entry.state != MutationState::Parked)
            .map(|entry| entry.seq)
    }

    /// Every mutation after a number, in order.
    pub(crate) fn entries_after(&self, seq: Seq) -> impl Iterator<Item = &QueueEntry> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.entries.range((Excluded(seq), Unbounded)).map(|(_, entry)| entry)
    }

    /// The rows that any mutation names, including parked ones.
    pub(crate) fn rows(&self) -> HashSet<RowKey> {
        let rows = self.entries.values().flat_map(|entry| entry.rows.iter());
        rows.map(|(row, _)| row.clone()).collect()
    }

    /// Whether there may be actions that run again.
    pub(crate) fn has_actions(&self) -> bool {
        self.actions > 0
    }

    /// A mutation by its number.
    pub(crate) fn entry(&self, seq: Seq) -> Option<&QueueEntry> {
        self.entries.get(&seq)
    }

    /// A mutation by its id.
    pub(crate) fn find(&self, id: MutationId) -> Option<&QueueEntry> {
        self.entries.get(self.ids.get(&id)?)
    }

    fn add(&mut self, states: &mut RowStates, entry: QueueEntry) {
        *self.counts.of(entry.state) += 1;
        self.actions += usize::from(!entry.reads.is_empty());
        self.ids.insert(entry.id, entry.seq);
        for (row, kind) in entry.rows.iter() {
            let waiting = Waiting { seq: entry.seq, state: entry.state, kind: *kind };
            states.add(row.table, &row.key, waiting);
        }
        self.entries.insert(entry.seq, entry);
    }

    fn change(&mut self, states: &mut RowStates, seq: Seq, (state, attempt): (MutationState, i64)) {
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

impl PendingCounts {
    fn of(&mut self, state: MutationState) -> &mut u64 {
        match state {
            MutationState::Pending => &mut self.pending,
            MutationState::Sent => &mut self.sent,
            MutationState::Uncertain => &mut self.uncertain,
            MutationState::Parked => &mut self.parked,
        }
    }
}

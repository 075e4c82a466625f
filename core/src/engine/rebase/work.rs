//! The working set of one rebase: which steps are undone.
//!
//! Steps are undone when the first row that they stand in the way of is met, newest first, with all that follows from
//! them (R3). So rows can be applied while they are decoded, and a step whose rows are not met costs nothing. `redo` brings the
//! undone steps back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use rusqlite::Connection;

use super::footprint::{self, Tables};
use crate::engine::action::Actions;
use crate::engine::action::budget::Bounds;
use crate::engine::capture::guard::Capture;
use crate::engine::change::Touched;
use crate::engine::database::Database;
use crate::engine::queue::mutation::State;
use crate::engine::queue::step::Step;
use crate::engine::queue::{Queue, Staged, store};
use crate::engine::row_state::RowStates;
use crate::engine::rows::apply::Rows;
use crate::engine::rows::patch::RowKey;
use crate::engine::rows::undo::{Undo, UndoRow};
use crate::engine::schema::model::Schema;
use crate::engine::schema::store::unfilled;
use crate::engine::statement::Footprints;
use crate::error::{Error, Result};
use crate::ids::{ColumnId, MutationId, Seq, TableNumber};
use crate::value::Value;

/// Which steps a rebase undoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Extent {
    /// Those that are met, and what follows from them.
    #[default]
    Selective,
    /// All: what the selective one must be equal to.
    Full,
}

/// What a rebase needs to run an action.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    pub(crate) db: &'a Database,
    pub(crate) capture: &'a Arc<Capture>,
    pub(crate) footprints: &'a mut Footprints,
    pub(crate) actions: &'a Actions,
    pub(crate) bounds: &'a Bounds,
    /// Those that are not run: they have ended a try of this rebase by taking too long.
    pub(crate) exhausted: &'a mut HashSet<MutationId>,
}

/// One rebase.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) schema: &'a Schema,
    pub(crate) queue: &'a Queue,
    pub(crate) states: &'a RowStates,
    pub(crate) touched: &'a mut Touched,
    pub(crate) rows: Rows<'a>,
    /// What is undone.
    pub(crate) steps: BTreeMap<Seq, Step>,
    /// What the base held of the rows that were met, before the batch.
    pub(crate) bases: HashMap<RowKey, Option<Vec<Value>>>,
    /// Places of records that have their verdict in this batch.
    pub(crate) decided: HashSet<i64>,
    /// Steps that this rebase has put into the queue, which the index does not know yet.
    pub(crate) reversed: HashMap<RowKey, Seq>,
    /// Places of what was withdrawn, of which the server's word is in this batch.
    pub(crate) withdrawn: HashSet<Seq>,
    pub(crate) staged: Vec<Staged>,
    /// Whether imported edits are settled by now: before, their rows are not judged.
    pub(crate) settled: bool,
    pub(crate) now_ms: i64,
    /// When what is accepted here was accepted.
    pub(super) accepted_ms: i64,
    /// Who has read and written which table; `None` if no action waits.
    pub(crate) tables: Option<Tables>,
    /// What runs actions; without it they are laid down as recorded.
    pub(crate) runner: Option<Runner<'a>>,
    /// Gained columns that wait for the server's values; read when a row is met.
    unfilled: Option<Vec<(TableNumber, ColumnId)>>,
    /// Tables of which a row was met: what has read them is undone.
    met: HashSet<TableNumber>,
    /// All that was undone, to begin with it if all starts over (R4).
    pub(super) undone: BTreeSet<Seq>,
}

impl<'a> Work<'a> {
    /// Begins; nothing is undone yet, or all is.
    pub(crate) fn new(
        conn: &'a Connection,
        schema: &'a Schema,
        queue: &'a Queue,
        states: &'a RowStates,
        touched: &'a mut Touched,
        now_ms: i64,
    ) -> Self {
        let rows = Rows::new(conn, schema);
        Self {
            conn,
            schema,
            queue,
            states,
            touched,
            rows,
            steps: BTreeMap::new(),
            bases: HashMap::new(),
            decided: HashSet::new(),
            reversed: HashMap::new(),
            withdrawn: HashSet::new(),
            staged: Vec::new(),
            settled: false,
            now_ms,
            accepted_ms: now_ms,
            tables: tables_of(queue),
            runner: None,
            unfilled: None,
            met: HashSet::new(),
            undone: BTreeSet::new(),
        }
    }

    /// A row is about to be written: whatever stands above it is undone. Whether anything does.
    pub(crate) fn meet(&mut self, table: TableNumber, key: &Value) -> Result<bool> {
        let states = self.states;
        let mut met = false;
        let mut seeds = Vec::new();
        for seq in states.steps_at(table, key) {
            met = true;
            if !self.steps.contains_key(&seq) {
                seeds.push(seq);
            }
        }
        if let Some(tables) = &self.tables
            && self.met.insert(table)
        {
            let steps = &self.steps;
            seeds.extend(tables.readers(table).filter(|seq| !steps.contains_key(seq)));
        }
        if !seeds.is_empty() {
            self.undo(seeds)?;
        }
        Ok(met)
    }

    /// The columns of a row that still wait for the server's values.
    pub(super) fn unfilled(&mut self, row: &RowKey) -> Result<Vec<ColumnId>> {
        let all = match self.unfilled.take() {
            Some(all) => all,
            None => unfilled(self.conn)?,
        };
        let columns = all.iter().filter(|(table, _)| *table == row.table);
        let mut columns: Vec<ColumnId> = columns.map(|(_, column)| *column).collect();
        self.unfilled = Some(all);
        if columns.is_empty() {
            return Ok(columns);
        }
        let table = self.rows.table(row.table)?;
        let image = self.rows.read(row)?.unwrap_or_default();
        let is_empty =
            |id| table.position(id).and_then(|at| image.get(at)).is_some_and(Value::is_null);
        columns.retain(|id| is_empty(*id));
        Ok(columns)
    }

    /// Undoes every step.
    pub(crate) fn undo_all(&mut self) -> Result<()> {
        let all: Vec<Seq> = self.queue.live().collect();
        self.undo(all)
    }

    /// Undoes these steps and what follows from them, newest first.
    pub(crate) fn undo(&mut self, seeds: impl IntoIterator<Item = Seq>) -> Result<()> {
        let queue = self.queue;
        let rows = |seq| queue.entry(seq).map_or(&[][..], |entry| &entry.rows);
        let done = |seq| self.steps.contains_key(&seq);
        let affected = footprint::closure(seeds, self.states, self.tables.as_ref(), rows, done);
        if self.tables.is_some() {
            self.undone.extend(&affected);
        }
        for seq in affected.into_iter().rev() {
            let step = store::read_step(self.conn, seq)?.ok_or_else(|| missing(seq))?;
            let undo = match &step.undo {
                Some(bytes) => Undo::decode(bytes)?,
                None => Undo::of(&step.effect),
            };
            for UndoRow { row, before } in undo.rows.iter().rev() {
                self.rows.hold(row)?;
                self.rows.take_back(row, before)?;
            }
            self.steps.insert(seq, step);
        }
        Ok(())
    }

    /// The step, which must be undone.
    pub(crate) fn step(&self, seq: Seq) -> Result<&Step> {
        self.steps.get(&seq).ok_or_else(|| missing(seq))
    }

    /// The step, which must be undone, to change it.
    pub(crate) fn step_mut(&mut self, seq: Seq) -> Result<&mut Step> {
        self.steps.get_mut(&seq).ok_or_else(|| missing(seq))
    }
}

/// What actions have read, and all have written; nothing if none waits.
fn tables_of(queue: &Queue) -> Option<Tables> {
    if !queue.has_actions() {
        return None;
    }
    let mut tables = Tables::default();
    for entry in queue.entries().filter(|entry| entry.state != State::Parked) {
        tables.add(entry.seq, &entry.rows, if entry.replays() { &entry.reads } else { &[] });
    }
    Some(tables)
}

pub(super) fn missing(seq: Seq) -> Error {
    Error::Internal(format!("mutation {} is in the index and not in the queue", seq.0))
}

//! The working set of one rebase: which mutations are undone.
//!
//! Before a row is written, the mutations that edit it are undone, newest first, with all that
//! depend on them. So rows can be applied while they are decoded, and a mutation whose rows do not
//! change costs nothing. `redo` applies the undone mutations again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use rusqlite::Connection;

use super::footprint::{self, Tables};
use crate::engine::action::Actions;
use crate::engine::action::budget::Bounds;
use crate::engine::capture::guard::Capture;
use crate::engine::change::Touched;
use crate::engine::database::Database;
use crate::engine::queue::mutation::MutationState;
use crate::engine::queue::pending_op::PendingOp;
use crate::engine::queue::{Queue, Staged, store};
use crate::engine::row_state::RowStates;
use crate::engine::rows::apply::RowWriter;
use crate::engine::rows::patch::RowKey;
use crate::engine::rows::undo::{Undo, UndoRow};
use crate::engine::schema::model::Schema;
use crate::engine::schema::store::unfilled;
use crate::engine::statement::Footprints;
use crate::error::{Error, Result};
use crate::ids::{ColumnId, MutationId, Seq, TableNumber};
use crate::value::Value;

/// Which mutations a rebase undoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Extent {
    /// Those whose rows change, and those that depend on them.
    #[default]
    Selective,
    /// All; the selective extent must give the same result.
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
    /// Mutations that are not run, because they exhausted the time budget in an earlier attempt.
    pub(crate) exhausted: &'a mut HashSet<MutationId>,
}

/// State of one rebase.
#[derive(Debug)]
pub(crate) struct RebaseContext<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) schema: &'a Schema,
    pub(crate) queue: &'a Queue,
    pub(crate) states: &'a RowStates,
    pub(crate) touched: &'a mut Touched,
    pub(crate) rows: RowWriter<'a>,
    /// The undone mutations.
    pub(crate) steps: BTreeMap<Seq, PendingOp>,
    /// The base rows before the batch, for affected rows.
    pub(crate) bases: HashMap<RowKey, Option<Vec<Value>>>,
    /// Places of records that have their verdict in this batch.
    pub(crate) decided: HashSet<i64>,
    /// Mutations that this rebase has inserted and that are not in the index yet.
    pub(crate) reversed: HashMap<RowKey, Seq>,
    /// Queue numbers of cancelled mutations whose answer is in this batch.
    pub(crate) withdrawn: HashSet<Seq>,
    /// Rows whose edits up to this one are accepted and are not undone.
    pub(crate) covered: HashMap<RowKey, Seq>,
    pub(crate) staged: Vec<Staged>,
    /// Whether imported edits are completed; until then their rows are not checked for conflicts.
    pub(crate) settled: bool,
    pub(crate) now_ms: i64,
    /// Time of acceptance of the mutations accepted in this rebase.
    pub(super) accepted_ms: i64,
    /// Reads and writes by table; `None` if no action is pending.
    pub(crate) tables: Option<Tables>,
    /// Runs actions; without it, recorded effects are applied.
    pub(crate) runner: Option<Runner<'a>>,
    /// Added columns that have no server value yet; read on first use.
    unfilled: Option<Vec<(TableNumber, ColumnId)>>,
    /// Tables with a changed row; the mutations that read them are undone.
    met: HashSet<TableNumber>,
    /// All undone mutations; the next attempt undoes them first if the rebase starts over.
    pub(super) undone: BTreeSet<Seq>,
}

impl<'a> RebaseContext<'a> {
    /// Creates a working set with nothing undone.
    pub(crate) fn new(
        conn: &'a Connection,
        schema: &'a Schema,
        queue: &'a Queue,
        states: &'a RowStates,
        touched: &'a mut Touched,
        now_ms: i64,
    ) -> Self {
        let rows = RowWriter::new(conn, schema);
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
            covered: HashMap::new(),
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

    /// Undoes the mutations that edit a row which is about to be written. Returns whether there are
    /// any.
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

    /// The columns of a row that have no server value yet.
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

    /// Undoes every mutation.
    pub(crate) fn undo_all(&mut self) -> Result<()> {
        let all: Vec<Seq> = self.queue.live().collect();
        self.undo(all)
    }

    /// Undoes these mutations and all that depend on them, newest first.
    pub(crate) fn undo(&mut self, seeds: impl IntoIterator<Item = Seq>) -> Result<()> {
        let queue = self.queue;
        let rows = |seq| queue.entry(seq).map_or(&[][..], |entry| &entry.rows);
        let done = |seq| self.steps.contains_key(&seq);
        let covered = &self.covered;
        let stays = |row: &RowKey, seq| covered.get(row).is_some_and(|last| seq <= *last);
        let affected =
            footprint::closure(seeds, self.states, self.tables.as_ref(), (rows, stays), done);
        if self.tables.is_some() {
            self.undone.extend(&affected);
        }
        for seq in affected.into_iter().rev() {
            let step = store::read_step(self.conn, seq)?.ok_or_else(|| missing(seq))?;
            let undo = match &step.undo {
                Some(bytes) => Undo::decode(bytes)?,
                None => Undo::of(&step.effect),
            };
            let undone = undo.rows.iter().filter(|undo| !stays(&undo.row, seq));
            for UndoRow { row, before } in undone.rev() {
                self.rows.hold(row)?;
                self.rows.take_back(row, before)?;
            }
            self.steps.insert(seq, step);
        }
        Ok(())
    }

    /// Returns an undone mutation.
    pub(crate) fn step(&self, seq: Seq) -> Result<&PendingOp> {
        self.steps.get(&seq).ok_or_else(|| missing(seq))
    }

    /// Returns an undone mutation for changes.
    pub(crate) fn step_mut(&mut self, seq: Seq) -> Result<&mut PendingOp> {
        self.steps.get_mut(&seq).ok_or_else(|| missing(seq))
    }
}

/// Reads of actions and writes of all mutations; `None` if no action is pending.
fn tables_of(queue: &Queue) -> Option<Tables> {
    if !queue.has_actions() {
        return None;
    }
    let mut tables = Tables::default();
    for entry in queue.entries().filter(|entry| entry.state != MutationState::Parked) {
        tables.add(entry.seq, &entry.rows, if entry.replays() { &entry.reads } else { &[] });
    }
    Some(tables)
}

pub(super) fn missing(seq: Seq) -> Error {
    Error::Internal(format!("mutation {} is in the index and not in the queue", seq.0))
}

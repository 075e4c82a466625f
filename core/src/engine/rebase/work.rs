//! The working set of one rebase: which steps are undone, and how they come back.
//!
//! Steps are undone when the first row that they stand in the way of is met, newest first, with all that follows from
//! them (R3); so rows can be applied while they are decoded, and what nobody meets costs nothing. At the end the undone
//! steps are laid down again in the order of the queue, and their undo images are renewed (R1).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rusqlite::Connection;

use super::batch::Applied;
use super::footprint::{self, Tables};
use super::replay::{Replayed, Runner};
use crate::engine::change::Touched;
use crate::engine::queue::cancel::{self, Cancelled};
use crate::engine::queue::mutation::State;
use crate::engine::queue::step::{Fate, Parking, Step};
use crate::engine::queue::verdict::{self, VerdictKind};
use crate::engine::queue::{Entry, Queue, Staged, store};
use crate::engine::row_state::RowStates;
use crate::engine::rows::apply::Rows;
use crate::engine::rows::patch::RowKey;
use crate::engine::rows::undo::{Undo, UndoRow};
use crate::engine::schema::model::Schema;
use crate::engine::schema::store::unfilled;
use crate::error::{Error, Result};
use crate::ids::{ColumnId, Seq, TableNumber};
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
    pub(crate) judged: HashSet<i64>,
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
    undone: BTreeSet<Seq>,
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
            judged: HashSet::new(),
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

    /// Brings back what stays, in the order of the queue, and writes what became of every step. If an action meets steps
    /// that should have been undone before it ran (R4), all must start over from where it began, with these undone first.
    pub(crate) fn redo(&mut self, applied: &mut Applied) -> Result<Option<BTreeSet<Seq>>> {
        while let Some((_, mut step)) = self.steps.pop_first() {
            step.conclude();
            self.touch(&step);
            if step.stays() {
                match self.replay(&mut step)? {
                    Replayed::AsRecorded => self.lay_down(&mut step)?,
                    Replayed::Ran(met) if met.is_empty() => self.touch(&step),
                    Replayed::Ran(met) => {
                        self.undone.extend(met);
                        return Ok(Some(std::mem::take(&mut self.undone)));
                    }
                }
            }
            applied.affected += 1;
            match step.fate {
                Fate::Accepted => applied.accepted.push(step.id),
                Fate::Parked(_) => applied.parked.push(step.id),
                Fate::Stays | Fate::Discarded | Fate::Withdrawn(_) | Fate::Lifted => {}
            }
            self.settle(&step)?;
        }
        Ok(None)
    }

    fn touch(&mut self, step: &Step) {
        for patch in &step.effect.rows {
            if let Some(table) = self.schema.table(patch.row.table) {
                self.touched.row(&table.name, patch.row.key.clone());
            }
        }
    }

    /// Lays a step down as it was recorded: plain SQL, uncertain ones (R7), actions that are not registered (R8).
    fn lay_down(&mut self, step: &mut Step) -> Result<()> {
        let mut undo = Undo { rows: Vec::with_capacity(step.effect.rows.len()) };
        for patch in &step.effect.rows {
            let whole = step.stance.brought_back(patch);
            let is_gone = whole.is_some() && self.rows.read_columns(&patch.row, &[])?.is_none();
            let laid = whole.as_ref().filter(|_| is_gone).unwrap_or(patch);
            if let Some(before) = self.rows.lay(laid)? {
                undo.rows.push(UndoRow { row: patch.row.clone(), before });
            }
        }
        let bytes = (!undo.is_of(&step.effect)).then(|| undo.encode());
        if bytes != step.undo {
            step.undo = bytes;
            store::write_undo(self.conn, step)?;
        }
        Ok(())
    }

    fn settle(&mut self, step: &Step) -> Result<()> {
        if step.reduced {
            store::write_parts(self.conn, step)?;
        }
        match &step.fate {
            Fate::Stays if !step.changed && !step.rewritten => return Ok(()),
            Fate::Lifted => return Ok(()),
            Fate::Stays => {
                if step.changed {
                    store::write_attempt(self.conn, step)?;
                }
                self.moved(step, step.state);
            }
            Fate::Parked(parking) => {
                store::park(self.conn, step, parking)?;
                self.tell(step, VerdictKind::Parked(parking.reason), Some(parking))?;
                self.moved(step, State::Parked);
            }
            Fate::Withdrawn(root) => {
                let (seq, id, attempt) = (step.seq, step.id, step.attempt);
                let effect = step.effect_as_seen();
                let of_action = step.is_of_action();
                let one = Cancelled { seq, id, attempt, root: *root, effect, of_action };
                cancel::write(self.conn, &one)?;
                store::remove(self.conn, seq)?;
                self.staged.extend(cancel::given_up(one));
            }
            Fate::Accepted | Fate::Discarded => {
                if step.fate == Fate::Accepted {
                    self.tell(step, VerdictKind::Accepted, None)?;
                    let displaced = step.displaced.as_deref();
                    store::keep_in_history(self.conn, step.seq, self.accepted_ms, displaced)?;
                }
                store::remove(self.conn, step.seq)?;
                self.staged.push(Staged::Left(step.seq));
            }
        }
        self.touched.queue();
        Ok(())
    }

    /// Keeps the end of a step for the app; what another life of the server had accepted is not told again (O14).
    fn tell(&self, step: &Step, kind: VerdictKind, parking: Option<&Parking>) -> Result<()> {
        let new = verdict::New {
            attempt: step.attempt,
            kind,
            because_of: parking.and_then(|parking| parking.because_of),
            detail: parking.and_then(|parking| parking.detail.as_deref()),
        };
        verdict::write(self.conn, step.seq, &new, self.now_ms)
    }

    /// What the index shall know of a step: only its state, unless rows have left it.
    fn moved(&mut self, step: &Step, state: State) {
        if !step.reduced && !step.rewritten {
            return self.staged.push(Staged::Moved(step.seq, state, step.attempt));
        }
        let rows = step.effect.rows.iter().map(|patch| (patch.row.clone(), patch.kind));
        let (seq, id, attempt) = (step.seq, step.id, step.attempt);
        let reads = step.reads().into();
        let entry = Entry { seq, id, state, attempt, rows: rows.collect(), reads };
        self.staged.extend([Staged::Left(seq), Staged::Added(entry)]);
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

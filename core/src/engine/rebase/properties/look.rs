//! Reads the state of an engine: its rows, its queue, its base, and the memory that a reopened file
//! would have.

use std::sync::Arc;

use super::check::{self, Rows};
use super::story::TABLES;
use crate::engine::Engine;
use crate::engine::change::{Origin, Touched};
use crate::engine::queue::mutation::Mutation;
use crate::engine::queue::{Queue, store};
use crate::engine::rebase::context::RebaseContext;
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowPatch};
use crate::engine::rows::undo::{Before, Undo};
use crate::error::Error;
use crate::value::Value;

/// The queue as text lines, as far as both engines must agree. The order of a mutation's patches is
/// left out: a scan without ORDER BY follows rowids, which differ after an undo.
pub(super) fn lines_of(queue: &[Mutation]) -> Vec<String> {
    let line = |mutation: &Mutation| {
        let mut rows = mutation.effect.rows.clone();
        rows.sort_by_key(|patch| check::name(&patch.row));
        let of = |at: usize| check::name(&mutation.effect.rows[at].row);
        let mut basis: Vec<_> =
            mutation.basis.iter().map(|((row, column), old)| (of(*row), *column, old)).collect();
        basis.sort_by_key(|(row, column, _)| (row.clone(), *column));
        let Mutation {
            seq, id, time_ms, counter, state, attempt, request, because_of, reason, ..
        } = mutation;
        format!(
            "{seq:?} {id} {time_ms}.{counter} {state:?} {attempt} {request:?} {because_of:?} \
             {reason:?} {rows:?} {basis:?}"
        )
    };
    queue.iter().map(line).collect()
}

/// The visible rows.
pub(super) fn rows_of(engine: &Engine) -> Rows {
    let mut rows = Rows::new();
    for (name, [a, b]) in TABLES {
        let number = engine.schema().named(name).unwrap().number.0;
        let sql = format!("/*rejoin*/SELECT id, {a}, {b} FROM {name}");
        let mut statement = engine.db.conn().prepare_cached(&sql).unwrap();
        let found = statement
            .query_map([], |row| Ok(((number, row.get(0)?), vec![row.get(1)?, row.get(2)?])))
            .unwrap();
        rows.extend(found.map(Result::unwrap));
    }
    rows
}

/// Undoes everything in a transaction that is rolled back: returns the base, and the patches as
/// they were applied.
pub(super) fn rolled_back(engine: &mut Engine) -> Result<(Rows, Vec<RowPatch>), String> {
    let mut base = Rows::new();
    let mut applied = Vec::new();
    let result = engine.write(Origin::Local, |engine| {
        let shared = engine.queue.states();
        let states = shared.read();
        let mut touched = Touched::default();
        for seq in engine.queue.live().collect::<Vec<_>>() {
            let step = store::read_step(engine.db.conn(), seq)?;
            let step = step.ok_or_else(|| Error::Internal(String::from("no step")))?;
            let undo = match &step.undo {
                Some(bytes) => Undo::decode(bytes)?,
                None => Undo::of(&step.effect),
            };
            applied.extend(step.effect.rows.iter().filter_map(|patch| {
                let found = undo.rows.iter().find(|one| one.row == patch.row)?;
                as_applied(patch, &found.before)
            }));
        }
        let schema = Arc::clone(&engine.schema);
        let mut work =
            RebaseContext::new(engine.db.conn(), &schema, &engine.queue, &states, &mut touched, 0);
        work.undo_all()?;
        work.rows.settle()?;
        base = rows_of(engine);
        Err::<(), _>(Error::Suspended)
    });
    match result {
        Err(Error::Suspended) => Ok((base, applied)),
        Err(error) => Err(format!("rolling back: {error}")),
        Ok(()) => Err(String::from("the rollback was committed")),
    }
}

/// A patch with its real before-image.
fn as_applied(patch: &RowPatch, before: &Before) -> Option<RowPatch> {
    let column = |id, old: &Value, new: &Value| ColumnPatch {
        column: id,
        old: old.clone(),
        new: new.clone(),
    };
    let row = patch.row.clone();
    Some(match before {
        Before::Absent => {
            let made = patch.columns.iter().map(|c| column(c.column, &Value::Null, &c.new));
            RowPatch { row, kind: PatchKind::Insert, columns: made.collect() }
        }
        Before::Whole(olds) => RowPatch {
            row,
            kind: PatchKind::Delete,
            columns: olds.iter().map(|(id, old)| column(*id, old, &Value::Null)).collect(),
        },
        Before::Columns(olds) => {
            let new = |id| patch.columns.iter().find(|c| c.column == id).map(|c| &c.new);
            let columns: Vec<ColumnPatch> = olds
                .iter()
                .filter_map(|(id, old)| Some(column(*id, old, new(*id)?)))
                .filter(ColumnPatch::is_change)
                .collect();
            if columns.is_empty() {
                return None;
            }
            RowPatch { row, kind: PatchKind::Update, columns }
        }
    })
}

/// Checks that the memory equals that of a reopened file.
pub(super) fn same_index(engine: &Engine) -> Result<(), String> {
    let entries = |queue: &Queue| format!("{:?}", queue.entries().collect::<Vec<_>>());
    let loaded =
        Queue::load(engine.db.conn(), &engine.schema).map_err(|error| error.to_string())?;
    let (mine, reopened) = (entries(&engine.queue), entries(&loaded));
    if mine != reopened {
        return Err(format!("the index is {mine}, reopened {reopened}"));
    }
    let shared = [engine.queue.states(), loaded.states()];
    let states = shared.each_ref().map(|states| format!("{:?}", states.read().sorted()));
    if states[0] == states[1] { Ok(()) } else { Err(format!("row states: {states:?}")) }
}

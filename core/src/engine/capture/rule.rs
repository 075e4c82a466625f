//! Checks UNIQUE, references and NO ACTION once after each statement, for the rows that it changed.
//!
//! A statement may violate a rule while it runs and satisfy it at its end: `n = n + 1` on a UNIQUE
//! column, or a child before its parent.

use std::sync::Arc;

use crate::engine::capture::guard::Capture;
use crate::engine::database::Database;
use crate::engine::rows::patch::{PatchKind, RowPatch};
use crate::engine::schema::guarded::{AfterStatement, GuardedTable};
use crate::error::{Error, Result};
use crate::value::Value;

/// A query to run, and its key.
struct Question {
    table: Arc<GuardedTable>,
    key: Value,
    /// Position of the rule among those after a change, or after a delete.
    deleted: bool,
    position: usize,
}

/// Checks what was captured since `mark`.
pub(crate) fn check(db: &Database, capture: &Capture, mark: usize) -> Result<()> {
    for question in questions(capture, mark)? {
        let rules = if question.deleted {
            &question.table.after_delete
        } else {
            &question.table.after_change
        };
        let rule = &rules[question.position];
        let found = db.conn().prepare_cached(&rule.sql)?.exists([&question.key])?;
        if found {
            return Err(Error::Constraint {
                table: rule.table.clone(),
                column: rule.column.clone(),
                rule: rule.rule.to_owned(),
            });
        }
    }
    Ok(())
}

/// The queries to run. The buffer is not locked while SQL runs.
fn questions(capture: &Capture, mark: usize) -> Result<Vec<Question>> {
    let state = capture.state();
    let mut out = Vec::new();
    let mut left = None;
    for event in state.buffer.since(mark) {
        let event = event?;
        let table = state.table(event.patch.table).filter(|table| table.checks_after());
        let Some(table) = table else { continue };
        let patch = event.patch.patch()?;
        let mut ask = |deleted: bool, position: usize| {
            let (table, key) = (Arc::clone(table), patch.row.key.clone());
            out.push(Question { table, key, deleted, position });
        };
        match patch.kind {
            PatchKind::Delete => (0..table.after_delete.len()).for_each(|rule| ask(true, rule)),
            PatchKind::Insert | PatchKind::Update => {
                let before = left.take().filter(|_| event.moved);
                for (position, rule) in table.after_change.iter().enumerate() {
                    if concerns(rule, table, &patch, before.as_ref()) {
                        ask(false, position);
                    }
                }
            }
        }
        left = (patch.kind == PatchKind::Delete).then_some(patch);
    }
    Ok(out)
}

/// Whether a rule reads what was changed. For a key change, `before` is the first half.
fn concerns(
    rule: &AfterStatement,
    table: &GuardedTable,
    patch: &RowPatch,
    before: Option<&RowPatch>,
) -> bool {
    let new = |patch: &RowPatch, at: usize| {
        let id = table.table.columns[at].id;
        patch.columns.iter().find(|column| column.column == id).cloned()
    };
    rule.columns.iter().any(|at| match (patch.kind, before) {
        (PatchKind::Insert, None) => true,
        (PatchKind::Insert, Some(before)) => {
            *at == table.table.key
                || new(before, *at).map(|column| column.old)
                    != new(patch, *at).map(|column| column.new)
        }
        _ => new(patch, *at).is_some_and(|column| column.is_change()),
    })
}

//! Rules that are checked once after each statement, for the rows that it touched: UNIQUE, references, NO ACTION (R5).
//!
//! Only then, because a statement may break a rule on its way and keep it at its end: `n = n + 1` on a UNIQUE column, a
//! child before its parent in one statement.

use rusqlite::types::ValueRef;

use super::buffer;
use super::guard::Capture;
use crate::engine::database::{Database, fault};
use crate::engine::schema::guarded::{AfterStatement, GuardedTable};
use crate::error::{Error, Result};
use crate::value::Value;

/// A query to run, and the key to run it with.
struct Question {
    table: std::sync::Arc<GuardedTable>,
    key: Value,
    /// Position of the rule among those after a change, or after a delete.
    deleted: bool,
    position: usize,
}

/// Checks what was captured since `mark`.
pub(crate) fn check(db: &Database, capture: &Capture, mark: usize) -> Result<()> {
    for question in questions(capture, mark) {
        let rules = if question.deleted {
            &question.table.after_delete
        } else {
            &question.table.after_change
        };
        let rule = &rules[question.position];
        let found = db
            .conn()
            .prepare_cached(&rule.sql)
            .and_then(|mut statement| statement.exists([&question.key]))
            .map_err(fault::of)?;
        if found {
            return Err(Error::Rule {
                table: rule.table.clone(),
                column: rule.column.clone(),
                rule: rule.rule.to_owned(),
            });
        }
    }
    Ok(())
}

/// What must be asked. The buffer is not held while SQL runs.
fn questions(capture: &Capture, mark: usize) -> Vec<Question> {
    let state = capture.state();
    let mut out = Vec::new();
    for event in state.buffer.since(mark) {
        let Some(table) = state.table(event.table).filter(|table| table.checks_after()) else {
            continue;
        };
        let (old, new) = event.images();
        let key = table.table.key;
        let mut ask = |deleted: bool, position: usize, key: ValueRef<'_>| {
            let key = buffer::owned(key);
            out.push(Question { table: table.clone(), key, deleted, position });
        };
        if let Some(new) = &new {
            for (position, rule) in table.after_change.iter().enumerate() {
                if old.as_ref().is_none_or(|old| differs(rule, old, new)) {
                    ask(false, position, new[key]);
                }
            }
        }
        let gone = |old: &Vec<ValueRef<'_>>| {
            new.as_ref().is_none_or(|new| !buffer::same(old[key], new[key]))
        };
        if let Some(old) = old.as_ref().filter(|old| gone(old)) {
            (0..table.after_delete.len()).for_each(|position| ask(true, position, old[key]));
        }
    }
    out
}

fn differs(rule: &AfterStatement, old: &[ValueRef<'_>], new: &[ValueRef<'_>]) -> bool {
    rule.columns.iter().any(|column| !buffer::same(old[*column], new[*column]))
}

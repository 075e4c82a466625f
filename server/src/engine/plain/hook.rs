//! Calls the host's hooks for plain records: each record is a mutation by itself.

use rejoin_protocol::time;
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Operation, PushRecord};

use super::evaluate::{RecordEvaluator, RecordOutcome, columns};
use crate::engine::conflict::is_equal;
use crate::engine::conflict_log::by_name;
use crate::engine::hook::{Decision, ask_accepted};
use crate::error::Fault;
use crate::hooks::{AcceptedChanges, Changed, Conflict, Settled};
use crate::model::{Row, StoredRow, Table};

impl RecordEvaluator<'_> {
    /// The outcome of a record after the host's decision.
    pub(super) fn decide(
        &self,
        record: &PushRecord,
        end: RecordOutcome,
    ) -> Result<RecordOutcome, Fault> {
        let (Some(hooks), true, Some(operation)) =
            (self.hooks, end.status == "applied", operation(record))
        else {
            return Ok(end);
        };
        let changed = Changed { table: &record.table_name, id: &record.id, operation };
        let accepted = AcceptedChanges {
            user: self.transaction.user,
            client_id: self.client_id,
            mutation: None,
            action: None,
            now: self.transaction.now,
            changes: vec![changed],
        };
        let decision = ask_accepted(hooks, &accepted, self.transaction.writing)?;
        if let Some(plan) = self.transaction.plan {
            plan.forget_rows();
        }
        Ok(match decision {
            Decision::Keep => end,
            Decision::Refuse(why) => RecordOutcome::terminal("hook_refused", &why),
            Decision::Later(why) => {
                RecordOutcome::rejected("rejected_retryable", "hook_later", &why)
            }
        })
    }

    /// The row before a record that may change it, if there are hooks.
    pub(super) fn before(&self, stored: Option<&StoredRow>) -> Option<Row> {
        let stored = stored.filter(|stored| self.hooks.is_some() && stored.writable);
        stored.map(|stored| stored.row.clone())
    }

    /// Records a conflict if the row had changed since the record was made. A record whose values the row already has is none:
    /// it is sent again because its response was lost.
    pub(super) fn record_conflict(
        &self,
        table: &Table,
        record: &PushRecord,
        before: Option<Row>,
        end: &RecordOutcome,
    ) {
        let (Some(row), Some(operation)) = (before, operation(record)) else { return };
        self.conflicts.record(|| {
            let sent = match operation {
                Operation::Delete => Vec::new(),
                _ => columns(table, record.data.as_deref(), operation == Operation::Create)?,
            };
            let is_new = |(at, value): &(usize, _)| !is_equal(table, &row, *at, value);
            if operation != Operation::Delete && !sent.iter().any(is_new) {
                return None;
            }
            let (code, settled) = match (end.status, end.reason) {
                ("conflict", Some("record_exists")) => (code::ROW_EXISTS, Settled::Kept),
                ("conflict", Some("record_deleted")) => (code::ROW_DELETED, Settled::Kept),
                ("conflict", _) => (code::ROW_CHANGED, Settled::Kept),
                ("applied", _) if has_changed_since(table, record, &row) => {
                    (code::ROW_CHANGED, Settled::Written)
                }
                _ => return None,
            };
            Some(Conflict {
                user: self.transaction.user.to_owned(),
                client_id: self.client_id.to_owned(),
                mutation: None,
                table: table.name.clone(),
                id: record.id.clone(),
                column: None,
                operation: Some(operation),
                code,
                present: by_name(table, row.cells.iter().enumerate()),
                sent: by_name(table, sent.iter().map(|(at, value)| (*at, value))),
                settled,
            })
        });
    }
}

/// Whether a live row has another version than the record was made on. One of the SDKs has versions to the millisecond only.
/// False for a record without a version.
fn has_changed_since(table: &Table, record: &PushRecord, row: &Row) -> bool {
    let base = record.base_updated_at.as_deref().and_then(time::parse);
    let present = time::parse(&row.version(table));
    let (Some(base), Some(present)) = (base, present) else { return false };
    !row.is_deleted(table) && base.div_euclid(1_000) < present.div_euclid(1_000)
}

fn operation(record: &PushRecord) -> Option<Operation> {
    match record.operation.as_str() {
        "create" => Some(Operation::Create),
        "update" => Some(Operation::Update),
        "delete" => Some(Operation::Delete),
        _ => None,
    }
}

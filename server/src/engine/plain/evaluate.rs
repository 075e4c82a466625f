//! Evaluates one record of a plain peer by the rules of v0.1.2: pushed columns overwrite the row, protected ones are dropped
//! silently, the last writer by the clock wins.
//!
//! Where v0.1.2 fails the whole request, this server rejects the one record.

use std::collections::BTreeMap;

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Operation, PushRecord, PushResult};
use rejoin_protocol::{Policy, Value, codec, time};
use serde_json::value::RawValue;

use crate::engine::bucket;
use crate::engine::budget::Budget;
use crate::engine::conflict_log::ConflictLog;
use crate::engine::encode;
use crate::engine::rejection::ChangeError;
use crate::engine::resolve::{Case, Resolved};
use crate::engine::resolve_conflict::present_at;
use crate::engine::user_transaction::UserTransaction;
use crate::error::Fault;
use crate::hooks::Hooks;
use crate::model::resolver::Resolve;
use crate::model::{PushPolicy, Row, StoredRow, Table};
use crate::store::WriteError;

/// Evaluates the records of one push.
pub(super) struct RecordEvaluator<'a> {
    pub(super) transaction: UserTransaction<'a>,
    /// How far a client's clock may be behind, in microseconds.
    pub(super) tolerance: i64,
    /// The device.
    pub(super) client_id: &'a str,
    /// The hooks of the host.
    pub(super) hooks: Option<&'a dyn Hooks>,
    /// Collects conflicts for the host.
    pub(super) conflicts: &'a ConflictLog,
    /// What the push may cost.
    pub(super) budget: &'a Budget<'a>,
}

/// How a plain record ended.
pub(super) struct RecordOutcome {
    pub(super) status: &'static str,
    pub(super) reason: Option<&'static str>,
    message: Option<String>,
    /// The server's row of a conflict.
    row: Option<Row>,
    /// Whether it wrote its row.
    has_written: bool,
    /// Whether a row that it refers to is missing, and may be created by a later record.
    pub(super) waits: bool,
}

impl RecordOutcome {
    fn applied(has_written: bool) -> Self {
        let (reason, message, row) = (None, None, None);
        Self { status: "applied", reason, message, row, has_written, waits: false }
    }

    pub(super) fn rejected(status: &'static str, reason: &'static str, message: &str) -> Self {
        Self {
            reason: Some(reason),
            message: Some(message.to_owned()),
            status,
            ..Self::applied(false)
        }
    }

    pub(super) fn terminal(reason: &'static str, message: &str) -> Self {
        Self::rejected("rejected_terminal", reason, message)
    }

    /// For a record for which the request has no time or no room: the peer sends it again.
    pub(super) fn busy() -> Self {
        Self::rejected("rejected_retryable", "busy", "too much for one request: send it again")
    }

    fn conflict(reason: &'static str, message: &str, row: Row) -> Self {
        Self { row: Some(row), ..Self::rejected("conflict", reason, message) }
    }

    pub(super) fn waits(operation: &str) -> Self {
        let (reason, message) = failed(operation);
        Self { waits: true, ..Self::rejected("rejected_retryable", reason, message) }
    }
}

fn no_access() -> RecordOutcome {
    RecordOutcome::terminal("record_not_found", "record not found or not accessible")
}

/// The reason and message of v0.1.2 for an operation that the database rejected.
fn failed(operation: &str) -> (&'static str, &'static str) {
    match operation {
        "create" => ("create_failed", "failed to create record"),
        "update" => ("update_failed", "failed to update record"),
        _ => ("delete_failed", "failed to delete record"),
    }
}

impl RecordEvaluator<'_> {
    /// Evaluates a record and applies it, in a savepoint.
    pub(super) fn record(&self, record: &PushRecord) -> Result<RecordOutcome, Fault> {
        let table = self.transaction.schema().table(&record.table_name);
        let begun = self.conflicts.len();
        self.transaction.begin()?;
        let end = match table {
            None => {
                RecordOutcome::terminal("table_not_registered", "table not registered for sync")
            }
            Some(table) if table.push == PushPolicy::Disabled => {
                RecordOutcome::terminal("table_read_only", "table is read-only")
            }
            Some(table) => self.write_or_fail(table, record)?,
        };
        let has_room = |row: &Row| self.budget.sends_images(row.weight());
        let end = if end.row.as_ref().is_none_or(has_room) { end } else { RecordOutcome::busy() };
        let end = self.decide(record, end)?;
        if end.status == "applied" {
            self.transaction.keep()?;
        } else {
            self.transaction.undo()?;
            self.conflicts.roll_back(begun);
        }
        Ok(end)
    }

    /// An internal error rejects one record; the others are evaluated.
    fn write_or_fail(&self, table: &Table, record: &PushRecord) -> Result<RecordOutcome, Fault> {
        match self.write(table, record) {
            Err(Fault::Internal(why)) => {
                if let Some(plan) = self.transaction.plan.filter(|plan| plan.is_together()) {
                    return Err(plan.fail());
                }
                tracing::error!(why, table = table.name, "a plain record failed");
                Ok(RecordOutcome::rejected(
                    "rejected_retryable",
                    "internal_error",
                    "internal error",
                ))
            }
            other => other,
        }
    }

    /// The result of a record, with its row as it is at the end of the push.
    pub(super) fn result(
        &self,
        record: &PushRecord,
        end: RecordOutcome,
    ) -> Result<PushResult, Fault> {
        let mut result = PushResult {
            id: record.id.clone(),
            table_name: record.table_name.clone(),
            operation: record.operation.clone(),
            status: String::from(end.status),
            reason_code: end.reason.map(String::from),
            message: end.message,
            server_version: None,
            server_updated_at: None,
            server_deleted_at: None,
        };
        let Some(table) = self.transaction.schema().table(&record.table_name) else {
            return Ok(result);
        };
        if let Some(row) = end.row {
            let mut version = encode::record(table, &row)?;
            if end.reason == Some("server_won_conflict") {
                // As in v0.1.2: the deletion is a member of its own only where it is the reason.
                version.deleted_at = None;
            }
            result.server_version = Some(version);
        }
        let key = table.key_of(&record.id).filter(|_| end.has_written);
        let written = key.map(|key| self.transaction.stored(table, &key)).transpose()?.flatten();
        let Some(StoredRow { row, .. }) = written.filter(|stored| stored.writable) else {
            return Ok(result);
        };
        if record.operation != "delete" {
            result.server_updated_at = Some(row.version(table));
        } else if let Some(at) = table.deleted_at {
            result.server_deleted_at = row.cell(at).as_text().map(str::to_owned);
        }
        Ok(result)
    }

    fn write(&self, table: &Table, record: &PushRecord) -> Result<RecordOutcome, Fault> {
        let operation = record.operation.as_str();
        let Some(key) = table.key_of(&record.id) else {
            return Ok(RecordOutcome::terminal("record_not_found", "record not found"));
        };
        let stored = self.transaction.stored(table, &key)?;
        let revives = operation == "create" && stored.is_some();
        let before = self.before(stored.as_ref());
        let end = match operation {
            "create" => self.create(table, &key, record, stored),
            "update" => self.update(table, &key, record, stored),
            "delete" => self.delete(table, &key, stored),
            other => Ok(RecordOutcome::terminal(
                "invalid_operation",
                &format!("unknown operation: {other}"),
            )),
        };
        match end {
            Ok(end) => {
                self.record_conflict(table, record, before, &end);
                Ok(end)
            }
            Err(WriteError::Fault(fault)) => Err(fault),
            Err(WriteError::Rule(rule)) if rule.code == code::CONSTRAINT_REFERENCES => {
                Ok(RecordOutcome::waits(operation))
            }
            // The key of another user's row, which this transaction does not see.
            Err(WriteError::Rule(rule)) if operation == "create" && rule.is_key_taken(table) => {
                Ok(no_access())
            }
            Err(WriteError::Rule(rule)) => {
                let reason = if revives { "resurrection_failed" } else { failed(operation).0 };
                Ok(RecordOutcome::terminal(reason, &rule.message))
            }
        }
    }

    fn create(
        &self,
        table: &Table,
        key: &Value,
        record: &PushRecord,
        stored: Option<StoredRow>,
    ) -> Result<RecordOutcome, WriteError> {
        let Some(stored) = stored else {
            let Some(cells) = columns(table, record.data.as_deref(), true) else {
                return Ok(RecordOutcome::terminal("invalid_data", "invalid data format"));
            };
            if bucket::foreign(table, None, &cells, self.transaction.rights).is_some() {
                return Ok(no_access());
            }
            match self.transaction.check_parent(table, &cells) {
                // The parent is missing or another user's: the answer is the same for both.
                Err(ChangeError::Rejected(_)) => return Ok(RecordOutcome::waits("create")),
                Err(ChangeError::Fault(fault)) => return Err(fault.into()),
                Ok(()) => {}
            }
            self.transaction.insert_row(table, key, cells)?;
            return Ok(self.written(table, key, None)?);
        };
        if !stored.writable {
            return Ok(no_access());
        }
        if stored.row.is_deleted(table) {
            return self.overwrite(table, key, record, stored.row, true);
        }
        Ok(RecordOutcome::conflict("record_exists", "record already exists", stored.row))
    }

    fn update(
        &self,
        table: &Table,
        key: &Value,
        record: &PushRecord,
        stored: Option<StoredRow>,
    ) -> Result<RecordOutcome, WriteError> {
        match stored.filter(|stored| stored.writable) {
            None => Ok(RecordOutcome::terminal("record_not_found", "record not found")),
            Some(stored) if stored.row.is_deleted(table) => {
                Ok(RecordOutcome::conflict("record_deleted", "record is deleted", stored.row))
            }
            Some(stored) => self.overwrite(table, key, record, stored.row, false),
        }
    }

    fn overwrite(
        &self,
        table: &Table,
        key: &Value,
        record: &PushRecord,
        row: Row,
        revive: bool,
    ) -> Result<RecordOutcome, WriteError> {
        let won = self.server_wins(table, record, &row)?;
        if won.is_some() && !matches!(table.resolver, Resolve::Custom(_)) {
            return Ok(RecordOutcome::conflict(
                "server_won_conflict",
                won.unwrap_or_default(),
                row,
            ));
        }
        let Some(mut cells) = columns(table, record.data.as_deref(), false) else {
            return Ok(RecordOutcome::terminal("invalid_data", "invalid data format"));
        };
        let before = (!revive).then_some(&row);
        if bucket::foreign(table, before, &cells, self.transaction.rights).is_some() {
            return Ok(no_access());
        }
        if let (Resolve::Custom(resolver), true) =
            (&table.resolver, is_contended(table, record, &row))
        {
            let case = Case {
                table,
                id: &record.id,
                user: self.transaction.user,
                operation: if revive { Operation::Create } else { Operation::Update },
                row: &row,
                seen: &[],
                sent: &cells,
                written_at: None,
                present_at: self.present_at(table, &row)?,
            };
            match case.ask(&**resolver)? {
                Resolved::Apply => {}
                Resolved::Write(others) => cells = others,
                Resolved::Conflict | Resolved::Refuse(_) => {
                    let reason = "the resolver keeps the server's row";
                    return Ok(RecordOutcome::conflict("server_won_conflict", reason, row));
                }
            }
        }
        cells.retain(|(at, value)| !value.is_null() || !encode::is_unsendable(table, &row, *at));
        if revive {
            cells.extend(table.deleted_at.map(|at| (at, Value::Null)));
        }
        if cells.is_empty() {
            return Ok(RecordOutcome::applied(false));
        }
        self.transaction.update_row(table, key, &cells)?;
        Ok(self.written(table, key, (!revive).then_some(&row))?)
    }

    /// The outcome of a written row, unless it is in a bucket that the user does not read. `before`:
    /// the live row that was there.
    fn written(
        &self,
        table: &Table,
        key: &Value,
        before: Option<&Row>,
    ) -> Result<RecordOutcome, Fault> {
        let foreign = self.transaction.foreign_bucket(table, key, before)?;
        Ok(if foreign.is_some() { no_access() } else { RecordOutcome::applied(true) })
    }

    fn delete(
        &self,
        table: &Table,
        key: &Value,
        stored: Option<StoredRow>,
    ) -> Result<RecordOutcome, WriteError> {
        let Some(stored) = stored.filter(|stored| stored.writable) else {
            return Ok(no_access());
        };
        if stored.row.is_deleted(table) {
            let message = Some(String::from("record already deleted"));
            return Ok(RecordOutcome {
                reason: Some("already_deleted"),
                message,
                ..RecordOutcome::applied(false)
            });
        }
        self.transaction.delete_row(table, key)?;
        Ok(RecordOutcome::applied(true))
    }

    /// v0.1.2's last-writer-wins, as in its specification: the reason why the server's row is kept, if it is. With the policy
    /// `server_wins` only an edit of the present version applies. With `last_write_wins` a peer's time is at most now, and the
    /// row is as old as its author's edit.
    fn server_wins(
        &self,
        table: &Table,
        record: &PushRecord,
        row: &Row,
    ) -> Result<Option<&'static str>, Fault> {
        const NEWER: Option<&str> = Some("server version is newer");
        let Some(server) = time::parse(&row.version(table)) else { return Ok(None) };
        let base = record.base_updated_at.as_deref().and_then(time::parse);
        if matches!(table.resolver, Resolve::ServerWins) {
            return Ok(NEWER.filter(|_| base != Some(server)));
        }
        let client = time::parse(&record.client_updated_at).unwrap_or(time::FIRST);
        let (client, present) = if table.policy == Policy::LastWriteWins {
            let tolerance = self.tolerance.max(i64::from(table.skew_tolerance_ms) * 1_000);
            let now = time::parse(self.transaction.now).unwrap_or(i64::MAX);
            (client.min(now).saturating_add(tolerance), self.present_at(table, row)?)
        } else {
            (client.saturating_add(self.tolerance), server)
        };
        Ok(match base {
            Some(base) if base > server => Some("client base version is ahead of server version"),
            Some(base) if base < server && client <= present => NEWER,
            None if client <= present => NEWER,
            _ => None,
        })
    }

    /// The time at which the author wrote the row, if it is known for this version; else the time at which it arrived.
    fn present_at(&self, table: &Table, row: &Row) -> Result<i64, Fault> {
        present_at(self.transaction.writing, table, &row.id(table), row)
    }
}

/// Whether the record was made on another version of the row than the stored one.
fn is_contended(table: &Table, record: &PushRecord, row: &Row) -> bool {
    let base = record.base_updated_at.as_deref().and_then(time::parse);
    base.is_none() || base != time::parse(&row.version(table))
}

/// The columns that a plain peer may write; protected and generated ones are dropped, as v0.1.2 does. `None` if the data
/// are no object, name an unknown column or hold a value of another type.
pub(super) fn columns(
    table: &Table,
    data: Option<&RawValue>,
    create: bool,
) -> Option<Vec<(usize, Value)>> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(data?.get()).ok()?;
    let mut cells = Vec::with_capacity(members.len());
    for (name, raw) in members {
        let at = table.column(&name)?;
        let column = table.columns.get(at)?;
        let is_fixed = at == table.key || (!create && table.parent_column() == Some(at));
        if column.protected || column.generated || is_fixed {
            continue;
        }
        cells.push((at, codec::decode(raw.get(), column.kind).ok()?));
    }
    Some(cells)
}

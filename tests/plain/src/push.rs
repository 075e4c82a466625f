//! Pushes: all records in order, in one transaction.
//!
//! The server does not remember pushes, so a repeated record is evaluated again. One record that
//! the database rejects aborts the transaction, and the response is 500 for the whole push.

use serde_json::Value;

use crate::answer::{Record, Verdict};
use crate::database::{Database, Event, Refusal, Row, Transaction, Values, Writer, instant, json};
use crate::request::{Change, Data};
use crate::resolve::{Winner, resolve};
use crate::server::PlainServer;
use crate::table::Table;
use crate::time;

/// How a push ends.
pub(crate) enum Outcome {
    /// It can be committed.
    Verdicts(Vec<Verdict>, Vec<Verdict>),
    /// The database or the app's hook rejected it; nothing is written.
    Aborted,
    /// The process crashed on `data: null` in a create: nothing is written, and there is no
    /// response.
    Panicked,
}

/// A crash on `data: null`.
struct Panic;

impl PlainServer {
    /// Applies the records and commits, unless the database or the app's hook rejects them.
    pub(crate) fn carry_out(&mut self, user: &str, changes: &[Change]) -> Outcome {
        let writer = Writer::Client { user, secured: self.config.row_level_security };
        let mut transaction = Transaction {
            tables: &self.config.tables,
            database: self.database.clone(),
            events: Vec::new(),
            now: self.clock.read(),
            aborted: false,
            clock: &self.clock,
            ids: &mut self.ids,
            writer,
        };
        let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
        for change in changes {
            if self.poison.iter().any(|poison| poison.hits(change)) {
                transaction.aborted = true;
            }
            let push = Push { user, change, skew: i128::from(self.config.skew_micros) * 1000 };
            match push.apply(&mut transaction) {
                Err(Panic) => return Outcome::Panicked,
                Ok(verdict) if verdict.status == "applied" => accepted.push(verdict),
                Ok(verdict) => rejected.push(verdict),
            }
        }
        if transaction.aborted || self.config.veto && !accepted.is_empty() {
            return Outcome::Aborted;
        }
        let (database, events) = (transaction.database, transaction.events);
        self.commit(database, events);
        Outcome::Verdicts(accepted, rejected)
    }

    /// Commits a transaction and passes its events to the consumer.
    pub(crate) fn commit(&mut self, database: Database, events: Vec<Event>) {
        self.note_written(&events);
        self.database = database;
        self.log.waiting.extend(events);
        if !self.log.lagging {
            self.log.consume(&self.config.tables, &self.database, usize::MAX);
        }
    }
}

/// One record being applied.
struct Push<'a> {
    user: &'a str,
    change: &'a Change,
    skew: i128,
}

impl Push<'_> {
    fn apply(&self, tx: &mut Transaction<'_>) -> Result<Verdict, Panic> {
        let Some(table) = tx.tables.iter().find(|table| table.name == self.change.table) else {
            return Ok(self.terminal("table_not_registered", "table not registered for sync"));
        };
        if !table.pushable() {
            return Ok(self.terminal("table_read_only", "table is read-only"));
        }
        if !matches!(self.change.operation.as_str(), "create" | "update" | "delete") {
            let message = format!("unknown operation: {}", self.change.operation);
            return Ok(self.terminal("invalid_operation", &message));
        }
        // An aborted transaction rejects every statement, also a SELECT.
        let found = if tx.aborted {
            Err(Refusal::sql("the transaction is aborted"))
        } else {
            tx.select(table, &self.change.id)
        };
        let Ok(row) = found else {
            return Ok(self.retryable("internal_error", "internal error"));
        };
        match self.change.operation.as_str() {
            "create" => self.create(tx, table, row),
            "update" => Ok(self.update(tx, table, row)),
            _ => Ok(self.delete(tx, table, row)),
        }
    }

    fn create(
        &self,
        tx: &mut Transaction<'_>,
        table: &Table,
        row: Option<Row>,
    ) -> Result<Verdict, Panic> {
        match row {
            Some(row) if instant(table, &row, "deleted_at").is_some() => {
                return Ok(self.update(tx, table, Some(row)));
            }
            Some(row) => {
                return Ok(self.conflict(
                    "record_exists",
                    "record already exists",
                    table,
                    &row,
                    false,
                ));
            }
            None => {}
        }
        let mut values = match &self.change.data {
            Data::Invalid => return Ok(self.terminal("invalid_data", "invalid data format")),
            Data::Null => return Err(Panic),
            Data::Values(values) => values.clone(),
        };
        if let Some(owner) = &table.owner {
            values.insert(owner.clone(), Value::from(self.user));
        }
        values.insert("id".to_owned(), Value::from(self.change.id.as_str()));
        values.retain(|name, _| !table.is_protected_at_insert(name));
        Ok(match tx.insert(table, &values) {
            Ok(row) => self.applied(table, &row),
            Err(_) => self.retryable("create_failed", "failed to create record"),
        })
    }

    fn update(&self, tx: &mut Transaction<'_>, table: &Table, row: Option<Row>) -> Verdict {
        let Some(row) = row else { return self.terminal("record_not_found", "record not found") };
        let deleted = instant(table, &row, "deleted_at").is_some();
        if deleted && self.change.operation != "create" {
            return self.conflict("record_deleted", "record is deleted", table, &row, true);
        }
        let server = i128::from(instant(table, &row, "updated_at").unwrap_or_default()) * 1000;
        let winner = resolve(self.change.client_time + self.skew, server, self.change.base);
        if let Winner::Server(reason) = winner {
            return self.conflict("server_won_conflict", reason, table, &row, false);
        }
        let mut values = match &self.change.data {
            Data::Invalid => return self.terminal("invalid_data", "invalid data format"),
            Data::Null => Values::new(),
            Data::Values(values) => values.clone(),
        };
        values.retain(|name, _| !table.is_protected(name));
        let mut verdict = self.verdict("applied");
        if !values.is_empty() {
            match tx.update(table, &self.change.id, &values) {
                Ok(row) => verdict = self.applied(table, &row),
                Err(_) => return self.retryable("update_failed", "failed to update record"),
            }
        }
        if deleted {
            let alive = Values::from_iter([("deleted_at".to_owned(), Value::Null)]);
            match tx.update(table, &self.change.id, &alive) {
                Ok(row) => verdict = self.applied(table, &row),
                Err(_) => {
                    return self.retryable("resurrection_failed", "failed to resurrect record");
                }
            }
        }
        verdict
    }

    fn delete(&self, tx: &mut Transaction<'_>, table: &Table, row: Option<Row>) -> Verdict {
        let Some(row) = row else {
            return self.terminal("record_not_found", "record not found or not accessible");
        };
        if instant(table, &row, "deleted_at").is_some() {
            let mut verdict = self.verdict("applied");
            verdict.reason_code = Some("already_deleted");
            verdict.message = Some("record already deleted".to_owned());
            return verdict;
        }
        let gone = Value::from(time::in_row(tx.now));
        let gone = Values::from_iter([("deleted_at".to_owned(), gone)]);
        match tx.update(table, &self.change.id, &gone) {
            Ok(row) => {
                let mut verdict = self.verdict("applied");
                verdict.server_deleted_at =
                    instant(table, &row, "deleted_at").map(time::in_message);
                verdict
            }
            Err(_) => self.retryable("delete_failed", "failed to delete record"),
        }
    }

    fn verdict(&self, status: &'static str) -> Verdict {
        Verdict {
            id: self.change.id.clone(),
            table_name: self.change.table.clone(),
            operation: self.change.operation.clone(),
            status,
            ..Verdict::default()
        }
    }

    fn applied(&self, table: &Table, row: &Row) -> Verdict {
        let mut verdict = self.verdict("applied");
        verdict.server_updated_at = instant(table, row, "updated_at").map(time::in_message);
        verdict
    }

    fn refused(&self, status: &'static str, code: &'static str, message: &str) -> Verdict {
        let mut verdict = self.verdict(status);
        verdict.reason_code = Some(code);
        verdict.message = Some(message.to_owned());
        verdict
    }

    fn terminal(&self, code: &'static str, message: &str) -> Verdict {
        self.refused("rejected_terminal", code, message)
    }

    fn retryable(&self, code: &'static str, message: &str) -> Verdict {
        self.refused("rejected_retryable", code, message)
    }

    /// Only a rejected update of a deleted row has a member with the deletion time.
    fn conflict(
        &self,
        code: &'static str,
        message: &str,
        table: &Table,
        row: &Row,
        deleted: bool,
    ) -> Verdict {
        let mut verdict = self.refused("conflict", code, message);
        let mut record = record(table, row, json(table, row, None));
        record.deleted_at = record.deleted_at.filter(|_| deleted);
        verdict.server_version = Some(record);
        verdict
    }
}

/// A row in a response.
pub(crate) fn record(table: &Table, row: &Row, data: String) -> Record {
    let null = || serde_json::value::RawValue::NULL.to_owned();
    Record {
        id: row[0].text().unwrap_or_default(),
        table_name: table.name.clone(),
        data: serde_json::value::RawValue::from_string(data).unwrap_or_else(|_| null()),
        updated_at: time::in_message(instant(table, row, "updated_at").unwrap_or_default()),
        deleted_at: instant(table, row, "deleted_at").map(time::in_message),
    }
}

//! One compiled statement of the app, run: what it captured stands or falls with its rows (D1, B26).
//!
//! SQLite undoes rows and not our memory. So the capture is marked before each statement, and a failed one is taken back by
//! as little as will do: nothing, if it captured nothing; a cut, if SQLite undid it whole; a savepoint, where rules are
//! checked after the statement or a trigger of the app takes part. Where none of these is possible (`OR FAIL`), the
//! transaction fails.

use rusqlite::{Connection, Rows, Statement};

use crate::ending::Ended;
use crate::engine::capture::guard::Capture;
use crate::engine::capture::rule;
use crate::engine::change::Touched;
use crate::engine::database::authorizer::Footprint;
use crate::engine::database::{Database, OURS, fault};
use crate::engine::{ddl, statement};
use crate::error::{Error, Result};
use crate::value::Value;

/// The parts of an engine that a statement needs.
pub(super) struct Run<'a> {
    pub(super) db: &'a Database,
    pub(super) capture: &'a Capture,
    pub(super) touched: &'a mut Touched,
    /// Whether a failure fails the transaction anyway.
    pub(super) single: bool,
    pub(super) ended: &'a mut Option<Ended>,
}

/// Where things stood before a statement.
struct Before {
    mark: usize,
    changes: u64,
    savepoint: bool,
}

impl Run<'_> {
    /// Runs a statement; `step` walks through its rows.
    pub(super) fn run<T>(
        &mut self,
        footprint: &Footprint,
        prepared: &mut Statement<'_>,
        params: &[Value],
        step: impl FnOnce(&mut Rows<'_>, &Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let conn = self.db.conn();
        let guarded = footprint.checked || footprint.app_trigger || footprint.ddl;
        let before = Before {
            mark: self.capture.mark(),
            changes: conn.total_changes(),
            savepoint: guarded && !self.single,
        };
        if before.savepoint {
            ours(self.db, "SAVEPOINT rejoin_statement")?;
        }
        let stepped = {
            let _app = self.db.gate.app();
            statement::bind(prepared, params).and_then(|()| {
                let mut rows = prepared.raw_query();
                step(&mut rows, conn).map_err(|error| self.explain(error))
            })
        };
        match stepped.and_then(|value| self.check(footprint, &before).map(|()| value)) {
            Ok(value) => {
                if before.savepoint {
                    ours(self.db, "RELEASE rejoin_statement")?;
                }
                footprint.local.iter().for_each(|table| self.touched.table(table));
                if footprint.ddl {
                    self.touched.table("sqlite_schema");
                }
                Ok(value)
            }
            Err(error) => Err(self.take_back(footprint, &before, error)),
        }
    }

    fn check(&self, footprint: &Footprint, before: &Before) -> Result<()> {
        if footprint.checked {
            rule::check(self.db, self.capture, before.mark)?;
        }
        if footprint.ddl {
            ddl::verify(self.db, footprint)?;
        }
        Ok(())
    }

    /// A function of ours knows better why it failed than SQLite, which carries only text.
    fn explain(&self, error: rusqlite::Error) -> Error {
        match self.capture.take_failure() {
            Some(failure) => failure,
            None => statement::explain(error, &self.db.gate),
        }
    }

    /// Undoes a failed statement; the error to answer.
    fn take_back(&mut self, footprint: &Footprint, before: &Before, error: Error) -> Error {
        let conn = self.db.conn();
        if conn.is_autocommit() {
            self.capture.clear();
            *self.ended = Some(Ended::BySqlite(error.to_string()));
            return error;
        }
        if before.savepoint {
            let undone = ours(self.db, "ROLLBACK TO rejoin_statement")
                .and_then(|()| ours(self.db, "RELEASE rejoin_statement"));
            self.capture.cut(before.mark);
            return undone.err().unwrap_or(error);
        }
        if self.capture.mark() == before.mark {
            return error;
        }
        if conn.total_changes() == before.changes && !footprint.app_trigger {
            self.capture.cut(before.mark);
            return error;
        }
        let ended = Ended::Partial(error.to_string());
        // What a rule or a check after the statement refused was whole; only the transaction's end takes it back.
        let error = if footprint.checked && self.single { error } else { ended.error() };
        *self.ended = Some(ended);
        error
    }
}

/// Runs a fixed statement of the engine.
pub(super) fn ours(db: &Database, sql: &str) -> Result<()> {
    db.conn()
        .prepare_cached(&[OURS, sql].concat())
        .and_then(|mut statement| statement.raw_execute())
        .map(drop)
        .map_err(fault::of)
}

//! Runs one compiled statement of the app: its captured changes are kept or removed together with
//! its rows.
//!
//! SQLite rolls back rows, not our memory. So the capture buffer is marked before each statement,
//! and a failed statement is reverted by the cheapest sufficient means: nothing, if it captured
//! nothing; a cut of the buffer, if SQLite rolled it back whole; a savepoint, if rules are checked
//! after the statement or an app trigger takes part. If none of these is possible (`OR FAIL`), the
//! transaction fails.

use rusqlite::{Connection, Rows, Statement};

use crate::ending::Ended;
use crate::engine::capture::guard::Capture;
use crate::engine::capture::rule;
use crate::engine::change::Touched;
use crate::engine::database::authorizer::{Footprint, Recursion};
use crate::engine::database::user_version::USER_VERSION;
use crate::engine::database::{Database, OURS, module};
use crate::engine::meta::set_meta;
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

/// State before a statement.
struct Before {
    mark: usize,
    changes: u64,
    savepoint: bool,
    /// Whether the statement is an EXPLAIN, which does nothing.
    explains: bool,
}

impl Run<'_> {
    /// Runs a statement; `step` iterates over its rows.
    pub(super) fn run<T>(
        &mut self,
        footprint: &Footprint,
        prepared: &mut Statement<'_>,
        params: &[Value],
        step: impl FnOnce(&mut Rows<'_>, &Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let conn = self.db.conn();
        // A trigger of the app writes local-only tables: on its own, nothing that was captured.
        let guarded =
            footprint.checked || footprint.app_trigger && footprint.synced || footprint.ddl;
        let before = Before {
            mark: self.capture.mark(),
            changes: conn.total_changes(),
            savepoint: guarded && !self.single,
            explains: prepared.is_explain() != 0,
        };
        if before.savepoint {
            ours(self.db, "SAVEPOINT rejoin_statement")?;
        }
        let stepped = {
            let _app = self.db.gate.app();
            let replaces = footprint.recursion == Recursion::Replace;
            let _replacing = replaces.then(|| self.capture.replacing());
            statement::bind(prepared, params).and_then(|()| {
                let mut rows = prepared.raw_query();
                step(&mut rows, conn).map_err(|error| self.explain(error))
            })
        };
        // What OR FAIL has written before it failed stays in local-only tables.
        if stepped.is_ok() || conn.total_changes() != before.changes {
            footprint.local.iter().for_each(|table| self.touched.table(table));
        }
        match stepped.and_then(|value| self.check(footprint, &before).map(|()| value)) {
            Ok(value) => {
                if before.savepoint {
                    ours(self.db, "RELEASE rejoin_statement")?;
                }
                if footprint.ddl {
                    self.touched.table("sqlite_schema");
                }
                Ok(value)
            }
            Err(error) => {
                let error = module::named(conn, error, footprint);
                Err(self.revert_statement(footprint, &before, error))
            }
        }
    }

    fn check(&self, footprint: &Footprint, before: &Before) -> Result<()> {
        if footprint.checked {
            rule::check(self.db, self.capture, before.mark)?;
        }
        if footprint.ddl {
            ddl::verify(self.db, footprint)?;
        }
        match footprint.user_version.filter(|_| !before.explains) {
            Some(number) => set_meta(self.db.conn(), USER_VERSION, Some(&number.to_string())),
            None => Ok(()),
        }
    }

    /// Prefers the error that our function recorded: SQLite passes on only its text.
    fn explain(&self, error: rusqlite::Error) -> Error {
        match self.capture.take_failure() {
            Some(failure) => failure,
            None => statement::explain(error, &self.db.gate),
        }
    }

    /// Rolls back a failed statement and returns the error to report.
    fn revert_statement(&mut self, footprint: &Footprint, before: &Before, error: Error) -> Error {
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
        // A statement that failed a check after it has completed: only the end of the transaction
        // rolls it back.
        let error = if footprint.checked && self.single { error } else { ended.error() };
        *self.ended = Some(ended);
        error
    }
}

/// Runs a fixed statement of the engine.
pub(super) fn ours(db: &Database, sql: &str) -> Result<()> {
    db.conn().prepare_cached(&[OURS, sql].concat())?.raw_execute()?;
    Ok(())
}

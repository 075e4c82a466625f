//! Transactions: the engine opens, commits and rolls back every one (D1).
//!
//! A write of the app and the mutation that records it commit together (I1). Whatever fails, rows, capture and queue go
//! back to the same point; an observer hears of a commit once, after it.

use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::{OURS, fault};
use crate::engine::statement;
use crate::error::{Error, Result};
use crate::row_buffer::{Encoder, RowBuffer};
use crate::value::Value;

/// A transaction of the app, at hand while [`Engine::transaction`] runs its closure.
#[derive(Debug)]
pub struct Transaction<'a> {
    engine: &'a mut Engine,
    depth: u32,
    ended: bool,
}

impl Engine {
    /// Runs `body` in one transaction: all of it, or nothing. What it writes to synced tables becomes one mutation.
    ///
    /// # Errors
    /// The body's; the transaction was rolled back.
    pub fn transaction<T>(
        &mut self,
        body: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.in_transaction(Origin::Local, |engine| {
            let mut tx = Transaction { engine, depth: 0, ended: false };
            let result = body(&mut tx)?;
            if tx.ended { Err(ended()) } else { Ok(result) }
        })
    }

    /// Runs the engine's own writes in one transaction: nothing is captured, no rule is checked. What `body` notes in
    /// `self.touched` is told to the observer after the commit.
    pub(crate) fn write<T>(
        &mut self,
        origin: Origin,
        body: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.in_transaction(origin, body)
    }

    fn in_transaction<T>(
        &mut self,
        origin: Origin,
        body: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.db.awake()?;
        self.run_ours("BEGIN IMMEDIATE")?;
        let open = Open { engine: self };
        let result = body(open.engine)?;
        open.engine.db.awake()?;
        open.engine.run_ours("COMMIT")?;
        open.engine.queue.committed();
        if let Some(change) = open.engine.touched.take(origin)
            && let Some(observer) = &mut open.engine.observer
        {
            observer(&change);
        }
        Ok(result)
    }

    /// Runs a fixed statement of the engine.
    pub(crate) fn run_ours(&self, sql: &str) -> Result<()> {
        self.db
            .conn()
            .prepare_cached(&format!("{OURS}{sql}"))
            .and_then(|mut statement| statement.raw_execute())
            .map(drop)
            .map_err(fault::of)
    }
}

/// Rolls back when it is dropped before the commit: by an error, or by a panic of the body.
struct Open<'a> {
    engine: &'a mut Engine,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.engine.db.conn().is_autocommit() {
            return;
        }
        if let Err(error) = self.engine.run_ours("ROLLBACK") {
            tracing::error!(%error, "rollback failed");
        }
        self.engine.touched.take(Origin::Local);
        self.engine.queue.rolled_back();
        self.engine.footprints.clear();
    }
}

fn ended() -> Error {
    Error::Refused {
        what: String::from("the transaction"),
        why: String::from("an earlier statement of it ended it; everything was rolled back"),
    }
}

impl Transaction<'_> {
    /// Runs one statement; the rows that it changed.
    pub fn execute(&mut self, sql: &str, params: &[Value]) -> Result<usize> {
        self.run(sql, params, |rows, conn| {
            while rows.next()?.is_some() {}
            Ok(usize::try_from(conn.changes()).unwrap_or(usize::MAX))
        })
    }

    /// Runs one statement and reads its rows; it may be an `INSERT ... RETURNING`.
    pub fn query<T>(
        &mut self,
        sql: &str,
        params: &[Value],
        mut read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.run(sql, params, |rows, _| {
            let mut out = Vec::new();
            while let Some(row) = rows.next()? {
                out.push(read(row)?);
            }
            Ok(out)
        })
    }

    /// Runs one statement; its rows as one buffer. It may be an `INSERT ... RETURNING`.
    pub fn rows(&mut self, sql: &str, params: &[Value]) -> Result<RowBuffer> {
        self.run(sql, params, |rows, _| {
            let names = |rows: &rusqlite::Rows<'_>| {
                rows.as_ref().map(|statement| Encoder::new(statement.column_names()))
            };
            let mut encoder = names(rows).map_or_else(|| Ok(Encoder::new([])), Ok);
            let mut first = true;
            while let Some(row) = rows.next()? {
                // The first step compiles anew what a schema change made stale; the names follow it.
                if std::mem::take(&mut first) {
                    encoder = Ok(Encoder::new(row.as_ref().column_names()));
                }
                encoder = encoder.and_then(|mut encoder| encoder.step(row).map(|()| encoder));
            }
            Ok(encoder)
        })?
        .and_then(Encoder::finish)
    }

    /// The first row, if there is one.
    pub fn query_one<T>(
        &mut self,
        sql: &str,
        params: &[Value],
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.query(sql, params, read)?.into_iter().next())
    }

    /// Runs several statements without parameters.
    pub fn execute_batch(&mut self, sql: &str) -> Result<()> {
        self.execute(sql, &[]).map(drop)
    }

    /// Runs `body` in a savepoint: if it fails, what it wrote is undone and the transaction goes on.
    pub fn savepoint<T>(
        &mut self,
        body: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let name = format!("rejoin_{}", self.depth);
        self.engine.run_ours(&format!("SAVEPOINT {name}"))?;
        let mut inner =
            Transaction { engine: &mut *self.engine, depth: self.depth + 1, ended: false };
        let result = body(&mut inner);
        self.ended |= inner.ended;
        if self.ended {
            return result;
        }
        if result.is_err() {
            self.engine.run_ours(&format!("ROLLBACK TO {name}"))?;
        }
        self.engine.run_ours(&format!("RELEASE {name}"))?;
        result
    }

    fn run<T>(
        &mut self,
        sql: &str,
        params: &[Value],
        step: impl FnOnce(&mut rusqlite::Rows<'_>, &rusqlite::Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        if self.ended {
            return Err(ended());
        }
        self.engine.db.awake()?;
        let Engine { db, footprints, .. } = &mut *self.engine;
        let footprint = footprints.of(db.conn(), &db.gate, sql)?;
        let _app = db.gate.app();
        let mut prepared = statement::prepare(db.conn(), &db.gate, sql)?;
        statement::bind(&mut prepared, params)?;
        let mut rows = prepared.raw_query();
        let result =
            step(&mut rows, db.conn()).map_err(|error| statement::explain(error, &db.gate));
        if footprint.ddl {
            footprints.clear();
        }
        result
    }
}

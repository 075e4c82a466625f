//! Transactions: the engine opens, commits and rolls back each of them.
//!
//! A write of the app and the mutation that records it commit together. On any failure rows,
//! capture and queue return to the same point. Observers are notified once per commit, after it.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::fallible_iterator::FallibleIterator as _;

use crate::death;
use crate::ending::Ended;
use crate::engine::Engine;
use crate::engine::capture::guard::Capture;
use crate::engine::change::{Origin, Touched};
use crate::engine::database::authorizer::Footprint;
use crate::engine::database::{Database, Triggers};
use crate::engine::ddl;
use crate::engine::entries;
use crate::engine::queue::{self, Intent, NewMutation, NextPosition};
use crate::engine::run::{self, Run};
use crate::engine::schema::model::Schema;
use crate::engine::search;
use crate::engine::statement::{self, Footprints};
use crate::error::Result;
use crate::ids::{MutationId, Seq};
use crate::row_buffer::{Encoder, RowBuffer};
use crate::value::Value;
use crate::writer::Transact;

/// A transaction of the app; exists while [`Engine::transaction`] runs its closure.
#[derive(Debug)]
pub struct EngineTransaction<'a> {
    pub(crate) parts: StatementContext<'a>,
    depth: u32,
    /// Whether a failed statement fails the transaction anyway, so that no savepoint is needed.
    single: bool,
    ended: Option<Ended>,
}

/// What a statement of the app needs of an engine.
#[derive(Debug)]
pub(crate) struct StatementContext<'a> {
    pub(crate) db: &'a Database,
    pub(crate) capture: &'a Arc<Capture>,
    pub(crate) schema: &'a Schema,
    pub(crate) footprints: &'a mut Footprints,
    pub(crate) touched: &'a mut Touched,
}

/// A part of a transaction that can be rolled back alone.
#[derive(Debug)]
pub(crate) struct Savepoint {
    depth: u32,
    /// Length of the capture buffer at the start.
    mark: usize,
    single: bool,
}

impl Engine {
    /// Runs `body` in one transaction. Its writes to synced tables become one mutation.
    ///
    /// # Errors
    /// The body's; the transaction was rolled back.
    pub fn transaction<T>(
        &mut self,
        body: impl FnOnce(&mut EngineTransaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.local(false, body)
    }

    /// A transaction of one statement: if that fails, all of it is rolled back.
    pub(crate) fn single<T>(
        &mut self,
        body: impl FnOnce(&mut EngineTransaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.local(true, body)
    }

    fn local<T>(
        &mut self,
        single: bool,
        body: impl FnOnce(&mut EngineTransaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.in_local_transaction(|engine| {
            let result = engine.within(single, body)?;
            engine.flush(None)?;
            Ok(result)
        })
    }

    /// Runs one statement in the open transaction of a local write, as a mutation of its own.
    pub(crate) fn execute_within(&mut self, sql: &str, params: &[Value]) -> Result<usize> {
        let count = self.within(true, |tx| tx.execute(sql, params))?;
        self.flush(None)?;
        Ok(count)
    }

    /// Whether a statement may share its transaction with others: it must not depend on the commits
    /// before it, nor on state that a rollback leaves, and its failure must not wait for the commit,
    /// as a deferred foreign key of a local-only table does.
    pub(crate) fn shares(&mut self, sql: &str) -> bool {
        let Self { db, footprints, .. } = self;
        footprints.ready(db, sql).is_ok_and(|footprint| footprint.shares())
    }

    /// Runs `body` in the open transaction.
    pub(crate) fn within<T>(
        &mut self,
        single: bool,
        body: impl FnOnce(&mut EngineTransaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut tx = EngineTransaction::new(self.parts(), single);
        let result = body(&mut tx)?;
        match &tx.ended {
            Some(ended) => Err(ended.error()),
            None => Ok(result),
        }
    }

    /// Runs a local write in one transaction; `body` must call [`Engine::flush`] at its end.
    pub(crate) fn in_local_transaction<T>(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.in_transaction(Origin::Local, Triggers::Fire, body)
    }

    /// Compiles statements without running them; the transaction is rolled back. Triggers are on: what
    /// a statement reads and writes by cascades is known only with them.
    pub(crate) fn compile_with(
        &mut self,
        body: impl FnOnce(&mut EngineTransaction<'_>),
    ) -> Result<()> {
        self.db.set_triggers(Triggers::Fire)?;
        body(&mut EngineTransaction::new(self.parts(), false));
        Ok(())
    }

    pub(crate) fn parts(&mut self) -> StatementContext<'_> {
        let Self { db, capture, schema, footprints, touched, .. } = self;
        StatementContext { db, capture, schema, footprints, touched }
    }

    /// Runs the engine's own writes in one transaction: nothing is captured, no rule is checked.
    /// After the commit, observers receive what `body` has added to `self.touched`.
    pub(crate) fn write<T>(
        &mut self,
        origin: Origin,
        body: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.write_with(origin, Triggers::Fire, body)
    }

    /// Like [`Engine::write`]; triggers may be off if many rows are written and the app has none.
    pub(crate) fn write_with<T>(
        &mut self,
        origin: Origin,
        triggers: Triggers,
        body: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.in_transaction(origin, triggers, |engine| {
            let _off = engine.capture.off();
            engine.touched.by_engine();
            engine.footprints.prepare_base(&engine.db)?;
            body(engine)
        })
    }

    pub(crate) fn in_transaction<T>(
        &mut self,
        origin: Origin,
        triggers: Triggers,
        body: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.db.awake()?;
        if triggers == Triggers::Fire {
            self.db.set_triggers(triggers)?;
        }
        if !self.db.conn().is_autocommit() {
            // The previous rollback failed, because memory was short: without this no transaction
            // could begin any more.
            self.run_ours("ROLLBACK")?;
        }
        self.run_ours("BEGIN IMMEDIATE").map_err(|error| self.db.named(error))?;
        self.capture.clear();
        let mut open = Open { engine: self, committed: false };
        if triggers != Triggers::Fire {
            open.engine.db.set_triggers(triggers)?;
        }
        let result = body(open.engine)?;
        if open.engine.db.gate.has_dropped_trigger() {
            search::restore_triggers(open.engine)?;
        }
        if triggers != Triggers::Rest {
            let Engine { db, footprints, touched, .. } = &mut *open.engine;
            footprints.add_filled(db, touched)?;
        }
        open.engine.db.awake()?;
        death::pass(death::Failpoint::BeforeCommit);
        open.engine.run_ours("COMMIT")?;
        death::pass(death::Failpoint::AfterCommit);
        open.committed = true;
        open.engine.queue.committed();
        open.engine.log.committed();
        let Engine { queue, touched, .. } = &mut *open.engine;
        if queue.take_entries(touched.take_entries()) {
            touched.queue();
        }
        if let Some(change) = open.engine.touched.take(origin)
            && let Some(observer) = &mut open.engine.observer
        {
            observer(&change);
        }
        Ok(result)
    }

    /// Runs a fixed statement of the engine.
    pub(crate) fn run_ours(&self, sql: &str) -> Result<()> {
        run::ours(&self.db, sql)
    }
}

impl Transact for Engine {
    fn transact<R>(&mut self, body: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        self.in_local_transaction(body)
    }

    fn elapsed(&self) -> Duration {
        self.host.elapsed()
    }
}

/// What the captured changes of a transaction became.
pub(crate) enum Flushed {
    Mutation(Seq, MutationId),
    /// Of the log.
    Entry(MutationId),
}

impl Flushed {
    pub(crate) fn id(&self) -> MutationId {
        match self {
            Self::Mutation(_, id) | Self::Entry(id) => *id,
        }
    }
}

impl Engine {
    /// Appends the captured changes to the queue as one mutation, in the transaction of the rows:
    /// of plain SQL, or of an action, whose position is already known. Changes of tables of the log become an
    /// entry. `None` if nothing was captured.
    pub(crate) fn flush(
        &mut self,
        action: Option<(NextPosition, Intent)>,
    ) -> Result<Option<Flushed>> {
        ddl::no_temporary(&self.db)?;
        let schema_version =
            self.schema.manifest.as_ref().map_or(0, |manifest| manifest.schema_version);
        let recorded = self.capture.compose(schema_version)?;
        self.capture.clear();
        if recorded.rows.is_empty() {
            return Ok(None);
        }
        let is_of_log = entries::is_of_log(&self.schema, &recorded)?;
        let rows = Arc::clone(&recorded.rows);
        let flushed = if is_of_log {
            entries::append(self, &recorded, action).map(Flushed::Entry)?
        } else {
            recorded.check_size()?;
            let Self { db, queue, host, .. } = self;
            let (place, intent) = match action {
                Some((place, intent)) => (place, Some(intent)),
                None => (queue.place(&**host), None),
            };
            let seq = queue::append(db.conn(), queue, place, &NewMutation { recorded, intent })?;
            Flushed::Mutation(seq, place.id)
        };
        // The effect of a large transaction is freed before its keys are copied.
        for (row, _) in rows.iter() {
            if let Some(table) = self.schema.table(row.table) {
                self.touched.row(&table.name, row.key.clone());
            }
        }
        self.touched.queue();
        Ok(Some(flushed))
    }
}

/// Rolls back if dropped before the commit, by an error or a panic of the body.
struct Open<'a> {
    engine: &'a mut Engine,
    committed: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        if !self.engine.db.conn().is_autocommit()
            && let Err(error) = self.engine.run_ours("ROLLBACK")
        {
            tracing::error!(%error, "rollback failed");
        }
        self.engine.touched.take(Origin::Local);
        self.engine.capture.clear();
        self.engine.queue.rolled_back();
        self.engine.log.rolled_back();
        self.engine.footprints.clear();
    }
}

impl<'a> EngineTransaction<'a> {
    pub(crate) fn new(parts: StatementContext<'a>, single: bool) -> Self {
        Self { parts, depth: 0, single, ended: None }
    }
}

impl EngineTransaction<'_> {
    /// Runs one statement; returns the number of changed rows.
    pub fn execute(&mut self, sql: &str, params: &[Value]) -> Result<usize> {
        let before = self.parts.db.conn().total_changes();
        self.run(sql, params, |rows, conn, footprint| {
            drain(rows)?;
            // SQLite's counter keeps the value of an earlier statement if this one changes no row; a
            // virtual table that is created counts its own rows.
            let has_changed = conn.total_changes() != before && !footprint.ddl;
            Ok(if has_changed { usize::try_from(conn.changes()).unwrap_or(usize::MAX) } else { 0 })
        })
    }

    /// Runs one statement and reads its rows; it may be an `INSERT ... RETURNING`.
    pub fn query<T>(
        &mut self,
        sql: &str,
        params: &[Value],
        mut read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.run(sql, params, |rows, _, _| {
            let mut out = Vec::new();
            while let Some(row) = rows.next()? {
                out.push(read(row)?);
            }
            Ok(out)
        })
    }

    /// Runs one statement; returns its rows as one buffer. It may be an `INSERT ... RETURNING`.
    pub fn rows(&mut self, sql: &str, params: &[Value]) -> Result<RowBuffer> {
        self.run(sql, params, |rows, _, _| {
            let names = |rows: &rusqlite::Rows<'_>| rows.as_ref().map(Encoder::of);
            let mut encoder = names(rows).map_or_else(|| Ok(Encoder::new([])), Ok);
            let mut first = true;
            while let Some(row) = rows.next()? {
                // The first step recompiles the statement after a schema change; names are read
                // after it.
                if std::mem::take(&mut first) {
                    encoder = Ok(Encoder::of(row.as_ref()));
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

    /// Runs several statements without parameters, in order; stops at the first that fails.
    pub fn execute_batch(&mut self, sql: &str) -> Result<()> {
        self.usable()?;
        let StatementContext { db, footprints, capture, touched, .. } = &mut self.parts;
        let mut run = Run { db, capture, touched, single: false, ended: &mut self.ended };
        let mut batch = rusqlite::Batch::new(db.conn(), sql);
        loop {
            db.awake()?;
            let (found, footprint) =
                footprints.compile(db.conn(), &db.gate, sql, || batch.next())?;
            let Some(mut prepared) = found else { return Ok(()) };
            if footprints.prepare_triggers(db, &footprint)? {
                // SQLite compiles it again, with triggers that the footprint lacks.
                run.touched.by_engine();
            }
            run.run(&footprint, &mut prepared, &[], |rows, _| drain(rows))?;
            if footprint.ddl {
                footprints.clear();
            }
        }
    }

    /// Runs `body` in a savepoint: if it fails, its writes are rolled back and the transaction
    /// continues.
    pub fn savepoint<T>(
        &mut self,
        body: impl FnOnce(&mut EngineTransaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let savepoint = self.open_savepoint()?;
        let result = body(self);
        self.close_savepoint(&savepoint, result.is_ok())?;
        result
    }

    /// Begins a savepoint, for callers without a closure.
    pub(crate) fn open_savepoint(&mut self) -> Result<Savepoint> {
        self.usable()?;
        self.run_ours(&format!("SAVEPOINT rejoin_{}", self.depth))?;
        let savepoint = Savepoint {
            depth: self.depth,
            mark: self.parts.capture.mark(),
            single: std::mem::replace(&mut self.single, false),
        };
        self.depth += 1;
        Ok(savepoint)
    }

    /// Ends a savepoint and those inside it, and keeps or rolls back its writes. If the whole
    /// transaction has ended, there is no savepoint any more, which is no error here.
    pub(crate) fn close_savepoint(&mut self, savepoint: &Savepoint, keep: bool) -> Result<()> {
        let &Savepoint { depth, mark, single } = savepoint;
        (self.depth, self.single) = (depth, single);
        if self.ended.is_some() {
            return Ok(());
        }
        if !keep {
            self.run_ours(&format!("ROLLBACK TO rejoin_{depth}"))?;
            self.parts.capture.cut(mark);
            // The rollback may have changed the schema.
            self.parts.footprints.clear();
        }
        self.run_ours(&format!("RELEASE rejoin_{depth}"))
    }

    /// Why the transaction cannot continue, if so.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    fn usable(&self) -> Result<()> {
        match &self.ended {
            Some(ended) => Err(ended.error()),
            None => self.parts.db.awake(),
        }
    }

    fn run_ours(&self, sql: &str) -> Result<()> {
        run::ours(self.parts.db, sql)
    }

    /// What a statement reads and writes.
    pub(crate) fn footprint(&mut self, sql: &str) -> Result<Arc<Footprint>> {
        let StatementContext { db, footprints, .. } = &mut self.parts;
        footprints.ready(db, sql)
    }

    fn run<T>(
        &mut self,
        sql: &str,
        params: &[Value],
        step: impl FnOnce(
            &mut rusqlite::Rows<'_>,
            &rusqlite::Connection,
            &Footprint,
        ) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.usable()?;
        let StatementContext { db, footprints, capture, touched, .. } = &mut self.parts;
        let footprint = footprints.ready(db, sql)?;
        let mut prepared = {
            let _app = db.gate.app();
            statement::prepare(db.conn(), &db.gate, sql)?
        };
        let mut run = Run { db, capture, touched, single: self.single, ended: &mut self.ended };
        let result =
            run.run(&footprint, &mut prepared, params, |rows, conn| step(rows, conn, &footprint));
        if footprint.ddl {
            footprints.clear();
        }
        result
    }
}

fn drain(rows: &mut rusqlite::Rows<'_>) -> rusqlite::Result<()> {
    while rows.next()?.is_some() {}
    Ok(())
}

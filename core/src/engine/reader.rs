//! Read-only connections: they see the last committed state and never wait for the writer.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::{CachedStatement, Connection, OpenFlags};

use crate::engine::capture::function;
#[cfg(test)]
use crate::engine::change::Change;
use crate::engine::database::authorizer::{self, Authorizer};
use crate::engine::database::{OURS, module};
use crate::engine::row_state::SharedRowStates;
use crate::engine::schema::model::Schema;
use crate::engine::statement::{self, Footprints};
use crate::error::{Error, InputFault, Result};
use crate::host::Host;
use crate::row_buffer::{Encoder, RowBuffer};
use crate::value::Value;

/// A reading connection.
#[derive(Debug)]
pub struct Reader {
    conn: Connection,
    gate: Arc<Authorizer>,
    footprints: Footprints,
    /// Length of the last result: the next one probably has it too.
    last_length: usize,
    stop: Arc<ReadStop>,
    /// When the current read began, by [`ReadStop::now`].
    begun: Arc<AtomicU64>,
}

/// Stops reads from another thread: all of them, or those older than a mark.
#[derive(Debug, Default)]
pub(crate) struct ReadStop {
    all: AtomicBool,
    /// The current mark; reads that begin now are not older than it.
    now: AtomicU64,
    /// Reads that began before this mark must end.
    ended: AtomicU64,
}

impl ReadStop {
    /// Sets whether every read ends.
    pub(crate) fn set_all(&self, all: bool) {
        self.all.store(all, Ordering::Release);
    }

    /// Creates a new mark.
    pub(crate) fn mark(&self) -> u64 {
        self.now.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Ends reads that began before this mark.
    pub(crate) fn end_before(&self, mark: u64) {
        self.ended.fetch_max(mark, Ordering::AcqRel);
    }

    fn is_overdue(&self, begun: &AtomicU64) -> bool {
        begun.load(Ordering::Acquire) < self.ended.load(Ordering::Acquire)
    }
}

/// What a query reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadSet {
    /// Names of tables, lower case.
    pub tables: BTreeSet<String>,
    /// Whether it calls `rejoin_row_state`, whose result may change without a row change.
    pub row_state: bool,
    /// Whether it reads something that is written under another name, so that any commit may change
    /// it: the counters of SQLite, the tables inside an index, a vocabulary, tables of the engine.
    pub any: bool,
}

impl ReadSet {
    /// Whether the result may differ after this commit.
    #[cfg(test)]
    pub(crate) fn is_changed_by(&self, change: &Change) -> bool {
        let is_read = |table: &String| {
            table == "sqlite_schema" || self.tables.contains(&table.to_ascii_lowercase())
        };
        self.any || change.tables.keys().any(is_read) || self.row_state && change.queue
    }
}

impl Reader {
    pub(crate) fn open(
        path: &Path,
        schema: &Schema,
        states: SharedRowStates,
        host: &Arc<dyn Host>,
    ) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(std::time::Duration::from_secs(5))?;
        // Large enough for all watched queries of a screen.
        conn.set_prepared_statement_cache_capacity(256);
        conn.execute_batch("PRAGMA query_only = ON")?;
        function::row_state(&conn, states)?;
        function::of_apps(&conn, host, None)?;
        let gate = Arc::new(Authorizer::of_reader());
        gate.set_synced(schema.by_name.keys().map(String::as_str));
        authorizer::install(&mut conn, &gate)?;
        let (stop, begun) = Default::default();
        Ok(Self { conn, gate, footprints: Footprints::default(), last_length: 0, stop, begun })
    }

    /// Runs a query and reads its rows.
    pub fn query<T>(
        &mut self,
        sql: &str,
        params: &[Value],
        mut read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let collected = self.collected(sql, params, &mut read);
        collected.map_err(|error| self.named(sql, error))
    }

    fn collected<T>(
        &self,
        sql: &str,
        params: &[Value],
        read: &mut impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let _app = self.gate.app();
        let mut prepared = self.prepare(sql, params)?;
        let mut rows = prepared.raw_query();
        let mut out = Vec::new();
        let mut each = || -> rusqlite::Result<()> {
            while let Some(row) = rows.next()? {
                out.push(read(row)?);
            }
            Ok(())
        };
        each().map_err(|error| self.explain(error))?;
        Ok(out)
    }

    /// Runs a query; returns its rows as one buffer.
    pub fn rows(&mut self, sql: &str, params: &[Value]) -> Result<RowBuffer> {
        let buffered = self.buffered(sql, params).map_err(|error| self.named(sql, error))?;
        self.last_length = buffered.as_bytes().len();
        Ok(buffered)
    }

    fn buffered(&self, sql: &str, params: &[Value]) -> Result<RowBuffer> {
        let _app = self.gate.app();
        let mut prepared = self.prepare(sql, params)?;
        let mut encoder = None;
        let mut rows = prepared.raw_query();
        while let Some(row) = rows.next().map_err(|error| self.explain(error))? {
            // Names are read after the first step, which recompiles the statement after a schema
            // change.
            let encoder = encoder
                .get_or_insert_with(|| Encoder::of(row.as_ref()).expecting(self.last_length));
            encoder.step(row)?;
        }
        drop(rows);
        encoder.unwrap_or_else(|| Encoder::of(&prepared)).finish()
    }

    /// The error, with the name of the index that is damaged.
    fn named(&mut self, sql: &str, error: Error) -> Error {
        if matches!(error, Error::InvalidInput(InputFault::CorruptIndex { .. }))
            && let Ok(footprint) = self.footprints.of(&self.conn, &self.gate, sql)
        {
            return module::named(&self.conn, error, &footprint);
        }
        error
    }

    /// Runs `body` in one read transaction: its queries see the same state.
    pub fn snapshot<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        struct Open<'a>(&'a mut Reader);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                if let Err(error) = self.0.run_ours("COMMIT") {
                    tracing::warn!(%error, "ending a read transaction failed");
                }
            }
        }
        if !self.conn.is_autocommit() {
            // The previous transaction could not be ended, because memory was short.
            self.run_ours("COMMIT")?;
        }
        self.run_ours("BEGIN")?;
        let open = Open(self);
        // BEGIN alone takes no snapshot: the first read does.
        open.0.run_ours("SELECT 1 FROM sqlite_schema LIMIT 1")?;
        body(open.0)
    }

    /// Ends this reader's queries when `stop` is set, with [`Error::Suspended`] or
    /// [`Error::TransactionTimeout`]. An interrupt would be lost between two statements.
    pub(crate) fn stop_when(&mut self, stop: Arc<ReadStop>) -> Result<()> {
        self.stop = Arc::clone(&stop);
        let begun = Arc::clone(&self.begun);
        let ends = move || stop.all.load(Ordering::Acquire) || stop.is_overdue(&begun);
        Ok(self.conn.progress_handler(1000, Some(ends))?)
    }

    /// Starts a read.
    pub(crate) fn begin_work(&self) {
        self.begun.store(self.stop.now.load(Ordering::Acquire), Ordering::Release);
    }

    /// Whether the current read must end.
    pub(crate) fn is_overdue(&self) -> bool {
        self.stop.is_overdue(&self.begun)
    }

    fn explain(&self, error: rusqlite::Error) -> Error {
        match statement::explain(error, &self.gate) {
            Error::Suspended if self.is_overdue() => Error::TransactionTimeout,
            error => error,
        }
    }

    fn run_ours(&self, sql: &str) -> Result<()> {
        let mut statement = self.conn.prepare_cached(&format!("{OURS}{sql}"))?;
        let mut rows = statement.raw_query();
        while rows.next()?.is_some() {}
        Ok(())
    }

    /// Compiles a query and binds its parameters; the authorizer must be in app mode.
    fn prepare(&self, sql: &str, params: &[Value]) -> Result<CachedStatement<'_>> {
        if self.is_overdue() {
            return Err(Error::TransactionTimeout);
        }
        let prepare = || statement::prepare(&self.conn, &self.gate, sql);
        let mut prepared = prepare().or_else(|error| self.connecting(error, prepare))?;
        if !prepared.readonly() {
            return Err(InputFault::Refused {
                what: String::from("a writing statement in query()"),
                reason: String::from("readers cannot write; use execute() or execute_returning()"),
            }
            .into());
        }
        statement::bind(&mut prepared, params)?;
        Ok(prepared)
    }

    /// Compiles a query again whose first error may be that a module of SQLite compiles its writes
    /// when it connects to its table.
    fn connecting<'c>(
        &self,
        error: Error,
        prepare: impl Fn() -> Result<CachedStatement<'c>>,
    ) -> Result<CachedStatement<'c>> {
        if !matches!(error, Error::InvalidInput(InputFault::Refused { .. })) {
            return Err(error);
        }
        let _connects = self.gate.connects();
        prepare().ok().filter(|prepared| prepared.readonly()).ok_or(error)
    }

    /// Clears the read sets of queries after a schema change.
    pub(crate) fn forget_footprints(&mut self) {
        self.footprints.clear();
    }

    /// What this query reads, without running it.
    pub fn tables_of(&mut self, sql: &str) -> Result<ReadSet> {
        let Self { conn, gate, footprints, .. } = self;
        let mut compile = || footprints.of(conn, gate, sql);
        let footprint = match compile() {
            Err(error @ Error::InvalidInput(InputFault::Refused { .. })) => {
                let _connects = gate.connects();
                let found = compile().ok().filter(|footprint| footprint.writes.is_empty());
                found.ok_or(error)?
            }
            other => other?,
        };
        let (tables, row_state) = (footprint.reads.clone(), footprint.row_state);
        let mut any = false;
        for table in &tables {
            any |= module::is_written_unseen(&self.conn, table)?;
        }
        Ok(ReadSet { tables, row_state, any })
    }
}

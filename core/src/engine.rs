//! The engine: synchronous, on one thread, over one SQLite file; it knows no network.
//!
//! What the app sees = the confirmed base + the mutations that follow it. [`Engine`] holds the one connection that writes;
//! every transaction is its own (D1), so that a row and the mutation that records it commit together or not at all (I1).

pub mod action;
mod adopt;
pub mod capture;
pub mod change;
pub mod checkpoint;
pub(crate) mod counters;
pub(crate) mod database;
mod ddl;
#[cfg(feature = "synchro-import")]
pub(crate) mod import;
pub(crate) mod meta;
pub(crate) mod migrate;
mod outbox;
pub mod queue;
mod reader;
pub mod rebase;
pub mod reset;
pub mod row_state;
pub mod rows;
pub(crate) mod run;
pub mod schema;
mod search;
#[cfg(any(test, feature = "mutants"))]
mod shortage;
pub(crate) mod staging;
pub(crate) mod statement;
pub(crate) mod transaction;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rejoin_protocol::Manifest;

pub use adopt::Adopted;
pub use checkpoint::{CheckpointMode, Checkpointed};
#[cfg(feature = "synchro-import")]
pub use import::{ImportedTable, LeftOut, SynchroImport};
pub use reader::{ReadSet, Reader};
pub use schema::model::Policies;
pub use transaction::Transaction;

pub(crate) use reader::ReadStop;
pub(crate) use transaction::Savepoint;

use crate::engine::action::Actions;
use crate::engine::action::budget::Bounds;
use crate::engine::change::Change;
use crate::error::Result;
use crate::host::Host;
use crate::ids::MutationId;
use crate::value::Value;
use capture::function;
use capture::guard::Capture;
use change::Touched;
use counters::Counters;
use database::{Database, fault};
use queue::Queue;
use queue::faults::FaultLimit;
use schema::model::Schema;
use statement::Footprints;

/// What an engine is opened with.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The database file; made if it is not there. Its folder must exist.
    pub path: PathBuf,
    /// A manifest that came with the app, so that the first start works offline.
    pub manifest: Option<Manifest>,
}

/// Stops an engine, from any thread (D18): what runs is rolled back, and nothing begins until it is resumed.
#[derive(Debug, Clone)]
pub struct Interrupt {
    suspended: Arc<AtomicBool>,
}

impl Interrupt {
    /// Rolls back whatever runs, within a few milliseconds, with [`Error::Suspended`](crate::Error::Suspended).
    pub fn suspend(&self) {
        self.suspended.store(true, Ordering::Release);
    }

    /// Lets work begin again.
    pub fn resume(&self) {
        self.suspended.store(false, Ordering::Release);
    }
}

/// The one who is told of commits.
pub(crate) type Observer = Box<dyn FnMut(&Change) + Send>;

/// The local database: rows, queue and rules.
pub struct Engine {
    pub(crate) db: Database,
    pub(crate) schema: Arc<Schema>,
    /// What local writes did in the present transaction; `self.capture.off()` silences triggers and rules.
    pub(crate) capture: Arc<Capture>,
    pub(crate) queue: Queue,
    pub(crate) host: Arc<dyn Host>,
    /// What the present transaction has touched; told to the observer after its commit.
    pub(crate) touched: Touched,
    /// What this device does about conflicts, where it is not what the manifest says.
    pub(crate) policies: Policies,
    footprints: Footprints,
    observer: Option<Observer>,
    /// What the app can perform.
    pub(crate) actions: Arc<Actions>,
    /// What those of them may take that are performed.
    pub(crate) bounds: Bounds,
    /// How long the server may fail on one mutation before that is parked.
    pub(crate) fault_limit: FaultLimit,
    /// What is left of that in the present rebase, however often it is begun.
    rebasing: Option<Bounds>,
    /// Actions whose run ended a rebase by taking too long: they are not run in its next try.
    exhausted: HashSet<MutationId>,
    /// Rises with each reset of the file.
    resets: u64,
    counters: Arc<Counters>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Engine").field("path", &self.db.path).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the file: takes its lock, brings our tables up to date, loads schema and queue. A bundled manifest is
    /// adopted if none is stored. Works offline.
    ///
    /// # Errors
    /// `Locked`, `TooNew`, `Corrupt`, `ReadOnly`, `Io`: nothing was changed. `SchemaRefused` for a bundled manifest.
    pub fn open(options: &OpenOptions, host: Arc<dyn Host>) -> Result<Self> {
        let db = Database::open(&options.path)?;
        db.watch.set_clock(Arc::clone(&host));
        let capture = Arc::default();
        function::register(db.conn(), &capture).map_err(fault::of)?;
        function::of_apps(db.conn(), &host, Some(&capture)).map_err(fault::of)?;
        let schema = Arc::new(Schema::default());
        let queue = Queue::load(db.conn(), &schema)?;
        function::row_state(db.conn(), queue.states()).map_err(fault::of)?;
        let mut engine = Self {
            db,
            schema,
            footprints: Footprints::of_writer(&capture),
            capture,
            queue,
            host: Arc::clone(&host),
            touched: Touched::default(),
            policies: Policies::default(),
            observer: None,
            actions: Arc::default(),
            bounds: Bounds::new(host),
            fault_limit: FaultLimit::default(),
            rebasing: None,
            exhausted: HashSet::new(),
            resets: 0,
            counters: Arc::default(),
        };
        engine.db.note_ours()?;
        engine.load_schema()?;
        match (&engine.schema.manifest, &options.manifest) {
            (None, Some(bundled)) => drop(engine.adopt(bundled)?),
            // The server knows better what is synced; what is local-only only the app knows.
            (Some(_), Some(bundled)) => engine.adopt_local(bundled)?,
            (_, None) => {}
        }
        Ok(engine)
    }

    /// Opens a file to look at it, while whoever holds it goes on: one state, the one of now; nothing is written, and
    /// what would write fails.
    ///
    /// # Errors
    /// `Corrupt`, `TooNew`, `Io`; `Refused` for a file of an older release or of somebody else.
    pub(crate) fn open_to_read(path: &Path, host: Arc<dyn Host>) -> Result<Self> {
        let db = Database::open_to_read(path)?;
        db.conn().execute_batch("BEGIN").map_err(fault::of)?;
        let schema = Arc::new(Schema::default());
        let queue = Queue::look(db.conn(), &schema)?;
        let capture = Arc::default();
        let footprints = Footprints::of_writer(&capture);
        let mut engine = Self {
            db,
            schema,
            capture,
            queue,
            host: Arc::clone(&host),
            touched: Touched::default(),
            policies: Policies::default(),
            footprints,
            observer: None,
            actions: Arc::default(),
            bounds: Bounds::new(host),
            fault_limit: FaultLimit::default(),
            rebasing: None,
            exhausted: HashSet::new(),
            resets: 0,
            counters: Arc::default(),
        };
        engine.know_schema()?;
        Ok(engine)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.db.path
    }

    /// The synced tables.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Says what this device does about conflicts in these tables, where it is not what the server's manifest says; other
    /// tables keep the manifest's policy, and what the file remembers is not changed. Works offline.
    pub fn set_policies(&mut self, policies: Policies) -> Result<()> {
        self.policies = policies;
        self.know_schema().map(drop)
    }

    /// Names the one who is told of each commit, after it, on this thread.
    pub fn on_commit(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// Counts into `counters` from here on.
    pub(crate) fn count_into(&mut self, counters: Arc<Counters>) {
        self.counters = counters;
    }

    /// What was counted.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// A fact about the file, from `rejoin_meta`.
    pub fn meta(&self, key: &str) -> Result<Option<String>> {
        meta::meta(self.db.conn(), key)
    }

    /// Sets a fact, or removes it. Inside a transaction it belongs to that transaction.
    pub fn set_meta(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        meta::set_meta(self.db.conn(), key, value)
    }

    /// Opens a connection that only reads.
    pub fn open_reader(&self) -> Result<Reader> {
        Reader::open(&self.db.path, &self.schema, self.queue.states(), &self.host)
    }

    /// What stops the engine from another thread.
    pub fn interrupt_handle(&self) -> Interrupt {
        Interrupt { suspended: Arc::clone(&self.db.suspended) }
    }

    /// Closes the file: no lock of ours remains on it. Dropping the engine does the same, without saying how it went.
    pub fn close(self) -> Result<()> {
        self.db.close()
    }

    /// Runs one statement in a transaction of its own; the rows that it changed.
    pub fn execute(&mut self, sql: &str, params: &[Value]) -> Result<usize> {
        self.single(|tx| tx.execute(sql, params))
    }

    /// Runs several statements in one transaction.
    pub fn execute_batch(&mut self, sql: &str) -> Result<()> {
        self.transaction(|tx| tx.execute_batch(sql))
    }
}

#[cfg(test)]
pub(crate) mod tests;

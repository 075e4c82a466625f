//! The engine: synchronous, on one thread, over one SQLite file, without network access.
//!
//! The app sees the confirmed base with the pending mutations on top. [`Engine`] holds the only
//! connection that writes and owns every transaction: a row and its mutation commit together.

pub mod action;
pub mod adopt;
pub mod capture;
pub mod change;
pub mod checkpoint;
pub(crate) mod counters;
pub(crate) mod database;
pub mod ddl;
pub mod entries;
pub(crate) mod firing;
pub(crate) mod follow;
#[cfg(feature = "synchro-import")]
pub(crate) mod import;
pub(crate) mod log;
pub(crate) mod meta;
pub(crate) mod migrate;
mod outbox;
pub mod queue;
mod reader;
pub mod rebase;
pub mod replica;
pub mod reset;
pub mod row_state;
pub mod rows;
pub(crate) mod run;
pub mod schema;
pub mod search;
#[cfg(any(test, feature = "mutants"))]
pub mod shortage;
pub(crate) mod staging;
pub(crate) mod statement;
pub mod subscription;
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
pub use transaction::EngineTransaction;

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
use database::Database;
use entries::DeviceLog;
use queue::Queue;
use queue::faults::FaultLimit;
use schema::app_trigger;
use schema::left_out::LeftOutPart;
use schema::model::Schema;
use statement::Footprints;
use subscription::SubscriptionObserver;

/// Options for opening an engine.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The database file; created if missing. Its folder must exist.
    pub path: PathBuf,
    /// A manifest bundled with the app, so that the first start works offline.
    pub manifest: Option<Manifest>,
}

/// Interrupts an engine from any thread: rolls back what runs and blocks new work until resumed.
#[derive(Debug, Clone)]
pub struct Interrupt {
    suspended: Arc<AtomicBool>,
}

impl Interrupt {
    /// Rolls back what runs, within a few milliseconds, with
    /// [`Error::Suspended`](crate::Error::Suspended).
    pub fn suspend(&self) {
        self.suspended.store(true, Ordering::Release);
    }

    /// Allows work again.
    pub fn resume(&self) {
        self.suspended.store(false, Ordering::Release);
    }
}

/// Receives each commit.
pub(crate) type Observer = Box<dyn FnMut(&Change) + Send>;

/// The local database: rows, queue and rules.
pub struct Engine {
    pub(crate) db: Database,
    pub(crate) schema: Arc<Schema>,
    /// Captures local writes of the transaction; `self.capture.off()` disables triggers and rules.
    pub(crate) capture: Arc<Capture>,
    pub(crate) queue: Queue,
    /// The log of the tables whose manifest says so.
    pub(crate) log: DeviceLog,
    pub(crate) host: Arc<dyn Host>,
    /// Tables and rows that the current transaction changed; passed to the observer after its
    /// commit.
    pub(crate) touched: Touched,
    /// Conflict policies of this device that override the manifest.
    pub(crate) policies: Policies,
    footprints: Footprints,
    observer: Option<Observer>,
    /// The registered actions.
    pub(crate) actions: Arc<Actions>,
    /// Limits of a performed action.
    pub(crate) bounds: Bounds,
    /// Limits of server failures on one mutation before it is parked.
    pub(crate) fault_limit: FaultLimit,
    /// Remaining budget of the current rebase, over all its restarts.
    rebasing: Option<Bounds>,
    /// Actions that exceeded the budget of a rebase: the restarted rebase does not run them.
    exhausted: HashSet<MutationId>,
    /// Incremented by each reset of the file.
    resets: u64,
    counters: Arc<Counters>,
    subscriptions: Option<Arc<dyn SubscriptionObserver>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Engine").field("path", &self.db.path).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the file: takes its lock, migrates the engine's tables, loads schema and queue. Adopts
    /// a bundled manifest if none is stored. Works offline.
    ///
    /// # Errors
    /// `Locked`, `TooNew`, `Corrupt`, `ReadOnly`, `Io`: nothing was changed. `SchemaRefused` for a bundled manifest.
    pub fn open(options: &OpenOptions, host: Arc<dyn Host>) -> Result<Self> {
        let db = Database::open(&options.path)?;
        db.watch.set_clock(Arc::clone(&host));
        let capture = Arc::default();
        function::register(db.conn(), &capture)?;
        function::of_apps(db.conn(), &host, Some(&capture))?;
        let schema = Arc::new(Schema::default());
        let queue = Queue::load(db.conn(), &schema)?;
        function::row_state(db.conn(), queue.states())?;
        let mut engine = Self {
            db,
            schema,
            footprints: Footprints::of_writer(&capture),
            capture,
            queue,
            log: DeviceLog::default(),
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
            subscriptions: None,
        };
        engine.db.note_ours()?;
        adopt::load_schema(&mut engine)?;
        match (&engine.schema.manifest, &options.manifest) {
            (None, Some(bundled)) => {
                adopt::adopt_what_fits(&mut engine, bundled, |_, _| Ok(Vec::new()))?;
            }
            // The stored manifest of the server wins; the bundled one adds the local-only tables.
            (Some(_), Some(bundled)) => adopt::adopt_local(&mut engine, bundled)?,
            (_, None) => {}
        }
        Ok(engine)
    }

    /// Opens a file for reading while another process may have it open. It shows one state and
    /// every write fails.
    ///
    /// # Errors
    /// `Corrupt`, `TooNew`, `Io`; `Refused` for a file of an older release or of another
    /// application.
    pub(crate) fn open_to_read(path: &Path, host: Arc<dyn Host>) -> Result<Self> {
        let db = Database::open_to_read(path)?;
        db.conn().execute_batch("BEGIN")?;
        let schema = Arc::new(Schema::default());
        let queue = Queue::look(db.conn(), &schema)?;
        let capture = Arc::default();
        let footprints = Footprints::of_writer(&capture);
        let mut engine = Self {
            db,
            schema,
            capture,
            queue,
            log: DeviceLog::default(),
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
            subscriptions: None,
        };
        adopt::know_schema(&mut engine)?;
        Ok(engine)
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.db.path
    }

    /// The synced tables.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// What of the schema is left out, and the app's triggers that failed on rows of the server.
    pub(crate) fn left_out(&self) -> Result<Vec<LeftOutPart>> {
        let mut parts = self.schema.left_out.parts.clone();
        parts.extend(app_trigger::failed(self.db.conn())?);
        Ok(parts)
    }

    /// Overrides the conflict policy of these tables; other tables keep the policy of the server's
    /// manifest. The override is not stored in the file. Works offline.
    pub fn set_policies(&mut self, policies: Policies) -> Result<()> {
        self.policies = policies;
        adopt::know_schema(self).map(drop)
    }

    /// Sets the observer of commits. It runs after each commit, on this thread.
    pub fn on_commit(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// Sets the counters to use from now on.
    pub(crate) fn count_into(&mut self, counters: Arc<Counters>) {
        self.counters = counters;
    }

    /// The current counters.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Number of resets of this file since it was opened; responses to earlier requests are
    /// dropped.
    pub(crate) fn resets(&self) -> u64 {
        self.resets
    }

    /// A fact about the file, from `rejoin_meta`.
    pub fn meta(&self, key: &str) -> Result<Option<String>> {
        meta::meta(self.db.conn(), key)
    }

    /// Sets or removes a fact, within the current transaction if there is one.
    pub fn set_meta(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        meta::set_meta(self.db.conn(), key, value)
    }

    /// Opens a read-only connection.
    pub fn open_reader(&self) -> Result<Reader> {
        Reader::open(&self.db.path, &self.schema, self.queue.states(), &self.host)
    }

    /// A handle that interrupts the engine from another thread.
    pub fn interrupt_handle(&self) -> Interrupt {
        Interrupt { suspended: Arc::clone(&self.db.suspended) }
    }

    /// Closes the file and releases its locks. Dropping the engine does the same and ignores
    /// errors.
    pub fn close(self) -> Result<()> {
        self.db.close()
    }

    /// Runs one statement in its own transaction and returns the number of changed rows.
    pub fn execute(&mut self, sql: &str, params: &[Value]) -> Result<usize> {
        self.in_local_transaction(|engine| engine.execute_within(sql, params))
    }

    /// Runs several statements in one transaction.
    pub fn execute_batch(&mut self, sql: &str) -> Result<()> {
        self.transaction(|tx| tx.execute_batch(sql))
    }
}

#[cfg(test)]
pub(crate) mod tests;

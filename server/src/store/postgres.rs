//! The production store: the application's tables in a PostgreSQL database, and Rejoin's tables in
//! the schema `rejoin`.
//!
//! Any session may write the application's tables: triggers record each change in the writer's
//! transaction. A sequencer assigns log positions afterwards, before a read of the log that finds
//! changes without one. So an open transaction delays only its own changes. Reads see one snapshot
//! (REPEATABLE READ). Writes see committed data (READ COMMITTED) and lock the rows they read.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rejoin_protocol::time;
use tokio::time::Instant;

use super::{End, NoticeListener, Reading, Store, WriteProblem, Writing};
use crate::clock::{Clock, SystemClock};
use crate::config::{PostgresUrl, RowSecurity, TableConfig};
use crate::error::{Fault, ServerError};
use crate::model::{Connections, Feed, LogTable, PlanStep, ReplicaReads, Schema, Table, Touched};
use crate::store::admit;
use crate::store::quote::literal;

mod access;
mod batch;
mod changelog;
mod check;
mod connection;
mod descendants;
mod error;
mod feed;
mod feeder_signal;
mod fingerprint;
mod guard;
mod hook;
mod indexes;
mod install;
mod instants;
mod introspect;
mod key_locks;
mod known_log;
mod listener;
mod load;
mod log;
mod log_tables;
mod member;
mod membership;
mod migrate;
mod notifier;
mod operate;
mod pages;
mod policies;
mod pool;
mod portable;
mod prefetch;
mod table_resolver;

mod access_paths;
mod records;
mod replica;
mod retries;
mod rewritten;
mod rows;
mod shape;
mod staged;
mod tls;
mod transaction;
mod triggers;
mod types;
mod verdicts;
mod write_probe;

use connection::Connection;
pub(crate) use feeder_signal::FeederSignal;
use fingerprint::{FINGERPRINT, fingerprint, is_of};
pub(crate) use guard::ServedTables;
use guard::resolverless;
use log_tables::LogShape;
use pool::Pool;
use replica::Replica;
use retries::Retries;
use shape::{Effects, Shape};
use tls::Target;
use transaction::{Entry, PostgresTransaction};

/// Attempts of a transaction that loses against concurrent ones before the failure is reported.
const ATTEMPTS: usize = 5;

const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Constraint violations are reported by the statement, not by the commit.
const WRITE: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET CONSTRAINTS ALL IMMEDIATE";

/// A store over one database.
#[derive(Debug)]
pub struct PostgresStore {
    pool: Pool,
    plan: ServedTables,
    known: RwLock<Arc<Known>>,
    secured: Option<Secured>,
    /// Dates schema versions that appear while the server runs.
    clock: Arc<dyn Clock>,
    /// Wakes the feeder, if there is one.
    signal: Arc<FeederSignal>,
    /// Held while the tables are read again past a pooler.
    refreshes: Mutex<()>,
    /// A hot standby, from which pulls read.
    replica: Option<Arc<Replica>>,
}

/// How the database itself restricts requests to the rows of their users.
#[derive(Debug)]
struct Secured {
    security: RowSecurity,
    /// The statement with which a transaction switches to the serving role.
    takes_role: String,
}

/// The schema as last read.
#[derive(Debug)]
struct Known {
    fingerprint: String,
    /// The names of all configured tables as SQL, for the next fingerprint: one that is left out may be
    /// changed so that it can be served.
    names: Vec<String>,
    schema: Arc<Schema>,
    /// One shape per table of the row model.
    shapes: Vec<Shape>,
    /// The tables that the log writes, and how each is stored.
    log: Vec<LogTable>,
    log_shapes: Vec<LogShape>,
    nothing: Shape,
    /// The secret that signs cursors.
    cursor_key: String,
}

impl Known {
    fn new(schema: Arc<Schema>, shapes: Vec<Shape>, names: Vec<String>) -> Self {
        Self {
            fingerprint: String::new(),
            names,
            schema,
            shapes,
            log: Vec::new(),
            log_shapes: Vec::new(),
            nothing: Shape::default(),
            cursor_key: String::new(),
        }
    }

    /// How a table is stored in this database.
    fn shape(&self, table: &Table) -> &Shape {
        // Both lists are built together; a table outside of them appears in no statement.
        let at = self.schema.tables.iter().position(|known| known.number == table.number);
        at.and_then(|at| self.shapes.get(at)).unwrap_or(&self.nothing)
    }
}

impl PostgresStore {
    /// Connects, migrates Rejoin's tables, reads the application's tables and installs the
    /// triggers.
    ///
    /// `now` is canonical text; it dates the current schema. `wait` is how long a statement waits
    /// for another transaction's lock. Needs no runtime, and may be called within one.
    pub fn open(
        url: &PostgresUrl,
        tables: &[TableConfig],
        wait: Duration,
        now: &str,
    ) -> Result<Self, ServerError> {
        let tables = tables.to_vec();
        Self::planned((url, None), ServedTables { tables, ..ServedTables::default() }, wait, now)
    }

    /// Like [`open`](Self::open), with a plan for what is already installed, and a pooler.
    pub(crate) fn planned(
        (url, pooler): (&PostgresUrl, Option<&PostgresUrl>),
        plan: ServedTables,
        wait: Duration,
        now: &str,
    ) -> Result<Self, ServerError> {
        let pool = Pool::new(target(url)?, pooler.map(target).transpose()?, wait)?;
        let first = pool.connect().map_err(|fault| match fault {
            Fault::Transient(why) => ServerError::Postgres(why),
            other => other.into(),
        })?;
        pool.check_pooler(&first)?;
        let refresh = || {
            migrate::migrate(&first)?;
            install::refresh(&first, &plan, now, true)
        };
        let known = first.unlimited(refresh)?;
        admit::log_changes(&[], &known.schema.left_out);
        let known = RwLock::new(Arc::new(known));
        let (clock, signal) = (Arc::new(SystemClock), Arc::default());
        let refreshes = Mutex::default();
        let (secured, replica) = (None, None);
        Ok(Self { pool, plan, known, secured, clock, signal, refreshes, replica })
    }

    /// The same store with this clock for dating new schema versions; by default the system clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same store with row level security: each request runs under a role to which the policies
    /// apply, for the request's user. Fails if the policies would not apply, or would hide rows
    /// from the triggers.
    pub fn secured(mut self, security: RowSecurity) -> Result<Self, ServerError> {
        policies::check(&self.pool.connect()?, &self.known(), &security)?;
        let takes_role = policies::taking_role(&security);
        self.secured = Some(Secured { security, takes_role });
        Ok(self)
    }

    /// The same store with a hot standby, from which pulls read if it has everything that this store
    /// knows of the log. Fails if it is a standby of another database, or none.
    pub fn replicated(mut self, url: &PostgresUrl) -> Result<Self, ServerError> {
        let replica = Arc::new(Replica::open(target(url)?, &self.pool.connect()?)?);
        let notified = Arc::downgrade(&replica);
        self.pool.listen(Arc::new(move |notice| {
            notified.upgrade().map(|replica| replica.notified(notice)).is_some()
        }));
        self.replica = Some(replica);
        Ok(self)
    }

    /// The policies as SQL, for an operator to run.
    pub fn policies(&self, security: &RowSecurity) -> String {
        policies::script(&self.known(), security)
    }

    /// The migrations as one SQL script: what [`open`](Self::open) runs in a database that has the
    /// first `from` of them.
    pub fn migration_script(from: usize) -> String {
        migrate::script(from)
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn refresh(&self, connection: &Connection) -> Result<(), Fault> {
        if connection.settings().is_some() {
            // One session of the database for this, however many requests have noticed.
            let before = self.known();
            let _turn = self.refreshes.lock().unwrap_or_else(PoisonError::into_inner);
            let is_fresh = !Arc::ptr_eq(&before, &self.known());
            return if is_fresh { Ok(()) } else { self.refresh(&self.pool.connect()?) };
        }
        let now = time::format(self.clock.now());
        let fresh = connection.unlimited(|| install::refresh(connection, &self.plan, &now, false));
        let fresh = fresh.map_err(|error| match error {
            ServerError::Schema(problems) => Fault::Schema(problems),
            ServerError::ResolverMissing { tables } => Fault::Schema(resolverless(tables)),
            other => Fault::Transient(other.to_string()),
        })?;
        if let Some(Secured { security, .. }) = &self.secured {
            policies::check(connection, &fresh, security)
                .map_err(|error| Fault::Internal(error.to_string()))?;
        }
        admit::log_changes(&self.known().schema.left_out, &fresh.schema.left_out);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// Runs `work` in a transaction that `commit` commits.
    fn write_and<T>(
        &self,
        now: &str,
        work: &mut dyn FnMut(&dyn Writing) -> Result<(), Fault>,
        commit: impl Fn(&PostgresTransaction<'_>) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Fault> {
        if self.plan.looks {
            let why = "opened read-only by Server::look: use Server::open";
            return Err(Fault::Internal(String::from(why)));
        }
        let (mut attempt, mut retries) = (1, Retries::default());
        loop {
            let stamp = literal(now);
            let begin = format!("{WRITE}; SELECT set_config('rejoin.now', {stamp}, true)");
            let (known, lease) = (self.known(), self.pool.take()?);
            let connection = lease.connection()?;
            let entry = Entry::on(connection, None, &begin);
            let (is_optimistic, role) = (attempt < ATTEMPTS, self.takes_role());
            let writing = PostgresTransaction::writing;
            let transaction = writing(connection, &known, role, entry, is_optimistic);
            let done = work(&transaction);
            if !retries.counts(self, connection, &transaction)? {
                lease.keep();
                continue;
            }
            // Retry a transaction that lost against another one, up to the limit.
            let again = transaction.collided() && is_optimistic;
            let ended = done.map(|()| (!again).then(|| commit(&transaction)));
            if !matches!(ended, Ok(Some(Ok(_)))) && connection.roll_back().is_err() {
                drop(lease);
            } else {
                lease.keep();
            }
            attempt += 1;
            match ended {
                _ if again => {}
                Err(fault) => return Err(fault),
                Ok(Some(Ok(committed))) => {
                    self.signal.ring();
                    return Ok(committed);
                }
                Ok(Some(Err(error))) if !error::is_collision(&error) || !is_optimistic => {
                    return Err(error.into());
                }
                Ok(_) => {}
            }
        }
    }

    /// Runs a query for one number, outside any transaction.
    fn number(&self, sql: &str) -> Result<i64, Fault> {
        self.alone(|connection| Ok(connection.alone(sql, &[])?.first().map_or(0, |row| row.get(0))))
    }

    fn takes_role(&self) -> Option<&str> {
        self.secured.as_ref().map(|secured| secured.takes_role.as_str())
    }

    /// Runs a single query on none of the application's tables; retries once if the connection is
    /// lost.
    fn alone<T>(
        &self,
        ask: impl Fn(&Connection) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Fault> {
        for attempt in 0..2 {
            let lease = self.pool.take()?;
            let connection = lease.connection()?;
            match ask(connection) {
                Ok(answer) => {
                    lease.keep();
                    return Ok(answer);
                }
                Err(_) if connection.is_closed() && attempt == 0 => self.pool.forget_idle(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Fault::Transient(String::from("the database is away")))
    }
}

fn target(url: &PostgresUrl) -> Result<Target, ServerError> {
    Target::new(url.parse().map_err(ServerError::Postgres)?)
}

impl Store for PostgresStore {
    fn read(&self, work: &mut dyn FnMut(&dyn Reading) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut retries = Retries::default();
        loop {
            let (known, lease, begun) = (self.known(), self.pool.take()?, Instant::now());
            let connection = lease.connection()?;
            let entry = Entry::on(connection, Some(changelog::SEQUENCE), READ);
            let entry = entry.alone_first(!retries.needs_sequencer());
            let role = self.takes_role();
            let transaction = PostgresTransaction::reading(connection, &known, role, entry);
            let done = work(&transaction);
            if !retries.counts(self, connection, &transaction)? {
                lease.keep();
                continue;
            }
            if let (Some(replica), Some(end)) = (&self.replica, transaction.log_end()) {
                replica.read_end(end, begun);
            }
            connection.leave();
            lease.keep();
            return done;
        }
    }

    fn read_replica(&self, work: &mut dyn FnMut(&dyn Reading) -> Result<bool, Fault>) -> bool {
        let read = |replica: &Arc<Replica>| replica.read(&self.known(), self.takes_role(), work);
        self.replica.as_ref().is_some_and(read)
    }

    fn replica_reads(&self) -> Option<ReplicaReads> {
        self.replica.as_ref().map(|replica| replica.counts())
    }

    #[allow(clippy::redundant_closure_for_method_calls)] // The method has one lifetime, not any.
    fn write(
        &self,
        now: &str,
        work: &mut dyn FnMut(&dyn Writing) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.write_and(now, work, |transaction| transaction.commit())
    }

    /// The end of the log is read in the round trip of the commit.
    fn write_to_end(
        &self,
        now: &str,
        work: &mut dyn FnMut(&dyn Writing) -> Result<(), Fault>,
    ) -> Result<Result<End, Fault>, Fault> {
        let commit = |transaction: &PostgresTransaction<'_>| {
            let begun = Instant::now();
            Ok((transaction.commit_to_end()?, begun))
        };
        let (end, begun) = self.write_and(now, work, commit)?;
        if let (Some(replica), Ok((head, tag))) = (&self.replica, &end) {
            replica.read_head((*head, Some(*tag).filter(|tag| *tag != 0)), begun);
        }
        Ok(end.map_err(Fault::from))
    }

    fn listen(&self, notify: NoticeListener) {
        match &self.replica {
            Some(replica) => replica.forward_to(notify),
            None => self.pool.listen(notify),
        }
    }

    fn notify_log(&self, touched: &[Touched]) {
        self.pool.notify_log(touched);
    }

    fn pulse(&self) -> Result<i64, Fault> {
        let begun = Instant::now();
        let head = self.number(changelog::SEQUENCE)?;
        if let Some(replica) = &self.replica {
            replica.read_head((head, None), begun);
        }
        Ok(head)
    }

    fn try_write(&self) -> Result<(), WriteProblem> {
        let problem = Cell::new(None);
        let tried = self.alone(|connection| {
            connection
                .batch(write_probe::TRY)
                .inspect_err(|error| problem.set(write_probe::problem(error)))
        });
        tried.map_err(|fault| problem.take().unwrap_or(WriteProblem::Other(fault)))
    }

    fn touched(&self, after: i64, upto: i64) -> Result<Option<Vec<Touched>>, Fault> {
        self.alone(|connection| changelog::touched(connection, after, upto))
    }

    fn unnumbered(&self) -> Result<Option<u64>, Fault> {
        let waiting = self.number(changelog::UNNUMBERED)?;
        Ok(Some(u64::try_from(waiting).unwrap_or(0)))
    }

    fn plan(&self, sql: &str) -> Result<Vec<PlanStep>, Fault> {
        self.alone(|connection| check::plan(connection, sql))
    }

    fn connections(&self) -> Option<Connections> {
        Some(self.pool.counts())
    }

    fn feed(&self) -> Result<Feed, Fault> {
        if !self.needs_feeder() {
            return Ok(Feed::NONE);
        }
        let lease = self.pool.take()?;
        let state = feed::state(lease.connection()?)?;
        lease.keep();
        Ok(state)
    }
}

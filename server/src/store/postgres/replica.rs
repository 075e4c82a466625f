//! A hot standby of the database, from which pulls read.
//!
//! A standby is behind the database. A read counts only if the log of its snapshot ends where this
//! server knows that the log ends (`required`), and if it has a result that its caller can use. Otherwise
//! the caller reads the database. After some failures in a row the standby is not used for seconds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use tokio::time::Instant;

use super::Known;
use super::connection::Connection;
use super::known_log::{KnownLog, LogEnd, RequiredEnd};
use super::pool::{Lease, Pool};
use super::tls::Target;
use super::transaction::{Entry, NotBegun, PostgresTransaction};
use crate::error::{Fault, ServerError};
use crate::model::ReplicaReads;
use crate::store::{NodeNotice, NoticeListener, Reading};

/// Fails if the session is not, or no longer, one of a standby.
const READ: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1 / pg_is_in_recovery()::int";

/// The longest time for connecting, and for a statement.
const LIMIT: Duration = Duration::from_secs(2);

/// How long a statement waits for a lock.
const LOCK: Duration = Duration::from_millis(250);

/// How long the replica is not used after failures.
const REST: Duration = Duration::from_secs(5);

/// Reads that fail in a row before that. One may be a conflict with what the standby applies, or a large page.
const FAILURES: u64 = 3;

/// The database, role and search path of a session, and whether it is one of a standby.
const IDENTITY: &str =
    "SELECT concat_ws(' ', (SELECT system_identifier FROM pg_control_system()), d.oid, session_user, current_schemas(true)),
    pg_is_in_recovery() FROM pg_database AS d WHERE d.datname = current_database()";

/// The standby and what is known of the log.
pub(super) struct Replica {
    pool: Pool,
    log: Mutex<KnownLog>,
    rests_until: Mutex<Option<Instant>>,
    /// Held by the one request that connects.
    connecting: Mutex<()>,
    /// Receives the notices of other servers too.
    listener: Mutex<Option<NoticeListener>>,
    failures: AtomicU64,
    served: AtomicU64,
    declined: AtomicU64,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Replica").field("pool", &self.pool).finish_non_exhaustive()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replica {
    /// Compares the standby with the database of `direct`. A standby that cannot be reached now is
    /// used later.
    pub(super) fn open(target: Target, direct: &Connection) -> Result<Self, ServerError> {
        let replica = Self {
            pool: Pool::limited(target, LOCK, LIMIT)?,
            log: Mutex::default(),
            rests_until: Mutex::default(),
            connecting: Mutex::default(),
            listener: Mutex::default(),
            failures: AtomicU64::new(0),
            served: AtomicU64::new(0),
            declined: AtomicU64::new(0),
        };
        let connected = replica.pool.connect();
        match connected.and_then(|session| identity(&session)) {
            Ok((_, false)) => Err(ServerError::Postgres(String::from(
                "the replica is not a hot standby: name a standby of store in replica",
            ))),
            Ok((which, true)) if which != identity(direct)?.0 => {
                Err(ServerError::Postgres(String::from(
                    "the replica leads to another database, role or search_path than store: name a standby of \
                     store in replica, with the same role",
                )))
            }
            Ok(_) => Ok(replica),
            Err(fault) => {
                replica.rest(&fault);
                Ok(replica)
            }
        }
    }

    /// Runs `work` on a snapshot of the standby, with these tables and this role. Returns whether
    /// the snapshot has everything that is known of the log, and `work` returned `true`.
    pub(super) fn read(
        &self,
        known: &Known,
        role: Option<&str>,
        work: &mut dyn FnMut(&dyn Reading) -> Result<bool, Fault>,
    ) -> bool {
        let is_used = self.attempt(known, role, work);
        let count = if is_used { &self.served } else { &self.declined };
        count.fetch_add(1, Ordering::Relaxed);
        is_used
    }

    fn attempt(
        &self,
        known: &Known,
        role: Option<&str>,
        work: &mut dyn FnMut(&dyn Reading) -> Result<bool, Fault>,
    ) -> bool {
        let (Some(required), Some(lease)) = (self.required(), self.lease()) else { return false };
        let Ok(connection) = lease.connection() else { return false };
        let entry = Entry::on(connection, None, READ);
        let transaction = PostgresTransaction::reading(connection, known, role, entry);
        let transaction = transaction.requiring(required);
        let done = work(&transaction);
        if transaction.is_before_begin() {
            lease.keep();
            return false;
        }
        let done = match transaction.not_begun() {
            None => done,
            // The standby has not applied a change of the tables yet, or is ahead of this server.
            Some(NotBegun::Outdated | NotBegun::Unnumbered) => Ok(false),
            Some(NotBegun::Failed(fault)) => Err(fault),
            Some(NotBegun::Lost) => Err(Fault::Transient(String::from("the connection is lost"))),
        };
        let (is_used, is_behind) = (transaction.log_end().is_some(), transaction.is_behind());
        match done {
            Err(fault) if !(is_behind || is_answer(&fault)) => {
                if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
                    self.rest(&fault);
                }
                false
            }
            done => {
                self.failures.store(0, Ordering::Relaxed);
                connection.leave();
                lease.keep();
                is_used && matches!(done, Ok(true))
            }
        }
    }

    /// What a snapshot must have; `None` if that is not known at the moment.
    fn required(&self) -> Option<RequiredEnd> {
        lock(&self.log).required(Instant::now())
    }

    /// A connection, if the standby is in use and one is free. One request at a time opens a new
    /// one: an unreachable standby delays no other.
    fn lease(&self) -> Option<Lease<'_>> {
        if lock(&self.rests_until).is_some_and(|end| Instant::now() < end) {
            return None;
        }
        if let Some(lease) = self.pool.take_idle() {
            return Some(lease);
        }
        let _turn = match self.connecting.try_lock() {
            Err(TryLockError::WouldBlock) => return None,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Ok(turn) => turn,
        };
        if self.pool.is_full() {
            return None;
        }
        self.pool.take().inspect_err(|fault| self.rest(fault)).ok()
    }

    fn rest(&self, fault: &Fault) {
        tracing::warn!(why = %fault, "the replica failed: pulls read the database meanwhile");
        *lock(&self.rests_until) = Some(Instant::now() + REST);
        self.pool.forget_idle();
    }

    /// A read of the database that began at `begun` found this end of the log.
    pub(super) fn read_end(&self, end: LogEnd, begun: Instant) {
        lock(&self.log).read(end, begun);
    }

    /// A query of the database that was sent at `begun` found this last position, and its tag if asked.
    pub(super) fn read_head(&self, (head, tag): (i64, Option<i64>), begun: Instant) {
        lock(&self.log).read_head(head, tag, begun);
    }

    /// Calls `notify` with further notices, in addition.
    pub(super) fn forward_to(&self, notify: NoticeListener) {
        *lock(&self.listener) = Some(notify);
    }

    /// Another server has moved the head. Devices are notified afterwards.
    pub(super) fn notified(&self, notice: NodeNotice) {
        if let NodeNotice::Head(head) = notice {
            lock(&self.log).notified(head);
        }
        let listener = lock(&self.listener).clone();
        if listener.is_some_and(|listener: Arc<_>| !listener(notice)) {
            *lock(&self.listener) = None;
        }
    }

    /// How often a read was served, and was sent on to the database.
    pub(super) fn counts(&self) -> ReplicaReads {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ReplicaReads { served: of(&self.served), declined: of(&self.declined) }
    }
}

/// Whether a fault refuses the request and is no failure of the standby.
fn is_answer(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused(_) | Fault::Stale(_))
}

fn identity(session: &Connection) -> Result<(String, bool), Fault> {
    let row = session.first(IDENTITY, &[])?;
    Ok(row.map_or((String::new(), false), |row| (row.get(0), row.get(1))))
}

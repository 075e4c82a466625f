//! The connection pool: one connection per transaction, returned afterwards, replaced when lost.
//!
//! The size is limited; a request waits for a connection as long as for a lock. While the database
//! is unreachable, connection attempts are made with doubling pauses, and requests in between fail
//! immediately as retryable.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};
use tokio_postgres::SimpleQueryMessage;

use super::connection::{Connection, FIRST_PAUSE, LONGEST_PAUSE, wait};
use super::listener;
use super::notifier::Notifier;
use super::tls::Target;
use crate::error::{Fault, ServerError};
use crate::model::{Connections, Touched};
use crate::store::NoticeListener;

/// Maximum number of connections: more concurrent transactions do not make a database faster.
const MOST: usize = 16;

/// Settings of a session, or of a transaction in a session of a pooler. One text form per value,
/// whatever the settings of database or role. Plans use indexes even on tables without statistics
/// and are cached; parallel workers and JIT would take longer than a page.
const SETTINGS: [&str; 11] = [
    "TimeZone = 'UTC'",
    "DateStyle = 'ISO, YMD'",
    "IntervalStyle = 'postgres'",
    "bytea_output = 'hex'",
    "extra_float_digits = 1",
    "client_encoding = 'UTF8'",
    "standard_conforming_strings = on",
    "plan_cache_mode = force_generic_plan",
    "enable_seqscan = off",
    "jit = off",
    "max_parallel_workers_per_gather = 0",
];

/// Further settings of a session; through a pooler each begin of a transaction names them.
const DEFAULTS: &str = "SET default_transaction_isolation = 'read committed'; \
    SET default_transaction_read_only = off; SET default_transaction_deferrable = off";

/// How long a pooler's session waits for the next statement of a transaction.
const IDLE: &str = "idle_in_transaction_session_timeout = '60s'";

/// Statement timeout of requests, unless set for the role, the database or in the URL's `options`.
/// The sequencer is exempt: its work benefits all requests, however long it takes.
const LIMIT: Duration = Duration::from_secs(30);

/// How the database handles a silent server: it probes the connection and ends open transactions.
/// The session's statement timeout is read, and then applied to the transactions of requests only.
/// The sequencer goes on when the connection of its request is closed.
const TIME_OUTS: &str = "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
    SET tcp_user_timeout = 30000; \
    SELECT set_config(name, '60s', false) FROM pg_settings \
      WHERE name = 'idle_in_transaction_session_timeout' AND setting = '0'; \
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'client_connection_check_interval'; \
    SELECT setting, set_config(name, '0', false) FROM pg_settings WHERE name = 'statement_timeout'";

/// What a connection leads to.
enum Session {
    /// A session with these settings, whose last row is the statement timeout.
    Own { settings: String },
    /// Sessions that a pooler chooses; each transaction has these settings.
    Chosen { settings: Arc<str>, limit: Duration },
}

/// The pool.
#[derive(Debug)]
pub(super) struct Pool {
    target: Target,
    /// A pooler in front of the database, for the transactions of requests.
    pooler: Option<Target>,
    waits: Duration,
    /// The longest time for connecting, and for a statement.
    most: Duration,
    runtime: Option<Runtime>,
    notifier: Notifier,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    taken: usize,
    /// How often a request waited for a connection.
    waits: u64,
    /// The statement timeout of requests, as the database has it for this role.
    limit: Duration,
    pause: Duration,
    not_before: Option<Instant>,
}

/// A borrowed connection. `keep` returns it to the pool; otherwise it is closed.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Pool {
    /// `waits`: how long a statement waits for a lock, and a request for a connection.
    pub(super) fn new(
        target: Target,
        pooler: Option<Target>,
        waits: Duration,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("rejoin-postgres")
            .enable_all()
            .build()?;
        let notifier = Notifier::start(runtime.handle(), target.clone());
        Ok(Self {
            target,
            pooler,
            waits,
            most: Duration::MAX,
            runtime: Some(runtime),
            notifier,
            state: Mutex::default(),
            returned: Condvar::new(),
        })
    }

    /// A pool without a pooler that gives up connecting, and statements, after `most`.
    pub(super) fn limited(
        target: Target,
        waits: Duration,
        most: Duration,
    ) -> std::io::Result<Self> {
        let mut pool = Self::new(target, None, waits)?;
        pool.most = most;
        Ok(pool)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection, preferably an idle one.
    pub(super) fn take(&self) -> Result<Lease<'_>, Fault> {
        let mut state = self.state();
        if state.taken >= MOST {
            state.waits += 1;
            let (woken, late) = self
                .returned
                .wait_timeout_while(state, self.waits, |state| state.taken >= MOST)
                .unwrap_or_else(PoisonError::into_inner);
            if late.timed_out() {
                return Err(Fault::Transient(String::from("every connection is in use")));
            }
            state = woken;
        }
        if let Some(idle) = self.idle(&mut state) {
            return Ok(idle);
        }
        if state.not_before.is_some_and(|at| Instant::now() < at) {
            return Err(Fault::Transient(String::from("the database is away")));
        }
        state.taken += 1;
        drop(state);
        // From here on the slot is held, and released on every exit path.
        let mut lease = Lease { pool: self, connection: None };
        let connected = self.connect_for_requests();
        let mut state = self.state();
        match connected {
            Ok(connection) => {
                state.pause = Duration::ZERO;
                state.not_before = None;
                lease.connection = Some(connection);
            }
            Err(fault) => {
                state.pause = (state.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                state.not_before = Some(Instant::now() + state.pause);
                drop(state);
                return Err(fault);
            }
        }
        drop(state);
        Ok(lease)
    }

    /// Takes an idle connection, if there is one.
    pub(super) fn take_idle(&self) -> Option<Lease<'_>> {
        self.idle(&mut self.state())
    }

    fn idle(&self, state: &mut State) -> Option<Lease<'_>> {
        while let Some(idle) = state.idle.pop() {
            if !idle.is_closed() {
                state.taken += 1;
                return Some(Lease { pool: self, connection: Some(idle) });
            }
        }
        None
    }

    /// Whether every connection is in use.
    pub(super) fn is_full(&self) -> bool {
        self.state().taken >= MOST
    }

    /// The size and use of the pool.
    pub(super) fn counts(&self) -> Connections {
        let state = self.state();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Connections {
            used: number(state.taken),
            idle: number(state.idle.len()),
            waits: state.waits,
        }
    }

    /// Closes idle connections: they may have failed like the current one.
    pub(super) fn forget_idle(&self) {
        self.state().idle.clear();
    }

    /// Calls `notify` with notifications from other nodes, until the pool is dropped or `notify`
    /// returns `false`.
    #[allow(clippy::disallowed_methods)] // On the store's own runtime.
    pub(super) fn listen(&self, notify: NoticeListener) {
        if let Some(runtime) = &self.runtime {
            let node = self.notifier.node();
            runtime.spawn(listener::listen(self.target.clone(), node, notify));
        }
    }

    /// Notifies other nodes of entries of the log model; does not wait.
    pub(super) fn notify_log(&self, touched: &[Touched]) {
        self.notifier.send(touched);
    }

    /// A new session of the database, outside the pool's count.
    pub(super) fn connect(&self) -> Result<Connection, Fault> {
        let settings = format!("{}; {DEFAULTS}; {TIME_OUTS}", self.settings("SET"));
        let connection = self.connect_to(&self.target, Session::Own { settings })?;
        self.state().limit = connection.limit();
        Ok(connection)
    }

    /// A connection for transactions: through the pooler, if there is one.
    fn connect_for_requests(&self) -> Result<Connection, Fault> {
        let Some(pooler) = &self.pooler else { return self.connect() };
        let settings = format!("{}; SET LOCAL {IDLE}", self.settings("SET LOCAL"));
        let limit = self.state().limit;
        self.connect_to(pooler, Session::Chosen { settings: settings.into(), limit })
    }

    /// Checks that the pooler leads to the same database, not to a copy or a replica, as the same
    /// role and with the same search path, and that it keeps a session for a transaction.
    pub(super) fn check_pooler(&self, direct: &Connection) -> Result<(), ServerError> {
        let which = "SELECT concat_ws(' ', oid, session_user, current_schemas(true), \
                       (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint) \
                     FROM pg_database WHERE datname = current_database()";
        let which = |connection: &Connection| {
            let rows = connection.alone(which, &[])?;
            Ok::<String, Fault>(rows.first().map_or(String::new(), |row| row.get(0)))
        };
        if self.pooler.is_none() {
            return Ok(());
        }
        let failed = |why: &str| ServerError::Postgres(format!("the pooler {why}"));
        let pooled = self.connect_for_requests();
        let pooled = pooled.and_then(|pooled| which(&pooled)).map_err(|error| match error {
            Fault::Transient(why) => {
                failed(&format!("cannot be used: {why}: check the URL in pooler, and that it runs"))
            }
            other => other.into(),
        })?;
        if pooled == which(direct)? {
            return Ok(());
        }
        let why =
            "leads to another database, role or search_path than store: name the same in both URLs";
        Err(failed(why))
    }

    fn settings(&self, set: &str) -> String {
        let settings = SETTINGS.map(|setting| format!("{set} {setting}; ")).concat();
        format!("{settings}{set} lock_timeout = {}", self.waits.as_millis().max(1))
    }

    fn connect_to(&self, target: &Target, session: Session) -> Result<Connection, Fault> {
        let Some(runtime) = &self.runtime else {
            return Err(Fault::Transient(String::from("the store is closing")));
        };
        let most = self.most;
        let (within, asked) = (target.connects_within().min(most), target.clone());
        let handle = runtime.handle().clone();
        let connecting = async move {
            let (client, connection) = asked.connect().await?;
            let driver = handle.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended");
                }
            });
            let driver = driver.abort_handle();
            let (settings, limit) = match session {
                Session::Own { settings } => {
                    (None, limit_of(&client.simple_query(&settings).await?))
                }
                Session::Chosen { settings, limit } => (Some(settings), limit),
            };
            let limit = limit.min(most);
            let connection = Connection::new(client, handle, driver, limit, settings);
            Ok::<_, tokio_postgres::Error>(connection)
        };
        // A timer needs the runtime that it runs on.
        let connecting = runtime.spawn(async move { timeout(within, connecting).await });
        match wait(connecting) {
            Ok(Ok(Ok(connection))) => Ok(connection),
            Ok(Ok(Err(error))) => Err(Fault::Transient(target.log_text(&error))),
            Ok(Err(_)) => Err(Fault::Transient(String::from("the database does not answer"))),
            Err(error) => Err(Fault::Internal(error.to_string())),
        }
    }
}

/// The session's original statement timeout, in milliseconds in the last row; 0 is none.
fn limit_of(answers: &[SimpleQueryMessage]) -> Duration {
    let last = answers.iter().rev().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    last.filter(|limit| *limit > 0).map_or(LIMIT, Duration::from_millis)
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Dropping a runtime blocks, which a host's task does not allow.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Lease<'_> {
    /// Returns the connection to the pool; it must not be in a transaction.
    pub(super) fn keep(mut self) {
        if let Some(connection) = self.connection.take()
            && connection.is_reusable()
        {
            self.pool.state().idle.push(connection);
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.pool.state().taken -= 1;
        self.pool.returned.notify_one();
    }
}

impl Lease<'_> {
    /// The connection; present in every lease that was handed out.
    pub(super) fn connection(&self) -> Result<&Connection, Fault> {
        let gone = || Fault::Transient(String::from("the connection is gone"));
        self.connection.as_ref().ok_or_else(gone)
    }
}

//! The connections: taken for one transaction each, kept when it is over, made anew when the database was away.
//!
//! At most so many at once; who comes too late waits as long as a request waits for a lock. While the database is away,
//! it is asked again after a pause that doubles, and requests in between are told to come later at once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};
use tokio_postgres::SimpleQueryMessage;

use super::connection::{Connection, wait};
use super::listener;
use super::tls::Target;
use crate::error::Fault;
use crate::model::Connections;
use crate::store::Heard;

/// Connections at most: more transactions at once do not make a database faster.
const MOST: usize = 16;

pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What each session is told: one text for each value, whatever the database's or the role's own settings are. And how it plans:
/// what is asked for a user is found along an index, also in a table that has just been filled and has no statistics, by a
/// plan that is made once; other processes, and compiling, take longer than a page.
const SETTINGS: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
    SET bytea_output = 'hex'; SET extra_float_digits = 1; SET client_encoding = 'UTF8'; \
    SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
    SET default_transaction_deferrable = off; SET standard_conforming_strings = on; \
    SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off; \
    SET max_parallel_workers_per_gather = 0";

/// How long a statement of a request may take, if nothing is said of it for the role, the database or in the URL's `options`.
/// The sequencer is no such statement: what it does for one request is done for all, however long it takes.
const LIMIT: Duration = Duration::from_secs(30);

/// What the database does about a server that is silent: it probes the connection, and ends a transaction that was left open. The
/// setting that limits statements is read, and then holds for the transactions of requests only.
const TIME_OUTS: &str = "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
    SET tcp_user_timeout = 30000; \
    SELECT set_config(name, '60s', false) FROM pg_settings \
      WHERE name = 'idle_in_transaction_session_timeout' AND setting = '0'; \
    SELECT setting, set_config(name, '0', false) FROM pg_settings WHERE name = 'statement_timeout'";

/// The pool.
#[derive(Debug)]
pub(super) struct Pool {
    target: Target,
    waits: Duration,
    runtime: Option<Runtime>,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    taken: usize,
    /// How often somebody had to wait for a place.
    waits: u64,
    pause: Duration,
    not_before: Option<Instant>,
}

/// A connection that goes back, if it was called well; else it is closed.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Pool {
    /// `waits`: for how long a statement waits for a lock, and a request for a connection.
    pub(super) fn new(target: Target, waits: Duration) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("rejoin-postgres")
            .enable_all()
            .build()?;
        Ok(Self {
            target,
            waits,
            runtime: Some(runtime),
            state: Mutex::default(),
            returned: Condvar::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, an idle one if there is any.
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
        while let Some(idle) = state.idle.pop() {
            if !idle.is_closed() {
                state.taken += 1;
                return Ok(Lease { pool: self, connection: Some(idle) });
            }
        }
        if state.not_before.is_some_and(|at| Instant::now() < at) {
            return Err(Fault::Transient(String::from("the database is away")));
        }
        state.taken += 1;
        drop(state);
        // The place is held from here on, and given back by whatever way this ends.
        let mut lease = Lease { pool: self, connection: None };
        let connected = self.connect();
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

    /// What there is, and how often it was not enough.
    pub(super) fn counts(&self) -> Connections {
        let state = self.state();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Connections {
            used: number(state.taken),
            idle: number(state.idle.len()),
            waits: state.waits,
        }
    }

    /// Closes what is idle: what a failed connection was, the others may be as well.
    pub(super) fn forget_idle(&self) {
        self.state().idle.clear();
    }

    /// Calls `heard` with what other nodes tell, for as long as the pool lives or `heard` says that it is enough.
    #[allow(clippy::disallowed_methods)] // On the runtime of the store's own, beside its connections.
    pub(super) fn listen(&self, heard: Heard) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(listener::listen(self.target.clone(), heard));
        }
    }

    /// A new connection, outside the pool's count.
    pub(super) fn connect(&self) -> Result<Connection, Fault> {
        let Some(runtime) = &self.runtime else {
            return Err(Fault::Transient(String::from("the store is closing")));
        };
        let target = self.target.clone();
        let handle = runtime.handle().clone();
        let lock_timeout = self.waits.as_millis().max(1);
        let settings = format!("{SETTINGS}; SET lock_timeout = {lock_timeout}; {TIME_OUTS}");
        let most = self.target.connects_within();
        let connecting = async move {
            let (client, connection) = target.connect().await?;
            let driver = handle.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended");
                }
            });
            let limit = limit_of(&client.simple_query(&settings).await?);
            Ok::<_, tokio_postgres::Error>(Connection::new(
                client,
                handle,
                driver.abort_handle(),
                limit,
            ))
        };
        // A timer needs the runtime that it runs on.
        let connecting = runtime.spawn(async move { timeout(most, connecting).await });
        match wait(connecting) {
            Ok(Ok(Ok(connection))) => Ok(connection),
            Ok(Ok(Err(error))) => Err(Fault::Transient(self.target.log_text(&error))),
            Ok(Err(_)) => Err(Fault::Transient(String::from("the database does not answer"))),
            Err(error) => Err(Fault::Internal(error.to_string())),
        }
    }
}

/// The limit of statements that the session began with, in milliseconds in the last row; 0 is none.
fn limit_of(answers: &[SimpleQueryMessage]) -> Duration {
    let last = answers.iter().rev().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    last.filter(|limit| *limit > 0).map_or(LIMIT, Duration::from_millis)
}

impl Drop for Pool {
    fn drop(&mut self) {
        // A runtime must not be waited for where it may be dropped: in a task of somebody else's.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Lease<'_> {
    /// Gives the connection back for the next one: it is in no transaction.
    pub(super) fn keep(mut self) {
        if let Some(connection) = self.connection.take()
            && !connection.is_closed()
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
    /// The connection; a lease that was handed out has one.
    pub(super) fn connection(&self) -> Result<&Connection, Fault> {
        let gone = || Fault::Transient(String::from("the connection is gone"));
        self.connection.as_ref().ok_or_else(gone)
    }
}

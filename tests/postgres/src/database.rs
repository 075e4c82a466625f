//! Test databases, and sessions of programs other than the server under test.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use postgres::{Client, NoTls, SimpleQueryMessage};

use crate::{Cluster, ClusterOptions, SHARED_SETTINGS, StartError, URL_VARIABLE};

/// The server shared by all tests of a process.
struct Shared {
    /// Ends in `/`; the name of a database follows.
    url: String,
    /// Kept until the process ends.
    _cluster: Option<Cluster>,
}

static SHARED: OnceLock<Result<Shared, StartError>> = OnceLock::new();
static DATABASES: AtomicU64 = AtomicU64::new(0);

fn shared() -> Result<Shared, StartError> {
    if let Ok(url) = std::env::var(URL_VARIABLE) {
        return Ok(Shared { url: format!("{}/", url.trim_end_matches('/')), _cluster: None });
    }
    let options = ClusterOptions { settings: SHARED_SETTINGS, ..ClusterOptions::default() };
    let cluster = Cluster::start(&options)?;
    Ok(Shared { url: cluster.url(""), _cluster: Some(cluster) })
}

/// A database.
#[derive(Debug)]
pub struct Database {
    /// Its URL, as the superuser.
    pub url: String,
    kept: Mutex<Option<Session>>,
}

impl Database {
    /// Creates an empty database, in the server of [`URL_VARIABLE`] or in a cluster that this
    /// process starts once.
    ///
    /// # Errors
    /// No server is available.
    ///
    /// # Panics
    /// The server cannot create a database.
    pub fn create() -> Result<Self, &'static StartError> {
        let server = SHARED.get_or_init(shared).as_ref()?;
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("rejoin_test_{}_{number}", std::process::id());
        let admin = Session::to(&format!("{}postgres", server.url));
        admin.run(&format!("DROP DATABASE IF EXISTS {name}"));
        admin.run(&format!("CREATE DATABASE {name}"));
        Ok(Self::at(&format!("{}{name}", server.url)))
    }

    /// Like [`Database::create`], for a test that requires a server.
    ///
    /// # Panics
    /// There is no PostgreSQL. `cargo xtask test` skips such tests and counts them.
    #[track_caller]
    pub fn new() -> Self {
        Self::create().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The database of this URL.
    pub fn at(url: &str) -> Self {
        Self { url: url.to_owned(), kept: Mutex::default() }
    }

    /// Copies the database and returns the copy's URL. Ends all sessions; they may reconnect.
    ///
    /// # Panics
    /// Sessions reconnect faster than they are ended.
    pub fn copy(&self) -> String {
        let (server, name) = self.parts();
        let admin = self.admin();
        let copy = format!("{name}_copy");
        admin.run(&format!("DROP DATABASE IF EXISTS {copy}"));
        for _ in 0..100 {
            admin.run(&format!("SELECT pg_terminate_backend(pid) {}", sessions(name)));
            if admin.attempt(&format!("CREATE DATABASE {copy} TEMPLATE {name}")).is_ok() {
                return format!("{server}/{copy}");
            }
        }
        panic!("{name} still has sessions");
    }

    /// Replaces the database with a copy made by [`Database::copy`]. Ends all sessions.
    pub fn replace_by(&self, copy: &str) {
        let (_, name) = self.parts();
        let copy = copy.rsplit('/').next().unwrap_or(copy);
        let admin = self.admin();
        admin.run(&format!("DROP DATABASE {name} WITH (FORCE)"));
        admin.run(&format!("CREATE DATABASE {name} TEMPLATE {copy}"));
    }

    /// Removes the database and its copy. Ends all sessions. Does nothing if the server is not
    /// running.
    pub fn remove(&self) {
        let (server, name) = self.parts();
        let Ok(admin) = Session::open(&format!("{server}/postgres")) else { return };
        for name in [&format!("{name}_copy"), name] {
            // A database that cannot be removed uses space until the cluster stops, but no test
            // depends on it.
            let _ = admin.attempt(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }

    /// Ends all sessions and refuses new ones, as if the database were unreachable.
    pub fn close(&self) {
        let (_, name) = self.parts();
        let admin = self.admin();
        admin.run(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
        admin.run(&format!("SELECT pg_terminate_backend(pid) {}", sessions(name)));
        while admin.one(&format!("SELECT count(*) {}", sessions(name))) != "0" {
            std::thread::yield_now();
        }
    }

    /// Accepts sessions again.
    pub fn reopen(&self) {
        let (_, name) = self.parts();
        self.admin().run(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
    }

    /// A role name that is unique to this database: roles are shared by the whole server.
    pub fn role(&self, purpose: &str) -> String {
        format!("rejoin_{purpose}_of_{}", self.parts().1)
    }

    /// The only cell of a query, using a cached session.
    pub fn one(&self, sql: &str) -> String {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // The server may have ended the session; a new one then reports any error.
        if kept.as_ref().is_none_or(|session| session.attempt("").is_err()) {
            *kept = Some(self.session());
        }
        kept.as_ref().map(|session| session.one(sql)).unwrap_or_default()
    }

    /// Runs statements that must succeed, in a separate session.
    ///
    /// # Panics
    /// A statement fails.
    #[track_caller]
    pub fn run(&self, sql: &str) {
        self.session().run(sql);
    }

    /// Opens a session.
    pub fn session(&self) -> Session {
        Session::to(&self.url)
    }

    /// The server's URL and the database's name.
    fn parts(&self) -> (&str, &str) {
        self.url.rsplit_once('/').unwrap_or((&self.url, ""))
    }

    fn admin(&self) -> Session {
        Session::to(&format!("{}/postgres", self.parts().0))
    }
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

fn sessions(database: &str) -> String {
    format!("FROM pg_stat_activity WHERE datname = '{database}'")
}

/// The rows of one statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultSet {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The cells of each row as text; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// A session of a program other than the server under test. It can also be used inside an async
/// runtime.
pub struct Session(Mutex<Option<Client>>);

impl Session {
    /// Connects.
    ///
    /// # Panics
    /// The server refuses the connection.
    #[track_caller]
    pub fn to(url: &str) -> Self {
        Self::open(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// Connects, unless the server refuses the connection.
    fn open(url: &str) -> Result<Self, postgres::Error> {
        let client = blocking(|| Client::connect(url, NoTls))?;
        Ok(Self(Mutex::new(Some(client))))
    }

    /// Runs statements that must succeed.
    ///
    /// # Panics
    /// A statement fails.
    #[track_caller]
    pub fn run(&self, sql: &str) {
        self.attempt(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs statements.
    ///
    /// # Errors
    /// SQLSTATE and message.
    pub fn attempt(&self, sql: &str) -> Result<(), String> {
        self.with(|client| client.batch_execute(sql)).map_err(|error| message(&error))
    }

    /// Every row of the statements, its cells as text.
    ///
    /// # Errors
    /// SQLSTATE and message.
    pub fn cells(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        Ok(self.results(sql)?.into_iter().flat_map(|set| set.rows).collect())
    }

    /// The rows of each statement that returns rows, from one message to the server.
    ///
    /// # Errors
    /// SQLSTATE and message.
    pub fn results(&self, sql: &str) -> Result<Vec<ResultSet>, String> {
        let found = self.with(|client| client.simple_query(sql));
        let mut sets: Vec<ResultSet> = Vec::new();
        for message in found.map_err(|error| message(&error))? {
            match (message, sets.last_mut()) {
                (SimpleQueryMessage::RowDescription(columns), _) => {
                    let columns = columns.iter().map(|column| column.name().to_owned());
                    sets.push(ResultSet { columns: columns.collect(), rows: Vec::new() });
                }
                (SimpleQueryMessage::Row(row), Some(set)) => {
                    let cells = (0..row.len()).map(|at| row.get(at).map(str::to_owned));
                    set.rows.push(cells.collect());
                }
                _ => {}
            }
        }
        Ok(sets)
    }

    /// Every row of a query as text: cells joined by spaces, NULL as `NULL`.
    ///
    /// # Panics
    /// The query fails.
    #[track_caller]
    pub fn lines(&self, sql: &str) -> Vec<String> {
        let rows = self.cells(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let cell = |cell: Option<String>| cell.unwrap_or_else(|| String::from("NULL"));
        rows.into_iter()
            .map(|cells| cells.into_iter().map(cell).collect::<Vec<_>>().join(" "))
            .collect()
    }

    /// The only cell of a query.
    #[track_caller]
    pub fn one(&self, sql: &str) -> String {
        self.lines(sql).into_iter().next().unwrap_or_default()
    }

    fn with<T: Send>(&self, work: impl FnOnce(&mut Client) -> T + Send) -> T {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let client = guard.as_mut().expect("the client exists until the session is dropped");
        blocking(move || work(client))
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let client = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        blocking(move || drop(client));
    }
}

fn message(error: &postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |error| format!("{}: {}", error.code().code(), error.message()),
    )
}

/// Runs a closure on a separate thread: a blocking client must not block an async runtime.
///
/// # Panics
/// The closure panics.
pub fn blocking<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

//! A real PostgreSQL for the tests: `REJOIN_TEST_POSTGRES_URL`, else a server of the binaries that are found here, started once
//! for the whole run, and a database for each test.
//!
//! A server of our own ends with this process, however that ends (`rejoin-postgres`). Where there is no PostgreSQL the tests that need
//! one say so by name and do nothing, but where `CI=true` they fail.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use rejoin_postgres::{Cluster, ClusterOptions, StartError};
use tokio_postgres::NoTls;

/// A server, and where it is.
struct Served {
    /// Ends in `/`; a database's name comes behind it.
    url: String,
    /// Held for as long as this process lives.
    _cluster: Option<Cluster>,
}

static CLUSTER: OnceLock<Option<Served>> = OnceLock::new();
static DATABASES: AtomicU64 = AtomicU64::new(0);

/// A database of this test's own, empty.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) url: String,
    looks: Mutex<Option<Session>>,
}

impl Database {
    /// `None`, and a line that names the test, if there is no PostgreSQL here.
    pub(crate) fn new() -> Option<Self> {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let Some(cluster) = CLUSTER.get_or_init(start) else {
            let why = "no PostgreSQL: set REJOIN_TEST_POSTGRES_URL, install one, or run \
                       `cargo xtask toolchain postgres`";
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: {why}");
            skip(&test, why);
            return None;
        };
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("rejoin_test_{}_{number}", std::process::id());
        let admin = Session::to(&format!("{}postgres", cluster.url));
        admin.run(&format!("DROP DATABASE IF EXISTS {name}"));
        admin.run(&format!("CREATE DATABASE {name}"));
        Some(Self { url: format!("{}{name}", cluster.url), looks: Mutex::default() })
    }

    /// A database of whoever's; it is there, or is made by him.
    pub(crate) fn at(url: &str) -> Self {
        Self { url: url.to_owned(), looks: Mutex::default() }
    }

    /// The URL of a database that is what this one is now. Whoever is connected is thrown out, and may come again.
    pub(crate) fn copy(&self) -> String {
        let (server, name) = self.url.rsplit_once('/').unwrap();
        let admin = Session::to(&format!("{server}/postgres"));
        let copy = format!("{name}_copy");
        admin.run(&format!("DROP DATABASE IF EXISTS {copy}"));
        let thrown_out = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        for _ in 0..100 {
            admin.run(&thrown_out);
            if admin.attempt(&format!("CREATE DATABASE {copy} TEMPLATE {name}")).is_ok() {
                return format!("{server}/{copy}");
            }
        }
        panic!("{name} is never alone");
    }

    /// Throws everybody out and lets nobody in, as if the database were away.
    pub(crate) fn close(&self) {
        let (server, name) = self.url.rsplit_once('/').unwrap();
        let admin = Session::to(&format!("{server}/postgres"));
        admin.run(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
        let others = format!("FROM pg_stat_activity WHERE datname = '{name}'");
        admin.run(&format!("SELECT pg_terminate_backend(pid) {others}"));
        while admin.one(&format!("SELECT count(*) {others}")) != "0" {
            std::thread::yield_now();
        }
    }

    /// Lets everybody in again.
    pub(crate) fn reopen(&self) {
        let (server, name) = self.url.rsplit_once('/').unwrap();
        let admin = Session::to(&format!("{server}/postgres"));
        admin.run(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
    }

    /// Puts what [`copy`](Self::copy) has made in the place of this one, from which everybody is thrown out.
    #[allow(dead_code)] // For the stories of devices, which share this file.
    pub(crate) fn become_copy_of(&self, copy: &str) {
        let (server, name) = self.url.rsplit_once('/').unwrap();
        let copy = copy.rsplit('/').next().unwrap();
        let admin = Session::to(&format!("{server}/postgres"));
        admin.run(&format!("DROP DATABASE {name} WITH (FORCE)"));
        admin.run(&format!("CREATE DATABASE {name} TEMPLATE {copy}"));
    }

    /// The name of a role of this database's own: roles are the whole server's.
    pub(crate) fn role(&self, what: &str) -> String {
        let name = self.url.rsplit('/').next().unwrap();
        format!("rejoin_{what}_of_{name}")
    }

    /// The only cell of a query, by a session that is kept for that.
    pub(crate) fn one(&self, sql: &str) -> String {
        let mut looks = self.looks.lock().unwrap();
        let kept = looks.take().filter(|session| !session.client.is_closed());
        looks.insert(kept.unwrap_or_else(|| self.session())).one(sql)
    }

    /// Another program's session.
    pub(crate) fn session(&self) -> Session {
        Session::to(&self.url)
    }
}

/// Beside the captured output: what was skipped is seen in every run.
pub(crate) fn skip(test: &str, why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "\nskipped: {test}: {why}");
}

/// A session of another program, which knows nothing of us.
#[derive(Debug)]
pub(crate) struct Session {
    client: tokio_postgres::Client,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Session {
    pub(crate) fn to(url: &str) -> Self {
        let url = url.to_owned();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let handle = runtime.handle().clone();
        let client = outside(move || {
            handle.block_on(async {
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
                handle.spawn(async move { drop(connection.await) });
                client
            })
        });
        Self { client, runtime: Some(runtime) }
    }

    /// Runs statements that must succeed.
    pub(crate) fn run(&self, sql: &str) {
        self.attempt(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs statements; the error in words.
    pub(crate) fn attempt(&self, sql: &str) -> Result<(), String> {
        let handle = self.handle();
        outside(|| handle.block_on(self.client.batch_execute(sql))).map_err(|error| words(&error))
    }

    /// Every row of the statements, its cells as text; the error in words.
    pub(crate) fn cells(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let handle = self.handle();
        let found = outside(|| handle.block_on(self.client.simple_query(sql)));
        let cells = |row: &tokio_postgres::SimpleQueryRow| {
            (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()
        };
        let rows =
            found.map_err(|error| words(&error))?.into_iter().filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => Some(cells(&row)),
                _ => None,
            });
        Ok(rows.collect())
    }

    /// Every row of a query, its cells as text, NULL as `NULL`, joined by spaces.
    pub(crate) fn lines(&self, sql: &str) -> Vec<String> {
        let rows = self.cells(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let cell = |cell: Option<String>| cell.unwrap_or_else(|| String::from("NULL"));
        rows.into_iter()
            .map(|cells| cells.into_iter().map(cell).collect::<Vec<_>>().join(" "))
            .collect()
    }

    /// The only cell of a query.
    pub(crate) fn one(&self, sql: &str) -> String {
        self.lines(sql).into_iter().next().unwrap_or_default()
    }

    fn handle(&self) -> tokio::runtime::Handle {
        self.runtime.as_ref().unwrap().handle().clone()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn words(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |error| format!("{}: {}", error.code().code(), error.message()),
    )
}

/// Runs on a thread of its own, for a runtime may not be waited for within another one.
pub(crate) fn outside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

fn start() -> Option<Served> {
    if let Ok(url) = std::env::var("REJOIN_TEST_POSTGRES_URL") {
        return Some(Served { url: format!("{}/", url.trim_end_matches('/')), _cluster: None });
    }
    let settings = "-c full_page_writes=off -c synchronous_commit=off -c max_connections=400 \
                    -c max_prepared_transactions=20 -c shared_buffers=64MB";
    match Cluster::start(&ClusterOptions { settings, ..ClusterOptions::default() }) {
        Ok(cluster) => Some(Served { url: cluster.url(""), _cluster: Some(cluster) }),
        Err(StartError::NoPrograms) => None,
        Err(why) => panic!("{why}"),
    }
}

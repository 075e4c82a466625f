//! A real PostgreSQL for the tests: `REJOIN_TEST_POSTGRES_URL`, else a server of the binaries that are found here, started once
//! for the whole run, and a database for each test.
//!
//! A server of our own keeps nothing that is worth keeping (fsync is off), runs as somebody without rights (`initdb` refuses
//! root), on a free loopback port, and ends with this process, however that ends: a shell that reads its standard
//! input stops it when the other end of the pipe is gone. Where there is no PostgreSQL the tests that need one say so
//! by name and do nothing, but where `CI=true` they fail.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tokio_postgres::NoTls;

/// A server, and where it is.
struct Cluster {
    /// Ends in `/`; a database's name comes behind it.
    url: String,
    /// Held for as long as this process lives.
    _server: Option<(Child, ChildStdin)>,
}

static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
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

fn start() -> Option<Cluster> {
    if let Ok(url) = std::env::var("REJOIN_TEST_POSTGRES_URL") {
        return Some(Cluster { url: format!("{}/", url.trim_end_matches('/')), _server: None });
    }
    let binaries = binaries()?;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = std::env::temp_dir().join(format!("rejoin-postgres-{}", std::process::id()));
    let server = serve(&binaries, &folder, port);
    let url = format!("postgres://postgres@127.0.0.1:{port}/");
    let ready = |url: &str| {
        outside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let url = format!("{url}postgres");
            runtime.unwrap().block_on(async {
                tokio_postgres::connect(&url, NoTls).await.map(drop).map_err(|error| words(&error))
            })
        })
    };
    let mut last = String::new();
    for _ in 0..600 {
        match ready(&url) {
            Ok(()) => return Some(Cluster { url, _server: Some(server) }),
            Err(error) => last = error,
        }
        // The one place that waits for a program of somebody else's, which says nothing when it is ready.
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the PostgreSQL of {} does not come up: {last}", binaries.display());
}

/// Makes a cluster and serves it, from a shell that ends it when our end of the pipe goes.
fn serve(binaries: &Path, folder: &Path, port: u16) -> (Child, ChildStdin) {
    // Without rights: as root there is `setpriv`, and nobody owns the folder.
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let drop_rights =
        if is_root { "setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "" };
    let settings = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=400 \
                    -c max_prepared_transactions=20 -c shared_buffers=64MB -c listen_addresses=127.0.0.1";
    let script = format!(
        "trap '' INT # An interrupt is for whoever asked; what is here ends with the pipe, and leaves nothing.
         mkdir -p \"$1\" && cd \"$1\" || exit 1
         programs=$2
         if [ -n '{drop_rights}' ]; then
           chown 65534 \"$1\"
           # What lies in a folder of root's is copied to where nobody can run it.
           {drop_rights} test -x \"$2/postgres\" || {{ cp -r \"$2/..\" \"$1/programs\"; programs=$1/programs/bin; }}
         fi
         export HOME=\"$1\" LC_ALL=C.UTF-8
         {drop_rights} \"$programs/initdb\" -D \"$1/data\" -U postgres -A trust -E UTF8 --no-sync >\"$1/initdb.log\" 2>&1 </dev/null \
           || {{ cat \"$1/initdb.log\" >&2; exit 1; }}
         {drop_rights} \"$programs/postgres\" -D \"$1/data\" -p \"$3\" -k \"$1\" {settings} >\"$1/server.log\" 2>&1 </dev/null &
         server=$!
         cat >/dev/null
         kill -INT $server; wait $server; rm -rf \"$1\""
    );
    let mut child = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(folder)
        .arg(binaries)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pipe = child.stdin.take().unwrap();
    (child, pipe)
}

/// Where `initdb` and `postgres` are: on the PATH, where Debian puts them, or in the cache of `cargo xtask toolchain`.
pub(crate) fn binaries() -> Option<PathBuf> {
    let has = |folder: &PathBuf| {
        ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file())
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let below = |folder: PathBuf, prefix: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path().join("bin"))
            .collect();
        found.sort();
        found.reverse();
        found
    };
    let debian = below(PathBuf::from("/usr/lib/postgresql"), "");
    let cached = cache().map_or_else(Vec::new, |cache| below(cache, "postgres-"));
    on_path.into_iter().chain(debian).chain(cached).find(has)
}

fn cache() -> Option<PathBuf> {
    let variable =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("REJOIN_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("rejoin")))
        .or_else(|| Some(variable("HOME")?.join(".cache/rejoin")))
}

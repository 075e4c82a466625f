//! A PostgreSQL of the run's own, of the programs that are found here, with the durability that it comes with: fsync is on, and a
//! commit waits for it. Server and floor speak to the same cluster, so that they pay the same.
//!
//! It runs as somebody without rights (`initdb` refuses root), on a free loopback port, and ends with this process, however that
//! ends: a shell that reads its standard input stops it when the other end of the pipe is gone.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// What is not as it comes.
const SETTINGS: &str = "-c shared_buffers=512MB -c max_wal_size=4GB -c max_connections=100 -c listen_addresses=127.0.0.1";

/// What lets the log say how each statement was done, also within functions.
const EXPLAINS: &str = "-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0 \
    -c auto_explain.log_analyze=on -c auto_explain.log_buffers=on -c auto_explain.log_timing=off \
    -c auto_explain.log_nested_statements=on -c auto_explain.log_format=json -c log_line_prefix=";

/// A cluster that runs.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    port: u16,
    server: Child,
    pipe: Option<ChildStdin>,
}

impl Cluster {
    /// Starts one. `explains`: its log has the plan of each statement.
    pub(crate) fn start(explains: bool) -> Result<Self> {
        let binaries = binaries()
            .context("no PostgreSQL: install one, or run `cargo xtask toolchain postgres`")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let settings =
            if explains { format!("{SETTINGS} {EXPLAINS}") } else { SETTINGS.to_owned() };
        let (server, pipe) = serve(&binaries, folder.path(), port, &settings)?;
        let cluster = Self { folder, port, server, pipe: Some(pipe) };
        let mut last = None;
        for _ in 0..600 {
            match Session::to(&cluster.url("postgres")) {
                Ok(session) => {
                    let version = session.one("SHOW server_version")?;
                    eprintln!(
                        "PostgreSQL {version}, its own durability (fsync and synchronous_commit on)"
                    );
                    return Ok(cluster);
                }
                Err(error) => last = Some(error),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the PostgreSQL of {} does not come up: {last:?}", binaries.display())
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a database.
    pub(crate) fn database(&self, name: &str) -> Result<String> {
        Session::to(&self.url("postgres"))?.run(&format!("CREATE DATABASE {name}"))?;
        Ok(self.url(name))
    }

    /// The log so far.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.folder.path().join("run/server.log"))?)
            .into_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.server.wait();
    }
}

/// A session of another program. One thread does its work, so that no other one has to be woken for an answer.
pub(crate) struct Session {
    pub(crate) client: Client,
    runtime: Runtime,
}

impl Session {
    pub(crate) fn to(url: &str) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(async move { drop(connection.await) });
            anyhow::Ok(client)
        })?;
        Ok(Self { client, runtime })
    }

    /// Waits for what the session's client is asked.
    pub(crate) fn wait<T>(
        &self,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        Ok(self.runtime.block_on(asked)?)
    }

    pub(crate) fn run(&self, sql: &str) -> Result<()> {
        let done = self.wait(self.client.batch_execute(sql));
        done.with_context(|| sql.chars().take(300).collect::<String>())
    }

    /// Every row of a query, its cells as text.
    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let messages = self.wait(self.client.simple_query(sql))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let cell = |at| row.get(at).unwrap_or_default().to_owned();
                Some((0..row.len()).map(cell).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The only cell of a query.
    pub(crate) fn one(&self, sql: &str) -> Result<String> {
        let row = self.rows(sql)?.into_iter().next();
        row.and_then(|row| row.into_iter().next()).with_context(|| format!("{sql}: no row"))
    }
}

/// Makes a cluster and serves it, from a shell that ends it when our end of the pipe goes.
fn serve(binaries: &Path, folder: &Path, port: u16, settings: &str) -> Result<(Child, ChildStdin)> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let drop_rights =
        if is_root { "setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "" };
    let script = format!(
        "chmod 755 \"$1\"; mkdir -p \"$1/run\" && cd \"$1/run\" || exit 1
         programs=$2
         if [ -n '{drop_rights}' ]; then
           chown 65534 \"$1/run\"
           # What lies in a folder of root's is copied to where nobody can run it.
           {drop_rights} test -x \"$2/postgres\" || {{ cp -r \"$2/..\" \"$1/programs\"; programs=$1/programs/bin; }}
         fi
         export HOME=\"$1/run\" LC_ALL=C.UTF-8
         {drop_rights} \"$programs/initdb\" -D \"$1/run/data\" -U postgres -A trust -E UTF8 >initdb.log 2>&1 </dev/null \
           || {{ cat initdb.log >&2; exit 1; }}
         {drop_rights} \"$programs/postgres\" -D \"$1/run/data\" -p \"$3\" -k \"$1/run\" {settings} >server.log 2>&1 </dev/null &
         server=$!
         cat >/dev/null
         kill -INT $server; wait $server"
    );
    let mut child = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(folder)
        .arg(binaries)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let pipe = child.stdin.take();
    ensure!(pipe.is_some(), "a shell without a pipe");
    pipe.map(|pipe| (child, pipe)).context("a shell without a pipe")
}

/// Where `initdb` and `postgres` are: on the PATH, where Debian puts them, or in the cache of `cargo xtask toolchain`.
fn binaries() -> Option<PathBuf> {
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

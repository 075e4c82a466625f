//! A temporary cluster: created by `initdb`, or by `pg_basebackup` as a standby, served on a free
//! loopback port, removed when the process exits.
//!
//! A shell runs the server and reads commands from a pipe (`stop`, `start`). When the pipe closes
//! because this process exited, the shell stops the server and removes its folder. `initdb` refuses
//! to run as root, so the shell then switches to an unprivileged user.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Why a cluster could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `initdb` and `postgres` were not found.
    #[error(
        "no PostgreSQL: install one, run `cargo xtask toolchain postgres`, or set {}",
        crate::URL_VARIABLE
    )]
    NoPrograms,
    /// The shell or a file failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The server was started and did not become ready.
    #[error("PostgreSQL in {} does not start: {reason}", .programs.display())]
    NotReady {
        /// The folder of its programs.
        programs: PathBuf,
        /// The end of its log.
        reason: String,
    },
}

/// Options of a cluster.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClusterOptions<'a> {
    /// Further options of `postgres`, for example `-c shared_buffers=32MB`.
    pub settings: &'a str,
    /// Files beside the data folder, by name and text; `hba` replaces `pg_hba.conf`.
    pub files: &'a [(&'a str, &'a str)],
    /// Whether a commit waits for the disk (default: no).
    pub durable: bool,
    /// The port of a cluster: this one is then a hot standby of it, by streaming replication.
    pub standby_of: Option<u16>,
}

/// A running cluster that can be stopped and started again.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    commands: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    shell: Child,
}

static CLUSTERS: AtomicU64 = AtomicU64::new(0);

const SCRIPT: &str = r#"
trap '' INT # An interrupt is for the test; the cluster ends with the pipe.
mkdir -p "$1" && chmod 755 "$1" && cd "$1" || exit 1
programs=$2
if [ "$(id -u)" = 0 ]; then
  run="setpriv --reuid=65534 --regid=65534 --clear-groups"
  chown -R 65534 "$1"
  # Programs in a folder that only root can read are copied.
  $run test -x "$2/postgres" || { cp -r "$2/.." "$1/programs"; programs=$1/programs/bin; }
fi
export HOME="$1" LC_ALL=C.UTF-8
if [ -n "$6" ]; then
  # Beside the program itself, to which a folder on the PATH may only link.
  $run "$(dirname "$(readlink -f "$programs/postgres")")/pg_basebackup" -D "$1/data" -h 127.0.0.1 -p "$6" -U postgres -R -X stream -c fast $5
else
  $run "$programs/initdb" -D "$1/data" -U postgres -A trust -E UTF8 $5
fi >create.log 2>&1 </dev/null || { cat create.log >&2; exit 1; }
[ -e hba ] && cp hba data/pg_hba.conf
start() {
  $run "$programs/postgres" -D "$1/data" -p "$3" -k "$1" -c listen_addresses=127.0.0.1 $4 >>server.log 2>&1 </dev/null &
  server=$!
}
start "$@"
while read -r word; do
  case $word in
    stop) kill -QUIT $server; wait $server; rm -f data/postmaster.pid ;;
    start) start "$@" ;;
  esac
  echo "$word"
done
kill -QUIT $server; wait $server; cd /
# Hundreds of databases are 200,000 files, whose removal takes minutes: it continues in the background.
rm -rf "$1" >/dev/null 2>&1 </dev/null &
"#;

impl Cluster {
    /// Creates a cluster, starts it, and waits until it accepts connections.
    ///
    /// # Errors
    /// [`StartError::NoPrograms`] where PostgreSQL is not installed; the others where it fails.
    pub fn start(options: &ClusterOptions<'_>) -> Result<Self, StartError> {
        // Another program may take the free port before the server listens on it.
        for _ in 0..3 {
            match Self::start_once(options) {
                Err(StartError::NotReady { reason, .. }) if reason.contains("could not bind") => {}
                started => return started,
            }
        }
        Self::start_once(options)
    }

    fn start_once(options: &ClusterOptions<'_>) -> Result<Self, StartError> {
        let programs = programs().ok_or(StartError::NoPrograms)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("rejoin-postgres-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        for (name, text) in options.files {
            std::fs::create_dir_all(&folder)?;
            write_private(&folder.join(name), text)?;
        }
        let fsync = if options.durable { "" } else { "-c fsync=off " };
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(&folder)
            .arg(&programs)
            .arg(port.to_string())
            .arg(format!("{fsync}{}", options.settings))
            .arg(if options.durable { "" } else { "--no-sync" })
            .arg(options.standby_of.map_or_else(String::new, |port| port.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let no_pipe = || std::io::Error::other("the shell has no pipe");
        let commands = Some(shell.stdin.take().ok_or_else(no_pipe)?);
        let replies = BufReader::new(shell.stdout.take().ok_or_else(no_pipe)?);
        let mut cluster = Self { folder, programs, port, commands, replies, shell };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database, as the superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The server's log so far.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn log(&self) -> std::io::Result<String> {
        let log = std::fs::read(self.folder.join("server.log"))?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// Stops the server immediately, without closing sessions.
    ///
    /// # Errors
    /// The shell ended.
    pub fn stop(&mut self) -> std::io::Result<()> {
        self.command("stop")
    }

    /// Restarts the server with the same files, and waits until it accepts connections.
    ///
    /// # Errors
    /// As of [`Cluster::start`].
    pub fn start_again(&mut self) -> Result<(), StartError> {
        self.command("start")?;
        self.wait_until_ready()
    }

    fn command(&mut self, word: &str) -> std::io::Result<()> {
        if let Some(commands) = &mut self.commands {
            writeln!(commands, "{word}")?;
        }
        let mut reply = String::new();
        self.replies.read_line(&mut reply)?;
        if reply.trim() == word { Ok(()) } else { Err(std::io::Error::other("the shell ended")) }
    }

    /// Waits for the word `ready` in `postmaster.pid`, as `pg_ctl --wait` does.
    fn wait_until_ready(&mut self) -> Result<(), StartError> {
        let status = self.folder.join("data/postmaster.pid");
        for _ in 0..1_200 {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            if text.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            if self.shell.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        let reason = self.log().unwrap_or_default();
        Err(StartError::NotReady { programs: self.programs.clone(), reason })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.shell.wait();
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// The folder of `initdb` and `postgres`: on the PATH, where Debian installs them, or in the cache of `cargo xtask
/// toolchain`.
pub fn programs() -> Option<PathBuf> {
    let has_both = |folder: &PathBuf| {
        ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file())
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let debian = newest_first(PathBuf::from("/usr/lib/postgresql"), "");
    let cached = cache().map_or_else(Vec::new, |cache| newest_first(cache, "postgres-"));
    on_path.into_iter().chain(debian).chain(cached).find(has_both)
}

/// `pg_basebackup`, beside the programs of [`programs`], which may be links.
pub fn basebackup() -> Option<PathBuf> {
    let server = programs()?.join("postgres").canonicalize().ok()?;
    Some(server.with_file_name("pg_basebackup")).filter(|program| program.is_file())
}

/// The `bin` folders of the versions below a folder.
fn newest_first(folder: PathBuf, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join("bin"))
        .collect();
    found.sort();
    found.reverse();
    found
}

fn cache() -> Option<PathBuf> {
    let variable =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("REJOIN_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("rejoin")))
        .or_else(|| Some(variable("HOME")?.join(".cache/rejoin")))
}

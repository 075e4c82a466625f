//! A PostgreSQL for tests and benches: its programs are found where they usually are, and a cluster of its own is made and served.
//!
//! It keeps nothing that is worth keeping, runs as somebody without rights (`initdb` refuses root), on a free loopback port, and ends
//! with this process, however that ends: the shell that holds it reads words from us (`stop`, `start`), and takes everything away when
//! the other end of the pipe is gone.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_postgres::NoTls;

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The programs are nowhere.
    #[error("no programs of PostgreSQL: install one, or run `cargo xtask toolchain postgres`")]
    NoPrograms,
    /// The shell, or a file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It was started, and does not answer.
    #[error("the PostgreSQL of {} does not come up: {why}", .programs.display())]
    Down {
        /// Where its programs are.
        programs: PathBuf,
        /// What came of asking it, or what it said last.
        why: String,
    },
}

/// What a cluster is to be like.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// Further options of `postgres`, such as `-c shared_buffers=32MB`.
    pub settings: &'a str,
    /// Files beside its data folder, by name and text; `hba` is taken for its `pg_hba.conf`.
    pub files: &'a [(&'a str, &'a str)],
    /// Whether a commit waits for the disk, as it does where nothing is set.
    pub durable: bool,
}

/// A cluster that is served, and can be stopped and started.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    words: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    shell: Child,
}

static CLUSTERS: AtomicU64 = AtomicU64::new(0);

const SCRIPT: &str = r#"
trap '' INT # An interrupt is for whoever asked; what is here ends with the pipe, and leaves nothing.
mkdir -p "$1" && chmod 755 "$1" && cd "$1" || exit 1
programs=$2
if [ "$(id -u)" = 0 ]; then
  run="setpriv --reuid=65534 --regid=65534 --clear-groups"
  chown -R 65534 "$1"
  # What lies in a folder of root's is copied to where nobody can run it.
  $run test -x "$2/postgres" || { cp -r "$2/.." "$1/programs"; programs=$1/programs/bin; }
fi
export HOME="$1" LC_ALL=C.UTF-8
$run "$programs/initdb" -D "$1/data" -U postgres -A trust -E UTF8 $5 >initdb.log 2>&1 </dev/null || { cat initdb.log >&2; exit 1; }
[ -e hba ] && cp hba data/pg_hba.conf
start() {
  $run "$programs/postgres" -D "$1/data" -p "$3" -k "$1" -c listen_addresses=127.0.0.1 $4 >>server.log 2>&1 </dev/null &
  server=$!
}
start "$@"
while read -r word; do
  case $word in
    stop) kill -QUIT $server; wait $server ;;
    start) start "$@" ;;
  esac
  echo "$word"
done
kill -QUIT $server; wait $server; cd /; rm -rf "$1"
"#;

impl Cluster {
    /// Makes one and serves it; waits until it answers.
    pub fn start(wishes: &Wishes<'_>) -> Result<Self, StartError> {
        let programs = programs().ok_or(StartError::NoPrograms)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("rejoin-postgres-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        for (name, text) in wishes.files {
            std::fs::create_dir_all(&folder)?;
            write_private(&folder.join(name), text)?;
        }
        let quick = if wishes.durable { "" } else { "-c fsync=off " };
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(&folder)
            .arg(&programs)
            .arg(port.to_string())
            .arg(format!("{quick}{}", wishes.settings))
            .arg(if wishes.durable { "" } else { "--no-sync" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let no_pipe = || std::io::Error::other("a shell without a pipe");
        let words = Some(shell.stdin.take().ok_or_else(no_pipe)?);
        let answers = BufReader::new(shell.stdout.take().ok_or_else(no_pipe)?);
        let mut cluster = Self { folder, programs, port, words, answers, shell };
        cluster.wait_until_up()?;
        Ok(cluster)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database, by whoever may do everything.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// What the server has logged so far.
    pub fn log(&self) -> std::io::Result<String> {
        let log = std::fs::read(self.folder.join("server.log"))?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// Ends the server at once, in the middle of whatever it does: nobody is told goodbye.
    pub fn stop(&mut self) -> std::io::Result<()> {
        self.say("stop")
    }

    /// Starts it again over the same files, and waits until it answers.
    pub fn start_again(&mut self) -> Result<(), StartError> {
        self.say("start")?;
        self.wait_until_up()
    }

    fn say(&mut self, word: &str) -> std::io::Result<()> {
        if let Some(words) = &mut self.words {
            writeln!(words, "{word}")?;
        }
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        if answer.trim() == word { Ok(()) } else { Err(std::io::Error::other("the shell ended")) }
    }

    fn wait_until_up(&mut self) -> Result<(), StartError> {
        let mut why = String::new();
        for _ in 0..1_200 {
            match asked(&self.url("postgres")) {
                Ok(()) => return Ok(()),
                Err(error) => why = error,
            }
            if let Some(status) = self.shell.try_wait()? {
                why = format!("{status}: {}", self.log().unwrap_or_default());
                break;
            }
            // It says nothing when it is ready.
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(StartError::Down { programs: self.programs.clone(), why })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.words.take());
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

/// Whether somebody answers; on a thread of its own, for a runtime may not be waited for within another one.
fn asked(url: &str) -> Result<(), String> {
    let ask = || -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let asked = runtime.block_on(async { tokio_postgres::connect(url, NoTls).await.map(drop) });
        asked.map_err(|error| error.to_string())
    };
    let asked = std::thread::scope(|scope| scope.spawn(ask).join());
    asked.unwrap_or_else(|_| Err(String::from("nobody could ask")))
}

/// Where `initdb` and `postgres` are: on the PATH, where Debian puts them, or in the cache of `cargo xtask toolchain`.
pub fn programs() -> Option<PathBuf> {
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

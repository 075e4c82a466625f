//! A PostgreSQL of one test's own, which it may stop and start again, and whose settings it chooses.
//!
//! Its shell reads words from us: `stop` ends the server as a failing machine would (SIGQUIT: nobody is told goodbye), `start`
//! starts it again over the same files; at the end of the pipe everything goes.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_postgres::NoTls;

use crate::postgres::{binaries, outside, skip};

/// A server process that can be stopped and started.
pub(crate) struct Cluster {
    /// `postgres://postgres@127.0.0.1:PORT/`; a database's name comes behind it.
    pub(crate) url: String,
    pub(crate) port: u16,
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
    _shell: Child,
}

static CLUSTERS: AtomicU64 = AtomicU64::new(0);

const SCRIPT: &str = r#"
mkdir -p "$1" && cd "$1" || exit 1
programs=$2
if [ "$(id -u)" = 0 ]; then
  run="setpriv --reuid=65534 --regid=65534 --clear-groups"
  chown -R 65534 "$1"
  $run test -x "$2/postgres" || { cp -r "$2/.." "$1/programs"; programs=$1/programs/bin; }
fi
export HOME="$1" LC_ALL=C.UTF-8
$run "$programs/initdb" -D "$1/data" -U postgres -A trust -E UTF8 --no-sync >initdb.log 2>&1 </dev/null \
  || { cat initdb.log >&2; exit 1; }
[ -e hba ] && cp hba data/pg_hba.conf
start() {
  $run "$programs/postgres" -D "$1/data" -p "$3" -k "$1" -c fsync=off -c listen_addresses=127.0.0.1 \
    -c shared_buffers=32MB $4 >>server.log 2>&1 </dev/null &
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
    /// With these settings, and these files beside its data, of which `hba` is taken for its `pg_hba.conf`. `None`, and a line
    /// that names the test, if there are no binaries of PostgreSQL here.
    pub(crate) fn new(settings: &str, files: &[(&str, &str)]) -> Option<Self> {
        let Some(binaries) = binaries() else {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let why = "no programs of PostgreSQL to start one: install it, or run `cargo xtask toolchain postgres`";
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: {why}");
            skip(&test, why);
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = Self::folder();
        for (name, text) in files {
            std::fs::create_dir_all(&folder).unwrap();
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                let private = std::fs::Permissions::from_mode(0o600);
                std::fs::set_permissions(&path, private).unwrap();
            }
        }
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(&folder)
            .arg(binaries)
            .arg(port.to_string())
            .arg(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let words = shell.stdin.take().unwrap();
        let answers = BufReader::new(shell.stdout.take().unwrap());
        let url = format!("postgres://postgres@127.0.0.1:{port}/");
        let cluster = Self { url, port, words, answers, _shell: shell };
        cluster.wait_until_up();
        Some(cluster)
    }

    fn folder() -> PathBuf {
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("rejoin-cluster-{}-{number}", std::process::id()))
    }

    /// Ends the server at once, in the middle of whatever it does.
    pub(crate) fn stop(&mut self) {
        self.say("stop");
    }

    /// Starts it again, and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.say("start");
        self.wait_until_up();
    }

    fn say(&mut self, word: &str) {
        writeln!(self.words, "{word}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), word);
    }

    fn wait_until_up(&self) {
        let url = format!("{}postgres", self.url);
        let mut last = String::new();
        for _ in 0..600 {
            let url = url.clone();
            let tried = outside(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime
                    .unwrap()
                    .block_on(async { tokio_postgres::connect(&url, NoTls).await.map(drop) })
            });
            match tried {
                Ok(()) => return,
                Err(error) => last = error.to_string(),
            }
            // It says nothing when it is ready.
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the PostgreSQL of this test does not come up: {last}");
    }
}

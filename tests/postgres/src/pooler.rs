//! A PgBouncer that gives each transaction any of its sessions, in front of one database.
//!
//! A shell runs it and ends it when the pipe closes, because the pooler was dropped or this process
//! exited. PgBouncer refuses to run as root, so the shell then switches to an unprivileged user.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static POOLERS: AtomicU64 = AtomicU64::new(0);

const SCRIPT: &str = r#"
chmod 755 "$1" && cd "$1" || exit 1
if [ "$(id -u)" = 0 ]; then
  run="setpriv --reuid=65534 --regid=65534 --clear-groups"
  chown -R 65534 "$1"
fi
$run "$2" "$1/pooler.ini" >pooler.log 2>&1 </dev/null &
pooler=$!
read -r word
kill $pooler 2>/dev/null; wait $pooler; cd /
rm -rf "$1"
"#;

/// A running PgBouncer with `pool_mode = transaction`.
#[derive(Debug)]
pub struct Pooler {
    /// The database's URL through the pooler.
    pub url: String,
    shell: Child,
}

impl Pooler {
    /// Starts one in front of the database of this URL, `postgres://USER[:PASSWORD]@HOST:PORT/NAME`,
    /// with this number of sessions.
    ///
    /// # Panics
    /// There is no PgBouncer, or it does not start.
    pub fn to(url: &str, sessions: usize) -> Self {
        let program = pgbouncer().expect("no PgBouncer: install the package pgbouncer");
        let (user, place) = url.trim_start_matches("postgres://").split_once('@').expect("a user");
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (user, format!(" password='{password}'")),
            None => (user, String::new()),
        };
        let (address, name) = place.split_once('/').expect("a database");
        let (host, port) = address.split_once(':').unwrap_or((address, "5432"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = listener.local_addr().expect("a port").port();
        drop(listener);
        let number = POOLERS.fetch_add(1, Ordering::Relaxed);
        let folder = format!("rejoin-pooler-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        let settings = format!(
            "[databases]\n\
             {name} = host={host} port={port} user={user}{password}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {own}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\nserver_round_robin = 1\ndefault_pool_size = {sessions}\nmax_client_conn = 500\n"
        );
        std::fs::write(folder.join("pooler.ini"), settings).expect("its settings");
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .args([folder.as_path(), &program])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let pooler = Self { url: format!("postgres://{user}@127.0.0.1:{own}/{name}"), shell };
        pooler.wait_until_ready(own, &folder);
        pooler
    }

    fn wait_until_ready(&self, port: u16, folder: &Path) {
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let log = std::fs::read_to_string(folder.join("pooler.log")).unwrap_or_default();
        panic!("PgBouncer {} does not start: {log}", self.url);
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// `pgbouncer`, on the PATH or where Debian installs it.
pub fn pgbouncer() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file())
}

//! nginx as a cache in front of a server, configured as docs/server.md says.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

/// The page whose block of nginx is used.
const PAGE: &str = include_str!("../../docs/server.md");

/// What the block of the page is embedded in. Paths are relative to the folder.
const AROUND: &str = "
    daemon off; master_process off; pid pid; error_log error.log;
    events { worker_connections 1024; }
    http {
        log_format line '$request_method $uri $status $upstream_cache_status';
        access_log access.log line;
        client_body_temp_path body; proxy_temp_path temp;
        BLOCK
    }
";

/// A running nginx; ends with this value.
#[derive(Debug)]
pub struct Cache {
    /// The server's URL through it.
    pub url: String,
    log: PathBuf,
    child: Child,
}

impl Cache {
    /// Starts nginx in front of this URL, with its files in an empty folder.
    pub fn before(url: &str, folder: &Path) -> Self {
        let program = nginx().expect("no nginx: install the package nginx-light");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a port").port();
        drop(listener);
        let block = PAGE.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next());
        let block = block.expect("the page has a block of nginx");
        let replaced = [
            ("/var/cache/nginx/rejoin", "pages"),
            ("listen 443 ssl", &format!("listen 127.0.0.1:{port}")),
            ("http://127.0.0.1:8080", url),
        ];
        let block = replaced.iter().fold(block.to_owned(), |block, (from, to)| {
            assert!(block.contains(from), "docs/server.md: {from}");
            block.replace(from, to)
        });
        let config = folder.join("nginx.conf");
        fs::write(&config, AROUND.replace("BLOCK", &block)).expect("its settings");
        let child = Command::new(program).arg("-p").arg(folder).arg("-c").arg(&config).spawn();
        let child = child.expect("nginx starts");
        let (log, url) = (folder.join("access.log"), format!("http://127.0.0.1:{port}"));
        let cache = Self { url, log, child };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return cache;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let errors = fs::read_to_string(folder.join("error.log")).unwrap_or_default();
        panic!("nginx does not start: {errors}");
    }

    /// The finished requests: method, path, status, and how the cache answered.
    pub fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).expect("its log");
        log.lines().map(str::to_owned).collect()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `nginx`, on the PATH or where Debian installs it.
fn nginx() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("nginx")).find(|program| program.is_file())
}

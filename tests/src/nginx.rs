//! nginx in front of a server or of several, configured as a page of the documentation says.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

/// The page about a cache.
const CACHE: &str = include_str!("../../docs/scale.md");

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
pub struct Nginx {
    /// Its URL.
    pub url: String,
    log: PathBuf,
    child: Child,
}

impl Nginx {
    /// Starts a cache in front of this URL.
    pub fn cache(url: &str, folder: &Path) -> Self {
        let replaced = [("/var/cache/nginx/rejoin", "pages"), ("http://127.0.0.1:7878", url)];
        Self::start(CACHE, &replaced, folder)
    }

    /// Starts nginx with the first block of a page, in which this text is replaced, and its files in an empty folder.
    pub fn start(page: &str, replaced: &[(&str, &str)], folder: &Path) -> Self {
        let program = nginx().expect("no nginx: install the package nginx-light");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a port").port();
        drop(listener);
        let block = page.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next());
        let block = block.expect("the page has a block of nginx");
        let listen = format!("listen 127.0.0.1:{port}");
        let replaced = replaced.iter().copied().chain([("listen 443 ssl", listen.as_str())]);
        let block = replaced.fold(block.to_owned(), |block, (from, to)| {
            assert!(block.contains(from), "the block has no {from}");
            block.replace(from, to)
        });
        let config = folder.join("nginx.conf");
        fs::write(&config, AROUND.replace("BLOCK", &block)).expect("its settings");
        let child = Command::new(program).arg("-p").arg(folder).arg("-c").arg(&config).spawn();
        let child = child.expect("nginx starts");
        let (log, url) = (folder.join("access.log"), format!("http://127.0.0.1:{port}"));
        let nginx = Self { url, log, child };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return nginx;
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

impl Drop for Nginx {
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

//! Shutdown of the binary: running requests complete, and no new ones start.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use crate::binary::rejoin;

pub(crate) const TASKS: &str =
    "CREATE TABLE tasks(id TEXT PRIMARY KEY, owner_id TEXT, updated_at TEXT)";

/// Kills its process when dropped.
pub(crate) struct Running {
    pub(crate) process: Child,
    pub(crate) address: String,
    _out: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Running {
    fn start(folder: &Path, limits: &str) -> Self {
        Connection::open(folder.join("app.db")).unwrap().execute_batch(TASKS).unwrap();
        Self::over(folder, &format!("database = \"app.db\"\nlimits = {{ {limits} }}"), &[])
    }

    /// A server over a database with the table of [`TASKS`].
    pub(crate) fn over(folder: &Path, settings: &str, variables: &[(&str, String)]) -> Self {
        let text = format!(
            "auth = {{ header = \"X-User-ID\" }}\n{settings}\n\
             [[tables]]\nname = \"tasks\"\nowner_column = \"owner_id\"\n"
        );
        std::fs::write(folder.join("rejoin.toml"), text).unwrap();
        Self::serve(folder, variables)
    }

    /// A server with the configuration in this folder, on a free port.
    pub(crate) fn serve(folder: &Path, variables: &[(&str, String)]) -> Self {
        let mut command = rejoin(folder, &["serve", "--listen", "127.0.0.1:0"]);
        command.stderr(Stdio::null());
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        Self::by(command)
    }

    /// A server started by this command, which decides where the log goes.
    pub(crate) fn by(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").expect(&line).to_owned();
        Self { process, address, _out: out }
    }

    /// Sends a request; the caller reads the response.
    pub(crate) fn send(&self, head: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{head} HTTP/1.1\r\nHost: localhost\r\nX-User-ID: anna\r\nRejoin-Protocol: 1\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        stream
    }

    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> TcpStream {
        self.send(&format!("POST {path}"), &body.to_string())
    }

    pub(crate) fn id(&self) -> String {
        self.process.id().to_string()
    }

    pub(crate) fn terminate(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.id()]).status().unwrap().success());
    }

    /// The exit status; fails after `most`.
    pub(crate) fn ended(&mut self, most: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < most, "it does not end");
            std::thread::yield_now();
        }
    }
}

/// The head and the body of a response with `Content-Length`.
pub(crate) fn answer(stream: TcpStream) -> (String, serde_json::Value) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "cut: {head}");
    }
    let length = head.to_ascii_lowercase();
    let length = length.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

/// Registers a device and returns its push of one row.
pub(crate) fn push(server: &Running) -> serde_json::Value {
    let hello = json!({
        "client_id": "c", "schema_version": 0, "schema_hash": "", "rejoin": {"protocol": 1, "capabilities": ["groups"]},
    });
    let (head, welcome) = answer(server.post("/sync/register", &hello));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}{welcome}");
    json!({
        "client_id": "c", "schema_version": welcome["schema_version"], "schema_hash": welcome["schema_hash"],
        "changes": [], "rejoin": {
            "request": 1, "epoch": welcome["rejoin"]["epoch"], "acked_below": 0,
            "groups": [{"id": "m1", "seq": 1, "attempt": 1, "hash": "h", "after": [], "time": "2026-11-20T08:00:00.000000Z",
                "changes": [{"operation": "create", "table_name": "tasks", "id": "t1", "data": {}}]}],
        },
    })
}

/// Opens an event stream.
pub(crate) fn events(server: &Running) -> BufReader<TcpStream> {
    let mut events = BufReader::new(server.send("GET /sync/events", ""));
    let mut line = String::new();
    while !line.starts_with("event: hello") {
        line.clear();
        assert!(events.read_line(&mut line).unwrap() > 0);
    }
    events
}

/// Reads until the stream reports the shutdown.
pub(crate) fn hears_the_end(events: &mut BufReader<TcpStream>) {
    let mut line = String::new();
    while !line.starts_with("event: bye") {
        line.clear();
        assert!(events.read_line(&mut line).unwrap() > 0, "the stream was cut");
    }
}

#[test]
fn shutdown_completes_running_requests_and_starts_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Running::start(folder.path(), "wait_ms = 30000, grace_ms = 30000");
    let push = push(&server);
    let mut listening = events(&server);
    let holder = Connection::open(folder.path().join("app.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let slow = server.post("/sync/push", &push);
    // A later request on another connection: when it is answered, the push has been read.
    assert!(answer(server.send("GET /healthz", "")).0.starts_with("HTTP/1.1 200"));
    server.terminate();
    hears_the_end(&mut listening);
    let begun = Instant::now();
    while TcpStream::connect(&server.address).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "new connections are taken");
    }
    assert!(server.process.try_wait().unwrap().is_none(), "it waits for the push");
    holder.execute_batch("COMMIT").unwrap();
    let (head, done) = answer(slow);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}{done}");
    assert_eq!(done["rejoin"]["verdicts"][0]["verdict"], "accepted", "{done}");
    assert_eq!(server.ended(Duration::from_secs(20)).code(), Some(0));
    let rows: i64 = holder
        .query_row("SELECT count(*) FROM tasks WHERE id = 't1'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1, "what was answered is there");
}

#[test]
fn shutdown_abandons_requests_after_the_grace_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Running::start(folder.path(), "wait_ms = 600000, grace_ms = 200");
    let push = push(&server);
    let holder = Connection::open(folder.path().join("app.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut slow = server.post("/sync/push", &push);
    assert!(answer(server.send("GET /healthz", "")).0.starts_with("HTTP/1.1 200"));
    server.terminate();
    assert_eq!(server.ended(Duration::from_secs(20)).code(), Some(0));
    let mut rest = String::new();
    let _ = slow.read_to_string(&mut rest);
    assert_eq!(rest, "", "nothing was promised");
    holder.execute_batch("COMMIT").unwrap();
    let rows: i64 = holder.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0, "and nothing was done");
}

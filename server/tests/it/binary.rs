//! The binary: init, check, serve on a free port, an orderly end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rusqlite::Connection;

fn rejoin(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin-server"));
    command.args(arguments).current_dir(folder);
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    rejoin(folder, arguments).output().unwrap()
}

/// Ends its process whatever the test does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nX-User-ID: anna\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn init_serve_and_an_orderly_end() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(folder.path(), &["init"]).status.success());
    let again = run(folder.path(), &["init"]);
    assert!(!again.status.success(), "an existing file is left alone");
    let check = run(folder.path(), &["check"]);
    let words = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(
        !check.status.success() && words.contains("tasks: the database has no such table"),
        "{words}"
    );
    Connection::open(folder.path().join("app.db"))
        .unwrap()
        .execute_batch("CREATE TABLE tasks(id TEXT PRIMARY KEY, owner_id TEXT, updated_at TEXT)")
        .unwrap();
    assert!(run(folder.path(), &["check"]).status.success());
    let mut command = rejoin(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    let mut server = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").expect(&line).to_owned();
    assert!(get(&address, "/healthz").contains("{\"status\":\"ok\"}"));
    assert!(get(&address, "/sync/schema").contains("\"tasks\""));
    // An open event stream does not keep the server from ending.
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET /sync/events HTTP/1.1\r\nHost: x\r\nX-User-ID: anna\r\n\r\n").unwrap();
    let mut events = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("event: hello") {
        line.clear();
        assert!(events.read_line(&mut line).unwrap() > 0);
    }
    let signal = Command::new("kill").args(["-TERM", &server.0.id().to_string()]).status().unwrap();
    assert!(signal.success());
    assert!(server.0.wait().unwrap().success());
    let mut rest = String::new();
    events.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("bye"), "{rest}");
}

#[test]
fn a_wrong_configuration_is_told_with_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = "listen = \"0.0.0.0:1\"\ndatabase = \"a.db\"\n[auth]\nheader = \"X-User-ID\"\n[[tables]]\nname = \"t\"\npush = \"owner_only\"\n";
    std::fs::write(folder.path().join("rejoin.toml"), text).unwrap();
    let output = run(folder.path(), &["serve"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(words.contains("line 1: listen: the user header is trusted"), "{words}");
    assert!(words.contains("line 7: tables.t.push: "), "{words}");
    assert!(!folder.path().join("a.db").exists(), "nothing was made");
}

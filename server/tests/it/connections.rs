//! The binary's listener over real sockets: clients that send half a request, send nothing, or do
//! not read.
//!
//! Each test shows that such a connection is closed while other clients are served.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};

use rusqlite::Connection;
use serde_json::json;

use crate::ending::{Running, TASKS, answer, events};

const HALF: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Half: ";

/// A server with these limits and a file limit of `files`, and its log.
fn serve(folder: &Path, limits: &str, files: u32) -> (Running, BufReader<ChildStderr>) {
    Connection::open(folder.join("app.db")).unwrap().execute_batch(TASKS).unwrap();
    let text = format!(
        "database = \"app.db\"\nauth = {{ header = \"X-User-ID\" }}\nlimits = {{ {limits} }}\n\
         [[tables]]\nname = \"tasks\"\nowner_column = \"owner_id\"\n"
    );
    std::fs::write(folder.join("rejoin.toml"), text).unwrap();
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {files}; exec \"$0\" serve --listen 127.0.0.1:0");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_rejoin-server")]).current_dir(folder);
    command.stderr(Stdio::piped());
    let mut server = Running::by(command);
    let log = BufReader::new(server.process.stderr.take().unwrap());
    (server, log)
}

/// Reads the log up to a line that contains this text.
fn read_until(log: &mut BufReader<ChildStderr>, words: &str) {
    let mut line = String::new();
    while !line.contains(words) {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log ends without {words:?}");
    }
}

fn connect(server: &Running, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream
}

/// Reads to the end of the connection, however the server closes it.
fn read_to_close(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

fn is_answered(server: &Running) {
    let (head, body) = answer(server.send("GET /healthz", ""));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}{body}");
}

#[test]
fn half_sent_headers_beyond_the_file_limit_stop_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut log) = serve(folder.path(), "header_timeout_ms = 300", 256);
    let half: Vec<TcpStream> = (0..400).map(|_| connect(&server, HALF)).collect();
    is_answered(&server);
    for stream in half {
        assert_eq!(read_to_close(stream), "");
    }
    is_answered(&server);
    read_until(&mut log, "limits.connections");
    read_until(&mut log, "limits.header_timeout_ms");
}

#[test]
fn connection_without_a_request_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let limits = "header_timeout_ms = 200, idle_timeout_ms = 600000";
    let (server, _log) = serve(folder.path(), limits, 1_024);
    for bytes in ["", "G", HALF] {
        assert_eq!(read_to_close(connect(&server, bytes)), "", "{bytes:?}");
    }
    let whole = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut slow = connect(&server, whole);
    let mut first = [0; 12];
    slow.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    slow.write_all(HALF.as_bytes()).unwrap();
    assert!(read_to_close(slow).ends_with('}'), "closed in its second head");
}

#[test]
fn idle_connection_is_closed_after_its_response() {
    let folder = tempfile::tempdir().unwrap();
    let limits = "header_timeout_ms = 600000, idle_timeout_ms = 200";
    let (server, _log) = serve(folder.path(), limits, 1_024);
    let text = read_to_close(server.send("GET /healthz", ""));
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with('}'), "{text}");
}

#[test]
fn connection_that_reads_no_responses_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let limits = "header_timeout_ms = 600000, idle_timeout_ms = 200";
    let (server, _log) = serve(folder.path(), limits, 1_024);
    let mut unread = connect(&server, "");
    let requests = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    // Ends when the server closes the connection.
    while unread.write_all(requests.as_bytes()).is_ok() {}
    is_answered(&server);
}

#[test]
fn connection_above_the_limit_waits_for_a_free_one() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut log) = serve(folder.path(), "connections = 1", 1_024);
    let stream = events(&server);
    let waiting = server.send("GET /healthz", "");
    read_until(&mut log, "limits.connections");
    drop(stream);
    let (head, _) = answer(waiting);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[test]
fn idle_connection_makes_room_for_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _log) = serve(folder.path(), "connections = 1, idle_timeout_ms = 600000", 1_024);
    let idle = server.send("GET /healthz", "");
    let mut first = [0; 12];
    (&idle).read_exact(&mut first).unwrap();
    is_answered(&server);
    let rest = read_to_close(idle);
    assert!(rest.ends_with('}'), "{rest}");
}

#[test]
fn streams_leave_connections_for_requests() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _log) = serve(folder.path(), "connections = 4", 1_024);
    let streams = [events(&server), events(&server), events(&server)];
    let (head, body) = answer(server.send("GET /sync/events", ""));
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 60"), "{head}");
    assert_eq!((&body["code"], &body["retryable"]), (&json!("unavailable"), &json!(true)));
    is_answered(&server);
    drop(streams);
}

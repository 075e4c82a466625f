//! Tests the commands of the story server like a test in another language: lines over a pipe,
//! requests over a socket.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use serde_json::{Value as Json, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Response timeout; a server that takes longer hangs.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

struct Story {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    address: String,
}

impl Story {
    fn begin(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rejoin-story-server"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut story = Self { child, orders, answers, address: String::new() };
        let first = story.answer();
        let url = first["url"].as_str().unwrap();
        url.strip_prefix("http://").unwrap().clone_into(&mut story.address);
        story
    }

    fn answer(&mut self) -> Json {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn order(&mut self, order: &Json) -> Json {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        self.answer()
    }

    fn token(&mut self, user: &str, seconds: i64) -> String {
        let answer = self.order(&json!({"do": "token", "user": user, "seconds": seconds}));
        answer["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// The status of a schema request with this header; `None` without a response.
    fn status(&self, header: &str) -> Option<u16> {
        let mut connection = TcpStream::connect(&self.address).ok()?;
        connection.set_read_timeout(Some(RESPONSE_TIMEOUT)).unwrap();
        let request = format!(
            "GET /sync/schema HTTP/1.1\r\nHost: story\r\nRejoin-Protocol: 1\r\n{header}\r\n\
             Connection: close\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).ok()?;
        String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
    }

    fn bearer(&self, token: &str) -> Option<u16> {
        self.status(&format!("Authorization: Bearer {token}"))
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn server_stops_and_hangs_and_returns_at_the_same_address() {
    let mut story = Story::begin(&["--tokens"]);
    let token = story.token("u1", 600);
    for way in ["stop", "hang"] {
        let mut before = TcpStream::connect(&story.address).unwrap();
        assert_eq!(story.order(&json!({"do": way})), json!({"ok": true}));
        before.set_read_timeout(Some(RESPONSE_TIMEOUT)).unwrap();
        let cut = before.read(&mut [0; 1]).map_or(true, |read| read == 0);
        assert!(cut, "{way}: the open connection is cut");
        if way == "stop" {
            assert_eq!(story.bearer(&token), None, "{way}");
        } else {
            let mut waiting = TcpStream::connect(&story.address).unwrap();
            waiting.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            waiting.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let silent = waiting.read(&mut [0; 1]).unwrap_err().kind();
            assert!(matches!(
                silent,
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ));
        }
        // Waiting connections survive: tokens change while the server is unreachable.
        assert_eq!(story.order(&json!({"do": "expire_all"})), json!({"ok": true}));
        assert_eq!(story.order(&json!({"do": "go"})), json!({"ok": true}));
        assert_eq!(story.bearer(&token), Some(401));
        let token = story.token("u1", 60);
        assert_eq!(story.bearer(&token), Some(200));
    }
}

#[test]
fn invalid_command_is_an_error_and_the_next_one_runs() {
    let mut story = Story::begin(&[]);
    let table = [
        json!("stop"),
        json!({"do": "fly"}),
        json!({"do": "sql", "sql": "SELEKT"}),
        json!({"do": "sql", "sql": "SELECT 1", "parameters": []}),
        json!({"do": "rows", "sql": "SELECT * FROM lost"}),
        json!({"do": "digest", "user": "u1", "table": "lost"}),
    ];
    for order in table {
        let answer = story.order(&order);
        assert!(answer["error"].is_string(), "{order}: {answer}");
    }
    assert_eq!(story.order(&json!({"do": "stop"})), json!({"ok": true}));
}

#[test]
fn server_exits_when_its_stdin_closes() {
    let mut story = Story::begin(&[]);
    assert_eq!(story.order(&json!({"do": "quit"})), json!({"ok": true}));
    assert!(story.child.wait().unwrap().success());
    let mut story = Story::begin(&[]);
    // An open connection does not delay the exit.
    let _open = TcpStream::connect(&story.address).unwrap();
    drop(story.orders.take());
    assert!(story.child.wait().unwrap().success(), "its standard input is closed");
}

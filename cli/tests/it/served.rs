//! The running command `inspect --serve`, and requests to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;

/// The running command.
pub(crate) struct Served {
    child: Child,
    pub(crate) port: u16,
    /// The path and query of the URL that it has printed.
    pub(crate) path: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Response {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn serve(file: &Path) -> Served {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
    command.args(["inspect", "--serve"]).arg(file).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
    let (port, path) = url.strip_prefix("http://127.0.0.1:").unwrap().split_once('/').unwrap();
    Served { port: port.parse().unwrap(), path: format!("/{}", path.trim()), child }
}

impl Served {
    /// Sends a request with exactly these headers.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[&str]) -> Response {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let headers = headers.join("\r\n");
        let request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Response { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn host(&self) -> String {
        format!("Host: 127.0.0.1:{}", self.port)
    }

    /// Opens the printed URL; returns the header with the cookie.
    pub(crate) fn open(&self) -> String {
        let page = self.send("GET", &self.path, &[&self.host()]);
        assert_eq!(page.status, 200, "{}", page.body);
        let (_, cookie) = page.head.split_once("set-cookie: ").unwrap();
        format!("Cookie: other=1; {}", cookie.split(';').next().unwrap())
    }

    pub(crate) fn json(&self, cookie: &str) -> (u16, Json) {
        let response = self.send("GET", "/inspection.json", &[&self.host(), cookie]);
        assert!(response.head.contains("content-type: application/json"), "{}", response.head);
        (response.status, serde_json::from_str(&response.body).unwrap())
    }
}

//! A plain server on a local socket, for tests with a whole client: the target of an app's URL.
//!
//! Requests are read one by one, so that the response to one of them can be lost. After the server
//! is upgraded, connections are forwarded to the new one unchanged. The user is taken from the
//! header or from a token's `sub`, which is not verified.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use rejoin_plain::Request;

use crate::PlainBackend;
use crate::rate::Rate;

/// The socket; behind it is a plain server, or its upgrade.
#[derive(Debug)]
pub struct Door {
    /// The URL that the app is configured with.
    pub url: String,
    address: SocketAddr,
    behind: Arc<Behind>,
}

/// The fault of the next request of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It is not read.
    Request,
    /// It is executed, and its response is lost.
    Answer,
    /// The response is up to five gigabytes of spaces.
    Flood,
    /// The same, compressed to nearly nothing.
    Bomb,
}

#[derive(Debug)]
struct Behind {
    plain: Mutex<PlainBackend>,
    /// The address of the upgraded server, if there is one.
    upgraded: Mutex<Option<SocketAddr>>,
    losses: Mutex<Vec<(Loss, String)>>,
    /// Number of bytes of the last flood that the client read.
    poured: AtomicU64,
    is_over: AtomicBool,
    rate: Rate,
}

impl Door {
    /// Serves `plain` until this is dropped.
    ///
    /// # Panics
    /// If no socket is available.
    pub fn before(plain: PlainBackend) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let behind = Arc::new(Behind {
            plain: Mutex::new(plain),
            upgraded: Mutex::default(),
            losses: Mutex::default(),
            poured: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            rate: Rate::new(),
        });
        let served = Arc::clone(&behind);
        thread::spawn(move || {
            for socket in listener.incoming() {
                if served.is_over.load(Ordering::Acquire) {
                    return;
                }
                let served = Arc::clone(&served);
                // A connection error is left for the device to detect.
                thread::spawn(move || socket.and_then(|socket| served.receive(&socket)));
            }
        });
        Self { url: format!("http://{address}"), address, behind }
    }

    /// Reads or changes the plain server.
    pub fn plain<R>(&self, body: impl FnOnce(&PlainBackend) -> R) -> R {
        body(&self.behind.plain.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies a fault to the next request of this path.
    pub fn lose(&self, what: Loss, path: &str) {
        self.behind.losses().push((what, path.to_owned()));
    }

    /// Number of bytes of the last flood that were read, socket buffers included.
    pub fn poured(&self) -> u64 {
        self.behind.poured.load(Ordering::Acquire)
    }

    /// Whether every fault was applied.
    pub fn has_lost(&self) -> bool {
        self.behind.losses().is_empty()
    }

    /// Forwards all further connections to the server at `address`.
    pub fn upgrade(&self, address: SocketAddr) {
        *self.behind.upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.behind.is_over.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        self.behind.rate.check();
    }
}

impl Behind {
    fn losses(&self) -> std::sync::MutexGuard<'_, Vec<(Loss, String)>> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection: one request, or all of them once the server is upgraded.
    fn receive(&self, socket: &TcpStream) -> Result<()> {
        self.rate.count();
        let upgraded = *self.upgraded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = upgraded {
            return pass_on(socket, address);
        }
        let Some(request) = read(socket)? else { return Ok(()) };
        let loss = self.loss_of(&request.path);
        match loss {
            Some(Loss::Request) => return Ok(()),
            Some(flood @ (Loss::Flood | Loss::Bomb)) => return self.pour(socket, flood),
            Some(Loss::Answer) | None => {}
        }
        let answer = {
            let plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
            plain.server().handle(&request)
        };
        let Some(answer) = answer.filter(|_| loss.is_none()) else { return Ok(()) };
        let mut head = format!("HTTP/1.1 {} Plain\r\nConnection: close\r\n", answer.status);
        for (name, value) in &answer.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.extend(["Content-Length: ", &answer.body.len().to_string(), "\r\n\r\n"]);
        (&*socket).write_all(&[head.as_bytes(), &answer.body].concat())
    }

    /// Sends the flood until the client stops reading.
    fn pour(&self, mut socket: &TcpStream, flood: Loss) -> Result<()> {
        let spaces = vec![b' '; 1 << 20];
        let packed = if flood == Loss::Bomb { "Content-Encoding: gzip\r\n" } else { "" };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
        socket.write_all(format!("{head}{packed}\r\n").as_bytes())?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        self.poured.store(0, Ordering::Release);
        for _ in 0..5 << 10 {
            let piece = if flood == Loss::Bomb {
                encoder.write_all(&spaces)?;
                encoder.flush()?;
                std::mem::take(encoder.get_mut())
            } else {
                spaces.clone()
            };
            socket.write_all(&piece)?;
            self.poured.fetch_add(piece.len() as u64, Ordering::AcqRel);
        }
        Ok(())
    }

    fn loss_of(&self, path: &str) -> Option<Loss> {
        let mut losses = self.losses();
        let at = losses.iter().position(|(_, lost)| lost == path)?;
        Some(losses.remove(at).0)
    }
}

/// Reads head and body; `None` if the connection sent nothing.
fn read(socket: &TcpStream) -> Result<Option<Request>> {
    let mut from = BufReader::new(socket);
    let mut line = String::new();
    from.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let (method, path) = (method.to_owned(), path.split('?').next().unwrap_or_default().to_owned());
    let mut headers = Vec::new();
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let value = |wanted: &str| {
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    let length = value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let user = value("authorization").and_then(|value| subject_of(value));
    headers.extend(user.map(|user| ("X-User-ID".to_owned(), user)));
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(Request { method, path, headers, body }))
}

fn subject_of(authorization: &str) -> Option<String> {
    let claims = authorization.strip_prefix("Bearer ")?.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims["sub"].as_str().map(str::to_owned)
}

/// Forwards the bytes of a connection in both directions, until either side ends.
fn pass_on(here: &TcpStream, address: SocketAddr) -> Result<()> {
    let there = TcpStream::connect(address)?;
    let (mut from, mut to) = (here.try_clone()?, there.try_clone()?);
    thread::spawn(move || {
        // The end of either side is the end of the connection.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut &there, &mut &*here);
    here.shutdown(Shutdown::Both)
}

//! A network between a device and its server, on a local socket: it loses packets silently, or
//! answers in place of the server. A client that exceeds the request limit (`Rate`) fails the test
//! when the proxy is dropped.
//!
//! Bytes are forwarded unchanged until a test sets a [`Flow`]. A connection that has lost bytes
//! stays open and carries nothing more, like a half-open one.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::rate::Rate;

/// The handling of bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Flow {
    /// They are forwarded.
    #[default]
    Whole,
    /// The server gets none, and sees no error.
    NothingUp,
    /// The device gets none, and sees no error; the server executes the request.
    NothingDown,
    /// The device gets the head of a response, and none of its body.
    HeadOnly,
    /// The device gets one byte of a response at a time, too slowly to ever complete.
    Drip,
    /// The server gets none; the device gets this response.
    Answer(Vec<u8>),
}

/// The proxy. It accepts every connection until it is dropped, which ends all of them.
#[derive(Debug)]
pub struct Proxy {
    /// The URL that the app is configured with.
    pub url: String,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    server: SocketAddr,
    flow: Mutex<Flow>,
    rate: Rate,
    /// The sockets of both sides; `None` when the proxy is dropped.
    open: Mutex<Option<Vec<Weak<TcpStream>>>>,
}

impl Proxy {
    /// A proxy in front of the server at this URL (`http://address`).
    ///
    /// # Panics
    /// If no socket is available, or the URL has no address.
    pub fn before(url: &str) -> Self {
        let server = url.trim_start_matches("http://").parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (rate, open) = (Rate::new(), Mutex::new(Some(Vec::new())));
        let state = Arc::new(State { server, flow: Mutex::default(), rate, open });
        let shared = Arc::clone(&state);
        let accept = move || {
            for socket in listener.incoming() {
                if shared.open().is_none() {
                    return;
                }
                let own = Arc::clone(&shared);
                // A connection error is left for the device to detect.
                thread::spawn(move || socket.and_then(|socket| own.carry(socket)));
            }
        };
        Self { url, state, accepting: Some(thread::spawn(accept)) }
    }

    /// Handles all further bytes this way; connections that have lost bytes stay as they are.
    pub fn set(&self, flow: Flow) {
        *self.state.flow.lock().unwrap_or_else(PoisonError::into_inner) = flow;
    }

    /// Number of times that the device sent something.
    pub fn requests(&self) -> usize {
        self.state.rate.requests()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let open = self.state.open().take();
        for socket in open.into_iter().flatten().filter_map(|socket| socket.upgrade()) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts connections.
        let address = self.url.trim_start_matches("http://");
        if let (Ok(_), Some(accepting)) = (TcpStream::connect(address), self.accepting.take()) {
            let _ = accepting.join();
        }
        self.state.rate.check();
    }
}

impl State {
    fn flow(&self) -> Flow {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn open(&self) -> MutexGuard<'_, Option<Vec<Weak<TcpStream>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a socket until it is closed; a dropped proxy closes it at once.
    fn keep(&self, socket: TcpStream) -> Result<Arc<TcpStream>> {
        let (mut open, socket) = (self.open(), Arc::new(socket));
        let open = open.as_mut().ok_or(ErrorKind::ConnectionAborted)?;
        open.retain(|socket| socket.strong_count() > 0);
        open.push(Arc::downgrade(&socket));
        Ok(socket)
    }

    fn carry(self: &Arc<Self>, device: TcpStream) -> Result<()> {
        let device = self.keep(device)?;
        let server = self.keep(TcpStream::connect(self.server)?)?;
        let is_dead = Arc::new(AtomicBool::new(false));
        let (from, to) = (Arc::clone(&server), Arc::clone(&device));
        let (state, dead) = (Arc::clone(self), Arc::clone(&is_dead));
        thread::spawn(move || {
            let _ = state.down(&from, &to, &dead);
            // When either side ends, the connection ends, unless the end is lost as well.
            if !dead.load(Ordering::SeqCst) {
                let _ = to.shutdown(Shutdown::Both);
            }
        });
        let _ = self.up(&device, &server, &is_dead);
        server.shutdown(Shutdown::Both)
    }

    fn up(&self, mut device: &TcpStream, mut server: &TcpStream, dead: &AtomicBool) -> Result<()> {
        let mut piece = [0; 16 * 1024];
        loop {
            let count = device.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            self.rate.count();
            match self.flow() {
                Flow::NothingUp => dead.store(true, Ordering::SeqCst),
                Flow::Answer(answer) => {
                    device.write_all(&answer)?;
                    return device.shutdown(Shutdown::Both);
                }
                _ => {}
            }
            if !dead.load(Ordering::SeqCst) {
                server.write_all(&piece[..count])?;
            }
        }
    }

    fn down(
        &self,
        mut server: &TcpStream,
        mut device: &TcpStream,
        dead: &AtomicBool,
    ) -> Result<()> {
        let mut piece = [0; 16 * 1024];
        loop {
            let count = server.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            let bytes = &piece[..count];
            match self.flow() {
                _ if dead.load(Ordering::SeqCst) => {}
                Flow::NothingDown => dead.store(true, Ordering::SeqCst),
                Flow::HeadOnly => {
                    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
                    device.write_all(&bytes[..end.map_or(count, |end| end + 4)])?;
                    dead.store(true, Ordering::SeqCst);
                }
                Flow::Drip => {
                    for byte in bytes {
                        device.write_all(&[*byte])?;
                        thread::sleep(Duration::from_millis(150));
                    }
                }
                _ => device.write_all(bytes)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_proxy_ends_its_connections() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::before(&format!("http://{}", server.local_addr().unwrap()));
        proxy.set(Flow::NothingUp);
        let mut device = TcpStream::connect(proxy.url.trim_start_matches("http://")).unwrap();
        let (mut far, _) = server.accept().unwrap();
        device.write_all(b"lost").unwrap();
        let state = Arc::downgrade(&proxy.state);
        drop(proxy);
        assert_eq!([far.read(&mut [0]).unwrap_or(0), device.read(&mut [0]).unwrap_or(0)], [0, 0]);
        while state.strong_count() > 0 {
            thread::yield_now(); // Its threads are about to end.
        }
    }
}

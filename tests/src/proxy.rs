//! What lies between a device and its server, on a socket of this machine: a network that loses packets without a word, and
//! proxies that answer by themselves. A client that sends more than it may (`Rate`) fails the test when the proxy is dropped.
//!
//! Bytes are passed on as they are until a story says otherwise. A connection that has lost something stays open and carries
//! nothing any more, as a half-open one does.

use std::io::{Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::rate::Rate;

/// What happens to bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Flow {
    /// They are passed on.
    #[default]
    Whole,
    /// The server gets none, and does not know.
    NothingUp,
    /// The device gets none, and does not know; the server does what it is asked.
    NothingDown,
    /// The device gets the head of an answer, and none of its body.
    HeadOnly,
    /// The device gets one byte of an answer at a time, so slowly that the whole never comes.
    Drip,
    /// The server gets none; the device gets this answer.
    Answer(Vec<u8>),
}

/// The proxy; it serves for as long as the process lives, and refuses nothing.
#[derive(Debug)]
pub struct Proxy {
    /// What an app is configured with.
    pub url: String,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    server: SocketAddr,
    flow: Mutex<Flow>,
    rate: Rate,
}

impl Proxy {
    /// In front of the server at this URL (`http://address`).
    ///
    /// # Panics
    /// If no socket can be had, or the URL is no address.
    pub fn before(url: &str) -> Self {
        let server = url.trim_start_matches("http://").parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = State { server, flow: Mutex::default(), rate: Rate::new() };
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let own = Arc::clone(&shared);
                // One that breaks off is the device's to notice.
                thread::spawn(move || socket.and_then(|socket| own.carry(&socket)));
            }
        });
        Self { url, state }
    }

    /// From now on this happens to bytes; connections that have lost some stay as they are.
    pub fn set(&self, flow: Flow) {
        *self.state.flow.lock().unwrap_or_else(PoisonError::into_inner) = flow;
    }

    /// How often the device has sent something.
    pub fn requests(&self) -> usize {
        self.state.rate.requests()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.rate.check();
    }
}

impl State {
    fn flow(&self) -> Flow {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn carry(self: &Arc<Self>, device: &TcpStream) -> Result<()> {
        let server = TcpStream::connect(self.server)?;
        let is_dead = Arc::new(AtomicBool::new(false));
        let (from, to) = (server.try_clone()?, device.try_clone()?);
        let (state, dead) = (Arc::clone(self), Arc::clone(&is_dead));
        thread::spawn(move || {
            let _ = state.down(&from, &to, &dead);
            // The end of either side is the end of the connection, unless that is lost as well.
            if !dead.load(Ordering::SeqCst) {
                let _ = to.shutdown(Shutdown::Both);
            }
        });
        let _ = self.up(device, &server, &is_dead);
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

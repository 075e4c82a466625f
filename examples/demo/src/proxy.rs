//! A TCP proxy between a device and the server that can refuse connections or drop responses.
//!
//! Plain TCP on loopback with one thread per direction. It recognises only the start of a push
//! request. The devices see ordinary faults: refused connections and lost responses.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// The state of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cable {
    /// Forwards bytes in both directions.
    Whole,
    /// Forwards nothing and closes new connections at once.
    Cut,
    /// Forwards everything until a push request passes, then drops the server's responses.
    HoldsPushAnswers,
}

/// The proxy of one device.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    /// Whether a push request has passed since the last `set`.
    pushed: AtomicBool,
    /// Number of dropped response bytes.
    held: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn is(&self, cable: Cable) -> bool {
        self.state.load(Ordering::SeqCst) == cable as u8
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// Opens a proxy to `server` on a free loopback port, in the state `Whole`.
    pub(crate) fn open(server: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: AtomicU8::new(Cable::Whole as u8),
            pushed: AtomicBool::new(false),
            held: AtomicU64::new(0),
            open: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = connect(stream, server, &accepting);
            }
        });
        Ok(Self { address, shared })
    }

    /// The server URL for the device.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the state, also for open connections. Those of a device that is online stay open if it
    /// stays online: a pass in the background may use them.
    pub(crate) fn set(&self, cable: Cable) {
        if cable == Cable::Whole && self.shared.is(Cable::Whole) {
            return;
        }
        self.shared.pushed.store(false, Ordering::SeqCst);
        self.shared.state.store(cable as u8, Ordering::SeqCst);
        if cable != Cable::HoldsPushAnswers {
            for stream in self.shared.streams().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// The number of response bytes dropped so far.
    pub(crate) fn held(&self) -> u64 {
        self.shared.held.load(Ordering::SeqCst)
    }
}

fn connect(device: TcpStream, server: SocketAddr, shared: &Arc<Shared>) -> Result<()> {
    let upstream = TcpStream::connect(server)?;
    device.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    // Locked, so that `set` either comes before this look or closes these streams.
    let mut open = shared.streams();
    if shared.is(Cable::Cut) {
        return Ok(()); // Dropping the streams closes the connection.
    }
    open.extend([device.try_clone()?, upstream.try_clone()?]);
    drop(open);
    let (from_device, to_server) = (device.try_clone()?, upstream.try_clone()?);
    let watching = Arc::clone(shared);
    thread::spawn(move || {
        pump(from_device, to_server, |bytes| {
            if PUSHES.iter().any(|push| bytes.windows(push.len()).any(|window| window == *push)) {
                watching.pushed.store(true, Ordering::SeqCst);
            }
            true
        });
    });
    let holding = Arc::clone(shared);
    thread::spawn(move || {
        pump(upstream, device, |bytes| {
            let holds =
                holding.is(Cable::HoldsPushAnswers) && holding.pushed.load(Ordering::SeqCst);
            if holds {
                holding.held.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            }
            !holds
        });
    });
    Ok(())
}

/// The first bytes of a push request, and of a request that publishes entries of the log.
const PUSHES: [&[u8]; 2] = [b"POST /sync/push", b"POST /log/publish"];

fn pump(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&[u8]) -> bool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if passes(&bytes[..count]) && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::{Cable, Proxy};
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    /// A server that returns each byte.
    fn echo() -> std::net::SocketAddr {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in server.incoming().flatten() {
                thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
                });
            }
        });
        address
    }

    /// The demo put a device online that was online, and a pass in the background lost its connection:
    /// the demo then reported it as offline.
    #[test]
    fn device_that_stays_online_keeps_its_connections() {
        let proxy = Proxy::open(echo()).unwrap();
        let mut device = TcpStream::connect(proxy.address).unwrap();
        let mut ask = || device.write_all(b"x").and_then(|()| device.read_exact(&mut [0]));
        ask().unwrap();
        proxy.set(Cable::Whole);
        ask().unwrap();
        proxy.set(Cable::Cut);
        assert!(ask().is_err());
    }

    /// A connection could survive when it was cut while the proxy was opening it: the demo then
    /// sent a write that it called offline.
    #[test]
    fn connection_that_is_being_opened_is_cut() {
        let proxy = Proxy::open(echo()).unwrap();
        for round in 0..2000 {
            proxy.set(Cable::Whole);
            let mut device = TcpStream::connect(proxy.address).unwrap();
            proxy.set(Cable::Cut);
            let _ = device.write_all(b"x");
            let received = device.read(&mut [0]).unwrap_or_default();
            assert_eq!(received, 0, "the server answered through a cut connection, round {round}");
        }
    }
}

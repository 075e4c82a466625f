//! The network of one device: a TCP proxy on loopback that can stall a direction or close
//! connections.
//!
//! A stalled direction loses no data: its bytes arrive when the fault ends, as TCP retransmits them
//! after a partition. So a request can arrive long after the device gave it up. The proxy does not
//! parse HTTP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// State of the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Network {
    /// Forwards bytes in both directions.
    #[default]
    Whole,
    /// Stalls bytes from the device.
    StallsRequests,
    /// Stalls bytes from the server.
    StallsAnswers,
    /// Stalls both directions.
    Stalls,
    /// Closes connections, including new ones.
    Refuses,
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Requests,
    Answers,
}

impl Network {
    fn stalls(self, direction: Direction) -> bool {
        match direction {
            Direction::Requests => matches!(self, Self::StallsRequests | Self::Stalls),
            Direction::Answers => matches!(self, Self::StallsAnswers | Self::Stalls),
        }
    }
}

/// The network of one device. It runs until the process exits.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    network: Network,
    server: Option<SocketAddr>,
    open: Vec<TcpStream>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while a direction is stalled.
    fn wait(&self, direction: Direction) {
        let stalled = |state: &mut State| state.network.stalls(direction);
        let waited = self.changed.wait_while(self.lock(), stalled);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Proxy {
    /// A network on a free loopback port, without a server yet.
    pub(crate) fn open() -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // The device notices a failed connection itself.
                let _ = connect(&stream, &accepting);
            }
        });
        Ok(Self { address, shared })
    }

    /// The server URL for the device.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the target of new connections.
    pub(crate) fn set_server(&self, server: Option<SocketAddr>) {
        self.shared.lock().server = server;
    }

    /// Changes the network state, also for open connections.
    pub(crate) fn set(&self, network: Network) {
        let mut state = self.shared.lock();
        state.network = network;
        if network == Network::Refuses {
            close(&mut state);
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        (state.network, state.server) = (Network::Refuses, None);
        close(&mut state);
        drop(state);
        self.shared.changed.notify_all();
    }
}

fn close(state: &mut State) {
    for stream in state.open.drain(..) {
        // The connection may be closed already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn connect(device: &TcpStream, shared: &Arc<Shared>) -> Result<()> {
    let (network, server) = {
        let state = shared.lock();
        (state.network, state.server)
    };
    let (false, Some(server)) = (network == Network::Refuses, server) else {
        return Ok(device.shutdown(Shutdown::Both)?);
    };
    let Ok(upstream) = TcpStream::connect(server) else {
        return Ok(device.shutdown(Shutdown::Both)?);
    };
    device.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let both = [device.try_clone()?, upstream.try_clone()?];
    {
        let mut state = shared.lock();
        state.open.extend(both);
        // The fault may have started while connecting.
        if state.network == Network::Refuses {
            close(&mut state);
        }
    }
    let pairs = [
        (Direction::Requests, device.try_clone()?, upstream.try_clone()?),
        (Direction::Answers, upstream, device.try_clone()?),
    ];
    for (direction, from, to) in pairs {
        let shared = Arc::clone(shared);
        thread::spawn(move || pump(from, to, direction, &shared));
    }
    Ok(())
}

fn pump(mut from: TcpStream, mut to: TcpStream, direction: Direction, shared: &Shared) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        shared.wait(direction);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // The end of a connection is stalled like its bytes.
    shared.wait(direction);
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::{Network, Proxy};

    /// A client connection through a proxy, and its server end.
    fn pair(proxy: &Proxy) -> (TcpStream, TcpStream) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        proxy.set_server(Some(server.local_addr().unwrap()));
        let client = TcpStream::connect(proxy.url().trim_start_matches("http://")).unwrap();
        (client, server.accept().unwrap().0)
    }

    #[test]
    fn stalled_bytes_arrive_when_the_fault_ends() {
        let proxy = Proxy::open().unwrap();
        let (mut client, mut server) = pair(&proxy);
        proxy.set(Network::StallsRequests);
        client.write_all(b"late").unwrap();
        server.write_all(b"answer").unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(server.read(&mut [0; 4]).is_err(), "the request is stalled");
        proxy.set(Network::Whole);
        server.set_read_timeout(None).unwrap();
        let mut late = [0; 4];
        server.read_exact(&mut late).unwrap();
        assert_eq!((&answer, &late), (b"answer", b"late"));
    }

    #[test]
    fn refused_connection_is_closed() {
        let proxy = Proxy::open().unwrap();
        let (mut client, _server) = pair(&proxy);
        proxy.set(Network::Refuses);
        assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
}

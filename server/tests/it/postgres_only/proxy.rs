//! A proxy between a server and PostgreSQL: counts round trips, and drops packets on request.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Delay of each response: requests sent before it arrives do not depend on it.
const JOURNEY: Duration = Duration::from_millis(25);

/// The end of a read-only transaction, whose response is not awaited.
const LEAVES: &[u8] = b"Q\0\0\0\x0dROLLBACK\0";

#[derive(Debug, Default)]
struct State {
    /// Number of requests that may depend on the previous responses.
    trips: AtomicU64,
    slow: AtomicBool,
    cuts: AtomicBool,
    /// Whether packets are silently dropped, in both directions.
    drops: AtomicBool,
    has_cut: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

/// A port that forwards to a database.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// The database's URL through the proxy.
    pub(crate) url: String,
    state: Arc<State>,
}

impl Proxy {
    /// A proxy to the database of this URL, `postgres://USER@HOST:PORT/NAME`.
    pub(crate) fn to(url: &str) -> Self {
        let (before, behind) = url.split_once('@').unwrap();
        let (target, name) = behind.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let (shared, target) = (Arc::clone(&state), target.to_owned());
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(&target) else { continue };
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                shared.open.lock().unwrap().push(near.try_clone().unwrap());
                carry(&shared, &near, &far);
            }
        });
        Self { url: format!("{before}@127.0.0.1:{port}/{name}"), state }
    }

    /// The number of sequential round trips of `work`.
    pub(crate) async fn trips<T>(&self, work: impl Future<Output = T>) -> u64 {
        self.state.slow.store(true, Ordering::SeqCst);
        let before = self.state.trips.load(Ordering::SeqCst);
        work.await;
        self.state.slow.store(false, Ordering::SeqCst);
        self.state.trips.load(Ordering::SeqCst) - before
    }

    /// Drops the response to the next COMMIT: it is committed, but not confirmed.
    pub(crate) fn lose_the_next_commit(&self) {
        self.state.cuts.store(true, Ordering::SeqCst);
    }

    /// Drops all packets from now on, like a network outage. A connection that lost one never
    /// recovers; new connections work after a call with `false`.
    pub(crate) fn drop_packets(&self, drops: bool) {
        self.state.drops.store(drops, Ordering::SeqCst);
    }

    /// The number of dropped COMMIT responses.
    pub(crate) fn lost(&self) -> u64 {
        self.state.has_cut.load(Ordering::SeqCst)
    }
}

fn carry(state: &Arc<State>, near: &TcpStream, far: &TcpStream) {
    let is_asking = Arc::new(AtomicBool::new(false));
    let is_doomed = Arc::new(AtomicBool::new(false));
    let is_dead = Arc::new(AtomicBool::new(false));
    let drops = |state: &Arc<State>| {
        let (state, is_dead) = (Arc::clone(state), Arc::clone(&is_dead));
        move || {
            is_dead.fetch_or(state.drops.load(Ordering::SeqCst), Ordering::SeqCst);
            is_dead.load(Ordering::SeqCst)
        }
    };
    let (drops_asked, drops_answer) = (drops(state), drops(state));
    let both = || (near.try_clone().unwrap(), far.try_clone().unwrap());
    let (mut from, mut to) = both();
    let (asking, doomed, shared) =
        (Arc::clone(&is_asking), Arc::clone(&is_doomed), Arc::clone(state));
    std::thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if drops_asked() {
                continue;
            }
            if &bytes[..count] != LEAVES && !asking.swap(true, Ordering::SeqCst) {
                shared.trips.fetch_add(1, Ordering::SeqCst);
            }
            let commits = bytes[..count].windows(7).any(|word| word == b"COMMIT\0");
            if commits && shared.cuts.swap(false, Ordering::SeqCst) {
                doomed.store(true, Ordering::SeqCst);
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let ((mut to, mut from), shared) = (both(), Arc::clone(state));
    std::thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if drops_answer() {
                continue;
            }
            if is_doomed.load(Ordering::SeqCst) {
                if bytes[..count].windows(7).any(|word| word == b"COMMIT\0") {
                    // The command tag: the COMMIT is complete.
                    shared.has_cut.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                continue;
            }
            if shared.slow.load(Ordering::SeqCst) {
                std::thread::sleep(JOURNEY);
            }
            is_asking.store(false, Ordering::SeqCst);
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

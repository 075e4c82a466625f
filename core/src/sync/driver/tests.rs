//! Driver tests: the real session over a file, an in-memory server, and paused time with exact
//! seconds.

mod calm;
mod control;
mod endings;
mod pace;
mod peer;
mod session;
mod wakeups;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use rejoin_protocol::wire::push::Ending;
use tokio::time::Instant;

use super::exchange::Exchange;
use super::{Driver, DriverConfig, Network};
use crate::config::{Config, Metered};
use crate::host::{Host, TestHost};
use crate::runtime::Spawner;
use crate::sync::status::SyncState;
use crate::sync::token::Credentials;
use crate::transport::{Fault, HttpRequest, HttpResponse, MemoryTransport, Transport};
use peer::Peer;
use session::{Inside, RealSession};

/// A host with tokio's paused clocks.
#[derive(Debug)]
struct PausedHost {
    start: Instant,
    seed: TestHost,
}

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_767_225_600_000_000;

impl Host for PausedHost {
    fn now_micros(&self) -> i64 {
        NEW_YEAR + i64::try_from(self.elapsed().as_micros()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn random(&self, bytes: &mut [u8]) {
        self.seed.random(bytes);
    }
}

/// A request that reached the server, with its time.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    at: Duration,
    request: HttpRequest,
}

/// A server that records requests and sends scripted responses, otherwise those of its peer.
#[derive(Debug, Default)]
pub(super) struct Server {
    peer: Mutex<Peer>,
    arrivals: Mutex<Vec<Arrival>>,
    script: Mutex<VecDeque<(u16, &'static str, Option<u64>)>>,
    takes: AtomicU64,
    under_way: AtomicU64,
    /// Whether its responses come from a cache.
    is_cached: AtomicBool,
}

impl Server {
    /// Scripts the next response; a 200 is the peer's, with `retry` as the verdict on all groups.
    fn answers(&self, status: u16, body: &'static str, retry_after: Option<u64>) {
        self.script.lock().unwrap().push_back((status, body, retry_after));
    }

    /// Delays each later response.
    fn takes(&self, time: Duration) {
        self.takes.store(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

/// A driver with its surroundings.
pub(super) struct Rig {
    session: Arc<RealSession>,
    server: Arc<Server>,
    transport: MemoryTransport,
    driver: Driver,
    start: Instant,
}

pub(super) fn config() -> DriverConfig {
    DriverConfig::from(&Config::new("unused"))
}

/// A server with an event stream.
fn events() -> Peer {
    Peer { capabilities: vec!["events"], ..Peer::default() }
}

impl Rig {
    fn new() -> Self {
        Self::with(config(), Credentials::Absent, Peer::default())
    }

    fn with(config: DriverConfig, credentials: Credentials, peer: Peer) -> Self {
        Self::over(RealSession::new(false), config, credentials, peer)
    }

    fn over(
        session: RealSession,
        config: DriverConfig,
        credentials: Credentials,
        peer: Peer,
    ) -> Self {
        Self::behind(session, config, credentials, peer, |transport| Arc::new(transport))
    }

    /// A rig with another transport before the one of the server.
    fn behind(
        session: RealSession,
        config: DriverConfig,
        credentials: Credentials,
        peer: Peer,
        before: impl FnOnce(MemoryTransport) -> Arc<dyn Transport>,
    ) -> Self {
        let session = Arc::new(session);
        let server = Arc::new(Server { peer: Mutex::new(peer), ..Server::default() });
        let start = Instant::now();
        let for_transport = Arc::clone(&server);
        let transport = MemoryTransport::new(Arc::new(move |request| {
            let server = Arc::clone(&for_transport);
            async move { respond(&server, start, request).await }.boxed()
        }));
        let mut driver = Driver::with(
            &Spawner::current(),
            Arc::clone(&session) as Arc<dyn Exchange>,
            before(transport.clone()),
            credentials,
            config,
            Arc::new(PausedHost { start, seed: TestHost::new(7) }),
        );
        driver.begin();
        Self { session, server, transport, driver, start }
    }

    /// A rig whose first pass, at zero, has completed.
    async fn settled() -> Self {
        let rig = Self::new();
        rig.run_until(0).await;
        assert_eq!(rig.take_pulls(), [0]);
        rig
    }

    /// Advances the clock to this number of milliseconds after the start, with all due events.
    async fn run_until(&self, millis: u64) {
        tokio::time::sleep_until(self.start + Duration::from_millis(millis)).await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    /// Writes `count` mutations.
    fn write(&self, count: u64) {
        self.inside().write(count, 1);
        self.driver.local_write();
    }

    fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.server.arrivals.lock().unwrap())
    }

    /// Arrival times of requests with `part` in the path, in milliseconds; clears all arrivals.
    fn take(&self, part: &str) -> Vec<u128> {
        let arrivals = self.take_arrivals();
        let meant = arrivals.iter().filter(|arrival| arrival.request.path.contains(part));
        meant.map(|arrival| arrival.at.as_millis()).collect()
    }

    /// Arrival times of pulls.
    fn take_pulls(&self) -> Vec<u128> {
        self.take("pull")
    }

    /// The number of attempts, whether or not they reached the server.
    fn passes(&self) -> u64 {
        self.inside().passes
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.session.inside()
    }

    /// Mutations without a verdict.
    fn pending(&self) -> usize {
        self.inside().pending()
    }

    /// The number of requests without a response.
    fn lost(&self) -> u64 {
        self.inside().lost
    }

    fn state(&self) -> SyncState {
        self.driver.status().borrow().state.clone()
    }

    fn online(&self, online: bool) {
        self.driver.set_network(Network { online, metered: false });
    }

    fn metered(&self, metered: bool) {
        self.driver.set_network(Network { online: true, metered });
    }
}

async fn respond(server: &Server, start: Instant, request: HttpRequest) -> HttpResponse {
    let before = server.under_way.fetch_add(1, Ordering::SeqCst);
    assert_eq!(before, 0, "two requests overlap");
    let leave = Leave(&server.under_way);
    let asked = request.clone();
    server.arrivals.lock().unwrap().push(Arrival { at: start.elapsed(), request });
    let takes = server.takes.load(Ordering::SeqCst);
    if takes > 0 {
        tokio::time::sleep(Duration::from_millis(takes)).await;
    }
    drop(leave);
    let scripted = server.script.lock().unwrap().pop_front();
    let (status, body, retry_after) = scripted.unwrap_or((200, "", None));
    if status == 200 {
        let ending = if body == "retry" { Ending::Retry } else { Ending::Accepted };
        let mut answer = server.peer.lock().unwrap().answer(&asked, ending);
        let is_cached = server.is_cached.load(Ordering::SeqCst);
        answer.headers.extend(is_cached.then(|| ("age".to_owned(), "60".to_owned())));
        return answer;
    }
    let mut answer = HttpResponse::json(status, Bytes::from_static(body.as_bytes()));
    answer.headers.extend(retry_after.map(|after| ("retry-after".into(), after.to_string())));
    answer
}

/// Counts a request as done, also when it is aborted.
struct Leave<'a>(&'a AtomicU64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A configuration with this metered policy.
fn metered(policy: Metered) -> DriverConfig {
    DriverConfig { metered: policy, ..config() }
}

/// The transport's delay that exceeds the deadline.
const LATE: Fault = Fault::Late(Duration::from_secs(11));

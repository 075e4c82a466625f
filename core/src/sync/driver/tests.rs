//! The driver's tests: a scripted session, a server in memory, and paused time, so that every second is exact.

mod control;
mod endings;
mod pace;
mod wakeups;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use rejoin_protocol::capability;
use tokio::time::Instant;

use super::exchange::{Exchange, Told};
use super::{Driver, DriverConfig, Network};
use crate::config::{Config, Metered};
use crate::error::{Error, Result};
use crate::host::{Host, TestHost};
use crate::runtime::Spawner;
use crate::sync::session::{Next, PassReport, Phase, Progress, Request, Response};
use crate::sync::status::{FirstSync, State};
use crate::sync::token::Credentials;
use crate::transport::{Fault, HttpRequest, HttpResponse, MemoryTransport};
use crate::writer::Answer;

/// A session in short: registers once, pushes what is pending, pulls once.
#[derive(Debug, Default)]
pub(super) struct Script {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    pending: u64,
    /// How many of them the push under way carries.
    sending: u64,
    /// Pages of a pull.
    pages: usize,
    capabilities: Vec<&'static str>,
    registered: bool,
    first_sync: FirstSync,
    todo: VecDeque<Phase>,
    flight: Option<Phase>,
    report: PassReport,
    rows: u64,
    body: usize,
    passes: u64,
    lost: u64,
    renewed: u64,
    /// Whom the credentials named at each start, and between.
    signed: Vec<Option<String>>,
}

impl Script {
    fn with<R>(&self, body: impl FnOnce(&mut Inside) -> R) -> R {
        body(&mut self.inside.lock().unwrap())
    }
}

impl Inside {
    fn told(&self) -> Told {
        let can = |name| self.registered && self.capabilities.contains(&name);
        let phase = self.flight.or(self.todo.front().copied()).unwrap_or(Phase::Pulling);
        Told {
            first_sync: self.first_sync,
            progress: Progress { phase, done: self.rows, total: Some(self.rows * 2) },
            gzip: can(capability::GZIP),
            events: can(capability::EVENTS).then(|| "/sync/events?client_id=c".to_owned()),
        }
    }

    fn start(&mut self) -> Told {
        self.passes += 1;
        self.lost += u64::from(self.flight.take().is_some());
        self.report = PassReport::default();
        let register = (!self.registered).then_some(Phase::Registering);
        let push = (self.pending > 0).then_some(Phase::Pushing);
        self.todo = register
            .into_iter()
            .chain(push)
            .chain(vec![Phase::Pulling; self.pages.max(1)])
            .collect();
        self.told()
    }

    fn next(&mut self) -> Next {
        assert!(self.flight.is_none(), "one request at a time");
        let Some(phase) = self.todo.pop_front() else {
            self.report.still_pending = self.pending;
            return Next::Finished(self.report);
        };
        self.flight = Some(phase);
        self.sending = self.pending;
        let path = match phase {
            Phase::Registering => "/sync/register",
            Phase::Pushing => "/sync/push",
            _ => "/sync/pull",
        };
        let body = Some(vec![b'{'; self.body.max(2)]);
        Next::Send(Request { method: "POST", path: path.into(), extended: true, body, phase })
    }

    fn answered(&mut self, response: &Response) -> Result<Told> {
        let phase = self.flight.take().expect("somebody waits");
        let body = String::from_utf8_lossy(&response.body).into_owned();
        match response.status {
            200 => {}
            401 => return Err(Error::NeedsAuth),
            426 => return Err(Error::UpgradeRequired(body)),
            status => {
                let (code, message) = (String::new(), body);
                return Err(Error::Server { status, code, message, retryable: status >= 429 });
            }
        }
        if !body.ends_with('}') {
            return Err(Error::Protocol("cut".into()));
        }
        match phase {
            Phase::Registering => self.registered = true,
            Phase::Pushing if body.contains("retry") => {}
            Phase::Pushing => {
                self.pending -= self.sending;
                self.report.accepted += self.sending;
            }
            _ => {
                self.rows += 100;
                self.report.pulled += 100;
                self.first_sync = FirstSync::Done;
            }
        }
        Ok(self.told())
    }
}

impl Exchange for Script {
    fn look(&self) -> Answer<Told> {
        Answer::ready(Ok(self.with(|inside| inside.told())))
    }

    fn start(&self, who: Option<String>) -> Answer<Told> {
        Answer::ready(Ok(self.with(|inside| {
            inside.signed.push(who);
            inside.start()
        })))
    }

    fn signed_by(&self, who: Option<String>) -> Answer<()> {
        self.with(|inside| inside.signed.push(who));
        Answer::ready(Ok(()))
    }

    fn next(&self) -> Answer<Next> {
        Answer::ready(Ok(self.with(Inside::next)))
    }

    fn answered(&self, response: Response) -> Answer<Told> {
        Answer::ready(self.with(|inside| inside.answered(&response)))
    }

    fn lost(&self) -> Answer<()> {
        self.with(|inside| inside.lost += u64::from(inside.flight.take().is_some()));
        Answer::ready(Ok(()))
    }

    fn renew(&self) {
        self.with(|inside| inside.renewed += 1);
    }
}

/// A host whose clocks are tokio's, which are paused.
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

/// One request that reached the server, and when.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    at: Duration,
    request: HttpRequest,
}

/// The server: notes what arrives, answers what is scripted, and 200 otherwise.
#[derive(Debug, Default)]
pub(super) struct Server {
    arrivals: Mutex<Vec<Arrival>>,
    script: Mutex<VecDeque<(u16, &'static str, Option<u64>)>>,
    takes: AtomicU64,
    under_way: AtomicU64,
}

impl Server {
    /// The next answer.
    fn answers(&self, status: u16, body: &'static str, retry_after: Option<u64>) {
        self.script.lock().unwrap().push_back((status, body, retry_after));
    }

    /// Each answer takes so long from now on.
    fn takes(&self, time: Duration) {
        self.takes.store(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

/// A driver with everything around it.
pub(super) struct Rig {
    script: Arc<Script>,
    server: Arc<Server>,
    transport: MemoryTransport,
    driver: Driver,
    start: Instant,
}

pub(super) fn config() -> DriverConfig {
    DriverConfig::from(&Config::new("unused"))
}

impl Rig {
    fn new() -> Self {
        Self::with(config(), Credentials::Nobody, |_| {})
    }

    fn with(
        config: DriverConfig,
        credentials: Credentials,
        prepare: impl FnOnce(&mut Inside),
    ) -> Self {
        let script = Arc::new(Script::default());
        script.with(prepare);
        let server = Arc::new(Server::default());
        let start = Instant::now();
        let seen = Arc::clone(&server);
        let transport = MemoryTransport::new(Arc::new(move |request| {
            let server = Arc::clone(&seen);
            async move { respond(&server, start, request).await }.boxed()
        }));
        let mut driver = Driver::with(
            &Spawner::current(),
            Arc::clone(&script) as Arc<dyn Exchange>,
            Arc::new(transport.clone()),
            credentials,
            config,
            Arc::new(PausedHost { start, seed: TestHost::new(7) }),
        );
        driver.begin();
        Self { script, server, transport, driver, start }
    }

    /// A rig whose first pass, at zero, is over.
    async fn settled() -> Self {
        let rig = Self::new();
        rig.run_until(0).await;
        assert_eq!(rig.take_pulls(), [0]);
        rig
    }

    /// Lets time pass until so many milliseconds after the start, and everything happen that is due until then.
    async fn run_until(&self, millis: u64) {
        tokio::time::sleep_until(self.start + Duration::from_millis(millis)).await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    /// Writes `count` mutations.
    fn write(&self, count: u64) {
        self.script.with(|inside| inside.pending += count);
        self.driver.local_write();
    }

    fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.server.arrivals.lock().unwrap())
    }

    /// When requests reached the server whose path contains `part`, in milliseconds; forgets all arrivals.
    fn take(&self, part: &str) -> Vec<u128> {
        let arrivals = self.take_arrivals();
        let meant = arrivals.iter().filter(|arrival| arrival.request.path.contains(part));
        meant.map(|arrival| arrival.at.as_millis()).collect()
    }

    /// When passes came to their pull.
    fn take_pulls(&self) -> Vec<u128> {
        self.take("pull")
    }

    /// When attempts were made, whether they reached the server or not.
    fn passes(&self) -> u64 {
        self.script.with(|inside| inside.passes)
    }

    fn state(&self) -> State {
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
    assert_eq!(before, 0, "push, pull and snapshot never overlap");
    let leave = Leave(&server.under_way);
    server.arrivals.lock().unwrap().push(Arrival { at: start.elapsed(), request });
    let takes = server.takes.load(Ordering::SeqCst);
    if takes > 0 {
        tokio::time::sleep(Duration::from_millis(takes)).await;
    }
    drop(leave);
    let scripted = server.script.lock().unwrap().pop_front();
    let (status, body, retry_after) = scripted.unwrap_or((200, "{}", None));
    let mut answer = HttpResponse::json(status, Bytes::from_static(body.as_bytes()));
    answer.headers.extend(retry_after.map(|after| ("retry-after".into(), after.to_string())));
    answer
}

/// Counts a request out, also where it is abandoned.
struct Leave<'a>(&'a AtomicU64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What the table of metered policies says of one pass.
fn metered(policy: Metered) -> DriverConfig {
    DriverConfig { metered: policy, ..config() }
}

/// Keeps the vocabulary of faults in one place for the modules below.
const LATE: Fault = Fault::Late(Duration::from_secs(11));

//! `cargo xtask bench live`: how long a committed row takes until a watched query of another device
//! shows it, over both stores.
//!
//! Both devices are clients with the default configuration, in this process; the server is the real
//! binary. Single commits follow a pause longer than `push_debounce`, so that each is pushed at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::BoxFuture;
use rejoin_core::transport::{EventStream, HttpRequest, HttpResponse, TransportError};
use rejoin_core::{Client, Config, HttpTransport, Services, Subscription, Transport, block_on};
use tempfile::TempDir;

use crate::cluster::{Cluster, Session};
use crate::measure::percentile;
use crate::report::{Goal, Line};
use crate::served::{self, Served};

/// Single commits; the first ones open connections and compile statements.
const COMMITS: usize = 110;
const UNCOUNTED: usize = 10;

/// Longer than `push_debounce`.
const PAUSE: Duration = Duration::from_millis(600);

/// Commits of the burst, and the time between two of them.
const BURST: usize = 100;
const STEP: Duration = Duration::from_millis(10);

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn lines() -> Result<Vec<Line>> {
    let cluster = Cluster::start(false)?;
    let url = cluster.database("live")?;
    served::tables(&Session::to(&url)?)?;
    let mut lines = store_lines("SQLite", &Served::over_sqlite()?)?;
    lines.extend(store_lines("PostgreSQL", &Served::over(&url)?)?);
    Ok(lines)
}

fn store_lines(store: &str, server: &Served) -> Result<Vec<Line>> {
    let folder = tempfile::tempdir()?;
    let (one, two) = (Device::to(server, &folder, "one")?, Device::to(server, &folder, "two")?);
    let (updates, _subscription) = two.watch()?;
    let mut delays = Vec::new();
    for number in 1..=COMMITS {
        std::thread::sleep(PAUSE);
        let committed = one.commit(number)?;
        delays.push(millis(shown(&updates, number)?, committed));
    }
    let mut delays = delays.split_off(UNCOUNTED);
    std::thread::sleep(PAUSE);
    let before = one.pushes.load(Ordering::Acquire);
    let mut last = Instant::now();
    for number in COMMITS + 1..=COMMITS + BURST {
        last = one.commit(number)?;
        std::thread::sleep(STEP);
    }
    let tail = millis(shown(&updates, COMMITS + BURST)?, last);
    let pushes = one.pushes.load(Ordering::Acquire) - before;
    for device in [one, two] {
        device.client.shutdown().wait()?;
    }
    let line = |what: &str, figure, unit, goal: f64| Line {
        what: format!("live: {what}, {store}"),
        against: String::from("the clock"),
        figure,
        unit,
        spread: None,
        goal: Some(Goal::AtMost(goal)),
        note: String::new(),
    };
    Ok(vec![
        line("commit to another device's watch, p50", percentile(&mut delays, 0.5), "ms", 20.0),
        line("commit to another device's watch, p99", percentile(&mut delays, 0.99), "ms", 60.0),
        line("pushes of 100 commits in a second", pushes as f64, "", 4.0),
        line("the last of them to another device's watch", tail, "ms", 560.0),
    ])
}

/// From `begun` to `at`.
fn millis(at: Instant, begun: Instant) -> f64 {
    at.saturating_duration_since(begun).as_secs_f64() * 1e3
}

/// When the watched query had this number of rows.
fn shown(updates: &Receiver<(usize, Instant)>, rows: usize) -> Result<Instant> {
    loop {
        let (seen, at) = updates.recv_timeout(PATIENCE).context("no update came")?;
        ensure!(seen <= rows, "{seen} rows instead of {rows}");
        if seen == rows {
            return Ok(at);
        }
    }
}

/// A device that syncs, and its number of pushes.
struct Device {
    client: Client,
    pushes: Arc<AtomicUsize>,
}

impl Device {
    fn to(server: &Served, folder: &TempDir, name: &str) -> Result<Self> {
        let url = format!("http://{}", server.address);
        let pushes = Arc::new(AtomicUsize::new(0));
        let inner = HttpTransport::new(&url, 1 << 20)?;
        let transport = Counting { inner, pushes: Arc::clone(&pushes) };
        let services = Services { transport: Some(Arc::new(transport)), ..Services::default() };
        let file = folder.path().join(format!("{name}.db"));
        let config = Config::new(file).server(url).user_id("live".to_owned());
        let client = Client::open_with(config, services).wait()?;
        client.start()?;
        client.sync().first_sync(Some(PATIENCE)).wait()?;
        Ok(Self { client, pushes })
    }

    /// Commits a row; returns when.
    fn commit(&self, number: usize) -> Result<Instant> {
        let sql = "INSERT INTO tasks(id, title, done) VALUES (?, 'a task', 0)";
        self.client.execute(sql, (format!("task {number}"),)).wait()?;
        Ok(Instant::now())
    }

    /// The row count of a query, and when it was delivered.
    fn watch(&self) -> Result<(Receiver<(usize, Instant)>, Subscription)> {
        let (sender, updates) = mpsc::channel();
        let watch = block_on(self.client.watch("SELECT id FROM tasks ORDER BY id", (), &[]))?;
        let subscription = watch.each(move |update| {
            let rows = update.map_or(usize::MAX, |update| update.rows.len());
            // The receiver may be gone.
            let _ = sender.send((rows, Instant::now()));
        });
        shown(&updates, 0)?;
        Ok((updates, subscription))
    }
}

/// Counts pushes.
#[derive(Debug)]
struct Counting {
    inner: HttpTransport,
    pushes: Arc<AtomicUsize>,
}

impl Transport for Counting {
    fn send(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        if request.path.ends_with("/push") {
            self.pushes.fetch_add(1, Ordering::AcqRel);
        }
        self.inner.send(request)
    }

    fn events(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        self.inner.events(request)
    }
}

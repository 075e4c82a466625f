//! `cargo xtask bench device`: what a device spends with many rows, and while nothing happens.
//!
//! The device is a process of its own (`child`), as on a phone; the server is in this process, behind
//! a relay that counts bytes and bursts. A burst is traffic after two seconds of silence: about what
//! wakes a phone's radio.

pub(crate) mod child;
mod relay;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rejoin_server::{Config, Limits, Server, TableConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::measure::median;
use crate::raw;
use crate::report::Line;
use child::Step;
use relay::{Link, Relay};

/// Rows of the files.
const SIZES: [usize; 2] = [100_000, 1_000_000];

/// Seconds before an idle period counts: the first pass and its connections are over.
const SETTLE: u64 = 5;

/// How often a file is opened, for the median.
const OPENS: usize = 5;

/// Writes whose fsyncs are counted.
const WRITES: usize = 200;

/// A good mobile network, far from the server.
const LINK: Link = Link { rate: 20e6 / 8.0, round_trip: Duration::from_millis(80) };

const TABLE: &str = "CREATE TABLE notes(id TEXT PRIMARY KEY, owner_id TEXT, title TEXT, body TEXT,
    count INTEGER, updated_at TEXT NOT NULL)";

/// All lines; an idle period lasts `idle` seconds.
pub(crate) fn lines(idle: u64) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for rows in SIZES {
        let host = Host::with(rows, Limits::default().page)?;
        let file = host.folder.path().join("device.db");
        eprintln!("{rows} rows ...");
        let synced = host.device(&file, &Step::Sync)?;
        ensure!(synced.of("rows")?.to_bits() == (rows as f64).to_bits(), "{synced:?}");
        lines.push(line(
            &format!("first sync of {rows} rows, peak memory"),
            synced.of("peak_kib")? / 1_024.0,
            "MiB",
            None,
        ));
        let opened: Vec<Printed> =
            (0..OPENS).map(|_| host.device(&file, &Step::Open)).collect::<Result<_>>()?;
        for (what, key, unit, per) in [
            ("open to first row", "first_row_us", "ms", 1_000.0),
            ("the same, plain SQLite", "plain_first_row_us", "ms", 1_000.0),
            ("memory after the first rows", "resident_kib", "MiB", 1_024.0),
            ("threads", "threads", "", 1.0),
        ] {
            let what = format!("{what}, {rows} rows");
            let mut values: Vec<f64> =
                opened.iter().map(|opened| opened.of(key)).collect::<Result<_>>()?;
            lines.push(line(&what, median(&mut values) / per, unit, None));
        }
        if rows == SIZES[0] {
            eprintln!("idle for {idle} s ...");
            lines.extend(idling(&host, &file, idle)?);
            lines.extend(fsyncs(&host, &file)?);
        }
    }
    Ok(lines)
}

/// A first sync through a slow link, with the default limit of pages and with a fixed size.
pub(crate) fn link_lines() -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (pages, limit) in [("", Limits::default().page), (" in pages of 1,000", 1_000)] {
        lines.extend(linked(pages, limit)?);
    }
    Ok(lines)
}

fn linked(pages: &str, limit: usize) -> Result<[Line; 4]> {
    let rows = SIZES[0];
    let host = Host::with(rows, limit)?;
    let relay = host.relay(Some(LINK))?;
    let [mut direct, mut slow, mut ratios] = [const { Vec::new() }; 3];
    let mut bytes = 0.0;
    for round in 0..OPENS {
        let file = |name| host.folder.path().join(format!("{name}{round}.db"));
        direct.push(host.device(&file("direct"), &Step::Sync)?.of("sync_us")? / 1e6);
        relay.take();
        let command = Command::new(std::env::current_exe()?);
        let synced = run(command, &relay, &file("slow"), &Step::Sync)?;
        bytes = relay.take().bytes;
        slow.push(synced.of("sync_us")? / 1e6);
        ratios.extend(slow.last().map(|seconds| seconds / (bytes / LINK.rate)));
    }
    let what = format!("first sync of {rows} rows{pages}");
    let ratio = Line {
        against: String::from("the time of its bytes"),
        ..line(&format!("{what} through 20 Mbit/s and 80 ms"), median(&mut ratios), "", Some(1.3))
    };
    Ok([
        line(&format!("{what}, bytes a row"), bytes / rows as f64, "bytes", None),
        line(&what, median(&mut direct), "s", None),
        line(&format!("{what} through 20 Mbit/s and 80 ms"), median(&mut slow), "s", None),
        ratio,
    ])
}

/// Wake-ups, bursts and bytes of a device that syncs while nothing happens.
fn idling(host: &Host, file: &Path, seconds: u64) -> Result<Vec<Line>> {
    let relay = &host.relay;
    let counted = std::thread::scope(|scope| {
        let counting = scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(SETTLE));
            relay.count(Duration::from_secs(seconds))
        });
        let idled = host.device(file, &Step::Idle { seconds: seconds + SETTLE });
        let counts = counting.join().map_err(|_| anyhow::anyhow!("the counter panicked"));
        Ok::<_, anyhow::Error>((idled?, counts?))
    });
    let (idled, traffic) = counted?;
    let minutes = seconds as f64 / 60.0;
    Ok(vec![
        line("idle: voluntary wake-ups a minute", idled.of("wakes")? / minutes, "", Some(10.0)),
        line(
            "idle: bursts on the network an hour",
            traffic.bursts / minutes * 60.0,
            "",
            Some(15.0),
        ),
        line("idle: bytes a minute", traffic.bytes / minutes, "bytes", None),
    ])
}

/// Calls of fsync and fdatasync for each write, if strace can count them.
fn fsyncs(host: &Host, file: &Path) -> Result<Vec<Line>> {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("no fsyncs: strace is not installed");
        return Ok(Vec::new());
    }
    let mut lines = Vec::new();
    for (kind, full) in [("normal", false), ("full", true)] {
        let trace = host.folder.path().join("trace");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-o"]).arg(&trace);
        strace.arg(std::env::current_exe()?);
        run(strace, &host.relay, file, &Step::Write { count: WRITES, full })?;
        let text = std::fs::read_to_string(&trace).context("the trace")?;
        let calls = text.lines().filter(|line| line.contains("sync(") && !line.contains("resumed"));
        let each = calls.count() as f64 / WRITES as f64;
        lines.push(line(&format!("fsyncs a write, durability {kind}"), each, "", None));
    }
    Ok(lines)
}

fn line(what: &str, value: f64, unit: &str, goal: Option<f64>) -> Line {
    Line {
        name: format!("device: {what}"),
        against: String::from("the process"),
        ratio: None,
        spread: None,
        goal,
        value: Some(value),
        unit: unit.to_owned(),
        instructions: None,
    }
}

/// What a device printed: one `name value` on each line.
#[derive(Debug)]
struct Printed(BTreeMap<String, f64>);

impl Printed {
    fn of(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().with_context(|| format!("the device printed no {name}"))
    }
}

/// A server with the rows of one user, and the relay before it.
struct Host {
    folder: TempDir,
    relay: Relay,
    server: SocketAddr,
    runtime: Runtime,
}

impl Host {
    /// `page` limits the rows of a page.
    fn with(rows: usize, page: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("server.db");
        let database = rusqlite::Connection::open(&path)?;
        database.execute_batch(&format!("PRAGMA synchronous = OFF; BEGIN; {TABLE}"))?;
        // Random keys, and times of their own: otherwise hardly a byte of a row would be sent.
        let insert = "INSERT INTO notes VALUES (?1, 'ana', ?2, ?3, ?4, ?5)";
        for number in 0..rows {
            let [_, title, body, ..] = raw::row(number);
            let (key, count) = (uuid::Uuid::new_v4().to_string(), i64::try_from(number)?);
            let micros = number * 977_123 % 1_000_000;
            let [hours, minutes, seconds] = [number / 3_600 % 24, number / 60 % 60, number % 60];
            let time = format!("2026-11-20T{hours:02}:{minutes:02}:{seconds:02}.{micros:06}Z");
            database.prepare_cached(insert)?.execute((key, title, body, count, time))?;
        }
        database.execute_batch("COMMIT")?;
        drop(database);
        let mut config = Config::new(path).with_table(TableConfig::owned("notes", "owner_id"));
        config.limits.page = page;
        let server = Server::open(config)?;
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let relay = runtime.block_on(Relay::before(address, None))?;
        runtime.spawn(async move { server.serve(listener).await });
        Ok(Self { folder, relay, server: address, runtime })
    }

    /// Another relay before the same server.
    fn relay(&self, link: Option<Link>) -> Result<Relay> {
        self.runtime.block_on(Relay::before(self.server, link))
    }

    fn device(&self, file: &Path, step: &Step) -> Result<Printed> {
        run(Command::new(std::env::current_exe()?), &self.relay, file, step)
    }
}

/// Runs this program as a device.
fn run(mut command: Command, relay: &Relay, file: &Path, step: &Step) -> Result<Printed> {
    command.args(["on-device", &relay.url]).arg(file).args(step.arguments());
    let done = command.output()?;
    if !done.status.success() {
        bail!("the device failed: {}", String::from_utf8_lossy(&done.stderr));
    }
    let text = String::from_utf8(done.stdout)?;
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let values = pairs.map(|(name, value)| Ok((name.to_owned(), value.parse()?)));
    Ok(Printed(values.collect::<Result<_>>()?))
}

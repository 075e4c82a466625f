//! `cargo xtask bench device`: what a device spends with many rows, and while nothing happens.
//!
//! The device is a process of its own (`child`), as on a phone; the server is in this process, behind
//! a relay that counts bytes and bursts. A burst is traffic after two seconds of silence: about what
//! wakes a phone's radio.

pub(crate) mod child;
mod relay;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rejoin_server::{Config, Server, TableConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::measure::median;
use crate::raw;
use crate::report::Line;
use child::Step;
use relay::Relay;

/// Rows of the files.
const SIZES: [usize; 2] = [100_000, 1_000_000];

/// Seconds before an idle period counts: the first pass and its connections are over.
const SETTLE: u64 = 5;

/// How often a file is opened, for the median.
const OPENS: usize = 5;

/// Writes whose fsyncs are counted.
const WRITES: usize = 200;

const TABLE: &str = "CREATE TABLE notes(id TEXT PRIMARY KEY, owner_id TEXT, title TEXT, body TEXT,
    count INTEGER, updated_at TEXT NOT NULL)";

/// All lines; an idle period lasts `idle` seconds.
pub(crate) fn lines(idle: u64) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for rows in SIZES {
        let host = Host::with(rows)?;
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
        host.run(strace, file, &Step::Write { count: WRITES, full })?;
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
    _runtime: Runtime,
}

impl Host {
    fn with(rows: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("server.db");
        let database = rusqlite::Connection::open(&path)?;
        database.execute_batch(&format!("PRAGMA synchronous = OFF; BEGIN; {TABLE}"))?;
        let insert =
            "INSERT INTO notes VALUES (?1, 'ana', ?2, ?3, ?4, '2026-11-20T08:00:00.000000Z')";
        for number in 0..rows {
            let row = raw::row(number);
            let count = i64::try_from(number)?;
            database.prepare_cached(insert)?.execute((&row[0], &row[1], &row[2], count))?;
        }
        database.execute_batch("COMMIT")?;
        drop(database);
        let config = Config::new(path).with_table(TableConfig::owned("notes", "owner_id"));
        let server = Server::open(config)?;
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let relay = runtime.block_on(Relay::before(listener.local_addr()?))?;
        runtime.spawn(async move { server.serve(listener).await });
        Ok(Self { folder, relay, _runtime: runtime })
    }

    fn device(&self, file: &Path, step: &Step) -> Result<Printed> {
        self.run(Command::new(std::env::current_exe()?), file, step)
    }

    /// Runs this program as a device.
    fn run(&self, mut command: Command, file: &Path, step: &Step) -> Result<Printed> {
        command.args(["on-device", &self.relay.url]).arg(file).args(step.arguments());
        let done = command.output()?;
        if !done.status.success() {
            bail!("the device failed: {}", String::from_utf8_lossy(&done.stderr));
        }
        let text = String::from_utf8(done.stdout)?;
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        let values = pairs.map(|(name, value)| Ok((name.to_owned(), value.parse()?)));
        Ok(Printed(values.collect::<Result<_>>()?))
    }
}

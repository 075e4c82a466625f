//! Results that are not ratios of two runs: wall times and sizes.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use rejoin_core::engine::{Engine, checkpoint};
use rejoin_core::{Client, Config, Durability, Task};

use crate::measure::{Variant, median, percentile};
use crate::powersync::memory::{Side, Work, peak};
use crate::powersync::{self, Tables};
use crate::rebase::TABLE;
use crate::report::Line;
use crate::{action, apply, large, log, open, ours, raw, watch};

/// Produces the lines of one result.
type Make = fn() -> Result<Vec<Line>>;

/// Every result whose name matches.
pub(crate) fn lines(wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Line>> {
    let all: [(&str, Make); 11] = [
        ("memory: transaction", large_transaction),
        ("writer hold", hold),
        ("commit", commit),
        ("log: action performed", act),
        ("open: 20,000 pending", opening),
        ("log: opened", opening_log),
        ("log: an entry before 1,050 others", late_entry),
        ("watch: commit to watcher called", latency),
        ("size: file", file_size),
        ("powersync: first sync", beside_powersync),
        ("powersync: memory", memory_beside_powersync),
    ];
    let mut lines = Vec::new();
    for (name, make) in all.into_iter().filter(|(name, _)| wanted(name)) {
        eprintln!("{name} ...");
        lines.extend(make()?);
    }
    Ok(lines)
}

fn figure(name: &str, against: &str, value: f64, unit: &str, goal: f64) -> Line {
    Line {
        name: name.to_owned(),
        against: against.to_owned(),
        ratio: None,
        spread: None,
        goal: Some(goal),
        value: Some(value),
        unit: unit.to_owned(),
        instructions: None,
    }
}

fn of_three(mut one: impl FnMut(&Path) -> Result<f64>) -> Result<f64> {
    let mut values = [0.0; 3];
    for value in &mut values {
        *value = one(tempfile::tempdir()?.path())?;
    }
    Ok(median(&mut values))
}

fn hold() -> Result<Vec<Line>> {
    let hold = of_three(|folder| Ok(apply::longest_hold(folder, 100_000)?.as_secs_f64() * 1e3))?;
    let name = "writer hold: longest, 100,000 rows in pages of 10,000";
    Ok(vec![figure(name, "the clock", hold, "ms", 50.0)])
}

fn large_transaction() -> Result<Vec<Line>> {
    let name = "memory: transaction of 100,000 inserted rows";
    Ok(vec![figure(name, "the bytes of their values", of_three(large::memory)?, "", 1.5)])
}

/// Writes of one row each: the cost of `Config::durability` on this disk.
fn commit() -> Result<Vec<Line>> {
    let mut lines = writes("commit: 1 row", None, ours::open, |engine, number| {
        Ok(engine.execute(raw::INSERT, &ours::spread_row(number)).map(drop)?)
    })?;
    lines.extend(at_once("commit: 1 row", None, ours::open, |client, number| {
        client.execute(raw::INSERT, ours::spread_row(number).to_vec())
    })?);
    Ok(lines)
}

/// Actions on a table of the log: at least 5,000 a second one after the other, and 20,000 at once.
fn act() -> Result<Vec<Line>> {
    const NAME: &str = "log: action performed";
    let open = |path: &Path| action::open_log(path, TABLE);
    let mut lines = writes(NAME, Some(200.0), open, action::add)?;
    lines.extend(at_once(NAME, Some(50.0), open, action::begin_adding)?);
    Ok(lines)
}

/// The wall time of a write in its own transaction, with each durability. The goal is for `normal`:
/// `full` waits for the disk.
fn writes(
    name: &str,
    goal: Option<f64>,
    open: fn(&Path) -> Result<Engine>,
    write: fn(&mut Engine, usize) -> Result<()>,
) -> Result<Vec<Line>> {
    const COUNT: u32 = 500;
    let line = |(kind, durability)| {
        let micros = of_three(|folder| {
            let mut engine = open(&folder.join("bench.db"))?;
            checkpoint::set_durability(&mut engine, durability)?;
            let begun = Instant::now();
            for number in 0..COUNT {
                write(&mut engine, number as usize)?;
            }
            Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT))
        })?;
        let name = format!("{name}, durability {kind}");
        let goal = goal.filter(|_| durability == Durability::Normal);
        Ok(Line { goal, ..figure(&name, "the clock", micros, "\u{b5}s", 0.0) })
    };
    [("normal", Durability::Normal), ("full", Durability::Full)].into_iter().map(line).collect()
}

/// The same through a client with 100 calls in flight, whose writes share transactions.
fn at_once<R: Send + 'static>(
    name: &str,
    goal: Option<f64>,
    create: fn(&Path) -> Result<Engine>,
    write: fn(&Client, usize) -> Task<R>,
) -> Result<Vec<Line>> {
    const COUNT: u32 = 5_000;
    const CALLS: usize = 100;
    let line = |(kind, durability)| {
        let micros = of_three(|folder| {
            let path = folder.join("bench.db");
            drop(create(&path)?);
            let config = Config::new(path).durability(durability);
            let client = Client::open_with(config, action::services()).wait()?;
            let mut begun = VecDeque::new();
            let start = Instant::now();
            for number in 0..COUNT {
                if begun.len() == CALLS {
                    begun.pop_front().map(Task::wait).transpose()?;
                }
                begun.push_back(write(&client, number as usize));
            }
            begun.into_iter().try_for_each(|task| task.wait().map(drop))?;
            let micros = start.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT);
            client.shutdown().wait()?;
            Ok(micros)
        })?;
        let name = format!("{name}, 100 at once, durability {kind}");
        let goal = goal.filter(|_| durability == Durability::Normal);
        Ok(Line { goal, ..figure(&name, "the clock", micros, "\u{b5}s", 0.0) })
    };
    [("normal", Durability::Normal), ("full", Durability::Full)].into_iter().map(line).collect()
}

fn opening() -> Result<Vec<Line>> {
    let seconds = of_three(|folder| open::seconds(folder, 20_000))?;
    Ok(vec![figure("open: 20,000 pending", "the clock", seconds, "s", 0.5)])
}

fn opening_log() -> Result<Vec<Line>> {
    let millis = of_three(|folder| Ok(open::seconds_of_log(folder, 100_000)? * 1e3))?;
    let name = "log: opened with 100,000 entries, and one written";
    Ok(vec![figure(name, "the clock", millis, "ms", 500.0)])
}

/// The original system takes 366 ms for it on this class of machine; the goal is a twentieth.
fn late_entry() -> Result<Vec<Line>> {
    let run = |folder: &Path| Ok(log::LATE(Variant::Ours, folder, 0)?.time.as_secs_f64() * 1e3);
    let millis = of_three(run)?;
    Ok(vec![figure("log: an entry before 1,050 others", "CPU time", millis, "ms", 18.3)])
}

fn latency() -> Result<Vec<Line>> {
    let mut all = watch::commit_to_call(tempfile::tempdir()?.path(), 2_000)?;
    let line = |name: &str, value, goal| figure(name, "the clock", value, "ms", goal);
    Ok(vec![
        line("watch: commit to watcher called, median", median(&mut all), 1.0),
        line("watch: commit to watcher called, p99", percentile(&mut all, 0.99), 5.0),
    ])
}

/// The file after a first sync, against a plain table with the same rows.
#[allow(clippy::cast_precision_loss)]
fn file_size() -> Result<Vec<Line>> {
    const ROWS: usize = 100_000;
    let folder = tempfile::tempdir()?;
    let plain = folder.path().join("plain.db");
    let connection = raw::open(&plain)?;
    raw::fill(&connection, ROWS)?;
    drop(connection);
    let plain = std::fs::metadata(plain)?.len() as f64;
    let ratio = synced_size(folder.path(), ROWS)? / plain;
    Ok(vec![compared("size: file, 100,000 rows after a first sync", "a plain table", ratio, 1.1)])
}

/// The bytes of the file after a first sync.
#[allow(clippy::cast_precision_loss)]
fn synced_size(folder: &Path, rows: usize) -> Result<f64> {
    let path = folder.join("synced.db");
    let mut engine = ours::open(&path)?;
    apply::pages(&mut engine, rows)?;
    engine.close()?;
    Ok(std::fs::metadata(path)?.len() as f64)
}

fn compared(name: &str, against: &str, ratio: f64, goal: f64) -> Line {
    Line { ratio: Some(ratio), value: None, ..figure(name, against, 0.0, "", goal) }
}

/// The file and the longest hold of the writer, ours and PowerSync's.
fn beside_powersync() -> Result<Vec<Line>> {
    const ROWS: usize = 100_000;
    let hold_line = |whose: &str, hold: f64| {
        let name = format!("powersync: longest writer hold in it, {whose}");
        Line { goal: None, ..figure(&name, "the clock", hold * 1e3, "ms", 0.0) }
    };
    let folder = tempfile::tempdir()?;
    let size = synced_size(folder.path(), ROWS)?;
    let hold = of_three(|folder| Ok(apply::longest_hold(folder, ROWS)?.as_secs_f64()))?;
    let mut lines = vec![hold_line("ours", hold)];
    for (tables, name) in [(Tables::Raw, "raw tables"), (Tables::Views, "views over JSON")] {
        let mut their_size = 0.0;
        let hold = of_three(|folder| {
            let (size, hold) = powersync::size_and_hold(folder, tables, ROWS)?;
            their_size = size;
            Ok(hold.as_secs_f64())
        })?;
        let (what, against) = ("powersync: file after this first sync", format!("its {name}"));
        lines.push(compared(what, &against, size / their_size, 1.0));
        lines.push(hold_line(name, hold));
    }
    Ok(lines)
}

/// The peak memory, ours and PowerSync's.
fn memory_beside_powersync() -> Result<Vec<Line>> {
    if !cfg!(target_os = "linux") {
        println!("no peak memory: it is measured on Linux only");
        return Ok(Vec::new());
    }
    let mut lines = Vec::new();
    for (work, count, what) in [
        (Work::FirstSync, 100_000, "a first sync of 100,000 rows"),
        (Work::Insert, 30_000, "an insert of 30,000 rows"),
    ] {
        let name = format!("powersync: memory of {what}");
        let absolute = |whose: &str, bytes: f64| {
            let (name, mib) = (format!("{name}, {whose}"), bytes / f64::from(1 << 20));
            Line { goal: None, ..figure(&name, "the process", mib, "MiB", 0.0) }
        };
        let ours = of_three(|folder| peak(folder, work, Side::Ours, count))?;
        lines.push(absolute("ours", ours));
        for (side, whose) in [(Side::Raw, "raw tables"), (Side::Views, "views over JSON")] {
            let theirs = of_three(|folder| peak(folder, work, side, count))?;
            lines.push(compared(&name, &format!("its {whose}"), ours / theirs, 1.0));
            lines.push(absolute(whose, theirs));
        }
    }
    Ok(lines)
}

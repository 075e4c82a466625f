//! The measurements of the language bindings, done in Rust: the same work without an FFI boundary,
//! one JSON line each.
//!
//! In wall time, as an app experiences it; the two sides of a line alternate. `bench/README.md`
//! defines each line, so that the programs of the languages do the same.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rejoin_core::{Client, Config, RowBuffer, block_on};
use rusqlite::Connection;
use serde::Serialize;

use crate::measure::{median, percentile};
use crate::raw;

const ROWS: usize = 10_000;
const WRITES: usize = 1_000;
const COMMITS: usize = 1_000;
const ROUNDS: usize = 15;
const ALL: &str = "SELECT * FROM item ORDER BY id";

/// A result, in the format printed by the programs of all languages.
#[derive(Debug, Serialize)]
struct Figure {
    what: &'static str,
    ours_ms: f64,
    /// The reference.
    peer: Option<&'static str>,
    peer_ms: Option<f64>,
    ratio: Option<f64>,
}

/// A row as an app object.
#[derive(Debug, PartialEq)]
struct Item {
    id: String,
    title: String,
    body: String,
    count: i64,
    amount: f64,
    done: bool,
    note: Option<String>,
    updated_at: String,
}

/// Prints one line per result.
pub(crate) fn print() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let both = Both::open(folder.path())?;
    let bytes = || both.query().map(|rows| rows.as_bytes().len());
    say(&Figure::alone("10,000 x 8 rows to bytes", times(ROUNDS, || Ok(bytes()? > 0))?))?;
    say(&against(
        "10,000 x 8 rows into objects",
        || Ok(both.objects()?.len() == ROWS),
        || Ok(both.objects_of_peer()?.len() == ROWS),
    )?)?;
    say(&against(
        "1,000 writes",
        || (0..WRITES).try_fold(true, |well, number| Ok(well && both.write(number)? == 1)),
        || (0..WRITES).try_fold(true, |well, number| Ok(well && both.write_to_peer(number)? == 1)),
    )?)?;
    let mut delays = both.delays()?;
    say(&Figure::alone("commit to emission, p50", median(&mut delays)))?;
    say(&Figure::alone("commit to emission, p99", percentile(&mut delays, 0.99)))?;
    block_on(both.client.shutdown())?;
    Ok(())
}

impl Figure {
    fn alone(what: &'static str, ours_ms: f64) -> Self {
        Self { what, ours_ms, peer: None, peer_ms: None, ratio: None }
    }
}

fn say(figure: &Figure) -> Result<()> {
    println!("{}", serde_json::to_string(figure)?);
    Ok(())
}

/// The median of this many runs in milliseconds, after one uncounted run; each returns whether it
/// did its work.
fn times(rounds: usize, mut work: impl FnMut() -> Result<bool>) -> Result<f64> {
    ensure!(work()?, "the work was not done");
    let mut all = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        all.push(timed(&mut work)?);
    }
    Ok(median(&mut all))
}

fn timed(work: &mut impl FnMut() -> Result<bool>) -> Result<f64> {
    let begin = Instant::now();
    ensure!(work()?, "the work was not done");
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// Alternates ours and the reference's; returns the median of the ratios.
fn against(
    what: &'static str,
    mut ours: impl FnMut() -> Result<bool>,
    mut peer: impl FnMut() -> Result<bool>,
) -> Result<Figure> {
    ensure!(ours()? && peer()?, "the work was not done");
    let (mut mine, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (a, b) = if round % 2 == 0 {
            let a = timed(&mut ours)?;
            (a, timed(&mut peer)?)
        } else {
            let b = timed(&mut peer)?;
            (timed(&mut ours)?, b)
        };
        mine.push(a);
        theirs.push(b);
        ratios.push(a / b);
    }
    Ok(Figure {
        what,
        ours_ms: median(&mut mine),
        peer: Some("rusqlite"),
        peer_ms: Some(median(&mut theirs)),
        ratio: Some(median(&mut ratios)),
    })
}

/// The same rows in a local-only table of the app and in plain SQLite.
struct Both {
    client: Client,
    peer: Connection,
}

impl Both {
    fn open(folder: &Path) -> Result<Self> {
        let client = Client::open(Config::new(folder.join("ours.db"))).wait()?;
        let peer = raw::open(&folder.join("peer.db"))?;
        raw::fill(&peer, ROWS)?;
        let columns = raw::TABLE.split_once('(').context("a table has columns")?.1;
        client.schema().create_table("item", columns.trim_end().trim_end_matches(')')).wait()?;
        let row = |number| (raw::INSERT.to_owned(), crate::ours::row(number).to_vec());
        client.batch((0..ROWS).map(row).collect()).wait()?;
        Ok(Self { client, peer })
    }

    fn query(&self) -> Result<RowBuffer> {
        Ok(self.client.query(ALL, ()).wait()?)
    }

    fn objects(&self) -> Result<Vec<Item>> {
        let rows = self.query()?;
        let item = |row: rejoin_core::Row<'_>| {
            Ok(Item {
                id: row.get(0)?,
                title: row.get(1)?,
                body: row.get(2)?,
                count: row.get(3)?,
                amount: row.get(4)?,
                done: row.get::<i64>(5)? != 0,
                note: row.get(6)?,
                updated_at: row.get(7)?,
            })
        };
        rows.iter().map(item).collect()
    }

    fn objects_of_peer(&self) -> Result<Vec<Item>> {
        let mut statement = self.peer.prepare_cached(ALL)?;
        let items = statement.query_map([], |row| {
            Ok(Item {
                id: row.get(0)?,
                title: row.get(1)?,
                body: row.get(2)?,
                count: row.get(3)?,
                amount: row.get(4)?,
                done: row.get(5)?,
                note: row.get(6)?,
                updated_at: row.get(7)?,
            })
        })?;
        Ok(items.collect::<rusqlite::Result<_>>()?)
    }

    fn write(&self, number: usize) -> Result<usize> {
        let params = (format!("title at {number}"), i64::try_from(number)?, raw::key(number));
        // As the layers of Kotlin and Swift do.
        match self.client.try_execute(raw::UPDATE, params.clone()) {
            Some(changed) => Ok(changed?),
            None => Ok(self.client.execute(raw::UPDATE, params).wait()?),
        }
    }

    fn write_to_peer(&self, number: usize) -> Result<usize> {
        let params = (format!("title at {number}"), i64::try_from(number)?, raw::key(number));
        Ok(self.peer.prepare_cached(raw::UPDATE)?.execute(params)?)
    }

    /// From the call of a write to the result that shows it, for consecutive commits, in
    /// milliseconds.
    fn delays(&self) -> Result<Vec<f64>> {
        const ONE: &str = "SELECT count FROM item WHERE id = ?";
        let key = raw::key(1);
        let mut watch = block_on(self.client.watch(ONE, (key.as_str(),), &[]))?;
        let (sender, emitted) = mpsc::channel();
        let listener = std::thread::spawn(move || {
            while let Some(Ok(update)) = block_on(watch.next()) {
                let count = update.rows.row(0).and_then(|row| row.get::<i64>(0).ok());
                if sender.send((count, Instant::now())).is_err() {
                    return;
                }
            }
        });
        let next = || emitted.recv_timeout(Duration::from_secs(10)).context("nothing was emitted");
        next()?;
        let mut delays = Vec::with_capacity(COMMITS);
        for number in 0..COMMITS {
            let count = i64::try_from(ROWS + number)?;
            let begin = Instant::now();
            let written = self
                .client
                .execute("UPDATE item SET count = ? WHERE id = ?", (count, key.as_str()));
            let (shown, at) = next()?;
            ensure!(shown == Some(count), "another result than the one that was written");
            written.wait()?;
            delays.push(at.duration_since(begin).as_secs_f64() * 1e3);
        }
        drop(emitted);
        // One more commit, at which the listener notices that the receiver is gone.
        self.write(1)?;
        ensure!(listener.join().is_ok(), "the listener panicked");
        Ok(delays)
    }
}

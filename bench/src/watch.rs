//! Watched queries: the cost of a commit with a hundred of them, and the delay until a watcher is
//! called.
//!
//! The first in CPU time of all threads, since the work is spread over several; the second in wall
//! time.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rejoin_core::{Client, Config, Subscription, block_on};

use crate::measure::{Run, Variant, process_cpu};

/// Tables, each with five queries over it.
const TABLES: usize = 20;
const ROWS: usize = 2_000;
const QUERIES: [&str; 5] = [
    "SELECT id, n, title FROM item_0 ORDER BY id",
    "SELECT id, title FROM item_0 WHERE n >= 0 ORDER BY n, id",
    "SELECT n, count(*) FROM item_0 GROUP BY n",
    "SELECT id, n, upper(title) FROM item_0 WHERE title LIKE 'title%'",
    "SELECT a.id, b.n FROM item_0 AS a JOIN item_0 AS b ON a.id = b.id",
];

/// A commit with 100 watched queries of which it changes 5, until all 5 watchers are called,
/// against the same commit without watches and the 5 queries run manually.
pub(crate) const FIVE_OF_A_HUNDRED: Run = |variant, folder, count| {
    let client = open(folder)?;
    let watching = if variant == Variant::Ours { watch_all(&client)? } else { Vec::new() };
    let mut commits = 0;
    let mut one = || -> Result<()> {
        commits += 1;
        write(&client, commits)?;
        if variant == Variant::Ours {
            return watching.iter().take(5).try_for_each(|(calls, _)| wait_for_call(calls));
        }
        let read = client.read(|snapshot| {
            QUERIES.iter().try_fold(0, |rows, sql| Ok(rows + snapshot.query(sql, ())?.len()))
        });
        read.wait()?;
        Ok(())
    };
    one()?; // Compiles all statements.
    let (sample, ()) = process_cpu(count, || (0..count).try_for_each(|_| one()))?;
    Ok(sample)
};

/// From the end of a commit, as seen by the caller, to the call of a watcher of one small query:
/// for each of `count` commits, in milliseconds.
pub(crate) fn commit_to_call(folder: &Path, count: usize) -> Result<Vec<f64>> {
    let client = open(folder)?;
    let (sender, calls) = mpsc::channel();
    let watch = block_on(client.watch("SELECT n FROM item_0 WHERE id = 1", (), &[]))?;
    let _subscription = watch.each(move |_| {
        let _ = sender.send(Instant::now());
    });
    calls.recv()?;
    let mut delays = Vec::with_capacity(count);
    for number in 1..=count {
        // A different value each time: an unchanged result is not reported.
        let value = 1000 + i64::try_from(number)?;
        let written = client.execute("UPDATE item_0 SET n = ? WHERE id = 1", (value,));
        written.wait()?;
        let committed = Instant::now();
        let called =
            calls.recv_timeout(Duration::from_secs(10)).context("no watcher was called")?;
        // A watcher called before the writer's caller woke up counts as called immediately.
        delays.push(called.saturating_duration_since(committed).as_secs_f64() * 1e3);
    }
    Ok(delays)
}

fn open(folder: &Path) -> Result<Client> {
    let client = Client::open(Config::new(folder.join("bench.db"))).wait()?;
    for table in 0..TABLES {
        let create = "id INTEGER PRIMARY KEY, n INTEGER, title TEXT";
        client.schema().create_table(&format!("item_{table}"), create).wait()?;
        let fill = format!(
            "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {ROWS})
             INSERT INTO item_{table} SELECT n, n % 100, 'title ' || n FROM number"
        );
        client.execute(&fill, ()).wait()?;
    }
    Ok(client)
}

/// All hundred: five queries per table, those of the first table first.
fn watch_all(client: &Client) -> Result<Vec<(Receiver<()>, Subscription)>> {
    let mut watching = Vec::new();
    for table in 0..TABLES {
        for sql in QUERIES {
            let sql = sql.replace("item_0", &format!("item_{table}"));
            let (sender, calls) = mpsc::channel();
            let watch = block_on(client.watch(&sql, (), &[]))?;
            let subscription = watch.each(move |_| {
                let _ = sender.send(());
            });
            wait_for_call(&calls)?;
            watching.push((calls, subscription));
        }
    }
    Ok(watching)
}

/// Waits until a watcher is called.
fn wait_for_call(calls: &Receiver<()>) -> Result<()> {
    calls.recv_timeout(Duration::from_secs(10)).context("no watcher was called")
}

/// Changes a row so that each of the five results differs.
fn write(client: &Client, number: i64) -> Result<()> {
    let sql = "UPDATE item_0 SET n = ?1, title = 'title at ' || ?1 WHERE id = 1";
    client.execute(sql, (1000 + number,)).wait()?;
    Ok(())
}

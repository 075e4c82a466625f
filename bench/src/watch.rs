//! Watching: what a commit costs with a hundred watched queries, and how soon a watcher is called.
//!
//! The first by the CPU time of all threads, since the work is spread over several; the second by the clock on the wall.

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

/// A commit with 100 watched queries of which it touches 5, until all 5 watchers are called, against the same commit with
/// none and the 5 queries run by hand.
pub(crate) const FIVE_OF_A_HUNDRED: Run = |variant, folder, count| {
    let client = open(folder)?;
    let watching = if variant == Variant::Ours { watch_all(&client)? } else { Vec::new() };
    let mut commits = 0;
    let mut one = || -> Result<()> {
        commits += 1;
        write(&client, commits)?;
        if variant == Variant::Ours {
            return watching.iter().take(5).try_for_each(|(told, _)| heard(told));
        }
        let read = client.read(|snapshot| {
            QUERIES.iter().try_fold(0, |rows, sql| Ok(rows + snapshot.query(sql, ())?.len()))
        });
        read.wait()?;
        Ok(())
    };
    one()?; // Everything is compiled.
    let (sample, ()) = process_cpu(count, || (0..count).try_for_each(|_| one()))?;
    Ok(sample)
};

/// From a commit's end, as the writer's caller sees it, to the call of a watcher of one small query: each of `count`
/// commits, in milliseconds.
pub(crate) fn commit_to_call(folder: &Path, count: usize) -> Result<Vec<f64>> {
    let client = open(folder)?;
    let (tell, told) = mpsc::channel();
    let watch = block_on(client.watch("SELECT n FROM item_0 WHERE id = 1", (), &[]))?;
    let _subscription = watch.each(move |_| {
        let _ = tell.send(Instant::now());
    });
    told.recv()?;
    let mut delays = Vec::with_capacity(count);
    for number in 1..=count {
        // Another value each time: what does not change the result is not told.
        let value = 1000 + i64::try_from(number)?;
        let written = client.execute("UPDATE item_0 SET n = ? WHERE id = 1", (value,));
        written.wait()?;
        let committed = Instant::now();
        let called = told.recv_timeout(Duration::from_secs(10)).context("nobody was called")?;
        // A watcher that was called before the writer's caller woke counts as called at once.
        delays.push(called.saturating_duration_since(committed).as_secs_f64() * 1e3);
    }
    Ok(delays)
}

fn open(folder: &Path) -> Result<Client> {
    let client = Client::open(Config::new(folder.join("bench.db"))).wait()?;
    for table in 0..TABLES {
        let create = "id INTEGER PRIMARY KEY, n INTEGER, title TEXT";
        client.create_table(&format!("item_{table}"), create).wait()?;
        let fill = format!(
            "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {ROWS})
             INSERT INTO item_{table} SELECT n, n % 100, 'title ' || n FROM number"
        );
        client.execute(&fill, ()).wait()?;
    }
    Ok(client)
}

/// All hundred: the five queries over each table, those over the first table first.
fn watch_all(client: &Client) -> Result<Vec<(Receiver<()>, Subscription)>> {
    let mut watching = Vec::new();
    for table in 0..TABLES {
        for sql in QUERIES {
            let sql = sql.replace("item_0", &format!("item_{table}"));
            let (tell, told) = mpsc::channel();
            let watch = block_on(client.watch(&sql, (), &[]))?;
            let subscription = watch.each(move |_| {
                let _ = tell.send(());
            });
            heard(&told)?;
            watching.push((told, subscription));
        }
    }
    Ok(watching)
}

/// Waits until a watcher is called.
pub(crate) fn heard(told: &Receiver<()>) -> Result<()> {
    told.recv_timeout(Duration::from_secs(10)).context("nobody was called")
}

/// Changes a row so that each of the five results differs.
fn write(client: &Client, number: i64) -> Result<()> {
    let sql = "UPDATE item_0 SET n = ?1, title = 'title at ' || ?1 WHERE id = 1";
    client.execute(sql, (1000 + number,)).wait()?;
    Ok(())
}

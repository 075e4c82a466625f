//! Times: pushes against inserts by prepared statements, pages against a SELECT of the same rows, and
//! an empty pull against one SELECT by key over HTTP.
//!
//! The reference of a push inserts the same rows into an equal table without our triggers: a
//! transaction per push, a round trip per row. A row counts as pushed when the response with
//! verdicts and rows is received.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Session};
use crate::device::{Device, spread, uuid};
use crate::floor::Floor;
use crate::http::Http;
use crate::measure::{Ratio, ratio};
use crate::members;
use crate::report::{Goal, Line};
use crate::select::SelectServer;
use crate::served::{self, Served};

/// Rows of other users in the tables before the measurement.
const OTHERS: usize = 100_000;
/// Rows of the user who pulls and takes snapshots.
const OWN: usize = 20_000;

/// Creates of tasks under keys spread over the table, and the keys.
pub(crate) fn creates(what: &str, many: usize) -> (Vec<Value>, Vec<String>) {
    let rows = (0..many).map(|number| {
        let id = spread(&format!("{what}-{number}"));
        let data = json!({"title": format!("task {number}"), "body": format!("what is to be done, {id}"),
                          "rank": number, "done": false});
        (json!({"operation": "create", "table_name": "tasks", "id": id, "data": data}), id)
    });
    rows.unzip()
}

/// One mutation per change.
pub(crate) fn each_alone(changes: Vec<Value>) -> Vec<Vec<Value>> {
    changes.into_iter().map(|change| vec![change]).collect()
}

/// How the rows of a push are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// A mutation for each.
    EachAlone,
    /// One mutation.
    Together,
    /// To the log, an entry for each.
    Entries,
}

struct Bench {
    server: Served,
    url: String,
    rounds: usize,
    runs: usize,
}

pub(crate) fn lines(rounds: usize, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Line>> {
    let cluster = Cluster::start(false)?;
    let mut bench = Bench::over(&cluster, "speed", rounds, Served::over)?;
    let [each, kept] = [0.4, 0.56].map(|least| Some(Goal::AtLeast(least)));
    let sizes = [(1, each), (100, kept), (1_000, kept)];
    let mut lines = bench.pushes("push", &sizes, Sent::EachAlone, wanted)?;
    if wanted("push by 100 in one mutation") {
        let what = "push by 100 in one mutation, 1 connection";
        lines.push(bench.push(what, 100, 1, Sent::Together, None)?);
    }
    lines.extend(bench.pages(wanted)?);
    drop(bench);
    let mut bench = Bench::over(&cluster, "log", rounds, Served::over_log)?;
    let sizes = [(1, None), (100, each)];
    lines.extend(bench.pushes("log: publish", &sizes, Sent::Entries, wanted)?);
    drop(bench);
    if wanted("memberships and subscriptions") {
        lines.extend(members::lines(&cluster, rounds)?);
    }
    Ok(lines)
}

pub(crate) fn line(
    what: &str,
    against: &str,
    ratio: &Ratio,
    unit: &str,
    goal: Option<Goal>,
) -> Line {
    eprintln!("  {what}: {:.2}", ratio.median);
    Line {
        what: what.to_owned(),
        against: against.to_owned(),
        figure: ratio.median,
        unit: "",
        spread: Some([ratio.least, ratio.most]),
        goal,
        note: format!("{:.0} and {:.0} us a {unit}", ratio.micros[0], ratio.micros[1]),
    }
}

impl Bench {
    /// Fills a database, and serves it.
    fn over(
        cluster: &Cluster,
        name: &str,
        rounds: usize,
        serve: fn(&str) -> Result<Served>,
    ) -> Result<Self> {
        let url = cluster.database(name)?;
        let session = Session::to(&url)?;
        served::tables(&session)?;
        session.run(&format!(
            "INSERT INTO tasks(id, owner_id, title, body, rank) SELECT md5(n::text),
               CASE WHEN n <= {OWN} THEN 'reader' ELSE 'user' || n / 100 END, 'task ' || n, repeat(md5(n::text), 3), n
               FROM generate_series(1, {OWN} + {OTHERS}) AS n;
             ANALYZE"
        ))?;
        let server = serve(&url)?;
        session.run("CREATE TABLE floor(LIKE tasks INCLUDING ALL); INSERT INTO floor SELECT * FROM tasks; ANALYZE")?;
        Ok(Self { server, url, rounds, runs: 0 })
    }

    /// Pushes of these sizes, on one connection and on eight.
    fn pushes(
        &mut self,
        name: &str,
        sizes: &[(usize, Option<Goal>)],
        sent: Sent,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        for &(rows, goal) in sizes {
            for (connections, plural) in [(1, ""), (8, "s")] {
                let what = format!("{name} by {rows}, {connections} connection{plural}");
                if wanted(&what) {
                    lines.push(self.push(&what, rows, connections, sent, goal)?);
                }
            }
        }
        Ok(lines)
    }

    fn push(
        &mut self,
        what: &str,
        rows: usize,
        connections: usize,
        sent: Sent,
        goal: Option<Goal>,
    ) -> Result<Line> {
        eprintln!("{what} ...");
        self.runs += 1;
        let batches = (400 / rows).clamp(1, 50);
        let named = |number: usize| format!("p{}c{number}", self.runs);
        let mut devices = (0..connections)
            .map(|number| {
                let user = named(number);
                Device::new(&self.server.address, &user, &uuid(&user))
            })
            .collect::<Result<Vec<_>>>()?;
        if sent == Sent::Entries {
            devices.iter_mut().try_for_each(Device::join_log)?;
        }
        let floors = (0..connections).map(|_| Floor::to(&self.url)).collect::<Result<Vec<_>>>()?;
        let (mut ours, mut theirs) = (0, 0);
        let (run, units) = (self.runs, connections * batches * rows);
        let ratio = ratio(
            self.rounds,
            units,
            &mut || {
                ours += 1;
                let round = format!("{run} ours {ours}");
                together_timed(devices.iter_mut().enumerate(), |(number, device), barrier| {
                    push_all(device, &format!("{round} {number}"), [batches, rows], sent, barrier)
                })
            },
            &mut || {
                theirs += 1;
                let round = format!("{run} theirs {theirs}");
                together_timed(floors.iter().enumerate(), |(number, floor), barrier| {
                    floor.insert_all(&format!("{round} {number}"), [batches, rows], barrier)
                })
            },
        )?;
        let count = format!("SELECT count(*) FROM tasks WHERE owner_id LIKE 'p{run}c%'");
        let pushed = Session::to(&self.url)?.one(&count)?;
        ensure!(pushed == (ours * units).to_string(), "{pushed} rows were pushed");
        let against =
            if rows == 1 { "the row inserted" } else { "the rows inserted, a round trip each" };
        Ok(line(what, against, &ratio, "row", goal))
    }

    fn pages(&self, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        let session = &Session::to(&self.url)?;
        let mut device = Device::new(&self.server.address, "reader", "reader")?;
        let (cursors, _) = device.snapshot(1_000)?;
        let middle = cursors.get(cursors.len() / 2).cloned().flatten();
        if wanted("empty pull") {
            device.pull()?;
            let reference = SelectServer::over(&self.url)?;
            let mut http = Http::to(&reference.address, "reader")?;
            let id = session.one("SELECT id FROM tasks WHERE owner_id = 'reader' LIMIT 1")?;
            let (body, asked) = (device.pull_body(100), json!({"id": id}).to_string());
            let mut ask = || http.post("/select", &asked).map(drop);
            let ratio = self.page(&mut device, "/sync/pull", &body, 100, &mut ask)?;
            let goal = Some(Goal::AtLeast(0.5));
            lines.push(line("empty pull", "SELECT by key over HTTP", &ratio, "pull", goal));
        }
        let select = "SELECT * FROM tasks WHERE owner_id = 'reader' AND id COLLATE \"C\" > $1 ORDER BY id COLLATE \"C\" LIMIT $2";
        let select = session.wait(session.client.prepare(select))?;
        let plain = |rows: usize| {
            let most = i64::try_from(rows)?;
            let found = session.wait(session.client.query(&select, &[&"8", &most]))?;
            ensure!(found.len() == rows, "{} rows", found.len());
            Ok(())
        };
        for (rows, goal) in [(100, 0.35), (1_000, 0.6)] {
            let what = format!("snapshot by {rows}");
            if wanted(&what) {
                let body = device.snapshot_body(middle.as_ref(), rows);
                let (times, mut plain) = (2_000 / rows, || plain(rows));
                let ratio = self.page(&mut device, "/sync/snapshot", &body, times, &mut plain)?;
                lines.push(line(&what, "SELECT", &ratio, "page", Some(Goal::AtLeast(goal))));
            }
        }
        let keys = change_each(session, 1_500)?;
        for (rows, goal) in [(100, 0.3), (1_000, 0.5)] {
            let what = format!("pull by {rows}");
            if wanted(&what) {
                ensure!(device.pull_page(rows)?.rows == rows, "a page that is not full");
                let body = device.pull_body(rows);
                let (times, mut plain) = (2_000 / rows, || plain(rows));
                let ratio = self.page(&mut device, "/sync/pull", &body, times, &mut plain)?;
                lines.push(line(&what, "SELECT", &ratio, "page", Some(Goal::AtLeast(goal))));
            }
        }
        let what = "pull by 1000, by keys";
        if wanted(what) {
            let named = keys.get(..1_000).context("keys of a page")?;
            let select =
                session.wait(session.client.prepare("SELECT * FROM tasks WHERE id = ANY($1)"))?;
            let mut plain = || {
                let found = session.wait(session.client.query(&select, &[&named]))?;
                ensure!(found.len() == named.len(), "{} rows", found.len());
                Ok(())
            };
            let body = device.pull_body(1_000);
            let ratio = self.page(&mut device, "/sync/pull", &body, 2, &mut plain)?;
            lines.push(line(what, "SELECT of the same rows", &ratio, "page", None));
        }
        Ok(lines)
    }

    /// Repeats one request on one connection.
    fn page(
        &self,
        device: &mut Device,
        path: &str,
        body: &str,
        times: usize,
        plain: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Ratio> {
        let mut ours = || {
            let began = Instant::now();
            for _ in 0..times {
                device.send(path, body)?;
            }
            Ok(began.elapsed())
        };
        let mut theirs = || {
            let began = Instant::now();
            for _ in 0..times {
                plain()?;
            }
            Ok(began.elapsed())
        };
        ratio(self.rounds, times, &mut ours, &mut theirs)
    }
}

/// Changes this many rows of the reader, each in its own transaction, since a page does not end
/// within one; returns their keys.
fn change_each(session: &Session, many: usize) -> Result<Vec<String>> {
    let keys = session.rows(&format!(
        "SELECT id FROM tasks WHERE owner_id = 'reader' ORDER BY id LIMIT {many}"
    ))?;
    let update = "UPDATE tasks SET rank = rank + 1 WHERE id = $1";
    let update = session.wait(session.client.prepare(update))?;
    session.run("SET synchronous_commit = off")?;
    for key in keys.iter().flatten() {
        session.wait(session.client.execute(&update, &[key]))?;
    }
    session.run("RESET synchronous_commit; SELECT rejoin.sequence()")?;
    Ok(keys.into_iter().flatten().collect())
}

/// Runs `work` for each on separate threads; the time from all being ready to all being done.
pub(crate) fn together_timed<T: Send>(
    all: impl ExactSizeIterator<Item = T>,
    work: impl Fn(T, &Barrier) -> Result<()> + Sync,
) -> Result<Duration> {
    let barrier = Barrier::new(all.len() + 1);
    std::thread::scope(|scope| {
        let (work, barrier) = (&work, &barrier);
        let threads: Vec<_> = all.map(|one| scope.spawn(move || work(one, barrier))).collect();
        barrier.wait();
        let began = Instant::now();
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a connection panicked"))??;
        }
        Ok(began.elapsed())
    })
}

fn push_all(
    device: &mut Device,
    what: &str,
    [batches, rows]: [usize; 2],
    sent: Sent,
    barrier: &Barrier,
) -> Result<()> {
    let bodies = (0..batches).map(|batch| {
        let (changes, _) = creates(&format!("{what} {batch}"), rows);
        match sent {
            Sent::EachAlone => Ok(device.push_body(&each_alone(changes))),
            Sent::Together => Ok(device.push_body(&[changes])),
            Sent::Entries => device.publish_body(&changes),
        }
    });
    let bodies = bodies.collect::<Result<Vec<String>>>();
    barrier.wait();
    bodies?.iter().try_for_each(|body| match sent {
        Sent::EachAlone => device.push(body, rows),
        Sent::Together => device.push(body, 1),
        Sent::Entries => device.publish(body, rows),
    })
}

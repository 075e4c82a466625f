//! Event streams: what an open one costs, and how fast a change reaches the users that it concerns.
//!
//! The streams belong to as many users, are opened all at once, and are read in this process. All
//! users have the bucket of one team, ten of them also that of another. The server is then restarted
//! while all streams are open.

mod pulls;
mod reconnect;
mod streams;

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::cluster::{Cluster, Session};
use crate::device::Device;
use crate::measure::percentile;
use crate::report::{Goal, Line};
use crate::served::{self, Served};
use crate::speed::creates;
use streams::{Restart, Streams};

/// The number of streams in most lines, and the smaller one in the comparison.
const MANY: usize = 10_000;
const SOME: usize = 100;

/// Users of the smaller team.
const FEW: usize = 10;

/// Time after which the threads that opened the streams have ended: tokio's is ten seconds.
const REST: Duration = Duration::from_secs(12);

/// Changes of a measurement.
const TO_ALL: usize = 5;
const TO_FEW: usize = 200;

/// Changes before it.
const UNCOUNTED: usize = 50;

pub(crate) fn lines() -> Result<Vec<Line>> {
    let cluster = Cluster::start(false)?;
    let url = cluster.database("fanout")?;
    let session = Session::to(&url)?;
    served::tables(&session)?;
    let server = Served::over_streams(&url)?;
    subscribe(&session)?;
    let author = Device::new(&server.address, "author", "author")?;
    let mut host = Host { server, author, rows: 0 };
    let (streams, _) = Streams::open(&host.server.address, SOME)?;
    streams.reached(host.change("few")?.0, FEW)?;
    let of_some = host.reach_few(&streams)?;
    drop(streams);

    let idle = host.server.memory("VmRSS")?;
    let (streams, took) = Streams::open(&host.server.address, MANY)?;
    streams.reached(host.change("all")?.0, MANY)?;
    std::thread::sleep(REST);
    let each = (host.server.memory("VmRSS")? - idle) / MANY as f64;
    let took = took.as_secs_f64();
    let mut lines = vec![
        line(&format!("{MANY} streams opened at once, until the last is open"), took, "s", None),
        line("memory of an open stream", each, "KiB", Some(Goal::AtMost(20.0))),
    ];
    let of_many = host.reach_few(&streams)?;
    lines.extend(host.reach_all(&streams)?);
    for (count, few) in [(SOME, &of_some), (MANY, &of_many)] {
        let what = format!("a change for {FEW} of {count}");
        lines.push(line(&format!("{what}, p99"), few.p99, "ms", None));
        lines.push(line(&format!("{what}, the server's CPU time"), few.cpu, "ms", None));
    }
    lines.extend(host.restart(&streams)?);
    drop(streams);

    let other = Served::over_streams(&url)?;
    let (streams, _) = Streams::open(&other.address, FEW)?;
    streams.reached(host.change("few")?.0, FEW)?;
    let p99 = host.reach_few(&streams)?.p99;
    let what = format!("a change for {FEW} at another node, p99");
    lines.push(line(&what, p99, "ms", Some(Goal::AtMost(50.0))));
    Ok(lines)
}

/// Subscribes the users and the author to the teams.
fn subscribe(session: &Session) -> Result<()> {
    session.run(&format!(
        "ALTER TABLE rejoin.bucket DISABLE TRIGGER USER;
         INSERT INTO rejoin.bucket(user_id, bucket)
           SELECT 'user' || n, 'team:all' FROM generate_series(0, {MANY} - 1) AS n
           UNION ALL SELECT 'user' || n, 'team:few' FROM generate_series(0, {FEW} - 1) AS n
           UNION ALL VALUES ('author', 'team:all'), ('author', 'team:few');
         ALTER TABLE rejoin.bucket ENABLE ALWAYS TRIGGER subscribed; ANALYZE"
    ))
}

/// A node, and the device that makes the changes there.
struct Host {
    server: Served,
    author: Device,
    rows: usize,
}

struct ToFew {
    p99: f64,
    cpu: f64,
}

impl Host {
    /// Pushes a row in the bucket of a team; returns the time before it, and the row's id.
    fn change(&mut self, team: &str) -> Result<(Instant, String)> {
        self.rows += 1;
        let (mut rows, mut ids) = creates(&format!("fanout{}", self.rows), 1);
        rows[0]["data"]["team"] = Value::from(team);
        let body = self.author.push_body(&[rows]);
        let since = Instant::now();
        self.author.push(&body, 1)?;
        Ok((since, ids.remove(0)))
    }

    /// Changes that concern few users, one after the other.
    fn reach_few(&mut self, streams: &Streams) -> Result<ToFew> {
        for _ in 0..UNCOUNTED {
            streams.reached(self.change("few")?.0, FEW)?;
        }
        let (mut times, before) = (Vec::new(), self.server.cpu()?);
        for _ in 0..TO_FEW {
            let (since, _) = self.change("few")?;
            times.extend(streams.reached(since, FEW)?);
        }
        let cpu = (self.server.cpu()? - before) / TO_FEW as f64;
        Ok(ToFew { p99: percentile(&mut times, 0.99), cpu })
    }

    /// Changes that concern all users: until they are notified, and until they have pulled.
    fn reach_all(&mut self, streams: &Streams) -> Result<[Line; 2]> {
        let (mut notified, mut pulled) = (Vec::new(), Vec::new());
        for _ in 0..TO_ALL {
            let (since, _) = self.change("all")?;
            notified.extend(streams.reached(since, MANY)?);
        }
        let bodies = pulls::bodies(&self.server.address, MANY)?;
        for _ in 0..TO_ALL {
            let changed = streams.changed();
            let (since, row) = self.change("all")?;
            pulled.extend(pulls::pull(&self.server.address, &bodies, changed, (since, &row))?);
        }
        let p99 = |mut times: Vec<f64>| percentile(&mut times, 0.99);
        let what = format!("a change for {MANY}, p99");
        let goal = Some(Goal::AtMost(2_000.0));
        Ok([
            line(&what, p99(notified), "ms", goal),
            line(&format!("{what} until a user has pulled it"), p99(pulled), "ms", None),
        ])
    }

    /// Restarts the server under all streams; afterwards a change must reach each.
    fn restart(&mut self, streams: &Streams) -> Result<[Line; 4]> {
        let Restart { stopped, down, mut opened, counts } =
            streams.over_restart(&mut self.server)?;
        self.author = Device::new(&self.server.address, "author", "author after the restart")?;
        streams.reached(self.change("all")?.0, MANY)?;
        let line = |what: &str, figure: f64, unit: &'static str, goal: Option<Goal>| {
            line(&format!("a restart under {MANY} streams, {what}"), figure, unit, goal)
        };
        let [most, all] = [0.99, 1.0].map(|share| percentile(&mut opened, share));
        let [stopped, down] = [stopped, down].map(|time| time.as_secs_f64());
        let mut last = line("until the last is open again", all, "s", None);
        last.note =
            format!("ended at {stopped:.2} s, listened at {down:.2} s, 99 % open at {most:.2} s");
        let errors = counts.errors.len() as f64;
        let mut failed =
            line("responses that a device reports as errors", errors, "", Some(Goal::AtMost(0.0)));
        failed.note = counts.errors.into_iter().next().unwrap_or_default();
        Ok([
            last,
            failed,
            line("refusals with Retry-After", counts.refusals as f64, "", None),
            line("attempts", counts.attempts as f64, "", None),
        ])
    }
}

fn line(what: &str, figure: f64, unit: &'static str, goal: Option<Goal>) -> Line {
    Line {
        what: format!("fan-out: {what}"),
        against: String::from("the server's process"),
        figure,
        unit,
        spread: None,
        goal,
        note: String::new(),
    }
}

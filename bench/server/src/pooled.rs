//! What a pooler costs: the same requests through PgBouncer, and without it.

use std::time::Instant;

use anyhow::Result;
use rejoin_postgres::Pooler;

use crate::cluster::{Cluster, Session};
use crate::device::Device;
use crate::measure::ratio;
use crate::report::Line;
use crate::served::{self, Served};
use crate::speed::{creates, each_alone, line};

/// Sessions that the pooler keeps.
const SESSIONS: usize = 8;

/// A device of a server.
struct Side {
    device: Device,
    pushed: usize,
}

/// One request of a device, so many times.
type Work<'a> = &'a dyn Fn(&mut Side) -> Result<()>;

pub(crate) fn lines(cluster: &Cluster, rounds: usize) -> Result<Vec<Line>> {
    let url = cluster.database("pooled")?;
    let session = Session::to(&url)?;
    served::tables(&session)?;
    session.run(
        "INSERT INTO tasks(id, owner_id, title, body, rank) SELECT md5(n::text), 'reader', 'task ' || n, repeat(md5(n::text), 3), n
           FROM generate_series(1, 20000) AS n;
         ANALYZE",
    )?;
    let bouncer = Pooler::to(&url, SESSIONS);
    let servers = [Served::over_pooler(&url, &bouncer.url)?, Served::over(&url)?];
    let mut ours = Side::of(&servers[0], "pooled")?;
    let mut theirs = Side::of(&servers[1], "direct")?;
    let page = theirs.device.snapshot_body(None, 1_000);
    let work: [(&str, &str, usize, Work<'_>); 4] = [
        ("empty pull", "pull", 100, &Side::pull),
        ("push by 1", "push", 20, &|side| side.push(1)),
        ("push by 100", "push", 4, &|side| side.push(100)),
        ("snapshot by 1000", "page", 4, &|side| side.send("/sync/snapshot", &page)),
    ];
    let mut lines = Vec::new();
    for (what, unit, times, once) in work {
        let run = |side: &mut Side| {
            let began = Instant::now();
            (0..times).try_for_each(|_| once(side))?;
            Ok(began.elapsed())
        };
        let ratio = ratio(rounds, times, &mut || run(&mut ours), &mut || run(&mut theirs))?;
        let what = format!("{what} through a pooler");
        lines.push(line(&what, "without", &ratio, unit, None));
    }
    Ok(lines)
}

impl Side {
    fn of(server: &Served, name: &str) -> Result<Self> {
        let mut device = Device::new(&server.address, "reader", name)?;
        device.snapshot(10_000)?;
        device.pull()?;
        Ok(Self { device, pushed: 0 })
    }

    fn pull(&mut self) -> Result<()> {
        let body = self.device.pull_body(100);
        self.send("/sync/pull", &body)
    }

    fn send(&mut self, path: &str, body: &str) -> Result<()> {
        self.device.send(path, body).map(drop)
    }

    fn push(&mut self, rows: usize) -> Result<()> {
        self.pushed += 1;
        let name = format!("{} {}", self.device.name(), self.pushed);
        let (changes, _) = creates(&name, rows);
        let body = self.device.push_body(&each_alone(changes));
        self.device.push(&body, rows)
    }
}

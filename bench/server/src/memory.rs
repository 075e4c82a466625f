//! Memory: the server's maximum during a snapshot of very many rows.

use anyhow::{Result, ensure};

use crate::cluster::{Cluster, Session};
use crate::device::Device;
use crate::report::{Goal, Line};
use crate::served::{self, Served};

pub(crate) fn line(rows: usize) -> Result<Line> {
    let cluster = Cluster::start(false)?;
    let url = cluster.database("memory")?;
    let session = Session::to(&url)?;
    served::tables(&session)?;
    let half = rows / 2;
    eprintln!("{rows} rows of one user ...");
    session.run(&format!(
        "INSERT INTO tasks(id, owner_id, team, title, body, rank) SELECT md5(n::text), 'anna', 'team', 'task ' || n,
           repeat(md5(n::text), 3), n FROM generate_series(1, {half}) AS n;
         INSERT INTO notes(id, task_id, body) SELECT md5('note ' || n), md5(n::text), 'a note of the task ' || n
           FROM generate_series(1, {half}) AS n;
         ANALYZE"
    ))?;
    let server = Served::over(&url)?;
    let mut device = Device::new(&server.address, "anna", "memory")?;
    device.snapshot_page(None, 1)?;
    let idle = server.memory("VmRSS")?;
    let began = std::time::Instant::now();
    let (pages, found) = device.snapshot(1_000)?;
    ensure!(found == half * 2, "{found} of {rows} rows came");
    let took = began.elapsed().as_secs_f64();
    let most = server.memory("VmHWM")?;
    Ok(Line {
        what: format!("memory: snapshot of {found} rows by 1,000, peak minus idle"),
        against: String::from("the server's process"),
        figure: (most - idle) / 1_024.0,
        unit: "MiB",
        spread: None,
        goal: Some(Goal::AtMost(64.0)),
        note: format!("idle {:.0} MiB, {} pages in {took:.0} s", idle / 1_024.0, pages.len()),
    })
}

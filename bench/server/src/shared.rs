//! First syncs through a cache: what they cost the server, and how many pages it builds.
//!
//! The devices receive the pages and do not apply them. They run one after another on one connection.

#[allow(unreachable_pub)] // Public in the tests.
#[path = "../../../tests/src/nginx.rs"]
mod nginx;

use anyhow::{Context as _, Result, ensure};

use self::nginx::Nginx;
use crate::cluster::{Cluster, Session};
use crate::device::Device;
use crate::report::{Goal, Line};
use crate::served::{self, Served};

const ROWS: usize = 10_000;
/// First syncs through the cache, and without shared pages.
const CACHED: usize = 1_000;
const DIRECT: usize = 50;

pub(crate) fn lines() -> Result<Vec<Line>> {
    let cluster = Cluster::start(false)?;
    let url = cluster.database("shared")?;
    let session = Session::to(&url)?;
    served::countries(&session, ROWS)?;
    let server = Served::over_countries(&url)?;
    let direct = cpu_of_each(&server, DIRECT, |number| {
        let mut device = Device::new(&server.address, &format!("user {number}"), "direct")?;
        Ok(device.snapshot(10_000)?.1)
    })?;
    let folder = tempfile::tempdir()?;
    let cache = Nginx::cache(&format!("http://{}", server.address), folder.path());
    let address = cache.url.strip_prefix("http://").context("an address")?;
    let cached = cpu_of_each(&server, CACHED, |number| {
        let mut device = Device::new(address, &format!("user {number}"), "cached")?;
        device.shared_snapshot(1_000)
    })?;
    let built = cache.requests().iter().filter(|line| line.ends_with(" MISS")).count();
    let line = |what: &str, figure, unit, goal| Line {
        what: format!("{ROWS} rows of all users: {what}"),
        against: String::from("the server's process"),
        figure,
        unit,
        spread: None,
        goal,
        note: String::new(),
    };
    let built = built as f64;
    Ok(vec![
        line("CPU time of a first sync", direct, "ms", None),
        line("CPU time of one of 1,000 through a cache", cached, "ms", None),
        line("pages built for the 1,000", built, "pages", Some(Goal::AtMost(3.0))),
    ])
}

/// The server's CPU time of each run in milliseconds. Each must receive all rows.
fn cpu_of_each(
    server: &Served,
    runs: usize,
    mut sync: impl FnMut(usize) -> Result<usize>,
) -> Result<f64> {
    let began = server.cpu()?;
    for number in 0..runs {
        let rows = sync(number)?;
        ensure!(rows == ROWS, "{rows} of {ROWS} rows came");
    }
    Ok((server.cpu()? - began) / runs as f64)
}

//! Bytes: what a first sync costs on the wire, without and with compression.
//!
//! The rows are the demo's places with random keys and times of their own, so that little of a row
//! repeats. A byte is counted as the server sends it, without HTTP's headers.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cluster::{Cluster, Session};
use crate::device::Device;
use crate::report::{Goal, Line};
use crate::served::{self, Served};

/// Real places: number, name, country, latitude, longitude, population and time zone.
const PLACES: &str = include_str!("../../../examples/demo/data/places.csv");
const ROWS: usize = 10_000;
/// The fastest counts.
const ROUNDS: usize = 5;

/// Each encoding with its goal. None for JSON: it is the same for both.
const ENCODINGS: [(&str, Option<Goal>); 3] =
    [("identity", None), ("gzip", None), ("zstd", Some(Goal::AtMost(45.0)))];

pub(crate) fn lines() -> Result<Vec<Line>> {
    let cluster = Cluster::start(false)?;
    let url = cluster.database("bytes")?;
    let session = Session::to(&url)?;
    served::places(&session)?;
    fill(&session)?;
    let server = Served::over_places(&url)?;
    let mut device = Device::new(&server.address, "anna", "bytes")?;
    let (pages, rows) = device.snapshot(1_000)?;
    ensure!(rows == ROWS, "{rows} of {ROWS} rows came");
    let mut lines = Vec::new();
    for (encoding, goal) in ENCODINGS {
        let (mut bytes, mut least) = (0, Duration::MAX);
        for _ in 0..ROUNDS {
            let began = Instant::now();
            bytes = 0;
            for page in &pages {
                let body = device.snapshot_body(page.as_ref(), 1_000);
                bytes += device.send_accepting("/sync/snapshot", &body, encoding)?;
            }
            least = least.min(began.elapsed());
        }
        lines.push(Line {
            what: format!("bytes: first sync of {ROWS} places, {encoding}"),
            against: String::from("row"),
            figure: bytes as f64 / ROWS as f64,
            unit: "bytes",
            spread: None,
            goal,
            note: format!("{:.1} us a row", least.as_secs_f64() * 1e6 / ROWS as f64),
        });
    }
    Ok(lines)
}

/// Fills the table: each place four times, with notes of its own.
fn fill(session: &Session) -> Result<()> {
    let places: Vec<Vec<&str>> =
        PLACES.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for round in 0..ROWS / places.len() {
        let mut sql = String::from("INSERT INTO places VALUES ");
        for (at, place) in places.iter().enumerate() {
            let [number, name, country, latitude, longitude, population, zone] = place[..] else {
                anyhow::bail!("no place: {place:?}");
            };
            let comma = if at == 0 { "" } else { ", " };
            let name = name.replace('\'', "''");
            let seconds = (round * places.len() + at) * 977;
            write!(
                sql,
                "{comma}(gen_random_uuid(), 'anna', '{name}', '{country}', {latitude}, {longitude}, {population}, '{zone}',
                  {number}, 'visit {seconds}', timestamptz '2026-01-01' + interval '{seconds}.{at:06} seconds',
                  timestamptz '2026-06-01' + interval '{seconds}.{number:0>6} seconds', NULL)"
            )?;
        }
        session.run(&sql)?;
    }
    Ok(())
}

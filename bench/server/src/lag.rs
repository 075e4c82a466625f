//! Sequencer lag: how long a pushed row is committed without a position, while eight devices push.
//!
//! An observer calls the sequencer continuously, as every pull does first, and records when each
//! row appears in the log. A row is committed at the latest when its push is answered; a row
//! observed before that has no lag.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cluster::{Cluster, Session};
use crate::device::Device;
use crate::measure::percentile;
use crate::report::{Goal, Line};
use crate::served::{self, Served};
use crate::speed::{creates, each_alone};

const DEVICES: usize = 8;
const PUSHES: usize = 40;
const ROWS: usize = 25;

/// Decrements the counter when its thread ends, for any reason.
struct Pushing<'a>(&'a AtomicUsize);

impl Drop for Pushing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

pub(crate) fn lines() -> Result<Vec<Line>> {
    let cluster = Cluster::start(false)?;
    let url = cluster.database("lag")?;
    let session = Session::to(&url)?;
    served::tables(&session)?;
    let server = Served::over(&url)?;
    let answered: Mutex<HashMap<String, Instant>> = Mutex::default();
    let pushing = AtomicUsize::new(DEVICES);
    let (seen, mut calls) = std::thread::scope(|scope| {
        let devices: Vec<_> = (0..DEVICES)
            .map(|number| {
                scope.spawn({
                    let (server, answered, pushing) = (&server, &answered, &pushing);
                    move || push(server, number, answered, Pushing(pushing))
                })
            })
            .collect();
        let observed = observe(&session, &pushing);
        for device in devices {
            device.join().map_err(|_| anyhow::anyhow!("a device panicked"))??;
        }
        observed
    })?;
    let answered = answered.into_inner().map_err(|_| anyhow::anyhow!("a device panicked"))?;
    let mut lags: Vec<f64> = answered
        .iter()
        .filter_map(|(row, at)| Some(seen.get(row)?.saturating_duration_since(*at)))
        .map(|lag| lag.as_secs_f64() * 1e3)
        .collect();
    anyhow::ensure!(
        lags.len() == answered.len() && !lags.is_empty(),
        "{} rows of {} were seen",
        lags.len(),
        answered.len()
    );
    let line = |what: &str, values: &mut Vec<f64>, goal| Line {
        what: format!("sequencer: {what}, {DEVICES} devices push by {ROWS}, longest"),
        against: String::from("the clock"),
        figure: percentile(values, 1.0),
        unit: "ms",
        spread: Some([percentile(values, 0.5), percentile(values, 0.99)]),
        goal,
        note: format!("{} of them; the spread is median and p99", values.len()),
    };
    Ok(vec![
        line("from a push's answer to the row's position", &mut lags, Some(Goal::AtMost(100.0))),
        line("a call", &mut calls, None),
    ])
}

fn push(
    server: &Served,
    number: usize,
    answered: &Mutex<HashMap<String, Instant>>,
    _pushing: Pushing<'_>,
) -> Result<()> {
    let user = format!("lag{number}");
    let mut device = Device::new(&server.address, &user, &user)?;
    for push in 0..PUSHES {
        let (rows, names) = creates(&format!("{user}-{push}"), ROWS);
        let body = device.push_body(&each_alone(rows));
        device.push(&body, ROWS)?;
        let at = Instant::now();
        if let Ok(mut answered) = answered.lock() {
            answered.extend(names.into_iter().map(|name| (name, at)));
        }
    }
    Ok(())
}

/// When each row appeared in the log, and the duration of the calls in milliseconds.
fn observe(
    session: &Session,
    pushing: &AtomicUsize,
) -> Result<(HashMap<String, Instant>, Vec<f64>)> {
    let (mut seen, mut calls, mut last) = (HashMap::new(), Vec::new(), 0_i64);
    let call = session.wait(session.client.prepare("SELECT rejoin.sequence()"))?;
    let read =
        "SELECT position, record_id FROM rejoin.changelog WHERE position > $1 ORDER BY position";
    let read = session.wait(session.client.prepare(read))?;
    loop {
        let is_last = pushing.load(Ordering::Acquire) == 0;
        let began = Instant::now();
        session.wait(session.client.query(&call, &[]))?;
        let at = Instant::now();
        calls.push((at - began).as_secs_f64() * 1e3);
        for row in session.wait(session.client.query(&read, &[&last]))? {
            last = row.get(0);
            seen.insert(row.get(1), at);
        }
        if is_last {
            return Ok((seen, calls));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

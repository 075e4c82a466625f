//! Fairness between users: how long a small push takes while another user sends the worst requests
//! that the server accepts, over both stores.
//!
//! The other user has one row of 4 MB and four connections, each of which sends pushes of 1,000
//! mutations in conflict with that row, one after the other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Session};
use crate::device::Device;
use crate::measure::percentile;
use crate::report::{Goal, Line};
use crate::served::{self, Served};
use crate::speed::{creates, each_alone};

/// Small pushes of the first user, with and without the requests of the other one.
const PUSHES: usize = 300;
const CONNECTIONS: usize = 4;
const MUTATIONS: usize = 1_000;
const ROW: usize = 4_000_000;

pub(crate) fn lines() -> Result<Vec<Line>> {
    let cluster = Cluster::start(false)?;
    let url = cluster.database("fairness")?;
    served::tables(&Session::to(&url)?)?;
    Ok(vec![line("SQLite", &Served::over_sqlite()?)?, line("PostgreSQL", &Served::over(&url)?)?])
}

fn line(store: &str, server: &Served) -> Result<Line> {
    let mut anna = Device::new(&server.address, "anna", "anna")?;
    // Creates the statements, and fills the caches.
    pushes(&mut anna, "first")?;
    let mut quiet = pushes(&mut anna, "quiet")?;
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut beside = std::thread::scope(|scope| {
        let others: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let (done, answered) = (&done, &answered);
                scope.spawn(move || conflicts(server, number, done, answered))
            })
            .collect();
        while answered.load(Ordering::Acquire) < CONNECTIONS
            && others.iter().all(|other| !other.is_finished())
        {
            std::thread::yield_now();
        }
        let times = pushes(&mut anna, "beside");
        done.store(true, Ordering::Release);
        for other in others {
            other.join().map_err(|_| anyhow::anyhow!("a device panicked"))??;
        }
        times
    })?;
    let [before, after] = [&mut quiet, &mut beside].map(|times| percentile(times, 0.99));
    Ok(Line {
        what: format!(
            "fairness over {store}: p99 of a push by 1 beside {CONNECTIONS} requests of another user"
        ),
        against: String::from("alone"),
        figure: after / before,
        unit: "",
        spread: None,
        goal: Some(Goal::AtMost(10.0)),
        note: format!(
            "{after:.1} ms / {before:.1} ms; medians {:.1} / {:.1}; the other user had {} responses",
            percentile(&mut beside, 0.5),
            percentile(&mut quiet, 0.5),
            answered.into_inner(),
        ),
    })
}

/// Pushes of one new row each; their times in milliseconds.
fn pushes(device: &mut Device, name: &str) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(PUSHES);
    for push in 0..PUSHES {
        let body = device.push_body(&each_alone(creates(&format!("{name}-{push}"), 1).0));
        let began = Instant::now();
        device.push(&body, 1)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Pushes of conflicts with a large row, until `done`.
fn conflicts(
    server: &Served,
    number: usize,
    done: &AtomicBool,
    answered: &AtomicUsize,
) -> Result<()> {
    let mut device = Device::new(&server.address, "bert", &format!("bert{number}"))?;
    let id = format!("large{number}");
    let row = json!({"title": "large", "body": "x".repeat(ROW), "rank": 1, "done": false});
    let create = json!({"operation": "create", "table_name": "tasks", "id": id, "data": row});
    let body = device.push_body(&[vec![create]]);
    device.send("/sync/push", &body)?;
    let update = json!({"operation": "update", "table_name": "tasks", "id": id,
                        "data": {"title": "mine"}, "old": {"title": "another"}});
    while !done.load(Ordering::Acquire) {
        let groups: Vec<Vec<Value>> = (0..MUTATIONS).map(|_| vec![update.clone()]).collect();
        let body = device.push_body(&groups);
        // A refusal is what the server is to answer at its limits.
        let _ = device.send("/sync/push", &body);
        answered.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

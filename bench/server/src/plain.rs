//! Pushes of a Synchro v0.1.2 device, without Rejoin's extensions, against the same rows written by
//! prepared statements.

use std::iter::once;
use std::sync::Barrier;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::device::uuid;
use crate::floor::Floor;
use crate::http::Http;
use crate::measure::ratio;
use crate::report::Line;
use crate::served::Served;
use crate::speed::{creates, line, together_timed};

/// Records of a push, and pushes of a run.
const RECORDS: usize = 100;
const PUSHES: usize = 4;
const SIZE: [usize; 2] = [PUSHES, RECORDS];

/// The device's time of every record: the later one wins, and the server's is earlier.
const LATE: &str = "2100-01-01T00:00:00Z";

pub(crate) fn lines(
    server: &Served,
    url: &str,
    rounds: usize,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let what = format!("plain push of {RECORDS} creates");
    if wanted(&what) {
        lines.push(created(server, url, rounds, &what)?);
    }
    let what = format!("plain push of {RECORDS} updates");
    if wanted(&what) {
        lines.push(updated(server, url, rounds, &what)?);
    }
    Ok(lines)
}

fn created(server: &Served, url: &str, rounds: usize, what: &str) -> Result<Line> {
    let (mut device, floor) = (PlainDevice::new(&server.address, "plain")?, Floor::to(url)?);
    let (mut ours, mut theirs) = (0, 0);
    let ratio = ratio(
        rounds,
        PUSHES * RECORDS,
        &mut || {
            ours += 1;
            let bodies = device.bodies(&format!("plain ours {ours}"), None);
            together_timed(once(&mut device), |device, barrier| device.push_all(&bodies, barrier))
        },
        &mut || {
            theirs += 1;
            let rows = format!("plain theirs {theirs}");
            together_timed(once(&floor), |floor, barrier| floor.insert_all(&rows, SIZE, barrier))
        },
    )?;
    Ok(line(what, "the rows inserted, a round trip each", &ratio, "record", None))
}

/// Updates the same rows in each round.
fn updated(server: &Served, url: &str, rounds: usize, what: &str) -> Result<Line> {
    let [own, other] = ["plain rows", "plain floor"];
    let (mut device, floor) = (PlainDevice::new(&server.address, "editor")?, Floor::to(url)?);
    device.push_all(&device.bodies(own, None), &Barrier::new(1))?;
    floor.insert_all(other, SIZE, &Barrier::new(1))?;
    let (mut ours, mut theirs) = (0, 0);
    let ratio = ratio(
        rounds,
        PUSHES * RECORDS,
        &mut || {
            ours += 1;
            let bodies = device.bodies(own, Some(&format!("edit {ours}")));
            together_timed(once(&mut device), |device, barrier| device.push_all(&bodies, barrier))
        },
        &mut || {
            theirs += 1;
            let text = format!("edit {theirs}");
            together_timed(once(&floor), |floor, barrier| {
                floor.update_all(other, SIZE, (&text, barrier))
            })
        },
    )?;
    Ok(line(what, "the rows updated by key, a round trip each", &ratio, "record", None))
}

/// A device that has registered without capabilities.
struct PlainDevice {
    http: Http,
    client_id: String,
    version: i64,
    hash: String,
}

impl PlainDevice {
    fn new(address: &str, user: &str) -> Result<Self> {
        let mut http = Http::plain_to(address, user)?;
        let client_id = uuid(user);
        let body = json!({"client_id": client_id, "schema_version": 0, "schema_hash": ""});
        let answer: Value =
            serde_json::from_slice(http.post("/sync/register", &body.to_string())?)?;
        ensure!(answer.get("rejoin").is_none(), "not a plain response: {answer}");
        let version = answer["schema_version"].as_i64().context("a schema's version")?;
        let hash = answer["schema_hash"].as_str().context("a schema's hash")?.to_owned();
        Ok(Self { http, client_id, version, hash })
    }

    /// The bodies of a run: they create these rows, or update them with this text.
    fn bodies(&self, what: &str, text: Option<&str>) -> Vec<String> {
        let body = |batch: usize| {
            let (mut records, keys) = creates(&format!("{what} {batch}"), RECORDS);
            for (record, key) in records.iter_mut().zip(keys) {
                record["client_updated_at"] = LATE.into();
                if let Some(text) = text {
                    record["operation"] = "update".into();
                    record["data"]["body"] = format!("{text}, {key}").into();
                }
            }
            json!({"client_id": self.client_id, "schema_version": self.version,
                   "schema_hash": self.hash, "changes": records})
            .to_string()
        };
        (0..PUSHES).map(body).collect()
    }

    /// Pushes prepared bodies; every record must be applied.
    fn push_all(&mut self, bodies: &[String], barrier: &Barrier) -> Result<()> {
        barrier.wait();
        for body in bodies {
            let answer = String::from_utf8_lossy(self.http.post("/sync/push", body)?);
            // Not parsed as JSON, which would count as the device's time.
            let applied = answer.matches("\"status\":\"applied\"").count();
            ensure!(applied == RECORDS, "{applied} of {RECORDS} applied: {answer:.2000}");
        }
        Ok(())
    }
}

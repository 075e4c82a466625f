//! A device that registers, takes snapshots, pulls, pushes, and publishes to the log over the wire
//! protocol.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::http::Http;

/// A registered device.
pub(crate) struct Device {
    pub(crate) http: Http,
    client_id: String,
    version: i64,
    hash: String,
    epoch: String,
    /// The pull cursor.
    pub(crate) cursor: String,
    seq: i64,
    /// Epoch and membership version of the log.
    stamp: Value,
}

/// A received page: its number of rows and the cursor of the next one.
pub(crate) struct Page {
    pub(crate) rows: usize,
    pub(crate) next: Option<Value>,
}

impl Device {
    pub(crate) fn new(address: &str, user: &str, client_id: &str) -> Result<Self> {
        let mut device = Self {
            http: Http::to(address, user)?,
            client_id: client_id.to_owned(),
            version: 0,
            hash: String::new(),
            epoch: String::new(),
            cursor: String::new(),
            seq: 0,
            stamp: Value::Null,
        };
        device.register()?;
        Ok(device)
    }

    pub(crate) fn register(&mut self) -> Result<()> {
        let body = json!({"client_id": self.client_id, "schema_version": 0, "schema_hash": "",
            "rejoin": {"protocol": 1, "capabilities": ["groups", "events", "arrays"], "cursor": self.cursor}});
        let answer = self.ask("/sync/register", &body.to_string())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.version = answer["schema_version"].as_i64().context("a schema's version")?;
        self.hash = text(&answer["schema_hash"]);
        self.epoch = text(&answer["rejoin"]["epoch"]);
        Ok(())
    }

    fn ask(&mut self, path: &str, body: &str) -> Result<Value> {
        Ok(serde_json::from_slice(self.http.post(path, body)?)?)
    }

    /// Sends a prepared body; returns the number of bytes received.
    pub(crate) fn send(&mut self, path: &str, body: &str) -> Result<usize> {
        Ok(self.http.post(path, body)?.len())
    }

    fn frame(&self, more: &Value) -> String {
        let mut body = json!({"client_id": self.client_id, "schema_version": self.version, "schema_hash": self.hash});
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        body.to_string()
    }

    /// The request body of a snapshot page.
    pub(crate) fn snapshot_body(&self, cursor: Option<&Value>, limit: usize) -> String {
        let epoch = if cursor.is_some() { self.epoch.as_str() } else { "" };
        self.frame(
            &json!({"cursor": cursor, "limit": limit, "rejoin": {"request": 1, "epoch": epoch}}),
        )
    }

    pub(crate) fn snapshot_page(&mut self, cursor: Option<&Value>, limit: usize) -> Result<Page> {
        let answer = self.ask("/sync/snapshot", &self.snapshot_body(cursor, limit))?;
        let rejoin = &answer["rejoin"];
        ensure!(rejoin["restart"] != json!(true), "the snapshot restarts");
        rejoin["pull_cursor"].as_str().unwrap_or_default().clone_into(&mut self.cursor);
        let next = (answer["has_more"] == json!(true)).then(|| answer["cursor"].clone());
        Ok(Page { rows: rows(rejoin), next })
    }

    /// The cursors of all pages, the first of which is `None`, and the number of rows.
    pub(crate) fn snapshot(&mut self, limit: usize) -> Result<(Vec<Option<Value>>, usize)> {
        let (mut cursors, mut rows) = (vec![None], 0);
        while let Some(cursor) = cursors.last() {
            let page = self.snapshot_page(cursor.clone().as_ref(), limit)?;
            rows += page.rows;
            if page.next.is_none() {
                break;
            }
            cursors.push(page.next);
        }
        Ok((cursors, rows))
    }

    /// The request body of a pull after the cursor.
    pub(crate) fn pull_body(&self, limit: usize) -> String {
        self.frame(&json!({"limit": limit, "rejoin": {"request": 1, "cursor": self.cursor}}))
    }

    /// Pulls a page without moving the cursor.
    pub(crate) fn pull_page(&mut self, limit: usize) -> Result<Page> {
        let answer = self.ask("/sync/pull", &self.pull_body(limit))?;
        ensure!(answer["snapshot_required"] != json!(true), "a snapshot is needed");
        let next = Some(answer["rejoin"]["cursor"].clone());
        Ok(Page { rows: rows(&answer["rejoin"]), next })
    }

    /// Pulls to the end.
    pub(crate) fn pull(&mut self) -> Result<usize> {
        let mut all = 0;
        loop {
            let page = self.pull_page(1_000)?;
            let cursor = page.next.as_ref().and_then(Value::as_str).unwrap_or_default();
            let is_at_end = cursor == self.cursor;
            cursor.clone_into(&mut self.cursor);
            all += page.rows;
            if page.rows == 0 || is_at_end {
                return Ok(all);
            }
        }
    }

    /// The request body of a push; each element of `mutations` is a group of changes.
    pub(crate) fn push_body(&mut self, mutations: &[Vec<Value>]) -> String {
        let groups: Vec<Value> = mutations
            .iter()
            .map(|changes| {
                self.seq += 1;
                let id = format!("{}-{}", self.client_id, self.seq);
                json!({"id": id, "seq": self.seq, "attempt": 1, "hash": id, "after": [],
                       "time": "2026-11-20T08:00:00.000000Z", "changes": changes})
            })
            .collect();
        let rejoin =
            json!({"request": 1, "epoch": self.epoch, "groups": groups, "acked_below": self.seq});
        self.frame(&json!({"changes": [], "rejoin": rejoin}))
    }

    /// Pushes a prepared body; every group must be accepted.
    pub(crate) fn push(&mut self, body: &str, groups: usize) -> Result<()> {
        let answer = String::from_utf8_lossy(self.http.post("/sync/push", body)?);
        // Not parsed as JSON, which would count as the device's time.
        let accepted = answer.matches("\"verdict\":\"accepted\"").count();
        ensure!(accepted == groups, "{accepted} of {groups} accepted: {answer:.2000}");
        Ok(())
    }

    /// Becomes an author of the log.
    pub(crate) fn join_log(&mut self) -> Result<()> {
        let body = json!({"client_id": self.client_id, "log": {"limit": 1}});
        let answer = self.ask("/log/snapshot", &body.to_string())?;
        self.stamp = answer["page"]["stamp"].clone();
        ensure!(self.stamp.is_object(), "no stamp: {answer}");
        Ok(())
    }

    /// The request body of a publish: an entry for each create of a task of this user.
    pub(crate) fn publish_body(&mut self, creates: &[Value]) -> Result<String> {
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let offers: Vec<Value> = creates
            .iter()
            .map(|create| {
                self.seq += 1;
                let id = uuid(&format!("{}-{}", self.client_id, self.seq));
                let key =
                    json!({"millis": now, "counter": self.seq, "author": self.client_id, "id": id});
                let mut row = create["data"].clone();
                row["owner_id"] = self.http.user.as_str().into();
                row["done"] = 0.into();
                row["updated_at"] = "2026-11-20T08:00:00.000000Z".into();
                let effects =
                    json!({"tasks": {create["id"].as_str().unwrap_or_default(): {"insert": row}}});
                json!({"key": key, "time": now, "revision": 0, "effects": effects})
            })
            .collect();
        let log = json!({"stamp": self.stamp, "number": self.seq, "offers": offers});
        Ok(json!({"client_id": self.client_id, "log": log}).to_string())
    }

    /// Publishes a prepared body; every entry must be held.
    pub(crate) fn publish(&mut self, body: &str, entries: usize) -> Result<()> {
        let answer = String::from_utf8_lossy(self.http.post("/log/publish", body)?);
        let held = answer.matches("\"verdict\":\"held\"").count();
        ensure!(held == entries, "{held} of {entries} held: {answer:.2000}");
        Ok(())
    }
}

fn rows(answer: &Value) -> usize {
    let sets = answer["sets"].as_array().map_or(&[][..], Vec::as_slice);
    sets.iter().filter_map(|set| set["rows"].as_array()).map(Vec::len).sum()
}

/// 32 hexadecimal digits derived from a name.
pub(crate) fn spread(name: &str) -> String {
    let part = |seed: u64| {
        name.bytes().fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
        })
    };
    format!("{:016x}{:016x}", part(0xcbf2_9ce4_8422_2325), part(0x9e37_79b9_7f4a_7c15))
}

/// A UUID derived from a name.
pub(crate) fn uuid(name: &str) -> String {
    let text = spread(name);
    let [a, b, c, d] = [&text[..8], &text[8..12], &text[12..16], &text[16..20]];
    format!("{a}-{b}-{c}-{d}-{}", &text[20..])
}

//! A device that registers, takes snapshots, pulls and pushes over the wire protocol.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::http::Http;

/// A registered device.
pub(crate) struct Device {
    http: Http,
    client_id: String,
    version: i64,
    hash: String,
    epoch: String,
    /// The pull cursor.
    pub(crate) cursor: String,
    seq: i64,
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
        };
        device.register()?;
        Ok(device)
    }

    pub(crate) fn register(&mut self) -> Result<()> {
        let body = json!({"client_id": self.client_id, "schema_version": 0, "schema_hash": "",
            "rejoin": {"protocol": 1, "capabilities": ["groups", "events"], "cursor": self.cursor}});
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
}

fn rows(answer: &Value) -> usize {
    let sets = answer["sets"].as_array().map_or(&[][..], Vec::as_slice);
    sets.iter().filter_map(|set| set["rows"].as_array()).map(Vec::len).sum()
}

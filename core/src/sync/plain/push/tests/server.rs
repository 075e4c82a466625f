//! A plain server, as small as the stories of the push need it: LWW by row, no memory, one failure for all.
//!
//! It reads bodies as they were sent, numbers through doubles, and keeps rows as JSON. `body` of a note that begins with
//! `BAD` is what its database refuses, and so is an item of a note that is not there.

use std::collections::BTreeMap;

use rejoin_protocol::time;
use rejoin_protocol::wire::Record;
use rejoin_protocol::wire::push::{PushRecord, PushRequest, PushResponse, PushResult};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};

/// Long before the clock of the device.
const START: i64 = 1_000_000_000_000_000;

/// What it answers.
pub(super) enum Answer {
    Push(Box<PushResponse>),
    Failed,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) cells: Map<String, Json>,
    pub(super) updated: i64,
    pub(super) deleted: Option<i64>,
}

pub(super) type Name = (String, String);

#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) rows: BTreeMap<Name, Row>,
    /// What a pull tells: rows, and whether they were deleted.
    pub(super) log: Vec<(Name, bool)>,
    /// Every body, as the records in it.
    pub(super) heard: Vec<Vec<PushRecord>>,
    /// Whether nothing moves `updated_at` when a row is written.
    pub(super) still: bool,
    /// Records of these rows are answered with `rejected_terminal` and this reason.
    pub(super) terminal: BTreeMap<String, &'static str>,
    /// Records of these rows are answered with `rejected_retryable`.
    pub(super) retryable: Vec<String>,
    /// Every text that a device has brought it.
    pub(super) stored: std::collections::HashSet<String>,
    /// Whether every update loses, whatever its base is.
    pub(super) always_wins: bool,
    ticks: i64,
}

impl Server {
    fn now(&mut self) -> i64 {
        self.ticks += 1_000_001;
        START + self.ticks
    }

    /// Somebody else writes a note.
    pub(super) fn write(&mut self, id: &str, cells: &Json) {
        let now = self.now();
        let name = ("notes".to_owned(), id.to_owned());
        let still = self.still;
        let row = self.rows.entry(name.clone()).or_insert_with(|| Row {
            cells: Map::new(),
            updated: now,
            deleted: None,
        });
        row.cells.extend(cells.as_object().unwrap().clone());
        row.deleted = None;
        if !still {
            row.updated = now;
        }
        self.log.push((name, false));
    }

    /// Somebody else deletes a note.
    pub(super) fn delete(&mut self, id: &str) {
        let now = self.now();
        let name = ("notes".to_owned(), id.to_owned());
        let row = self.rows.get_mut(&name).unwrap();
        (row.deleted, row.updated) = (Some(now), now);
        self.log.push((name, true));
    }

    /// A cell of a note that is there.
    pub(super) fn cell(&self, id: &str, column: &str) -> Option<Json> {
        let row = self.rows.get(&("notes".to_owned(), id.to_owned()))?;
        let there = row.deleted.is_none().then_some(row)?;
        Some(there.cells.get(column).cloned().unwrap_or(Json::Null))
    }

    /// The keys of the rows that are there.
    pub(super) fn keys(&self) -> String {
        let there = self.rows.iter().filter(|(_, row)| row.deleted.is_none());
        there.map(|((_, id), _)| id.as_str()).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn record(&self, name: &Name) -> Record {
        let row = &self.rows[name];
        let offset = |micros| time::format(micros).replace('Z', "+00:00");
        let mut data = row.cells.clone();
        data.insert("id".to_owned(), json!(name.1));
        data.insert("updated_at".to_owned(), json!(offset(row.updated)));
        data.insert("deleted_at".to_owned(), json!(row.deleted.map(offset)));
        Record {
            id: name.1.clone(),
            table_name: name.0.clone(),
            data: RawValue::from_string(Json::Object(data).to_string()).unwrap(),
            updated_at: time::format(row.updated),
            deleted_at: row.deleted.map(time::format),
        }
    }

    /// One transaction for the whole request: one refusal of the database, and nothing of it was.
    pub(super) fn push(&mut self, body: &[u8]) -> Answer {
        let request: PushRequest = serde_json::from_slice(body).unwrap();
        self.heard.push(request.changes.clone());
        let (rows, log) = (self.rows.clone(), self.log.len());
        let mut answer = PushResponse {
            accepted: Vec::new(),
            rejected: Vec::new(),
            checkpoint: 0,
            server_time: time::format(START),
            schema_version: request.schema_version,
            schema_hash: request.schema_hash.clone(),
            rejoin: None,
        };
        for change in &request.changes {
            let Some(result) = self.change(change) else {
                self.rows = rows;
                self.log.truncate(log);
                return Answer::Failed;
            };
            let list = if result.status == "applied" {
                &mut answer.accepted
            } else {
                &mut answer.rejected
            };
            list.push(result);
        }
        let brought = answer
            .accepted
            .iter()
            .filter_map(|result| request.changes.iter().find(|c| c.id == result.id)?.data.as_ref());
        for data in brought {
            let cells: Map<String, Json> = serde_json::from_str(data.get()).unwrap();
            self.stored.extend(cells.values().filter_map(|v| v.as_str().map(ToOwned::to_owned)));
        }
        Answer::Push(Box::new(answer))
    }

    fn change(&mut self, change: &PushRecord) -> Option<PushResult> {
        let name = (change.table_name.clone(), change.id.clone());
        let known = self.rows.get(&name).cloned();
        if let Some(reason) = self.terminal.get(&change.id) {
            return Some(result(change, "rejected_terminal", reason));
        }
        if self.retryable.contains(&change.id) {
            return Some(result(change, "rejected_retryable", "update_failed"));
        }
        let is_deleted = known.as_ref().is_some_and(|row| row.deleted.is_some());
        let conflict = |server: &Self, reason| PushResult {
            server_version: Some(server.record(&name)),
            ..result(change, "conflict", reason)
        };
        match (change.operation.as_str(), &known) {
            ("create", Some(_)) if !is_deleted => return Some(conflict(self, "record_exists")),
            ("update" | "delete", None) => {
                return Some(result(change, "rejected_terminal", "record_not_found"));
            }
            ("delete", Some(_)) if is_deleted => {
                return Some(result(change, "applied", "already_deleted"));
            }
            ("delete", Some(_)) => {
                self.delete_any(&name);
                return Some(result(change, "applied", ""));
            }
            ("update", Some(_)) if is_deleted => return Some(conflict(self, "record_deleted")),
            (_, Some(row)) if self.always_wins || !wins(change, row) => {
                return Some(conflict(self, "server_won_conflict"));
            }
            _ => {}
        }
        self.store(change, &name, known)
    }

    /// `None` if the database refuses.
    fn store(
        &mut self,
        change: &PushRecord,
        name: &Name,
        known: Option<Row>,
    ) -> Option<PushResult> {
        let data: Map<String, Json> =
            serde_json::from_str(change.data.as_ref().unwrap().get()).unwrap();
        let is_bad = data.get("body").and_then(Json::as_str).is_some_and(|b| b.starts_with("BAD"));
        let orphan = data
            .get("note")
            .and_then(Json::as_str)
            .is_some_and(|note| !self.rows.contains_key(&("notes".to_owned(), note.to_owned())));
        if is_bad || orphan {
            return None;
        }
        let now = self.now();
        let is_new = known.is_none();
        let mut row = known.unwrap_or(Row { cells: Map::new(), updated: now, deleted: None });
        let is_empty = data.is_empty();
        row.cells.extend(data.into_iter().map(|(column, value)| (column, through_double(value))));
        row.deleted = None;
        if !self.still || is_new {
            row.updated = now;
        }
        let mut result = result(change, "applied", "");
        if is_empty {
            return Some(result);
        }
        result.server_updated_at = Some(time::format(row.updated));
        self.rows.insert(name.clone(), row);
        self.log.push((name.clone(), false));
        Some(result)
    }

    fn delete_any(&mut self, name: &Name) {
        let now = self.now();
        let still = self.still;
        let Some(row) = self.rows.get_mut(name) else { return };
        row.deleted = Some(now);
        if !still {
            row.updated = now;
        }
        self.log.push((name.clone(), true));
    }
}

/// The resolver, to the letter.
fn wins(change: &PushRecord, row: &Row) -> bool {
    let clock = time::parse(&change.client_updated_at).expect("a time with its zone");
    match change.base_updated_at.as_deref().map(|base| time::parse(base).unwrap()) {
        Some(base) if base > row.updated => false,
        Some(base) if base == row.updated => true,
        _ => clock > row.updated,
    }
}

#[allow(clippy::cast_possible_truncation)] // That is the point.
fn through_double(value: Json) -> Json {
    match &value {
        Json::Number(number) => number.as_f64().map_or(value.clone(), |double| {
            if double.fract() == 0.0 { json!(double as i64) } else { json!(double) }
        }),
        Json::String(text) => text.parse::<i64>().map_or(value.clone(), |number| json!(number)),
        _ => value,
    }
}

fn result(change: &PushRecord, status: &str, reason: &str) -> PushResult {
    PushResult {
        id: change.id.clone(),
        table_name: change.table_name.clone(),
        operation: change.operation.clone(),
        status: status.to_owned(),
        reason_code: (!reason.is_empty()).then(|| reason.to_owned()),
        message: Some("as the server says".to_owned()),
        server_version: None,
        server_updated_at: None,
        server_deleted_at: None,
    }
}

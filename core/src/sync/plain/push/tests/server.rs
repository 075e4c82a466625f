//! The plain server of these tests: `rejoin-plain`, which is tested against recorded exchanges,
//! with a table of notes and one of their items.
//!
//! The database rejects a note whose `body` begins with `BAD`, so every push with it fails with
//! 500. The network is simulated by the world.

use std::collections::BTreeMap;

use rejoin_plain::{Clock, Column, Config, PlainServer, Response, Table, Trigger};
use rejoin_protocol::wire::Record;
use rejoin_protocol::wire::pull::PullResponse;
use rejoin_protocol::wire::push::{PushRecord, PushRequest, PushResponse, PushResult};
use rejoin_protocol::{Manifest, time};
use serde_json::value::to_raw_value;
use serde_json::{Value as Json, json};

/// Long before the clock of the device.
const START: i64 = 1_000_000_000_000_000;
const USER: &str = "ana";

/// A response.
pub(super) enum Answer {
    Push(Box<PushResponse>),
    Failed,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) plain: PlainServer,
    /// The records of each received body.
    pub(super) received: Vec<Vec<PushRecord>>,
    /// Records of these rows get this status and reason without reaching the database.
    pub(super) refused: BTreeMap<String, (&'static str, &'static str)>,
    position: i64,
}

fn tables(trigger: Trigger) -> Vec<Table> {
    let notes = Table::owned("notes", "user_id")
        .column(Column::new("user_id", "text"))
        .column(Column::new("body", "text").nullable())
        .column(Column::new("n", "bigint").nullable())
        .column(Column::new("t", "text").nullable())
        .column(Column::new("at", "timestamp with time zone").nullable())
        .column(Column::new("j", "jsonb").nullable());
    let items = Table::child("items", "notes", "note")
        .column(Column::new("note", "text").nullable())
        .column(Column::new("body", "text").nullable())
        .column(Column::new("must", "jsonb").default("'{}'::jsonb"));
    [notes, items].map(|table| table.text_key().times().trigger(trigger)).into()
}

impl Server {
    /// With `still`, no trigger updates `updated_at` on a write.
    pub(super) fn new(still: bool) -> Self {
        let trigger = if still { Trigger::LeftAlone } else { Trigger::ClockTime };
        let mut plain = PlainServer::new(Config::new(tables(trigger)), Clock::at(START));
        plain.poison_when(|_, _, data| {
            data["body"].as_str().is_some_and(|body| body.starts_with("BAD"))
        });
        let mut server =
            Self { plain, received: Vec::new(), refused: BTreeMap::new(), position: 0 };
        assert_eq!(server.ask("register", json!({})).status, 200);
        let first: Json = serde_json::from_slice(&server.ask("snapshot", json!({})).body).unwrap();
        server.position = first["checkpoint"].as_i64().unwrap();
        server
    }

    /// Its schema.
    pub(super) fn manifest(&mut self) -> Manifest {
        let answer = self.plain.ask(USER, "GET", "/sync/schema", Vec::new()).unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn ask(&mut self, endpoint: &str, mut body: Json) -> Response {
        let manifest = self.manifest();
        body["client_id"] = json!("device");
        body["schema_version"] = json!(manifest.schema_version);
        body["schema_hash"] = json!(manifest.schema_hash);
        let path = format!("/sync/{endpoint}");
        self.plain.ask(USER, "POST", &path, body.to_string().into_bytes()).unwrap()
    }

    /// Writes a note as another client.
    pub(super) fn write(&mut self, id: &str, cells: &Json) {
        let mut cells = cells.clone();
        let written = if self.plain.row("notes", id).is_some() {
            cells["deleted_at"] = Json::Null;
            self.plain.update("notes", id, &cells)
        } else {
            (cells["id"], cells["user_id"]) = (json!(id), json!(USER));
            self.plain.insert("notes", &cells)
        };
        written.unwrap();
    }

    /// Soft-deletes a note as another client.
    pub(super) fn delete(&mut self, id: &str) {
        let now = rejoin_plain::text_of(self.plain.clock().now());
        self.plain.update("notes", id, &json!({ "deleted_at": now })).unwrap();
    }

    /// A cell of an existing note.
    pub(super) fn cell(&self, id: &str, column: &str) -> Option<Json> {
        Some(self.plain.live("notes").get(id)?[column].clone())
    }

    /// The keys of the existing notes.
    pub(super) fn keys(&self) -> String {
        self.plain.live("notes").into_keys().collect::<Vec<_>>().join(" ")
    }

    /// The number of existing rows.
    pub(super) fn count(&self) -> usize {
        self.plain.live("notes").len() + self.plain.live("items").len()
    }

    pub(super) fn push(&mut self, body: &[u8]) -> Answer {
        let mut request: PushRequest = serde_json::from_slice(body).unwrap();
        self.received.push(request.changes.clone());
        let mut rejected = Vec::new();
        request.changes.retain(|change| {
            let refused = self.refused.get(&change.id);
            rejected.extend(refused.map(|(status, reason)| PushResult {
                server_version: self.record(change).filter(|_| *status == "conflict"),
                ..result(change, status, reason)
            }));
            refused.is_none()
        });
        let answer = self.ask("push", serde_json::to_value(&request).unwrap());
        if answer.status != 200 {
            return Answer::Failed;
        }
        let mut answer: PushResponse = serde_json::from_slice(&answer.body).unwrap();
        answer.rejected.extend(rejected);
        Answer::Push(Box::new(answer))
    }

    fn record(&self, change: &PushRecord) -> Option<Record> {
        let row = self.plain.row(&change.table_name, &change.id)?;
        let updated = time::parse(row["updated_at"].as_str()?)?;
        Some(Record {
            id: change.id.clone(),
            table_name: change.table_name.clone(),
            updated_at: time::format(updated),
            deleted_at: None,
            data: to_raw_value(&row).unwrap(),
        })
    }

    /// The next `entries` entries of its log; `None` at the end.
    pub(super) fn pull(&mut self, entries: usize) -> Option<PullResponse> {
        let body = json!({
            "checkpoint": self.position, "limit": entries.min(1_000), "known_buckets": ["global"],
        });
        let answer = self.ask("pull", body);
        assert_eq!(answer.status, 200);
        let answer: PullResponse = serde_json::from_slice(&answer.body).unwrap();
        assert!(!answer.snapshot_required);
        let moved = answer.checkpoint > self.position;
        self.position = answer.checkpoint;
        moved.then_some(answer)
    }
}

fn result(change: &PushRecord, status: &str, reason: &str) -> PushResult {
    PushResult {
        id: change.id.clone(),
        table_name: change.table_name.clone(),
        operation: change.operation.clone(),
        status: status.to_owned(),
        reason_code: Some(reason.to_owned()),
        message: Some("message of the server".to_owned()),
        server_version: None,
        server_updated_at: None,
        server_deleted_at: None,
    }
}

//! The plain server of a run, and a record beside it: who changed which row, and what the wire
//! carried.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashSet;

use rejoin_core::sync::session::{Request, Response};
use rejoin_plain::{Column, Config, Table, Trigger};
use serde_json::Value as Json;

use super::history::{COLUMNS, Change, History, Name, of_json};
use crate::simulate::wire::WireLog;
use crate::{Peer, PlainBackend};

/// A value that contains this is refused by the server's database.
pub(super) const BAD: &str = "BAD";

/// A value of a row: its name, the column, the value.
type ReceivedValue = (Name, &'static str, String);

/// The server and its record.
#[derive(Debug)]
pub(super) struct PlainFixture {
    pub(super) backend: PlainBackend,
    /// The device that sent the current request.
    pub(super) sender: Cell<usize>,
    history: RefCell<History>,
    /// Changes of pushes that were not checked yet.
    unchecked: RefCell<Vec<(Name, Change)>>,
    /// Row values in responses, by device: those of the current exchange, and those that arrived.
    in_response: RefCell<Vec<ReceivedValue>>,
    received: RefCell<HashSet<(usize, ReceivedValue)>>,
    /// Whether the last push was answered with `applied` only.
    pub(super) all_applied: Cell<bool>,
    /// The number of the server's changes at the last pull.
    pub(super) pulled: Cell<usize>,
    /// Number of records of the last failed push.
    failed: Cell<usize>,
    pub(super) wire: WireLog,
}

impl PlainFixture {
    pub(super) fn new(trigger: Trigger) -> Self {
        let notes = Table::owned("notes", "user_id")
            .text_key()
            .column(Column::new("user_id", "text"))
            .column(Column::new("title", "text").default("''::text"))
            .column(Column::new("body", "text").nullable())
            .column(Column::new("size", "bigint").nullable())
            .column(Column::new("due", "timestamp with time zone").nullable())
            .times()
            .trigger(trigger)
            .check(|row| !row["title"].as_str().is_some_and(|title| title.contains(BAD)));
        let parts = Table::child("parts", "notes", "note_id")
            .text_key()
            .column(Column::new("note_id", "text"))
            .column(Column::new("body", "text").nullable())
            .times()
            .trigger(trigger)
            .check(|row| !row["body"].as_str().is_some_and(|body| body.contains(BAD)));
        let mut config = Config::new(vec![notes, parts]);
        config.row_level_security = true;
        let backend = PlainBackend::with(config);
        backend.server().watch();
        Self {
            backend,
            sender: Cell::new(0),
            history: RefCell::default(),
            unchecked: RefCell::default(),
            in_response: RefCell::default(),
            received: RefCell::default(),
            all_applied: Cell::new(false),
            pulled: Cell::new(0),
            failed: Cell::new(0),
            wire: WireLog::default(),
        }
    }

    pub(super) fn history(&self) -> Ref<'_, History> {
        self.history.borrow()
    }

    /// Records what was written, and by which device.
    pub(super) fn record_changes(&self, by: Option<usize>) {
        let written = self.backend.server().take_written();
        let noted = self.history.borrow_mut().record(by, written);
        self.unchecked.borrow_mut().extend(noted);
    }

    /// The rows that changed since the last call.
    pub(super) fn changed(&self) -> Vec<Name> {
        self.unchecked.borrow().iter().map(|(name, _)| name.clone()).collect()
    }

    /// The changes of pushes since the last call.
    pub(super) fn take_unchecked(&self) -> Vec<(Name, Change)> {
        self.unchecked.take()
    }

    /// Ends the exchange of a device; `arrived` says whether its response arrived.
    pub(super) fn end_exchange(&self, at: usize, arrived: bool) {
        let in_response = self.in_response.take();
        if arrived {
            self.received.borrow_mut().extend(in_response.into_iter().map(|one| (at, one)));
        }
    }

    /// Whether a device was sent this value of a row.
    pub(super) fn has_received(
        &self,
        at: usize,
        name: &Name,
        column: &'static str,
        value: &str,
    ) -> bool {
        self.received.borrow().contains(&(at, (name.clone(), column, value.to_owned())))
    }

    /// Records the rows of a response.
    fn record_rows(&self, text: &str) {
        let answer: Json = serde_json::from_str(text).unwrap_or_default();
        let list = |name: &str| answer[name].as_array().into_iter().flatten();
        let rejected = list("rejected").map(|result| &result["server_version"]);
        for row in list("changes").chain(list("records")).chain(rejected) {
            let of = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let name = (of("table_name"), of("id"));
            for column in COLUMNS {
                let value = row["data"].get(column).and_then(|value| of_json(column, value));
                let value = value.map(|value| (name.clone(), column, value));
                self.in_response.borrow_mut().extend(value);
            }
        }
    }

    fn record_exchange(&self, request: &Request, answer: Option<&Response>) {
        let status = answer.map_or(0, |answer| answer.status);
        match status {
            409 => self.wire.count("a changed schema (409)"),
            426 => self.wire.count("an app that is too old (426)"),
            _ => {}
        }
        let text = answer.map_or("", |answer| std::str::from_utf8(&answer.body).unwrap_or(""));
        if status == 200 {
            self.record_rows(text);
        }
        match request.path.as_str() {
            "/sync/pull"
                if !is_probe(request) && status == 200 && !text.contains(SNAPSHOT_REQUIRED) =>
            {
                self.pulled.set(self.history().tick());
            }
            "/sync/pull" if text.contains(SNAPSHOT_REQUIRED) => {
                self.wire.count(if is_probe(request) {
                    "the log was compacted past the cursor"
                } else {
                    "rebuilds"
                });
            }
            "/sync/snapshot" if status == 200 => self.wire.count("snapshots"),
            "/sync/push" => self.record_push(request, status, text),
            _ => {}
        }
    }

    fn record_push(&self, request: &Request, status: u16, text: &str) {
        let body = request.body.as_deref().unwrap_or_default();
        let asked: Json = serde_json::from_slice(body).unwrap_or_default();
        let records = asked["changes"].as_array().map_or(0, Vec::len);
        if self.failed.get() > records {
            self.wire.count("a failed request was halved");
        }
        self.failed.set(if status == 500 { records } else { 0 });
        let mixed =
            text.contains("\"status\":\"conflict\"") || text.contains("\"status\":\"rejected");
        self.all_applied.set(status == 200 && !mixed);
        if status == 200 && mixed {
            self.record_conflicts(&asked, text);
        }
    }

    fn record_conflicts(&self, asked: &Json, text: &str) {
        let answer: Json = serde_json::from_str(text).unwrap_or_default();
        for result in answer["rejected"].as_array().into_iter().flatten() {
            if result["status"] != "conflict" {
                self.wire.count("a broken rule of the server");
                continue;
            }
            self.wire.count("conflicts");
            let record = asked["changes"].as_array().into_iter().flatten().find(|record| {
                record["id"] == result["id"] && record["table_name"] == result["table_name"]
            });
            if record.is_some_and(|record| record["operation"] == "create") {
                self.wire.count("a create in conflict");
            }
            let Some(data) = record.and_then(|record| record["data"].as_object()) else { continue };
            let row = &result["server_version"]["data"];
            let is_own = data.iter().all(|(column, sent)| {
                let (sent, found) = (plain(sent), plain(&row[column]));
                column == "due" || sent == found
            });
            if is_own && row["deleted_at"].is_null() {
                self.wire.count("conflicts with the own row");
            } else if result["reason_code"] == "record_exists" && is_random(&result["id"]) {
                self.wire.count("an own row changed since then");
            }
        }
    }
}

/// Whether a note has a random key.
fn is_random(id: &Json) -> bool {
    id.as_str().is_some_and(|id| id.len() == 36)
}

const SNAPSHOT_REQUIRED: &str = "\"snapshot_required\":true";

/// Whether a pull only probes how far the log reaches back; a pull that really is at 1 counts as
/// well.
fn is_probe(request: &Request) -> bool {
    let asked = request.body.as_deref().unwrap_or_default();
    String::from_utf8_lossy(asked).contains("\"checkpoint\":1,")
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

impl Peer for PlainFixture {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let before = self.history().tick();
        let answer = self.backend.exchange(user, request);
        self.record_changes(Some(self.sender.get()));
        let committed = self.history().tick() > before;
        match answer.as_ref().map(|answer| answer.status) {
            Some(500) if committed => self.wire.count("500 after the commit"),
            Some(500) => self.wire.count("500 without a commit"),
            _ => {}
        }
        self.record_exchange(request, answer.as_ref());
        self.wire.record(request, answer.as_ref());
        answer
    }
}

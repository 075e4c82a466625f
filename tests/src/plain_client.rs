//! A plain v0.1.2 client, scripted: sends what the Swift and Kotlin SDKs send and handles responses
//! as they do, defects included.
//!
//! It has no network, clock or thread: [`PlainClient::request`] returns the next request,
//! [`PlainClient::answered`] and [`PlainClient::lost`] take its outcome. It has no Rejoin
//! extension, and records every member in a response that v0.1.2 does not define.

use rusqlite::Result as Stored;
use serde_json::{Value as Json, json};

use crate::Backend;
use crate::fault::Fault;
use crate::plain_shape::strangers;

mod local;
mod tables;

use local::{Local, Pending};

/// Which SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    /// Times become milliseconds; a base that is not a time is left out.
    Swift,
    /// Times keep their text, including SQLite's own format.
    Kotlin,
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct PlainRequest {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path.
    pub path: &'static str,
    /// The body of a POST.
    pub body: Option<Json>,
}

/// Why a cycle stopped early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainError {
    /// 409: thrown in every cycle until the app stops and starts the client.
    SchemaMismatch,
    /// 426.
    UpgradeRequired,
    /// 429, 503, no connection, or retryable records: the client retries by itself, after the given
    /// seconds if any.
    Retryable(Option<u64>),
    /// Any other status: the client retries at the next interval.
    Server(u16),
}

/// A conflict that was reported to the app; the SDKs never report the local values.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// `table/id`.
    pub row: String,
    /// The server's row.
    pub server: Json,
}

#[derive(Debug, Clone)]
enum Stage {
    Stopped,
    Schema,
    Register,
    Snapshot(Option<Json>),
    Push { sent: Vec<Pending>, records: Vec<Json>, then_rebuild: bool },
    Pull,
    Idle,
}

/// A client of an app.
#[derive(Debug)]
pub struct PlainClient {
    /// The user of its credentials.
    pub user: String,
    /// The app's version.
    pub app_version: String,
    /// The conflicts that were reported to the app.
    pub conflicts: Vec<Conflict>,
    /// Results that dropped an edit without a report to the app.
    pub dropped: Vec<Json>,
    /// Members in responses that v0.1.2 does not define.
    pub strangers: Vec<String>,
    /// Records in one push; 100 in an SDK.
    pub batch: i64,
    client_id: String,
    page: i64,
    local: Local,
    stage: Stage,
    /// Whether the first cycle since the start succeeded.
    started: bool,
}

impl PlainClient {
    /// A client that has never run; `page` is the size of its pages, 100 in an SDK.
    pub fn new(sdk: Sdk, user: &str, client_id: &str, page: i64) -> Self {
        Self {
            user: user.to_owned(),
            app_version: "1.0.0".to_owned(),
            conflicts: Vec::new(),
            dropped: Vec::new(),
            strangers: Vec::new(),
            batch: 100,
            client_id: client_id.to_owned(),
            page,
            local: Local::new(sdk).expect("the app's file opens"),
            stage: Stage::Stopped,
            started: false,
        }
    }

    /// The client's clock, in microseconds since 1970.
    pub fn set_clock(&mut self, micros: i64) {
        let now = local::milliseconds(micros);
        self.local
            .conn
            .execute("UPDATE _synchro_clock SET now = ?1", [now])
            .expect("the clock is set");
    }

    /// Writes as the app does.
    #[track_caller]
    pub fn write(&mut self, sql: &str) -> &mut Self {
        if let Err(error) = self.local.conn.execute_batch(sql) {
            panic!("{sql}: {error}");
        }
        self
    }

    /// The result of a query: cells by `|`, rows by ` `; NULL is `-`.
    #[track_caller]
    pub fn see(&self, sql: &str) -> String {
        match self.local.rows(sql) {
            Ok(rows) => rows.join(" "),
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// Number of records in the queue.
    pub fn waiting(&self) -> i64 {
        self.local.waiting().expect("the queue is counted")
    }

    /// Number of rows of each table, deleted ones included.
    pub fn counts(&self) -> std::collections::BTreeMap<String, i64> {
        self.local.counts().expect("the rows are counted")
    }

    /// The app starts the client: schema, registration, a snapshot if one is needed, one cycle.
    pub fn start(&mut self) {
        self.local.put_meta("sync_lock", "0").expect("the lock is reset");
        self.stage = Stage::Schema;
        self.started = false;
    }

    /// The app stops the client.
    pub fn stop(&mut self) {
        self.stage = Stage::Stopped;
    }

    /// Whether the client runs; a failed start stops it.
    pub fn runs(&self) -> bool {
        !matches!(self.stage, Stage::Stopped)
    }

    /// Begins a cycle: pushes everything, then pulls everything.
    pub fn begin_cycle(&mut self) {
        if matches!(self.stage, Stage::Idle) {
            self.next_push(false).expect("the queue reads");
        }
    }

    /// The next request; `None` if there is nothing to do.
    pub fn request(&self) -> Option<PlainRequest> {
        let (path, own) = match &self.stage {
            Stage::Stopped | Stage::Idle => return None,
            Stage::Schema => {
                return Some(PlainRequest { method: "GET", path: "/sync/schema", body: None });
            }
            Stage::Register => {
                ("/sync/register", json!({"platform": "ios", "app_version": self.app_version}))
            }
            Stage::Snapshot(None) => ("/sync/snapshot", json!({"limit": self.page})),
            Stage::Snapshot(Some(cursor)) => {
                ("/sync/snapshot", json!({"limit": self.page, "cursor": cursor}))
            }
            Stage::Push { records, .. } => ("/sync/push", json!({"changes": records})),
            Stage::Pull => {
                let checkpoint = self.local.checkpoint().expect("the position reads");
                ("/sync/pull", json!({"checkpoint": checkpoint, "limit": self.page}))
            }
        };
        let mut body = own;
        let manifest = self.local.manifest.as_ref();
        body["client_id"] = json!(self.client_id);
        body["schema_version"] = json!(manifest.map_or(0, |manifest| manifest.schema_version));
        body["schema_hash"] = json!(manifest.map_or("", |manifest| manifest.schema_hash.as_str()));
        Some(PlainRequest { method: "POST", path, body: Some(body) })
    }

    /// The connection failed: it is unknown whether the server executed the request.
    pub fn lost(&mut self) -> PlainError {
        self.end();
        PlainError::Retryable(None)
    }

    /// A failed start leaves the client stopped; a failed cycle leaves it running.
    fn end(&mut self) {
        self.stage = if self.started { Stage::Idle } else { Stage::Stopped };
    }

    /// Handles a response.
    pub fn answered(&mut self, status: u16, body: &Json) -> Result<(), PlainError> {
        let seconds = body.get("retry_after").and_then(Json::as_u64);
        let error = match status {
            200 => return self.taken(body),
            409 => PlainError::SchemaMismatch,
            426 => PlainError::UpgradeRequired,
            429 | 503 => PlainError::Retryable(seconds),
            other => PlainError::Server(other),
        };
        self.end();
        Err(error)
    }

    fn taken(&mut self, body: &Json) -> Result<(), PlainError> {
        match self.take(body).expect("the app's file is written") {
            None => Ok(()),
            Some(error) => {
                self.end();
                Err(error)
            }
        }
    }

    fn take(&mut self, body: &Json) -> Stored<Option<PlainError>> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Stopped | Stage::Idle => {}
            Stage::Schema => {
                let manifest = serde_json::from_value(body.clone()).expect("a schema");
                self.local.migrate(manifest)?;
                self.stage = Stage::Register;
            }
            Stage::Register => {
                self.local.put_meta("client_server_id", body["id"].as_str().unwrap_or_default())?;
                let complete = self.local.meta("snapshot_complete")? == "1";
                if self.local.checkpoint()? == 0 || !complete {
                    self.rebuild()?;
                } else {
                    self.next_push(false)?;
                }
            }
            Stage::Snapshot(_) => self.take_snapshot(body)?,
            Stage::Push { sent, then_rebuild, .. } => {
                return self.take_push(body, &sent, then_rebuild);
            }
            Stage::Pull => self.take_pull(body)?,
        }
        Ok(None)
    }

    /// Drops tables and queue at once; rows arrive page by page.
    fn rebuild(&mut self) -> Stored<()> {
        self.local.empty()?;
        self.stage = Stage::Snapshot(None);
        Ok(())
    }

    fn next_push(&mut self, then_rebuild: bool) -> Stored<()> {
        let (sent, records) = self.local.batch(self.batch)?;
        if !records.is_empty() {
            self.stage = Stage::Push { sent, records, then_rebuild };
        } else if then_rebuild {
            self.rebuild()?;
        } else {
            self.stage = Stage::Pull;
        }
        Ok(())
    }

    fn take_snapshot(&mut self, body: &Json) -> Stored<()> {
        let records = body["records"].as_array().into_iter().flatten();
        self.local
            .locked(|local| records.into_iter().try_for_each(|record| local.write_named(record)))?;
        if body["has_more"] == true {
            self.stage = Stage::Snapshot(Some(body["cursor"].clone()));
            return Ok(());
        }
        self.local.advance(body["checkpoint"].as_i64().unwrap_or_default())?;
        self.local.put_meta("snapshot_complete", "1")?;
        self.next_push(false)
    }

    /// Drops the entries, whatever was written meanwhile; retryable records stay, and end the
    /// cycle.
    fn take_push(
        &mut self,
        body: &Json,
        sent: &[Pending],
        then_rebuild: bool,
    ) -> Stored<Option<PlainError>> {
        let mut again = false;
        let results = |name: &str| body[name].as_array().cloned().unwrap_or_default();
        for result in results("accepted").into_iter().chain(results("rejected")) {
            let name = |entry: &&Pending| {
                result["table_name"] == entry.table.as_str() && result["id"] == entry.id.as_str()
            };
            let Some(entry) = sent.iter().find(name) else { continue };
            if result["status"] == "rejected_retryable" {
                again = true;
                continue;
            }
            self.local.forget(entry)?;
            let server = &result["server_version"];
            self.local.locked(|local| match (result["status"].as_str(), server) {
                (Some("applied"), _) => local.dated(&result),
                (_, Json::Null) => Ok(()),
                // Writes the whole row, whatever the local version: only a pull compares.
                _ => local.write_named(server),
            })?;
            match result["status"].as_str() {
                Some("applied") => {}
                Some("conflict") => self.conflicts.push(Conflict {
                    row: format!("{}/{}", entry.table, entry.id),
                    server: server.clone(),
                }),
                _ => self.dropped.push(result),
            }
        }
        if again {
            return Ok(Some(PlainError::Retryable(None)));
        }
        self.next_push(then_rebuild)?;
        Ok(None)
    }

    /// Applies changes first, then deletes; ignores queued records.
    fn take_pull(&mut self, body: &Json) -> Stored<()> {
        if body["snapshot_required"] == true {
            let needs_approval = body["snapshot_reason"] != "initial_sync_required";
            return if needs_approval { self.next_push(true) } else { self.rebuild() };
        }
        let now = self.local.now()?;
        let rows = |name: &str| body[name].as_array().cloned().unwrap_or_default();
        self.local.locked(|local| {
            rows("changes").iter().try_for_each(|record| local.upsert(record))?;
            rows("deletes").iter().try_for_each(|name| local.delete(name, &now))
        })?;
        self.local.advance(body["checkpoint"].as_i64().unwrap_or_default())?;
        let is_over = body["has_more"] != true;
        self.stage = if is_over { Stage::Idle } else { Stage::Pull };
        self.started |= is_over;
        Ok(())
    }
}

/// With the test server.
impl PlainClient {
    /// Runs one exchange, with this fault; `None` if there was nothing to send.
    pub fn step(
        &mut self,
        server: &Backend,
        fault: Option<Fault>,
    ) -> Option<Result<(), PlainError>> {
        let request = self.request()?;
        if fault == Some(Fault::RequestLost) {
            return Some(Err(self.lost()));
        }
        let (status, headers, body) =
            server.answer_plainly(&self.user, &self.app_version, &request);
        let json: Json = serde_json::from_slice(&body).unwrap_or_default();
        self.strangers.extend(strangers(request.path, status, &headers, &json));
        Some(match fault {
            None => self.answered(status, &json),
            Some(Fault::Doubled) => {
                let (status, _, body) =
                    server.answer_plainly(&self.user, &self.app_version, &request);
                self.answered(status, &serde_json::from_slice(&body).unwrap_or_default())
            }
            Some(Fault::Failed | Fault::FailedAfterwards) => self.answered(500, &Json::Null),
            Some(Fault::Unavailable) => self.answered(503, &json!({"retry_after": 1})),
            Some(_) => Err(self.lost()),
        })
    }

    /// Runs exchanges until there is nothing to do or one fails. A stopped client is started, an
    /// idle one begins a cycle.
    pub fn cycle(&mut self, server: &Backend) -> Result<(), PlainError> {
        if self.runs() {
            self.begin_cycle();
        } else {
            self.start();
        }
        for _ in 0..10_000 {
            match self.step(server, None) {
                None => return Ok(()),
                Some(done) => done?,
            }
        }
        panic!("a cycle does not end: {:?}", self.request());
    }
}

//! Plain v0.1.2 peers: pull by checkpoint, push by record. They see no extension; the same rows, access and log.
//!
//! Pushed columns overwrite the row, protected ones are dropped silently, the last writer by the clock wins: v0.1.2's
//! rules, each record in a savepoint of its own.

use std::collections::BTreeMap;

use rejoin_protocol::wire::pull::{BucketUpdates, PullRequest, PullResponse};
use rejoin_protocol::wire::push::{PushAnswer, PushRecord, PushRequest, PushResponse, PushResult};
use rejoin_protocol::{Value, codec, time};
use serde_json::value::RawValue;

use super::page::Names;
use super::schema::{Row, Table};
use super::{Caller, Engine, encode, held, own_sight, registered, schema_gate, sight_of};
use crate::config::PushPolicy;
use crate::error::{Fault, Refusal};
use crate::store::{Reading, StoredRow, WriteError, Writing, read, write};

impl Engine {
    /// Answers a pull of a plain peer.
    pub(crate) fn pull_plain(
        &self,
        caller: &Caller,
        request: &PullRequest,
    ) -> Result<PullResponse, Fault> {
        let limit = self.page_size(request.limit);
        let (response, client) = read(&*self.store, |reading| {
            schema_gate(reading, request.schema_version, &request.schema_hash, false)?;
            let client = registered(reading, caller, &request.client_id)?;
            let never = request.checkpoint == 0 && client.last_pull_at.is_none();
            let life = reading.life()?;
            let mut response = frame(reading, request.checkpoint);
            if never || request.checkpoint < life.watermark || request.checkpoint > life.head {
                let reason =
                    if never { "initial_sync_required" } else { "checkpoint_before_retention" };
                response.snapshot_required = true;
                response.snapshot_reason = Some(String::from(reason));
            } else {
                changes(reading, caller, request, limit, &mut response)?;
            }
            Ok((response, client))
        })?;
        if !response.snapshot_required {
            self.remember(&caller.user, &request.client_id, &client, request.checkpoint)?;
        }
        Ok(response)
    }

    /// Answers a push of a plain peer.
    pub(crate) fn push_plain(
        &self,
        caller: &Caller,
        request: &PushRequest,
    ) -> Result<PushResponse, Fault> {
        super::push::check_size(request.changes.len(), self.limits.changes, "changes")?;
        let now = self.now();
        write(&*self.store, &now, |writing| {
            schema_gate(writing, request.schema_version, &request.schema_hash, false)?;
            let mut client = registered(writing, caller, &request.client_id)?;
            let push = PlainPush { writing, user: &caller.user, now: &now };
            let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
            for record in &request.changes {
                let result = push.record(record)?;
                if result.status == "applied" { &mut accepted } else { &mut rejected }.push(result);
            }
            client.last_push_at = Some(now.clone());
            client.seen_at.clone_from(&now);
            writing.put_client(&caller.user, &request.client_id, &client)?;
            let rejoin = match &request.rejoin {
                Some(ask) => Some(PushAnswer {
                    request: ask.request,
                    epoch: writing.life()?.epoch,
                    held: held(writing, &caller.user)?,
                    ..PushAnswer::default()
                }),
                None => None,
            };
            let manifest = &writing.schema().manifest;
            Ok(PushResponse {
                accepted,
                rejected,
                checkpoint: 0,
                server_time: now.clone(),
                schema_version: manifest.schema_version,
                schema_hash: manifest.schema_hash.clone(),
                rejoin,
            })
        })
    }
}

fn frame(reading: &dyn Reading, checkpoint: i64) -> PullResponse {
    let manifest = &reading.schema().manifest;
    PullResponse {
        changes: Vec::new(),
        deletes: Vec::new(),
        checkpoint,
        has_more: false,
        snapshot_required: false,
        snapshot_reason: None,
        bucket_updates: None,
        schema_version: manifest.schema_version,
        schema_hash: manifest.schema_hash.clone(),
        rejoin: None,
    }
}

fn changes(
    reading: &dyn Reading,
    caller: &Caller,
    request: &PullRequest,
    limit: usize,
    response: &mut PullResponse,
) -> Result<(), Fault> {
    let held = held(reading, &caller.user)?;
    let schema = reading.schema();
    let entries = reading.entries(request.checkpoint, &held, limit)?;
    let mut names = Names::default();
    for entry in &entries {
        let table = schema.tables.iter().find(|table| table.number == entry.table);
        let asked = |table: &&Table| {
            request.tables.as_ref().is_none_or(|asked| asked.contains(&table.name))
        };
        if let Some(table) = table.filter(asked) {
            names.add(table, &entry.id);
        }
    }
    let last = entries.last().map_or(request.checkpoint, |entry| entry.position);
    response.has_more = entries.len() >= limit && reading.behind(last, &held)? > 0;
    response.checkpoint = if response.has_more { last } else { reading.life()?.head };
    let rows = names.read(reading, usize::MAX, &sight_of(&held))?.unwrap_or_default();
    response.changes = rows.records(schema)?;
    response.deletes = rows.gone;
    if let Some(known) = request.known_buckets.as_ref().filter(|known| !known.is_empty()) {
        let not_in = |of: &[String], other: &[String]| -> Vec<String> {
            of.iter().filter(|name| !other.contains(name)).cloned().collect()
        };
        let (added, removed) = (not_in(&held, known), not_in(known, &held));
        if !(added.is_empty() && removed.is_empty()) {
            response.bucket_updates = Some(BucketUpdates { added, removed });
        }
    }
    Ok(())
}

struct PlainPush<'a> {
    writing: &'a dyn Writing,
    user: &'a str,
    now: &'a str,
}

/// How a plain record ended.
struct End {
    status: &'static str,
    reason: Option<&'static str>,
    message: Option<String>,
    row: Option<Row>,
}

impl End {
    fn applied(row: Option<Row>) -> Self {
        Self { status: "applied", reason: None, message: None, row }
    }

    fn terminal(reason: &'static str, message: &str) -> Self {
        Self {
            status: "rejected_terminal",
            reason: Some(reason),
            message: Some(message.to_owned()),
            row: None,
        }
    }

    fn conflict(reason: &'static str, message: &str, row: Row) -> Self {
        Self {
            status: "conflict",
            reason: Some(reason),
            message: Some(message.to_owned()),
            row: Some(row),
        }
    }
}

impl PlainPush<'_> {
    fn record(&self, record: &PushRecord) -> Result<PushResult, Fault> {
        let table = self.writing.schema().table(&record.table_name);
        self.writing.begin()?;
        let end = match table {
            None => End::terminal("table_not_registered", "table not registered for sync"),
            Some(table) if table.push == PushPolicy::Disabled => {
                End::terminal("table_read_only", "table is read-only")
            }
            Some(table) => self.write(table, record)?,
        };
        if end.status == "applied" {
            self.writing.keep()?;
        } else {
            self.writing.undo()?;
        }
        let is_applied = end.status == "applied";
        let mut result = PushResult {
            id: record.id.clone(),
            table_name: record.table_name.clone(),
            operation: record.operation.clone(),
            status: String::from(end.status),
            reason_code: end.reason.map(String::from),
            message: end.message,
            server_version: None,
            server_updated_at: None,
            server_deleted_at: None,
        };
        if let (Some(table), Some(row)) = (table, end.row) {
            if !is_applied {
                result.server_version = Some(encode::record(table, &row)?);
            } else if row.is_deleted(table) {
                let at = table.deleted_at.unwrap_or_default();
                result.server_deleted_at = row.cell(at).as_text().map(str::to_owned);
            } else {
                result.server_updated_at = Some(row.version(table));
            }
        }
        Ok(result)
    }

    fn write(&self, table: &Table, record: &PushRecord) -> Result<End, Fault> {
        let Some(key) = table.key_of(&record.id) else {
            return Ok(End::terminal("record_not_found", "record not found"));
        };
        let own = own_sight(self.user);
        let stored = self.writing.stored(table, &key, &own, &own)?;
        let end = match record.operation.as_str() {
            "create" => self.create(table, &key, record, stored),
            "update" => self.update(table, &key, record, stored),
            "delete" => self.delete(table, &key, stored),
            other => Ok(End::terminal("invalid_operation", &format!("unknown operation: {other}"))),
        };
        match end {
            Ok(end) => Ok(end),
            Err(WriteError::Fault(fault)) => Err(fault),
            Err(WriteError::Rule(violation)) => {
                let reason = match record.operation.as_str() {
                    "create" => "create_failed",
                    "update" => "update_failed",
                    _ => "delete_failed",
                };
                Ok(End::terminal(reason, &violation.message))
            }
        }
    }

    fn create(
        &self,
        table: &Table,
        key: &Value,
        record: &PushRecord,
        stored: Option<StoredRow>,
    ) -> Result<End, WriteError> {
        let Some(stored) = stored else {
            let Some(mut cells) = columns(table, record.data.as_deref(), true) else {
                return Ok(End::terminal("invalid_data", "invalid data format"));
            };
            cells.push((table.key, key.clone()));
            cells.extend(table.owner().map(|at| (at, Value::from(self.user))));
            let dated = table.created_at.into_iter().chain([table.updated_at]);
            cells.extend(dated.map(|at| (at, Value::from(self.now))));
            cells.sort_by_key(|(at, _)| *at);
            self.writing.insert(table, &cells)?;
            return match self.present(table, key)? {
                Some(row) => Ok(End::applied(Some(row))),
                // The parent is not this user's, or not there: the savepoint takes the row back.
                None => Ok(End::terminal("record_not_found", "record not found or not accessible")),
            };
        };
        if !stored.writable {
            return Ok(End::terminal("record_not_found", "record not found or not accessible"));
        }
        if stored.row.is_deleted(table) {
            return self.overwrite(table, key, record, stored.row, true);
        }
        Ok(End::conflict("record_exists", "record already exists", stored.row))
    }

    fn update(
        &self,
        table: &Table,
        key: &Value,
        record: &PushRecord,
        stored: Option<StoredRow>,
    ) -> Result<End, WriteError> {
        match stored.filter(|stored| stored.writable) {
            None => Ok(End::terminal("record_not_found", "record not found")),
            Some(stored) if stored.row.is_deleted(table) => {
                Ok(End::conflict("record_deleted", "record is deleted", stored.row))
            }
            Some(stored) => self.overwrite(table, key, record, stored.row, false),
        }
    }

    fn overwrite(
        &self,
        table: &Table,
        key: &Value,
        record: &PushRecord,
        row: Row,
        revive: bool,
    ) -> Result<End, WriteError> {
        if let Some(reason) = server_wins(record, &row.version(table)) {
            return Ok(End::conflict("server_won_conflict", reason, row));
        }
        let Some(mut cells) = columns(table, record.data.as_deref(), false) else {
            return Ok(End::terminal("invalid_data", "invalid data format"));
        };
        if revive {
            cells.extend(table.deleted_at.map(|at| (at, Value::Null)));
        }
        if cells.is_empty() {
            return Ok(End::applied(None));
        }
        self.writing.update(table, key, &cells)?;
        Ok(End::applied(self.present(table, key)?))
    }

    fn delete(
        &self,
        table: &Table,
        key: &Value,
        stored: Option<StoredRow>,
    ) -> Result<End, WriteError> {
        let Some(stored) = stored.filter(|stored| stored.writable) else {
            return Ok(End::terminal("record_not_found", "record not found"));
        };
        if stored.row.is_deleted(table) {
            let message = Some(String::from("record already deleted"));
            return Ok(End { reason: Some("already_deleted"), message, ..End::applied(None) });
        }
        match table.deleted_at {
            Some(at) => self.writing.update(table, key, &[(at, Value::from(self.now))])?,
            None => self.writing.remove(table, key)?,
        }
        Ok(End::applied(self.present(table, key)?))
    }

    fn present(&self, table: &Table, key: &Value) -> Result<Option<Row>, Fault> {
        let own = own_sight(self.user);
        let stored = self.writing.stored(table, key, &own, &own)?;
        Ok(stored.filter(|stored| stored.writable).map(|stored| stored.row))
    }
}

/// v0.1.2's last-writer-wins, as it stands in its specification: the reason why the server's row stays, if it does.
fn server_wins(record: &PushRecord, version: &str) -> Option<&'static str> {
    let client = time::parse(&record.client_updated_at)?;
    let server = time::parse(version)?;
    match record.base_updated_at.as_deref().and_then(time::parse) {
        Some(base) if base > server => Some("client base version is ahead of server version"),
        Some(base) if base < server && client <= server => Some("server version is newer"),
        None if client <= server => Some("server version is newer"),
        _ => None,
    }
}

/// The columns that a plain peer may write; protected and generated ones are dropped, as v0.1.2 does. `None` if the data
/// are no object, name an unknown column or hold a value of another type.
fn columns(table: &Table, data: Option<&RawValue>, create: bool) -> Option<Vec<(usize, Value)>> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(data?.get()).ok()?;
    let mut cells = Vec::with_capacity(members.len());
    for (name, raw) in members {
        let at = table.column(&name)?;
        let column = table.columns.get(at)?;
        let is_fixed = at == table.key || (!create && table.parent_column() == Some(at));
        if column.protected || column.generated || is_fixed {
            continue;
        }
        cells.push((at, codec::decode(raw.get(), column.kind).ok()?));
    }
    Some(cells)
}

/// The error of a plain request in a time that is no RFC 3339: v0.1.2 refuses the whole request.
pub(crate) fn check_times(request: &PushRequest) -> Result<(), Fault> {
    let is_time = |text: &str| text.contains('T') && time::parse(text).is_some();
    let good = request.changes.iter().all(|record| {
        is_time(&record.client_updated_at) && record.base_updated_at.as_deref().is_none_or(is_time)
    });
    if good { Ok(()) } else { Err(Refusal::invalid("invalid request body").into()) }
}

//! The meaning of a plain server's result for a record.
//!
//! The server keeps no verdicts, so a record that was already applied returns as a conflict with
//! our own row. For an applied record without a row image, the new base row is computed here, and
//! the next pull replaces it.

use std::collections::HashMap;

use rejoin_protocol::equal::alike;
use rejoin_protocol::time;
use rejoin_protocol::wire::Record as Row;
use rejoin_protocol::wire::push::{Operation, PushResponse, PushResult};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::body::operation_name;
use crate::engine::Engine;
use crate::engine::queue::history;
use crate::engine::queue::mutation::ParkReason;
use crate::engine::queue::record::Record;
use crate::engine::queue::view::QueueView;
use crate::engine::rebase::{RecordEnding, Settled};
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::RowKey;
use crate::error::{Error, Result, SyncFault};
use crate::sync::plain::pull;
use crate::sync::rows::cell;
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// Reasons of a rejection without evaluation.
const UNREAD: [&str; 3] = ["table_not_registered", "table_read_only", "invalid_operation"];

/// The meaning of one result.
#[derive(Debug, Default)]
pub(super) struct Meaning {
    pub(super) settled: Option<Settled>,
    /// The current row.
    pub(super) image: Option<ServerRow>,
    /// The version of the tombstone that prevented a create.
    pub(super) tomb: Option<String>,
}

/// The results by queue position.
///
/// # Errors
/// `Protocol` for a result without a record, or two for one record: the response is ignored.
pub(super) fn results(
    engine: &Engine,
    requested: &[Record],
    answer: PushResponse,
) -> Result<HashMap<i64, PushResult>> {
    let mut places = HashMap::with_capacity(requested.len());
    for record in requested {
        let Some(table) = engine.schema.table(record.row.table) else { continue };
        let id = record.row.key.to_id().unwrap_or_default();
        places.insert(
            (cell::table_name(table), id, operation_name(record.operation).to_owned()),
            record.place,
        );
    }
    let mut found = HashMap::with_capacity(requested.len());
    for result in answer.accepted.into_iter().chain(answer.rejected) {
        let name = (result.table_name.clone(), result.id.clone(), result.operation.clone());
        let place = places.remove(&name).ok_or_else(|| {
            let PushResult { operation, table_name, id, .. } = &result;
            Error::Sync(SyncFault::Protocol(format!(
                "a result of {operation} {id:?} in {table_name}, not requested"
            )))
        })?;
        found.insert(place, result);
    }
    Ok(found)
}

/// The meaning of a result for its record. `was_sent`: an earlier request may have contained it.
pub(super) fn meaning(
    engine: &Engine,
    view: &QueueView<'_>,
    record: &Record,
    result: &PushResult,
    was_sent: bool,
) -> Result<Meaning> {
    let reason = result.reason_code.as_deref().unwrap_or_default();
    let mut meaning = Meaning::default();
    let ending = match result.status.as_str() {
        "applied" => {
            meaning.image = applied(view, record, result)?;
            RecordEnding::Accepted
        }
        "conflict" => conflict(engine, record, result, was_sent, &mut meaning)?,
        // Deleted, or not visible: a delete is done, and an update has no row.
        _ if reason == "record_not_found" => {
            let RowKey { table, key } = record.row.clone();
            meaning.image = Some(ServerRow { table, key, row: None });
            match record.operation {
                Operation::Delete => RecordEnding::Accepted,
                Operation::Create | Operation::Update => RecordEnding::Stands,
            }
        }
        "rejected_terminal" if UNREAD.contains(&reason) => {
            RecordEnding::Refused(ParkReason::Refused)
        }
        "rejected_retryable" if !engine.is_last_fault(record.faults) => RecordEnding::Again,
        "rejected_terminal" | "rejected_retryable" => refused(record, ParkReason::Rejected),
        other => {
            return Err(SyncFault::Protocol(format!("a result of status {other:?}")).into());
        }
    };
    let detail = Some(message_of(result).to_string());
    meaning.settled = Some(Settled { place: record.place, ending, detail });
    Ok(meaning)
}

/// The end of a record that the server rejects: if it has several edits, one may be the cause.
pub(super) fn refused(record: &Record, reason: ParkReason) -> RecordEnding {
    if record.members.len() > 1 { RecordEnding::Apart } else { RecordEnding::Refused(reason) }
}

/// Another row prevented it: our own, or a foreign one.
fn conflict(
    engine: &Engine,
    record: &Record,
    result: &PushResult,
    was_sent: bool,
    meaning: &mut Meaning,
) -> Result<RecordEnding> {
    let Some(row) = &result.server_version else {
        return Err(SyncFault::Protocol("a conflict without the row".to_owned()).into());
    };
    let image = pull::image(&engine.schema, row)?;
    if image.table != record.row.table || image.key != record.row.key {
        return Err(
            SyncFault::Protocol(format!("a conflict with another row, {:?}", row.id)).into()
        );
    }
    let ending = if is_own(engine, record, &image, was_sent)? {
        RecordEnding::Accepted
    } else if is_rejected_unchanged(record, row, &image) {
        RecordEnding::Stands
    } else if record.operation == Operation::Update && record.joins_edits_by_time() {
        RecordEnding::Apart
    } else {
        RecordEnding::Conflict
    };
    if image.row.is_none() && record.operation == Operation::Create {
        meaning.tomb = Some(row.updated_at.clone());
    }
    meaning.image = Some(image);
    Ok(ending)
}

/// The row after an applied record: the base, the sent columns, and the server's version. Without a
/// version nothing was stored.
fn applied(
    view: &QueueView<'_>,
    record: &Record,
    result: &PushResult,
) -> Result<Option<ServerRow>> {
    let RowKey { table, key } = record.row.clone();
    if record.operation == Operation::Delete {
        return Ok(Some(ServerRow { table, key, row: None }));
    }
    let Some(version) = &result.server_updated_at else { return Ok(None) };
    if time::parse(version).is_none() {
        return Err(SyncFault::Protocol(format!("a row with the time {version:?}")).into());
    }
    if mutant::on(Mutant::BaseNotFolded) {
        return Ok(None);
    }
    let Some(synced) = view.schema.table(table) else { return Ok(None) };
    let mut row = match view.base_row(&record.row)? {
        Some(base) => synced.columns.iter().map(|column| column.id).zip(base).collect(),
        None if record.operation == Operation::Create => Vec::new(),
        // The log has already reported an older delete: the next pull has the row.
        None => return Ok(None),
    };
    let version = synced.updated_at.map(|at| (synced.columns[at].id, version.as_str().into()));
    for (column, value) in record.data.iter().cloned().chain(version) {
        row.retain(|(other, _)| *other != column);
        if synced.position(column).is_some() {
            row.push((column, value));
        }
    }
    Ok(Some(ServerRow { table, key, row: Some(row) }))
}

/// Whether a row is the record's result: every sent column is equal. A fresh row is ours even if it
/// was changed later, unless the server once had another row under its key.
pub(super) fn is_own(
    engine: &Engine,
    record: &Record,
    image: &ServerRow,
    was_sent: bool,
) -> Result<bool> {
    let Some(table) = engine.schema.table(record.row.table) else { return Ok(false) };
    let Some(row) = &image.row else { return Ok(false) };
    if record.operation == Operation::Delete {
        return Ok(false);
    }
    let is_there = |(id, sent): &(_, Value)| {
        let kind = table.position(*id).map(|at| table.columns[at].kind);
        let found = row.iter().find(|(column, _)| column == id);
        kind.zip(found).is_some_and(|(kind, (_, value))| alike(value, sent, kind))
    };
    if table.sent_values(record.operation, &record.data).iter().all(is_there) {
        return Ok(true);
    }
    let conn = engine.db.conn();
    Ok(was_sent
        && is_fresh(record)
        && !history::was_gone(conn, &record.row)?
        && !history::has_row(conn, &record.row)?)
}

/// Whether a record creates a row with a random key and no tombstone: the row is then ours.
fn is_fresh(record: &Record) -> bool {
    let key = record.row.key.as_text().and_then(|text| Uuid::try_parse(text).ok());
    let is_random = key.is_some_and(|key| matches!(key.get_version_num(), 4 | 7));
    is_random && record.operation == Operation::Create && record.base.is_none()
}

/// Whether the server rejects the record although the row has the version that it names, so that a
/// retry is useless. A create names the version of a deleted row, which may return unchanged.
fn is_rejected_unchanged(record: &Record, row: &Row, image: &ServerRow) -> bool {
    if record.operation == Operation::Create && image.row.is_some() {
        return false;
    }
    let of = |text: &str| time::parse(text);
    let base = record.base.as_deref().and_then(of);
    base.is_some() && base == of(&row.updated_at)
}

/// The server's message, as stored with a parked mutation.
pub(super) fn message_of(result: &PushResult) -> Json {
    json!({
        "code": result.reason_code.as_deref().unwrap_or(&result.status),
        "message": result.message,
        "table": result.table_name,
        "id": result.id,
    })
}

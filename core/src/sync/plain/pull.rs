//! Pull from a plain server: current rows, historic deletes, and detection of an incomplete log.

use std::collections::HashSet;

use rejoin_protocol::codec::decode_from_plain;
use rejoin_protocol::wire::pull::{PullRequest, PullResponse};
use rejoin_protocol::wire::{Record, RowImage, RowName};
use rejoin_protocol::{ColumnKind, time};
use serde_json::to_vec;

use super::push;
use crate::engine::Engine;
use crate::engine::rebase::{Applied, Batch};
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::model::{Schema, Table};
use crate::error::{Error, Result, StorageFault, SyncFault};
use crate::sync::rows::fact::{self, Fact, RefetchReason};
use crate::sync::rows::pull::leads_on;
use crate::sync::rows::{cell, register};
use crate::value::Value;

/// After this time without a pull, the server may have emptied its log without reporting it. It
/// keeps seven days.
const AWAY: i64 = 6 * 24 * 3600 * 1_000_000;

/// The time of the last pull is stored at this interval; an empty pull writes nothing else.
const NOTED: i64 = 3600 * 1_000_000;

/// The position of [`PullStart::AtTheBeginning`]: at position 0 the server does not check its log.
const FIRST: i64 = 1;

/// The start of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullStart {
    /// After this position.
    Checkpoint(i64),
    /// Only checks whether the log still reaches back to its beginning; the response is not
    /// applied.
    AtTheBeginning,
}

/// The parameters of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullParameters {
    pub(crate) checkpoint: i64,
    /// The buckets that were sent as stored.
    buckets: Option<Vec<String>>,
}

/// How to use a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ResponseUse {
    /// Apply it.
    Rows,
    /// Fetch all rows again.
    Rebuild,
}

/// The position of the last pull or snapshot; `None` before the first.
pub(crate) fn checkpoint(engine: &Engine) -> Result<Option<i64>> {
    let Some(text) = engine.meta(fact::CHECKPOINT)? else { return Ok(None) };
    let number = text.parse();
    number.map(Some).map_err(|_| {
        Error::Storage(StorageFault::Corrupt(format!("position {text:?} in a plain log")))
    })
}

/// Whether the device was offline for so long that the log may be incomplete, or its clock was set
/// back that far.
pub(crate) fn is_away(engine: &Engine) -> Result<bool> {
    let last = engine.meta(fact::LAST_PULL)?.and_then(|text| text.parse::<i64>().ok());
    let now = engine.host.now_micros();
    Ok(last.is_some_and(|last| now.abs_diff(last) > AWAY.unsigned_abs()))
}

/// The time of this pull, if it must be stored.
pub(crate) fn noted(engine: &Engine) -> Result<Option<Fact>> {
    let last = engine.meta(fact::LAST_PULL)?.and_then(|text| text.parse::<i64>().ok());
    let now = engine.host.now_micros();
    let is_due = last.is_none_or(|last| now.abs_diff(last) > NOTED.unsigned_abs());
    Ok(is_due.then(|| fact::fact(fact::LAST_PULL, now.to_string())))
}

/// The body of a pull request.
pub(crate) fn request(
    engine: &mut Engine,
    from: PullStart,
    page: u32,
) -> Result<(Vec<u8>, PullParameters)> {
    let client_id = register::client_id(engine)?;
    let (checkpoint, limit, buckets) = match from {
        PullStart::Checkpoint(checkpoint) => (checkpoint, page, Some(known_buckets(engine)?)),
        PullStart::AtTheBeginning => (FIRST, 1, None),
    };
    let Some(manifest) = engine.schema.manifest.as_ref() else {
        return Err(Error::Internal("a pull without a schema".to_owned()));
    };
    let request = PullRequest {
        client_id,
        checkpoint,
        tables: None,
        limit: Some(i64::from(limit)),
        known_buckets: buckets.clone(),
        schema_version: manifest.schema_version,
        schema_hash: manifest.schema_hash.clone(),
        rejoin: None,
    };
    let body = to_vec(&request).map_err(|error| Error::Internal(error.to_string()))?;
    Ok((body, PullParameters { checkpoint, buckets }))
}

/// The buckets to send. A server compares them only if there are any; the bucket of all users is
/// the placeholder for unknown.
fn known_buckets(engine: &Engine) -> Result<Vec<String>> {
    let stored = engine.meta(fact::BUCKETS)?.and_then(|text| serde_json::from_str(&text).ok());
    Ok(stored.unwrap_or_else(|| vec!["global".to_owned()]))
}

/// Decides how to use the response; applies nothing.
///
/// # Errors
/// `Protocol` for invalid positions, and for a page without progress.
pub(crate) fn examine(
    engine: &Engine,
    request: &PullParameters,
    answer: &PullResponse,
) -> Result<ResponseUse> {
    if answer.snapshot_required {
        return Ok(ResponseUse::Rebuild);
    }
    if answer.checkpoint < request.checkpoint {
        return Ok(ResponseUse::Rebuild); // A restored server: its log is shorter than before.
    }
    let (before, after) = (request.checkpoint.to_string(), answer.checkpoint.to_string());
    leads_on(answer.has_more, &before, &after)?;
    // The log has no rows for added or removed buckets. The first response only lists the buckets.
    let moved = answer
        .bucket_updates
        .as_ref()
        .is_some_and(|moved| !moved.added.is_empty() || !moved.removed.is_empty());
    let stored = engine.meta(fact::BUCKETS)?.is_some();
    Ok(if moved && stored { ResponseUse::Rebuild } else { ResponseUse::Rows })
}

/// The buckets of this response, if they differ from the stored ones.
pub(crate) fn buckets(
    engine: &Engine,
    request: &PullParameters,
    answer: &PullResponse,
) -> Result<Option<Fact>> {
    let Some(named) = &request.buckets else { return Ok(None) };
    let mut held: Vec<String> = named.clone();
    if let Some(moved) = &answer.bucket_updates {
        held.retain(|bucket| !moved.removed.contains(bucket));
        held.extend(moved.added.iter().cloned());
    }
    let text = fact::held_text(&held);
    let stored = engine.meta(fact::BUCKETS)?;
    Ok((stored.as_deref() != Some(&text)).then(|| fact::fact(fact::BUCKETS, text)))
}

/// The rows of a response: current rows, and rows that the log lists as deleted.
pub(crate) fn rows(
    engine: &Engine,
    answer: &PullResponse,
) -> Result<(Vec<ServerRow>, Vec<RowKey>)> {
    let schema = &engine.schema;
    let mut images = Vec::with_capacity(answer.changes.len());
    let is_known = |table: &str| !schema.is_left_out(table);
    for record in answer.changes.iter().filter(|record| is_known(&record.table_name)) {
        images.push(image(schema, record)?);
    }
    let present: HashSet<RowKey> =
        images.iter().map(|image| RowKey { table: image.table, key: image.key.clone() }).collect();
    let mut history = Vec::with_capacity(answer.deletes.len());
    for name in answer.deletes.iter().filter(|name| is_known(&name.table_name)) {
        let row = row(schema, name)?;
        if !present.contains(&row) {
            history.push(row);
        }
    }
    Ok((images, history))
}

/// The current row on the server; a soft-deleted row is absent.
pub(crate) fn image(schema: &Schema, record: &Record) -> Result<ServerRow> {
    if time::parse(&record.updated_at).is_none() {
        return Err(SyncFault::Protocol(format!(
            "row {} of {} with the time {:?}",
            record.id, record.table_name, record.updated_at
        ))
        .into());
    }
    let mut image = cell::image_read_by(
        decode_from_plain,
        schema,
        &RowImage {
            table_name: record.table_name.clone(),
            id: record.id.clone(),
            data: Some(record.data.clone()),
            updated_at: Some(record.updated_at.clone()),
            absent: record.deleted_at.is_some(),
        },
    )?;
    let table = cell::table(schema, &record.table_name)?;
    let mark = table.deleted_at.map(|at| table.columns[at].id);
    let columns = image.row.iter().flatten();
    // The row of a conflict has the deletion mark only among its columns.
    if columns.into_iter().any(|(id, value)| Some(*id) == mark && !value.is_null()) {
        image.row = None;
    }
    nulls_of_json(schema, table, &mut image);
    Ok(image)
}

/// In a column without SQL NULL, null means JSON null.
fn nulls_of_json(schema: &Schema, table: &Table, image: &mut ServerRow) {
    let manifest = schema.manifest.iter().flat_map(|manifest| &manifest.tables);
    let mut stored = manifest.filter(|stored| stored.table_name == table.name);
    let Some(stored) = stored.next() else { return };
    for (id, value) in image.row.iter_mut().flatten().filter(|(_, value)| value.is_null()) {
        let column = table.position(*id).map(|at| &table.columns[at]);
        let takes_none = |name: &str| {
            stored.columns.iter().any(|column| column.name == name && !column.nullable)
        };
        if column.is_some_and(|one| one.kind == ColumnKind::Json && takes_none(&one.name)) {
            *value = Value::Text("null".to_owned());
        }
    }
}

fn row(schema: &Schema, name: &RowName) -> Result<RowKey> {
    let image = cell::absent(schema, name)?;
    Ok(RowKey { table: image.table, key: image.key })
}

/// Writes a page to the base, with its position in the same transaction.
pub(crate) fn apply(
    engine: &mut Engine,
    request: &PullParameters,
    answer: &PullResponse,
) -> Result<Applied> {
    let (images, history) = rows(engine, answer)?;
    let mut meta = Vec::new();
    if checkpoint(engine)? != Some(answer.checkpoint) {
        meta.push(fact::fact(fact::CHECKPOINT, answer.checkpoint.to_string()));
    }
    if !answer.has_more && engine.meta(fact::FIRST_SYNC)?.as_deref() != Some(fact::DONE) {
        meta.push(fact::fact(fact::FIRST_SYNC, fact::DONE));
    }
    meta.extend(noted(engine)?);
    meta.extend(buckets(engine, request, answer)?);
    if images.is_empty() && history.is_empty() {
        if !meta.is_empty() {
            fact::write(engine, &meta)?;
        }
        return Ok(Applied::default());
    }
    let mut batch = Batch { images, history, detect_conflicts: true, meta, ..Batch::default() };
    push::recognise(engine, &mut batch)?;
    engine.apply(batch)
}

/// All rows must be fetched again; pending mutations are kept. Stores the current buckets.
pub(crate) fn rebuild(
    engine: &mut Engine,
    request: &PullParameters,
    answer: &PullResponse,
) -> Result<()> {
    let mut facts = fact::snapshot_due(RefetchReason::Retention);
    if !answer.snapshot_required {
        facts.extend(buckets(engine, request, answer)?);
    }
    fact::write(engine, &facts)
}

//! Pull from a plain server: rows as they are now, deletes as they once were (P6), and what its log cannot tell (P9).

use std::collections::HashSet;

use rejoin_protocol::codec::decode_from_plain;
use rejoin_protocol::wire::pull::{PullRequest, PullResponse};
use rejoin_protocol::wire::{Record, RowImage, RowName};
use rejoin_protocol::{ColumnKind, time};
use serde_json::to_vec;

use super::push;
use crate::engine::Engine;
use crate::engine::rebase::{Applied, Batch};
use crate::engine::rows::Image;
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::model::{Schema, Table};
use crate::error::{Error, Result};
use crate::sync::rows::fact::{self, Due, Fact};
use crate::sync::rows::pull::leads_on;
use crate::sync::rows::{cell, register};
use crate::value::Value;

/// After so long without a pull the server may have emptied its log, and then it does not say that anything is missing
/// (P9). It counts seven days.
const AWAY: i64 = 6 * 24 * 3600 * 1_000_000;

/// The time of the last pull is noted anew after so much of it; an empty pull writes nothing else.
const NOTED: i64 = 3600 * 1_000_000;

/// The position from which [`From::AtTheBeginning`] is asked: the test for what is missing is off at 0.
const FIRST: i64 = 1;

/// Where a pull begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// After this position.
    Checkpoint(i64),
    /// Only to learn whether the log still reaches back to its beginning; nothing of the answer is applied (P9).
    AtTheBeginning,
}

/// What a pull was asked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) checkpoint: i64,
    /// The buckets that were named as known.
    buckets: Option<Vec<String>>,
}

/// What an answer is good for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It can be applied.
    Rows,
    /// The rows must come whole again.
    Rebuild,
}

/// The position of the last pull or snapshot; `None` before the first.
pub(crate) fn checkpoint(engine: &Engine) -> Result<Option<i64>> {
    let Some(text) = engine.meta(fact::CHECKPOINT)? else { return Ok(None) };
    let number = text.parse();
    number.map(Some).map_err(|_| Error::Corrupt(format!("position {text:?} in a plain log")))
}

/// Whether the device was away for so long that the log cannot be trusted (P9). A clock that was put back so far says as
/// little.
pub(crate) fn is_away(engine: &Engine) -> Result<bool> {
    let last = engine.meta(fact::LAST_PULL)?.and_then(|text| text.parse::<i64>().ok());
    let now = engine.host.now_micros();
    Ok(last.is_some_and(|last| now.abs_diff(last) > AWAY.unsigned_abs()))
}

/// The time of this pull, if it is worth a note.
pub(crate) fn noted(engine: &Engine) -> Result<Option<Fact>> {
    let last = engine.meta(fact::LAST_PULL)?.and_then(|text| text.parse::<i64>().ok());
    let now = engine.host.now_micros();
    let is_due = last.is_none_or(|last| now.abs_diff(last) > NOTED.unsigned_abs());
    Ok(is_due.then(|| fact::fact(fact::LAST_PULL, now.to_string())))
}

/// The body of a pull.
pub(crate) fn request(engine: &mut Engine, from: From, page: u32) -> Result<(Vec<u8>, Asked)> {
    let client_id = register::client_id(engine)?;
    let (checkpoint, limit, buckets) = match from {
        From::Checkpoint(checkpoint) => (checkpoint, page, Some(known_buckets(engine)?)),
        From::AtTheBeginning => (FIRST, 1, None),
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
    Ok((body, Asked { checkpoint, buckets }))
}

/// The buckets to name. A server compares them only if there is one: the one that every user has stands for not knowing.
fn known_buckets(engine: &Engine) -> Result<Vec<String>> {
    let known = engine.meta(fact::BUCKETS)?.and_then(|text| serde_json::from_str(&text).ok());
    Ok(known.unwrap_or_else(|| vec!["global".to_owned()]))
}

/// What the answer is good for. Nothing is applied here.
///
/// # Errors
/// `Protocol` for positions that no log has, and for a page that leads nowhere.
pub(crate) fn examine(engine: &Engine, asked: &Asked, answer: &PullResponse) -> Result<Use> {
    if answer.snapshot_required {
        return Ok(Use::Rebuild);
    }
    if answer.checkpoint < asked.checkpoint {
        return Ok(Use::Rebuild); // A restored server: its log is shorter than what came from it.
    }
    let (before, after) = (asked.checkpoint.to_string(), answer.checkpoint.to_string());
    leads_on(answer.has_more, &before, &after)?;
    // What a gained bucket holds, or a lost one, is in no log. The first answer only tells which there are.
    let moved = answer
        .bucket_updates
        .as_ref()
        .is_some_and(|moved| !moved.added.is_empty() || !moved.removed.is_empty());
    let known = engine.meta(fact::BUCKETS)?.is_some();
    Ok(if moved && known { Use::Rebuild } else { Use::Rows })
}

/// The buckets as this answer tells them, if they are other ones than those that are noted.
pub(crate) fn buckets(
    engine: &Engine,
    asked: &Asked,
    answer: &PullResponse,
) -> Result<Option<Fact>> {
    let Some(named) = &asked.buckets else { return Ok(None) };
    let mut held: Vec<String> = named.clone();
    if let Some(moved) = &answer.bucket_updates {
        held.retain(|bucket| !moved.removed.contains(bucket));
        held.extend(moved.added.iter().cloned());
    }
    let text = fact::held_text(&held);
    let known = engine.meta(fact::BUCKETS)?;
    Ok((known.as_deref() != Some(&text)).then(|| fact::fact(fact::BUCKETS, text)))
}

/// The rows of an answer: those that are there, and those that the log says were deleted (P6).
pub(crate) fn rows(engine: &Engine, answer: &PullResponse) -> Result<(Vec<Image>, Vec<RowKey>)> {
    let schema = &engine.schema;
    let mut images = Vec::with_capacity(answer.changes.len());
    for record in &answer.changes {
        images.push(image(schema, record)?);
    }
    let present: HashSet<RowKey> =
        images.iter().map(|image| RowKey { table: image.table, key: image.key.clone() }).collect();
    let mut history = Vec::with_capacity(answer.deletes.len());
    for name in &answer.deletes {
        let row = row(schema, name)?;
        if !present.contains(&row) {
            history.push(row);
        }
    }
    Ok((images, history))
}

/// A row as the server has it now; one that is softly deleted is not there (D3).
pub(crate) fn image(schema: &Schema, record: &Record) -> Result<Image> {
    if time::parse(&record.updated_at).is_none() {
        return Err(Error::Protocol(format!(
            "row {} of {} with the time {:?}",
            record.id, record.table_name, record.updated_at
        )));
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
    // The row of a conflict has the mark among its columns only.
    if columns.into_iter().any(|(id, value)| Some(*id) == mark && !value.is_null()) {
        image.row = None;
    }
    nulls_of_json(schema, table, &mut image);
    Ok(image)
}

/// The null of a column that takes none of SQL's is JSON's own.
fn nulls_of_json(schema: &Schema, table: &Table, image: &mut Image) {
    let manifest = schema.manifest.iter().flat_map(|manifest| &manifest.tables);
    let mut known = manifest.filter(|known| known.table_name == table.name);
    let Some(known) = known.next() else { return };
    for (id, value) in image.row.iter_mut().flatten().filter(|(_, value)| value.is_null()) {
        let column = table.position(*id).map(|at| &table.columns[at]);
        let takes_none =
            |name: &str| known.columns.iter().any(|column| column.name == name && !column.nullable);
        if column.is_some_and(|one| one.kind == ColumnKind::Json && takes_none(&one.name)) {
            *value = Value::Text("null".to_owned());
        }
    }
}

fn row(schema: &Schema, name: &RowName) -> Result<RowKey> {
    let image = cell::absent(schema, name)?;
    Ok(RowKey { table: image.table, key: image.key })
}

/// Lays a page into the base with the position that covers it (I6).
pub(crate) fn apply(engine: &mut Engine, asked: &Asked, answer: &PullResponse) -> Result<Applied> {
    let (images, history) = rows(engine, answer)?;
    let mut meta = Vec::new();
    if checkpoint(engine)? != Some(answer.checkpoint) {
        meta.push(fact::fact(fact::CHECKPOINT, answer.checkpoint.to_string()));
    }
    if !answer.has_more && engine.meta(fact::FIRST_SYNC)?.as_deref() != Some(fact::DONE) {
        meta.push(fact::fact(fact::FIRST_SYNC, fact::DONE));
    }
    meta.extend(noted(engine)?);
    meta.extend(buckets(engine, asked, answer)?);
    if images.is_empty() && history.is_empty() {
        if !meta.is_empty() {
            fact::write(engine, &meta)?;
        }
        return Ok(Applied::default());
    }
    let mut batch = Batch { images, history, judge: true, meta, ..Batch::default() };
    push::recognise(engine, &mut batch)?;
    engine.apply(batch)
}

/// The rows must come whole again; what is pending is kept. The buckets are noted as they are now.
pub(crate) fn rebuild(engine: &mut Engine, asked: &Asked, answer: &PullResponse) -> Result<()> {
    let mut facts = fact::snapshot_due(Due::Retention);
    if !answer.snapshot_required {
        facts.extend(buckets(engine, asked, answer)?);
    }
    fact::write(engine, &facts)
}

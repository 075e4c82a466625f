//! Pull: changes since the cursor, written to the base with their cursor in one transaction.

use std::collections::{HashMap, HashSet};

use rejoin_protocol::wire::pull::{PullAsk, PullRequest, PullResponse};
use rejoin_protocol::wire::{RowName, RowSet};
use serde_json::to_vec;

use super::fact::{self, Fact, RefetchReason};
use super::{cell, register};
use crate::engine::Engine;
use crate::engine::rebase::Batch;
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::model::Schema;
use crate::error::{Error, Result, SyncFault};

/// Maximum number of rows that one request names again; the rest waits for the next.
const RECHECK_MOST: usize = 500;

/// Maximum bytes of an incomplete server transaction in memory. A larger one requires a snapshot.
const GATHERED_MOST: usize = 64 * 1024 * 1024;

/// Maximum bytes of pages that are collected and applied in one transaction. A page has rows as of
/// its reading, so it may show a part of a server transaction whose other rows are in a later page:
/// applied alone, it would show a state that the server never had. Beyond this limit, progress is
/// more important.
const COLLECTED_MOST: usize = 4 * 1024 * 1024;

/// Consecutive passes that may lose collected pages because of a lost response. After these, each
/// page is applied alone, so that a device on a bad network makes progress.
const LOST_MOST: u32 = 3;

/// Pages that are not applied yet: they end inside a server transaction, or more pages follow. In
/// memory only: after a crash or a lost response they are pulled again, because the cursor is
/// unchanged.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The end of the last one.
    pub(crate) cursor: Option<String>,
    requested: Vec<RowName>,
    rows: HashMap<RowKey, ServerRow>,
    /// Total bytes of the pages.
    bytes: usize,
    /// Consecutive passes that lost collected pages.
    lost: u32,
}

/// Numbers of rows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowCounts {
    /// Rows in the page.
    pub(crate) received: u64,
    /// Applied rows: of this and the collected pages, or none.
    pub(crate) applied: u64,
    /// Whether the page was applied, with the collected ones.
    pub(crate) is_applied: bool,
}

impl Gathered {
    /// Starts a new pass without the collected pages.
    pub(crate) fn begin(&mut self) {
        let lost = self.lost.saturating_add(u32::from(self.cursor.is_some()));
        *self = Self { lost, ..Self::default() };
    }

    /// Collects a page and returns its number of rows; of two images of a row, the later one
    /// counts.
    fn add(&mut self, schema: &Schema, sets: &[RowSet], images: Vec<ServerRow>) -> Result<u64> {
        self.bytes += sets.iter().map(|set| set.rows.get().len()).sum::<usize>();
        self.bytes += images.len() * size_of::<ServerRow>();
        let mut received = 0;
        for image in cell::images(schema, sets)?.into_iter().chain(images) {
            let row = RowKey { table: image.table, key: image.key.clone() };
            self.rows.insert(row, image);
            received += 1;
        }
        Ok(received)
    }
}

/// A pull of a page from `cursor`, and the rows that it requests again. `current`: not from a replica.
pub(crate) fn request(
    engine: &mut Engine,
    number: i64,
    cursor: String,
    (page, current): (u32, bool),
    gathered: &Gathered,
) -> Result<(Vec<u8>, Vec<RowName>)> {
    let mut recheck = if gathered.cursor.is_some() { Vec::new() } else { fact::recheck(engine)? };
    recheck.truncate(RECHECK_MOST);
    let client_id = register::client_id(engine)?;
    let witness = engine.meta(fact::WITNESS)?.unwrap_or_default();
    let Some(manifest) = engine.schema.manifest.as_ref() else {
        return Err(Error::Internal("a pull without a schema".to_owned()));
    };
    let request = PullRequest {
        client_id,
        checkpoint: 0,
        tables: None,
        limit: Some(i64::from(page)),
        known_buckets: None,
        schema_version: manifest.schema_version,
        schema_hash: manifest.schema_hash.clone(),
        rejoin: Some(PullAsk {
            request: number,
            cursor,
            witness,
            recheck: recheck.clone(),
            current,
        }),
    };
    let body = to_vec(&request).map_err(|error| Error::Internal(error.to_string()))?;
    Ok((body, recheck))
}

/// An error for a page that is not the last and makes no progress.
pub(crate) fn leads_on(more: bool, before: &str, after: &str) -> Result<()> {
    if more && before == after {
        let why = "a page which leads nowhere and is not the last";
        return Err(SyncFault::Protocol(why.to_owned()).into());
    }
    Ok(())
}

/// Drops the rows of tables that this device has left out: it fetches them when it adopts the table.
pub(crate) fn skip_left_out(schema: &Schema, answer: &mut PullResponse) {
    answer.deletes.retain(|row| !schema.is_left_out(&row.table_name));
    if let Some(ours) = &mut answer.rejoin {
        ours.sets.retain(|set| !schema.is_left_out(&set.table_name));
    }
}

/// The rows of a response: the sets, and the deletes as absent rows.
pub(crate) fn rows(
    engine: &Engine,
    answer: &mut PullResponse,
) -> Result<(Vec<RowSet>, Vec<ServerRow>)> {
    let sets =
        answer.rejoin.as_mut().map(|ours| std::mem::take(&mut ours.sets)).unwrap_or_default();
    let images = answer
        .deletes
        .iter()
        .map(|row| cell::absent(&engine.schema, row))
        .collect::<Result<_>>()?;
    Ok((sets, images))
}

/// Applies a page with the collected ones, or collects it.
pub(crate) fn apply(
    engine: &mut Engine,
    mut answer: PullResponse,
    requested: &[RowName],
    gathered: &mut Gathered,
) -> Result<RowCounts> {
    skip_left_out(&engine.schema, &mut answer);
    let requested = &answered(&engine.schema, &answer, requested)?;
    let (mut sets, mut images) = rows(engine, &mut answer)?;
    let Some(ours) = answer.rejoin else { return Ok(RowCounts::default()) };
    let mut kept = None;
    if ours.partial || answer.has_more || gathered.cursor.is_some() {
        let received = gathered.add(&engine.schema, &sets, images)?;
        gathered.requested.extend_from_slice(requested);
        gathered.cursor = Some(ours.cursor.clone());
        if gathered.bytes > GATHERED_MOST {
            *gathered = Gathered::default();
            fact::write(engine, &fact::snapshot_due(RefetchReason::Retention))?;
            return Ok(RowCounts { received, ..RowCounts::default() });
        }
        let waits = gathered.lost < LOST_MOST && gathered.bytes <= COLLECTED_MOST;
        if ours.partial || answer.has_more && waits {
            return Ok(RowCounts { received, ..RowCounts::default() });
        }
        kept = Some(received);
        (sets, images) = (Vec::new(), std::mem::take(&mut gathered.rows).into_values().collect());
    }
    let mut meta = vec![
        fact::fact(fact::CURSOR, ours.cursor),
        fact::fact(fact::HELD, fact::held_text(&ours.held)),
    ];
    meta.extend(rechecked(engine, requested)?);
    meta.extend(rechecked(engine, &gathered.requested)?);
    if !answer.has_more {
        meta.push(fact::fact(fact::FIRST_SYNC, fact::DONE));
        meta.push(fact::forget(fact::WITNESS));
    }
    let lost = if answer.has_more { gathered.lost } else { 0 };
    *gathered = Gathered { lost, ..Gathered::default() };
    let batch = Batch { sets, images, detect_conflicts: true, meta, ..Batch::default() };
    let applied = engine.apply(batch)?.rows as u64;
    Ok(RowCounts { received: kept.unwrap_or(applied), applied, is_applied: true })
}

/// The requested rows that the response has: a server sends the rest with the next pages. Without
/// any of them nothing would be left to wait for, and all count as answered.
fn answered(schema: &Schema, answer: &PullResponse, requested: &[RowName]) -> Result<Vec<RowName>> {
    if requested.is_empty() {
        return Ok(Vec::new());
    }
    let sets = answer.rejoin.as_ref().map(|ours| ours.sets.as_slice()).unwrap_or_default();
    let mut found: HashSet<RowName> = answer.deletes.iter().cloned().collect();
    for image in cell::images(schema, sets)? {
        let table = schema.table(image.table).map(|table| table.name.clone());
        found.extend(
            table.zip(image.key.to_id()).map(|(table_name, id)| RowName { table_name, id }),
        );
    }
    let known: Vec<RowName> =
        requested.iter().filter(|name| found.contains(name)).cloned().collect();
    Ok(if known.is_empty() { requested.to_vec() } else { known })
}

/// The remaining rows to request again after `requested`.
pub(crate) fn rechecked(engine: &Engine, requested: &[RowName]) -> Result<Option<Fact>> {
    if requested.is_empty() {
        return Ok(None);
    }
    let mut rows = fact::recheck(engine)?;
    let requested: HashSet<&RowName> = requested.iter().collect();
    rows.retain(|row| !requested.contains(row));
    Ok(Some(fact::recheck_fact(&rows)))
}

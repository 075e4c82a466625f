//! Snapshot of a plain server: every row in pages, without explicit deletes.
//!
//! Pages are written directly only while the base is empty: every base row then comes from these
//! pages or from later responses, and all later changes are in the log after the first page's
//! position. Otherwise pages are staged, and the merge deletes base rows that the staging lacks.

use rejoin_protocol::wire::pull::PullResponse;
use rejoin_protocol::wire::snapshot::{SnapshotRequest, SnapshotResponse};
use serde_json::to_vec;

use super::{pull, push};
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::OURS;
use crate::engine::rebase::{Applied, Batch};
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::sql::quoted;
use crate::engine::schema::store::filled;
use crate::engine::staging::{self, Staging};
use crate::error::{Error, Result, SyncFault};
use crate::sync::rows::fact::{self, Fact, RefetchReason, SnapshotMode, SnapshotProgress};
use crate::sync::rows::{register, snapshot as rows};

/// The running snapshot; starts one if needed.
pub(crate) fn present(engine: &mut Engine) -> Result<Option<SnapshotProgress>> {
    if let Some(snapshot) = SnapshotProgress::load(engine)? {
        let unpaged = snapshot.mode == SnapshotMode::Straight && snapshot.pull_cursor.is_none();
        if unpaged && !base_is_empty(engine)? {
            return rows::begin(engine, SnapshotMode::Staged, snapshot.why).map(Some);
        }
        return Ok(Some(snapshot));
    }
    let why = fact::due(engine)?;
    if why.is_none() && pull::checkpoint(engine)?.is_some() {
        return Ok(None);
    }
    let first = engine.meta(fact::FIRST_SYNC)?.is_none();
    let straight = first && why != Some(RefetchReason::Schema) && base_is_empty(engine)?;
    let mode = if straight { SnapshotMode::Straight } else { SnapshotMode::Staged };
    rows::begin(engine, mode, why).map(Some)
}

/// Whether the base has no rows, regardless of pending mutations.
fn base_is_empty(engine: &Engine) -> Result<bool> {
    let waiting = engine.queue.rows();
    for table in engine.schema.tables.values() {
        let touched: Vec<&RowKey> =
            waiting.iter().filter(|row| row.table == table.number).collect();
        let (key, name) = (quoted(&table.key_column().name), quoted(&table.name));
        let sql = format!("{OURS}SELECT {key} FROM {name} LIMIT {}", touched.len() + 1);
        let mut statement = engine.db.conn().prepare_cached(&sql)?;
        let mut present = statement.query([])?;
        while let Some(row) = present.next()? {
            let row = RowKey { table: table.number, key: row.get(0)? };
            if !waiting.contains(&row) {
                return Ok(false);
            }
        }
        let view = engine.queue_view();
        for row in touched {
            if view.base_row(row)?.is_some() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Requests the next page.
pub(crate) fn request(
    engine: &mut Engine,
    snapshot: &SnapshotProgress,
    page: u32,
) -> Result<Vec<u8>> {
    let client_id = register::client_id(engine)?;
    let Some(manifest) = engine.schema.manifest.as_ref() else {
        return Err(Error::Internal("a snapshot without a schema".to_owned()));
    };
    let request = SnapshotRequest {
        client_id,
        cursor: snapshot.cursor.clone(),
        limit: Some(i64::from(page)),
        schema_version: manifest.schema_version,
        schema_hash: manifest.schema_hash.clone(),
        rejoin: None,
    };
    to_vec(&request).map_err(|error| Error::Internal(error.to_string()))
}

/// Writes a page; returns the updated snapshot and the result of a direct page.
///
/// # Errors `Protocol` for an invalid page, or pages without an end: nothing was written.
pub(crate) fn page(
    engine: &mut Engine,
    mut snapshot: SnapshotProgress,
    answer: &SnapshotResponse,
) -> Result<(SnapshotProgress, Applied)> {
    let images = images(engine, answer)?;
    went_on(engine, &mut snapshot, answer, &images)?;
    let mut facts: Vec<Fact> = Vec::new();
    let first = snapshot.pull_cursor.is_none();
    if first {
        snapshot.pull_cursor = Some(answer.checkpoint.to_string());
        // The log must now reach back to this time.
        let now = engine.host.now_micros().to_string();
        facts.push(fact::fact(fact::LAST_PULL, now));
    }
    snapshot.failures = 0;
    snapshot.paged = !answer.has_more;
    snapshot.cursor = answer.cursor.clone().filter(|_| answer.has_more);
    match snapshot.mode {
        SnapshotMode::Straight => straight(engine, snapshot, images, facts),
        SnapshotMode::Staged => {
            Ok((staged(engine, snapshot, &images, facts, first)?, Applied::default()))
        }
    }
}

fn images(engine: &Engine, answer: &SnapshotResponse) -> Result<Vec<ServerRow>> {
    if answer.checkpoint < 0 {
        return Err(SyncFault::Protocol(format!(
            "a snapshot as of position {}",
            answer.checkpoint
        ))
        .into());
    }
    let schema = &engine.schema;
    let known = answer.records.iter().filter(|record| !schema.is_left_out(&record.table_name));
    let images = known.map(|record| pull::image(schema, record));
    images.filter(|image| image.as_ref().map_or(true, |image| image.row.is_some())).collect()
}

/// Whether the page makes progress: a server may repeat a cursor, cycle, or never end.
fn went_on(
    engine: &mut Engine,
    snapshot: &mut SnapshotProgress,
    answer: &SnapshotResponse,
    images: &[ServerRow],
) -> Result<()> {
    if !answer.has_more {
        return Ok(());
    }
    let Some(next) = &answer.cursor else {
        return Err(SyncFault::Protocol(
            "a page that is not the last, without a cursor".to_owned(),
        )
        .into());
    };
    // A position after all tables is the end, and a negative one crashes the server.
    let tables = engine.schema.tables.len() + engine.schema.left_out.whole_tables();
    let within = usize::try_from(next.table_idx).is_ok_and(|table| table <= tables);
    if !within || next.checkpoint < 0 {
        return Err(SyncFault::Protocol(format!("a page which ends nowhere: {next:?}")).into());
    }
    let before = snapshot.cursor.as_ref();
    let table_before = before.map_or(0, |before| before.table_idx);
    if before == Some(next) || next.table_idx < table_before {
        return rows::endless(engine, "its cursor does not go on");
    }
    let is_skipped = |table: &str| engine.schema.is_left_out(table);
    let is_news = next.table_idx > table_before
        || answer.records.iter().any(|record| is_skipped(&record.table_name))
        || brings_news(engine, snapshot.mode, images)?;
    rows::count_stale(engine, snapshot, is_news)
}

/// Whether a row of the page is new.
fn brings_news(engine: &Engine, mode: SnapshotMode, images: &[ServerRow]) -> Result<bool> {
    for image in images {
        let row = RowKey { table: image.table, key: image.key.clone() };
        if !rows::has_row_of_snapshot(engine, mode, &row)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes a page to the tables, as a batch of the rebase.
fn straight(
    engine: &mut Engine,
    mut snapshot: SnapshotProgress,
    images: Vec<ServerRow>,
    mut meta: Vec<Fact>,
) -> Result<(SnapshotProgress, Applied)> {
    meta.push(fact::fact(fact::FIRST_SYNC, fact::PARTIAL));
    if snapshot.paged {
        meta.push(fact::forget(fact::SNAPSHOT));
        meta.push(filled());
        meta.push((fact::CHECKPOINT.to_owned(), snapshot.pull_cursor.clone()));
    } else {
        meta.push(snapshot.fact());
    }
    let mut batch = Batch { images, detect_conflicts: true, bulk: true, meta, ..Batch::default() };
    push::recognise(engine, &mut batch)?;
    // The count is for progress only: a crash may lose one page of it.
    let applied = engine.apply(batch)?;
    snapshot.rows += i64::try_from(applied.rows).unwrap_or(0);
    Ok((snapshot, applied))
}

/// Writes a page to the staging. What was accepted before the first page is in that page or was
/// deleted since; the pages do not say which.
fn staged(
    engine: &mut Engine,
    mut snapshot: SnapshotProgress,
    images: &[ServerRow],
    mut facts: Vec<Fact>,
    first: bool,
) -> Result<SnapshotProgress> {
    engine.write(Origin::Remote, |engine| {
        if first {
            staging::clear(Staging::of(engine))?;
            staging::begin(Staging::of(engine))?;
        }
        let rows = staging::stage(Staging::of(engine), &[], &[], images)?;
        snapshot.rows += i64::try_from(rows).unwrap_or(0);
        facts.push(snapshot.fact());
        fact::set(engine, &facts)
    })?;
    Ok(snapshot)
}

/// Writes a page of changes since the first page to the staging.
pub(crate) fn tail(
    engine: &mut Engine,
    mut snapshot: SnapshotProgress,
    request: &pull::PullParameters,
    answer: &PullResponse,
) -> Result<usize> {
    let (mut images, history) = pull::rows(engine, answer)?;
    images.extend(history.into_iter().map(|row| ServerRow {
        table: row.table,
        key: row.key,
        row: None,
    }));
    snapshot.pull_cursor = Some(answer.checkpoint.to_string());
    let mut facts = vec![snapshot.fact()];
    facts.extend(pull::buckets(engine, request, answer)?);
    rows::lay_tail(engine, &[], &images, &facts)
}

/// Merges the staging: differing rows become the base, pending mutations are replayed on top, and
/// conflicts are resolved.
///
/// A crash before the commit merges later; one after it leaves staging tables, which the next
/// snapshot drops.
pub(crate) fn merge(
    engine: &mut Engine,
    snapshot: SnapshotProgress,
    search: staging::Search,
) -> Result<Applied> {
    // A row that left the staging may be in the log again: the push's response decides.
    let (images, gone): (Vec<ServerRow>, Vec<ServerRow>) =
        search.images(engine)?.into_iter().partition(|image| image.row.is_some());
    let gone = gone.into_iter().map(|image| RowKey { table: image.table, key: image.key });
    // Only a row of the base was on the server: one that this device creates may still arrive there.
    let (view, mut history) = (engine.queue_view(), Vec::new());
    for row in gone {
        if view.base_row(&row)?.is_some() {
            history.push(row);
        }
    }
    drop(view);
    let meta = vec![
        fact::forget(fact::SNAPSHOT),
        filled(),
        fact::fact(fact::FIRST_SYNC, fact::DONE),
        fact::fact(fact::LAST_PULL, engine.host.now_micros().to_string()),
        (fact::CHECKPOINT.to_owned(), snapshot.pull_cursor),
    ];
    let mut batch = Batch { images, history, detect_conflicts: true, meta, ..Batch::default() };
    push::recognise(engine, &mut batch)?;
    let applied = engine.apply(batch)?;
    engine.write(Origin::Remote, |engine| staging::clear(Staging::of(engine)))?;
    Ok(applied)
}

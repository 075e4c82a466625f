//! Snapshot: every row in pages. Direct into tables without rows of the server, otherwise staged.
//!
//! Each page, its key range and the next position are one transaction, so that a crash costs at
//! most one page. The pull cursor is that of the first page; the tail has the changes since then.

use rejoin_protocol::wire::snapshot::{
    KeyRange, PageEnd, SnapshotAnswer, SnapshotAsk, SnapshotRequest, SnapshotResponse,
    is_page_address,
};
use rejoin_protocol::wire::{RowSet, path};
use serde_json::to_vec;

use super::answer::NextStep;
use super::fact::{self, Fact, RefetchReason, SnapshotMode, SnapshotProgress};
use super::{cell, pull, register};
use crate::death::{self, Failpoint};
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::rebase::Batch;
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::store::filled;
use crate::engine::staging::{self, Staging};
use crate::error::{Error, Result, SyncFault};

/// Consecutive pages without new rows: on a plain server, rows that were pushed meanwhile.
const STALE_MOST: u32 = 1_000;

/// Maximum failures of one page.
const FAILURES_MOST: u32 = 3;

/// The running snapshot; starts one if needed.
pub(crate) fn present(engine: &mut Engine) -> Result<Option<SnapshotProgress>> {
    if let Some(snapshot) = SnapshotProgress::load(engine)? {
        return Ok(Some(snapshot));
    }
    let why = fact::due(engine)?;
    if why.is_none() && engine.meta(fact::CURSOR)?.is_some() {
        return Ok(None);
    }
    // Before the first page, the base has only responses to pushes, and every page clears its
    // range.
    let first = engine.meta(fact::FIRST_SYNC)?.is_none();
    let mode = if first && why != Some(RefetchReason::Schema) {
        SnapshotMode::Straight
    } else {
        SnapshotMode::Staged
    };
    begin(engine, mode, why).map(Some)
}

/// Starts a snapshot and drops the staging.
pub(crate) fn begin(
    engine: &mut Engine,
    mode: SnapshotMode,
    why: Option<RefetchReason>,
) -> Result<SnapshotProgress> {
    let snapshot = SnapshotProgress::begin(mode, why);
    let facts = vec![snapshot.fact(), fact::forget(fact::SNAPSHOT_DUE)];
    engine.write(Origin::Remote, |engine| {
        staging::clear(Staging::of(engine))?;
        if mode == SnapshotMode::Staged {
            staging::begin(Staging::of(engine))?;
        }
        fact::set(engine, &facts)
    })?;
    Ok(snapshot)
}

/// Requests the next page: its path, and the body of a POST. `shared`: whether the response may name a shared page.
pub(crate) fn request(
    engine: &mut Engine,
    number: i64,
    snapshot: &SnapshotProgress,
    (page, shared): (u32, bool),
    witness: String,
) -> Result<(String, Option<Vec<u8>>)> {
    if let Some(address) = snapshot.next_address() {
        return Ok((format!("{}{address}", path::PAGES), None));
    }
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
        rejoin: Some(SnapshotAsk {
            request: number,
            epoch: snapshot.epoch.clone(),
            witness,
            shared,
            page: snapshot.shared.as_ref().map_or_else(String::new, |at| at.address.clone()),
        }),
    };
    let body = to_vec(&request).map_err(|error| Error::Internal(error.to_string()))?;
    Ok((path::SNAPSHOT.to_owned(), Some(body)))
}

/// The number in the response to this request. A shared page is the same for every request.
pub(crate) fn echoed(snapshot: &SnapshotProgress, number: i64) -> i64 {
    if snapshot.next_address().is_some() { 0 } else { number }
}

/// The snapshot after a page that is not applied yet, and the log tip that the page names, if any.
/// `None` if no page follows, or if this is not the end of the page of this request.
pub(crate) fn ahead(
    before: &SnapshotProgress,
    number: i64,
    end: &[u8],
) -> Option<(SnapshotProgress, Option<String>)> {
    let PageEnd { cursor, has_more, rejoin: end } = serde_json::from_slice(end).ok()?;
    let is_of_request = end.request == echoed(before, number) && !end.restart;
    let is_of_request = is_of_request && is_address(&end.page);
    let mut after = SnapshotProgress { epoch: end.epoch, ..before.clone() };
    after.pass_page(cursor, has_more, end.page);
    (is_of_request && after.cursor.is_some())
        .then(|| (after, Some(end.witness).filter(|witness| !witness.is_empty())))
}

/// Whether a response may have this as the address of the next page; it is empty if there is none.
fn is_address(page: &str) -> bool {
    page.is_empty() || is_page_address(page)
}

/// The page can no longer be served: restarts, staged if any page was written.
pub(crate) fn restart(engine: &mut Engine) -> Result<()> {
    let why = SnapshotProgress::load(engine)?
        .and_then(|snapshot| snapshot.why)
        .unwrap_or(RefetchReason::Retention);
    fact::write(engine, &fact::snapshot_due(why))
}

/// The error for a server without an end; the next attempt restarts.
pub(crate) fn endless<T>(engine: &mut Engine, why: &str) -> Result<T> {
    restart(engine)?;
    Err(Error::Sync(SyncFault::Protocol(format!("a snapshot without an end: {why}"))))
}

/// Whether this response to the request of a shared page leaves the page to the server itself, which also says whether
/// schema or epoch have changed. Other refusals concern every request.
pub(crate) fn refuses_shared(taken: &Result<NextStep>) -> bool {
    match taken {
        Ok(step) => *step != NextStep::Onward,
        Err(Error::Sync(SyncFault::Server { status, .. })) => !matches!(status, 429 | 503),
        Err(error) => matches!(error, Error::Sync(SyncFault::Protocol(_) | SyncFault::Offline(_))),
    }
}

/// Counts a shared page that was lost or refused. Returns whether the snapshot is still running.
pub(crate) fn shared_failed(engine: &mut Engine) -> Result<bool> {
    let Some(mut snapshot) = SnapshotProgress::load(engine)? else { return Ok(false) };
    snapshot.shared_failures = snapshot.shared_failures.saturating_add(1);
    fact::write(engine, &[snapshot.fact()])?;
    Ok(true)
}

/// Counts a page that the server refuses or answers with something else. Ignores errors of the
/// file: the response's error is more useful.
pub(crate) fn failed_by(engine: &mut Engine, error: &Error) {
    if matches!(
        error,
        Error::Sync(SyncFault::Protocol(_) | SyncFault::Server { status: 400 | 404 | 500, .. })
    ) {
        let _ = failed(engine);
    }
}

/// Counts a failed page: after some failures its cursor is dropped and the snapshot restarts.
fn failed(engine: &mut Engine) -> Result<()> {
    let Some(mut snapshot) = SnapshotProgress::load(engine)? else { return Ok(()) };
    snapshot.failures += 1;
    if snapshot.failures < FAILURES_MOST || snapshot.cursor.is_none() {
        return fact::write(engine, &[snapshot.fact()]);
    }
    restart(engine)
}

/// Counts pages without new rows, and cancels a snapshot that consists of them.
pub(crate) fn count_stale(
    engine: &mut Engine,
    snapshot: &mut SnapshotProgress,
    is_news: bool,
) -> Result<()> {
    snapshot.stale = if is_news { 0 } else { snapshot.stale + 1 };
    if snapshot.stale < STALE_MOST {
        return Ok(());
    }
    endless(engine, &format!("{STALE_MOST} pages in a row brought nothing new"))
}

/// Whether a row exists where this snapshot writes its rows.
pub(crate) fn has_row_of_snapshot(
    engine: &Engine,
    mode: SnapshotMode,
    row: &RowKey,
) -> Result<bool> {
    match mode {
        SnapshotMode::Staged => staging::holds(Staging::of(engine), row),
        SnapshotMode::Straight => Ok(engine.base_row(row)?.is_some()),
    }
}

/// Whether a row of the page is new.
fn brings_news(engine: &Engine, mode: SnapshotMode, sets: &[RowSet]) -> Result<bool> {
    for set in sets {
        if cell::any_key(&engine.schema, set, |row| Ok(!has_row_of_snapshot(engine, mode, row)?))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes a page; returns the updated snapshot and the number of rows.
pub(crate) fn page(
    engine: &mut Engine,
    mut snapshot: SnapshotProgress,
    answer: SnapshotResponse,
    mut ours: SnapshotAnswer,
) -> Result<SnapshotProgress> {
    let sent = ours.sets.len();
    ours.sets.retain(|set| !engine.schema.is_left_out(&set.table_name));
    ours.ranges.retain(|range| !engine.schema.is_left_out(&range.table_name));
    let has_skipped = ours.sets.len() < sent;
    if !is_address(&ours.page) {
        let start: String = ours.page.chars().take(40).collect();
        let why = format!("{start:?} is not the address of a page");
        return Err(SyncFault::Protocol(why).into());
    }
    if snapshot.next_address().is_none() {
        snapshot.total = ours.total;
    }
    if snapshot.pull_cursor.is_none() {
        snapshot.pull_cursor = Some(ours.pull_cursor);
    }
    snapshot.failures = 0;
    snapshot.epoch = ours.epoch;
    // The request's log tip has been received by the server.
    let is_new = !ours.witness.is_empty();
    let witness = is_new.then(|| fact::fact(fact::WITNESS, ours.witness));
    let before = (snapshot.cursor.clone(), snapshot.shared.clone());
    snapshot.pass_page(answer.cursor, answer.has_more, ours.page);
    if !snapshot.paged {
        let Some(next) = &snapshot.cursor else {
            return Err(SyncFault::Protocol(
                "a page that is not the last, without a cursor".to_owned(),
            )
            .into());
        };
        if before.0.as_ref() == Some(next) && before.1 == snapshot.shared {
            return endless(engine, "its cursor does not go on");
        }
        let before = before.0.as_ref();
        let is_news = has_skipped
            || before.is_none_or(|before| before.table_idx < next.table_idx)
            || brings_news(engine, snapshot.mode, &ours.sets)?;
        count_stale(engine, &mut snapshot, is_news)?;
    }
    match snapshot.mode {
        SnapshotMode::Straight => straight(engine, snapshot, ours.sets, ours.ranges, witness),
        SnapshotMode::Staged => staged(engine, snapshot, &ours.sets, &ours.ranges, witness),
    }
}

/// Writes a page to the tables, as a batch of the rebase.
fn straight(
    engine: &mut Engine,
    mut snapshot: SnapshotProgress,
    sets: Vec<RowSet>,
    ranges: Vec<KeyRange>,
    witness: Option<Fact>,
) -> Result<SnapshotProgress> {
    let mut meta = vec![fact::fact(fact::FIRST_SYNC, fact::PARTIAL)];
    meta.extend(witness);
    if snapshot.paged {
        meta.push(fact::forget(fact::SNAPSHOT));
        meta.push(filled());
        meta.push(fact::forget(fact::RECALL));
        meta.push((fact::CURSOR.to_owned(), snapshot.pull_cursor.clone()));
    } else {
        meta.push(snapshot.fact());
    }
    let batch =
        Batch { sets, ranges, detect_conflicts: true, bulk: true, meta, ..Batch::default() };
    // The count is for progress only: a crash may lose one page of it.
    snapshot.rows += i64::try_from(engine.apply(batch)?.rows).unwrap_or(0);
    Ok(snapshot)
}

/// Writes a page to the staging.
fn staged(
    engine: &mut Engine,
    mut snapshot: SnapshotProgress,
    sets: &[RowSet],
    ranges: &[KeyRange],
    witness: Option<Fact>,
) -> Result<SnapshotProgress> {
    engine.write(Origin::Remote, |engine| {
        let rows = staging::stage(Staging::of(engine), ranges, sets, &[])?;
        snapshot.rows += i64::try_from(rows).unwrap_or(0);
        let facts: Vec<Fact> = [snapshot.fact()].into_iter().chain(witness).collect();
        fact::set(engine, &facts)
    })?;
    Ok(snapshot)
}

/// Writes a page of the tail to the staging.
pub(crate) fn tail(
    engine: &mut Engine,
    mut snapshot: SnapshotProgress,
    mut answer: rejoin_protocol::wire::pull::PullResponse,
    requested: &[rejoin_protocol::wire::RowName],
) -> Result<usize> {
    pull::skip_left_out(&engine.schema, &mut answer);
    let (sets, images) = pull::rows(engine, &mut answer)?;
    let Some(ours) = answer.rejoin else { return Ok(0) };
    let mut facts: Vec<Fact> = pull::rechecked(engine, requested)?.into_iter().collect();
    snapshot.pull_cursor = Some(ours.cursor);
    snapshot.held = Some(fact::held_text(&ours.held));
    facts.push(snapshot.fact());
    lay_tail(engine, &sets, &images, &facts)
}

/// Writes the changes since the first page to the staging, with their position in one transaction.
pub(crate) fn lay_tail(
    engine: &mut Engine,
    sets: &[RowSet],
    images: &[ServerRow],
    facts: &[Fact],
) -> Result<usize> {
    engine.write(Origin::Remote, |engine| {
        let rows = staging::stage(Staging::of(engine), &[], sets, images)?;
        fact::set(engine, facts)?;
        Ok(rows)
    })
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
) -> Result<usize> {
    check_emptied(engine)?;
    let images = search.images(engine)?;
    let meta = vec![
        fact::forget(fact::SNAPSHOT),
        fact::forget(fact::OTHER_SERVER),
        filled(),
        fact::forget(fact::WITNESS),
        fact::forget(fact::RECALL),
        fact::fact(fact::FIRST_SYNC, fact::DONE),
        (fact::CURSOR.to_owned(), snapshot.pull_cursor),
        (fact::HELD.to_owned(), snapshot.held),
    ];
    death::pass(Failpoint::MidMerge);
    let applied =
        engine.apply(Batch { images, detect_conflicts: true, meta, ..Batch::default() })?;
    death::pass(Failpoint::MidMerge);
    engine.write(Origin::Remote, |engine| staging::clear(Staging::of(engine)))?;
    Ok(applied.rows)
}

/// Another server under the URL must not empty a table: it may have lost its database. The app
/// decides, by a reset.
fn check_emptied(engine: &Engine) -> Result<()> {
    if engine.meta(fact::OTHER_SERVER)?.is_none() {
        return Ok(());
    }
    staging::emptied(engine)?.map_or(Ok(()), |table| Err(staging::would_empty(&table)))
}

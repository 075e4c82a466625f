//! Snapshots: the base at the horizon and every later item, as visible to one viewer.
//!
//! A snapshot does not contain the current rows, because a late entry could not be inserted below
//! them.

use super::super::ids::{AuthorId, EntryId};
use super::super::message::bounds::bytes_of_columns;
use super::super::message::snapshot::{
    SnapshotAnswer, SnapshotNext, SnapshotPage, SnapshotPlace, SnapshotPosition, SnapshotRequest,
};
use super::super::message::{Cursor, EpochStamp, LogSnapshot};
use super::super::row::{LogRow, RowName};
use super::super::store::StoreError;
use super::feed::Viewer;
use super::store::LogStore;
use super::{Server, ServerError};
use rejoin_protocol::limits::{LOG_PAGE_BYTES, LOG_SNAPSHOT_PAGE};

/// Number of base rows read at a time.
const STRIDE: usize = 256;

/// Everything an author may read now.
pub fn snapshot<S: LogStore>(
    server: &Server<S>,
    author: AuthorId,
) -> Result<LogSnapshot, ServerError> {
    let (_, membership) = server.person(author)?;
    let stamp = server.stamp(&membership);
    let written = membership.write_set();
    let viewer = server.viewer(author, membership.buckets);
    let mut items = Vec::new();
    let ids: Vec<EntryId> = server.entries()?.into_iter().map(|entry| entry.id).collect();
    for linked in server.store.with_passages(&ids)? {
        items.extend(server.seen(&linked, &viewer)?);
    }
    Ok(LogSnapshot {
        stamp,
        horizon: server.facts.horizon,
        base: base_of(server, None, usize::MAX, &viewer)?,
        items,
        cursor: Cursor(server.facts.head),
        buckets: written,
    })
}

/// The next page of a snapshot. Read-only, and without state between pages: a position is only
/// compared with the present log.
pub fn snapshot_page<S: LogStore>(
    server: &Server<S>,
    author: AuthorId,
    request: &SnapshotRequest,
) -> Result<SnapshotAnswer, ServerError> {
    let (_, membership) = server.person(author)?;
    let (stamp, horizon) = (server.stamp(&membership), server.facts.horizon);
    let written = membership.write_set();
    let viewer = server.viewer(author, membership.buckets);
    let after = request.after.as_ref();
    if after.is_some_and(|after| is_outdated(after, stamp, server)) {
        return Ok(SnapshotAnswer::Restart);
    }
    let limit = request.limit.clamp(1, LOG_SNAPSHOT_PAGE);
    let (base, cursor) = match after.map(|after| &after.at) {
        Some(SnapshotPlace::Cursor(cursor)) => (Vec::new(), *cursor),
        Some(SnapshotPlace::Row(row)) => {
            (base_of(server, Some(row), limit, &viewer)?, Cursor::default())
        }
        None => (base_of(server, None, limit, &viewer)?, Cursor::default()),
    };
    let mut page = SnapshotPage {
        stamp,
        after: request.after.clone(),
        horizon,
        items: Vec::new(),
        next: SnapshotNext::Cursor(cursor),
        base,
        buckets: written,
    };
    let position = |at| SnapshotNext::Next(SnapshotPosition { stamp, horizon, at });
    if let Some((row, _)) = page.base.last() {
        // Perhaps the last row: the next page finds none, and has items.
        page.next = position(SnapshotPlace::Row(row.clone()));
        return Ok(SnapshotAnswer::Page(Box::new(page)));
    }
    let (items, cursor, more) = server.after(cursor, limit, &viewer)?;
    page.items = items;
    page.next =
        if more { position(SnapshotPlace::Cursor(cursor)) } else { SnapshotNext::Cursor(cursor) };
    Ok(SnapshotAnswer::Page(Box::new(page)))
}

/// Whether what a position refers to has changed, or never was: it may be forged, or from another
/// log.
fn is_outdated<S: LogStore>(
    after: &SnapshotPosition,
    stamp: EpochStamp,
    server: &Server<S>,
) -> bool {
    let above = matches!(after.at, SnapshotPlace::Cursor(cursor) if cursor.0 > server.facts.head);
    after.stamp != stamp || !server.has_base_of(&after.horizon) || above
}

/// Rows at the horizon that the viewer may read, after this row: at most `limit`, and as many as a
/// page's bytes. The last of them is a position that names no hidden row.
fn base_of<S: LogStore>(
    server: &Server<S>,
    after: Option<&RowName>,
    limit: usize,
    viewer: &Viewer,
) -> Result<Vec<(RowName, LogRow)>, StoreError> {
    let (mut shown, mut bytes, mut last) = (Vec::new(), 0, after.cloned());
    loop {
        let rows = server.store.base_after(last.as_ref(), STRIDE)?;
        let Some((name, _)) = rows.last() else { return Ok(shown) };
        last = Some(name.clone());
        for (row, image) in rows {
            if !server.shows(&row, &image, viewer) {
                continue;
            }
            bytes += bytes_of_columns(image.columns());
            shown.push((row, image));
            if shown.len() == limit || bytes >= LOG_PAGE_BYTES && limit != usize::MAX {
                return Ok(shown);
            }
        }
    }
}

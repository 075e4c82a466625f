//! Snapshots: the base at the horizon and every later item, as visible to one viewer.
//!
//! A snapshot does not contain the current rows, because a late entry could not be inserted below
//! them.

use super::super::ids::AuthorId;
use super::super::message::{
    BaseRow, Cursor, LogSnapshot, SnapshotAfter, SnapshotAnswer, SnapshotPage, SnapshotPlace,
    SnapshotRequest,
};
use super::super::row::{LogRow, RowName};
use super::super::store::StoreError;
use super::feed::Viewer;
use super::store::LogStore;
use super::{Server, ServerError};

/// Everything an author may read now.
pub fn snapshot<S: LogStore>(
    server: &Server<S>,
    author: AuthorId,
) -> Result<LogSnapshot, ServerError> {
    let (_, membership) = server.person(author)?;
    let stamp = server.stamp(&membership);
    let viewer = server.viewer(author, membership.buckets);
    let mut items = Vec::new();
    for entry in server.entries()? {
        items.extend(server.seen(&entry, &viewer)?);
    }
    Ok(LogSnapshot {
        stamp,
        horizon: server.facts.horizon,
        base: base_of(server, &viewer)?,
        items,
        cursor: Cursor(server.facts.head),
        buckets: viewer.buckets,
    })
}

fn base_of<S: LogStore>(
    server: &Server<S>,
    viewer: &Viewer,
) -> Result<Vec<(RowName, LogRow)>, StoreError> {
    let rows = server.store.base_rows()?;
    Ok(rows.into_iter().filter(|(row, image)| server.shows(row, image, viewer)).collect())
}

/// Number of base rows read at a time.
const STRIDE: usize = 256;

/// A page of everything that an author may read: first the rows at the horizon, then the later
/// items as a feed from its beginning.
///
/// The pages together are the snapshot as of the last page: an item that moves meanwhile comes
/// again at its new position.
pub fn page<S: LogStore>(
    server: &Server<S>,
    author: AuthorId,
    request: &SnapshotRequest,
) -> Result<SnapshotAnswer, ServerError> {
    let (_, membership) = server.person(author)?;
    let (stamp, horizon) = (server.stamp(&membership), server.facts.horizon);
    let viewer = server.viewer(author, membership.buckets);
    let limit = request.limit.max(1);
    let after = match &request.from {
        Some(place) if place.stamp != stamp || place.horizon != horizon => {
            return Ok(SnapshotAnswer::Restart);
        }
        from => from.as_ref().map(|place| &place.after),
    };
    let mut page = SnapshotPage {
        stamp,
        horizon,
        base: Vec::new(),
        items: Vec::new(),
        next: None,
        cursor: None,
        buckets: viewer.buckets.clone(),
    };
    let position = match after {
        Some(SnapshotAfter::Items(position)) => *position,
        Some(SnapshotAfter::Row(row)) => base_page(server, &viewer, Some(row), limit, &mut page)?,
        None => base_page(server, &viewer, None, limit, &mut page)?,
    };
    let left = limit.saturating_sub(page.base.len());
    if page.next.is_none() && left > 0 {
        let (items, next, more) = server.after(position, left, &viewer)?;
        page.items = items;
        if more {
            page.next = Some(SnapshotPlace { stamp, horizon, after: SnapshotAfter::Items(next) });
        } else {
            page.cursor = Some(next);
        }
    }
    Ok(SnapshotAnswer::Page(page))
}

/// Adds visible base rows after this one, at most `limit`; returns where the items begin.
fn base_page<S: LogStore>(
    server: &Server<S>,
    viewer: &Viewer,
    after: Option<&RowName>,
    limit: usize,
    page: &mut SnapshotPage,
) -> Result<Cursor, StoreError> {
    let mut last = after.cloned();
    loop {
        let rows = server.store.base_after(last.as_ref(), STRIDE)?;
        let Some((name, _)) = rows.last() else { return Ok(Cursor(0)) };
        last = Some(name.clone());
        for (row, columns) in rows {
            if !server.shows(&row, &columns, viewer) {
                continue;
            }
            page.base.push(BaseRow { row: row.clone(), columns });
            if page.base.len() == limit {
                let (stamp, horizon) = (page.stamp, page.horizon);
                page.next = Some(SnapshotPlace { stamp, horizon, after: SnapshotAfter::Row(row) });
                return Ok(Cursor(0));
            }
        }
    }
}

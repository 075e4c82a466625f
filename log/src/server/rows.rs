//! Named rows for a device that repairs them: their base, and every item that touches them.

use std::collections::BTreeSet;

use super::super::ids::{AuthorId, EntryId};
use super::super::message::bounds::bytes_of_columns;
use super::super::message::rows::{NamedRows, RowsAnswer, RowsRequest};
use super::super::row::RowName;
use super::feed::{STRIDE, bytes_of};
use super::store::LogStore;
use super::{Server, ServerError};
use rejoin_protocol::limits::{LOG_ROWS_BYTES, LOG_ROWS_ENTRIES};

/// The requested rows, as far as the author's user may read them. Read-only.
///
/// The authority takes a snapshot instead: it runs the entries of all authors.
pub fn named_rows<S: LogStore>(
    server: &Server<S>,
    author: AuthorId,
    request: &RowsRequest,
) -> Result<RowsAnswer, ServerError> {
    let (_, membership) = server.person(author)?;
    let is_current = request.stamp == server.stamp(&membership);
    let viewer = server.viewer(author, membership.buckets);
    if !is_current || viewer.authority || !server.has_base_of(&request.horizon) {
        return Ok(RowsAnswer::Resync);
    }
    let requested: BTreeSet<&RowName> = request.rows.iter().collect();
    let (mut named, mut bytes) = (NamedRows::default(), 0);
    let rows: Vec<&RowName> = requested.iter().copied().collect();
    let mut visible = BTreeSet::new();
    for rows in rows.chunks(STRIDE) {
        for (row, image) in server.store.bases(rows)? {
            if server.shows(&row, &image, &viewer) {
                bytes += bytes_of_columns(image.columns());
                visible.extend(requested.get(&row).copied());
                named.base.push((row, image));
            }
        }
        if bytes > LOG_ROWS_BYTES {
            return Ok(RowsAnswer::Resync);
        }
    }
    for row in rows {
        if !visible.contains(row)
            && let Some(image) = server.row(row)?
            && server.shows(row, &image, &viewer)
        {
            visible.insert(row);
        }
    }
    // The history of a row that the user may not read does not count: it must not show that it exists.
    let visible: Vec<&RowName> = visible.into_iter().collect();
    let Some(keys) = server.store.links_of(&visible, LOG_ROWS_ENTRIES)? else {
        return Ok(RowsAnswer::Resync);
    };
    let ids: Vec<EntryId> = keys.into_iter().map(|key| key.id).collect();
    for ids in ids.chunks(STRIDE) {
        for linked in server.store.with_passages(ids)? {
            let Some(seen) = server.seen(&linked, &viewer)? else { continue };
            // One that touches the rows only where the user may not read must not show that it does.
            let is_shown =
                seen.own.is_some() || seen.effects.rows().iter().any(|row| requested.contains(row));
            if is_shown {
                bytes += bytes_of(&seen);
                named.items.push(seen);
            }
        }
        if bytes > LOG_ROWS_BYTES {
            return Ok(RowsAnswer::Resync);
        }
    }
    Ok(RowsAnswer::Rows(named))
}

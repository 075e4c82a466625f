//! Snapshots: the base at the horizon and every later item, as visible to one viewer.
//!
//! A snapshot does not contain the current rows, because a late entry could not be inserted below
//! them.

use super::super::ids::AuthorId;
use super::super::message::{Cursor, LogSnapshot};
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

//! Named rows for a device that repairs them: their base, and every item that touches them.

use std::collections::BTreeSet;

use super::super::ids::AuthorId;
use super::super::key::Key;
use super::super::message::bounds::{bytes_of, bytes_of_columns};
use super::super::message::rows::{NamedRows, RowsAnswer, RowsRequest};
use super::store::LogStore;
use super::{Server, ServerError};
use rejoin_protocol::limits::LOG_ROWS_BYTES;

/// The requested rows, as far as the author's user may read them. Read-only.
pub fn named_rows<S: LogStore>(
    server: &Server<S>,
    author: AuthorId,
    request: &RowsRequest,
) -> Result<RowsAnswer, ServerError> {
    let (_, membership) = server.person(author)?;
    let is_current = request.stamp == server.stamp(&membership);
    if !is_current || !server.has_base_of(&request.horizon) {
        return Ok(RowsAnswer::Resync);
    }
    let viewer = server.viewer(author, membership.buckets);
    let hints: Vec<_> = request.rows.iter().map(|row| (row, &Key::FIRST)).collect();
    server.store.expect(&hints)?;
    let (mut named, mut keys, mut bytes) = (NamedRows::default(), BTreeSet::new(), 0);
    for row in &request.rows {
        if let Some(image) = server.store.base(row)?
            && server.shows(row, &image, &viewer)
        {
            bytes += bytes_of_columns(image.columns());
            named.base.push((row.clone(), image));
        }
        let mut last = Key::FIRST;
        while let Some((key, _)) = server.store.link_after(row, &last)? {
            keys.insert(key);
            last = key;
        }
    }
    for key in keys {
        let Some(entry) = server.store.entry(key.id)? else { continue };
        let Some(seen) = server.seen(&entry, &viewer)? else { continue };
        let whole = seen.whole.as_ref();
        bytes += bytes_of(None, &seen.effects)
            + whole.map_or(0, |whole| bytes_of(whole.intent.as_ref(), &whole.content.effects));
        named.items.push(seen);
        if bytes > LOG_ROWS_BYTES {
            return Ok(RowsAnswer::Resync);
        }
    }
    Ok(RowsAnswer::Rows(named))
}

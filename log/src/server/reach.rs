//! Whether an entry reaches rows that its author may not write.
//!
//! A key orders an entry by its author's clock, so an entry can be placed before others that the
//! server already has. Its write set permits its own effect, but the rows after it may be those of
//! others. Rights are those at publication: the rows that the entry changes or removes, at its key and
//! at every later one, must be such that its author may write them. No key is taken that lies outside
//! of the author's buckets.

use super::super::effect::{Effect, Effects};
use super::super::key::Key;
use super::super::row::{LogRow, RowName};
use super::super::store::StoreError;
use super::super::write_set::WriteSet;
use super::Server;
use super::store::{Link, LogStore};
use rejoin_protocol::mutant::{self, Mutant};

/// Whether these effects at a key, in place of `former` of the same entry, change or remove a row
/// where this write set does not permit it.
pub(super) fn overreaches<S: LogStore>(
    server: &Server<S>,
    key: &Key,
    (former, effects): (&Effects, &Effects),
    write_set: &WriteSet,
) -> Result<bool, StoreError> {
    let rows = &former.rows() | &effects.rows();
    server.store.expect(&rows.iter().map(|row| (row, key)).collect::<Vec<_>>())?;
    for row in &rows {
        let change = (former.get(row).is_some(), effects.get(row));
        if overreaches_on(server, row, key, change, write_set)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same on one row.
pub(super) fn overreaches_on<S: LogStore>(
    server: &Server<S>,
    row: &RowName,
    key: &Key,
    (is_linked, effect): (bool, Option<&Effect>),
    write_set: &WriteSet,
) -> Result<bool, StoreError> {
    let link = if is_linked { server.store.link(row, key)? } else { None };
    let is_same = |link: &Link| Some(&link.effect) == effect && link.write_set == *write_set;
    if link.as_ref().is_some_and(is_same) || mutant::on(Mutant::PastUnguarded) {
        return Ok(false);
    }
    let permits = |before: Option<&LogRow>, after: Option<&LogRow>| {
        write_set.permits(row, before, after, &*server.placement)
    };
    if let Some(Effect::Insert(image)) = effect
        && !permits(last_image(server, row, key)?.as_ref(), Some(image))
    {
        return Ok(true);
    }
    let before = server.row_before(row, key)?;
    let mut old = link.map_or_else(|| before.clone(), |link| link.after);
    let mut new = match effect {
        Some(effect) => server.applied(row, effect, before.as_ref(), write_set).after,
        None => before,
    };
    let mut at = *key;
    while old != new {
        // A row outside of the write set appears by the effect of another entry, whose author may
        // write there: a move of what was missing.
        let appears = permits(old.as_ref(), None) && !permits(None, new.as_ref());
        if !appears && !permits(old.as_ref(), new.as_ref()) {
            return Ok(true);
        }
        let Some((next, link)) = server.store.link_after(row, &at)? else { break };
        new = server.applied(row, &link.effect, new.as_ref(), &link.write_set).after;
        (old, at) = (link.after, next);
    }
    Ok(false)
}

/// The row below a key; if it was deleted above the horizon, as it was before: until the horizon
/// has passed the deletion, the key stays in the buckets of the row.
fn last_image<S: LogStore>(
    server: &Server<S>,
    row: &RowName,
    key: &Key,
) -> Result<Option<LogRow>, StoreError> {
    let Some(link) = server.store.link_before(row, key)? else { return server.store.base(row) };
    if link.after.is_some() {
        return Ok(link.after);
    }
    let keys = server.store.links_of(&[row], usize::MAX)?.unwrap_or_default();
    for earlier in keys.iter().rev().filter(|earlier| *earlier < key) {
        let image = server.store.link(row, earlier)?.and_then(|link| link.after);
        if image.is_some() {
            return Ok(image);
        }
    }
    server.store.base(row)
}

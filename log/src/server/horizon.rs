//! The horizon: entries below it are folded into the base, and final.

use super::super::key::Key;
use super::super::store::StoreError;
use super::Server;
use super::store::{AcceptedEntry, LogStore};

/// Raises the horizon to `to`, or to the key that the retention allows: it stays below every
/// entry whose item moved within the retention. It never decreases. Folds at most `most` entries,
/// and returns whether there may be more.
pub fn raise_horizon<S: LogStore>(
    server: &mut Server<S>,
    to: Key,
    now: u64,
    most: usize,
) -> Result<bool, StoreError> {
    let ids = server.store.by_key(&server.facts.horizon, most)?;
    let is_last = ids.len() < most;
    let mut reached = server.facts.horizon;
    for id in ids {
        let Some(entry) = server.store.entry(id)? else { continue };
        if entry.key > to {
            return set_horizon(server, to.max(reached), false);
        }
        if entry.moved_at.saturating_add(server.limits.retention) > now {
            return set_horizon(server, reached, false);
        }
        fold_away(server, &entry)?;
        reached = entry.key;
    }
    set_horizon(server, if is_last { to.max(reached) } else { reached }, !is_last)
}

fn set_horizon<S: LogStore>(
    server: &mut Server<S>,
    horizon: Key,
    more: bool,
) -> Result<bool, StoreError> {
    server.facts.horizon = horizon;
    server.store.set_facts(&server.facts)?;
    Ok(more)
}

/// Folds the first entry above the horizon into the base. Its id is kept while its author is
/// registered.
fn fold_away<S: LogStore>(server: &mut Server<S>, entry: &AcceptedEntry) -> Result<(), StoreError> {
    for (row, _) in entry.content.effects.iter() {
        if let Some(link) = server.store.link(row, &entry.key)? {
            server.store.put_base(row, link.after.as_ref())?;
            server.store.put_link(row, &entry.key, None)?;
        }
    }
    let author = entry.key.author;
    if server.store.author(author)?.is_some() {
        server.store.put_final(entry.id, author)?;
    }
    server.facts.folded = Some(entry.key);
    server.facts.floor = server.facts.floor.max(entry.position);
    server.store.remove_entry(entry.id)
}

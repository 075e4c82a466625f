//! Import of another log's entries: they keep their time, and no author may change them.

use super::super::effect::Effects;
use super::super::entry::{Content, Revision};
use super::super::ids::{AuthorId, Buckets, Name, UserId};
use super::super::key::Key;
use super::super::row::RowName;
use super::super::store::StoreError;
use super::super::write_set::WriteSet;
use super::Server;
use super::reach::overreaches_on;
use super::store::{AcceptedEntry, LogStore};

/// An entry of another log.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedEntry {
    /// Its key.
    pub key: Key,
    /// Its effects.
    pub effects: Effects,
    /// The buckets that its author wrote: effects outside of them are void.
    pub write_set: WriteSet,
}

/// The user of the authors of imported entries.
const NO_USER: &str = "";

/// What became of entries; the others were in the log already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placed {
    /// Entries that are new in the log.
    pub new: usize,
    /// Entries at or below the horizon, which are left out: nothing can be placed there.
    pub old: usize,
}

/// Adds entries that are not in the log. They belong to the authority and have no intent, so that
/// neither an author nor the authority runs them again.
pub fn import<S: LogStore>(
    server: &mut Server<S>,
    entries: &[ImportedEntry],
    now: u64,
) -> Result<Placed, StoreError> {
    let ids: Vec<_> = entries.iter().map(|entry| entry.key.id).collect();
    let mut stored = server.store.stored_among(&ids)?;
    let mut placed = Placed::default();
    for ImportedEntry { key, effects, write_set } in entries {
        if !stored.insert(key.id) || server.store.final_author(key.id)?.is_some() {
            continue;
        }
        if *key <= server.facts.horizon {
            placed.old += 1;
            continue;
        }
        if !is_known(server, key.author)? {
            // The ids of a registered author's entries are kept when they are folded into the base.
            server.register(key.author, UserId(Name::from(NO_USER)))?;
        }
        let effects = harmless(server, key, effects, write_set)?;
        let write_set = write_set.clone();
        let entry = AcceptedEntry {
            id: key.id,
            key: *key,
            time: key.millis,
            intent: None,
            content: Content { revision: Revision::default(), effects, write_set },
            version: 1,
            by_authority: true,
            position: 0,
            moved_at: now,
            touched: Buckets::default(),
        };
        server.facts.counter = server.facts.counter.max(key.counter);
        server.place(&entry, &Effects::default(), now)?;
        placed.new += 1;
    }
    server.store.set_facts(&server.facts)?;
    Ok(placed)
}

/// The effects without those that would change rows that devices wrote, where the author of the entry
/// did not write.
fn harmless<S: LogStore>(
    server: &Server<S>,
    key: &Key,
    effects: &Effects,
    write_set: &WriteSet,
) -> Result<Effects, StoreError> {
    let mut kept = Vec::new();
    for (row, effect) in effects.iter() {
        let harms = overreaches_on(server, row, key, (false, Some(effect)), write_set)?
            && writers(server, row)? == Writers::Devices;
        if !harms {
            kept.push((row.clone(), effect.clone()));
        }
    }
    Ok(kept.into_iter().collect())
}

/// Whether this author was registered, by a device or by an import.
pub fn is_known<S: LogStore>(server: &Server<S>, author: AuthorId) -> Result<bool, StoreError> {
    Ok(server.store.author(author)?.is_some())
}

/// Who wrote a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// No entry: the row is not there.
    None,
    /// Imported entries alone, the last at this key.
    Imports(Key),
    /// Perhaps a device: an entry above the horizon, or what was folded into the base.
    Devices,
}

/// Who wrote this row.
pub fn writers<S: LogStore>(server: &Server<S>, row: &RowName) -> Result<Writers, StoreError> {
    if server.store.base(row)?.is_some() {
        return Ok(Writers::Devices);
    }
    let (mut found, mut at) = (Writers::None, Key::FIRST);
    while let Some((key, _)) = server.store.link_after(row, &at)? {
        let author = server.store.author(key.author)?;
        if author.is_none_or(|author| author.user.0.as_str() != NO_USER) {
            return Ok(Writers::Devices);
        }
        (found, at) = (Writers::Imports(key), key);
    }
    Ok(found)
}

//! Import of another log's entries: they keep their time, and no author may change them.

use super::super::effect::Effects;
use std::collections::BTreeSet;

use super::super::entry::{Content, Revision};
use super::super::ids::{Buckets, Name, UserId};
use super::super::key::Key;
use super::super::store::StoreError;
use super::Server;
use super::store::{AcceptedEntry, LogStore};

/// An entry of another log.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedEntry {
    /// Its key.
    pub key: Key,
    /// Its effects.
    pub effects: Effects,
    /// The buckets that its author wrote: effects outside of them are void.
    pub write_set: Buckets,
}

/// The user of the authors of imported entries.
const NO_USER: &str = "";

/// What became of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Import {
    /// All are in the log now; this many were not before.
    New(usize),
    /// This one is not above the horizon. The caller must roll the transaction back.
    TooOld(Key),
}

/// Adds entries that are not in the log. They belong to the authority and have no intent, so that
/// neither an author nor the authority runs them again.
pub fn import<S: LogStore>(
    server: &mut Server<S>,
    entries: &[ImportedEntry],
    now: u64,
) -> Result<Import, StoreError> {
    let ids: Vec<_> = entries.iter().map(|entry| entry.key.id).collect();
    let mut stored = server.store.stored_among(&ids)?;
    let mut new = 0;
    let mut authors = BTreeSet::new();
    for ImportedEntry { key, effects, write_set } in entries {
        if !stored.insert(key.id) || server.store.final_author(key.id)?.is_some() {
            continue;
        }
        if *key <= server.facts.horizon {
            return Ok(Import::TooOld(*key));
        }
        if authors.insert(key.author) && server.store.author(key.author)?.is_none() {
            // The ids of a registered author's entries are kept when they are folded into the base.
            server.register(key.author, UserId(Name::from(NO_USER)))?;
        }
        let (effects, write_set) = (effects.clone(), write_set.clone());
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
        new += 1;
    }
    server.store.set_facts(&server.facts)?;
    Ok(Import::New(new))
}

//! Corrections by the authority, and operations on it.

use super::super::ids::{AuthorId, EntryId};
use super::super::message::{Correct, Corrected};
use super::super::store::StoreError;
use super::reach::overreaches;
use super::store::LogStore;
use super::{Server, ServerError};

/// Appoints or dismisses the authority. There is one at a time; its corrections stay. The devices of
/// the user that was the authority, and of the one that is now, take a snapshot: they see other rows.
pub fn appoint<S: LogStore>(
    server: &mut Server<S>,
    authority: Option<AuthorId>,
) -> Result<(), StoreError> {
    let former = std::mem::replace(&mut server.facts.authority, authority);
    if former == authority {
        return Ok(());
    }
    for author in former.into_iter().chain(authority) {
        if let Some(known) = server.store.author(author)? {
            let mut membership = server.store.membership(&known.user)?;
            membership.version += 1;
            server.store.put_membership(&known.user, &membership)?;
        }
    }
    server.store.set_facts(&server.facts)
}

/// Applies the authority's corrections, each if the content is still the one that it read. Refuses
/// those that would change a row where the author of the entry may not write: an author chooses the
/// action and its time, so a run on its behalf has no more rights than it.
pub fn correct<S: LogStore>(
    server: &mut Server<S>,
    author: AuthorId,
    request: &Correct,
    now: u64,
) -> Result<Corrected, ServerError> {
    let (_, membership) = server.person(author)?;
    if server.facts.authority != Some(author) {
        return Err(ServerError::NotTheAuthority(author));
    }
    let mut done = Corrected::default();
    if request.stamp != server.stamp(&membership) {
        return Ok(done);
    }
    for correction in &request.corrections {
        let Some(mut entry) = server.store.entry(correction.id)? else { continue };
        if entry.version != correction.version {
            continue;
        }
        let effects = (&entry.content.effects, &correction.effects);
        if overreaches(server, &entry.key, effects, &entry.content.write_set)? {
            done.refused.push(correction.id);
            continue;
        }
        let former = std::mem::replace(&mut entry.content.effects, correction.effects.clone());
        entry.by_authority = true;
        entry.version += 1;
        server.place(&entry, &former, now)?;
        done.taken += 1;
    }
    server.store.set_facts(&server.facts)?;
    Ok(done)
}

/// Returns an entry from the authority to its author, which runs it again once it receives it.
/// Only the operator can do this. Returns whether the authority had it.
pub fn release<S: LogStore>(
    server: &mut Server<S>,
    id: EntryId,
    now: u64,
) -> Result<bool, StoreError> {
    match server.store.entry(id)? {
        Some(mut entry) if entry.by_authority => {
            entry.by_authority = false;
            entry.version += 1;
            let former = entry.content.effects.clone();
            server.place(&entry, &former, now)?;
            server.store.set_facts(&server.facts)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

//! Corrections by the referee, and operations on it.

use super::super::ids::{AuthorId, EntryId};
use super::super::message::Correct;
use super::super::store::StoreError;
use super::store::LogStore;
use super::{Server, ServerError};

/// Appoints or dismisses the referee. There is one at a time; its corrections stay.
pub fn appoint<S: LogStore>(
    server: &mut Server<S>,
    referee: Option<AuthorId>,
) -> Result<(), StoreError> {
    server.facts.referee = referee;
    server.store.set_facts(&server.facts)
}

/// Applies the referee's corrections, each if the content is still the one that it read.
/// Returns how many were applied; for the others the feed has newer content.
pub fn correct<S: LogStore>(
    server: &mut Server<S>,
    request: &Correct,
    now: u64,
) -> Result<usize, ServerError> {
    let (_, membership) = server.person(request.referee)?;
    if server.facts.referee != Some(request.referee) {
        return Err(ServerError::NotTheReferee(request.referee));
    }
    if request.stamp != server.stamp(&membership) {
        return Ok(0);
    }
    let mut taken = 0;
    for correction in &request.corrections {
        let Some(mut entry) = server.store.entry(correction.id)? else { continue };
        if entry.version != correction.version {
            continue;
        }
        let former = std::mem::replace(&mut entry.content.effects, correction.effects.clone());
        entry.refereed = true;
        entry.version += 1;
        server.place(&entry, &former, now)?;
        taken += 1;
    }
    Ok(taken)
}

/// Returns an entry from the referee to its author, which runs it again once it receives it.
/// Only the operator can do this. Returns whether the referee had it.
pub fn release<S: LogStore>(
    server: &mut Server<S>,
    id: EntryId,
    now: u64,
) -> Result<bool, StoreError> {
    match server.store.entry(id)? {
        Some(mut entry) if entry.refereed => {
            entry.refereed = false;
            entry.version += 1;
            let former = entry.content.effects.clone();
            server.place(&entry, &former, now)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

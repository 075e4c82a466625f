//! The app's decisions about entries: retry, discard, replace, undo. They work offline; `rebase::decide`
//! has those about mutations, and calls these.

use rejoin_log::ids::EntryId;
use rejoin_log::replica::store::ReplicaStore as _;

use super::list::{self, OwnState};
use super::{on, reading, refused};
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::queue::mutation::{Mutation, MutationState, ParkReason};
use crate::engine::rows::patch::RowPatch;
use crate::error::{Error, QueueFault, Result};
use crate::ids::MutationId;

/// Retries an entry: a denied one takes effect at its old place, an action that now rejects runs
/// again, even if it took too long before.
pub(crate) fn retry(engine: &mut Engine, id: MutationId) -> Result<()> {
    let (entry, parked) = (EntryId(id.0), parked(engine, id)?);
    engine.log.exhausted.remove(&entry);
    engine.write(Origin::Local, |engine| {
        engine.touched.queue();
        on(engine, |replica| match parked.reason {
            Some(ParkReason::Unreplayable) => replica.run_again(entry),
            _ => replica.retry(entry),
        })
    })
}

/// Discards a parked entry. An action that now rejects has no effect, and is not run again.
pub(crate) fn discard(engine: &mut Engine, id: MutationId) -> Result<()> {
    engine.write(Origin::Local, |engine| take_out(engine, id).map(drop))
}

/// Takes a parked entry out, in the open transaction. Returns what it was.
pub(crate) fn take_out(engine: &mut Engine, id: MutationId) -> Result<Mutation> {
    let (entry, parked) = (EntryId(id.0), parked(engine, id)?);
    engine.touched.queue();
    on(engine, |replica| match parked.reason {
        Some(ParkReason::Unreplayable) => replica.give_up(entry),
        _ => replica.discard(entry),
    })?;
    Ok(parked)
}

/// What an own entry has changed; `None` if there is none of this id, or it is final.
///
/// # Errors
/// `Refused` if it is parked: no row shows it; if it wrote a row that the user does not read, or one
/// of a table that is gone.
pub(crate) fn done(engine: &Engine, id: MutationId) -> Result<Option<Vec<RowPatch>>> {
    let no = |reason: &str| Err(refused(&format!("the undo of entry {id}"), reason.to_owned()));
    match list::find(engine, id)? {
        None => Ok(None),
        Some(OwnState::Waits(mutation)) if mutation.state == MutationState::Parked => {
            no("it was not accepted, so no row contains it: discard it")
        }
        Some(_) => match list::done(engine, id)? {
            Some(done) => Ok(Some(done)),
            None => no("it wrote a row that is not in this file: write the other rows as they \
                        should be"),
        },
    }
}

/// Stores what a new entry reverses.
pub(crate) fn mark_undo(engine: &mut Engine, id: MutationId, undoes: MutationId) -> Result<()> {
    on(engine, |replica| replica.mark_undo(EntryId(id.0), EntryId(undoes.0)))
}

/// The last own entry that reverses this one.
pub(crate) fn undo_of(engine: &Engine, id: MutationId) -> Result<Option<MutationId>> {
    reading(engine, |store| {
        for own in store.own_ids()?.into_iter().rev() {
            let record = store.record(own)?.and_then(|record| record.own);
            if record.is_some_and(|own| own.undoes == Some(EntryId(id.0))) {
                return Ok(Some(MutationId(own.0)));
            }
        }
        Ok(None)
    })
}

/// The entry, which must be parked.
fn parked(engine: &Engine, id: MutationId) -> Result<Mutation> {
    let found = list::find(engine, id)?.ok_or(Error::Queue(QueueFault::Unknown(id)))?;
    let parked = found.waiting().filter(|mutation| mutation.state == MutationState::Parked);
    parked.ok_or_else(|| {
        let reason = "it is not parked: undo it, or write the rows as they should be";
        refused(&format!("the decision about entry {id}"), reason.to_owned())
    })
}

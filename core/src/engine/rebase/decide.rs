//! The app's decisions about mutations in the queue and in the history. Each runs in one
//! transaction; if it fails, nothing was changed. They work offline.
//!
//! | | removes | inserts |
//! |---|---|---|
//! | `discard` | the mutation | |
//! | `retry` | | the same mutation, as its next attempt |
//! | `edit` | the mutation | what it wrote, changed by the app |
//! | `perform_again` | the mutation | a run of the action with other arguments |
//! | `undo`, `redo` | the mutation, if it has no verdict | else its reverse |

use std::sync::Arc;

use serde_json::Value as Json;

use super::context::{RebaseContext, missing};
use super::edit::{ExpectedRows, Replaced};
use super::take_back::Undone;
use super::{discard, edit, part, retry, take_back};
use crate::engine::action::perform;
use crate::engine::action::{Actions, Arguments, Performed};
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::entries::{decide as of_log, list};
use crate::engine::queue::cancel::SERVER_CANCELS;
use crate::engine::queue::mutation::{MutationState, ParkReason};
use crate::engine::queue::pending_op::OpOutcome;
use crate::engine::queue::{QueueEntry, again, history, store};
use crate::engine::rows::patch::RowPatch;
use crate::engine::transaction::Flushed;
use crate::engine::{Engine, EngineTransaction};
use crate::error::{ActionFault, Error, InputFault, QueueFault, Result};
use crate::ids::{MutationId, Seq};

/// Removes a mutation from the queue and its edits from the rows. Mutations that edit a row it
/// created, or refer to one, are parked. Works offline. If a plain server has accepted some
/// rows of the mutation, those stay.
///
/// A mutation that was sent and has no verdict yet leaves the rows at once, too:
/// - With a Rejoin server it is cancelled by its id, with the sent mutations that depend on
///   rows it created. If the server had accepted it, a mutation that reverses it takes its
///   place in the queue. Mutations that depend on it wait until the server has answered.
/// - With a plain server it is sent until the response shows whether the server has it, and is
///   then reversed. In rare cases a discarded value stays on the server: see
///   docs/plain-server.md.
///
/// # Errors
/// `UnknownMutation`; `Uncertain` if a Rejoin server of an older release may have it: nothing
/// was changed.
pub fn discard(engine: &mut Engine, id: MutationId) -> Result<()> {
    if is_of_log(engine, id)? {
        return of_log::discard(engine, id);
    }
    let entry = can_go(engine, id)?;
    engine.rebase(Origin::Local, Triggers::Fire, |work, _| discard::give_up(work, &entry)).map(drop)
}

/// Discards a mutation and all mutations that are parked because of it, now or by this call. Returns their ids, the
/// mutation's first. Mutations that were sent and have no verdict yet are left to their verdict.
///
/// # Errors
/// As [`discard`].
pub fn discard_chain(engine: &mut Engine, id: MutationId) -> Result<Vec<MutationId>> {
    if is_of_log(engine, id)? {
        return of_log::discard(engine, id).map(|()| vec![id]);
    }
    let entry = can_go(engine, id)?;
    let parked = parked_chain(engine, id)?;
    let mut gone = vec![id];
    engine.rebase(Origin::Local, Triggers::Fire, |work, _| {
        gone.truncate(1); // The closure may run again.
        discard::give_up(work, &entry)?;
        for (seq, other) in parked.iter().filter(|(_, other)| *other != id) {
            part::discard_parked(work, *seq)?;
            gone.push(*other);
        }
        for seq in discard::parked_for(work, id) {
            let step = work.step_mut(seq)?;
            step.outcome = OpOutcome::Discarded;
            gone.push(step.id);
        }
        Ok(())
    })?;
    Ok(gone)
}

/// Puts a parked mutation at the end of the queue, as its next attempt: its edits are in the rows again, and the server
/// compares them with the rows as they are now. If a row that it needs is gone, it is parked as a conflict again. Works
/// offline.
///
/// # Errors
/// `UnknownMutation`; `Refused` if it is not parked, or names a table or a column that the server has removed: edit or
/// discard it; `ParentParked` if the mutation that creates its row is parked: retry that one, or the chain. Nothing was changed.
pub fn retry(engine: &mut Engine, id: MutationId) -> Result<()> {
    if is_of_log(engine, id)? {
        return of_log::retry(engine, id);
    }
    let entry = engine.queue.find(id).ok_or(Error::Queue(QueueFault::Unknown(id)))?;
    if entry.state != MutationState::Parked {
        return refused("retry", id, "it is not parked, and will be sent as it is");
    }
    retry_all(engine, &[entry.seq])
}

/// Whether it is an entry of the log: these depend on no other, and are retried at their old place.
fn is_of_log(engine: &Engine, id: MutationId) -> Result<bool> {
    Ok(engine.queue.find(id).is_none() && list::find(engine, id)?.is_some())
}

/// Retries a mutation, if it is parked, and all mutations that are parked because of it, directly or through another one.
/// Returns their ids in their new order: none if nothing is parked, as after an edit that had no followers. Works offline.
///
/// # Errors
/// As [`retry`]; `UnknownMutation` if neither queue nor history has it, and nothing is parked because of it.
pub fn retry_chain(engine: &mut Engine, id: MutationId) -> Result<Vec<MutationId>> {
    if is_of_log(engine, id)? {
        let entry = engine.mutation(id)?;
        let is_parked = entry.is_some_and(|entry| entry.state == MutationState::Parked);
        return if is_parked {
            of_log::retry(engine, id).map(|()| vec![id])
        } else {
            Ok(Vec::new())
        };
    }
    let chain = parked_chain(engine, id)?;
    if chain.is_empty() {
        // The server may have accepted an edit since.
        let is_known = engine.queue.find(id).is_some() || engine.was_accepted(id)?;
        return if is_known { Ok(Vec::new()) } else { Err(Error::Queue(QueueFault::Unknown(id))) };
    }
    let seqs: Vec<Seq> = chain.iter().map(|(seq, _)| *seq).collect();
    retry_all(engine, &seqs)?;
    Ok(chain.into_iter().map(|(_, id)| id).collect())
}

/// Replaces a mutation by a new one: `body` finds the old one's edits in the rows and changes them. Returns the id of the new
/// mutation, or `None` if it would change nothing. Works offline; if it fails, nothing was changed.
///
/// The new mutation is plain SQL at the end of the queue. If the old one was parked, the new one expects the rows as they are
/// now, else the values that the old one expected. Edits of rows that are gone are left out. Pending mutations that depend
/// on rows of the old one follow the new one; sent mutations that are cancelled with the old one become part of the new one;
/// mutations that are parked because of the old one stay parked because of the new one.
///
/// An entry of the log must be parked, and is replaced by an entry of now.
///
/// # Errors
/// Those of `body`; `UnknownMutation`; `Uncertain` if a Rejoin server that cannot cancel may have it; `Refused` if it was
/// imported and waits for the server's rows, or is in a table that only actions write.
pub fn edit(
    engine: &mut Engine,
    id: MutationId,
    body: impl FnOnce(&mut EngineTransaction<'_>) -> Result<()>,
) -> Result<Option<MutationId>> {
    if is_of_log(engine, id)? {
        return edit_entry(engine, id, body);
    }
    let entry = can_go(engine, id)?;
    if engine.queue.awaiting().contains_key(&entry.seq) {
        return refused("edit", id, "it was imported and waits for the server's rows: sync first");
    }
    let remove = |work: &mut RebaseContext<'_>| {
        let mut replaced = vec![edit::replaced(work, entry.seq)?];
        discard::give_up(work, &entry)?;
        for seq in discard::withdrawn_with(work, id) {
            replaced.push(edit::replaced(work, seq)?);
        }
        Ok(replaced)
    };
    replace(engine, &entry, remove, |engine, replaced| {
        let edited = put_edited(engine, id, &replaced, body)?;
        Ok((edited, edited))
    })
}

/// Replaces the run of an action in the queue by a new run of its newest version with these arguments. Works offline. Mutations
/// that are parked because of the old run stay parked because of the new one. An entry of the log must be parked.
///
/// # Errors
/// As `perform`; `UnknownMutation`; `Uncertain` if a server that cannot cancel may have it; `Refused` if it is no action, or a
/// plain server has accepted some of its rows. Nothing was changed.
pub fn perform_again(engine: &mut Engine, id: MutationId, arguments: &Json) -> Result<Performed> {
    if is_of_log(engine, id)? {
        return perform_entry_again(engine, id, arguments);
    }
    let entry = can_go(engine, id)?;
    let step = store::read_step(engine.db.conn(), entry.seq)?;
    let step = step.ok_or_else(|| missing(entry.seq))?;
    if !step.parts.accepted.is_empty() {
        let why = "the server has accepted rows of it; retry, edit or discard it";
        return refused("new run", id, why);
    }
    let action = step.intent.map(|intent| intent.action);
    let run = NewRun::of(engine, id, action, arguments)?;
    replace(
        engine,
        &entry,
        |work| discard::give_up(work, &entry),
        |engine, ()| {
            let performed = run.act(engine)?;
            Ok((performed.id, performed))
        },
    )
}

/// A run of the newest version of an action in place of an earlier one.
struct NewRun {
    actions: Arc<Actions>,
    action: String,
    arguments: Arguments,
}

impl NewRun {
    fn of(
        engine: &Engine,
        id: MutationId,
        action: Option<String>,
        arguments: &Json,
    ) -> Result<Self> {
        let Some(action) = action else {
            return refused("new run", id, "it is no action; edit it");
        };
        let actions = Arc::clone(&engine.actions);
        let arguments = match actions.newest(&action) {
            Some(registered) => registered.arguments(arguments.clone())?,
            None => return Err(Error::Action { action, fault: ActionFault::Unknown }),
        };
        Ok(Self { actions, action, arguments })
    }

    fn act(self, engine: &mut Engine) -> Result<Performed> {
        let Self { actions, action, arguments } = self;
        match actions.newest(&action) {
            Some(registered) => perform::act(engine, &actions, registered, &arguments),
            None => Err(Error::Action { action, fault: ActionFault::Unknown }),
        }
    }
}

/// [`edit`] of a parked entry of the log.
fn edit_entry(
    engine: &mut Engine,
    id: MutationId,
    body: impl FnOnce(&mut EngineTransaction<'_>) -> Result<()>,
) -> Result<Option<MutationId>> {
    engine.in_transaction(Origin::Local, Triggers::Fire, |engine| {
        let old = of_log::take_out(engine, id)?;
        if old.reason == Some(ParkReason::Unreplayable) {
            return refused("edit", id, "it has no effect now: perform it again, or discard it");
        }
        let wrote = old.effect.rows;
        may_be_edited(engine, id, &wrote)?;
        put_again(engine, |work| edit::on_current_rows(work, &wrote))?;
        engine.within(false, body)?;
        Ok(engine.flush(None)?.map(|edited| edited.id()))
    })
}

/// [`perform_again`] of a parked entry of the log.
fn perform_entry_again(engine: &mut Engine, id: MutationId, arguments: &Json) -> Result<Performed> {
    engine.in_transaction(Origin::Local, Triggers::Fire, |engine| {
        let action = of_log::take_out(engine, id)?.action;
        NewRun::of(engine, id, action, arguments)?.act(engine)
    })
}

/// Applies patches to the rows as the app sees them, as if the app had written them.
fn put_again(
    engine: &mut Engine,
    patches: impl Fn(&mut RebaseContext<'_>) -> Result<Vec<RowPatch>>,
) -> Result<()> {
    let capture = engine.capture.clone();
    with_capture_off(engine, |engine| {
        engine.rebased(|work, _| {
            let patches = patches(work)?;
            edit::apply_again(work, &patches, &capture)
        })
    })
    .map(drop)
}

/// Undoes a mutation. One without a verdict is discarded. For an accepted one, a new mutation gives each column the value that
/// it had before. Works offline; all of it is undone, or nothing. An entry of the log is never discarded: other devices may
/// have it, so a new entry reverses it.
///
/// # Errors
/// `UnknownMutation` if neither queue nor history has it; `Changed` with the rows if a column no longer has the value that the
/// mutation wrote; `Refused` if it is parked, because the rows do not show it; those of `discard`.
pub fn undo(engine: &mut Engine, id: MutationId) -> Result<Undone> {
    if let Some(entry) = engine.queue.find(id) {
        if entry.state == MutationState::Parked {
            return refused("undo", id, "it was not accepted, so no row contains it: discard it");
        }
        discard(engine, id)?;
        return Ok(Undone::GivenUp);
    }
    let done = match of_log::done(engine, id)? {
        None => history::read_done(engine.db.conn(), id)?,
        entry => entry,
    };
    let done = done.ok_or(Error::Queue(QueueFault::Unknown(id)))?;
    engine.in_transaction(Origin::Local, Triggers::Fire, |engine| {
        put_again(engine, |work| take_back::taken_back(work, &done))?;
        let Some(new) = engine.flush(None)? else { return Ok(Undone::Nothing) };
        match new {
            Flushed::Entry(new) => of_log::mark_undo(engine, new, id)?,
            Flushed::Mutation(seq, _) => history::mark_undo(engine.db.conn(), seq, id)?,
        }
        Ok(Undone::NewMutation(new.id()))
    })
}

/// Undoes the undo of a mutation: `id` is the mutation that was undone.
///
/// # Errors
/// `Refused` if it was not undone, or the undo was undone already, or was not accepted; else as `undo`.
pub fn redo(engine: &mut Engine, id: MutationId) -> Result<Undone> {
    let Some(undone_by) = undo_of(engine, id)? else {
        return refused("redo", id, "it was not undone, or its undo was pruned from the history");
    };
    if undo_of(engine, undone_by)?.is_some() {
        return refused("redo", id, "its undo was undone already");
    }
    undo(engine, undone_by)
}

/// The last mutation or entry that reverses this one.
fn undo_of(engine: &Engine, id: MutationId) -> Result<Option<MutationId>> {
    match history::undo_of(engine.db.conn(), id)? {
        Some(undo) => Ok(Some(undo)),
        None => of_log::undo_of(engine, id),
    }
}

fn retry_all(engine: &mut Engine, parked: &[Seq]) -> Result<()> {
    let last = engine.queue.last();
    engine
        .rebase(Origin::Local, Triggers::Fire, |work, _| retry::requeue(work, parked, last))
        .map(drop)
}

/// Removes a mutation with `remove` and runs `insert` with its result. `insert` returns the
/// mutation that replaces it: mutations that were parked because of the old one are now parked
/// because of the new one. `remove` may run twice.
///
/// # Errors
/// Those of `remove` and `insert`; nothing was changed.
fn replace<R, T>(
    engine: &mut Engine,
    entry: &QueueEntry,
    mut remove: impl FnMut(&mut RebaseContext<'_>) -> Result<R>,
    insert: impl FnOnce(&mut Engine, R) -> Result<(Option<MutationId>, T)>,
) -> Result<T> {
    engine.in_transaction(Origin::Local, Triggers::Fire, |engine| {
        let (mut removed, mut followers) = (None, Vec::new());
        with_capture_off(engine, |engine| {
            engine.rebased(|work, _| {
                removed = Some(remove(work)?);
                followers = discard::lift_followers(work, entry.id);
                Ok(())
            })
        })?;
        let removed = removed.ok_or_else(|| missing(entry.seq))?;
        let (new, value) = insert(engine, removed)?;
        with_capture_off(engine, |engine| {
            let last = engine.queue.last();
            if let Some(new) = new {
                again::replace_cause(engine.db.conn(), entry.id, new)?;
            }
            engine.rebased(|work, _| retry::requeue(work, &followers, last))
        })?;
        Ok(value)
    })
}

/// Writes the edits of the replaced mutations, changed by the app, as a new mutation; `None` if
/// no edit is left.
fn put_edited(
    engine: &mut Engine,
    id: MutationId,
    replaced: &[Replaced],
    body: impl FnOnce(&mut EngineTransaction<'_>) -> Result<()>,
) -> Result<Option<MutationId>> {
    replaced.iter().try_for_each(|one| may_be_edited(engine, id, &one.step.effect.rows))?;
    let capture = engine.capture.clone();
    let mut below = ExpectedRows::new();
    with_capture_off(engine, |engine| {
        let apply = |work: &mut RebaseContext<'_>, _: &mut _| {
            below = edit::apply_replaced(work, replaced, &capture)?;
            Ok(())
        };
        engine.rebased(apply).map(drop)
    })?;
    engine.within(false, body)?;
    // An entry of the log, which the app wrote instead, replaces no mutation.
    let (seq, edited) = match engine.flush(None)? {
        Some(Flushed::Mutation(seq, id)) => (Some(seq), Some(id)),
        Some(Flushed::Entry(_)) | None => (None, None),
    };
    let of_action = |one: &Replaced| one.step.is_of_action();
    if let Some(edited) = edited.filter(|_| replaced.iter().any(of_action)) {
        // An action's values depend on what it read: no policy may apply them over other
        // values.
        again::compare_only(engine.db.conn(), edited)?;
    }
    if !below.is_empty() {
        with_capture_off(engine, |engine| {
            engine.rebased(|work, _| edit::put_below(work, seq, &below))
        })?;
    }
    Ok(edited)
}

/// Rejects an edit of rows of a table that only actions write.
fn may_be_edited(engine: &Engine, id: MutationId, rows: &[RowPatch]) -> Result<()> {
    let mut tables = rows.iter().filter_map(|patch| engine.schema.table(patch.row.table));
    let Some(table) = tables.find(|table| engine.actions.guards(&table.name)) else {
        return Ok(());
    };
    let why = "use perform_again() with other arguments, or discard it";
    refused("edit", id, &format!("only actions write {}; {why}", table.name))
}

/// The mutation, if it can be discarded.
fn can_go(engine: &Engine, id: MutationId) -> Result<QueueEntry> {
    let entry = engine.queue.find(id).ok_or(Error::Queue(QueueFault::Unknown(id)))?;
    match entry.state {
        MutationState::Sent | MutationState::Uncertain
            if !engine.queue.records().knows(entry.seq) =>
        {
            let cancels = engine.meta(SERVER_CANCELS)?.is_some();
            if cancels { Ok(entry.clone()) } else { Err(Error::Queue(QueueFault::Uncertain(id))) }
        }
        _ => Ok(entry.clone()),
    }
}

/// A parked mutation and the mutations that are parked because of it. In queue order, but each
/// after its cause, which an earlier retry may have moved after it.
fn parked_chain(engine: &Engine, id: MutationId) -> Result<Vec<(Seq, MutationId)>> {
    let mut waiting = again::parked_chain(engine.db.conn(), id)?;
    let root = engine.queue.find(id).filter(|entry| entry.state == MutationState::Parked);
    let mut chain: Vec<_> = root.map(|entry| (entry.seq, id)).into_iter().collect();
    let follows = |chain: &[(Seq, MutationId)], cause: &MutationId| {
        *cause == id || chain.iter().any(|(_, known)| known == cause)
    };
    while let Some(at) = waiting.iter().position(|(.., cause)| follows(&chain, cause)) {
        let (seq, next, _) = waiting.remove(at);
        chain.push((seq, next));
    }
    Ok(chain)
}

/// Runs `body` with capture off, in the open transaction.
fn with_capture_off<T>(
    engine: &mut Engine,
    body: impl FnOnce(&mut Engine) -> Result<T>,
) -> Result<T> {
    let _off = engine.capture.off();
    body(engine)
}

fn refused<T>(what: &str, id: MutationId, why: &str) -> Result<T> {
    Err(Error::InvalidInput(InputFault::Refused {
        what: format!("the {what} of mutation {id}"),
        reason: why.to_owned(),
    }))
}

//! The app's decisions about mutations of the queue and of the history. Each removes mutations, puts some at the end of the queue
//! again, or inserts one, and all of it is one transaction; where it fails, nothing was changed. They work offline.
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

use super::edit::{Below, Replaced};
use super::take_back::Undone;
use super::work::{Work, missing};
use crate::engine::action::Performed;
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::queue::cancel::SERVER_CANCELS;
use crate::engine::queue::mutation::State;
use crate::engine::queue::step::Fate;
use crate::engine::queue::{Entry, again, history, store};
use crate::engine::rows::patch::RowPatch;
use crate::engine::{Engine, Transaction};
use crate::error::{ActionFault, Error, Result};
use crate::ids::{MutationId, Seq};

impl Engine {
    /// Removes a pending or parked mutation for good; what it wrote leaves the rows, and what stands on what it created is
    /// parked (R10). Works offline. Of a mutation that a plain server has accepted in part, that part stays accepted.
    ///
    /// With a plain server, one that was sent and has no verdict leaves the rows at once too. It is still sent until the
    /// server's word on it is known, and then taken back, should the server have it (P10). Such a server cannot tell in
    /// every case whether it has it: rarely (3 of 20,000 in our model) a value that was given up stays there.
    ///
    /// With a Rejoin server, one that was sent and has no verdict leaves the rows at once, with what was sent and stands on what
    /// it made. It is withdrawn by its id; should the server have it, its reverse takes its place in the queue (O12). What
    /// follows from it waits for the server's word.
    ///
    /// # Errors
    /// `UnknownMutation`; `Uncertain` for one that a Rejoin server of an older release may have: nothing was changed.
    pub fn discard(&mut self, id: MutationId) -> Result<()> {
        let entry = self.can_go(id)?;
        self.rebase(Origin::Local, Triggers::Fire, |work, _| work.give_up(&entry)).map(drop)
    }

    /// [`Engine::discard`] of a mutation and of all that stands on what it created, parked already or only now. Which they
    /// are, it first. What stands on it and was sent without a verdict is left to that.
    ///
    /// # Errors
    /// As [`Engine::discard`].
    pub fn discard_chain(&mut self, id: MutationId) -> Result<Vec<MutationId>> {
        let entry = self.can_go(id)?;
        let parked = self.parked_chain(id)?;
        let mut gone = vec![id];
        self.rebase(Origin::Local, Triggers::Fire, |work, _| {
            gone.truncate(1); // It may be done once more.
            work.give_up(&entry)?;
            for (seq, other) in parked.iter().filter(|(_, other)| *other != id) {
                work.discard_parked(*seq)?;
                gone.push(*other);
            }
            for seq in work.parked_for(id) {
                let step = work.step_mut(seq)?;
                step.fate = Fate::Discarded;
                gone.push(step.id);
            }
            Ok(())
        })?;
        Ok(gone)
    }

    /// Puts a parked mutation at the end of the queue, as its next attempt: what it wrote is in the rows again, and it compares
    /// what it stands upon now. A row that it needs and that is gone will be a conflict again. Works offline.
    ///
    /// # Errors
    /// `UnknownMutation`; `Refused` for one that is not parked, or names a table or a column that the server has removed: edit or
    /// discard it; `StandsOn` while what makes its row is parked. Nothing was changed.
    pub fn retry(&mut self, id: MutationId) -> Result<()> {
        let entry = self.queue.find(id).ok_or(Error::UnknownMutation(id))?;
        if entry.state != State::Parked {
            return refused("retry", id, "it is not parked, and will be offered as it is");
        }
        self.retry_all(&[entry.seq])
    }

    /// [`Engine::retry`] of a mutation, if it is parked, and of all that was parked because of it, and because of that. Which
    /// they are, in their order. Works offline.
    ///
    /// # Errors
    /// As [`Engine::retry`]; `UnknownMutation` if there is nothing of the kind.
    pub fn retry_chain(&mut self, id: MutationId) -> Result<Vec<MutationId>> {
        let chain = self.parked_chain(id)?;
        if chain.is_empty() {
            return Err(Error::UnknownMutation(id));
        }
        let seqs: Vec<Seq> = chain.iter().map(|(seq, _)| *seq).collect();
        self.retry_all(&seqs)?;
        Ok(chain.into_iter().map(|(_, id)| id).collect())
    }

    /// Replaces a mutation by one of another content: `body` finds its content in the rows and changes it. Its id, or `None` if
    /// nothing is left of it. Works offline; if it fails, nothing was changed.
    ///
    /// The new one is plain SQL, at the end of the queue. It compares the rows of now if the old one was parked, else what the
    /// old one has found there. What the old one wrote to a row that is gone is left out. What waited upon what the old one
    /// created comes after the new one; what was sent upon it and goes with it is part of the new one; what was parked because
    /// of the old one stays so, because of the new one.
    ///
    /// # Errors
    /// Those of `body`; `UnknownMutation`; `Uncertain` for one that a Rejoin server may have; `Refused` for one that was imported
    /// and waits for the server's rows, and for one in a table that only actions write.
    pub fn edit(
        &mut self,
        id: MutationId,
        body: impl FnOnce(&mut Transaction<'_>) -> Result<()>,
    ) -> Result<Option<MutationId>> {
        let entry = self.can_go(id)?;
        if self.queue.awaiting().contains_key(&entry.seq) {
            return refused(
                "edit",
                id,
                "it was imported and waits for the server's rows: sync first",
            );
        }
        let remove = |work: &mut Work<'_>| {
            let mut replaced = vec![work.replaced(entry.seq)?];
            work.give_up(&entry)?;
            for seq in work.withdrawn_with(id) {
                replaced.push(work.replaced(seq)?);
            }
            Ok(replaced)
        };
        self.replace(&entry, remove, |engine, replaced| {
            let edited = engine.put_edited(id, &replaced, body)?;
            Ok((edited, edited))
        })
    }

    /// Performs the newest version of an action of the queue with these arguments, instead of what was performed. All of it, or
    /// nothing. Works offline. What was parked because of the old one stays so, because of the new one.
    ///
    /// # Errors
    /// As `perform`; `UnknownMutation`; `Uncertain` for one that a server may have and that cannot withdraw; `Refused` for what is
    /// no action, and for one of which a plain server has other rows. Nothing was changed.
    pub fn perform_again(&mut self, id: MutationId, arguments: &Json) -> Result<Performed> {
        let entry = self.can_go(id)?;
        let step = store::read_step(self.db.conn(), entry.seq)?;
        let step = step.ok_or_else(|| missing(entry.seq))?;
        if !step.parts.accepted.is_empty() {
            return Err(Error::Refused {
                what: format!("to perform mutation {id} again"),
                why: String::from("the server has other rows of it; retry, edit or discard it"),
            });
        }
        let Some(intent) = step.intent else {
            return Err(Error::Refused {
                what: format!("to perform mutation {id} again"),
                why: String::from("it is no action; edit it"),
            });
        };
        let actions = Arc::clone(&self.actions);
        let Some(registered) = actions.newest(&intent.action) else {
            return Err(Error::Action { action: intent.action, fault: ActionFault::Unknown });
        };
        let arguments = registered.arguments(arguments.clone())?;
        self.replace(
            &entry,
            |work| work.give_up(&entry),
            |engine, ()| {
                let performed = engine.act(&actions, registered, &arguments)?;
                Ok((performed.id, performed))
            },
        )
    }

    /// Takes a mutation back: one without a verdict is given up; of an accepted one each column goes back to what it displaced.
    /// Works offline. All of it, or nothing.
    ///
    /// # Errors
    /// `UnknownMutation` if neither queue nor history has it; `Changed` with the rows if any column has another value than it
    /// wrote; `Refused` for a parked one, of which nothing is in the rows; those of `discard`.
    pub fn undo(&mut self, id: MutationId) -> Result<Undone> {
        if let Some(entry) = self.queue.find(id) {
            if entry.state == State::Parked {
                return refused(
                    "undo",
                    id,
                    "it was not accepted, so that no row shows it: discard it",
                );
            }
            self.discard(id)?;
            return Ok(Undone::GivenUp);
        }
        let done = history::read_done(self.db.conn(), id)?.ok_or(Error::UnknownMutation(id))?;
        self.in_transaction(Origin::Local, Triggers::Fire, |engine| {
            engine.silently(|engine| {
                let capture = engine.capture.clone();
                engine.rebased(|work, _| {
                    let patches = work.taken_back(&done)?;
                    work.lay_again(&patches, &capture)
                })
            })?;
            let Some(seq) = engine.flush(None)? else { return Ok(Undone::Nothing) };
            history::mark_undo(engine.db.conn(), seq, id).map(Undone::By)
        })
    }

    /// Takes the undo of a mutation back: `id` is the mutation that was undone.
    ///
    /// # Errors
    /// `Refused` if it was not undone, or the undo was undone already, or was not accepted; else as `undo`.
    pub fn redo(&mut self, id: MutationId) -> Result<Undone> {
        let Some(undo) = history::undo_of(self.db.conn(), id)? else {
            return refused(
                "redo",
                id,
                "it was not undone, or so long ago that the history has forgotten it",
            );
        };
        if history::undo_of(self.db.conn(), undo)?.is_some() {
            return refused("redo", id, "its undo was undone already");
        }
        self.undo(undo)
    }

    fn retry_all(&mut self, parked: &[Seq]) -> Result<()> {
        let last = self.queue.last();
        self.rebase(Origin::Local, Triggers::Fire, |work, _| work.requeue(parked, last)).map(drop)
    }

    /// Removes a mutation with `remove` and runs `insert` with its result. `insert` returns the mutation that takes its
    /// place: what was parked because of the old mutation stays parked because of the new one. `remove` may run twice.
    ///
    /// # Errors
    /// Those of `remove` and `insert`; nothing was changed.
    fn replace<R, T>(
        &mut self,
        entry: &Entry,
        mut remove: impl FnMut(&mut Work<'_>) -> Result<R>,
        insert: impl FnOnce(&mut Self, R) -> Result<(Option<MutationId>, T)>,
    ) -> Result<T> {
        self.in_transaction(Origin::Local, Triggers::Fire, |engine| {
            let (mut removed, mut followers) = (None, Vec::new());
            engine.silently(|engine| {
                engine.rebased(|work, _| {
                    removed = Some(remove(work)?);
                    followers = work.lift_followers(entry.id);
                    Ok(())
                })
            })?;
            let removed = removed.ok_or_else(|| missing(entry.seq))?;
            let (new, value) = insert(engine, removed)?;
            engine.silently(|engine| {
                let last = engine.queue.last();
                if let Some(new) = new {
                    again::replace_cause(engine.db.conn(), entry.id, new)?;
                }
                engine.rebased(|work, _| work.requeue(&followers, last))
            })?;
            Ok(value)
        })
    }

    /// Writes what the replaced mutations wrote, changed by the app, as a new mutation; `None` if nothing is left of it.
    fn put_edited(
        &mut self,
        id: MutationId,
        replaced: &[Replaced],
        body: impl FnOnce(&mut Transaction<'_>) -> Result<()>,
    ) -> Result<Option<MutationId>> {
        replaced.iter().try_for_each(|one| self.may_be_edited(id, &one.step.effect.rows))?;
        let capture = self.capture.clone();
        let mut below = Below::new();
        self.silently(|engine| {
            let apply = |work: &mut Work<'_>, _: &mut _| {
                below = work.apply_replaced(replaced, &capture)?;
                Ok(())
            };
            engine.rebased(apply).map(drop)
        })?;
        self.within(false, body)?;
        let seq = self.flush(None)?;
        let edited = match seq {
            Some(seq) => store::read_entry(self.db.conn(), seq)?.map(|entry| entry.id),
            None => None,
        };
        let of_action = |one: &Replaced| one.step.is_of_action();
        if let Some(edited) = edited.filter(|_| replaced.iter().any(of_action)) {
            // Its values followed from what it found: no policy may lay them over something else (O1, O7).
            again::compare_only(self.db.conn(), edited)?;
        }
        if !below.is_empty() {
            self.silently(|engine| engine.rebased(|work, _| work.put_below(seq, &below)))?;
        }
        Ok(edited)
    }

    /// What an action wrote into a table that nothing else may write is no plain edit's to write.
    fn may_be_edited(&self, id: MutationId, rows: &[RowPatch]) -> Result<()> {
        let mut tables = rows.iter().filter_map(|patch| self.schema.table(patch.row.table));
        let Some(table) = tables.find(|table| self.actions.guards(&table.name)) else {
            return Ok(());
        };
        let why = "use perform_again() with other arguments, or discard it";
        refused("edit", id, &format!("only actions write {}; {why}", table.name))
    }

    /// The mutation, if it can be given up.
    fn can_go(&self, id: MutationId) -> Result<Entry> {
        let entry = self.queue.find(id).ok_or(Error::UnknownMutation(id))?;
        match entry.state {
            State::Sent | State::Uncertain if !self.queue.records().knows(entry.seq) => {
                let cancels = self.meta(SERVER_CANCELS)?.is_some();
                if cancels { Ok(entry.clone()) } else { Err(Error::Uncertain(id)) }
            }
            _ => Ok(entry.clone()),
        }
    }

    /// A mutation, if it is parked, and what was parked because of it: in the order of the queue, but each after its cause,
    /// which an earlier retry may have put behind it.
    fn parked_chain(&self, id: MutationId) -> Result<Vec<(Seq, MutationId)>> {
        let mut waiting = again::parked_chain(self.db.conn(), id)?;
        let root = self.queue.find(id).filter(|entry| entry.state == State::Parked);
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

    /// Runs `body` while nothing is captured, in the transaction that is open.
    fn silently<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let _off = self.capture.off();
        body(self)
    }
}

fn refused<T>(what: &str, id: MutationId, why: &str) -> Result<T> {
    Err(Error::Refused { what: format!("the {what} of mutation {id}"), why: why.to_owned() })
}

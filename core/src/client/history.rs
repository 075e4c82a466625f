//! What the server has accepted: to show it, to take it back, and to forget it.

use super::Client;
use crate::engine::queue::history::{self, HistoryBounds};
use crate::engine::rebase::take_back::Undone;
use crate::ids::MutationId;
use crate::inspect::Accepted;
use crate::writer::Answer;

impl Client {
    /// What the server has accepted and the file still remembers, the newest first, at most `most`. The old values of its rows
    /// are what it displaced there. Bounded as by [`HistoryBounds::default`].
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn history(&self, most: usize) -> Answer<Vec<Accepted>> {
        self.core().writer.call(move |engine| {
            let kept = history::read_newest(engine.db.conn(), most)?;
            let schema = engine.schema();
            Ok(kept.into_iter().map(|one| Accepted::told(one, schema)).collect())
        })
    }

    /// Takes a mutation back. One without a verdict is given up ([`Client::discard`]); of an accepted one each column goes back to
    /// what it displaced on the server, by a new mutation, which is only ever compared. Works offline. All of it, or nothing.
    ///
    /// # Errors
    /// [`Error::Changed`](crate::Error::Changed) with the rows if any of it does not stand any more, for whatever reason: they are
    /// never overwritten. [`Error::UnknownMutation`](crate::Error::UnknownMutation) if the file has forgotten it;
    /// [`Error::Refused`](crate::Error::Refused) for a parked one, of which nothing is in the rows.
    pub fn undo(&self, id: MutationId) -> Answer<Undone> {
        self.core().writer.call(move |engine| engine.undo(id))
    }

    /// Takes the undo of a mutation back: `id` is the one that was undone.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) if it was not undone, or is done again already; else as [`Client::undo`].
    pub fn redo(&self, id: MutationId) -> Answer<Undone> {
        self.core().writer.call(move |engine| engine.redo(id))
    }

    /// Forgets what was accepted beyond these bounds, at once; how many mutations. They cannot be undone any more. Without a call
    /// the default bounds are kept whenever something is accepted.
    ///
    /// # Errors
    /// Those of writing the file.
    pub fn prune(&self, bounds: HistoryBounds) -> Answer<usize> {
        self.core().writer.call(move |engine| engine.prune(&bounds))
    }
}

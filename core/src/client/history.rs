//! Accepted mutations: list, undo and prune them.

use super::QueueHandle;
use crate::engine::queue::history::HistoryBounds;
use crate::engine::rebase::decide;
use crate::engine::rebase::take_back::Undone;
use crate::ids::MutationId;
use crate::inspect::AcceptedMutation;
use crate::writer::Task;

impl QueueHandle<'_> {
    /// The accepted mutations that the file still keeps, newest first, at most `limit`. Their old
    /// values are the server's before-images. [`HistoryBounds::default`] limits the history. Accepted
    /// entries of the log are listed until they are folded into the base.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn history(&self, limit: usize) -> Task<Vec<AcceptedMutation>> {
        self.0.core().writer.call(move |engine| AcceptedMutation::newest(engine, limit))
    }

    /// Reverts a mutation. One without a verdict is discarded ([`QueueHandle::discard`]). For an
    /// accepted one, a new compare-only mutation sets each column back to the server's
    /// before-image. Works offline, in one transaction. An entry of the log is always reversed by a
    /// new one.
    ///
    /// # Errors
    /// [`QueueFault::Changed`](crate::QueueFault::Changed) with the rows if any of them has changed since:
    /// they are never overwritten. [`QueueFault::Unknown`](crate::QueueFault::Unknown) if it
    /// was pruned; [`InputFault::Refused`](crate::InputFault::Refused) for a parked one, whose changes are
    /// not in the rows.
    pub fn undo(&self, id: MutationId) -> Task<Undone> {
        self.0.core().writer.call(move |engine| decide::undo(engine, id))
    }

    /// Reverts the undo of a mutation: `id` is the mutation that was undone.
    ///
    /// # Errors
    /// [`InputFault::Refused`](crate::InputFault::Refused) if it is not undone; otherwise as
    /// [`QueueHandle::undo`].
    pub fn redo(&self, id: MutationId) -> Task<Undone> {
        self.0.core().writer.call(move |engine| decide::redo(engine, id))
    }

    /// Removes accepted mutations beyond these bounds and returns their number. They can no longer
    /// be undone. Entries of the log stay until they are folded. Without a call, the default bounds apply to each acceptance.
    ///
    /// # Errors
    /// Those of writing the file.
    pub fn prune(&self, bounds: HistoryBounds) -> Task<usize> {
        self.0.core().writer.call(move |engine| engine.prune(&bounds))
    }
}

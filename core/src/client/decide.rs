//! Decisions of the app about a parked or pending mutation: retry, edit or discard.

use super::held::{HeldTransaction, transaction};
use super::write::run_body;
use super::{QueueHandle, Transaction};
use crate::engine::action::Performed;
use crate::engine::rebase::decide;
use crate::error::Result;
use crate::ids::MutationId;
use crate::writer::Task;

impl QueueHandle<'_> {
    /// Moves a parked mutation, unchanged, to the end of the queue. Its rows show it immediately;
    /// its old values become those of the current rows. So a conflict that the app has seen
    /// resolves to the app's value. A server rule rejects it again unless the rule or the rows
    /// changed. Works offline.
    ///
    /// # Errors
    /// [`QueueFault::Unknown`](crate::QueueFault::Unknown);
    /// [`InputFault::Refused`](crate::InputFault::Refused) if it is not parked;
    /// [`QueueFault::ParentParked`](crate::QueueFault::ParentParked) if it needs a row of a parked mutation. Nothing
    /// changed.
    pub fn retry(&self, id: MutationId) -> Task<()> {
        self.0.core().writer.call(move |engine| decide::retry(engine, id))
    }

    /// [`QueueHandle::retry`] of a mutation, if it is parked, and of all mutations that were parked
    /// because of it ([`PendingMutation::because_of`](crate::PendingMutation::because_of)), in queue order. Returns
    /// them: none if nothing is parked, as after an edit of a mutation that blocked no other, whether the server
    /// has accepted that edit meanwhile or not.
    ///
    /// # Errors
    /// As [`QueueHandle::retry`]; [`QueueFault::Unknown`](crate::QueueFault::Unknown) if neither queue nor
    /// history has the mutation, and none was parked because of it.
    pub fn retry_chain(&self, id: MutationId) -> Task<Vec<MutationId>> {
        self.0.core().writer.call(move |engine| decide::retry_chain(engine, id))
    }

    /// Edits a parked or pending mutation: `body` sees its changes on top of the current rows and
    /// modifies them. The result replaces the old mutation, as a new plain SQL mutation at the end
    /// of the queue. Returns its id, or `None` if nothing is left. Works offline, in one
    /// transaction.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, MutationId, Result};
    /// /// The server rejected the score as too high: keep the rest of the mutation.
    /// fn limit_score(client: &Client, refused: MutationId) -> Result<Option<MutationId>> {
    ///     let edited = client.queue().edit(refused, |tx| {
    ///         tx.execute("UPDATE place SET score = 5 WHERE score > 5", ()).map(drop)
    ///     });
    ///     edited.wait()
    /// }
    /// ```
    ///
    /// Mutations that were parked because of the old one now depend on the new one; to retry them,
    /// call [`QueueHandle::retry_chain`] with its id. Changes to deleted rows are left out. An entry
    /// of the log must be parked.
    ///
    /// # Errors
    /// Those of `body`, and [`Error::Callback`](crate::Error::Callback) if it panics;
    /// [`QueueFault::Unknown`](crate::QueueFault::Unknown);
    /// [`QueueFault::Uncertain`](crate::QueueFault::Uncertain) if it was sent and has no verdict;
    /// [`InputFault::Refused`](crate::InputFault::Refused) in a table that only actions write: use
    /// [`QueueHandle::perform_again`]. Nothing changed.
    pub fn edit(
        &self,
        id: MutationId,
        body: impl FnOnce(&mut Transaction<'_, '_>) -> Result<()> + Send + 'static,
    ) -> Task<Option<MutationId>> {
        self.0
            .core()
            .writer
            .call(move |engine| decide::edit(engine, id, |inner| run_body(inner, body)))
    }

    /// Edits a parked or pending action: performs its newest version with these arguments, on the
    /// current rows without the old action's changes, as a new mutation at the end of the queue. If
    /// that fails, the old mutation is unchanged. Works offline, in one transaction.
    ///
    /// ```
    /// # use rejoin_core::{Client, MutationId, Performed, Result};
    /// /// Five exceeded the stock: take three.
    /// fn take_three(client: &Client, parked: MutationId) -> Result<Performed> {
    ///     client.queue().perform_again(parked, serde_json::json!({"id": "nails", "n": 3})).wait()
    /// }
    /// ```
    ///
    /// Mutations that were parked because of the old one depend on the new one, as with
    /// [`QueueHandle::edit`].
    ///
    /// # Errors
    /// As [`Client::perform`](crate::Client::perform); [`QueueFault::Unknown`](crate::QueueFault::Unknown);
    /// [`InputFault::Refused`](crate::InputFault::Refused) if it is no action;
    /// [`QueueFault::Uncertain`](crate::QueueFault::Uncertain) as [`QueueHandle::discard`]. Nothing changed.
    pub fn perform_again(&self, id: MutationId, arguments: serde_json::Value) -> Task<Performed> {
        self.0.core().writer.call(move |engine| decide::perform_again(engine, id, &arguments))
    }

    /// Discards a pending or parked mutation permanently and reverts its changes. Mutations that
    /// need a row that it created are parked. With a plain Synchro v0.1.2 server this also works
    /// for a mutation that was sent: it is reverted on the server after its verdict; see
    /// `docs/plain-server.md`.
    ///
    /// # Errors
    /// [`QueueFault::Unknown`](crate::QueueFault::Unknown);
    /// [`QueueFault::Uncertain`](crate::QueueFault::Uncertain) if it was sent to any other server and has no
    /// verdict: nothing changed.
    pub fn discard(&self, id: MutationId) -> Task<()> {
        self.0.core().writer.call(move |engine| decide::discard(engine, id))
    }

    /// [`QueueHandle::discard`] of a mutation and of all mutations that need a row that it created,
    /// whether parked or pending. Returns them, the given one first.
    ///
    /// # Errors
    /// As [`QueueHandle::discard`].
    pub fn discard_chain(&self, id: MutationId) -> Task<Vec<MutationId>> {
        self.0.core().writer.call(move |engine| decide::discard_chain(engine, id))
    }

    /// [`QueueHandle::edit`](crate::QueueHandle::edit) as an interactive transaction: it begins with the mutation's changes on top
    /// of the current rows. [`commit`](HeldTransaction::commit) replaces the mutation by a new one,
    /// whose id is [`HeldTransaction::edited`]. Any other end changes nothing.
    ///
    /// # Errors
    /// As [`QueueHandle::edit`](crate::QueueHandle::edit) and [`Client::begin`](crate::Client::begin).
    pub fn begin_edit(&self, id: MutationId) -> Task<HeldTransaction> {
        transaction::begin_edit(self.0.core(), id)
    }
}

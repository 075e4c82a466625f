//! What an app decides of a mutation that is parked or waits: to offer it again, to mend it, or to give it up.

use super::write::run_body;
use super::{Client, Transaction};
use crate::engine::action::Performed;
use crate::error::Result;
use crate::ids::MutationId;
use crate::writer::Answer;

impl Client {
    /// Offers a parked mutation again, as it was written: it goes to the end of the queue, its rows show it at once, and what it
    /// compares is what it stands upon now. So a conflict that the app has looked at ends by its word; what a rule of the
    /// server refused will be refused again, unless the rule or the rows have changed. Works offline.
    ///
    /// # Errors
    /// [`Error::UnknownMutation`](crate::Error::UnknownMutation); [`Error::Refused`](crate::Error::Refused) for one that is not
    /// parked; [`Error::StandsOn`](crate::Error::StandsOn) while the mutation that makes its row is parked. Nothing was changed.
    pub fn retry(&self, id: MutationId) -> Answer<()> {
        self.core().writer.call(move |engine| engine.retry(id))
    }

    /// [`Client::retry`] of a mutation, if it is parked, and of everything that was parked because of it
    /// ([`Pending::because_of`](crate::Pending::because_of)), in their order. Which they are.
    ///
    /// # Errors
    /// As [`Client::retry`]; [`Error::UnknownMutation`](crate::Error::UnknownMutation) if there is nothing of the kind.
    pub fn retry_chain(&self, id: MutationId) -> Answer<Vec<MutationId>> {
        self.core().writer.call(move |engine| engine.retry_chain(id))
    }

    /// Mends a parked or waiting mutation: `body` finds what it wrote in the rows, on top of how they stand now, and changes it.
    /// What comes out is a new mutation of plain SQL at the end of the queue, in the place of the old one; its id, or `None` if
    /// nothing is left. Works offline; all of it happens, or nothing.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, MutationId, Result};
    /// /// The server found the score too high: the rest of what was written stays.
    /// fn mend(client: &Client, refused: MutationId) -> Result<Option<MutationId>> {
    ///     let mended = client.edit(refused, |tx| {
    ///         tx.execute("UPDATE place SET score = 5 WHERE score > 5", ()).map(drop)
    ///     });
    ///     mended.wait()
    /// }
    /// ```
    ///
    /// What was parked because of the old one now waits for the new one ([`Client::retry_chain`] with its id offers that again).
    /// What the old one wrote to a row that is gone is left out.
    ///
    /// # Errors
    /// Those of `body`, and [`Error::Foreign`](crate::Error::Foreign) if it panics;
    /// [`Error::UnknownMutation`](crate::Error::UnknownMutation); [`Error::Uncertain`](crate::Error::Uncertain) for one that was
    /// sent and has no verdict; [`Error::Refused`](crate::Error::Refused) for one in a table that only actions write, for which
    /// there is [`Client::perform_again`]. Nothing was changed.
    pub fn edit(
        &self,
        id: MutationId,
        body: impl FnOnce(&mut Transaction<'_, '_>) -> Result<()> + Send + 'static,
    ) -> Answer<Option<MutationId>> {
        self.core().writer.call(move |engine| engine.edit(id, |inner| run_body(inner, body)))
    }

    /// Mends an action that is parked or waits: the newest version of it is performed with these arguments, on the rows as they
    /// stand without what it wrote, as a new mutation at the end of the queue. If that is refused, the old one stays as it was.
    /// Works offline; all of it happens, or nothing.
    ///
    /// ```
    /// # use rejoin_core::{Client, MutationId, Performed, Result};
    /// /// Five were too many: three, then.
    /// fn mend(client: &Client, parked: MutationId) -> Result<Performed> {
    ///     client.perform_again(parked, serde_json::json!({"id": "nails", "n": 3})).wait()
    /// }
    /// ```
    ///
    /// What was parked because of the old one now waits for the new one, as with [`Client::edit`].
    ///
    /// # Errors
    /// As [`Client::perform`]; [`Error::UnknownMutation`](crate::Error::UnknownMutation);
    /// [`Error::Refused`](crate::Error::Refused) for what is no action; [`Error::Uncertain`](crate::Error::Uncertain) as
    /// [`Client::discard`]. Nothing was changed.
    pub fn perform_again(&self, id: MutationId, arguments: serde_json::Value) -> Answer<Performed> {
        self.core().writer.call(move |engine| engine.perform_again(id, &arguments))
    }

    /// Gives a waiting or parked mutation up for good: what it wrote leaves the rows. What stands on a row that it made is
    /// parked. On a server that speaks only Synchro v0.1.2 one that was sent and has no verdict goes too, and is taken back
    /// from the server when its word on it is known; see `docs/plain-server.md`.
    ///
    /// # Errors
    /// [`Error::UnknownMutation`](crate::Error::UnknownMutation); [`Error::Uncertain`](crate::Error::Uncertain) for one that
    /// was sent to any other server and has no verdict: nothing was changed.
    pub fn discard(&self, id: MutationId) -> Answer<()> {
        self.core().writer.call(move |engine| engine.discard(id))
    }

    /// [`Client::discard`] of a mutation and of everything that stands on a row that it made, parked before or only by this.
    /// Which they are, it first.
    ///
    /// # Errors
    /// As [`Client::discard`].
    pub fn discard_chain(&self, id: MutationId) -> Answer<Vec<MutationId>> {
        self.core().writer.call(move |engine| engine.discard_chain(id))
    }
}

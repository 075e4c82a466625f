//! A mutation is replaced by another one: what `edit` and `perform_again` have in common.
//!
//! The old mutation is taken out, the new one is put at the end of the queue, and what waited upon what the old one had created
//! follows the new one there. All of it is one transaction. What is taken out, and what is put in, is the caller's.

use super::work::{Work, missing};
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::queue::{Entry, again};
use crate::error::Result;
use crate::ids::MutationId;

impl Engine {
    /// Takes a mutation out with `remove`, and runs `insert` with what that returned; it gives the mutation that takes its place. What was parked
    /// because of the old mutation stays so, because of the new one. `remove` may run more than once.
    ///
    /// # Errors
    /// Those of `remove` and `insert`; nothing was changed.
    pub(super) fn replace<R, T>(
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

    /// Runs `body` while nothing is captured, in the transaction that is open.
    pub(super) fn silently<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let _off = self.capture.off();
        body(self)
    }
}

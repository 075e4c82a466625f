//! Replaces a mutation by another one, in one transaction: the common part of `edit` and `perform_again`.
//!
//! The new mutation goes to the end of the queue. Pending mutations that depend on rows of the old one follow it there. The
//! caller decides what is removed and what is inserted.

use super::work::{Work, missing};
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::queue::{Entry, again};
use crate::error::Result;
use crate::ids::MutationId;

impl Engine {
    /// Removes a mutation with `remove` and runs `insert` with its result. `insert` returns the mutation that takes its
    /// place: what was parked because of the old mutation stays parked because of the new one. `remove` may run twice.
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

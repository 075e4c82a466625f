//! The app mends a mutation that is parked or waits (O12): what it wrote is taken out, laid upon the rows as they stand now,
//! changed by the app, and goes to the end of the queue as a mutation of its own. What waited upon what it created follows it
//! there, and takes along what was written upon that, so that their order stays.
//!
//! All of it is one transaction. The old values are those of now, as with `retry`; the id is new, so that no stored verdict on
//! the old content can be taken for one on the new. What later mutations wrote over it meanwhile stays theirs.

use super::footprint;
use super::work::{Work, missing};
use crate::engine::capture::guard::Capture;
use crate::engine::capture::patch::{ColumnPatch, PatchKind, RowPatch};
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::queue::mutation::State;
use crate::engine::queue::{Entry, again, store};
use crate::engine::{Engine, Transaction};
use crate::error::{Error, Result};
use crate::ids::{MutationId, Seq};

impl Engine {
    /// Replaces a mutation by one of another content: `body` finds its content in the rows and changes it. Its id, or `None` if
    /// nothing is left of it. Works offline; if it fails, nothing was changed.
    ///
    /// The new one is plain SQL, at the end of the queue, with old values of now. What the old one wrote to a row that is gone
    /// is left out. What waited upon what the old one created comes after the new one; what was parked because of the old one
    /// stays so, because of the new one.
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
            let why = "it was imported and waits for the server's rows: sync first".to_owned();
            return Err(Error::Refused { what: format!("the edit of mutation {id}"), why });
        }
        self.may_be_edited(id, &entry)?;
        let step =
            store::read_step(self.db.conn(), entry.seq)?.ok_or_else(|| missing(entry.seq))?;
        let was_action = step.intent.is_some() || step.stance.old_only;
        self.in_transaction(Origin::Local, Triggers::Fire, |engine| {
            let mut content = Vec::new();
            let mut followers = Vec::new();
            engine.silently(|engine| {
                engine.rebased(|work, _| {
                    content = work.content(entry.seq, entry.state)?;
                    work.give_up(&entry)?;
                    followers = work.lift_followers(id);
                    Ok(())
                })?;
                let capture = engine.capture.clone();
                engine.rebased(|work, _| work.lay_again(&content, &capture)).map(drop)
            })?;
            engine.within(false, body)?;
            let edited = match engine.flush(None)? {
                Some(seq) => store::read_entry(engine.db.conn(), seq)?.map(|entry| entry.id),
                None => None,
            };
            if let Some(edited) = edited.filter(|_| was_action) {
                // Its values followed from what it found: no policy may lay them over something else (O1, O7).
                again::compare_only(engine.db.conn(), edited)?;
            }
            engine.silently(|engine| {
                let last = engine.queue.last();
                if let Some(edited) = edited {
                    again::replace_cause(engine.db.conn(), id, edited)?;
                }
                engine.rebased(|work, _| work.requeue(&followers, last)).map(drop)
            })?;
            Ok(edited)
        })
    }

    /// What an action wrote into a table that nothing else may write is no plain edit's to write.
    fn may_be_edited(&self, id: MutationId, entry: &Entry) -> Result<()> {
        let tables = entry.rows.iter().filter_map(|(row, _)| self.schema.table(row.table));
        let Some(table) = tables.into_iter().find(|table| self.actions.guards(&table.name)) else {
            return Ok(());
        };
        Err(Error::Refused {
            what: format!("the edit of mutation {id}"),
            why: format!(
                "only actions write {}; use perform_again() with other arguments, or discard it",
                table.name
            ),
        })
    }

    /// Runs `body` while nothing is captured, in the transaction that is open.
    pub(super) fn silently<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let _off = self.capture.off();
        body(self)
    }
}

impl Work<'_> {
    /// What a mutation wrote, but for what later ones have written over it since.
    fn content(&mut self, seq: Seq, state: State) -> Result<Vec<RowPatch>> {
        let step = store::read_step(self.conn, seq)?.ok_or_else(|| missing(seq))?;
        let mut rows = step.effect.rows;
        if state == State::Parked {
            return Ok(rows);
        }
        for patch in rows.iter_mut().filter(|patch| patch.kind != PatchKind::Insert) {
            for later in footprint::steps_after(self.states, &patch.row, seq) {
                let step = store::read_step(self.conn, later)?.ok_or_else(|| missing(later))?;
                let Some((_, over)) = step.patch(&patch.row) else { continue };
                let wrote = |mine: &ColumnPatch| {
                    let mut theirs = over.columns.iter().filter(|one| one.is_change());
                    theirs.any(|one| one.column == mine.column)
                };
                patch.columns.retain(|mine| !wrote(mine));
            }
        }
        rows.retain(|patch| !patch.columns.is_empty() || patch.kind == PatchKind::Insert);
        Ok(rows)
    }

    /// Lays patches upon the rows as they are seen now, as if the app had written them.
    pub(super) fn lay_again(&mut self, content: &[RowPatch], capture: &Capture) -> Result<()> {
        for patch in content {
            let Some(table) = self.schema.tables.get(&patch.row.table) else { continue };
            let old = self.rows.read(&patch.row)?;
            self.rows.lay(patch)?;
            let new = self.rows.read(&patch.row)?;
            capture.note(table, old.as_deref(), new.as_deref());
        }
        Ok(())
    }
}

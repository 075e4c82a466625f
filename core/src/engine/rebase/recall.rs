//! After an epoch change of the server: offers the mutations that the old epoch had accepted again,
//! before the pending ones.
//!
//! Each returns from the history to its old place in the queue, with the attempt, hash and versions
//! with which it was accepted, so the same bytes are sent. A server that still has it repeats its
//! verdict; another one compares by content, so nothing newer is overwritten. Until then it is
//! uncertain: replayed, and neither it nor edits on top of it are checked for conflicts. It must
//! return before the rows of the new epoch arrive; otherwise an edit of a row that only the old
//! epoch had would look like an edit of a deleted row.

use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::meta::set_meta;
use crate::engine::queue::policy_state::PolicyState;
use crate::engine::queue::{Staged, history, store};
use crate::error::{Error, Result};

/// Puts mutations that other epochs had accepted back into the queue, and stores `done` in the same
/// transaction. Returns how many.
pub(crate) fn recall(engine: &mut Engine, done: (&str, &str)) -> Result<usize> {
    let mut count = 0;
    engine.rebase(Origin::Remote, Triggers::Fire, |work, _| {
        let seqs = history::recall(work.conn)?;
        set_meta(work.conn, done.0, Some(done.1))?;
        count = seqs.len();
        if seqs.is_empty() {
            return Ok(());
        }
        work.undo_all()?;
        for seq in seqs {
            let missing = || Error::Internal(format!("mutation {} was not recalled", seq.0));
            let mut step = store::read_step(work.conn, seq)?.ok_or_else(missing)?;
            step.policy_state = PolicyState::comparing(history::is_of_action(work.conn, step.id)?);
            step.changed = true;
            let entry = store::read_entry(work.conn, seq)?.ok_or_else(missing)?;
            work.steps.insert(seq, step);
            work.staged.push(Staged::Added(entry));
        }
        work.touched.queue();
        Ok(())
    })?;
    Ok(count)
}

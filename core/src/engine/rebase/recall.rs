//! Another life of the server's log (D13, O14): what the old one had accepted is offered again, before what is pending.
//!
//! Each comes back from the history in its old place in the queue, with the attempt, the hash and the versions with which
//! it was accepted: byte for byte what was sent then. A server that still knows it repeats its verdict; one that does not
//! compares by content, so that nothing newer is overwritten. Until then it is uncertain: replayed, and not judged, nor
//! is what stands on it. It comes back before the new life's rows do, or an edit of a row that only the old life had would
//! look like one of a deleted row.

use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::meta::set_meta;
use crate::engine::queue::stance::Stance;
use crate::engine::queue::{Staged, history, store};
use crate::error::{Error, Result};

/// Puts what other epochs than the present one accepted back into the queue, and sets the fact `done` in the same
/// transaction. How many came back.
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
            step.stance = Stance::comparing(history::is_of_action(work.conn, step.id)?);
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

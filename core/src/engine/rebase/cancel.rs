//! What a server may have is given up (O12): out of what the app sees at once, withdrawn by name, and taken back if the server
//! had accepted it.
//!
//! The reverse is a mutation of its own in the place of the one that it takes back, so that whatever was written later stands
//! upon it. It is built from what the server says that was displaced (O13), compares like any other, and never overwrites a
//! column that has another value by now. What stood on a row that it made goes with it, newest first.

use rejoin_protocol::wire::push::Ending;

use super::footprint;
use super::reverse::reversal;
use super::step::Fate;
use super::work::Work;
use super::{Image, judge};
use crate::engine::capture::apply::soft_deletes;
use crate::engine::capture::patch::{PatchKind, RowKey, RowPatch};
use crate::engine::queue::Staged;
use crate::engine::queue::cancel::{self, Cancelled};
use crate::engine::queue::displaced;
use crate::engine::queue::verdict;
use crate::error::Result;
use crate::ids::{ColumnId, MutationId, Seq};
use crate::mutant::{self, Mutant};

/// The server's word on a mutation that was withdrawn.
#[derive(Debug, Clone)]
pub struct Withdrawn {
    /// The mutation; one that is not waiting for it is passed over.
    pub id: MutationId,
    /// `Accepted` if the server has it; `Retry` decides nothing; anything else ends it.
    pub ending: Ending,
    /// The rows before it, as far as they are told.
    pub displaced: Vec<Image>,
}

/// What the server has accepted, to be taken back when the images are in.
pub(super) type Accepted<'b> = Vec<(Cancelled, &'b Withdrawn)>;

impl Work<'_> {
    /// Withdraws a mutation that a server may have, with those upon its rows that it may have too; what never left and
    /// stands on what it made is parked (R10).
    pub(super) fn withdraw(&mut self, seq: Seq) -> Result<()> {
        self.undo([seq])?;
        let root = self.step(seq)?.id;
        let mut open = vec![seq];
        while let Some(seq) = open.pop() {
            if !self.step(seq)?.stays() {
                continue;
            }
            let upon = self.left_upon(seq)?;
            for other in &upon {
                self.undo([*other])?;
            }
            open.extend(upon);
            self.leave(seq, Fate::Withdrawn(root))?;
        }
        Ok(())
    }
}

/// Takes the server's words; what it had is reversed when the images are in.
pub(super) fn settle<'b>(work: &mut Work<'_>, words: &'b [Withdrawn]) -> Result<Accepted<'b>> {
    let mut accepted = Vec::new();
    for word in words.iter().filter(|word| word.ending != Ending::Retry) {
        let known = work.queue.cancels().values().find(|known| known.id == word.id);
        let Some(known) = known.cloned() else { continue };
        cancel::remove(work.conn, known.seq)?;
        work.staged.push(Staged::Settled(known.seq));
        work.withdrawn.insert(known.seq);
        for patch in &known.effect.rows {
            work.meet(patch.row.table, &patch.row.key)?;
        }
        if word.ending == Ending::Accepted {
            accepted.push((known, word));
        } else {
            tell(work, &known, None)?;
        }
    }
    Ok(accepted)
}

/// Puts the reverse of what was accepted into the queue; `ids` are for the reverses, one at least for each.
pub(super) fn finish(
    work: &mut Work<'_>,
    accepted: Accepted<'_>,
    mut ids: impl Iterator<Item = MutationId>,
) -> Result<()> {
    for together in connected(accepted) {
        let mut rows: Vec<(RowKey, Vec<RowPatch>)> = Vec::new();
        let mut place = Seq(i64::MAX);
        for (cancelled, word) in &together {
            place = place.min(cancelled.seq);
            for patch in &cancelled.effect.rows {
                let Some(mut patch) = work.done(patch, &word.displaced)? else { continue };
                keep_later(work, cancelled.seq, &mut patch)?;
                match rows.iter_mut().find(|(row, _)| *row == patch.row) {
                    Some((_, patches)) => patches.push(patch),
                    None => rows.push((patch.row.clone(), vec![patch])),
                }
            }
        }
        let mut reverse = Vec::new();
        for (row, patches) in &rows {
            let base = work.rows.read(row)?;
            let table = work.rows.table(row.table)?;
            let patches: Vec<&RowPatch> = patches.iter().collect();
            reverse.extend(reversal(table, row, base.as_deref(), &patches));
        }
        if mutant::on(Mutant::CancelForgets) {
            continue;
        }
        let id = ids.next().filter(|_| !reverse.is_empty());
        if let Some(id) = id {
            work.put_reverse(place, id, reverse)?;
        }
        for (cancelled, _) in &together {
            tell(work, cancelled, id)?;
        }
        for (row, _) in &rows {
            while let Some(conflict) = judge::look(work, row)? {
                judge::park(work, row, conflict, None)?;
            }
        }
    }
    Ok(())
}

impl Work<'_> {
    /// A patch as the server says that it was done; `None` if nothing was.
    pub(super) fn done(&self, patch: &RowPatch, was: &[Image]) -> Result<Option<RowPatch>> {
        let table = self.rows.table(patch.row.table)?;
        let deletes = patch.kind == PatchKind::Delete || soft_deletes(table, patch);
        Ok(displaced::done(patch, deletes, displaced::image_of(was, &patch.row)))
    }
}

/// Keeps for the app that the server's word on what it gave up is here.
fn tell(work: &Work<'_>, cancelled: &Cancelled, reverse: Option<MutationId>) -> Result<()> {
    verdict::write_withdrawn(work.conn, (cancelled.id, cancelled.attempt), reverse, work.now_ms)
}

/// Those that name a row in common, or were given up by one word, go back as one; each in the order of the queue.
fn connected(accepted: Accepted<'_>) -> Vec<Accepted<'_>> {
    let mut groups: Vec<Accepted<'_>> = Vec::new();
    for one in accepted {
        let meets = |other: &(Cancelled, &Withdrawn)| {
            let rows = |cancelled: &Cancelled| -> Vec<RowKey> {
                cancelled.effect.rows.iter().map(|patch| patch.row.clone()).collect()
            };
            let mine = rows(&one.0);
            other.0.root == one.0.root || rows(&other.0).iter().any(|row| mine.contains(row))
        };
        let (mut met, rest): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(meets));
        let mut whole: Accepted<'_> = met.drain(..).flatten().collect();
        whole.push(one);
        whole.sort_by_key(|(cancelled, _)| cancelled.seq);
        groups = rest;
        groups.push(whole);
    }
    groups
}

/// A column that is next written by something that may be with the server already stays: that compares what was there.
fn keep_later(work: &mut Work<'_>, seq: Seq, patch: &mut RowPatch) -> Result<()> {
    if patch.kind != PatchKind::Update {
        return Ok(());
    }
    let mut next: Vec<(ColumnId, bool)> = Vec::new();
    for later in footprint::steps_after(work.states, &patch.row, seq) {
        let step = work.step(later)?;
        let Some((_, over)) = step.patch(&patch.row).filter(|_| step.stays()) else { continue };
        for column in over.columns.iter().filter(|column| column.is_change()) {
            if next.iter().all(|(known, _)| *known != column.column) {
                next.push((column.column, step.is_uncertain()));
            }
        }
    }
    patch.columns.retain(|column| !next.contains(&(column.column, true)));
    Ok(())
}

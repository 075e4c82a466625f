//! The heart: what a server answers meets what waits on this device, in one transaction.
//!
//! The app sees the base and, on top of it, the queue's mutations in their order (I2). [`Engine::apply`] moves the base:
//! steps that the batch meets are undone newest first, with what follows from them (R3), rows go into the base without
//! capture and without rules (R5), policy judges (O6), and the steps come back with their undo renewed (R1). Verdicts come
//! first, then images, then policy, then the steps (O5); cursor and rows commit together (I6), and observers hear of it
//! once. What nothing waits on costs what the rows cost.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::death::{self, Place};
use crate::engine::Engine;
use crate::engine::action::budget::Bounds;
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::meta::set_meta;
use crate::engine::queue::history::{self, HistoryBounds};
use crate::engine::queue::{Staged, store};
use crate::engine::staging::{self, Staging};
use crate::error::Result;
use crate::ids::{MutationId, Seq};

pub(crate) mod base;
pub mod batch;
mod cancel;
mod conflict;
mod decide;
mod detail;
mod discard;
mod edit;
mod footprint;
pub(crate) mod import;
mod judge;
pub(crate) mod missing;
mod park;
mod part;
mod policy;
pub(crate) mod recall;
pub mod record;
mod redo;
mod replay;
mod retry;
mod reverse;
pub(crate) mod take_back;
mod take_over;
mod verdict;
pub(crate) mod work;

pub use batch::{Applied, Batch, RecordEnding, ServerVerdict, Settled, Withdrawn};
use work::{Extent, Runner, Work};

/// Bytes of rows from which on it pays to compile statements without triggers: some two hundred rows.
const MANY: usize = 32 * 1024;

/// In which transaction a rebase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// In one of which it is all, so that to begin anew is to begin that anew. A savepoint would cost more than that: SQLite keeps
    /// each page as it was then, and beyond 64 KiB of them every statement of an action writes to a file.
    Own,
    /// In one that has written already.
    Another,
}

/// How an attempt at a rebase ended.
enum Attempt {
    Done(Applied, Vec<Staged>),
    /// These must be undone before it begins.
    StartOver(BTreeSet<Seq>),
}

impl Engine {
    /// Applies an answer: all of it in one transaction, or nothing.
    ///
    /// # Errors
    /// `Protocol` for rows that are not of the tables they name; the transaction was rolled back.
    #[allow(clippy::needless_pass_by_value)] // An answer is used up; nobody should have it at hand a second time.
    pub fn apply(&mut self, batch: Batch) -> Result<Applied> {
        self.apply_to(&batch, Extent::Selective)
    }

    pub(crate) fn apply_to(&mut self, batch: &Batch, extent: Extent) -> Result<Applied> {
        let bytes: usize = batch.sets.iter().map(|set| set.rows.get().len()).sum();
        let ids: Vec<MutationId> =
            batch.records.iter().map(|_| MutationId(self.host.uuid4())).collect();
        let more: Vec<_> = batch.withdrawn.iter().map(|_| MutationId(self.host.uuid4())).collect();
        let triggers = if batch.bulk || bytes >= MANY { Triggers::MayRest } else { Triggers::Fire };
        let applied = self.rebase(Origin::Remote, triggers, |work, applied| {
            if extent == Extent::Full {
                work.undo_all()?;
            }
            work.accepted_ms = batch.server_ms.unwrap_or(work.now_ms);
            let open = verdict::settle(work, &batch.verdicts)?;
            verdict::keep_displaced(work, &batch.displaced)?;
            let plain = record::settle(work, &batch.records, ids.clone())?;
            let taken = cancel::settle(work, &batch.withdrawn)?;
            let (rows, met) = base::apply(work, batch)?;
            applied.rows = rows;
            if rows > 0 {
                death::pass(Place::HalfApplied);
            }
            let is_push = !batch.verdicts.is_empty() || !batch.withdrawn.is_empty();
            if is_push || !batch.records.is_empty() {
                // While a snapshot is staged, what a push brought is laid there as well (C5).
                staging::acks(Staging { conn: work.conn, schema: work.schema }, &batch.images)?;
            }
            verdict::finish(work, open)?;
            record::finish(work, plain)?;
            cancel::finish(work, taken, more.iter().copied())?;
            if batch.judge {
                judge::judge(work, &met)?;
            }
            if !batch.meta.is_empty() {
                death::pass(Place::BeforeCursor);
            }
            for (key, value) in &batch.meta {
                set_meta(work.conn, key, value.as_deref())?;
            }
            Ok(())
        })?;
        tracing::debug!(rows = applied.rows, affected = applied.affected, "batch applied");
        Ok(applied)
    }

    /// Runs a change of base or queue in one transaction: `body` undoes and changes, then what stays comes back. Where an
    /// action does something else than before, all of it is done once more (R4).
    pub(crate) fn rebase(
        &mut self,
        origin: Origin,
        triggers: Triggers,
        mut body: impl FnMut(&mut Work<'_>, &mut Applied) -> Result<()>,
    ) -> Result<Applied> {
        self.rebasing = Some(self.bounds.of_rebase());
        let applied = loop {
            let known = self.exhausted.len();
            let done = self
                .write_with(origin, triggers, |engine| engine.rebased_in(Within::Own, &mut body));
            // SQLite ends the whole transaction with a write that it interrupts: the action is known now, and parked (D18).
            if done.is_ok() || self.exhausted.len() == known {
                self.rebasing = None;
                break done?;
            }
        };
        self.exhausted.clear();
        self.counters().accepted(applied.accepted.len());
        Ok(applied)
    }

    /// The same, in the transaction that is open, while nothing is captured.
    pub(crate) fn rebased(
        &mut self,
        body: impl FnMut(&mut Work<'_>, &mut Applied) -> Result<()>,
    ) -> Result<Applied> {
        self.rebased_in(Within::Another, body)
    }

    fn rebased_in(
        &mut self,
        within: Within,
        mut body: impl FnMut(&mut Work<'_>, &mut Applied) -> Result<()>,
    ) -> Result<Applied> {
        let now_ms = self.host.now_micros() / 1000;
        let replays = self.queue.has_actions();
        let (mut first, mut started_over) = (BTreeSet::new(), 0);
        let bounds = self.rebasing.clone().unwrap_or_else(|| self.bounds.of_rebase());
        loop {
            let savepoint = replays && within == Within::Another;
            if savepoint {
                self.run_ours("SAVEPOINT rejoin_rebase")?;
            }
            let ended = self.attempt(now_ms, &bounds, &first, &mut body)?;
            if matches!(ended, Attempt::StartOver(_)) {
                self.take_back(within)?;
            }
            if savepoint {
                self.run_ours("RELEASE rejoin_rebase")?;
            }
            match ended {
                Attempt::Done(applied, staged) => {
                    self.conclude(&applied, staged)?;
                    return Ok(Applied { started_over, ..applied });
                }
                Attempt::StartOver(more) => (first, started_over) = (more, started_over + 1),
            }
        }
    }

    /// Takes back what an attempt has written.
    fn take_back(&self, within: Within) -> Result<()> {
        if within == Within::Another {
            return self.run_ours("ROLLBACK TO rejoin_rebase");
        }
        self.run_ours("ROLLBACK")?;
        self.run_ours("BEGIN IMMEDIATE").map_err(|error| self.db.named(error))
    }

    /// One attempt: undone are these, then what `body` undoes.
    fn attempt(
        &mut self,
        now_ms: i64,
        bounds: &Bounds,
        first: &BTreeSet<Seq>,
        body: &mut impl FnMut(&mut Work<'_>, &mut Applied) -> Result<()>,
    ) -> Result<Attempt> {
        let Self { db, schema, queue, touched, capture, footprints, actions, exhausted, .. } = self;
        let shared = queue.states();
        let states = shared.read();
        let mut applied = Applied::default();
        let mut work = Work::new(db.conn(), schema, queue, &states, touched, now_ms);
        work.runner = Some(Runner { db, capture, footprints, actions, bounds, exhausted });
        work.undo(first.iter().copied())?;
        body(&mut work, &mut applied)?;
        if let Some(more) = redo::redo(&mut work, &mut applied)? {
            return Ok(Attempt::StartOver(more));
        }
        work.rows.settle()?;
        Ok(Attempt::Done(applied, std::mem::take(&mut work.staged)))
    }

    /// What a rebase did to the queue counts with the commit.
    fn conclude(&mut self, applied: &Applied, staged: Vec<Staged>) -> Result<()> {
        let left = staged.iter().any(|staged| matches!(staged, Staged::Left(_)));
        for staged in staged {
            self.queue.stage(staged);
        }
        if left {
            store::keep_last(self.db.conn(), self.queue.last())?;
        }
        if !applied.accepted.is_empty() {
            let size = HistoryBounds { age: Duration::MAX, ..HistoryBounds::default() };
            history::prune(self.db.conn(), &size)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

//! Rebase: applies a server response underneath the pending mutations, in one transaction.
//!
//! The app sees the base with the pending mutations applied on top, in queue order.
//! [`Engine::apply`] changes the base:
//! 1. Apply the verdicts of the response.
//! 2. Undo the pending mutations whose rows the response contains, and all that depend on them.
//! 3. Write the rows to the base. Capture and constraint rules are off.
//! 4. Resolve conflicts according to each table's policy.
//! 5. Redo the remaining mutations in queue order and store their new undo images.
//!
//! The cursor is written in the same transaction (`cursor-commits-with-rows`), and observers are
//! notified once. A response that overlaps no pending mutation costs only its row writes.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::death::{self, Failpoint};
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
pub(crate) mod context;
pub mod decide;
mod detail;
mod detect;
mod discard;
mod edit;
mod footprint;
pub(crate) mod import;
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

pub use batch::{Applied, Batch, RecordEnding, ServerVerdict, Settled, Withdrawn};
use context::{Extent, RebaseContext, Runner};

/// Statements without triggers pay off from this number of row bytes: about 200 rows.
const MANY: usize = 32 * 1024;

/// The transaction that a rebase runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Its own transaction: to start over, it begins a new one. A savepoint is slower: SQLite keeps
    /// the original of each page and, beyond 64 KiB, writes it to a file in every statement.
    Own,
    /// A transaction that has already written; the rebase uses a savepoint.
    Another,
}

/// Result of one attempt at a rebase.
enum Attempt {
    Done(Applied, Vec<Staged>),
    /// These mutations must be undone before the rebase starts again.
    StartOver(BTreeSet<Seq>),
}

impl Engine {
    /// Applies a server response in one transaction.
    ///
    /// # Errors
    /// `Protocol` for rows that do not fit the tables they name; the transaction was rolled back.
    #[allow(clippy::needless_pass_by_value)] // A response is applied once, so it is consumed.
    pub fn apply(&mut self, batch: Batch) -> Result<Applied> {
        self.apply_to(&batch, Extent::Selective)
    }

    pub(crate) fn apply_to(&mut self, batch: &Batch, extent: Extent) -> Result<Applied> {
        let bytes: usize = batch.sets.iter().map(|set| set.rows.get().len()).sum();
        let ids: Vec<MutationId> =
            batch.records.iter().map(|_| MutationId(self.host.uuid4())).collect();
        let more: Vec<_> = batch.withdrawn.iter().map(|_| MutationId(self.host.uuid4())).collect();
        let is_large = batch.bulk || bytes >= MANY;
        let triggers = if is_large { Triggers::MayRest } else { Triggers::MayStayOff };
        let applied = self.rebase(Origin::Remote, triggers, |work, applied| {
            if extent == Extent::Full {
                work.undo_all()?;
            }
            work.accepted_ms = batch.server_ms.unwrap_or(work.now_ms);
            work.covered.clone_from(&batch.covered);
            let open = verdict::settle(work, &batch.verdicts)?;
            verdict::keep_displaced(work, &batch.displaced, (&batch.left, &batch.computed))?;
            let plain = record::settle(work, &batch.records, ids.clone())?;
            let taken = cancel::settle(work, &batch.withdrawn)?;
            let (rows, met) = base::apply(work, batch)?;
            applied.rows = rows;
            if rows > 0 {
                death::pass(Failpoint::HalfApplied);
            }
            let is_push = !batch.verdicts.is_empty() || !batch.withdrawn.is_empty();
            if is_push || !batch.records.is_empty() {
                // While a snapshot is staged, the rows of a push response go to staging as well.
                staging::acks(Staging { conn: work.conn, schema: work.schema }, &batch.images)?;
            }
            verdict::finish(work, open)?;
            record::finish(work, plain)?;
            cancel::finish(work, taken, more.iter().copied())?;
            if batch.detect_conflicts {
                detect::detect_conflicts(work, &met)?;
            }
            if !batch.meta.is_empty() {
                death::pass(Failpoint::BeforeCursor);
            }
            for (key, value) in &batch.meta {
                set_meta(work.conn, key, value.as_deref())?;
            }
            Ok(())
        })?;
        tracing::debug!(rows = applied.rows, affected = applied.affected, "batch applied");
        Ok(applied)
    }

    /// Changes the base or the queue in one transaction: `body` undoes and changes mutations, then
    /// the remaining ones are redone. If a re-run action affects other mutations than before,
    /// everything starts over.
    pub(crate) fn rebase(
        &mut self,
        origin: Origin,
        triggers: Triggers,
        mut body: impl FnMut(&mut RebaseContext<'_>, &mut Applied) -> Result<()>,
    ) -> Result<Applied> {
        self.rebasing = Some(self.bounds.of_rebase());
        let applied = loop {
            let known = self.exhausted.len();
            let done = self
                .write_with(origin, triggers, |engine| engine.rebased_in(Within::Own, &mut body));
            // SQLite rolls back the whole transaction of an interrupted write. The action is now
            // marked as exhausted, and the next attempt parks it.
            if done.is_ok() || self.exhausted.len() == known {
                self.rebasing = None;
                break done?;
            }
        };
        self.exhausted.clear();
        self.counters().accepted(applied.accepted.len());
        Ok(applied)
    }

    /// Like [`Engine::rebase`], but in the open transaction and with capture off.
    pub(crate) fn rebased(
        &mut self,
        body: impl FnMut(&mut RebaseContext<'_>, &mut Applied) -> Result<()>,
    ) -> Result<Applied> {
        self.rebased_in(Within::Another, body)
    }

    fn rebased_in(
        &mut self,
        within: Within,
        mut body: impl FnMut(&mut RebaseContext<'_>, &mut Applied) -> Result<()>,
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
                self.roll_back_attempt(within)?;
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

    /// Rolls back what an attempt has written.
    fn roll_back_attempt(&self, within: Within) -> Result<()> {
        if within == Within::Another {
            return self.run_ours("ROLLBACK TO rejoin_rebase");
        }
        self.run_ours("ROLLBACK")?;
        self.run_ours("BEGIN IMMEDIATE").map_err(|error| self.db.named(error))
    }

    /// Runs one attempt: undoes `first`, then runs `body`.
    fn attempt(
        &mut self,
        now_ms: i64,
        bounds: &Bounds,
        first: &BTreeSet<Seq>,
        body: &mut impl FnMut(&mut RebaseContext<'_>, &mut Applied) -> Result<()>,
    ) -> Result<Attempt> {
        let Self { db, schema, queue, touched, capture, footprints, actions, exhausted, .. } = self;
        touched.by_engine();
        footprints.prepare_base(db)?;
        let shared = queue.states();
        let states = shared.read();
        let mut applied = Applied::default();
        let mut work = RebaseContext::new(db.conn(), schema, queue, &states, touched, now_ms);
        work.runner = Some(Runner { db, capture, footprints, actions, bounds, exhausted });
        work.undo(first.iter().copied())?;
        body(&mut work, &mut applied)?;
        if let Some(more) = redo::redo(&mut work, &mut applied)? {
            return Ok(Attempt::StartOver(more));
        }
        work.rows.settle()?;
        Ok(Attempt::Done(applied, std::mem::take(&mut work.staged)))
    }

    /// Stages the changes that the rebase made to the queue; they take effect with the commit.
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

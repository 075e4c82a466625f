//! The groups of a push, in their order: several together where the store applies their writes in one round trip, else one by
//! one.
//!
//! Both follow the same rules. If one of several groups fails that was expected to succeed, all of them are undone, and that group is
//! evaluated alone.

use rejoin_protocol::wire::push::{Group, Verdict};

use super::session::PushSession;
use crate::engine::plan::Plan;
use crate::error::Fault;

/// The size of the first batch after a failure; it doubles with each batch that succeeds.
const FEW: usize = 2;

impl PushSession<'_> {
    /// Evaluates the groups in their order. With hooks one by one: the host decides about a group before the next one is written.
    pub(super) fn evaluate_all(
        &self,
        groups: &[Group],
        verdicts: &mut Vec<Verdict>,
    ) -> Result<(), Fault> {
        let Some(plan) = self.evaluator.transaction.plan.filter(|_| self.hooks.is_none()) else {
            for group in groups {
                verdicts.push(self.group(group)?);
            }
            return Ok(());
        };
        let (mut from, mut few) = (0, groups.len());
        // The group that failed among others and is evaluated alone.
        let mut alone = None;
        while let Some(group) = groups.get(from) {
            if alone == Some(from) {
                verdicts.push(self.group(group)?);
                from += 1;
                alone = None;
                continue;
            }
            let end = alone.unwrap_or(groups.len()).min(from.saturating_add(few));
            let run = groups.get(from..end).unwrap_or_default();
            match self.evaluate_together(plan, run)? {
                Ok(ended) => {
                    verdicts.extend(ended);
                    from = end;
                    few = few.saturating_mul(2);
                }
                Err(before) => {
                    alone = Some(from + before);
                    few = FEW.max(before);
                }
            }
        }
        Ok(())
    }

    /// Evaluates several groups and applies their writes. If one fails, returns how many precede it.
    fn evaluate_together(
        &self,
        plan: &Plan<'_>,
        groups: &[Group],
    ) -> Result<Result<Vec<Verdict>, usize>, Fault> {
        let writing = self.evaluator.transaction.writing;
        writing.begin()?;
        let before = plan.start();
        let evaluated = groups.iter().enumerate().map(|(number, group)| {
            plan.next_group(number);
            self.group(group)
        });
        let verdicts = evaluated.collect::<Result<Vec<Verdict>, Fault>>();
        match verdicts.and_then(|verdicts| plan.finish().map(|()| verdicts)) {
            Err(Fault::Undone) => {
                writing.undo()?;
                Ok(Err(plan.undo_all(before)))
            }
            done => done.map(Ok),
        }
    }
}

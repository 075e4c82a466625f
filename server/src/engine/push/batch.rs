//! The groups of a push, evaluated in batches.
//!
//! A store across a network may send the writes of many groups together: one round trip for all of them instead of several for
//! each. Groups are evaluated in their order by the same rules. If a group fails that was expected to succeed, the whole batch
//! is rolled back and that group is evaluated alone.

use rejoin_protocol::wire::push::{Group, Verdict};

use super::session::PushSession;
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
        let (mut from, mut few) = (0, groups.len());
        // The group that failed in a batch and is evaluated alone.
        let mut alone = None;
        while let Some(group) = groups.get(from) {
            if self.hooks.is_some() || alone == Some(from) {
                verdicts.push(self.group(group)?);
                from += 1;
                alone = None;
                continue;
            }
            let end = alone.unwrap_or(groups.len()).min(from.saturating_add(few));
            let run = groups.get(from..end).unwrap_or_default();
            match self.evaluate_together(run)? {
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

    /// Evaluates several groups as one batch. If one fails, returns how many precede the one to evaluate alone.
    fn evaluate_together(&self, groups: &[Group]) -> Result<Result<Vec<Verdict>, usize>, Fault> {
        let mut verdicts = Vec::with_capacity(groups.len());
        let (first, mut ends) = (self.begun.get(), Vec::with_capacity(groups.len()));
        let failed = self.evaluator.transaction.writing.together(&mut || {
            verdicts.clear();
            ends.clear();
            self.begun.set(first);
            for group in groups {
                let verdict = self.group(group);
                ends.push(self.begun.get() - first);
                verdicts.push(verdict?);
            }
            Ok(())
        })?;
        Ok(match failed {
            None => Ok(verdicts),
            Some(failed) => Err(ends.iter().filter(|end| **end <= failed).count()),
        })
    }
}

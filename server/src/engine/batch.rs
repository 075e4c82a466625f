//! Evaluates the items of a push in their order: several together where the store applies their writes in one round trip, else
//! one by one. An item is a mutation, or a record of a plain peer.
//!
//! Both ways follow the same rules. If one of several items fails that was expected to succeed, all of them are undone, and that
//! item is evaluated alone.

use std::ops::Range;

use super::plan::PushPlan;
use crate::error::Fault;
use crate::store::Writing;

/// The number of items in the first batch after a failure; it doubles with each batch that succeeds.
const FEW: usize = 2;

/// Evaluates `count` items with `evaluate`, which takes an item's number and may be called again for an item whose writes were
/// undone. Without a plan one by one.
pub(super) fn evaluate_all<T>(
    writing: &dyn Writing,
    plan: Option<&PushPlan<'_>>,
    count: usize,
    evaluate: impl Fn(usize) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let Some(plan) = plan else { return (0..count).map(evaluate).collect() };
    let mut done = Vec::with_capacity(count);
    let mut few = count;
    // The item that failed among others and is evaluated alone.
    let mut alone = None;
    while done.len() < count {
        let from = done.len();
        if alone == Some(from) {
            done.push(evaluate(from)?);
            alone = None;
            continue;
        }
        let end = alone.unwrap_or(count).min(from.saturating_add(few));
        match evaluate_together(writing, plan, from..end, &evaluate)? {
            Ok(ended) => {
                done.extend(ended);
                few = few.saturating_mul(2);
            }
            Err(before) => {
                alone = Some(from + before);
                few = FEW.max(before);
            }
        }
    }
    Ok(done)
}

/// Evaluates several items and applies their writes. If one fails, returns how many precede it.
fn evaluate_together<T>(
    writing: &dyn Writing,
    plan: &PushPlan<'_>,
    items: Range<usize>,
    evaluate: impl Fn(usize) -> Result<T, Fault>,
) -> Result<Result<Vec<T>, usize>, Fault> {
    writing.begin()?;
    let before = plan.start();
    let evaluated = items.enumerate().map(|(number, item)| {
        plan.next_group(number);
        evaluate(item)
    });
    let ended = evaluated.collect::<Result<Vec<T>, Fault>>();
    match ended.and_then(|ended| plan.finish().map(|()| ended)) {
        Err(Fault::Undone) => {
            writing.undo()?;
            Ok(Err(plan.undo_all(before)))
        }
        done => done.map(Ok),
    }
}

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
/// undone. Without a plan one by one. Ends before an item, but not before the first, if `is_over`: the result is shorter then.
pub(super) fn evaluate_all<T>(
    writing: &dyn Writing,
    plan: Option<&PushPlan<'_>>,
    count: usize,
    evaluate: impl Fn(usize) -> Result<T, Fault>,
    is_over: impl Fn() -> bool,
) -> Result<Vec<T>, Fault> {
    let mut done = Vec::with_capacity(count);
    let Some(plan) = plan else {
        while done.len() < count && (done.is_empty() || !is_over()) {
            done.push(evaluate(done.len())?);
        }
        return Ok(done);
    };
    let mut few = count;
    // The item that failed among others and is evaluated alone.
    let mut alone = None;
    while done.len() < count && (done.is_empty() || !is_over()) {
        let from = done.len();
        if alone == Some(from) {
            done.push(evaluate(from)?);
            alone = None;
            continue;
        }
        let end = alone.unwrap_or(count).min(from.saturating_add(few));
        match evaluate_together(writing, plan, from..end, &evaluate, &is_over)? {
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
    is_over: impl Fn() -> bool,
) -> Result<Result<Vec<T>, usize>, Fault> {
    writing.begin()?;
    let before = plan.start();
    let goes_on = |(number, _): &(usize, usize)| *number == 0 || !is_over();
    let evaluated = items.enumerate().take_while(goes_on).map(|(number, item)| {
        plan.next_group(number);
        evaluate(item)
    });
    let ended = evaluated.collect::<Result<Vec<T>, Fault>>();
    let finish = || plan.check_buckets().and_then(|()| plan.finish());
    match ended.and_then(|ended| finish().map(|()| ended)) {
        Err(Fault::Undone) => {
            writing.undo()?;
            Ok(Err(plan.undo_all(before)))
        }
        done => done.map(Ok),
    }
}

//! One run of an action's code, on the rows of the running transaction.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value as Json;

use super::budget::Bounds;
use super::context::Context;
use super::{Actions, Arguments, Registered};
use crate::engine::queue::seen::Keyed;
use crate::engine::transaction::{EngineTransaction, StatementContext};
use crate::error::{ActionFault, Error, Result};
use crate::ids::{MutationId, TableNumber};

/// What is run, and its inputs.
#[derive(Clone, Copy)]
pub(crate) struct ActionRun<'a> {
    pub(crate) actions: &'a Actions,
    pub(crate) registered: &'a Registered,
    pub(crate) arguments: &'a Arguments,
    pub(crate) mutation: MutationId,
    pub(crate) time_ms: i64,
    pub(crate) bounds: &'a Bounds,
}

/// Result of a run.
pub(crate) struct RunResult {
    /// The tables that count as read, also by a run that failed.
    pub(crate) reads: Vec<TableNumber>,
    /// Rows that it read by key.
    pub(crate) keyed: Keyed,
    pub(crate) result: Result<Json>,
}

impl RunResult {
    /// An action that did not start; it counts as having read what its last run read.
    pub(crate) fn not_started(reads: Vec<TableNumber>, error: Error) -> Self {
        Self { reads, keyed: Keyed::default(), result: Err(error) }
    }

    /// Whether waiting for its code timed out.
    pub(crate) fn is_out_of_time(&self) -> bool {
        matches!(self.result, Err(Error::Action { fault: ActionFault::TimedOut, .. }))
    }
}

/// Runs it. Its writes are in the rows and in the capture, even if it failed: the caller rolls them
/// back.
pub(crate) fn run(parts: StatementContext<'_>, order: ActionRun<'_>) -> RunResult {
    let ActionRun { actions, registered, arguments, mutation, time_ms, bounds } = order;
    let action = &*registered.action;
    let budget = bounds.budget;
    let (db, capture) = (parts.db, parts.capture);
    let began = bounds.host.elapsed();
    let _acting = capture.acting(time_ms.saturating_mul(1000), budget.bytes);
    let timed = db.watch.time(budget.run);
    let mut tx = EngineTransaction::new(parts, false);
    let mut context = Context::new(&mut tx, actions, action.name(), (mutation, time_ms), bounds);
    // What the code shares with other threads is behind locks; its writes here are rolled back.
    let done = catch_unwind(AssertUnwindSafe(|| action.run(&mut context, arguments)));
    let (reads, keyed, counts) = context.finish();
    bounds.spend(bounds.host.elapsed().saturating_sub(began));
    let result = done.unwrap_or_else(|panic| Err(Error::Callback(panic_text(&*panic))));
    let ended = tx.ended().map_or(Ok(()), |ended| Err(ended.error()));
    // A run that exceeded its limit fails even if the code ignores the error.
    let spent = db.awake().and_then(|()| {
        let fault = if timed.is_over() {
            ActionFault::TooSlow { limit: budget.run }
        } else if capture.is_full() {
            ActionFault::TooLarge { limit: budget.bytes }
        } else {
            return Ok(());
        };
        Err(Error::Action { action: action.name().to_owned(), fault })
    });
    let result = spent.and(result).and_then(|value| counts.and(ended).map(|()| value));
    RunResult { reads, keyed, result }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| String::from("an action panicked"))
}

//! Performs an action: one transaction, one mutation with its intent.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use super::budget::ActionBudget;
use super::run::{ActionRun, run};
use super::{Actions, Arguments, Performed, Registered};
use crate::ending::LeaseOwner;
use crate::engine::Engine;
use crate::engine::queue::Intent;
use crate::engine::queue::seen::{Keyed, SeenRow};
use crate::engine::rows::encode;
use crate::error::{ActionFault, Error, Result};

/// Sets the app's actions. With `strict`, which is for the bundled manifest, every action must
/// fit the tables. Otherwise a mismatch shows when an action is performed.
///
/// # Errors
/// `Config` with every problem.
pub fn set_actions(engine: &mut Engine, actions: Arc<Actions>, strict: bool) -> Result<()> {
    actions.check()?;
    let problems =
        if engine.schema.manifest.is_some() { problems_of(engine, &actions)? } else { vec![] };
    if strict && !problems.is_empty() {
        return Err(Error::Configuration(problems));
    }
    for problem in problems {
        tracing::warn!(problem, "an action does not fit the tables");
    }
    engine.capture.guard_for_actions(&actions.guarded);
    engine.actions = actions;
    Ok(())
}

/// What of the actions does not fit the current tables.
fn problems_of(engine: &mut Engine, actions: &Actions) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let tables = actions.guarded.iter().chain(actions.identities.keys());
    for table in tables.filter(|table| engine.schema.named(table).is_none()) {
        problems.push(format!("actions: table {table} is not synced"));
    }
    engine.compile_with(|tx| {
        for (place, sql) in &actions.statements {
            if let Err(error) = tx.fit(sql) {
                problems.push(format!("{place}: {error}"));
            }
        }
    })?;
    Ok(problems)
}

/// Sets the limits of actions. They are not validated here: [`Config`](crate::Config) does
/// that.
pub fn set_action_budget(engine: &mut Engine, budget: ActionBudget) {
    engine.bounds.budget = budget;
}

/// Sets how asynchronous actions are waited for: what ends the waiting when the file is
/// released, and how long one may be idle.
pub(crate) fn wait_for_actions(engine: &mut Engine, keeper: Arc<dyn LeaseOwner>, idle: Duration) {
    (engine.bounds.keeper, engine.bounds.idle) = (Some(keeper), idle);
}

/// Performs an action: its writes to synced tables become one mutation, which is in the queue
/// when this returns.
///
/// # Errors
/// `Action` for an unknown action, invalid arguments, and a rejection by its own rules;
/// otherwise those of its statements and of its code. The whole action is rolled back.
pub fn perform(engine: &mut Engine, name: &str, arguments: &Json) -> Result<Performed> {
    engine.in_local_transaction(|engine| perform_within(engine, name, arguments))
}

/// Whether an action may share its transaction with other writes: its code waits for nothing, and
/// unlike its own statements, triggers of the app may depend on earlier commits.
pub(crate) fn shares(engine: &Engine, name: &str) -> bool {
    engine.actions.is_declared(name) && !engine.db.app_has_triggers().unwrap_or(true)
}

/// [`perform`] in the open transaction of a local write.
pub(crate) fn perform_within(
    engine: &mut Engine,
    name: &str,
    arguments: &Json,
) -> Result<Performed> {
    let actions = Arc::clone(&engine.actions);
    let Some(registered) = actions.newest(name) else {
        return Err(Error::Action { action: name.to_owned(), fault: ActionFault::Unknown });
    };
    let arguments = registered.arguments(arguments.clone())?;
    act(engine, &actions, registered, &arguments)
}

/// Performs it in the open transaction.
pub(crate) fn act(
    engine: &mut Engine,
    actions: &Actions,
    registered: &Registered,
    arguments: &Arguments,
) -> Result<Performed> {
    let place = engine.queue.place(&*engine.host);
    let (id, mutation, time_ms) = (place.id, place.id, place.time_ms());
    let bounds = &engine.bounds.clone();
    let order = ActionRun { actions, registered, arguments, mutation, time_ms, bounds };
    let ran = run(engine.parts(), order);
    let value = ran.result?;
    let intent = Intent {
        action: registered.action.name().to_owned(),
        version: registered.action.version(),
        args: arguments.to_json(),
        reads: ran.reads,
        seen: seen(engine, &ran.keyed)?,
    };
    let written = engine.flush(Some((place, intent)))?;
    Ok(Performed { id: written.map(|_| id), value })
}

/// What the running action has read by key, with the values before the run.
fn seen(engine: &Engine, keyed: &Keyed) -> Result<Vec<SeenRow>> {
    if keyed.is_empty() {
        return Ok(Vec::new());
    }
    let version = engine.schema.manifest.as_ref().map_or(0, |ours| ours.schema_version);
    let effect = encode::decode(&engine.capture.compose(version)?.effect)?;
    keyed.seen(engine.db.conn(), &engine.schema, &effect)
}

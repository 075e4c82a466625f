//! Performs an action: one transaction, one mutation with its intent.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use super::budget::Budget;
use super::run::{ActionRun, run};
use super::{Actions, Arguments, Performed, Registered};
use crate::ending::LeaseOwner;
use crate::engine::Engine;
use crate::engine::queue::Intent;
use crate::engine::queue::seen::{Keyed, SeenRow};
use crate::engine::rows::encode;
use crate::error::{ActionFault, Error, Result};

impl Engine {
    /// Sets the app's actions. With `strict`, which is for the bundled manifest, every action must
    /// fit the tables. Otherwise a mismatch shows when an action is performed.
    ///
    /// # Errors
    /// `Config` with every problem.
    pub fn set_actions(&mut self, actions: Arc<Actions>, strict: bool) -> Result<()> {
        actions.check()?;
        let problems =
            if self.schema.manifest.is_some() { self.problems_of(&actions) } else { vec![] };
        if strict && !problems.is_empty() {
            return Err(Error::Config(problems));
        }
        for problem in problems {
            tracing::warn!(problem, "an action does not fit the tables");
        }
        self.capture.guard_for_actions(&actions.guarded);
        self.actions = actions;
        Ok(())
    }

    /// What of the actions does not fit the current tables.
    fn problems_of(&mut self, actions: &Actions) -> Vec<String> {
        let mut problems = Vec::new();
        let tables = actions.guarded.iter().chain(actions.identities.keys());
        for table in tables.filter(|table| self.schema.named(table).is_none()) {
            problems.push(format!("actions: table {table} is not synced"));
        }
        self.compile_with(|tx| {
            for (place, sql) in &actions.statements {
                if let Err(error) = tx.fit(sql) {
                    problems.push(format!("{place}: {error}"));
                }
            }
        });
        problems
    }

    /// Sets the limits of actions. They are not validated here: [`Config`](crate::Config) does
    /// that.
    pub fn set_action_budget(&mut self, budget: Budget) {
        self.bounds.budget = budget;
    }

    /// Sets how asynchronous actions are waited for: what ends the waiting when the file is
    /// released, and how long one may be idle.
    pub(crate) fn wait_for_actions(&mut self, keeper: Arc<dyn LeaseOwner>, idle: Duration) {
        (self.bounds.keeper, self.bounds.idle) = (Some(keeper), idle);
    }

    /// Performs an action: its writes to synced tables become one mutation, which is in the queue
    /// when this returns.
    ///
    /// # Errors
    /// `Action` for an unknown action, invalid arguments, and a rejection by its own rules;
    /// otherwise those of its statements and of its code. The whole action is rolled back.
    pub fn perform(&mut self, name: &str, arguments: &Json) -> Result<Performed> {
        let actions = Arc::clone(&self.actions);
        let Some(registered) = actions.newest(name) else {
            return Err(Error::Action { action: name.to_owned(), fault: ActionFault::Unknown });
        };
        let arguments = registered.arguments(arguments.clone())?;
        self.in_local_transaction(|engine| engine.act(&actions, registered, &arguments))
    }

    /// Performs it in the open transaction.
    pub(crate) fn act(
        &mut self,
        actions: &Actions,
        registered: &Registered,
        arguments: &Arguments,
    ) -> Result<Performed> {
        let place = self.queue.place(&*self.host);
        let (id, mutation, time_ms) = (place.id, place.id, place.time_ms());
        let bounds = &self.bounds.clone();
        let order = ActionRun { actions, registered, arguments, mutation, time_ms, bounds };
        let ran = run(self.parts(), order);
        let value = ran.result?;
        let intent = Intent {
            action: registered.action.name().to_owned(),
            version: registered.action.version(),
            args: arguments.to_json(),
            reads: ran.reads,
            seen: self.seen(&ran.keyed)?,
        };
        let written = self.flush(Some((place, intent)))?;
        Ok(Performed { id: written.map(|_| id), value })
    }

    /// What the running action has read by key, with the values before the run.
    fn seen(&self, keyed: &Keyed) -> Result<Vec<SeenRow>> {
        if keyed.is_empty() {
            return Ok(Vec::new());
        }
        let version = self.schema.manifest.as_ref().map_or(0, |ours| ours.schema_version);
        let effect = encode::decode(&self.capture.compose(version)?.effect)?;
        keyed.seen(self.db.conn(), &self.schema, &effect)
    }
}

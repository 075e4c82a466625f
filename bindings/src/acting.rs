//! An action's code in another language, and what it is given while it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use rejoin_core::{Arguments, AsyncAction, Error, HeldContext, Parameter, Upgrade};
use serde_json::{Map, Value as Json};

use crate::actions::{ActionDefinition, upgrades};
use crate::error::{ActionFault, RejoinError, Result, calm};
use crate::value::bytes;
use crate::value::{SqlValue, count, values};

/// An action that is code of the app.
///
/// It is run when it is performed, and again, at any time, when rows change under it before the server has it. So it must depend
/// on nothing but its context and its arguments, and must wait for nothing but the context: the writer, and everybody who writes,
/// waits for it. It may be called on any thread.
#[uniffi::export(with_foreign)]
#[async_trait::async_trait]
pub trait ActionHandler: Send + Sync {
    /// Does it. `arguments_json` is an object with those of the parameters that were given; what comes back is the action's
    /// value as JSON, or empty for null.
    ///
    /// Every call on the context must have been waited for when it ends. An exception means that nothing of the action is kept:
    /// an error of the context goes on as it is, `Action` with the fault `Refused` says no in the words of its `words`, and
    /// anything else is `Callback`. Where it runs again, the mutation is parked as `Unreplayable`.
    ///
    /// Without an order for the configured time it is given up, and so it is by `suspend` and `shutdown`: its task is cancelled,
    /// and later calls on the context throw.
    async fn run(&self, context: Arc<ActionContext>, arguments_json: String) -> Result<String>;
}

/// One run of an action, for as long as its code runs: the rows of its transaction, and a time and ids that are the same at each
/// run.
#[derive(Debug, uniffi::Object)]
pub struct ActionContext {
    inner: HeldContext,
    /// The last error that was given out, in both forms: whoever throws it on means this one.
    last: Mutex<Option<(RejoinError, Error)>>,
}

#[uniffi::export]
impl ActionContext {
    /// When the action was performed: milliseconds since 1970. In its statements `rejoin_now()` is the same instant.
    pub fn time_ms(&self) -> i64 {
        self.inner.time_ms()
    }

    /// The same as text, as all columns write it (`2026-01-02T03:04:05.000000Z`).
    pub fn time(&self) -> String {
        self.inner.time()
    }

    /// The id of the mutation that this run makes, or made.
    pub fn mutation_id(&self) -> String {
        self.inner.mutation().to_string()
    }

    /// Runs one statement, and tells how many rows it changed.
    ///
    /// Throws as the client's `execute` does, and `InvalidInput` for what an action may not use: tables that are not synced,
    /// chance, clocks, counters of the connection, rowids.
    #[uniffi::method(default(params = []))]
    pub async fn execute(&self, sql: String, params: Vec<SqlValue>) -> Result<i64> {
        self.noted(self.inner.execute(&sql, values(params)).await).map(count)
    }

    /// The rows of a statement, which may also write (`RETURNING`), as a row buffer; it sees what the action wrote. Say
    /// `ORDER BY` where more than one row can come. Throws as `execute` does.
    #[uniffi::method(default(params = []))]
    pub async fn query(&self, sql: String, params: Vec<SqlValue>) -> Result<Vec<u8>> {
        bytes(&self.noted(self.inner.query(&sql, values(params)).await)?)
    }

    /// The id of a row of `table` that this action makes: the same at each run, and another one for each action. `row_json` is an
    /// object with at least the columns that are the table's identity; where that is a projection, it is what the app's function
    /// made of the row.
    ///
    /// Throws `Action` if this run was given the id already, and nothing of the action is kept; `InvalidInput` if the table has
    /// no identity, or the row lacks a column of it.
    pub async fn row_id(&self, table: String, row_json: String) -> Result<String> {
        let wrong =
            |why| Err(RejoinError::InvalidInput { reason: format!("row_json is no JSON: {why}") });
        let row = json(&row_json).or_else(wrong)?;
        self.noted(self.inner.row_id(&table, &row).await)
    }
}

impl ActionContext {
    fn noted<T>(&self, result: rejoin_core::Result<T>) -> Result<T> {
        result.map_err(|error| {
            let foreign = RejoinError::from(&error);
            *self.last() = Some((foreign.clone(), error));
            foreign
        })
    }

    /// What the code has thrown, for the core.
    fn thrown(&self, error: RejoinError) -> Error {
        if let Some((_, own)) = self.last().take().filter(|(given, _)| *given == error) {
            return own;
        }
        match error {
            RejoinError::Action { fault: ActionFault::Refused, words, reason, .. } => {
                self.inner.refuse(if words.is_empty() { reason } else { words })
            }
            RejoinError::Callback { reason } => Error::Foreign(reason),
            other => Error::Foreign(other.to_string()),
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<(RejoinError, Error)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the core runs.
pub(crate) struct ForeignAction {
    name: String,
    version: i64,
    parameters: Vec<Parameter>,
    upgrades: BTreeMap<i64, Upgrade>,
    handler: Arc<dyn ActionHandler>,
}

impl ForeignAction {
    pub(crate) fn new(
        definition: ActionDefinition,
        handler: Arc<dyn ActionHandler>,
    ) -> Result<Self> {
        let ActionDefinition { name, version, parameters, upgrades: older } = definition;
        let upgrades = upgrades(&name, older)?;
        let parameters = parameters.into_iter().map(Parameter::from).collect();
        Ok(Self { name, version: version.unwrap_or(1), parameters, upgrades, handler })
    }
}

impl AsyncAction for ForeignAction {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.parameters.clone()
    }

    fn upgrade(&self, version: i64, arguments: Map<String, Json>) -> Option<Map<String, Json>> {
        Some(self.upgrades.get(&version)?.apply(arguments))
    }

    fn run(
        &self,
        context: HeldContext,
        arguments: Arguments,
    ) -> BoxFuture<'static, rejoin_core::Result<Json>> {
        let handler = Arc::clone(&self.handler);
        let context = Arc::new(ActionContext { inner: context, last: Mutex::default() });
        Box::pin(async move {
            let given = Arc::clone(&context);
            let ended = calm(async move { handler.run(given, arguments.to_json()).await }).await;
            let value = ended.map_err(|error| context.thrown(error))?;
            let wrong = |why| Err(Error::Foreign(format!("what it gave back is no JSON: {why}")));
            json(&value).or_else(wrong)
        })
    }
}

/// JSON as it crosses: empty for null.
pub(crate) fn json(text: &str) -> serde_json::Result<Json> {
    if text.is_empty() { Ok(Json::Null) } else { serde_json::from_str(text) }
}

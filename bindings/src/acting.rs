//! Actions whose code is in another language, and their context.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use rejoin_core::{Arguments, AsyncAction, Error, HeldContext, Parameter, Upgrade};
use rejoin_ffi_bytes::FfiBytes;
use serde_json::{Map, Value as Json};

use crate::actions::{ActionDefinition, upgrades};
use crate::error::{ActionFault, RejoinError, Result, calm};
use crate::value::bytes;
use crate::value::{SqlValue, count, values};

/// An action whose code is in the app.
///
/// The code runs when the action is performed, and may run again at any time when rows change
/// before the server has accepted it. It must depend only on its context and arguments, and wait
/// only for its context, because the writer and all other writes wait for it. It may be called on
/// any thread.
#[uniffi::export(with_foreign)]
#[async_trait::async_trait]
pub trait ActionHandler: Send + Sync {
    /// Runs the action. `arguments_json` is an object with the given parameters. Returns the
    /// action's value as JSON, or empty for null.
    ///
    /// The code must await every call on the context before it returns. An exception rolls the
    /// action back: an error of the context is passed on, `Action` with the fault `Refused` is a
    /// failed rule with the message in `detail`, and anything else is `Callback`. In a re-run it
    /// parks the mutation as `Unreplayable`.
    ///
    /// It is aborted when it is idle for the configured time, and by `suspend` and `shutdown`: its
    /// task is cancelled, and later calls on the context throw.
    async fn run(&self, context: Arc<ActionContext>, arguments_json: String) -> Result<String>;
}

/// One run of an action: its transaction, and a time and ids that are the same in each run.
#[derive(Debug, uniffi::Object)]
pub struct ActionContext {
    inner: HeldContext,
    /// The last error that was thrown, in both forms, to recognize it when the code rethrows it.
    last: Mutex<Option<(RejoinError, Error)>>,
}

#[uniffi::export]
impl ActionContext {
    /// When the action was performed: milliseconds since 1970. SQL function: `rejoin_now()`.
    pub fn time_ms(&self) -> i64 {
        self.inner.time_ms()
    }

    /// The same as text, in the form of all columns (`2026-01-02T03:04:05.000000Z`).
    pub fn time(&self) -> String {
        self.inner.time()
    }

    /// The id of the mutation of this action.
    pub fn mutation_id(&self) -> String {
        self.inner.mutation().to_string()
    }

    /// Runs one statement and returns the number of changed rows.
    ///
    /// Throws as the client's `execute` does, and `InvalidInput` for what an action may not use:
    /// unsynced tables, random values, clocks, connection counters, rowids.
    #[uniffi::method(default(params = []))]
    pub async fn execute(&self, sql: String, params: Vec<SqlValue>) -> Result<i64> {
        self.noted(self.inner.execute(&sql, values(params)).await).map(count)
    }

    /// The rows of a statement, which may write (`RETURNING`), as a row buffer; it sees the
    /// action's writes. Use `ORDER BY` if more than one row is possible. Throws as `execute` does.
    #[uniffi::method(default(params = []))]
    pub async fn query(&self, sql: String, params: Vec<SqlValue>) -> Result<FfiBytes> {
        bytes(&self.noted(self.inner.query(&sql, values(params)).await)?)
    }

    /// The id of a row of `table` that this action inserts: the same in each run, different for
    /// each action. `row_json` is an object with at least the identity columns of the table; for a
    /// projection, it is the result of the app's function.
    ///
    /// Throws `Action` if this run already used the id, which rolls the action back; `InvalidInput`
    /// if the table has no identity, or the row lacks a column of it.
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

    /// Converts an exception of the code for the core.
    fn thrown(&self, error: RejoinError) -> Error {
        if let Some((_, own)) = self.last().take().filter(|(given, _)| *given == error) {
            return own;
        }
        match error {
            RejoinError::Action { fault: ActionFault::Refused, detail, reason, .. } => {
                self.inner.refuse(if detail.is_empty() { reason } else { detail })
            }
            RejoinError::Callback { reason } => Error::Callback(reason),
            other => Error::Callback(other.to_string()),
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<(RejoinError, Error)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The core's adapter for a foreign action.
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
            let wrong = |why| Err(Error::Callback(format!("what it gave back is no JSON: {why}")));
            json(&value).or_else(wrong)
        })
    }
}

/// Parses JSON from the FFI boundary: empty for null.
pub(crate) fn json(text: &str) -> serde_json::Result<Json> {
    if text.is_empty() { Ok(Json::Null) } else { serde_json::from_str(text) }
}

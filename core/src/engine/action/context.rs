//! What an action's code can use: the rows of the transaction, and a time and ids that are the same
//! at each run.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use rejoin_protocol::time;
use serde_json::{Map, Value as Json};

use super::budget::Bounds;
use super::fit;
use super::identity::Identity;
use super::{Actions, Arguments};
use crate::engine::database::fit::ActionStatement;
use crate::engine::queue::seen::Keyed;
use crate::engine::transaction::EngineTransaction;
use crate::error::{ActionFault, Error, InputFault, Result};
use crate::ids::{MutationId, TableNumber};
use crate::params::IntoParams;
use crate::row_buffer::{Row, RowBuffer};
use crate::value::Value;

/// One run of an action, for as long as its code runs.
///
/// All row access of the code goes through it. The code may depend only on the rows, its arguments,
/// and the time and ids of this context: a later run on other rows gets the same arguments, time
/// and ids.
#[derive(Debug)]
pub struct Context<'a, 'engine> {
    tx: &'a mut EngineTransaction<'engine>,
    actions: &'a Actions,
    action: &'a str,
    mutation: MutationId,
    time_ms: i64,
    given: HashSet<(String, String)>,
    reads: BTreeSet<TableNumber>,
    bounds: &'a Bounds,
    keyed: Keyed,
    /// Whether the code is an asynchronous callback.
    waits: bool,
    /// A fault that counts even if the code ignores it.
    fault: Option<ActionFault>,
}

impl<'a, 'engine> Context<'a, 'engine> {
    pub(super) fn new(
        tx: &'a mut EngineTransaction<'engine>,
        actions: &'a Actions,
        action: &'a str,
        (mutation, time_ms): (MutationId, i64),
        bounds: &'a Bounds,
    ) -> Self {
        Self {
            tx,
            actions,
            action,
            mutation,
            time_ms,
            given: HashSet::new(),
            reads: BTreeSet::new(),
            bounds,
            keyed: Keyed::default(),
            waits: false,
            fault: None,
        }
    }

    /// When the action was performed: milliseconds since 1970, by the device's clock; never before
    /// that of an earlier mutation. In its statements `rejoin_now()` is the same instant.
    pub fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// [`Context::time_ms`] as text in the canonical form (`2026-01-02T03:04:05.000000Z`).
    pub fn time(&self) -> String {
        time::format(self.time_ms.saturating_mul(1000))
    }

    /// The mutation of this run.
    pub fn mutation(&self) -> MutationId {
        self.mutation
    }

    /// The id of a row of `table` that this action creates: the same at each run, and different for
    /// each action. `row` has at least the columns of the table's identity ([`Actions::identity`]).
    ///
    /// # Errors
    /// [`Error::Action`] if this run has already used the id: two rows with one identity cannot be
    /// distinguished, and the whole action is rolled back. [`InputFault::Refused`] if the table has no
    /// identity, or the row lacks a column of it.
    pub fn row_id(&mut self, table: &str, row: &Json) -> Result<String> {
        let Some(identity) = self.actions.identity_of(table) else {
            return Err(InputFault::Refused {
                what: format!("an id for a row of {table}"),
                reason: String::from("its identity is not declared; use Actions::identity"),
            }
            .into());
        };
        let empty = Map::new();
        self.id_by(identity, table, row.as_object().unwrap_or(&empty))
    }

    pub(super) fn id_by(
        &mut self,
        identity: &Identity,
        table: &str,
        row: &Map<String, Json>,
    ) -> Result<String> {
        let id = identity.id_of(self.mutation, table, row)?;
        if self.given.insert((table.to_owned(), id.clone())) {
            return Ok(id);
        }
        let fault = ActionFault::SameRow { table: table.to_owned() };
        self.fault = Some(fault.clone());
        Err(self.error(fault))
    }

    /// Runs one statement; returns the number of changed rows.
    ///
    /// # Errors
    /// As [`EngineTransaction::execute`](crate::Transaction::execute); [`InputFault::Refused`] for what an
    /// action may not use: tables that are not synced, random values, clocks, counters of the
    /// connection, rowids.
    pub fn execute(&mut self, sql: &str, params: impl IntoParams) -> Result<usize> {
        let params = params.into_params();
        self.check(sql, &params)?;
        self.timed(|tx| tx.execute(sql, &params))
    }

    /// The rows of a statement, which may also write (`RETURNING`). Their order matters: use `ORDER
    /// BY` if there can be more than one.
    ///
    /// # Errors
    /// As [`Context::execute`].
    pub fn query(&mut self, sql: &str, params: impl IntoParams) -> Result<RowBuffer> {
        let params = params.into_params();
        self.check(sql, &params)?;
        self.timed(|tx| tx.rows(sql, &params))
    }

    /// The first row of a statement.
    ///
    /// # Errors
    /// As [`Context::execute`].
    pub fn query_one(
        &mut self,
        sql: &str,
        params: impl IntoParams,
    ) -> Result<Option<Row<'static>>> {
        Ok(self.query(sql, params)?.into_first())
    }

    /// The error for an action that its own rules reject, with a message for the user: the whole
    /// action is rolled back.
    pub fn refuse(&self, message: impl Into<String>) -> Error {
        self.error(ActionFault::Precondition(message.into()))
    }

    /// The limits of this run.
    pub(crate) fn bounds(&self) -> &Bounds {
        self.bounds
    }

    fn error(&self, fault: ActionFault) -> Error {
        Error::Action { action: self.action.to_owned(), fault }
    }

    /// Marks the code as asynchronous: only its statements are timed here.
    pub(crate) fn waits(&mut self) {
        self.waits = true;
        self.tx.parts.db.watch.rest();
    }

    fn timed<T>(
        &mut self,
        run: impl FnOnce(&mut EngineTransaction<'engine>) -> Result<T>,
    ) -> Result<T> {
        if !self.waits {
            return run(self.tx);
        }
        let watch = Arc::clone(&self.tx.parts.db.watch);
        watch.again(self.bounds.budget.run);
        let done = run(self.tx);
        watch.rest();
        done
    }

    fn check(&mut self, sql: &str, params: &[Value]) -> Result<()> {
        let fit = self.admit(sql, params)?;
        if let Some((row, columns)) = fit.keyed(params) {
            self.keyed.note(row, columns);
        }
        Ok(())
    }

    fn admit(&mut self, sql: &str, params: &[Value]) -> Result<Arc<ActionStatement>> {
        let fit = self.tx.fit(sql)?;
        self.reads.extend(&fit.tables);
        fit.check(params)?;
        Ok(fit)
    }

    /// The first row of a query whose result is only returned to the caller of the action: no write
    /// depends on it.
    pub(super) fn show(&mut self, sql: &str, params: &[Value]) -> Result<Option<Row<'static>>> {
        self.admit(sql, params)?;
        Ok(self.tx.rows(sql, params)?.into_first())
    }

    /// The first column of the first row.
    pub(super) fn first(&mut self, sql: &str, params: &[Value]) -> Result<Option<Value>> {
        self.check(sql, params)?;
        self.tx.query_one(sql, params, |row| row.get(0))
    }

    /// What this run has read; an error if the run must fail.
    pub(super) fn finish(self) -> (Vec<TableNumber>, Keyed, Result<()>) {
        let reads = self.reads.into_iter().collect();
        let action = self.action.to_owned();
        (reads, self.keyed, self.fault.map_or(Ok(()), |fault| Err(Error::Action { action, fault })))
    }
}

impl EngineTransaction<'_> {
    /// The determinism check of a statement; computed when it is compiled, and stored with its
    /// footprint.
    pub(super) fn fit(&mut self, sql: &str) -> Result<Arc<ActionStatement>> {
        let footprint = self.footprint(sql)?;
        if let Some(fit) = footprint.fit.get() {
            return Ok(Arc::clone(fit));
        }
        let found = fit::fit(&footprint, sql, self.parts.schema, self.parts.db.conn())?;
        Ok(Arc::clone(footprint.fit.get_or_init(|| Arc::new(found))))
    }
}

/// An action: its name and its code.
pub trait Action: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Its version: increases when its behaviour or its parameters change. Starts at 1.
    fn version(&self) -> i64 {
        1
    }

    /// Its parameters. Called once, at registration.
    fn parameters(&self) -> Vec<super::Parameter>;

    /// Converts the arguments of an older version, for a mutation that was performed with it and
    /// must run again. `None` (the default) if this version cannot: then the recorded effect of the
    /// mutation is applied.
    fn upgrade(&self, version: i64, arguments: Map<String, Json>) -> Option<Map<String, Json>> {
        let _ = (version, arguments);
        None
    }

    /// Runs the action. The value is returned by [`Client::perform`](crate::Client::perform).
    ///
    /// It runs on the writer's thread, in one transaction, and runs again when rows change before
    /// the server has it: so it must depend only on `context` and `arguments`.
    ///
    /// # Errors
    /// Any: the whole action is rolled back. [`Context::refuse`] creates the error for a violated
    /// rule of the app.
    fn run(&self, context: &mut Context<'_, '_>, arguments: &Arguments) -> Result<Json>;
}

//! Asynchronous actions: the code runs on its own thread and sends commands to the writer's thread.
//!
//! As for an interactive transaction, the writer's thread calls no app code. It waits on a [`CommandQueue`]
//! for commands, the end of the code, suspension or a timeout. When the wait ends early, the code's
//! future is dropped and every later command fails.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, abortable};
use serde_json::{Map, Value as Json};
use tokio::sync::oneshot;

use super::{CommandQueue, HandleCommand};
use crate::block_on::block_on;
use crate::ending::EndReason;
use crate::engine::action::{Action, Actions, Arguments, Context, Parameter};
use crate::error::{ActionFault, Error, Result};
use crate::ids::MutationId;
use crate::params::IntoParams;
use crate::row_buffer::RowBuffer;
use crate::runtime;
use crate::writer::{Task, bug, caught, panic_text};
use rejoin_protocol::time;

/// An action whose code waits between statements, for another language or thread. Where nothing has
/// to be waited for, [`Action`] is simpler and faster.
///
/// As for [`Action`], the code may run again at any time, and must depend only on its context and
/// arguments. The writer, and all other writes, wait for it:
///
/// - A performed action is aborted after [`transaction_idle`](crate::Config::transaction_idle)
///   without a command: [`ActionFault::TimedOut`], and nothing is kept.
/// - Re-runs under remote rows share [`ActionBudget::rebase`](crate::ActionBudget::rebase). Actions that exceed
///   it are applied as recorded, if that still fits.
/// - [`SyncHandle::suspend`](crate::SyncHandle::suspend) and [`Client::shutdown`](crate::Client::shutdown)
///   do not wait for it; it is rolled back.
///
/// In these cases its future is dropped, and each later call on its context fails.
pub trait AsyncAction: Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> &str;

    /// Its version, as [`Action::version`].
    fn version(&self) -> i64 {
        1
    }

    /// Its parameters. Called once, at registration.
    fn parameters(&self) -> Vec<Parameter>;

    /// As [`Action::upgrade`]. Called on the writer's thread: it must not block.
    fn upgrade(&self, version: i64, arguments: Map<String, Json>) -> Option<Map<String, Json>> {
        let _ = (version, arguments);
        None
    }

    /// Runs the action, on its own thread. It must await each call on its context before it
    /// returns.
    ///
    /// # Errors
    /// Any error rolls the action back. [`HeldContext::refuse`] creates the error of a failed rule.
    fn run(&self, context: HeldContext, arguments: Arguments) -> BoxFuture<'static, Result<Json>>;
}

impl Actions {
    /// Registers an asynchronous action.
    #[must_use]
    pub fn register_async(self, action: impl AsyncAction) -> Self {
        self.register(Waiting(Arc::new(action)))
    }
}

/// [`Context`] for asynchronous code: its methods may be called from any thread until the action
/// ends.
#[derive(Debug)]
pub struct HeldContext {
    line: Arc<CommandQueue<Command>>,
    action: String,
    mutation: MutationId,
    time_ms: i64,
}

/// A command of the code, or its result.
enum Command {
    Work(Work),
    Done(Result<Json>),
}

type Work = Box<dyn FnOnce(Result<&mut Worker<'_, '_, '_>>) + Send>;

/// State of the writer's thread while it serves an action.
struct Worker<'a, 'b, 'engine> {
    context: &'a mut Context<'b, 'engine>,
    /// An error that is not the action's fault; it ends the action even if its code ignores it.
    fatal: Option<Error>,
}

impl HandleCommand for Command {
    fn refuse(self, error: Error) {
        if let Self::Work(work) = self {
            work(Err(error));
        }
    }
}

/// The engine's adapter for an asynchronous action.
struct Waiting<A>(Arc<A>);

impl<A: AsyncAction> Action for Waiting<A> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn version(&self) -> i64 {
        self.0.version()
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.0.parameters()
    }

    fn upgrade(&self, version: i64, arguments: Map<String, Json>) -> Option<Map<String, Json>> {
        self.0.upgrade(version, arguments)
    }

    fn run(&self, context: &mut Context<'_, '_>, arguments: &Arguments) -> Result<Json> {
        let bounds = context.bounds().clone();
        context.waits();
        let until = bounds.left().map(|left| bounds.host.elapsed().saturating_add(left));
        let line = CommandQueue::within(Arc::clone(&bounds.host), bounds.idle, until);
        if let Some(keeper) = &bounds.keeper {
            keeper.hold(Arc::clone(&line) as _)?;
        }
        let result = self.served(context, arguments, &line);
        if let Some(keeper) = &bounds.keeper {
            keeper.release();
        }
        result
    }
}

impl<A: AsyncAction> Waiting<A> {
    /// Starts the code and serves its commands until it ends or is aborted.
    fn served(
        &self,
        context: &mut Context<'_, '_>,
        arguments: &Arguments,
        line: &Arc<CommandQueue<Command>>,
    ) -> Result<Json> {
        line.rest();
        let held = HeldContext {
            line: Arc::clone(line),
            action: self.name().to_owned(),
            mutation: context.mutation(),
            time_ms: context.time_ms(),
        };
        let (action, arguments) = (Arc::clone(&self.0), arguments.clone());
        let code = async move { action.run(held, arguments).await };
        let (code, ending) = abortable(AssertUnwindSafe(code).catch_unwind());
        let done = Arc::clone(line);
        runtime::thread("action", move || {
            // An aborted future has no result.
            if let Ok(ended) = block_on(code) {
                let panicked = |panic: Box<dyn std::any::Any + Send>| {
                    Err(Error::Callback(panic_text(&*panic).to_owned()))
                };
                done.push(Command::Done(ended.unwrap_or_else(panicked)));
            }
        })?;
        let mut worker = Worker { context, fatal: None };
        let over = loop {
            match line.take() {
                Ok(Command::Work(work)) => work(Ok(&mut worker)),
                Ok(Command::Done(result)) => {
                    line.end(EndReason::Acted);
                    return result;
                }
                Err(over) => break over,
            }
            if let Some(fatal) = worker.fatal.take() {
                ending.abort();
                line.end(EndReason::of_failure(&fatal));
                return Err(fatal);
            }
        };
        ending.abort();
        let error =
            if matches!(over, EndReason::TimedOut) { timed_out(self.name()) } else { over.error() };
        line.end(over);
        Err(error)
    }
}

fn timed_out(action: &str) -> Error {
    Error::Action { action: action.to_owned(), fault: ActionFault::TimedOut }
}

impl HeldContext {
    /// As [`Context::time_ms`].
    pub fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// As [`Context::time`].
    pub fn time(&self) -> String {
        time::format(self.time_ms.saturating_mul(1000))
    }

    /// As [`Context::mutation`].
    pub fn mutation(&self) -> MutationId {
        self.mutation
    }

    /// As [`Context::row_id`].
    ///
    /// # Errors
    /// As there, and the reason for the end of the action, if it has ended.
    pub fn row_id(&self, table: &str, row: &Json) -> Task<String> {
        let (table, row) = (table.to_owned(), row.clone());
        self.order(move |context| context.row_id(&table, &row))
    }

    /// As [`Context::execute`].
    ///
    /// # Errors
    /// As there, and the reason for the end of the action, if it has ended.
    pub fn execute(&self, sql: &str, params: impl IntoParams) -> Task<usize> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |context| context.execute(&sql, params))
    }

    /// As [`Context::query`].
    ///
    /// # Errors
    /// As there, and the reason for the end of the action, if it has ended.
    pub fn query(&self, sql: &str, params: impl IntoParams) -> Task<RowBuffer> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |context| context.query(&sql, params))
    }

    /// As [`Context::refuse`].
    pub fn refuse(&self, message: impl Into<String>) -> Error {
        Error::Action {
            action: self.action.clone(),
            fault: ActionFault::Precondition(message.into()),
        }
    }

    fn order<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Context<'_, '_>) -> Result<R> + Send + 'static,
    ) -> Task<R> {
        let (reply, receiver) = oneshot::channel();
        let line = Arc::clone(&self.line);
        let work: Work = Box::new(move |worker| {
            let result = worker.and_then(|worker| {
                let done =
                    caught(|| body(worker.context)).unwrap_or_else(|panic| Err(bug(&*panic)));
                done.map_err(|error| worker.kept(error, &line))
            });
            line.rest();
            let _ = reply.send(result);
        });
        self.line.push(Command::Work(work));
        Task::coming(receiver)
    }
}

impl Worker<'_, '_, '_> {
    /// Converts an error for the code. The code must not turn a full disk into a refusal.
    fn kept(&mut self, error: Error, line: &CommandQueue<Command>) -> Error {
        let error = line.explain(error);
        if !error.is_of_the_machine() {
            return error;
        }
        let refusal = EndReason::of_failure(&error).error();
        self.fatal = Some(error);
        refusal
    }
}

//! Actions whose code waits: it runs on a thread of its own, and the writer's thread does what it orders until it has ended.
//!
//! The same turn as for a held transaction: nothing of the app is called on the writer's thread, which sleeps on a [`Line`] and is
//! woken by orders, by the end of the code, by suspension and by time. Whatever ends the waiting lets the code go: its future is
//! dropped, and each later order is refused.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, abortable};
use serde_json::{Map, Value as Json};
use tokio::sync::oneshot;

use super::{Line, Order};
use crate::block_on::block_on;
use crate::ending::Ending;
use crate::engine::action::{Action, Actions, Arguments, Context, Parameter};
use crate::error::{ActionFault, Error, Result};
use crate::ids::MutationId;
use crate::params::IntoParams;
use crate::row_buffer::RowBuffer;
use crate::runtime;
use crate::writer::{Answer, bug, caught, panic_text};
use rejoin_protocol::time;

/// An action whose code waits between two statements, for what another language or another thread has to say. Where nothing is
/// waited for, [`Action`] is simpler and faster.
///
/// What holds for the code of [`Action`] holds for this: it runs again at any time, and may depend on nothing but its context
/// and its arguments. The writer waits for it, and everybody who writes behind it:
///
/// - performed, it is given up when it has ordered nothing for [`transaction_idle`](crate::Config::transaction_idle):
///   [`ActionFault::TimedOut`], and nothing of it is kept;
/// - run again while remote rows come in, it shares [`Budget::rebase`](crate::Budget::rebase) with all others of that
///   moment. What is not done by then is laid down as recorded, if that still fits;
/// - [`Client::suspend`](crate::Client::suspend) and [`Client::shutdown`](crate::Client::shutdown) do not wait for it, and it is
///   rolled back.
///
/// Its future is dropped then, and each later call on its context is refused.
pub trait AsyncAction: Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> &str;

    /// Its version, as [`Action::version`].
    fn version(&self) -> i64 {
        1
    }

    /// What it takes. Asked once, when it is registered.
    fn parameters(&self) -> Vec<Parameter>;

    /// As [`Action::upgrade`]. Called on the writer's thread: it must not wait for anything.
    fn upgrade(&self, version: i64, arguments: Map<String, Json>) -> Option<Map<String, Json>> {
        let _ = (version, arguments);
        None
    }

    /// Does it, on a thread of its own. It must have awaited each call on its context when it ends.
    ///
    /// # Errors
    /// Any: nothing of it is kept. [`HeldContext::refuse`] makes the one by which a rule of the app says no.
    fn run(&self, context: HeldContext, arguments: Arguments) -> BoxFuture<'static, Result<Json>>;
}

impl Actions {
    /// Adds an action that is code which waits.
    #[must_use]
    pub fn register_async(self, action: impl AsyncAction) -> Self {
        self.register(Waiting(Arc::new(action)))
    }
}

/// [`Context`] for code that waits: its methods may be called from any thread, until the action has ended.
#[derive(Debug)]
pub struct HeldContext {
    line: Arc<Line<Wish>>,
    action: String,
    mutation: MutationId,
    time_ms: i64,
}

/// What the code wants, or came to.
enum Wish {
    Work(Work),
    Done(Result<Json>),
}

type Work = Box<dyn FnOnce(Result<&mut Desk<'_, '_, '_>>) + Send>;

/// What lies before the writer's thread while it waits for an action.
struct Desk<'a, 'b, 'engine> {
    context: &'a mut Context<'b, 'engine>,
    /// What is no fault of the action, and ends it whatever its code makes of it.
    fatal: Option<Error>,
}

impl Order for Wish {
    fn refuse(self, error: Error) {
        if let Self::Work(work) = self {
            work(Err(error));
        }
    }
}

/// An action that is waited for, as the engine runs it.
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
        let line = Line::within(Arc::clone(&bounds.host), bounds.idle, until);
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
    /// Starts the code, and does what it orders until it has ended or may not go on.
    fn served(
        &self,
        context: &mut Context<'_, '_>,
        arguments: &Arguments,
        line: &Arc<Line<Wish>>,
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
            // Aborted, it has nobody to tell.
            if let Ok(ended) = block_on(code) {
                let panicked = |panic: Box<dyn std::any::Any + Send>| {
                    Err(Error::Foreign(panic_text(&*panic).to_owned()))
                };
                done.push(Wish::Done(ended.unwrap_or_else(panicked)));
            }
        })?;
        let mut desk = Desk { context, fatal: None };
        let over = loop {
            match line.take() {
                Ok(Wish::Work(work)) => work(Ok(&mut desk)),
                Ok(Wish::Done(result)) => {
                    line.end(Ending::Acted);
                    return result;
                }
                Err(over) => break over,
            }
            if let Some(fatal) = desk.fatal.take() {
                ending.abort();
                line.end(Ending::of_failure(&fatal));
                return Err(fatal);
            }
        };
        ending.abort();
        let error =
            if matches!(over, Ending::TimedOut) { timed_out(self.name()) } else { over.error() };
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
    /// As there, and why the action is over, if it is.
    pub fn row_id(&self, table: &str, row: &Json) -> Answer<String> {
        let (table, row) = (table.to_owned(), row.clone());
        self.order(move |context| context.row_id(&table, &row))
    }

    /// As [`Context::execute`].
    ///
    /// # Errors
    /// As there, and why the action is over, if it is.
    pub fn execute(&self, sql: &str, params: impl IntoParams) -> Answer<usize> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |context| context.execute(&sql, params))
    }

    /// As [`Context::query`].
    ///
    /// # Errors
    /// As there, and why the action is over, if it is.
    pub fn query(&self, sql: &str, params: impl IntoParams) -> Answer<RowBuffer> {
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
    ) -> Answer<R> {
        let (tell, told) = oneshot::channel();
        let line = Arc::clone(&self.line);
        let work: Work = Box::new(move |desk| {
            let result = desk.and_then(|desk| {
                let done = caught(|| body(desk.context)).unwrap_or_else(|panic| Err(bug(&*panic)));
                done.map_err(|error| desk.kept(error, &line))
            });
            line.rest();
            let _ = tell.send(result);
        });
        self.line.push(Wish::Work(work));
        Answer::coming(told)
    }
}

impl Desk<'_, '_, '_> {
    /// What the code is told of an error. Whoever hears of a full disk must not make a refusal of it.
    fn kept(&mut self, error: Error, line: &Line<Wish>) -> Error {
        let error = line.explain(error);
        if !error.is_of_the_machine() {
            return error;
        }
        let told = Ending::of_failure(&error).error();
        self.fatal = Some(error);
        told
    }
}

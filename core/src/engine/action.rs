//! Actions: named writes of the app that run again when the rows they depend on have changed.
//!
//! An action is code ([`Action`]) or data ([`Actions::declare`]). It is performed in one
//! transaction, which becomes one mutation with the action's name, version and arguments (its
//! intent) and what it wrote (its effect). An action must be deterministic: its writes depend only
//! on the rows, its arguments, and the time and ids of its [`Context`]. This module rejects
//! everything else by name, and records what each run reads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::engine::queue::Intent;
use crate::error::{ActionFault, Error, Result};
use crate::ids::MutationId;

pub(crate) mod budget;
mod context;
mod declared;
pub(crate) mod fit;
mod identity;
mod keyed;
pub mod perform;
pub(crate) mod run;
mod token;

pub use budget::ActionBudget;
pub use context::{Action, Context};
pub use declared::Upgrade;
pub use rejoin_protocol::argument::{Arguments, Parameter, ParameterType};

use declared::Declared;
use identity::Identity;

/// Result of performing an action.
#[derive(Debug, Clone, PartialEq)]
pub struct Performed {
    /// The pending mutation; `None` if the action wrote nothing to synced tables.
    pub id: Option<MutationId>,
    /// The action's return value.
    pub value: Json,
}

/// The actions of an app and their rules; passed when the file is opened, in
/// [`Services`](crate::Services).
///
/// ```
/// use rejoin_core::{Actions, Parameter, ParameterType};
///
/// let actions = Actions::new()
///     .declare(r#"{"name": "take", "parameters": [{"name": "id", "type": "text"}, {"name": "n", "type": "integer"}],
///         "preconditions": [{"sql": "SELECT n >= :n FROM stock WHERE id = :id", "message": "not enough in stock"}],
///         "statements": ["UPDATE stock SET n = n - :n WHERE id = :id"],
///         "result": "SELECT n AS left FROM stock WHERE id = :id"}"#)
///     .handler("rename", [Parameter::new("name", ParameterType::Text)], |context, arguments| {
///         context.execute("UPDATE stock SET name = ?", [arguments.value("name")])?;
///         Ok(serde_json::Value::Null)
///     })
///     .only_by_actions("stock");
/// assert!(actions.check().is_ok());
/// let wrong = actions.declare("{}").declare(r#"{"name": "take", "statements": []}"#).check();
/// assert!(wrong.unwrap_err().to_string().matches(';').count() > 0, "all problems are listed");
/// ```
#[derive(Default)]
pub struct Actions {
    registered: BTreeMap<(String, i64), Registered>,
    identities: HashMap<String, Identity>,
    guarded: BTreeSet<String>,
    /// Where declared actions run SQL, to compile it once there is a schema.
    statements: Vec<(String, String)>,
    problems: Vec<String>,
}

/// An action with its parameters.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) action: Arc<dyn Action>,
    pub(crate) parameters: Arc<[Parameter]>,
    is_declared: bool,
}

impl fmt::Debug for Actions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.registered.keys().collect();
        out.debug_struct("Actions").field("registered", &names).finish_non_exhaustive()
    }
}

impl Actions {
    /// Creates an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an action that is code. Several versions of one name may be registered: the newest is
    /// performed.
    #[must_use]
    pub fn register(mut self, action: impl Action + 'static) -> Self {
        self.add(Arc::new(action), false);
        self
    }

    /// Adds an action of version 1 that is a function.
    #[must_use]
    pub fn handler(
        self,
        name: &str,
        parameters: impl IntoIterator<Item = Parameter>,
        run: impl Fn(&mut Context<'_, '_>, &Arguments) -> Result<Json> + Send + Sync + 'static,
    ) -> Self {
        let parameters = parameters.into_iter().collect();
        self.register(Handler { name: name.to_owned(), parameters, run })
    }

    /// Adds an action that is data: one JSON object with `name`, `version` (default 1),
    /// `parameters` (each `name`, `type`, `optional`), `upgrades` (by older version: what to
    /// `rename`, `set` and `drop` in its arguments), `ids` (by name: `table` and `identity`, a list
    /// of parameters), `preconditions` (each `sql`, which must return true, and `message`),
    /// `statements`, and `result` (a query, whose first row is returned as an object).
    ///
    /// Statements name parameters and ids as `:name`; `:time` is the time of the action,
    /// `:mutation` its id.
    #[must_use]
    pub fn declare(mut self, json: &str) -> Self {
        match Declared::parse(json) {
            Err(problems) => self.problems.extend(problems),
            Ok(declared) => {
                let of = |(place, sql): (String, &str)| {
                    (format!("action {}: {place}", declared.name()), sql.to_owned())
                };
                self.statements.extend(declared.statements().map(of));
                self.add(Arc::new(declared), true);
            }
        }
        self
    }

    /// Sets the columns that identify a row of a table among the rows of one action.
    /// [`Context::row_id`] derives the row's id from them.
    #[must_use]
    pub fn identity(mut self, table: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        self.identities.insert(table.to_ascii_lowercase(), Identity::Columns(columns));
        self
    }

    /// Like [`Actions::identity`], with a pure function that returns the identity of a row.
    #[must_use]
    pub fn projection(
        mut self,
        table: &str,
        project: impl Fn(&Map<String, Json>) -> Map<String, Json> + Send + Sync + 'static,
    ) -> Self {
        let identity = Identity::Projection(Arc::new(project));
        self.identities.insert(table.to_ascii_lowercase(), identity);
        self
    }

    /// Declares that only actions write this table: any other local write fails with
    /// [`InputFault::Refused`](crate::InputFault::Refused). Rows from the server are applied as usual.
    #[must_use]
    pub fn only_by_actions(mut self, table: &str) -> Self {
        self.guarded.insert(table.to_ascii_lowercase());
        self
    }

    /// Whether only actions write this table.
    pub(crate) fn guards(&self, table: &str) -> bool {
        self.guarded.contains(&table.to_ascii_lowercase())
    }

    /// Checks all actions; [`Client::open_with`](crate::Client::open_with) calls this, too.
    ///
    /// # Errors
    /// [`Error::Configuration`] with every problem of every action.
    pub fn check(&self) -> Result<()> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(Error::Configuration(self.problems.clone()))
        }
    }

    fn add(&mut self, action: Arc<dyn Action>, is_declared: bool) {
        let (name, version) = (action.name().to_owned(), action.version());
        let parameters: Arc<[Parameter]> = action.parameters().into();
        let mut problem = |text: String| self.problems.push(format!("action {name}: {text}"));
        if name.is_empty() || version < 1 {
            problem(String::from("it needs a name, and a version of 1 or more"));
        }
        for (at, Parameter { name, .. }) in parameters.iter().enumerate() {
            let of_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
            if name.is_empty() || !name.chars().all(of_word) {
                problem(format!("the parameter {name:?} is not of letters, digits and _"));
            }
            if parameters[..at].iter().any(|other| other.name == *name) {
                problem(format!("two parameters {name}"));
            }
        }
        let registered = Registered { action, parameters, is_declared };
        if self.registered.insert((name.clone(), version), registered).is_some() {
            self.problems.push(format!("action {name}: version {version} is there twice"));
        }
    }

    /// Whether the newest version of an action is data: it runs nothing but SQL. The name may be unknown.
    pub(crate) fn is_declared(&self, name: &str) -> bool {
        self.newest(name).is_some_and(|registered| registered.is_declared)
    }

    fn identity_of(&self, table: &str) -> Option<&Identity> {
        self.identities.get(&table.to_ascii_lowercase())
    }

    /// The action that runs an intent: the version with which it was performed, else the oldest
    /// newer one that upgrades its arguments. `None` if there is neither.
    pub(crate) fn prepared(&self, intent: &Intent) -> Option<Result<(Registered, Arguments)>> {
        let mut given: Json = serde_json::from_str(&intent.args).ok()?;
        let newest = (intent.action.clone(), i64::MAX);
        let mut versions = self.registered.range((intent.action.clone(), intent.version)..=newest);
        versions.find_map(|((_, version), registered)| {
            let given = if *version == intent.version {
                given.take()
            } else {
                let old = given.as_object()?.clone();
                Json::Object(registered.action.upgrade(intent.version, old)?)
            };
            Some(registered.arguments(given).map(|arguments| (registered.clone(), arguments)))
        })
    }

    /// Whether [`Actions::prepared`] would return an action.
    pub(crate) fn takes(&self, intent: &Intent) -> bool {
        // The version with which it was performed has already accepted these arguments: no parsing
        // is needed.
        let performed = (intent.action.clone(), intent.version);
        self.registered.contains_key(&performed) || self.prepared(intent).is_some()
    }

    /// The newest version of an action.
    pub(crate) fn newest(&self, name: &str) -> Option<&Registered> {
        let versions = (name.to_owned(), i64::MIN)..=(name.to_owned(), i64::MAX);
        self.registered.range(versions).next_back().map(|(_, registered)| registered)
    }
}

impl Registered {
    /// Validates the given arguments against the action's parameters.
    pub(crate) fn arguments(&self, given: Json) -> Result<Arguments> {
        rejoin_protocol::argument::check(&self.parameters, given).map_err(|problems| {
            let action = self.action.name().to_owned();
            Error::Action { action, fault: ActionFault::Arguments(problems) }
        })
    }
}

/// An action that is a function.
struct Handler<F> {
    name: String,
    parameters: Vec<Parameter>,
    run: F,
}

impl<F> Action for Handler<F>
where
    F: Fn(&mut Context<'_, '_>, &Arguments) -> Result<Json> + Send + Sync,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.parameters.clone()
    }

    fn run(&self, context: &mut Context<'_, '_>, arguments: &Arguments) -> Result<Json> {
        (self.run)(context, arguments)
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! Server-side checks of actions: queries configured by action name and version.
//!
//! A device sends name, version and arguments, never SQL. The queries are the operator's.

use rejoin_protocol::argument::Parameter;

use crate::error::Problem;

/// The check parameter that the server fills in: the user who pushes.
pub const USER: &str = "user";

/// An action with the checks that must hold before it is applied.
///
/// The checks run in the push transaction, before any row of the mutation is written. Concurrent
/// writers are locked out until the mutation is decided. The checks see all rows of all users,
/// including soft-deleted rows.
///
/// ```
/// use rejoin_protocol::argument::{Parameter, ParameterType};
/// use rejoin_server::{ActionConfig, Config, TableConfig};
///
/// let leave = ActionConfig::new("leave")
///     .with_parameter(Parameter::new("ward", ParameterType::Text))
///     .with_check(
///         "SELECT count(*) > 1 FROM shifts WHERE ward = :ward AND on_call AND deleted_at IS NULL",
///         "one person must stay on call",
///     );
/// let shifts = TableConfig::owned("shifts", "owner_id");
/// let config = Config::new("app.db").with_table(shifts).with_action(leave);
/// assert_eq!(config.problems(), []);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionConfig {
    /// The name used by devices.
    pub name: String,
    /// The version that this entry applies to. `None`: every version without an entry of its own.
    /// If all entries of a name have versions, other versions are refused.
    pub version: Option<i64>,
    /// The parameters, as devices declare them.
    pub parameters: Vec<Parameter>,
    /// The checks, in the order in which they run.
    pub checks: Vec<Check>,
}

/// A query that must return true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// One read-only query. The first cell of its first row must be a number other than 0. It may
    /// use the action's parameters as `:name`, and the user who pushes as `:user`.
    pub sql: String,
    /// The message of the rejection if the check fails.
    pub message: String,
}

impl ActionConfig {
    /// An action in every version, without parameters and checks.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: None, parameters: Vec::new(), checks: Vec::new() }
    }

    /// Restricts the entry to one version.
    #[must_use]
    pub fn with_version(mut self, version: i64) -> Self {
        self.version = Some(version);
        self
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with_parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Adds a check.
    #[must_use]
    pub fn with_check(mut self, sql: impl Into<String>, message: impl Into<String>) -> Self {
        self.checks.push(Check { sql: sql.into(), message: message.into() });
        self
    }

    /// The path of one of its keys in problems.
    pub(crate) fn place(&self, key: &str) -> String {
        let dot = if key.is_empty() { "" } else { "." };
        format!("actions.{}{dot}{key}", self.name)
    }

    /// Reports the problems that can be found without the database.
    pub(super) fn check(&self, before: &[Self], problems: &mut Vec<Problem>) {
        let mut problem = |key: &str, why: String| {
            problems.push(Problem::new(self.place(key), why));
        };
        if self.name.is_empty() {
            problem("name", String::from("the action has no name"));
        }
        if self.version.is_some_and(|version| version < 1) {
            problem("version", String::from("at least 1"));
        }
        if before.iter().any(|other| other.name == self.name && other.version == self.version) {
            problem("version", String::from("this version is there twice"));
        }
        if self.checks.is_empty() {
            problem(
                "checks",
                String::from("the action has no checks: add one, or remove the action"),
            );
        }
        for (at, Parameter { name, .. }) in self.parameters.iter().enumerate() {
            let of_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
            if name.is_empty() || !name.chars().all(of_word) {
                problem("parameters", format!("{name:?} is not of letters, digits and _"));
            } else if name == USER {
                problem("parameters", format!("the server fills :{USER} in"));
            } else if self.parameters[..at].iter().any(|other| other.name == *name) {
                problem("parameters", format!("two are called {name}"));
            }
        }
    }

    /// Whether a check may use this parameter.
    pub(crate) fn knows(&self, name: &str) -> bool {
        name == USER || self.parameters.iter().any(|parameter| parameter.name == name)
    }
}

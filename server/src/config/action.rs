//! What the server asks before it takes an action: queries of its own, by the action's name and version (O8).
//!
//! A device sends name, version and arguments, never SQL. What is asked stands here, and is the operator's.

use rejoin_protocol::argument::Parameter;

use crate::error::Problem;

/// The parameter of every check that the server fills in: who pushes.
pub const USER: &str = "user";

/// An action with what must hold before it is applied.
///
/// The checks are asked in the transaction of the push, before anything of the mutation is written: the store lets nobody else
/// write until that is decided. They see every row of every user, deleted ones too, as it stands in the tables.
///
/// ```
/// use rejoin_protocol::argument::{Parameter, ParameterType};
/// use rejoin_server::{ActionConfig, Config, TableConfig};
///
/// let leave = ActionConfig::new("leave")
///     .with_parameter(Parameter::new("ward", ParameterType::Text))
///     .with_check(
///         "SELECT count(*) > 1 FROM shifts WHERE ward = :ward AND on_call AND deleted_at IS NULL",
///         "somebody must stay on call",
///     );
/// let shifts = TableConfig::owned("shifts", "owner_id");
/// let config = Config::new("app.db").with_table(shifts).with_action(leave);
/// assert_eq!(config.problems(), []);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionConfig {
    /// Its name, as devices perform it.
    pub name: String,
    /// The version that this is said of; `None` for every version that has no entry of its own. If all entries of a name have
    /// versions, any other version of it is refused.
    pub version: Option<i64>,
    /// What it takes, as devices declare it.
    pub parameters: Vec<Parameter>,
    /// What must hold, asked in this order.
    pub checks: Vec<Check>,
}

/// A query that must give truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// One query that only reads. The first cell of its first row must be a number other than 0. It names the action's
    /// parameters as `:name`, and the user who pushes as `:user`.
    pub sql: String,
    /// The words with which the action is rejected else.
    pub message: String,
}

impl ActionConfig {
    /// Every version of this action, without parameters and checks yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: None, parameters: Vec::new(), checks: Vec::new() }
    }

    /// The same of one version only.
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

    /// The place of one of its keys, in problems.
    pub(crate) fn place(&self, key: &str) -> String {
        let dot = if key.is_empty() { "" } else { "." };
        format!("actions.{}{dot}{key}", self.name)
    }

    /// What is wrong with it, as far as no database is needed to see it.
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
                String::from("nothing is asked: add a check, or leave the action out"),
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

    /// The parameters that a check may name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        name == USER || self.parameters.iter().any(|parameter| parameter.name == name)
    }
}

//! The configured checks that the server runs before it accepts an action.
//!
//! A check is a query of the operator. A device sends an action's name and arguments, and no SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Ending, Performed};

use super::rejection::{ChangeError, reject};
use crate::config::ActionConfig;
use crate::error::Problem;
use crate::store::Reading;

/// The checks of actions, by name and version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checks(Arc<BTreeMap<String, Vec<ActionConfig>>>);

impl Checks {
    pub(crate) fn new(actions: &[ActionConfig]) -> Self {
        let mut by_name: BTreeMap<String, Vec<ActionConfig>> = BTreeMap::new();
        for action in actions {
            by_name.entry(action.name.clone()).or_default().push(action.clone());
        }
        Self(Arc::new(by_name))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The configuration of this version of the action; `None` if the action is not configured.
    pub(super) fn of(&self, performed: &Performed) -> Result<Option<&ActionConfig>, ChangeError> {
        let Some(versions) = self.0.get(&performed.name) else { return Ok(None) };
        let of = |version| versions.iter().find(move |action| action.version == version);
        if let Some(action) = of(Some(performed.version)).or_else(|| of(None)) {
            return Ok(Some(action));
        }
        let message = format!(
            "this server does not know version {} of the action {}",
            performed.version, performed.name
        );
        reject(Ending::Refused, code::ACTION_VERSION, None, message)
    }
}

/// Prepares every check on the database: each must be one query that only reads, with known parameters.
pub(crate) fn problems(actions: &[ActionConfig], reading: &dyn Reading) -> Vec<Problem> {
    let mut problems = Vec::new();
    for action in actions {
        for check in &action.checks {
            let mut problem = |why| problems.push(Problem::new(action.place("checks"), why));
            match reading.parameters_of(&check.sql) {
                Err(why) => problem(why),
                Ok(names) => {
                    for name in names.iter().filter(|name| !action.knows(name)) {
                        problem(format!(":{name} is no parameter"));
                    }
                }
            }
        }
    }
    problems
}

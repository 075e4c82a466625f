//! What an action has read, and what the server itself asks before it takes one (O8).
//!
//! Rows that were read by their keys are compared with those that stand here, in the group's transaction and before anything
//! of the group is written: two actions that each write what the other has read cannot both pass. What was read otherwise is
//! covered by queries that stand in this server's configuration; a device names an action and its arguments, and no SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use rejoin_protocol::Value;
use rejoin_protocol::argument::{self, Parameter};
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Ending, Group, Performed};
use rejoin_protocol::wire::row::RowImage;
use serde_json::Value as Json;

use super::judge::{Judge, Stop, is_as_sent, stop};
use super::naming::Naming;
use super::sent::decode;
use crate::config::{ActionConfig, USER};
use crate::error::{Fault, Problem};
use crate::model::ReadScope;
use crate::store::Reading;

/// What is asked before actions are taken, by name and version.
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

    /// What holds for this version: nothing, where nothing is said of the action.
    fn of(&self, performed: &Performed) -> Result<Option<&ActionConfig>, Stop> {
        let Some(versions) = self.0.get(&performed.name) else { return Ok(None) };
        let of = |version| versions.iter().find(move |action| action.version == version);
        if let Some(action) = of(Some(performed.version)).or_else(|| of(None)) {
            return Ok(Some(action));
        }
        let message = format!(
            "this server does not know version {} of the action {}",
            performed.version, performed.name
        );
        stop(Ending::Refused, code::ACTION_VERSION, None, message)
    }
}

/// Tries every check on the database as it is: each is one query that only reads, and names no parameter that is not there.
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

/// Why a group is not applied, and the table and key of the row at fault, if it is one.
pub(super) type AtFault<'g> = (Option<(&'g str, &'g str)>, Stop);

impl Judge<'_> {
    /// Whether what the group was made on still holds; else the row at fault, if it is one.
    pub(super) fn still_holds<'g>(
        &self,
        group: &'g Group,
        naming: &Naming,
    ) -> Result<(), AtFault<'g>> {
        for seen in &group.reads {
            let row = (seen.table_name.as_str(), seen.id.as_str());
            self.compare(seen, naming).map_err(|why| (Some(row), why))?;
        }
        match &group.action {
            Some(performed) => self.ask(performed).map_err(|why| (None, why)),
            None => Ok(()),
        }
    }

    /// Compares a row that was read with the one that stands here for this user.
    fn compare(&self, seen: &RowImage, naming: &Naming) -> Result<(), Stop> {
        let Some(table) = self.writing.schema().table(&seen.table_name) else {
            let message = "table not registered for sync";
            return stop(Ending::Refused, code::TABLE_UNKNOWN, None, message);
        };
        let row = match table.key_of(&seen.id) {
            Some(key) => self.writing.image(table, &key, &ReadScope::of(self.held))?,
            None => None,
        };
        match row {
            None if seen.absent => Ok(()),
            None => self.not_there(table, &seen.id),
            Some(_) if seen.absent => {
                let message = "the action found no record of this key, and there is one";
                stop(Ending::Conflict, code::ROW_EXISTS, None, message)
            }
            Some(row) => {
                let cells = decode(table, seen.data.as_deref(), naming)?;
                let column = |at: usize| table.columns.get(at);
                let other = cells.iter().find(|(at, value)| {
                    !column(*at).is_some_and(|column| column.protected)
                        && !is_as_sent(table, &row, *at, value)
                });
                let Some((at, _)) = other else { return Ok(()) };
                let name = column(*at).map(|column| column.name.as_str());
                let message = "the column has another value than the one that the action read";
                stop(Ending::Conflict, code::ROW_CHANGED, name, message)
            }
        }
    }

    /// Asks what this server wants to know before it takes the action.
    fn ask(&self, performed: &Performed) -> Result<(), Stop> {
        let Some(action) = self.checks.of(performed)? else { return Ok(()) };
        let given = Json::Object(performed.arguments.clone());
        let parameters: Arc<[Parameter]> = action.parameters.as_slice().into();
        let arguments = match argument::check(&parameters, given) {
            Ok(arguments) => arguments,
            Err(problems) => {
                let message = format!("arguments: {}", problems.join("; "));
                return stop(Ending::Refused, code::ACTION_ARGUMENTS, None, message);
            }
        };
        let names = action.parameters.iter().map(|parameter| parameter.name.as_str());
        let mut values: Vec<(&str, Value)> =
            names.map(|name| (name, arguments.value(name))).collect();
        values.push((USER, Value::from(self.user)));
        for check in &action.checks {
            if !self
                .writing
                .holds(&check.sql, &values)
                .map_err(|fault| undecided(performed, fault))?
            {
                return stop(Ending::Rejected, code::ACTION_CHECK, None, check.message.clone());
            }
        }
        Ok(())
    }
}

/// A check that cannot be asked decides nothing: the group is sent again, and the log says why.
fn undecided(performed: &Performed, fault: Fault) -> Fault {
    tracing::warn!(action = performed.name, %fault, "a check could not be asked");
    fault
}

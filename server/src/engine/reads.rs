//! Validates what an action depends on: the rows that it read, and the configured checks.
//!
//! Rows read by key are compared with the stored rows, in the group's transaction and before its
//! writes. A value that an earlier mutation of the device left counts as the one that the device
//! wrote. If two actions each write a row that the other one read, one is rejected. Other reads are
//! covered by checks.

use std::sync::Arc;

use rejoin_protocol::Value;
use rejoin_protocol::argument::{self, Parameter};
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Ending, Group, Performed};
use rejoin_protocol::wire::row::RowImage;
use serde_json::Value as Json;

use super::budget::Budget;
use super::change::decode;
use super::checks::Checks;
use super::conflict::is_as_sent;
use super::naming::Naming;
use super::own_writes::OwnWrites;
use super::rejection::{ChangeError, reject};
use super::user_transaction::UserTransaction;
use crate::config::USER;
use crate::error::Fault;

/// The table and key of the conflicting row, if it is one, and why the group is not applied.
type AtFault<'g> = (Option<(&'g str, &'g str)>, ChangeError);

/// Whether all rows read are unchanged and all checks pass; otherwise the conflicting row, if it is
/// one.
pub(super) fn validate<'g>(
    transaction: &UserTransaction<'_>,
    (checks, budget, own): (&Checks, &Budget<'_>, &OwnWrites),
    group: &'g Group,
    naming: &Naming,
) -> Result<(), AtFault<'g>> {
    for seen in &group.reads {
        let row = (seen.table_name.as_str(), seen.id.as_str());
        compare(transaction, (budget, own), seen, naming).map_err(|why| (Some(row), why))?;
    }
    match &group.action {
        Some(performed) => check(transaction, checks, performed).map_err(|why| (None, why)),
        None => Ok(()),
    }
}

/// Compares a row read by the action with the stored row.
fn compare(
    transaction: &UserTransaction<'_>,
    (budget, own): (&Budget<'_>, &OwnWrites),
    seen: &RowImage,
    naming: &Naming,
) -> Result<(), ChangeError> {
    let Some(table) = transaction.schema().table(&seen.table_name) else {
        let message = "table not registered for sync";
        return reject(Ending::Refused, code::TABLE_UNKNOWN, None, message);
    };
    let row = match table.key_of(&seen.id) {
        Some(key) => transaction.image(table, &key)?,
        None => None,
    };
    match row {
        None if seen.absent => Ok(()),
        None => transaction.not_there(table, &seen.id),
        Some(_) if seen.absent => {
            let message = "the action found no record of this key, and there is one";
            reject(Ending::Conflict, code::ROW_EXISTS, None, message)
        }
        Some(row) => {
            budget.check_row(&row)?;
            let mut cells = decode(table, seen.data.as_deref(), naming)?;
            own.replace_expected(table, &seen.id, &row, &mut cells);
            let column = |at: usize| table.columns.get(at);
            let other = cells.iter().find(|(at, value)| {
                !column(*at).is_some_and(|column| column.protected)
                    && !is_as_sent(table, &row, *at, value)
            });
            let Some((at, _)) = other else { return Ok(()) };
            let name = column(*at).map(|column| column.name.as_str());
            let message = "the column has another value than the one that the action read";
            reject(Ending::Conflict, code::ROW_CHANGED, name, message)
        }
    }
}

/// Runs the checks of the action.
fn check(
    transaction: &UserTransaction<'_>,
    checks: &Checks,
    performed: &Performed,
) -> Result<(), ChangeError> {
    let Some(action) = checks.of(performed)? else { return Ok(()) };
    let given = Json::Object(performed.arguments.clone());
    let parameters: Arc<[Parameter]> = action.parameters.as_slice().into();
    let arguments = match argument::check(&parameters, given) {
        Ok(arguments) => arguments,
        Err(problems) => {
            let message = format!("arguments: {}", problems.join("; "));
            return reject(Ending::Refused, code::ACTION_ARGUMENTS, None, message);
        }
    };
    let names = action.parameters.iter().map(|parameter| parameter.name.as_str());
    let mut values: Vec<(&str, Value)> = names.map(|name| (name, arguments.value(name))).collect();
    values.push((USER, Value::from(transaction.user)));
    for check in &action.checks {
        if !transaction
            .settled()?
            .holds(&check.sql, &values)
            .map_err(|fault| undecided(performed, fault))?
        {
            return reject(Ending::Rejected, code::ACTION_CHECK, None, check.message.clone());
        }
    }
    Ok(())
}

/// A check that fails to run leaves the group undecided: the device retries, and the reason is
/// logged.
fn undecided(performed: &Performed, fault: Fault) -> Fault {
    tracing::warn!(action = performed.name, %fault, "a check could not be run");
    fault
}

//! What a change sends: its columns by their names of then, its values by their columns' kinds. Nothing is said of any row here.

use std::collections::BTreeMap;

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Change, Ending, Operation};
use rejoin_protocol::{ColumnKind, Value, codec};
use serde_json::value::RawValue;

use super::judge::{Cells, Stop, stop};
use super::naming::Naming;
use super::schema::Table;

/// A column that is not there is told of first, whatever row it is: what is left of an edit is never taken for the whole (S2).
pub(super) fn check_names(table: &Table, change: &Change, naming: &Naming) -> Result<(), Stop> {
    if change.operation == Operation::Delete {
        return Ok(());
    }
    let sent = change
        .data
        .as_deref()
        .map(|sent| serde_json::from_str::<BTreeMap<String, &RawValue>>(sent.get()));
    let Some(Ok(members)) = sent else { return Ok(()) };
    match members.keys().find(|name| naming.column(table, name).is_none()) {
        Some(name) => stop(Ending::Rejected, code::COLUMN_UNKNOWN, Some(name), "no such column"),
        None => Ok(()),
    }
}

/// The cells that were sent, decoded by their columns' kinds. The server's own columns are refused.
pub(super) fn sent_cells(
    table: &Table,
    key: &Value,
    change: &Change,
    naming: &Naming,
) -> Result<Cells, Stop> {
    if change.operation == Operation::Delete {
        return Ok(Cells::new());
    }
    let cells = decode(table, change.data.as_deref(), naming)?;
    for (at, value) in &cells {
        let Some(column) = table.columns.get(*at) else { continue };
        let is_other_key = *at == table.key && value != key;
        if column.generated || column.protected || is_other_key {
            let message = "the column is the server's to write";
            return stop(Ending::Rejected, code::COLUMN_PROTECTED, Some(&column.name), message);
        }
    }
    Ok(cells)
}

/// Columns and their values, in the order of their names.
pub(super) fn decode(
    table: &Table,
    sent: Option<&RawValue>,
    naming: &Naming,
) -> Result<Cells, Stop> {
    let Some(sent) = sent else { return Ok(Cells::new()) };
    let members: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_str(sent.get());
    let Ok(members) = members else {
        return stop(Ending::Rejected, code::VALUE_INVALID, None, "the columns are no JSON object");
    };
    let mut cells = Cells::with_capacity(members.len());
    for (name, raw) in members {
        let Some(at) = naming.column(table, &name) else {
            return stop(Ending::Rejected, code::COLUMN_UNKNOWN, Some(&name), "no such column");
        };
        let kind = table.columns.get(at).map_or(ColumnKind::String, |column| column.kind);
        match codec::decode(raw.get(), kind) {
            Ok(value) => cells.push((at, value)),
            Err(error) => {
                return stop(Ending::Rejected, code::VALUE_INVALID, Some(&name), error.why);
            }
        }
    }
    Ok(cells)
}

//! What a change sends: its columns by their names of then, its values by their columns' kinds. Nothing is said of any row here.

use std::collections::BTreeMap;

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Change, Ending, Operation};
use rejoin_protocol::{ColumnKind, Value, codec};
use serde_json::value::RawValue;

use super::judge::{Cells, Stop, stop};
use super::naming::Naming;
use crate::model::Table;

/// A column that was sent: its position, its name of then, and its value as it came.
pub(super) type Named<'a> = (usize, String, &'a RawValue);

/// What a change sends, its values unread. A column that is not there is told of before any row is looked at: what is left of an
/// edit is never taken for the whole (S2).
pub(super) fn named<'a>(
    table: &Table,
    change: &'a Change,
    naming: &Naming,
) -> Result<Vec<Named<'a>>, Stop> {
    if change.operation == Operation::Delete {
        return Ok(Vec::new());
    }
    names(table, change.data.as_deref(), naming)
}

/// The cells that were sent, decoded by their columns' kinds. The server's own columns are refused.
pub(super) fn sent_cells(table: &Table, key: &Value, sent: &[Named<'_>]) -> Result<Cells, Stop> {
    let cells = values(table, sent)?;
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
    values(table, &names(table, sent, naming)?)
}

fn names<'a>(
    table: &Table,
    sent: Option<&'a RawValue>,
    naming: &Naming,
) -> Result<Vec<Named<'a>>, Stop> {
    let Some(sent) = sent else { return Ok(Vec::new()) };
    let members: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_str(sent.get());
    let Ok(members) = members else {
        return stop(Ending::Rejected, code::VALUE_INVALID, None, "the columns are no JSON object");
    };
    let mut named = Vec::with_capacity(members.len());
    for (name, raw) in members {
        let Some(at) = naming.column(table, &name) else {
            return stop(Ending::Rejected, code::COLUMN_UNKNOWN, Some(&name), "no such column");
        };
        named.push((at, name, raw));
    }
    Ok(named)
}

fn values(table: &Table, named: &[Named<'_>]) -> Result<Cells, Stop> {
    let mut cells = Cells::with_capacity(named.len());
    for (at, name, raw) in named {
        let kind = table.columns.get(*at).map_or(ColumnKind::String, |column| column.kind);
        match codec::decode(raw.get(), kind) {
            Ok(value) => cells.push((*at, value)),
            Err(error) => {
                return stop(Ending::Rejected, code::VALUE_INVALID, Some(name), error.why);
            }
        }
    }
    Ok(cells)
}

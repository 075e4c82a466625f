//! A pushed change, decoded: column names resolved in its schema version, values decoded by column
//! kind.
//!
//! No rows are read here; `evaluate` decides whether a change applies.

use std::collections::BTreeMap;

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Change, Ending, Group, Operation};
use rejoin_protocol::{ColumnKind, Value, codec};
use serde_json::value::RawValue;

use super::naming::Naming;
use super::rejection::{ChangeError, reject};
use crate::model::Table;

/// Cells of a change, by position.
pub(super) type Cells = Vec<(usize, Value)>;

/// A change with its table, its key and its decoded cells.
#[derive(Clone, Copy)]
pub(super) struct RowChange<'a> {
    pub(super) group: &'a Group,
    pub(super) change: &'a Change,
    pub(super) naming: &'a Naming,
    pub(super) table: &'a Table,
    pub(super) key: &'a Value,
    /// The sent cells.
    pub(super) data: &'a Cells,
}

/// A sent column: its position, its name in the change's schema version, and its encoded value.
pub(super) type SentColumn<'a> = (usize, String, &'a RawValue);

/// The sent columns, with values still encoded. An unknown column is rejected before any row is
/// read: an edit is never applied in part.
pub(super) fn named<'a>(
    table: &Table,
    change: &'a Change,
    naming: &Naming,
) -> Result<Vec<SentColumn<'a>>, ChangeError> {
    if change.operation == Operation::Delete {
        return Ok(Vec::new());
    }
    names(table, change.data.as_deref(), naming)
}

/// The sent cells, decoded. Server-owned columns are rejected.
pub(super) fn sent_cells(
    table: &Table,
    key: &Value,
    sent: &[SentColumn<'_>],
) -> Result<Cells, ChangeError> {
    let cells = values(table, sent)?;
    for (at, value) in &cells {
        let Some(column) = table.columns.get(*at) else { continue };
        let is_other_key = *at == table.key && value != key;
        if column.generated || column.protected || is_other_key {
            let message = "the column is the server's to write";
            return reject(Ending::Rejected, code::COLUMN_PROTECTED, Some(&column.name), message);
        }
    }
    Ok(cells)
}

/// Columns and their values, in the order of their names.
pub(super) fn decode(
    table: &Table,
    sent: Option<&RawValue>,
    naming: &Naming,
) -> Result<Cells, ChangeError> {
    values(table, &names(table, sent, naming)?)
}

fn names<'a>(
    table: &Table,
    sent: Option<&'a RawValue>,
    naming: &Naming,
) -> Result<Vec<SentColumn<'a>>, ChangeError> {
    let Some(sent) = sent else { return Ok(Vec::new()) };
    let members: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_str(sent.get());
    let Ok(members) = members else {
        return reject(
            Ending::Rejected,
            code::VALUE_INVALID,
            None,
            "the columns are no JSON object",
        );
    };
    let mut named = Vec::with_capacity(members.len());
    for (name, raw) in members {
        let Some(at) = naming.column(table, &name) else {
            return reject(Ending::Rejected, code::COLUMN_UNKNOWN, Some(&name), "no such column");
        };
        named.push((at, name, raw));
    }
    Ok(named)
}

fn values(table: &Table, named: &[SentColumn<'_>]) -> Result<Cells, ChangeError> {
    let mut cells = Cells::with_capacity(named.len());
    for (at, name, raw) in named {
        let kind = table.columns.get(*at).map_or(ColumnKind::String, |column| column.kind);
        match codec::decode(raw.get(), kind) {
            Ok(value) => cells.push((*at, value)),
            Err(error) => {
                return reject(Ending::Rejected, code::VALUE_INVALID, Some(name), error.why);
            }
        }
    }
    Ok(cells)
}

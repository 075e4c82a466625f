//! Detects conflicts: compares a change with the stored row, column by column.
//!
//! Pure functions. An update applies if the row has the old or the new value. A delete applies if
//! the row has the version that the device read, or else its old values. A create on a live row
//! applies if every sent value is equal.

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Change, Ending};
use rejoin_protocol::{ColumnKind, Value, equal, time};

use super::change::Cells;
use super::encode::is_unsendable;
use super::rejection::{ChangeError, reject};
use crate::model::resolver::Resolve;
use crate::model::{Row, Table};

/// Whether the row has this value.
pub(super) fn is_equal(table: &Table, row: &Row, at: usize, value: &Value) -> bool {
    let kind = table.columns.get(at).map_or(ColumnKind::String, |column| column.kind);
    equal::equal(row.cell(at), value, kind)
}

/// Whether the row has this value in the form that devices get.
pub(super) fn is_as_sent(table: &Table, row: &Row, at: usize, value: &Value) -> bool {
    is_equal(table, row, at, value) || value.is_null() && is_unsendable(table, row, at)
}

/// Accepts a create on a live row if every sent value is equal: it is a retry.
pub(super) fn check_create(table: &Table, row: &Row, data: &Cells) -> Result<(), ChangeError> {
    match data.iter().find(|(at, value)| !is_as_sent(table, row, *at, value)) {
        None => Ok(()),
        Some((at, _)) => {
            let column = table.columns.get(*at).map(|column| column.name.as_str());
            reject(Ending::Conflict, code::ROW_EXISTS, column, "record already exists")
        }
    }
}

/// The values that an update is compared with.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    /// The values that the device read.
    pub(super) old: &'a Cells,
    /// Whether the device read another version of the row, in tables without column merge.
    pub(super) has_other_version: bool,
}

/// The cells that an update writes, in column order: those that differ from the row. If the row has
/// neither the new nor the expected value, that is a conflict. `expected` is `None` if nothing is
/// compared.
pub(super) fn changed_cells(
    table: &Table,
    row: &Row,
    data: &Cells,
    expected: Option<Expected<'_>>,
) -> Result<Cells, ChangeError> {
    let mut cells = Cells::new();
    for (at, value) in data {
        if *at == table.key || is_equal(table, row, *at, value) {
            continue;
        }
        let column = table.columns.get(*at).map_or("", |column| column.name.as_str());
        if table.parent_column() == Some(*at) {
            let message = "a row does not move to another parent by push";
            return reject(Ending::Rejected, code::COLUMN_PROTECTED, Some(column), message);
        }
        let is_known = |old: &Cells| {
            let known = old.iter().find(|(other, _)| other == at);
            known.is_some_and(|(_, old)| is_as_sent(table, row, *at, old))
        };
        if !expected.is_none_or(|expected| is_known(expected.old)) {
            let message = "the column has another value than the one that was edited";
            return reject(Ending::Conflict, code::ROW_CHANGED, Some(column), message);
        }
        cells.push((*at, value.clone()));
    }
    if !cells.is_empty() && expected.is_some_and(|expected| expected.has_other_version) {
        let message = "the row has changed since it was edited on the device";
        return reject(Ending::Conflict, code::ROW_CHANGED, None, message);
    }
    cells.sort_by_key(|(at, _)| *at);
    Ok(cells)
}

/// Whether the device read another version of the row, in tables without column merge. After its
/// own earlier edits the device names no version.
pub(super) fn has_other_version(table: &Table, row: &Row, change: &Change) -> bool {
    let seen = change.version.as_deref().and_then(time::parse);
    matches!(table.resolver, Resolve::ServerWins)
        && seen.is_some()
        && seen != time::parse(&row.version(table))
}

/// Accepts a delete if the row has the version that the device read, or else the old values.
pub(super) fn check_delete(
    table: &Table,
    row: &Row,
    change: &Change,
    old: &Cells,
) -> Result<(), ChangeError> {
    let present = time::parse(&row.version(table));
    if present.is_some() && change.version.as_deref().and_then(time::parse) == present {
        return Ok(());
    }
    let message = "the row has changed since it was deleted on the device";
    if has_other_version(table, row, change) {
        return reject(Ending::Conflict, code::ROW_CHANGED, None, message);
    }
    let differs = old
        .iter()
        .filter(|(at, _)| table.columns.get(*at).is_some_and(|c| !c.protected))
        .find(|(at, value)| !is_as_sent(table, row, *at, value));
    if let Some((at, _)) = differs {
        let column = table.columns.get(*at).map(|column| column.name.as_str());
        return reject(Ending::Conflict, code::ROW_CHANGED, column, message);
    }
    if old.is_empty() {
        let message = "the row has another version, and no old values were sent";
        return reject(Ending::Conflict, code::ROW_CHANGED, None, message);
    }
    Ok(())
}

/// Accepts an update of an action if the row has the old value of every column. A row that already
/// has the new value is a conflict: otherwise one of two equal actions would be lost.
pub(super) fn check_old_values(
    table: &Table,
    row: &Row,
    data: &Cells,
    old: &Cells,
) -> Result<(), ChangeError> {
    let is_known = |at: usize| {
        let known = old.iter().find(|(other, _)| *other == at);
        at == table.key || known.is_some_and(|(_, old)| is_as_sent(table, row, at, old))
    };
    let Some((at, _)) = data.iter().find(|(at, _)| !is_known(*at)) else { return Ok(()) };
    let column = table.columns.get(*at).map(|column| column.name.as_str());
    let message = "the column has another value than the one that was seen";
    reject(Ending::Conflict, code::ROW_CHANGED, column, message)
}

/// Rejects the change: this user can see no such row.
pub(super) fn not_found() -> Result<(), ChangeError> {
    reject(Ending::Conflict, code::ROW_NOT_FOUND, None, "record not found or not accessible")
}

/// Rejects the change: the row is deleted.
pub(super) fn is_gone() -> Result<(), ChangeError> {
    reject(Ending::Conflict, code::ROW_DELETED, None, "record is deleted")
}

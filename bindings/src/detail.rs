//! Why a mutation was not accepted, with both versions of each row in conflict.

use std::collections::HashMap;

use rejoin_core as core;

use crate::pending::PatchKind;
use crate::value::SqlValue;

/// What the server, or this device, reports on a mutation that was parked or corrected.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct VerdictDetail {
    /// The reason's code, for example `constraint.check`.
    pub code: Option<String>,
    /// The reason as text; one line for each rejection of a partly accepted mutation.
    pub message: Option<String>,
    /// The table that the reason names.
    pub table: Option<String>,
    /// The key of the row that the reason names.
    pub key: Option<SqlValue>,
    /// The column that the reason names.
    pub column: Option<String>,
    /// The rows in conflict.
    pub rows: Vec<ConflictedRow>,
    /// For an action of the log whose effect has changed: both effects, if they fit into 64 KiB.
    pub correction: Option<Correction>,
}

/// A row in which a mutation conflicts, as both sides had it at the verdict.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ConflictedRow {
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub key: SqlValue,
    /// The columns in conflict; empty if the row was deleted or created.
    pub columns: Vec<String>,
    /// The row as this device showed it after the mutation; nothing if the mutation deletes it.
    pub mine: Option<HashMap<String, SqlValue>>,
    /// The server's row; nothing if it has none.
    pub theirs: Option<HashMap<String, SqlValue>>,
    /// In a table with the policy `manual`: the previous values of the changed columns; nothing for a
    /// create.
    pub before: Option<HashMap<String, SqlValue>>,
}

/// The two effects of an action of the log that was run again.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Correction {
    /// What it did before.
    pub before: Vec<EffectRow>,
    /// What it does now; empty if it is now rejected.
    pub after: Vec<EffectRow>,
}

/// What an action does to a row.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct EffectRow {
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub key: SqlValue,
    /// The operation.
    pub operation: PatchKind,
    /// All columns for an insert, the changed ones for an update, none for a delete.
    pub columns: HashMap<String, SqlValue>,
}

impl From<core::VerdictDetail> for VerdictDetail {
    fn from(detail: core::VerdictDetail) -> Self {
        Self {
            code: detail.code,
            message: detail.message,
            table: detail.table,
            key: detail.key.map(SqlValue::from),
            column: detail.column,
            rows: detail.rows.into_iter().map(ConflictedRow::from).collect(),
            correction: detail.correction.map(Correction::from),
        }
    }
}

impl From<core::ConflictedRow> for ConflictedRow {
    fn from(row: core::ConflictedRow) -> Self {
        Self {
            table: row.table,
            key: row.key.into(),
            columns: row.columns,
            mine: row.mine.map(to_ffi),
            theirs: row.theirs.map(to_ffi),
            before: row.before.map(to_ffi),
        }
    }
}

impl From<core::Correction> for Correction {
    fn from(correction: core::Correction) -> Self {
        let rows = |rows: Vec<core::EffectRow>| rows.into_iter().map(EffectRow::from).collect();
        Self { before: rows(correction.before), after: rows(correction.after) }
    }
}

impl From<core::EffectRow> for EffectRow {
    fn from(row: core::EffectRow) -> Self {
        Self {
            table: row.table,
            key: row.key.into(),
            operation: row.operation.into(),
            columns: to_ffi(row.columns),
        }
    }
}

fn to_ffi(values: core::ColumnValues) -> HashMap<String, SqlValue> {
    values.into_iter().map(|(column, value)| (column, value.into())).collect()
}

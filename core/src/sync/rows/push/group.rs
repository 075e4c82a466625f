//! Encoding of a queue offer as a group: pure, and the same bytes for the same attempt.

use rejoin_protocol::capability;
use rejoin_protocol::codec::encode_object;
use rejoin_protocol::time;
use rejoin_protocol::wire::RowImage;
use rejoin_protocol::wire::push::{Change, Group, Operation, Performed};
use serde_json::value::RawValue;

use crate::engine::queue::Intent;
use crate::engine::queue::mutation::Mutation;
use crate::engine::queue::offer::{Offer, OfferedRow};
use crate::engine::queue::seen::SeenRow;
use crate::engine::schema::model::{Schema, Table};
use crate::error::{Error, Result};
use crate::ids::ColumnId;
use crate::sync::rows::cell;
use crate::value::Value;

/// What is sent about an action in addition to its changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ActionParts {
    /// The rows that the action read by key.
    pub(crate) reads: bool,
    /// Name and arguments of the action, for servers that run checks before they accept it.
    pub(crate) action: bool,
}

impl ActionParts {
    /// What a server with these capabilities accepts.
    pub(crate) fn to(capabilities: &[String]) -> Self {
        let can = |name: &str| capabilities.iter().any(|one| one == name);
        Self { reads: can(capability::READS), action: can(capability::CHECKS) }
    }
}

/// The group of an attempt.
pub(crate) fn group(schema: &Schema, offer: &Offer, parts: ActionParts) -> Result<Group> {
    let mutation = &offer.mutation;
    let intent = offer.intent.as_ref();
    let seen = intent.filter(|_| parts.reads);
    let seen = seen.map_or(&[][..], |intent| &intent.seen);
    Ok(Group {
        id: mutation.id.to_string(),
        seq: mutation.seq.0,
        attempt: mutation.attempt,
        hash: offer.hash.clone(),
        after: offer.after.iter().map(ToString::to_string).collect(),
        time: time::format(mutation.time_ms.saturating_mul(1000)),
        age_ms: offer.age_ms,
        schema_version: None, // Columns have their current names, as in the request's schema.
        old_only: mutation.action.is_some() || mutation.policy_state.old_only,
        last_try: offer.last_try,
        staged: None,
        reads: seen
            .iter()
            .filter_map(|row| read(schema, row).transpose())
            .collect::<Result<_>>()?,
        action: intent.filter(|_| parts.action).map(performed),
        changes: offer.rows.iter().map(|row| change(schema, row)).collect::<Result<_>>()?,
    })
}

/// A row that was read; `None` for a removed table. Removed columns are not compared.
fn read(schema: &Schema, seen: &SeenRow) -> Result<Option<RowImage>> {
    let Some(table) = schema.tables.get(&seen.row.table) else { return Ok(None) };
    let is_there = |(id, _): &&(ColumnId, Value)| table.position(*id).is_some();
    let cells: Vec<_> = seen.columns.iter().flatten().filter(is_there).cloned().collect();
    Ok(Some(RowImage {
        table_name: table.name.clone(),
        id: seen.row.key.to_id().unwrap_or_default(),
        data: if cells.is_empty() { None } else { Some(object(table, &cells)?) },
        updated_at: None,
        absent: seen.columns.is_none(),
    }))
}

fn performed(intent: &Intent) -> Performed {
    let arguments = serde_json::from_str(&intent.args).unwrap_or_default();
    Performed { name: intent.action.clone(), version: intent.version, arguments }
}

fn change(schema: &Schema, row: &OfferedRow) -> Result<Change> {
    let no_table = || Error::Internal(format!("no table has the number {}", row.row.table.0));
    let table = schema.table(row.row.table).ok_or_else(no_table)?;
    let (data, old) = match row.operation {
        Operation::Create => (Some(&row.data), None),
        Operation::Update => (Some(&row.data), Some(&row.old)),
        Operation::Delete => (None, Some(&row.old)),
    };
    Ok(Change {
        operation: row.operation,
        table_name: cell::table_name(table),
        id: row.row.key.to_id().unwrap_or_default(),
        data: data.map(|cells| object(table, cells)).transpose()?,
        old: old.map(|cells| object(table, cells)).transpose()?,
        version: row.version.clone(),
        force: row.force,
    })
}

fn object(table: &Table, cells: &[(ColumnId, Value)]) -> Result<Box<RawValue>> {
    cell::object(table, cells, |named| encode_object(named))
}

/// Approximate upper bound of a group's size before it is built; assumes that half of a text must
/// be escaped.
pub(crate) fn weight(mutation: &Mutation) -> usize {
    let cell = |value: &Value| match value {
        Value::Null | Value::Integer(_) | Value::Real(_) => 24,
        Value::Text(text) => text.len() * 3 / 2 + 8,
        Value::Blob(bytes) => bytes.len() * 4 / 3 + 8,
    };
    let rows = mutation.effect.rows.iter().map(|patch| {
        let columns = patch.columns.iter();
        // The names of columns are not available here; few are longer.
        160 + columns.map(|one| 80 + cell(&one.old) + cell(&one.new)).sum::<usize>()
    });
    320 + rows.sum::<usize>() + mutation.meant * 3
}

#[cfg(test)]
mod tests;

//! Captured patches of rows in the terms of the log: net effects, and the rows as they were.

use rejoin_log::effect::{Effect, Effects};
use rejoin_log::ids::Name;
use rejoin_log::rebase::Undo;
use rejoin_log::row::{Columns, LogRow, RowName};
use rejoin_log::store::LogRows as _;

use crate::engine::Engine;
use crate::engine::capture::compose::Recorded;
use crate::engine::rows::encode;
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowPatch};
use crate::engine::schema::model::{Schema, Table};
use crate::error::{Error, Result};
use crate::value::Value;

/// What a transaction wrote to tables of the log.
pub(super) struct Captured {
    /// One effect per row.
    pub(super) effects: Effects,
    /// The same rows before the transaction, in the order of the effects.
    pub(super) before: Undo,
}

impl Captured {
    /// Reads the patches of the open transaction, whose rows are already written.
    pub(super) fn of(engine: &Engine, recorded: &Recorded) -> Result<Self> {
        let mut before = Undo::new();
        for patch in encode::decode(&recorded.effect)?.rows {
            let table = engine.schema.table(patch.row.table).ok_or_else(|| unknown(&patch))?;
            let row = name_of(table, &patch)?;
            let olds = || columns(table, &patch, |column| &column.old);
            let image = match patch.kind {
                PatchKind::Insert => None,
                PatchKind::Delete => Some(LogRow::from(olds()?)),
                PatchKind::Update => super::reading(engine, |store| store.row(&row))?
                    .map(|now| Ok::<_, Error>(now.with(&olds()?)))
                    .transpose()?,
            };
            before.push((row, image));
        }
        before.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(Self { effects: effects(&engine.schema, recorded)?, before })
    }
}

/// The effects alone.
pub(super) fn effects(schema: &Schema, recorded: &Recorded) -> Result<Effects> {
    let one = |patch: &RowPatch| {
        let table = schema.table(patch.row.table).ok_or_else(|| unknown(patch))?;
        Ok((name_of(table, patch)?, effect(table, patch)?))
    };
    encode::decode(&recorded.effect)?.rows.iter().map(one).collect()
}

fn effect(table: &Table, patch: &RowPatch) -> Result<Effect> {
    Ok(match patch.kind {
        PatchKind::Insert => {
            Effect::Insert(LogRow::from(columns(table, patch, |column| &column.new)?))
        }
        PatchKind::Update => {
            let mut changed = patch.clone();
            changed.columns.retain(ColumnPatch::is_change);
            Effect::Update(columns(table, &changed, |column| &column.new)?)
        }
        PatchKind::Delete => Effect::Delete,
    })
}

fn columns(
    table: &Table,
    patch: &RowPatch,
    value: impl Fn(&ColumnPatch) -> &Value,
) -> Result<Columns> {
    let column = |column: &ColumnPatch| {
        let at = table.position(column.column).ok_or_else(|| unknown(patch))?;
        Ok((Name::from(table.columns[at].name.as_str()), value(column).clone()))
    };
    patch.columns.iter().map(column).collect()
}

fn name_of(table: &Table, patch: &RowPatch) -> Result<RowName> {
    let id = patch.row.key.to_id().ok_or_else(|| unknown(patch))?;
    Ok(RowName::new(table.name.as_str(), id))
}

fn unknown(patch: &RowPatch) -> Error {
    Error::Internal(format!("a captured change of table {} is unknown", patch.row.table.0))
}

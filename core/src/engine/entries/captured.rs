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
        let patches = encode::decode(&recorded.effect)?.rows;
        let named = patches
            .iter()
            .map(|patch| Ok((name_of(table_of(&engine.schema, patch)?, patch)?, patch)));
        let named: Vec<(RowName, &RowPatch)> = named.collect::<Result<_>>()?;
        // An update has only the old values of its columns.
        let now = super::reading(engine, |store| {
            let row = |(row, patch): &(RowName, &RowPatch)| match patch.kind {
                PatchKind::Update => store.row(row),
                PatchKind::Insert | PatchKind::Delete => Ok(None),
            };
            named.iter().map(row).collect::<std::result::Result<Vec<_>, _>>()
        })?;
        let mut before = Undo::with_capacity(named.len());
        for ((row, patch), now) in named.into_iter().zip(now) {
            let olds = columns(table_of(&engine.schema, patch)?, patch, |column| &column.old)?;
            let image = match patch.kind {
                PatchKind::Insert => None,
                PatchKind::Delete => Some(LogRow::from(olds)),
                PatchKind::Update => now.map(|now| now.with(&olds)),
            };
            before.push((row, image));
        }
        before.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(Self { effects: effects_of(&engine.schema, &patches)?, before })
    }
}

/// The effects alone.
pub(super) fn effects(schema: &Schema, recorded: &Recorded) -> Result<Effects> {
    effects_of(schema, &encode::decode(&recorded.effect)?.rows)
}

fn effects_of(schema: &Schema, patches: &[RowPatch]) -> Result<Effects> {
    let one = |patch: &RowPatch| {
        let table = table_of(schema, patch)?;
        Ok((name_of(table, patch)?, effect(table, patch)?))
    };
    patches.iter().map(one).collect()
}

fn table_of<'s>(schema: &'s Schema, patch: &RowPatch) -> Result<&'s Table> {
    schema.table(patch.row.table).map(|table| &**table).ok_or_else(|| unknown(patch))
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

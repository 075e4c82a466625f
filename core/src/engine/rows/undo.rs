//! The before-images of one application of a mutation, used to revert it.
//!
//! Pure. Every redo renews them; the effect stays as the user wrote it. They are stored only if
//! they differ from the effect's old values.

use crate::engine::rows::binary::{BinaryReader, BinaryWriter, Malformed};
use crate::engine::rows::patch::{Effect, PatchKind, RowKey, same};
use crate::ids::ColumnId;
use crate::value::Value;

const VERSION: u8 = 1;

/// The rows that one application changed, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Undo {
    pub(crate) rows: Vec<UndoRow>,
}

/// A changed row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UndoRow {
    pub(crate) row: RowKey,
    pub(crate) before: Before,
}

/// The state before.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Before {
    /// No row.
    Absent,
    /// These columns; the others were not changed.
    Columns(Vec<(ColumnId, Value)>),
    /// A removed row: all columns but the key.
    Whole(Vec<(ColumnId, Value)>),
}

impl Undo {
    /// The before-images of the effect when it was written.
    pub(crate) fn of(effect: &Effect) -> Self {
        let rows = effect.rows.iter().map(|patch| {
            let olds = |all: bool| {
                let named = patch.columns.iter().filter(move |column| all || column.is_change());
                named.map(|column| (column.column, column.old.clone())).collect()
            };
            let before = match patch.kind {
                PatchKind::Insert => Before::Absent,
                PatchKind::Update => Before::Columns(olds(false)),
                PatchKind::Delete => Before::Whole(olds(true)),
            };
            UndoRow { row: patch.row.clone(), before }
        });
        Self { rows: rows.collect() }
    }

    /// Whether it is identical to the effect's own old values.
    pub(crate) fn is_of(&self, effect: &Effect) -> bool {
        self.rows.len() == effect.rows.len()
            && self.rows.iter().zip(&effect.rows).all(|(mine, patch)| {
                mine.row == patch.row
                    && match (&mine.before, patch.kind) {
                        (Before::Absent, PatchKind::Insert) => true,
                        (Before::Columns(olds), PatchKind::Update) => {
                            equal_olds(olds, patch.columns.iter().filter(|c| c.is_change()))
                        }
                        (Before::Whole(olds), PatchKind::Delete) => {
                            equal_olds(olds, patch.columns.iter())
                        }
                        _ => false,
                    }
            })
    }

    /// Encodes it for the queue.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = BinaryWriter::new();
        out.byte(VERSION);
        out.length(self.rows.len());
        for UndoRow { row, before } in &self.rows {
            out.row(row);
            let (tag, columns) = match before {
                Before::Absent => (0, &[][..]),
                Before::Columns(columns) => (1, &columns[..]),
                Before::Whole(columns) => (2, &columns[..]),
            };
            out.byte(tag);
            out.length(columns.len());
            for (column, value) in columns {
                out.unsigned(u64::from(column.0));
                out.value(value);
            }
        }
        out.finish()
    }

    /// Decodes the queue's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = BinaryReader::new(bytes, "undo");
        if reader.byte()? != VERSION {
            return Err(Malformed("undo of an unknown version"));
        }
        let mut undo = Self::default();
        for _ in 0..reader.length()? {
            #[cfg(test)]
            super::cost::count();
            let row = reader.row()?;
            let tag = reader.byte()?;
            let mut columns = Vec::new();
            for _ in 0..reader.length()? {
                columns.push((ColumnId(reader.small()?), reader.value()?));
            }
            let before = match tag {
                0 => Before::Absent,
                1 => Before::Columns(columns),
                2 => Before::Whole(columns),
                _ => return Err(reader.malformed()),
            };
            undo.rows.push(UndoRow { row, before });
        }
        reader.end()?;
        Ok(undo)
    }
}

fn equal_olds<'a>(
    olds: &[(ColumnId, Value)],
    columns: impl Iterator<Item = &'a crate::engine::rows::patch::ColumnPatch>,
) -> bool {
    let mut mine = olds.iter();
    for column in columns {
        match mine.next() {
            Some((id, old)) if *id == column.column && same(old, &column.old) => {}
            _ => return false,
        }
    }
    mine.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rows::patch::{ColumnPatch, RowPatch};
    use crate::ids::TableNumber;

    fn effect(kind: PatchKind, old: Value, new: Value) -> Effect {
        let row = RowKey { table: TableNumber(1), key: "k".into() };
        let columns = vec![ColumnPatch { column: ColumnId(2), old, new }];
        Effect { schema_version: 1, rows: vec![RowPatch { row, kind, columns }] }
    }

    #[test]
    fn undo_equal_to_the_effect_is_not_stored() {
        for kind in [PatchKind::Insert, PatchKind::Update, PatchKind::Delete] {
            let effect = effect(kind, 1.into(), 2.into());
            assert!(Undo::of(&effect).is_of(&effect), "{kind:?}");
            assert!(!Undo::default().is_of(&effect), "{kind:?}");
        }
        let mine = effect(PatchKind::Update, Value::Real(0.0), 2.into());
        let other = effect(PatchKind::Update, Value::Real(-0.0), 2.into());
        assert!(!Undo::of(&other).is_of(&mine));
    }

    #[test]
    fn undo_survives_encoding_and_truncation_is_an_error() {
        let key = |key: &str| RowKey { table: TableNumber(9), key: key.into() };
        let undo = Undo {
            rows: vec![
                UndoRow { row: key("a"), before: Before::Absent },
                UndoRow { row: key("b"), before: Before::Columns(vec![(ColumnId(3), 1.5.into())]) },
                UndoRow { row: key("c"), before: Before::Whole(vec![(ColumnId(1), Value::Null)]) },
            ],
        };
        let bytes = undo.encode();
        assert_eq!(Undo::decode(&bytes).unwrap(), undo);
        for cut in 0..bytes.len() {
            assert!(Undo::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}

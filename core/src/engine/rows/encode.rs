//! Effects as bytes: compact, versioned, exact.
//!
//! Pure. An insert stores its new values, a delete its old ones, an update both; the key is stored
//! once. An unknown version is an error.

use crate::engine::rows::binary::{BinaryReader, BinaryWriter, Malformed};
use crate::engine::rows::patch::{ColumnPatch, Effect, PatchKind, RowKey, RowPatch};
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

const VERSION: u8 = 1;
const WHAT: &str = "effect";

/// Encodes an effect for the queue.
pub fn encode(effect: &Effect) -> Vec<u8> {
    let mut out = BinaryWriter::new();
    write_head(&mut out, effect.schema_version, effect.rows.len());
    effect.rows.iter().for_each(|patch| write_patch(&mut out, patch));
    out.finish()
}

/// Starts an effect; exactly `patches` patches must follow.
pub(crate) fn write_head(out: &mut BinaryWriter, schema_version: i64, patches: usize) {
    out.byte(VERSION);
    out.signed(schema_version);
    out.length(patches);
}

/// Writes one patch of an effect.
pub(crate) fn write_patch(out: &mut BinaryWriter, patch: &RowPatch) {
    out.row(&patch.row);
    out.byte(kind_number(patch.kind));
    out.length(patch.columns.len());
    for column in &patch.columns {
        out.unsigned(u64::from(column.column.0));
        if patch.kind != PatchKind::Insert {
            out.value(&column.old);
        }
        if patch.kind != PatchKind::Delete {
            out.value(&column.new);
        }
    }
}

/// The stored number of a kind.
pub(crate) fn kind_number(kind: PatchKind) -> u8 {
    match kind {
        PatchKind::Insert => 0,
        PatchKind::Update => 1,
        PatchKind::Delete => 2,
    }
}

/// Decodes an effect from the queue's bytes.
pub fn decode(bytes: &[u8]) -> Result<Effect, Malformed> {
    let mut reader = BinaryReader::new(bytes, WHAT);
    let schema_version = head(&mut reader)?;
    let count = reader.length()?;
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        rows.push(read_patch(&mut reader)?);
    }
    reader.end()?;
    Ok(Effect { schema_version, rows })
}

/// Reads the next patch.
pub(crate) fn read_patch(reader: &mut BinaryReader<'_>) -> Result<RowPatch, Malformed> {
    #[cfg(test)]
    super::cost::count();
    let (row, kind, columns) = patch_head(reader)?;
    let mut patch = RowPatch { row, kind, columns: Vec::with_capacity(columns) };
    for _ in 0..columns {
        let column = ColumnId(reader.small()?);
        let old = if kind == PatchKind::Insert { Value::Null } else { reader.value()? };
        let new = if kind == PatchKind::Delete { Value::Null } else { reader.value()? };
        patch.columns.push(ColumnPatch { column, old, new });
    }
    Ok(patch)
}

/// One patch, still encoded.
#[derive(Debug, Clone, Copy)]
pub struct PatchBytes<'a> {
    /// The table of its row.
    pub table: TableNumber,
    /// The encoded row: equal bytes are equal rows.
    pub name: &'a [u8],
    /// What it does.
    pub kind: PatchKind,
    /// All of its bytes.
    pub bytes: &'a [u8],
}

impl<'a> PatchBytes<'a> {
    /// Wraps the bytes of one patch; reads only up to the kind.
    pub fn of(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = BinaryReader::new(bytes, WHAT);
        let table = TableNumber(reader.small()?);
        reader.skip_value()?;
        let name = &bytes[..bytes.len() - reader.rest().len()];
        Ok(Self { table, name, kind: kind(&mut reader)?, bytes })
    }

    /// The row.
    pub fn row(&self) -> Result<RowKey, Malformed> {
        BinaryReader::new(self.name, WHAT).row()
    }

    /// The patch.
    pub fn patch(&self) -> Result<RowPatch, Malformed> {
        let mut reader = BinaryReader::new(self.bytes, WHAT);
        let patch = read_patch(&mut reader)?;
        reader.end()?;
        Ok(patch)
    }
}

/// Only the rows of an effect and the kinds of their patches: what the index needs when a file is
/// opened.
pub fn rows_of(bytes: &[u8]) -> Result<Vec<(RowKey, PatchKind)>, Malformed> {
    let mut reader = BinaryReader::new(bytes, WHAT);
    head(&mut reader)?;
    let count = reader.length()?;
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let (row, kind, columns) = patch_head(&mut reader)?;
        for _ in 0..columns {
            reader.small()?;
            reader.skip_value()?;
            if kind == PatchKind::Update {
                reader.skip_value()?;
            }
        }
        rows.push((row, kind));
    }
    reader.end()?;
    Ok(rows)
}

fn head(reader: &mut BinaryReader<'_>) -> Result<i64, Malformed> {
    if reader.byte()? != VERSION {
        return Err(Malformed("effect of an unknown version"));
    }
    reader.signed()
}

fn patch_head(reader: &mut BinaryReader<'_>) -> Result<(RowKey, PatchKind, usize), Malformed> {
    let row = reader.row()?;
    let kind = kind(reader)?;
    Ok((row, kind, reader.length()?))
}

fn kind(reader: &mut BinaryReader<'_>) -> Result<PatchKind, Malformed> {
    match reader.byte()? {
        0 => Ok(PatchKind::Insert),
        1 => Ok(PatchKind::Update),
        2 => Ok(PatchKind::Delete),
        _ => Err(reader.malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TableNumber;

    fn sample() -> Effect {
        let column = |id, old: Value, new: Value| ColumnPatch { column: ColumnId(id), old, new };
        let row = |table, key: Value| RowKey { table: TableNumber(table), key };
        Effect {
            schema_version: 12,
            rows: vec![
                RowPatch {
                    row: row(1, "a".into()),
                    kind: PatchKind::Insert,
                    columns: vec![
                        column(2, Value::Null, "x".into()),
                        column(3, Value::Null, Value::Null),
                    ],
                },
                RowPatch {
                    row: row(200, i64::MIN.into()),
                    kind: PatchKind::Update,
                    columns: vec![column(900, Value::Null, Value::Blob(vec![0, 1]))],
                },
                RowPatch {
                    row: row(1, "b".into()),
                    kind: PatchKind::Delete,
                    columns: vec![column(2, 1.5.into(), Value::Null)],
                },
            ],
        }
    }

    #[test]
    fn effect_survives_encoding() {
        let effect = sample();
        let bytes = encode(&effect);
        assert_eq!(decode(&bytes).unwrap(), effect);
        let rows: Vec<_> = effect.rows.iter().map(|p| (p.row.clone(), p.kind)).collect();
        assert_eq!(rows_of(&bytes).unwrap(), rows);
        assert_eq!(decode(&encode(&Effect::default())).unwrap(), Effect::default());
    }

    #[test]
    fn patch_of_one_column_is_small() {
        let effect = Effect {
            schema_version: 1,
            rows: vec![RowPatch {
                row: RowKey { table: TableNumber(1), key: "0123456789".into() },
                kind: PatchKind::Update,
                columns: vec![ColumnPatch { column: ColumnId(4), old: 1.into(), new: 2.into() }],
            }],
        };
        assert_eq!(encode(&effect).len(), 3 + 1 + 12 + 2 + 1 + 4);
    }

    #[test]
    fn truncated_or_unknown_bytes_are_an_error() {
        let bytes = encode(&sample());
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
            assert!(rows_of(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut newer = bytes.clone();
        newer[0] = 2;
        assert_eq!(decode(&newer), Err(Malformed("effect of an unknown version")));
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(decode(&longer), Err(Malformed("effect")));
    }
}

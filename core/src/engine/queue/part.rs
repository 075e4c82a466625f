//! Verdicts on single rows of a mutation.
//!
//! Pure. A plain server has no groups: it accepts and refuses the rows of a mutation one by one.
//! Accepted rows are removed from the effect, refused ones are set aside until the rest has its
//! verdicts; refused rows are then parked under the same id.

use super::mutation::ParkReason;
use crate::engine::rows::binary::{BinaryReader, BinaryWriter, Malformed};
use crate::engine::rows::encode::{read_patch, write_patch};
use crate::engine::rows::patch::RowPatch;
use crate::ids::MutationId;
use crate::value::Value;

const VERSION: u8 = 1;

/// The rows of a mutation that have their verdict while it is in the queue.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct DecidedRows {
    /// Accepted rows.
    pub(crate) accepted: Vec<RowPatch>,
    /// Refused rows.
    pub(crate) refused: Vec<Refused>,
}

/// A refused row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refused {
    pub(crate) patch: RowPatch,
    /// Old values of the attempt, by index of the patch's columns.
    pub(crate) olds: Vec<(usize, Value)>,
    pub(crate) reason: ParkReason,
    pub(crate) because_of: Option<MutationId>,
    pub(crate) detail: Option<String>,
}

impl DecidedRows {
    /// Whether no row has its own verdict.
    pub(crate) fn is_empty(&self) -> bool {
        self.accepted.is_empty() && self.refused.is_empty()
    }

    /// Encodes it for the queue; nearly always `None`.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        if self.is_empty() {
            return None;
        }
        let mut out = BinaryWriter::new();
        out.byte(VERSION);
        out.length(self.accepted.len());
        self.accepted.iter().for_each(|patch| write_patch(&mut out, patch));
        out.length(self.refused.len());
        for refused in &self.refused {
            write_patch(&mut out, &refused.patch);
            out.length(refused.olds.len());
            for (column, old) in &refused.olds {
                out.length(*column);
                out.value(old);
            }
            out.signed(refused.reason.number());
            out.bytes(refused.because_of.as_ref().map_or(&[], |id| id.0.as_bytes()));
            out.value(&refused.detail.clone().into());
        }
        Some(out.finish())
    }

    /// Decodes the queue's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = BinaryReader::new(bytes, "parts of a mutation");
        if reader.byte()? != VERSION {
            return Err(reader.malformed());
        }
        let mut parts = Self::default();
        for _ in 0..reader.length()? {
            parts.accepted.push(read_patch(&mut reader)?);
        }
        for _ in 0..reader.length()? {
            parts.refused.push(refused(&mut reader)?);
        }
        reader.end()?;
        Ok(parts)
    }
}

fn refused(reader: &mut BinaryReader<'_>) -> Result<Refused, Malformed> {
    let patch = read_patch(reader)?;
    let mut olds = Vec::new();
    for _ in 0..reader.length()? {
        olds.push((reader.small()? as usize, reader.value()?));
    }
    let reason = ParkReason::of_number(reader.signed()?).ok_or_else(|| reader.malformed())?;
    let because_of = match reader.bytes()? {
        [] => None,
        bytes => Some(uuid::Uuid::from_slice(bytes).map_err(|_| reader.malformed())?),
    };
    let detail = match reader.value()? {
        Value::Text(text) => Some(text),
        _ => None,
    };
    Ok(Refused { patch, olds, reason, because_of: because_of.map(MutationId), detail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowKey};
    use crate::ids::{ColumnId, TableNumber};

    #[test]
    fn parts_survive_encoding_and_truncation_is_an_error() {
        let patch = |key: &str| RowPatch {
            row: RowKey { table: TableNumber(1), key: key.into() },
            kind: PatchKind::Update,
            columns: vec![ColumnPatch { column: ColumnId(2), old: "v".into(), new: "w".into() }],
        };
        let parts = DecidedRows {
            accepted: vec![patch("a"), patch("b")],
            refused: vec![
                Refused {
                    patch: patch("c"),
                    olds: vec![(0, "u".into())],
                    reason: ParkReason::Depends,
                    because_of: Some(MutationId(uuid::Uuid::from_u128(5))),
                    detail: None,
                },
                Refused {
                    patch: patch("d"),
                    olds: vec![],
                    reason: ParkReason::Rejected,
                    because_of: None,
                    detail: Some("{}".to_owned()),
                },
            ],
        };
        let bytes = parts.encode().unwrap();
        assert_eq!(DecidedRows::decode(&bytes).unwrap(), parts);
        assert_eq!(DecidedRows::default().encode(), None);
        for cut in 0..bytes.len() {
            assert!(DecidedRows::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}

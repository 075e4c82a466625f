//! Decoders of the queue's stored formats, for fuzzing.
//!
//! Compiled only for this crate's tests and under the feature `mutants`.

use crate::engine::queue::attempt::{Frozen, decode_basis, encode_basis};
use crate::engine::queue::intent::{decode_reads, encode_reads};
use crate::engine::queue::part::DecidedRows;
use crate::engine::queue::seen::SeenRow;
use crate::engine::rows::binary::Malformed;
use crate::engine::rows::encode;
use crate::engine::rows::patch::{ColumnPatch, Effect, PatchKind, RowKey, RowPatch};
use crate::engine::rows::undo::Undo;
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// The input re-encoded after one decoding, and after a second one. `None` if the input is invalid.
type Read = Option<(Vec<u8>, Option<Vec<u8>>)>;

/// Decodes bytes as one of the queue's stored formats.
pub fn queue(form: u8, bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (once, twice) = match form % 6 {
        0 => {
            // Rows are also decoded without their patches.
            let _ = encode::rows_of(bytes);
            read(bytes, encode::decode, |effect| Some(encode::encode(effect)))
        }
        1 => read(bytes, Undo::decode, |undo| Some(undo.encode())),
        2 => read(bytes, decode_basis, encode_basis),
        3 => read(bytes, Frozen::decode, |frozen| Some(frozen.encode())),
        4 => read(bytes, DecidedRows::decode, DecidedRows::encode),
        _ => read(bytes, decode_reads, |reads| Some(encode_reads(&reads.tables, &reads.seen))),
    }?;
    Some((once, twice.unwrap_or_default()))
}

fn read<T>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, Malformed>,
    encode: impl Fn(&T) -> Option<Vec<u8>>,
) -> Read {
    // Empty values are not stored.
    let once = encode(&decode(bytes).ok()?)?;
    let twice = decode(&once).ok().and_then(|same| encode(&same));
    Some((once, twice))
}

/// One sample input per format, with every kind of value.
pub fn samples() -> Vec<Vec<u8>> {
    let values = [
        Value::Null,
        Value::Integer(-300),
        Value::Real(0.5),
        "text".into(),
        Value::Blob(vec![0, 255]),
    ];
    let columns = (1..).zip(&values).map(|(id, value)| ColumnPatch {
        column: ColumnId(id),
        old: value.clone(),
        new: "new".into(),
    });
    let row = RowPatch {
        row: RowKey { table: TableNumber(1), key: "p1".into() },
        kind: PatchKind::Update,
        columns: columns.collect(),
    };
    let gone = RowPatch { kind: PatchKind::Delete, ..row.clone() };
    let effect = Effect { schema_version: 3, rows: vec![row, gone] };
    let parts = DecidedRows { accepted: effect.rows.clone(), ..DecidedRows::default() };
    let columns = (1..).zip(values).map(|(id, value)| (ColumnId(id), value));
    let columns = Some(columns.collect());
    let seen = [SeenRow { row: RowKey { table: TableNumber(1), key: "p2".into() }, columns }];
    let forms = [
        Some(encode::encode(&effect)),
        Some(Undo::of(&effect).encode()),
        None,
        Some(Frozen::default().encode()),
        parts.encode(),
        Some(encode_reads(&[TableNumber(1)], &seen)),
    ];
    (0..).zip(forms).filter_map(|(form, bytes)| Some([vec![form], bytes?].concat())).collect()
}

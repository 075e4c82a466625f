//! Cells and sets of rows: the fast parser of sets agrees with the simple one of cells.

use rejoin_protocol::equal::equal;
use rejoin_protocol::{ColumnKind, Value, codec, time};
use serde_json::value::RawValue;

pub(crate) const KINDS: [ColumnKind; 12] = [
    ColumnKind::String,
    ColumnKind::Int,
    ColumnKind::Int64,
    ColumnKind::Float,
    ColumnKind::Numeric,
    ColumnKind::Boolean,
    ColumnKind::Datetime,
    ColumnKind::Date,
    ColumnKind::Time,
    ColumnKind::Json,
    ColumnKind::Array,
    ColumnKind::Bytes,
];

fn kind(byte: u8) -> ColumnKind {
    KINDS[usize::from(byte) % KINDS.len()]
}

/// The first byte selects the kind; the others are the cell's text.
pub(crate) fn cell(bytes: &[u8]) {
    let Some((first, text)) = bytes.split_first() else { return };
    let (kind, Ok(text)) = (kind(*first), std::str::from_utf8(text)) else { return };
    if let Some(micros) = time::parse(text) {
        assert_eq!(time::parse(&time::format(micros)), Some(micros), "{text}");
    }
    let Ok(value) = codec::decode(text, kind) else { return };
    let mut written = String::new();
    if codec::encode(&value, kind, &mut written).is_ok() {
        let read = codec::decode(&written, kind).expect("what was written can be read");
        assert!(equal(&read, &value, kind), "{value:?} is written {written}, which reads {read:?}");
        let mut twice = String::new();
        codec::encode(&read, kind, &mut twice).expect("what was read can be written");
        assert_eq!(twice, written, "one value has one text");
    }
}

/// The first byte is the number of columns, the next are their kinds; the others are the text of
/// the set.
pub(crate) fn rows(bytes: &[u8]) {
    let Some((count, rest)) = bytes.split_first() else { return };
    let count = usize::from(*count % 6);
    if rest.len() < count {
        return;
    }
    let (kinds, text) = rest.split_at(count);
    let kinds: Vec<ColumnKind> = kinds.iter().map(|byte| kind(*byte)).collect();
    let Ok(text) = std::str::from_utf8(text) else { return };
    // On the wire a set is a member of a message, so it is JSON before it is parsed as rows.
    let Ok(raw) = RawValue::from_string(text.to_owned()) else { return };
    let mut quick = Vec::new();
    let result = codec::each_row::<()>(&raw, &kinds, |cells| {
        quick.push(cells.clone());
        Ok(())
    });
    let plainly = plainly(&raw, &kinds);
    assert_eq!(result.is_ok(), plainly.is_some(), "{kinds:?}: {quick:?}");
    if let Some(plainly) = plainly {
        assert_eq!(format!("{quick:?}"), format!("{plainly:?}"));
    }
}

fn plainly(raw: &RawValue, kinds: &[ColumnKind]) -> Option<Vec<Vec<Value>>> {
    let rows: Vec<Vec<&RawValue>> = serde_json::from_str(raw.get()).ok()?;
    let row = |row: Vec<&RawValue>| -> Option<Vec<Value>> {
        let whole = row.len() == kinds.len();
        let cells = row.iter().zip(kinds).map(|(cell, kind)| codec::decode(cell.get(), *kind).ok());
        whole.then(|| cells.collect())?
    };
    rows.into_iter().map(row).collect()
}

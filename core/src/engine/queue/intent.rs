//! The form in which the queue keeps what an action read (R2).
//!
//! Pure.

use crate::engine::capture::binary::{Malformed, Reader, Writer};
use crate::ids::TableNumber;

const VERSION: u8 = 1;

/// The tables, as the queue keeps them.
pub(crate) fn encode_reads(tables: &[TableNumber]) -> Vec<u8> {
    let mut out = Writer::new();
    out.byte(VERSION);
    out.length(tables.len());
    for table in tables {
        out.unsigned(u64::from(table.0));
    }
    out.finish()
}

/// The tables, from the queue's bytes.
pub(crate) fn decode_reads(bytes: &[u8]) -> Result<Vec<TableNumber>, Malformed> {
    let mut reader = Reader::new(bytes, "reads");
    if reader.byte()? != VERSION {
        return Err(Malformed("reads of an unknown version"));
    }
    let count = reader.length()?;
    let tables = (0..count).map(|_| reader.small().map(TableNumber)).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(tables)
}

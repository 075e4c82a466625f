//! Encodes an action's reads for the queue: its tables, and rows that were read by key. Pure.

use super::seen::{self, SeenRow};
use crate::engine::rows::binary::{BinaryReader, BinaryWriter, Malformed};
use crate::ids::TableNumber;

/// Only tables.
const TABLES: u8 = 1;

/// Tables, then rows.
const ROWS: u8 = 2;

/// What an action read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reads {
    pub(crate) tables: Vec<TableNumber>,
    pub(crate) seen: Vec<SeenRow>,
}

/// Encodes reads for the queue.
pub(crate) fn encode_reads(tables: &[TableNumber], rows: &[SeenRow]) -> Vec<u8> {
    let mut out = BinaryWriter::new();
    out.byte(if rows.is_empty() { TABLES } else { ROWS });
    out.length(tables.len());
    for table in tables {
        out.unsigned(u64::from(table.0));
    }
    if !rows.is_empty() {
        seen::write(&mut out, rows);
    }
    out.finish()
}

/// Decodes the queue's bytes.
pub(crate) fn decode_reads(bytes: &[u8]) -> Result<Reads, Malformed> {
    let mut reader = BinaryReader::new(bytes, "reads");
    let form = reader.byte()?;
    if form != TABLES && form != ROWS {
        return Err(Malformed("reads of an unknown version"));
    }
    let count = reader.length()?;
    let tables = (0..count).map(|_| reader.small().map(TableNumber)).collect::<Result<_, _>>()?;
    let seen = if form == ROWS { seen::read(&mut reader)? } else { Vec::new() };
    reader.end()?;
    Ok(Reads { tables, seen })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rows::patch::RowKey;
    use crate::ids::ColumnId;
    use crate::value::Value;

    #[test]
    fn reads_survive_encoding() {
        let row = |key: &str| RowKey { table: TableNumber(2), key: key.into() };
        let columns = vec![(ColumnId(3), Value::Null), (ColumnId(4), "x".into())];
        let seen = vec![
            SeenRow { row: row("a"), columns: Some(columns) },
            SeenRow { row: row("b"), columns: Some(Vec::new()) },
            SeenRow { row: row("c"), columns: None },
        ];
        let tables = vec![TableNumber(2), TableNumber(300)];
        for seen in [Vec::new(), seen] {
            let bytes = encode_reads(&tables, &seen);
            let read = Reads { tables: tables.clone(), seen };
            assert_eq!(decode_reads(&bytes).unwrap(), read);
            for cut in 0..bytes.len() {
                assert!(decode_reads(&bytes[..cut]).is_err(), "cut at {cut}");
            }
        }
    }
}

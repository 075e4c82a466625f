//! Rows as the wire writes them: arrays under one list of columns, images, plain records.

use std::cmp::Ordering;

use rejoin_protocol::codec::{self, CodecError};
use rejoin_protocol::wire::row::{Record, RowImage, RowSet};
use rejoin_protocol::{ColumnKind, Value};
use serde_json::value::RawValue;

use super::schema::{Row, Table};
use crate::error::Fault;

/// How a cell becomes text: ours, or a plain peer's.
type Encode = fn(&Value, ColumnKind, &mut String) -> Result<(), CodecError>;

/// The order of keys: integers as numbers, before text by its bytes; SQLite's own.
pub(super) fn key_order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Integer(_), _) => Ordering::Less,
        (_, Value::Integer(_)) => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

/// A set of rows of one table, which must be in key order.
pub(super) fn set<'a>(
    table: &Table,
    rows: impl IntoIterator<Item = &'a Row>,
) -> Result<RowSet, Fault> {
    let columns: Vec<usize> = table.travelling().collect();
    let mut text = String::from("[");
    for (number, row) in rows.into_iter().enumerate() {
        text.push_str(if number == 0 { "[" } else { ",[" });
        for (place, at) in columns.iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            push_cell(table, *at, row.cell(*at), codec::encode, &mut text);
        }
        text.push(']');
    }
    text.push(']');
    let name = |at: &usize| table.columns.get(*at).map(|column| column.name.clone());
    Ok(RowSet {
        table_name: table.name.clone(),
        columns: columns.iter().filter_map(name).collect(),
        rows: RawValue::from_string(text)?,
    })
}

/// The columns of a row by name, as one JSON object.
pub(super) fn object(
    table: &Table,
    row: &Row,
    columns: impl IntoIterator<Item = usize>,
) -> Result<Box<RawValue>, Fault> {
    object_by(table, row, columns, codec::encode)
}

fn object_by(
    table: &Table,
    row: &Row,
    columns: impl IntoIterator<Item = usize>,
    encode: Encode,
) -> Result<Box<RawValue>, Fault> {
    let mut text = String::from("{");
    for (place, at) in columns.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        let name = table.columns.get(at).map_or("", |column| column.name.as_str());
        text.push_str(&serde_json::to_string(name)?);
        text.push(':');
        push_cell(table, at, row.cell(at), encode, &mut text);
    }
    text.push('}');
    Ok(RawValue::from_string(text)?)
}

/// A row as it now stands, or absent (O3).
pub(super) fn image(table: &Table, id: &str, row: Option<&Row>) -> Result<RowImage, Fault> {
    let (table_name, id) = (table.name.clone(), id.to_owned());
    let Some(row) = row else {
        return Ok(RowImage { table_name, id, data: None, updated_at: None, absent: true });
    };
    let data = Some(object(table, row, table.travelling())?);
    Ok(RowImage { table_name, id, data, updated_at: Some(row.version(table)), absent: false })
}

/// A row as v0.1.2 writes it, generated columns included.
pub(super) fn record(table: &Table, row: &Row) -> Result<Record, Fault> {
    let deleted_at = table.deleted_at.and_then(|at| row.cell(at).as_text().map(str::to_owned));
    Ok(Record {
        id: row.id(table),
        table_name: table.name.clone(),
        data: object_by(table, row, 0..table.columns.len(), codec::encode_plain)?,
        updated_at: row.version(table),
        deleted_at,
    })
}

/// One cell. What JSON cannot say (another program stored an infinity) travels as NULL: it must not stop all the rest.
fn push_cell(table: &Table, at: usize, value: &Value, encode: Encode, text: &mut String) {
    let Some(column) = table.columns.get(at) else { return text.push_str("null") };
    if let Err(error) = encode(value, column.kind, text) {
        tracing::warn!(table = table.name, column = column.name, %error, "sent as null");
        text.push_str("null");
    }
}

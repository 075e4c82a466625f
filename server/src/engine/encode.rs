//! Encodes rows for the wire: column lists with arrays, images, plain records.

use std::cmp::Ordering;

use rejoin_protocol::codec::{self, CodecError};
use rejoin_protocol::wire::row::{Record, RowImage, RowSet};
use rejoin_protocol::{ColumnKind, Value};
use serde_json::value::RawValue;

use crate::error::Fault;
use crate::model::{Row, Table};

/// Encodes a cell, in Rejoin's form or a plain peer's.
type Encode = fn(&Value, ColumnKind, &mut String) -> Result<(), CodecError>;

/// Key order: integers as numbers, before text by bytes, as in SQLite.
pub(super) fn key_order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Integer(_), _) => Ordering::Less,
        (_, Value::Integer(_)) => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

/// A set of rows of one table, in key order.
struct Set<'a> {
    table: &'a Table,
    columns: Vec<usize>,
    text: String,
}

impl<'a> Set<'a> {
    fn of(table: &'a Table) -> Self {
        Self { table, columns: table.travelling().collect(), text: String::new() }
    }

    fn push(&mut self, row: &Row) {
        self.text.push_str(if self.text.is_empty() { "[[" } else { ",[" });
        for (place, at) in self.columns.iter().enumerate() {
            if place > 0 {
                self.text.push(',');
            }
            push_cell(self.table, row, *at, codec::encode, &mut self.text);
        }
        self.text.push(']');
    }

    fn end(mut self) -> Result<RowSet, Fault> {
        self.text.push_str(if self.text.is_empty() { "[]" } else { "]" });
        let name = |at: &usize| self.table.columns.get(*at).map(|column| column.name.clone());
        Ok(RowSet {
            table_name: self.table.name.clone(),
            columns: self.columns.iter().filter_map(name).collect(),
            rows: RawValue::from_string(self.text)?,
        })
    }
}

/// Sets of rows, table by table.
#[derive(Default)]
pub(super) struct Sets<'a>(Vec<Set<'a>>);

impl<'a> Sets<'a> {
    pub(super) fn push(&mut self, table: &'a Table, row: &Row) {
        if self.0.last().is_none_or(|set| set.table.number != table.number) {
            self.0.push(Set::of(table));
        }
        if let Some(set) = self.0.last_mut() {
            set.push(row);
        }
    }

    pub(super) fn end(self) -> Result<Vec<RowSet>, Fault> {
        self.0.into_iter().map(Set::end).collect()
    }
}

/// A set of rows of one table, which must be in key order.
pub(super) fn set<'a>(
    table: &Table,
    rows: impl IntoIterator<Item = &'a Row>,
) -> Result<RowSet, Fault> {
    let mut set = Set::of(table);
    rows.into_iter().for_each(|row| set.push(row));
    set.end()
}

/// The named columns of a row as a JSON object.
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
        push_cell(table, row, at, encode, &mut text);
    }
    text.push('}');
    Ok(RawValue::from_string(text)?)
}

/// The current image of a row, or its absence.
pub(super) fn image(table: &Table, id: &str, row: Option<&Row>) -> Result<RowImage, Fault> {
    let (table_name, id) = (table.name.clone(), id.to_owned());
    let Some(row) = row else {
        return Ok(RowImage { table_name, id, data: None, updated_at: None, absent: true });
    };
    let data = Some(object(table, row, table.travelling())?);
    Ok(RowImage { table_name, id, data, updated_at: Some(row.version(table)), absent: false })
}

/// A row in v0.1.2's form, generated columns included.
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

/// Encodes one cell. A value without a wire form (such as an infinity) is sent as NULL, so that it
/// does not block other rows. It is logged for the operator, and [`is_unsendable`] keeps the
/// device's NULL from overwriting it.
fn push_cell(table: &Table, row: &Row, at: usize, encode: Encode, text: &mut String) {
    let Some(column) = table.columns.get(at) else { return text.push_str("null") };
    if let Err(error) = encode(row.cell(at), column.kind, text) {
        let (table, key, column) = (&table.name, row.id(table), &column.name);
        tracing::warn!(table, key, column, %error, "a value that devices cannot have is sent as NULL");
        text.push_str("null");
    }
}

/// Whether devices get NULL for this cell because its value has no wire form.
pub(super) fn is_unsendable(table: &Table, row: &Row, at: usize) -> bool {
    let kind = table.columns.get(at).map_or(ColumnKind::String, |column| column.kind);
    codec::check(row.cell(at), kind).is_err()
}

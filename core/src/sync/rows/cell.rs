//! Conversion of wire rows to engine rows, and of row names in both directions.
//!
//! Columns are looked up by name and become identities. A table or column that the schema lacks is
//! an error, because responses for another schema are discarded earlier.

use rejoin_protocol::codec::{CodecError, ColumnError};
use rejoin_protocol::wire::{self, RowName, RowSet};
use rejoin_protocol::{ColumnKind, codec};
use serde_json::value::RawValue;

use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::model::{Schema, Table};
use crate::error::{Error, InputFault, Result, SyncFault};
use crate::ids::ColumnId;
use crate::value::Value;

/// The table of this name.
pub(crate) fn table<'a>(schema: &'a Schema, name: &str) -> Result<&'a Table> {
    match schema.named_in_rows(name) {
        Some(table) => Ok(table),
        None => Err(Error::Sync(SyncFault::Protocol(format!(
            "a row of table {name}, which the schema lacks"
        )))),
    }
}

/// Parses a key from the wire.
pub(crate) fn key(table: &Table, id: &str) -> Result<Value> {
    match table.key_column().kind {
        ColumnKind::Int | ColumnKind::Int64 => id.parse().map(Value::Integer).map_err(|_| {
            Error::Sync(SyncFault::Protocol(format!(
                "key {id:?} of table {} is no integer",
                table.name
            )))
        }),
        _ => Ok(Value::Text(id.to_owned())),
    }
}

/// Encodes `{"column": value, ...}` with the columns' current names, using `encode` for the cells.
///
/// A removed column gets a reserved name that no server has. A server with a stored verdict repeats
/// it; one without rejects the whole mutation, which must not be applied in part.
pub(crate) fn object(
    table: &Table,
    cells: &[(ColumnId, Value)],
    encode: impl FnOnce(&mut Named<'_, '_>) -> Result<Box<RawValue>, ColumnError>,
) -> Result<Box<RawValue>> {
    let gone: Vec<String> = cells.iter().map(|(id, _)| column_name(*id)).collect();
    let mut named = cells.iter().zip(&gone).map(|((id, value), gone)| match table.position(*id) {
        Some(at) => (table.columns[at].name.as_str(), value, table.columns[at].kind),
        None => (gone.as_str(), &Value::Null, ColumnKind::String),
    });
    encode(&mut named).map_err(|error| {
        Error::InvalidInput(InputFault::Value {
            table: table.name.clone(),
            column: error.column,
            reason: error.why.to_string(),
        })
    })
}

/// Cells with their column names and kinds.
type Named<'c, 'i> = dyn Iterator<Item = (&'c str, &'c Value, ColumnKind)> + 'i;

/// The wire name of a table; a reserved name for a removed one.
pub(crate) fn table_name(table: &Table) -> String {
    if table.is_removed() {
        return format!("(removed table {})", table.number.0);
    }
    table.name.clone()
}

/// The reserved name of a removed column.
fn column_name(id: ColumnId) -> String {
    format!("(removed column {})", id.0)
}

/// Replaces reserved names in a server's message by the last names of what was removed.
pub(crate) fn restore_names(schema: &Schema, table: &mut String, column: Option<&mut String>) {
    let mut candidate = schema.tables.values().chain(schema.removed.values());
    let Some(candidate) = candidate.find(|candidate| table_name(candidate) == *table) else {
        return;
    };
    table.clone_from(&candidate.name);
    let Some(column) = column else { return };
    let removed = candidate.removed.iter().find(|removed| column_name(removed.id) == *column);
    if let Some(removed) = removed {
        column.clone_from(&removed.name);
    }
}

/// Converts a row image.
pub(crate) fn image(schema: &Schema, row: &wire::RowImage) -> Result<ServerRow> {
    image_read_by(codec::decode, schema, row)
}

/// [`image`] with `decode` for the cells.
pub(crate) fn image_read_by(
    decode: fn(&str, ColumnKind) -> Result<Value, CodecError>,
    schema: &Schema,
    row: &wire::RowImage,
) -> Result<ServerRow> {
    let table = table(schema, &row.table_name)?;
    let key = key(table, &row.id)?;
    let Some(data) = row.data.as_deref().filter(|_| !row.absent) else {
        return Ok(ServerRow { table: table.number, key, row: None });
    };
    let cells = codec::members(data).map_err(|error| {
        Error::Sync(SyncFault::Protocol(format!("row {} of {}: {error}", row.id, table.name)))
    })?;
    let mut columns: Vec<(ColumnId, Value)> = Vec::with_capacity(cells.len());
    for (name, raw) in &cells {
        let column = column(table, name)?;
        if column == table.key {
            continue;
        }
        let found = &table.columns[column];
        if columns.iter().any(|(candidate, _)| *candidate == found.id) {
            let why = format!("row {} of {} has {name} twice", row.id, table.name);
            return Err(SyncFault::Protocol(why).into());
        }
        let value = decode(raw.get(), found.kind).map_err(|error| {
            Error::Sync(SyncFault::Protocol(format!("{}.{name}: {error}", table.name)))
        })?;
        columns.push((found.id, value));
    }
    if let (Some(position), Some(version)) = (table.updated_at, &row.updated_at) {
        let version_column = &table.columns[position];
        if !cells.iter().any(|(name, _)| *name == version_column.name) {
            columns.push((version_column.id, Value::Text(version.clone())));
        }
    }
    Ok(ServerRow { table: table.number, key, row: Some(columns) })
}

/// The image of an absent row.
pub(crate) fn absent(schema: &Schema, row: &RowName) -> Result<ServerRow> {
    let table = table(schema, &row.table_name)?;
    Ok(ServerRow { table: table.number, key: key(table, &row.id)?, row: None })
}

/// Converts the rows of sets.
pub(crate) fn images(schema: &Schema, sets: &[RowSet]) -> Result<Vec<ServerRow>> {
    let mut images = Vec::new();
    for set in sets {
        let table = table(schema, &set.table_name)?;
        let columns = columns(table, set)?;
        let kinds: Vec<ColumnKind> =
            columns.iter().map(|position| table.columns[*position].kind).collect();
        let each = codec::each_row(&set.rows, &kinds, |cells| {
            let mut image = ServerRow { table: table.number, key: Value::Null, row: None };
            let mut row = Vec::with_capacity(cells.len());
            for (position, value) in columns.iter().zip(cells.drain(..)) {
                if *position == table.key {
                    image.key = value;
                } else {
                    row.push((table.columns[*position].id, value));
                }
            }
            image.row = Some(row);
            images.push(image);
            Ok::<(), std::convert::Infallible>(())
        });
        if let Err(codec::RowError::Decode(error)) = each {
            return Err(
                SyncFault::Protocol(format!("rows of table {}: {error}", table.name)).into()
            );
        }
    }
    Ok(images)
}

/// Whether `test` holds for the key of any row of the set; stops at the first one.
pub(crate) fn any_key(
    schema: &Schema,
    set: &RowSet,
    mut test: impl FnMut(&RowKey) -> Result<bool>,
) -> Result<bool> {
    let table = table(schema, &set.table_name)?;
    let columns = columns(table, set)?;
    let kinds: Vec<ColumnKind> =
        columns.iter().map(|position| table.columns[*position].kind).collect();
    let cell = columns.iter().position(|position| *position == table.key).unwrap_or(0);
    let each = codec::each_row(&set.rows, &kinds, |cells| {
        match test(&RowKey { table: table.number, key: std::mem::take(&mut cells[cell]) }) {
            Ok(false) => Ok(()),
            Ok(true) => Err(None),
            Err(error) => Err(Some(error)),
        }
    });
    match each {
        Ok(_) => Ok(false),
        Err(codec::RowError::Each(None)) => Ok(true),
        Err(codec::RowError::Each(Some(error))) => Err(error),
        Err(codec::RowError::Decode(error)) => {
            Err(Error::Sync(SyncFault::Protocol(format!("rows of table {}: {error}", table.name))))
        }
    }
}

/// The positions of a set's columns, including the key.
fn columns(table: &Table, set: &RowSet) -> Result<Vec<usize>> {
    let columns: Vec<usize> =
        set.columns.iter().map(|name| column(table, name)).collect::<Result<_>>()?;
    if columns.contains(&table.key) {
        return Ok(columns);
    }
    Err(Error::Sync(SyncFault::Protocol(format!(
        "rows of table {} come without their key",
        table.name
    ))))
}

fn column(table: &Table, name: &str) -> Result<usize> {
    table.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        Error::Sync(SyncFault::Protocol(format!(
            "column {name} of table {}, which the schema lacks",
            table.name
        )))
    })
}

//! Rows as values of the app's own types, by serde: one statement for each call.
//!
//! The table decides: a member without a column is an error, a column without a member keeps its
//! default (insert) or its value (update). `rejoin generate` writes the same calls with the types of
//! a schema, checked by the compiler.

use serde::Serialize;
use serde_value::Value as Member;

use super::Transaction;
use crate::engine::schema::sql::quoted;
use crate::error::{Error, InputFault, Result};
use crate::value::Value;

/// The members of a value by name, or why it cannot be a row.
///
/// They are not JSON, which has neither bytes nor infinity.
pub(super) type Members = Result<Vec<(String, Member)>>;

/// Converts a value of the app. The error is returned by the call that uses the members.
pub(super) fn members(table: &str, value: &impl Serialize) -> Members {
    let unnamed = || refused(table, "it has no named members: use a struct or a map");
    let value = serde_value::to_value(value).map_err(|error| refused(table, &error.to_string()))?;
    let Member::Map(members) = value else { return Err(unnamed()) };
    let named = |(name, member)| match name {
        Member::String(name) => Ok((name, member)),
        _ => Err(unnamed()),
    };
    members.into_iter().map(named).collect()
}

/// A column, as SQLite describes it.
struct TableColumn {
    name: String,
    is_blob: bool,
    is_key: bool,
}

impl Transaction<'_, '_> {
    /// [`Client::insert`](super::Client::insert) within this transaction.
    ///
    /// # Errors
    /// As there.
    pub fn insert(&mut self, table: &str, value: &impl Serialize) -> Result<()> {
        self.insert_members(table, members(table, value))
    }

    /// [`Client::update`](super::Client::update) within this transaction.
    ///
    /// # Errors
    /// As there.
    pub fn update(&mut self, table: &str, value: &impl Serialize) -> Result<bool> {
        self.update_members(table, members(table, value))
    }

    /// [`Client::delete`](super::Client::delete) within this transaction.
    ///
    /// # Errors
    /// As there.
    pub fn delete(&mut self, table: &str, key: impl Into<Value>) -> Result<bool> {
        let columns = self.columns(table)?;
        let keys: Vec<&TableColumn> = columns.iter().filter(|column| column.is_key).collect();
        let [key_column] = keys.as_slice() else {
            return Err(refused(table, "its key is not one column: use SQL"));
        };
        let sql = format!("DELETE FROM {} WHERE {} = ?", quoted(table), quoted(&key_column.name));
        Ok(self.execute(&sql, [key])? > 0)
    }

    pub(super) fn insert_members(&mut self, table: &str, members: Members) -> Result<()> {
        let cells = cells(table, self.columns(table)?, members?)?;
        let places = vec!["?"; cells.len()].join(", ");
        let names: Vec<String> = cells.iter().map(|(column, _)| quoted(&column.name)).collect();
        let sql = match cells.len() {
            0 => format!("INSERT INTO {} DEFAULT VALUES", quoted(table)),
            _ => format!("INSERT INTO {} ({}) VALUES ({places})", quoted(table), names.join(", ")),
        };
        let values: Vec<Value> = cells.into_iter().map(|(_, value)| value).collect();
        self.execute(&sql, values).map(drop)
    }

    pub(super) fn update_members(&mut self, table: &str, members: Members) -> Result<bool> {
        let columns = self.columns(table)?;
        let keys = columns.iter().filter(|column| column.is_key).count();
        let cells = cells(table, columns, members?)?;
        let (key, rest): (Vec<_>, Vec<_>) =
            cells.into_iter().partition(|(column, _)| column.is_key);
        if key.len() != keys || key.is_empty() {
            return Err(refused(table, "the value must have each column of the key"));
        }
        let equal = |cells: &[(TableColumn, Value)], join| {
            let one = |(column, _): &(TableColumn, Value)| format!("{} = ?", quoted(&column.name));
            cells.iter().map(one).collect::<Vec<_>>().join(join)
        };
        let (set, which) = (equal(&rest, ", "), equal(&key, " AND "));
        let has_rest = !rest.is_empty();
        let values: Vec<Value> = rest.into_iter().chain(key).map(|(_, value)| value).collect();
        if has_rest {
            let sql = format!("UPDATE {} SET {set} WHERE {which}", quoted(table));
            return Ok(self.execute(&sql, values)? > 0);
        }
        let sql = format!("SELECT 1 FROM {} WHERE {which}", quoted(table));
        Ok(!self.query(&sql, values)?.is_empty())
    }

    fn columns(&mut self, table: &str) -> Result<Vec<TableColumn>> {
        let sql = "SELECT name, type, pk FROM pragma_table_info(?)";
        let found = self.query(sql, [table])?;
        let columns = found.iter().map(|row| {
            Ok(TableColumn {
                name: row.get("name")?,
                is_blob: row.get::<String>("type")?.eq_ignore_ascii_case("BLOB"),
                is_key: row.get::<i64>("pk")? > 0,
            })
        });
        let columns: Vec<TableColumn> = columns.collect::<Result<_>>()?;
        if columns.is_empty() { Err(refused(table, "there is no such table")) } else { Ok(columns) }
    }
}

/// The columns that the members name, with their values.
fn cells(
    table: &str,
    columns: Vec<TableColumn>,
    mut members: Vec<(String, Member)>,
) -> Result<Vec<(TableColumn, Value)>> {
    let mut cells = Vec::new();
    for column in columns {
        if let Some(at) = members.iter().position(|(name, _)| *name == column.name) {
            let value = cell(&column, members.swap_remove(at).1);
            let value = value.map_err(|why| refused(table, &format!("{}: {why}", column.name)))?;
            cells.push((column, value));
        }
    }
    match members.first() {
        Some((unknown, _)) => {
            Err(refused(table, &format!("it has no column {unknown} that can be written")))
        }
        None => Ok(cells),
    }
}

/// The value of a cell: JSON text for lists and objects, except bytes for a column of BLOB.
fn cell(column: &TableColumn, member: Member) -> Result<Value, String> {
    Ok(match member {
        Member::Unit | Member::Option(None) => Value::Null,
        Member::Option(Some(inner)) | Member::Newtype(inner) => cell(column, *inner)?,
        Member::Bool(is) => Value::Integer(is.into()),
        Member::U64(number) => Value::Integer(
            i64::try_from(number).map_err(|_| "the number does not fit 64 bits with a sign")?,
        ),
        Member::U8(number) => Value::Integer(number.into()),
        Member::U16(number) => Value::Integer(number.into()),
        Member::U32(number) => Value::Integer(number.into()),
        Member::I8(number) => Value::Integer(number.into()),
        Member::I16(number) => Value::Integer(number.into()),
        Member::I32(number) => Value::Integer(number.into()),
        Member::I64(number) => Value::Integer(number),
        Member::F32(number) => Value::Real(number.into()),
        Member::F64(number) => Value::Real(number),
        Member::Char(char) => Value::Text(char.into()),
        Member::String(text) => Value::Text(text),
        Member::Bytes(bytes) => Value::Blob(bytes),
        list @ Member::Seq(_) if column.is_blob => Value::Blob(
            list.deserialize_into().map_err(|error| format!("bytes are needed: {error}"))?,
        ),
        nested => Value::Text(serde_json::to_string(&nested).map_err(|error| error.to_string())?),
    })
}

fn refused(table: &str, why: &str) -> Error {
    Error::InvalidInput(InputFault::Refused {
        what: format!("a row of {table}"),
        reason: why.to_owned(),
    })
}

//! Rows as values of the app's own types, by serde: one statement for each call.
//!
//! The table decides: a member without a column is an error, a column without a member keeps its
//! default (insert) or its value (update). `rejoin generate` writes the same calls with the types of
//! a schema, checked by the compiler.

use serde::Serialize;
use serde_json::Value as Json;

use super::Transaction;
use crate::engine::schema::sql::quoted;
use crate::error::{Error, Result};
use crate::value::Value;

/// The members of a value, or why it cannot be a row.
pub(super) type Members = Result<serde_json::Map<String, Json>>;

/// Converts a value of the app. The error is returned by the call that uses the members.
pub(super) fn members(table: &str, value: &impl Serialize) -> Members {
    match serde_json::to_value(value) {
        Ok(Json::Object(members)) => Ok(members),
        Ok(_) => Err(refused(table, "it has no named members: use a struct or a map")),
        Err(error) => Err(refused(table, &error.to_string())),
    }
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
        let (names, values) = self.cells(table, members?)?;
        let places = vec!["?"; names.len()].join(", ");
        let names: Vec<String> = names.iter().map(|column| quoted(&column.name)).collect();
        let sql = match names.len() {
            0 => format!("INSERT INTO {} DEFAULT VALUES", quoted(table)),
            _ => format!("INSERT INTO {} ({}) VALUES ({places})", quoted(table), names.join(", ")),
        };
        self.execute(&sql, values).map(drop)
    }

    pub(super) fn update_members(&mut self, table: &str, members: Members) -> Result<bool> {
        let keys = self.columns(table)?.into_iter().filter(|column| column.is_key).count();
        let (names, values) = self.cells(table, members?)?;
        let cells: Vec<(TableColumn, Value)> = names.into_iter().zip(values).collect();
        let (key, rest): (Vec<_>, Vec<_>) = cells.into_iter().partition(|(name, _)| name.is_key);
        if key.len() != keys || key.is_empty() {
            return Err(refused(table, "the value must have each column of the key"));
        }
        let equal = |cells: &[(TableColumn, Value)], join| {
            let one = |(name, _): &(TableColumn, Value)| format!("{} = ?", quoted(&name.name));
            cells.iter().map(one).collect::<Vec<_>>().join(join)
        };
        if rest.is_empty() {
            let sql = format!("SELECT 1 FROM {} WHERE {}", quoted(table), equal(&key, " AND "));
            let key: Vec<Value> = key.into_iter().map(|(_, value)| value).collect();
            return Ok(!self.query(&sql, key)?.is_empty());
        }
        let (set, which) = (equal(&rest, ", "), equal(&key, " AND "));
        let sql = format!("UPDATE {} SET {set} WHERE {which}", quoted(table));
        let values: Vec<Value> = rest.into_iter().chain(key).map(|(_, value)| value).collect();
        Ok(self.execute(&sql, values)? > 0)
    }

    /// The columns that the members name, with their values.
    fn cells(
        &mut self,
        table: &str,
        mut members: serde_json::Map<String, Json>,
    ) -> Result<(Vec<TableColumn>, Vec<Value>)> {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for column in self.columns(table)? {
            if let Some(member) = members.remove(&column.name) {
                values.push(cell(table, &column, member)?);
                names.push(column);
            }
        }
        match members.keys().next() {
            Some(unknown) => Err(refused(table, &format!("it has no column {unknown}"))),
            None => Ok((names, values)),
        }
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

/// The value of a cell: JSON text for lists and objects, except bytes for a column of BLOB.
fn cell(table: &str, column: &TableColumn, member: Json) -> Result<Value> {
    Ok(match member {
        Json::Null => Value::Null,
        Json::Bool(is) => Value::Integer(is.into()),
        Json::String(text) => Value::Text(text),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Integer(whole),
            (None, Some(real)) if !number.is_u64() => Value::Real(real),
            _ => {
                let why = format!("{number} in {} does not fit 64 bits with a sign", column.name);
                return Err(refused(table, &why));
            }
        },
        list @ Json::Array(_) if column.is_blob => {
            Value::Blob(serde_json::from_value(list).map_err(|error| {
                refused(table, &format!("{} needs bytes: {error}", column.name))
            })?)
        }
        nested => Value::Text(nested.to_string()),
    })
}

fn refused(table: &str, why: &str) -> Error {
    Error::Refused { what: format!("a row of {table}"), why: why.to_owned() }
}

//! Cells of the log's tables, and the records in them.
//!
//! A record is JSON; a key is bytes in key order. A record that cannot be read is an error.

use rejoin_log::key::Key;
use rejoin_log::row::RowName;
use rejoin_log::store::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Result;

/// A cell of the log's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Cell {
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Uuid> for Cell {
    fn from(id: Uuid) -> Self {
        Self::Bytes(id.as_bytes().to_vec())
    }
}

impl From<&Key> for Cell {
    fn from(key: &Key) -> Self {
        Self::Bytes(key.to_bytes().to_vec())
    }
}

pub(super) fn named(row: &RowName) -> [Cell; 2] {
    [row.table.as_str().into(), row.id.as_str().into()]
}

pub(super) fn linked(row: &RowName, key: &Key) -> [Cell; 3] {
    let [table, id] = named(row);
    [table, id, key.into()]
}

pub(super) fn bounded(limit: usize) -> Cell {
    Cell::Number(i64::try_from(limit).unwrap_or(i64::MAX))
}

pub(super) fn number(of: u64) -> Result<Cell> {
    let number = i64::try_from(of);
    number.map(Cell::Number).map_err(|_| StoreError(format!("no column holds the position {of}")))
}

pub(super) fn json<T: Serialize>(record: &T) -> Result<Cell> {
    let text = serde_json::to_string(record);
    text.map(Cell::Text).map_err(|error| StoreError(format!("a record has no JSON form: {error}")))
}

pub(super) fn body<T: DeserializeOwned>(cell: Option<&Cell>) -> Result<T> {
    let Some(Cell::Text(text)) = cell else { return Err(damaged("no record")) };
    serde_json::from_str(text).map_err(damaged)
}

pub(super) fn name(row: &[Cell]) -> Result<RowName> {
    match row {
        [Cell::Text(table), Cell::Text(id), ..] => Ok(RowName::new(table.as_str(), id.as_str())),
        _ => Err(damaged("no name of a row")),
    }
}

pub(super) fn text(cell: Option<&Cell>) -> Result<String> {
    let Some(Cell::Text(text)) = cell else { return Err(damaged("no text")) };
    Ok(text.clone())
}

pub(super) fn id(cell: Option<&Cell>) -> Result<Uuid> {
    let Some(Cell::Bytes(bytes)) = cell else { return Err(damaged("no id")) };
    Uuid::from_slice(bytes).map_err(damaged)
}

pub(super) fn key(cell: Option<&Cell>) -> Result<Key> {
    let Some(Cell::Bytes(bytes)) = cell else { return Err(damaged("no key")) };
    Key::from_bytes(bytes).ok_or_else(|| damaged("a key of another length"))
}

fn damaged(why: impl std::fmt::Display) -> StoreError {
    StoreError(format!("a record of the log cannot be read ({why}): restore a backup"))
}

//! Records as the wire has them: the same bytes for the same record, as long as the names of its columns stay.

use rejoin_protocol::ColumnKind;
use rejoin_protocol::codec::encode_object_to_plain;
use rejoin_protocol::wire::push::{Operation, PushRecord, PushRequest};
use serde_json::value::RawValue;

use crate::engine::Engine;
use crate::engine::queue::record::Record;
use crate::engine::schema::model::{Schema, Table};
use crate::error::{Error, Result};
use crate::ids::ColumnId;
use crate::sync::rows::register;
use crate::value::Value;

/// Bytes of a body beside its records, generously.
pub(super) const FRAME: usize = 512;

/// The word of the wire for an operation.
pub(super) fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
    }
}

/// A record as it is sent.
pub(super) fn change(schema: &Schema, record: &Record) -> Result<PushRecord> {
    let no_table = || Error::Internal(format!("no table has the number {}", record.row.table.0));
    let table = schema.table(record.row.table).ok_or_else(no_table)?;
    let data = match record.operation {
        Operation::Delete => None,
        Operation::Create | Operation::Update => Some(object(table, &record.data)?),
    };
    Ok(PushRecord {
        id: record.row.key.to_id().unwrap_or_default(),
        table_name: table.name.clone(),
        operation: word(record.operation).to_owned(),
        data,
        client_updated_at: record.edited.clone(),
        base_updated_at: record.base.clone(),
    })
}

/// A column that is gone is named as such, and no server has one of this name: no part of an edit may be taken for the
/// whole (S2).
fn object(table: &Table, cells: &[(ColumnId, Value)]) -> Result<Box<RawValue>> {
    let gone: Vec<String> =
        cells.iter().map(|(id, _)| format!("(removed column {})", id.0)).collect();
    let named = cells.iter().zip(&gone).map(|((id, value), gone)| match table.position(*id) {
        Some(at) => (table.columns[at].name.as_str(), value, table.columns[at].kind),
        None => (gone.as_str(), &Value::Null, ColumnKind::String),
    });
    encode_object_to_plain(named).map_err(|error| Error::Value {
        table: table.name.clone(),
        column: error.column,
        why: error.why.to_string(),
    })
}

/// How many bytes a change has in a body, and few more.
pub(super) fn weight(change: &PushRecord) -> usize {
    let data = change.data.as_ref().map_or(0, |data| data.get().len());
    200 + change.id.len() * 2 + change.table_name.len() + data
}

/// The request.
pub(super) fn request(engine: &mut Engine, changes: Vec<PushRecord>) -> Result<Vec<u8>> {
    let client_id = register::client_id(engine)?;
    let Some(manifest) = engine.schema.manifest.as_ref() else {
        return Err(Error::Internal("a push without a schema".to_owned()));
    };
    let request = PushRequest {
        client_id,
        changes,
        schema_version: manifest.schema_version,
        schema_hash: manifest.schema_hash.clone(),
        rejoin: None,
    };
    serde_json::to_vec(&request).map_err(|error| Error::Internal(error.to_string()))
}

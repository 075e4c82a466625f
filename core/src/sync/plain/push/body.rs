//! Encoding of records: the same bytes for the same record, while its column names stay.

use rejoin_protocol::codec::encode_object_to_plain;
use rejoin_protocol::wire::push::{Operation, PushRecord, PushRequest};

use crate::engine::Engine;
use crate::engine::queue::record::Record;
use crate::engine::schema::model::Schema;
use crate::error::{Error, Result};
use crate::sync::rows::{cell, register};

/// Upper bound of the body's size without records.
pub(super) const FRAME: usize = 512;

/// The wire name of an operation.
pub(super) fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
    }
}

/// The wire form of a record.
pub(super) fn change(schema: &Schema, record: &Record) -> Result<PushRecord> {
    let no_table = || Error::Internal(format!("no table has the number {}", record.row.table.0));
    let table = schema.table(record.row.table).ok_or_else(no_table)?;
    let data = match record.operation {
        Operation::Delete => None,
        Operation::Create | Operation::Update => {
            let data = table.sent_values(record.operation, &record.data);
            Some(cell::object(table, &data, |named| encode_object_to_plain(named))?)
        }
    };
    Ok(PushRecord {
        id: record.row.key.to_id().unwrap_or_default(),
        table_name: cell::table_name(table),
        operation: operation_name(record.operation).to_owned(),
        data,
        client_updated_at: record.edited.clone(),
        base_updated_at: record.base.clone(),
    })
}

/// Approximate upper bound of a change's size in bytes.
pub(super) fn weight(change: &PushRecord) -> usize {
    let data = change.data.as_ref().map_or(0, |data| data.get().len());
    200 + change.id.len() * 2 + change.table_name.len() + data
}

/// The request body.
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

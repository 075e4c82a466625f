//! The app's file under a v0.1.2 SDK: reads and hydrates the queue, applies responses under the
//! SDK's lock.
//!
//! Comments name the differences between the SDKs: Swift re-formats times to milliseconds, Kotlin
//! keeps their text.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rejoin_protocol::manifest::TableManifest;
use rejoin_protocol::{Manifest, time};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Result};
use serde_json::{Map, Value as Json, json};

use super::Sdk;
use super::tables::{create, drop_all, key, prepare, quoted};

/// The file.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) conn: Connection,
    pub(super) sdk: Sdk,
    pub(super) manifest: Option<Manifest>,
}

/// An entry of the queue.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) table: String,
    pub(super) id: String,
}

impl Local {
    pub(super) fn new(sdk: Sdk) -> Result<Self> {
        let conn = Connection::open_in_memory()?;
        prepare(&conn)?;
        Ok(Self { conn, sdk, manifest: None })
    }

    pub(super) fn meta(&self, key: &str) -> Result<String> {
        let sql = "SELECT value FROM _synchro_meta WHERE key = ?1";
        Ok(self.conn.query_row(sql, [key], |row| row.get(0)).optional()?.unwrap_or_default())
    }

    pub(super) fn put_meta(&self, key: &str, value: &str) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO _synchro_meta VALUES (?1, ?2)";
        self.conn.execute(sql, [key, value]).map(drop)
    }

    pub(super) fn checkpoint(&self) -> Result<i64> {
        Ok(self.meta("checkpoint")?.parse().unwrap_or_default())
    }

    /// Raises the checkpoint; it never decreases.
    pub(super) fn advance(&self, checkpoint: i64) -> Result<()> {
        let checkpoint = self.checkpoint()?.max(checkpoint);
        self.put_meta("checkpoint", &checkpoint.to_string())
    }

    /// Adopts a schema. Every schema change is destructive, because a file always has a table that
    /// no schema names; queued records are lost with it.
    pub(super) fn migrate(&mut self, manifest: Manifest) -> Result<()> {
        let is_known = self.manifest.as_ref().is_some_and(|known| {
            (known.schema_version, &known.schema_hash)
                == (manifest.schema_version, &manifest.schema_hash)
        });
        if is_known {
            return Ok(());
        }
        let is_first = self.manifest.is_none();
        let manifest = self.manifest.insert(manifest);
        if is_first { create(&self.conn, manifest) } else { self.empty() }
    }

    /// Before a snapshot: drops rows, queue and checkpoint.
    pub(super) fn empty(&self) -> Result<()> {
        let Some(manifest) = &self.manifest else { return Ok(()) };
        drop_all(&self.conn, manifest)?;
        self.conn.execute_batch("DELETE FROM _synchro_pending_changes")?;
        for (key, value) in
            [("checkpoint", "0"), ("known_buckets", "[]"), ("snapshot_complete", "0")]
        {
            self.put_meta(key, value)?;
        }
        create(&self.conn, manifest)
    }

    fn table(&self, name: &str) -> Option<&TableManifest> {
        self.manifest
            .iter()
            .flat_map(|manifest| &manifest.tables)
            .find(|table| table.table_name == name)
    }

    pub(super) fn waiting(&self) -> Result<i64> {
        self.conn.query_row("SELECT count(*) FROM _synchro_pending_changes", [], |row| row.get(0))
    }

    /// The next records to send, as whole rows, ordered only by the time of their last edit.
    /// Entries whose row is missing are skipped, and dropped if there are no others.
    pub(super) fn batch(&self, size: i64) -> Result<(Vec<Pending>, Vec<Json>)> {
        let sql = "SELECT record_id, table_name, operation, base_updated_at, client_updated_at
                   FROM _synchro_pending_changes ORDER BY client_updated_at, rowid LIMIT ?1";
        let mut query = self.conn.prepare(sql)?;
        let entries = query.query_map([size], |row| {
            let entry = Pending { id: row.get(0)?, table: row.get(1)? };
            Ok((
                entry,
                row.get::<_, String>(2)?,
                row.get::<_, Option<String>>(3)?,
                row.get::<_, String>(4)?,
            ))
        })?;
        let (mut sent, mut records, mut vanished) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            let (entry, operation, base, at) = entry?;
            let data = if operation == "delete" { None } else { self.hydrated(&entry)? };
            if operation != "delete" && data.is_none() {
                vanished.push(entry);
                continue;
            }
            let mut record = json!({
                "id": entry.id, "table_name": entry.table, "operation": operation, "client_updated_at": at,
            });
            if let Some(data) = data {
                record["data"] = Json::Object(data);
            }
            if let Some(base) = base.and_then(|base| self.base(&base)) {
                record["base_updated_at"] = json!(base);
            }
            records.push(record);
            sent.push(entry);
        }
        if records.is_empty() {
            vanished.iter().try_for_each(|entry| self.forget(entry))?;
        }
        Ok((sent, records))
    }

    fn base(&self, text: &str) -> Option<String> {
        match self.sdk {
            Sdk::Kotlin => Some(text.to_owned()),
            Sdk::Swift => time::parse(text).map(milliseconds),
        }
    }

    fn hydrated(&self, entry: &Pending) -> Result<Option<Map<String, Json>>> {
        let Some(table) = self.table(&entry.table) else { return Ok(None) };
        let names: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
        let sql = format!(
            "SELECT {} FROM {} WHERE {} = ?1",
            names.join(", "),
            quoted(&table.table_name),
            quoted(key(table))
        );
        let read = |row: &rusqlite::Row<'_>| {
            let mut data = Map::new();
            for (at, column) in table.columns.iter().enumerate() {
                let value = match row.get_ref(at)? {
                    ValueRef::Null => Json::Null,
                    ValueRef::Integer(number) if column.logical_type == "boolean" => {
                        json!(number != 0)
                    }
                    ValueRef::Integer(number) => json!(number),
                    ValueRef::Real(number) => json!(number),
                    ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
                    ValueRef::Blob(bytes) => json!(STANDARD.encode(bytes)),
                };
                data.insert(column.name.clone(), value);
            }
            Ok(data)
        };
        self.conn.query_row(&sql, [&entry.id], read).optional()
    }

    /// Drops an entry, whatever was written while it was in flight.
    pub(super) fn forget(&self, entry: &Pending) -> Result<()> {
        let sql = "DELETE FROM _synchro_pending_changes WHERE table_name = ?1 AND record_id = ?2";
        self.conn.execute(sql, [&entry.table, &entry.id]).map(drop)
    }

    /// Runs a write of the SDK that is not captured.
    pub(super) fn locked(&self, work: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.put_meta("sync_lock", "1")?;
        let done = work(self);
        self.put_meta("sync_lock", "0")?;
        done
    }

    /// Applies the timestamp of an accepted record to its row.
    pub(super) fn dated(&self, result: &Json) -> Result<()> {
        let text = |name: &str| result[name].as_str();
        let (Some(table), Some(id)) =
            (text("table_name").and_then(|name| self.table(name)), text("id"))
        else {
            return Ok(());
        };
        let dates = [
            (&table.updated_at_column, text("server_updated_at")),
            (&table.deleted_at_column, text("server_deleted_at")),
        ];
        for (column, at) in dates {
            let Some(at) = at.and_then(time::parse) else { continue };
            let at = if self.sdk == Sdk::Swift { milliseconds(at) } else { time::format(at) };
            let sql = format!(
                "UPDATE {} SET {} = ?1 WHERE {} = ?2",
                quoted(&table.table_name),
                quoted(column),
                quoted(key(table))
            );
            self.conn.execute(&sql, [at.as_str(), id])?;
        }
        Ok(())
    }

    /// Writes a server row, unless the local row has an equal or newer version.
    pub(super) fn upsert(&self, record: &Json) -> Result<()> {
        let Some(table) = record["table_name"].as_str().and_then(|name| self.table(name)) else {
            return Ok(());
        };
        let id = record["id"].as_str().unwrap_or_default();
        let (on, key_name) = (quoted(&table.table_name), quoted(key(table)));
        let sql =
            format!("SELECT {} FROM {on} WHERE {key_name} = ?1", quoted(&table.updated_at_column));
        let local: Option<Option<String>> =
            self.conn.query_row(&sql, [id], |row| row.get(0)).optional()?;
        let server = record["updated_at"].as_str().and_then(time::parse);
        if local
            .flatten()
            .as_deref()
            .and_then(time::parse)
            .is_some_and(|local| Some(local) >= server)
        {
            return Ok(());
        }
        self.write(table, record)
    }

    /// Overwrites the local row with a server row.
    pub(super) fn write_named(&self, record: &Json) -> Result<()> {
        match record["table_name"].as_str().and_then(|name| self.table(name)) {
            Some(table) => self.write(table, record),
            None => Ok(()),
        }
    }

    fn write(&self, table: &TableManifest, record: &Json) -> Result<()> {
        let names: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
        let values: Vec<Value> =
            table.columns.iter().map(|column| value(&record["data"][&column.name])).collect();
        let sets: Vec<String> =
            names.iter().map(|name| format!("{name} = excluded.{name}")).collect();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
            quoted(&table.table_name),
            names.join(", "),
            vec!["?"; names.len()].join(", "),
            quoted(key(table)),
            sets.join(", ")
        );
        self.conn.execute(&sql, rusqlite::params_from_iter(values)).map(drop)
    }

    /// Marks a row as deleted that the server deleted or that this user can no longer see.
    pub(super) fn delete(&self, name: &Json, now: &str) -> Result<()> {
        let (Some(table), Some(id)) =
            (name["table_name"].as_str().and_then(|name| self.table(name)), name["id"].as_str())
        else {
            return Ok(());
        };
        let sql = format!(
            "UPDATE {0} SET {1} = ?1 WHERE {2} = ?2 AND {1} IS NULL",
            quoted(&table.table_name),
            quoted(&table.deleted_at_column),
            quoted(key(table))
        );
        self.conn.execute(&sql, [now, id]).map(drop)
    }

    pub(super) fn now(&self) -> Result<String> {
        self.conn.query_row("SELECT now FROM _synchro_clock", [], |row| row.get(0))
    }

    /// Rows of a query as text: cells by `|`.
    pub(super) fn rows(&self, sql: &str) -> Result<Vec<String>> {
        self.conn.prepare(sql)?.query_map([], crate::device::line)?.collect()
    }

    /// Number of rows of each table, deleted ones included.
    pub(super) fn counts(&self) -> Result<BTreeMap<String, i64>> {
        let tables = self.manifest.iter().flat_map(|manifest| &manifest.tables);
        let counted = tables.map(|table| -> Result<(String, i64)> {
            let sql = format!("SELECT count(*) FROM {}", quoted(&table.table_name));
            Ok((table.table_name.clone(), self.conn.query_row(&sql, [], |row| row.get(0))?))
        });
        counted.collect()
    }
}

/// An instant in the format of the SDKs' clocks.
pub(super) fn milliseconds(micros: i64) -> String {
    let text = time::format(micros);
    format!("{}Z", text.get(..23).unwrap_or(&text))
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Integer(i64::from(*truth)),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Real(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(_) | Json::Object(_) => Value::Text(json.to_string()),
    }
}

//! The lines of an import: an action with its changes, or a row as it stands in the source.

use std::collections::BTreeMap;

use rejoin_log::effect::{Effect, Effects};
use rejoin_log::ids::{AuthorId, Buckets, EntryId, Name};
use rejoin_log::key::Key;
use rejoin_log::row::{Columns, LogRow, RowName};
use rejoin_log::server::import::ImportedEntry;
use rejoin_protocol::{Manifest, Value, time};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::error::ImportFault;
use crate::model::{LogTable, LogType};

/// A line of the file.
pub(super) enum Line {
    Blank,
    Action(ImportedEntry),
    Row(RowName, LogRow),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Action(Action),
    Row(SourceRow),
}

#[derive(Deserialize)]
struct Action {
    id: String,
    client_id: String,
    millis: u64,
    counter: u64,
    rows: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    table: String,
    id: String,
    audience: String,
    operation: Operation,
    forward: Map<String, Json>,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Operation {
    Insert,
    Update,
    Delete,
}

#[derive(Deserialize)]
struct SourceRow {
    table: String,
    value: Map<String, Json>,
}

/// A table of the log, and where its bucket is.
pub(super) struct ReadTable<'t> {
    pub(super) table: &'t LogTable,
    column: &'t str,
    prefix: &'t str,
}

impl<'t> ReadTable<'t> {
    pub(super) fn all(tables: &'t [LogTable], manifest: &'t Manifest) -> Vec<Self> {
        let placed = manifest.in_log().filter_map(|placed| {
            let table = tables.iter().find(|table| table.name == placed.table_name)?;
            let column = placed.bucket_by_column.as_deref()?;
            Some(Self {
                table,
                column,
                prefix: placed.bucket_prefix.as_deref().unwrap_or_default(),
            })
        });
        placed.collect()
    }

    fn named<'w>(tables: &'w [Self], name: &str) -> Result<&'w Self, ImportFault> {
        let found = tables.iter().find(|table| table.table.name == name);
        found.ok_or_else(|| ImportFault::Table { table: name.to_owned() })
    }

    /// The cells of the columns, without the key. The source calls the bucket `audience_key`.
    fn columns(&self, cells: Map<String, Json>) -> Result<Columns, ImportFault> {
        let other = |(name, _): &(String, Json)| *name != self.table.key.name && name != AUDIENCE;
        let cell = |(name, value): (String, Json)| {
            let column = self.table.columns.iter().find(|column| column.name == name);
            let value = value_of(column.map_or(LogType::Text, |column| column.kind), value);
            match value {
                Some(value) => Ok((Name::from(name), value)),
                None => Err(ImportFault::Value { table: self.table.name.clone(), column: name }),
            }
        };
        cells.into_iter().filter(other).map(cell).collect()
    }

    /// The columns of a whole row, in the bucket of this audience.
    fn image(&self, cells: Map<String, Json>, audience: &str) -> Result<LogRow, ImportFault> {
        let mut columns = self.columns(cells)?;
        let fault = || ImportFault::Audience {
            table: self.table.name.clone(),
            audience: audience.to_owned(),
            prefix: self.prefix.to_owned(),
        };
        let name = audience.strip_prefix(self.prefix).filter(|name| !name.is_empty());
        let name = name.ok_or_else(fault)?;
        let column = self.table.columns.iter().find(|column| column.name == self.column);
        let value = match column.map(|column| column.kind) {
            Some(LogType::Integer(_)) => Value::Integer(name.parse().map_err(|_| fault())?),
            _ => Value::from(name),
        };
        columns.insert(Name::from(self.column), value);
        Ok(LogRow::from(columns))
    }
}

/// The column of the source that names the audience of a row.
const AUDIENCE: &str = "audience_key";

impl Line {
    pub(super) fn read(text: &str, tables: &[ReadTable<'_>]) -> Result<Self, ImportFault> {
        if text.trim().is_empty() {
            return Ok(Self::Blank);
        }
        let form = |error: serde_json::Error| ImportFault::Form { why: error.to_string() };
        match serde_json::from_str(text).map_err(form)? {
            Source::Action(action) => Ok(Self::Action(entry(action, tables)?)),
            Source::Row(SourceRow { table, value }) => {
                let known = ReadTable::named(tables, &table)?;
                let text = |name: &str| match value.get(name) {
                    Some(Json::String(text)) => Ok(text.clone()),
                    Some(Json::Number(number)) => Ok(number.to_string()),
                    _ => Err(ImportFault::Value { table: table.clone(), column: name.to_owned() }),
                };
                let (id, audience) = (text(&known.table.key.name)?, text(AUDIENCE)?);
                let image = known.image(value, &audience)?;
                Ok(Self::Row(RowName::new(table, id), image))
            }
        }
    }
}

fn entry(action: Action, tables: &[ReadTable<'_>]) -> Result<ImportedEntry, ImportFault> {
    let Action { id, client_id, millis, counter, rows } = action;
    let mut net: BTreeMap<RowName, Effect> = BTreeMap::new();
    let mut write_set = Vec::new();
    for Change { table, id, audience, operation, forward } in rows {
        let known = ReadTable::named(tables, &table)?;
        let row = RowName::new(table, id);
        let effect = match operation {
            Operation::Insert => Effect::Insert(known.image(forward, &audience)?),
            Operation::Delete => Effect::Delete,
            Operation::Update => {
                let columns = known.columns(forward)?;
                match net.remove(&row) {
                    Some(Effect::Insert(image)) => Effect::Insert(image.with(&columns)),
                    Some(Effect::Update(mut earlier)) => {
                        earlier.extend(columns);
                        Effect::Update(earlier)
                    }
                    Some(Effect::Delete) => Effect::Delete,
                    None => Effect::Update(columns),
                }
            }
        };
        net.insert(row, effect);
        write_set.push(audience);
    }
    let key = Key { millis, counter, author: AuthorId(named(&client_id)), id: EntryId(id_of(&id)) };
    let write_set: Buckets = write_set.into_iter().collect();
    let (effects, write_set) = (net.into_iter().collect::<Effects>(), write_set.into());
    Ok(ImportedEntry { key, effects, write_set })
}

/// The id of an entry: that of the action, if it is a UUID in lower case.
fn id_of(text: &str) -> Uuid {
    let id = Uuid::try_parse(text).ok().filter(|id| id.as_hyphenated().to_string() == text);
    id.unwrap_or_else(|| named(text))
}

/// A UUID for a text of the source, the same at each import. No device has the id of an author that
/// was made so.
pub(super) fn named(text: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("rejoin-import:{text}").as_bytes())
}

/// The value of a column from JSON, as PostgreSQL's `to_jsonb` and SQLite's `json_object` write it.
/// `None` for a form that the column never has.
fn value_of(kind: LogType, json: Json) -> Option<Value> {
    Some(match (kind, json) {
        (_, Json::Null) => Value::Null,
        (LogType::Double, Json::Number(number)) => Value::Real(number.as_f64()?),
        // A number with a point has lost digits already.
        (LogType::Decimal, Json::Number(number)) => Value::Text(number.as_i64()?.to_string()),
        (LogType::Instant, Json::String(text)) => Value::Text(time::format(time::parse(&text)?)),
        (LogType::Json, Json::String(text)) if serde_json::from_str::<Json>(&text).is_ok() => {
            Value::Text(text)
        }
        (LogType::Json, json) => Value::Text(json.to_string()),
        (LogType::Bytes, Json::String(text)) => Value::Blob(bytes(text.strip_prefix("\\x")?)?),
        (_, Json::Number(number)) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Real(number.as_f64()?),
        },
        (_, Json::String(text)) => Value::Text(text),
        (_, Json::Bool(truth)) => Value::Integer(truth.into()),
        (_, Json::Array(_) | Json::Object(_)) => return None,
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(pair).collect()
}

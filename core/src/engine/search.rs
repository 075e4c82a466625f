//! Full-text search over a synced table: an FTS5 table that triggers maintain.
//!
//! At every commit the index matches the table, whether the app, the server, a rebase or a snapshot
//! wrote it. It is local-only, is rebuilt when the server changes its columns, and never rejects a
//! row of the server.
//!
//! The triggers have no `rejoin_` prefix: like an app's own triggers they fire for the server's
//! rows, too. The index finds its entry by the row's key, not by rowid, which a copy of the file
//! may renumber.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::fault;
use crate::engine::schema::model::{Schema, Table};
use crate::engine::schema::sql::quoted;
use crate::error::{Error, InputFault, Result, StorageFault};
use crate::ids::ColumnId;

/// The key in `rejoin_meta`: the indexes, by table number.
const SEARCH: &str = "search_indexes";

/// Tokens are split by Unicode rules, without accents.
const TOKENIZER: &str = "unicode61 remove_diacritics 2";

/// An index as stored in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Definition {
    /// The name of the FTS5 table.
    name: String,
    columns: Vec<u32>,
    tokenizer: String,
}

/// By the table's number.
type Definitions = BTreeMap<u32, Definition>;

/// Creates a full-text index `search_<table>` over columns of a synced table, filled from its
/// rows; returns its name. An existing index with the same columns and tokenizer stays; any
/// other is rebuilt.
///
/// # Errors
/// `NotSynced`; `Refused` for an unknown column, for no column, for an unknown tokenizer, and
/// for a name in use. Nothing was created.
pub fn create_search_index(
    engine: &mut Engine,
    table: &str,
    columns: &[&str],
    tokenizer: Option<&str>,
) -> Result<String> {
    let found = engine
        .schema
        .named(table)
        .ok_or_else(|| Error::InvalidInput(InputFault::NotSynced(table.to_owned())))?;
    let number = found.number.0;
    let wanted = define(found, columns, tokenizer.unwrap_or(TOKENIZER))?;
    let mut all = search_indexes(engine)?;
    let name = wanted.name.clone();
    if all.get(&number) == Some(&wanted) {
        return Ok(name);
    }
    engine.write(Origin::Local, |engine| {
        if let Some(old) = all.insert(number, wanted) {
            drop_objects(engine.db.conn(), &old)?;
        }
        make(engine.db.conn(), &engine.schema, &all, number)?;
        engine.footprints.clear();
        engine.touched.table(&name);
        keep(engine, &all)
    })?;
    Ok(name)
}

/// Removes the full-text index of a table, if it has one.
///
/// # Errors
/// `NotSynced`, and those of writing the file.
pub fn drop_search_index(engine: &mut Engine, table: &str) -> Result<()> {
    let found = engine
        .schema
        .named(table)
        .ok_or_else(|| Error::InvalidInput(InputFault::NotSynced(table.to_owned())))?;
    let mut all = search_indexes(engine)?;
    let Some(old) = all.remove(&found.number.0) else { return Ok(()) };
    engine.write(Origin::Local, |engine| {
        drop_objects(engine.db.conn(), &old)?;
        engine.footprints.clear();
        engine.touched.table(&old.name);
        keep(engine, &all)
    })
}

/// Drops the triggers of all indexes before a schema change, in its transaction.
pub(crate) fn lay_search_aside(engine: &Engine) -> Result<()> {
    for old in search_indexes(engine)?.values() {
        drop_objects(engine.db.conn(), old)?;
    }
    Ok(())
}

/// Rebuilds all indexes, over the columns that the current schema still has.
pub(crate) fn renew_search(engine: &mut Engine) -> Result<()> {
    let known = search_indexes(engine)?;
    if known.is_empty() {
        return Ok(());
    }
    let schema = engine.schema.clone();
    let mut kept = Definitions::new();
    for table in schema.tables.values() {
        let Some(mut definition) = known.get(&table.number.0).cloned() else { continue };
        definition.columns.retain(|id| table.position(ColumnId(*id)).is_some());
        definition.name = name_of(table);
        // A server table with this name takes precedence over the index.
        if !definition.columns.is_empty() && schema.named(&definition.name).is_none() {
            kept.insert(table.number.0, definition);
        }
    }
    for number in kept.keys() {
        make(engine.db.conn(), &schema, &kept, *number)?;
    }
    keep(engine, &kept)
}

/// Rebuilds an index with a missing trigger: one that failed on a row of the server was
/// dropped, or another tool dropped it.
pub(crate) fn mend_search(engine: &mut Engine) -> Result<()> {
    for (number, known) in search_indexes(engine)? {
        if is_whole(engine.db.conn(), &known)? {
            continue;
        }
        tracing::warn!(index = known.name, "a full-text index lacks a trigger and is rebuilt");
        engine.write(Origin::Local, |engine| {
            drop_objects(engine.db.conn(), &known)?;
            let all = Definitions::from([(number, known)]);
            make(engine.db.conn(), &engine.schema, &all, number)
        })?;
    }
    Ok(())
}

fn search_indexes(engine: &Engine) -> Result<Definitions> {
    let Some(json) = engine.meta(SEARCH)? else { return Ok(Definitions::new()) };
    serde_json::from_str(&json)
        .map_err(|error| Error::Storage(StorageFault::Corrupt(format!("fact {SEARCH}: {error}"))))
}

fn keep(engine: &mut Engine, all: &Definitions) -> Result<()> {
    let json = serde_json::to_string(all).map_err(|error| Error::Internal(error.to_string()))?;
    engine.set_meta(SEARCH, (!all.is_empty()).then_some(json.as_str()))
}

fn name_of(table: &Table) -> String {
    format!("search_{}", table.name)
}

fn define(table: &Table, columns: &[&str], tokenizer: &str) -> Result<Definition> {
    let id = |name: &&str| {
        let at = table.column_named(name).ok_or_else(|| {
            Error::InvalidInput(InputFault::Refused {
                what: format!("a full-text index on {}.{name}", table.name),
                reason: String::from("the table has no such column"),
            })
        })?;
        Ok(table.columns[at].id.0)
    };
    let columns = columns.iter().map(id).collect::<Result<Vec<u32>>>()?;
    if columns.is_empty() {
        return Err(InputFault::Refused {
            what: format!("a full-text index on {}", table.name),
            reason: String::from("it names no column"),
        }
        .into());
    }
    Ok(Definition { name: name_of(table), columns, tokenizer: tokenizer.to_owned() })
}

/// The suffixes of the triggers.
const TRIGGERS: [&str; 3] = ["insert", "update", "delete"];

fn is_whole(conn: &Connection, known: &Definition) -> Result<bool> {
    let sql = "/*rejoin*/SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name IN (?1, ?2, ?3)";
    let names = TRIGGERS.map(|kind| format!("{}_{kind}", known.name));
    let count: u32 = conn.query_row(sql, names, |row| row.get(0)).map_err(fault::of)?;
    Ok(count == 3)
}

fn drop_objects(conn: &Connection, old: &Definition) -> Result<()> {
    let name = |suffix: &str| quoted(&format!("{}{suffix}", old.name));
    let triggers =
        TRIGGERS.map(|kind| format!("DROP TRIGGER IF EXISTS {};", name(&format!("_{kind}"))));
    let tables = ["", "_rows"].map(|suffix| format!("DROP TABLE IF EXISTS {};", name(suffix)));
    let sql = [triggers.concat(), tables.concat()].concat();
    conn.execute_batch(&sql).map_err(fault::of)
}

fn make(conn: &Connection, schema: &Schema, all: &Definitions, number: u32) -> Result<()> {
    let known = schema.tables.values().find(|table| table.number.0 == number);
    let (Some(table), Some(definition)) = (known, all.get(&number)) else { return Ok(()) };
    conn.execute_batch(&sql(table, definition)).map_err(|error| {
        Error::InvalidInput(InputFault::Refused {
            what: format!("the full-text index {}", definition.name),
            reason: error.to_string(),
        })
    })
}

/// The index, the numbers of its entries, the statement that fills it, and its triggers.
fn sql(table: &Table, definition: &Definition) -> String {
    let Definition { name, columns, tokenizer } = definition;
    let key = quoted(&table.key_column().name);
    let covered: Vec<String> = columns
        .iter()
        .filter_map(|id| table.position(ColumnId(*id)))
        .map(|at| quoted(&table.columns[at].name))
        .filter(|column| *column != key)
        .collect();
    let key_is_covered = covered.len() < columns.len();
    let key_option = if key_is_covered { "" } else { " UNINDEXED" };
    let each =
        |text: fn(&str) -> String| -> String { covered.iter().map(|one| text(one)).collect() };
    let set = each(|column| format!(", {column} = NEW.{column}"));
    let moved = each(|column| format!(" OR OLD.{column} IS NOT NEW.{column}"));
    let columns = each(|column| format!(", {column}"));
    let news = each(|column| format!(", NEW.{column}"));
    let (fts, rows, of) = (quoted(name), quoted(&format!("{name}_rows")), quoted(&table.name));
    let trigger = |kind: &str| quoted(&format!("{name}_{kind}"));
    let (insert, update, delete) = (trigger("insert"), trigger("update"), trigger("delete"));
    let tokenizer = tokenizer.replace('\'', "''");
    let doc = |row: &str| format!("(SELECT doc FROM {rows} WHERE key = {row}.{key})");
    let (doc_of_new, doc_of_old) = (doc("NEW"), doc("OLD"));
    format!(
        "CREATE VIRTUAL TABLE {fts} USING fts5({key}{key_option}{columns}, tokenize = '{tokenizer}');
         CREATE TABLE {rows} (doc INTEGER PRIMARY KEY, key NOT NULL UNIQUE);
         INSERT INTO {rows} (key) SELECT {key} FROM {of};
         INSERT INTO {fts} (rowid, {key}{columns})
             SELECT (SELECT doc FROM {rows} WHERE key = {of}.{key}), {key}{columns} FROM {of};
         CREATE TRIGGER {insert} AFTER INSERT ON {of} BEGIN
             INSERT INTO {rows} (key) VALUES (NEW.{key});
             INSERT INTO {fts} (rowid, {key}{columns}) VALUES ({doc_of_new}, NEW.{key}{news});
         END;
         CREATE TRIGGER {update} AFTER UPDATE ON {of} WHEN OLD.{key} IS NOT NEW.{key}{moved} BEGIN
             UPDATE {fts} SET {key} = NEW.{key}{set} WHERE rowid = {doc_of_old};
             UPDATE {rows} SET key = NEW.{key} WHERE key = OLD.{key};
         END;
         CREATE TRIGGER {delete} AFTER DELETE ON {of} BEGIN
             DELETE FROM {fts} WHERE rowid = {doc_of_old};
             DELETE FROM {rows} WHERE key = OLD.{key};
         END;"
    )
}

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

use rusqlite::{Connection, params_from_iter};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::meta::meta;
use crate::engine::schema::app_trigger;
use crate::engine::schema::model::Table;
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
/// rows; returns its name. An existing index with the same columns and tokenizer stays, unless it
/// lacks a table or a trigger; any other is rebuilt.
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
    if all.get(&number) == Some(&wanted) && is_whole(engine.db.conn(), &wanted)? {
        return Ok(name);
    }
    engine.write(Origin::Local, |engine| {
        if let Some(old) = all.insert(number, wanted) {
            drop_objects(engine.db.conn(), &old)?;
        }
        make(engine, &all, number)?;
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
        make(engine, &kept, *number)?;
    }
    keep(engine, &kept)
}

/// Rebuilds an index with a missing trigger or table: another tool dropped it.
pub(crate) fn mend_search(engine: &mut Engine) -> Result<()> {
    for known in search_indexes(engine)?.values() {
        if !is_whole(engine.db.conn(), known)? {
            return engine.write(Origin::Local, repair);
        }
    }
    Ok(())
}

/// Creates the triggers again that failed in this transaction. An index whose trigger failed is
/// rebuilt instead, because it lacks rows.
pub(crate) fn restore_triggers(engine: &mut Engine) -> Result<()> {
    let known = search_indexes(engine)?;
    let of_indexes: Vec<String> = known.values().flat_map(trigger_names).collect();
    app_trigger::restore(engine.db.conn(), |name| of_indexes.iter().any(|other| other == name))?;
    engine.footprints.clear();
    repair(engine)
}

/// Rebuilds the indexes that are not whole. One that cannot be rebuilt stays as it is: it must
/// reject no row, and not prevent opening.
fn repair(engine: &mut Engine) -> Result<()> {
    for (number, known) in search_indexes(engine)? {
        if is_whole(engine.db.conn(), &known)? {
            continue;
        }
        tracing::warn!(index = known.name, "a full-text index lacks a trigger and is rebuilt");
        engine.run_ours("SAVEPOINT rejoin_search")?;
        let all = Definitions::from([(number, known.clone())]);
        let repaired =
            drop_objects(engine.db.conn(), &known).and_then(|()| make(engine, &all, number));
        match repaired {
            Ok(()) => {}
            Err(error) if error.is_of_the_machine() => return Err(error),
            Err(error) => {
                tracing::error!(index = known.name, %error, "a full-text index is not rebuilt");
                engine.run_ours("ROLLBACK TO rejoin_search")?;
            }
        }
        engine.run_ours("RELEASE rejoin_search")?;
    }
    Ok(())
}

/// Refuses that the app drops or renames a table of an index: writes of its table would fail.
pub(crate) fn refuse_to_lose(conn: &Connection, changed: &[String]) -> Result<()> {
    if changed.is_empty() {
        return Ok(());
    }
    for known in stored(conn)?.values() {
        for table in tables(known) {
            if changed.iter().any(|name| name.eq_ignore_ascii_case(&table)) {
                return Err(Error::InvalidInput(InputFault::Refused {
                    what: format!("DROP or ALTER of {table}"),
                    reason: String::from(
                        "it is the full-text index of a synced table; use drop_search_index()",
                    ),
                }));
            }
        }
    }
    Ok(())
}

fn search_indexes(engine: &Engine) -> Result<Definitions> {
    stored(engine.db.conn())
}

fn stored(conn: &Connection) -> Result<Definitions> {
    let Some(json) = meta(conn, SEARCH)? else { return Ok(Definitions::new()) };
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

fn trigger_names(known: &Definition) -> [String; 3] {
    TRIGGERS.map(|kind| format!("{}_{kind}", known.name))
}

/// The index and the numbers of its entries.
fn tables(known: &Definition) -> [String; 2] {
    [known.name.clone(), format!("{}_rows", known.name)]
}

fn is_whole(conn: &Connection, known: &Definition) -> Result<bool> {
    let sql = "/*rejoin*/SELECT count(*) FROM sqlite_schema \
               WHERE type = 'trigger' AND name IN (?1, ?2, ?3) OR type = 'table' AND name IN (?4, ?5)";
    let names = trigger_names(known).into_iter().chain(tables(known));
    let count: u32 = conn.query_row(sql, params_from_iter(names), |row| row.get(0))?;
    Ok(count == 5)
}

fn drop_objects(conn: &Connection, old: &Definition) -> Result<()> {
    let triggers =
        trigger_names(old).map(|name| format!("DROP TRIGGER IF EXISTS {};", quoted(&name)));
    let tables = tables(old).map(|name| format!("DROP TABLE IF EXISTS {};", quoted(&name)));
    let sql = [triggers.concat(), tables.concat()].concat();
    Ok(conn.execute_batch(&sql)?)
}

fn make(engine: &mut Engine, all: &Definitions, number: u32) -> Result<()> {
    let known = engine.schema.tables.values().find(|table| table.number.0 == number);
    let (Some(table), Some(definition)) = (known, all.get(&number)) else { return Ok(()) };
    engine.db.conn().execute_batch(&sql(table, definition)).map_err(|error| {
        Error::InvalidInput(InputFault::Refused {
            what: format!("the full-text index {}", definition.name),
            reason: error.to_string(),
        })
    })?;
    engine.footprints.clear();
    engine.touched.table(&definition.name);
    Ok(())
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

//! Full-text search over a synced table: an FTS5 table beside it, kept by triggers.
//!
//! Promise: at every commit the index holds what the table holds, whoever wrote it: the app, the server, a rebase, a snapshot.
//! It is local-only, is made anew when the server changes the columns that it covers, and never refuses a row of the server.
//!
//! The triggers are not named `rejoin_`: as an app's own they fire for the server's rows too (B22). The index finds its
//! entry by the row's key, not by rowid, which a copy of the file may number anew.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::fault;
use crate::engine::schema::model::{Schema, Table};
use crate::engine::schema::sql::quoted;
use crate::error::{Error, Result};
use crate::ids::ColumnId;

/// The fact in `rejoin_meta`: what is indexed, by the table's number.
const SEARCH: &str = "search_indexes";

/// Words are told apart as Unicode has them, without accents.
const TOKENIZER: &str = "unicode61 remove_diacritics 2";

/// An index as the file remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Definition {
    /// The name of the FTS5 table.
    name: String,
    columns: Vec<u32>,
    tokenizer: String,
}

/// By the table's number.
type Definitions = BTreeMap<u32, Definition>;

impl Engine {
    /// Makes a full-text index `search_<table>` over columns of a synced table, filled from its rows; gives back the name. One
    /// that is there with the same columns and tokenizer stays; another one is made anew.
    ///
    /// # Errors
    /// `NotSynced`; `Refused` for a column that the table has not, for none at all, for a tokenizer that SQLite does not know,
    /// and for a name that is taken. Nothing was made.
    pub fn create_search_index(
        &mut self,
        table: &str,
        columns: &[&str],
        tokenizer: Option<&str>,
    ) -> Result<String> {
        let found = self.schema.named(table).ok_or_else(|| Error::NotSynced(table.to_owned()))?;
        let number = found.number.0;
        let wanted = define(found, columns, tokenizer.unwrap_or(TOKENIZER))?;
        let mut all = self.search_indexes()?;
        let name = wanted.name.clone();
        if all.get(&number) == Some(&wanted) {
            return Ok(name);
        }
        self.write(Origin::Local, |engine| {
            if let Some(old) = all.insert(number, wanted) {
                drop_objects(engine.db.conn(), &old)?;
            }
            make(engine.db.conn(), &engine.schema, &all, number)?;
            engine.touched.table(&name);
            engine.keep(&all)
        })?;
        Ok(name)
    }

    /// Removes the full-text index of a table, if it has one.
    ///
    /// # Errors
    /// `NotSynced`, and those of writing the file.
    pub fn drop_search_index(&mut self, table: &str) -> Result<()> {
        let found = self.schema.named(table).ok_or_else(|| Error::NotSynced(table.to_owned()))?;
        let mut all = self.search_indexes()?;
        let Some(old) = all.remove(&found.number.0) else { return Ok(()) };
        self.write(Origin::Local, |engine| {
            drop_objects(engine.db.conn(), &old)?;
            engine.touched.table(&old.name);
            engine.keep(&all)
        })
    }

    /// Takes the triggers of all indexes out of the way of a change of the schema, inside its transaction.
    pub(crate) fn lay_search_aside(&self) -> Result<()> {
        for old in self.search_indexes()?.values() {
            drop_objects(self.db.conn(), old)?;
        }
        Ok(())
    }

    /// Makes all indexes anew, over those of their columns that the present schema still has.
    pub(crate) fn renew_search(&mut self) -> Result<()> {
        let known = self.search_indexes()?;
        if known.is_empty() {
            return Ok(());
        }
        let schema = self.schema.clone();
        let mut kept = Definitions::new();
        for table in schema.tables.values() {
            let Some(mut definition) = known.get(&table.number.0).cloned() else { continue };
            definition.columns.retain(|id| table.position(ColumnId(*id)).is_some());
            definition.name = name_of(table);
            // A table of the server's that has its name now is worth more than the index.
            if !definition.columns.is_empty() && schema.named(&definition.name).is_none() {
                kept.insert(table.number.0, definition);
            }
        }
        for number in kept.keys() {
            make(self.db.conn(), &schema, &kept, *number)?;
        }
        self.keep(&kept)
    }

    /// Makes an index anew of which a trigger is gone: one that failed on a row of the server was dropped (B22), or another
    /// tool did it.
    pub(crate) fn mend_search(&mut self) -> Result<()> {
        for (number, known) in self.search_indexes()? {
            if is_whole(self.db.conn(), &known)? {
                continue;
            }
            tracing::warn!(index = known.name, "the full-text index is made anew");
            self.write(Origin::Local, |engine| {
                drop_objects(engine.db.conn(), &known)?;
                let all = Definitions::from([(number, known)]);
                make(engine.db.conn(), &engine.schema, &all, number)
            })?;
        }
        Ok(())
    }

    fn search_indexes(&self) -> Result<Definitions> {
        let Some(json) = self.meta(SEARCH)? else { return Ok(Definitions::new()) };
        serde_json::from_str(&json)
            .map_err(|error| Error::Corrupt(format!("fact {SEARCH}: {error}")))
    }

    fn keep(&mut self, all: &Definitions) -> Result<()> {
        let json =
            serde_json::to_string(all).map_err(|error| Error::Internal(error.to_string()))?;
        self.set_meta(SEARCH, (!all.is_empty()).then_some(json.as_str()))
    }
}

fn name_of(table: &Table) -> String {
    format!("search_{}", table.name)
}

fn define(table: &Table, columns: &[&str], tokenizer: &str) -> Result<Definition> {
    let id = |name: &&str| {
        let at = table.column_named(name).ok_or_else(|| Error::Refused {
            what: format!("a full-text index on {}.{name}", table.name),
            why: String::from("the table has no such column"),
        })?;
        Ok(table.columns[at].id.0)
    };
    let columns = columns.iter().map(id).collect::<Result<Vec<u32>>>()?;
    if columns.is_empty() {
        return Err(Error::Refused {
            what: format!("a full-text index on {}", table.name),
            why: String::from("it names no column"),
        });
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
    conn.execute_batch(&sql(table, definition)).map_err(|error| Error::Refused {
        what: format!("the full-text index {}", definition.name),
        why: error.to_string(),
    })
}

/// The index, the numbers of its entries, what fills them, and what keeps them.
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

//! Local-only tables beside the synced ones: those of a bundled manifest, and those that the app
//! has created.

use std::collections::HashSet;

use rejoin_protocol::ColumnKind;
use rejoin_protocol::manifest::{Manifest, TableManifest};
use rusqlite::Connection;

use crate::engine::database::Database;
use crate::engine::schema::build::refused;
use crate::engine::schema::model::Schema;
use crate::engine::schema::sql::{self, listed, quoted};
use crate::error::Result;

/// Why a new synced table cannot have this name while the app uses it: its rows would have no owner, or a
/// local-only table refers to it natively, so that SQLite would reject base rows. `taken`: by
/// [`names_of_the_app`].
pub(crate) fn clash(
    conn: &Connection,
    table: &str,
    taken: &HashSet<String>,
) -> Result<Option<&'static str>> {
    let exists = |sql: &str| conn.prepare_cached(sql)?.exists([table]);
    if taken.contains(&table.to_ascii_lowercase())
        || exists("/*rejoin*/SELECT 1 FROM sqlite_temp_schema WHERE name = ?1 COLLATE NOCASE")?
    {
        let why = "the app has created a table, view or index of this name; rename or drop it";
        return Ok(Some(why));
    }
    let refers = exists(
        "/*rejoin*/SELECT 1 FROM sqlite_schema AS s, pragma_foreign_key_list(s.name) AS f
         WHERE s.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE",
    )?;
    let why = "a local-only table has a FOREIGN KEY to it; make that a plain column";
    Ok(refers.then_some(why))
}

/// The names of the app's tables, views and indexes, lower case: a new table or index of the manifest cannot
/// have them.
pub(crate) fn names_of_the_app(conn: &Connection, schema: &Schema) -> Result<HashSet<String>> {
    let sql = "/*rejoin*/SELECT lower(name) FROM sqlite_schema WHERE type <> 'trigger'";
    let mut names = conn
        .prepare_cached(sql)?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<HashSet<String>>>()?;
    for table in schema.tables.values() {
        names.remove(&table.name.to_ascii_lowercase());
        for (index, _) in sql::indexes(table) {
            names.remove(&index.to_ascii_lowercase());
        }
    }
    Ok(names)
}

/// Creates the manifest's local-only tables and their missing columns. Nothing is ever removed.
pub(crate) fn create_tables(db: &Database, manifest: &Manifest) -> Result<()> {
    let _guard = db.gate.schema_change();
    for (table, sql) in missing(db.conn(), manifest)? {
        db.conn().execute(&sql, []).map_err(|error| refused(&table, error.to_string()))?;
    }
    Ok(())
}

/// The statements that create the manifest's missing local-only tables and columns: table and
/// statement.
pub(crate) fn missing(conn: &Connection, manifest: &Manifest) -> Result<Vec<(String, String)>> {
    let local = |table: &&TableManifest| {
        table.rejoin.as_ref().is_some_and(|extension| extension.local_only)
    };
    let mut out = Vec::new();
    for table in manifest.tables.iter().filter(local) {
        let name = quoted(&table.table_name);
        let known = conn
            .prepare("SELECT name FROM pragma_table_xinfo(?1)")?
            .query_map([&table.table_name], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<String>>>()?;
        let mut definitions = definitions(table)?;
        if known.is_empty() {
            let mut parts: Vec<String> = definitions.drain(..).map(|(_, sql)| sql).collect();
            if !table.primary_key.is_empty() {
                let key = listed("", table.primary_key.iter().map(String::as_str));
                parts.push(format!("PRIMARY KEY ({key})"));
            }
            let sql = format!("CREATE TABLE {name} ({})", parts.join(", "));
            out.push((table.table_name.clone(), sql));
        }
        let is_known = |column: &str| known.iter().any(|other| other.eq_ignore_ascii_case(column));
        for (_, sql) in definitions.into_iter().filter(|(column, _)| !is_known(column)) {
            out.push((table.table_name.clone(), format!("ALTER TABLE {name} ADD COLUMN {sql}")));
        }
    }
    Ok(out)
}

fn definitions(table: &TableManifest) -> Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    for column in &table.columns {
        let kind = ColumnKind::of(&column.logical_type, &column.db_type).ok_or_else(|| {
            let why =
                format!("column {} has the unknown type {}", column.name, column.logical_type);
            refused(&table.table_name, why)
        })?;
        let default = (column.sqlite_default_sql.as_ref())
            .map(|sql| format!(" DEFAULT ({sql})"))
            .unwrap_or_default();
        let sql = format!("{} {}{default}", quoted(&column.name), kind.declared_type());
        out.push((column.name.clone(), sql));
    }
    Ok(out)
}

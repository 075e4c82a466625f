//! Reads the application's tables with SQLite's pragmas, and reports everything that cannot be
//! synced.
//!
//! The declared type decides: TEXT, VARCHAR, CHAR, CLOB, UUID are strings; INTEGER, INT, BIGINT,
//! INT8 are 64-bit integers; SMALLINT, TINYINT, MEDIUMINT are 32-bit integers; BOOLEAN; REAL,
//! DOUBLE, FLOAT are doubles; NUMERIC, DECIMAL are exact decimals (SQLite itself keeps about 15
//! digits); DATETIME, TIMESTAMP; DATE; TIME; JSON; BLOB, BYTEA. Others are refused.

use rejoin_protocol::manifest::SyncModel;
use rusqlite::{Connection, OptionalExtension};

use super::ddl;
use crate::config::TableConfig;
use crate::error::SchemaProblem;
use crate::model::LeftOut;
use crate::store::chosen;
use crate::store::describe::{Found, FoundColumn, FoundReference};
use crate::store::quote::quoted;

/// Reads the table that `config` names and adds its problems to `problems`. Columns of an unsupported
/// type are added to `left_out`.
pub(super) fn read(
    connection: &Connection,
    config: &TableConfig,
    problems: &mut Vec<SchemaProblem>,
    left_out: &mut Vec<LeftOut>,
) -> rusqlite::Result<Option<Found>> {
    let mut problem = |column: Option<&str>, why: String| {
        let column = column.map(str::to_owned);
        problems.push(SchemaProblem { table: config.name.clone(), column, why });
    };
    let Some(sql) = definition(connection, &config.name)? else {
        problem(None, String::from("the database has no such table: make it first"));
        return Ok(None);
    };
    let definitions = ddl::definitions(&sql);
    let mut columns = columns(connection, &config.name, &definitions)?;
    if definitions.iter().any(|text| ddl::mentions(text, "deferred")) {
        let why = "a deferred foreign key would fail a whole push at its commit: declare it without \
                   INITIALLY DEFERRED";
        problem(None, String::from(why));
    }
    key_problems(&columns, &definitions, &mut problem);
    config_problems(config, &columns, &mut problem);
    let odd = columns.extract_if(.., |column| column.logical.is_empty());
    chosen::unknown_types(config, odd, left_out, &mut problem);
    let indexes = indexes(connection, &config.name, &mut problem)?;
    let without_rowid = connection
        .query_row(
            "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1",
            [&config.name],
            |row| row.get(0),
        )
        .optional()?;
    let mut found = Found {
        columns,
        references: references(connection, &config.name)?,
        indexes,
        without_rowid: without_rowid.unwrap_or(false),
    };
    found.choose(config);
    Ok(Some(found))
}

/// The text of a table's CREATE TABLE.
pub(super) fn definition(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    let select = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    connection.query_row(select, [table], |row| row.get(0)).optional()
}

pub(super) fn columns(
    connection: &Connection,
    table: &str,
    definitions: &[String],
) -> rusqlite::Result<Vec<FoundColumn>> {
    let mut query = connection.prepare(
        "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1)",
    )?;
    let rows = query.query_map([table], |row| {
        let name: String = row.get(0)?;
        let declared: String = row.get(1)?;
        let hidden: i64 = row.get(5)?;
        let is_own = |text: &&String| ddl::words(text).first() == Some(&name);
        let generated = (hidden >= 2)
            .then(|| definitions.iter().find(is_own).and_then(|text| ddl::generated(text)))
            .map(|found| found.unwrap_or((String::from("NULL"), hidden == 3)));
        // SQLite appends this to the declared type of a generated column.
        let declared = declared.to_ascii_lowercase().replace("generated always", "");
        let declared = declared.trim().to_owned();
        let default: Option<String> = row.get(3)?;
        Ok(FoundColumn {
            logical: logical(&declared, generated.is_some()),
            name,
            declared,
            not_null: row.get(2)?,
            portable_default: default.as_deref().and_then(portable),
            default,
            read_only: false,
            is_key: row.get::<_, i64>(4)? > 0,
            generated,
        })
    })?;
    rows.collect()
}

/// The default for a device's table; `None` if only this database can evaluate it.
fn portable(default: &str) -> Option<String> {
    let default = default.trim();
    let upper = default.to_ascii_uppercase();
    match upper.as_str() {
        "NULL" | "CURRENT_TIMESTAMP" | "CURRENT_DATE" | "CURRENT_TIME" => Some(upper),
        "TRUE" => Some(String::from("1")),
        "FALSE" => Some(String::from("0")),
        // Not `inf`, which is a name in SQL.
        _ if default.starts_with('\'')
            || default.ends_with(|end: char| end.is_ascii_digit() || end == '.')
                && default.parse::<f64>().is_ok() =>
        {
            Some(default.to_owned())
        }
        _ => None,
    }
}

/// The logical type of a declared type; empty if it is not synced.
fn logical(declared: &str, generated: bool) -> &'static str {
    let base = declared.split('(').next().unwrap_or_default().trim();
    match base {
        "text" | "varchar" | "char" | "character" | "character varying" | "nvarchar" | "nchar"
        | "clob" | "string" | "uuid" => "string",
        "integer" | "int" | "bigint" | "int8" => "int64",
        "smallint" | "tinyint" | "mediumint" | "int2" | "int4" => "int",
        "boolean" | "bool" => "boolean",
        // The manifest uses `float` for exact decimals too; the declared type distinguishes them.
        // SQLite stores the last two as text, with every digit.
        "real" | "double" | "double precision" | "float" | "numeric" | "decimal"
        | "numeric text" | "decimal text" => "float",
        "datetime" | "timestamp" | "timestamptz" => "datetime",
        "date" => "date",
        "time" => "time",
        "json" | "jsonb" => "json",
        "blob" | "bytea" => "bytes",
        "" if generated => "string",
        _ => "",
    }
}

pub(super) fn key_problems(
    columns: &[FoundColumn],
    definitions: &[String],
    problem: &mut impl FnMut(Option<&str>, String),
) {
    let keys: Vec<&FoundColumn> = columns.iter().filter(|column| column.is_key).collect();
    let [key] = keys.as_slice() else {
        let why = if keys.is_empty() { "the table has no" } else { "the table has a composite" };
        problem(None, format!("{why} primary key: a synced table needs exactly one key column"));
        return;
    };
    if !matches!(key.logical, "string" | "int64" | "int") {
        problem(Some(&key.name), String::from("a key is text or an integer"));
    }
    let definition = definitions.iter().find(|text| ddl::words(text).first() == Some(&key.name));
    let collation = definition.and_then(|text| ddl::collation(text));
    if collation.is_some_and(|collation| !collation.eq_ignore_ascii_case("binary")) {
        let why = "a key compares by bytes: devices would take keys for different that this \
                   collation takes for the same";
        problem(Some(&key.name), String::from(why));
    }
}

fn config_problems(
    config: &TableConfig,
    columns: &[FoundColumn],
    problem: &mut impl FnMut(Option<&str>, String),
) {
    let find = |name: &str| columns.iter().find(|column| column.name == name);
    match find(&config.updated_at_column) {
        _ if config.sync == SyncModel::Log => {}
        None => problem(
            Some(&config.updated_at_column),
            String::from("the table has no column for a row's version: add it, TEXT or DATETIME"),
        ),
        Some(column) if !matches!(column.logical, "datetime" | "string") => {
            problem(Some(&column.name), String::from("a version is TEXT, DATETIME or TIMESTAMP"));
        }
        Some(_) => {}
    }
    chosen::problems(config, &columns.iter().collect::<Vec<_>>(), problem);
    generated_problems(config, columns, problem);
    if config.name.to_ascii_lowercase().starts_with("rejoin_") {
        problem(None, String::from("names that begin with rejoin_ are the engine's"));
    }
}

/// Devices compute a generated column themselves, from columns that they have.
fn generated_problems(
    config: &TableConfig,
    columns: &[FoundColumn],
    problem: &mut impl FnMut(Option<&str>, String),
) {
    let is_synced = |column: &&FoundColumn| config.syncs(&column.name, column.is_key);
    for column in columns.iter().filter(is_synced) {
        let Some((expression, _)) = &column.generated else { continue };
        let hidden = columns.iter().filter(|other| !is_synced(other));
        for other in hidden.filter(|other| ddl::mentions(expression, &other.name)) {
            let why = format!("it is computed from '{}': add that to sync_columns", other.name);
            problem(Some(&column.name), why);
        }
    }
}

/// Plain indexes, for the manifest; a UNIQUE one is a problem.
fn indexes(
    connection: &Connection,
    table: &str,
    problem: &mut impl FnMut(Option<&str>, String),
) -> rusqlite::Result<Vec<(String, Vec<String>)>> {
    let mut list = connection
        .prepare("SELECT name, \"unique\", origin, partial FROM pragma_index_list(?1)")?;
    let rows = list.query_map([table], |row| {
        Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?))
    })?;
    let mut plain = Vec::new();
    for row in rows {
        let (name, unique, origin, partial): (String, bool, String, bool) = row?;
        let mut info = connection.prepare("SELECT name FROM pragma_index_info(?1)")?;
        let columns: Vec<Option<String>> =
            info.query_map([&name], |row| row.get(0))?.collect::<Result<_, _>>()?;
        if unique && origin != "pk" {
            let columns: Vec<String> = columns.into_iter().flatten().collect();
            let why = format!(
                "UNIQUE over ({}) beside the key is not supported: a REPLACE by another program \
                 would hide a delete; drop the index",
                columns.join(", ")
            );
            problem(columns.first().map(String::as_str), why);
        } else if let (false, false, "c", Some(columns)) = (
            partial,
            name.starts_with("rejoin_"),
            origin.as_str(),
            columns.into_iter().collect::<Option<Vec<String>>>(),
        ) {
            plain.push((name, columns));
        }
    }
    plain.sort();
    Ok(plain)
}

fn references(connection: &Connection, table: &str) -> rusqlite::Result<Vec<FoundReference>> {
    let mut query = connection.prepare(&format!(
        "SELECT \"from\", \"table\", \"to\", on_delete, on_update, id FROM pragma_foreign_key_list({})
         GROUP BY id HAVING count(*) = 1 ORDER BY id",
        quoted(table)
    ))?;
    let rows = query.query_map([], |row| {
        Ok(FoundReference {
            column: row.get(0)?,
            table: row.get(1)?,
            target: row.get(2)?,
            on_delete: row.get(3)?,
            on_update: row.get(4)?,
        })
    })?;
    rows.collect()
}

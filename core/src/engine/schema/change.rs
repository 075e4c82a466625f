//! Changes one table from its old form to its new one.
//!
//! A column without a default is added in place. Any other change rebuilds the table and copies its
//! rows with their rowids, and keeps the app's own indexes and triggers: SQLite would fill an added
//! column with its default, but only the server may fill it.

use crate::engine::schema::app_trigger::{self, Measure};
use crate::engine::schema::build::refused;
use crate::engine::schema::model::{Column, Table};
use crate::engine::schema::sql::{self, listed, quoted};
use crate::error::{Error, InputFault, Result};
use crate::ids::ColumnId;
use rusqlite::Connection;

/// Changes the table, whose engine triggers must be dropped. Returns the added columns.
pub(crate) fn alter(conn: &Connection, old: &Table, new: &Table) -> Result<Vec<ColumnId>> {
    let gained: Vec<ColumnId> = (new.columns.iter().map(|column| column.id))
        .filter(|id| old.position(*id).is_none())
        .collect();
    if alters_rowid(old, new) {
        let pairs = new.columns.iter().filter_map(|column| {
            let at = old.position(column.id)?;
            Some((old.columns[at].name.as_str(), column.name.as_str()))
        });
        replace(conn, old, new, &pairs.collect::<Vec<_>>())?;
        return Ok(gained);
    }
    rename_columns(conn, old, new)?;
    if can_add(old, new) {
        for column in new.columns.iter().filter(|column| gained.contains(&column.id)) {
            let column = format!("{} {}", quoted(&column.name), column.kind.declared_type());
            run(conn, new, &format!("ALTER TABLE {} ADD COLUMN {column}", quoted(&new.name)))?;
        }
    } else {
        let kept: Vec<(&str, &str)> = (new.columns.iter())
            .filter(|column| old.position(column.id).is_some())
            .map(|column| (column.name.as_str(), column.name.as_str()))
            .collect();
        replace(conn, old, new, &kept)?;
    }
    Ok(gained)
}

/// Whether a column with a name of SQLite's rowid is added or renamed, which SQLite refuses in place.
fn alters_rowid(old: &Table, new: &Table) -> bool {
    let is_rowid = |name: &str| {
        ["rowid", "_rowid_", "oid"].iter().any(|alias| name.eq_ignore_ascii_case(alias))
    };
    let name_in = |table: &Table, id| {
        table.position(id).map(|at| table.columns[at].name.clone()).unwrap_or_default()
    };
    (old.columns.iter().chain(&new.columns)).any(|column| {
        let (before, after) = (name_in(old, column.id), name_in(new, column.id));
        before != after && (is_rowid(&before) || is_rowid(&after))
    })
}

/// Whether the change only adds columns without a default.
fn can_add(old: &Table, new: &Table) -> bool {
    let kept = old.columns.iter().all(|column| {
        (new.position(column.id)).is_some_and(|at| new.columns[at].default == column.default)
    });
    let plain = (new.columns.iter())
        .all(|column| old.position(column.id).is_some() || column.default.is_none());
    kept && plain
        && old.name == new.name
        && old.generated == new.generated
        && old.without_rowid == new.without_rowid
}

/// Renames columns. If a new name is still in use by another column, the columns concerned get
/// temporary names first.
fn rename_columns(conn: &Connection, old: &Table, new: &Table) -> Result<()> {
    let rename = |from: &str, to: &str| {
        let (table, from, to) = (quoted(&old.name), quoted(from), quoted(to));
        run(conn, new, &format!("ALTER TABLE {table} RENAME COLUMN {from} TO {to}"))
    };
    let moves = |column: &&Column| {
        new.position(column.id).is_none_or(|at| new.columns[at].name != column.name)
    };
    let taken = new.columns.iter().any(|column| {
        old.column_named(&column.name).is_some_and(|at| old.columns[at].id != column.id)
    });
    if taken {
        for column in old.columns.iter().filter(moves) {
            rename(&column.name, &aside(column))?;
        }
    }
    for column in old.columns.iter().filter(moves) {
        if let Some(at) = new.position(column.id) {
            let from = if taken { aside(column) } else { column.name.clone() };
            rename(&from, &new.columns[at].name)?;
        }
    }
    Ok(())
}

/// The name of a column while another one has its new name.
fn aside(column: &Column) -> String {
    format!("rejoin_column_{}", column.id.0)
}

/// SQL of the app with the names of removed columns, which SQLite has replaced by those of
/// [`aside`].
fn with_former_names(mut sql: String, old: &Table, new: &Table) -> String {
    for column in old.columns.iter().filter(|column| new.position(column.id).is_none()) {
        let name = aside(column);
        let mut from = 0;
        while let Some(at) = sql[from..].find(&name).map(|at| from + at) {
            from = at + name.len();
            if !sql[from..].starts_with(|next: char| next.is_ascii_digit()) {
                let is_quoted = sql[..at].ends_with('"');
                let former =
                    if is_quoted { column.name.replace('"', "\"\"") } else { quoted(&column.name) };
                sql.replace_range(at..from, &former);
                from = at + former.len();
            }
        }
    }
    sql
}

/// Rebuilds the table with the rows' `kept` columns, as old and new names; without any, it is empty.
pub(crate) fn replace(
    conn: &Connection,
    old: &Table,
    new: &Table,
    kept: &[(&str, &str)],
) -> Result<()> {
    let objects = objects_of_the_app(conn, old)?;
    let (from, to) = (quoted(&old.name), quoted(&new.name));
    run(conn, new, &sql::create_table(new, "rejoin_rebuilt"))?;
    if !kept.is_empty() {
        let rowid = rowid(old, new).map(|name| format!("{name}, ")).unwrap_or_default();
        let columns = listed("", kept.iter().map(|(_, after)| *after));
        let values = listed("", kept.iter().map(|(before, _)| *before));
        let copy = format!(
            "INSERT INTO rejoin_rebuilt ({rowid}{columns}) SELECT {rowid}{values} FROM {from}"
        );
        run(conn, new, &copy)?;
        // A default applies to new rows, not to copied ones.
        let gained: Vec<String> = (new.columns.iter())
            .filter(|column| {
                column.default.is_some() && !kept.iter().any(|(_, after)| *after == column.name)
            })
            .map(|column| format!("{} = NULL", quoted(&column.name)))
            .collect();
        if !gained.is_empty() {
            run(conn, new, &format!("UPDATE rejoin_rebuilt SET {}", gained.join(", ")))?;
        }
    }
    // Views that name the table must keep their text: the legacy rename rules do not check them.
    let legacy = |on: &str| run(conn, new, &format!("PRAGMA legacy_alter_table = {on}"));
    legacy("ON")?;
    let swapped = run(conn, new, &format!("DROP TABLE {from}"))
        .and_then(|()| run(conn, new, &format!("ALTER TABLE rejoin_rebuilt RENAME TO {to}")));
    legacy("OFF")?;
    swapped?;
    for (name, sql) in objects {
        let sql = with_former_names(sql, old, new);
        // It names a removed column. The server's schema change takes precedence.
        if let Err(error) = conn.execute_batch(&sql) {
            let dropped = [(name, sql)];
            app_trigger::record(conn, &new.name, &dropped, &error.to_string(), Measure::Dropped)?;
        }
    }
    Ok(())
}

/// A name of the rowid, which indexes of the app may refer to. A column can hide it.
fn rowid(old: &Table, new: &Table) -> Option<&'static str> {
    let is_free = |name: &&str| {
        [old, new].iter().all(|table| {
            let generated = table.generated.iter().map(|column| &column.name);
            let mut names = table.columns.iter().map(|column| &column.name).chain(generated);
            !table.without_rowid && !names.any(|other| other.eq_ignore_ascii_case(name))
        })
    };
    ["rowid", "_rowid_", "oid"].into_iter().find(is_free)
}

/// Indexes and triggers that were created neither by the engine nor by the manifest.
fn objects_of_the_app(conn: &Connection, table: &Table) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = conn.prepare(
        "SELECT name, sql FROM sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE
         AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY rowid",
    )?;
    let rows = statement.query_map([&table.name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let made: Vec<String> = sql::indexes(table).into_iter().map(|(name, _)| name).collect();
    let objects = rows.collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    Ok(objects.into_iter().filter(|(name, _)| !made.contains(name)).collect())
}

/// Drops the indexes that only the old form had: another table or index may have the name now.
pub(crate) fn drop_indexes(conn: &Connection, old: &Table, new: &Table) -> Result<()> {
    let wanted = sql::indexes(new);
    for (name, sql) in sql::indexes(old) {
        if !wanted.contains(&(name.clone(), sql)) {
            run(conn, new, &format!("DROP INDEX IF EXISTS {}", quoted(&name)))?;
        }
    }
    Ok(())
}

/// Creates the indexes of the new form.
pub(crate) fn create_indexes(conn: &Connection, new: &Table) -> Result<()> {
    for (_, sql) in sql::indexes(new) {
        let sql = sql.replacen("CREATE INDEX", "CREATE INDEX IF NOT EXISTS", 1);
        run(conn, new, &sql)?;
    }
    Ok(())
}

/// Runs one statement that changes a table; SQLite's error is the reason why the schema is refused.
/// Trailing text is an error, so that text of a manifest never becomes a statement.
pub(crate) fn run(conn: &Connection, table: &Table, sql: &str) -> Result<()> {
    conn.execute(sql, []).map(drop).map_err(|error| match Error::from(error) {
        Error::InvalidInput(InputFault::Sql(message)) => refused(&table.name, message),
        other => other,
    })
}

//! The membership query: read for one user at a time, and triggers that wake the users whose
//! memberships a change concerns.
//!
//! In a trigger, a common table expression with the name of the changed table holds only the changed
//! row, so the query names the users of that row.

use rusqlite::Connection;

use super::ddl;
use crate::config::MembershipConfig;
use crate::error::{Problem, ServerError};
use crate::store::quote::quoted;

/// The grants that the operator has stored.
const GRANTS: &str = "SELECT bucket, reads, writes FROM rejoin_bucket WHERE user_id = ?1";

/// Installs the triggers of the query, or removes them; returns the statement that reads the grants of a
/// user, ordered by bucket. A running server goes on with a query that the database refuses since the
/// application has changed its tables: requests fail until one of them is corrected.
pub(super) fn install(
    connection: &Connection,
    config: Option<&MembershipConfig>,
    starts: bool,
) -> Result<String, ServerError> {
    let of = |config| Membership::of(connection, config, starts);
    let membership = match config.map(of).transpose() {
        Ok(membership) => membership,
        Err(error) if starts => return Err(error),
        Err(error) => {
            tracing::error!(%error, "no device syncs until the tables or the query are corrected");
            return Ok(config.map_or_else(String::new, |config| with_query(&config.query, "0")));
        }
    };
    let wanted = membership.as_ref().map(|of| of.triggers(connection)).transpose()?;
    let wanted = wanted.unwrap_or_default();
    let mut select = connection.prepare(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name GLOB 'rejoin_member_*'",
    )?;
    let there = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let there = there.collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    for (name, _) in there.iter().filter(|trigger| !wanted.contains(trigger)) {
        connection.execute_batch(&format!("DROP TRIGGER {}", quoted(name)))?;
    }
    for (_, sql) in wanted.iter().filter(|trigger| !there.contains(trigger)) {
        connection.execute_batch(sql)?;
    }
    Ok(match membership {
        None => format!("{GRANTS} ORDER BY bucket"),
        Some(Membership { query, writes, .. }) => with_query(&query, writes),
    })
}

/// The grants and the memberships of a user. `writes`: the right to write as an expression.
fn with_query(query: &str, writes: &str) -> String {
    format!(
        "{GRANTS} UNION ALL SELECT CAST(bucket AS TEXT), 1, {writes} FROM ({query}) \
         WHERE user_id = ?1 AND bucket IS NOT NULL ORDER BY bucket"
    )
}

/// A membership query that fits the database.
struct Membership {
    query: String,
    /// The right to write, as an expression.
    writes: &'static str,
    tables: Vec<String>,
}

impl Membership {
    /// Prepares the query. `needs_tables`: whether a table that is named and missing is an error, or its
    /// changes wake no device.
    ///
    /// # Errors
    /// [`ServerError::Config`] if it cannot be used.
    fn of(
        connection: &Connection,
        config: &MembershipConfig,
        needs_tables: bool,
    ) -> Result<Self, ServerError> {
        let problem = |key: &str, why: String| {
            ServerError::Config(vec![Problem::new(format!("membership.{key}"), why)])
        };
        let MembershipConfig { query, tables } = config;
        let statement = connection
            .prepare(&format!("SELECT * FROM ({query})"))
            .map_err(|error| problem("query", error.to_string()))?;
        let columns: Vec<&str> = statement.column_names().collect();
        if !statement.readonly() || statement.parameter_count() > 0 {
            return Err(problem("query", String::from("one SELECT without parameters")));
        }
        if let Some(lacks) = ["user_id", "bucket"].into_iter().find(|name| !columns.contains(name))
        {
            return Err(problem("query", format!("it has no column {lacks}: name it by AS")));
        }
        let writes = if columns.contains(&"writes") { "coalesce(writes, 0) <> 0" } else { "1" };
        let mut found = Vec::with_capacity(tables.len());
        for table in tables {
            let is_table =
                "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
            if connection.query_row(is_table, [table], |row| row.get::<_, bool>(0))? {
                found.push(table.clone());
            } else if needs_tables {
                return Err(problem("tables", format!("the database has no table {table}")));
            }
        }
        Ok(Self { query: query.clone(), writes, tables: found })
    }

    /// The triggers, by name.
    fn triggers(&self, connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
        let mut triggers = Vec::new();
        for (number, table) in self.tables.iter().enumerate() {
            let mut select = connection.prepare("SELECT name FROM pragma_table_xinfo(?1)")?;
            let columns = select.query_map([table], |row| row.get(0))?;
            let mut columns = columns.collect::<rusqlite::Result<Vec<String>>>()?;
            // SQLite refuses to drop a column that a trigger names.
            let is_named = |column: &String| ddl::mentions(&self.query, column);
            if !self.query.contains('*') && columns.iter().any(is_named) {
                columns.retain(is_named);
            }
            let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
            let update = format!("UPDATE OF {}", names.join(", "));
            for (what, event, rows) in [
                ("insert", "INSERT", &["NEW"][..]),
                ("update", update.as_str(), &["OLD", "NEW"]),
                ("delete", "DELETE", &["OLD"]),
            ] {
                let name = format!("rejoin_member_{number}_{what}");
                let sql = format!(
                    "CREATE TRIGGER {name} AFTER {event} ON {} BEGIN {}; END",
                    quoted(table),
                    self.wakes(table, &names, rows)
                );
                triggers.push((name, sql));
            }
        }
        Ok(triggers)
    }

    /// A statement that wakes the users of these states of the changed row.
    fn wakes(&self, table: &str, names: &[String], rows: &[&str]) -> String {
        let state = |row: &&str| {
            let cells: Vec<String> = names.iter().map(|name| format!("{row}.{name}")).collect();
            format!("SELECT {}", cells.join(", "))
        };
        let states: Vec<String> = rows.iter().map(state).collect();
        format!(
            "INSERT INTO rejoin_changelog(bucket, table_number, record_id) \
             SELECT DISTINCT 'user:' || user_id, 0, '' FROM (WITH {}({}) AS ({}) SELECT user_id FROM ({})) \
             WHERE user_id IS NOT NULL",
            quoted(table),
            names.join(", "),
            states.join(" UNION ALL "),
            self.query
        )
    }
}

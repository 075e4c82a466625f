//! A session of another program on a server's database. It reads rows as text, the same over both
//! stores, and writes at the time of the server's clock. It stays open until it is dropped.

use rejoin_core::value::Value;
use rejoin_postgres::{ResultSet, Session};
use rejoin_protocol::time;
use rusqlite::Connection;

use super::site::translated;

/// An open session.
#[derive(Debug)]
pub enum SideSession {
    /// On an SQLite file. Its statements stay prepared.
    Sqlite(Connection),
    /// On a PostgreSQL database.
    Postgres(Session),
}

impl SideSession {
    /// The rows of each query; over PostgreSQL all of them in one round trip.
    ///
    /// # Panics
    /// A query fails.
    #[track_caller]
    pub fn query(&self, queries: &[&str]) -> Vec<ResultSet> {
        let results = match self {
            Self::Sqlite(connection) => {
                let sets = queries.iter().map(|query| rows(connection, query));
                sets.collect::<rusqlite::Result<_>>().map_err(|error| error.to_string())
            }
            Self::Postgres(session) => session.results(&translated(&queries.join("; "))),
        };
        results.unwrap_or_else(|error| panic!("{queries:?}: {error}"))
    }

    /// The first cell of each row of a query, where that is not NULL.
    ///
    /// # Panics
    /// The query fails.
    #[track_caller]
    pub fn texts(&self, query: &str) -> Vec<String> {
        let rows = self.query(&[query]).into_iter().flat_map(|set| set.rows);
        rows.filter_map(|row| row.into_iter().next().flatten()).collect()
    }

    /// Runs statements in one transaction whose time of writing is `now`, in microseconds.
    ///
    /// # Errors
    /// What the database rejects; then nothing is written.
    pub fn write_at(&self, now: i64, sql: &str) -> Result<(), String> {
        let now = time::format(now);
        match self {
            Self::Sqlite(connection) => {
                let done = connection.execute_batch(&format!(
                    "BEGIN IMMEDIATE; UPDATE rejoin_clock SET now = '{now}'; {sql};
                     UPDATE rejoin_clock SET now = NULL; COMMIT"
                ));
                if !connection.is_autocommit() {
                    connection.execute_batch("ROLLBACK").expect("the transaction is rolled back");
                }
                done.map_err(|error| error.to_string())
            }
            Self::Postgres(session) => {
                let sql = translated(sql);
                let done = session.attempt(&format!(
                    "BEGIN; SELECT set_config('rejoin.now', '{now}', true); {sql}; COMMIT"
                ));
                if done.is_err() {
                    session.run("ROLLBACK");
                }
                done
            }
        }
    }
}

fn rows(connection: &Connection, query: &str) -> rusqlite::Result<ResultSet> {
    let mut statement = connection.prepare_cached(query)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let (mut found, mut rows) = (statement.query([])?, Vec::new());
    while let Some(row) = found.next()? {
        let cells = (0..columns.len()).map(|at| Ok(text(&row.get(at)?)));
        rows.push(cells.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    Ok(ResultSet { columns, rows })
}

/// A cell as PostgreSQL writes it: these tests compare text and integers only.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

//! What a store is opened for, and what it must not take away by not knowing of it (ADR 0030): the resolver of a table is code of
//! the host's. A program that lacks it would install the triggers without, and its rows would be in none of its buckets.

use super::Known;
use super::connection::Connection;
use super::fed::PREFIX;
use super::triggers;
use crate::config::TableConfig;
use crate::error::{SchemaProblem, ServerError};

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// Which tables are served, and what may become of what is installed.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) tables: Vec<TableConfig>,
    /// Tables whose resolver may be taken away.
    pub(crate) dropped: Vec<String>,
    /// It only looks: nothing is installed on the application's tables, and nothing taken away.
    pub(crate) looks: bool,
}

impl Plan {
    /// Whether all resolvers that are installed are known, or given up.
    pub(super) fn check(
        &self,
        connection: &Connection,
        known: &Known,
    ) -> std::result::Result<(), ServerError> {
        let tables = lost(connection, known, &self.dropped)?;
        if tables.is_empty() { Ok(()) } else { Err(ServerError::ResolverMissing { tables }) }
    }
}

/// What requests are told of by the log, if it comes out while the server runs.
pub(super) fn resolverless(tables: Vec<String>) -> Vec<SchemaProblem> {
    let why = "a resolver in Rust names its buckets, and this server has none for it";
    let problem = |table| SchemaProblem { table, column: None, why: String::from(why) };
    tables.into_iter().map(problem).collect()
}

/// Tables of which the database says that a resolver decides, of which this program knows none, and nobody said that it may go. A
/// table that is not served here counts as well, if it is there and has our triggers; under whatever name.
fn lost(connection: &Connection, known: &Known, dropped: &[String]) -> Result<Vec<String>> {
    let all = known.schema.tables.iter().zip(&known.shapes);
    let served: Vec<i64> = all.clone().map(|(table, _)| table.number).collect();
    let fed = all.filter(|(_, shape)| shape.fed.is_some());
    let (fed, relations): (Vec<i64>, Vec<i64>) =
        fed.map(|(table, shape)| (table.number, shape.relation)).unzip();
    let select = "SELECT t.name FROM rejoin.table_number AS t JOIN rejoin.meta AS m ON m.key = $1 || t.number
        WHERE NOT t.number = ANY($2::bigint[]) AND NOT t.name = ANY($3::text[]) AND (t.number = ANY($4::bigint[])
          OR EXISTS (SELECT FROM pg_trigger AS g WHERE starts_with(g.tgname::text, $5)
            AND g.tgrelid IN (t.relation, to_regclass(quote_ident(t.name))) AND NOT g.tgrelid::bigint = ANY($6::bigint[])))
        ORDER BY t.name";
    let prefix = triggers::PREFIX;
    let rows = connection.rows(select, &[&PREFIX, &fed, &dropped, &served, &prefix, &relations])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

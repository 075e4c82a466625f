//! Protects installed resolvers (ADR 0030). A program without a table's resolver would install
//! triggers without it, and the rows would drop out of its buckets.

use super::Known;
use super::connection::Connection;
use super::fed::PREFIX;
use super::triggers;
use crate::config::TableConfig;
use crate::error::{SchemaProblem, ServerError};

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// The tables to serve, and what may happen to installed resolvers.
#[derive(Debug, Default)]
pub(crate) struct ServedTables {
    pub(crate) tables: Vec<TableConfig>,
    /// The names of the tables that the log writes.
    pub(crate) log: Vec<String>,
    /// Tables whose resolver may be removed.
    pub(crate) dropped: Vec<String>,
    /// Inspection only: nothing is installed on the application's tables or removed.
    pub(crate) looks: bool,
}

impl ServedTables {
    /// Checks that all installed resolvers are either present or dropped explicitly.
    pub(super) fn check(
        &self,
        connection: &Connection,
        known: &Known,
    ) -> std::result::Result<(), ServerError> {
        let tables = lost(connection, known, &self.dropped)?;
        if tables.is_empty() { Ok(()) } else { Err(ServerError::ResolverMissing { tables }) }
    }
}

/// The problems reported to requests if this is found while the server runs.
pub(super) fn resolverless(tables: Vec<String>) -> Vec<SchemaProblem> {
    let why = "a resolver in Rust names its buckets, and this server has none for it";
    let problem = |table| SchemaProblem { table, column: None, why: String::from(why) };
    tables.into_iter().map(problem).collect()
}

/// Tables for which the database records a resolver that this program lacks and that is not dropped
/// explicitly. Includes tables that are not served, under any name, as long as they exist and have
/// Rejoin's triggers.
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

//! Protects installed resolvers (ADR 0030). A program without a table's resolver would install
//! triggers without it, and the rows would drop out of its buckets.

use super::Known;
use super::connection::Connection;
use super::table_resolver::PREFIX;
use super::triggers;
use crate::config::{MembershipConfig, RowSecurity, TableConfig};
use crate::error::{SchemaProblem, ServerError};
use crate::store::admit::Strictness;

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// The tables to serve, and what may happen to installed resolvers.
#[derive(Debug, Default)]
pub(crate) struct ServedTables {
    pub(crate) tables: Vec<TableConfig>,
    /// Tables whose resolver may be removed.
    pub(crate) dropped: Vec<String>,
    /// Inspection only: nothing is installed on the application's tables or removed.
    pub(crate) looks: bool,
    /// What a start refuses.
    pub(crate) strictness: Strictness,
    /// The buckets of users, from the application's tables.
    pub(crate) membership: Option<MembershipConfig>,
    /// A table whose policies do not hold is left out.
    pub(crate) security: Option<RowSecurity>,
}

impl ServedTables {
    /// Checks that all installed resolvers are either present or dropped explicitly.
    pub(super) fn check(
        &self,
        connection: &Connection,
        known: &Known,
    ) -> std::result::Result<(), ServerError> {
        // A table that is left out has its resolver in this program.
        let is_served = |name: &str| known.schema.tables.iter().any(|table| table.name == name);
        let left_out = self
            .tables
            .iter()
            .filter(|config| config.bucket_resolver.is_some() && !is_served(&config.name));
        let left_out = left_out.map(|config| config.name.clone());
        let dropped: Vec<String> = self.dropped.iter().cloned().chain(left_out).collect();
        let tables = lost(connection, known, &dropped)?;
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
    let resolver = all.filter(|(_, shape)| shape.resolver.is_some());
    let (resolver, relations): (Vec<i64>, Vec<i64>) =
        resolver.map(|(table, shape)| (table.number, shape.relation)).unzip();
    let select = "SELECT t.name FROM rejoin.table_number AS t JOIN rejoin.meta AS m ON m.key = $1 || t.number
        WHERE NOT t.number = ANY($2::bigint[]) AND NOT t.name = ANY($3::text[]) AND (t.number = ANY($4::bigint[])
          OR EXISTS (SELECT FROM pg_trigger AS g WHERE starts_with(g.tgname::text, $5)
            AND g.tgrelid IN (t.relation, to_regclass(quote_ident(t.name))) AND NOT g.tgrelid::bigint = ANY($6::bigint[])))
        ORDER BY t.name";
    let prefix = triggers::PREFIX;
    let rows =
        connection.rows(select, &[&PREFIX, &resolver, &dropped, &served, &prefix, &relations])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

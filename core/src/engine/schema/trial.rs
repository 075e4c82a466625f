//! Evaluates the expressions of a manifest once, before the device adopts it.
//!
//! An expression that fails for every row would make every write fail, or every read. The rows of the
//! trial are in a temporary table.

use rejoin_protocol::admit::{self, Expression, Misfit, Part};
use rejoin_protocol::manifest::TableManifest;
use rejoin_protocol::{ColumnKind, functions};
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode};

use crate::engine::database::Database;
use crate::engine::database::authorizer::LARGEST;
use crate::engine::schema::app_trigger;
use crate::engine::schema::build::refused;
use crate::engine::schema::change::run;
use crate::engine::schema::model::{Column, Table};
use crate::engine::schema::sql::{self, listed, quoted};
use crate::error::{Error, InputFault, Result};

/// Bytes of a value during the trial, whose rows have a few bytes.
const LARGEST_IN_TRIAL: i32 = 1024 * 1024;

/// Texts of the rows of the trial: an expression may require one of these forms.
const TEXTS: [&str; 4] = ["'a'", "'1'", "'{}'", "'2026-01-31T12:00:00.000000Z'"];

/// The name of the table of the trial, which the authorizer allows.
const TRIAL: &str = "rejoin_rebuilt";

/// The parts of a table whose expressions fail. The table need not exist.
pub(crate) fn misfits(
    db: &Database,
    manifest: &TableManifest,
    table: &Table,
) -> Result<Vec<Misfit>> {
    let expressions: Vec<Expression<'_>> = admit::expressions(manifest).collect();
    if expressions.is_empty() {
        return Ok(Vec::new());
    }
    let _guard = db.gate.schema_change();
    let tried = tried(db, table, &expressions);
    run(db.conn(), table, &format!("DROP TABLE IF EXISTS temp.{TRIAL}"))?;
    tried
}

fn tried(db: &Database, table: &Table, expressions: &[Expression<'_>]) -> Result<Vec<Misfit>> {
    let created = create(db.conn(), table).and_then(|()| Limited::begin(db.conn()));
    let _limited = match created {
        Ok(limited) => limited,
        Err(error) => return misfit(&Part::Table, error).map(|misfit| vec![misfit]),
    };
    let evaluated = expressions.iter().map(|of| (of, evaluate(db, table, of)));
    let failed = evaluated.filter_map(|(of, result)| Some(misfit(&of.part, result.err()?)));
    failed.collect()
}

/// An error that names a table, as a misfit of this part.
fn misfit(part: &Part, error: Error) -> Result<Misfit> {
    match error {
        Error::InvalidInput(InputFault::SchemaRefused { table, reason: why }) => {
            Ok(Misfit { table, part: part.clone(), why })
        }
        other => Err(other),
    }
}

/// Compiles an insert with the trigger of the table, which contains its rules. A trigger of the app
/// that names a removed column does not refuse the schema.
pub(crate) fn compile(db: &Database, table: &Table) -> Result<()> {
    let insert = format!("INSERT INTO {} DEFAULT VALUES", quoted(&table.name));
    let compiled = || db.conn().prepare(&insert).map(|_| 0);
    let Err(error) = compiled() else { return Ok(()) };
    let why = failed(table, "INSERT", error);
    let first = InputFault::Sql(why.to_string()).into();
    match app_trigger::without_failing(db.conn(), &table.name, first, compiled) {
        Err(Error::InvalidInput(InputFault::Sql(_))) => Err(why),
        other => other.map(drop),
    }
}

/// While it exists, values of this connection are short.
struct Limited<'a>(&'a Connection);

impl<'a> Limited<'a> {
    fn begin(conn: &'a Connection) -> Result<Self> {
        conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, LARGEST_IN_TRIAL)?;
        Ok(Self(conn))
    }
}

impl Drop for Limited<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.set_limit(Limit::SQLITE_LIMIT_LENGTH, LARGEST) {
            tracing::warn!(%error, "setting the limit of values failed");
        }
    }
}

/// Creates the table of the trial with a row for each of [`TEXTS`].
fn create(conn: &Connection, table: &Table) -> Result<()> {
    // Computed columns would be computed with the row, and the error would not name them.
    let mut plain = table.clone();
    // A function of a default would be reported as called by the expression.
    plain.columns.iter_mut().for_each(|column| column.default = None);
    plain.columns.extend(plain.generated.drain(..).map(|column| Column {
        name: column.name,
        kind: ColumnKind::String,
        default: None,
        ..table.key_column().clone()
    }));
    let table = &plain;
    let create = sql::create_table(table, TRIAL);
    run(conn, table, &create.replacen("CREATE TABLE", "CREATE TEMP TABLE", 1))?;
    let columns = listed("", table.columns.iter().map(|column| column.name.as_str()));
    for (at, text) in TEXTS.into_iter().enumerate() {
        let value = |(position, kind): (usize, ColumnKind)| match kind {
            ColumnKind::Int | ColumnKind::Int64 if position == table.key => (at + 1).to_string(),
            _ => String::from(literal(kind, text)),
        };
        let kinds = table.columns.iter().map(|column| column.kind).enumerate();
        let values: Vec<String> = kinds.map(value).collect();
        let insert = format!("INSERT INTO temp.{TRIAL} ({columns}) VALUES ({})", values.join(", "));
        run(conn, table, &insert)?;
    }
    Ok(())
}

/// A value of a column.
fn literal(kind: ColumnKind, text: &'static str) -> &'static str {
    match kind {
        ColumnKind::String => text,
        ColumnKind::Int | ColumnKind::Int64 | ColumnKind::Boolean => "1",
        ColumnKind::Float => "1.5",
        ColumnKind::Numeric => "'1.5'",
        ColumnKind::Datetime => "'2026-01-31T12:00:00.000000Z'",
        ColumnKind::Date => "'2026-01-31'",
        ColumnKind::Time => "'12:00:00'",
        ColumnKind::Json => "'{}'",
        ColumnKind::Array => "'[]'",
        ColumnKind::Bytes => "x'00'",
    }
}

/// Evaluates an expression for the rows of the trial: one must succeed, and none may be too large.
fn evaluate(db: &Database, table: &Table, expression: &Expression<'_>) -> Result<()> {
    let Expression { place, text, of, .. } = expression;
    // A default reads no column.
    let sql = format!("SELECT ({text}) FROM temp.{TRIAL} LIMIT 1 OFFSET ?1");
    db.gate.record();
    let compiled = db.conn().prepare(&sql);
    let recorded = db.gate.recorded();
    db.gate.take_refusal();
    let mut statement = compiled.map_err(|error| failed(table, place, error))?;
    // SQLite calls functions for some operators, such as MATCH.
    if let Some(why) = recorded.called.iter().find_map(|name| functions::refused(name, *of)) {
        return Err(refused(&table.name, format!("the {place} {why}")));
    }
    if recorded.reads.iter().any(|other| !other.eq_ignore_ascii_case(TRIAL)) {
        return Err(refused(&table.name, format!("the {place} reads another table")));
    }
    let tried = (0_i64..).zip(TEXTS);
    let tried = tried.map(|(at, _)| statement.query_row([at], |_| Ok(())));
    let mut errors: Vec<rusqlite::Error> = tried.filter_map(std::result::Result::err).collect();
    let is_large = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::TooBig);
    if errors.len() < TEXTS.len() && !errors.iter().any(is_large) {
        return Ok(());
    }
    Err(failed(table, place, errors.swap_remove(0)))
}

/// SQLite's error as the reason why the schema is refused.
fn failed(table: &Table, place: &str, error: rusqlite::Error) -> Error {
    match Error::from(error) {
        Error::InvalidInput(InputFault::Sql(why)) => {
            refused(&table.name, format!("the {place} fails: {why}"))
        }
        other => other,
    }
}

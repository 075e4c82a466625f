//! Evaluates the expressions of a manifest in SQLite, as a device does before it adopts it.
//!
//! Devices compute defaults, generated columns and CHECK rules. An expression that SQLite cannot
//! compile, or that fails for every row, is left out.

use rejoin_protocol::ColumnKind;
use rejoin_protocol::admit::{self, Expression, Misfit, Part};
use rejoin_protocol::manifest::TableManifest;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode};

/// Texts of the rows of the trial: an expression may require one of these forms.
const TEXTS: [&str; 4] = ["'a'", "'1'", "'{}'", "'2026-01-31T12:00:00.000000Z'"];

/// Bytes of a value during the trial, whose rows have a few bytes.
const LARGEST: i32 = 1024 * 1024;

/// The expressions of the table that do not work.
pub(super) fn misfits(table: &TableManifest) -> Vec<Misfit> {
    let expressions: Vec<Expression<'_>> = admit::expressions(table).collect();
    if expressions.is_empty() {
        return Vec::new();
    }
    let connection = match open(table) {
        Ok(connection) => connection,
        Err(error) => {
            // Nothing is known about them.
            let misfit = |of: &Expression<'_>| misfit(table, of, &error);
            return expressions.iter().map(misfit).collect();
        }
    };
    let tried = expressions.iter().filter_map(|expression| {
        evaluate(&connection, expression).err().map(|error| misfit(table, expression, &error))
    });
    tried.collect()
}

fn misfit(table: &TableManifest, of: &Expression<'_>, error: &rusqlite::Error) -> Misfit {
    let why = format!("the {} fails: {error}", of.place);
    Misfit { table: table.table_name.clone(), part: of.part.clone(), why }
}

/// A database in memory with a table of these columns and a row for each of [`TEXTS`].
#[allow(clippy::disallowed_methods)] // Not the application's database.
fn open(table: &TableManifest) -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.set_limit(rusqlite::limits::Limit::SQLITE_LIMIT_LENGTH, LARGEST)?;
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    for name in ["rejoin_now", "rejoin_new_id"] {
        // What they return does not matter.
        connection.create_scalar_function(name, 0, FunctionFlags::SQLITE_UTF8, |_| Ok("a"))?;
    }
    let extension = table.rejoin.iter().flat_map(|extension| &extension.generated);
    let made =
        extension.filter(|column| !table.columns.iter().any(|other| other.name == column.name));
    let made = made.map(|column| (column.name.as_str(), ColumnKind::String));
    let kinds = table.columns.iter();
    let kinds =
        kinds.map(|column| (column.name.as_str(), column.kind().unwrap_or(ColumnKind::String)));
    let columns: Vec<(&str, ColumnKind)> = kinds.chain(made).collect();
    let name = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let declared =
        columns.iter().map(|(column, kind)| format!("{} {}", name(column), kind.declared_type()));
    let declared: Vec<String> = declared.collect();
    connection.execute_batch(&format!("CREATE TABLE rejoin_rebuilt ({})", declared.join(", ")))?;
    for text in TEXTS {
        let cells: Vec<&str> = columns.iter().map(|(_, kind)| literal(*kind, text)).collect();
        let cells = cells.join(", ");
        connection.execute_batch(&format!("INSERT INTO rejoin_rebuilt VALUES ({cells})"))?;
    }
    Ok(connection)
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

/// One row must succeed, and none may be too large.
fn evaluate(connection: &Connection, of: &Expression<'_>) -> rusqlite::Result<()> {
    let text = of.text;
    match of.part {
        // Constant, and without a column.
        Part::Default(_) => {
            let sql = format!("CREATE TEMP TABLE trial (x DEFAULT ({text}))");
            connection.execute_batch(&format!("{sql}; DROP TABLE temp.trial"))?;
        }
        // Deterministic, and without a query.
        Part::Column(_) => {
            let sql = format!("CREATE INDEX trial ON rejoin_rebuilt (({text}))");
            connection.prepare(&sql).map(drop)?;
        }
        _ => {}
    }
    let sql = format!("SELECT ({text}) FROM rejoin_rebuilt LIMIT 1 OFFSET ?1");
    let mut statement = connection.prepare(&sql)?;
    let tried = (0_i64..4).map(|at| statement.query_row([at], |_| Ok(())));
    let mut errors: Vec<rusqlite::Error> = tried.filter_map(Result::err).collect();
    let is_large = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::TooBig);
    if errors.len() < TEXTS.len() && !errors.iter().any(is_large) {
        return Ok(());
    }
    Err(errors.swap_remove(0))
}

#[cfg(test)]
mod tests {
    use rejoin_protocol::manifest::{ColumnManifest, Rule, TableExtension, TableManifest};

    use super::misfits;

    fn checked(expression: &str) -> Vec<String> {
        let column = |name: &str, logical: &str| ColumnManifest {
            name: name.to_owned(),
            logical_type: logical.to_owned(),
            ..ColumnManifest::default()
        };
        let rule = Rule::Check { name: "c".to_owned(), expression: expression.to_owned() };
        let table = TableManifest {
            table_name: "items".to_owned(),
            columns: vec![column("id", "string"), column("n", "int"), column("data", "json")],
            rejoin: Some(TableExtension { rules: vec![rule], ..TableExtension::default() }),
            ..TableManifest::default()
        };
        misfits(&table).into_iter().map(|misfit| misfit.why).collect()
    }

    #[test]
    fn check_that_sqlite_cannot_evaluate_is_a_misfit() {
        for good in
            ["n > 0", "json_extract(data, '$.a') IS NULL", "id GLOB 'a*'", "n <> 7 OR id = 'x'"]
        {
            assert_eq!(checked(good), [""; 0], "{good}");
        }
        for bad in [
            "n ~ '^a'",
            "id ILIKE 'a%'",
            "n::text = '1'",
            "n = ANY (ARRAY[1])",
            "nope > 1",
            "\"nope\" = 'x'",
        ] {
            let found = checked(bad);
            assert!(
                found.len() == 1 && found[0].starts_with("the CHECK c fails: "),
                "{bad}: {found:?}"
            );
        }
    }
}

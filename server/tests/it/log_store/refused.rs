//! Tables that the log cannot write are refused at start, each with its remedy.

use rejoin_log::fixture::row;
use rejoin_postgres::Database;
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::store::sqlite::SqliteStore;
use rejoin_server::{PostgresUrl, ServerError};
use std::time::Duration;

use super::fixture::{NOW, fresh, of_log};
use crate::world::Backend;

fn names(table: &str) -> Vec<String> {
    vec![table.to_owned()]
}

fn refused(opened: Result<impl std::fmt::Debug, ServerError>) -> String {
    let Err(ServerError::Schema(problems)) = opened else { panic!("{opened:?}") };
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

const OF_SQLITE: &[(&str, &str)] = &[
    ("", "no such table"),
    ("CREATE TABLE t(id TEXT, n INTEGER)", "no primary key"),
    ("CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER CHECK (n > 0))", "no CHECK"),
    ("CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER UNIQUE)", "no UNIQUE"),
    ("CREATE TABLE t(id TEXT PRIMARY KEY, n DECIMAL(10, 2))", "t.n: the type 'decimal(10, 2)'"),
    ("CREATE TABLE t(id TEXT PRIMARY KEY, n TEXT AS (id))", "no generated column"),
    ("CREATE TABLE t(id TEXT PRIMARY KEY, up TEXT REFERENCES t(id))", "a foreign key"),
    (
        "CREATE TABLE t(id TEXT PRIMARY KEY); CREATE TABLE o(id TEXT REFERENCES T(id))",
        "a foreign key",
    ),
    (
        "CREATE TABLE t(id TEXT PRIMARY KEY); CREATE TRIGGER no BEFORE INSERT ON t BEGIN SELECT raise(ABORT, 'no'); END",
        "a trigger with RAISE",
    ),
];

#[test]
fn tables_with_rules_are_refused_on_sqlite() {
    for (tables, why) in OF_SQLITE {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch(tables).unwrap();
        let opened = SqliteStore::open(&path, &of_log(&names("t")), Duration::ZERO, NOW);
        let problems = refused(opened);
        assert!(problems.contains(why), "{tables}: {problems}");
    }
}

const OF_POSTGRES: &[(&str, &str)] = &[
    ("", "no such table"),
    ("CREATE VIEW t AS SELECT 1 AS id", "an ordinary table"),
    ("CREATE TABLE t(id text, n integer)", "one key column"),
    ("CREATE TABLE t(id date PRIMARY KEY)", "one key column"),
    ("CREATE TABLE t(id text, n text, PRIMARY KEY(id, n))", "one key column"),
    ("CREATE TABLE t(id text PRIMARY KEY, n integer CHECK (n > 0))", "no other constraint"),
    ("CREATE TABLE t(id text PRIMARY KEY, n integer UNIQUE)", "no other constraint"),
    ("CREATE TABLE t(id text PRIMARY KEY, up text REFERENCES t(id))", "no other constraint"),
    (
        "CREATE TABLE t(id text PRIMARY KEY); CREATE TABLE o(id text REFERENCES t(id))",
        "no other constraint",
    ),
    ("CREATE TABLE t(id text PRIMARY KEY, n text); CREATE INDEX ON t(lower(n))", "plain B-tree"),
    (
        "CREATE TABLE t(id text PRIMARY KEY, n jsonb); CREATE INDEX ON t USING gin(n)",
        "plain B-tree",
    ),
    (
        "CREATE TABLE t(id text PRIMARY KEY, n text GENERATED ALWAYS AS (id) STORED)",
        "no generated column",
    ),
    ("CREATE TABLE t(id text PRIMARY KEY, n varchar(3))", "t.n: the type 'character varying(3)'"),
    ("CREATE TABLE t(id text PRIMARY KEY, n numeric(5, 2))", "t.n: the type 'numeric(5,2)'"),
    ("CREATE TABLE t(id text PRIMARY KEY, n real)", "t.n: the type 'real'"),
    (
        "CREATE DOMAIN small AS integer CHECK (value < 9); CREATE TABLE t(id text PRIMARY KEY, n small)",
        "t.n: the type",
    ),
];

#[test]
fn tables_with_rules_are_refused_on_postgres() {
    for (tables, why) in OF_POSTGRES {
        let database = Database::new();
        database.run(tables);
        let url = PostgresUrl::from(database.url.clone());
        let opened = PostgresStore::open(&url, &of_log(&names("t")), Duration::from_secs(5), NOW);
        let problems = refused(opened);
        assert!(problems.contains(why), "{tables}: {problems}");
    }
}

/// A text that an index cannot hold is refused by the check, not by the database.
#[test]
fn an_index_on_postgres_bounds_its_columns() {
    use rejoin_log::effect::Effect;
    use rejoin_log::fixture::columns;
    use rejoin_server::store::{fits, read};
    let fresh = fresh(Backend::Postgres);
    fresh.run("CREATE INDEX ON r(\"text\", \"owner\")");
    let tables = read(&*fresh.store, |reading| Ok(reading.log_tables().to_vec())).unwrap();
    let fit = |column: &str, length| {
        let effect = Effect::Update(columns(column, "x".repeat(length)));
        fits(&[(row("r1"), effect)].into_iter().collect(), &tables).is_ok()
    };
    assert!(fit("text", 1_300) && !fit("text", 1_301) && fit("buckets", 100_000));
}

/// The log's own tables exist only where the log is used.
#[test]
fn own_tables_are_made_with_the_first_log_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY)").unwrap();
    let count = || {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name LIKE 'rejoin\\_log\\_%' ESCAPE '\\'";
        file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    for (names, expected) in [(vec![], 0), (names("t"), 7), (names("t"), 7), (vec![], 7)] {
        drop(SqliteStore::open(&path, &of_log(&names), Duration::ZERO, NOW).unwrap());
        assert_eq!(count(), expected, "{names:?}");
    }
}

//! SQLite only: the mapping of declared types to the manifest, and tables that cannot be synced.
//! PostgreSQL's types are in `types.rs`.

use rejoin_protocol::manifest::Rule;
use rejoin_server::{Config, Server, ServerError, TableConfig};
use rusqlite::Connection;

use crate::schema::{ALL_TYPES, manifest, owned};
use crate::world::{Backend, World};

#[tokio::test]
async fn declared_types_and_defaults_map_to_the_manifest() {
    let world = World::with(Backend::Sqlite, ALL_TYPES, owned);
    let manifest = manifest(&world, true).await;
    let table = &manifest.tables[0];
    let found: Vec<(&str, &str, &str, Option<&str>)> = table
        .columns
        .iter()
        .map(|column| {
            let default = column.sqlite_default_sql.as_deref();
            (&*column.name, &*column.logical_type, &*column.default_kind, default)
        })
        .collect();
    let expected = [
        ("id", "string", "none", None),
        ("a", "string", "portable", Some("'it''s'")),
        ("b", "int64", "portable", Some("7")),
        ("c", "int", "none", None),
        ("d", "boolean", "portable", Some("1")),
        ("e", "float", "none", None),
        ("f", "float", "none", None),
        ("g", "datetime", "portable", Some("CURRENT_TIMESTAMP")),
        ("h", "date", "none", None),
        ("i", "time", "none", None),
        ("j", "json", "none", None),
        ("k", "bytes", "none", None),
        ("l", "string", "server_only", None),
        ("m", "string", "none", None),
        ("owner", "string", "none", None),
        ("n", "string", "none", None),
        ("updated_at", "datetime", "none", None),
        ("created_at", "datetime", "none", None),
        ("deleted_at", "datetime", "none", None),
    ];
    assert_eq!(found, expected);
    let extension = table.rejoin.as_ref().unwrap();
    assert_eq!(extension.rules, [Rule::NotNull { column: String::from("n") }]);
    assert_eq!(extension.generated[0].expression, "upper(a)");
    assert!(extension.generated[0].stored);
    let indexes: Vec<&str> = extension.indexes.iter().map(|index| &*index.name).collect();
    assert_eq!(indexes, ["things_by_a"]);
    assert_eq!(extension.identities.len(), 19);
    assert_eq!(extension.owner_column.as_deref(), Some("owner"));
    assert_eq!(table.primary_key, ["id"]);
}

#[test]
fn unsyncable_tables_are_all_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE composite(a TEXT, b TEXT, updated_at TEXT, PRIMARY KEY(a, b));
             CREATE TABLE keyless(a TEXT, updated_at TEXT);
             CREATE TABLE odd(id TEXT PRIMARY KEY, shape GEOMETRY, code TEXT UNIQUE, updated_at TEXT);
             CREATE UNIQUE INDEX odd_two ON odd(shape, code);
             CREATE TABLE versionless(id TEXT PRIMARY KEY, owner TEXT);
             CREATE TABLE folded(id TEXT PRIMARY KEY COLLATE NOCASE, updated_at REAL);
             CREATE TABLE late(id TEXT PRIMARY KEY, updated_at TEXT,
               other TEXT REFERENCES odd(id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TABLE bytes(id BLOB PRIMARY KEY, updated_at TEXT);",
        )
        .unwrap();
    let mut config = Config::new(&path);
    for name in ["composite", "keyless", "odd", "folded", "late", "bytes", "missing"] {
        config = config.with_table(TableConfig::global(name));
    }
    config = config.with_table(TableConfig::owned("versionless", "missing"));
    let Err(ServerError::Schema(problems)) = Server::open(config) else { panic!("it opened") };
    let places: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}.{}", problem.table, problem.column.as_deref().unwrap_or("*")))
        .collect();
    let expected = [
        "bytes.id",
        "composite.*",
        "folded.id",
        "folded.updated_at",
        "keyless.*",
        "late.*",
        "missing.*",
        "odd.shape",
        "odd.code",
        "odd.shape",
        "versionless.updated_at",
        "versionless.missing",
    ];
    let mut found: Vec<&str> = places.iter().map(String::as_str).collect();
    let mut wanted = expected.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{problems:?}");
}

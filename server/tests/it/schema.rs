//! What the server reads from the user's tables, what it tells devices, and what it refuses to sync.

use rejoin_protocol::Manifest;
use rejoin_protocol::manifest::{ReferenceAction, Rule};
use rejoin_server::{Config, Server, ServerError, TableConfig};
use rusqlite::Connection;
use serde_json::json;

use crate::world::World;

async fn manifest(world: &World, extended: bool) -> Manifest {
    let mut headers = vec![("X-User-ID", "anna")];
    if extended {
        headers.push(("Rejoin-Protocol", "1"));
    }
    let (status, _, body) = world.send("GET", "/sync/schema", &headers, "").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_value(body).unwrap()
}

const ALL_TYPES: &str = "CREATE TABLE things(
    id UUID PRIMARY KEY, a VARCHAR(20) DEFAULT 'it''s', b INT DEFAULT 7, c SMALLINT, d BOOLEAN DEFAULT TRUE,
    e DOUBLE PRECISION, f DECIMAL(10,2), g TIMESTAMP DEFAULT CURRENT_TIMESTAMP, h DATE, i TIME, j JSON, k BLOB,
    l TEXT DEFAULT (lower('X')), m TEXT GENERATED ALWAYS AS (upper(a)) STORED, owner TEXT NOT NULL,
    n TEXT NOT NULL, updated_at TEXT NOT NULL, created_at TEXT, deleted_at DATETIME);
    CREATE INDEX things_by_a ON things(a, b);
    CREATE INDEX things_some ON things(a) WHERE b > 3;
    CREATE INDEX things_lower ON things(lower(a));";

fn owned(config: Config) -> Config {
    config.with_table(TableConfig::owned("things", "owner"))
}

#[tokio::test]
async fn declared_types_and_defaults_become_the_manifests() {
    let world = World::with(ALL_TYPES, owned);
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

#[tokio::test]
async fn a_plain_peer_sees_no_member_of_ours_and_the_hash_is_of_what_it_sees() {
    let world = World::with(ALL_TYPES, owned);
    let plain = manifest(&world, false).await;
    assert!(plain.rejoin.is_none() && plain.tables.iter().all(|table| table.rejoin.is_none()));
    assert_eq!(plain.schema_hash, plain.hash());
    let ours = manifest(&world, true).await;
    assert_eq!(ours.schema_hash, plain.schema_hash);
    assert_eq!(ours.rejoin.as_ref().unwrap().rules_hash, ours.rules_hash());
    let (_, _, tables) = world.send("GET", "/sync/tables", &[("X-User-ID", "anna")], "").await;
    assert_eq!(tables["tables"][0]["dependencies"], json!([]));
    assert_eq!(tables["tables"][0]["columns"], json!(null));
}

#[tokio::test]
async fn references_are_carried_and_a_check_is_the_servers_own() {
    let tables = "CREATE TABLE a(id TEXT PRIMARY KEY, owner TEXT, n INTEGER CHECK (n > 0), updated_at TEXT);
        CREATE TABLE b(id TEXT PRIMARY KEY, a_id TEXT REFERENCES a(id) ON DELETE CASCADE, updated_at TEXT,
          z TEXT REFERENCES elsewhere(id));
        CREATE TABLE elsewhere(id TEXT PRIMARY KEY);";
    let world = World::with(tables, |config| {
        let declared =
            Rule::Check { name: String::from("small"), expression: String::from("n < 9") };
        let first = TableConfig { rules: vec![declared], ..TableConfig::owned("a", "owner") };
        config.with_table(first).with_table(TableConfig::child("b", "a", "a_id"))
    });
    let manifest = manifest(&world, true).await;
    let rules = |at: usize| manifest.tables[at].rejoin.clone().unwrap().rules;
    assert!(matches!(&rules(0)[..], [Rule::Check { name, .. }] if name == "small"));
    let expected = Rule::References {
        column: String::from("a_id"),
        table: String::from("a"),
        on_delete: ReferenceAction::Cascade,
        on_update: ReferenceAction::NoAction,
    };
    assert_eq!(rules(1), [expected]);
}

#[test]
fn what_cannot_be_synced_is_refused_by_name_and_all_at_once() {
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
    config = config.with_table(TableConfig::owned("versionless", "nobody"));
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
        "versionless.nobody",
    ];
    let mut found: Vec<&str> = places.iter().map(String::as_str).collect();
    let mut wanted = expected.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{problems:?}");
}

#[tokio::test]
async fn a_change_of_the_tables_is_seen_without_a_restart() {
    let world = World::new();
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    let before = (anna.version, anna.hash.clone());
    let outsider = world.outsider();
    outsider.execute_batch("ALTER TABLE places ADD COLUMN colour TEXT DEFAULT 'grey'").unwrap();
    let (status, answer) =
        anna.post("/sync/pull", json!({"rejoin": {"cursor": anna.cursor}})).await;
    assert_eq!((status, &answer["code"]), (409, &json!("schema_mismatch")));
    anna.register().await;
    assert_ne!((anna.version, anna.hash.clone()), before);
    assert!(anna.pull().await.is_empty(), "an additive change asks for no rebuild");
    outsider
        .execute_batch(
            "INSERT INTO places(id, owner_id, name, colour) VALUES('p1', 'anna', 'x', 'red')",
        )
        .unwrap();
    let rows = anna.pull_rows().await;
    assert_eq!(rows["places/p1"].as_ref().unwrap()["colour"], "red");
    outsider.execute_batch("ALTER TABLE places DROP COLUMN colour").unwrap();
    anna.register().await;
    assert_eq!(anna.hash, before.1, "the old hash");
    assert_eq!(anna.version, before.0, "and, with the same columns, the old version");
    outsider.execute_batch("ALTER TABLE places ADD COLUMN colour TEXT DEFAULT 'grey'").unwrap();
    anna.register().await;
    assert_eq!(anna.version, before.0 + 2, "the name came back, the column is another");
}

#[tokio::test]
async fn tables_that_can_no_longer_be_synced_fail_their_requests_and_nothing_else() {
    let world = World::new();
    let mut anna = world.device("anna", "a1").await;
    let outsider = world.outsider();
    outsider.execute_batch("CREATE UNIQUE INDEX bad ON places(name)").unwrap();
    let (status, answer) = anna.post("/sync/pull", json!({"rejoin": {}})).await;
    assert_eq!((status, &answer["code"]), (500, &json!("internal")));
    let (status, ..) = world.send("GET", "/healthz", &[], "").await;
    assert_eq!(status, 503, "and health says so");
    outsider.execute_batch("DROP INDEX bad").unwrap();
    let (status, _) = anna.post("/sync/pull", json!({"rejoin": {}})).await;
    assert_eq!(status, 200);
}

#[test]
fn a_file_of_a_newer_server_is_left_as_it_is() {
    let world = World::new();
    let outsider = world.outsider();
    outsider.execute_batch("UPDATE rejoin_meta SET value = '99' WHERE key = 'migration'").unwrap();
    let found = Server::open(world.config.clone());
    assert!(matches!(found, Err(ServerError::TooNew { found: 99, .. })), "{found:?}");
}

#[tokio::test]
async fn names_with_quotes_spaces_and_other_scripts_work() {
    let script = "\u{540d}\u{524d}";
    let tables = r#"CREATE TABLE "ta ""ble"("k ey" TEXT PRIMARY KEY, "b'esitzer" TEXT, "SCRIPT" TEXT,
             "select" INTEGER, updated_at TEXT, deleted_at TEXT) WITHOUT ROWID;
           CREATE TABLE "kind ]"(id TEXT PRIMARY KEY, "el tern" TEXT, updated_at TEXT);"#;
    let world = World::with(&tables.replace("SCRIPT", script), |config| {
        config
            .with_table(TableConfig::owned("ta \"ble", "b'esitzer"))
            .with_table(TableConfig::child("kind ]", "ta \"ble", "el tern"))
    });
    let mut anna = world.device("anna", "a1").await;
    let create = json!([
        {"operation": "create", "table_name": "ta \"ble", "id": "x", "data": {script: "y", "select": 1}},
        {"operation": "create", "table_name": "kind ]", "id": "c", "data": {"el tern": "x"}}]);
    let rows = anna.accept("m1", create).await;
    assert!(rows.iter().all(|row| !row.absent));
    let mut ben = world.device("ben", "b").await;
    let page = ben.snapshot_page(None, 10).await.rejoin.unwrap();
    assert!(page.sets.is_empty());
    world.outsider().execute_batch(r#"UPDATE "ta ""ble" SET "b'esitzer" = 'ben'"#).unwrap();
    assert_eq!(ben.snapshot_page(None, 10).await.rejoin.unwrap().sets.len(), 2);
}
